"""What must hold at every step, each by a checker of its own.

A checker sees counted records and what phones and clients saw; it shares no code with what it
checks but the tables that decode a record. The first thing that does not hold is a `Violation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tandem.core.commit import Commit, Effect, Envelope, Input, Message
from tandem.core.ports.log import Partition
from tandem.core.ports.media import Hello
from tandem.simulation.phones import Dialog

Happened = Sequence[tuple[Envelope, Any]]
"""The events of a commit, decoded."""
Place = tuple[str, str]
"""A tenant and a name of it."""


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        self.invariant, self.text = invariant, text
        super().__init__(f"{invariant}: {text}")


class Checker:
    """The hooks; each checker takes those that it needs."""

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """A commit was stored and counts."""

    def saw(self, what: str, dialog: Dialog) -> None:
        """A phone saw something."""


class Sources(Checker):
    """Every input acts once, media's without a gap; marks stand in the commit and never go back."""

    def __init__(self) -> None:
        self._last: dict[tuple[Partition, str, str], int] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        raised: dict[tuple[str, str], int] = {}
        for taken in commit.inputs:
            if not taken.number:
                continue
            place = (partition, taken.source, taken.tenant)
            last = self._last.get(place, 0)
            if taken.number <= last:
                raise Violation("an input acts once", f"{taken.source} {taken.number} was taken after {last}")
            if taken.source.startswith("media/") and taken.number != last + 1 and last:
                raise Violation("media inputs have no gap", f"{taken.source} {taken.number} came after {last}")
            self._last[place] = raised[taken.source, taken.tenant] = taken.number
        marks = {(mark.source, mark.tenant): mark.number for mark in commit.marks}
        if marks != raised:
            raise Violation("marks are part of the commit", f"{partition} n={commit.n}: {marks} for inputs {raised}")

    def acked(self, partition: Partition, source: str, tenant: str, number: int) -> None:
        """A node is told that it may forget its events up to `number`."""
        if number > self._last.get((partition, source, tenant), 0):
            raise Violation("nothing leaves before it is durable", f"the acknowledgement of {source} {number}")


SLEW = 100
"""Shard time and the host's uptime differ by one part in so many at most, whatever wall clocks do."""


class ShardTimes(Checker):
    """Shard time never runs back, and runs like the host's uptime from one commit to the next of the same
    boot, whoever made them; no wake comes before its time."""

    def __init__(self) -> None:
        self._last: dict[Partition, Commit] = {}
        self._due: dict[str, int] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        last = self._last.get(partition)
        if last is not None and commit.shard_time_ms < last.shard_time_ms:
            raise Violation(
                "shard time is monotone", f"{partition} n={commit.n}: {commit.shard_time_ms} after {last.shard_time_ms}"
            )
        if last is not None and commit.boot_id == last.boot_id:
            passed_ms, host_ms = commit.shard_time_ms - last.shard_time_ms, commit.boottime_ms - last.boottime_ms
            if abs(passed_ms - host_ms) > host_ms // SLEW + 1:
                raise Violation(
                    "shard time goes with its host", f"{partition} n={commit.n}: {passed_ms} ms in {host_ms} ms"
                )
        self._last[partition] = commit
        for taken in commit.inputs:
            if taken.source == "wake" and commit.shard_time_ms < self._due.get(taken.settles, 0):
                raise Violation("no timer is early", f"{taken.settles} at {commit.shard_time_ms}")
        self._due.update((effect.key, effect.at_ms) for effect in commit.effects if effect.kind == "wake")


def _names(word: str, data: bytes) -> bool:
    """Whether something there is called by the word: `fern`, `fern-agent1`, `fernx7`. A random id in which the
    letters stand by chance is not."""
    spelt = word.encode()
    return spelt in data and re.search(rb"(?<![a-z2-7])" + spelt + rb"(?:x\d|[^a-z2-7]|$)", data) is not None


