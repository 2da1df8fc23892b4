"""The transaction layer (RFC 3261 section 17): matches messages to transactions and drives them.

What endpoint, calls and registrations share: datagrams out, events out, timers, tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from tandem.wire.sip.events import Address, EndpointConfig, Event
from tandem.wire.sip.message import Refusal, Request, Response, respond_to
from tandem.wire.sip.timers import Timers, Wakeable
from tandem.wire.sip.transaction import (
    ClientTransaction,
    InviteClient,
    InviteServer,
    RequestClient,
    RequestServer,
    ServerTransaction,
    State,
    client_key,
    server_key,
)
from tandem.wire.sip.uri import MAGIC_COOKIE, NameAddr, Uri, Via

HeaderPairs = Sequence[tuple[str, str]]
SDP_TYPE = ("Content-Type", "application/sdp")
SENT = ("INVITE", "BYE", "CANCEL", "REGISTER")
"""Methods of the requests that we send and that are answered."""
ALLOW = ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REGISTER")


class InviteOwner(Protocol):
    """Who works off an INVITE of the far end."""

    handle: str
    """The tag that it answers with."""

    def on_cancel(self, server: Server, cancel: Request, now: float) -> None:
        """The far end takes back the INVITE of this transaction; the CANCEL was answered."""


class Owner(Protocol):
    """Who sent a request and wants its responses."""

    def on_response(self, request: Request, response: Response, source: Address, now: float) -> None:
        """A response to `request` that the transaction did not absorb."""

    def on_timeout(self, request: Request, now: float) -> None:
        """No response came to `request` (or no final one, if it is no INVITE)."""


class Client:
    """A client transaction, whom it belongs to and where it sends."""

    def __init__(self, layer: Layer, transaction: ClientTransaction, address: Address, owner: Owner) -> None:
        self.transaction = transaction
        self.owner = owner
        self.key = client_key(transaction.request)
        self._layer = layer
        self._address = address

    def next_wakeup(self) -> float | None:
        """The transaction's deadline."""
        return self.transaction.next_wakeup()

    def wake(self, now: float) -> None:
        """Fire the transaction's timers."""
        timed_out = self.transaction.tick(now)
        self.flush()
        if timed_out:
            self.owner.on_timeout(self.transaction.request, now)

    def receive(self, response: Response, source: Address, now: float) -> None:
        """Take a response."""
        seen = self.transaction.receive(response, now)
        self.flush()
        if seen is not None:
            self.owner.on_response(self.transaction.request, seen, source, now)

    def give_up_at(self, when: float) -> None:
        """For an INVITE: end at `when` even if it was answered provisionally and then no more."""
        if isinstance(self.transaction, InviteClient):
            self.transaction.give_up_at(when)
            self.flush()

    def flush(self) -> None:
        """Pass on what the transaction wants sent; forget it if it is done."""
        self._layer.send_all(self.transaction.datagrams, self._address)
        self._layer.timers.arm(self)
        if self.transaction.state is State.TERMINATED:
            self._layer.clients.pop(self.key, None)


class Server:
    """A server transaction and where it sends."""

    def __init__(self, layer: Layer, transaction: ServerTransaction, key: str) -> None:
        self.transaction = transaction
        self.key = key
        self.owner: InviteOwner | None = None
        self._layer = layer
        self._address = transaction.request.vias[0].reply_address()

    def next_wakeup(self) -> float | None:
        """The transaction's deadline."""
        return self.transaction.next_wakeup()

    def wake(self, now: float) -> None:
        """Fire the transaction's timers. That an ACK to a failure never came changes nothing."""
        self.transaction.tick(now)
        self.flush()

    def receive(self, request: Request, now: float) -> None:
        """Take a retransmission or an ACK to a failure."""
        self.transaction.receive(request, now)
        self.flush()

    def respond(self, response: Response, now: float) -> None:
        """Send a response."""
        self.transaction.respond(response, now)
        self.flush()

    def flush(self) -> None:
        """Pass on what the transaction wants sent; forget it if it is done."""
        self._layer.send_all(self.transaction.datagrams, self._address)
        self._layer.timers.arm(self)
        if self.transaction.state is State.TERMINATED:
            self._layer.forget_server(self)


