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

from tandem.client import count
from tandem.client.call import PhoneCall
from tandem.client.count import Blame
from tandem.client.facts import CallFacts, Way
from tandem.core.points import Point
from tests.e2e import sounds
from tests.e2e.cell import Cell, Centre
from tests.e2e.crowd import Clerk, Crowd
from tests.e2e.programs import beside
from tests.e2e.rest import Json

SEED = 20260101
TIMES = 3
"""How often each named point is hit."""
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
STATES = ("menu", "waiting", "ringing", "talking")
QUEUES = {"sales": ("ann", "bob"), "desk": ("dan", "eve", "fay"), "nobody": ("gus",)}
"""Digit 1: those who stir. Digit 2: two who talk all the time, one whose phone rings. Digit 3: waiting for nobody."""
STIRRING_CALLERS = 5
SITTING_RING_S = 120
RENEWED_EVERY = 3
"""So many lives a phone rings before it is answered; every second time while the control plane is dead."""
RANDOM = "random"
RANG_OUT = "OFFER_OUTCOME_TIMEOUT"


@dataclass
class Kill:
    """One kill: where, what was live, and how long the next life took to be ready (0 if it was killed before)."""

    where: str
    live: Counter[str] = field(default_factory=Counter)
    serving: bool = False
    gap_s: float = 0.0


def table(kills: Sequence[Kill]) -> str:
    """For the reader of the test's output."""
    rows = [f"{'killed at':<20} {'when':<9} {'gap':>6}  live (by the phones)"]
    for kill in kills:
        when = "serving" if kill.serving else "takeover"
        live = ", ".join(f"{kill.live[state]} {state}" for state in STATES)
        gap = f"{kill.gap_s:.1f}s" if kill.gap_s else "-"
        rows.append(f"{kill.where:<20} {when:<9} {gap:>6}  {live}")
    return "\n".join(rows)


@dataclass
class Story:
    """The lives and deaths of the control plane, and what the API must say the same after each."""

    cell: Cell
    centre: Centre
    crowd: Crowd
    rng: random.Random
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
        kill = Kill(RANDOM, self.crowd.live(), serving=True)
        self.cell.kill_control()
        await self._mourn(kill)

    async def kill_at(self, point: Point) -> None:
        """A life that ends at a pass of the point, in the takeover or later."""
        nth = self.rng.randint(*PASSES[point])
        control = self.cell.start_control(TANDEM_KILL_AT=f"{point}:{nth}")
        try:
            code = await asyncio.to_thread(control.wait_end)
        except subprocess.TimeoutExpired:
            twice = count.rung_twice(self.crowd.facts())
            raise AssertionError(f"calls stand still: {self.crowd.live()}; phones that rang twice: {twice}") from None
        kill = Kill(f"{point}:{nth}", self.crowd.live(), any("plane ready" in line for line in control.lines))
        assert code == -signal.SIGKILL, f"{kill.where} was not reached\n{control.output}"
        assert f"TANDEM_KILL_AT={kill.where} reached" in control.output
        self.cell.kill_control()
        await self._mourn(kill)

    async def _mourn(self, kill: Kill) -> None:
        for state in STATES:
            assert kill.live[state] >= (2 if state == "talking" else 1), f"{kill.where}: {kill.live}"
        self.kills.append(kill)
        # Mostly as quick as a supervisor; sometimes long enough for phones to do a good deal.
        await asyncio.sleep(self.rng.choice((0.1, 0.1, 2.0)))

    async def live_again(self) -> None:
        """A successor, and what it tells of those who were there before."""
        began = time.monotonic()
        self.cell.start_control()
        await asyncio.to_thread(self.cell.wait_ready)
        self.kills[-1].gap_s = time.monotonic() - began
        for contact in await self.contacts("LIFE_LIVE"):
            told = contact.get("enqueueTime", "")
            if told and self.enqueued.setdefault(contact["name"], told) != told:
                self.moved.append(contact["name"])

    async def contacts(self, life: str = "LIFE_UNSPECIFIED") -> list[Json]:
        """All of them, page by page."""
        found: list[Json] = []
        token = ""
        while True:
            path = f"{self.centre.tenant}/contacts"
            page = await self.centre.rest.get(path, life=life, pageSize=200, pageToken=token)
            found += page["contacts"]
            token = page["nextPageToken"]
            if not token:
                return found


