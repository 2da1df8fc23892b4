"""Tandem with a bug: `python -m tests.e2e.planted NAME run all ...`. The bugs that kill tests must catch."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from tandem.__main__ import main
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import Perform, Settle, Turn
from tandem.media.builtin.registrations import Registrations
from tandem.media.builtin.restart import Restart
from tandem.media.builtin.spool import FileSpool
from tandem.runtime.driver import ShardDriver
from tandem.runtime.ledger import Ledger
from tandem.runtime.outputs import Output
from tandem.runtime.shard import Shard
from tandem.runtime.step import Answered


def replies_leave_when_decided() -> None:
    """And the log is written a moment later (`before_append`)."""
    turn = Shard.turn

    def early(self: Shard, now: Any) -> list[Output]:
        outputs = turn(self, now)
        left: list[Output] = []
        for record in self._in_flight:
            left += [one for one in record.held if isinstance(one, Answered)]
            record.held[:] = [one for one in record.held if not isinstance(one, Answered)]
        return left + outputs

    append = ShardDriver._append

    def late(self: ShardDriver, shard: Shard, body: bytes) -> None:
        asyncio.get_running_loop().call_later(0.02, lambda: append(self, shard, body))

    Shard.turn = early  # type: ignore[method-assign]
    ShardDriver._append = late  # type: ignore[method-assign]


def requests_are_not_remembered() -> None:
    """A client whose reply was lost repeats it (`appended`)."""
    Ledger.apply_reply = lambda self, reply: None  # type: ignore[method-assign]


def pending_effects_are_not_offered_again() -> None:
    """What was durable and had not left never leaves (`read_back`)."""
    Shard._offer_pending = lambda self, whose: None  # type: ignore[method-assign]


def a_ring_in_doubt_is_repeated() -> None:
    """What was written down and has no outcome is done again (`journalled`)."""
    take = MediaAgent.take

    def again(self: MediaAgent) -> Turn:
        turn = take(self)
        turn.calls = [Perform(call.command) if isinstance(call, Settle) else call for call in turn.calls]
        return turn

    MediaAgent.take = again  # type: ignore[method-assign]


def deaths_are_told_as_of_the_return() -> None:
    """A contact ends when its node is back, not when it died."""
    lost = Restart.lost
    Restart.lost = lambda self, leg, row, died_ms, now: lost(self, leg, row, int(now * 1000), now)  # type: ignore[method-assign]


def registrations_die_with_the_node() -> None:
    """Phones would have to register anew."""
    restore = Registrations.restore
    Registrations.restore = lambda self, rows, now: restore(self, [], now)  # type: ignore[method-assign]


def recordings_are_buffered() -> None:
    """The spool writes every three seconds."""
    append = FileSpool.append
    kept: dict[str, list[bytes]] = {}

    def late(self: FileSpool, name: str, chunk: bytes) -> None:
        chunks = kept.setdefault(name, [])
        chunks.append(chunk)
        if len(chunks) == 15:
            for one in kept.pop(name):
                append(self, name, one)

    FileSpool.append = late  # type: ignore[method-assign]


PLANTED: dict[str, Callable[[], None]] = {
    plant.__name__: plant
    for plant in (
        replies_leave_when_decided,
        requests_are_not_remembered,
        pending_effects_are_not_offered_again,
        a_ring_in_doubt_is_repeated,
        deaths_are_told_as_of_the_return,
        registrations_die_with_the_node,
        recordings_are_buffered,
    )
}


if __name__ == "__main__":
    PLANTED[sys.argv.pop(1)]()
    main()
