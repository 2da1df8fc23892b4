"""What a node keeps while nobody is connected to its event socket."""

from __future__ import annotations

import asyncio
import json
import secrets

from tests.e2e.foreign import baresip, needs_baresip

ASK = "1 1 1 60000 # {prompt} silence_stream://10 digits \\d"
"""One digit, one try, a minute: play_and_get_digits."""


@needs_baresip
async def test_a_digit_of_a_menu_step_is_kept_and_a_hang_up_is_recorded(node, tmp_path):
    prompt = f"silence_stream://{60_000 + secrets.randbelow(10_000)}"
    async with baresip(tmp_path / "phone", node.sip, "gap", tone_hz=440) as phone:
        async with node.connect() as esl:
            await esl.subscribe("CHANNEL_PARK")
            phone.command("dial", f"sip:4930123456@{node.sip}")
            leg = (await esl.until("CHANNEL_PARK")).get("Unique-ID") or ""
            assert "Deleted: 1" in await esl.api(f"sched_del {leg}")
            await esl.execute(leg, "answer", "")
            await esl.execute(leg, "play_and_get_digits", ASK.format(prompt=prompt))
            await phone.until("CALL_ESTABLISHED")
        # Nobody listens when the digit comes, which ends the prompt.
        phone.command("sndcode", "1")
        await asyncio.to_thread(node.wait_logged, f"done playing file {prompt}")
        async with node.connect() as esl:
            await esl.subscribe("CHANNEL_EXECUTE_COMPLETE", "CHANNEL_DESTROY")
            # What the channel does next, it does after it has kept the digit.
            await esl.execute(leg, "set", "seen=true")
            await esl.until("CHANNEL_EXECUTE_COMPLETE", lambda event: event.get("Application") == "set")
            assert await esl.api(f"uuid_getvar {leg} digits") == "1"
            await esl.api(f"uuid_kill {leg} USER_BUSY")
            await esl.until("CHANNEL_DESTROY")
        await phone.until("CALL_CLOSED")
    record = json.loads((node.cdrs / f"{leg}.cdr.json").read_text())["variables"]
    assert (record["hangup_cause"], record["digits"]) == ("USER_BUSY", "1")
