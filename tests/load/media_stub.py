"""A media node without audio: it speaks the node's end of the media link and echoes outcomes.

    python -m tests.load.media_stub --link unix:/dir/media.sock --home /dir

Agent, journal and link server are the product's own; only the backend is a stub. Whatever it is
asked to do is done at once: every phone answers, every prompt is over, every recording stored. It
says what a node would say, in that order, and measures nothing but times at its own end.

Orders are lines of JSON on stdin, each answered by one on stdout; `StubProcess` writes them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import uvloop

from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.points import Points
from tandem.core.ports.media import (
    Answer,
    Bridge,
    By,
    Cause,
    Collect,
    Collected,
    Command,
    CommandSettled,
    DeviceRegistered,
    DigitsCollected,
    HangUp,
    LegAnswered,
    LegArrived,
    LegBridged,
    LegEnded,
    LegRinging,
    LegUnbridged,
    MediaEvent,
    Originate,
    Outcome,
    RecordingStored,
    RecordStart,
    RecordStop,
    contact_of,
)
from tandem.core.seal import secret
from tandem.media.backend import LiveLeg, MergedDirectory, Row, Sink
from tandem.media.driver import MediaProcess, MediaSettings
from tandem.media.link.address import LinkAddress

TICK_S = 0.002
"""How often callers of an open-loop plan dial: at 500 a second that is one at a time."""
AGAIN_MS = 1_000
"""Where so many callers are kept alive, one who was turned away dials again after so long: at once it
would only be turned away again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Callers of one number. With `rate` they dial so often a second whatever becomes of them; without,
    `at_once` of them are kept alive, the next dials when one is over."""

    number: str
    count: int
    rate: float = 0.0
    at_once: int = 0
    digit: str = "1"
    think_ms: int = 0  # before the digit
    talk_ms: int = 0
    patience_ms: int = 0  # a caller who waits longer for an agent hangs up; 0 never
    leave_ms: int = 0  # a caller who hangs up so long after the answer, before any digit; 0 never


@dataclass(slots=True)
class Told:
    """What the stub saw of a plan. Times are ms."""

    dialled: int = 0
    refused: int = 0  # ended before an agent was heard, and not by the caller
    turned_away: int = 0  # of these, before an answer: no room for another call
    gave_up: int = 0
    talked: int = 0
    over: int = 0  # all legs gone
    offers: int = 0
    offer_ms: list[float] = field(default_factory=list)
    """From the moment at which caller and agent were both free to the order to ring."""
    ring_ms: list[float] = field(default_factory=list)
    """From the arrival of a call to its first order to ring, menu and all."""
    answer_ms: list[float] = field(default_factory=list)
    """From the arrival of a call to its `Answer`."""


@dataclass(slots=True)
class _Leg:
    tenant: str
    shard: int
    plan: Running | None = None  # of a caller
    device: str = ""  # of an agent
    up: bool = False
    peer: str = ""
    collect: tuple[str, str] | None = None  # key and step
    recording: str = ""
    arrived_s: float = 0.0
    queued_s: float = 0.0
    rang: bool = False
    heard: bool = False
    rung: int = 0
    turned_away: bool = False


Later = Callable[..., None]
"""`later(ms, act, *given)` calls `act` after so long; at 0 in the next turn."""


def on_the_loop(ms: int, act: Callable[..., None], *given: Any) -> None:
    """`Later` on the running loop."""
    loop = asyncio.get_running_loop()
    if ms:
        loop.call_later(ms / 1000, act, *given)
    else:
        loop.call_soon(act, *given)


class Running:
    """A plan that is carried out."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.told = plan, Told()
        self.count = plan.count
        self.begun_s = time.monotonic()
        self.done = asyncio.Event()


