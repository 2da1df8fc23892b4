"""`tandem admin drain`: empty the media node of this host, and say how far it is."""

from __future__ import annotations

import sys
from contextlib import aclosing

from tandem.media.link.address import LinkAddress, UnsafeLink
from tandem.media.link.drains import WITHIN_MAX_S, CannotDrain, Progress, drain
from tandem.runtime.config import Config

CANNOT_DRAIN = (CannotDrain, UnsafeLink)
"""Errors of `drain_node` that say what to do."""


async def drain_node(config: Config, *, within_s: float | None, undo: bool, wait: bool) -> int:
    """Give the order, and print how far the node is until nobody is left; at once if nobody is to be waited for.
    Raises those of `CANNOT_DRAIN`."""
    if within_s is not None and not 0 <= within_s <= WITHIN_MAX_S:
        raise CannotDrain(f"--within takes 0 to {WITHIN_MAX_S} seconds")
    within_ms = None if within_s is None else round(within_s * 1000)
    async with aclosing(drain(LinkAddress(config.media_link), not undo, within_ms)) as told:
        async for progress in told:
            sys.stdout.write(shown(progress) + "\n")
            sys.stdout.flush()
            if not wait or not progress.draining or not (progress.legs or progress.strangers):
                return 0
    raise AssertionError("it is followed until it is over")


def shown(progress: Progress) -> str:
    """One line."""
    if not progress.draining:
        return f"node {progress.node} takes callers"
    callers = progress.talking + progress.waiting
    since = f"node {progress.node} has taken no new callers for {progress.for_ms // 1000} s"
    if not progress.legs and not progress.strangers:
        return f"{since}: nobody is left, it can be stopped"
    left = f"{since}: {callers} left, {progress.talking} of them talking, {progress.waiting} waiting"
    if progress.strangers:
        left += "; an emergency call goes on"
    if progress.left_ms is None or not progress.waiting:
        return left
    return f"{left}; who waits is let go in {-(-progress.left_ms // 1000)} s"
