"""The tenants of a simulated cell: what is configured, and the log partition that tells it.

Each tenant's names begin with a word of its own, so that one tenant's id in another's events
is found by a look at the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import ENGINE, Claim, Commit, Message
from tandem.core.flow import (
    AnswerStep,
    FlowStep,
    HangUpStep,
    MenuOption,
    MenuStep,
    PlayStep,
    QueueStep,
    SkillNeed,
)
from tandem.core.ports.log import Partition
from tandem.core.seal import Sealed, Withheld
from tandem.routing import events as routing
from tandem.routing.domain import words as rw
from tandem.runtime import log_codec
from tandem.runtime.codec import Codec
from tandem.session import events as session
from tandem.session.domain import gate as g
from tandem.session.domain import reception as r
from tandem.simulation.chance import Chance
from tandem.simulation.simlog import SimLog

WORDS = ("amber", "cobalt", "fern")
SALES, SUPPORT, RUSH = "1", "2", "3"
"""Digits of the menu: a queue, a queue with a skill and priority, a queue with a longest wait."""
QUOTAS = {"amber": (2, 4), "cobalt": (12, 1)}
"""(contacts, set-ups at once) of tenants that have a quota, with a set-up a second: so little that seeds meet it."""


@dataclass(slots=True)
class Tenant:
    """A tenant and how it is made up."""

    name: str
    shard: int
    agents: tuple[str, ...]
    devices: dict[str, tuple[str, ...]]  # of each agent
    numbers: tuple[str, ...] = ()
    ring_ms: int = 10_000
    wrap_up_ms: int = 4_000
    version: int = 1
    skilled: tuple[str, ...] = ()
    poison: bool = False

    @property
    def number(self) -> str:
        """The number that leads to the menu."""
        return self.numbers[0]


def make_tenants(chance: Chance, agents: int, shards: int) -> list[Tenant]:
    """The tenants of a seed."""
    found = []
    left = agents
    for index, word in enumerate(WORDS):
        count = left if index == len(WORDS) - 1 else agents // len(WORDS) + chance.below(2)
        left -= count
        names = tuple(f"{word}-agent{i}" for i in range(1, count + 1))
        devices = {name: _devices(name, chance) for name in names}
        numbers = (f"{word}-100", f"{word}-bad", f"{word}-poison")
        found.append(
            Tenant(
                word,
                index % shards,
                names,
                devices,
                numbers,
                chance.pick((5_000, 8_000, 12_000)),
                chance.pick((0, 2_000, 6_000)),
                skilled=names[: max(1, count // 2)],
                poison=chance.one_in(2),
            )
        )
    return found


def _devices(agent: str, chance: Chance) -> tuple[str, ...]:
    return (f"{agent}-desk", f"{agent}-soft") if chance.one_in(3) else (f"{agent}-desk",)


def _steps(word: str) -> tuple[FlowStep, ...]:
    options = (
        MenuOption(SALES, "sales"),
        MenuOption(SUPPORT, "support"),
        MenuOption(RUSH, "rush"),
        MenuOption("8", "ghost"),
        MenuOption("9", "bye"),
    )
    return (
        FlowStep("hello", AnswerStep("intro")),
        FlowStep("intro", PlayStep((f"{word}-welcome",), "menu")),
        FlowStep(
            "menu",
            MenuStep((f"{word}-menu",), options, 4_000, 2, (f"{word}-invalid",), (f"{word}-timeout",), "bye"),
        ),
        FlowStep("sales", QueueStep(f"{word}-sales", (), 0, (f"{word}-wait",), "music", 0, "")),
        FlowStep("support", QueueStep(f"{word}-support", (SkillNeed("deep", 2),), 5, (), "music", 0, "")),
        FlowStep("rush", QueueStep(f"{word}-sales", (), 0, (), "music", 15_000, "menu2")),
        FlowStep(
            "menu2", MenuStep((f"{word}-late",), (MenuOption(SALES, "sales"),), 3_000, 1, (), (), "bye", sensitive=True)
        ),
        FlowStep("ghost", QueueStep(f"{word}-nowhere", (), 0, (), "music", 0, "bye")),
        FlowStep("bye", HangUpStep((f"{word}-goodbye",))),
    )


@dataclass(slots=True)
class ConfigLog:
    """The tenant service's partitions, as far as `live` hears of them: numbered messages."""

    log: SimLog
    kinds: dict[str, str]  # kind -> group
    _judges: dict[int, Arbiter] = field(default_factory=dict)

    def publish(self, tenant: Tenant, rows: list[tuple[str, Any]]) -> None:
        """Tell configuration: (stream, command) each."""
        messages = tuple(self._message(tenant, stream, command) for stream, command in rows)
        partition = Partition("tenant", tenant.shard)
        judge = self._judges.get(tenant.shard)
        if judge is None:
            claim = Claim(1, "tenant", "tenant")
            judge = Arbiter().after(claim)
            self.log.partitions.store(partition, log_codec.encode(claim))
        commit = Commit(1, judge.n + 1, 1, "boot", 1, ENGINE, messages=messages)
        self._judges[tenant.shard] = judge.after(commit)
        self.log.partitions.store(partition, log_codec.encode(commit))

    def _message(self, tenant: Tenant, stream: str, command: Any) -> Message:
        table: Codec = routing.COMMANDS if stream == "desk" else session.COMMANDS
        part = table.close(command, _withheld)[1]
        return Message(self.kinds[stream], tenant.name, stream, "", part)


def _withheld(type_: str, value: Any) -> Sealed | Withheld:
    return Withheld()


def configuration(tenant: Tenant) -> list[tuple[str, Any]]:
    """Everything of a tenant, in the order in which the tenant service tells it."""
    word, version = tenant.name, tenant.version
    rows: list[tuple[str, Any]] = [
        ("desk", rw.PublishQueue(f"{word}-sales", version, tenant.ring_ms, tenant.wrap_up_ms, False)),
        ("desk", rw.PublishQueue(f"{word}-support", version, tenant.ring_ms, tenant.wrap_up_ms, False)),
    ]
    rows += [agent_row(tenant, agent) for agent in tenant.agents]
    rows += [
        ("reception", r.PublishDevice(device, version, agent, word, Withheld(), Withheld(), False))
        for agent, devices in tenant.devices.items()
        for device in devices
    ]
    if word in QUOTAS:
        contacts, burst = QUOTAS[word]
        rows.append(("gate", g.PublishQuota(version, contacts, 1, burst)))
    rows.append(("reception", r.PublishFlow(f"{word}-main", version, _steps(word))))
    rows.append(("reception", r.PublishNumber(tenant.number, version, f"{word}-main", False)))
    rows.append(("reception", r.PublishNumber(tenant.numbers[1], version, f"{word}-unpublished", False)))
    if tenant.poison:
        # A flow that no validation has seen: its step leads nowhere, and deciding on it raises.
        broken = (FlowStep("hello", AnswerStep("nowhere")),)
        rows.append(("reception", r.PublishFlow(f"{word}-broken", version, broken)))
        rows.append(("reception", r.PublishNumber(tenant.numbers[2], version, f"{word}-broken", False)))
    return rows


def agent_row(tenant: Tenant, agent: str) -> tuple[str, Any]:
    """An agent as published."""
    word = tenant.name
    skills = (SkillNeed("deep", 3),) if agent in tenant.skilled else ()
    queues = (f"{word}-sales", f"{word}-support")
    return "desk", rw.PublishAgent(agent, tenant.version, queues, skills, tenant.devices[agent], False)
