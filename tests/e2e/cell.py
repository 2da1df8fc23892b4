"""A cell of real processes, made by the real command line: control plane and media node."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.programs import Program, free_ports, free_udp_port
from tests.e2e.rest import Json, Rest

TANDEM = (sys.executable, "-m", "tandem")
SHARDS = 4
"""Of a group, by default; the media node is met by each shard of `live`."""
PASSWORD = "a-phone's-password"


def environment(data_dir: Path, **settings: Any) -> dict[str, str]:
    """Of a process of a cell that lives in `data_dir`: `sip__port=5080` is the setting `sip.port`."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
    given["TANDEM_DATA_DIR"] = str(data_dir)
    return given | variables(settings)


def on_freeswitch(switch: FreeSwitch, memory: Path) -> dict[str, Any]:
    """Settings of a cell whose calls that FreeSWITCH carries; it is told where the agent is. `memory` is on tmpfs."""
    (lookups,) = free_ports(1)
    switch.settings["directory_url"] = f"http://127.0.0.1:{lookups}/directory"
    password = memory / "esl.password"
    password.touch(mode=0o600)
    password.write_text(switch.esl_password)
    of_switch = {"port": switch.esl_port, "password_file": password, "lookup_port": lookups, "cdr_dir": switch.cdrs}
    return {"media__backend": "freeswitch"} | {f"media__freeswitch__{name}": value for name, value in of_switch.items()}


