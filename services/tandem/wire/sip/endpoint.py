"""The SIP user-agent core over UDP, sans I/O (RFC 3261).

    endpoint.receive(data, source, now)      bytes in
    endpoint.tick(now)                       time in, at `endpoint.next_wakeup()`
    endpoint.take_datagrams()                bytes out
    endpoint.take_events()                   what happened

Any call may leave datagrams and events to take, and may change the next wake-up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tandem.wire.sip.authorisation import Authorisation
from tandem.wire.sip.calls import Calls, InDialog
from tandem.wire.sip.dialog import Dialog, dialog_key, literal_address
from tandem.wire.sip.digest import Credentials
from tandem.wire.sip.events import Address, DatagramRefused, EndpointConfig, Event, RegisterArrived
from tandem.wire.sip.headers import Headers
from tandem.wire.sip.incoming import IncomingCall
from tandem.wire.sip.layer import ALLOW, SDP_TYPE, HeaderPairs, Layer, Server
from tandem.wire.sip.message import CSeq, ParseError, Request, Response, parse
from tandem.wire.sip.outgoing import OutgoingCall
from tandem.wire.sip.pending import PendingInvite
from tandem.wire.sip.reason import Reason
from tandem.wire.sip.refusals import find_refusal
from tandem.wire.sip.register_client import Registration, Target
from tandem.wire.sip.session import Farewell, Session
from tandem.wire.sip.transaction import State, cancelled_key
from tandem.wire.sip.uri import NameAddr, Uri

Screen = Callable[[Request, Address, float], tuple[int, HeaderPairs] | None]
"""Asked about an INVITE for a new call before anything of it is kept: status and headers of a
refusal, or None to take it."""


class Endpoint:
    """UAS, UAC, registrar front and REGISTER client of one UDP socket.

    Methods that act on a call return True if the call was in a state for it, and
    False if not (it has just ended, say): that race is no error. `ValueError` means
    a fault of the caller: a value with CR or LF, a status out of range.
    """

    def __init__(self, config: EndpointConfig, token: Callable[[], str]) -> None:
        """`token` gives a new random token of 16 or more letters and digits at each call."""
        self._layer = Layer(config, token)
        self._calls = Calls(self._layer)
        self._registrations: dict[str, Registration] = {}
        self._options_status = 200
        self._screen: Screen = lambda request, source, now: None

    # -- bytes and time

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Take one datagram. Never raises on what it holds. `source` is (host, port)."""
        if not data.strip(b"\r\n\0 ") or not source[1]:
            return  # a NAT keepalive
        message = parse(data)
        if isinstance(message, ParseError):
            self._on_garbage(message, source)
        elif isinstance(message, Response):
            self._on_response(message, source, now)
        else:
            seen = message.vias[0].seen_from(source[0], source[1])
            self._on_request(replace(message, vias=(seen, *message.vias[1:])), source, now)

    def refuse(self, data: bytes, source: Address) -> None:
        """Answer a request with 503 and Retry-After, and keep nothing of it; drop what else it may be."""
        message = parse(data)
        if isinstance(message, Request) and message.method != "ACK":
            seen = replace(message, vias=(message.vias[0].seen_from(*source), *message.vias[1:]))
            self._layer.reply_stateless(seen, 503, (("Retry-After", str(self._layer.config.retry_after_s)),))

    def is_ours(self, token: str) -> bool:
        """Whether a token is the tag of a call of ours, or the branch of a request that waits for its
        response: what nobody can know who was not sent it."""
        return self._calls.has_tag(token) or self._layer.has_branch(token)

    def set_screen(self, screen: Screen) -> None:
        """Who judges INVITEs for new calls. Refusals are sent once and keep no memory: the caller's
        retransmissions are judged anew."""
        self._screen = screen

    def tick(self, now: float) -> None:
        """Fire every timer due at `now` (monotonic seconds)."""
        self._layer.timers.wake_due(now)

    def next_wakeup(self) -> float | None:
        """When `tick` is wanted next, or None."""
        return self._layer.timers.next_wakeup()

    def take_datagrams(self) -> list[tuple[bytes, Address]]:
        """What to send, in order."""
        taken, self._layer.datagrams = self._layer.datagrams, []
        return taken

    def take_events(self) -> list[Event]:
        """What happened, in order."""
        taken, self._layer.events = self._layer.events, []
        return taken

    # -- incoming calls

    def ring(self, call: str, now: float, *, status: int = 180, sdp: bytes | None = None) -> bool:
        """Send a provisional response (101 to 199), with early media for 183; it is repeated every minute."""
        _check_status(status, 101, 199)
        found = self._calls.get(call)
        return isinstance(found, IncomingCall) and found.ring(status, sdp, now)

    def answer(self, call: str, sdp: bytes, now: float, *, headers: HeaderPairs = ()) -> bool:
        """Answer with 200. `sdp` is the answer, or our offer if the INVITE had none."""
        found = self._calls.get(call)
        return isinstance(found, IncomingCall) and found.answer(sdp, headers, now)

    def reject(
        self,
        call: str,
        status: int,
        now: float,
        *,
        text: str | None = None,
        reason: Reason | None = None,
        headers: HeaderPairs = (),
    ) -> bool:
        """Refuse with a final status of 300 to 699; `text` replaces the usual reason phrase."""
        _check_status(status, 300, 699)
        found = self._calls.get(call)
        lines = (*headers, reason.header()) if reason else headers
        return isinstance(found, IncomingCall) and found.reject(status, text, lines, now)

    # -- outgoing calls

    def invite(
        self,
        target: Uri,
        sdp: bytes,
        now: float,
        *,
        caller: NameAddr,
        called: NameAddr | None = None,
        destination: Address | None = None,
        credentials: Credentials | None = None,
        headers: HeaderPairs = (),
    ) -> str | None:
        """Call `target` from `caller`. Returns the handle; None if the endpoint is full.

        `destination` is where the INVITE goes; by default host and port of `target`,
        which must then be an IP literal. `called` is the To header (default: `target`).
        Headers of `target` are left out (RFC 3261 19.1.1).
        """
        address = destination or _literal(target)
        target = replace(target, headers="")
        if self._calls.full or self._is_full_of_clients():
            return None
        handle = self._layer.token()
        lines = (("Max-Forwards", "70"), self._layer.contact(caller.uri.user), ALLOW, *headers, SDP_TYPE)
        invite = Request(
            "INVITE",
            target,
            (self._layer.via(),),
            caller.with_tag(handle),
            called or NameAddr(target),
            self._layer.new_call_id(),
            CSeq(1, "INVITE"),
            Headers.of(*lines),
            sdp,
        )
        invite.to_bytes()  # a bad value shows here, before anything has changed
        OutgoingCall(self._calls, handle, invite, address, Authorisation(credentials, self._layer.token)).start(now)
        return handle

    # -- any call

    def hangup(self, call: str, now: float, *, reason: Reason | None = None) -> bool:
        """End the call, whatever its state; `CallEnded` comes at once.

        An answered call gets BYE (after the ACK, if that is still to come); a call of
        ours that rings gets CANCEL (once it was answered provisionally), and a late 200
        gets ACK and BYE; an incoming call that was not answered gets 480.
        """
        found = self._calls.get(call)
        return found is not None and found.hangup(now, reason)

    def offer(self, call: str, sdp: bytes, now: float) -> bool:
        """Send a re-INVITE with a new offer. False also while another is in progress."""
        found = self._calls.get(call)
        return isinstance(found, Session) and found.offer(sdp, now)

    def accept_offer(self, call: str, sdp: bytes, now: float) -> bool:
        """Answer the re-INVITE of `OfferReceived` with 200."""
        found = self._calls.get(call)
        return isinstance(found, Session) and found.accept_offer(sdp, now)

    def refuse_offer(self, call: str, status: int, now: float) -> bool:
        """Refuse the re-INVITE of `OfferReceived`, e.g. with 488; the session stays as it was."""
        _check_status(status, 300, 699)
        found = self._calls.get(call)
        return isinstance(found, Session) and found.refuse_offer(status, now)

    def dialog(self, call: str) -> Dialog | None:
        """The dialog of a call, for the journal; None before there is one.

        It changes with CallArrived, CallProgress, CallAnswered, OfferReceived and OfferAnswered.
        """
        found = self._calls.get(call)
        return None if found is None else found.dialog

    def pending(self, call: str) -> PendingInvite | None:
        """The INVITE of a call of ours that has no final answer, for the journal; it changes with CallProgress."""
        found = self._calls.get(call)
        return found.pending if isinstance(found, OutgoingCall) else None

    def take_back(self, invite: PendingInvite, now: float, *, reason: Reason | None = None) -> str:
        """End an INVITE that an earlier life has sent and that was not settled: CANCEL, or ACK and BYE if
        it was answered meanwhile. Returns the handle of `CancelSent` and `InviteSettled`, the earlier life's."""
        headers = (reason.header(),) if reason else ()
        call = OutgoingCall(
            self._calls,
            invite.request.from_.tag or "",
            invite.request,
            invite.address,
            Authorisation(None, self._layer.token),
        )
        call.take_back(invite, now, headers)
        return call.handle

    def bye_restored(self, dialog: Dialog, now: float, *, reason: Reason | None = None) -> None:
        """Send BYE in a dialog of an earlier life (`Dialog.from_dict`); then `ByeSettled`.

        The far end of a call that we had not answered yet cannot be reached this way: it
        gets 481 to its CANCEL.
        """
        headers = (reason.header(),) if reason else ()
        authorisation = Authorisation(None, self._layer.token)
        Farewell(self._layer, dialog.restored(), authorisation, report=True).send(now, headers)

    # -- the rest

    def respond(
        self,
        transaction: str,
        status: int,
        now: float,
        *,
        text: str | None = None,
        headers: HeaderPairs = (),
        keep: bool = True,
    ) -> bool:
        """Answer a `RegisterArrived`. Without `keep` the transaction is over with that: a challenge or a
        refusal need not be the same for a retransmission, and a flood of them shall fill no memory."""
        _check_status(status, 200, 699)
        server = self._layer.servers.get(transaction)
        if server is None or server.transaction.state is not State.TRYING:
            return False
        request = server.transaction.request
        if request.method != "REGISTER":
            return False
        response = self._layer.response(request, status, tag=self._layer.token(), text=text, headers=headers)
        server.respond(response, now)
        if not keep:
            self._layer.forget_server(server)
        return True

    def set_options_status(self, status: int) -> None:
        """What OPTIONS gets from now on: 200, or e.g. 503 while draining (with Retry-After)."""
        _check_status(status, 200, 699)
        self._options_status = status

    def register(
        self,
        registrar: Uri,
        address_of_record: Uri,
        now: float,
        *,
        expires_s: int = 300,
        destination: Address | None = None,
        credentials: Credentials | None = None,
    ) -> str | None:
        """Register our contact for an address of record and keep it registered.

        Returns the registration's handle; None if the endpoint is full. `destination`
        is by default host and port of `registrar`, which must then be an IP literal.
        """
        address = destination or _literal(registrar)
        if self._is_full_of_clients():
            return None
        handle = self._layer.token()
        contact = self._layer.contact_uri(address_of_record.user)
        target = Target(registrar, address_of_record, contact, address, expires_s)
        registration = Registration(self._layer, handle, target, Authorisation(credentials, self._layer.token))
        self._registrations = {key: kept for key, kept in self._registrations.items() if not kept.over}
        self._registrations[handle] = registration
        registration.send(now)
        return handle

    def unregister(self, registration: str, now: float) -> bool:
        """Take the binding away (Expires: 0) and stop refreshing; then `Unregistered`."""
        found = self._registrations.get(registration)
        return found is not None and found.leave(now)

    # -- inner: what arrives

    def _on_garbage(self, error: ParseError, source: Address) -> None:
        self._layer.emit(DatagramRefused(source, error.where, error.reason))
        if error.reply is not None:
            self._layer.refuse_unread(error.reply, source)

    def _on_response(self, response: Response, source: Address, now: float) -> None:
        # More Vias than ours: misrouted (8.1.3.3). No transaction: stray or very late, nothing to do.
        client = self._layer.clients.get(f"{response.vias[0].branch} {response.cseq.method}")
        if client is not None and len(response.vias) == 1:
            client.receive(response, source, now)

    def _on_request(self, request: Request, source: Address, now: float) -> None:
        server = self._layer.find_server(request)
        if request.method == "ACK":
            self._on_ack(request, server, now)
        elif server is not None:
            server.receive(request, now)
        elif request.method == "CANCEL":
            self._on_cancel(request, now)
        elif (refusal := self._check(request) or self._screened(request, source, now)) is not None:
            status, headers = refusal
            self._layer.reply_stateless(request, status, headers)
        elif request.method == "OPTIONS":
            self._on_options(request)
        elif request.to.tag:
            self._on_request_in_dialog(request, source, now)
        elif request.method == "REGISTER":
            self._on_register(request, source, now)
        else:
            arrived = self._layer.serve(request, now)
            arrived.respond(self._layer.response(request, 100), now)
            IncomingCall(self._calls, arrived, self._layer.token(), source)

    def _check(self, request: Request) -> tuple[int, HeaderPairs] | None:
        return find_refusal(
            request,
            is_merged=self._layer.is_merged(request),
            is_full=self._is_full_for(request),
            retry_after_s=self._layer.config.retry_after_s,
        )

    def _screened(self, request: Request, source: Address, now: float) -> tuple[int, HeaderPairs] | None:
        return self._screen(request, source, now) if request.method == "INVITE" and not request.to.tag else None

    def _is_full_for(self, request: Request) -> bool:
        # What belongs to a call gets twice the room, so that a flood of new requests cannot keep a BYE out.
        limit = self._layer.config.transactions_max * (2 if request.to.tag else 1)
        new_call = request.method == "INVITE" and not request.to.tag
        return len(self._layer.servers) >= limit or (new_call and self._calls.full)

    def _is_full_of_clients(self) -> bool:
        return len(self._layer.clients) >= self._layer.config.transactions_max

    def _on_ack(self, request: Request, server: Server | None, now: float) -> None:
        if server is not None:
            server.receive(request, now)
        # With a 2xx of ours it is the dialog that waits for it, whatever its branch.
        call = self._in_dialog(request)
        if call is not None:
            call.on_ack(request, now)

    def _on_cancel(self, request: Request, now: float) -> None:
        invite = self._layer.servers.get(cancelled_key(request))
        if invite is None or self._is_full_for(request):
            self._layer.reply_stateless(request, 481 if invite is None else 503)
            return
        owner = invite.owner
        # The same To tag as in the responses to the INVITE (9.2).
        tag = owner.handle if owner else self._layer.token()
        self._layer.serve(request, now).respond(self._layer.response(request, 200, tag=tag), now)
        if owner is not None:
            owner.on_cancel(invite, request, now)

    def _on_options(self, request: Request) -> None:
        if request.to.tag and self._in_dialog(request) is None:
            self._layer.reply_stateless(request, 481)
            return
        headers: list[tuple[str, str]] = [ALLOW, ("Accept", "application/sdp"), ("Accept-Encoding", "identity")]
        if self._options_status == 503:
            headers.append(("Retry-After", str(self._layer.config.retry_after_s)))
        self._layer.reply_stateless(request, self._options_status, headers)

    def _on_request_in_dialog(self, request: Request, source: Address, now: float) -> None:
        call = self._in_dialog(request)
        if call is None:
            self._layer.reply_stateless(request, 481)
        elif request.method == "REGISTER":
            self._layer.reply_stateless(request, 403)
        else:
            call.on_request(request, source, now)

    def _in_dialog(self, request: Request) -> InDialog | None:
        return self._calls.in_dialog(dialog_key(request.call_id, request.to.tag, request.from_.tag))

    def _on_register(self, request: Request, source: Address, now: float) -> None:
        server = self._layer.serve(request, now)
        self._layer.emit(RegisterArrived(server.key, request, source))


def _check_status(status: int, low: int, high: int) -> None:
    if not low <= status <= high:
        raise ValueError(f"status {status} does not fit here: use {low} to {high}")


def _literal(uri: Uri) -> Address:
    address = literal_address(uri)
    if address is None:
        raise ValueError(f"the host of {uri} is no IP literal: look it up and give it as `destination`")
    return address
