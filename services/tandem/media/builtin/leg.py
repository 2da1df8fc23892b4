"""A leg of the built-in node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tandem.media.builtin.collection import Collection
from tandem.media.builtin.sound import Playlist
from tandem.media.builtin.stream import Stream
from tandem.media.builtin.tape import Tape
from tandem.wire.sdp import Answer, Negotiation


class Stage(StrEnum):
    """How far a leg has come."""

    ARRIVED = "ARRIVED"  # a caller hears it ringing
    CALLING = "CALLING"  # a device is asked to ring
    UP = "UP"  # answered
    FALLBACK = "FALLBACK"  # answered by the node itself, which plays the apology


@dataclass(slots=True)
class Recording:
    """The recording of a leg that is under way."""

    id: str
    name: str
    """The blob that it will be."""
    tape: Tape
    start_key: str | None
    """The `RecordStart` that settles when the spool file is there."""
    paused: bool = False
    """Silence is recorded in place of what is said."""


@dataclass(slots=True)
class Leg:
    """One phone's connection. Refers to others by id, never by reference."""

    id: str
    tenant: str
    shard: int
    stage: Stage
    inbound: bool
    began: float
    call: str = ""
    """The SIP endpoint's handle."""
    stranger: str = ""
    """The address that an inbound call came from, if nobody knows it."""
    negotiation: Negotiation | None = None
    """Once a port is there."""
    row: dict[str, Any] | None = None
    """As it stands in the journal."""
    invite: str | None = None
    """The caller's INVITE, which a restarted node refuses in its place."""
    prepared: Answer | None = None
    """What a ringing caller will be answered; None if it wants our offer."""
    port: int = 0
    """Our RTP port."""
    stream: Stream | None = None
    """From the moment that both sides agreed."""

    # what it hears
    peer: str | None = None
    """The leg that it is bridged to."""
    playlist: Playlist | None = None
    music: Playlist | None = None
    """While the peer has put it on hold."""
    play_key: str | None = None
    """The `Play` that settles when the playlist ends or is replaced."""
    collection: Collection | None = None

    recording: Recording | None = None

    # outbound
    originate_key: str | None = None
    ring_limit_s: float = 0.0
    rang_since: float | None = None
    rang_until: float | None = None

    @property
    def held(self) -> bool:
        """The phone has put us on hold."""
        return self.stream is not None and self.stream.session.held

    def rang_ms(self, now: float) -> int:
        """How long the device has rung."""
        until = now if self.rang_until is None else self.rang_until
        return 0 if self.rang_since is None else round((until - self.rang_since) * 1000)
