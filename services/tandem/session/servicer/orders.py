"""What can be asked of a contact: to end it, to pause its recording, to erase it."""

from __future__ import annotations

import asyncio
from typing import Any

from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.core.access import Role
from tandem.core.errors import (
    CONTACT_ENDED,
    CONTACT_NOT_OVER,
    ERASURE_UNDER_WAY,
    NOT_RECORDING,
    RECORDING_ORDER_FAILED,
    RECORDING_ORDER_UNDER_WAY,
    UNKNOWN_NAME,
    Rejected,
)
from tandem.core.seal import AUDIO, Sealed
from tandem.runtime import positions
from tandem.runtime.interceptors import Call
from tandem.runtime.ledger import Ledger
from tandem.session.domain import words as w
from tandem.session.domain.contact.pausing import of_talk
from tandem.session.domain.contact.states import Recording
from tandem.session.domain.erasure import EraseContact, ErasureScope, stream_of
from tandem.session.servicer.base import Base
from tandem.session.servicer.showing import id_of, shown_contacts

RECORDING_WAIT_S = 5.0
"""How long who pauses a recording waits for the media node."""
ERASE_WAIT_S = 10.0
"""How long an erasure's asker waits for its end, which a backup that reads keys.db may put off."""


class OrderCalls(Base):
    """Custom methods of contacts."""

    async def hang_up_contact(self, request: api.HangUpContactRequest, call: Call) -> pb.Contact:
        """End a live contact."""
        contact = id_of(request.name)
        await self._order(contact, w.HangUpContact(), call)
        return await self._shown(contact, call)

    async def pause_recording(self, request: api.PauseRecordingRequest, call: Call) -> pb.Contact:
        """Silence on the recording of a talk. Answered when it is in force."""
        return await self._turn_recording(request.name, True, call)

    async def resume_recording(self, request: api.ResumeRecordingRequest, call: Call) -> pb.Contact:
        """What is said on the recording of a talk again. Answered when it is in force."""
        return await self._turn_recording(request.name, False, call)

    async def _turn_recording(self, name: str, paused: bool, call: Call) -> pb.Contact:
        contact = id_of(name)
        agent = call.principal.agent if call.principal.role is Role.AGENT else ""
        stream = f"contact/{contact}"
        await self._order(contact, w.PauseRecording(paused, agent), call)
        try:
            async with asyncio.timeout(RECORDING_WAIT_S):
                while (recording := await self._recording(call, stream)) is not None and recording.ordered is not None:
                    await self._anything_new(call, stream)
        except TimeoutError:
            raise Rejected(RECORDING_ORDER_UNDER_WAY, "the media node has not done it yet") from None
        if recording is None:
            raise Rejected(NOT_RECORDING, "the talk has ended", contact=contact)
        if recording.paused is not paused:
            raise Rejected(RECORDING_ORDER_FAILED, "the media node did not do it, or another order came after this one")
        return await self._shown(contact, call)

    async def _recording(self, call: Call, stream: str) -> Recording | None:
        """That of the talk that goes on."""
        tenant = call.tenant

        def look(ledger: Ledger) -> Recording | None:
            aggregate = ledger.aggregate(tenant, stream)
            return None if aggregate is None or aggregate.quarantine is not None else of_talk(aggregate.state)

        found: Recording | None = call.answered(await self._host.query(tenant, "contact", look))
        return found

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

    async def _order(self, contact: str, command: Any, call: Call) -> None:
        """Give a contact an order."""
        if await self._find(contact, call) is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        try:
            call.answered(await self._host.ask(call.tenant, f"contact/{contact}", command, **call.once))
        except Rejected as error:
            if error.reason is not UNKNOWN_NAME:
                raise
            # History alone knows it: it is over.
            raise Rejected(CONTACT_ENDED, "the contact has ended", contact=contact) from None

    async def _shown(self, contact: str, call: Call) -> pb.Contact:
        row = await self._find(contact, call)
        if row is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
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
                    await self._anything_new(call, stream)
        except TimeoutError:
            raise Rejected(ERASURE_UNDER_WAY, "the bytes are not gone yet") from None

    async def _anything_new(self, call: Call, stream: str) -> None:
        """Until something has happened to an aggregate since it was looked at."""
        since = positions.decode(call.position)
        async for _, commit in self._host.tail(since.group, since.shard, since.n):
            if any((one.tenant, one.stream) == (call.tenant, stream) for one in commit.events):
                return
