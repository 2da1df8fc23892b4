"""What the parts of the node share: the legs, what is known, and the ways out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tandem.core.ports.entropy import Entropy
from tandem.core.ports.media import (
    By,
    Cause,
    CommandSettled,
    LegEnded,
    LegUnbridged,
    MediaEvent,
    Outcome,
)
from tandem.media.backend import MergedDirectory, RowKind, Sink
from tandem.media.builtin.causes import reason_of
from tandem.media.builtin.config import BuiltinConfig
from tandem.media.builtin.goodbyes import Goodbyes
from tandem.media.builtin.leg import Leg, Stage
from tandem.media.builtin.stream import Session, Stream
from tandem.media.builtin.timers import Timers
from tandem.wire.sdp import LocalAudio, Negotiation
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.guard import Guard
from tandem.wire.wav import Audio


class Ports(Protocol):
    """Sockets for audio, as the node sees them."""

    def open(self) -> int | None:
        """A pair of ports (RTP and the next one); the first's number, or None if all are taken."""
        ...

    def close(self, port: int) -> None:
        """Give the pair back."""
        ...


class Spool(Protocol):
    """Files of recordings under way. Each call returns at once; the node is told the end by
    `recording_begun`, `recording_stored`, `recording_cut` or `recording_failed`."""

    def begin(self, name: str, header: bytes) -> None:
        """Make the file of a new recording."""
        ...

    def append(self, name: str, chunk: bytes) -> None:
        """Add a sealed chunk."""
        ...

    def finish(self, name: str, *, truncated: bool = False) -> None:
        """Copy the file to Blobs under its name and remove it; `truncated` for one that an
        earlier life left behind, or that was cut."""
        ...


@dataclass(frozen=True, slots=True)
class OpenRecording:
    """A recording that is not stored yet; its leg may be long gone."""

    tenant: str
    leg: str
    recording: str


