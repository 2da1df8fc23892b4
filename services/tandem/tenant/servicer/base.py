"""What the parts of the tenant servicer share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tandem.core.access import CELL_TENANT
from tandem.core.decider import Kind
from tandem.core.errors import Rejected
from tandem.core.ports.entropy import Entropy
from tandem.core.relay import Credential
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Call
from tandem.runtime.ledger import Ledger
from tandem.tenant.domain.cell import CELL, Cell
from tandem.tenant.domain.configuration import CONFIGURATION
from tandem.tenant.domain.words import Configuration

S = TypeVar("S")
T = TypeVar("T")
Reached = Callable[[str], Awaitable[Any]]
"""Waits until this process knows the credentials of a position of the cell."""
Live = Callable[[str, str], Awaitable[None]]
"""Waits until session and routing have taken what a tenant's configuration told them up to a
position, at most 2 s; raises `Rejected` after that."""
Issue = Callable[[str], Credential]
"""A credential of the relay for a user, from now on."""


async def _at_once(*_: str) -> None:
    """For processes in which there is nothing to wait for."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the tenant service is told about its cell. `prompts` are the names of those that
    media nodes have; `shards` how many the cell has; `relay_urls` its TURN servers, and `relay`
    what issues their credentials."""

    realm: str
    shards: int
    prompts: tuple[str, ...]
    relay_urls: tuple[str, ...] = ()
    relay: Issue | None = None


class Base:
    """Asks the deciders for a call."""

    def __init__(
        self, host: Host, entropy: Entropy, setting: Setting, reached: Reached = _at_once, live: Live = _at_once
    ) -> None:
        self._host, self._entropy, self._setting = host, entropy, setting
        self._reached, self._live = reached, live

    async def _change(self, call: Call, command: object, wait_live: bool = False, *, of: str = CONFIGURATION) -> Any:
        """A command to the tenant's configuration, or to its singleton resource `of`."""
        value = call.answered(await self._host.ask(call.tenant, of, command, **call.once))
        if wait_live:
            await self._live(call.tenant, call.position)
        return value

    async def _read(self, call: Call, fn: Callable[[Configuration], T]) -> T:
        """Something of the tenant's configuration."""

        return await self._ask(call, call.tenant, CONFIGURATION, Configuration, fn)

    async def _singleton(self, call: Call, kind: Kind) -> Any:
        """The tenant's resource of a kind of which it has one."""
        return await self._ask(call, call.tenant, kind.name, kind.start, lambda state: state)

    async def _change_cell(self, call: Call, command: object) -> Any:
        """A command to the cell."""
        return call.answered(await self._host.ask(CELL_TENANT, CELL, command, **call.once))

    async def _read_cell(self, call: Call, fn: Callable[[Cell], T]) -> T:
        """Something of the cell."""

        return await self._ask(call, CELL_TENANT, CELL, Cell, fn)

    async def _ask(self, call: Call, tenant: str, kind: str, start: Callable[[], S], fn: Callable[[S], T]) -> T:
        def ask(ledger: Ledger) -> T | Rejected:
            aggregate = ledger.aggregate(tenant, kind)
            try:
                return fn(start() if aggregate is None else aggregate.state)
            except Rejected as error:
                return error  # held like any answer: what it saw may not be durable yet

        value: T | Rejected = call.answered(await self._host.query(tenant, kind, ask))
        if isinstance(value, Rejected):
            raise value
        return value
