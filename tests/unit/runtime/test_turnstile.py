"""Requests begin a few a turn of the loop, tenants one after another."""

from __future__ import annotations

import asyncio

import pytest

from tandem.core.errors import TOO_MANY, Rejected
from tandem.runtime.turnstile import MAX_WAITING, PER_TURN, Turnstile


class Crowd:
    """Requests that say when they were let in, in turns of the loop."""

    def __init__(self) -> None:
        self.stile = Turnstile()
        self.turn = 0
        self.passed: list[tuple[int, str]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, tenant: str, many: int = 1) -> None:
        self.tasks += [asyncio.create_task(self._pass(tenant)) for _ in range(many)]

    async def _pass(self, tenant: str) -> None:
        await self.stile.pass_through(tenant)
        self.passed.append((self.turn, tenant))

    async def turns(self, many: int) -> None:
        for _ in range(many):
            await asyncio.sleep(0)
            self.turn += 1


async def test_a_turn_of_the_loop_begins_no_more_than_its_budget() -> None:
    crowd = Crowd()
    crowd.come("red", 20)
    await crowd.turns(60)
    assert len(crowd.passed) == 20
    for turn in range(60):
        assert sum(at == turn for at, _ in crowd.passed) <= PER_TURN


async def test_a_storm_lets_each_other_tenant_in_after_one_of_its_own() -> None:
    crowd = Crowd()
    crowd.come("storm", 100)
    await crowd.turns(5)
    crowd.come("calm", 3)
    await crowd.turns(20)
    order = [tenant for _, tenant in crowd.passed]
    first = order.index("calm")
    assert order[first : first + 5] == ["calm", "storm", "calm", "storm", "calm"]


async def test_one_alone_does_not_wait() -> None:
    stile = Turnstile()
    passing = stile.pass_through("red")
    with pytest.raises(StopIteration):
        passing.send(None)


async def test_one_that_has_begun_goes_on_before_those_of_its_tenant_that_have_not() -> None:
    crowd = Crowd()
    crowd.come("red", 10)
    await crowd.turns(3)
    begun = len(crowd.passed)
    await crowd.stile.go_on("red")
    assert len(crowd.passed) <= begun + 2
    await asyncio.gather(*crowd.tasks)


async def test_a_client_that_has_gone_takes_nobody_s_turn() -> None:
    crowd = Crowd()
    crowd.come("red", 10)
    await crowd.turns(1)
    for task in crowd.tasks[1:9]:
        task.cancel()
    await crowd.turns(6)
    assert len(crowd.passed) == 2
    assert not crowd.stile._waiting


async def test_more_than_can_be_served_is_refused_for_that_tenant_alone() -> None:
    crowd = Crowd()
    crowd.come("storm", MAX_WAITING + 10)
    await crowd.turns(1)
    failed = [task for task in crowd.tasks if task.done() and task.exception()]
    assert failed
    for task in failed:
        error = task.exception()
        assert isinstance(error, Rejected) and error.reason is TOO_MANY
    crowd.come("calm")
    await crowd.turns(6)
    assert "calm" in [tenant for _, tenant in crowd.passed]
    for task in crowd.tasks:
        task.cancel()