@dataclass(slots=True)
class Board:
    """Shared by the node's parts. Holds no time: `now` is CLOCK_BOOTTIME in seconds."""

    config: BuiltinConfig
    entropy: Entropy
    sink: Sink
    endpoint: Endpoint
    ports: Ports
    spool: Spool
    prompts: Mapping[str, Audio]
    guard: Guard
    timers: Timers = field(default_factory=Timers)
    legs: dict[str, Leg] = field(default_factory=dict)
    leg_of_call: dict[str, str] = field(default_factory=dict)
    leg_of_port: dict[int, str] = field(default_factory=dict)
    recordings: dict[str, OpenRecording] = field(default_factory=dict)
    """By blob name, from `RecordStart` until stored or failed."""
    directory: MergedDirectory | None = None
    owners: set[int] = field(default_factory=set)
    goodbyes: Goodbyes = field(init=False)
    journal_away: bool = False
    """Nothing that is told is written down: no call may begin."""
    draining: bool = False
    """An operator empties the node."""

    def __post_init__(self) -> None:
        self.goodbyes = Goodbyes(self.sink, self.timers)

    # ------------------------------------------------------------------ telling

    def emit(self, leg: Leg, body: MediaEvent, now: float) -> None:
        """Something happened to a leg."""
        self.sink.emit(leg.tenant, leg.id, body, media_ms(now))

    def settle(self, tenant: str, leg: str, key: str | None, now: float, reason: str = "") -> None:
        """A command ended: done, or failed for a reason. Nothing for a key of None."""
        if key is not None:
            outcome = Outcome.FAILED if reason else Outcome.DONE
            self.sink.emit(tenant, leg, CommandSettled(key, outcome, reason), media_ms(now))

    def note(self, leg: Leg) -> None:
        """Journal what a restarted node needs to end the leg properly."""
        dialog = self.endpoint.dialog(leg.call) if leg.call else None
        row: dict[str, Any] = {"tenant": leg.tenant, "shard": leg.shard, "inbound": leg.inbound}
        row["dialog"] = dialog.to_dict() if dialog is not None else None
        row["invite"] = leg.invite if leg.stage is Stage.ARRIVED else None
        pending = self.endpoint.pending(leg.call) if leg.stage is Stage.CALLING else None
        row["pending"] = pending.to_dict() if pending is not None else None
        leg.row = row
        self.sink.remember(RowKind.LEG, leg.id, row)

    # ------------------------------------------------------------------ legs

    def add(self, leg: Leg) -> None:
        """A leg begins."""
        self.legs[leg.id] = leg
        if leg.port:
            self.leg_of_port[leg.port] = leg.id
        if leg.call:
            self.leg_of_call[leg.call] = leg.id

    def bind_call(self, leg: Leg, call: str) -> None:
        """The leg's SIP call has a handle now."""
        leg.call = call
        self.leg_of_call[call] = leg.id

    def negotiation(self, port: int) -> Negotiation:
        """For a new leg on that RTP port."""
        session_id = int.from_bytes(self.entropy.secret(7), "big")
        return Negotiation(LocalAudio(self.config.host, port), session_id)

    def talk(self, leg: Leg, session: Session, now: float) -> None:
        """Both sides have agreed: audio flows, or flows differently."""
        if leg.stream is None:
            leg.stream = Stream(self.entropy.secret(10), session, now)
        else:
            leg.stream.agree(session, now)
        self.timers.set("media", leg.id, now + self.config.rtp_timeout_s)

    def give_up(self, leg: Leg, cause: Cause, now: float, detail: str) -> None:
        """The node itself ends the leg: BYE or CANCEL."""
        self.endpoint.hangup(leg.call, now, reason=reason_of(cause))
        self.end(leg, cause, By.NODE, now, detail)

    def end(self, leg: Leg, cause: Cause, by: By, now: float, detail: str = "") -> None:
        """Take the leg off and tell everybody. Its SIP call is the caller's to end.

        Order: the leg's end, the peer that is left, what was commanded, and last the rows,
        so that a death in between tells the end again and not never.
        """
        del self.legs[leg.id]
        self.leg_of_port.pop(leg.port, None)
        self.leg_of_call.pop(leg.call, None)
        for what in ("ring", "fallback", "collect", "media"):
            self.timers.cancel(what, leg.id)
        if leg.port:
            self.ports.close(leg.port)
        self.emit(leg, LegEnded(cause, by, leg.rang_ms(now), detail), now)
        if leg.peer is not None:
            self.part(leg, now)
        self.stop_recording(leg, now)
        self._settle_all(leg, cause, now)
        self.sink.remember(RowKind.LEG, leg.id, None)
        if by is not By.FAR and leg.row is not None:
            self.goodbyes.keep(leg.id, leg.row, leg.call, now)

    def _settle_all(self, leg: Leg, cause: Cause, now: float) -> None:
        self.settle(leg.tenant, leg.id, leg.originate_key, now, cause.value)
        self.settle(leg.tenant, leg.id, leg.play_key, now, "LEG_GONE")
        if leg.collection is not None:
            self.settle(leg.tenant, leg.id, leg.collection.key, now, "LEG_GONE")

    def part(self, leg: Leg, now: float) -> None:
        """End the bridge of a leg: the other one is left, silent and up."""
        peer = self.legs.get(leg.peer or "")
        leg.peer = leg.music = None
        if peer is not None:
            peer.peer = peer.music = None
            self.emit(peer, LegUnbridged(leg.id), now)

    def stop_recording(self, leg: Leg, now: float) -> None:
        """End the leg's recording, if there is one: the spool stores it in its own time."""
        recording = leg.recording
        if recording is None:
            return
        leg.recording = None
        self.settle(leg.tenant, leg.id, recording.start_key, now)
        rest = recording.tape.end()
        if rest is not None:
            self.spool.append(recording.name, rest)
        self.spool.finish(recording.name)

    def callers(self) -> int:
        """Inbound legs that live."""
        return sum(leg.inbound for leg in self.legs.values())


def media_ms(now: float) -> int:
    """Media time in milliseconds."""
    return int(now * 1000)
