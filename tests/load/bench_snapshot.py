"""How long a snapshot holds up the loop: `python tests/load/bench_snapshot.py [CONTACTS ...]`.

Callers wait in one tenant's line, decided by the real deciders. The peer is the same state
packed in one piece. Printed are the longest stretch without a pause, in time of this thread, so that
a busy machine does not count, and its ratio to the peer.
"""

from __future__ import annotations

import gc
import sys
import time
from itertools import chain

from tandem.core.ports import media
from tandem.core.seal import Secret
from tandem.runtime.ledger import Ledger
from tandem.runtime.snapshot import Writer
from tandem.runtime.step import Offer
from tandem.runtime.upkeep import SLICE_S
from tandem.session.domain import words as sw
from tests.support.small_cell import NODE, TENANT, SmallCell

BATCH = 50


def waiting(contacts: int) -> SmallCell:
    """A cell in which so many callers wait for sales."""
    cell = SmallCell()
    cell.configure()
    for first in range(0, contacts, BATCH):
        for index in range(first, min(first + BATCH, contacts)):
            for command in _calls(f"c{index:06d}", cell.shard.now_ms):
                cell.numbers += 1
                offer = Offer(f"media/{NODE}/i1/{TENANT}", cell.numbers, TENANT, f"contact/c{index:06d}", command)
                cell.shard.offer(offer)
        cell.settle()
        cell.log.clear()
        cell.performed.clear()
    return cell


def _calls(contact: str, now_ms: int) -> tuple[object, ...]:
    return (
        sw.TakeCall(NODE, now_ms, "100", Secret(b"+4420111")),
        sw.NoteLeg(NODE, contact, now_ms, media.LegAnswered()),
        sw.TakeDigits(contact, now_ms, "menu#1", Secret(b"1"), media.Collected.COMPLETE),
    )


def in_one_piece(ledger: Ledger) -> float:
    """Seconds."""
    began = time.thread_time()
    list(ledger.parts())
    return time.thread_time() - began


def in_slices(ledger: Ledger) -> tuple[float, float]:
    """Seconds of the longest stretch, and of all together."""
    longest = whole = 0.0
    began = time.thread_time()
    writer = Writer(ledger.group, chain((ledger.head(),), ledger.rows_at(ledger.moment())))
    for _ in writer.blocks(time.thread_time, SLICE_S):
        took = time.thread_time() - began
        longest, whole = max(longest, took), whole + took
        began = time.thread_time()
    return longest, whole


def main() -> None:
    """Print a line a size."""
    for contacts in [int(text) for text in sys.argv[1:]] or [10_000, 100_000]:
        ledger = waiting(contacts).shard.ledger
        gc.collect()
        gc.freeze()
        piece = in_one_piece(ledger)
        stretches = [in_slices(ledger) for _ in range(3)]
        longest, whole = min(stretches)
        print(
            f"{contacts} waiting: in one piece {piece * 1000:.0f} ms; longest stretch {longest * 1000:.1f} ms "
            f"of {whole * 1000:.0f} ms in all; ratio {piece / longest:.0f}"
        )


if __name__ == "__main__":
    main()
