"""Calls through the built-in node: real sockets, real audio."""

from __future__ import annotations

import pytest

from tandem.client import tones
from tandem.core.ports.media import (
    By,
    Cause,
    Collect,
    Collected,
    DigitsCollected,
    HangUp,
    LegAnswered,
    LegArrived,
    LegBridged,
    LegEnded,
    LegHeld,
    LegResumed,
    LegRinging,
    LegUnbridged,
    Outcome,
    Play,
    Stop,
)
from tandem.core.seal import Secret
from tandem.wire.g711 import Law
from tandem.wire.sdp import Direction
from tandem.wire.sip import events as sip
from tests.integration.media.world import NUMBER, world
from tests.support.prompts import PROMPT_HZ

CALLER_HZ, AGENT_HZ = 620.0, 1040.0


async def test_two_phones_hear_each_other_and_nothing_else(tmp_path):
    async with world(tmp_path) as w:
        caller, agent = w.phone("4917055", tone_hz=CALLER_HZ), w.phone("ann", tone_hz=AGENT_HZ, law=Law.A)
        first, second = await w.talk(caller, agent, "ann-secret")
        await caller.hears(AGENT_HZ, 1.0)
        await agent.hears(CALLER_HZ, 1.0)
        assert tones.share(caller.heard[-8000:], AGENT_HZ) > 0.9
        assert tones.share(agent.heard[-8000:], CALLER_HZ) > 0.9

        agent.hang_up()
        ended = (await w.sink.until(LegEnded, leg=second)).body
        assert (ended.cause, ended.by) == (Cause.NORMAL, By.FAR)
        await w.sink.until(LegUnbridged, leg=first)
        await w.do(first, HangUp())
        await caller.until(sip.CallEnded)
        told = [type(body) for body in w.sink.of(first)]
        assert told == [LegArrived, LegAnswered, LegBridged, LegUnbridged, LegEnded]
        assert w.node.legs() == ()
        assert set(w.sink.rows) == {("REGISTRATION", "ann"), ("GOODBYE", first)}


async def test_an_agent_is_shown_the_caller_and_the_offer(tmp_path):
    async with world(tmp_path) as w:
        agent = w.phone("ann")
        assert await agent.register("ann-secret")
        await w.ring("c1.1", "ann")
        invite = (await agent.until(sip.CallArrived)).request
        assert invite.headers.get("X-Tandem-Offer") == "offer-c1.1"
        assert invite.from_.uri.user == "4917012345"
        assert "4917012345" in (invite.headers.get("P-Asserted-Identity") or "")
        assert invite.uri.user == "ann"


async def test_a_menu_digit_interrupts_the_prompt(tmp_path):
    async with world(tmp_path) as w:
        caller = w.phone("4917055", tone_hz=CALLER_HZ)
        leg = await w.call(caller)
        key = w.begin(leg, Collect("menu", ("menu",), max_digits=1, timeout_ms=5000))
        await caller.hears(PROMPT_HZ["menu"], 0.3)
        caller.press("2")
        told = await w.sink.until(DigitsCollected)
        assert told.body == DigitsCollected("menu", Secret(b"2"), Collected.COMPLETE)
        assert (await w.settled(key)).outcome is Outcome.DONE


async def test_digits_reach_the_other_party_of_a_bridge(tmp_path):
    async with world(tmp_path) as w:
        caller, agent = w.phone("4917055", tone_hz=CALLER_HZ), w.phone("ann", tone_hz=AGENT_HZ)
        await w.talk(caller, agent, "ann-secret")
        for digit in "4#4":
            before = len(agent.digits)
            caller.press(digit)
            await agent.when(lambda before=before: len(agent.digits) > before)
        assert agent.digits == "4#4"


async def test_who_is_held_hears_music_and_who_holds_hears_nothing(tmp_path):
    async with world(tmp_path) as w:
        caller, agent = w.phone("4917055", tone_hz=CALLER_HZ), w.phone("ann", tone_hz=AGENT_HZ)
        first, second = await w.talk(caller, agent, "ann-secret")
        await caller.hears(AGENT_HZ)
        agent.hold(Direction.SENDONLY)
        await w.sink.until(LegHeld, leg=second)
        await agent.until(sip.OfferAnswered)
        silent_from = len(agent.heard)
        await caller.hears(PROMPT_HZ["music"], 1.0)
        assert len(agent.heard) - silent_from < 1600  # what was on its way

        agent.hold(Direction.SENDRECV)
        await w.sink.until(LegResumed, leg=second)
        await caller.hears(AGENT_HZ)
        await agent.hears(CALLER_HZ)
        assert w.sink.of(first)[-1] == LegBridged(second)


