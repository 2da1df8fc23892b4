"""The `tandem` command.

Heavy modules are imported by the command that needs them, so that `tandem --help` and a
restarted part are quick.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import structlog
from cyclopts import Parameter

from tandem.core.points import BadKillAt
from tandem.runtime.config import Config
from tandem.runtime.faults import FaultsNotAllowed, points_from
from tandem.runtime.settings import BadConfig, load, render

CANNOT_START = 64
"""Exit code of a process that cannot work as it is configured: starting it again changes nothing."""

app = cyclopts.App(name="tandem", help="A contact centre that you run yourself.")

ConfigFile = Annotated[Path | None, Parameter(name="--config", help="TOML file; the environment goes before it.")]


class CannotStart(Exception):
    """What is wrong and what to do, in one line."""


def configured(file: Path | None) -> Config:
    """The configuration of this process. Raises `CannotStart` with every problem of it."""
    try:
        return load(Config, file, os.environ)
    except BadConfig as error:
        raise CannotStart("the configuration cannot be used:\n  " + "\n  ".join(error.problems)) from error


def run_until_signal(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a fast loop; SIGINT and SIGTERM cancel it, and it ends in its own order."""
    try:
        import uvloop
    except ModuleNotFoundError:  # there is no wheel of it for some platforms
        runner = asyncio.Runner()
    else:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner:
        runner.run(_cancelled_by_signals(main))


async def _cancelled_by_signals(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(main)
        waiting = tasks.create_task(stopped.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        waiting.cancel()


def log_to_stderr() -> None:
    """One line an event, for people and for collectors alike."""
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


# ------------------------------------------------------------------- run


@app.command
def run(
    target: str,
    /,
    *,
    config: ConfigFile = None,
    demo: bool = False,
    standby: bool = False,
    allow_faults: bool = False,
    print_config: bool = False,
) -> None:
    """Run one part of a cell: all (every target but media), media, or robots.

    Parameters
    ----------
    target
        all, media or robots.
    config
        TOML file; the environment goes before it.
    demo
        Serve the demo page with its Call button.
    standby
        Wait for the control plane that holds the lock, and take over when it ends.
    allow_faults
        Obey TANDEM_KILL_AT, for tests.
    print_config
        Print the configuration in force and end.
    """
    settings = configured(config)
    if print_config:
        sys.stdout.write(render(settings))
        return
    log_to_stderr()
    points = points_from(os.environ, allow_faults=allow_faults)
    match target:
        case "all":
            run_until_signal(_run_all(settings, points, demo, standby))
        case "media":
            run_until_signal(_run_media(settings, points))
        case "robots":
            from tandem.client.robots import run_robots

            run_until_signal(run_robots(settings))
        case _:
            raise CannotStart(f"there is no target {target!r}; run all, media or robots")


async def _run_all(settings: Config, points: Any, demo: bool, standby: bool) -> None:
    from tandem.adapters.sqlite import CannotOpen
    from tandem.client.place_call import place_call
    from tandem.targets.control import control
    from tandem.targets.serving import Addresses, PortTaken, serve

    log = structlog.get_logger()

    async def started(addresses: Addresses) -> None:
        log.info("control plane ready", grpc=addresses.grpc, http=addresses.http)

    with _reasons(CannotOpen, PortTaken):
        async with control(settings, points, wait_for_lock=standby) as made:
            await serve(made, started, place_call(settings) if demo else None)


async def _run_media(settings: Config, points: Any) -> None:
    from tandem.adapters.sqlite import CannotOpen
    from tandem.media.builtin.driver import PortTaken
    from tandem.media.builtin.prompts import BadPrompts
    from tandem.media.journal.disk import BadNodeKey, JournalInUse
    from tandem.media.link.address import UnsafeLink
    from tandem.targets.media import run_media

    log = structlog.get_logger()
    with _reasons(CannotOpen, PortTaken, BadPrompts, BadNodeKey, JournalInUse, UnsafeLink):
        await run_media(settings, points, lambda: log.info("media node ready", node=settings.media.node))


class _reasons:  # noqa: N801 - reads as a statement
    """Turns errors that say what to do into `CannotStart`, out of task groups too."""

    def __init__(self, *kinds: type[Exception]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        found = error
        while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
            found = found.exceptions[0]
        if isinstance(found, self._kinds):
            raise CannotStart(str(found)) from error


# ------------------------------------------------------------------- up


@app.command
def up(*, config: ConfigFile = None, demo: bool = False, standby: bool = False, allow_faults: bool = False) -> None:
    """Start the parts of this host, start again what dies, end them with Ctrl-C.

    Parameters
    ----------
    config
        TOML file; the environment goes before it.
    demo
        With the demo tenant, its robots and the page.
    standby
        A second control plane that waits for this host's first one.
    allow_faults
        Obey TANDEM_KILL_AT, for tests.
    """
    from tandem.client.up import run_up

    with _reasons_up():
        run_until_signal(run_up(configured(config), config, demo=demo, standby=standby, allow_faults=allow_faults))


def _reasons_up() -> _reasons:
    from tandem.runtime.supervisor_driver import GaveUp

    return _reasons(GaveUp)


# ------------------------------------------------------------------- flows


@app.command(name="simulate")
def simulate_command(
    *,
    seeds: int = 200,
    from_: Annotated[int, Parameter(name="--from")] = 0,
    minutes: float = 10.0,
    shape: str = "",
    verbose: bool = False,
) -> None:
    """Run a whole cell on virtual time with faults, and check what must always hold.

    Parameters
    ----------
    seeds
        How many.
    from_
        The first one; a failing seed replays exactly.
    minutes
        Simulated time of each.
    shape
        grouped or split; half of the seeds each if empty.
    verbose
        Tell the story of each seed.
    """
    from tandem.simulation.run import simulate

    raise SystemExit(simulate(seeds, from_, minutes=minutes, shape=shape, verbose=verbose))


def main() -> None:
    """Entry point: errors that a person can mend are one line, everything else is a bug."""
    try:
        app()
    except (CannotStart, FaultsNotAllowed, BadKillAt) as error:
        sys.stderr.write(f"tandem: {error}\n")
        raise SystemExit(CANNOT_START) from None


if __name__ == "__main__":
    main()
