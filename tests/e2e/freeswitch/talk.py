"""A caller and an agent in a talk, made as a media agent makes it: by commands on the event socket."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.foreign import Baresip, baresip
from tests.e2e.freeswitch.directory import directory
from tests.e2e.freeswitch.esl_client import Esl
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.sounds import RATE, WINDOW, loudness, read_wav, share

NUMBER = "4930123456"
CALLER_HZ, AGENT_HZ, THIRD_HZ, MUSIC_HZ = 440, 600, 800, 1200
EVENTS = (
    "CHANNEL_PARK", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_UNBRIDGE", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP",
    "MEDIA_BUG_START",
)  # fmt: skip


def new_uuid() -> str:
    """For a leg."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


async def done(esl: Esl, line: str) -> None:
    """A command that succeeds."""
    answer = await esl.api(line)
    assert answer.startswith("+OK"), f"{line}: {answer}"


async def rung(esl: Esl, user: str, **variables: str) -> str:
    """Ring a registered phone until it answers, and park it: its leg."""
    contact, leg = await esl.api(f"sofia_contact tandem/{user}@tandem"), new_uuid()
    given = {"origination_uuid": leg, "originate_timeout": "20", "park_after_bridge": "true"} | variables
    await done(esl, f"originate {{{','.join(f'{name}={value}' for name, value in given.items())}}}{contact} &park")
    return leg


async def taken(esl: Esl, phone: Baresip, node: FreeSwitch, number: str = NUMBER) -> str:
    """Have a phone call the node, and take the call: its leg."""
    before = {event.get("Unique-ID") for event in esl.events if event.name == "CHANNEL_PARK"}
    phone.command("dial", f"sip:{number}@{node.sip}")
    parked = await esl.until("CHANNEL_PARK", lambda event: event.get("Unique-ID") not in before)
    leg = parked.get("Unique-ID") or ""
    await done(esl, f"sched_del {leg}")
    await done(esl, f"uuid_answer {leg}")
    return leg


@dataclass
class Talk:
    """Three phones that are registered, the first two of them in a talk."""

    node: FreeSwitch
    esl: Esl
    home: Path
    caller: Baresip
    agent: Baresip
    third: Baresip
    caller_leg: str
    agent_leg: str
    agent_user: str
    third_user: str

    async def supervised_by(self, supervisor: str) -> None:
        """Begin to listen to the agent, or begin anew with the variables that the supervisor's leg has now."""
        self.esl.events.clear()
        await done(self.esl, f"uuid_transfer {supervisor} eavesdrop:{self.agent_leg},park inline")
        await self.esl.until("MEDIA_BUG_START", lambda event: event.get("Media-Bug-Function") == "eavesdrop")

    async def heard_by(self, leg: str) -> set[int]:
        """Which of the three tones the node sends to a leg, for two seconds from now."""
        return await heard_by(self.esl, self.home, leg)


async def heard_by(esl: Esl, home: Path, leg: str) -> set[int]:
    """Which of the tones a node sends to a leg, for two seconds from now."""
    tape = home / f"{new_uuid()}.wav"
    for name, value in {"RECORD_WRITE_ONLY": "true", "RECORD_READ_ONLY": "false", "RECORD_STEREO": "false"}.items():
        await esl.api(f"uuid_setvar {leg} {name} {value}")
    await done(esl, f"uuid_record {leg} start {tape} 2")
    await esl.until("RECORD_STOP", lambda event: event.get("Record-File-Path") == str(tape))
    return tones(read_wav(tape))


def tones(heard: Sequence[int]) -> set[int]:
    """Which of the tones are there for half a second and more, alone or mixed."""
    windows = [heard[at : at + WINDOW] for at in range(0, len(heard) - WINDOW + 1, WINDOW)]
    loud = [window for window in windows if loudness(window) > 500]
    return {
        hz
        for hz in (CALLER_HZ, AGENT_HZ, THIRD_HZ, MUSIC_HZ)
        if sum(share(window, hz) > 0.2 for window in loud) * WINDOW / RATE >= 0.5
    }


@asynccontextmanager
async def talk(node: FreeSwitch, directory_port: int, home: Path) -> AsyncIterator[Talk]:
    """One that ends with the block, as the phones do."""
    # Names of their own: a phone that ended in a hurry is registered still.
    bob, tom = f"bob{secrets.token_hex(3)}", f"tom{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(directory(directory_port, {bob: "secret", tom: "secret"}))
        esl = await stack.enter_async_context(node.connect())
        await esl.subscribe(*EVENTS)
        caller = await stack.enter_async_context(baresip(home / "caller", node.sip, "cara", tone_hz=CALLER_HZ))
        agent = await stack.enter_async_context(baresip(home / "agent", node.sip, bob, "secret", tone_hz=AGENT_HZ))
        await agent.registered()  # the accounts are answered by this loop, which making the next tone holds up
        third = await stack.enter_async_context(baresip(home / "third", node.sip, tom, "secret", tone_hz=THIRD_HZ))
        await third.registered()
        caller_leg = await taken(esl, caller, node)
        agent_leg = await rung(esl, bob, force_transfer_context="referred")
        await done(esl, f"uuid_bridge {caller_leg} {agent_leg}")
        await esl.until("CHANNEL_BRIDGE")
        yield Talk(node, esl, home, caller, agent, third, caller_leg, agent_leg, bob, tom)
