"""The cell: its tenants with their shards, everybody's API keys, whose each number is.

One aggregate (stream `cell` of tenant `-`, shard 0), because a key must be found without
knowing its tenant, and a dialled number belongs to one tenant of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from tandem.core.access import Role
from tandem.core.decider import Action, Answer, Context, Kind, Rows, dispatch
from tandem.core.errors import NAME_TAKEN, Rejected
from tandem.core.values import dataclass
from tandem.tenant.domain.rules import (
    MAX_SHORT_ID,
    id_problem,
    known,
    number_problem,
    refuse_full,
    refuse_if,
    refuse_taken,
    text_problem,
    unknown,
    with_one,
    without,
)

CELL = "cell"
MAX_TENANTS = 10_000
MAX_KEYS = 1000
"""API keys of one tenant."""
MAX_NUMBERS = 10_000
"""Numbers of one tenant."""
SHA256_HEX = 64


# ------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class CreateTenant:
    """A new tenant, to be placed on one of the cell's `shards`."""

    tenant: str
    display_name: str
    shards: int


@dataclass(frozen=True, slots=True)
class CreateApiKey:
    """A new key; `sha256` is the digest of its secret, which is not told."""

    tenant: str
    api_key: str
    display_name: str
    role: Role
    agent: str
    sha256: str


@dataclass(frozen=True, slots=True)
class DeleteApiKey:
    """The key shall be refused from now on."""

    tenant: str
    api_key: str


@dataclass(frozen=True, slots=True)
class ClaimNumber:
    """The number shall be this tenant's alone. Claiming it again is right."""

    tenant: str
    number: str


@dataclass(frozen=True, slots=True)
class ReleaseNumber:
    """The claim of that serial is given up; one that was made since stands."""

    tenant: str
    number: str
    serial: int


# ------------------------------------------------------------------- events and state


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the cell."""

    tenant: str
    display_name: str
    shard: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without its secret."""

    tenant: str
    api_key: str
    display_name: str
    role: Role
    agent: str
    sha256: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """Reply: it is gone."""


@dataclass(frozen=True, slots=True)
class TenantCreated:
    """The cell has a new tenant; its place follows."""

    tenant: str
    display_name: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class TenantPlaced:
    """Everything live of the tenant happens on that shard from now on."""

    tenant: str
    shard: int


@dataclass(frozen=True, slots=True)
class ApiKeyCreated:
    """A key is accepted from now on."""

    api_key: ApiKey


@dataclass(frozen=True, slots=True)
class ApiKeyDeleted:
    """A key is refused from now on."""

    tenant: str
    api_key: str


@dataclass(frozen=True, slots=True)
class NumberClaimed:
    """The number is this tenant's; `serial` counts the claims of the cell."""

    tenant: str
    number: str
    serial: int


@dataclass(frozen=True, slots=True)
class NumberReleased:
    """Any tenant may claim the number. Also said when nobody had it."""

    tenant: str
    number: str


@dataclass(frozen=True, slots=True)
class Cell:
    """`keys` are of all tenants, by `tenant/api_key`."""

    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    keys: Mapping[str, ApiKey] = field(default_factory=dict)
    numbers: Mapping[str, NumberClaimed] = field(default_factory=dict)
    serial: int = 0

    def keys_of(self, tenant: str) -> dict[str, ApiKey]:
        """The tenant's keys by id."""
        return {key.api_key: key for key in self.keys.values() if key.tenant == tenant}


# ------------------------------------------------------------------- decide


def _create_tenant(cell: Cell, command: CreateTenant, context: Context) -> Sequence[Any]:
    refuse_if(
        {
            "tenant_id": id_problem(command.tenant, MAX_SHORT_ID),
            "display_name": text_problem(command.display_name),
        }
    )
    refuse_taken(cell.tenants, command.tenant, "tenant")
    refuse_full(cell.tenants, MAX_TENANTS, "tenants")
    load = [0] * command.shards
    for tenant in cell.tenants.values():
        if tenant.shard < command.shards:
            load[tenant.shard] += 1
    return (
        TenantCreated(command.tenant, command.display_name, context.now_ms),
        TenantPlaced(command.tenant, load.index(min(load))),
    )


def _create_api_key(cell: Cell, command: CreateApiKey, context: Context) -> Sequence[Any]:
    platform = command.role is Role.PLATFORM
    if not platform and command.tenant not in cell.tenants:
        raise unknown()
    of_agent = command.role is Role.AGENT
    refuse_if(
        {
            "api_key_id": id_problem(command.api_key),
            "display_name": text_problem(command.display_name),
            "agent": "" if bool(command.agent) == of_agent else "the role agent needs an agent, no other role has one",
            "sha256": "" if len(command.sha256) == SHA256_HEX else "a digest has 64 hexadecimal digits",
        }
    )
    refuse_taken(cell.keys, _key(command.tenant, command.api_key), "API key")
    refuse_full(cell.keys_of(command.tenant), MAX_KEYS, "API keys")
    key = ApiKey(
        command.tenant,
        command.api_key,
        command.display_name,
        command.role,
        command.agent,
        command.sha256,
        context.now_ms,
    )
    return (ApiKeyCreated(key),)


