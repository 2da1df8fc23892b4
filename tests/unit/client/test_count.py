"""Counting from facts: each count is shown to find what it counts, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from tandem.client import count
from tandem.client.count import Blame
from tandem.client.facts import By, CallFacts, Heard, Pressed, Quiet, Sound, Way

AGENT_HZ, CALLER_HZ = 1020.0, 400.0


def tone(hz: float, start: float, end: float) -> Heard:
    return Heard(Sound.TONE, start, end, hz)


def silence(start: float, end: float) -> Heard:
    return Heard(Sound.SILENCE, start, end)


def music(start: float, end: float) -> Heard:
    return Heard(Sound.OTHER, start, end)


def caller(number: str = "c1", **changes) -> CallFacts:
    """Presses at 2, hears an agent from 5 to 20, hangs up."""
    facts = CallFacts(
        number, CALLER_HZ, Way.OUT, "100", number, "", 0.0, f"d-{number}", 0.1, 1.0, 20.0, By.SELF,
        pressed=(Pressed("1", 2.0),), heard=(music(1.0, 5.0), tone(AGENT_HZ, 5.0, 20.0)),
    )  # fmt: skip
    return replace(facts, **changes)


def agent(of: str = "c1", **changes) -> CallFacts:
    """Rings at 3, answers at 4, hears the caller from 5 to 20, gets the BYE."""
    facts = CallFacts(
        "ann", AGENT_HZ, Way.IN, "ann", of, "o1", 3.0, f"a-{of}", 3.0, 4.0, 20.1, By.FAR,
        heard=(silence(4.0, 5.0), tone(CALLER_HZ, 5.0, 20.0)),
    )  # fmt: skip
    return replace(facts, **changes)


def test_a_good_call_counts_nothing():
    calls = [caller(), agent()]
    assert count.dropped(calls) == []
    assert count.rung_twice(calls) == []
    assert count.overtaken(calls, "1") == []
    assert count.refused(calls) == {}
    assert count.waits(calls) == [3.0]
    assert count.talks(calls[0], calls) == [calls[1]]


def test_a_bye_to_a_waiting_caller_is_a_drop_unless_the_flow_may():
    left = caller(by=By.FAR, heard=(music(1.0, 20.0),))
    assert [drop.call for drop in count.dropped([left])] == [left]
    assert count.dropped([left], lambda call: call is left) == []


def test_a_bye_that_neither_caused_is_a_drop_at_both_ends():
    calls = [caller(by=By.FAR), agent()]
    assert [(drop.call.way, drop.at) for drop in count.dropped(calls)] == [(Way.OUT, 20.0), (Way.IN, 20.1)]


def test_a_bye_long_before_the_other_hung_up_is_a_drop():
    calls = [caller(ended=30.0), agent(ended=12.0)]
    assert [drop.call.way for drop in count.dropped(calls)] == [Way.IN]


def test_a_far_end_that_does_not_answer_is_a_drop():
    assert [drop.why for drop in count.dropped([caller(by=By.LOST), agent(by=By.SELF)])] == [
        "the far end stopped answering"
    ]


def test_silence_in_the_talk_is_a_drop_and_before_it_is_not():
    cut = (music(1.0, 5.0), tone(AGENT_HZ, 5.0, 8.0), silence(8.0, 9.2), tone(AGENT_HZ, 9.2, 20.0))
    assert [drop.at for drop in count.dropped([caller(heard=cut), agent()])] == [8.0]
    short = (music(1.0, 5.0), tone(AGENT_HZ, 5.0, 8.0), silence(8.0, 9.0), tone(AGENT_HZ, 9.0, 20.0))
    assert count.dropped([caller(heard=short), agent()]) == []
    before = (silence(1.0, 5.0), tone(AGENT_HZ, 5.0, 20.0))
    assert count.dropped([caller(heard=before), agent()]) == []


def test_silence_that_the_other_phone_made_or_that_was_a_stall_is_none():
    cut = (tone(AGENT_HZ, 5.0, 8.0), silence(8.0, 14.0), tone(AGENT_HZ, 14.0, 20.0))
    assert count.dropped([caller(heard=cut), agent(quiet=(Quiet(7.9, 13.8),))]) == []
    assert len(count.dropped([caller(heard=cut), agent(quiet=(Quiet(7.9, 10.0),))])) == 1
    stall = (tone(AGENT_HZ, 5.0, 8.0), Heard(Sound.STALL, 8.0, 14.0), tone(AGENT_HZ, 14.0, 20.0))
    assert count.dropped([caller(heard=stall), agent()]) == []


def test_silence_at_the_end_counts_too():
    cut = (tone(AGENT_HZ, 5.0, 8.0), silence(8.0, 20.0))
    assert [drop.at for drop in count.dropped([caller(heard=cut), agent()])] == [8.0]


def test_silence_after_the_other_left_is_none():
    cut = (tone(AGENT_HZ, 5.0, 8.0), silence(8.0, 12.0))
    calls = [caller(heard=cut, ended=12.0), agent(by=By.SELF, ended=8.1)]
    assert count.dropped(calls) == []


def test_a_phone_rung_twice_for_one_offer():
    again = agent(dialog="other")
    assert count.rung_twice([agent(), again]) == [("o1", "ann")]
    assert count.rung_twice([agent(), replace(again, offer="o2")]) == []
    assert count.rung_twice([agent(), replace(again, phone="bob")]) == []


def rings(of: str, at: float, until: float, **changes) -> CallFacts:
    """An agent's phone that rings for that caller and is not picked up."""
    unanswered = {"answered": None, "by": By.FAR, "heard": (), "offer": f"o-{of}-{at}"}
    return agent(of, **{"began": at, "rang": at, "ended": until} | unanswered | changes)


