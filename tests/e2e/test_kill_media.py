"""kill -9 of the media node, alone and together with the control plane, counted by the phones.

Its calls are lost with it, and that is said: what must hold is that everybody hears it, that each
contact ends once and as of the moment of the death, that places stand in the history, that nobody is
blamed, that recordings lack their last second at most, and that the next life takes calls as if
nothing had been, without one phone registering anew (spine 7).
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from tandem.client import count
from tandem.client.call import CallOver, PhoneCall
from tandem.client.count import Blame
from tandem.client.facts import By, Way
from tandem.client.phone import Phone
from tandem.core.points import Point
from tests.e2e import sounds
from tests.e2e.cell import SHARDS, Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Clerk, Crowd
from tests.e2e.kill_checks import all_contacts, blames_of, whole_story
from tests.e2e.kill_tally import BOTH, MEDIA, RANDOM, STATES, Kill, Tally
from tests.e2e.programs import beside
from tests.e2e.rest import Json

SEED = 20260102
TIMES = 2
"""How often each death is died, and at least so often twice for each five of `--kills`."""
PASSES = (40, 60)
"""Commands of a life: those who sit in the five states take some thirty."""
AGENTS = ("dan", "eve", "fay")
QUEUES = {"first": ("dan",), "second": ("eve",), "third": ("fay",), "nobody": ("gus",)}
"""Digits 1 to 4; one agent each, so that it is known whose phone rings."""
RING_LIMIT_S = 120
AWAY_S = (0.1, 0.1, 1.5)
APART_S = 1.0
"""Between two deaths that are not at once."""
LAST_SECOND = 50
"""Packets of 20 ms that a recording may lack at its end."""
BEFORE_S, AFTER_S = 2.0, 0.3
"""A contact's end is told as of the death: so much earlier at most (time is written twice a second, the
rest is this test's own lateness), and so much later."""


