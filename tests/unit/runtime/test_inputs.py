"""How inputs are worked off: each once, one after another, tenants in turn (rules 3, 4 and 12; L1, L5, L6)."""

from __future__ import annotations

import pytest

from tandem.core.commit import Commit, Part
from tandem.core.decider import MAX_HOPS
from tandem.core.ports.media import CommandSettled, Outcome
from tandem.core.seal import AUDIO
from tandem.runtime import log_codec
from tandem.runtime.keyring import KEY_BLOCK
from tandem.runtime.outputs import LoadKeys, Taken
from tandem.runtime.step import Offer
from tandem.runtime.turns import MAX_CLIENTS, MAX_INPUTS, MAX_SHARED
from tests.support.bench import Bench, reason, value
from tests.support.toy import NODE, Do


def _live() -> Bench:
    bench = Bench(nodes=(NODE,)).live()
    bench.left.clear()
    return bench


# ------------------------------------------------------------------- numbered sources


def test_marks_are_kept_per_source_and_tenant() -> None:
    """L1: one position for two writers loses or repeats; here each has its own."""
    bench = _live()
    bench.do("toy/a", "say:x", source="tenant/0", number=100)
    bench.do("toy/a", "say:y", source="live/1", number=7)
    bench.do("toy/a", "say:z", tenant="t2", source="tenant/0", number=3)
    bench.settle()
    successor = Bench("b", log=bench.log, keys=bench.keys).live()
    successor.do("toy/a", "say:x", source="tenant/0", number=100)
    successor.do("toy/a", "say:y", source="live/1", number=7)
    successor.do("toy/a", "say:w", source="live/1", number=8)
    successor.do("toy/a", "say:z", tenant="t2", source="tenant/0", number=3)
    successor.settle()
    assert successor.words("toy/a") == ("x", "y", "w")
    assert successor.words("toy/a", "t2") == ("z",)


def test_a_repeat_is_done_already_and_leaves_no_record() -> None:
    bench = _live()
    bench.do("toy/a", "say:x", number=5)
    bench.settle()
    records = len(bench.log)
    bench.do("toy/a", "say:x", number=5)
    bench.do("toy/a", "say:x", number=4)
    bench.settle()
    assert (bench.words("toy/a"), len(bench.log)) == (("x",), records)


def test_a_mark_is_told_once_durable_even_if_nothing_happened() -> None:
    bench = _live()
    bench.do("toy/a", "")
    bench.turn()
    assert bench.taken() == []
    bench.settle()
    assert bench.taken() == [Taken("src/t1", "t1", 1)]
    assert "toy/a" not in {stream for _, stream in bench.shard.ledger.aggregates}


# ------------------------------------------------------------------- one after another


def test_each_input_is_decided_on_what_the_earlier_left() -> None:
    """L5: hang-up and accept in one batch must not both see the state before it."""
    bench = _live()
    bench.do("nobody/a", "say:never")
    bench.do("toy/a", "say:first;over")
    bench.do("toy/a", "say:second")
    bench.settle()
    (commit,) = [c for c in bench.commits() if c.inputs]
    assert [envelope.part.clear[2:] for envelope in commit.events] == [b"say:first", b"over"]
    assert [taken.number for taken in commit.inputs] == [1, 2, 3]


def test_messages_are_handled_to_the_end_inside_the_step() -> None:
    """L2: what one input sets off is one commit."""
    bench = _live()
    bench.do("toy/a", "tell:toy/b:act:ring,tell:toy/c:say_told;say:x")
    bench.settle()
    (commit,) = [c for c in bench.commits() if c.inputs]
    assert [envelope.stream for envelope in commit.events] == ["toy/a", "toy/a", "toy/b", "toy/b", "toy/c"]
    assert [effect.name for effect in commit.effects] == ["ring"]
    bench.same()


def test_a_message_to_another_group_leaves_with_the_commit() -> None:
    bench = _live()
    bench.do("toy/a", "ask:far/x:say:hello")
    bench.settle()
    (message,) = bench.commits()[-1].messages
    assert (message.group, message.stream, message.sender) == ("elsewhere", "far/x", "toy/a")
    assert message.gone is not None and message.gone.type == "toy.do"


def test_sixteen_hops_are_worked_off_and_the_next_is_refused_alone() -> None:
    bench = _live()
    bench.do("toy/hop", f"hop:{MAX_HOPS}")
    bench.settle()
    assert bench.reports == []
    bench.do("toy/hop", f"say:start;hop:{MAX_HOPS + 4}")
    bench.settle()
    assert len(bench.reports) == 1 and "refused" in bench.reports[0]
    # What had happened stands, the asker has its closing answer, and the input is taken.
    assert bench.words("toy/hop") == ("start", "gone")
    assert bench.commits()[-1].inputs[0].refused == ""
    bench.same()


