"""Clients of the API: agents' desktops and supervisors. They repeat what is not answered, under the
same request id, and keep what was acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.seal import fingerprint
from tandem.runtime.step import Offer
from tandem.simulation.chance import Chance
from tandem.simulation.scheduler import Scheduler
from tandem.simulation.seat import Seat

TRIES = 20
PATIENCE_MS = 5_000


class Desktops(Protocol):
    """What clients need of the cell."""

    def seat_of(self, kind: str, shard: int) -> Seat | None:
        """The live owner of a kind."""
        ...

    def acknowledged(self, asked: Asked, value: Any) -> None:
        """A client holds an answer."""
        ...

    def reached(self, what: str) -> None:
        """A branch of the runtime was reached."""
        ...


@dataclass(slots=True)
class Asked:
    """A request, through all its repeats."""

    tenant: str
    shard: int
    stream: str
    command: Any
    request: str
    done: Callable[[Any, Rejected | None], None]
    tries: int = 0
    over: bool = False
    repeats: bool = False  # asks once more although it was answered


class _Try:
    """One try: an answer that comes after its time-out is not heard."""

    def __init__(self, client: Clients, asked: Asked) -> None:
        self._client, self._asked, self._turn = client, asked, asked.tries

    def told(self, value: Any, error: Rejected | None) -> None:
        """See `owners.Asker`."""
        self._client.answered(self._asked, self._turn, value, error)


class Clients:
    """All clients."""

    def __init__(self, scheduler: Scheduler, chance: Chance, cell: Desktops, mark: str = "r") -> None:
        """`mark` begins their request ids."""
        self._scheduler, self._chance, self._cell, self._mark = scheduler, chance, cell, mark
        self._count = 0
        self.open = 0

    def ask(
        self,
        tenant: str,
        shard: int,
        stream: str,
        command: Any,
        done: Callable[[Any, Rejected | None], None] = lambda value, error: None,
    ) -> None:
        """Ask until there is an answer."""
        self._count += 1
        asked = Asked(tenant, shard, stream, command, f"{tenant}|{self._mark}{self._count}", done)
        asked.repeats = self._chance.one_in(6)
        self.open += 1
        self._try(asked)

    def _try(self, asked: Asked) -> None:
        if asked.over:
            return
        asked.tries += 1
        if asked.tries > TRIES:
            self._end(asked, None, Rejected(NO_OWNER, "the client gave up"))
            return
        turn = asked.tries
        seat = self._cell.seat_of(asked.stream.partition("/")[0], asked.shard)
        if seat is None or not seat.live:
            self._scheduler.after(self._chance.between(100, 800), lambda: self._try(asked))
            return
        digest = fingerprint(asked.stream.encode(), repr(asked.command).encode())
        offer = Offer(
            "client/c1", 0, asked.tenant, asked.stream, asked.command, request=asked.request, digest=digest, actor="c1"
        )
        self._scheduler.after(PATIENCE_MS, lambda: self._timed_out(asked, turn))
        seat.ask(offer, _Try(self, asked))

    def _timed_out(self, asked: Asked, turn: int) -> None:
        if not asked.over and asked.tries == turn:
            self._try(asked)

    def answered(self, asked: Asked, turn: int, value: Any, error: Rejected | None) -> None:
        """An answer came."""
        if asked.over or asked.tries != turn:
            return
        if error is not None and error.reason is NO_OWNER:
            self._scheduler.after(self._chance.between(50, 500), lambda: self._try(asked))
            return
        if error is None:
            self._cell.acknowledged(asked, value)
            if asked.tries > 1:
                self._cell.reached("a repeated request id")
        if asked.repeats:
            # The answer was lost on its way to the client.
            asked.repeats = False
            self._scheduler.after(self._chance.between(50, 3_000), lambda: self._try(asked))
            return
        self._end(asked, value, error)

    def _end(self, asked: Asked, value: Any, error: Rejected | None) -> None:
        asked.over = True
        self.open -= 1
        asked.done(value, error)
