"""What one tenant's storm does to its shard mate: `python -m tests.load.bench_storm`.

A real control process with one shard, a media node that only echoes outcomes (`media_stub`, a
process of its own) over the real link, and two tenants. The calm one has 10 calls a second and
asks the API 20 times a second, all the time. Its waits are measured alone and under a storm of
the other tenant, in turns, round after round in one run:

    calls in quota       200 set-ups a second, all let in, whole calls with agents
    calls at the default 200 set-ups a second, of which the default quota lets 100 in
    calls beyond quota   200 set-ups a second, 10 a second let in
    API in quota         as many requests as 32 connections get through, up to the quota
    API beyond quota     the same, refused above 50 a second

The p99 of all rounds' storms is held against that of the quiet phases just before them; the goal is at
most twice. In brackets stands the ratio of each round, which has some 100 calls: its p99 is the
second-worst of them. Printed, too, is what makes a run worth something: whether the storm was as strong as
asked, what of it was let in, how busy each process was, and how busy the machine was besides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tandem.api.routing.v1 import routing_service_pb2 as rou
from tandem.api.tenant.v1 import quota_pb2 as quo
from tandem.client.api import Api
from tandem.client.demo_tenant import welcome
from tandem.client.tenant_maker import TenantMaker, make_tenant, new_key
from tests.e2e.programs import Program, free_ports
from tests.load.figures import share
from tests.load.media_stub import Plan, StubProcess

CALM, STORM = "calm", "storm"
NUMBERS = {CALM: "100", STORM: "200"}
AGENTS = {CALM: 40, STORM: 100}
CALM_CALLS_S, PROBES_S, STORM_CALLS_S = 10, 20, 200
TALK_MS, PATIENCE_MS = 100, 2000
CONNECTIONS = 32
IN_QUOTA = quo.QuotaLimits(
    live_contacts=100_000, setups_per_s=1000, setup_burst=1000, api_requests_per_s=5000, api_burst=5000,
    credential_requests_per_s=5000, credential_burst=5000,
)  # fmt: skip
AT_DEFAULT = quo.QuotaLimits(live_contacts=100_000, setups_per_s=100, setup_burst=200)
BEYOND_QUOTA = quo.QuotaLimits(
    live_contacts=100_000, setups_per_s=10, setup_burst=10, api_requests_per_s=50, api_burst=50,
    credential_requests_per_s=50, credential_burst=50,
)  # fmt: skip
SCENES = (
    ("calls in quota", IN_QUOTA, True),
    ("calls at the default", AT_DEFAULT, True),
    ("calls beyond quota", BEYOND_QUOTA, True),
    ("API in quota", IN_QUOTA, False),
    ("API beyond quota", BEYOND_QUOTA, False),
)


class Connection:
    """A kept HTTP connection; one request at a time."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host, self._port, self._key = host, port, key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, verb: str, path: str, body: str = "") -> int:
        """The status of the answer."""
        if self._streams is None or self._streams[0].at_eof():  # closed by the server, which it may while idle
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(
            f"{verb} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        if "connection: close" in head:
            writer.close()
            self._streams = None
        return int(head.split(" ", 2)[1])


KINDS = (
    ("call", "arrival -> ring order"),
    ("ring", "queued -> ring order"),
    ("get", "GET"),
    ("command", "command, durable"),
)


@dataclass
class Phase:
    """Waits of the calm tenant, in ms, and the processor time of each process, in cores."""

    call: list[float] = field(default_factory=list)
    ring: list[float] = field(default_factory=list)
    get: list[float] = field(default_factory=list)
    command: list[float] = field(default_factory=list)
    cores: dict[str, float] = field(default_factory=dict)


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_cpu_s() -> float:
    """The same of all processes together."""
    user, nice, system = Path("/proc/stat").read_text(encoding="ascii").split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


@dataclass
class World:
    """What a benchmark holds in its hands."""

    stub: StubProcess
    control: Program
    keys: dict[str, str]
    http: tuple[str, int]
    platform: Api

    async def phase(self, seconds: float) -> Phase:
        """The calm tenant at work."""
        phase = Phase()
        begun, used = time.monotonic(), self._used()
        plan = Plan(NUMBERS[CALM], int(CALM_CALLS_S * seconds), rate=CALM_CALLS_S, talk_ms=TALK_MS, patience_ms=10_000)
        calls = await self.stub.begin(plan)
        async with asyncio.TaskGroup() as tasks:
            began = time.monotonic()
            idle = [Connection(*self.http, self.keys[CALM])]
            for index in range(int(PROBES_S * seconds)):
                await asyncio.sleep(max(0.0, began + index / PROBES_S - time.monotonic()))
                connection = idle.pop() if idle else Connection(*self.http, self.keys[CALM])
                tasks.create_task(self._probe(connection, idle, phase, index))
        told = await self.stub.told(calls, wait=True)
        phase.ring, phase.call = told["offer_ms"], told["ring_ms"]
        took = time.monotonic() - begun
        phase.cores = {name: (now - used[name]) / took for name, now in self._used().items()}
        return phase

    def _used(self) -> dict[str, float]:
        ours = {"control": cpu_s(self.control.pid), "node": cpu_s(self.stub.pid), "bench": cpu_s(os.getpid())}
        return ours | {"machine": machine_cpu_s()}

    async def _probe(self, connection: Connection, idle: list[Connection], phase: Phase, index: int) -> None:
        base = f"/v1/tenants/{CALM}"
        began = time.monotonic()
        if index % 2:
            status = await connection.send("GET", f"{base}/queues/line")
            phase.get.append(1000 * (time.monotonic() - began))
        else:
            body = '{"presence": "PRESENCE_AVAILABLE"}'
            status = await connection.send("POST", f"{base}/agents/idle:setPresence", body)
            phase.command.append(1000 * (time.monotonic() - began))
        if status != 200:
            raise RuntimeError(f"the calm tenant was answered {status}")
        idle.append(connection)

    async def set_quota(self, limits: quo.QuotaLimits) -> None:
        """Of the storming tenant."""
        quota = quo.Quota(name=f"tenants/{STORM}/quota", overrides=limits)
        await self.platform.call(self.platform.tenants.UpdateQuota, quo.UpdateQuotaRequest(quota=quota, wait_live=True))


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    """A control plane of one shard with both tenants and the stub."""
    http, grpc_port = free_ports(2)
    given = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
    settings = {
        "DATA_DIR": home, "LIVE__SHARDS": 1, "HTTP__PORT": http, "GRPC__PORT": grpc_port,
        "LIMITS__TENANT__SETUPS_PER_S": 1000, "LIMITS__TENANT__SETUP_BURST": 1000,
    }  # fmt: skip
    environment = given | {f"TANDEM_{name}": str(value) for name, value in settings.items()}
    (home / "run").mkdir(mode=0o700)
    async with StubProcess(f"unix:{home}/run/media.sock", home / "stub") as stub:
        control = Program("control", (sys.executable, "-m", "tandem", "run", "all"), env=environment)
        try:
            while not (home / "run" / "addresses.json").exists():
                if not control.alive:
                    raise RuntimeError(f"the control plane has ended:\n{control.output}")
                await asyncio.sleep(0.05)
            keys: dict[str, str] = {}
            async with Api(f"127.0.0.1:{grpc_port}", (home / "platform.key").read_text().strip()) as platform:
                for tenant in (CALM, STORM):
                    await make_tenant(platform, tenant, tenant.title())
                    keys[tenant] = await new_key(platform, tenant)
                    async with Api(f"127.0.0.1:{grpc_port}", keys[tenant]) as api:
                        await fill(api, tenant)
                yield World(stub, control, keys, ("127.0.0.1", http), platform)
        except BaseException:
            print(control.output, file=sys.stderr)
            raise
        finally:
            control.kill()


async def fill(api: Api, tenant: str) -> None:
    """A number, a queue and agents who are available."""
    maker = TenantMaker(api, tenant)
    line = await maker.queue("line", "Line")
    flow = await maker.flow("welcome", "Welcome", welcome({"1": line}))
    await maker.number(NUMBERS[tenant], "Number", flow)
    names = [f"a{index}" for index in range(AGENTS[tenant])]
    for name in names:
        await maker.agent(name, name, [line])
    await maker.agent("idle", "Idle", [])
    for name in names:
        request = rou.SetPresenceRequest(name=f"{maker.name}/agents/{name}", presence="PRESENCE_AVAILABLE")
        await api.call(api.routing.SetPresence, request)


# ------------------------------------------------------------------- the storms


@dataclass
class Seen:
    """What became of a scene's storms: how strong each was, a second, and how it ended."""

    rates: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int) -> None:
        """So many more."""
        self.counts[name] = self.counts.get(name, 0) + count


