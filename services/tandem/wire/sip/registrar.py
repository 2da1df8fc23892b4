"""The table of a registrar (RFC 3261 section 10.3), pure.

Who may register what was checked before (`digest.Authenticator`). Times are those that
the caller passes as `now`; an exported table is only good where that clock goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tandem.wire.sip.events import Address
from tandem.wire.sip.grammar import Malformed
from tandem.wire.sip.message import Request, expires_of
from tandem.wire.sip.status import phrase
from tandem.wire.sip.uri import STAR, NameAddr, Uri, parse_uri


@dataclass(frozen=True, slots=True)
class RegistrarConfig:
    """Bounds of a registrar's table. Times in seconds."""

    contacts_max: int = 10
    """Contacts of one address of record. One more: 403."""
    records_max: int = 10_000
    """Addresses of record with a contact. One more: 503."""
    expires_min_s: int = 60
    """Less, other than 0, gets 423."""
    expires_max_s: int = 3600
    """More is shortened to this; what is asked for by default, too."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Where one device of an address of record is."""

    contact: Uri
    """The Request-URI for calls to it."""
    address: Address
    """Where its REGISTER came from: calls go there, through its NAT."""
    call_id: str
    cseq: int
    expires_at: float
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding is new or was refreshed."""

    record: str
    binding: Binding
    is_new: bool


@dataclass(frozen=True, slots=True)
class Unbound:
    """A binding is gone: taken away by its device, or expired."""

    record: str
    binding: Binding
    expired: bool


Change = Bound | Unbound


@dataclass(frozen=True, slots=True)
class RegisterReply:
    """What to answer a REGISTER (`Endpoint.respond`), and what it changed."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()


