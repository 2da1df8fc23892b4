"""A tenant's gate: which calls are let in, and what becomes of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.decider import Act, EffectEnded, Tell
from tandem.core.ports.media import By, Cause, HangUp, LegEnded, Outcome
from tandem.core.seal import Secret, Withheld
from tandem.runtime.step import Offer
from tandem.session.domain import gate as g
from tandem.session.domain import words as w
from tandem.session.domain.contact import states
from tandem.session.events import CONTACT
from tests.support.given import AT, Given, context
from tests.support.small_cell import NODE, TENANT, SmallCell

QUOTA = g.PublishQuota(1, 3, 10, 5)


def a_gate(*past: object) -> Given:
    return Given(g.KIND, "gate", past)


def gate_of(quota: g.PublishQuota = QUOTA) -> g.Gate:
    return a_gate().when(quota).state  # type: ignore[no-any-return]


def test_a_quota_begins_with_a_full_bucket() -> None:
    gate = gate_of()
    assert (gate.version, gate.live_contacts, gate.level_at(AT)) == (1, 3, 5000)


def test_an_older_quota_that_comes_late_is_passed_over() -> None:
    a_gate(g.QuotaTaken(2, 3, 10, 5, AT)).when(QUOTA).nothing()


def test_a_new_quota_fills_no_bucket() -> None:
    """Else an operator's change would let a storm in."""
    empty = [g.CallCounted(0, AT)]
    when = a_gate(g.QuotaTaken(1, 3, 10, 5, AT), *empty).when(g.PublishQuota(2, 3, 10, 50), AT + 100)
    assert when.state.level_at(AT + 100) == 1000


def test_a_contact_beyond_the_quota_is_not_let_in() -> None:
    assert gate_of().refusal(2, AT) == ""
    assert gate_of().refusal(3, AT) == g.CONTACT_QUOTA_EXCEEDED


def test_calls_above_the_rate_are_not_let_in_until_the_bucket_fills() -> None:
    gate = gate_of()
    for _ in range(5):
        assert gate.refusal(0, AT) == ""
        gate = Given(g.KIND, "gate").kind.evolve(gate, *g.decide(gate, g.CountCall(AT), context("gate")))
    assert gate.refusal(0, AT) == g.SETUP_RATE_EXCEEDED
    assert gate.refusal(0, AT + 99) == g.SETUP_RATE_EXCEEDED
    assert gate.refusal(0, AT + 100) == ""


def test_a_call_that_began_without_asking_takes_what_is_left() -> None:
    gate = gate_of()
    for _ in range(6):  # one more than there are
        (event,) = g.decide(gate, g.CountCall(AT), context("gate"))
        gate = Given(g.KIND, "gate").kind.evolve(gate, event)
    assert event.level_m == 0
    assert gate.refusal(0, AT + 100) == ""


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 20),
    arrivals=st.lists(st.integers(0, 10_000), max_size=200),
)
def test_any_window_has_at_most_burst_and_rate(rate: int, burst: int, arrivals: list[int]) -> None:
    """In whatever order calls come, those let in between two of them are never more than the
    burst and what the time between the two gives."""
    gate = gate_of(g.PublishQuota(1, 1000, rate, burst))
    gate = replace(gate, at_ms=0)
    let_in: list[int] = []
    for at in arrivals:
        if not gate.refusal(0, at):
            (event,) = g.decide(gate, g.CountCall(at), context("gate"))
            gate = g.evolve(gate, event)
            let_in.append(gate.at_ms)
    for first in range(len(let_in)):
        for last in range(first, len(let_in)):
            span = let_in[last] - let_in[first]
            assert (last - first + 1) * 1000 <= burst * 1000 + span * rate


def test_the_leg_of_a_refused_call_is_ended_with_503() -> None:
    when = a_gate(g.QuotaTaken(1, 3, 10, 5, AT)).when(g.RefuseCall("m1", "c1"))
    order = w.MediaOrder("m1", "c1", HangUp(Cause.REFUSED))
    when.then([g.CallRefused("m1", "c1")], [Act("refuse/c1", "media", order, g.REFUSE_DEADLINE_MS)])
    a_gate(g.QuotaTaken(1, 3, 10, 5, AT)).when(EffectEnded("refuse/c1", Outcome.DONE)).nothing()


