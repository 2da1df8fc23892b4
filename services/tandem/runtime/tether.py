"""Ties a part to the supervisor that started it: no part is left over unseen.

A supervisor that is killed with -9 cannot end its children, and nobody would start again what
dies of them. So the kernel ends them, as an operator would: SIGTERM, upon which a media node says
BYE to every phone. Whoever starts the supervisor again finds ports, lock and journal free.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping

SUPERVISOR = "TANDEM_SUPERVISOR"
"""In the environment of a part: the process id of its supervisor."""
PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


class Orphaned(Exception):
    """The supervisor died while this part was starting."""


def tether(environment: Mapping[str, str]) -> None:
    """Have this process end with its supervisor, if it has one. Raises `Orphaned`, OSError."""
    supervisor = environment.get(SUPERVISOR, "")
    if not supervisor:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if str(os.getppid()) != supervisor:  # it died before the kernel knew
        raise Orphaned(f"the supervisor {supervisor} is gone; start `tandem up` again")
