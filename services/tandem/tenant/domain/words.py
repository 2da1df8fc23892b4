"""The words of a tenant's configuration: resources, commands, events, messages. Times are shard time in ms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tandem.core.flow import FlowStep, SkillNeed
from tandem.core.seal import Private, Withheld
from tandem.core.values import dataclass

# ------------------------------------------------------------------- resources


@dataclass(frozen=True, slots=True)
class Queue:
    """A waiting line and how it is served."""

    queue: str
    display_name: str
    ring_timeout_ms: int
    wrap_up_ms: int
    version: int
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class AgentBody:
    """What is clear of an agent. `device` is the SIP user of the agent's phone."""

    agent: str
    queues: tuple[str, ...]
    skills: tuple[SkillNeed, ...]
    device: str
    version: int
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent: the name and the digests of the device's password are private."""

    body: AgentBody
    display_name: Private
    realm: str = ""
    ha1_md5: Private = field(default_factory=Withheld)
    ha1_sha256: Private = field(default_factory=Withheld)
    key_id: str = ""  # of the person's own data key; empty for one of an older release, who has the tenant's


@dataclass(frozen=True, slots=True)
class Number:
    """A dialled number and where it leads."""

    number: str
    display_name: str
    flow: str
    version: int
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class FlowDraft:
    """A flow: the draft, and what callers get (`published` 0: nothing yet)."""

    flow: str
    display_name: str
    steps: tuple[FlowStep, ...]
    published: int
    published_steps: tuple[FlowStep, ...]
    version: int
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a tenant has set up. `version` grows with each change; a resource's version
    is the one of its last change, so that one made anew is newer than the one deleted."""

    version: int = 0
    queues: Mapping[str, Queue] = field(default_factory=dict)
    agents: Mapping[str, Agent] = field(default_factory=dict)
    numbers: Mapping[str, Number] = field(default_factory=dict)
    flows: Mapping[str, FlowDraft] = field(default_factory=dict)


# ------------------------------------------------------------------- commands
# `etag`, if set, must be the resource's. `fields` are the names of the command's own
# fields that an update changes. `prompts` are the names of the prompts that exist.


@dataclass(frozen=True, slots=True)
class CreateQueue:
    """From a client."""

    queue: str
    display_name: str
    ring_timeout_ms: int
    wrap_up_ms: int


@dataclass(frozen=True, slots=True)
class UpdateQueue:
    """From a client."""

    queue: str
    etag: str
    fields: tuple[str, ...]
    display_name: str
    ring_timeout_ms: int
    wrap_up_ms: int


@dataclass(frozen=True, slots=True)
class DeleteQueue:
    """From a client."""

    queue: str
    etag: str


@dataclass(frozen=True, slots=True)
class CreateAgent:
    """From a client. `attempt` is told in the reply: only the try that set the device's
    password may show it."""

    agent: str
    display_name: Private
    queues: tuple[str, ...]
    skills: tuple[SkillNeed, ...]
    device: str
    realm: str
    ha1_md5: Private
    ha1_sha256: Private
    attempt: str


@dataclass(frozen=True, slots=True)
class UpdateAgent:
    """From a client."""

    agent: str
    etag: str
    fields: tuple[str, ...]
    display_name: Private
    queues: tuple[str, ...]
    skills: tuple[SkillNeed, ...]


@dataclass(frozen=True, slots=True)
class ResetSecret:
    """From a client: another password for the agent's device."""

    agent: str
    realm: str
    ha1_md5: Private
    ha1_sha256: Private
    attempt: str


@dataclass(frozen=True, slots=True)
class DeleteAgent:
    """From a client."""

    agent: str
    etag: str


@dataclass(frozen=True, slots=True)
class CreateNumber:
    """From a client, once the cell has given the number to the tenant."""

    number: str
    display_name: str
    flow: str


@dataclass(frozen=True, slots=True)
class UpdateNumber:
    """From a client."""

    number: str
    etag: str
    fields: tuple[str, ...]
    display_name: str
    flow: str


