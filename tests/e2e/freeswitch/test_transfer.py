"""What phones do to talks by themselves: REFER, blind and attended, and INVITE with Replaces. What a node makes of
them where it lets them (`refuse_refer=false`), and by which events its owner knows."""

from __future__ import annotations

import pytest

from tandem.wire.esl import Event
from tests.e2e.foreign import needs_baresip, needs_sipp, sipp
from tests.e2e.freeswitch.page_phone import needs_chromium, page_phone
from tests.e2e.freeswitch.talk import (
    CALLER_HZ,
    NUMBER,
    THIRD_HZ,
    done,
    rung,
    talk,
)

pytestmark = needs_baresip
ELSEWHERE = "4930999"


def of(leg: str):
    """Whether an event is that leg's."""
    return lambda event: event.get("Unique-ID") == leg


def referred(leg: str):
    """Whether an event says that this leg was parked because of a REFER."""
    return lambda event: of(leg)(event) and event.get("Caller-Context") == "referred"


async def test_an_agents_refer_parks_the_caller_with_the_number_and_ends_the_agents_leg(
    secure, directory_port, tmp_path
):
    async with talk(secure, directory_port, tmp_path) as one:
        one.agent.command("transfer", f"sip:{ELSEWHERE}@{secure.sip}")
        parked: Event = await one.esl.until("CHANNEL_PARK", referred(one.caller_leg))
        assert parked.get("Caller-Destination-Number") == ELSEWHERE
        assert ELSEWHERE in (parked.get("variable_sip_refer_to") or "")
        end = await one.esl.until("CHANNEL_HANGUP_COMPLETE", of(one.agent_leg))
        # The cause says who was first: the phone's BYE, or the node.
        assert end.get("variable_endpoint_disposition") == "BLIND_TRANSFER"
        assert end.get("variable_transfer_to") == f"blind:{one.caller_leg}"
        # The caller is still there, and can be given to somebody.
        third_leg = await rung(one.esl, one.third_user)
        await done(one.esl, f"sched_del {one.caller_leg}")
        await done(one.esl, f"uuid_bridge {one.caller_leg} {third_leg}")
        assert await one.heard_by(one.caller_leg) == {THIRD_HZ}


async def test_with_no_owner_alive_a_referred_caller_gets_the_fallback(secure, directory_port, tmp_path):
    async with talk(secure, directory_port, tmp_path) as one:
        one.agent.command("transfer", f"sip:{ELSEWHERE}@{secure.sip}")
        end = await one.esl.until("CHANNEL_HANGUP_COMPLETE", of(one.caller_leg))
        assert end.get("Caller-Context") == "fallback"
        assert end.get("Hangup-Cause") == "NORMAL_TEMPORARY_FAILURE"


async def test_a_callers_refer_dials_nothing_and_parks_the_agent(secure, directory_port, tmp_path):
    async with talk(secure, directory_port, tmp_path) as one:
        one.caller.command("transfer", f"sip:112@{secure.sip}")
        parked = await one.esl.until("CHANNEL_PARK", referred(one.agent_leg))
        assert parked.get("Caller-Destination-Number") == "112"
        end = await one.esl.until("CHANNEL_HANGUP_COMPLETE", of(one.caller_leg))
        assert end.get("variable_endpoint_disposition") == "BLIND_TRANSFER"


@needs_chromium
async def test_an_attended_refer_joins_the_two_others_and_ends_one_leg_of_the_agent(
    secure, wss_port, directory_port, tmp_path
):
    async with (
        talk(secure, directory_port, tmp_path) as one,
        page_phone(wss_port, "web", hz=1000) as page,
    ):
        # The page calls in for an agent: one leg to the caller, a second one to the third.
        await done(one.esl, f"uuid_kill {one.agent_leg}")
        legs = []
        for other in (one.caller_leg, await rung(one.esl, one.third_user)):
            one.esl.events.clear()
            await page.call(NUMBER)
            parked = await one.esl.until("CHANNEL_PARK", lambda event: event.get("Caller-Username") == "web")
            leg = parked.get("Unique-ID") or ""
            await done(one.esl, f"sched_del {leg}")
            await done(one.esl, f"uuid_answer {leg}")
            await done(one.esl, f"uuid_bridge {other} {leg}")
            legs.append((leg, other))
        (first, caller), (second, third) = legs
        await one.esl.until(
            "CHANNEL_BRIDGE", lambda event: third in (event.get("Unique-ID"), event.get("Other-Leg-Unique-ID"))
        )
        one.esl.events.clear()
        await page.transfer()
        joined = await one.esl.until("CHANNEL_BRIDGE")
        assert {joined.get("Unique-ID"), joined.get("Other-Leg-Unique-ID")} == {caller, third}
        await page.transferred("taken", "done")
        assert await one.heard_by(caller) == {THIRD_HZ}
        assert await one.heard_by(third) == {CALLER_HZ}
        # The first leg waits for the phone's BYE, or for the owner; the second one the node ends by itself.
        parked = await one.esl.until("CHANNEL_PARK", of(first))
        assert parked.get("variable_transfer_to") == f"att:{third}"
        end = await one.esl.until("CHANNEL_HANGUP_COMPLETE", of(second))
        assert end.get("Hangup-Cause") == "ATTENDED_TRANSFER"
        assert await one.esl.api(f"uuid_exists {first}") == "true"


@needs_sipp
@pytest.mark.parametrize("known", ["the dialog", "the uuid of a leg"])
async def test_who_knows_a_call_takes_the_place_of_one_side(secure, directory_port, tmp_path, known):
    async with talk(secure, directory_port, tmp_path) as one:
        replaced = f"{one.agent_leg};to-tag=0;from-tag=0"
        if known == "the dialog":
            names = ("sip_call_id", "sip_to_tag", "sip_from_tag")
            call_id, to_tag, from_tag = [await one.esl.api(f"uuid_getvar {one.agent_leg} {name}") for name in names]
            replaced = f"{call_id};to-tag={to_tag};from-tag={from_tag}"
        other = sipp(tmp_path / "other", "call_and_replace", secure.sip, "-s", NUMBER, caller="pat", replaced=replaced)
        one.esl.events.clear()
        async with other as run:
            await run.ear.hears(CALLER_HZ)
            end = await one.esl.until("CHANNEL_HANGUP_COMPLETE", of(one.agent_leg))
            assert end.get("Hangup-Cause") == "PICKED_OFF"
            joined = await one.esl.until("CHANNEL_BRIDGE")
            new = joined.get("Unique-ID") or ""
            assert joined.get("Other-Leg-Unique-ID") == one.caller_leg
            assert await one.esl.api(f"uuid_getvar {new} sip_replaces_call_id") == replaced.split(";")[0]
            assert "CHANNEL_PARK" not in {event.name for event in one.esl.events}
            await done(one.esl, f"uuid_kill {one.caller_leg}")
            await run.succeeds()
