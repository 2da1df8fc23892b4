"""A call of ours that is not answered yet, and what may still come of its INVITE (RFC 3261 sections 9.1, 13.2)."""

from __future__ import annotations

from tandem.wire.sip.authorisation import Authorisation, credentials_of
from tandem.wire.sip.calls import Calls
from tandem.wire.sip.dialog import Dialog, dialog_of_client
from tandem.wire.sip.events import (
    Address,
    CallAnswered,
    CallEnded,
    CallProgress,
    CancelSent,
    EndCause,
    InviteSettled,
)
from tandem.wire.sip.layer import Client, HeaderPairs
from tandem.wire.sip.message import Request, Response
from tandem.wire.sip.pending import PendingInvite
from tandem.wire.sip.reason import Reason, find_reason
from tandem.wire.sip.session import Farewell, Session
from tandem.wire.sip.transaction import cancel_for

FORKS_MAX = 16
"""Answers from different phones to one INVITE that we acknowledge."""


class OutgoingCall:
    """From our INVITE to its final response; and after that it acknowledges the 2xx that still come."""

    def __init__(
        self, calls: Calls, handle: str, invite: Request, address: Address, authorisation: Authorisation
    ) -> None:
        self.handle = handle
        self.dialog: Dialog | None = None
        self._calls = calls
        self._layer = calls.layer
        self._invite = invite
        self._address = address
        self._authorisation = authorisation
        self._client: Client | None = None
        self._ended = False  # the application was told, or has a session in our place
        self._cancel: tuple[tuple[str, str], ...] | None = None  # CANCEL is wanted, with these headers
        self._provisional = False
        self._acks: dict[str, tuple[bytes, Address]] = {}  # To tag -> the ACK to its 2xx
        self._sent_at = 0.0

    def start(self, now: float) -> None:
        """Send the INVITE."""
        self._calls.put(self.handle, self)
        self._send(now)

    @property
    def pending(self) -> PendingInvite:
        """What a later life needs to take the INVITE back."""
        return PendingInvite(self._invite, self._address, self._sent_at, self._provisional)

    def take_back(self, kept: PendingInvite, now: float, headers: HeaderPairs) -> None:
        """End what an earlier life began, as `hangup` would have. See `tandem.wire.sip.pending`."""
        self._ended, self._cancel, self._provisional = True, tuple(headers), kept.heard
        is_young = 0 <= now - kept.sent_at < self._layer.config.timers.give_up
        resend = is_young and not kept.heard
        self._client = self._layer.resume(self._invite, self._address, self, now, resend=resend)
        if kept.heard:
            self._send_cancel(now)

    def hangup(self, now: float, reason: Reason | None) -> bool:
        """CANCEL, as soon as the far end has shown that it has the INVITE (9.1)."""
        self._cancel = (reason.header(),) if reason else ()
        self._end(CallEnded(self.handle, EndCause.LOCAL_HANGUP))
        if self._provisional:
            self._send_cancel(now)
        return True

    def on_response(self, request: Request, response: Response, source: Address, now: float) -> None:
        """A response to the INVITE."""
        if request is not self._invite:
            return
        if response.status < 200:
            self._on_provisional(response, source, now)
        elif response.status < 300:
            self._on_answer(response, source, now)
        elif self._ended:
            self._settled(None)
        elif response.status in (401, 407) and self._authorisation.accepts(response):
            self._provisional = False
            self._invite = self._authorisation.again(request, self._layer.via())
            self._send(now)
        else:
            cause = EndCause.TIMED_OUT if response.status == 408 else EndCause.REJECTED
            reason = find_reason(response.headers)
            self._end(CallEnded(self.handle, cause, response.status, reason, response.headers))

    def on_timeout(self, request: Request, now: float) -> None:
        """Nobody is there (timer B)."""
        if not self._ended:
            self._end(CallEnded(self.handle, EndCause.TIMED_OUT, 408))

    def _send(self, now: float) -> None:
        self._client = self._layer.request(self._invite, self._address, self, now)
        self._invite, self._sent_at = self._client.transaction.request, now

    def _on_provisional(self, response: Response, source: Address, now: float) -> None:
        first, self._provisional = not self._provisional, True
        if self._cancel is not None:
            if first:
                self._send_cancel(now)
            return
        if response.status > 100 and not self._ended:
            if response.to.tag:
                self.dialog = dialog_of_client(self._invite, response, source)
            self._layer.emit(CallProgress(self.handle, response.status, response.body or None))

    def _on_answer(self, response: Response, source: Address, now: float) -> None:
        tag = response.to.tag or ""
        if tag in self._acks:
            self._layer.datagrams.append(self._acks[tag])
            return
        if len(self._acks) >= FORKS_MAX:
            return
        dialog = dialog_of_client(self._invite, response, source)
        ack = dialog.ack(self._invite.cseq.number, self._layer.via(), headers=credentials_of(self._invite))
        self._acks[tag] = self._layer.ack(ack, dialog.next_hop()), dialog.next_hop()
        if self._ended:
            # Another phone was first, or we had cancelled: this one must not talk into the void.
            Farewell(self._layer, dialog, self._authorisation).send(now, self._cancel or ())
            self._settled(dialog)
            return
        self._ended = True
        self._authorisation.settled()
        session = Session(self._calls, dialog, self._authorisation)
        self._calls.put(self.handle, session)
        self._calls.enter_dialog(dialog, session)
        self._layer.emit(CallAnswered(self.handle, response.body or None, response.headers))

    def _send_cancel(self, now: float) -> None:
        cancel = cancel_for(self._invite)
        self._layer.request(
            Request(
                cancel.method,
                cancel.uri,
                cancel.vias,
                cancel.from_,
                cancel.to,
                cancel.call_id,
                cancel.cseq,
                cancel.headers.plus(self._cancel or ()),
            ),
            self._address,
            Heedless(),
            now,
        )
        if self._client is not None:
            self._client.give_up_at(now + self._layer.config.timers.give_up)
        self._layer.emit(CancelSent(self.handle))

    def _settled(self, dialog: Dialog | None) -> None:
        if self._cancel is not None:
            self._layer.emit(InviteSettled(self.handle, dialog))

    def _end(self, event: CallEnded) -> None:
        self._ended = True
        self._calls.forget_handle(self.handle)
        self._layer.emit(event)


class Heedless:
    """Sent a request whose response tells it nothing (CANCEL)."""

    def on_response(self, request: Request, response: Response, source: Address, now: float) -> None:
        """What the INVITE gets is what counts."""

    def on_timeout(self, request: Request, now: float) -> None:
        """The INVITE's own deadline follows the CANCEL."""
