"""The built-in node against a phone that we did not write."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tandem.core.ports.media import Answer, Cause, LegArrived, LegEnded
from tests.integration.media.world import NUMBER, world

SIPP = shutil.which("sipp")
CALLS = 20

pytestmark = pytest.mark.skipif(SIPP is None, reason="sipp is not installed (Debian: sip-tester)")


async def run_sipp(node_port: int, *options: str) -> int:
    process = await asyncio.create_subprocess_exec(
        str(SIPP), f"127.0.0.1:{node_port}", "-i", "127.0.0.1", "-s", NUMBER, "-nostdin", "-timeout", "30s",
        "-timeout_error", *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait()


async def test_calls_are_answered_and_hung_up_by_the_caller(tmp_path):
    async with world(tmp_path) as w:
        running = asyncio.create_task(
            run_sipp(w.node.sip_port, "-sn", "uac", "-m", str(CALLS), "-l", "10", "-r", "10", "-d", "300")
        )
        answered: dict[str, None] = {}

        def answer_all() -> bool:
            for told in w.sink.told[:]:
                if isinstance(told.body, LegArrived) and told.leg not in answered:
                    answered[told.leg] = None
                    w.begin(told.leg, Answer())
            return running.done()

        running.add_done_callback(lambda _: w.sink.news.set())
        await w.sink.when(answer_all)
        assert running.result() == 0
        ended = [told.body.cause for told in w.sink.told if isinstance(told.body, LegEnded)]
        assert ended == [Cause.NORMAL] * CALLS
        assert w.node.legs() == ()


async def test_the_call_over_capacity_is_refused(tmp_path):
    async with world(tmp_path, capacity=1) as w:
        caller = w.phone("4917055")
        await w.call(caller)
        # The built-in scenario counts a 503 as a failed call: exit code 1.
        assert await run_sipp(w.node.sip_port, "-sn", "uac", "-m", "1") == 1
        assert len(w.node.legs()) == 1
