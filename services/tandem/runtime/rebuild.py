"""A mutable state folded anew, alone, after an exception left it half changed (spine 2).

The log is whole: what could not be folded is not in it, or is where this fold stops.
"""

from __future__ import annotations

from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Commit, Envelope, Record
from tandem.runtime.ledger import OF_THE_RUNTIME, Ledger
from tandem.runtime.service import Group, kind_of


class NotFolded(Exception):
    """The log does not give the state that is wanted; the cause is what `evolve` raised, if it did."""


class Refold:
    """The last life of one aggregate up to version `sound`, from a snapshot's ledger or from the
    beginning. Give it every record behind the snapshot: only the last of them says which life that is."""

    def __init__(self, group: Group, tenant: str, stream: str, sound: int, ledger: Ledger | None = None) -> None:
        self._service = group.service_of[kind_of(stream)]
        self._kind = group.kinds[kind_of(stream)]
        self._place, self._sound = (tenant, stream), sound
        self._judge = ledger.arbiter if ledger else Arbiter()
        held = ledger.aggregate(tenant, stream) if ledger else None
        self._state: Any = held.state if held else self._kind.start()
        self._version = held.version if held else 0
        self._raised: Exception | None = None

    @property
    def state(self) -> Any:
        """What it was at `sound`. Raises `NotFolded`."""
        if self._version < self._sound:
            tenant, stream = self._place
            raise NotFolded(
                f"{stream} of {tenant} is wanted at version {self._sound}, the log gives version {self._version}"
            ) from self._raised
        return self._state

    def take(self, record: Record) -> None:
        """Fold the next record."""
        if self._judge.counts(record):
            self._judge = self._judge.after(record)
            if isinstance(record, Commit):
                for envelope in record.events:
                    if (envelope.tenant, envelope.stream) == self._place:
                        self._fold(envelope)

    def _fold(self, envelope: Envelope) -> None:
        if envelope.version == 1:  # a life begins, and it may not be the first of that name
            self._state, self._version, self._raised = self._kind.start(), 0, None
        if envelope.version != self._version + 1 or envelope.version > self._sound:
            return
        try:
            if envelope.type not in OF_THE_RUNTIME:
                self._state = self._kind.evolve(self._state, self._service.events.decode(envelope.part))
            self._version = envelope.version
        except Exception as error:  # noqa: BLE001 - of no account in a life that is over; `state` tells of the last one's
            self._raised = error
