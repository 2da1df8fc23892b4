"""What a call costs each process on real FreeSWITCH: 500 calls at 20 a second, from the menu over the queue to an agent
who hangs up, all of them counted by SIPp at both ends and by the history.

Processor time (user and system, from /proc) of control plane and media agent stands beside FreeSWITCH's own for the
same calls. It is all that the processes used from the first call to the last, what they do without calls with it.
SIPp sends no audio but the digit, so a talk costs FreeSWITCH less than one between people.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import sounds
from tests.e2e.cell import Cell, Centre
from tests.e2e.kill_checks import all_contacts
from tests.e2e.programs import free_udp_port
from tests.load.figures import Figure, Scale, figure, run_row, scratch, tell
from tests.load.sampler import of_process
from tests.load.switched import Counted, many_calls_switch, quiet_log, running, sipp, users_file

CALLS, RATE = 500, 20
AGENTS = 60
"""Twice as many as talk at a time."""
TALK_MS = 1_000
WARM_UP = 20
REGISTERED_PER_S = 50
PATIENCE_S = 60.0
"""What is not over so long after the last caller dialled is lost."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked for, what came of it, and what it cost."""

    calls: int
    callers: Counted
    agents: Counted
    outcomes: Mapping[str, int]
    """Of all contacts of the run, by the history."""
    cpu_s: Mapping[str, float]
    """Processor seconds by process."""
    seconds: float

    @property
    def whole(self) -> bool:
        """Whether every call went its whole way, for both ends and by the history."""
        asked = Counted(self.calls, 0)
        return (self.callers, self.agents, self.outcomes) == (asked, asked, {"OUTCOME_HANDLED": self.calls})


async def row_calls(scale: Scale) -> list[Figure]:
    """See the module's text."""
    count = scale(CALLS, 5)
    with scratch() as home:
        switch = many_calls_switch(home / "switch")
        with running(home / "cell", switch) as cell:
            await quiet_log(switch)
            agents = scale(AGENTS, 3)
            async with cell.centre(*(f"a{n}" for n in range(agents))) as centre:
                tell(f"{agents} agents, {count} calls at {RATE}/s")
                return figures_of(await load(cell, centre, home, count, warm_up=scale(WARM_UP, 1)))


def figures_of(found: Load) -> list[Figure]:
    """The table."""
    each = {name: 1000 * used / found.calls for name, used in found.cpu_s.items()}
    wrong = "" if found.whole else f"; not met: callers {found.callers}, agents {found.agents}, {dict(found.outcomes)}"
    rate = f"{found.calls} calls, {found.calls / found.seconds:.1f}/s to their ends"
    switch = each.get("switch")
    peer = "" if switch is None else "FreeSWITCH's own, the same calls"
    return [
        figure(
            "calls.accounted", found.callers.whole, "calls", peer="calls that were dialled", peer_value=found.calls,
            goal="all, by both ends and the history", met=found.whole, note=f"{rate}{wrong}",
        ),
        figure("calls.control_cpu_ms", each["control"], "ms/call", peer=peer, peer_value=switch, note=rate),
        figure("calls.agent_cpu_ms", each["media"], "ms/call", peer=peer, peer_value=switch, note=rate),
    ]  # fmt: skip


async def load(cell: Cell, centre: Centre, home: Path, count: int, warm_up: int) -> Load:
    """Agents at work, and so many calls after some that warm everything up."""
    sounds_in(home)
    port = free_udp_port()
    await _register(cell, centre, home, port)
    await _calls(cell, centre, home / "warm", warm_up, port)
    known = await _outcomes(centre, warm_up)
    before = _cpu(cell)
    begun = asyncio.get_running_loop().time()
    callers, agents = await _calls(cell, centre, home, count, port)
    seconds = asyncio.get_running_loop().time() - begun
    cpu = {name: used - before[name] for name, used in _cpu(cell).items()}
    outcomes = await _outcomes(centre, warm_up + count) - known
    return Load(count, callers, agents, dict(outcomes), cpu, seconds)


def sounds_in(home: Path) -> None:
    """The digit that the callers send."""
    for folder in (home, home / "warm"):
        folder.mkdir(exist_ok=True)
        sounds.write_digit(folder / "digit.pcap", "1")


async def _register(cell: Cell, centre: Centre, home: Path, port: int) -> None:
    """Every agent's device, all at the port of SIPp's next run; then every agent comes to work."""
    accounts = [(account.sip_user, account.password) for account in centre.agents.values()]
    file = users_file(home, accounts)
    with sipp(home, "register", cell.sip, len(accounts), REGISTERED_PER_S, "-p", port, "-inf", file) as run:
        assert await run.counted(PATIENCE_S) == Counted(len(accounts), 0), run.program.output
    for agent in centre.agents:
        await centre.available(agent)


async def _calls(cell: Cell, centre: Centre, home: Path, count: int, port: int) -> tuple[Counted, Counted]:
    """Callers and agents of one run."""
    limit_s = count / RATE + PATIENCE_S
    async with AsyncExitStack() as stack:
        answers = sipp(home, "answer", cell.sip, count, RATE, "-p", port, "-d", TALK_MS)
        agents = stack.enter_context(answers)
        chooses = sipp(home, "choose", cell.sip, count, RATE, "-s", centre.number, "-timeout", limit_s, prefix="4917")
        callers = stack.enter_context(chooses)
        return await callers.counted(limit_s + 5), await agents.counted(PATIENCE_S)


def _cpu(cell: Cell) -> dict[str, float]:
    assert cell.control is not None and cell.media is not None
    pids = {"control": cell.control.pid, "media": cell.media.pid}
    if cell.switch is not None:
        pids["switch"] = cell.switch.pid
    return {name: of_process(pid)["cpu_s"] for name, pid in pids.items()}


async def _outcomes(centre: Centre, expected: int) -> Counter[str]:
    """Of all contacts that are over, once as many are as dialled. History is told a moment after the phones are."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + PATIENCE_S
    while True:
        over = [contact for contact in await all_contacts(centre) if contact["state"] == "STATE_ENDED"]
        if len(over) >= expected or loop.time() > give_up:
            return Counter(contact["outcome"] for contact in over)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    run_row(row_calls, __doc__)
