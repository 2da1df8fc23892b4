"""Orders of the `Media` port carried out on live FreeSWITCH: what the phones hear, measured."""

from __future__ import annotations

import asyncio
import re
import socket
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tandem.core.ports.media import (
    Bridge,
    Cause,
    HangUp,
    LegEnded,
    LegReferred,
    LegUnbridged,
    Originate,
    Play,
    RecordingStored,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
    Stop,
    Supervise,
    Supervision,
    Verb,
)
from tandem.core.recording import HEADER_BYTES, WAV_HEADER_BYTES, Opener, at, frames_in, span, wav_size
from tandem.core.seal import Secret, secret
from tests.contract.media_contract import PROMPT
from tests.contract.orders_contract import AGENT, CALLER, MUSIC, RECIPES, ROOM, SILENCE, THIRD, Recipe, Talks
from tests.e2e.foreign import needs_baresip, needs_sipp, sipp
from tests.e2e.freeswitch.backend import Ordered, ordered_talk
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, MUSIC_HZ, NUMBER, THIRD_HZ
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


async def test_music_that_was_replaced_does_not_come_back(secure, directory_port, tmp_path):
    """A break begins a loop anew: what came next ran inside of it, and in a bridge neither heard the other."""
    async with ordered_talk(secure, directory_port, tmp_path, {PROMPT: MUSIC_HZ}) as talk:
        for silent in (Play(()), Stop()):
            await talk.done(talk.caller, MUSIC)
            assert await talk.heard_by(talk.caller) == {MUSIC_HZ}
            await talk.done(talk.caller, silent)
            assert await talk.heard_by(talk.caller) == set()
        await talk.done(talk.caller, MUSIC)
        await talk.done(talk.caller, Play((PROMPT,)))
        await talk.done(talk.caller, Bridge(talk.agent))
        assert await talk.heard_by(talk.caller) == {AGENT_HZ}
        assert await talk.heard_by(talk.agent) == {CALLER_HZ}


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


VOICES = {CALLER: CALLER_HZ, AGENT: AGENT_HZ, THIRD: THIRD_HZ}
DIES_AFTER_S = (0.0, 0.004, 0.02)
"""In the middle of an order, which takes FreeSWITCH some 40 ms."""


@dataclass
class Carried:
    """Orders carried out by a live node, and what must be heard and told of them."""

    talk: Ordered
    talks: Talks = field(default_factory=Talks)
    plays: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.legs = {CALLER: self.talk.caller, AGENT: self.talk.agent, THIRD: f"{self.talk.caller}.{THIRD}"}
        self.talks.carried_out(CALLER, Bridge(AGENT))

    async def do(self, name: str, verb: Verb, *, dies_after_s: float | None = None) -> None:
        """Order it, until it is done."""
        order = verb
        if isinstance(verb, Bridge):
            order = replace(verb, other=self.legs[verb.other])
        elif isinstance(verb, Originate):
            order = replace(verb, device=self.talk.devices[THIRD])
        await self.talk.done(self.legs[name], order, dies_after_s=dies_after_s)
        self.talks.carried_out(name, verb)
        self.plays -= {name, *([verb.other] if isinstance(verb, Bridge) else [])}
        if isinstance(verb, Play) and verb.loop:
            self.plays.add(name)

    def alive(self) -> list[str]:
        """Who has a leg."""
        there = {leg for leg, _ in self.talk.told.events}
        return [name for name, leg in self.legs.items() if leg in there and not self.talk.told.of(LegEnded, leg)]

    async def is_heard(self) -> None:
        """Each hears whom they are joined to, or what is played to them, and nobody else."""
        alive = self.alive()
        heard = await asyncio.gather(*[self.talk.heard_by(self.legs[name]) for name in alive])
        wanted = [
            {VOICES[other] for other in self.talks.heard_by(name)} | ({MUSIC_HZ} if name in self.plays else set())
            for name in alive
        ]
        assert dict(zip(alive, heard, strict=True)) == dict(zip(alive, wanted, strict=True))

    def is_told(self) -> None:
        """Who is alone was told so, once."""
        names = {leg: name for name, leg in self.legs.items()}
        told = Counter(
            (names[leg], names[body.other]) for leg, body in self.talk.told.events if isinstance(body, LegUnbridged)
        )
        assert told == Counter(self.talks.alone)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