@asynccontextmanager
async def call_storm(made: World, seconds: float, seen: Seen) -> AsyncIterator[None]:
    """200 set-ups a second."""
    plan = Plan(
        NUMBERS[STORM], int(STORM_CALLS_S * (seconds + 60)), rate=STORM_CALLS_S, talk_ms=TALK_MS,
        patience_ms=PATIENCE_MS,
    )  # fmt: skip
    begun = await made.stub.begin(plan)
    await asyncio.sleep(1)
    before, began = await made.stub.told(begun), time.monotonic()
    yield
    now, took = await made.stub.told(begun), time.monotonic() - began
    seen.rates.append((now["dialled"] - before["dialled"]) / took)
    await made.stub.stop(begun)
    told = await made.stub.told(begun, wait=True)
    for name in ("dialled", "talked", "gave_up", "refused"):
        seen.add(name, told[name])


@asynccontextmanager
async def api_storm(made: World, seconds: float, seen: Seen) -> AsyncIterator[None]:
    """32 connections that ask again as soon as they are answered, from a process of their own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.load.bench_storm", "--storm", json.dumps([*made.http, made.keys[STORM]]),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(1)
    yield
    process.stdin.close()
    told = json.loads(await process.stdout.readline())
    seen.rates.append(sum(told.values()) / (seconds + 1))
    for name, count in told.items():
        seen.add(name, count)
    await process.wait()


async def storm_api(host: str, port: int, key: str) -> None:
    """The other process of `api_storm`, until stdin ends."""
    counts: dict[str, int] = {}
    over = asyncio.Event()

    async def ask(index: int) -> None:
        connection = Connection(host, port, key)
        base = f"/v1/tenants/{STORM}"
        while not over.is_set():
            if index % 4:
                status = await connection.send("GET", f"{base}/agents?pageSize=50")
            else:
                body = '{"presence": "PRESENCE_AVAILABLE"}'
                status = await connection.send("POST", f"{base}/agents/idle:setPresence", body)
            counts[f"answered {status}"] = counts.get(f"answered {status}", 0) + 1

    async with asyncio.TaskGroup() as tasks:
        for index in range(CONNECTIONS):
            tasks.create_task(ask(index))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        over.set()
    print(json.dumps(counts), flush=True)


# ------------------------------------------------------------------- the figures


def show(name: str, rounds: Sequence[tuple[Phase, Phase]], seen: Seen) -> None:
    """A line per kind of wait: percentiles of all rounds together, and each round's ratio."""
    median = statistics.median
    ended = ", ".join(f"{count} {what}" for what, count in seen.counts.items())
    print(f"\n{name}: {min(seen.rates):.0f} to {max(seen.rates):.0f} a second; {ended}")
    for place, title in enumerate(("quiet", "storm")):
        cores = {what: median(pair[place].cores[what] for pair in rounds) for what in rounds[0][place].cores}
        print(f"  cores, {title}: {', '.join(f'{what} {value:.2f}' for what, value in cores.items())}")
    for kind, title in KINDS:
        quiet, storm = ([value for pair in rounds for value in getattr(pair[place], kind)] for place in (0, 1))
        cells = [share(values, part) for values in (quiet, storm) for part in (0.5, 0.99)]
        each = [share(getattr(pair[1], kind), 0.99) / share(getattr(pair[0], kind), 0.99) for pair in rounds]
        print(
            "  {:22} quiet p50 {:7.1f} p99 {:7.1f}   storm p50 {:7.1f} p99 {:7.1f} ms".format(title, *cells)
            + f"   p99 ratio {cells[3] / cells[1]:5.2f}  ({' '.join(f'{ratio:.2f}' for ratio in each)})"
        )


