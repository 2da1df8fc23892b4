"""The relay of phones in browsers."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from tandem.api.tenant.v1 import relay_pb2
from tandem.core.access import Role
from tandem.core.errors import UNKNOWN_NAME, Rejected
from tandem.runtime.interceptors import Call
from tandem.tenant.domain.rules import known
from tandem.tenant.servicer.base import Base
from tandem.tenant.servicer.forms import id_of


class RelayCalls(Base):
    """Credentials of the cell's TURN servers."""

    async def issue_relay(self, request: relay_pb2.IssueRelayRequest, call: Call) -> relay_pb2.Relay:
        """For an agent's device, under the name that it registers with. An agent's key asks for its own."""
        agent = id_of(request.name)
        if call.principal.role is Role.AGENT and agent != call.principal.agent:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        device = await self._read(call, lambda state: known(state.agents, agent).body.device)
        if self._setting.relay is None:
            return relay_pb2.Relay()
        issued = self._setting.relay(device)
        return relay_pb2.Relay(
            urls=self._setting.relay_urls,
            username=issued.username,
            credential=issued.password,
            expire_time=Timestamp(seconds=issued.expires_s),
        )
