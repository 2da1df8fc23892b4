"""What every process does at its start and at its end."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from tandem.runtime.telemetry.lines import about_a_contact, named

SWITCH_S = 0.0005
"""How long a busy loop may keep a thread from going on that comes back from the disk. A commit
comes back five times; at Python's own 5 ms that makes 25 ms of it whenever the loop is busy."""
INTERRUPTED = 130
"""Exit code of a command that a signal ended."""
PR_SET_DUMPABLE = 4
"""prctl(2)."""


def log_to_stderr(form: str = "text") -> None:
    """One line an event, `text` for people or `json` for collectors, exceptions in full; what
    the standard library's loggers say comes in the same form."""
    shared: list[Any] = [
        about_a_contact,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: Any = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    if form == "json":
        render = structlog.processors.JSONRenderer()
    structlog.configure(processors=[*shared, render], logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))
    plain = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, render]
    # People read the text; a collector looks for the declared name.
    foreign = [structlog.stdlib.ExtraAdder(), *([named] if form == "json" else []), *shared]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processors=plain))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def leave_no_core() -> None:
    """This process writes no core file, and no other of its user may read its memory: keys and private
    values stand there. (The limit alone does not hold where cores are piped to a program, core(5).)
    Raises OSError where the kernel refuses."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) was refused")


def run_until_signal(main: Coroutine[Any, Any, int | None]) -> int:
    """Run a coroutine on a fast loop; its exit code. SIGINT and SIGTERM cancel it, and it ends in
    its own order."""
    sys.setswitchinterval(SWITCH_S)
    try:
        import uvloop
    except ModuleNotFoundError:  # there is no wheel of it for some platforms
        runner = asyncio.Runner()
    else:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner:
        return runner.run(_cancelled_by_signals(main))


async def _cancelled_by_signals(main: Coroutine[Any, Any, int | None]) -> int:
    task = asyncio.create_task(main)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task or 0
    except asyncio.CancelledError:
        return INTERRUPTED


def mendable(*kinds: type[Exception]) -> Callable[[BaseException], Exception | None]:
    """Finds, in task groups too, the first error of a kind that says what to do."""

    def find(error: BaseException) -> Exception | None:
        if isinstance(error, BaseExceptionGroup):
            return next((found for one in error.exceptions if (found := find(one))), None)
        return error if isinstance(error, kinds) else None

    return find