@dataclass(frozen=True)
class Fate:
    """How a life of the media node ends, and in which order all come back."""

    killed: str
    where: str
    first_dies: str = MEDIA
    apart: bool = False
    control_first: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Of a node that is to die of itself."""
        return {} if self.where == RANDOM else {"TANDEM_KILL_AT": self.where}


BOTH_WAYS = (
    Fate(BOTH, RANDOM, control_first=True),
    Fate(BOTH, RANDOM),
    Fate(BOTH, RANDOM, first_dies="control", apart=True, control_first=True),
    Fate(BOTH, RANDOM, apart=True),
)


@dataclass
class Talk:
    """Caller and agent who talk, and how many packets each had sent when both heard the other."""

    caller: PhoneCall
    agent: PhoneCall
    before: tuple[int, int]

    def sent(self) -> tuple[int, int]:
        """Packets since then."""
        return self.caller.sent - self.before[0], self.agent.sent - self.before[1]


@dataclass
class Scene:
    """Who sits where when the node dies."""

    menu: PhoneCall
    waits: PhoneCall
    ring: tuple[PhoneCall, PhoneCall]
    talks: list[Talk]
    enqueued: dict[str, str]
    """Caller -> when it began to wait, as the API tells before the death; the caller in the menu has none."""

    @property
    def callers(self) -> list[str]:
        """Their numbers, those who talk last."""
        calls = (self.menu, self.waits, self.ring[0], *(talk.caller for talk in self.talks))
        return [call.facts.caller for call in calls]

    @property
    def calls(self) -> list[PhoneCall]:
        """Of all phones."""
        pairs = [call for talk in self.talks for call in (talk.caller, talk.agent)]
        return [self.menu, self.waits, *self.ring, *pairs]


@dataclass
class Deaths:
    """A cell whose media node dies again and again."""

    cell: Cell
    centre: Centre
    crowd: Crowd
    agents: Sequence[Phone]
    rng: random.Random
    fates: list[Fate]
    kills: list[Kill] = field(default_factory=list)
    died_at: float = 0.0
    """Unix time of the last death."""
    wrong: dict[str, int] = field(default_factory=dict)
    lacking: int = 0
    """The most packets that a recording lacked."""

    async def live_and_die(self, number: int) -> None:
        """One life, its death, the next life's beginning, and all that must hold of who was there."""
        fate, scene = self.fates[number], await self.scene()
        async with beside(self.coming_and_going()):
            kill = Kill(fate.killed, fate.where, self.crowd.live())
            sent = await self.end(fate, scene)
            began = time.monotonic()
            await asyncio.sleep(self.rng.choice(AWAY_S))
            following = self.fates[number + 1 :]
            await self.begin(fate, following[0].environment if following else {})
            kill.gap_s = time.monotonic() - began
        for state in STATES:
            assert kill.live[state] >= (2 if state == "talking" else 1), f"{kill.where}: {kill.live}"
        self.kills.append(kill)
        print(f"{len(self.kills):4}/{len(self.fates)} {kill}", flush=True)
        async with asyncio.timeout(PATIENCE_S):
            for call in scene.calls:
                assert (await call.until_over()).by is By.FAR, call.facts
        contacts = await self.all_over(scene)
        self.look(scene, contacts)
        for talk, contact, packets in zip(scene.talks, contacts[3:], sent, strict=True):
            await self.check_recording(talk, contact, packets)
        await check_agents(self.centre)

    async def scene(self) -> Scene:
        """Everybody where they belong; the API has told of the places."""
        crowd = self.crowd
        dan, eve, fay = self.agents
        menu, waits = await crowd.menu_sitter(), await crowd.queue_sitter("4")
        talks = []
        for digit, agent in (("1", dan), ("2", eve)):
            caller, answered = await crowd.talk_sitters(digit, agent)
            talks.append(Talk(caller, answered, (caller.sent, answered.sent)))
        ring = await crowd.ring_sitter("3", fay)
        live = await all_contacts(self.centre, "LIFE_LIVE")
        enqueued = {contact["caller"]["value"]: contact.get("enqueueTime", "") for contact in live}
        return Scene(menu, waits, ring, talks, enqueued)

    async def coming_and_going(self) -> None:
        """Short calls, so that there are commands."""
        while True:
            phone = await self.crowd.caller()
            call = phone.dial(self.centre.number)
            try:
                with suppress(CallOver):
                    await call.until_answered()
                    await call.until_sound(0.2)
            finally:
                phone.hang_up(call)
            await call.until_over()
            await phone.leave()  # its facts stay

    # ---------------------------------------------------------------- death and life

    async def end(self, fate: Fate, scene: Scene) -> list[tuple[int, int]]:
        """By its own hand at the point, or by ours; what each talk had sent by then."""
        cell = self.cell
        assert cell.media is not None
        if fate.environment:
            assert await asyncio.to_thread(cell.media.wait_end, PATIENCE_S) == -signal.SIGKILL
            assert f"TANDEM_KILL_AT={fate.where} reached" in cell.media.output
        else:
            await asyncio.sleep(self.rng.uniform(0.3, 1.5))
        if fate.first_dies == "control":
            cell.kill_control()
            await asyncio.sleep(APART_S)
        cell.kill_media()
        self.died_at = time.time()
        sent = [talk.sent() for talk in scene.talks]
        if fate.killed == BOTH and cell.control is not None:
            await asyncio.sleep(APART_S if fate.apart else 0)
            cell.kill_control()
        return sent

    async def begin(self, fate: Fate, environment: dict[str, str]) -> None:
        """The next life, in the order of the fate; until calls can be taken."""
        cell = self.cell
        if fate.control_first:
            control = cell.start_control()
            await asyncio.to_thread(control.wait_line, "control plane ready")  # alone, and timers are armed
        ups = sum("media node up" in line for line in cell.control.lines) if cell.control is not None else 0
        cell.start_media(**environment)
        if cell.control is None:
            cell.start_control()
            await asyncio.to_thread(cell.wait_ready)
        assert cell.control is not None
        await asyncio.to_thread(cell.control.wait_line, "media node up", count=ups + SHARDS)

    # ---------------------------------------------------------------- what must hold

    async def all_over(self, scene: Scene) -> list[Json]:
        """The contacts of who sat there, in their order, once they are over."""
        names = {contact["caller"]["value"]: contact["name"] for contact in await all_contacts(self.centre)}
        for caller in scene.callers:
            await whole_story(self.centre, names[caller])
        return [await self.centre.rest.get(names[caller]) for caller in scene.callers]

    def look(self, scene: Scene, contacts: Sequence[Json]) -> None:
        """Outcome, place and time of each."""
        for caller, contact in zip(scene.callers, contacts, strict=True):
            self._count("outcomes wrong", contact["outcome"] != "OUTCOME_MEDIA_LOST", contact)
            self._count("places lost", contact.get("enqueueTime", "") != scene.enqueued[caller], contact)
            late_s = datetime.fromisoformat(contact["endTime"]).timestamp() - self.died_at
            self._count("ends at a wrong time", not -BEFORE_S <= late_s <= AFTER_S, f"{late_s:.2f} s: {contact}")
        assert not scene.enqueued[scene.callers[0]]
        assert all(scene.enqueued[caller] for caller in scene.callers[1:])

    def _count(self, name: str, is_wrong: bool, what: object) -> None:
        self.wrong[name] = self.wrong.get(name, 0) + is_wrong
        if is_wrong:
            print(f"{name}: {what}", flush=True)

    async def check_recording(self, talk: Talk, contact: Json, sent: tuple[int, int]) -> None:
        """Finished by the next life: what both phones had sent up to the last second before the kill;
        and it says that its end is missing."""
        (name,) = contact["recordings"]
        assert (await self.centre.rest.get(name))["truncated"] is True
        sides = sounds.channels_of(await self.centre.rest.download(name))
        for samples, call, packets in zip(sides, (talk.caller, talk.agent), sent, strict=True):
            recorded = len(samples) // sounds.FRAME
            heard_s = sounds.seconds_of(samples, call.facts.voice_hz)
            self.lacking = max(self.lacking, packets - recorded)
            short = recorded < packets - LAST_SECOND or heard_s < (packets - LAST_SECOND) / 50
            self._count("recordings short", short, f"{recorded} packets, {heard_s} s of {packets} packets")