def test_the_closing_answer_of_a_message_past_the_limit_sets_off_no_endless_round() -> None:
    bench = _live()
    script = "say:x"
    bench.do("toy/hop", f"{script};hop:{MAX_HOPS + 4};hop:{MAX_HOPS + 9}")
    bench.settle()
    assert bench.words("toy/hop").count("gone") == 2


# ------------------------------------------------------------------- requests and their closing answers


@pytest.mark.parametrize("target", ["nobody/x", "toy/ended", "toy/raises", "toy/rejects"])
def test_a_request_always_has_one_closing_answer(target: str) -> None:
    """L7: not there, ended in this very step, raising, rejecting: the asker hears of it."""
    bench = _live()
    script = {"toy/raises": "raise", "toy/rejects": "reject"}.get(target, "say:hello")
    bench.do("toy/ended", "say:x;over")
    bench.do("toy/a", f"ask:{target}:{script}")
    bench.settle()
    assert bench.words("toy/a") == ("gone",)
    bench.same()


@pytest.mark.parametrize("script", ["raise", "reject", "say:x"])
def test_a_request_from_another_group_has_one_closing_answer_too(script: str) -> None:
    bench = _live()
    stream = "nobody/x" if script == "say:x" else "toy/x"
    table = bench.group.commands_of("toy/x")
    ask, gone = (Part("toy.do", table.encode(Do(text))[1]) for text in (script, "say:gone"))
    bench.shard.offer(Offer("far/0/t1", 1, "t1", stream, part=ask, sender="far/asker", gone=gone))
    bench.settle()
    (message,) = bench.commits()[-1].messages
    assert (message.group, message.stream, message.part) == ("elsewhere", "far/asker", gone)


# ------------------------------------------------------------------- what cannot be decided


@pytest.mark.parametrize("script", ["raise", "say:x;boom", "say:x;bang"])
def test_an_input_that_raises_is_refused_with_its_mark(script: str) -> None:
    """P1: the next owner must not meet it again; what evolved before it stands."""
    bench = _live()
    bench.do("toy/a", script)
    bench.do("toy/b", "say:unhurt")
    bench.settle()
    (commit,) = [c for c in bench.commits() if c.inputs]
    assert commit.inputs[0].refused == "ZeroDivisionError"
    assert commit.marks[0].number == 2
    assert len(bench.reports) == 1
    assert bench.words("toy/a") == (("x",) if "say" in script else ())
    assert bench.words("toy/b") == ("unhurt",)
    bench.same()


def test_a_client_whose_command_raises_is_told_so_without_the_text_of_the_exception() -> None:
    bench = _live()
    handle = bench.ask("toy/a", "raise")
    bench.settle()
    answered = bench.answer(handle)
    assert reason(answered) == "INTERNAL"
    assert answered is not None and answered.error is not None
    assert "script" not in answered.error.message


def test_a_message_that_this_release_cannot_read_is_refused_with_its_mark() -> None:
    bench = _live()
    for number, part in enumerate((Part("toy.later", b""), Part("toy.do", b"\xff\xff")), 1):
        bench.shard.offer(Offer("far/0/t1", number, "t1", "toy/a", part=part))
    bench.shard.offer(Offer("far/0/t1", 3, "t1", "later/a", part=Part("toy.do", b"")))
    bench.do("toy/b", "say:unhurt")
    bench.settle()
    refused = [taken.refused for commit in bench.commits() for taken in commit.inputs if taken.refused]
    assert refused == ["UnknownType", "DecodeError", "KeyError"]
    assert bench.taken()[0] == Taken("far/0/t1", "t1", 3)
    assert bench.words("toy/b") == ("unhurt",)
    bench.same()


# ------------------------------------------------------------------- effects


def test_what_a_step_settles_itself_is_neither_written_nor_performed() -> None:
    bench = _live()
    bench.do("toy/a", "act:ring;say:x;settle:ring;act:play")
    bench.settle()
    commit = bench.commits()[-1]
    assert [effect.name for effect in commit.effects] == ["play"]
    assert [perform.payload.leg for perform in bench.performed()] == ["play"]
    bench.same()


def test_an_effect_of_a_name_takes_the_place_of_the_earlier_one() -> None:
    bench = _live()
    bench.do("toy/a", "act:play")
    bench.settle()
    bench.do("toy/a", "act:play")
    bench.settle()
    assert list(bench.shard.ledger.pending) == ["t1/toy/a/2.2/0"]
    bench.same()


