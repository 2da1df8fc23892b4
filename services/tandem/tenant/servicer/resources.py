"""The resources of the domain as the API shows them."""

from __future__ import annotations

from tandem.api.tenant.v1 import agent_pb2, flow_pb2, number_pb2, queue_pb2, tenant_pb2
from tandem.api.type.v1 import access_pb2
from tandem.core.access import Role
from tandem.runtime.times import time_of
from tandem.tenant.domain import cell, words
from tandem.tenant.domain.rules import etag_of
from tandem.tenant.servicer.flows import steps_to
from tandem.tenant.servicer.forms import duration, name_of


def role_number(role: Role) -> access_pb2.Role.ValueType:
    """A role as protos number it."""
    return access_pb2.Role.Value(f"ROLE_{role.name}")


def tenant(row: cell.Tenant) -> tenant_pb2.Tenant:
    """A tenant."""
    return tenant_pb2.Tenant(
        name=f"tenants/{row.tenant}",
        display_name=row.display_name,
        shard=row.shard,
        create_time=time_of(row.created_ms),
    )


def api_key(key: cell.ApiKey, secret: str = "") -> tenant_pb2.ApiKey:
    """An API key, with its secret the one time that it is shown."""
    return tenant_pb2.ApiKey(
        name=name_of(key.tenant, "apiKeys", key.api_key),
        display_name=key.display_name,
        role=role_number(key.role),
        agent=name_of(key.tenant, "agents", key.agent),
        secret=secret,
        secret_shown=bool(secret),
        create_time=time_of(key.created_ms),
    )


def queue(of: str, row: words.Queue) -> queue_pb2.Queue:
    """A queue of the tenant `of`."""
    return queue_pb2.Queue(
        name=name_of(of, "queues", row.queue),
        display_name=row.display_name,
        ring_timeout=duration(row.ring_timeout_ms),
        wrap_up=duration(row.wrap_up_ms),
        etag=etag_of(row.version),
        create_time=time_of(row.created_ms),
        update_time=time_of(row.updated_ms),
    )


def agent(of: str, body: words.AgentBody, display_name: str, password: str = "") -> agent_pb2.Agent:
    """An agent of the tenant `of`, with the device's password the one time that it is shown."""
    return agent_pb2.Agent(
        name=name_of(of, "agents", body.agent),
        display_name=display_name,
        queues=[name_of(of, "queues", id_) for id_ in body.queues],
        skills=[agent_pb2.Skill(skill=skill.skill, level=skill.level) for skill in body.skills],
        sip_user=body.device,
        sip_password=password,
        secret_shown=bool(password),
        etag=etag_of(body.version),
        create_time=time_of(body.created_ms),
        update_time=time_of(body.updated_ms),
    )


def number(of: str, row: words.Number) -> number_pb2.Number:
    """A number of the tenant `of`."""
    return number_pb2.Number(
        name=name_of(of, "numbers", row.number),
        display_name=row.display_name,
        flow=name_of(of, "flows", row.flow),
        etag=etag_of(row.version),
        create_time=time_of(row.created_ms),
        update_time=time_of(row.updated_ms),
    )


def flow(of: str, row: words.FlowDraft) -> flow_pb2.Flow:
    """A flow of the tenant `of`."""
    return flow_pb2.Flow(
        name=name_of(of, "flows", row.flow),
        display_name=row.display_name,
        steps=steps_to(row.steps, of),
        published_version=row.published,
        published_steps=steps_to(row.published_steps, of),
        etag=etag_of(row.version),
        create_time=time_of(row.created_ms),
        update_time=time_of(row.updated_ms),
    )
