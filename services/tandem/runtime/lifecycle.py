"""What every process does at its start and at its end."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

SWITCH_S = 0.0005
"""How long a busy loop may keep a thread from going on that comes back from the disk. A commit
comes back five times; at Python's own 5 ms that makes 25 ms of it whenever the loop is busy."""
INTERRUPTED = 130
"""Exit code of a command that a signal ended."""


def log_to_stderr() -> None:
    """One line an event, for people and for collectors alike; exceptions in full."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


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
