"""tandem.api.tenant.v1.TenantService."""

from __future__ import annotations

from google.protobuf.descriptor import ServiceDescriptor

from tandem.api.tenant.v1 import tenant_service_pb2
from tandem.tenant.servicer.agents import AgentCalls
from tandem.tenant.servicer.cells import CellCalls
from tandem.tenant.servicer.flow_calls import FlowCalls
from tandem.tenant.servicer.numbers import NumberCalls
from tandem.tenant.servicer.queues import QueueCalls
from tandem.tenant.servicer.quotas import QuotaCalls
from tandem.tenant.servicer.relays import RelayCalls

API: ServiceDescriptor = tenant_service_pb2.DESCRIPTOR.services_by_name["TenantService"]
"""What `Api.add` is told to serve."""


class TenantServicer(CellCalls, QueueCalls, AgentCalls, NumberCalls, FlowCalls, QuotaCalls, RelayCalls):
    """All methods of the service."""
