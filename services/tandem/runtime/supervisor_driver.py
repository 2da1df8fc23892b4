"""`tandem up`: starts the parts of one host, starts again what dies, and ends its own children.

It keeps no state: what a part must know after a restart is in its own files. Each child is a
process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone, which
then ends them in order. If it is killed itself, they end by themselves (`runtime.tether`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandem.runtime.retry_driver import Retry
from tandem.runtime.tether import SUPERVISOR

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
STEADY_S = 10.0
"""A part that ran so long begins with the first pause again."""
GRACE_S = 8.0
"""A part that does not end after SIGTERM in this time is killed."""
GIVE_UP = 64
"""Exit code of a part that cannot work as it is configured: starting it again changes nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the host: its name, its arguments after `tandem`, more environment."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class GaveUp(Exception):
    """A part ended with `GIVE_UP`; its own last lines say why."""


class Supervisor:
    """Runs parts until cancelled. `say` prints a line for the person at the terminal."""

    def __init__(self, run_dir: Path, say: Callable[[str], None]) -> None:
        self._run_dir, self._say = run_dir, say
        self._children: dict[str, asyncio.subprocess.Process] = {}

    async def run(self, parts: Sequence[Part], started: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start the parts in order and keep them running; `started` is awaited once beside
        them. Raises `GaveUp`, in a group."""
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in parts:
                    tasks.create_task(self._keep(part))
                tasks.create_task(started())
        finally:
            await self._end_all([part.name for part in parts])

    async def _keep(self, part: Part) -> None:
        retry = Retry(BACKOFF_FIRST_S, BACKOFF_MAX_S)
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            code = await self._once(part)
            if code == GIVE_UP:
                raise GaveUp(f"{part.name} cannot start as it is configured")
            if loop.time() - begun >= STEADY_S:
                retry.reset()
            pause = retry.next_s()
            self._say(f"{part.name} ended ({_why(code)}); starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _once(self, part: Part) -> int:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tandem",
            *part.arguments,
            env={**os.environ, **part.environment, SUPERVISOR: str(os.getpid())},
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        self._children[part.name] = child
        pid_file = self._run_dir / f"{part.name}.pid"
        pid_file.write_text(f"{child.pid}\n", encoding="ascii")
        try:
            return await child.wait()
        finally:
            if child.returncode is not None:
                del self._children[part.name]
                pid_file.unlink(missing_ok=True)

    async def _end_all(self, names: Sequence[str]) -> None:
        """The last part first: robots hang up while there is still somebody to hear it."""
        await _end([self._children[name] for name in reversed(names) if name in self._children])
        self._children.clear()
        for name in names:
            (self._run_dir / f"{name}.pid").unlink(missing_ok=True)


async def _end(children: Sequence[asyncio.subprocess.Process]) -> None:
    """End children and what they started, one after the other. Whoever cancels meanwhile cannot
    wait: all are killed at once. However many cancels come, none is left."""
    grace_s: float | None = GRACE_S
    while (child := next((child for child in children if child.returncode is None), None)) is not None:
        if grace_s is not None:
            _signal(child, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await child.wait()
        except TimeoutError:
            _signal(child, signal.SIGKILL)
        except asyncio.CancelledError:
            grace_s = None
            for other in children:
                _signal(other, signal.SIGKILL)


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if child.returncode is not None:
        return  # its number may be another's by now
    with suppress(ProcessLookupError):  # it has ended by itself, and nobody has told us yet
        os.killpg(child.pid, number)


def _why(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
