"""An answered call (RFC 3261 sections 13.3.1.4, 14, 15): both sides, until the BYE."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.wire.sip.authorisation import Authorisation, credentials_of
from tandem.wire.sip.calls import Calls
from tandem.wire.sip.dialog import Dialog
from tandem.wire.sip.events import (
    Address,
    ByeSettled,
    CallConfirmed,
    CallEnded,
    DigitReceived,
    EndCause,
    OfferAnswered,
    OfferReceived,
    OfferRefused,
)
from tandem.wire.sip.headers import Headers
from tandem.wire.sip.info import find_digit
from tandem.wire.sip.layer import ALLOW, SDP_TYPE, Client, HeaderPairs, Layer, Server
from tandem.wire.sip.message import Request, Response
from tandem.wire.sip.reason import Reason, find_reason


class Farewell:
    """A last BYE of ours, which nobody waits for. Answers a challenge, reports if it was asked to."""

    def __init__(self, layer: Layer, dialog: Dialog, authorisation: Authorisation, *, report: bool = False) -> None:
        self._layer = layer
        self._dialog = dialog
        self._authorisation = authorisation
        self._report = report

    def send(self, now: float, headers: HeaderPairs = ()) -> None:
        """Send it."""
        credentials = self._authorisation.headers("BYE", str(self._dialog.target))
        self._dialog, request = self._dialog.request("BYE", self._layer.via(), headers=(*headers, *credentials))
        self._layer.request(request, self._dialog.next_hop(), self, now)

    def on_response(self, request: Request, response: Response, source: Address, now: float) -> None:
        """Any final response ends it, but for a challenge that can be met."""
        if response.status in (401, 407) and self._authorisation.accepts(response):
            self.send(now, [(name, value) for name, value in request.headers if name == "Reason"])
        elif response.status >= 200:
            self._settle(response.status)

    def on_timeout(self, request: Request, now: float) -> None:
        """The far end is gone."""
        self._settle(408)

    def _settle(self, status: int) -> None:
        if self._report:
            self._layer.emit(ByeSettled(self._dialog.local_tag, status))


@dataclass(slots=True)
class _Unacknowledged:
    """A 2xx of ours, sent again until its ACK comes (13.3.1.4)."""

    server: Server
    response: Response
    offered: bool
    interval: float
    resend_at: float
    give_up_at: float


class Session:
    """A confirmed dialog and the session in it."""

    def __init__(self, calls: Calls, dialog: Dialog, authorisation: Authorisation) -> None:
        self.dialog = dialog
        self.handle = dialog.local_tag
        self._calls = calls
        self._layer = calls.layer
        self._authorisation = authorisation
        self._unacknowledged: _Unacknowledged | None = None
        self._offer_in: Server | None = None
        self._offer_out: Client | None = None
        self._acks: dict[int, bytes] = {}  # CSeq of our last re-INVITE -> the ACK to its 2xx
        self._ended = False  # the application was told
        self._bye_headers: tuple[tuple[str, str], ...] = ()

    # -- commands

    def hangup(self, now: float, reason: Reason | None) -> bool:
        """BYE; but the side that was called waits for the ACK first (15)."""
        self._bye_headers = (reason.header(),) if reason else ()
        self._end(CallEnded(self.handle, EndCause.LOCAL_HANGUP), now)
        if self._unacknowledged is None:
            self._bye(now)
        return True

    def offer(self, sdp: bytes, now: float) -> bool:
        """Send a re-INVITE, if none is under way in either direction (14.1)."""
        if self._unacknowledged or self._offer_in or self._offer_out:
            return False
        self._send_offer(sdp, now)
        return True

    def accept_offer(self, sdp: bytes, now: float) -> bool:
        """200 to the far end's re-INVITE."""
        if self._offer_in is None:
            return False
        server, self._offer_in = self._offer_in, None
        self.confirm(server, sdp, (), now)
        return True

    def refuse_offer(self, status: int, now: float) -> bool:
        """A failure to the far end's re-INVITE."""
        if self._offer_in is None:
            return False
        server, self._offer_in = self._offer_in, None
        self._respond(server, status, now)
        return True

    def confirm(self, server: Server, sdp: bytes, headers: HeaderPairs, now: float) -> None:
        """Send 200 to an INVITE, and again until the ACK comes."""
        request = server.transaction.request
        routes = [("Record-Route", value) for value in request.headers.all("Record-Route")]
        lines = (*routes, self._layer.contact(), ALLOW, *headers)
        response = self._layer.response(request, 200, tag=self.handle, headers=lines, body=sdp)
        timers = self._layer.config.timers
        self._unacknowledged = _Unacknowledged(
            server, response, not request.body, timers.t1, now + timers.t1, now + timers.give_up
        )
        server.respond(response, now)
        self._layer.arm(self)

    # -- from the far end

    def on_request(self, request: Request, source: Address, now: float) -> None:
        """A request in the dialog, other than ACK, CANCEL and OPTIONS."""
        dialog = self.dialog.received(request)
        if dialog is None:
            self._layer.reply_stateless(request, 500)
            return
        self.dialog = dialog
        match request.method:
            case "BYE":
                self._respond(self._layer.serve(request, now), 200, now)
                self._end(_ended_by(self.handle, EndCause.REMOTE_BYE, request.headers), now)
                self._close()
            case "INVITE":
                self._on_offer(request, source, now)
            case _:
                answer_info(self._layer, self.handle, request, now)

    def on_ack(self, request: Request, now: float) -> None:
        """The ACK to a 2xx of ours; repeated ones are of no interest."""
        waiting = self._unacknowledged
        if waiting is None or waiting.response.cseq.number != request.cseq.number:
            return
        self._unacknowledged = None
        self._layer.arm(self)
        if self._ended:
            self._bye(now)
        else:
            self._layer.emit(CallConfirmed(self.handle, request.body or None if waiting.offered else None))

    def on_cancel(self, server: Server, cancel: Request, now: float) -> None:
        """The far end takes its re-INVITE back (9.2); `accept_offer` will find nothing to accept."""
        if self._offer_in is server:
            self._offer_in = None
            self._respond(server, 487, now)

    # -- responses to our re-INVITE

    def on_response(self, request: Request, response: Response, source: Address, now: float) -> None:
        """A response to our re-INVITE."""
        number = request.cseq.number
        if 200 <= response.status < 300 and number in self._acks:
            self._layer.datagrams.append((self._acks[number], self.dialog.next_hop()))
            return
        if response.status < 200:
            return
        if 200 <= response.status < 300:
            self._acknowledge(request, response, source)
        if self._offer_out is None or self._offer_out.transaction.request is not request or self._ended:
            return
        self._offer_out = None
        if response.status < 300:
            self._authorisation.settled()
            self._layer.emit(OfferAnswered(self.handle, response.body or None))
        elif response.status in (401, 407) and self._authorisation.accepts(response):
            self._send_offer(request.body, now)
        elif response.status in (408, 481):
            self._lose(response.status, now)
        else:
            self._layer.emit(OfferRefused(self.handle, response.status))

    def on_timeout(self, request: Request, now: float) -> None:
        """Nothing came to our re-INVITE: the far end is gone (12.2.1.2)."""
        if not self._ended:
            self._lose(408, now)

    # -- time

    def next_wakeup(self) -> float | None:
        """When the 2xx goes out again, or is given up."""
        waiting = self._unacknowledged
        return None if waiting is None else min(waiting.resend_at, waiting.give_up_at)

    def wake(self, now: float) -> None:
        """Send the 2xx again, or give up and say BYE."""
        waiting = self._unacknowledged
        if waiting is None:
            return
        if now >= waiting.give_up_at:
            self._unacknowledged = None
            self._end(CallEnded(self.handle, EndCause.NO_ACK), now)
            self._bye(now)
            return
        waiting.interval = min(2 * waiting.interval, self._layer.config.timers.t2)
        waiting.resend_at = now + waiting.interval
        waiting.server.respond(waiting.response, now)
        self._layer.arm(self)

    # -- inner

    def _on_offer(self, request: Request, source: Address, now: float) -> None:
        if self._offer_in is not None:
            self._refuse(request, 500, now, [("Retry-After", "1")])  # 14.2: the first is not answered yet
        elif self._offer_out is not None or self._unacknowledged is not None or self._ended:
            self._refuse(request, 491, now)
        else:
            self.dialog = self.dialog.refreshed(request, source)
            self._offer_in = self._layer.serve(request, now)
            self._offer_in.owner = self
            self._offer_in.respond(self._layer.response(request, 100), now)
            self._layer.emit(OfferReceived(self.handle, request.body or None))

    def _refuse(self, request: Request, status: int, now: float, headers: HeaderPairs = ()) -> None:
        """In a transaction: the dialog has counted the request, so a retransmission would be out of order."""
        server = self._layer.serve(request, now)
        server.respond(self._layer.response(request, status, tag=self.handle, headers=headers), now)

    def _send_offer(self, sdp: bytes, now: float) -> None:
        credentials = self._authorisation.headers("INVITE", str(self.dialog.target))
        headers = (self._layer.contact(), ALLOW, *credentials, SDP_TYPE)
        self.dialog, request = self.dialog.request("INVITE", self._layer.via(), headers=headers, body=sdp)
        self._offer_out = self._layer.request(request, self.dialog.next_hop(), self, now)

    def _acknowledge(self, request: Request, response: Response, source: Address) -> None:
        self.dialog = self.dialog.refreshed(response, source)
        ack = self.dialog.ack(request.cseq.number, self._layer.via(), headers=credentials_of(request))
        self._acks = {request.cseq.number: self._layer.ack(ack, self.dialog.next_hop())}

    def _respond(self, server: Server, status: int, now: float) -> None:
        server.respond(self._layer.response(server.transaction.request, status, tag=self.handle), now)

    def _lose(self, status: int, now: float) -> None:
        self._end(CallEnded(self.handle, EndCause.DIALOG_GONE, status), now)
        self._bye(now)

    def _end(self, event: CallEnded, now: float) -> None:
        """Tell the application, once, and settle what is under way."""
        if self._ended:
            return
        self._ended = True
        self._calls.forget_handle(self.handle)
        self._layer.emit(event)
        if self._offer_in is not None:
            self._respond(self._offer_in, 487, now)
            self._offer_in = None
        if self._offer_out is not None:
            # After the BYE its final response may be lost for good.
            self._offer_out.give_up_at(now + self._layer.config.timers.give_up)

    def _bye(self, now: float) -> None:
        Farewell(self._layer, self.dialog, self._authorisation).send(now, self._bye_headers)
        self._close()

    def _close(self) -> None:
        self._unacknowledged = None
        self._layer.timers.disarm(self)
        self._calls.forget_dialog(self.dialog)


def answer_info(layer: Layer, handle: str, request: Request, now: float) -> None:
    """Answer an INFO: 200 with its digit as an event, 415 if it is about something else."""
    server = layer.serve(request, now)
    digit = find_digit(request)
    if digit is None and request.body:
        accept = ("Accept", "application/dtmf-relay, application/dtmf")
        server.respond(layer.response(request, 415, tag=handle, headers=[accept]), now)
        return
    server.respond(layer.response(request, 200, tag=handle), now)
    if digit is not None:
        layer.emit(DigitReceived(handle, *digit))


def _ended_by(handle: str, cause: EndCause, headers: Headers) -> CallEnded:
    return CallEnded(handle, cause, 0, find_reason(headers), headers)
