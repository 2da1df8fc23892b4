"""Load, claim, take what the nodes kept, settle what is pending, and only then arm timers (rule 9; T1, T2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from tandem.core.commit import Commit
from tandem.core.ports.log import Stored
from tandem.core.ports.media import CommandSettled, Originate, Outcome
from tandem.core.seal import Withheld
from tandem.runtime import log_codec
from tandem.runtime.ledger import STEPPED
from tandem.runtime.outputs import Append, AskLegs, Introduce, LoadKeys, Perform, Taken
from tandem.runtime.restore import restore
from tandem.runtime.shard import HEARTBEAT_MS, NODE_PATIENCE_MS, Phase
from tandem.runtime.shardtime import Instant
from tandem.runtime.step import Answered, Offer
from tandem.runtime.traced import Committed
from tandem.runtime.turns import MAX_INPUTS
from tandem.session.domain.words import MediaOrder
from tests.support.bench import BOOT, Bench, value
from tests.support.toy import NODE, Do

SOURCE = f"media/{NODE}/i1/t1"


def _before(*scripts: str, stream: str = "toy/a") -> Bench:
    """An owner that has taken one input of the node for each script, and dies."""
    bench = Bench(nodes=(NODE,)).live()
    for script in scripts:
        bench.do(stream, script, source=f"media/{NODE}/i1")
        bench.settle()
    return bench


def _from_zero_and_from_a_snapshot(dead: Bench) -> Iterator[Bench]:
    """Two successors, whose node has told all it kept."""
    snapshot = restore(dead.group, iter(list(dead.folded().parts())))
    for ledger in (None, snapshot):
        bench = Bench("b", (NODE,), list(dead.log), now=dead.now, ledger=ledger, offset=len(dead.log) if ledger else 0)
        bench.shard.claim(bench.now)
        bench.settle()
        bench.node()
        yield bench


def _successor(dead: Bench, now: Instant | None = None) -> Bench:
    """The next owner, whose claim counts; no node has answered it yet."""
    bench = Bench("b", (NODE,), dead.log, keys=dead.keys, now=now or dead.now)
    bench.shard.claim(bench.now)
    bench.settle()
    assert bench.shard.phase is Phase.RECOVERING
    return bench


def _kept(bench: Bench, *scripts: str) -> None:
    """What the node kept while there was no owner, and the end of it."""
    first = bench.shard.ledger.mark(SOURCE, "t1") + 1
    for number, script in enumerate(scripts, first):
        assert bench.shard.offer(Offer(SOURCE, number, "t1", "toy/a", Do(script)))
    bench.shard.node_kept(NODE)


def test_nothing_is_decided_before_every_node_knows_the_epoch() -> None:
    dead = _before("act:play;wake:late:1700000000001;say:x")
    written = len(dead.commits())
    bench = Bench("b", (NODE, "m2"), dead.log, keys=dead.keys, now=dead.now)
    bench.shard.claim(bench.now)
    bench.turn()
    bench.store()
    outputs = bench.turn()
    assert [o for o in outputs if not isinstance(o, LoadKeys)] == [Introduce(NODE, 2), Introduce("m2", 2)]
    bench.pass_ms(NODE_PATIENCE_MS - 1)
    assert len(bench.commits()) == written


def test_the_order_of_a_takeover() -> None:
    dead = _before("act:old", f"wake:timer:{BOOT.wall_ms + 10}", "say:before;act:play")
    bench = _successor(dead)
    bench.left.clear()
    client = bench.ask("toy/a", "say:client;answer")
    bench.do("toy/a", "say:message", source="tenant/0")
    bench.pass_ms(1000)  # the wake is long due
    assert bench.left == []
    bench.shard.node_up(NODE, "i1")
    _kept(bench, "say:kept;act:new")
    bench.settle()
    bench.shard.node_legs(NODE, [])
    bench.settle()
    assert bench.shard.phase is Phase.LIVE
    assert bench.words("toy/a") == ("before", "kept", "client", "message", "woke-timer")
    told = [o for o in bench.left if not isinstance(o, Committed)]
    orders = [type(o).__name__ + getattr(getattr(o, "payload", None), "leg", "") for o in told]
    assert orders == ["Performold", "Performplay", "AskLegs", "Taken", "Performnew", "Taken", "Answered"]
    assert value(bench.answer(client)).value == "before kept client"
    bench.same()


def test_what_the_node_kept_comes_before_what_is_pending_even_if_it_comes_slowly() -> None:
    dead = _before("act:play", "act:ring")
    bench = _successor(dead)
    bench.shard.node_up(NODE, "i1")
    bench.pass_ms(NODE_PATIENCE_MS - 1)
    assert bench.performed() == []
    first = bench.shard.ledger.mark(SOURCE, "t1") + 1
    settled = CommandSettled("t1/toy/a/1.1/0", Outcome.DONE)
    bench.shard.settled(SOURCE, first, "t1", "toy/a", settled)
    bench.shard.node_kept(NODE)
    bench.settle()
    assert [(p.key, p.again) for p in bench.performed()] == [("t1/toy/a/2.2/0", True)]


def test_a_takeover_waits_for_what_was_kept_and_not_for_what_keeps_coming() -> None:
    dead = _before("act:play", "act:ring")
    bench = _successor(dead)
    bench.shard.node_up(NODE, "i1")
    numbers = count(bench.shard.ledger.mark(SOURCE, "t1") + 1)

    def turn_with_more() -> None:
        """More comes than a step decides."""
        for _ in range(3 * MAX_INPUTS):
            assert bench.shard.offer(Offer(SOURCE, next(numbers), "t1", "toy/a", Do("say:later")))
        bench.one_turn()
        bench.store()

    kept = 100
    for _ in range(kept):
        assert bench.shard.offer(Offer(SOURCE, next(numbers), "t1", "toy/a", Do("say:kept")))
    bench.shard.settled(SOURCE, next(numbers), "t1", "toy/a", CommandSettled("t1/toy/a/1.1/0", Outcome.DONE))
    bench.shard.node_kept(NODE)
    while bench.words("toy/a").count("kept") < kept:
        assert not bench.performed(), "what was kept may settle it"
        turn_with_more()
    turn_with_more()
    assert [p.payload.leg for p in bench.performed()] == ["ring"]
    bench.shard.node_legs(NODE, [])
    turn_with_more()
    told = bench.words("toy/a").count("later") + bench.shard.waiting
    while bench.words("toy/a").count("later") < told:
        turn_with_more()
    assert bench.shard.phase is Phase.LIVE


def test_pending_effects_are_offered_oldest_first_with_their_first_keys() -> None:
    dead = _before(*[f"act:o{index}" for index in range(12)])
    keys = [f"t1/toy/a/{version}.{version}/0" for version in range(1, 13)]
    for bench in _from_zero_and_from_a_snapshot(dead):
        assert [(p.key, p.again) for p in bench.performed()] == [(key, True) for key in keys]


def test_settled_effects_are_not_offered_again() -> None:
    dead = _before("act:play", "act:ring", "settle:play")
    bench = _successor(dead)
    bench.node()
    assert [p.payload.leg for p in bench.performed()] == ["ring"]


def test_what_an_earlier_engine_left_pending_keeps_its_keys() -> None:
    """Engine 1 wrote them without the commit's number."""
    dead = _before(*[f"act:o{index}" for index in range(12)])
    dead.log = [_of_engine_1(stored) for stored in dead.log]
    for bench in _from_zero_and_from_a_snapshot(dead):
        assert [p.key for p in bench.performed()] == [f"t1/toy/a/{version}/0" for version in range(1, 13)]
        bench.shard.settled(SOURCE, 13, "t1", "toy/a", CommandSettled("t1/toy/a/1/0", Outcome.DONE))
        bench.settle()
        assert bench.words("toy/a") == ("o0-DONE",)