async def test_each_order_is_heard_and_told_though_the_agent_dies_in_it(
    plain, directory_port, tmp_path, recipe: Recipe
):
    async with ordered_talk(plain, directory_port, tmp_path, {PROMPT: MUSIC_HZ}) as talk:
        carried = Carried(talk)
        for step, (name, verb) in enumerate(recipe.orders):
            await carried.do(name, verb, dies_after_s=DIES_AFTER_S[step % len(DIES_AFTER_S)])
            await carried.is_heard()
            carried.is_told()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
async def test_orders_are_carried_out_at_once(plain, directory_port, tmp_path, recipe: Recipe):
    async with ordered_talk(plain, directory_port, tmp_path, {PROMPT: MUSIC_HZ}) as talk:
        carried = Carried(talk)
        for name, verb in recipe.orders:
            await carried.do(name, verb)
        await carried.is_heard()
        carried.is_told()


async def test_who_leaves_a_conference_unseen_is_told_and_so_is_who_is_alone_then(plain, directory_port, tmp_path):
    async with ordered_talk(plain, directory_port, tmp_path) as talk:
        carried = Carried(talk)
        for name in (CALLER, AGENT):
            await carried.do(name, ROOM)
        await talk.ring(THIRD)
        await carried.do(THIRD, ROOM)
        for leaves in (AGENT, THIRD):
            await talk.dies()
            talk.phones[leaves].command("hangup")
            await talk.phones[leaves].until("CALL_CLOSED")
            await talk.lives()
            await talk.told.until(lambda leg=carried.legs[leaves]: talk.told.of(LegEnded, leg))
            assert talk.told.of(LegEnded, carried.legs[leaves])[0].cause is Cause.NORMAL
            carried.talks.leave(leaves)
            await carried.is_heard()
            carried.is_told()
        await carried.do(CALLER, SILENCE)
        await carried.do(CALLER, HangUp())
        carried.is_told()


async def test_who_is_on_hold_hears_music_though_the_agent_on_the_phone_left_unseen(plain, directory_port, tmp_path):
    async with ordered_talk(plain, directory_port, tmp_path, {PROMPT: MUSIC_HZ}) as talk:
        carried = Carried(talk)
        await carried.do(CALLER, MUSIC)
        await talk.dies()
        talk.phones[AGENT].command("hangup")
        await talk.phones[AGENT].until("CALL_CLOSED")
        await talk.lives()
        await talk.told.until(lambda: talk.told.of(LegEnded, talk.agent))
        await carried.is_heard()
        carried.is_told()
        await talk.ring(THIRD)
        await carried.do(CALLER, Bridge(THIRD))
        await carried.is_heard()


async def test_a_recording_goes_on_through_hold_and_conference(plain, directory_port, tmp_path):
    key = bytes(range(32))
    async with ordered_talk(plain, directory_port, tmp_path, {PROMPT: MUSIC_HZ}) as talk:
        carried = Carried(talk)
        await talk.done(talk.caller, RecordStart("r1", Secret(key)))
        for orders in ((), ((CALLER, MUSIC),), ((CALLER, ROOM), (AGENT, ROOM))):
            for name, verb in orders:
                await carried.do(name, verb)
            await carried.is_heard()
        await talk.done(talk.caller, RecordStop("r1"))
        await talk.told.until(lambda: talk.told.of(RecordingStored, talk.caller))
        [stored] = talk.told.of(RecordingStored, talk.caller)
        sealed = b"".join([part async for part in talk.blobs.read(stored.blob)])
    said, heard = [
        "".join(
            next(
                (letter for letter, hz in (("c", CALLER_HZ), ("a", AGENT_HZ), ("m", MUSIC_HZ)) if has_tone(part, hz)),
                ".",
            )
            for part in [side[n : n + WINDOW] for n in range(0, len(side) - WINDOW + 1, WINDOW)]
        )
        for side in opened(sealed, key, stored.blob)
    ]
    assert said.count("c") >= 0.9 * len(said), said
    assert re.fullmatch(r"[.]{0,5}a{10,}[.]{0,5}m[m.]{10,}[.]{0,5}a{10,}[.]{0,5}", heard), heard
