"""What stands in the logs is read by many, and decoded once.

Owners, followers, watch and refolds of a cell all read the same bytes, a process that starts over
reads all of them again. Decoding is a pure function whose results are frozen, so they may share
them: records by their bytes, events and orders by the part that they stand in, rows of snapshots
by theirs. What is made of them, every fold and every check, is each reader's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tandem.core.commit import Part, Record, Reply
from tandem.runtime import log_codec
from tandem.runtime.canonical import Canonical
from tandem.runtime.codec import Codec
from tandem.runtime.ledger import Ledger
from tandem.runtime.past import Row
from tandem.runtime.service import Group, Service


class Records:
    """Decodes the records of a cell's logs."""

    def __init__(self) -> None:
        self._known: dict[bytes, Record] = {}

    def decode(self, body: bytes) -> Record:
        """As `log_codec.decode`."""
        record = self._known.get(body)
        if record is None:
            record = self._known[body] = log_codec.decode(body)
        return record


class ReadOnce(Codec):
    """A table that decodes equal parts once."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self._by_name, self._by_type = codec._by_name, codec._by_type
        self._known: dict[Part, Any] = {}

    def decode(self, part: Part) -> Any:
        """See `Codec`."""
        value = self._known.get(part)
        if value is None:
            value = self._known[part] = super().decode(part)
        return value


class RowsOnce(Canonical):
    """Decodes equal bytes to the same row, but for states: poison tells the one that is decided on from
    all others by its identity."""

    def __init__(self, canonical: Canonical) -> None:
        super().__init__(*canonical._classes.values())
        self._known: dict[bytes, Any] = {}

    def decode(self, body: bytes) -> Any:
        """See `Canonical`."""
        row = self._known.get(body)
        if row is None:
            row = super().decode(body)
            if row[0] != "aggregate":
                self._known[body] = row
        return row


def reading(group: Group) -> Group:
    """The group for all who read its logs."""
    services = tuple(_service(service) for service in group.services)
    once = Group(group.name, services, group.elsewhere, group.shape)
    once.commands = {name: ReadOnce(codec) for name, codec in once.commands.items()}
    once.canonical = RowsOnce(once.canonical)
    return once


def _service(service: Service) -> Service:
    return replace(service, events=ReadOnce(service.events), effects=ReadOnce(service.effects))


class Parts:
    """A ledger's parts, asked for again and again: a row that did not change is not encoded again.

    Whether it changed is seen by comparing it, never taken from what the ledger says of itself.
    """

    def __init__(self) -> None:
        self._rows: dict[Row, tuple[Row, bytes]] = {}
        self._replies: dict[int, tuple[Reply, bytes]] = {}

    def of(self, ledger: Ledger) -> list[bytes]:
        """As `Ledger.parts`."""
        encode, before = ledger.group.canonical.encode, self._rows
        self._rows = now = {}
        parts = []
        for row in ledger.image():
            kind = row[0]
            if kind == "request":
                break
            name = row[: _NAMED_BY[kind]]
            found = before.get(name)
            if found is None or found[0] != row:
                found = row, encode(row)
            now[name] = found
            parts.append(found[1])
        return parts + self._requests(ledger)

    def _requests(self, ledger: Ledger) -> list[bytes]:
        """The last of an image, and most of it: a reply is frozen, so the same object has the same bytes."""
        encode, before = ledger.group.canonical.encode, self._replies
        self._replies = now = {}
        parts = []
        for tenant in sorted(ledger.requests):
            for request, reply in ledger.requests[tenant].items():
                found = before.get(id(reply))
                if found is None:
                    found = reply, encode(ledger.row(("request", tenant), request))
                now[id(reply)] = found
                parts.append(found[1])
        return parts


_NAMED_BY = {"head": 1, "aggregate": 3, "row": 5, "mark": 3, "pending": 2}
"""By how many of its first values a row is known from the others of its kind."""
