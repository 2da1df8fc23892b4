"""A recording while it is made: frames in, sealed chunks out."""

from __future__ import annotations

from tandem.core.recording import CHANNELS, CHUNK_FRAMES, Sealer
from tandem.media.builtin.sound import FRAME
from tandem.wire import g711
from tandem.wire.g711 import Law

_SILENT_FRAME = g711.silence(Law.MU, FRAME)


class Tape:
    """Both channels of one recording. Wall time is kept: each frame of time is recorded, and
    what was not heard is silence. Plain audio is in memory only, at most 200 ms of it."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._left = bytearray()
        self._right = bytearray()

    def add(self, left: bytes | None, right: bytes | None) -> bytes | None:
        """20 ms of mu-law for each channel, None for silence; a sealed chunk when one is full."""
        self._left += left or _SILENT_FRAME
        self._right += right or _SILENT_FRAME
        return self._seal() if len(self._left) >= CHUNK_FRAMES else None

    def end(self) -> bytes | None:
        """What was not yet sealed, if anything."""
        return self._seal() if self._left else None

    def _seal(self) -> bytes:
        frames = bytearray(CHANNELS * len(self._left))
        frames[0::CHANNELS] = self._left
        frames[1::CHANNELS] = self._right
        self._left.clear()
        self._right.clear()
        return self._sealer.seal(bytes(frames))
