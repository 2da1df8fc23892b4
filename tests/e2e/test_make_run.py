"""The real `make run`: its ports, its words, its demo, and what is left of it after Ctrl-C.

One `make run` serves all tests of this file, which go on from one to the next; the last one ends it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.cell import SHARDS, TANDEM, environment
from tests.e2e.programs import Program, free_ports, free_udp_port
from tests.e2e.rest import Json, Rest

ROOT = Path(__file__).parents[2]
BASE_URL = "http://127.0.0.1:8080"
PORTS = {
    "5060/udp": (socket.SOCK_DGRAM, 5060),
    "50051": (socket.SOCK_STREAM, 50051),
    "8080": (socket.SOCK_STREAM, 8080),
}
PARTS = ("media", "control", "robots")
CANNOT_START = 64
"""Exit code of what starting again cannot help."""

pytestmark = pytest.mark.needs("make")


def taken_ports() -> list[str]:
    """Those of `make run` that somebody listens at."""
    taken = []
    for name, (kind, port) in PORTS.items():
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:  # as a server does it: connections that end are in nobody's way
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(name)
    return taken


def need_ports(*, of_module: bool = False) -> None:
    """Skip unless all of them are free."""
    if taken := taken_ports():
        pytest.skip(f"the ports of `make run` are taken: {', '.join(taken)}", allow_module_level=of_module)


need_ports(of_module=True)  # here, too: one line in the summary, not one for each test


def processes_of(data_dir: Path) -> dict[int, str]:
    """All processes that were told to live in that directory, by whomever they were started: id -> command."""
    mark = f"TANDEM_DATA_DIR={data_dir}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or is another user's
            continue
    return found


@dataclass(frozen=True)
class Run:
    """A running `make run`."""

    program: Program
    data_dir: Path

    def pid(self, part: str) -> int:
        """Of a part, by its pid file."""
        return int((self.data_dir / "run" / f"{part}.pid").read_text())

    def line(self, title: str) -> str:
        """The rest of the line of its greeting that begins with that word."""
        (found,) = [line.split(None, 1)[1] for line in self.program.lines if line.split(None, 1)[:1] == [title]]
        return found

    @property
    def demo(self) -> Json:
        """`demo.json`."""
        found: Json = json.loads((self.data_dir / "demo.json").read_bytes())
        return found

    def kill(self, part: str, *back: tuple[str, int]) -> None:
        """kill -9 of a part, until it has said that it is back: `back` are (a part of a line, how often)."""
        seen = {words: sum(words in line for line in self.program.lines) for words, _ in back}
        before = self.pid(part)
        os.kill(before, signal.SIGKILL)
        self.program.wait_line(f"{part} ended (SIGKILL); starting it again in ")
        for words, times in back:
            self.program.wait_line(words, count=seen[words] + times)
        assert self.pid(part) != before


@contextmanager
def key_file() -> Iterator[Path]:
    """Where a media node may keep its key: in memory, and not the one that a Tandem of this user's own may have."""
    memory = Path(tempfile.mkdtemp(prefix="tandem-e2e-", dir="/dev/shm"))
    try:
        yield memory / "node.key"
    finally:
        shutil.rmtree(memory)


def end(program: Program, data_dir: Path) -> None:
    """However a test has failed, nothing of this run goes on."""
    if program.alive:
        os.killpg(program.pid, signal.SIGINT)
    try:
        program.wait_end()
    finally:
        for pid in processes_of(data_dir):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`make run` in the working tree, with its own ports and a data directory apart."""
    need_ports()
    data_dir = tmp_path_factory.mktemp("run") / "var"
    with key_file() as key:
        program = Program("make run", ("make", "run"), cwd=ROOT, env=environment(data_dir, media__node_key_file=key))
        try:
            program.wait_line("Ctrl-C ends everything.")
            yield Run(program, data_dir)
        finally:
            end(program, data_dir)


@asynccontextmanager
async def supervisor(run: Run) -> AsyncIterator[Rest]:
    """A client with the demo's API key."""
    client = Rest(BASE_URL, run.demo["api_key"])
    try:
        yield client
    finally:
        await client.close()


async def press_call() -> str:
    """Load the page and press its button; the caller's number."""
    async with httpx.AsyncClient(base_url=BASE_URL, timeout=30) as browser:
        page = await browser.get("/")
        token = re.search(r'<meta name="tandem-token" content="([a-z0-9]+)">', page.text)
        assert token is not None
        headers = {"origin": BASE_URL, "tandem-page-token": token[1]}
        answer = await browser.post("/demo/call", headers=headers)
        assert answer.status_code == 200, answer.text
        caller: str = answer.json()["caller"]
        return caller


def test_it_says_what_to_dial_and_where_to_look(run: Run) -> None:
    """The page, the number, the accounts of the other agents, and a curl that works as it stands."""
    number = run.demo["numbers"][0]["number"]
    assert run.line("Dial").startswith(f"sip:{number}@127.0.0.1:5060 ")
    assert all(digit in run.line("Dial") for digit in run.demo["numbers"][0]["digits"])
    assert run.line("Page").split()[0] == f"{BASE_URL}/"
    assert all(agent["sip_user"] in run.line("Agents") for agent in run.demo["agents"] if not agent["robot"])
    assert any(str(run.data_dir / "demo.json") in line for line in run.program.lines)
    assert isinstance(json.loads(answer_of(run.line("API")))["contacts"], list)


