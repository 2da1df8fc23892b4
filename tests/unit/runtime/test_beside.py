"""Work beside a block: both end, in which order, and whose failure is told."""

from __future__ import annotations

import asyncio

import pytest

from tandem.runtime.beside import beside


async def test_the_work_has_ended_when_the_block_is_left() -> None:
    said: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)  # an end that takes a turn of the loop
            said.append("work ended")

    async with beside(work()):
        await asyncio.sleep(0)
        said.append("inside")
    said.append("after")
    assert said == ["inside", "work ended", "after"]


async def test_a_block_that_fails_ends_the_work_too() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="of the block")):
        async with beside(work()):
            await asyncio.sleep(0)
            raise ValueError("of the block")
    assert ended.is_set()


async def test_a_failure_of_the_work_ends_the_block() -> None:
    async def work() -> None:
        raise ValueError("of the work")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="of the work")):
        async with beside(work()):
            await asyncio.get_running_loop().create_future()
