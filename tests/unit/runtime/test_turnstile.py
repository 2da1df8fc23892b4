"""Requests have one of some turns of the loop, tenants one after another."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tandem.core.errors import TOO_MANY, Rejected
from tandem.runtime.turnstile import MAX_WAITING, TURNS, Turnstile


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


async def test_between_two_requests_some_turns_belong_to_others() -> None:
    crowd = Crowd()
    crowd.come("red", 20)
    await crowd.turns(21 * TURNS)
    assert len(crowd.passed) == 20
    at = [turn for turn, _ in crowd.passed]
    assert {later - earlier for earlier, later in pairwise(at[1:])} == {TURNS}


async def test_a_storm_lets_each_other_tenant_in_after_one_of_its_own() -> None:
    crowd = Crowd()
    crowd.come("storm", 100)
    await crowd.turns(3 * TURNS)
    crowd.come("calm", 3)
    await crowd.turns(8 * TURNS)
    order = [tenant for _, tenant in crowd.passed]
    first = order.index("calm")
    assert order[first : first + 5] == ["calm", "storm", "calm", "storm", "calm"]
    await asyncio.gather(*crowd.tasks)


async def test_one_alone_does_not_wait() -> None:
    stile = Turnstile()
    passing = stile.pass_through("red")
    with pytest.raises(StopIteration):
        passing.send(None)


async def test_one_that_has_begun_goes_on_at_once_where_nobody_waits_and_the_next_waits_for_both() -> None:
    crowd = Crowd()
    await crowd.stile.pass_through("red")
    going_on = crowd.stile.go_on("red")
    with pytest.raises(StopIteration):
        going_on.send(None)
    await crowd.turns(TURNS - 1)
    await crowd.stile.go_on("red")
    crowd.come("calm")
    await crowd.turns(TURNS - 1)
    assert crowd.passed == []
    await crowd.turns(2)
    assert [tenant for _, tenant in crowd.passed] == ["calm"]


async def test_one_that_has_begun_goes_on_before_those_of_its_tenant_that_have_not() -> None:
    crowd = Crowd()
    crowd.come("red", 10)
    await crowd.turns(2 * TURNS)
    begun = len(crowd.passed)
    await crowd.stile.go_on("red")
    assert len(crowd.passed) <= begun + 1
    await asyncio.gather(*crowd.tasks)


async def test_a_client_that_has_gone_takes_nobody_s_turn() -> None:
    crowd = Crowd()
    crowd.come("red", 10)
    await crowd.turns(1)
    for task in crowd.tasks[1:9]:
        task.cancel()
    await crowd.turns(3 * TURNS)
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
    await crowd.turns(3 * TURNS)
    assert "calm" in [tenant for _, tenant in crowd.passed]
    for task in crowd.tasks:
        task.cancel()
