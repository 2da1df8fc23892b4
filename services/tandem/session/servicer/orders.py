"""What can be asked of a contact: to end it, to erase it."""

from __future__ import annotations

import asyncio

from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.core.errors import CONTACT_NOT_OVER, ERASURE_UNDER_WAY, UNKNOWN_NAME, Rejected
from tandem.core.seal import AUDIO, Sealed
from tandem.runtime import positions
from tandem.runtime.interceptors import Call
from tandem.session.domain import words as w
from tandem.session.domain.erasure import EraseContact, ErasureScope, stream_of
from tandem.session.events import ERASED
from tandem.session.servicer.base import Base
from tandem.session.servicer.showing import id_of, shown_contacts

ERASE_WAIT_S = 10.0
"""How long an erasure's asker waits for its end, which a backup that reads keys.db may put off."""


class OrderCalls(Base):
    """Custom methods of contacts."""

    async def hang_up_contact(self, request: api.HangUpContactRequest, call: Call) -> pb.Contact:
        """End a live contact."""
        contact = id_of(request.name)
        if await self._find(contact, call) is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        answer = await self._host.ask(call.tenant, f"contact/{contact}", w.HangUpContact(), **call.once)
        call.answered(answer)
        row = await self._find(contact, call)
        if row is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        return (await shown_contacts(self._host, [row], call))[0]

    async def erase_contact(self, request: api.EraseContactRequest, call: Call) -> pb.Contact:
        """Erase a contact that is over. Answered when no byte is left."""
        contact = id_of(request.name)
        row = await self._find(contact, call)
        if row is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        if await self._has(call, f"contact/{contact}"):
            raise Rejected(CONTACT_NOT_OVER, "the contact is not over")
        # A row of an earlier release names its key with the caller alone.
        key = row.key or (row.caller.key if isinstance(row.caller, Sealed) else "")
        if not row.erased_ms or await self._host.keys((key, key + AUDIO)):
            stream = stream_of(contact, ErasureScope.CONTACT)
            call.answered(await self._host.ask(call.tenant, stream, EraseContact(contact, key), **call.once))
            await self._erased(call, stream)
            row = await self._find(contact, call) or row
        return (await shown_contacts(self._host, [row], call))[0]

    async def _has(self, call: Call, stream: str) -> bool:
        """Whether such an aggregate is live."""
        tenant = call.tenant
        answer = await self._host.query(tenant, "contact", lambda ledger: ledger.aggregate(tenant, stream) is not None)
        there: bool = call.answered(answer)
        return there

    async def _erased(self, call: Call, stream: str) -> None:
        """Until the erasure's end is durable."""
        try:
            async with asyncio.timeout(ERASE_WAIT_S):
                while await self._has(call, stream):
                    await self._told_erased(positions.decode(call.position), call.tenant, stream)
        except TimeoutError:
            raise Rejected(ERASURE_UNDER_WAY, "the bytes are not gone yet") from None

    async def _told_erased(self, since: positions.Position, tenant: str, stream: str) -> None:
        async for _, commit in self._host.tail(since.group, since.shard, since.n):
            if any((one.tenant, one.stream, one.type) == (tenant, stream, ERASED) for one in commit.events):
                return
