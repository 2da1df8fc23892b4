"""A node's CLOCK_BOOTTIME in terms of our own (spine 5)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SAMPLES = 16
"""Round trips remembered: half a minute of pings. Older ones would hold on to an offset from which
the two clocks have drifted away by then."""


@dataclass(frozen=True, slots=True)
class _Sample:
    round_trip_ms: int
    ahead_ms: int


class NodeTime:
    """The same boot has the same clock; another host's is told by the fastest round trip."""

    def __init__(self, own_boot_id: str) -> None:
        self._own_boot_id = own_boot_id
        self._boot_id = ""
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)

    def begin(self) -> None:
        """A new stream, perhaps to another boot: what was measured before counts no more."""
        self._boot_id = ""
        self._samples.clear()

    def boot(self, boot_id: str) -> None:
        """The node's boot id, as its `Welcome` says it. A pong may have come before."""
        self._boot_id = boot_id

    def sample(self, sent_ms: int, node_ms: int, received_ms: int) -> None:
        """One round trip: our clock before and after, and the node's in between."""
        self._samples.append(_Sample(received_ms - sent_ms, node_ms - (sent_ms + received_ms) // 2))

    def ours(self, node_ms: int) -> int:
        """Our CLOCK_BOOTTIME at that moment of the node's, milliseconds."""
        if self._boot_id == self._own_boot_id or not self._samples:
            return node_ms
        return node_ms - min(self._samples, key=lambda sample: sample.round_trip_ms).ahead_ms
