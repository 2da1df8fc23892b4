"""Recipes for three in a call: a conference, and a supervisor who listens, whispers or takes part."""

from __future__ import annotations

import pytest

from tests.e2e.foreign import needs_baresip
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, THIRD_HZ, done, new_uuid, rung, talk, tones

pytestmark = needs_baresip


async def test_each_of_three_hears_the_two_others_and_two_go_on_when_one_leaves(secure, directory_port, tmp_path):
    async with talk(secure, directory_port, tmp_path) as one:
        third_leg = await rung(one.esl, one.third_user)
        room = f"conference:{new_uuid()}@default,park"
        await done(one.esl, f"uuid_transfer {one.caller_leg} -both '{room}' inline")
        await done(one.esl, f"uuid_transfer {third_leg} '{room}' inline")
        assert await one.heard_by(one.caller_leg) == {AGENT_HZ, THIRD_HZ}
        assert await one.heard_by(one.agent_leg) == {CALLER_HZ, THIRD_HZ}
        assert await one.heard_by(third_leg) == {CALLER_HZ, AGENT_HZ}
        one.agent.command("hangup")
        await one.agent.until("CALL_CLOSED")
        assert await one.heard_by(one.caller_leg) == {THIRD_HZ}
        assert await one.heard_by(third_leg) == {CALLER_HZ}


MODES = {
    "monitor": ((), {CALLER_HZ}, {AGENT_HZ}),
    "whisper": (("eavesdrop_whisper_bleg",), {CALLER_HZ, THIRD_HZ}, {AGENT_HZ}),
    "barge": (("eavesdrop_whisper_bleg", "eavesdrop_whisper_aleg"), {CALLER_HZ, THIRD_HZ}, {AGENT_HZ, THIRD_HZ}),
}
"""Variables of the supervisor's leg; what the agent and the caller hear then."""


@pytest.mark.parametrize("mode", MODES)
async def test_a_supervisor_is_heard_by_whom_the_mode_says_and_hears_both(secure, directory_port, tmp_path, mode):
    wanted, agent_hears, caller_hears = MODES[mode]
    async with talk(secure, directory_port, tmp_path) as one:
        supervisor = await rung(one.esl, one.third_user, eavesdrop_enable_dtmf="false")
        for name in wanted:
            await done(one.esl, f"uuid_setvar {supervisor} {name} true")
        await one.supervised_by(supervisor)
        assert await one.heard_by(supervisor) == {CALLER_HZ, AGENT_HZ}
        assert await one.heard_by(one.agent_leg) == agent_hears
        assert await one.heard_by(one.caller_leg) == caller_hears
        await done(one.esl, f"uuid_kill {one.caller_leg}")
        await one.caller.until("CALL_CLOSED")
        assert tones(await one.caller.heard()) == caller_hears


async def test_a_supervisor_who_listens_can_step_in_and_out_again(secure, directory_port, tmp_path):
    async with talk(secure, directory_port, tmp_path) as one:
        supervisor = await rung(one.esl, one.third_user, eavesdrop_enable_dtmf="false")
        await one.supervised_by(supervisor)
        assert await one.heard_by(one.agent_leg) == {CALLER_HZ}
        for answer, heard in (("true", {CALLER_HZ, THIRD_HZ}), ("false", {CALLER_HZ})):
            await done(one.esl, f"uuid_setvar {supervisor} eavesdrop_whisper_bleg {answer}")
            await one.supervised_by(supervisor)
            assert await one.heard_by(one.agent_leg) == heard
        one.esl.events.clear()
        await done(one.esl, f"uuid_transfer {supervisor} park inline")
        await one.esl.until("CHANNEL_PARK", lambda event: event.get("Unique-ID") == supervisor)
        assert await one.heard_by(one.agent_leg) == {CALLER_HZ}


async def test_the_keys_of_a_supervisor_change_nothing(secure, directory_port, tmp_path):
    async with talk(secure, directory_port, tmp_path) as one:
        supervisor = await rung(one.esl, one.third_user, eavesdrop_enable_dtmf="false")
        await one.supervised_by(supervisor)
        await one.heard_by(supervisor)
        await done(one.esl, f"uuid_recv_dtmf {supervisor} 3")
        assert await one.heard_by(one.caller_leg) == {AGENT_HZ}
        assert await one.heard_by(one.agent_leg) == {CALLER_HZ}
