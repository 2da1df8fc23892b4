"""A registration of ours, kept up (RFC 3261 section 10.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tandem.wire.sip.authorisation import Authorisation
from tandem.wire.sip.events import Address, Registered, RegistrationFailed, Unregistered
from tandem.wire.sip.headers import Headers
from tandem.wire.sip.layer import Layer
from tandem.wire.sip.message import EXPIRES_MAX, CSeq, Request, Response, expires_of
from tandem.wire.sip.uri import NameAddr, Uri

EXPIRES_ASKED_MAX_S = 86_400
"""We follow a registrar's Min-Expires up to here."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a registration asks for what."""

    registrar: Uri
    address_of_record: Uri
    contact: Uri
    address: Address
    expires_s: int


class Registration:
    """One address of record at one registrar. Never has two REGISTERs under way (10.2)."""

    def __init__(self, layer: Layer, handle: str, target: Target, authorisation: Authorisation) -> None:
        self.handle = handle
        self._layer = layer
        self._target = target
        self._authorisation = authorisation
        self._call_id = layer.new_call_id()
        self._cseq = 0
        self._pending = False
        self._refresh_at: float | None = None
        self._leaving = False
        self.over = False
        """Whether this registration will not act again."""

    def send(self, now: float) -> None:
        """REGISTER now, with the credentials that worked last time."""
        self._refresh_at = None
        self._pending = True
        self._cseq += 1
        expires_s = 0 if self._leaving else self._target.expires_s
        record = NameAddr(self._target.address_of_record)
        headers = Headers.of(
            ("Max-Forwards", "70"),
            ("Contact", str(NameAddr(self._target.contact))),
            ("Expires", str(expires_s)),
            *self._authorisation.headers("REGISTER", str(self._target.registrar)),
        )
        request = Request(
            "REGISTER",
            self._target.registrar,
            (self._layer.via(),),
            record.with_tag(self.handle),
            record,
            self._call_id,
            CSeq(self._cseq, "REGISTER"),
            headers,
        )
        self._layer.request(request, self._target.address, self, now)
        self._layer.arm(self)

    def leave(self, now: float) -> bool:
        """Take the binding away; after the REGISTER that is under way, if one is."""
        if self.over or self._leaving:
            return False
        self._leaving = True
        if not self._pending:
            self.send(now)
        return True

    def on_response(self, request: Request, response: Response, source: Address, now: float) -> None:
        """The registrar's answer."""
        if response.status < 200:
            return
        self._pending = False
        if response.status in (401, 407) and self._authorisation.accepts(response):
            self.send(now)
            return
        self._authorisation.settled()
        if self._leaving:
            if expires_of(request.headers) == 0:
                self._finish(Unregistered(self.handle))
            else:
                self.send(now)
        elif response.status < 300:
            self._keep(_granted(response, self._target), now)
        elif response.status == 423 and self._ask_for_more(response):
            self.send(now)
        else:
            self._finish(RegistrationFailed(self.handle, response.status, response.reason))

    def on_timeout(self, request: Request, now: float) -> None:
        """The registrar is not there."""
        self._pending = False
        if self._leaving:
            self._finish(Unregistered(self.handle))
        else:
            self._finish(RegistrationFailed(self.handle, 408, "Request Timeout"))

    def next_wakeup(self) -> float | None:
        """When to refresh."""
        return self._refresh_at

    def wake(self, now: float) -> None:
        """Refresh."""
        self.send(now)

    def _keep(self, expires_s: int, now: float) -> None:
        # Early enough for a whole transaction to fail and another to begin, and never in a tight loop.
        margin_s = min(expires_s / 2, 2 * self._layer.config.timers.give_up)
        self._refresh_at = now + max(1.0, expires_s - margin_s)
        self._layer.arm(self)
        self._layer.emit(Registered(self.handle, expires_s))

    def _ask_for_more(self, response: Response) -> bool:
        minimum = response.headers.get("Min-Expires") or ""
        if not (minimum.isascii() and minimum.isdigit() and len(minimum) < 10):
            return False
        if not self._target.expires_s < int(minimum) <= EXPIRES_ASKED_MAX_S:
            return False
        self._target = replace(self._target, expires_s=int(minimum))
        return True

    def _finish(self, event: RegistrationFailed | Unregistered) -> None:
        self.over = True
        self._refresh_at = None
        self._layer.timers.disarm(self)
        self._layer.emit(event)


def _granted(response: Response, target: Target) -> int:
    """The seconds that the registrar gave our contact (10.2.4)."""
    for contact in response.contacts():
        value = contact.param("expires")
        if contact.uri.key() == target.contact.key() and value and value.isascii() and value.isdigit():
            return min(int(value[:10]), EXPIRES_MAX)
    expires_s = expires_of(response.headers)
    return target.expires_s if expires_s is None else expires_s
