"""Recorded inputs, decided again: what differs is found, and what cannot be compared is told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tandem.core.commit import ENGINE, Commit, Record
from tandem.core.ports.log import Partition, Stored
from tandem.core.ports.media import Collected, LegAnswered
from tandem.core.seal import Secret
from tandem.runtime import log_codec
from tandem.runtime.life import What, life
from tandem.runtime.redecide import Again, Redecide
from tandem.runtime.replay import Fold, Verdict
from tandem.runtime.service import Group
from tandem.runtime.step import Offer
from tandem.session.domain import words as sw
from tandem.tenant.domain.words import CreateAgent
from tandem.tenant.events import SERVICE as TENANTS
from tests.support.bench import Bench
from tests.support.small_cell import NODE, TENANT, SmallCell
from tests.support.toy import Did, Do, service, toy_group


def again(group: Group, log: Sequence[Stored], keys: dict[str, bytes]) -> tuple[Verdict, Again]:
    """Fold a log and decide it again."""

    def held(ids: Sequence[str]) -> dict[str, bytes]:
        return {key: keys[key] for key in ids if key in keys}

    fold = Fold(group, Partition(group.name, 0), redecide=Redecide(group, f"{group.name}/0", held))
    for _ in fold.run(log):
        pass
    assert fold.verdict.again is not None, fold.verdict.faults
    return fold.verdict, fold.verdict.again


def called() -> SmallCell:
    """A cell with a caller in line."""
    cell = SmallCell()
    cell.configure("ann")
    cell.call("c1")
    return cell


def test_a_log_is_decided_again_with_what_is_sealed_in_it() -> None:
    cell = called()
    verdict, found = again(cell.shard.group, cell.log, cell.keys)
    commits = [log_codec.decode(stored.body) for stored in cell.log]
    assert (verdict.faults, found.not_compared) == ([], {})
    assert found.same == sum(isinstance(record, Commit) for record in commits) > 5


def test_a_client_who_was_refused_left_no_trace_but_in_the_nonces() -> None:
    """Its command was sealed and not recorded; what the same step seals next goes on behind."""
    group = Group("tenant", (TENANTS,), {"desk": "live", "reception": "live"}, "tenant=tenant")
    bench = Bench(group=group).live()
    for agent in ("ann", "ann", "bob"):
        name, md5, sha = Secret(agent.encode()), Secret(b"1" * 32), Secret(b"2" * 64)
        command = CreateAgent(agent, name, (), (), f"{agent}-phone", "r", md5, sha, "1")
        bench.shard.offer(Offer("client/k1", 0, "t1", "configuration", command, handle=object()))
        if not bench.commits():
            bench.settle()
    bench.settle()
    assert len(bench.commits()[-1].inputs) == 1, "one was refused"
    verdict, found = again(group, bench.log, bench.keys)
    assert (verdict.faults, found.same, found.not_compared) == ([], 2, {})


def test_without_its_key_a_commit_is_not_compared() -> None:
    cell = called()
    verdict, found = again(cell.shard.group, cell.log, {})
    assert verdict.faults == []
    assert list(found.not_compared) == ["a data key is ERASED, or the cell key is not here"]
    assert any("contact/c1" in told for told in found.told)
    assert found.same > 0


def test_a_sensitive_value_is_not_compared() -> None:
    cell = SmallCell()
    cell.configure()
    cell.input("contact/c1", sw.TakeCall(NODE, cell.shard.now_ms, "100", Secret(b"+4420111")))
    cell.leg("c1", LegAnswered())
    digits = Secret(b"1", sensitive=True)
    cell.input("contact/c1", sw.TakeDigits("c1", cell.shard.now_ms, "menu#1", digits, Collected.COMPLETE))
    verdict, found = again(cell.shard.group, cell.log, cell.keys)
    assert verdict.faults == []
    assert found.not_compared == {"a sensitive value was withheld from the log": 1}


def test_another_engine_s_commits_are_not_compared() -> None:
    bench = Bench().live()
    bench.do("toy/a", "say:x")
    bench.settle()
    log = [_changed(stored, lambda commit: replace(commit, engine="0")) for stored in bench.log]
    assert again(bench.group, log, {})[1].not_compared == {f"engine 0 decided it, this is engine {ENGINE}": 1}


def _changed(stored: Stored, change: Any) -> Stored:
    record: Record = log_codec.decode(stored.body)
    return Stored(stored.offset, log_codec.encode(change(record))) if isinstance(record, Commit) else stored


def other_decide(name: str) -> Group:
    """A release that decides otherwise."""
    made = service()
    kind = made.kinds[0]

    def decide(state: Any, command: Any, context: Any) -> Any:
        return [*kind.decide(state, command, context), Did("say:more")] if name in str(command) else ()

    return Group("toys", (replace(made, kinds=(replace(kind, decide=decide), *made.kinds[1:])),), {"far": "x"}, "toy")


def test_another_decision_is_found() -> None:
    bench = Bench().live()
    for word in ("x", "y", "z"):
        bench.do("toy/a", f"say:{word};act:ring")
        bench.settle()
    verdict, found = again(other_decide("y"), bench.log, {})
    assert found.different == 3
    assert verdict.faults[0].startswith("commit 1: ")


def test_a_changed_event_is_found_although_no_hash_stands_behind_it() -> None:
    bench = Bench().live()
    for word in ("x", "y"):
        bench.do("toy/a", f"say:{word}")
        bench.settle()

    def changed(commit: Commit) -> Commit:
        if commit.n != 2:
            return commit
        (event,) = commit.events
        return replace(commit, events=(replace(event, part=replace(event.part, clear=b"\n\x05say:Y")),))

    verdict, found = again(toy_group(), [_changed(stored, changed) for stored in bench.log], {})
    assert (found.same, found.different) == (1, 1)
    assert verdict.faults == ["commit 2: events 0: recorded toy.did t1 toy/a, decided again toy.did t1 toy/a"]


def test_a_closing_answer_to_another_group_is_decided_again() -> None:
    """Who asked, and what it gets when nobody is there, stand with the input."""
    bench = Bench().live()
    part = bench.group.service_of["toy"].messages.close(_do("say:x"), lambda type_, value: value)[1]
    gone = bench.group.service_of["toy"].messages.close(_do("say:gone"), lambda type_, value: value)[1]
    bench.shard.offer(Offer("elsewhere/0/t1", 65537, "t1", "nobody/x", part=part, sender="far/a", gone=gone))
    bench.settle()
    (commit,) = bench.commits()
    assert [message.stream for message in commit.messages] == ["far/a"]
    assert again(bench.group, bench.log, {})[1].same == 1


def _do(script: str) -> Any:
    return Do(script)


def test_a_life_is_told_with_what_is_private_opened_or_erased() -> None:
    cell = called()
    commits = [r for r in (log_codec.decode(stored.body) for stored in cell.log) if isinstance(r, Commit)]
    told = list(life(cell.shard.group, commits, TENANT, "contact/c1", cell.keys.get))
    blind = list(life(cell.shard.group, commits, TENANT, "contact/c1", lambda key: None))
    (started,) = [moment for moment in told if moment.type == "contact.started"]
    assert ("caller", "+4420111") in started.fields
    assert ("caller", "ERASED") in next(m for m in blind if m.type == "contact.started").fields
    assert {moment.what for moment in told} >= {What.INPUT, What.EVENT, What.ORDER}
    assert any(moment.stream == "desk" for moment in told), "what the desk did for it"
    assert [moment.n for moment in told] == sorted(moment.n for moment in told)