class Layer:
    """All transactions of one endpoint."""

    def __init__(self, config: EndpointConfig, token: Callable[[], str]) -> None:
        self.config = config
        self.token = token
        self.timers = Timers()
        self.clients: dict[str, Client] = {}
        self.servers: dict[str, Server] = {}
        self.datagrams: list[tuple[bytes, Address]] = []
        self.events: list[Event] = []
        self._requests: dict[str, str] = {}  # identity of a request outside a dialog -> server key
        self._tag_secret = token()

    # -- identity

    def via(self) -> Via:
        """A Via with a new branch, asking for rport (RFC 3581)."""
        params = (("branch", MAGIC_COOKIE + self.token()), ("rport", None))
        return Via(bracketed(self.config.host), self.config.port, params)

    def contact(self, user: str | None = None) -> tuple[str, str]:
        """Our Contact header."""
        return "Contact", str(NameAddr(self.contact_uri(user)))

    def contact_uri(self, user: str | None = None) -> Uri:
        """Our own URI."""
        return Uri(bracketed(self.config.host), user, self.config.port)

    def new_call_id(self) -> str:
        """A new Call-ID."""
        return f"{self.token()}@{bracketed(self.config.host)}"

    def stateless_tag(self, *identity: str) -> str:
        """A To tag that is the same for every retransmission of a request (8.2.7)."""
        return hashlib.sha256(" ".join((self._tag_secret, *identity)).encode()).hexdigest()[:16]

    # -- requests out

    def request(self, request: Request, address: Address, owner: Owner, now: float) -> Client:
        """Send a request in a new client transaction."""
        machine = InviteClient if request.method == "INVITE" else RequestClient
        stamped = replace(request, headers=request.headers.plus((("User-Agent", self.config.user_agent),)))
        return self._begin(machine(stamped, self.config.timers, now), address, owner)

    def resume(self, invite: Request, address: Address, owner: Owner, now: float, *, resend: bool) -> Client:
        """Take up the transaction of an INVITE that an earlier life has sent, byte for byte as it was."""
        transaction = InviteClient(invite, self.config.timers, now)
        if not resend:
            transaction.hush(now)
        return self._begin(transaction, address, owner)

    def _begin(self, transaction: ClientTransaction, address: Address, owner: Owner) -> Client:
        client = Client(self, transaction, address, owner)
        self.clients[client.key] = client
        client.flush()
        return client

    def ack(self, request: Request, address: Address) -> bytes:
        """Send the ACK to a 2xx, which is in no transaction; returns it for the next time."""
        wire = request.to_bytes()
        self.datagrams.append((wire, address))
        return wire

    def has_branch(self, token: str) -> bool:
        """Whether a request of ours with that branch waits for its response."""
        branch = MAGIC_COOKIE + token
        return any(f"{branch} {method}" in self.clients for method in SENT)

    # -- requests in

    def find_server(self, request: Request) -> Server | None:
        """The transaction that this request (or ACK to a failure) belongs to."""
        return self.servers.get(server_key(request))

    def is_merged(self, request: Request) -> bool:
        """Whether the same request is being worked off, having come by another path (8.2.2.2)."""
        return _identity(request) in self._requests

    def serve(self, request: Request, now: float) -> Server:
        """Begin a server transaction."""
        machine = InviteServer if request.method == "INVITE" else RequestServer
        server = Server(self, machine(request, self.config.timers, now), server_key(request))
        self.servers[server.key] = server
        self._requests[_identity(request)] = server.key
        self.timers.arm(server)
        return server

    def forget_server(self, server: Server) -> None:
        """The transaction is over."""
        self.timers.disarm(server)
        self.servers.pop(server.key, None)
        identity = _identity(server.transaction.request)
        if self._requests.get(identity) == server.key:
            del self._requests[identity]

    def response(
        self,
        request: Request,
        status: int,
        *,
        tag: str | None = None,
        text: str | None = None,
        headers: HeaderPairs = (),
        body: bytes = b"",
    ) -> Response:
        """A response that names us; a body is SDP."""
        pairs = [("Server", self.config.user_agent), *headers]
        if body:
            pairs.append(SDP_TYPE)
        return respond_to(request, status, to_tag=tag, reason=text, headers=pairs, body=body)

    def reply_stateless(self, request: Request, status: int, headers: HeaderPairs = ()) -> None:
        """Answer without a transaction: the same request gets the same response each time (8.2.7)."""
        via = request.vias[0]
        tag = self.stateless_tag(via.branch, request.call_id, str(request.cseq))
        response = self.response(request, status, tag=tag, headers=headers)
        self.datagrams.append((response.to_bytes(), via.reply_address()))

    def refuse_unread(self, refusal: Refusal, source: Address) -> None:
        """Answer a request that could not be parsed."""
        via = refusal.via.seen_from(source[0], source[1])
        tag = self.stateless_tag(via.branch, *(value for _, value in refusal.copied))
        self.datagrams.append((refusal.to_bytes(via, tag, self.config.user_agent), via.reply_address()))

    # -- out

    def send_all(self, datagrams: list[bytes], address: Address) -> None:
        """Move a transaction's datagrams to the way out."""
        self.datagrams += [(data, address) for data in datagrams]
        datagrams.clear()

    def emit(self, event: Event) -> None:
        """Tell the application."""
        self.events.append(event)

    def arm(self, target: Wakeable) -> None:
        """Take over a deadline."""
        self.timers.arm(target)


def bracketed(host: str) -> str:
    """A host for URI or Via: an IPv6 literal in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _identity(request: Request) -> str:
    return f"{request.from_.tag} {request.call_id} {request.cseq} {request.to.tag}"
