"""A small SIP phone for these tests: our own wire code on real sockets, with a tone for a voice."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from typing import Any

from tandem.adapters.system import SystemEntropy
from tandem.client import tones
from tandem.runtime.udp_driver import Socket, bind
from tandem.wire import dtmf, rtp
from tandem.wire.g711 import Law
from tandem.wire.sdp import Audio, Direction, LocalAudio, Negotiation
from tandem.wire.sip import events as sip
from tandem.wire.sip.digest import Credentials
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.layer import bracketed
from tandem.wire.sip.uri import NameAddr, Uri
from tests.support.udp_proxy import UdpProxy

HOST = "127.0.0.1"
PATIENCE_S = 20
"""How long a test waits for something that must come."""


class Phone:
    """One line. Answers when told to (`answer`), or by itself (`auto_answer`)."""

    def __init__(
        self, user: str, node_port: int, *, tone_hz: float = 0.0, law: Law = Law.MU, ring: bool = True,
        host: str = HOST, sip_by: UdpProxy | None = None, rtp_by: UdpProxy | None = None,
    ) -> None:  # fmt: skip
        """`host` is its own address; `sip_by` and `rtp_by` carry all that it sends and gets."""
        self.user = user
        self.host = host
        self.node = (host if ":" in host else HOST, node_port)
        self.sip_by, self.rtp_by = sip_by, rtp_by
        self.law = law
        self.tone_hz = tone_hz
        self.ring = ring
        self.auto_answer = False
        self.reject_status = 0
        self.events: list[Any] = []
        self.heard = array("h")
        self.digits = ""
        self.call = ""
        self.audio: Audio | None = None
        self.muted = False
        self._digit_reader = dtmf.EventReceiver()
        self._sender: dtmf.EventSender | None = None
        self._news = asyncio.Event()
        self._entropy = SystemEntropy()
        self._loop = asyncio.get_running_loop()
        self._sip = Socket(bind(host, 0), self._on_sip)
        self._rtp = Socket(bind(host, 0), self._on_rtp)
        found_at = sip_by.far if sip_by is not None else (host, self._sip.port)
        self.endpoint = Endpoint(sip.EndpointConfig(*found_at, user_agent="Test phone"), self._entropy.token)
        self._negotiation = self._new_negotiation()
        self._alarm: asyncio.TimerHandle | None = None
        self._sent = 0
        self._voice = tones.tone(tone_hz, 1600, law)  # 200 ms: whole periods of any multiple of 5 Hz
        self._ssrc = int.from_bytes(self._entropy.secret(4), "big")
        self._talking: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ what a person does

    async def register(self, password: str, expires_s: int = 300) -> bool:
        """Whether the node took it."""
        self.endpoint.register(
            Uri(bracketed(self.node[0]), port=self.node[1]), Uri(bracketed(self.host), self.user), self._now(),
            expires_s=expires_s, credentials=Credentials(self.user, password),
        )  # fmt: skip
        self._pump()
        told = await self.until(sip.Registered, sip.RegistrationFailed)
        return isinstance(told, sip.Registered)

    def dial(self, number: str) -> None:
        """Call a number at the node."""
        self._negotiation = self._new_negotiation()
        call = self.endpoint.invite(
            Uri(bracketed(self.node[0]), number, self.node[1]), self._negotiation.offer(), self._now(),
            caller=NameAddr(Uri(bracketed(self.host), self.user)),
        )  # fmt: skip
        assert call is not None
        self.call = call
        self._pump()

    def answer(self) -> None:
        """Pick up."""
        arrived = next(event for event in reversed(self.events) if isinstance(event, sip.CallArrived))
        assert arrived.offer is not None
        answer = self._negotiation.answer(arrived.offer)
        assert self.endpoint.answer(arrived.call, answer.sdp, self._now())
        self._talk(answer.audio)
        self._pump()

    def reject(self, status: int) -> None:
        self.endpoint.reject(self.call, status, self._now())
        self._pump()

    def hang_up(self) -> None:
        """BYE, CANCEL or 480."""
        self.endpoint.hangup(self.call, self._now())
        self._hush()
        self._pump()

    def hold(self, direction: Direction = Direction.SENDONLY) -> None:
        """Or take off hold, with SENDRECV."""
        assert self.endpoint.offer(self.call, self._negotiation.offer(direction), self._now())
        self._pump()

    def press(self, digit: str) -> None:
        """A digit by RFC 4733."""
        self._sender = dtmf.EventSender(digit, self._sent * 160)

    # ------------------------------------------------------------------ what a test asks

    async def until(self, *kinds: type, after: int = 0) -> Any:
        """The first event of one of these kinds, now or to come."""
        return await self.when(lambda: next((e for e in self.events[after:] if isinstance(e, kinds)), None))

    async def when(self, ready: Callable[[], Any]) -> Any:
        """Wait until `ready` gives something true."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := ready()):
                self._news.clear()
                await self._news.wait()
            return found

    async def hears(self, hz: float, seconds: float = 0.5) -> None:
        """Wait until that tone has been heard for so long from now on."""
        start = len(self.heard)
        await self.when(lambda: tones.seconds_with(self.heard[start:], hz) >= seconds)

    async def hears_silence(self, seconds: float) -> None:
        """Wait until nothing was heard for so long."""
        wanted = int(seconds * tones.RATE)
        start = len(self.heard) + wanted
        await self.when(lambda: len(self.heard) >= start and tones.loudness(self.heard[-wanted:]) == 0)

    async def hears_audio(self, seconds: float) -> array[int]:
        """The next seconds, whatever they hold."""
        start, wanted = len(self.heard), int(seconds * tones.RATE)
        await self.when(lambda: len(self.heard) >= start + wanted)
        return self.heard[start : start + wanted]

    def close(self) -> None:
        self._hush()
        if self._alarm is not None:
            self._alarm.cancel()
        self._sip.close()
        self._rtp.close()

    # ------------------------------------------------------------------ inner

    def _new_negotiation(self) -> Negotiation:
        port = self.rtp_by.far[1] if self.rtp_by is not None else self._rtp.port
        return Negotiation(LocalAudio(self.host, port, (self.law.value,)), 1)

    def _now(self) -> float:
        return self._loop.time()

    def _on_sip(self, port: int, data: bytes, source: tuple[str, int]) -> None:
        self.endpoint.receive(data, source, self._now())
        self._pump()

    def _wake(self) -> None:
        self._alarm = None
        self.endpoint.tick(self._now())
        self._pump()

    def _pump(self) -> None:
        while events := self.endpoint.take_events():
            for event in events:
                self._happened(event)
        for data, target in self.endpoint.take_datagrams():
            self._sip.send(data, self.sip_by.near if self.sip_by is not None else target)
        if self._alarm is not None:
            self._alarm.cancel()
        at = self.endpoint.next_wakeup()
        self._alarm = self._loop.call_later(max(0.001, at - self._now()), self._wake) if at is not None else None
        self._news.set()

    def _happened(self, event: Any) -> None:
        self.events.append(event)
        match event:
            case sip.CallArrived():
                self.call = event.call
                self._negotiation = self._new_negotiation()
                if self.reject_status:
                    self.endpoint.reject(event.call, self.reject_status, self._now())
                    return
                if self.ring:
                    self.endpoint.ring(event.call, self._now())
                if self.auto_answer:
                    self.answer()
            case sip.CallAnswered() | sip.OfferAnswered() if event.answer is not None:
                agreed = self._negotiation.accept(event.answer)
                assert isinstance(agreed, Audio), agreed
                self._talk(agreed)
            case sip.CallEnded():
                self._hush()

    def _talk(self, audio: Audio) -> None:
        self.audio = audio
        if self.rtp_by is not None:
            self.rtp_by.target = (audio.host, audio.port)
        if self._talking is None:
            self._speak(self._now())

    def _hush(self) -> None:
        if self._talking is not None:
            self._talking.cancel()
            self._talking = None

    def _speak(self, due: float) -> None:
        assert self.audio is not None
        timestamp = self._sent * 160
        packet = self._sender.take() if self._sender is not None else None
        if packet is not None and self.audio.digits_payload_type is not None:
            kind, marker, timestamp, payload = (
                self.audio.digits_payload_type,
                packet.marker,
                packet.timestamp,
                packet.payload,
            )
        else:
            self._sender = None
            kind, marker = self.law.payload_type, self._sent == 0
            payload = self._voice[timestamp % len(self._voice) :][:160]
        self._sent += 1
        if not self.muted:
            data = rtp.pack(kind, marker, self._sent, timestamp, self._ssrc, payload)
            self._rtp.send(data, self.rtp_by.near if self.rtp_by is not None else (self.audio.host, self.audio.port))
        due += 0.02
        self._talking = self._loop.call_at(due, self._speak, due)

    def _on_rtp(self, port: int, data: bytes, source: tuple[str, int]) -> None:
        packet = rtp.parse(data)
        if packet is None:
            return
        if packet.payload_type == self.law.payload_type:
            self.heard.extend(tones.samples_of(packet.payload, self.law))
        elif self.audio is not None and packet.payload_type == self.audio.digits_payload_type:
            digit = self._digit_reader.receive(packet.ssrc, packet.timestamp, packet.payload)
            self.digits += digit or ""
        self._news.set()
