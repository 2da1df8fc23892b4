"""The tenant of `tandem up --demo`: a number, a menu, two queues, four agents, and their secrets.

May be killed at any moment and run again: what exists is kept, and a secret that was lost with
`demo.json` is replaced by a new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from tandem.api.tenant.v1 import flow_pb2
from tandem.client.api import Api
from tandem.client.place import Place
from tandem.client.tenant_maker import TenantMaker, make_tenant, new_key, works

TENANT = "demo"
NUMBER = "100"
QUEUES = (("1", "sales", "Sales"), ("2", "support", "Support"))
"""(digit, id, title)"""
AGENTS = (("ada", "Ada (robot)", True), ("bob", "Bob (robot)", True), ("cleo", "Cleo", False), ("dan", "Dan", False))
"""(id, title, whether a robot plays it)"""
WRAP_UP_S = 2
MAX_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class DemoNumber:
    """A number, and the queue behind each digit of its menu."""

    number: str
    digits: dict[str, str]


@dataclass(frozen=True, slots=True)
class DemoAgent:
    """An agent and the account of the device."""

    name: str
    robot: bool
    sip_user: str
    sip_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Demo:
    """`var/demo.json`."""

    tenant: str
    api_key: str = field(repr=False)
    sip_domain: str
    numbers: tuple[DemoNumber, ...]
    agents: tuple[DemoAgent, ...]

    @property
    def robots(self) -> tuple[DemoAgent, ...]:
        """The agents that robots play."""
        return tuple(agent for agent in self.agents if agent.robot)


async def make_demo(place: Place) -> Demo:
    """Make or complete the demo tenant and write `demo.json`. Raises `ApiError`, `NotRunning`."""
    address, _ = place.addresses()
    before = read_demo(place.demo_file)
    async with Api(address, place.platform_key()) as platform:
        await make_tenant(platform, TENANT, "Demo")
        key = before.api_key if before else ""
        if not await works(address, TENANT, key):
            key = await new_key(platform, TENANT)
    async with Api(address, key) as api:
        numbers, agents = await _fill(TenantMaker(api, TENANT), before)
    host, port = place.sip
    domain = host if port == 5060 else f"{host}:{port}"
    demo = Demo(f"tenants/{TENANT}", key, domain, numbers, agents)
    write_demo(place.demo_file, demo)
    return demo


def read_demo(path: Path) -> Demo | None:
    """What `demo.json` holds; None if there is none that can be understood."""
    try:
        with path.open("rb") as file:
            found: Any = json.loads(file.read(MAX_FILE_BYTES))
        numbers = tuple(DemoNumber(**number) for number in found.pop("numbers"))
        agents = tuple(DemoAgent(**agent) for agent in found.pop("agents"))
        return Demo(**found, numbers=numbers, agents=agents)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


async def _fill(maker: TenantMaker, before: Demo | None) -> tuple[tuple[DemoNumber, ...], tuple[DemoAgent, ...]]:
    known = {agent.sip_user: agent.sip_password for agent in before.agents} if before else {}
    queues = {digit: await maker.queue(id_, title, wrap_up_s=WRAP_UP_S) for digit, id_, title in QUEUES}
    flow = await maker.flow("welcome", "Welcome", welcome(queues))
    await maker.number(NUMBER, "Demo line", flow)
    agents = []
    for id_, title, robot in AGENTS:
        device = await maker.agent(id_, title, tuple(queues.values()), known.get(f"{id_}.{TENANT}", ""))
        agents.append(DemoAgent(f"{maker.name}/agents/{id_}", robot, device.sip_user, device.sip_password))
    return (DemoNumber(NUMBER, queues),), tuple(agents)


def welcome(queues: dict[str, str]) -> Sequence[flow_pb2.FlowStep]:
    """Answer, ask, wait with music for an agent of the queue behind the digit."""
    menu = flow_pb2.MenuStep(
        prompts=("welcome-menu",),
        options=[flow_pb2.MenuOption(digit=digit, next=_line(queue)) for digit, queue in queues.items()],
        timeout=Duration(seconds=5),
        tries=3,
        invalid_prompts=("invalid",),
        timeout_prompts=("timeout",),
        otherwise="bye",
    )
    return [
        flow_pb2.FlowStep(id="hello", answer=flow_pb2.AnswerStep(next="menu")),
        flow_pb2.FlowStep(id="menu", menu=menu),
        *(
            flow_pb2.FlowStep(
                id=_line(queue), queue=flow_pb2.QueueStep(queue=queue, prompts=("please-wait",), music="music")
            )
            for queue in queues.values()
        ),
        flow_pb2.FlowStep(id="bye", hang_up=flow_pb2.HangUpStep(prompts=("goodbye",))),
    ]


def _line(queue: str) -> str:
    return queue.rpartition("/")[2]


def write_demo(path: Path, demo: Demo) -> None:
    """Whole or not at all, and never readable by others."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(demo), file, indent=2)
        file.write("\n")
    temporary.rename(path)