def answer_of(line: str) -> bytes:
    """What a line with curl prints; where there is none, the same request is made without it."""
    command, *arguments = shlex.split(line)
    assert command == "curl"
    if shutil.which(command):
        quiet = [command, "--fail", "--silent", "--show-error", *arguments]
        return subprocess.run(quiet, capture_output=True, check=True, timeout=30).stdout
    option, header, url = arguments
    assert option == "-H"
    name, value = header.split(": ")
    return httpx.get(url, headers={name: value}).raise_for_status().content


def test_the_demo_file(run: Run) -> None:
    """Its shape, and that nobody else can read it: it holds passwords."""
    path = run.data_dir / "demo.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    demo = run.demo
    assert shape(demo) == {
        "tenant": str,
        "api_key": str,
        "sip_domain": str,
        "numbers": [{"number": str, "digits": dict}],
        "agents": [{"name": str, "robot": bool, "sip_user": str, "sip_password": str}] * 4,
    }
    assert demo["tenant"] == "tenants/demo"
    assert demo["sip_domain"] == "127.0.0.1"
    assert demo["numbers"][0]["digits"]["1"] == "tenants/demo/queues/sales"
    assert [agent["robot"] for agent in demo["agents"]] == [True, True, False, False]
    assert len({agent["sip_user"] for agent in demo["agents"]}) == 4
    assert all(agent["name"].startswith("tenants/demo/agents/") for agent in demo["agents"])
    assert all(len(agent["sip_password"]) >= 8 for agent in demo["agents"])


def shape(value: Any) -> Any:
    """Types in place of values; what stands under digits is data."""
    if isinstance(value, Mapping):
        return {name: dict if name == "digits" else shape(one) for name, one in value.items()}
    return [shape(one) for one in value] if isinstance(value, list) else type(value)


async def test_the_page_and_its_call(run: Run) -> None:
    """One press of Call is a contact that an agent handles."""
    async with httpx.AsyncClient(base_url=BASE_URL) as browser:
        page = await browser.get("/")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "<title>Tandem</title>" in page.text
        assert (await browser.get("/readyz")).status_code == 200
    tenant = run.demo["tenant"]
    async with supervisor(run) as rest, rest.watch(tenant) as watch:
        caller = await press_call()
        names = await watch.when(
            lambda: [name for name, found in watch.contacts.items() if found["caller"]["value"] == caller]
        )
        await watch.event("contact.connected", names[0])
        await watch.event("contact.completed", names[0])
        (found,) = (await rest.get(f"{tenant}/contacts"))["contacts"]
        assert (found["name"], found["outcome"]) == (names[0], "OUTCOME_HANDLED")
        assert found["agent"] in [agent["name"] for agent in run.demo["agents"] if agent["robot"]]


async def test_what_dies_is_started_again(run: Run) -> None:
    """kill -9 of the control plane, then of the robots: a line says so, and a call can be made again."""
    run.kill("control", ("control plane ready", 1), ("media node up", SHARDS))
    assert httpx.get(f"{BASE_URL}/readyz").status_code == 200
    run.kill("robots", ("robots ready", 1))
    async with supervisor(run) as rest, rest.watch(run.demo["tenant"]) as watch:
        caller = await press_call()
        await watch.when(lambda: [c for c in watch.contacts.values() if c["caller"]["value"] == caller])
        await watch.event("contact.connected")


def test_a_taken_port(run: Run, tmp_path: Path) -> None:
    """A second one on the first one's port ends, with one line that names the setting, and leaves nothing."""
    (grpc,), data_dir = free_ports(1), tmp_path / "var"
    with key_file() as key:
        ports = {"http__port": 8080, "grpc__port": grpc, "sip__port": free_udp_port()}
        settings = environment(data_dir, media__node_key_file=key, **ports)
        second = Program("second", (*TANDEM, "up", "--demo"), env=settings)
        try:
            assert second.wait_end() == CANNOT_START
        finally:
            second.stop()
    (line,) = [line for line in second.lines if "http.port" in line]
    assert "127.0.0.1:8080 is taken" in line
    assert "Traceback" not in second.output
    assert list((data_dir / "run").glob("*.pid")) == []
    assert processes_of(data_dir) == {}
    assert httpx.get(f"{BASE_URL}/readyz").status_code == 200


def test_ctrl_c_leaves_nothing_behind(run: Run) -> None:
    """Also while a call goes on. This test ends what the others use."""
    parts = {part: run.pid(part) for part in PARTS}
    assert set(parts.values()) < set(processes_of(run.data_dir))
    os.killpg(run.program.pid, signal.SIGINT)  # make and what it runs: all that a terminal's Ctrl-C reaches
    run.program.wait_end()
    assert processes_of(run.data_dir) == {}
    assert not [pid for pid in parts.values() if Path(f"/proc/{pid}").exists()]
    left = {path.suffix for path in (run.data_dir / "run").iterdir()}
    assert left.isdisjoint({".pid", ".sock"})
    assert taken_ports() == []
    assert "Traceback" not in "\n".join(run.program.lines)
