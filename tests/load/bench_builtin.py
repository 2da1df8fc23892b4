"""How evenly the built-in node sends when it is full: `python -m tests.load.bench_builtin`.

50 callers are each bridged to an agent and recorded: 100 legs, 5,000 packets a second each
way. The phones run in a process of their own. Printed are the gaps between packets of one
leg as the node sends them, the processor time, and what the phones heard.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import uvloop

from tandem.client import tones
from tandem.core.ports.media import (
    Answer,
    Bridge,
    HangUp,
    LegAnswered,
    LegArrived,
    Originate,
    RecordingStored,
    RecordStart,
)
from tandem.core.seal import Secret, secret
from tandem.media.backend import MergedDirectory
from tandem.media.builtin.ports import RtpPorts
from tests.integration.media.phone import Phone
from tests.integration.media.world import DIRECTORY, NUMBER, World, devices, world
from tests.load.figures import Figure, Scale, figure, share, tell

CALLER_HZ, AGENT_HZ = 625.0, 1000.0


class Stopwatch:
    """Notes when each leg's packets leave."""

    def __init__(self) -> None:
        self.sent: dict[int, list[float]] = defaultdict(list)
        self._send = RtpPorts.send

    def install(self) -> None:
        def send(ports: RtpPorts, port: int, data: bytes, target: tuple[str, int]) -> None:
            self._send(ports, port, data, target)
            self.sent[port].append(time.monotonic())

        RtpPorts.send = send

    def jitter_ms(self) -> list[float]:
        """How far each gap is from 20 ms, in order of size."""
        gaps = (
            abs((later - earlier) * 1000 - 20) for times in self.sent.values() for earlier, later in pairwise(times)
        )
        return sorted(gaps)


async def phones(port: int, calls: int) -> None:
    """The other process: agents register, callers dial; on a line from stdin it reports what was heard."""
    agents = [Phone(f"a{i}", port, tone_hz=AGENT_HZ) for i in range(calls)]
    for agent in agents:
        agent.auto_answer = True
        assert await agent.register("secret")
    callers = [Phone(f"c{i}", port, tone_hz=CALLER_HZ) for i in range(calls)]
    for caller in callers:
        caller.dial(NUMBER)
        await asyncio.sleep(0.02)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    heard = [tones.seconds_with(p.heard, hz) for group, hz in ((callers, AGENT_HZ), (agents, CALLER_HZ)) for p in group]
    print(json.dumps({"least_s": min(heard), "legs": len(heard)}), flush=True)


async def serve(w: World, calls: int) -> list[str]:
    """Answer, ring, bridge and record every caller."""
    legs: list[str] = []
    taken = 0
    for i in range(calls):
        arrived = (await w.sink.until(LegArrived, after=taken)).leg
        taken = next(n for n, told in enumerate(w.sink.told) if told.leg == arrived) + 1
        await w.do(arrived, Answer())
        w.begin(f"{arrived}.1", Originate(f"a{i}", 15000, "o", secret("1")))
        await w.sink.until(LegAnswered, leg=f"{arrived}.1")
        await w.do(arrived, Bridge(f"{arrived}.1"))
        await w.do(arrived, RecordStart(arrived, Secret(bytes(32))))
        legs.append(arrived)
    return legs


@dataclass(frozen=True, slots=True)
class Found:
    """Of one run."""

    calls: int
    seconds: float
    jitter_ms: list[float]
    cpu: float  # cores
    least_heard_s: float

    def at(self, part: float) -> float:
        """A quantile of the jitter, ms."""
        return self.jitter_ms[min(int(len(self.jitter_ms) * part), len(self.jitter_ms) - 1)]

    @property
    def packet_us(self) -> float:
        """Processor time of a packet sent and one received."""
        return 1e6 * self.cpu * self.seconds / len(self.jitter_ms)


async def measure(calls: int, seconds: float) -> Found:
    """So many calls, for so long."""
    watch = Stopwatch()
    watch.install()
    directory = MergedDirectory(DIRECTORY.numbers, devices({f"a{i}": "secret" for i in range(calls)}))
    with tempfile.TemporaryDirectory() as home:
        async with world(Path(home), directory=directory, capacity=calls) as w:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.load.bench_builtin", "--phones", str(w.node.sip_port), "--calls",
                str(calls), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            await serve(w, calls)
            watch.sent.clear()
            used = resource.getrusage(resource.RUSAGE_SELF)
            began = time.monotonic()
            await asyncio.sleep(seconds)
            now, spent = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
            jitter = watch.jitter_ms()
            cpu = (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / spent
            process.stdin.write(b"\n")
            heard = json.loads(await process.stdout.readline())
            await process.wait()
            for live in w.node.legs():
                await w.do(live.leg, HangUp())
            await w.sink.when(lambda: sum(isinstance(t.body, RecordingStored) for t in w.sink.told) == calls)
    return Found(calls, spent, jitter, cpu, float(heard["least_s"]))


async def builtin(scale: Scale) -> list[Figure]:
    """50 calls through the built-in node; beside its jitter, that of a timer of an idle loop."""
    calls, seconds = scale(50, 2), scale(20, 1)
    tell(f"{calls} calls, bridged and recorded, {seconds} s")
    alone = await _idle_ms(seconds / 4)
    found = await measure(calls, seconds)
    assert found.least_heard_s > 0, "somebody heard nothing"
    return [
        figure(
            "builtin.send_jitter_p99_ms", found.at(0.99), "ms", peer="a 20 ms timer of an idle loop, p99",
            peer_value=share(alone, 0.99),
            note=f"{calls} calls, {2 * calls} legs, all recorded; {len(found.jitter_ms)} packets; "
            f"p50 {found.at(0.5):.2f}, p99.9 {found.at(0.999):.2f}, longest {found.at(1.0):.1f} ms; "
            f"{100 * found.cpu:.0f} % of a core, {found.packet_us:.0f} us a packet",
        )
    ]  # fmt: skip


async def _idle_ms(seconds: float) -> list[float]:
    found, end = [], time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        await asyncio.sleep(0.02)
        found.append(abs(1000 * (time.monotonic() - begun) - 20))
    return found


def show(found: Found) -> None:
    """Print it."""
    print(f"{2 * found.calls} legs, {found.calls} recorded, {found.seconds:.0f} s, {len(found.jitter_ms)} packets sent")
    at = {share_: found.at(share_) for share_ in (0.5, 0.99, 0.999, 1.0)}
    print(f"send jitter ms: p50 {at[0.5]:.2f}  p99 {at[0.99]:.2f}  p99.9 {at[0.999]:.2f}  max {at[1.0]:.2f}")
    print(f"processor: {100 * found.cpu:.0f} % of one core, {found.packet_us:.0f} us a packet sent (and one received)")
    print(f"least that a phone heard of its partner: {found.least_heard_s:.1f} s; recordings stored: {found.calls}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--phones", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.phones:
        uvloop.run(phones(given.phones, given.calls))
    else:
        show(uvloop.run(measure(given.calls, given.seconds)))
