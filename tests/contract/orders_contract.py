"""Park, hold, transfers and conferences by order: made of verbs, and true at every step.

A recipe is a list of orders. `Talks` says in the plainest way who hears whom, and who is to be told that they are
alone; no node's code is in it. Each recipe is carried out as it stands, with the agent killed in each step, and with
each party hanging up after each step, seen or not, and in the middle of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import pairwise

from tandem.core.ports.media import (
    Bridge,
    Collect,
    CommandSettled,
    Confer,
    DeviceRegistered,
    HangUp,
    LegBridged,
    LegEnded,
    LegUnbridged,
    Originate,
    Outcome,
    Play,
    Stop,
    Verb,
)
from tandem.core.seal import secret
from tests.contract.media_contract import DEVICES, DIRECTORY, PROMPT, Clause, MediaWorld, Owner

CALLER, AGENT, THIRD, DEVICE = "caller", "agent", "third", DEVICES[0]
RING = Originate(DEVICE, 15_000, "o1", secret("+49301234567"))
MUSIC, SILENCE = Play((PROMPT,), loop=True), Play(())
MENU = Collect("pin", (PROMPT,), 4, 2_000)


@dataclass(frozen=True)
class Recipe:
    """Orders, each for a party, whose verbs name parties for legs. It begins with caller and agent in a talk."""

    name: str
    orders: tuple[tuple[str, Verb], ...]

    @property
    def mixes(self) -> bool:
        """Whether the node must mix three."""
        return any(isinstance(verb, Confer) for _, verb in self.orders)


ROOM = Confer("x")
RECIPES = (
    Recipe("park", ((CALLER, SILENCE), (THIRD, RING), (THIRD, Bridge(CALLER)), (AGENT, HangUp()))),
    Recipe("hold", ((CALLER, MUSIC), (CALLER, Bridge(AGENT)), (AGENT, MENU), (AGENT, Bridge(CALLER)))),
    Recipe("blind transfer", ((AGENT, HangUp()), (CALLER, MUSIC), (THIRD, RING), (CALLER, Bridge(THIRD)))),
    Recipe(
        "attended transfer",
        ((CALLER, MUSIC), (THIRD, RING), (AGENT, Bridge(THIRD)), (CALLER, Bridge(THIRD)), (AGENT, HangUp())),
    ),
    Recipe(
        "attended transfer, called off",
        ((CALLER, MUSIC), (THIRD, RING), (AGENT, Bridge(THIRD)), (AGENT, Bridge(CALLER)), (THIRD, HangUp())),
    ),
    Recipe(
        "conference",
        ((CALLER, ROOM), (AGENT, ROOM), (THIRD, RING), (THIRD, ROOM), (AGENT, Stop()), (AGENT, ROOM), (CALLER, MUSIC),
         (THIRD, HangUp())),
    ),
    Recipe(
        "attended transfer by way of a conference",
        ((CALLER, MUSIC), (THIRD, RING), (AGENT, Bridge(THIRD)), (AGENT, ROOM), (THIRD, ROOM), (CALLER, ROOM),
         (AGENT, HangUp()), (CALLER, Bridge(THIRD))),
    ),
)  # fmt: skip


@dataclass
class Talks:
    """Who is joined to whom, and what is told of it: who was joined, and who was left alone, (who, whom)."""

    pairs: dict[str, str] = field(default_factory=dict)
    rooms: dict[str, list[str]] = field(default_factory=dict)
    joined: list[tuple[str, str]] = field(default_factory=list)
    alone: list[tuple[str, str]] = field(default_factory=list)

    def carried_out(self, leg: str, verb: Verb) -> None:
        """An order is."""
        match verb:
            case HangUp() | Play() | Collect():
                self.leave(leg)
            case Stop() if leg not in self.pairs:
                self.leave(leg)
            case Bridge(other) if self.pairs.get(leg) != other:
                self.leave(leg, other)
                self.leave(other, leg)
                self.pairs |= {leg: other, other: leg}
                self.joined.append((leg, other))
            case Confer(room) if leg not in self.rooms.get(room, ()):
                self.leave(leg)
                self.rooms.setdefault(room, []).append(leg)

    def leave(self, leg: str, also: str = "") -> None:
        """It is out of whatever it was in; `also` is moved by the same order."""
        other = self.pairs.pop(leg, "")
        self.pairs.pop(other, None)
        if other not in ("", also):
            self.alone.append((other, leg))
        for members in self.rooms.values():
            if leg in members:
                members.remove(leg)
                if len(members) == 1 and members[0] != also:
                    self.alone.append((members[0], leg))

    def heard_by(self, leg: str) -> set[str]:
        """Whom the leg hears."""
        rooms = [member for members in self.rooms.values() if leg in members for member in members]
        return {*rooms, *([self.pairs[leg]] if leg in self.pairs else [])} - {leg}


@dataclass
class Case:
    """Caller and agent in a talk, and what the owner does with them from there."""

    world: MediaWorld
    owner: Owner
    epoch: int
    legs: dict[str, str]
    talks: Talks = field(default_factory=Talks)

    async def do(self, name: str, verb: Verb, *, in_doubt: bool = False) -> None:
        """Order it, until it is done. In doubt, the agent dies when it is carried out and nothing of that written."""
        key = f"{len(self.owner.frames)}/{self.epoch}"
        if in_doubt:
            await self.world.restart_before_events(lambda: self.begin(name, verb, key))
            await self.again()
        else:
            self.begin(name, verb, key)
        settled = await self.world.done(self.owner, key)
        assert settled.outcome is Outcome.DONE, (name, verb, settled)
        self.talks.carried_out(name, verb)

    def begin(self, name: str, verb: Verb, key: str) -> None:
        """Order it."""
        legs = replace(verb, other=self.legs[verb.other]) if isinstance(verb, Bridge) else verb
        self.owner.command(self.legs[name], legs, key)

    async def again(self) -> None:
        """The agent died: the owner comes to its next life. Nothing was acknowledged, so it hears it all again."""
        self.epoch += 1
        self.owner = await self.world.owner(self.epoch)

    async def leaves(self, name: str, *, unseen: bool) -> None:
        """A phone hangs up, perhaps while no agent lives."""
        if unseen:
            await self.world.restart_after(lambda: self.world.hang_up(self.legs[name]))
            await self.again()
        else:
            await self.world.hang_up(self.legs[name])
        await self.world.until(lambda: self.owner.of(LegEnded, self.legs[name]))

    def alive(self) -> list[str]:
        """Who has a leg."""
        return [
            name
            for name, leg in self.legs.items()
            if any(event.leg == leg for event in self.owner.events()) and not self.owner.of(LegEnded, leg)
        ]

    def told(self, kind: type[LegBridged | LegUnbridged] = LegUnbridged) -> list[tuple[str, str]]:
        """Who was told that they are joined to whom, or that they are alone, and by whom they were left."""
        names = {leg: name for name, leg in self.legs.items()}
        return [
            (name, names.get(body.other, body.other))
            for name, leg in self.legs.items()
            for body in self.owner.of(kind, leg)
        ]

    async def is_true(self) -> None:
        """Each was told what they had to be, once."""
        await self.world.until(lambda: len(self.told()) >= len(self.talks.alone))
        await self.world.rest()
        assert Counter(self.told()) == Counter(self.talks.alone)
        assert Counter(self.told(LegBridged)) == Counter(self.talks.joined)

    async def over(self) -> None:
        """Whoever is left can be brought together, and goes; everything has ended once."""
        left = self.alive()
        for one, other in pairwise(left):
            if self.talks.pairs.get(one) != other:
                await self.do(one, Bridge(other))
        for name in left:
            await self.do(name, HangUp())
        await self.is_true()
        for name in left:
            assert len(self.owner.of(LegEnded, self.legs[name])) == 1, name
        outcomes = Counter(settled.key for settled in self.owner.of(CommandSettled))
        assert set(outcomes.values()) == {1}
        self.owner.ack()


class Cases:
    """One after another, in one world."""

    def __init__(self, world: MediaWorld) -> None:
        self._world = world
        self._epoch = 0

    def recipes(self) -> Iterator[Recipe]:
        """Those that the node can carry out."""
        return (recipe for recipe in RECIPES if self._world.mixes or not recipe.mixes)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Case]:
        """Begins with the talk, and ends with everybody gone."""
        world = self._world
        self._epoch += 1
        owner = await world.owner(self._epoch)
        if self._epoch == 1:
            owner.put(DIRECTORY)
            await world.rest()
            await world.register(DEVICE)
            await world.until(lambda: owner.of(DeviceRegistered))
        caller, agent = await world.answered(owner), await world.answered(owner)
        case = Case(world, owner, self._epoch, {CALLER: caller, AGENT: agent, THIRD: f"{caller}.{DEVICE}"})
        await case.do(CALLER, Bridge(AGENT))
        yield case
        await case.over()
        self._epoch = case.epoch


class How(Enum):
    """What the agent knows of it."""

    SEEN = "seen"
    UNSEEN = "no agent lives when it happens"
    AFTER_DOUBT = "the agent died in the order before it"


ORDERS: dict[str, Clause] = {}


def order(check: Clause) -> Clause:
    ORDERS[check.__name__] = check
    return check


@order
async def each_recipe_is_carried_out(world: MediaWorld) -> None:
    cases = Cases(world)
    for recipe in cases.recipes():
        async with cases.one() as case:
            for name, verb in recipe.orders:
                await case.do(name, verb)
                await case.is_true()


@order
async def each_step_outlives_the_agent(world: MediaWorld) -> None:
    if not world.finds_again:
        return
    cases = Cases(world)
    for recipe in cases.recipes():
        async with cases.one() as case:
            for name, verb in recipe.orders:
                await case.do(name, verb, in_doubt=True)
            await case.is_true()


@order
async def each_party_leaves_after_each_step(world: MediaWorld) -> None:
    cases = Cases(world)
    for recipe in cases.recipes():
        for done in range(len(recipe.orders)):
            for who in (CALLER, AGENT, THIRD):
                for how in (How.SEEN, How.UNSEEN, How.AFTER_DOUBT)[: 1 + world.calls_survive + world.finds_again]:
                    async with cases.one() as case:
                        for step, (name, verb) in enumerate(recipe.orders[:done], 1):
                            await case.do(name, verb, in_doubt=step == done and how is How.AFTER_DOUBT)
                        if who in case.alive():
                            await case.leaves(who, unseen=how is How.UNSEEN)
                            case.talks.leave(who)


@order
async def each_party_leaves_in_the_middle_of_each_step(world: MediaWorld) -> None:
    cases = Cases(world)
    for recipe in cases.recipes():
        for step, (name, verb) in enumerate(recipe.orders):
            for who in (CALLER, AGENT, THIRD):
                async with cases.one() as case:
                    for earlier in recipe.orders[:step]:
                        await case.do(*earlier)
                    if who in case.alive():
                        await leaves_in(case, name, verb, who)


async def leaves_in(case: Case, name: str, verb: Verb, who: str) -> None:
    """What is ordered and the end of a call cross: either comes first, and nobody is forgotten or told twice."""
    moved = {name, verb.other if isinstance(verb, Bridge) else ""}
    before, parted = Counter(case.told()), case.talks.heard_by(who)
    case.begin(name, verb, f"crossed/{case.epoch}")
    await case.leaves(who, unseen=False)
    await case.world.done(case.owner, f"crossed/{case.epoch}")
    await case.world.rest()
    told = Counter(case.told()) - before
    assert set(told.values()) <= {1}, told
    if len(parted) == 1:
        [alone] = parted
        joined = isinstance(verb, Confer) and alone in case.talks.rooms.get(verb.conference, ())
        assert joined or alone in moved or any(one == alone for one, _ in told), (alone, told)
    # From here on it is known again who is where.
    for one in case.alive():
        await case.do(one, SILENCE)
    case.talks = Talks(joined=case.told(LegBridged), alone=case.told())