def line(*pressed: float) -> list[CallFacts]:
    """Callers c1, c2, ... who press at these times and wait."""
    return [caller(f"c{n}", pressed=(Pressed("1", at),), ended=60.0) for n, at in enumerate(pressed, 1)]


def test_an_overtaken_caller():
    first, second = line(2.0, 4.0)
    assert count.overtaken([first, second, rings("c1", 10.0, 60.0), rings("c2", 12.0, 60.0)], "1") == []
    assert count.overtaken([first, second, rings("c2", 10.0, 60.0), rings("c1", 12.0, 60.0)], "1") == [(first, second)]
    assert count.overtaken([first, second, rings("c2", 10.0, 60.0)], "1") == [(first, second)]


def test_an_agent_who_picks_up_late_makes_nobody_overtaken():
    first, second = line(2.0, 4.0)
    slow = rings("c1", 10.0, 30.0, answered=25.0)
    quick = rings("c2", 10.2, 30.0, answered=11.0)
    assert count.overtaken([first, second, slow, quick], "1") == []


def test_who_lost_the_place_after_a_ring_was_overtaken():
    first, second, third = line(2.0, 4.0, 5.0)
    in_vain = rings("c1", 10.0, 20.0)
    assert count.overtaken([first, second, in_vain, rings("c2", 15.0, 60.0)], "1") == [], "two agents ring"
    assert count.overtaken([first, second, in_vain, rings("c2", 20.2, 60.0)], "1") == [], "at the same moment"
    assert count.overtaken([first, second, third, in_vain, rings("c2", 15.0, 60.0), rings("c3", 22.0, 60.0)], "1") == [
        (first, third)
    ]


def test_who_hung_up_was_not_overtaken_and_another_digit_is_another_line():
    first, second = line(2.0, 4.0)
    later = rings("c2", 10.0, 60.0)
    assert count.overtaken([replace(first, ended=10.3), second, later], "1") == []
    assert count.overtaken([replace(first, pressed=(Pressed("2", 2.0),)), second, later], "1") == []
    assert count.overtaken([replace(first, pressed=(Pressed("1", 3.8),)), second, later], "1") == []


def test_blames_that_are_wrong():
    limit = Blame("o1", 15.0)
    rang_out = agent(answered=None, rang=3.0, ended=18.0, heard=())
    assert count.blamed([limit], [rang_out]) == []
    assert count.blamed([limit], [replace(rang_out, ended=10.0)]) == [limit]
    assert count.blamed([limit], [replace(rang_out, by=By.SELF)]) == [limit]
    assert count.blamed([limit], [agent()]) == [limit]
    assert count.blamed([limit], []) == [limit]


def test_refusals_by_reason():
    no = caller(answered=None, by=By.FAR, status=503, detail="Retry-After: 5", heard=(), pressed=())
    given_up = caller("c2", answered=None, heard=(), pressed=())
    assert count.refused([no, given_up, caller("c3")]) == {"503 Retry-After: 5": 1}
    assert count.dropped([no, given_up]) == []


def test_percentiles():
    assert count.percentile([], 0.5) is None
    assert count.percentile([1.0], 0.95) == 1.0
    assert count.percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert count.percentile([1.0, 2.0, 3.0, 4.0], 1.0) == 4.0


def test_facts_tell_voices_in_order():
    call = caller(heard=(tone(1020, 1, 2), silence(2, 3), tone(600, 3, 4), tone(1021, 4, 5)))
    assert call.voices() == (1020, 600)
    assert (call.first(1020), call.last(1020), call.seconds(1020)) == (1, 5, 2)
    assert call.first(800) is None
    assert call.longest_silence(0, 2.5) == 0.5
