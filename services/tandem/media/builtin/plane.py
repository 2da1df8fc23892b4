"""The audio of all legs: one tick makes 20 ms for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tandem.media.builtin.leg import Leg, Recording
from tandem.media.builtin.sound import FRAME
from tandem.media.builtin.stream import Address, Stream
from tandem.wire import g711
from tandem.wire.g711 import Law

_SILENCE = {law: g711.silence(law, FRAME) for law in Law}


class Sent(NamedTuple):
    """A datagram for a leg's socket."""

    port: int
    data: bytes
    target: Address


class Taped(NamedTuple):
    """A sealed chunk of a recording."""

    name: str
    chunk: bytes


class Tick:
    """What one tick brought."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.heard: list[tuple[Leg, bytes | None, bytes | None]] = []
        """Recorded legs with what they said and heard, for `record`."""
        self.taped: list[Taped] = []
        self.over: list[str] = []
        """Legs whose playlist has ended."""
        self.broken: list[tuple[str, Exception]] = []
        """Legs whose audio could not be made: a fault of ours."""


def play(legs: Mapping[str, Leg], tick: Tick) -> None:
    """Make the next frame of every leg that has audio."""
    said = {leg.id: leg.stream.take() for leg in legs.values() if leg.stream is not None}
    for leg in legs.values():
        if leg.stream is not None:
            try:
                _play(leg, leg.stream, legs, said, tick)
            except Exception as error:  # noqa: BLE001 - a fault in one leg's audio must not silence the others
                tick.broken.append((leg.id, error))


def _play(leg: Leg, stream: Stream, legs: Mapping[str, Leg], said: Mapping[str, bytes | None], tick: Tick) -> None:
    heard = _heard(leg, legs, said, tick)
    packet = stream.send(heard if heard is not None else _SILENCE[stream.law])
    if packet is not None:
        tick.sent.append(Sent(leg.port, *packet))
    if leg.recording is not None:
        tick.heard.append((leg, said[leg.id], heard))


def _heard(leg: Leg, legs: Mapping[str, Leg], said: Mapping[str, bytes | None], tick: Tick) -> bytes | None:
    """What the leg hears in this frame, in its own law; None for silence."""
    stream = leg.stream
    assert stream is not None
    if leg.music is not None:
        return leg.music.take(stream.law)
    if leg.peer is not None:
        peer = legs[leg.peer].stream
        audio = said[leg.peer]
        return g711.transcode(peer.law, stream.law, audio) if peer is not None and audio is not None else None
    if leg.playlist is not None:
        frame = leg.playlist.take(stream.law)
        if frame is None:
            leg.playlist = None
            tick.over.append(leg.id)
        return frame
    return None


def record(tick: Tick) -> None:
    """Put the frame on tape. To seal what is full takes longer than all the rest, so its packets go first."""
    for leg, said, heard in tick.heard:
        if leg.stream is not None and leg.recording is not None:
            try:
                _record(leg.stream.law, leg.recording, said, heard, tick)
            except Exception as error:  # noqa: BLE001 - as in `play`
                tick.broken.append((leg.id, error))


def _record(law: Law, recording: Recording, said: bytes | None, heard: bytes | None, tick: Tick) -> None:
    if recording.paused:
        said = heard = None
    left = g711.transcode(law, Law.MU, said) if said is not None else None
    right = g711.transcode(law, Law.MU, heard) if heard is not None else None
    chunk = recording.tape.add(left, right)
    if chunk is not None:
        tick.taped.append(Taped(recording.name, chunk))


def skip(legs: Mapping[str, Leg], frames: int, tick: Tick) -> None:
    """Let time pass that was missed: nothing is sent, recordings get silence."""
    for leg in legs.values():
        if leg.stream is not None:
            leg.stream.skip(frames)
        if leg.recording is not None:
            for _ in range(frames):
                chunk = leg.recording.tape.add(None, None)
                if chunk is not None:
                    tick.taped.append(Taped(leg.recording.name, chunk))
