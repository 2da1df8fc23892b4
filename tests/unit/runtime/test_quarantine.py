"""What cannot be decided is recovered from, what cannot be folded is set aside alone (rule 12; P1, P2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tandem.core.commit import Part
from tandem.core.decider import MAX_HOPS, Kind, Rows
from tandem.core.ports.media import CommandSettled, HangUp, Outcome
from tandem.runtime.codec import Codec
from tandem.runtime.counts import NAMES
from tandem.runtime.gate import Gate
from tandem.runtime.ledger import BadHistory
from tandem.runtime.rebuild import NotFolded, Refold
from tandem.runtime.restore import restore
from tandem.runtime.service import Group, Service
from tandem.runtime.step import Offer
from tandem.runtime.timers import WAKE_AGAIN_MS
from tests.support.bench import Bench, reason
from tests.support.late_snapshot import check_replay
from tests.support.toy import NODE, Did, Do, Toy, evolve, service


def _live(group: Group | None = None) -> Bench:
    bench = Bench(nodes=(NODE,), group=group).live()
    bench.left.clear()
    return bench


def _in_quarantine(bench: Bench) -> list[str]:
    return [stream for _, stream, _ in bench.shard.ledger.quarantined()]


def _with(change: Callable[[Kind], Kind], *names: str, events: Codec | None = None) -> Group:
    """The toys with other kinds: another release."""
    made: Service = service()
    kinds = tuple(change(kind) if kind.name in names else kind for kind in made.kinds)
    return Group("toys", (replace(made, kinds=kinds, events=events or made.events),), {"far": "elsewhere"}, "toy")


def _older(kind: Kind) -> Kind:
    """A release that does not know words that begin with `new`."""

    def raises(state: Toy, event: Did) -> Toy:
        if event.value.startswith("say:new"):
            raise KeyError(event.value)
        return evolve(state, event)

    return replace(kind, evolve=raises)


# ------------------------------------------------------------------- Recover


@pytest.mark.parametrize("script", ["raise", "say:x;bang"])
def test_a_refused_input_is_followed_by_recover_in_the_same_commit(script: str) -> None:
    bench = _live()
    bench.do("ward/a", "say:begun")
    bench.do("ward/a", script)
    bench.settle()
    assert bench.words("ward/a")[-1] == "recovered-toy.do-ZeroDivisionError"
    assert [taken.refused for taken in bench.commits()[-1].inputs] == ["", "ZeroDivisionError"]
    assert (bench.shard.counts.inputs_refused, bench.shard.counts.recovered) == (1, 1)
    bench.same()


def test_a_legal_refusal_is_no_reason_to_recover() -> None:
    bench = _live()
    bench.do("ward/a", "say:begun")
    bench.do("ward/a", "reject")
    bench.settle()
    assert bench.words("ward/a") == ("begun",)
    assert bench.shard.counts.inputs_refused == 0


def test_an_aggregate_that_never_began_recovers_into_its_end() -> None:
    bench = _live()
    bench.do("ward/a", "raise")
    bench.settle()
    assert bench.words("ward/a") == ("recovered-toy.do-ZeroDivisionError",)
    bench.same()


def test_a_message_that_raises_is_recovered_from_where_it_went() -> None:
    """The asker gets no "gone": the receiver is there, and closes what it must."""
    bench = _live()
    bench.do("ward/a", "say:begun")
    bench.do("toy/a", "ask:ward/a:raise")
    bench.settle()
    assert bench.words("ward/a") == ("begun", "recovered-toy.do-ZeroDivisionError")
    assert bench.words("toy/a") == ()
    assert bench.shard.counts.messages_refused == 1
    bench.same()


def test_an_input_that_cannot_be_read_is_recovered_from_too() -> None:
    bench = _live()
    bench.do("ward/a", "say:begun")
    bench.shard.offer(Offer("far/0/t1", 1, "t1", "ward/a", part=Part("toy.later", b"")))
    bench.shard.offer(Offer("far/0/t1", 2, "t1", "ward/never", part=Part("toy.later", b"")))
    bench.settle()
    assert bench.words("ward/a") == ("begun", "recovered-toy.later-UnknownType")
    assert bench.words("ward/never") == ()
    bench.same()


def test_a_message_past_the_hop_limit_is_told_as_that_and_counted() -> None:
    bench = _live()
    bench.do("toy/hop", f"hop:{MAX_HOPS + 3}")
    bench.settle()
    assert bench.shard.counts.hop_limit == 1
    assert bench.words("toy/hop") == ("gone",)


# ------------------------------------------------------------------- quarantine


def _quarantined(bench: Bench, *legs: str) -> None:
    """`ward/a` with those legs, in quarantine."""
    bench.do("ward/a", ";".join([*(f"say:leg-{leg}" for leg in legs), "act:play", "wake:later:99999999999999"]))
    bench.settle()
    bench.left.clear()
    bench.do("ward/a", "say:x;boom")
    bench.settle()


def test_what_raises_in_evolve_is_quarantined_alone_and_every_fold_says_so() -> None:
    bench = _live()
    bench.do("toy/b", "say:unhurt")
    _quarantined(bench, "c1", "c2")
    assert _in_quarantine(bench) == ["ward/a"]
    (held,) = [row.quarantine for _, _, row in bench.shard.ledger.quarantined()]
    assert held is not None and held.noted and held.legs == ((NODE, "c1"), (NODE, "c2"))
    assert (held.why, held.event) == ("ZeroDivisionError", "toy.did")
    assert bench.words("toy/desk") == ("left-a",)
    assert bench.words("toy/b") == ("unhurt",)
    assert [p.payload.verb for p in bench.performed()] == [HangUp(bench.performed()[0].payload.verb.cause)]
    assert list(bench.shard.ledger.pending) == [bench.performed()[0].key]  # what it had pending is gone
    assert (bench.shard.counts.quarantines, bench.shard.counts.quarantined_now) == (1, 1)
    bench.same()


def test_what_raises_in_recover_is_quarantined() -> None:
    bench = _live()
    bench.do("ward/a", "say:leg-c1")
    bench.do("ward/a", "frail;raise")
    bench.settle()
    assert _in_quarantine(bench) == ["ward/a"]
    assert bench.commits()[-1].inputs[-1].refused == "ZeroDivisionError"
    bench.same()


def test_what_it_could_not_take_counts_if_it_says_that_a_leg_is_over() -> None:
    """The node says so once: the other leg would stay up for nobody."""

    def over(command: Any) -> str:
        return "c1" if command.value == "frail;raise" else ""

    bench = _live(_with(lambda kind: replace(kind, rescue=kind.rescue and replace(kind.rescue, over=over)), "ward"))
    bench.do("ward/a", "say:leg-c1")
    bench.do("ward/a", "say:leg-c2")
    bench.do("ward/a", "frail;raise")
    bench.settle()
    assert _in_quarantine(bench) == ["ward/a"]
    assert bench.words("toy/desk") == ("left-a", "free-c1-1")
    bench.same()


def test_an_aggregate_that_never_began_and_cannot_even_recover_leaves_nothing() -> None:
    bench = _live()
    bench.do("ward/a", "frail;raise")
    bench.settle()
    assert bench.shard.ledger.aggregate("t1", "ward/a") is None
    assert (bench.shard.counts.quarantines, bench.shard.counts.quarantined_now) == (1, 0)
    bench.same()


def test_inputs_for_the_quarantined_are_marked_and_counted_and_nothing_else() -> None:
    bench = _live()
    _quarantined(bench, "c1")
    bench.do("ward/a", "say:late")
    handle = bench.ask("ward/a", "answer")
    bench.settle()
    assert reason(bench.answer(handle)) == "OUT_OF_ORDER"
    assert bench.commits()[-1].inputs[0].refused == "QUARANTINED"
    assert bench.shard.ledger.mark("src/t1", "t1") == 3
    assert bench.shard.counts.quarantined_inputs == 2
    bench.same()


def test_its_legs_are_followed_to_their_end_and_then_it_is_over() -> None:
    bench = _live()
    _quarantined(bench, "c1", "c2")
    bench.do("ward/a", "ended:c1")
    bench.do("ward/a", "ended:other")
    bench.settle()
    assert bench.words("toy/desk") == ("left-a", "free-c1-1")
    assert _in_quarantine(bench) == ["ward/a"]
    bench.same()
    bench.do("ward/a", "ended:c2")
    bench.settle()
    assert bench.words("toy/desk") == ("left-a", "free-c1-1", "free-c2-0")
    assert bench.shard.ledger.aggregate("t1", "ward/a") is None
    assert (bench.shard.counts.quarantined_now, bench.shard.ledger.pending) == (0, {})
    bench.same()


def test_a_leg_that_its_node_does_not_list_is_over_too() -> None:
    group = _with(lambda kind: replace(kind, legs=lambda state: ((NODE, "lost"),) if state.words else ()), "ward")
    bench = _live(group)
    bench.do("ward/a", "say:x;boom")
    bench.settle()
    bench.shard.group.missing_leg = lambda node, leg, now_ms: Do(f"ended:{leg}")
    bench.node(legs=())
    assert bench.shard.ledger.aggregate("t1", "ward/a") is None
    bench.same()


def test_who_asks_about_a_leg_that_is_up_is_not_told_gone_before_its_end() -> None:
    """The agent would be free with the phone at the ear."""
    bench = _live()
    _quarantined(bench, "c1", "c2")
    bench.do("toy/q", "ask:ward/a:say:about-c1")
    bench.do("toy/p", "ask:ward/a:say:hello")
    bench.settle()
    assert (bench.words("toy/q"), bench.words("toy/p")) == ((), ("gone",))
    bench.same()


def test_an_order_that_settles_late_finds_nothing_to_settle() -> None:
    bench = _live()
    bench.do("ward/a", "say:leg-c1;act:play")
    bench.settle()
    (play,) = bench.performed()
    bench.do("ward/a", "boom")
    bench.settle()
    bench.shard.settled(f"media/{NODE}/i1/t1", 1, "t1", "ward/a", CommandSettled(play.key, Outcome.DONE))
    bench.settle()
    bench.same()


def test_a_takeover_finds_it_in_quarantine() -> None:
    bench = _live()
    _quarantined(bench, "c1")
    successor = Bench("b", nodes=(NODE,), log=bench.log, keys=bench.keys)
    successor.shard.claim(successor.now)
    successor.settle()
    successor.node(legs=[("t1", "c1")])
    assert _in_quarantine(successor) == ["ward/a"]
    assert successor.shard.counts.quarantined_now == 1
    successor.do("ward/a", "ended:c1")
    successor.settle()
    assert _in_quarantine(successor) == []
    successor.same()


# ------------------------------------------------------------------- what lasts


def _looks_again(script: str, heard: list[object]) -> Group:
    """Toys that do this once they have lost something."""

    def resume(lost: object) -> Do:
        heard.append(lost)
        return Do(script)

    return _with(lambda kind: replace(kind, resume=resume), "toy")


def test_what_lasts_looks_again_after_a_command_that_could_not_be_decided() -> None:
    """What the command said is lost, and nobody says it again: the asker may be over."""
    heard: list[object] = []
    bench = _live(_looks_again("say:looked", heard))
    bench.do("toy/desk", "say:a")
    bench.do("toy/desk", "raise")
    bench.settle()
    assert bench.words("toy/desk") == ("a", "looked") and heard == [Do("raise")]
    assert [taken.refused for taken in bench.commits()[-1].inputs] == ["", "ZeroDivisionError"]
    bench.same()


def test_who_cannot_look_again_is_not_asked_for_ever_nor_set_aside() -> None:
    heard: list[object] = []
    bench = _live(_looks_again("raise", heard))
    bench.do("toy/desk", "say:a")
    bench.do("toy/desk", "raise")
    bench.do("toy/desk", "say:b")
    bench.settle()
    assert bench.words("toy/desk") == ("a", "b") and heard == [Do("raise")]
    assert _in_quarantine(bench) == []
    bench.same()


def test_a_legal_refusal_is_no_reason_to_look_again() -> None:
    heard: list[object] = []
    bench = _live(_looks_again("say:looked", heard))
    bench.do("toy/desk", "say:a")
    bench.do("toy/desk", "reject")
    bench.settle()
    assert heard == []


@dataclass
class Slate:
    """A mutable fold."""

    words: list[str] = field(default_factory=list)
    over: bool = False


def _mutable(kind: Kind) -> Kind:
    def write(state: Slate, event: Did) -> Slate:
        word = event.value.partition(":")[2]
        if word:
            state.words.append(word)
        if event.value == "boom":
            state.words.append("half")
            raise ZeroDivisionError
        return state

    return replace(
        kind,
        start=Slate,
        evolve=write,
        rows=Rows((), lambda event: (), lambda toy: Slate(list(toy.words)), lambda slate: Toy(tuple(slate.words))),
    )


def test_a_mutable_state_is_folded_anew_before_anybody_looks_at_it() -> None:
    bench = _live(_with(_mutable, "toy"))
    bench.do("toy/desk", "say:a;say:b")
    bench.settle()
    bench.do("toy/desk", "say:c;boom;say:d")
    bench.settle()
    assert bench.words("toy/desk") == ["a", "b", "c"]
    assert bench.shard.counts.rebuilt == 1 and not bench.shard.ledger.torn
    bench.same()


def test_a_state_folded_anew_is_that_of_the_life_that_goes_on() -> None:
    """The versions of an earlier one of the same name were counted from 1 too."""
    bench = _live()
    for script in ("say:a;say:b", "over", "say:c", "boom"):
        bench.do("toy/a", script)
        bench.settle()
    assert bench.shard.counts.rebuilt == 1
    assert bench.words("toy/a") == ("c",)
    bench.same()


def test_a_state_is_folded_anew_behind_a_snapshot_of_an_earlier_life() -> None:
    bench = _live()
    bench.do("toy/a", "say:a;say:b;say:c")
    bench.settle()
    behind, earlier = len(bench.log), bench.folded()
    for script in ("over", "say:d", "boom"):
        bench.do("toy/a", script)
        bench.settle()
    refold = Refold(bench.group, "t1", "toy/a", 2, earlier)
    for record in bench.records()[behind:]:
        refold.take(record)
    assert refold.state.words == ("d",)


def test_an_earlier_life_that_cannot_be_read_costs_the_next_one_nothing() -> None:
    newer = _live()
    for script in ("say:a;say:new;say:b", "over", "say:c;say:d"):
        newer.do("toy/a", script)
        newer.settle()
    older = Bench("b", nodes=(NODE,), log=newer.log, keys=newer.keys, group=_with(_older, "toy")).live()
    older.do("toy/a", "boom")
    older.settle()
    assert older.shard.counts.rebuilt == 1
    assert older.words("toy/a") == ("c", "d")
    older.same()


def test_a_state_that_cannot_be_folded_anew_is_told() -> None:
    newer = _live()
    newer.do("toy/a", "say:a;say:new;say:b")
    newer.settle()
    refold = Refold(_with(_older, "toy"), "t1", "toy/a", 3)
    for record in newer.records():
        refold.take(record)
    with pytest.raises(NotFolded, match=r"toy/a of t1 .* version 3, the log gives version 1") as told:
        _ = refold.state
    assert isinstance(told.value.__cause__, KeyError)


def test_what_lasts_is_kept_in_quarantine_and_the_next_owner_tries_again() -> None:
    bench = _live()
    bench.do("toy/desk", "say:a")
    bench.do("toy/desk", "boom")
    bench.do("toy/desk", "say:lost")
    bench.settle()
    assert bench.words("toy/desk") == ("a",)
    bench.same()
    successor = Bench("b", nodes=(NODE,), log=bench.log, keys=bench.keys).live()
    assert _in_quarantine(successor) == []
    assert successor.shard.counts.quarantines_lifted == 1
    successor.do("toy/desk", "say:b")
    successor.settle()
    assert successor.words("toy/desk") == ("a", "b")
    successor.same()


def test_what_lasts_is_taken_back_in_the_order_of_names_whoever_folded_it() -> None:
    """Another order would not be the same decision: of who came from a snapshot, and of a replay."""
    bench = _live()
    for stream in ("toy/b", "toy/a"):
        bench.do(stream, "say:x")
        bench.do(stream, "boom")
        bench.settle()
    successor = Bench("b", nodes=(NODE,), log=bench.log, keys=bench.keys).live()
    assert successor.shard.counts.quarantines_lifted == 2
    check_replay(successor.group, successor.log, successor.keys)


def test_timers_of_what_lasts_wait_until_it_is_taken_back() -> None:
    bench = _live()
    bench.do("toy/desk", f"wake:x:{bench.shard.now_ms + 1000}")
    bench.do("toy/desk", "boom")
    bench.pass_ms(2000)
    assert len(bench.shard.ledger.pending) == 1
    bench.same()
    successor = Bench("b", log=bench.log, keys=bench.keys, now=bench.now).live()
    assert successor.words("toy/desk") == ("woke-x",)
    successor.same()


def test_a_timer_whose_command_is_refused_comes_again() -> None:
    """Or an agent would stay in wrap-up for ever."""
    raises = [True]

    def change(kind: Kind) -> Kind:
        def decide(state: Any, command: Any, context: Any) -> Any:
            if "woke" in getattr(command, "value", "") and raises[0]:
                raise ZeroDivisionError
            return kind.decide(state, command, context)

        return replace(kind, decide=decide)

    bench = _live(_with(change, "toy"))
    bench.do("toy/desk", f"wake:x:{bench.shard.now_ms + 1000}")
    bench.pass_ms(1000)
    assert bench.shard.counts.inputs_refused == 1
    bench.same()
    raises.clear()
    raises.append(False)
    bench.pass_ms(WAKE_AGAIN_MS)
    assert bench.words("toy/desk") == ("woke-x",)
    assert bench.shard.ledger.pending == {}
    bench.same()


# ------------------------------------------------------------------- a history of another release


def test_a_history_that_this_release_cannot_fold_costs_one_aggregate_and_not_the_shard() -> None:
    newer = _live()
    newer.do("ward/a", "say:leg-c1;say:new;say:after;act:play")
    newer.do("ward/b", "say:old")
    newer.settle()
    older = Bench("b", nodes=(NODE,), log=newer.log, keys=newer.keys, group=_with(_older, "ward", "toy"))
    assert older.shard.unread == 1
    older.shard.claim(older.now)
    older.settle()
    older.node(legs=[("t1", "c1")])
    assert _in_quarantine(older) == ["ward/a"]
    assert older.words("ward/b") == ("old",)
    assert older.words("toy/desk") == ("left-a",)
    older.same()
    # From now on the newer release agrees: it stands in the log.
    newest = Bench("c", nodes=(NODE,), log=older.log, keys=older.keys)
    assert [row.quarantine is not None for _, _, row in newest.shard.ledger.quarantined()] == [True]
    assert list(newest.shard.ledger.parts()) == list(older.shard.ledger.parts())


def test_what_is_over_is_not_set_aside_by_who_could_not_read_its_end() -> None:
    newer = _live()
    newer.do("ward/a", "say:leg-c1;say:new;act:play")
    newer.settle()
    newer.do("ward/a", "over")
    newer.settle()
    older = Bench("b", nodes=(NODE,), log=newer.log, keys=newer.keys, group=_with(_older, "ward"))
    assert (older.shard.unread, older.shard.ledger.pending) == (0, {})
    assert list(older.shard.ledger.parts()) == list(newer.shard.ledger.parts())


def test_a_desk_that_an_older_release_cannot_fold_is_taken_back_by_the_newer_one() -> None:
    newer = _live(_with(_mutable, "toy"))
    newer.do("toy/desk", "say:old;say:new;say:after")
    newer.settle()

    def older_too(kind: Kind) -> Kind:
        mutable = _mutable(kind)

        def raises(state: Slate, event: Did) -> Slate:
            mutable.evolve(state, event)
            if event.value == "say:new":
                raise KeyError(event.value)
            return state

        return replace(mutable, evolve=raises)

    older = Bench("b", log=newer.log, keys=newer.keys, group=_with(older_too, "toy")).live()
    assert older.words("toy/desk") == ["old"]
    again = Bench("c", log=older.log, keys=older.keys, group=_with(older_too, "toy")).live()
    assert _in_quarantine(again) == ["toy/desk"]  # it still cannot, and does not pretend to
    back = Bench("d", log=again.log, keys=again.keys, group=_with(_mutable, "toy")).live()
    assert back.words("toy/desk") == ["old", "new", "after"]
    assert _in_quarantine(back) == []
    back.same()


def test_an_event_and_an_order_of_unknown_names_cost_their_aggregate() -> None:
    newer = _live()
    newer.do("ward/a", "say:x")
    newer.settle()
    renamed = Codec(("toy.did_otherwise", *_row(service().events)))
    older = Bench("b", nodes=(NODE,), log=newer.log, keys=newer.keys, group=_with(lambda kind: kind, events=renamed))
    assert older.shard.unread == 1
    newer.do("ward/b", "act:play")
    newer.settle()
    made = service()
    group = Group("toys", (replace(made, effects=Codec()),), {"far": "elsewhere"}, "toy")
    assert Bench("c", nodes=(NODE,), log=newer.log, keys=newer.keys, group=group).shard.unread == 1


def _row(codec: Codec) -> tuple[type, Any]:
    ((name, cls),) = codec.classes()
    return cls, codec._by_name[name].message


def test_an_event_of_a_kind_that_is_not_there_is_told_as_what_it_is() -> None:
    newer = _live()
    newer.do("ward/a", "say:x")
    newer.settle()
    made = service()
    group = Group("toys", (replace(made, kinds=made.kinds[:2]),), {"far": "elsewhere"}, "toy")
    with pytest.raises(BadHistory, match="ward/a"):
        Bench("b", log=newer.log, group=group)


def test_a_snapshot_holds_what_is_in_quarantine() -> None:
    bench = _live()
    _quarantined(bench, "c1")
    bench.do("toy/desk", "boom")
    bench.settle()
    restored = restore(bench.group, bench.shard.ledger.parts())
    assert [stream for _, stream, _ in restored.quarantined()] == ["toy/desk", "ward/a"]
    assert restored.aggregates["t1", "ward/a"].legs == ((NODE, "c1"),)


# ------------------------------------------------------------------- many


def test_with_many_quarantines_a_process_claims_no_more() -> None:
    gate = Gate(2)
    assert gate.opens(2) and not gate.opens(3)
    bench = _live()
    gate.counts.append(bench.shard.counts)
    for name in ("a", "b"):
        bench.do(f"ward/{name}", "say:x;boom")
    bench.settle()
    assert gate.opens(0) and not gate.opens(1)


def test_every_count_is_declared_and_begins_at_nothing() -> None:
    counts = Bench().shard.counts
    assert len(NAMES) >= 12
    assert all(getattr(counts, name) == 0 for name in NAMES)
