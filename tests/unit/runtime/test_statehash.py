"""The state hash: when, of what, and who compares it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.core.commit import Commit, Part, Record
from tandem.core.ports.log import Stored
from tandem.internal.log.v1 import log_pb2
from tandem.runtime import log_codec
from tandem.runtime.ledger import STATE_HASHED, Ledger
from tandem.runtime.restore import restore
from tandem.runtime.service import Group
from tandem.runtime.statehash import HASH_EVERY_MS, Differs, total
from tests.support.bench import Bench
from tests.support.late_snapshot import LateHash, check_hashes
from tests.support.toy import service, toy_group


def minutes(bench: Bench, count: int, between: str = "say:x") -> Bench:
    """So many minutes with something in each, hashed as they end."""
    late = LateHash(bench.shard)
    for _ in range(count):
        bench.do("toy/a", between)
        bench.do("vault/b", "say:hidden;act:ring")
        bench.settle()
        bench.pass_ms(HASH_EVERY_MS)
        late.work(1000)
        bench.settle()
    return bench


def hashes(bench: Bench) -> list[log_pb2.StateHashed]:
    """What the owner said."""
    return [
        log_pb2.StateHashed.FromString(envelope.part.clear)
        for commit in bench.commits()
        for envelope in commit.events
        if envelope.type == STATE_HASHED
    ]


def test_once_a_minute_of_shard_time() -> None:
    bench = minutes(Bench().live(), 3)
    said = hashes(bench)
    assert len(said) == check_hashes(bench.group, bench.records()) == 3
    assert len({row.hash for row in said}) == 3
    minute = {commit.n: commit.shard_time_ms // HASH_EVERY_MS for commit in bench.commits()}
    for row in said:
        assert minute[row.n] != minute[row.n - 1], "the first commit of its minute"


def test_a_snapshot_and_the_tail_give_the_same() -> None:
    bench = minutes(Bench().live(), 2)
    snapshot, offset = list(bench.folded().parts()), len(bench.log)
    minutes(bench, 2, "say:y;tell:toy/c:say:z")
    ledger = restore(bench.group, snapshot)
    for stored in bench.log[offset:]:
        ledger.fold(log_codec.decode(stored.body))
    assert (ledger.hash.checked, ledger.hash.wrong) == (2, [])


def test_a_snapshot_written_otherwise_is_digested_anew() -> None:
    bench = minutes(Bench().live(), 1)
    assert restore(bench.group, list(bench.folded().parts()), "another").hash.value == total(bench.folded().parts())


def test_the_successor_of_a_dead_owner_goes_on() -> None:
    first = minutes(Bench("a").live(), 1)
    first.pass_ms(HASH_EVERY_MS)  # a point that the first does not come to digest
    second = Bench("b", log=first.log, now=first.now, keys=first.keys).live()
    minutes(second, 2)
    assert check_hashes(second.group, second.records()) >= 3


def wrong_evolve(group: Group) -> Group:
    """Another engine: it forgets what is said fifth."""
    made = service()
    kind = made.kinds[0]
    kinds = (
        replace(kind, evolve=lambda state, event: state if len(state.words) == 4 else kind.evolve(state, event)),
        *made.kinds[1:],
    )
    return Group(group.name, (replace(made, kinds=kinds),), group.elsewhere, group.shape)


def test_another_engine_s_evolve_is_found_out() -> None:
    bench = minutes(Bench().live(), 6)
    ledger = Ledger(wrong_evolve(bench.group))
    for record in bench.records():
        ledger.fold(record)
    assert [row.n for row in ledger.hash.wrong] == [row.n for row in hashes(bench)][-len(ledger.hash.wrong) :]
    assert 0 < len(ledger.hash.wrong) < 6


def _flipped(record: Record) -> Record:
    assert isinstance(record, Commit)
    first, *rest = record.events
    clear = first.part.clear[:-1] + bytes([first.part.clear[-1] ^ 1])
    return replace(record, events=(replace(first, part=Part(first.type, clear)), *rest))


def test_a_flipped_bit_of_an_event_is_found_out_by_a_follower() -> None:
    bench = minutes(Bench().live(), 2)
    said = [isinstance(r, Commit) and r.events != () and r.events[0].stream == "toy/a" for r in bench.records()]
    at = said.index(True)
    log = list(bench.log)
    log[at] = Stored(log[at].offset, log_codec.encode(_flipped(bench.records()[at])))
    successor = Bench("b", log=log, now=bench.now, keys=bench.keys).live()
    told = [output for output in successor.left if isinstance(output, Differs)]
    assert told
    assert told[0].recorded != told[0].computed


def test_a_hash_of_another_schema_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = minutes(Bench().live(), 2)
    group = toy_group()
    monkeypatch.setattr(group.canonical, "schema", "another")
    ledger = Ledger(group)
    for record in bench.records():
        ledger.fold(record)
    assert (ledger.hash.checked, ledger.hash.wrong) == (0, [])


def test_what_changes_and_nobody_asks_for_does_not_pile_up() -> None:
    """A log of old, without hashes: memory is for what lives."""
    bench = Bench().live()
    for n in range(30):
        bench.do(f"toy/{n}", "say:x;over")
        bench.pass_ms(HASH_EVERY_MS)
    ledger = bench.folded()
    assert sum(len(rows) for past in ledger.hash._past.until(None) for rows in past.sections.values()) < 10
