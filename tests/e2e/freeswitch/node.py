"""A FreeSWITCH that runs with our configuration, on free ports of 127.0.0.1, in a directory of its own."""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tests.e2e.freeswitch.esl_client import Esl, connected
from tests.e2e.programs import PATIENCE_S, Program, free_ports, free_udp_port

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "infra/freeswitch"
PROMPTS = ROOT / "services/tandem/media/prompts"
RTP_PORTS = 200
DIRECTORIES = ("log", "db", "run", "storage", "temp", "cache", "certs", "recordings", "scripts", "grammar")


class FreeSwitch:
    """One node. `settings` are those of `infra/freeswitch/settings.xml`; `become` is a command that starts it."""

    def __init__(
        self,
        prefix: Path,
        home: Path,
        *,
        become: Sequence[str] = (),
        config: Path = CONFIG,
        memory: Path | None = None,
        **settings: str | int,
    ) -> None:
        """`memory` is where databases, temporary files and call records are to lie instead."""
        self._prefix, self.home, self._become, self._config = prefix, home, become, config
        self.program: Program | None = None
        self._log: Program | None = None
        self.sip_port = free_udp_port()
        (self.esl_port,) = free_ports(1)
        self.esl_password = secrets.token_hex(16)
        # Below the ports that the system gives to anybody who asks for one.
        rtp_first = 10_000 + RTP_PORTS * secrets.randbelow(100)
        self.settings: dict[str, str | int] = {
            "sip_port": self.sip_port, "esl_port": self.esl_port, "esl_password": self.esl_password,
            "rtp_port_min": rtp_first, "rtp_port_max": rtp_first + RTP_PORTS, "prompts_dir": PROMPTS.as_posix(),
            "log_level": "debug",
        } | settings  # fmt: skip
        self._places = {name: home / name for name in DIRECTORIES}
        if memory is not None:
            self._places |= {name: memory / name for name in ("db", "temp")}
            self.settings.setdefault("cdr_dir", str(memory / "cdr"))
        for folder in (*self._places.values(), self.gateways, self.cdrs):
            folder.mkdir(parents=True)

    @property
    def sip(self) -> str:
        """Where phones dial and register."""
        return f"127.0.0.1:{self.sip_port}"

    @property
    def gateways(self) -> Path:
        """The directory of the gateways' files."""
        return self.home / "storage/gateways"

    @property
    def cdrs(self) -> Path:
        """The spool of call records."""
        return Path(str(self.settings.get("cdr_dir", self.home / "storage/cdr")))

    @property
    def certificates(self) -> Path:
        """The directory of the certificates."""
        return self.home / "certs"

    @property
    def pid(self) -> int:
        """Of the running node."""
        assert self.program is not None
        return self.program.pid

    @property
    def lines(self) -> list[str]:
        """What it printed, and what it logged."""
        return [line for program in (self.program, self._log) if program is not None for line in program.lines]

    def wait_logged(self, part: str, *, count: int = 1) -> None:
        """Until it logged so many lines with `part`."""
        assert self._log is not None
        self._log.wait_line(part, count=count)

    def wait_rows(self, table: str, count: int) -> None:
        """Until a table of its core has that many rows. It is written behind what happens, and nothing says when."""
        with closing(sqlite3.connect(f"file:{self._places['db'] / 'core.db'}?mode=ro", uri=True)) as core:
            give_up = time.monotonic() + PATIENCE_S
            while core.execute(f"SELECT count(*) FROM {table}").fetchone()[0] != count:
                assert time.monotonic() < give_up, f"{table} did not get {count} rows"
                time.sleep(0.05)

    def start(self) -> None:
        """Until it takes calls."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
        environment |= {f"TANDEM_FS_{name.upper()}": str(value) for name, value in self.settings.items()}
        places = [part for name, place in self._places.items() for part in (f"-{name}", place)]
        (self.home / "log/freeswitch.log").unlink(missing_ok=True)
        command = [*self._become, self._prefix / "bin/freeswitch", "-nonat", "-nf", "-nc", "-conf", self._config]
        self.program = Program("freeswitch", [*command, *places], cwd=self.home, env=environment)
        # tail ends when the node does.
        log = ["tail", "-n", "+1", "-F", f"--pid={self.pid}", self.home / "log/freeswitch.log"]
        self._log = Program("freeswitch.log", log)
        # It sets out to listen after its last module was loaded, in a thread of its own.
        if self.settings.get("log_level") == "debug":
            self.wait_logged("Socket up listening")
        else:
            self._wait_listening()

    def _wait_listening(self) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.esl_port), timeout=1).close()
            except OSError:
                assert time.monotonic() < give_up, "it does not listen"
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """End it with its calls."""
        if self.program is not None:
            self.program.stop()
            self.program = None
        if self._log is not None:
            self._log.wait_end()
            self._log = None

    def kill(self) -> None:
        """kill -9."""
        assert self.program is not None
        self.program.kill()
        self.stop()

    def connect(self) -> AbstractAsyncContextManager[Esl]:
        """A connection to its event socket: `async with node.connect() as esl`."""
        return connected(self.esl_port, self.esl_password)

    async def configure(self, esl: Esl, **settings: str | int) -> None:
        """Other settings, by the file that a running node reads again. Those of sockets need a restart."""
        lines = [
            f"""<X-PRE-PROCESS cmd="set" data={quoteattr(f"{name}={value}")}/>""" for name, value in settings.items()
        ]
        (self.home / "run/node.xml").write_text("\n".join(lines) + "\n")
        answer = await esl.api("reloadxml")
        assert "+OK" in answer, answer