async def main(repeats: int, seconds: float, only: str) -> None:
    """Every scene in turn, so that what the machine does besides falls on all alike."""
    before = os.getloadavg()
    scenes = [scene for scene in SCENES if only in scene[0]]
    rounds: dict[str, list[tuple[Phase, Phase]]] = {name: [] for name, _, _ in scenes}
    seen: dict[str, Seen] = {name: Seen() for name, _, _ in scenes}
    with tempfile.TemporaryDirectory() as home:
        async with world(Path(home)) as made:
            await made.phase(3)  # warm
            for _ in range(repeats):
                for name, limits, calls in scenes:
                    await made.set_quota(limits)
                    await asyncio.sleep(1)
                    quiet = await made.phase(seconds)
                    storm = call_storm if calls else api_storm
                    async with storm(made, seconds, seen[name]):
                        stormy = await made.phase(seconds)
                    rounds[name].append((quiet, stormy))
    print(f"load average {before[0]:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")
    for name, _, _ in scenes:
        show(name, rounds[name], seen[name])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", default="", help="a part of the name of the scenes to run")
    parser.add_argument("--storm", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.storm:
        asyncio.run(storm_api(*json.loads(chosen.storm)))
    else:
        asyncio.run(main(chosen.repeats, chosen.seconds, chosen.only))
