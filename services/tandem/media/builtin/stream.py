"""The RTP of one leg: whom it is sent to, what comes in, what goes out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tandem.media.builtin.sound import FRAME
from tandem.wire import g711, rtp, sdp
from tandem.wire.dtmf import EventPacket, EventReceiver, EventSender
from tandem.wire.g711 import Law

Address = tuple[str, int]

MAX_PRESSED = 32
"""Digits that wait to be sent; more is a stuck key."""

_LAW_OF_TYPE = {law.payload_type: law for law in Law}


@dataclass(frozen=True, slots=True)
class Session:
    """What the two sides agreed on."""

    law: Law
    payload_type: int
    address: Address
    """Where the phone says that it listens."""
    event_type: int | None
    """RTP payload type of digits, None if the phone cannot take or send them."""
    we_send: bool = True
    they_send: bool = True

    @classmethod
    def of(cls, agreed: sdp.Audio) -> Session:
        """From an SDP agreement."""
        return cls(
            Law(agreed.codec), agreed.payload_type, (agreed.host, agreed.port), agreed.digits_payload_type,
            agreed.direction.sends, agreed.direction.receives,
        )  # fmt: skip

    @property
    def held(self) -> bool:
        """The phone has put us on hold: it does not want to hear us."""
        return not self.we_send


class Stream:
    """One leg's audio in both directions. Sequence and timestamps never start over, so that
    a phone sees one stream from answer to end."""

    def __init__(self, seed: bytes, session: Session, now: float) -> None:
        """`seed` is 10 random bytes: the source id and where the numbers start (RFC 3550, 5.1)."""
        self._ssrc = int.from_bytes(seed[0:4], "big")
        self._sequence = int.from_bytes(seed[4:6], "big")
        self._timestamp = int.from_bytes(seed[6:10], "big")
        self.session = session
        self.last_heard = now
        self._target = session.address
        self._latched = False
        self._began = False
        self._digits = EventReceiver()
        self._pressed: deque[str] = deque(maxlen=MAX_PRESSED)
        self._event: EventSender | None = None
        self._buffer = rtp.ReceiveBuffer(session.law.silence)
        self.foreign = 0
        """Packets from somebody else than our phone."""

    @property
    def law(self) -> Law:
        """The law of both directions."""
        return self.session.law

    def agree(self, session: Session, now: float) -> None:
        """A new agreement (hold, resume, another address). Only another address in it lets
        the stream follow another source."""
        if session.address != self.session.address:
            self._target, self._latched = session.address, False
        if session.law is not self.session.law:
            self._buffer = rtp.ReceiveBuffer(session.law.silence)
        self.session = session
        self.last_heard = now

    def receive(self, data: bytes, source: Address, now: float) -> str | None:
        """Take a datagram; a digit if one begins with it.

        The first valid packet tells where the phone really is (behind NAT the SDP does not
        know); from then on nobody else is heard.
        """
        if self._latched and source != self._target:
            self.foreign += 1
            return None
        packet = rtp.parse(data)
        if packet is None:
            return None
        session, kind = self.session, packet.payload_type
        law = session.law if kind == session.payload_type else _LAW_OF_TYPE.get(kind)
        if law is None and kind != session.event_type:
            return None
        self._target, self._latched = source, True
        self.last_heard = now
        if law is None:
            return self._digits.receive(packet.ssrc, packet.timestamp, packet.payload)
        if law is not session.law:
            packet = packet._replace(payload=g711.transcode(law, session.law, packet.payload))
        self._buffer.put(packet)
        return None

    def take(self) -> bytes | None:
        """20 ms of what the phone says, in `law`; None for silence."""
        return self._buffer.take(FRAME)

    def press(self, digit: str) -> None:
        """Send a digit to the phone, in its turn. Lost if the phone takes none."""
        if self.session.event_type is not None:
            self._pressed.append(digit)

    def send(self, audio: bytes) -> tuple[bytes, Address] | None:
        """The packet of this frame: 20 ms of audio in `law`, or of a digit in place of it.
        None while the phone wants nothing; time goes on all the same."""
        timestamp = self._timestamp
        self._timestamp += FRAME
        if not self.session.we_send:
            return None
        event = self._next_event(timestamp)
        if event is not None and self.session.event_type is not None:
            kind, marker, timestamp, audio = self.session.event_type, event.marker, event.timestamp, event.payload
        else:
            kind, marker = self.session.payload_type, not self._began
            self._began = True
        self._sequence += 1
        return rtp.pack(kind, marker, self._sequence, timestamp, self._ssrc, audio), self._target

    def skip(self, frames: int) -> None:
        """Let that many frames of time pass unsent."""
        self._timestamp += FRAME * frames

    def _next_event(self, timestamp: int) -> EventPacket | None:
        if self._event is None:
            if not self._pressed:
                return None
            self._event = EventSender(self._pressed.popleft(), timestamp)
        packet = self._event.take()
        if packet is None:
            self._event = None
        return packet
