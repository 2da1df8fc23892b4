"""Robots at the built-in node, and the line on which they are asked for a call."""

from __future__ import annotations

import asyncio
import os

import pytest

from tandem.client.account import Account
from tandem.client.facts import By
from tandem.client.phone import Phone
from tandem.client.place_call import SOCKET, Busy, answering, place_call
from tandem.client.robots import Errand, RobotAgent, Talk, call_once, new_number, register_new
from tandem.client.ticker import Ticker
from tandem.core.errors import NO_OWNER, TOO_MANY, Rejected
from tandem.core.ports.media import Answer, Bridge, Collect, HangUp, LegAnswered, LegArrived, LegEnded
from tandem.media.backend import MergedDirectory
from tandem.runtime.config import Config
from tests.integration.media.world import DIRECTORY, NUMBER, devices, world

PATIENCE_S = 20


async def test_a_robot_calls_a_robot(tmp_path):
    async with world(tmp_path) as w, asyncio.timeout(PATIENCE_S):
        ticker = Ticker()
        node = ("127.0.0.1", w.node.sip_port)
        agent = RobotAgent(None, "tenants/t1/agents/ann", Account("ann", node, "ann-secret"), ticker, 1020)
        working = asyncio.create_task(agent.run())
        await agent.until_ready()
        errand = Errand(NUMBER, "7", listens_s=0.2, talk=Talk(1.0))
        calling = asyncio.create_task(call_once(node, ticker, new_number(), 400, errand))
        leg = (await w.sink.until(LegArrived)).leg
        await w.do(leg, Answer())
        collect = w.begin(leg, Collect("menu", ("menu",), max_digits=1, timeout_ms=5000))
        await w.settled(collect)
        await w.ring(f"{leg}.1", "ann")
        await w.sink.until(LegAnswered, leg=f"{leg}.1")
        await w.do(leg, Bridge(f"{leg}.1"))
        facts = await calling
        await w.sink.until(LegEnded, leg=leg)
        await w.do(f"{leg}.1", HangUp())

        assert (facts.by, [pressed.digit for pressed in facts.pressed]) == (By.SELF, ["7"])
        assert facts.seconds(1020) >= 1.0
        working.cancel()
        await asyncio.wait([working])
        (answered,) = agent.phone.facts()
        assert answered.seconds(400) >= 0.8
        assert not agent.phone.is_registered
        ticker.close()


async def test_a_refused_errand_is_over_with_its_reason(tmp_path):
    async with world(tmp_path) as w, asyncio.timeout(PATIENCE_S):
        ticker = Ticker()
        facts = await call_once(("127.0.0.1", w.node.sip_port), ticker, "4917", 400, Errand("999"))
        assert (facts.by, facts.status) == (By.FAR, 404)


async def test_a_new_password_is_waited_for(tmp_path):
    async with world(tmp_path) as w, asyncio.timeout(PATIENCE_S):
        ticker = Ticker()
        async with Phone(Account("ann", ("127.0.0.1", w.node.sip_port), "new-secret"), ticker) as phone:
            registering = asyncio.create_task(register_new(phone))
            await phone.news.when(lambda: phone.refusals or None)
            w.node.directory(MergedDirectory(DIRECTORY.numbers, devices({"ann": "new-secret"})))
            await registering
            assert phone.is_registered


async def test_the_robots_are_asked_and_say_what_they_do(tmp_path):
    config = Config(data_dir=tmp_path)
    config.run_dir.mkdir()
    ask = place_call(config)
    with pytest.raises(Rejected) as nobody:
        await ask()
    assert nobody.value.reason is NO_OWNER

    asked: list[str] = []

    def place(digits: str) -> str:
        asked.append(digits)
        if len(asked) > 1:
            raise Busy("all robots are on the phone")
        return "441632960123"

    async with answering(config.run_dir, place):
        assert await ask() == "441632960123"
        with pytest.raises(Rejected, match="on the phone") as busy:
            await ask()
        assert busy.value.reason is TOO_MANY
    assert asked == ["", ""]
    assert not (config.run_dir / SOCKET).exists()


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b"\xff\xfe\n", b"x" * 1000 + b"\n", os.urandom(100) + b"\n"])
async def test_garbage_on_that_line_places_no_call_and_ends_nothing(tmp_path, line):
    placed: list[str] = []
    async with answering(tmp_path, lambda digits: placed.append(digits) or "1"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        writer.write(line)
        answer = await reader.read()
        writer.close()
        assert not answer.startswith(b"ok")
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        writer.write(b"call 2\n")
        assert await reader.readline() == b"ok 1\n"
        writer.close()
    assert placed == ["2"]
