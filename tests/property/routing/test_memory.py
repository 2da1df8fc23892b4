"""A desk's indexes do not grow with what is over."""

from __future__ import annotations

from random import Random

import pytest

from tandem.core.errors import Rejected
from tandem.core.flow import SkillNeed
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Stage
from tests.support.desk_world import DeskWorld

NOBODY_HAS = (SkillNeed("klingon", 100),)


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_random_events_leave_bounded_heaps(seed: int) -> None:
    """One waits at the head for ever and one agent is idle for ever; the others come and go."""
    random, world = Random(seed), DeskWorld(watched=False)
    world.queue()
    world.ready("idle", skills=(SkillNeed("idle", 1),))
    world.queue("other")
    for agent in ("ana", "ben", "cho"):
        world.ready(agent, "other")
    world.caller("head", skills=NOBODY_HAS, priority=9)
    count = 0
    while len(world.events) < 10_000:
        count += 1
        match random.randrange(6):
            case 0:
                world.caller(f"c{count}", skills=NOBODY_HAS)
            case 1:
                world.caller(f"c{count}", "other")
            case 2 if len(world.desk.entries) > 1:
                contact = random.choice([name for name in world.desk.entries if name != "head"])
                world.do(w.RemoveContact(contact, "ABANDONED"))
            case 3:
                agent, presence = random.choice(["ana", "ben", "cho"]), random.choice([w.AVAILABLE, "Break"])
                world.do(w.SetPresence(agent, presence))
            case 4 if world.offers:
                offer = random.choice(sorted(world.offers))
                if world.desk.reservations[offer].stage is Stage.ACCEPTED:
                    world.end(offer)
                elif random.random() < 0.5:
                    world.accept(offer)
                else:
                    world.close(offer, random.choice([w.Outcome.REJECTED, w.Outcome.TIMEOUT, w.Outcome.RESCINDED]))
            case _:
                world.pass_ms(random.choice([100, 20_000]))
        world.bounded()
    world.check()
    assert "head" in world.desk.entries


def test_those_who_gave_up_behind_a_head_that_waits_are_forgotten() -> None:
    world = DeskWorld(watched=False)
    world.queue()
    world.caller("head")
    for index in range(5000):
        world.caller(f"c{index}")
        world.do(w.RemoveContact(f"c{index}", "ABANDONED"))
        world.bounded()
    with pytest.raises(Rejected):
        world.do(w.SetPresence("nobody", w.AVAILABLE))
    assert [entry.contact for entry in world.desk.line("sales")] == ["head"]
