"""`tandem up`: the parts of one host under a supervisor, and what to do next."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx

from tandem.runtime.config import Config
from tandem.runtime.supervisor_driver import Part, Supervisor

READY_S = 30.0
"""A first start makes keys and folds nothing; later ones fold the tail since the last snapshot."""
POLL_S = 0.1


def say(line: str) -> None:
    """A line for the person at the terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def run_up(config: Config, file: Path | None, *, demo: bool, standby: bool, allow_faults: bool) -> None:
    """Run until cancelled. Raises `GaveUp` for a part that cannot start as it is configured."""
    options: tuple[str, ...] = ("--config", str(file)) if file else ()
    options += ("--allow-faults",) if allow_faults else ()
    control = ("run", "all", *options, *(("--demo",) if demo else ()), *(("--standby",) if standby else ()))
    parts = (
        [Part("standby", control)] if standby else [Part("control", control), Part("media", ("run", "media", *options))]
    )
    if demo and not standby:
        parts.append(Part("robots", ("run", "robots", *options)))

    async def started() -> None:
        if standby:
            say("Waiting for the control plane of this host to end; this one will take over.")
            return
        http = await _ready(config)
        if http is None:
            say(f"Not ready after {READY_S:.0f} s; the lines above say why. Still trying.")
            return
        if demo:
            await _tell_demo(config, http)
        else:
            say(f"Tandem is ready: API at {http}, its description at {http}/openapi.json")

    await Supervisor(config.run_dir, say).run(parts, started)


async def _ready(config: Config) -> str | None:
    """The HTTP address once calls can be taken, None if it takes too long."""
    path = config.run_dir / "addresses.json"
    path.unlink(missing_ok=True)
    try:
        async with asyncio.timeout(READY_S), httpx.AsyncClient() as client:
            while True:
                try:
                    address = str(json.loads(path.read_bytes())["http"])
                    if (await client.get(f"{address}/readyz")).status_code == httpx.codes.OK:
                        return address
                except (OSError, httpx.TransportError):
                    pass  # not there yet
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return None


async def _tell_demo(config: Config, http: str) -> None:
    path = config.data_dir / "demo.json"
    try:
        async with asyncio.timeout(READY_S):
            while not path.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        say(f"The robots have not written {path} after {READY_S:.0f} s; the lines above say why.")
        return
    demo = json.loads(path.read_bytes())
    number = demo["numbers"][0]["number"]
    say(
        f"""
Tandem is ready.

  Page      {http}        press Call
  Dial      sip:{number}@{config.sip.host}:{config.sip.port} from any SIP softphone, then press 1
  Accounts  {path} (two agents wait for a phone of yours)
  API       curl -H "Authorization: Bearer {demo["api_key"]}" {http}/v1/{demo["tenant"]}/contacts
  Kill it   tandem demo --kill

Ctrl-C ends everything.
"""
    )
