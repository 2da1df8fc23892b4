"""How many connections there may be, and how slow one may be: in front of everything that reads HTTP.

A connection costs a file and a buffer before anybody knows whose it is, so who opens many, or says a
request a byte at a time, must be bounded here. A connection above the limits is told so when it has
asked something (before that the answer could be lost in a reset) and closed; of those there are at most
`REFUSED_MAX`, others are closed at once. No deadline runs while a request is being answered: a live
stream may last for days, as long as its client reads.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from tandem.core.errors import REQUEST_TOO_SLOW, TOO_MANY_CONNECTIONS, Rejected
from tandem.gateway.problems import answer

REFUSED_MAX = 100
"""Connections that wait to be told that they are too many."""
REFUSED_S = 2.0
"""How long one of them may take to ask something."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Connections at once, and of one address; seconds in which a request's head, then its body,
    must have come, and in which a client must take what it is sent."""

    most: int = 500
    most_per_address: int = 200
    head_s: float = 10.0
    body_s: float = 30.0
    unread_s: float = 30.0


class Connections:
    """Counts the open connections of one server. `protocol` is uvicorn's `http`."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.refused = 0
        """Connections turned away so far."""
        self.slow = 0
        """Connections closed so far because their client was too slow."""
        self.waiting = 0
        self._open: Counter[str] = Counter()

    def protocol(self, *arguments: Any, **keywords: Any) -> _Protocol:
        """A protocol for one connection."""
        return _Protocol(self, *arguments, **keywords)

    @property
    def open(self) -> int:
        """How many are open."""
        return self._open.total()

    def enter(self, address: str) -> Rejected | None:
        """Count a connection; why it may not be, if it may not."""
        limits = self.limits
        if self._open[address] >= limits.most_per_address:
            return self._too_many(f"your address has {limits.most_per_address} connections open", address)
        if self._open.total() >= limits.most:
            return self._too_many(f"{limits.most} connections are open here", address)
        self._open[address] += 1
        return None

    def leave(self, address: str) -> None:
        """One of that address has ended."""
        self._open[address] -= 1
        self._forget(address)

    def _too_many(self, text: str, address: str) -> Rejected:
        self.refused += 1
        self._forget(address)
        return Rejected(TOO_MANY_CONNECTIONS, text, retry_after_s="1")

    def _forget(self, address: str) -> None:
        if not self._open[address]:
            del self._open[address]


class _Protocol(H11Protocol):
    """uvicorn's, with limits. One deadline runs at a time: for what is awaited from the client."""

    def __init__(self, connections: Connections, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._all, self._limits = connections, connections.limits
        self._address = ""
        self._refusal: Rejected | None = None
        self._entered = False
        self._awaited = ""  # from the client: a "head", a "body" or nothing
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ beginning and end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._refusal = self._all.enter(self._address)
        if self._refusal is None:
            self._entered = True
            super().connection_made(transport)
            self._await("head")
            return
        self.transport = transport
        self._all.waiting += 1
        if self._all.waiting > REFUSED_MAX:
            transport.abort()
        else:
            self._deadline = self.loop.call_later(REFUSED_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._await("")
        self._read_on()
        if not self._entered:
            self._all.waiting -= 1
            return
        self._all.leave(self._address)
        super().connection_lost(exc)

    # ------------------------------------------------------------------ what the client sends

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._refusal is not None:
            self._say(self._refusal)
            return
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """See uvicorn: what was sent behind the request is looked at now."""
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        """Begin or end the deadline, by what is awaited now."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        if self.transport.is_closing():
            self._await("")
        elif cycle is None:
            self._await("head")
        elif not cycle.response_complete:
            self._await("body" if cycle.more_body else "")
        else:
            self._await("head" if self.conn.trailing_data[0] else "")

    def _await(self, what: str) -> None:
        if what == self._awaited:
            return
        self._awaited = what
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if what:
            limit_s = self._limits.head_s if what == "head" else self._limits.body_s
            self._deadline = self.loop.call_later(limit_s, self._too_slow, what, limit_s)

    def _too_slow(self, what: str, limit_s: float) -> None:
        self._all.slow += 1
        if what == "body":
            self.transport.abort()  # whoever reads it is told; an answer may be under way already
        else:
            self._say(Rejected(REQUEST_TOO_SLOW, f"the head of a request must come within {limit_s:g} s"))

    # ------------------------------------------------------------------ what the client takes

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._limits.unread_s, self._unread_for_long)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._read_on()

    def _unread_for_long(self) -> None:
        self._all.slow += 1
        self.transport.abort()

    def _read_on(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # ------------------------------------------------------------------ refusals

    def _say(self, refusal: Rejected) -> None:
        response = answer(refusal)
        lines = [f"HTTP/1.1 {response.status_code} {response.status_code}", "connection: close"]
        lines += [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in response.raw_headers]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + bytes(response.body))
        self.transport.close()
