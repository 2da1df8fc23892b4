"""What a leg hears when it is not talking: clips, one after another."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.wire import g711
from tandem.wire.g711 import Law
from tandem.wire.wav import Audio

FRAME = 160
"""Samples of 20 ms."""


class Playlist:
    """Clips without a pause between them, in frames of 20 ms; looping, they never end."""

    def __init__(self, clips: Sequence[Audio], *, loop: bool = False) -> None:
        self._clips = tuple(clip for clip in clips if clip.samples)
        self._loop = loop and bool(self._clips)
        self._clip = 0
        self._offset = 0

    def take(self, law: Law) -> bytes | None:
        """The next frame, the last one filled up with silence; None once it is over."""
        frame = self._piece(law, FRAME)
        if len(frame) == FRAME:
            return frame
        while len(frame) < FRAME:
            piece = self._piece(law, FRAME - len(frame))
            if not piece:
                return frame + g711.silence(law, FRAME - len(frame)) if frame else None
            frame += piece
        return frame

    def _piece(self, law: Law, samples: int) -> bytes:
        """What is left of the present clip, at most so many samples; b"" when all are over."""
        if self._clip == len(self._clips):
            if not self._loop:
                return b""
            self._clip = 0
        clip = self._clips[self._clip].of(law)
        piece = clip[self._offset : self._offset + samples]
        self._offset += len(piece)
        if self._offset == len(clip):
            self._clip, self._offset = self._clip + 1, 0
        return piece
