"""Dialog state (RFC 3261 section 12): a frozen value that a journal can keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tandem.wire.sip.grammar import Malformed
from tandem.wire.sip.headers import Headers
from tandem.wire.sip.message import CSEQ_MAX, CSeq, Request, Response, addresses
from tandem.wire.sip.uri import STAR, NameAddr, Uri, Via, parse_name_addr, parse_uri

Address = tuple[str, int]

RESTORED_CSEQ_STEP = 100
"""What a restored dialog's CSeq is raised by: more than the requests that can have
been sent since the last entry in the journal."""


@dataclass(frozen=True, slots=True)
class Dialog:
    """One peer-to-peer SIP relationship, as this side sees it."""

    call_id: str
    local: NameAddr
    """Our From or To value, with our tag."""

    remote: NameAddr
    """Theirs, with their tag (which a peer of RFC 2543 may lack)."""

    target: Uri
    """The far end's Contact: the Request-URI of what we send."""

    address: Address
    """Where the far end's last datagram came from; used if the next hop is no IP literal."""

    routes: tuple[NameAddr, ...] = ()
    local_cseq: int = 0
    remote_cseq: int | None = None

    @property
    def local_tag(self) -> str:
        """Our tag, which is also the call's handle."""
        return self.local.tag or ""

    @property
    def key(self) -> str:
        """What a message within the dialog is matched by (12.2.2)."""
        return dialog_key(self.call_id, self.local_tag, self.remote.tag)

    def next_hop(self) -> Address:
        """Where requests go: the first route, else the target (8.1.2)."""
        hop = self.routes[0].uri if self.routes else self.target
        return literal_address(hop) or self.address

    def request(
        self, method: str, via: Via, *, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> tuple[Dialog, Request]:
        """The next request in this dialog (12.2.1.1), and the dialog with its CSeq."""
        number = self.local_cseq + 1
        return replace(self, local_cseq=number), self._build(method, number, via, headers, body)

    def ack(self, number: int, via: Via, *, headers: Iterable[tuple[str, str]] = ()) -> Request:
        """The ACK to a 2xx of our INVITE with this CSeq (13.2.2.4)."""
        return self._build("ACK", number, via, headers, b"")

    def refreshed(self, message: Request | Response, source: Address) -> Dialog:
        """With the far end's new Contact, from a re-INVITE or its 2xx (12.2)."""
        contact = _target(message)
        return replace(self, address=source, target=self.target if contact is None else contact)

    def received(self, request: Request) -> Dialog | None:
        """With the far end's CSeq; None if that is out of order (12.2.2: answer 500)."""
        if self.remote_cseq is not None and request.cseq.number <= self.remote_cseq:
            return None
        return replace(self, remote_cseq=request.cseq.number)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a journal."""
        return {
            "call_id": self.call_id,
            "local": str(self.local),
            "remote": str(self.remote),
            "target": str(self.target),
            "routes": [str(route) for route in self.routes],
            "address": list(self.address),
            "local_cseq": self.local_cseq,
            "remote_cseq": self.remote_cseq,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Dialog:
        """The inverse of `to_dict`. `ValueError` if that is not what `data` is."""
        try:
            host, port = data["address"]
            remote_cseq = data["remote_cseq"]
            return cls(
                str(data["call_id"]),
                parse_name_addr(data["local"], "local"),
                parse_name_addr(data["remote"], "remote"),
                parse_uri(data["target"], "target"),
                (str(host), int(port)),
                tuple(parse_name_addr(route, "routes") for route in data["routes"]),
                int(data["local_cseq"]),
                None if remote_cseq is None else int(remote_cseq),
            )
        except (Malformed, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not a kept dialog ({error!r}): drop this journal entry") from error

    def restored(self) -> Dialog:
        """With a CSeq that is above whatever was sent before the journal was read back."""
        return replace(self, local_cseq=min(self.local_cseq + RESTORED_CSEQ_STEP, CSEQ_MAX - 1))

    def _build(self, method: str, number: int, via: Via, headers: Iterable[tuple[str, str]], body: bytes) -> Request:
        uri, routes = self.target, self.routes
        if routes and routes[0].uri.param("lr") is None:
            # A strict router wants itself as Request-URI and the target at the end (12.2.1.1).
            uri, routes = replace(routes[0].uri, headers=""), (*routes[1:], NameAddr(self.target))
        pairs = (("Max-Forwards", "70"), *(("Route", str(route)) for route in routes), *headers)
        return Request(
            method, uri, (via,), self.local, self.remote, self.call_id, CSeq(number, method), Headers.of(*pairs), body
        )


def dialog_key(call_id: str, local_tag: str | None, remote_tag: str | None) -> str:
    """A dialog's identity. A Call-ID holds no blanks, so the parts cannot run together."""
    return f"{call_id} {local_tag or ''} {remote_tag or ''}"


def dialog_of_server(request: Request, local_tag: str, source: Address) -> Dialog:
    """The dialog that our response with `local_tag` to this INVITE makes (12.1.1)."""
    return Dialog(
        request.call_id,
        request.to.with_tag(local_tag),
        request.from_,
        _target(request) or replace(request.from_.uri, headers=""),
        source,
        addresses(request.headers, "Record-Route"),
        0,
        request.cseq.number,
    )


def dialog_of_client(request: Request, response: Response, source: Address) -> Dialog:
    """The dialog that this response to our INVITE makes (12.1.2)."""
    return Dialog(
        request.call_id,
        request.from_,
        response.to,
        _target(response) or request.uri,
        source,
        addresses(response.headers, "Record-Route")[::-1],
        request.cseq.number,
        None,
    )


def literal_address(uri: Uri) -> Address | None:
    """Where a URI leads without a look-up in DNS; None if its host is a name."""
    host = uri.host.strip("[]")
    is_v4 = host.count(".") == 3 and all(part.isdigit() and int(part) < 256 for part in host.split("."))
    if not uri.is_sip or not (is_v4 or ":" in host):
        return None
    return host, uri.port or 5060


def _target(message: Request | Response) -> Uri | None:
    contacts = message.contacts()
    usable = contacts and contacts[0].uri is not STAR and contacts[0].uri.is_sip
    # A Request-URI has no headers (19.1.1); those of a Contact would be its sender's orders to us.
    return replace(contacts[0].uri, headers="") if usable else None
