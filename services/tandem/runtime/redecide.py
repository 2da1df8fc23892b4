"""Decides recorded inputs again and compares what comes out with what was recorded (rule 7).

A commit has its inputs as they were decided. Run through the same step over the state before
it, they must give the same events, effects, messages and marks, byte for byte: keys and nonces
are the recorded ones, so even what is sealed is the same. What cannot be compared is told
apart: another engine decided, a sensitive value was never written, a key is destroyed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import Any

from tandem.core.commit import ENGINE, Claim, Commit, Envelope, Input, Record
from tandem.core.seal import AUDIO, Damaged, Sealed, Secret, Withheld, nonce, unseal
from tandem.runtime.cascade import CLAIM
from tandem.runtime.ledger import OF_THE_RUNTIME, SHARD, Ledger
from tandem.runtime.restore import restore
from tandem.runtime.sealing import Closer, Sealer
from tandem.runtime.service import Group
from tandem.runtime.step import Offer, Step

Keys = Callable[[Sequence[str]], dict[str, bytes]]
MAX_TOLD = 20
"""Differences told."""


@dataclass(slots=True)
class Again:
    """What deciding again gave, in commits."""

    same: int = 0
    different: int = 0
    not_compared: dict[str, int] = field(default_factory=dict)  # why -> how often
    told: list[str] = field(default_factory=list)  # of what could not be compared
    faults: list[str] = field(default_factory=list)

    def skipped(self, why: str, commit: Commit) -> None:
        """A commit could not be compared."""
        self.not_compared[why] = self.not_compared.get(why, 0) + 1
        if len(self.told) < MAX_TOLD:
            streams = ", ".join(dict.fromkeys(taken.stream for taken in commit.inputs))
            self.told.append(f"commit {commit.n} ({streams}): {why}")


class _Recorded(Sealer):
    """Its seals have the nonces that are recorded."""

    def __init__(self, key: Callable[[str], bytes | None], commit: Commit) -> None:
        super().__init__(key, commit.epoch, commit.n)
        self._recorded = deque(_seals(commit))
        self.missing: set[str] = set()  # keys that were wanted and are not there

    def closer(self, key_id: str, tenant: str, stream: str, version: int) -> Closer:
        """See `Sealer`."""
        close = super().closer(key_id, tenant, stream, version)

        def again(type_: str, value: Any) -> Sealed | Withheld:
            if isinstance(value, Secret) and not value.sensitive and key_id:
                if self.key(key_id) is None:
                    self.missing.add(key_id)
                elif self._recorded:
                    self._seals = self._recorded.popleft() - 1
            return close(type_, value)

        return again


class Redecide:
    """Goes along with a fold of the same log. `wanted(commit)` says whether to decide it again."""

    def __init__(
        self, group: Group, partition: str, keys: Keys, wanted: Callable[[Commit], bool] = lambda commit: True
    ) -> None:
        self._group, self._partition, self._keys, self._wanted = group, partition, keys, wanted
        self._ledger = Ledger(group)
        self.again = Again()

    def take(self, record: Record, truth: Ledger) -> None:
        """The next record that counts; `truth` is the state after it."""
        if isinstance(record, Claim) or not self._wanted(record):
            self._ledger.fold(record)
            return
        if record.engine != ENGINE:
            self.again.skipped(f"engine {record.engine} decided it, this is engine {ENGINE}", record)
            self._ledger.fold(record)
            return
        same = self._decide(record)
        self.again.same += same
        if same and not self._ledger.torn:
            for reply in record.replies:  # they went to clients who are not here
                self._ledger.apply_reply(reply)
        else:
            self._ledger = restore(self._group, list(truth.parts()))

    def _decide(self, commit: Commit) -> bool:
        keys = self._keys(tuple(self._key_ids(commit)))
        sealer = _Recorded(keys.get, commit)
        step = Step(
            self._ledger,
            self._partition,
            commit.epoch,
            commit.n,
            commit.shard_time_ms,
            commit.boot_id,
            commit.boottime_ms,
            sealer,
            lambda: None,
            lambda text, error: None,
        )
        withheld = False
        raised = ""
        try:
            for taken in commit.inputs:
                sealed = next((v.key for _, v in taken.part.private if isinstance(v, Sealed)), "-")
                # An aggregate that began took its key first, and then whom it is about.
                step.fresh = chain((taken.key,) if taken.key else (), repeat(sealed)).__next__
                offer = self._offer(taken, commit, keys)
                withheld |= any(isinstance(value, Withheld) for _, value in taken.part.private)
                step.take(offer)
            if any(envelope.cause == CLAIM for envelope in commit.events):
                step.take_stock()
            differs = _difference(commit, step.commit())
        except Exception as error:  # noqa: BLE001 - a decider of today that raises is a difference
            differs = raised = f"deciding it again raises {type(error).__name__}: {error}"
        if not differs:
            return True
        erased = sealer.missing or {key for key in self._key_ids(commit) if key not in keys}
        if any(envelope.type in OF_THE_RUNTIME and envelope.cause == CLAIM for envelope in commit.events):
            self.again.skipped("what a new owner cannot read is not the same for every release", commit)
        elif withheld:
            self.again.skipped("a sensitive value was withheld from the log", commit)
        elif erased:
            self.again.skipped("a data key is ERASED, or the cell key is not here", commit)
        else:
            self.again.different += 1
            if len(self.again.faults) < MAX_TOLD:
                self.again.faults.append(f"commit {commit.n}: {raised or differs}")
        return False

    def _key_ids(self, commit: Commit) -> dict[str, None]:
        """All keys that its inputs may need."""
        found: dict[str, None] = {}
        for taken in commit.inputs:
            aggregate = self._ledger.aggregate(taken.tenant, taken.stream)
            for key in (taken.key, aggregate.key if aggregate else ""):
                if key:
                    found |= dict.fromkeys((key, key + AUDIO))
            for _, value in taken.part.private:
                if isinstance(value, Sealed):
                    found[value.key] = None
        for envelope in commit.events:  # a message inside the step may have gone to another aggregate
            aggregate = self._ledger.aggregate(envelope.tenant, envelope.stream)
            if aggregate is not None and aggregate.key:
                found |= dict.fromkeys((aggregate.key, aggregate.key + AUDIO))
        return found

    def _offer(self, taken: Input, commit: Commit, keys: dict[str, bytes]) -> Offer:
        """The input as the step was offered it: encoded, or as a command with its secrets open."""
        offer = Offer(
            taken.source,
            taken.number,
            taken.tenant,
            taken.stream,
            actor=taken.actor,
            trace=taken.trace,
            settles=taken.settles,
            sender=taken.sender,
            gone=taken.gone,
        )
        groups = {*self._group.elsewhere.values(), self._group.name}
        if taken.source == "wake" or taken.source.partition("/")[0] in groups:
            offer.part = taken.part
            return offer
        mark = nonce(commit.epoch, commit.n, 0)[:10]
        opened = tuple((number, _opened(value, mark, keys)) for number, value in taken.part.private)
        try:
            part = replace(taken.part, private=opened)
            offer.command = self._group.commands_of(taken.stream).decode(part)
        except Exception:  # noqa: BLE001 - one that could not be read then is refused as it was
            offer.part = taken.part
        return offer


def _opened(value: Sealed | Withheld, mark: bytes, keys: dict[str, bytes]) -> Any:
    """What the step itself sealed was a secret before; other seals came as they are."""
    if not isinstance(value, Sealed) or value.nonce[:10] != mark:
        return value
    try:
        plain = unseal(value, keys.get(value.key))
    except Damaged:
        return value
    return Secret(plain) if isinstance(plain, bytes) else value


def _seals(commit: Commit) -> list[int]:
    """Indexes of the seals that the step made, in the order in which it made them."""
    mark = nonce(commit.epoch, commit.n, 0)[:10]
    parts = [taken.part for taken in commit.inputs] + [envelope.part for envelope in commit.events]
    found = {
        int.from_bytes(value.nonce[10:], "big")
        for part in parts
        for _, value in part.private
        if isinstance(value, Sealed) and value.nonce[:10] == mark
    }
    return sorted(found)


def _difference(recorded: Commit, again: Commit) -> str:
    """The first thing that is not the same, empty if all is."""
    recorded = replace(recorded, events=_decided(recorded.events))
    again = replace(again, events=_decided(again.events))
    for what in ("inputs", "events", "effects", "messages", "marks"):
        one, other = getattr(recorded, what), getattr(again, what)
        for index, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            if mine != theirs:
                return f"{what} {index}: recorded {_told(mine)}, decided again {_told(theirs)}"
        if len(one) != len(other):
            return f"{len(one)} {what} recorded, {len(other)} decided again"
    return ""


def _decided(events: tuple[Envelope, ...]) -> tuple[Envelope, ...]:
    """Without the runtime's own."""
    return tuple(envelope for envelope in events if envelope.stream != SHARD)


def _told(thing: Any) -> str:
    """Its names; what it carries may be long, and clear parts may not be for every eye."""
    part = getattr(thing, "part", None)
    name = "" if part is None else part.type
    return " ".join(str(word) for word in (name, getattr(thing, "tenant", ""), getattr(thing, "stream", "")) if word)