class Tenancy(Checker):
    """No tenant's id, and no name that begins with one, stands in what is another tenant's."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        rows: tuple[Input | Envelope | Effect | Message, ...]
        rows = (*commit.inputs, *commit.events, *commit.effects, *commit.messages)
        for row in rows:
            for word in self.words:
                if word != row.tenant and (_names(word, row.part.clear) or _names(word, row.stream.encode())):
                    raise Violation("no tenant sees another", f"{word} in {row.part.type} of {row.tenant}")
        for mark in commit.marks:
            if mark.tenant not in mark.source:
                raise Violation("no tenant sees another", f"mark of {mark.source} for {mark.tenant}")


class Effects(Checker):
    """An effect's key is used once, an event ends it once, and nothing is done that is not in the log."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._made: dict[Partition, dict[str, None]] = {}
        self._ended: dict[str, str] = {}
        self.made_ms: dict[str, int] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        made = self._made.setdefault(partition, {})
        for effect in commit.effects:
            if effect.key in made:
                raise Violation("an effect's key is used once", effect.key)
            made[effect.key] = None
            self.made_ms[effect.key] = self._now_ms()
        for envelope in commit.events:
            for key in envelope.settles:
                if key in self._ended:
                    raise Violation("an effect settles once", f"{key} by {envelope.event_id} and {self._ended[key]}")
                self._ended[key] = envelope.event_id

    def sent(self, partition: Partition, key: str) -> None:
        """A command leaves for a node."""
        if key not in self._made.get(partition, {}):
            raise Violation("nothing leaves before it is durable", f"command {key} of {partition}")


class Epochs:
    """A node that has heard a newer owner takes no older one, whatever restarts (T1)."""

    def __init__(self) -> None:
        self._highest: dict[tuple[str, int, str], int] = {}

    def welcomed(self, hello: Hello, incarnation: str) -> None:
        """A node took an owner's Hello."""
        place = (hello.group, hello.shard, incarnation)
        highest = self._highest.get(place, 0)
        if hello.epoch < highest:
            raise Violation("older epochs are refused", f"{place}: epoch {hello.epoch} is welcome after {highest}")
        self._highest[place] = hello.epoch


PATIENCE_MS = 1_980
"""Of an owner with its nodes: 2 s of shard time, which goes up to 1 % faster where it follows a wall clock."""


class Timers(Checker):
    """After a takeover no timer fires before what the node had kept is taken, or its patience is over."""

    def __init__(
        self, now_ms: Callable[[], int], kept: Callable[[Partition], dict[str, int]], journals: Callable[[], int]
    ) -> None:
        """`journals` counts those that the node has begun: what stood in an earlier one is owed no more."""
        self._now_ms, self._kept, self._journals = now_ms, kept, journals
        self._journal: dict[Partition, int] = {}
        self._claimed: dict[Partition, int] = {}
        self._owed: dict[Partition, dict[str, int]] = {}
        self._marks: dict[tuple[Partition, str], int] = {}

    def claim(self, partition: Partition) -> None:
        """A claim counts."""
        self._claimed[partition], self._owed[partition] = self._now_ms(), self._kept(partition)
        self._journal[partition] = self._journals()

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        early = self._now_ms() < self._claimed.get(partition, 0) + PATIENCE_MS
        early = early and self._journal.get(partition) == self._journals()
        for taken in commit.inputs:
            if taken.source.startswith("media/"):
                self._marks[partition, taken.tenant] = taken.number
            owed = self._owed.get(partition, {}).get(taken.tenant, 0)
            if early and taken.source == "wake" and self._marks.get((partition, taken.tenant), 0) < owed:
                raise Violation(
                    "kept events come before due timers",
                    f"{partition}: {taken.part.type} of {taken.tenant} while event {owed} is kept",
                )


class Acknowledged(Checker):
    """What a client was told is in the log, and a repeat is told the same."""

    def __init__(self) -> None:
        self._replies: dict[tuple[str, str], str] = {}
        self._told: dict[tuple[str, str], Any] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for reply in commit.replies:
            place = (reply.tenant, reply.request)
            if place in self._replies:
                raise Violation("a request is carried out once", reply.request)
            self._replies[place] = reply.digest

    def told(self, tenant: str, request: str, value: Any) -> None:
        """A client holds an answer."""
        place = (tenant, request)
        if place not in self._replies:
            raise Violation("answered means durable", f"{request} of {tenant} is not in the log")
        if self._told.setdefault(place, value) != value:
            raise Violation("a repeat is told the same", f"{request} of {tenant}: {value}")


class Traces(Checker):
    """A contact is traced from its first event to its last, or never, whoever owned it meanwhile."""

    def __init__(self) -> None:
        self._traces: dict[tuple[str, str], str] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for envelope, _ in happened:
            place = (envelope.tenant, envelope.stream)
            if not envelope.stream.startswith("contact/"):
                continue
            begun = self._traces.get(place)
            if begun is None:
                self._traces[place] = envelope.trace
            elif envelope.trace != begun:
                raise Violation("a contact has one trace", f"{envelope.stream}: {envelope.trace!r} after {begun!r}")