# ------------------------------------------------------------------- the contact


@pytest.mark.parametrize(
    ("living", "level", "reason"),
    [(3, 5, g.CONTACT_QUOTA_EXCEEDED), (0, 0, g.SETUP_RATE_EXCEEDED)],
)
def test_a_call_that_is_not_let_in_begins_no_contact(living: int, level: int, reason: str) -> None:
    closed = replace(gate_of(), level_m=level * 1000)
    known = replace(context("contact/c1"), gate=closed, living=living)
    (event,) = CONTACT.decide(states.New(), w.TakeCall("m1", AT, "100", Withheld()), known)
    assert event == w.ContactTurnedAway("100", reason, AT, "c1", "m1")
    state = CONTACT.evolve(states.New(), event)
    assert CONTACT.over(state)
    assert CONTACT.react(state, event) == (Tell("gate", g.RefuseCall("m1", "c1")),)


def test_without_a_gate_every_call_is_let_in() -> None:
    known = replace(context("contact/c1"), living=1_000_000)
    started, *_ = CONTACT.decide(states.New(), w.TakeCall("m1", AT, "100", Withheld()), known)
    assert isinstance(started, w.ContactStarted)


# ------------------------------------------------------------------- in a shard


def _cell(live_contacts: int, setups_per_s: int = 100, burst: int = 100) -> SmallCell:
    cell = SmallCell()
    cell.configure("ann")
    quota = g.PublishQuota(1, live_contacts, setups_per_s, burst)
    cell.shard.offer(Offer(f"tenant/0/{TENANT}", 1000, TENANT, "gate", quota))
    cell.settle()
    return cell


def _arrive(cell: SmallCell, contact: str) -> None:
    cell.input(f"contact/{contact}", w.TakeCall(NODE, cell.shard.now_ms, "100", Secret(b"+4420111")))


def test_the_quota_s_last_call_is_let_in_the_next_is_refused_and_a_place_comes_free() -> None:
    cell = _cell(live_contacts=2)
    _arrive(cell, "c1")
    _arrive(cell, "c2")
    _arrive(cell, "c3")
    assert (cell.state("contact/c2") is not None, cell.state("contact/c3")) == (True, None)
    (refused,) = cell.orders(HangUp)
    assert (refused.payload.leg, refused.payload.verb.cause) == ("c3", Cause.REFUSED)
    cell.leg("c3", LegEnded(Cause.REFUSED, By.TANDEM))
    cell.outcome(refused.key)
    assert [key for key in cell.shard.ledger.pending if "/gate/" in key] == []
    _arrive(cell, "c4")
    assert cell.state("contact/c4") is None
    cell.leg("c1", LegEnded(Cause.NORMAL, By.FAR))
    _arrive(cell, "c5")
    assert cell.state("contact/c5") is not None


def test_a_successor_knows_the_quota_and_who_is_there_and_ends_the_refused_leg() -> None:
    cell = _cell(live_contacts=1)
    _arrive(cell, "c1")
    _arrive(cell, "c2")
    cell.performed.clear()
    cell.start("owner-2")
    assert [order.payload.leg for order in cell.orders(HangUp)] == ["c2"]
    _arrive(cell, "c3")
    assert cell.state("contact/c3") is None


def test_a_storm_is_let_in_at_its_rate() -> None:
    cell = _cell(live_contacts=1000, setups_per_s=10, burst=5)
    for index in range(20):
        _arrive(cell, f"a{index}")
    assert sum(cell.state(f"contact/a{index}") is not None for index in range(20)) == 5
    cell.pass_ms(1000)
    for index in range(20):
        _arrive(cell, f"b{index}")
    assert sum(cell.state(f"contact/b{index}") is not None for index in range(20)) == 5
    cell.pass_ms(300)
    for index in range(20):
        _arrive(cell, f"c{index}")
    assert sum(cell.state(f"contact/c{index}") is not None for index in range(20)) == 3
