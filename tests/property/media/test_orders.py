"""Any orders, the agent dying or losing its connection in any of them, and phones that hang up: who is told what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tandem.core.ports.media import Bridge, Confer, Stop, Verb
from tests.contract.freeswitch_media_world import FreeswitchWorld
from tests.contract.orders_contract import AGENT, CALLER, MENU, MUSIC, RING, ROOM, SILENCE, THIRD, Case, Cases

PARTIES = (CALLER, AGENT, THIRD)


@dataclass(frozen=True)
class Ordered:
    """An order, and after how many frames of the switch the agent is interrupted in it, if it is."""

    who: str
    verb: Verb
    interrupted: int | None


@dataclass(frozen=True)
class Leaves:
    """A phone hangs up."""

    who: str
    unseen: bool


VERBS = st.one_of(
    st.sampled_from((SILENCE, MUSIC, MENU, Stop())),
    st.sampled_from((ROOM, ROOM, Confer("another"))),
    st.builds(Bridge, st.sampled_from(PARTIES)),
)
ORDERS = st.builds(Ordered, st.sampled_from(PARTIES), VERBS, st.none() | st.integers(0, 15))
LEAVES = st.builds(Leaves, st.sampled_from(PARTIES), st.booleans())
STEPS = st.lists(ORDERS | ORDERS | ORDERS | LEAVES, min_size=3, max_size=10)
BEGINS = st.sampled_from(((), tuple((party, ROOM) for party in PARTIES)))
"""With caller and agent in a talk, or all three in a conference."""


@given(BEGINS, STEPS, st.booleans(), st.booleans())
def test_each_is_told_once_what_they_must_know(
    begins: tuple[tuple[str, Verb], ...], steps: list[Ordered | Leaves], cut: bool, moved_first: bool
) -> None:
    asyncio.run(_carry_out(begins, steps, FreeswitchWorld(cut=cut, moved_first=moved_first)))


async def _carry_out(
    begins: tuple[tuple[str, Verb], ...], steps: list[Ordered | Leaves], world: FreeswitchWorld
) -> None:
    async with Cases(world).one() as case:
        for who, verb in ((THIRD, RING), *begins):
            await case.do(who, verb)
        for step in steps:
            if isinstance(step, Leaves):
                await _leave(case, step)
            else:
                await _order(case, step, world)


async def _leave(case: Case, step: Leaves) -> None:
    if step.who in case.alive():
        await case.leaves(step.who, unseen=step.unseen)
        case.talks.leave(step.who)


async def _order(case: Case, step: Ordered, world: FreeswitchWorld) -> None:
    needed = {step.who, step.verb.other if isinstance(step.verb, Bridge) else step.who}
    itself = isinstance(step.verb, Bridge) and step.verb.other == step.who
    if itself or not needed <= set(case.alive()):
        return
    world.turns = step.interrupted or 0
    await case.do(step.who, step.verb, in_doubt=step.interrupted is not None)
