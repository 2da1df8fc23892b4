"""An operator empties the media node: nobody new, and who is there is served to the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tandem.client.call import PhoneCall
from tandem.client.phone import Phone
from tests.e2e.cell import SHARDS, TANDEM, Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Crowd
from tests.e2e.foreign import needs_sipp, sipp
from tests.e2e.freeswitch.test_config import options
from tests.e2e.kill_checks import all_contacts
from tests.e2e.programs import Program
from tests.e2e.rest import Json

QUEUES = {"sales": ("ann",), "nobody": ("gus",)}
"""Digit 1: who talks. Digit 2: waiting for nobody."""
WITHIN_S = 4

pytestmark = needs_sipp


class Scene:
    """One who talks, one who waits, and an agent."""

    def __init__(self, cell: Cell, centre: Centre, crowd: Crowd, ann: Phone) -> None:
        self.cell, self.centre, self.crowd, self.ann = cell, centre, crowd, ann
        self.talk: tuple[PhoneCall, PhoneCall]
        self.waits: PhoneCall

    async def refused(self, home: Path) -> None:
        """Somebody who calls now gets 503."""
        async with sipp(
            home, "refused_when_full", self.cell.sip, "-s", self.centre.number, caller="4917000077"
        ) as caller:
            await caller.succeeds()

    async def contact(self, call: PhoneCall, state: str) -> Json:
        """The contact of a caller, once it is in that state."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = [one for one in await all_contacts(self.centre) if one["caller"]["value"] == call.facts.caller]
                if found and found[0]["state"] == state:
                    return found[0]
                await asyncio.sleep(0.1)

    async def hears_on(self) -> None:
        """Both of the talk hear each other for a second from now."""
        caller, agent = self.talk
        for call, hz in ((caller, agent.facts.voice_hz), (agent, caller.facts.voice_hz)):
            before = call.facts.seconds(hz)
            async with asyncio.timeout(PATIENCE_S):
                while call.facts.seconds(hz) < before + 1:
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def scene(cell: Cell) -> AsyncIterator[Scene]:
    cell.set(media__freeswitch__door="127.0.0.1:9")
    cell.start()
    async with AsyncExitStack() as stack, cell.centre(queues=QUEUES) as centre:
        crowd = Crowd(cell, centre, random.Random(1), stack)
        at = Scene(cell, centre, crowd, await crowd.agent("ann", 0))
        at.talk = await crowd.talk_sitters("1", at.ann)
        at.waits = await crowd.queue_sitter("2")
        await at.contact(at.waits, "STATE_WAITING")
        yield at


@asynccontextmanager
async def order(cell: Cell, *arguments: str) -> AsyncIterator[Program]:
    """`tandem admin drain`, which ends with the block if it has not by itself."""
    program = Program("drain", (*TANDEM, "admin", "drain", *arguments), env=cell.settings)
    try:
        yield program
    finally:
        program.stop()


async def test_a_drained_node_serves_who_is_there_and_nobody_new(own_cell: Cell, tmp_path: Path) -> None:
    """A talk goes on with its audio, a waiting caller waits on; then nobody is left, until it is undone."""
    async with scene(own_cell) as at:
        assert await options(own_cell) == 200
        async with order(own_cell) as drain:
            await asyncio.to_thread(drain.wait_line, "2 left, 1 of them talking, 1 waiting")
            assert await options(own_cell) == 503
            await at.refused(tmp_path / "new")
            await at.hears_on()
            assert own_cell.control is not None
            await asyncio.to_thread(own_cell.control.wait_line, "media node takes no new callers", count=SHARDS)
            at.crowd.hang_up(at.talk[0])
            await asyncio.to_thread(drain.wait_line, "1 left, 0 of them talking, 1 waiting")
            # The agent's phone is rung for who is here.
            assert at.waits.is_up
            at.crowd.hang_up(at.waits)
            await asyncio.to_thread(drain.wait_line, "nobody is left, it can be stopped")
            assert await asyncio.to_thread(drain.wait_end) == 0
        assert (await at.contact(at.talk[0], "STATE_ENDED"))["outcome"] == "OUTCOME_HANDLED"
        # Who starts it again does not undo it.
        await asyncio.to_thread(restart, own_cell)
        assert await options(own_cell) == 503
        await at.refused(tmp_path / "later")
        undone = own_cell.command("admin", "drain", "--undo")
        assert (undone.returncode, undone.stdout) == (0, "node m1 takes callers\n"), undone.stderr
        assert await options(own_cell) == 200
        assert (await at.crowd.menu_sitter()).is_up


async def test_who_waits_too_long_is_let_go_with_the_place_kept_and_a_talk_goes_on(own_cell: Cell) -> None:
    """As for a node that is lost: the contact ends so, and queue and time of it stand in the history."""
    async with scene(own_cell) as at:
        before = await at.contact(at.waits, "STATE_WAITING")
        async with order(own_cell, "--within", str(WITHIN_S)) as drain:
            await asyncio.to_thread(drain.wait_line, f"who waits is let go in {WITHIN_S} s")
            await at.waits.until_over()
            over = await at.contact(at.waits, "STATE_ENDED")
            assert (over["outcome"], over["endedBy"]) == ("OUTCOME_MEDIA_LOST", "ENDED_BY_NODE")
            assert (over["queue"], over["enqueueTime"]) == (before["queue"], before["enqueueTime"])
            await at.hears_on()
            at.crowd.hang_up(at.talk[0])
            await asyncio.to_thread(drain.wait_line, "nobody is left")
        assert (await at.contact(at.talk[0], "STATE_ENDED"))["outcome"] == "OUTCOME_HANDLED"


async def test_without_a_node_the_order_says_so(own_cell: Cell) -> None:
    own_cell.start()
    own_cell.kill_media()
    told = await asyncio.to_thread(own_cell.command, "admin", "drain")
    assert told.returncode == 1
    assert "is not there: is it started?" in told.stderr


def restart(cell: Cell) -> None:
    """Another life of all that the node is, until the owners have it."""
    assert cell.control is not None
    ups = sum("media node up" in line for line in cell.control.lines)
    cell.kill_media()
    if cell.switch is not None:
        cell.switch.kill()
    media = cell.start_media()
    cell.control.wait_line("media node up", count=ups + SHARDS)
    if cell.switch is not None:
        media.wait_line("FreeSWITCH answers")
