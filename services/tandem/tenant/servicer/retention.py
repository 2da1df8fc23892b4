"""The tenant's retention policy."""

from __future__ import annotations

from google.protobuf.descriptor import ServiceDescriptor

from tandem.api.tenant.v1 import retention_service_pb2 as pb
from tandem.runtime.interceptors import Call
from tandem.runtime.times import time_of
from tandem.tenant.domain.retention import KIND, RETENTION_POLICY, RetentionPolicy, UpdateRetentionPolicy
from tandem.tenant.domain.rules import etag_of
from tandem.tenant.servicer.base import Base
from tandem.tenant.servicer.forms import changed

RETENTION_API: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["RetentionService"]
"""What `Api.add` is told to serve."""
_FIELDS = {"contact_days": "contact_days", "recording_days": "recording_days"}


class RetentionServicer(Base):
    """tandem.api.tenant.v1.RetentionService."""

    async def get_retention_policy(self, request: pb.GetRetentionPolicyRequest, call: Call) -> pb.RetentionPolicy:
        """The policy in force."""
        return _resource(call.tenant, await self._singleton(call, KIND))

    async def update_retention_policy(self, request: pb.UpdateRetentionPolicyRequest, call: Call) -> pb.RetentionPolicy:
        """Change it."""
        given = request.retention_policy
        fields = changed(request.update_mask, given, _FIELDS)
        command = UpdateRetentionPolicy(given.etag, fields, given.contact_days, given.recording_days)
        return _resource(call.tenant, await self._change(call, command, of=RETENTION_POLICY))


def _resource(tenant: str, policy: RetentionPolicy) -> pb.RetentionPolicy:
    return pb.RetentionPolicy(
        name=f"tenants/{tenant}/retentionPolicy",
        contact_days=policy.contact_days,
        recording_days=policy.recording_days,
        etag=etag_of(policy.version),
        update_time=time_of(policy.updated_ms),
    )
