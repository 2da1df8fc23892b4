"""`tandem up`: the parts of one host under a supervisor, and what a person needs to begin."""

from __future__ import annotations

import asyncio
import fcntl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tandem.client.demo_tenant import Demo, read_demo
from tandem.client.options import takes_calls
from tandem.client.place import Place
from tandem.client.place_call import SOCKET
from tandem.runtime.config import Config
from tandem.runtime.supervisor_driver import Part, Supervisor

POLL_S = 0.1
LOCK = "up.lock"
PATIENT_S = 20.0
"""After this a start that is not done says that it still waits."""


class AlreadyUp(Exception):
    """Another supervisor has this cell."""


def parts_of(
    config_file: Path | None,
    *,
    demo: bool,
    standby: bool,
    allow_faults: bool,
    switch: Mapping[str, str] | None = None,
) -> list[Part]:
    """The processes of this host, in the order in which they start. With a FreeSWITCH, `switch` is the environment
    of the media agent that it is for."""
    given = ("--config", str(config_file.absolute())) if config_file else ()
    faults = ("--allow-faults",) if allow_faults else ()
    page = ("--demo",) if demo else ()
    # With a standby both wait for the lock, so that whichever comes back becomes the standby.
    wait = ("--standby",) if standby else ()
    parts = [] if switch is None else [Part("freeswitch", ("run", "freeswitch", *given))]
    parts += [
        Part("media", ("run", "media", *given, *faults), switch or {}),
        Part("control", ("run", "all", *given, *faults, *page, *wait)),
    ]
    if standby:
        parts.append(Part("standby", ("run", "all", *given, *faults, *page, *wait)))
    if demo:
        parts.append(Part("robots", ("run", "robots", *given)))
    return parts


async def run_up(
    config: Config,
    config_file: Path | None,
    *,
    demo: bool,
    standby: bool,
    allow_faults: bool,
    switch: Mapping[str, str] | None = None,
) -> None:
    """Start everything and keep it running until cancelled; `switch` as in `parts_of`. Raises `AlreadyUp`, and
    `GaveUp` in a group."""
    with _alone(config.run_dir):
        parts = parts_of(config_file, demo=demo, standby=standby, allow_faults=allow_faults, switch=switch)
        await _run(config, parts, demo=demo)


async def _run(config: Config, parts: list[Part], *, demo: bool) -> None:
    place = Place(config)
    if demo:
        _ = place.sip  # say now what cannot work
        (config.run_dir / SOCKET).unlink(missing_ok=True)

    on_switch = any(part.name == "freeswitch" for part in parts)

    async def started() -> None:
        await _until_up(place, demo=demo, on_switch=on_switch)
        _say(_greeting(place, read_demo(place.demo_file) if demo else None, _carries(config, on_switch=on_switch)))

    await Supervisor(config.run_dir, _say).run(parts, started)


@contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    """Hold the run directory: a second supervisor would take the pid files of the first. The
    kernel frees it whatever ends this process."""
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (run_dir / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUp(
                f"`tandem up` runs already in {run_dir}: end that one, or give this one another data_dir"
            ) from None
        yield


async def _until_up(place: Place, *, demo: bool, on_switch: bool) -> None:
    async def up() -> bool:
        # FreeSWITCH refuses everything until it has begun whole, and no other part waits for it.
        robots = not demo or (place.config.run_dir / SOCKET).exists()
        return await place.ready() and robots and (not on_switch or await takes_calls(place.sip))

    loop = asyncio.get_running_loop()
    patient = loop.time() + PATIENT_S
    while not await up():
        if loop.time() > patient:
            _say("still waiting until calls can be taken; the lines above say why")
            patient = loop.time() + PATIENT_S
        await asyncio.sleep(POLL_S)


def _carries(config: Config, *, on_switch: bool) -> str:
    """What carries the calls."""
    if on_switch:
        log = config.freeswitch_dir / "log" / "freeswitch.log"
        return f"FreeSWITCH of {config.media.freeswitch.prefix}; its log is {log}"
    if config.media.backend == "freeswitch":
        return "the FreeSWITCH that you started"
    return f"the built-in node, {config.media.capacity} callers at once"


def _greeting(place: Place, demo: Demo | None, carries: str) -> str:
    _, http = place.addresses()
    host, port = place.sip if place.config.sip.port else (place.config.sip.host, 0)
    if demo is None:
        return f"Tandem is up. API: {http}/openapi.json   SIP: {host}:{port}, by {carries}   Ctrl-C ends it."
    number = demo.numbers[0]
    menu = ", ".join(f"{digit} for {queue.rpartition('/')[2]}" for digit, queue in number.digits.items())
    phones = [agent.sip_user for agent in demo.agents if not agent.robot]
    lines = [
        "",
        "Tandem is up. Calls can be taken.",
        "",
        f"  Page    {http}/   press Call, or",
        f"  Dial    sip:{number.number}@{host}:{port} from any softphone ({menu}); two robots answer",
        f"  Agents  be one yourself: register as {' or '.join(phones)} at {demo.sip_domain}; their",
        f"          passwords are in {place.demo_file}",
        f"  Media   {carries}",
        f'  API     curl -H "Authorization: Bearer {demo.api_key}" {http}/v1/{demo.tenant}/contacts',
        "  Next    tandem demo          one call as a timeline",
        "          tandem demo --kill   kill -9 the control plane in the middle of five calls",
        "",
        "Ctrl-C ends everything.",
    ]
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
