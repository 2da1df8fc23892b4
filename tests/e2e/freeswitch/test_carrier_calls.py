"""A carrier where we registered calls us by that contact, on live FreeSWITCH: which number it is, and what is
refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tandem.core.ports.media import Answer, HangUp, LegArrived, Play
from tandem.core.seal import Secret
from tandem.media.freeswitch.gateways import Gateway
from tandem.media.freeswitch.ids import channel_of_caller
from tests.e2e.foreign import SCENARIOS, Sipp, needs_sipp, sipp
from tests.e2e.freeswitch.backend import Ordered, ordered
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.talk import CALLER_HZ, NUMBER, THIRD_HZ
from tests.e2e.programs import free_udp_port

pytestmark = needs_sipp
CALLER = "+491701234567"


@pytest.fixture(scope="module")
def switch(
    freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory, directory_port: int
) -> Iterator[FreeSwitch]:
    """A node with the settings as they come."""
    url = f"http://127.0.0.1:{directory_port}/directory"
    node = FreeSwitch(freeswitch_prefix, tmp_path_factory.mktemp("calls-in"), directory_url=url, fallback_after_s=10)
    try:
        node.start()
        yield node
    finally:
        node.stop()


def registered(port: int, name: str) -> Gateway:
    return Gateway(name, "127.0.0.1", port, "carrier.test", username="acme", password="secret", register=True, ping_s=0)


def calls(
    home: Path, switch: FreeSwitch, port: int, number: str, status: str = ""
) -> AbstractAsyncContextManager[Sipp]:
    """A carrier that calls that number once we have registered; with a status it expects that instead of an answer."""
    home.mkdir()
    scenario = (SCENARIOS / "carrier_calls_in.xml").read_text().replace("[number]@", f"{number}@" if number else "")
    if status:
        scenario = scenario.replace('<recv response="200" rrs="true"/>', f'<recv response="{status}" rrs="true"/>')
        scenario = re.sub(r"  <nop>.*(?=</scenario>)", "", scenario, flags=re.DOTALL)
        scenario = scenario.replace("ACK [next_url]", "ACK [$contact]")
    (home / "calls.xml").write_text(scenario)
    tone = {} if status else {"tone_hz": CALLER_HZ}
    return sipp(home, str(home / "calls"), switch.sip, port=port, caller=CALLER, **tone)


async def arrived(made: Ordered) -> tuple[str, LegArrived]:
    def found() -> list[tuple[str, LegArrived]]:
        return [(leg, body) for leg, body in made.told.events if isinstance(body, LegArrived)]

    await made.told.until(found)
    return found()[0]


async def test_it_calls_the_number_that_it_says_in_to_and_is_a_caller_as_any(switch, directory_port, tmp_path):
    port = free_udp_port()
    async with calls(tmp_path / "carrier", switch, port, NUMBER) as far:
        made = ordered(
            switch, directory_port, tmp_path / "node", {}, [registered(port, "north")], said={"welcome": THIRD_HZ}
        )
        async with made as node:
            leg, body = await arrived(node)
            assert (body.number, body.caller) == (NUMBER, Secret(CALLER.encode()))
            node.channels[leg] = channel_of_caller(leg) or ""
            await node.done(leg, Answer())
            assert await node.heard_by(leg) == set()
            await node.order(leg, Play(("welcome",)))
            await far.ear.hears(THIRD_HZ, 0.5)
            await node.done(leg, HangUp())
            await far.succeeds()


@pytest.mark.parametrize(
    ("number", "status"),
    [("+4930999999", "404"), ("", "404"), ("gw+south", "404"), ("ann", "404")],
)
async def test_what_is_no_number_of_ours_is_refused(switch, directory_port, tmp_path, number, status):
    port = free_udp_port()
    made = ordered(switch, directory_port, tmp_path / "node", {}, [registered(port, "south")])
    async with calls(tmp_path / "carrier", switch, port, number, status) as far, made as node:
        await far.succeeds()
        assert [body for _, body in node.told.events if isinstance(body, LegArrived)] == []
    assert switch.program is not None and switch.program.alive
