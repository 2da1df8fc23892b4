"""A SIP phone: real SIP and RTP over UDP, with a tone for a voice (robots, load, demo, tests).

async with Phone(Account("4917011", ("127.0.0.1", 5060)), ticker, hz=620) as phone:
    call = phone.dial("100")
    await call.until_answered()
    call.press("1")
    await call.until_over()
    print(call.facts)
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from types import TracebackType

from tandem.client.account import Account, CannotDial, NotRegistered
from tandem.client.call import PhoneCall, ended_by
from tandem.client.facts import By, CallFacts, Way
from tandem.client.manner import Answers, Declines, Manner, RingsForEver, Vanishes
from tandem.client.mouth import Voice, tone_voice
from tandem.client.news import News
from tandem.client.sip_socket import SipSocket
from tandem.client.ticker import Ticker
from tandem.wire.g711 import Law
from tandem.wire.sdp import Direction
from tandem.wire.sip import events as sip
from tandem.wire.sip.digest import Credentials
from tandem.wire.sip.uri import NameAddr, Uri

CALLS_KEPT = 1_000
"""Calls whose facts a phone remembers; the oldest that is over goes first."""
LEAVE_S = 2.0
"""How long a phone that is put away waits for the answers to its BYE and REGISTER."""
OFFER = "X-Tandem-Offer"


class Phone:
    """One device with one line: a second call that comes in while one is up gets 486.

    Closed by `async with`, which hangs up first; `vanish` is what a cut cable does.
    """

    def __init__(
        self,
        account: Account,
        ticker: Ticker,
        *,
        hz: float = 0.0,
        voice: Voice | None = None,
        manner: Manner = Answers(),  # noqa: B008 - frozen
        law: Law = Law.MU,
        host: str = "127.0.0.1",
    ) -> None:
        """Speaks with a tone of `hz` (0: silence), or with `voice` if that is given."""
        self.account = account
        self.manner: Manner = manner
        self.hz = hz
        self.news = News()
        """Told whenever something about this phone has changed."""
        self.refusals = 0
        """How often it was not registered."""
        self._voice = voice or tone_voice(hz)
        self._law, self._host, self._ticker = law, host, ticker
        self._loop = asyncio.get_running_loop()
        self._sip = SipSocket(host, "Tandem phone", self._happened)
        self._endpoint = self._sip.endpoint
        self._calls: dict[str, PhoneCall] = {}
        self._offers: dict[str, sip.CallArrived] = {}
        self._serial = 0
        self._registration: str | None = None
        self._registered: sip.Registered | sip.RegistrationFailed | sip.Unregistered | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def __aenter__(self) -> Phone:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    # ------------------------------------------------------------------ asked

    @property
    def calls(self) -> tuple[PhoneCall, ...]:
        """All calls in their order."""
        return tuple(self._calls.values())

    @property
    def is_registered(self) -> bool:
        """Whether the registrar knows this phone, as far as this phone can tell."""
        return isinstance(self._registered, sip.Registered)

    def facts(self) -> tuple[CallFacts, ...]:
        """The facts of all calls."""
        return tuple(call.facts for call in self._calls.values())

    async def next_call(self, after: PhoneCall | None = None) -> PhoneCall:
        """The first call that came in, or the first after that one; waits for it."""
        serial = after.serial if after else 0
        return await self.news.when(
            lambda: next((c for c in self._calls.values() if c.serial > serial and c.facts.way is Way.IN), None)
        )

    async def until_unregistered(self) -> None:
        """Wait until the registration is lost; the phone does not try again by itself."""
        await self.news.when(lambda: not self.is_registered)

    # ------------------------------------------------------------------ done by the person

    async def register(self, expires_s: int = 300) -> None:
        """Register, and refresh from then on. Raises `NotRegistered`."""
        user, node = self.account.user, self.account.node
        self._registered = None
        self._registration = self._endpoint.register(
            Uri(node[0], port=node[1]),
            Uri(node[0], user),
            self._sip.now(),
            expires_s=expires_s,
            destination=node,
            credentials=Credentials(user, self.account.password),
        )
        self._sip.pump()
        told = await self.news.when(lambda: self._registered)
        if isinstance(told, sip.RegistrationFailed):
            raise NotRegistered(user, told.status, told.reason)

    def dial(self, number: str) -> PhoneCall:
        """Call a number at the node. Raises `CannotDial`."""
        user, node = self.account.user, self.account.node
        call = self._new_call(Way.OUT, number, user, "")
        handle = self._endpoint.invite(
            Uri(node[0], number, node[1]),
            call.offer(),
            self._sip.now(),
            caller=NameAddr(Uri(node[0], user)),
            destination=node,
            credentials=Credentials(user, self.account.password) if self.account.password else None,
        )
        if handle is None or not self._sip.is_open:
            call.on_end(By.SELF, 0, "the phone is full")
            raise CannotDial(f"phone {user} has too many calls or is put away")
        self._enter(handle, call)
        self._sip.pump()
        return call

    def answer(self, call: PhoneCall) -> bool:
        """Pick up now. False if the call is over or was answered already."""
        handle = call.dialog
        arrived = self._offers.pop(handle, None)
        if arrived is None:
            return False
        sdp = call.answer_to(arrived.offer)
        if sdp is None:
            self._endpoint.reject(handle, 488, self._sip.now())
        elif self._endpoint.answer(handle, sdp, self._sip.now()):
            call.on_answer()
        self._sip.pump()
        return call.is_up

    def decline(self, call: PhoneCall, status: int = 603) -> None:
        """Refuse a call that rings."""
        self._endpoint.reject(call.dialog, status, self._sip.now())
        self._sip.pump()

    def hang_up(self, call: PhoneCall) -> None:
        """BYE, CANCEL or 480, as it needs; nothing if it is over."""
        self._endpoint.hangup(call.dialog, self._sip.now())
        self._sip.pump()

    def hold(self, call: PhoneCall) -> None:
        """Put the far end on hold: it is sent nothing until `resume`."""
        call.mute()
        self._reoffer(call, Direction.SENDONLY)

    def resume(self, call: PhoneCall) -> None:
        """End the hold."""
        call.mute(False)
        self._reoffer(call, Direction.SENDRECV)

    def vanish(self) -> None:
        """Lose the network: not a packet more, not even a BYE. The facts stay."""
        for call in self._calls.values():
            call.on_end(By.SELF, 0, "vanished")
        self._close()

    async def leave(self) -> None:
        """Hang up, unregister, and be put away; waits for the answers for a short while."""
        if not self._sip.is_open:
            return
        for call in self._calls.values():
            if not call.is_over:
                self._endpoint.hangup(call.dialog, self._sip.now())
        leaving = self._registration is not None and self._endpoint.unregister(self._registration, self._sip.now())
        self._sip.pump()
        try:
            async with asyncio.timeout(LEAVE_S):
                if leaving:
                    await self.news.when(lambda: isinstance(self._registered, sip.Unregistered))
        except TimeoutError:
            pass  # nobody is there to hear it
        finally:
            self._close()

    # ------------------------------------------------------------------ what happens

    def _happened(self, event: sip.Event) -> None:
        self._take(event)
        self.news.tell()

    def _take(self, event: sip.Event) -> None:
        match event:
            case sip.CallArrived():
                self._on_arrival(event)
            case sip.CallProgress(call=handle):
                self._calls[handle].on_ring()
            case sip.CallAnswered(call=handle, answer=answer):
                self._on_answer(handle, answer)
            case sip.CallEnded():
                self._on_end(event)
            case sip.OfferReceived(call=handle, offer=offer):
                self._on_offer(handle, offer)
            case sip.OfferAnswered(call=handle, answer=answer):
                self._calls[handle].agreed(answer)
            case sip.Registered() | sip.RegistrationFailed() | sip.Unregistered():
                if event.registration == self._registration:
                    self._registered = event
                    self.refusals += isinstance(event, sip.RegistrationFailed)
            case _:
                pass  # confirmations, counters, and refused re-INVITEs: the call goes on as it was

    def _on_arrival(self, event: sip.CallArrived) -> None:
        request = event.request
        busy = any(call.is_up for call in self._calls.values())
        caller, called = request.from_.uri.user or "", request.uri.user or ""
        call = self._new_call(Way.IN, called, caller, request.headers.get(OFFER) or "")
        self._enter(event.call, call)
        if busy:
            self._endpoint.reject(event.call, 486, self._sip.now())
            return
        self._offers[event.call] = event
        self._endpoint.ring(event.call, self._sip.now())
        call.on_ring()
        match self.manner:
            case Answers(after_s):
                self._later(event.call, after_s, lambda: self.answer(call))
            case Declines(status, after_s):
                self._later(event.call, after_s, lambda: self.decline(call, status))
            case Vanishes(after_s):
                self._later(event.call, after_s, self.vanish)
            case RingsForEver():
                pass

    def _on_answer(self, handle: str, answer: bytes | None) -> None:
        call = self._calls[handle]
        if call.agreed(answer):
            call.on_answer()
        else:
            self._endpoint.hangup(handle, self._sip.now())

    def _on_offer(self, handle: str, offer: bytes | None) -> None:
        sdp = self._calls[handle].answer_to(offer)
        if sdp is None:
            self._endpoint.refuse_offer(handle, 488, self._sip.now())
        else:
            self._endpoint.accept_offer(handle, sdp, self._sip.now())

    def _on_end(self, event: sip.CallEnded) -> None:
        self._offers.pop(event.call, None)
        timer = self._timers.pop(event.call, None)
        if timer is not None:
            timer.cancel()
        retry = event.headers.get("Retry-After")
        detail = event.reason.text if event.reason else f"Retry-After: {retry}" if retry else ""
        call = self._calls[event.call]
        call.on_end(ended_by(event.cause, call.facts.way), event.status, detail)

    # ------------------------------------------------------------------ plumbing

    def _new_call(self, way: Way, number: str, caller: str, offer: str) -> PhoneCall:
        self._serial += 1
        while len(self._calls) >= CALLS_KEPT and (over := self._oldest_over()):
            del self._calls[over]
        facts = CallFacts(self.account.user, self.hz, way, number, caller, offer, self._sip.now())
        ssrc = secrets.randbits(32)
        return PhoneCall(
            self._serial, facts, self._law, self._voice, self._host, ssrc, self._ticker, self.news, time.monotonic
        )

    def _enter(self, handle: str, call: PhoneCall) -> None:
        call.dialog = handle
        self._calls[handle] = call

    def _oldest_over(self) -> str | None:
        return next((handle for handle, call in self._calls.items() if call.is_over), None)

    def _reoffer(self, call: PhoneCall, direction: Direction) -> None:
        self._endpoint.offer(call.dialog, call.offer(direction), self._sip.now())
        self._sip.pump()

    def _later(self, handle: str, after_s: float, act: Callable[[], object]) -> None:
        def due() -> None:
            self._timers.pop(handle, None)
            act()

        self._timers[handle] = self._loop.call_later(after_s, due)

    def _close(self) -> None:
        for call in self._calls.values():
            call.on_end(By.SELF, 0, "put away")
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._sip.close()
        self.news.tell()