async def check_agents(centre: Centre) -> None:
    """Those who talked and the one whose phone rang are idle again; nobody had to register."""
    states = (await centre.rest.get(f"{centre.tenant}/agentStates"))["agentStates"]
    found = {state["agent"].rpartition("/")[2]: (state["status"], state["reachable"]) for state in states}
    assert {found[agent] for agent in AGENTS} == {("STATUS_IDLE", True)}, found


def fates_of(kills: int, rng: random.Random) -> list[Fate]:
    """The deaths of a run, mixed."""
    times = max(TIMES, kills * 2 // 5)
    alone = [Fate(MEDIA, RANDOM) for _ in range(times)]
    pointed = [Fate(MEDIA, f"{Point.JOURNALLED}:{rng.randint(*PASSES)}") for _ in range(times)]
    both = [BOTH_WAYS[n % len(BOTH_WAYS)] for n in range(max(times, len(BOTH_WAYS)))]
    fates = [*alone, *pointed, *both]
    rng.shuffle(fates)
    return fates


@pytest.mark.builtin("its calls die with it; tests/e2e/freeswitch/test_kill.py has the other side")
@pytest.mark.timeout(3600)
async def test_kills_of_the_media_node(own_cell: Cell, tmp_path: Path, kills: int, tally: Tally) -> None:
    """Alone at random moments and amid a command, and with the control plane in every order."""
    rng = random.Random(SEED)
    await kill_media_nodes(own_cell, tmp_path / "replies.jsonl", fates_of(kills, rng), rng, tally)


async def kill_media_nodes(own_cell: Cell, replies: Path, fates: list[Fate], rng: random.Random, tally: Tally) -> None:
    """A life for each fate, and one more that takes calls; then everything is counted."""
    own_cell.start_media(**fates[0].environment)
    own_cell.start_control()
    own_cell.wait_ready()
    async with (
        AsyncExitStack() as stack,
        own_cell.centre(queues=QUEUES, ring_timeout_s=RING_LIMIT_S, timeout="60s", tries=9) as centre,
    ):
        crowd = Crowd(own_cell, centre, rng, stack)
        agents = [await crowd.agent(name, index) for index, name in enumerate(AGENTS)]
        deaths = Deaths(own_cell, centre, crowd, agents, rng, fates)
        clerk = Clerk(centre, "gus", replies)
        async with beside(clerk.work()):
            for number in range(len(fates)):
                await deaths.live_and_die(number)
        caller, _ = await crowd.talk_sitters("1", agents[0])
        assert caller.is_up
        crowd.hang_up(caller)
        calls = crowd.facts()
        blames: list[Blame] = []
        for contact in await all_contacts(centre):
            blames += blames_of(await whole_story(centre, contact["name"]), RING_LIMIT_S)
        wrong = {
            "rung twice": len(count.rung_twice(calls)),
            "blamed": len(count.blamed(blames, calls)),
            "replies not true": len(await clerk.missing()),
            **deaths.wrong,
        }
        print(f"a recording lacked {max(0, deaths.lacking) * 0.02:.2f} s at most")
        tally.add(deaths.kills, sum(call.way is Way.OUT for call in calls), wrong)
