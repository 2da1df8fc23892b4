"""Flows: drafts and publishing."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from tandem.api.tenant.v1 import flow_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as pb
from tandem.runtime.interceptors import Call
from tandem.runtime.pages import page_of
from tandem.tenant.domain.rules import known
from tandem.tenant.domain.words import CreateFlow, DeleteFlow, FlowSaved, PublishFlow, UpdateFlow
from tandem.tenant.servicer import resources
from tandem.tenant.servicer.base import Base
from tandem.tenant.servicer.flows import steps_from
from tandem.tenant.servicer.forms import changed, id_of

_FIELDS = {"display_name": "display_name", "steps": "steps"}


class FlowCalls(Base):
    """Flows of the tenant's configuration."""

    async def get_flow(self, request: pb.GetFlowRequest, call: Call) -> flow_pb2.Flow:
        """One."""
        return await self._flow(call, id_of(request.name))

    async def list_flows(self, request: pb.ListFlowsRequest, call: Call) -> pb.ListFlowsResponse:
        """All, by id."""
        page = page_of(request, call.tenant)
        rows, token = await self._read(call, lambda state: page.of(state.flows))
        return pb.ListFlowsResponse(flows=[resources.flow(call.tenant, row) for row in rows], next_page_token=token)

    async def create_flow(self, request: pb.CreateFlowRequest, call: Call) -> flow_pb2.Flow:
        """A new one, not published yet."""
        steps = steps_from(request.flow.steps, call.tenant)
        command = CreateFlow(request.flow_id, request.flow.display_name, steps, self._setting.prompts)
        return await self._saved(call, command, request.wait_live)

    async def update_flow(self, request: pb.UpdateFlowRequest, call: Call) -> flow_pb2.Flow:
        """Change the draft."""
        given = request.flow
        fields = changed(request.update_mask, given, _FIELDS)
        steps = steps_from(given.steps, call.tenant)
        command = UpdateFlow(id_of(given.name), given.etag, fields, given.display_name, steps, self._setting.prompts)
        return await self._saved(call, command, request.wait_live)

    async def publish_flow(self, request: pb.PublishFlowRequest, call: Call) -> flow_pb2.Flow:
        """Make the draft the next version."""
        command = PublishFlow(id_of(request.name), request.etag, self._setting.prompts)
        return await self._saved(call, command, request.wait_live)

    async def delete_flow(self, request: pb.DeleteFlowRequest, call: Call) -> Empty:
        """Delete one that no number leads to."""
        await self._change(call, DeleteFlow(id_of(request.name), request.etag), request.wait_live)
        return Empty()

    async def _saved(self, call: Call, command: object, wait_live: bool) -> flow_pb2.Flow:
        saved: FlowSaved = await self._change(call, command, wait_live)
        return await self._flow(call, saved.flow)

    async def _flow(self, call: Call, flow: str) -> flow_pb2.Flow:
        row = await self._read(call, lambda state: known(state.flows, flow))
        return resources.flow(call.tenant, row)
