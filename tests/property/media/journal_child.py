"""A process that keeps and acknowledges events as fast as it can, to be killed: prints the number
of each event once it may be sent, `acked N` once a mark is in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from tandem.core.ports.media import Ack, Answer, Command, Event, Hello, LegHeld
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.backend import LiveLeg, MergedDirectory, Row, RowKind
from tandem.media.journal.disk import DiskStore
from tandem.media.journal.file import open_journal
from tandem.media.turn import Turns
from tandem.runtime.faults import points_from

KEY = bytes(range(32))


class Backend:
    """Does nothing."""

    def directory(self, directory: MergedDirectory) -> None: ...
    def restore(self, rows: Iterable[Row], died_ms: int) -> None: ...
    def perform(self, command: Command) -> None: ...
    def settle(self, command: Command) -> None: ...
    def owner_present(self, shard: int, present: bool) -> None: ...
    def journal_away(self, away: bool) -> None: ...
    def drain(self, on: bool) -> None: ...
    def strangers(self) -> int:
        return 0

    def let_go(self, legs: Iterable[LiveLeg]) -> None: ...
    def legs(self) -> tuple[LiveLeg, ...]:
        return ()


def main(path: Path) -> None:
    out = sys.stdout
    store = DiskStore(path)
    journal, state, _ = open_journal(store, KEY, os.urandom, os.urandom(8).hex())
    agent = MediaAgent(AgentSettings("m1", "boot"), state)
    points = points_from(os.environ, allow_faults=True)
    turns = Turns(agent, state, journal, Backend(), points)
    agent.start(0)
    agent.receive("a", Hello("live", 0, 1, state.incarnation, (("t1", 0),)), 0)
    sent = max((frame.number for _, frame in turns.run(0).sends if isinstance(frame, Event)), default=0)
    for n in count(1):
        # A row of this size makes the journal grow over its limit every few hundred turns.
        agent.remember(RowKind.LEG, "c1", {"n": n, "fill": "x" * 20_000})
        agent.emit("t1", "c1", LegHeld(), n)
        acked = sent - 10
        if n % 50 == 0:
            agent.receive("a", Ack("t1", acked), n)
            agent.receive("a", Command("t1", f"k{n}", "c1", Answer()), n)
        for _, frame in turns.run(n).sends:
            if isinstance(frame, Event):
                out.write(f"{frame.number}\n")
                sent = frame.number
        if n % 50 == 0:
            out.write(f"acked {acked}\n")
        out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