def _of_engine_1(stored: Stored) -> Stored:
    record = log_codec.decode(stored.body)
    if not isinstance(record, Commit):
        return stored
    effects = tuple(replace(one, key=one.key.replace(f".{record.n}/", "/")) for one in record.effects)
    return Stored(stored.offset, log_codec.encode(replace(record, engine="1", effects=effects)))


def test_a_silent_node_gets_two_seconds_and_then_timers_are_armed() -> None:
    dead = _before(f"wake:timer:{BOOT.wall_ms + 10};act:play")
    bench = _successor(dead)
    assert bench.shard.next_ms(bench.now) == bench.now.boottime_ms + NODE_PATIENCE_MS
    bench.pass_ms(NODE_PATIENCE_MS - 1)
    assert (bench.shard.phase, bench.words("toy/a")) == (Phase.RECOVERING, ())
    bench.pass_ms(1)
    assert (bench.shard.phase, bench.words("toy/a")) == (Phase.LIVE, ("woke-timer",))
    assert bench.performed() == []  # the node is still silent
    bench.node(legs=[])
    assert [(p.key, p.again) for p in bench.performed()][:1] == [("t1/toy/a/2.1/0", True)]


def test_a_takeover_waits_for_keys_as_well() -> None:
    dead = Bench(nodes=()).live()
    dead.do("vault/a", "say:x")
    dead.settle()
    bench = Bench("b", (), dead.log, keys=dead.keys)
    bench.hold_keys = True
    bench.shard.claim(bench.now)
    bench.pass_ms(2 * NODE_PATIENCE_MS)
    assert bench.shard.phase is Phase.RECOVERING
    at = bench.shard.next_ms(bench.now)
    assert at is None or at > bench.now.boottime_ms  # nothing to do until they come
    bench.load_keys()
    bench.settle()
    assert bench.shard.phase is Phase.LIVE
    assert bench.shard.key(bench.shard.ledger.aggregates["t1", "vault/a"].key) is not None


