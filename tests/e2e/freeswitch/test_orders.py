"""Orders of the `Media` port carried out on live FreeSWITCH: what the phones hear, measured."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.core.ports.media import Bridge, LegEnded, LegReferred, LegUnbridged
from tandem.core.seal import secret
from tests.e2e.foreign import needs_baresip
from tests.e2e.freeswitch.backend import ordered_talk
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.talk import CALLER_HZ, THIRD_HZ

pytestmark = needs_baresip
ELSEWHERE = "4930999"


@pytest.fixture(scope="module")
def plain(
    freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory, directory_port: int
) -> Iterator[FreeSwitch]:
    """A node with the settings as they come."""
    url = f"http://127.0.0.1:{directory_port}/directory"
    node = FreeSwitch(freeswitch_prefix, tmp_path_factory.mktemp("plain"), directory_url=url)
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.mark.parametrize(("who", "replaces"), [("caller", "?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc"), ("agent", "")])
async def test_no_phone_makes_a_node_call_an_address(plain, directory_port, tmp_path, who, replaces):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.setblocking(False)
        target = f"sip:pat@127.0.0.1:{elsewhere.getsockname()[1]}"
        async with ordered_talk(plain, directory_port, tmp_path) as talk:
            talk.phones[who].command("transfer", target + replaces)
            refused = await talk.phones[who].until("TRANSFER_FAILED")
            assert refused["param"] == "405 Method Not Allowed"
            assert talk.told.of(LegReferred, talk.caller) == talk.told.of(LegReferred, talk.agent) == []
        with pytest.raises(BlockingIOError):
            elsewhere.recv(1)


async def test_a_caller_whom_an_agents_phone_hands_over_belongs_to_the_owner(secure, directory_port, tmp_path):
    async with ordered_talk(secure, directory_port, tmp_path) as talk:
        talk.phones["agent"].command("transfer", f"sip:{ELSEWHERE}@{secure.sip}")
        await talk.told.until(lambda: talk.told.of(LegEnded, talk.agent))
        assert talk.told.of(LegUnbridged, talk.caller) == [LegUnbridged(talk.agent)]
        assert talk.told.of(LegReferred, talk.caller) == [LegReferred(talk.agent, secret(ELSEWHERE))]
        third = await talk.ring("third")
        await talk.done(talk.caller, Bridge(third))
        # The node's fallback would have come after two seconds, in the middle of this.
        for _ in range(2):
            assert await talk.heard_by(talk.caller) == {THIRD_HZ}
            assert await talk.heard_by(third) == {CALLER_HZ}
        assert len(talk.told.of(LegReferred, talk.caller)) == 1


async def test_an_agent_whom_a_callers_phone_hands_over_belongs_to_the_owner(secure, directory_port, tmp_path):
    async with ordered_talk(secure, directory_port, tmp_path) as talk:
        talk.phones["caller"].command("transfer", f"sip:112@{secure.sip}")
        await talk.told.until(lambda: talk.told.of(LegEnded, talk.caller))
        assert talk.told.of(LegReferred, talk.agent) == [LegReferred(talk.caller, secret("112"))]
        third = await talk.ring("third")
        await talk.done(talk.agent, Bridge(third))
        for _ in range(2):
            assert await talk.heard_by(talk.agent) == {THIRD_HZ}
