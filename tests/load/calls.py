"""Calls over the link, each accounted for at both ends.

A node turns new calls of a tenant away whose events wait there for too long (`media.agent_io`): a plan
that asks for more than the control plane takes ends with fewer talks. Such calls are counted and said,
and no goal is met by those that are left. Every other call has exactly one offer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.load.media_stub import Plan, StubProcess
from tests.load.plane import Plane

AGREED_S = 30.0
"""The control plane takes what waits at the node when the last caller is over."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What became of a plan's."""

    talked: int
    turned_away: int
    offer_ms: list[float]
    """See `media_stub.Told`."""
    seconds: float


def away(*found: Calls) -> str:
    """Why these meet no goal, for a note; empty if nobody was turned away."""
    turned_away = sum(one.turned_away for one in found)
    dialled = turned_away + sum(one.talked for one in found)
    return f"; {turned_away} of {dialled} calls were turned away, which meets no goal" if turned_away else ""


async def calls(stub: StubProcess, control: Plane, plan: Plan) -> Calls:
    """Carry a plan out whose callers wait until they are served. Raises AssertionError if a call was lost
    or an offer made twice, by what the phones saw and by what is on record."""
    told = await stub.told(await stub.begin(plan), wait=True)
    figures = await stub.figures()
    found = Calls(told["talked"], told["turned_away"], told["offer_ms"], told["seconds"])
    seen = f"phones: { ({name: value for name, value in told.items() if isinstance(value, int)}) }, {figures['causes']}"
    assert told["over"] == told["dialled"] == plan.count, f"callers are left: {seen}"
    assert found.talked + found.turned_away == plan.count, f"a call was lost: {seen}"
    assert found.talked == told["offers"] == len(found.offer_ms), f"an offer was made twice: {seen}"
    assert not figures["rung_twice"], f"a phone was rung twice for an offer: {figures['rung_twice']}"
    await _agree(control, (figures["talked"], figures["turned_away"]))
    return found


async def _agree(control: Plane, seen: tuple[int, int]) -> None:
    try:
        async with asyncio.timeout(AGREED_S):
            while control.on_record() != seen:
                await asyncio.sleep(0.02)
    except TimeoutError:
        what = "talks and calls turned away"
        raise AssertionError(f"{what}: {seen} by the phones, {control.on_record()} on record") from None
