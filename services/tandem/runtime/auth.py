"""Whose credential a call came with: API keys by the digest of their secret.

The table is a fold of the cell's events (partition 0 of the tenant group), held in memory
by every process that answers calls: one look-up by SHA-256, no I/O and no waiting on the
way of a request. A secret has 256 random bits, so a plain digest is enough (an argon2 per
request would allow four requests a second).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from tandem.api.event.v1 import tenant_pb2 as event
from tandem.api.type.v1 import access_pb2
from tandem.core.access import CELL_TENANT, Principal, Role
from tandem.core.commit import Commit
from tandem.core.errors import BAD_CREDENTIAL, NO_CREDENTIAL, NO_OWNER, Rejected
from tandem.runtime import positions
from tandem.runtime.host import Host
from tandem.runtime.ledger import Ledger

TENANT_GROUP = "tenant"
CELL_SHARD = 0
MAX_SECRET = 256
"""Characters of a presented key; a longer one is none of ours and not worth a digest."""


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def role_of(number: int) -> Role:
    """A proto's role. Raises KeyError for the unspecified one."""
    return Role[access_pb2.Role.Name(number).removeprefix("ROLE_")]  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Account:
    """An API key, without its secret."""

    tenant: str
    api_key: str
    sha256: str
    role: Role
    agent: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who may call, and where each tenant is."""

    keys: tuple[Account, ...]
    shards: Mapping[str, int]


class Credentials:
    """All credentials of the cell, and each tenant's shard. Grows with what exists, not with what happened."""

    def __init__(self) -> None:
        self._principals: dict[str, Principal] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._shards: dict[str, int] = {}
        self._n = 0
        self._whole = False
        self._moved = asyncio.Event()

    @property
    def n(self) -> int:
        """Number of the last commit seen."""
        return self._n

    def principal(self, authorization: str | None) -> Principal:
        """Whose the credential is. Raises `Rejected` without one, or for one that is not valid."""
        if not authorization:
            raise Rejected(NO_CREDENTIAL, "this call needs a credential")
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Rejected(NO_CREDENTIAL, "the Authorization header is not of the form `Bearer <API key>`")
        found = self._principals.get(digest_of(secret)) if len(secret) <= MAX_SECRET and secret.isascii() else None
        if found is None and not self._whole:
            raise Rejected(NO_OWNER, "this process has just started and does not know all keys yet")
        if found is None:
            raise Rejected(BAD_CREDENTIAL, "this API key is not valid")
        return found

    def shard_of(self, tenant: str) -> int | None:
        """The tenant's shard, None for an unknown tenant."""
        return self._shards.get(tenant)

    def begin(self, n: int, accounts: Accounts) -> None:
        """Know what the cell's owner knew after commit `n`; go on from there."""
        for key in accounts.keys:
            self._add(key)
        self._shards.update(accounts.shards)
        self._reach(n)

    def _add(self, key: Account) -> None:
        self._digests[key.tenant, key.api_key] = key.sha256
        self._principals[key.sha256] = Principal(key.tenant, f"{key.tenant}/{key.api_key}", key.role, key.agent)

    def _reach(self, n: int) -> None:
        self._n = n
        self._moved.set()
        self._moved = asyncio.Event()

    def apply(self, commit: Commit) -> None:
        """Take a commit of the cell's partition into account."""
        for envelope in commit.events:
            clear = envelope.part.clear
            match envelope.type:
                case "tenant.placed":
                    placed = event.TenantPlaced.FromString(clear)
                    self._shards[placed.tenant] = placed.shard
                case "api_key.created":
                    key = event.ApiKeyCreated.FromString(clear).api_key
                    self._add(Account(key.tenant, key.api_key, key.sha256, role_of(key.role), key.agent))
                case "api_key.deleted":
                    gone = event.ApiKeyDeleted.FromString(clear)
                    digest = self._digests.pop((gone.tenant, gone.api_key), "")
                    self._principals.pop(digest, None)
                case _:
                    pass  # an event of a tenant's configuration
        self._reach(commit.n)

    async def follow(self, tail: AsyncIterator[tuple[str, Commit]]) -> None:
        """Take in `Host.tail(TENANT_GROUP, CELL_SHARD, credentials.n)` until it ends."""
        async for _, commit in tail:
            self.apply(commit)

    async def keep_up(self, host: Host, accounts: Callable[[Ledger], Accounts]) -> None:
        """Begin with the state of the cell's owner, of this process, and follow its log from there: a
        start costs what exists and not what happened."""
        while True:
            await host.driver(CELL_TENANT, "cell").live()
            try:
                found = await host.query(CELL_TENANT, "cell", accounts)
            except Rejected:
                continue  # the owner changed in this very moment
            break
        self.begin(positions.decode(found.position).n, found.value)
        await self.follow(host.tail(TENANT_GROUP, CELL_SHARD, self._n))

    async def learn(self, host: Host) -> None:
        """Wait until the table has all that the cell knows now. Before that a key that is
        missing is answered UNAVAILABLE and not refused: a client must not give up a good
        key because we were restarted. Raises `Rejected` while the cell has no owner."""
        answer = await host.query(CELL_TENANT, "cell", lambda ledger: None)
        n = positions.decode(answer.position).n
        while self._n < n:
            await self._moved.wait()
        self._whole = True

    async def reached(self, position: str, timeout_s: float = 2.0) -> bool:
        """Wait until the table has seen a position of the cell's partition; False on time-out."""
        n = positions.decode(position).n
        try:
            async with asyncio.timeout(timeout_s):
                while self._n < n:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True