def test_keys_of_one_epoch_are_never_those_of_another() -> None:
    first = Bench().live()
    second = Bench("b", log=first.log).live()
    assert not set(first.keys) & set(second.keys)


def test_a_leg_that_the_node_does_not_have_is_ended_and_one_that_it_has_is_not() -> None:
    dead = _before("say:leg-x;say:leg-y")
    bench = _successor(dead)
    bench.node(legs=[("t1", "x"), ("t2", "y")])
    assert bench.words("toy/a") == ("leg-x", "leg-y", "lost-y")  # another tenant's leg of that name is not ours
    bench.same()


def test_a_leg_whose_call_the_node_has_not_answered_yet_is_left_alone() -> None:
    """The list of legs and a new `Originate` may cross: only the outcome says what became of that."""
    bench = _before("say:leg-x")
    order = MediaOrder(NODE, "x", Originate("phone", 1000, "o1", Withheld()))
    aggregate = bench.shard.ledger.aggregates["t1", "toy/a"]
    bench.shard.ledger.pending["k"] = next(iter(_before("act:x").shard.ledger.pending.values()))
    pending = bench.shard.ledger.pending["k"]
    pending.payload = order
    bench.shard.node_legs(NODE, [])
    bench.settle()
    assert aggregate.state.words == ("leg-x",)


def test_a_node_that_comes_back_is_offered_everything_in_order_and_nothing_new_overtakes() -> None:
    bench = _before("act:old")
    bench.shard.node_down(NODE)
    bench.do("toy/a", "act:mid", source="tenant/0")
    bench.settle()
    bench.shard.node_up(NODE, "i1")
    bench.do("toy/a", "act:new", source="tenant/0")
    bench.turn()
    bench.left.clear()
    bench.store()  # durable, but the node has not said that it kept nothing
    _kept(bench, "say:kept")
    bench.settle()
    assert [(p.payload.leg, p.again) for p in bench.performed()] == [("old", True), ("mid", True), ("new", True)]
    asked = bench.left.index(AskLegs(NODE))
    assert all(not isinstance(output, Perform) for output in bench.left[asked:])


