"""kill -9 of the control plane in the middle of calls, counted by the phones (spine 12)."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tandem.client import count
from tandem.client.call import PhoneCall
from tandem.client.count import Blame
from tandem.client.facts import CallFacts, Way
from tandem.core.points import Point
from tests.e2e import sounds
from tests.e2e.cell import Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Clerk, Crowd
from tests.e2e.kill_checks import all_contacts, blames_of, whole_story
from tests.e2e.kill_tally import CONTROL, RANDOM, STATES, Kill, Tally
from tests.e2e.programs import beside

SEED = 20260101
TIMES = 3
"""How often each named point is hit, and at least so often twice for each five random kills."""
AT_ONCE = 2
"""Lives in a row that end at points, before one may live."""
RING_LIMIT_S = 5
PASSES = {
    Point.BEFORE_APPEND: (1, 70),
    Point.APPENDED: (1, 70),
    Point.READ_BACK: (1, 70),
    Point.EFFECT_SENT: (1, 25),
    Point.IN_CLAIM: (1, 12),
    Point.IN_SNAPSHOT: (1, 8),
}
"""Point -> the passes among which one is drawn: some within the takeover, some amid the calls."""
QUEUES = {"sales": ("ann", "bob"), "desk": ("dan", "eve", "fay"), "nobody": ("gus",)}
"""Digit 1: those who stir. Digit 2: two who talk all the time, one whose phone rings. Digit 3: waiting for nobody."""
STIRRING_CALLERS = 5
SITTING_RING_S = 120
RENEWED_EVERY = 2
"""So many lives a phone rings before it is answered; every second time while the control plane is dead."""


@dataclass
class Story:
    """The lives and deaths of the control plane, and what the API must say the same after each."""

    cell: Cell
    centre: Centre
    crowd: Crowd
    rng: random.Random
    planned: int
    """How many kills there will be."""
    kills: list[Kill] = field(default_factory=list)
    enqueued: dict[str, str] = field(default_factory=dict)
    """Contact -> when it began to wait, as first told."""
    moved: list[str] = field(default_factory=list)
    """Contacts whose enqueue time is another now."""

    @property
    def randomly(self) -> int:
        """Kills at random moments."""
        return sum(kill.where == RANDOM for kill in self.kills)

    async def kill_at_random(self) -> None:
        """After a moment of serving."""
        await asyncio.sleep(self.rng.uniform(0, 1.5))
        kill = Kill(CONTROL, RANDOM, self.crowd.live())
        self.cell.kill_control()
        await self._mourn(kill)

    async def kill_at(self, point: Point) -> None:
        """A life that ends at a pass of the point, in the takeover or later."""
        nth = self.rng.randint(*PASSES[point])
        control = self.cell.start_control(TANDEM_KILL_AT=f"{point}:{nth}")
        try:
            code = await asyncio.to_thread(control.wait_end, PATIENCE_S)
        except subprocess.TimeoutExpired:
            twice = count.rung_twice(self.crowd.facts())
            raise AssertionError(f"calls stand still: {self.crowd.live()}; phones that rang twice: {twice}") from None
        serving = any("plane ready" in line for line in control.lines)
        kill = Kill(CONTROL, f"{point}:{nth}", self.crowd.live(), serving)
        assert code == -signal.SIGKILL, f"{kill.where} was not reached\n{control.output}"
        assert f"TANDEM_KILL_AT={kill.where} reached" in control.output
        self.cell.kill_control()
        await self._mourn(kill)

    async def _mourn(self, kill: Kill) -> None:
        for state in STATES:
            assert kill.live[state] >= (2 if state == "talking" else 1), f"{kill.where}: {kill.live}"
        self.kills.append(kill)
        print(f"{len(self.kills):4}/{self.planned} {kill}", flush=True)
        # Mostly as quick as a supervisor; sometimes long enough for phones to do a good deal.
        await asyncio.sleep(self.rng.choice((0.1, 0.1, 2.0)))

    async def live_again(self) -> None:
        """A successor, and what it tells of those who were there before."""
        began = time.monotonic()
        self.cell.start_control()
        await asyncio.to_thread(self.cell.wait_ready)
        self.kills[-1].gap_s = time.monotonic() - began
        for contact in await all_contacts(self.centre, "LIFE_LIVE"):
            told = contact.get("enqueueTime", "")
            if told and self.enqueued.setdefault(contact["name"], told) != told:
                self.moved.append(contact["name"])


@pytest.mark.timeout(3600)
async def test_kills_of_the_control_plane(own_cell: Cell, tmp_path: Path, kills: int, tally: Tally) -> None:
    """Ten times at random moments, three times at each named point; nobody on the phone notices."""
    plan = [point for point in PASSES for _ in range(max(TIMES, kills * 2 // 5))]
    await kill_control_planes(own_cell, tmp_path / "replies.jsonl", plan, kills, tally)


async def kill_control_planes(own_cell: Cell, replies: Path, plan: list[Point], kills: int, tally: Tally) -> None:
    """So many random kills, and one at each point of the plan; then everything is counted."""
    rng = random.Random(SEED)
    rng.shuffle(plan)
    planned = max(kills, -(-len(plan) // AT_ONCE)) + len(plan)
    own_cell.set(log__snapshot_commits=40)
    own_cell.start()
    async with (
        AsyncExitStack() as stack,
        own_cell.centre(queues=QUEUES, ring_timeout_s=RING_LIMIT_S, timeout="60s", tries=9) as centre,
    ):
        await centre.rest.patch(f"{centre.tenant}/queues/desk", {"ringTimeout": f"{SITTING_RING_S}s"})
        crowd = Crowd(own_cell, centre, rng, stack)
        story = Story(own_cell, centre, crowd, rng, planned)
        clerk = Clerk(centre, "gus", replies)
        stirring = [await crowd.agent(name, index) for index, name in enumerate(QUEUES["sales"])]
        dan, eve, fay = [await crowd.agent(name, index) for index, name in enumerate(QUEUES["desk"], 5)]
        sitting = [await crowd.menu_sitter(), await crowd.queue_sitter("3")]
        talks = [await crowd.talk_sitters("2", agent) for agent in (dan, eve)]
        for agent in stirring:
            await stack.enter_async_context(beside(crowd.keep_answering(agent)))
        async with beside(clerk.work()), beside(crowd.keep_calling("1", STIRRING_CALLERS)):
            ring = await crowd.ring_sitter("2", fay)
            for n in itertools.count(1):
                await story.kill_at_random()
                for _ in range(min(AT_ONCE, len(plan))):
                    await story.kill_at(plan.pop())
                renewed = n % RENEWED_EVERY == 0
                if renewed and n // RENEWED_EVERY % 2:
                    fay.answer(ring[1])  # while nobody is there to know it
                await story.live_again()
                if renewed:
                    # Nobody sits for ever: after nine minutes of menu the flow ends.
                    crowd.hang_up(sitting[0])
                    sitting[0] = await crowd.menu_sitter()
                    fay.answer(ring[1])
                    await crowd.end_talk(ring[0], fay)
                    ring = await crowd.ring_sitter("2", fay)
                if not plan and story.randomly >= kills:
                    break
            await crowd.leave()
        assert all(call.is_up for call in sitting)
        assert all(call.is_up for talk in talks for call in talk)
        await go_home(story, [*sitting, ring[0], talks[0][0], talks[1][1]])
        wrong = await check(story) | {"replies not true": len(await clerk.missing())}
        for talk in talks:
            await check_recording(story, talk[0].facts, talk[1].facts)
        tally.add(story.kills, sum(call.way is Way.OUT for call in crowd.facts()), wrong)


async def go_home(story: Story, calls: Iterable[PhoneCall]) -> None:
    """Everybody who still sits hangs up; until the last contact is over."""
    async with story.centre.rest.watch(story.centre.tenant) as watch:
        for call in calls:
            story.crowd.hang_up(call)
        await watch.when(lambda: all(one["state"] == "STATE_ENDED" for one in watch.contacts.values()))


async def check(story: Story) -> dict[str, int]:
    """What spine 12 counts, from the phones and from the history: all of it must be zero."""
    calls = story.crowd.facts()
    callers = [call for call in calls if call.way is Way.OUT]
    contacts = await all_contacts(story.centre)
    assert Counter(contact["caller"]["value"] for contact in contacts) == Counter(call.caller for call in callers)
    outcomes = {contact["caller"]["value"]: contact["outcome"] for contact in contacts}
    moved = [c for c in contacts if story.enqueued.get(c["name"], c.get("enqueueTime")) != c.get("enqueueTime")]
    blames: list[Blame] = []
    for contact in contacts:
        events = await whole_story(story.centre, contact["name"])
        limit_s = SITTING_RING_S if contact["queue"].endswith("/desk") else RING_LIMIT_S
        blames += blames_of(events, limit_s)
    states = (await story.centre.rest.get(f"{story.centre.tenant}/agentStates"))["agentStates"]
    found: dict[str, Sequence[object]] = {
        "dropped": count.dropped(calls),
        "rung twice": count.rung_twice(calls),
        "overtaken": count.overtaken(calls, "1"),
        "refused": list(count.refused(calls)),
        "places lost": [*story.moved, *moved],
        "outcomes wrong": [call for call in callers if outcomes[call.caller] != outcome_of(call, calls)],
        "blamed": count.blamed(blames, calls),
        "agents stuck": [state for state in states if state["reachable"] and state["status"] != "STATUS_IDLE"],
    }
    for name, wrong in found.items():
        for one in wrong:
            print(f"{name}: {one}", flush=True)
    return {name: len(wrong) for name, wrong in found.items()}


def outcome_of(call: CallFacts, calls: Sequence[CallFacts]) -> str:
    """What its phone would say became of a call."""
    if count.heard_agent(call, calls) is not None:
        return "OUTCOME_HANDLED"
    return "OUTCOME_ABANDONED" if call.pressed else "OUTCOME_LEFT_IN_FLOW"


async def check_recording(story: Story, caller: CallFacts, agent: CallFacts) -> None:
    """A talk that saw every kill is on its recording from end to end."""
    (contact,) = [one for one in await all_contacts(story.centre) if one["caller"]["value"] == caller.caller]
    (name,) = contact["recordings"]
    left, right = sounds.channels_of(await story.centre.rest.download(name))
    assert caller.ended is not None
    assert caller.answered is not None
    seconds = caller.seconds(agent.voice_hz)
    assert sounds.seconds_of(left, caller.voice_hz) > 0.95 * seconds
    assert sounds.seconds_of(right, agent.voice_hz) > 0.95 * seconds