async def test_prompts_play_and_music_goes_on_until_replaced(tmp_path):
    async with world(tmp_path) as w:
        caller = w.phone("4917055", tone_hz=CALLER_HZ)
        leg = await w.call(caller)
        await w.do(leg, Play(("goodbye", "apology")))
        assert tones.seconds_with(caller.heard, PROMPT_HZ["goodbye"]) >= 0.4
        assert tones.seconds_with(caller.heard, PROMPT_HZ["apology"]) >= 0.6
        await w.do(leg, Play(("music",), loop=True))
        await caller.hears(PROMPT_HZ["music"], 1.0)  # the clip is shorter
        unknown = await w.settled(w.begin(leg, Play(("nothing",))))
        assert (unknown.outcome, unknown.reason) == (Outcome.FAILED, "UNKNOWN_PROMPT")
        await caller.hears(PROMPT_HZ["music"])
        await w.do(leg, Stop())
        await caller.hears_silence(0.3)


async def test_the_ring_limit_is_the_nodes(tmp_path):
    async with world(tmp_path) as w:
        agent = w.phone("ann")
        assert await agent.register("ann-secret")
        key = await w.ring("c1.1", "ann", ring_timeout_ms=400)
        ended = (await w.sink.until(LegEnded)).body
        assert (ended.cause, ended.by) == (Cause.NO_ANSWER, By.NODE)
        assert ended.rang_ms >= 400
        settled = await w.settled(key)
        assert (settled.outcome, settled.reason) == (Outcome.FAILED, "NO_ANSWER")
        assert (await agent.until(sip.CallEnded)).cause is sip.EndCause.CANCELLED
        assert [type(body) for body in w.sink.of("c1.1")] == [LegRinging, LegEnded]


@pytest.mark.parametrize(
    ("status", "cause"), [(486, Cause.BUSY), (603, Cause.DECLINED), (480, Cause.NO_ANSWER), (500, Cause.FAILED)]
)
async def test_how_a_device_refuses(tmp_path, status, cause):
    async with world(tmp_path) as w:
        agent = w.phone("ann")
        agent.reject_status = status
        assert await agent.register("ann-secret")
        settled = await w.settled(await w.ring("c1.1", "ann"))
        assert settled.reason == cause
        ended = (await w.sink.until(LegEnded)).body
        assert (ended.cause, ended.by, ended.detail) == (cause, By.FAR, f"SIP {status}")


async def test_a_device_that_does_not_ring_is_unreachable_and_not_blamed(tmp_path):
    async with world(tmp_path, unreachable_after_s=0.5) as w:
        agent = w.phone("ann", ring=False)
        assert await agent.register("ann-secret")
        assert (await w.settled(await w.ring("c1.1", "ann"))).reason == Cause.UNREACHABLE
        assert (await w.sink.until(LegEnded)).body.rang_ms == 0
        assert (await w.settled(await w.ring("c1.2", "bob"))).reason == Cause.UNREACHABLE
        assert (await w.sink.until(LegEnded, leg="c1.2")).body.detail == "no registration"


async def test_an_agents_leg_is_hung_up_while_it_rings(tmp_path):
    async with world(tmp_path) as w:
        agent = w.phone("ann")
        assert await agent.register("ann-secret")
        key = await w.ring("c1.1", "ann")
        await w.sink.until(LegRinging)
        await w.do("c1.1", HangUp())
        assert (await w.settled(key)).reason == Cause.CANCELED
        assert (await agent.until(sip.CallEnded)).cause is sip.EndCause.CANCELLED
        await w.do("c1.1", HangUp())  # gone: done


async def test_a_caller_cancels(tmp_path):
    async with world(tmp_path) as w:
        caller = w.phone("4917055")
        caller.dial(NUMBER)
        leg = (await w.sink.until(LegArrived)).leg
        await caller.until(sip.CallProgress)
        caller.hang_up()
        assert (await w.sink.until(LegEnded)).body == LegEnded(Cause.CANCELED, By.FAR)
        late = await w.settled(w.begin(leg, Play(("music",))))
        assert (late.outcome, late.reason) == (Outcome.FAILED, "LEG_GONE")


async def test_a_silent_phone_is_given_up(tmp_path):
    async with world(tmp_path, rtp_timeout_s=0.5) as w:
        caller = w.phone("4917055")
        caller.muted = True
        await w.call(caller)
        ended = (await w.sink.until(LegEnded)).body
        assert (ended.cause, ended.by) == (Cause.NO_MEDIA, By.NODE)
        assert (await caller.until(sip.CallEnded)).cause is sip.EndCause.REMOTE_BYE
