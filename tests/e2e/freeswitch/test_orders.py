"""Orders of the `Media` port carried out on live FreeSWITCH: what the phones hear, measured."""

from __future__ import annotations

import re
import socket
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.core.ports.media import (
    Bridge,
    LegEnded,
    LegReferred,
    LegUnbridged,
    RecordingStored,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
    Stop,
    Supervise,
    Supervision,
)
from tandem.core.recording import HEADER_BYTES, WAV_HEADER_BYTES, Opener, at, frames_in, span, wav_size
from tandem.core.seal import Secret, secret
from tests.e2e.foreign import needs_baresip, needs_sipp, sipp
from tests.e2e.freeswitch.backend import ordered_talk
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, NUMBER, THIRD_HZ
from tests.e2e.sounds import WINDOW, from_mu_law, has_tone, loudness

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


async def test_what_is_said_in_a_pause_is_not_in_the_recording_and_the_time_is_kept(secure, directory_port, tmp_path):
    key = bytes(range(32))
    async with ordered_talk(secure, directory_port, tmp_path) as talk:
        await talk.done(talk.caller, RecordStart("r1", Secret(key)))
        assert await talk.heard_by(talk.caller) == {AGENT_HZ}
        await talk.done(talk.caller, RecordPause("r1"))
        assert await talk.heard_by(talk.caller) == {AGENT_HZ}
        assert await talk.heard_by(talk.agent) == {CALLER_HZ}, "they hear each other all the same"
        await talk.done(talk.caller, RecordResume("r1"))
        assert await talk.heard_by(talk.caller) == {AGENT_HZ}
        await talk.done(talk.caller, RecordStop("r1"))
        await talk.told.until(lambda: talk.told.of(RecordingStored, talk.caller))
        [stored] = talk.told.of(RecordingStored, talk.caller)
        sealed = b"".join([part async for part in talk.blobs.read(stored.blob)])
    for side, hz in zip(opened(sealed, key, stored.blob), (CALLER_HZ, AGENT_HZ), strict=True):
        heard = "".join(".#"[has_tone(side[n : n + WINDOW], hz)] for n in range(0, len(side) - WINDOW + 1, WINDOW))
        before, silent, after = re.fullmatch(r"[.]{0,3}(#+[.]?)([.]{39,60}).?(#+)[.]{0,3}", heard).groups()
        assert min(len(before), len(after)) >= 8, heard
        middle = WINDOW * (heard.index(silent, len(before)) + 1)
        assert loudness(side[middle : middle + 37 * WINDOW]) < 10


def opened(sealed: bytes, key: bytes, name: str) -> tuple[array[int], array[int]]:
    """Left and right of a sealed recording."""
    frames, opener, audio = frames_in(len(sealed)), Opener(sealed[:HEADER_BYTES], key, name), b""
    for chunk in span(frames, WAV_HEADER_BYTES, wav_size(frames)).chunks:
        place, length = at(frames, chunk)
        audio += opener.open(chunk, sealed[place : place + length])
    return from_mu_law(audio[0::2]), from_mu_law(audio[1::2])


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


WHO_HEARS = {
    Supervision.MONITOR: ({CALLER_HZ}, {AGENT_HZ}),
    Supervision.WHISPER: ({CALLER_HZ, THIRD_HZ}, {AGENT_HZ}),
    Supervision.BARGE: ({CALLER_HZ, THIRD_HZ}, {AGENT_HZ, THIRD_HZ}),
}
"""What the agent and the caller hear."""


async def test_a_supervisor_steps_in_and_out_and_is_told_when_the_agent_leaves(secure, directory_port, tmp_path):
    async with ordered_talk(secure, directory_port, tmp_path) as talk:
        supervisor = await talk.ring("third")
        for mode, (agent, caller) in WHO_HEARS.items():
            await talk.done(supervisor, Supervise(talk.agent, mode))
            assert await talk.heard_by(talk.agent) == agent
            assert await talk.heard_by(talk.caller) == caller
        assert await talk.heard_by(supervisor) == {CALLER_HZ, AGENT_HZ}
        await talk.done(supervisor, Stop())
        assert await talk.heard_by(talk.agent) == {CALLER_HZ}
        await talk.done(supervisor, Supervise(talk.agent, Supervision.WHISPER))
        assert talk.told.of(LegUnbridged, supervisor) == []
        talk.phones["agent"].command("hangup")
        await talk.told.until(lambda: talk.told.of(LegUnbridged, supervisor))
        # The supervisor takes the caller over.
        await talk.done(supervisor, Bridge(talk.caller))
        assert await talk.heard_by(talk.caller) == {THIRD_HZ}


@needs_sipp
async def test_who_takes_a_talk_by_replaces_is_ended_and_the_caller_is_the_owners(secure, directory_port, tmp_path):
    async with ordered_talk(secure, directory_port, tmp_path) as talk:
        replaced = f"{talk.channels[talk.agent]};to-tag=0;from-tag=0"
        other = sipp(tmp_path / "other", "call_and_replace", secure.sip, "-s", NUMBER, caller="pat", replaced=replaced)
        async with other:
            await talk.told.until(lambda: talk.told.of(LegEnded, talk.agent))
            third = await talk.ring("third")
            await talk.done(talk.caller, Bridge(third))
            assert await talk.heard_by(talk.caller) == {THIRD_HZ}
            assert await talk.heard_by(third) == {CALLER_HZ}
