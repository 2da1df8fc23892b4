"""`tandem admin replay` and `tandem admin verify`: reads a cell's files beside its processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from itertools import zip_longest

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import CannotOpen, KeyFile, LogFile
from tandem.core.arbiter import Arbiter
from tandem.core.commit import Commit
from tandem.core.ports.log import LogFailed, Partition, Stored
from tandem.runtime import log_codec, snapshot
from tandem.runtime.config import Config
from tandem.runtime.ledger import Ledger
from tandem.runtime.life import Moment, life
from tandem.runtime.redecide import Again, Redecide
from tandem.runtime.replay import Fold, Verdict
from tandem.runtime.service import Group
from tandem.targets.groups import make_groups

CANNOT_READ = (CannotOpen, LogFailed)
"""Errors that say what to do."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's files, opened to be read."""

    log: LogFile
    keys: KeyFile
    blobs: LocalBlobs
    groups: dict[str, Group]
    shards: int

    def partitions(self, kind: str = "") -> Iterator[tuple[Group, Partition, int]]:
        """(group, partition, end of its log) of those in which something stands."""
        for name, group in self.groups.items():
            for shard in range(self.shards):
                partition = Partition(name, shard)
                end = self.log.end(partition)
                if end and (not kind or kind in group.kinds):
                    yield group, partition, end


@asynccontextmanager
async def cell(config: Config) -> AsyncIterator[Cell]:
    """The cell of this configuration. Raises `CannotOpen`, which says what to do."""
    async with AsyncExitStack() as stack:
        log = stack.enter_context(closing(LogFile(config.log_dir)))
        keys = stack.enter_context(closing(KeyFile(config.log_dir, config.keys.cell_key_file)))
        blobs = await LocalBlobs.open(config.blobs)
        stack.push_async_callback(blobs.close)
        yield Cell(log, keys, blobs, make_groups(), config.live.shards)


# ------------------------------------------------------------------- all of it


async def verify(config: Config, tell: Tell, *, check: bool = False) -> bool:
    """Fold every partition from zero and from its newest snapshot, and compare with every state
    hash that its owners wrote; with `check`, decide every input again. Tells how it goes.
    Whether all is the same. Raises `CannotOpen`, `LogFailed`."""
    verdicts: list[Verdict] = []
    async with cell(config) as made:
        for group, partition, end in made.partitions():
            verdicts += await _verify(made, group, partition, end, tell, check)
    wrong = [verdict for verdict in verdicts if not verdict.good]
    hashes = sum(verdict.compared for verdict in verdicts)
    for verdict in wrong:
        for fault in verdict.faults:
            tell(f"WRONG {verdict.partition} {verdict.whence}: {fault}")
        if verdict.more_faults:
            tell(f"WRONG {verdict.partition} {verdict.whence}: and {verdict.more_faults} more")
    partitions = len({verdict.partition for verdict in verdicts})
    if wrong:
        tell(f"NOT the same: {len({verdict.partition for verdict in wrong})} of {partitions} partitions are wrong")
    elif hashes:
        tell(f"verified: {partitions} partitions, {hashes} state hashes compared, every one the same")
    else:
        tell(f"{partitions} partitions fold; no state hash is recorded yet, a shard's first comes within two minutes")
    return not wrong


async def _verify(made: Cell, group: Group, partition: Partition, end: int, tell: Tell, check: bool) -> list[Verdict]:
    again = Redecide(group, str(partition), made.keys.get) if check else None
    zero = Fold(group, partition, redecide=again)
    _run(zero, made.log.records(partition, 0, end), end, tell)
    loaded = await snapshot.load(
        made.blobs, partition, group, end, lambda name, why: tell(f"{partition}: snapshot {name} passed over: {why}")
    )
    if loaded is None:
        return [zero.verdict]
    tail = Fold(group, partition, loaded.ledger)
    _run(tail, made.log.records(partition, loaded.offset, end), end - loaded.offset, tell)
    if zero.verdict.good and tail.verdict.good and not same_state(zero.ledger, tail.ledger):
        tail.verdict.fault("the state in the end is not that of the fold from zero")
    return [zero.verdict, tail.verdict]


def same_state(one: Ledger, other: Ledger) -> bool:
    """Byte for byte."""
    return all(mine == theirs for mine, theirs in zip_longest(one.parts(), other.parts()))


def _run(fold: Fold, records: Iterator[Stored], count: int, tell: Tell) -> None:
    verdict = fold.verdict
    for done in fold.run(records):
        if done < count:
            tell(f"{verdict.partition} {verdict.whence}: {done} of {count} records")
    state = "the same" if verdict.good else "WRONG"
    told = f"{verdict.partition} {verdict.whence}: {verdict.records} records, {verdict.compared} hashes {state}"
    if verdict.other_schema:
        told += f", {verdict.other_schema} of another release"
    tell(f"{told}; {verdict.unhashed} commits since the last one")
    if verdict.again is not None:
        for line in again_lines(verdict.again):
            tell(f"{verdict.partition} {line}")


def again_lines(again: Again) -> Sequence[str]:
    """What deciding again gave, in words."""
    lines = [f"decided again: {again.same} commits the same, {again.different} different"]
    lines += [f"not compared: {count} commits: {why}" for why, count in again.not_compared.items()]
    lines += [f"not compared: {told}" for told in again.told]
    return lines


# ------------------------------------------------------------------- one contact


@dataclass(frozen=True, slots=True)
class Replayed:
    """A contact's life. `again` is set if its inputs were decided again; `sealed` says that the
    cell key is not there, so that private values read ERASED."""

    partition: str
    moments: tuple[Moment, ...]
    again: Again | None
    sealed: bool


async def replay(config: Config, tenant: str, contact: str, *, check: bool) -> Replayed | None:
    """The life of a contact out of the log; None if the log knows none of that name.
    Raises `CannotOpen`, `LogFailed`."""
    stream = f"contact/{contact}"
    async with cell(config) as made:

        def key(key_id: str) -> bytes | None:
            return made.keys.get((key_id,)).get(key_id)

        for group, partition, end in made.partitions("contact"):
            commits = _commits(made.log.records(partition, 0, end))
            moments = tuple(life(group, commits, tenant, stream, key))
            if moments:
                again = _again(made, group, partition, end, tenant, stream) if check else None
                return Replayed(str(partition), moments, again, not made.keys.opens)
    return None


def _commits(records: Iterator[Stored]) -> Iterator[Commit]:
    """Those that count."""
    judge = Arbiter()
    for stored in records:
        record = log_codec.decode(stored.body)
        if judge.counts(record):
            judge = judge.after(record)
            if isinstance(record, Commit):
                yield record


def _again(made: Cell, group: Group, partition: Partition, end: int, tenant: str, stream: str) -> Again:
    def concerned(commit: Commit) -> bool:
        named = [(taken.tenant, taken.stream) for taken in commit.inputs]
        named += [(envelope.tenant, envelope.stream) for envelope in commit.events]
        return (tenant, stream) in named

    fold = Fold(group, partition, redecide=Redecide(group, str(partition), made.keys.get, concerned))
    for _ in fold.run(made.log.records(partition, 0, end)):
        pass
    assert fold.verdict.again is not None or fold.verdict.faults, "it came to the end, or says why not"
    again = fold.verdict.again or Again()
    again.faults += [fault for fault in fold.verdict.faults if fault not in again.faults]
    return again
