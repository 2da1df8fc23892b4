"""Stable names of all that the tenant service reads and writes, and their protobuf."""

from __future__ import annotations

from tandem.api.event.v1 import erasure_pb2 as erasures
from tandem.api.event.v1 import quota_pb2 as quota_event
from tandem.api.event.v1 import tenant_pb2 as event
from tandem.core.destroy import DestroyKeys
from tandem.internal.config.v1 import config_pb2 as config
from tandem.internal.config.v1 import quota_pb2 as quota_config
from tandem.internal.config.v1 import retention_pb2 as config_retention
from tandem.internal.tenant.v1 import erasure_pb2 as own_erasure
from tandem.internal.tenant.v1 import quota_pb2 as quota_own
from tandem.internal.tenant.v1 import retention_pb2 as own_retention
from tandem.internal.tenant.v1 import tenant_pb2 as own
from tandem.runtime.codec import Codec
from tandem.runtime.service import Service
from tandem.tenant.domain import cell, configuration, quota, retention, words

DELETED = "agent.deleted"
ERASED = "agent.erased"

EVENTS = Codec(
    ("tenant.created", cell.TenantCreated, event.TenantCreated),
    ("tenant.placed", cell.TenantPlaced, event.TenantPlaced),
    ("api_key.created", cell.ApiKeyCreated, event.ApiKeyCreated),
    ("api_key.deleted", cell.ApiKeyDeleted, event.ApiKeyDeleted),
    ("number.claimed", cell.NumberClaimed, event.NumberClaimed),
    ("number.released", cell.NumberReleased, event.NumberReleased),
    ("queue.created", words.QueueCreated, event.QueueCreated),
    ("queue.updated", words.QueueUpdated, event.QueueUpdated),
    ("queue.deleted", words.QueueDeleted, event.QueueDeleted),
    ("agent.created", words.AgentCreated, event.AgentCreated),
    ("agent.updated", words.AgentUpdated, event.AgentUpdated),
    ("agent.secret_set", words.SecretSet, own.SecretSet),
    (DELETED, words.AgentDeleted, event.AgentDeleted),
    (ERASED, words.AgentErased, event.AgentErased),
    ("number.created", words.NumberCreated, event.NumberCreated),
    ("number.updated", words.NumberUpdated, event.NumberUpdated),
    ("number.deleted", words.NumberDeleted, event.NumberDeleted),
    ("flow.created", words.FlowCreated, event.FlowCreated),
    ("flow.updated", words.FlowUpdated, event.FlowUpdated),
    ("flow.published", words.FlowPublished, event.FlowPublished),
    ("flow.deleted", words.FlowDeleted, event.FlowDeleted),
    ("retention_policy.updated", retention.RetentionPolicyUpdated, erasures.RetentionPolicyUpdated),
    ("quota.configured", quota.QuotaConfigured, quota_event.QuotaConfigured),
)

COMMANDS = Codec(
    ("tenant.create", cell.CreateTenant, own.CreateTenant),
    ("api_key.create", cell.CreateApiKey, own.CreateApiKey),
    ("api_key.delete", cell.DeleteApiKey, own.DeleteApiKey),
    ("number.claim", cell.ClaimNumber, own.ClaimNumber),
    ("number.release", cell.ReleaseNumber, own.ReleaseNumber),
    ("queue.create", words.CreateQueue, own.CreateQueue),
    ("queue.update", words.UpdateQueue, own.UpdateQueue),
    ("queue.delete", words.DeleteQueue, own.DeleteQueue),
    ("agent.create", words.CreateAgent, own.CreateAgent),
    ("agent.update", words.UpdateAgent, own.UpdateAgent),
    ("agent.reset_secret", words.ResetSecret, own.ResetSecret),
    ("agent.delete", words.DeleteAgent, own.DeleteAgent),
    ("number.create", words.CreateNumber, own.CreateNumber),
    ("number.update", words.UpdateNumber, own.UpdateNumber),
    ("number.delete", words.DeleteNumber, own.DeleteNumber),
    ("flow.create", words.CreateFlow, own.CreateFlow),
    ("flow.update", words.UpdateFlow, own.UpdateFlow),
    ("flow.publish", words.PublishFlow, own.PublishFlow),
    ("flow.delete", words.DeleteFlow, own.DeleteFlow),
    ("retention_policy.update", retention.UpdateRetentionPolicy, own_retention.UpdateRetentionPolicy),
    ("quota.update", quota.UpdateQuota, quota_own.UpdateQuota),
    ("quota.take_defaults", quota.TakeDefaults, quota_own.TakeDefaults),
)

MESSAGES = Codec(
    ("config.number", words.TellNumber, config.NumberPublished),
    ("config.device", words.TellDevice, config.DevicePublished),
    ("config.flow", words.TellFlow, config.FlowPublished),
    ("config.queue", words.TellQueue, config.QueuePublished),
    ("config.agent", words.TellAgent, config.AgentPublished),
    ("config.retention", retention.TellRetention, config_retention.RetentionPublished),
    ("config.quota", quota.TellQuota, quota_config.QuotaPublished),
)

REPLIES = Codec(
    ("tenant", cell.Tenant, own.TenantRow),
    ("api_key", cell.ApiKey, event.ApiKeyBody),
    ("number_claim", cell.NumberClaimed, event.NumberClaimed),
    ("queue", words.Queue, event.QueueBody),
    ("agent", words.AgentSaved, own.AgentSaved),
    ("number", words.Number, event.NumberBody),
    ("flow", words.FlowSaved, own.FlowSaved),
    ("deleted", cell.Deleted, own.Deleted),
    ("retention_policy", retention.RetentionPolicy, erasures.RetentionPolicyBody),
    ("quota", quota.QuotaConfigured, quota_event.QuotaConfigured),
)

EFFECTS = Codec(("tenant.destroy_keys", DestroyKeys, own_erasure.DestroyKeys))

SERVICE = Service(
    "tenant",
    kinds=(cell.KIND, configuration.KIND, quota.KIND, retention.KIND),
    events=EVENTS,
    commands=COMMANDS,
    messages=MESSAGES,
    effects=EFFECTS,
    replies=REPLIES,
)