class StubBackend:
    """A `media.backend.Backend` whose phones do everything at once."""

    def __init__(self, sink: Sink, prefix: str, later: Later, witness: Callable[[str], object] | None = None) -> None:
        """`witness` is told a line of each caller who is over: leg, what became of them, how often it rang."""
        self._sink, self._prefix, self._later, self._witness = sink, prefix, later, witness
        self._numbers: MergedDirectory = MergedDirectory({}, {})
        self._registered: set[str] = set()
        self._legs: dict[str, _Leg] = {}
        self._free_s: dict[str, float] = {}  # device -> since when its agent is free
        self._count = 0
        self.owners: list[tuple[float, int, bool]] = []
        self.first_s: dict[int, float] = {}  # place in `owners` -> time of the first command under that owner
        self.commands = 0
        self.rung_twice = 0
        self.causes: dict[str, int] = {}  # of ended callers' legs

    # ----------------------------------------------------------------------- callers

    def dial(self, running: Running) -> None:
        """A call arrives."""
        entry = self._numbers.numbers.get(running.plan.number)
        if entry is None:
            raise ValueError(f"no owner has named the number {running.plan.number}")
        self._count += 1
        leg = f"{self._prefix}{self._count}"
        self._legs[leg] = _Leg(entry.tenant, entry.shard, running, arrived_s=time.monotonic())
        running.told.dialled += 1
        self._emit(entry.tenant, leg, LegArrived(running.plan.number, secret(f"+4930{self._count:08}")))

    def dial_at_once(self, running: Running) -> None:
        """The first callers of a plan without a rate; the others dial as these are over."""
        for _ in range(min(running.plan.at_once, running.plan.count)):
            self.dial(running)

    async def carry_out(self, running: Running) -> None:
        """Let the plan's callers dial, until all are over."""
        plan, told = running.plan, running.told
        if not plan.rate:
            self.dial_at_once(running)
        while plan.rate and told.dialled < running.count:
            due = min(running.count, int((time.monotonic() - running.begun_s) * plan.rate) + 1)
            while told.dialled < due:
                self.dial(running)
            await asyncio.sleep(TICK_S)
        self.look_if_done(running)
        await running.done.wait()

    def _over(self, leg: _Leg) -> None:
        running = leg.plan
        if running is None:
            return
        running.told.over += 1
        if not running.plan.rate:
            self._later(AGAIN_MS if leg.turned_away else 0, self._next, running)
        self.look_if_done(running)

    def _next(self, running: Running) -> None:
        if running.told.dialled < running.count:
            self.dial(running)

    def look_if_done(self, running: Running) -> None:
        """All who were to dial have, and all of them are over."""
        if running.told.over >= running.count:
            running.done.set()

    def hang_up(self, name: str) -> None:
        """A caller hangs up."""
        leg = self._legs.get(name)
        if leg is not None:
            self._end(name, Cause.NORMAL if leg.up else Cause.CANCELED, By.FAR)

    def _leave(self, name: str) -> None:
        leg = self._legs.get(name)
        if leg is not None and not leg.queued_s:
            self.hang_up(name)

    def _give_up(self, name: str) -> None:
        leg = self._legs.get(name)
        if leg is not None and not leg.heard and leg.plan is not None:
            leg.plan.told.gave_up += 1
            self.hang_up(name)

    # ----------------------------------------------------------------------- Backend

    def directory(self, directory: MergedDirectory) -> None:
        """See `media.backend.Backend`; every device of it registers."""
        self._numbers = directory
        for device in [device for device in directory.devices if device not in self._registered]:
            self._registered.add(device)
            self._emit(directory.devices[device].tenant, "", DeviceRegistered(device))

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        """See `media.backend.Backend`. The stub keeps no rows."""

    def owner_present(self, shard: int, present: bool) -> None:
        """See `media.backend.Backend`."""
        self.owners.append((time.monotonic(), shard, present))

    def journal_away(self, away: bool) -> None:
        """See `media.backend.Backend`. The stub has nothing to refuse."""

    def drain(self, on: bool) -> None:
        """See `media.backend.Backend`. Nobody drains the stub."""

    def strangers(self) -> int:
        """See `media.backend.Backend`."""
        return 0

    def let_go(self, legs: Iterable[LiveLeg]) -> None:
        """See `media.backend.Backend`."""

    def legs(self) -> tuple[LiveLeg, ...]:
        """See `media.backend.Backend`."""
        return tuple(LiveLeg(leg.tenant, leg.shard, name) for name, leg in self._legs.items())

    def settle(self, command: Command) -> None:
        """See `media.backend.Backend`."""
        self.perform(command)

    def perform(self, command: Command) -> None:
        """See `media.backend.Backend`."""
        self.commands += 1
        self.first_s.setdefault(len(self.owners), time.monotonic())
        name, key, verb = command.leg, command.key, command.verb
        if isinstance(verb, Originate):
            self._ring(command, verb)
            return
        leg = self._legs.get(name)
        if leg is None:
            gone = not isinstance(verb, HangUp | RecordStop)
            self._settled(command.tenant, name, key, "LEG_GONE" if gone else "")
            return
        match verb:
            case Answer():
                if not leg.up:
                    leg.up = True
                    if leg.plan is not None:
                        leg.plan.told.answer_ms.append(1000 * (time.monotonic() - leg.arrived_s))
                    self._emit(leg.tenant, name, LegAnswered())
                    if leg.plan is not None and leg.plan.plan.leave_ms:
                        self._later(leg.plan.plan.leave_ms, self._leave, name)
            case Collect(step=step):
                self._replace(name, leg)
                leg.collect = (key, step)
                self._later(leg.plan.plan.think_ms if leg.plan else 0, self._press, name, key)
                return
            case Bridge(other):
                self._bridge(name, leg, other)
            case RecordStart(recording):
                leg.recording = recording
            case RecordStop():
                self._stored(leg, name)
            case HangUp(cause):
                self._end(name, cause, By.TANDEM)
            case _:
                self._replace(name, leg)
        self._settled(command.tenant, name, key)

    # ----------------------------------------------------------------------- what phones do

    def _press(self, name: str, key: str) -> None:
        leg = self._legs.get(name)
        if leg is None or leg.plan is None or leg.collect is None or leg.collect[0] != key:
            return
        _, step = leg.collect
        leg.collect = None
        leg.queued_s = time.monotonic()
        self._emit(leg.tenant, name, DigitsCollected(step, secret(leg.plan.plan.digit), Collected.COMPLETE))
        self._settled(leg.tenant, name, key)
        if leg.plan.plan.patience_ms:
            self._later(leg.plan.plan.patience_ms, self._give_up, name)

    def _replace(self, name: str, leg: _Leg) -> None:
        if leg.collect is not None:
            (key, step), leg.collect = leg.collect, None
            self._emit(leg.tenant, name, DigitsCollected(step, secret(""), Collected.REPLACED))
            self._settled(leg.tenant, name, key)

    def _ring(self, command: Command, verb: Originate) -> None:
        now, name = time.monotonic(), command.leg
        caller = self._legs.get(contact_of(name))
        if name in self._legs:
            self.rung_twice += 1
            self._settled(command.tenant, name, command.key, "LEG_EXISTS")
            return
        if caller is not None and caller.plan is not None:
            caller.plan.told.offers += 1
            caller.rung += 1
            both_free = max(caller.queued_s, self._free_s.get(verb.device, 0.0))
            caller.plan.told.offer_ms.append(1000 * (now - both_free))
            if not caller.rang:
                caller.rang = True
                caller.plan.told.ring_ms.append(1000 * (now - caller.arrived_s))
        shard = caller.shard if caller is not None else 0
        self._legs[name] = _Leg(command.tenant, shard, device=verb.device, up=True)
        self._emit(command.tenant, name, LegRinging())
        self._emit(command.tenant, name, LegAnswered())
        self._settled(command.tenant, name, command.key)

    def _bridge(self, name: str, leg: _Leg, other: str) -> None:
        peer = self._legs.get(other)
        self._replace(name, leg)
        if peer is None:
            return
        leg.peer, peer.peer = other, name
        self._emit(leg.tenant, name, LegBridged(other))
        if leg.plan is not None:
            leg.heard = True
            leg.plan.told.talked += 1
            self._later(leg.plan.plan.talk_ms, self.hang_up, name)

    def _end(self, name: str, cause: Cause, by: By) -> None:
        leg = self._legs.pop(name)
        self._emit(leg.tenant, name, LegEnded(cause, by))
        peer = self._legs.get(leg.peer)
        if peer is not None:
            peer.peer = ""
            self._emit(peer.tenant, leg.peer, LegUnbridged(name))
        if leg.collect is not None:
            self._settled(leg.tenant, name, leg.collect[0], "LEG_GONE")
        self._stored(leg, name)
        if leg.device:
            self._free_s[leg.device] = time.monotonic()
        if leg.plan is not None:
            self.causes[cause.value] = self.causes.get(cause.value, 0) + 1
            if by is not By.FAR and not leg.heard:
                leg.plan.told.refused += 1
                leg.turned_away = cause is Cause.REFUSED and not leg.up
                leg.plan.told.turned_away += leg.turned_away
            if self._witness is not None:
                self._witness(f"{name} {_became(leg, by)} {leg.rung}\n")
            self._later(0, self._over, leg)

    def _stored(self, leg: _Leg, name: str) -> None:
        recording, leg.recording = leg.recording, ""
        if recording:
            blob = f"recordings/{leg.tenant}/{recording}"
            self._emit(leg.tenant, name, RecordingStored(recording, blob, 8_000, 16_000, "0" * 64))

    # ----------------------------------------------------------------------- telling

    def _settled(self, tenant: str, leg: str, key: str, reason: str = "") -> None:
        self._emit(tenant, leg, CommandSettled(key, Outcome.FAILED if reason else Outcome.DONE, reason))

    def _emit(self, tenant: str, leg: str, body: MediaEvent) -> None:
        self._sink.emit(tenant, leg, body, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)

    # ----------------------------------------------------------------------- figures

    def figures(self) -> dict[str, Any]:
        """What was seen so far."""
        return {
            "owners": self.owners,
            "first_s": self.first_s,
            "commands": self.commands,
            "rung_twice": self.rung_twice,
            "causes": self.causes,
            "legs": len(self._legs),
            "devices": len(self._registered),
            "numbers": {number: entry.shard for number, entry in self._numbers.numbers.items()},
        }