@dataclass(frozen=True, slots=True)
class DeleteNumber:
    """From a client."""

    number: str
    etag: str


@dataclass(frozen=True, slots=True)
class CreateFlow:
    """From a client."""

    flow: str
    display_name: str
    steps: tuple[FlowStep, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpdateFlow:
    """From a client: changes the draft."""

    flow: str
    etag: str
    fields: tuple[str, ...]
    display_name: str
    steps: tuple[FlowStep, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishFlow:
    """From a client: the draft becomes the next version."""

    flow: str
    etag: str
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteFlow:
    """From a client."""

    flow: str
    etag: str


# ------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class QueueCreated:
    """There is a new queue."""

    queue: Queue


@dataclass(frozen=True, slots=True)
class QueueUpdated:
    """A queue is like this from now on."""

    queue: Queue


@dataclass(frozen=True, slots=True)
class QueueDeleted:
    """A queue is gone."""

    queue: str
    version: int


@dataclass(frozen=True, slots=True)
class AgentCreated:
    """There is a new agent; the device's secret follows."""

    agent: AgentBody
    display_name: Private
    key_id: str


@dataclass(frozen=True, slots=True)
class AgentUpdated:
    """An agent is like this from now on."""

    agent: AgentBody
    display_name: Private


@dataclass(frozen=True, slots=True)
class SecretSet:
    """The agent's device has this secret from now on."""

    agent: str
    realm: str
    ha1_md5: Private
    ha1_sha256: Private
    version: int
    updated_ms: int
    attempt: str


@dataclass(frozen=True, slots=True)
class AgentDeleted:
    """An agent is gone, and its device with it. The person's key is being destroyed."""

    agent: str
    device: str
    version: int
    key_id: str


@dataclass(frozen=True, slots=True)
class AgentErased:
    """No byte of a deleted agent's key is left."""

    agent: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class NumberCreated:
    """A number leads somewhere from now on."""

    number: Number


@dataclass(frozen=True, slots=True)
class NumberUpdated:
    """A number is like this from now on."""

    number: Number


@dataclass(frozen=True, slots=True)
class NumberDeleted:
    """A number leads nowhere any more."""

    number: str
    version: int


@dataclass(frozen=True, slots=True)
class FlowCreated:
    """There is a new flow, not published yet."""

    flow: FlowDraft


@dataclass(frozen=True, slots=True)
class FlowUpdated:
    """A flow's draft is like this from now on."""

    flow: FlowDraft


@dataclass(frozen=True, slots=True)
class FlowPublished:
    """The draft is what callers get from now on."""

    flow: str
    published: int
    version: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class FlowDeleted:
    """A flow is gone."""

    flow: str
    version: int


# ------------------------------------------------------------------- messages


@dataclass(frozen=True, slots=True)
class TellNumber:
    """To session's reception."""

    number: str
    version: int
    flow: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class TellDevice:
    """To session's reception. The digests stay sealed."""

    device: str
    version: int
    agent: str
    realm: str
    ha1_md5: Private
    ha1_sha256: Private
    deleted: bool


@dataclass(frozen=True, slots=True)
class TellFlow:
    """To session's reception: a published version."""

    flow: str
    version: int
    steps: tuple[FlowStep, ...]


@dataclass(frozen=True, slots=True)
class TellQueue:
    """To routing's desk."""

    queue: str
    version: int
    ring_timeout_ms: int
    wrap_up_ms: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class TellAgent:
    """To routing's desk."""

    agent: str
    version: int
    queues: tuple[str, ...]
    skills: tuple[SkillNeed, ...]
    devices: tuple[str, ...]
    deleted: bool


# ------------------------------------------------------------------- replies


@dataclass(frozen=True, slots=True)
class AgentSaved:
    """An agent as it is now. `attempt` is the try that set the device's secret, "" if none did."""

    agent: AgentBody
    display_name: Private
    attempt: str


@dataclass(frozen=True, slots=True)
class FlowSaved:
    """A flow was made or changed. Without its steps: replies are kept for a day, and are many."""

    flow: str
