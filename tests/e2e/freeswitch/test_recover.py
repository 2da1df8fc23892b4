"""What is left of a node's calls after kill -9, when it starts again and is told `sofia recover`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.foreign import needs_baresip, needs_sipp, sipp
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.talk import CALLER_HZ, EVENTS, NUMBER, THIRD_HZ, done, taken, talk
from tests.e2e.programs import free_ports

pytestmark = [needs_baresip, needs_sipp]


@pytest.fixture
def directory_port() -> int:
    """Where its accounts are asked for."""
    return free_ports(1)[0]


@pytest.fixture
def mortal(freeswitch_prefix: Path, tmp_path: Path, directory_port: int) -> Iterator[FreeSwitch]:
    """A node that a test may kill."""
    url = f"http://127.0.0.1:{directory_port}/directory"
    node = FreeSwitch(freeswitch_prefix, tmp_path / "node", fallback_after_s=20, directory_url=url)
    try:
        node.start()
        yield node
    finally:
        node.stop()


async def test_answered_legs_live_on_under_their_uuids_and_ringing_ones_are_gone(mortal, directory_port, tmp_path):
    ringing = sipp(tmp_path / "ringing", "ring_and_listen", mortal.sip, "-s", NUMBER, caller="rita")
    async with talk(mortal, directory_port, tmp_path) as one, ringing:
        waiting = await taken(one.esl, one.third, mortal)
        ringer = await one.esl.until("CHANNEL_PARK", lambda event: event.get("Caller-Username") == "rita")
        # Rows of recovery are written by a thread that is behind the calls.
        await asyncio.to_thread(mortal.wait_rows, "recovery", 3)
        await asyncio.to_thread(mortal.kill)
        await asyncio.to_thread(mortal.start)
        async with mortal.connect() as esl:
            one.esl = esl
            await esl.subscribe(*EVENTS)
            assert "Recovered 3 call(s)" in await esl.api("sofia recover")
            await esl.until("CHANNEL_BRIDGE")
            assert await one.heard_by(one.agent_leg) == {CALLER_HZ}
            assert await esl.api(f"uuid_getvar {one.agent_leg} recovered") == "true"
            # Who was parked arrives anew, and the fallback is set again.
            parked = await esl.until("CHANNEL_PARK")
            assert (parked.get("Unique-ID"), parked.get("Caller-Context")) == (waiting, "arrivals")
            assert "Deleted: 1" in await esl.api(f"sched_del {waiting}")
            assert await esl.api(f"uuid_exists {ringer.get('Unique-ID')}") == "false"
            # Legs that came in are heard again, too. (Not always what was rung: freeswitch-recipes.md.)
            await done(esl, f"uuid_bridge {one.caller_leg} {waiting}")
            assert await one.heard_by(one.caller_leg) == {THIRD_HZ}
            assert await one.heard_by(waiting) == {CALLER_HZ}