def test_an_order_in_flight_while_a_node_comes_back_leaves_once_and_after_the_pending_ones() -> None:
    bench = _before("act:old")
    bench.shard.node_down(NODE)
    bench.shard.node_up(NODE, "i1")
    bench.shard.node_kept(NODE)
    bench.do("toy/a", "act:new", source="tenant/0")
    bench.turn()
    bench.left.clear()
    bench.settle()
    assert [(p.payload.leg, p.again) for p in bench.performed()] == [("new", False)]


def test_only_durable_marks_are_told_to_a_node() -> None:
    """The node forgets what they cover; what is decided and not durable may have to be sent again."""
    bench = _before("say:x")
    bench.do("toy/a", "say:y", source=f"media/{NODE}/i1")
    bench.turn()
    assert bench.shard.marks_of(NODE, "i1") == ("i1", (("t1", 1),))
    bench.settle()
    assert bench.shard.marks_of(NODE, "i1") == ("i1", (("t1", 2),))
    assert bench.shard.marks_of(NODE) == ("i1", (("t1", 2),))
    assert bench.shard.marks_of(NODE, "i2") == ("i2", (("t1", 0),)), "nothing of it is taken, and whose it is is known"
    assert bench.shard.marks_of("m2") == ("", ())


def test_the_marks_of_the_newest_incarnation_are_told_after_a_snapshot_too() -> None:
    bench = Bench(nodes=(NODE,)).live()
    for incarnation in ("z9", "a1"):
        bench.do("toy/a", "say:x", source=f"media/{NODE}/{incarnation}")
    bench.settle()
    ledger = restore(bench.group, iter(list(bench.folded().parts())))
    successor = Bench("b", (NODE,), bench.log, ledger=ledger, offset=len(bench.log))
    successor.shard.claim(successor.now)
    successor.settle()
    assert successor.shard.marks_of(NODE) == ("a1", (("t1", 1),))


def test_clients_and_messages_wait_and_nothing_is_lost() -> None:
    bench = _successor(_before("say:before"))
    handles = [bench.ask("toy/a", f"say:{index};answer") for index in range(3)]
    assert not bench.shard.query(object(), lambda ledger: 1)
    bench.settle()
    assert not any(isinstance(output, Answered | Taken) for output in bench.left)
    bench.node()
    assert [value(bench.answer(handle)).value.split()[-1] for handle in handles] == ["0", "1", "2"]


def test_effects_of_other_receivers_are_offered_when_live() -> None:
    dead = _before("call:hook")
    bench = _successor(dead)
    assert bench.performed() == []
    bench.node()
    assert [(p.kind, p.key, p.again) for p in bench.performed()] == [("hook", "t1/toy/a/1.1/0", True)]


def test_a_successor_on_another_boot_records_that_time_stepped() -> None:
    dead = _before("say:x")
    written = len(dead.commits())
    rebooted = Instant(5000, dead.now.wall_ms + 600_000, "boot-2")
    bench = _successor(dead, rebooted)
    bench.node(legs=[])
    bench.do("toy/a", "say:y", source="tenant/0")
    bench.settle()
    commit = bench.commits()[written]
    assert [envelope.type for envelope in commit.events][-1] == STEPPED
    assert commit.shard_time_ms == rebooted.wall_ms
    bench.do("toy/a", "say:z", source="tenant/0")
    bench.settle()
    assert STEPPED not in [envelope.type for envelope in bench.commits()[-1].events]
    bench.same()


def test_a_successor_on_the_same_boot_goes_on_exactly() -> None:
    dead = _before("say:x")
    before = dead.commits()[-1]
    later = Instant(dead.now.boottime_ms + 3_600_000, dead.now.wall_ms - 7_000_000, dead.now.boot_id)
    bench = _successor(dead, later)
    assert bench.shard.now_ms == before.shard_time_ms + later.boottime_ms - before.boottime_ms
    assert HEARTBEAT_MS < 3_600_000  # however long the gap


def test_a_claim_is_one_record_and_the_first_output() -> None:
    bench = Bench()
    bench.shard.claim(bench.now)
    (output,) = bench.turn()
    assert isinstance(output, Append)
