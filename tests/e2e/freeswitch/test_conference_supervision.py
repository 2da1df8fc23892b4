"""A supervisor of somebody who is in a conference, on live FreeSWITCH: who hears whom, in each mode and order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.core.ports.media import Confer, LegUnbridged, Stop, Supervise, Supervision
from tests.e2e.foreign import needs_baresip
from tests.e2e.freeswitch.backend import Ordered, ordered_talk
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, THIRD_HZ

pytestmark = needs_baresip
ROOM = Confer("x")
HEARD = {
    Supervision.MONITOR: (set(), set()),
    Supervision.WHISPER: ({THIRD_HZ}, set()),
    Supervision.BARGE: ({THIRD_HZ}, {THIRD_HZ}),
}
"""What agent and caller hear of the supervisor."""


@pytest.fixture(scope="module")
def switch(
    freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory, directory_port: int
) -> Iterator[FreeSwitch]:
    """A node with the settings as they come."""
    url = f"http://127.0.0.1:{directory_port}/directory"
    node = FreeSwitch(freeswitch_prefix, tmp_path_factory.mktemp("rooms"), directory_url=url)
    try:
        node.start()
        yield node
    finally:
        node.stop()


async def are_heard(talk: Ordered, supervisor: str, mode: Supervision) -> None:
    by_agent, by_caller = HEARD[mode]
    heard = [await talk.heard_by(leg) for leg in (supervisor, talk.agent, talk.caller)]
    assert heard == [{CALLER_HZ, AGENT_HZ}, {CALLER_HZ} | by_agent, {AGENT_HZ} | by_caller], mode


async def test_who_is_in_a_conference_is_supervised_as_in_a_talk(switch, directory_port, tmp_path):
    async with ordered_talk(switch, directory_port, tmp_path) as talk:
        for leg in (talk.caller, talk.agent):
            await talk.done(leg, ROOM)
        supervisor = await talk.ring("third")
        for mode in Supervision:
            await talk.done(supervisor, Supervise(talk.agent, mode))
            await are_heard(talk, supervisor, mode)
        await talk.done(supervisor, Stop())
        assert await talk.heard_by(talk.agent) == {CALLER_HZ}
        assert talk.told.of(LegUnbridged, supervisor) == []


async def test_who_goes_into_a_conference_is_supervised_on(switch, directory_port, tmp_path):
    async with ordered_talk(switch, directory_port, tmp_path) as talk:
        supervisor = await talk.ring("third")
        await talk.done(supervisor, Supervise(talk.agent, Supervision.WHISPER))
        for leg in (talk.caller, talk.agent):
            await talk.done(leg, ROOM)
        await are_heard(talk, supervisor, Supervision.WHISPER)
        assert talk.told.of(LegUnbridged, supervisor) == []
