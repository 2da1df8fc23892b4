"""The `tandem` command.

Heavy modules are imported by the command that needs them, so that `tandem --help` and a
restarted part are quick.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import cyclopts
from cyclopts import Parameter

from tandem.core.points import BadKillAt, Points
from tandem.runtime.config import Config
from tandem.runtime.faults import BadClock, FaultsNotAllowed, clock_from, points_from
from tandem.runtime.lifecycle import INTERRUPTED, leave_no_core, log_to_stderr, mendable, run_until_signal
from tandem.runtime.settings import BadConfig, load, render
from tandem.runtime.tether import Orphaned, tether

CANNOT_START = 64
"""Exit code of a process that cannot work as it is configured: starting it again changes nothing."""

app = cyclopts.App(name="tandem", help="A contact centre that you run yourself.")
flow_app = cyclopts.App(name="flow", help="Flows in files.")
admin_app = cyclopts.App(name="admin", help="What only who runs the cell may do.")
app.command(flow_app)
app.command(admin_app)

T = TypeVar("T")
ConfigFile = Annotated[
    Path | None, Parameter(name="--config", help="TOML file with settings; TANDEM_... in the environment wins over it.")
]


class CannotStart(Exception):
    """What is wrong and what to do, in one line: a fault of the configuration or of the host."""


class Failed(Exception):
    """What went wrong and what to do, in one line."""


def configured(file: Path | None) -> Config:
    """The configuration of this process. Raises `CannotStart` with every problem of it."""
    try:
        return load(Config, file, os.environ)
    except BadConfig as error:
        raise CannotStart("the configuration cannot be used:\n  " + "\n  ".join(error.problems)) from error


# ------------------------------------------------------------------- the parts


@app.default
def top(*, config: ConfigFile = None, print_config: bool = False) -> None:
    """Show the help.

    Parameters
    ----------
    print_config
        Print every setting as it is in force, with what it means, and end.
    """
    if print_config:
        sys.stdout.write(render(configured(config)))
    else:
        app.help_print()


@app.command
def run(
    target: Literal["all", "media", "freeswitch", "robots"],
    /,
    *,
    config: ConfigFile = None,
    demo: bool = False,
    standby: bool = False,
    allow_faults: bool = False,
) -> None:
    """Run one part of a cell: all (every target but media), media, freeswitch (media.freeswitch.prefix), or robots.

    Parameters
    ----------
    demo
        Serve the demo page with its Call button.
    standby
        Wait for the control plane that holds the lock, and take over when it ends.
    allow_faults
        Obey TANDEM_KILL_AT and TANDEM_CLOCK, for tests.
    """
    settings = configured(config)
    log_to_stderr(settings.telemetry.log_format)
    tether(os.environ)
    if not settings.limits.core_dumps:
        leave_no_core()
    points = points_from(os.environ, allow_faults=allow_faults)
    match target:
        case "all":
            _run_all(settings, points, demo=demo, standby=standby, allow_faults=allow_faults)
        case "media":
            _run_media(settings, points, config)
        case "freeswitch":
            from tandem.targets.secret_file import BadSecretFile
            from tandem.targets.switch import NoFreeswitch, become_freeswitch

            try:
                become_freeswitch(settings, os.environ)
            except (NoFreeswitch, BadSecretFile, OSError) as error:
                raise CannotStart(str(error)) from error
        case "robots":
            from tandem.client.crew import run_robots
            from tandem.client.place import NotRunning

            _exit_of(lambda: run_robots(settings), mendable(NotRunning), ended_by_signal=0)


def _run_all(settings: Config, points: Points, *, demo: bool, standby: bool, allow_faults: bool) -> None:
    import structlog

    from tandem.client.place_call import place_call
    from tandem.targets.control import CANNOT_START as REFUSED
    from tandem.targets.control import control
    from tandem.targets.serving import Addresses, PortTaken, serve

    async def started(addresses: Addresses) -> None:
        structlog.get_logger().info("control plane ready", grpc=addresses.grpc, http=addresses.http)

    async def serving() -> None:
        async with control(settings, points, wait_for_lock=standby, clock=clock) as made:
            await serve(made, started, place_call(settings) if demo else None)

    clock = partial(clock_from, environment=os.environ, allow_faults=allow_faults)
    _exit_of(serving, mendable(*REFUSED, PortTaken), ended_by_signal=0)


def _run_media(settings: Config, points: Points, file: Path | None) -> None:
    import structlog

    from tandem.targets.media import CANNOT_START as REFUSED
    from tandem.targets.media import run_media

    def ready() -> None:
        structlog.get_logger().info("media node ready", node=settings.media.node)

    _exit_of(
        lambda: run_media(settings, points, ready, lambda: load(Config, file, os.environ)),
        mendable(*REFUSED),
        ended_by_signal=0,
    )


@app.command
def up(*, config: ConfigFile = None, demo: bool = False, standby: bool = False, allow_faults: bool = False) -> None:
    """Start the parts of this host, start again what dies, end them with Ctrl-C. FreeSWITCH is one of them where
    media.freeswitch.prefix says where it is installed.

    Parameters
    ----------
    demo
        With the demo tenant, its robots and the page.
    standby
        With a second control plane that waits for the first one to die.
    allow_faults
        Obey TANDEM_KILL_AT and TANDEM_CLOCK, for tests.
    """
    from tandem.client.place import NotRunning
    from tandem.client.up import AlreadyUp, run_up
    from tandem.media.journal.disk import BadNodeKey
    from tandem.runtime.supervisor_driver import GaveUp
    from tandem.targets.switch import NoFreeswitch, prepare

    settings = configured(config)
    switch = None
    if settings.media.freeswitch.prefix is not None:
        try:
            switch = prepare(settings)
        except (NoFreeswitch, BadNodeKey, OSError) as error:
            raise CannotStart(str(error)) from error
    _exit_of(
        lambda: run_up(settings, config, demo=demo, standby=standby, allow_faults=allow_faults, switch=switch),
        mendable(AlreadyUp, GaveUp, NotRunning),
        ended_by_signal=0,
    )


# ------------------------------------------------------------------- showing it


@app.command(name="demo")
def demo_command(*, config: ConfigFile = None, kill: bool = False, agents: Literal["on", "off"] | None = None) -> None:
    """Make one robot call and show it as it happens. Needs a running `tandem up --demo`.

    Parameters
    ----------
    kill
        Make five calls, kill -9 the control plane in their middle, and show what each phone heard.
    agents
        Send the robot agents home (off) or back to work (on), and do nothing else.
    """
    settings = configured(config)
    if agents is not None:
        from tandem.client.demo import park

        _client(lambda: park(settings, there=agents == "on"))
    elif kill:
        from tandem.client.demo_kill import show_kill

        _client(lambda: show_kill(settings))
    else:
        from tandem.client.demo import show_call

        _client(lambda: show_call(settings))


@app.command(name="load")
def load_command(*, rate: float = 1.0, calls: int = 20, talk_s: float = 5.0, config: ConfigFile = None) -> None:
    """Make many calls with agents of their own, and count what happened to each, by the phones.

    Parameters
    ----------
    rate
        Calls begun in a second.
    calls
        How many in all.
    talk_s
        How long a talk is, seconds.
    """
    from tandem.client.load import Plan, run_load

    settings = configured(config)
    if not (0 < rate <= 100 and 0 < calls <= 10_000 and 0 < talk_s <= 3600):
        raise Failed("a load has a rate above 0 to 100, 1 to 10000 calls and talks of up to 3600 s")
    _client(lambda: run_load(settings, Plan(rate, calls, talk_s)))


@app.command(name="simulate")
def simulate_command(
    *,
    seeds: int = 200,
    from_: Annotated[int, Parameter(name="--from")] = 0,
    minutes: int = 10,
    shape: Literal["grouped", "split", "both"] = "both",
    verbose: bool = False,
    log_hash: bool = False,
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
        Whether session and routing share an owner; both is half of the seeds each.
    verbose
        Tell every fact of every seed.
    log_hash
        Tell what the logs of each seed hash to and nothing more, to compare two runs.
    """
    from tandem.simulation.run import simulate

    def note(line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def tell(line: str) -> None:
        note("")  # how far it has come stands below, and makes room
        print(line, flush=True)

    report = simulate(
        seeds,
        from_,
        split=shape == "split",
        grouped=shape == "grouped",
        minutes=minutes,
        verbose=verbose,
        log_hash=log_hash,
        processes=os.cpu_count() or 1,
        tell=tell,
        note=note,
    )
    raise SystemExit(1 if report.failed else 0)


# ------------------------------------------------------------------- work of an operator


@flow_app.command(name="check")
def check_command(file: Path, /, *, config: ConfigFile = None) -> None:
    """Find everything that is wrong with a flow in a JSON file, each fault with its path."""
    from tandem.targets.flows import check_flow

    settings = configured(config)
    try:
        found = check_flow(file.read_text(encoding="utf-8"), settings.media.prompts_dir)
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{file} cannot be read: {error}") from error
    for fault in found:
        sys.stdout.write(f"{file}: {fault.path or 'flow'}: {fault.message}\n")
    if found:
        raise SystemExit(1)
    sys.stdout.write(f"{file}: no faults\n")


@admin_app.command(name="create-tenant")
def create_tenant_command(tenant: str, /, *, title: str = "", config: ConfigFile = None) -> None:
    """Make a tenant in the running cell and print an API key of its first administrator.

    Parameters
    ----------
    tenant
        Its id: lower-case letters, digits and hyphens.
    title
        What people call it.
    """
    from tandem.client.admin import create_tenant

    settings = configured(config)
    _client(lambda: create_tenant(settings, tenant, title or tenant))


@admin_app.command(name="drain")
def drain_command(
    *, within: float | None = None, undo: bool = False, wait: bool = True, config: ConfigFile = None
) -> None:
    """Empty the media node of this host: no new callers, and who is here is served to the end. Says how far it is
    until nobody is left. Holds across restarts of the node; Ctrl-C ends the waiting, not the drain.

    Parameters
    ----------
    within
        Seconds after which callers who still wait are let go, as if the node had died: their contacts end as
        media_lost and keep their place for a call back. Talks go on.
    undo
        Take callers again.
    wait
        With --no-wait only give the order.
    """
    from tandem.targets.drain import CANNOT_DRAIN, drain_node

    settings = configured(config)
    if undo and within is not None:
        raise Failed("--undo takes callers again, and lets nobody go: leave --within out")
    _client(lambda: drain_node(settings, within_s=within, undo=undo, wait=wait), *CANNOT_DRAIN)


@admin_app.command(name="gateways")
def gateways_command(*, config: ConfigFile = None) -> None:
    """Have the media node of this host read its carriers (media.gateways, and their passwords) from its settings again,
    all or none. Nobody who talks notices; what else has changed in the settings waits for the node's next start.
    """
    from tandem.targets.gateways import CANNOT_REREAD, reread_gateways

    settings = configured(config)
    _client(lambda: reread_gateways(settings), *CANNOT_REREAD)


@admin_app.command(name="replay")
def replay_command(*, contact: str, check: bool = False, config: ConfigFile = None) -> None:
    """Print a contact's life out of the log, event by event. Reads the files of this host's cell,
    beside a running Tandem or without one; private values are opened if the cell key is there.

    Parameters
    ----------
    contact
        Its name: tenants/{tenant}/contacts/{contact}.
    check
        Decide its recorded inputs again and compare what comes out, byte for byte.
    """
    from tandem.client.replay_table import show_life
    from tandem.targets.replay import CANNOT_READ, again_lines, replay

    match contact.split("/"):
        case ["tenants", tenant, "contacts", name] if tenant and name:
            pass
        case _:
            raise Failed(f"{contact} is no name of a contact: tenants/{{tenant}}/contacts/{{contact}}")
    found = _read(lambda: replay(configured(config), tenant, name, check=check), CANNOT_READ)
    if found is None:
        raise Failed(f"the log knows no {contact}")
    show_life(f"{contact} in {found.partition}", found.moments)
    if found.sealed:
        sys.stdout.write("the cell key is not here: private values read ERASED\n")
    if found.again is not None:
        sys.stdout.writelines(f"{line}\n" for line in again_lines(found.again))
        sys.stdout.writelines(f"WRONG {fault}\n" for fault in found.again.faults)
        raise SystemExit(1 if found.again.faults else 0)


@admin_app.command(name="verify")
def verify_command(*, check: bool = False, config: ConfigFile = None) -> None:
    """Fold every shard's log again, from zero and from its newest snapshot, and compare with every
    state hash that its owners wrote. Exit code 1 if anything differs.

    Parameters
    ----------
    check
        Also decide every recorded input again and compare what comes out, byte for byte.
    """
    from tandem.targets.replay import CANNOT_READ, verify

    settings = configured(config)
    same = _read(lambda: verify(settings, lambda line: print(line, flush=True), check=check), CANNOT_READ)
    raise SystemExit(0 if same else 1)


# ------------------------------------------------------------------- ends


def _read(begin: Callable[[], Coroutine[Any, Any, T]], cannot: tuple[type[Exception], ...]) -> T:
    """A command that reads the files of a cell: what it cannot read is one line."""
    try:
        return asyncio.run(begin())
    except cannot as error:
        raise Failed(str(error)) from error


def _client(begin: Callable[[], Coroutine[Any, Any, int | None]], *cannot: type[Exception]) -> None:
    """A command that talks to a running cell: what it cannot do is one line; `cannot` are errors of its own."""
    from tandem.client.account import CannotDial, NotRegistered
    from tandem.client.api import ApiError
    from tandem.client.call import CallOver
    from tandem.client.place import NotRunning

    find = mendable(ApiError, CallOver, CannotDial, NotRegistered, NotRunning, *cannot)
    try:
        code = run_until_signal(begin())
    except Exception as error:
        found = find(error)
        if found is None:
            raise
        raise Failed(str(found)) from error
    raise SystemExit(code)


def _exit_of(
    begin: Callable[[], Coroutine[Any, Any, None]],
    find: Callable[[BaseException], Exception | None],
    *,
    ended_by_signal: int,
) -> None:
    """A part of a cell: it runs until a signal, which is a clean end."""
    try:
        code = run_until_signal(begin())
    except Exception as error:
        found = find(error)
        if found is None:
            raise
        raise CannotStart(str(found)) from error
    raise SystemExit(ended_by_signal if code == INTERRUPTED else code)


def main() -> None:
    """Entry point: errors that a person can mend are one line, everything else is a bug."""
    try:
        app()
    except (CannotStart, FaultsNotAllowed, BadKillAt, BadClock) as error:
        sys.stderr.write(f"tandem: {error}\n")
        raise SystemExit(CANNOT_START) from None
    except (Failed, Orphaned) as error:
        sys.stderr.write(f"tandem: {error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