def _became(leg: _Leg, by: By) -> str:
    """Of a caller whose leg is over, as the caller knows it."""
    if leg.heard:
        return "talked"
    if by is not By.FAR:
        return "ended" if leg.up else "refused"
    return "gave_up" if leg.queued_s else "left"


# ------------------------------------------------------------------- the process


class Orders:
    """Reads orders from stdin and answers them on stdout."""

    def __init__(self, backend: StubBackend, tasks: asyncio.TaskGroup) -> None:
        self._backend, self._tasks = backend, tasks
        self._plans: list[Running] = []

    async def run(self) -> None:
        """Until stdin ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            order = json.loads(line)
            print(json.dumps(await getattr(self, f"do_{order.pop('do')}")(**order)), flush=True)

    async def do_begin(self, **plan: Any) -> int:
        """Begin a plan; its place in the list."""
        running = Running(Plan(**plan))
        self._plans.append(running)
        self._tasks.create_task(self._backend.carry_out(running))
        return len(self._plans) - 1

    async def do_told(self, plan: int, wait: bool = False) -> dict[str, Any]:
        """What became of a plan; with `wait` once all of its callers are over."""
        running = self._plans[plan]
        if wait:
            await running.done.wait()
        return asdict(running.told) | {"seconds": time.monotonic() - running.begun_s}

    async def do_stop(self, plan: int) -> None:
        """Nobody dials any more; those who have go on."""
        running = self._plans[plan]
        running.count = running.told.dialled
        self._backend.look_if_done(running)

    async def do_forget(self, plan: int) -> None:
        """Begin the measurement of a plan anew (a warm-up is over)."""
        told = self._plans[plan].told
        told.offer_ms.clear()
        told.ring_ms.clear()
        told.answer_ms.clear()

    async def do_figures(self) -> dict[str, Any]:
        """See `StubBackend.figures`; and how many callers of all plans talked or were turned away."""
        told = [running.told for running in self._plans]
        sums = {name: sum(getattr(one, name) for one in told) for name in ("talked", "turned_away")}
        return self._backend.figures() | sums

    async def do_cpu(self) -> float:
        """Processor seconds of this process."""
        return time.process_time()


async def main(link: str, home: Path, node: str, prefix: str, witness: Path | None = None) -> None:
    """The node, until stdin ends."""
    logging.basicConfig(level=logging.ERROR)
    clock, entropy = SystemClock(), SystemEntropy()
    home.mkdir(parents=True, exist_ok=True)
    settings = MediaSettings(
        node, LinkAddress(link), home / "journal", home / "node.key", allow_node_key_on_disk=True,
        keys_max=4_000_000, kept_max=4_000_000,
    )  # fmt: skip
    backends: list[StubBackend] = []

    @asynccontextmanager
    async def build(sink: Sink) -> Any:
        with (witness or Path(os.devnull)).open("a", encoding="ascii") as lines:
            told = None if witness is None else lines.write
            backends.append(StubBackend(sink, prefix or entropy.token(5), on_the_loop, told))
            yield backends[0]

    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        process = MediaProcess(settings, clock, entropy, Points(), build)
        running = tasks.create_task(process.run(ready.set))
        await ready.wait()
        print(json.dumps("ready"), flush=True)
        async with asyncio.TaskGroup() as plans:
            orders = plans.create_task(Orders(backends[0], plans).run())
            await orders
            raise SystemExit(0)
        running.cancel()


class StubProcess:
    """The stub in a process of its own, for the benchmark's process. `async with` starts and ends it."""

    def __init__(self, link: str, home: Path, node: str = "m1", prefix: str = "", witness: Path | None = None) -> None:
        self._command = (
            sys.executable, "-m", "tests.load.media_stub", "--link", link, "--home", str(home), "--node", node,
            "--prefix", prefix, *(() if witness is None else ("--witness", str(witness))),
        )  # fmt: skip
        self._process: asyncio.subprocess.Process
        self._one = asyncio.Lock()

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=256 * 1024 * 1024
        )
        assert await self._line() == "ready"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def _line(self) -> Any:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the media stub has ended; what it printed stands above")
        return json.loads(line)

    async def _ask(self, do: str, **order: Any) -> Any:
        assert self._process.stdin is not None
        async with self._one:
            self._process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
            return await self._line()

    async def begin(self, plan: Plan) -> int:
        """Begin a plan; its place in the list."""
        return int(await self._ask("begin", **asdict(plan)))

    async def told(self, plan: int, *, wait: bool = False) -> dict[str, Any]:
        """See `Told`; `seconds` is how long it has run. With `wait` once all of its callers are over."""
        return dict(await self._ask("told", plan=plan, wait=wait))

    async def forget(self, plan: int) -> None:
        """Drop the times measured so far."""
        await self._ask("forget", plan=plan)

    async def stop(self, plan: int) -> None:
        """Let nobody dial any more."""
        await self._ask("stop", plan=plan)

    async def figures(self) -> dict[str, Any]:
        """See `StubBackend.figures`."""
        return dict(await self._ask("figures"))

    async def cpu_s(self) -> float:
        """Processor seconds of the stub so far."""
        return float(await self._ask("cpu"))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", required=True, help="unix:PATH, where owners dial")
    parser.add_argument("--home", type=Path, required=True, help="directory of the journal")
    parser.add_argument("--node", default="m1")
    parser.add_argument("--prefix", default="", help="what the ids of its legs begin with")
    parser.add_argument("--witness", type=Path, help="file for a line of each caller who is over")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    given = parse()
    uvloop.run(main(given.link, given.home, given.node, given.prefix, given.witness))