async def test_kills_of_the_control_plane(own_cell: Cell, tmp_path: Path, kills: int) -> None:
    """Ten times at random moments, three times at each named point; nobody on the phone notices."""
    rng = random.Random(SEED)
    plan = [point for point in PASSES for _ in range(TIMES)]
    rng.shuffle(plan)
    own_cell.set(log__snapshot_commits=40)
    own_cell.start()
    async with (
        AsyncExitStack() as stack,
        own_cell.centre(queues=QUEUES, ring_timeout_s=RING_LIMIT_S, timeout="60s", tries=9) as centre,
    ):
        await centre.rest.patch(f"{centre.tenant}/queues/desk", {"ringTimeout": f"{SITTING_RING_S}s"})
        crowd = Crowd(own_cell, centre, rng, stack)
        story = Story(own_cell, centre, crowd, rng)
        clerk = Clerk(centre, "gus", tmp_path / "replies.jsonl")
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
                if plan:
                    await story.kill_at(plan.pop())
                renewed = n % RENEWED_EVERY == 0
                if renewed and n % 2:
                    fay.answer(ring[1])  # while nobody is there to know it
                await story.live_again()
                if renewed:
                    fay.answer(ring[1])
                    await crowd.end_talk(ring[0], fay)
                    ring = await crowd.ring_sitter("2", fay)
                if not plan and story.randomly >= kills:
                    break
            await crowd.leave()
        print("\n" + table(story.kills))
        assert all(call.is_up for call in sitting)
        assert all(call.is_up for talk in talks for call in talk)
        await go_home(story, [*sitting, ring[0], talks[0][0], talks[1][1]])
        await check(story)
        assert await clerk.missing() == []
        for talk in talks:
            await check_recording(story, talk[0].facts, talk[1].facts)


async def go_home(story: Story, calls: Iterable[PhoneCall]) -> None:
    """Everybody who still sits hangs up; until the last contact is over."""
    async with story.centre.rest.watch(story.centre.tenant) as watch:
        for call in calls:
            story.crowd.hang_up(call)
        await watch.when(lambda: all(one["state"] == "STATE_ENDED" for one in watch.contacts.values()))


async def check(story: Story) -> None:
    """What spine 12 counts, from the phones and from the history."""
    calls = story.crowd.facts()
    callers = [call for call in calls if call.way is Way.OUT]
    assert count.dropped(calls) == []
    assert count.rung_twice(calls) == []
    assert count.overtaken(calls, "1") == []
    assert story.moved == []
    assert count.refused(calls) == {}

    contacts = await story.contacts()
    assert Counter(contact["caller"]["value"] for contact in contacts) == Counter(call.caller for call in callers)
    outcomes = {contact["caller"]["value"]: contact["outcome"] for contact in contacts}
    assert outcomes == {call.caller: outcome_of(call, calls) for call in callers}
    for contact in contacts:
        assert story.enqueued.get(contact["name"], contact.get("enqueueTime")) == contact.get("enqueueTime")

    blames: list[Blame] = []
    for contact in contacts:
        events = (await story.centre.rest.get(f"{contact['name']}/events", pageSize=200))["events"]
        assert [event["version"] for event in events] == list(range(1, len(events) + 1))
        assert sum(event["type"] == "contact.completed" for event in events) == 1
        limit_s = SITTING_RING_S if contact["queue"].endswith("/desk") else RING_LIMIT_S
        blames += [Blame(e["data"]["offer"], limit_s) for e in events if e["data"].get("outcome") == RANG_OUT]
    assert count.blamed(blames, calls) == []
    states = (await story.centre.rest.get(f"{story.centre.tenant}/agentStates"))["agentStates"]
    assert {state["status"] for state in states if state["reachable"]} <= {"STATUS_IDLE"}, states
    print(f"{len(callers)} calls, {len(story.kills)} kills: none dropped, none rung twice, none overtaken, none blamed")


def outcome_of(call: CallFacts, calls: Sequence[CallFacts]) -> str:
    """What its phone would say became of a call."""
    if count.heard_agent(call, calls) is not None:
        return "OUTCOME_HANDLED"
    return "OUTCOME_ABANDONED" if call.pressed else "OUTCOME_LEFT_IN_FLOW"


async def check_recording(story: Story, caller: CallFacts, agent: CallFacts) -> None:
    """A talk that saw every kill is on its recording from end to end."""
    (contact,) = [one for one in await story.contacts() if one["caller"]["value"] == caller.caller]
    (name,) = contact["recordings"]
    left, right = sounds.channels_of(await story.centre.rest.download(name))
    assert caller.ended is not None
    assert caller.answered is not None
    seconds = caller.seconds(agent.voice_hz)
    assert sounds.seconds_of(left, caller.voice_hz) > 0.95 * seconds
    assert sounds.seconds_of(right, agent.voice_hz) > 0.95 * seconds