class Registrar:
    """Bindings of addresses of record."""

    def __init__(self, config: RegistrarConfig | None = None) -> None:
        self._config = config or RegistrarConfig()
        self._records: dict[str, dict[tuple[str, str, str, int], Binding]] = {}

    def register(self, record: str, request: Request, source: Address, now: float) -> RegisterReply:
        """Take a REGISTER for `record`: all of it, or nothing (10.3)."""
        expired = tuple(self._expire(record, now))
        reply = self._register(record, request, source, now)
        return RegisterReply(reply.status, reply.text, reply.headers, expired + reply.changes)

    def bindings(self, record: str, now: float) -> tuple[Binding, ...]:
        """The live bindings of an address of record, the latest last."""
        live = [binding for binding in self._records.get(record, {}).values() if binding.expires_at > now]
        return tuple(sorted(live, key=lambda binding: binding.expires_at))

    def records(self) -> tuple[str, ...]:
        """The addresses of record with a binding, in order of their first registration."""
        return tuple(self._records)

    def next_wakeup(self) -> float | None:
        """When the next binding expires, or None."""
        return min((b.expires_at for table in self._records.values() for b in table.values()), default=None)

    def tick(self, now: float) -> tuple[Unbound, ...]:
        """Drop what expired."""
        return tuple(change for record in list(self._records) for change in self._expire(record, now))

    def drop(self, record: str) -> tuple[Unbound, ...]:
        """Take all bindings away: the user is gone."""
        return tuple(Unbound(record, binding, False) for binding in self._records.pop(record, {}).values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a journal."""
        return {
            record: [
                {
                    "contact": str(b.contact),
                    "address": list(b.address),
                    "call_id": b.call_id,
                    "cseq": b.cseq,
                    "expires_at": b.expires_at,
                    "user_agent": b.user_agent,
                }
                for b in table.values()
            ]
            for record, table in self._records.items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], config: RegistrarConfig | None = None) -> Registrar:
        """The inverse of `to_dict`. `ValueError` if that is not what `data` is."""
        registrar = cls(config)
        try:
            for record, kept in data.items():
                table = {}
                for entry in kept:
                    host, port = entry["address"]
                    binding = Binding(
                        parse_uri(entry["contact"], "contact"),
                        (str(host), int(port)),
                        str(entry["call_id"]),
                        int(entry["cseq"]),
                        float(entry["expires_at"]),
                        str(entry["user_agent"]),
                    )
                    table[binding.contact.key()] = binding
                registrar._records[str(record)] = table
        except (Malformed, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not a kept registrar table ({error!r}): drop this journal entry") from error
        return registrar

    def _register(self, record: str, request: Request, source: Address, now: float) -> RegisterReply:
        contacts = request.contacts()
        table = self._records.get(record, {})
        if any(contact.uri is STAR for contact in contacts):
            if expires_of(request.headers) != 0:
                return RegisterReply(400, "'Contact: *' needs 'Expires: 0'")
            contacts = tuple(NameAddr(binding.contact) for binding in table.values())
        if any(not contact.uri.is_sip for contact in contacts):
            return RegisterReply(400, "Contact is no SIP URI")
        wanted = {contact.uri.key(): (contact.uri, self._asked(contact, request)) for contact in contacts}
        if any(0 < expires_s < self._config.expires_min_s for _, expires_s in wanted.values()):
            return RegisterReply(423, phrase(423), (("Min-Expires", str(self._config.expires_min_s)),))
        if any(key in table and _is_older(request, table[key]) for key in wanted):
            return RegisterReply(500, "Out of order: a later REGISTER was taken")
        after = dict(table)
        changes: list[Change] = []
        for key, (uri, expires_s) in wanted.items():
            before = after.pop(key, None)
            if expires_s:
                expires_at = now + min(expires_s, self._config.expires_max_s)
                agent = request.headers.get("User-Agent") or ""
                after[key] = Binding(uri, source, request.call_id, request.cseq.number, expires_at, agent)
                changes.append(Bound(record, after[key], before is None))
            elif before is not None:
                changes.append(Unbound(record, before, False))
        if len(after) > self._config.contacts_max:
            return RegisterReply(403, f"More than {self._config.contacts_max} contacts: take one away first")
        if after and not table and len(self._records) >= self._config.records_max:
            return RegisterReply(503, "Registrar full", (("Retry-After", "60"),))
        self._store(record, after)
        return RegisterReply(200, phrase(200), _contact_headers(after, now), tuple(changes))

    def _asked(self, contact: NameAddr, request: Request) -> int:
        """Seconds asked for: the contact's, the header's, else ours. What is no number counts as ours (20.19)."""
        own = contact.param("expires")
        if own is not None and own.isascii() and own.isdigit() and len(own) <= 10:
            return int(own)
        common = expires_of(request.headers) if own is None else None
        return self._config.expires_max_s if common is None else common

    def _expire(self, record: str, now: float) -> list[Unbound]:
        table = self._records.get(record, {})
        gone = [binding for binding in table.values() if binding.expires_at <= now]
        if gone:
            self._store(record, {key: binding for key, binding in table.items() if binding.expires_at > now})
        return [Unbound(record, binding, True) for binding in gone]

    def _store(self, record: str, table: dict[tuple[str, str, str, int], Binding]) -> None:
        if table:
            self._records[record] = table
        else:
            self._records.pop(record, None)


def address_of_record(request: Request) -> str:
    """Whom a REGISTER is for: `user@host` of its To, host in lower case (10.3, step 5)."""
    return f"{request.to.uri.number}@{request.to.uri.host.lower()}"


def _is_older(request: Request, binding: Binding) -> bool:
    """A REGISTER that was overtaken on the way (10.3, step 7)."""
    return binding.call_id == request.call_id and request.cseq.number <= binding.cseq


def _contact_headers(table: Mapping[tuple[str, str, str, int], Binding], now: float) -> tuple[tuple[str, str], ...]:
    lines = []
    for binding in table.values():
        left_s = max(0, round(binding.expires_at - now))
        lines.append(("Contact", str(NameAddr(binding.contact, "", (("expires", str(left_s)),)))))
    return tuple(lines)