def test_an_effect_replaced_and_settled_in_one_step_leaves_nothing_pending_for_anybody() -> None:
    bench = _live()
    bench.do("toy/a", "act:play")
    bench.settle()
    bench.do("toy/a", "act:play;settle:play")
    bench.settle()
    assert bench.shard.ledger.pending == {}
    bench.same()


def test_an_aggregate_that_is_over_takes_all_it_has_pending_with_it() -> None:
    bench = _live()
    bench.do("toy/a", "act:play;wake:later:99999999999999")
    bench.settle()
    bench.do("toy/a", "over")
    bench.settle()
    assert (bench.shard.ledger.pending, bench.shard.ledger.names, bench.shard.ledger.aggregates) == ({}, {}, {})
    bench.same()


def test_a_name_that_comes_again_has_other_keys_than_in_its_first_life() -> None:
    """A node knows a key with its outcome: it would answer the second life's order from the first one's. And
    what the first life had asked for may end when the second has begun."""
    bench = _live()
    for _ in range(2):
        bench.do("toy/a", "act:play")
        bench.settle()
        bench.do("toy/a", "over")
        bench.settle()
    first, second = (perform.key for perform in bench.performed())
    assert first != second
    bench.do("toy/a", "act:play")
    bench.shard.settled(f"media/{NODE}/i1/t1", 1, "t1", "toy/a", CommandSettled(first, Outcome.DONE))
    bench.settle()
    assert [pending.effect.name for pending in bench.shard.ledger.pending.values()] == ["play"]
    assert bench.words("toy/a") == ("late-DONE",)
    bench.same()


def test_an_outcome_settles_its_effect_and_names_it_to_the_decider() -> None:
    bench = _live()
    bench.do("toy/a", "act:play")
    bench.settle()
    (perform,) = bench.performed()
    for number, outcome in ((1, Outcome.DONE), (2, Outcome.FAILED)):
        body = CommandSettled(perform.key, outcome)
        bench.shard.settled(f"media/{NODE}/i1/t1", number, "t1", "toy/a", body)
        bench.settle()
    assert bench.words("toy/a") == ("play-DONE", "late-FAILED")  # the second one names nothing
    assert bench.shard.ledger.pending == {}
    bench.same()


def test_a_wake_comes_once_when_it_is_due() -> None:
    bench = _live()
    at = bench.shard.now_ms + 1000
    bench.do("toy/a", f"wake:x:{at};wake:y:{at};say:armed")
    bench.pass_ms(999)
    bench.do("toy/a", "settle:y")
    assert bench.words("toy/a") == ("armed",)
    bench.pass_ms(1)
    bench.pass_ms(5000)
    assert bench.words("toy/a") == ("armed", "woke-x")
    assert bench.shard.ledger.pending == {}
    bench.same()


def test_a_receiver_is_asked_again_after_the_deadline() -> None:
    bench = _live()
    bench.do("toy/a", "act:play")
    bench.settle()
    bench.pass_ms(4999)
    assert len(bench.performed()) == 1
    bench.pass_ms(1)
    assert [(p.key, p.again) for p in bench.performed()] == [("t1/toy/a/1.1/0", False), ("t1/toy/a/1.1/0", True)]


# ------------------------------------------------------------------- tenants in turn


def test_a_storm_of_one_tenant_leaves_the_others_their_turns() -> None:
    bench = _live()
    for index in range(2 * MAX_INPUTS):
        bench.do("toy/a", f"say:{index}", tenant="storm")
    bench.do("toy/a", "say:calm", tenant="calm")
    bench.one_turn()
    (first,) = map(_decoded, bench.appended)
    assert [taken.tenant for taken in first.inputs] == ["storm"] * MAX_SHARED + ["calm"]
    assert bench.shard.busy


def test_storms_of_many_tenants_leave_the_last_one_its_turn() -> None:
    """As many tenants as fill a step: the next one must not wait until one of them is through."""
    bench = _live()
    storms = MAX_INPUTS // MAX_SHARED
    for tenant in range(storms):
        for index in range(40 * MAX_SHARED):
            bench.do("toy/a", f"say:{index}", tenant=f"storm{tenant}")
    bench.do("toy/a", "say:calm", tenant="calm")
    bench.turn()
    steps = [[taken.tenant for taken in c.inputs] for c in map(_decoded, bench.appended)]
    calm = next(index for index, tenants in enumerate(steps) if "calm" in tenants)
    assert calm <= 1, f"calm had its turn in step {calm}"
    for tenant in range(storms):
        numbers = [t.number for c in map(_decoded, bench.appended) for t in c.inputs if t.tenant == f"storm{tenant}"]
        assert numbers == sorted(numbers)


