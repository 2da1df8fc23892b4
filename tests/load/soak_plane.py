"""The control plane at the highest rate that holds: one part of `tests.load.soak`.

`tandem run all` as an operator starts it, history and API in it. The node is `media_stub`: agent, journal
and link are the product's, its phones do everything at once, and each writes down what became of its call.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tandem.adapters.sqlite import SqliteStore
from tandem.session.views import CONTACTS, ROWS, ContactRow, Party, Phase
from tests.e2e.cell import SHARDS, Cell, Centre
from tests.load.figures import share, tell
from tests.load.media_stub import Plan, StubProcess
from tests.load.rates import Probe, highest, why_not
from tests.load.sampler import Sample, Watched, cell_files, stop_cell
from tests.load.verdicts import Verdict, counted

AGENTS = 400
TALK_MS, WRAP_UP_S, RING_S = 300, 0.2, 15
"""Each agent has room for two calls a second: who waits is made to by us, not by too few of them."""
FIRST_RATE, RATE_MAX = 25.0, 400.0
PROBE_S = 20.0
PART = 0.85
"""Of the rate that held for some seconds, what is held for the time of the run."""
FOREVER = 1_000_000_000
LIMITS = {
    "live_contacts": 100_000, "setups_per_s": 10_000, "setup_burst": 20_000, "api_requests_per_s": 5_000,
    "api_burst": 5_000, "credential_requests_per_s": 5_000, "credential_burst": 5_000,
}  # fmt: skip
CALLERS: Mapping[str, tuple[float, dict[str, Any]]] = {
    "talk": (0.70, {"digit": "1", "think_ms": 50, "talk_ms": TALK_MS}),
    "give up in line": (0.12, {"digit": "2", "think_ms": 50, "patience_ms": 1000}),
    "press wrong digits": (0.10, {"digit": "9", "think_ms": 50}),
    "hang up in the menu": (0.08, {"think_ms": 2000, "leave_ms": 400}),
}
"""What callers do, and how many of them."""
OUTCOMES = {
    "talked": "HANDLED", "gave_up": "ABANDONED", "left": "LEFT_IN_FLOW", "ended": "FLOW_ENDED", "refused": "REFUSED"
}  # fmt: skip
"""What a phone says of its call, and what history must say of the contact."""
BREAK_S, BREAKS_EVERY_S = 3.0, 0.5
LOOK_EVERY_S = 30.0
STUCK_S = RING_S + 10.0
"""An agent whose phone rings, or a contact that is not over, for longer is stuck."""
DRAIN_S, SETTLED_S = 120.0, 6.0
"""Until the last call is over; and then until the gauges, which are counted every 5 s, know it."""
API_PAGES, PAGE = 10, 200


@dataclass
class Plane:
    """The part while it runs."""

    cell: Cell
    centre: Centre
    stub: StubProcess
    watched: Watched
    witness: Path
    client: httpx.AsyncClient
    plans: list[int] = field(default_factory=list)
    stuck: dict[str, None] = field(default_factory=dict)
    """Agents and contacts that were found too long in one state."""
    looked: int = 0
    beside: list[asyncio.Task[None]] = field(default_factory=list)
    """Breaks and looks: they end before the cell does."""

    # ---------------------------------------------------------------- load

    async def begin(self, rate: float) -> None:
        """Callers of each kind, so many a second in all."""
        for part, does in CALLERS.values():
            self.plans.append(await self.stub.begin(Plan(self.centre.number, FOREVER, rate=part * rate, **does)))

    async def end(self) -> None:
        """Nobody dials any more, and those who have are over."""
        for plan in self.plans:
            await self.stub.stop(plan)
        async with asyncio.timeout(DRAIN_S):
            for plan in self.plans:
                await self.stub.told(plan, wait=True)
            while (await self.watched.sample(self.client)).get("view_lag", 1):
                await asyncio.sleep(0.2)
        self.plans.clear()

    async def sample(self) -> Sample:
        """See `sampler`; and what the callers waited since the last one."""
        found = await self.watched.sample(self.client)
        told = [await self.stub.told(plan) for plan in self.plans]
        for plan in self.plans:
            await self.stub.forget(plan)
        answers = [ms for one in told for ms in one["answer_ms"]]
        offers = [ms for one in told for ms in one["offer_ms"]]
        found["dialled"] = float(sum(one["dialled"] for one in told))
        found["over"] = float(sum(one["over"] for one in told))
        found["calls"] = found["dialled"] - found["over"]
        if answers:
            found["answer_p99_ms"] = share(answers, 0.99)
        if offers:
            found["offer_p50_ms"], found["offer_p99_ms"] = share(offers, 0.5), share(offers, 0.99)
        return found

    async def find_rate(self, seconds: float = PROBE_S) -> tuple[float, list[Probe]]:
        """The highest rate that holds now, on this machine with whatever else it does."""
        return await highest(lambda rate: self._probe(rate, seconds), FIRST_RATE, RATE_MAX)

    async def _probe(self, rate: float, seconds: float) -> Probe:
        await self.begin(rate)
        await asyncio.sleep(seconds / 2)
        middle = await self.sample()
        await asyncio.sleep(seconds / 2)
        end = await self.sample()
        dialled_s = (end["dialled"] - middle["dialled"]) / (seconds / 2)
        answer_s = end.get("answer_p99_ms", 1000 * seconds) / 1000
        lags, calls = (middle["view_lag"], end["view_lag"]), (middle["calls"], end["calls"])
        # A counter with labels is not exposed before it counts.
        refused = end.get("turned_away", 0.0) - middle.get("turned_away", 0.0)
        why = why_not(rate, dialled_s, refused, calls, lags, answer_s)
        await self.end()
        told = (
            f"{calls[1]:.0f} calls under way, answered within {1000 * answer_s:.0f} ms (p99), history {lags[1]:.0f} "
            "commits behind"
        )
        tell(f"{rate:g}/s: {why or 'holds'} ({told})")
        return Probe(rate, why, told)

    # ---------------------------------------------------------------- beside it

    async def breaks(self, rng: random.Random) -> None:
        """Agents go on breaks and come back, for ever."""
        away: list[str] = []
        while True:
            away.append(rng.choice([name for name in self.centre.agents if name.startswith("a")]))
            await self.centre.available(away[-1], "PRESENCE_BREAK")
            await asyncio.sleep(BREAKS_EVERY_S)
            if len(away) > BREAK_S / BREAKS_EVERY_S:
                await self.centre.available(away.pop(0))

    async def alone(self) -> None:
        """Nothing goes on beside the load any more. Raises what went wrong there. Idempotent."""
        beside, self.beside = self.beside, []
        for task in beside:
            if task.done():
                task.result()
            task.cancel()
        if beside:
            await asyncio.wait(beside)

    async def look(self) -> None:
        """Every now and then, whether somebody is stuck, as the API tells it; for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look_once()

    async def look_once(self) -> None:
        """Agents whose phone rings, and contacts that are not over, for too long."""
        now = datetime.now().astimezone()
        agents = await self._pages("agentStates", "agentStates")
        for agent in agents:
            since = (now - datetime.fromisoformat(agent["statusTime"])).total_seconds()
            if agent["status"] == "STATUS_ALERTING" and since > STUCK_S:
                self.stuck[f"{agent['agent']} {agent['status']} for {since:.0f} s"] = None
        for contact in await self._pages("contacts", "contacts", life="LIFE_LIVE"):
            since = (now - datetime.fromisoformat(contact["createTime"])).total_seconds()
            if since > STUCK_S:
                self.stuck[f"{contact['name']} {contact['state']} for {since:.0f} s"] = None
        self.looked += 1

    async def _pages(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = ""
        for _ in range(50):
            page = await self.centre.rest.get(f"{self.centre.tenant}/{path}", pageSize=PAGE, pageToken=token, **query)
            found += page[key]
            token = page["nextPageToken"]
            if not token:
                break
        return found

    # ---------------------------------------------------------------- the reckoning

    async def verdicts(self) -> list[Verdict]:
        """Ends the load and the processes; what is stuck, and what the phones cannot account for."""
        await self.alone()
        await self.end()
        await asyncio.sleep(SETTLED_S)
        await self.look_once()
        last = await self.watched.sample(self.client)
        figures = await self.stub.figures()
        busy = [a for a in await self._pages("agentStates", "agentStates") if a["contact"]]
        told = {row["name"].rpartition("/")[2]: row for row in await self._newest()}
        tenant = self.centre.tenant.partition("/")[2]
        await self.stub.__aexit__()
        stop_cell(self.cell)
        return [
            counted("plane: agents or contacts stuck during the run", list(self.stuck), self.looked),
            counted("plane: agents who still have a contact", [str(one) for one in busy], AGENTS),
            Verdict("plane: contacts, legs, effects left", _left(last, figures), _left(last, figures) == "0, 0, 0"),
            Verdict("plane: phones rung twice", str(figures["rung_twice"]), not figures["rung_twice"]),
            *await accounted(self.witness, self.cell.data_dir / "log", tenant, told),
        ]

    async def _newest(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = ""
        for _ in range(API_PAGES):
            query = {"pageSize": PAGE, "pageToken": token, "life": "LIFE_ENDED"}
            page = await self.centre.rest.get(f"{self.centre.tenant}/contacts", **query)
            found += page["contacts"]
            token = page["nextPageToken"]
        return found


def _left(last: Sample, figures: Mapping[str, Any]) -> str:
    return f"{last.get('live', 0):.0f}, {figures['legs']}, {last.get('pending', 0):.0f}"


async def accounted(witness: Path, views: Path, tenant: str, told: Mapping[str, dict[str, Any]]) -> list[Verdict]:
    """Every call that a phone made is one contact with the right outcome and as many rings, and there is
    no other: the phones' own lines against the whole of history, of which the API has `told` the newest."""
    said: dict[str, tuple[str, int]] = {}
    twice: list[str] = []
    for line in witness.read_text().splitlines():
        leg, became, rung = line.split()
        if leg in said:
            twice.append(leg)
        said[leg] = OUTCOMES[became], int(rung)
    calls, unknown, differ, rings, refused = len(said), [], [], [], 0
    api_differs = [
        name for name, contact in told.items()
        if contact["outcome"] != (f"OUTCOME_{said[name][0]}" if name in said else "OUTCOME_REFUSED")
    ]  # fmt: skip
    async for name, row in _history(views, tenant):
        call = said.pop(name, None)
        if call is None and row.outcome == "REFUSED":
            refused += 1
        elif call is None:
            unknown.append(name)
        elif row.phase is not Phase.ENDED or row.outcome != call[0]:
            differ.append(f"{name}: {row.phase} {row.outcome}, the phone says {call[0]}")
        elif not _answers(row) <= call[1] <= _offers(row):
            rings.append(f"{name}: {_offers(row)} offers, {_answers(row)} answered, {call[1]} rings: {row.legs}")
    # A call that the node itself refused never was a leg of its contact: there are as many, under names of their own.
    turned_away = sum(outcome == "REFUSED" for outcome, _ in said.values())
    missing = [name for name, (outcome, _) in said.items() if outcome != "REFUSED"]
    return [
        counted("plane: calls that are no contact", missing, calls),
        counted("plane: contacts that no phone made, or more than one of a call", unknown + twice, calls),
        Verdict(
            "plane: calls that the node refused, contacts refused", f"{turned_away}, {refused}", turned_away == refused
        ),
        counted("plane: outcomes that the phones tell otherwise", differ, calls),
        counted("plane: contacts with other rings than the phones had", rings, calls),
        counted("plane: newest contacts that the API tells otherwise", api_differs, len(told)),
    ]


def _offers(row: ContactRow) -> int:
    """An offer that was withdrawn at once, because its agent went on a break, rings nowhere."""
    return sum(leg.party is Party.AGENT for leg in row.legs)


def _answers(row: ContactRow) -> int:
    return sum(leg.party is Party.AGENT and leg.answered_ms > 0 for leg in row.legs)


async def _history(views: Path, tenant: str) -> AsyncIterator[tuple[str, ContactRow]]:
    store = await SqliteStore.open(views)
    try:
        after = None
        while rows := await store.scan(CONTACTS, (tenant,), after=after, limit=1000):
            for row in rows:
                yield str(row.key[1]), ROWS.decode(row.value)
            after = rows[-1].key
    finally:
        await store.close()


@asynccontextmanager
async def plane_part(home: Path, rng: random.Random, nice: int = 0) -> AsyncIterator[Plane]:
    """The cell, the stub, the tenant; its agents are at work and go on breaks."""
    limits = {f"limits__tenant__{name}": value for name, value in LIMITS.items()}
    cell = Cell(home, **limits)
    if nice:
        cell.tandem = ("nice", "-n", str(nice), *cell.tandem)
    (cell.data_dir / "run").mkdir(mode=0o700, parents=True)
    witness = home / "witness.txt"
    async with AsyncExitStack() as stack:
        link = f"unix:{cell.data_dir}/run/media.sock"
        stub = await stack.enter_async_context(StubProcess(link, home / "stub", witness=witness))
        stack.callback(stop_cell, cell)
        control = cell.start_control()
        await asyncio.to_thread(control.wait_line, "media node up", count=SHARDS)
        await asyncio.to_thread(control.wait_line, "control plane ready")
        agents = [f"a{n:03}" for n in range(AGENTS)]
        queues = {"sales": agents, "nobody": ()}
        centre = await stack.enter_async_context(cell.centre(queues=queues, ring_timeout_s=RING_S, wrap_up_s=WRAP_UP_S))
        for agent in agents:
            await centre.available(agent)
        client = await stack.enter_async_context(httpx.AsyncClient())
        metrics = {"control": f"{cell.base_url}/metrics"}
        written = cell_files(cell.data_dir) | {"journal": (home / "stub", "")}
        watched = Watched({"control": control.pid, "stub": stub.pid}, metrics, written)
        plane = Plane(cell, centre, stub, watched, witness, client)
        plane.beside += [asyncio.create_task(plane.breaks(rng)), asyncio.create_task(plane.look())]
        stack.push_async_callback(plane.alone)
        yield plane
