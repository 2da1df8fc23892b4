"""Programs that a test starts, each with its output kept line by line and ended by its own id."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 30
"""How long a test waits for something that must come."""


class Program:
    """A child process. Lines of its output (both streams) are read as they come."""

    def __init__(
        self, name: str, command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        # A session of its own: Ctrl-C at the terminal is pytest's, which then ends what it started.
        self._process = subprocess.Popen(
            [str(part) for part in command], cwd=cwd, env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, and id of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait_line(self, part: str, *, count: int = 1) -> str:
        """The `count`-th line that contains `part`, now or to come. Fails if the program ends first."""

        def found() -> list[str]:
            return [line for line in self.lines if part in line][count - 1 : count]

        with self._news:
            self._news.wait_for(lambda: found() or self._ended, PATIENCE_S)
            lines = found()
        why = "it ended" if self._ended else f"not within {PATIENCE_S} s"
        assert lines, f"{self.name}: no line with {part!r}, {why}:\n{self.output}"
        return lines[0]

    def wait_end(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended and all of its output was read."""
        code = self._process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    def send(self, number: signal.Signals) -> None:
        """A signal to the program alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and until it is gone."""
        self._process.kill()
        self.wait_end()

    def stop(self) -> int:
        """SIGTERM, and kill -9 for what does not end; its exit code."""
        if self.alive:
            self._process.terminate()
            try:
                return self.wait_end(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
        return self.wait_end()

    @property
    def output(self) -> str:
        """The last lines of its output."""
        return "\n".join(self.lines[-200:])

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                with self._news:
                    self.lines.append(line.decode(errors="replace").rstrip())
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work that goes on beside the block and ends with it. (A TaskGroup would wrap the failures of the block.)"""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        if task.done():
            task.result()
        task.cancel()
        await asyncio.wait([task])


def free_ports(count: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    """Ports of 127.0.0.1 that nobody has at this moment, all different."""
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def free_udp_port() -> int:
    """One for a phone."""
    return free_ports(1, socket.SOCK_DGRAM)[0]