def _delete_api_key(cell: Cell, command: DeleteApiKey, context: Context) -> Sequence[Any]:
    known(cell.keys, _key(command.tenant, command.api_key))
    return (ApiKeyDeleted(command.tenant, command.api_key),)


def _claim_number(cell: Cell, command: ClaimNumber, context: Context) -> Sequence[Any]:
    refuse_if({"number_id": number_problem(command.number)})
    known(cell.tenants, command.tenant)
    claim = cell.numbers.get(command.number)
    if claim is None:
        own = [c for c in cell.numbers.values() if c.tenant == command.tenant]
        refuse_full(own, MAX_NUMBERS, "numbers")
    elif claim.tenant != command.tenant:
        raise Rejected(NAME_TAKEN, "this number is taken", what="number")
    return (NumberClaimed(command.tenant, command.number, cell.serial + 1),)


def _release_number(cell: Cell, command: ReleaseNumber, context: Context) -> Sequence[Any]:
    claim = cell.numbers.get(command.number)
    if claim is not None and claim != NumberClaimed(command.tenant, command.number, command.serial):
        return (claim,)  # it was claimed again since, and that claim stands
    return (NumberReleased(command.tenant, command.number),)


_HANDLERS: dict[tuple[type, type], Any] = {
    (Cell, CreateTenant): _create_tenant,
    (Cell, CreateApiKey): _create_api_key,
    (Cell, DeleteApiKey): _delete_api_key,
    (Cell, ClaimNumber): _claim_number,
    (Cell, ReleaseNumber): _release_number,
}


def decide(cell: Cell, command: Any, context: Context) -> Sequence[Any]:
    """Events of a command. Raises `Rejected`."""
    return dispatch(_HANDLERS, cell, command, context)


# ------------------------------------------------------------------- evolve and react


def evolve(cell: Cell, event: Any) -> Cell:
    """The cell after an event."""
    tenants, keys, numbers, serial = cell.tenants, cell.keys, cell.numbers, cell.serial
    match event:
        case TenantCreated(tenant, display_name, created_ms):
            tenants = with_one(tenants, tenant, Tenant(tenant, display_name, 0, created_ms))
        case TenantPlaced(tenant, shard):
            old = tenants[tenant]
            tenants = with_one(tenants, tenant, Tenant(tenant, old.display_name, shard, old.created_ms))
        case ApiKeyCreated(key):
            keys = with_one(keys, _key(key.tenant, key.api_key), key)
        case ApiKeyDeleted(tenant, api_key):
            keys = without(keys, _key(tenant, api_key))
        case NumberClaimed(_, number, claimed):
            numbers, serial = with_one(numbers, number, event), max(serial, claimed)
        case NumberReleased(_, number):
            numbers = without(numbers, number)
        case _:
            raise TypeError(f"{type(event).__name__} is no event of the cell")
    return Cell(tenants, keys, numbers, serial)


def react(cell: Cell, event: Any) -> Sequence[Action]:
    """The answers; placement is read from the log by whoever routes."""
    match event:
        case TenantPlaced(tenant, _):
            return (Answer(cell.tenants[tenant]),)
        case ApiKeyCreated(key):
            return (Answer(key),)
        case NumberClaimed():
            return (Answer(event),)
        case ApiKeyDeleted() | NumberReleased():
            return (Answer(Deleted()),)
        case _:
            return ()


def _key(tenant: str, api_key: str) -> str:
    return f"{tenant}/{api_key}"


def _build(serial: int, tenants: Sequence[Tenant], keys: Sequence[ApiKey], numbers: Sequence[NumberClaimed]) -> Cell:
    return Cell(
        {tenant.tenant: tenant for tenant in tenants},
        {_key(key.tenant, key.api_key): key for key in keys},
        {claim.number: claim for claim in numbers},
        serial,
    )


def _touched(event: Any) -> Sequence[tuple[str, str]]:
    match event:
        case TenantCreated(tenant) | TenantPlaced(tenant):
            return (("tenants", tenant),)
        case ApiKeyCreated(key):
            return (("keys", _key(key.tenant, key.api_key)),)
        case ApiKeyDeleted(tenant, api_key):
            return (("keys", _key(tenant, api_key)),)
        case _:
            return (("numbers", event.number),)


ROWS = Rows(("tenants", "keys", "numbers"), _touched, _build, lambda cell: cell.serial)
"""A cell row by row."""

KIND = Kind(
    name=CELL,
    start=Cell,
    starts=(CreateTenant, CreateApiKey),
    decide=decide,
    evolve=evolve,
    react=react,
    states=(Tenant, ApiKey, Role, NumberClaimed),
    rows=ROWS,
)