def _decoded(body: bytes) -> Commit:
    record = log_codec.decode(body)
    assert isinstance(record, Commit)
    return record


def test_clients_beyond_the_limit_are_turned_away_and_numbered_inputs_never() -> None:
    bench = Bench().live()
    bench.hold_keys = True
    bench.shard._keys._unused.clear()  # so that nothing can be decided
    for _ in range(MAX_CLIENTS):
        assert bench.shard.offer(Offer("client/k1", 0, "t1", "vault/a", Do("say:x"), handle=object()))
    assert not bench.shard.offer(Offer("client/k1", 0, "t1", "vault/a", Do("say:x"), handle=object()))
    assert bench.shard.offer(Offer("media/m1/i1/t1", 1, "t1", "toy/a", Do("say:x")))
    assert bench.shard.offer(Offer("client/k2", 0, "t2", "vault/a", Do("say:x"), handle=object()))


# ------------------------------------------------------------------- data keys


def test_an_input_without_a_key_at_hand_waits_and_goes_on_in_order() -> None:
    bench = Bench()
    bench.hold_keys = True
    bench.shard.claim(bench.now)
    bench.settle()
    bench.shard.offer(Offer("media/m1/i1/t1", 1, "t1", "vault/a", Do("say:x")))
    bench.shard.offer(Offer("media/m1/i1/t1", 2, "t1", "toy/a", Do("say:y")))
    bench.shard.offer(Offer("media/m1/i1/t2", 1, "t2", "toy/a", Do("say:z")))
    bench.settle()
    assert bench.words("toy/a", "t2") == ("z",)  # another tenant does not wait
    assert bench.words("vault/a") == bench.words("toy/a") == ()
    bench.load_keys()
    bench.settle()
    assert (bench.words("vault/a"), bench.words("toy/a")) == (("x",), ("y",))
    (begun,) = [taken for commit in bench.commits() for taken in commit.inputs if taken.key]
    assert bench.shard.ledger.aggregates["t1", "vault/a"].key == begun.key
    bench.same()


def test_keys_are_asked_for_ahead_and_never_given_twice() -> None:
    bench = Bench().live()
    for index in range(2 * KEY_BLOCK):
        bench.do(f"vault/{index}", "say:x")
        bench.settle()
    given = [aggregate.key for aggregate in bench.shard.ledger.aggregates.values()]
    assert len(set(given)) == len(given) == 2 * KEY_BLOCK
    successor = Bench("b", log=bench.log, keys=bench.keys).live()
    successor.do("vault/new", "say:x")
    successor.settle()
    assert successor.shard.ledger.aggregates["t1", "vault/new"].key not in given
    for key in (given[0], given[0] + AUDIO):
        assert successor.shard.key(key) == bench.keys[key]


def test_the_key_of_an_aggregate_that_is_over_is_forgotten() -> None:
    bench = Bench().live()
    bench.do("vault/a", "say:x")
    bench.settle()
    key = bench.shard.ledger.aggregates["t1", "vault/a"].key
    assert bench.shard.key(key) is not None
    assert bench.shard.key(key + AUDIO) not in (None, bench.shard.key(key))
    bench.do("vault/a", "over")
    bench.settle()
    assert bench.shard.key(key) is bench.shard.key(key + AUDIO) is None
    assert LoadKeys not in {type(output) for output in bench.left}


def test_unique_is_another_for_each_decision_of_the_cell() -> None:
    """Two messages of one hop are two decisions: the offers that they lead to have ids of their own."""
    seen: list[str] = []
    for number in (0, 1):
        bench = Bench().live()
        bench.shard.partition = type(bench.shard.partition)("toys", number)
        for tenant in ("t1", "t2"):
            bench.do("toy/a", "unique;tell:toy/b:unique;tell:toy/b:unique", tenant=tenant, number=1)
            bench.ask("toy/a", "unique", tenant=tenant)
            bench.ask("toy/a", "unique", tenant=tenant)
            bench.settle()
            seen += bench.words("toy/a", tenant) + bench.words("toy/b", tenant)
    assert len(set(seen)) == len(seen) == 20


def test_an_answer_waits_for_the_commit_that_it_speaks_of() -> None:
    bench = _live()
    handle = bench.ask("toy/a", "say:x;answer")
    bench.turn()
    assert bench.answer(handle) is None
    bench.store()
    bench.turn()
    assert value(bench.answer(handle)).value == "x"
