"""The timers of a live shard: effects that are due at a time, on a wheel (rule 9, spine 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tandem.core.commit import Effect
from tandem.runtime.ledger import Ledger
from tandem.runtime.step import Offer
from tandem.runtime.wheel import Wheel

WAKE_AGAIN_MS = 60_000
"""A timer whose command was refused comes again after so long, where nobody else does its work."""
ASK_AGAIN_MS = 1_000
"""An effect that is overdue is offered again after at least so long."""


class Timers:
    """Pending effects by when they are due. Nothing is cancelled: one that is settled is passed over or thinned out."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._wheel = Wheel()

    def __len__(self) -> int:
        """Timers in memory."""
        return len(self._wheel)

    def begin(self) -> None:
        """Arm all that is pending."""
        for key, pending in self._ledger.pending.items():
            self._wheel.arm(key, pending.effect.at_ms)

    def add(self, effects: Sequence[Effect]) -> None:
        """New ones; some older ones that are settled go from memory for it."""
        for effect in effects:
            self._wheel.arm(effect.key, effect.at_ms)
        self._wheel.thin(2 * len(effects), self._ledger.pending)

    def again(self, keys: Iterable[str], now_ms: int) -> None:
        """Timers whose command was refused."""
        for key in keys:
            self._wheel.arm(key, now_ms + WAKE_AGAIN_MS)

    def due(self, now_ms: int) -> tuple[list[Offer], set[str]]:
        """Wakes that are due, as inputs, and the keys of other effects, which will be due again."""
        wakes: list[Offer] = []
        overdue: set[str] = set()
        for _, key in self._wheel.due(now_ms):
            pending = self._ledger.pending.get(key)
            if pending is None:
                continue  # settled before it was due
            effect = pending.effect
            if effect.kind == "wake":
                wakes.append(Offer("wake", 0, effect.tenant, effect.stream, pending.payload, effect.part, settles=key))
            else:
                overdue.add(key)
                self._wheel.arm(key, now_ms + max(ASK_AGAIN_MS, now_ms - effect.at_ms))
        return wakes, overdue

    def next_ms(self) -> int | None:
        """When something is due at the earliest; None if nothing is armed."""
        return self._wheel.next_ms()
