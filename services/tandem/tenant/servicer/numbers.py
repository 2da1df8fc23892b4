"""Dialled numbers. A number belongs to one tenant of the cell: the cell gives it, the
configuration says where it leads. The two are deciders of different shards, so a number is
claimed before it is made and released after it is deleted. A claim that was left over by a
crash is the tenant's own and taken up by its next try."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from tandem.api.tenant.v1 import number_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as pb
from tandem.core.access import CELL_TENANT
from tandem.core.errors import RESOURCE_QUOTA_EXCEEDED, Rejected
from tandem.runtime.interceptors import Call
from tandem.runtime.pages import page_of
from tandem.tenant.domain.cell import CELL, ClaimNumber, ReleaseNumber
from tandem.tenant.domain.decide import number_problems
from tandem.tenant.domain.rules import known, refuse_if
from tandem.tenant.domain.words import CreateNumber, DeleteNumber, UpdateNumber
from tandem.tenant.servicer import resources
from tandem.tenant.servicer.base import Base
from tandem.tenant.servicer.forms import changed, id_of, reference

_FIELDS = {"display_name": "display_name", "flow": "flow"}


class NumberCalls(Base):
    """Numbers of the tenant's configuration."""

    async def get_number(self, request: pb.GetNumberRequest, call: Call) -> number_pb2.Number:
        """One."""
        row = await self._read(call, lambda state: known(state.numbers, id_of(request.name)))
        return resources.number(call.tenant, row)

    async def list_numbers(self, request: pb.ListNumbersRequest, call: Call) -> pb.ListNumbersResponse:
        """All, by id."""
        page = page_of(request, call.tenant)
        rows, token = await self._read(call, lambda state: page.of(state.numbers))
        numbers = [resources.number(call.tenant, row) for row in rows]
        return pb.ListNumbersResponse(numbers=numbers, next_page_token=token)

    async def create_number(self, request: pb.CreateNumberRequest, call: Call) -> number_pb2.Number:
        """A new one, if no other tenant has it."""
        flow = reference(request.number.flow, call.tenant, "flows")
        display_name = request.number.display_name
        problems = await self._read(call, lambda state: number_problems(state, display_name, flow))
        refuse_if(problems)  # before the number is claimed for nothing
        command = ClaimNumber(call.tenant, request.number_id)
        claim = (await self._host.ask(CELL_TENANT, CELL, command, principal=call.principal)).value
        try:
            row = await self._change(call, CreateNumber(request.number_id, display_name, flow), request.wait_live)
        except Rejected as error:
            if error.reason is RESOURCE_QUOTA_EXCEEDED:  # nobody shall keep what they may not use
                release = ReleaseNumber(call.tenant, request.number_id, claim.serial)
                await self._host.ask(CELL_TENANT, CELL, release, principal=call.principal)
            raise
        return resources.number(call.tenant, row)

    async def update_number(self, request: pb.UpdateNumberRequest, call: Call) -> number_pb2.Number:
        """Change one."""
        given = request.number
        fields = changed(request.update_mask, given, _FIELDS)
        flow = reference(given.flow, call.tenant, "flows")
        command = UpdateNumber(id_of(given.name), given.etag, fields, given.display_name, flow)
        return resources.number(call.tenant, await self._change(call, command, request.wait_live))

    async def delete_number(self, request: pb.DeleteNumberRequest, call: Call) -> Empty:
        """Delete one; then any tenant may have it."""
        number = id_of(request.name)
        claim = await self._read_cell(call, lambda cell: cell.numbers.get(number))
        await self._change(call, DeleteNumber(number, request.etag), request.wait_live)
        position = call.position
        # A repeat may be answered after the number was made anew: that one keeps its claim.
        there = await self._read(call, lambda state: number in state.numbers)
        if claim is not None and claim.tenant == call.tenant and not there:
            release = ReleaseNumber(call.tenant, number, claim.serial)
            await self._host.ask(CELL_TENANT, CELL, release, principal=call.principal)
        call.position = position
        return Empty()
