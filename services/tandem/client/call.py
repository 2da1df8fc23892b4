"""One call of a phone: its audio, and the facts of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tandem.client.ear import Ear
from tandem.client.facts import By, CallFacts, Heard, Pressed, Quiet, Sound, Way
from tandem.client.mouth import Mouth, Voice
from tandem.client.news import News
from tandem.client.ticker import Ticker
from tandem.client.udp import Address, UdpSocket
from tandem.wire import rtp
from tandem.wire.dtmf import EventReceiver
from tandem.wire.g711 import Law
from tandem.wire.sdp import Audio, Direction, LocalAudio, Negotiation, SdpError
from tandem.wire.sip.events import EndCause

PRESSED_MAX = 1_000
"""Digits remembered of one call."""


class CallOver(Exception):
    """The call ended before what was waited for."""

    def __init__(self, facts: CallFacts) -> None:
        how = f"SIP {facts.status}" if facts.status else f"ended by {facts.by}"
        super().__init__(f"the call to {facts.number} is over: {how}{f' ({facts.detail})' if facts.detail else ''}")
        self.facts = facts


class PhoneCall:
    """A call. The phone makes it and tells it what happens; people and tests use the rest."""

    def __init__(
        self,
        serial: int,
        facts: CallFacts,
        law: Law,
        voice: Voice,
        host: str,
        ssrc: int,
        ticker: Ticker,
        news: News,
        clock: Callable[[], float],
    ) -> None:
        """`serial` counts the calls of a phone from 1."""
        self.serial = serial
        self.dialog = ""
        """Its handle at the endpoint, once there is one."""
        self.digits = ""
        """Digits heard."""
        self._facts = facts
        self._law, self._ticker, self._news, self._clock = law, ticker, news, clock
        self._mouth = Mouth(voice, law, ssrc)
        self._ear: Ear | None = None
        self._digit_ear = EventReceiver()
        self._audio: Audio | None = None
        self._quiet_from: float | None = None
        self._rtp = UdpSocket(host, self._on_rtp)
        self._negotiation = Negotiation(LocalAudio(host, self._rtp.port, (law.value,)), ssrc)

    # ------------------------------------------------------------------ asked

    @property
    def facts(self) -> CallFacts:
        """All that is known by now."""
        heard = self._ear.heard() if self._ear else ()
        return replace(self._facts, dialog=self.dialog, heard=heard, quiet=self._quiets())

    @property
    def is_over(self) -> bool:
        """Ended, by whomever."""
        return self._facts.ended is not None

    @property
    def is_up(self) -> bool:
        """Answered and not over."""
        return self._facts.answered is not None and not self.is_over

    @property
    def sent(self) -> int:
        """Packets of audio sent so far, 20 ms each."""
        return self._mouth.sent

    @property
    def hears(self) -> Heard | None:
        """What is heard at this moment."""
        return self._ear.now if self._ear else None

    async def until_rings(self) -> None:
        """Wait for the first ring. Raises `CallOver`."""
        await self._until(lambda: self._facts.rang is not None or self._facts.answered is not None)

    async def until_answered(self) -> None:
        """Wait for the answer. Raises `CallOver`, with the reason of a refusal."""
        await self._until(lambda: self._facts.answered is not None)

    async def until_hears(self, hz: float, seconds: float = 0.3) -> None:
        """Wait until that tone has been heard for so long without a break from now on. Raises `CallOver`."""
        begun = self._clock()
        await self._until(lambda: self._lasts(lambda heard: heard.is_tone(hz), begun, seconds))

    async def until_voice(self, seconds: float = 0.3) -> float:
        """Wait until some tone has been heard for so long: its frequency, Hz. Raises `CallOver`."""
        begun = self._clock()
        await self._until(lambda: self._lasts(lambda heard: heard.sound is Sound.TONE, begun, seconds))
        assert self.hears is not None
        return self.hears.hz

    async def until_sound(self, seconds: float = 0.3) -> None:
        """Wait until something, not silence, was heard for so long in all from now on: speech
        has pauses. Raises `CallOver`."""
        begun = self._clock()
        await self._until(lambda: self._loud_since(begun) >= seconds)

    async def until_over(self) -> CallFacts:
        """Wait for the end."""
        await self._news.when(lambda: self.is_over)
        return self.facts

    async def _until(self, ready: Callable[[], bool]) -> None:
        await self._news.when(lambda: ready() or self.is_over)
        if not ready():
            raise CallOver(self.facts)

    def _lasts(self, right: Callable[[Heard], bool], begun: float, seconds: float) -> bool:
        heard = self.hears
        return heard is not None and right(heard) and heard.end - max(begun, heard.start) >= seconds

    def _loud_since(self, begun: float) -> float:
        heard = self._ear.heard() if self._ear else ()
        return sum(
            one.end - max(one.start, begun)
            for one in heard
            if one.sound in (Sound.TONE, Sound.OTHER) and one.end > begun
        )

    # ------------------------------------------------------------------ done by the person

    def press(self, digits: str) -> None:
        """Send digits one after another (RFC 4733). Raises ValueError for what is no digit."""
        for digit in digits:
            self._mouth.press(digit)
            pressed = (*self._facts.pressed, Pressed(digit, self._clock()))
            self._facts = replace(self._facts, pressed=pressed[-PRESSED_MAX:])

    def mute(self, muted: bool = True) -> None:
        """Send no audio at all, or again."""
        self._mouth.is_muted = muted
        if muted and self._quiet_from is None:
            self._quiet_from = self._clock()
        elif not muted and self._quiet_from is not None:
            self._facts = replace(self._facts, quiet=self._quiets())
            self._quiet_from = None

    # ------------------------------------------------------------------ told by the phone

    def offer(self, direction: Direction = Direction.SENDRECV) -> bytes:
        """An SDP offer; the first, or a changed one."""
        return self._negotiation.offer(direction)

    def answer_to(self, offer: bytes | None) -> bytes | None:
        """What goes with our 200: the answer, or an offer if they made none; None if nothing fits."""
        if offer is None:
            return self.offer()
        made = self._negotiation.answer(offer)
        if isinstance(made, SdpError):
            return None
        self._audio = made.audio
        return made.sdp

    def agreed(self, answer: bytes | None) -> bool:
        """Take their answer; False if it does not fit what we offered."""
        if answer is None:
            return self._audio is not None
        made = self._negotiation.accept(answer)
        if not isinstance(made, Audio):
            return False
        self._audio = made
        return True

    def on_ring(self) -> None:
        """It rings, here or there; repeats change nothing."""
        if self._facts.rang is None:
            self._facts = replace(self._facts, rang=self._clock())

    def on_answer(self) -> None:
        """From now on there is audio."""
        now = self._clock()
        self._facts = replace(self._facts, answered=now)
        self._ear = Ear(self._law, now)
        self._ticker.add(self._tick)

    def on_end(self, by: By, status: int = 0, detail: str = "") -> None:
        """It is over."""
        self._ticker.discard(self._tick)
        self._rtp.close()
        if not self.is_over:
            quiet = self._quiets()
            self._facts = replace(self._facts, ended=self._clock(), by=by, status=status, detail=detail, quiet=quiet)
            self._quiet_from = None

    # ------------------------------------------------------------------ audio

    def _quiets(self) -> tuple[Quiet, ...]:
        if self._quiet_from is None:
            return self._facts.quiet
        return (*self._facts.quiet, Quiet(self._quiet_from, self._clock()))

    def _tick(self, now: float, lost: int) -> None:
        assert self._ear is not None
        if lost:
            self._ear.stalled(now)
            self._mouth.skip(lost)
        if self._audio is not None and self._audio.direction.sends:
            packet = self._mouth.take(self._audio)
            if packet is not None:
                self._rtp.send(packet, (self._audio.host, self._audio.port))
        if self._ear.tick(now):
            self._news.tell()

    def _on_rtp(self, data: bytes, source: Address) -> None:
        packet = rtp.parse(data)
        if packet is None or self._ear is None or self._audio is None:
            return
        if packet.payload_type == self._law.payload_type:
            self._ear.put(packet)
        elif packet.payload_type == self._audio.digits_payload_type:
            digit = self._digit_ear.receive(packet.ssrc, packet.timestamp, packet.payload)
            if digit is not None and len(self.digits) < PRESSED_MAX:
                self.digits += digit
                self._news.tell()


def ended_by(cause: EndCause, way: Way) -> By:
    """Who ended a call that ended for that cause."""
    match cause:
        case EndCause.LOCAL_HANGUP:
            return By.SELF
        case EndCause.REJECTED:
            return By.FAR if way is Way.OUT else By.SELF
        case EndCause.NO_ACK | EndCause.DIALOG_GONE | EndCause.TIMED_OUT:
            return By.LOST
        case EndCause.CANCELLED | EndCause.REMOTE_BYE:
            return By.FAR
