"""Faults that a test plants into a process: the strike at a kill point (spine 10).

Read only with `--allow-faults`, which release images refuse.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from tandem.core.points import KillAt, Points, parse_kill_at

KILL_AT = "TANDEM_KILL_AT"
"""`appended:3` kills the process, as `kill -9` would, at the third pass of that point."""


class FaultsNotAllowed(Exception):
    """A fault was asked for in a process that does not take any."""


def points_from(environment: Mapping[str, str], *, allow_faults: bool) -> Points:
    """The points of this process.

    Raises `FaultsNotAllowed` if `TANDEM_KILL_AT` is set without `--allow-faults`: ignoring it
    would let a kill test pass that never killed. Raises `core.points.BadKillAt` for a bad value.
    """
    wanted = environment.get(KILL_AT, "")
    if not wanted:
        return Points()
    if not allow_faults:
        raise FaultsNotAllowed(f"{KILL_AT} is set: start with --allow-faults to obey it, or unset it")
    return Points(parse_kill_at(wanted), _kill_self)


def _kill_self(at: KillAt) -> None:
    """No `finally`, no flush, no exit handler: what a power cut leaves. The line is what a test
    looks for to know that the point was passed."""
    sys.stderr.write(f"{KILL_AT}={at.point}:{at.nth} reached\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