def variables(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as the environment has them."""
    return {f"TANDEM_{name.upper()}": str(value) for name, value in settings.items()}


@dataclass(frozen=True)
class Account:
    """An agent with a device."""

    name: str
    sip_user: str
    password: str


@dataclass(frozen=True)
class Centre:
    """A tenant with a number, a menu whose digit 1 leads to a queue, and agents who serve it."""

    tenant: str
    rest: Rest
    key: str
    number: str
    queue: str
    agents: Mapping[str, Account]

    async def available(self, agent: str, presence: str = "PRESENCE_AVAILABLE") -> Json:
        """Set an agent's presence."""
        return await self.rest.post(f"{self.agents[agent].name}:setPresence", {"presence": presence})

    async def the_contact(self) -> Json:
        """The one contact of this centre."""
        contacts = (await self.rest.get(f"{self.tenant}/contacts"))["contacts"]
        assert len(contacts) == 1, contacts
        found: Json = contacts[0]
        return found


class Cell:
    """Both processes of a cell in a directory of its own, on free ports. Used by one test at a time."""

    running: ClassVar[list[Cell]] = []
    """Those that were not stopped: what they printed is shown when a test fails."""

    def __init__(self, home: Path, *flags: str, switch: FreeSwitch | None = None, **settings: Any) -> None:
        """`switch` carries the calls, and is this cell's to start and stop; without one the built-in node does."""
        self.data_dir = home / "var"
        self.switch = switch
        self._http, self._grpc = free_ports(2)
        self.sip_port = free_udp_port() if switch is None else switch.sip_port
        # In memory, and not the one that a Tandem of this user's own may have.
        self._memory = Path(tempfile.mkdtemp(prefix="tandem-e2e-", dir="/dev/shm"))
        key_file = self._memory / "node.key"
        ports = {"http__port": self._http, "grpc__port": self._grpc, "sip__port": self.sip_port}
        self._environment = environment(self.data_dir, media__node_key_file=key_file, **ports, **settings)
        if switch is not None:
            self.set(**on_freeswitch(switch, self._memory))
        self._flags = flags
        self.tandem: tuple[str, ...] = TANDEM
        """What a process is started with; tests plant bugs there."""
        self.control: Program | None = None
        self.media: Program | None = None
        self.ended: list[Program] = []
        self.running.append(self)

    @property
    def base_url(self) -> str:
        """Of REST and page."""
        return f"http://127.0.0.1:{self._http}"

    @property
    def grpc_target(self) -> str:
        """Of the API over gRPC."""
        return f"127.0.0.1:{self._grpc}"

    @property
    def sip(self) -> str:
        """Where phones dial and register."""
        return f"127.0.0.1:{self.sip_port}"

    @property
    def platform_key(self) -> str:
        """The key that makes tenants."""
        return (self.data_dir / "platform.key").read_text().strip()

    @property
    def plain_recordings(self) -> Path:
        """Where FreeSWITCH writes them until they are sealed."""
        return self._memory / "recordings"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of its processes."""
        return dict(self._environment)

    def set(self, **settings: Any) -> None:
        """Change settings of the processes that are started from now on."""
        self._environment |= variables(settings)

    # ---------------------------------------------------------------- processes

    def start(self) -> None:
        """Both processes, until calls can be taken."""
        self.start_media()
        self.start_control()
        try:
            self.wait_ready()
        except AssertionError as error:
            raise AssertionError(f"the cell does not start:\n{self.output}") from error

    def start_control(self, **more: str) -> Program:
        """The control plane; `more` goes to its environment."""
        self.control = self._program("control", "all", more)
        return self.control

    def start_media(self, **more: str) -> Program:
        """The media node; its FreeSWITCH before the first."""
        if self.switch is not None and self.switch.program is None:
            self.switch.start()
        self.media = self._program("media", "media", more)
        return self.media

    def command(self, *arguments: str, data_dir: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `tandem ...` with the settings of this cell, or of a copy of its directory, to its end."""
        where = {} if data_dir is None else {"TANDEM_DATA_DIR": str(data_dir)}
        settings = {**self.settings, **where, "COLUMNS": "400"}
        return subprocess.run((*TANDEM, *arguments), env=settings, capture_output=True, text=True, check=False)

    def _program(self, name: str, target: str, more: Mapping[str, str]) -> Program:
        command = (*self.tandem, "run", target, *self._flags)
        return Program(name, command, env={**self._environment, **more})

    def wait_ready(self) -> None:
        """Until calls can be taken."""
        assert self.control is not None
        self.control.wait_line("control plane ready")
        self.control.wait_line("media node up", count=SHARDS)
        if self.switch is not None:
            assert self.media is not None
            self.media.wait_line("FreeSWITCH answers")
        answer = httpx.get(f"{self.base_url}/readyz")
        assert answer.status_code == 200, answer.text

    def kill_control(self) -> None:
        """kill -9 of the control plane."""
        assert self.control is not None
        self.control.kill()
        self.ended.append(self.control)
        self.control = None

    def kill_media(self) -> None:
        """kill -9 of the media node."""
        assert self.media is not None
        self.media.kill()
        self.ended.append(self.media)
        self.media = None

    def stop(self) -> None:
        """End what runs, as an operator would."""
        for program in (self.control, self.media):
            if program is not None:
                program.stop()
                self.ended.append(program)
        self.control = self.media = None
        if self.switch is not None:
            self.switch.stop()
        self.running.remove(self)
        shutil.rmtree(self._memory)

    @property
    def programs(self) -> list[Program]:
        """All that ran here, the oldest first."""
        return [*self.ended, *(program for program in (self.control, self.media) if program is not None)]

    @property
    def output(self) -> str:
        """What all of them printed."""
        return "\n".join(line for program in self.programs for line in program.lines)

    # ---------------------------------------------------------------- configuration

    @asynccontextmanager
    async def rest(self, key: str | None) -> AsyncIterator[Rest]:
        """A client with that credential."""
        client = Rest(self.base_url, key)
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def centre(
        self,
        *agents: str,
        queues: Mapping[str, Sequence[str]] | None = None,
        ring_timeout_s: int = 15,
        wrap_up_s: float = 0,
        **menu: Any,
    ) -> AsyncIterator[Centre]:
        """A new tenant whose menu leads to its queues: 1 to the first, 2 to the second. `queues` says who
        serves which; without it there is one, which all agents serve. `menu` changes the menu step."""
        served = queues or {"sales": agents}
        id_ = f"t{secrets.token_hex(5)}"
        tenant = f"tenants/{id_}"
        async with self.rest(self.platform_key) as platform:
            await platform.post("tenants", {"displayName": "A test's"}, tenantId=id_)
            made = await platform.post(f"{tenant}/apiKeys", {"role": "ROLE_ADMIN"}, apiKeyId="test")
        async with self.rest(made["secret"]) as rest:
            names = [f"{tenant}/queues/{queue}" for queue in served]
            times = {"ringTimeout": f"{ring_timeout_s}s", "wrapUp": f"{wrap_up_s}s"}
            for queue in served:
                await rest.post(f"{tenant}/queues", times, queueId=queue)
            await rest.post(f"{tenant}/flows", {"steps": flow_steps(names, **menu)}, flowId="main")
            await rest.post(f"{tenant}/flows/main:publish")
            accounts: dict[str, Account] = {}
            for agent in dict.fromkeys(agent for team in served.values() for agent in team):
                serves = [name for name, team in zip(names, served.values(), strict=True) if agent in team]
                body = {"queues": serves, "sipPassword": PASSWORD}
                answer = await rest.post(f"{tenant}/agents", body, agentId=agent)
                accounts[agent] = Account(answer["name"], answer["sipUser"], PASSWORD)
            number = f"49{secrets.randbelow(10**10):010}"
            await rest.post(f"{tenant}/numbers", {"flow": f"{tenant}/flows/main"}, numberId=number, waitLive="true")
            yield Centre(tenant, rest, made["secret"], number, names[0], accounts)


def flow_steps(queues: Sequence[str], **menu: Any) -> list[Json]:
    """Answer, a menu, a line for each queue, a good-bye."""
    options = [{"digit": str(digit), "next": f"line{digit}"} for digit, _ in enumerate(queues, 1)]
    asked = {"prompts": ["welcome-menu"], "options": options, "otherwise": "bye"} | menu
    lines = [
        {"id": f"line{digit}", "queue": {"queue": queue, "music": "music"}} for digit, queue in enumerate(queues, 1)
    ]
    return [
        {"id": "hello", "answer": {"next": "menu"}},
        {"id": "menu", "menu": asked},
        *lines,
        {"id": "bye", "hangUp": {"prompts": ["goodbye"]}},
    ]
