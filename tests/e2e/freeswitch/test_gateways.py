"""Carriers on live FreeSWITCH: their files taken in, numbers called through them, and what the carrier sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tandem.media.freeswitch.driver import FreeswitchNode
from tandem.media.freeswitch.gateways import Gateway
from tandem.runtime.telemetry import names
from tests.e2e.foreign import needs_sipp, sipp
from tests.e2e.freeswitch.backend import accounts, running
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.programs import free_udp_port

pytestmark = needs_sipp
PASSWORD = "p$${sip_ip}\"'<&>%41~"
"""Whatever FreeSWITCH might take for something else, where a password stands."""


@pytest.fixture(scope="module")
def switch(
    freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory, directory_port: int
) -> Iterator[FreeSwitch]:
    """A node with the settings as they come."""
    url = f"http://127.0.0.1:{directory_port}/directory"
    node = FreeSwitch(freeswitch_prefix, tmp_path_factory.mktemp("gateways"), directory_url=url)
    try:
        node.start()
        yield node
    finally:
        node.stop()


def up(node: FreeswitchNode) -> dict[str, float]:
    """Gateways as the metric has them."""
    return {row.labels[0]: row.value for row in node.readings() if row.metric is names.GATEWAY_UP}


async def until_up(node: FreeswitchNode, name: str, value: int | None) -> None:
    """Until the metric of a gateway says so; nothing tells when."""
    async with asyncio.timeout(30):
        while up(node).get(name) != value:
            await asyncio.sleep(0.05)


async def test_a_carrier_where_we_register_is_taken_in_changed_and_dropped(switch, directory_port, tmp_path):
    port = free_udp_port()
    north = Gateway(
        "north", "127.0.0.1", port, "carrier.test", username="acme", password=PASSWORD, register=True, ping_s=0
    )
    async with switch.connect() as esl:
        await esl.subscribe("CUSTOM", "sofia::gateway_add", "sofia::gateway_delete")
        registrar = sipp(
            tmp_path / "one", "registrar", switch.sip, port=port, user=north.username, password=north.password
        )
        async with registrar as carrier:
            async with running(switch, directory_port, tmp_path / "first", accounts(), [north]) as (node, _, _):
                await until_up(node, "north", 1)
            # The agent is gone and the carrier is not. Started with another password, it has the old one leave first.
            other = replace(north, password="another")
            async with running(switch, directory_port, tmp_path / "second", accounts(), [other]) as (node, _, _):
                await carrier.succeeds()
                again = sipp(
                    tmp_path / "two", "registrar", switch.sip, port=port, user=north.username, password="another"
                )
                async with again as carrier:
                    await until_up(node, "north", 1)
                    async with running(switch, directory_port + 1, tmp_path / "third", accounts(), []):
                        await carrier.succeeds()
                        await esl.until("sofia::gateway_delete", lambda _: len(esl.events) == 4)
    told = [event.name for event in esl.events if event.get("Gateway") == "north"]
    assert told == [
        "sofia::gateway_add", "sofia::gateway_delete", "sofia::gateway_add", "sofia::gateway_delete",
    ]  # fmt: skip
    assert list(switch.gateways.iterdir()) == []


async def test_a_gateway_that_does_not_answer_is_down_and_one_written_by_hand_stays(switch, directory_port, tmp_path):
    by_hand = switch.gateways / "emergency.xml"
    by_hand.write_text(
        '<gateway name="emergency"><param name="proxy" value="127.0.0.1:9"/><param name="register" value="false"/>'
        "</gateway>"
    )
    silent = Gateway("silent", "127.0.0.1", free_udp_port(), ping_s=5)
    async with running(switch, directory_port, tmp_path / "first", accounts(), [silent]) as (node, _, _):
        await until_up(node, "silent", 1)
        assert up(node) == {"silent": 1, "emergency": 1}
        await until_up(node, "silent", 0)
    async with running(switch, directory_port, tmp_path / "second", accounts(), []) as (node, _, _):
        await until_up(node, "emergency", 1)
        await until_up(node, "silent", None)
        assert up(node) == {"emergency": 1}
    assert list(switch.gateways.iterdir()) == [by_hand]
