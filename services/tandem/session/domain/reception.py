"""The reception of a tenant: which numbers lead to which flows, which devices may register.

One aggregate per tenant (stream `reception`), fed by the tenant service. Contacts read it
while they decide (rule 7: configuration is in the log by version before it is used).
Published versions of a flow stay, so that callers keep the version they began with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from tandem.core.decider import Action, Context, Kind, Resumed, Rows, Tell, dispatch
from tandem.core.flow import STEP_CLASSES, Flow, FlowStep
from tandem.core.published import is_news
from tandem.core.seal import Private
from tandem.core.values import dataclass

RECEPTION = "reception"
DESK = "desk"
MAX_VERSIONS = 100
"""Versions of one flow kept for callers who are still in them."""


# ------------------------------------------------------------------- commands and events


@dataclass(frozen=True, slots=True)
class PublishNumber:
    """From the tenant service."""

    number: str
    version: int
    flow: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class PublishDevice:
    """From the tenant service. The digests are sealed under a key of the tenant."""

    device: str
    version: int
    agent: str
    realm: str
    ha1_md5: Private
    ha1_sha256: Private
    deleted: bool


@dataclass(frozen=True, slots=True)
class PublishFlow:
    """From the tenant service."""

    flow: str
    version: int
    steps: tuple[FlowStep, ...]


@dataclass(frozen=True, slots=True)
class NoteDevice:
    """A media node saw a registration begin or end."""

    device: str
    node: str
    registered: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device that the desk takes for registered."""

    agent: str
    device: str
    node: str


@dataclass(frozen=True, slots=True)
class AskDevices:
    """From the desk, which may have missed something: answered where what is `known` is not so."""

    known: tuple[KnownDevice, ...]


@dataclass(frozen=True, slots=True)
class SayAgain:
    """From the runtime: what had to be done because of `lost`, an event, was not; or the reception is
    back in service."""

    lost: Any = None


@dataclass(frozen=True, slots=True)
class NumberConfigured:
    """A number leads to a flow from now on."""

    number: str
    version: int
    flow: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class DeviceConfigured:
    """A device may register, or no longer."""

    device: str
    version: int
    agent: str
    realm: str
    ha1_md5: Private
    ha1_sha256: Private
    deleted: bool


@dataclass(frozen=True, slots=True)
class FlowConfigured:
    """A version of a flow is in use for new contacts."""

    flow: str
    version: int
    steps: tuple[FlowStep, ...]


@dataclass(frozen=True, slots=True)
class DeviceReachable:
    """A device registered, or its registration ended."""

    device: str
    agent: str
    node: str
    registered: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class DeviceTold:
    """Whether a device is registered, as the desk is told again."""

    device: str
    agent: str
    node: str
    registered: bool


@dataclass(frozen=True, slots=True)
class DevicesTold:
    """The desk asked, and is told what it has missed."""

    devices: tuple[DeviceTold, ...]
    at_ms: int


@dataclass(frozen=True, slots=True)
class ReceptionReturned:
    """Back in service; what the desk asked meanwhile it asks again."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """Message to the desk: an agent's device can be rung, or no longer. `again`: it has asked."""

    agent: str
    device: str
    node: str
    registered: bool
    at_ms: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class ReviewDevices:
    """Message to the desk: what it asked of devices may have found nobody."""


# ------------------------------------------------------------------- state


@dataclass(frozen=True, slots=True)
class Number:
    """A number in use."""

    number: str
    version: int
    flow: str


@dataclass(frozen=True, slots=True)
class Device:
    """A device that may register; `node` is where it is registered, empty if it is not."""

    device: str
    version: int
    agent: str
    realm: str
    ha1_md5: Private
    ha1_sha256: Private
    node: str = ""


@dataclass(slots=True)
class Reception:
    """A mutable fold; only `evolve` changes it. `changes` counts what media nodes must know."""

    numbers: dict[str, Number] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    flows: dict[str, dict[int, Flow]] = field(default_factory=dict)
    changes: int = 0

    def flow_of(self, number: str) -> Flow | None:
        """The newest version of the flow that a number leads to."""
        row = self.numbers.get(number)
        versions = self.flows.get(row.flow) if row else None
        return versions[max(versions)] if versions else None

    def flow(self, flow: str, version: int) -> Flow | None:
        """A version of a flow, None when it has been dropped."""
        return self.flows.get(flow, {}).get(version)


def _frozen(row: Any) -> Any:
    """A flow's versions as a tuple, the newest last."""
    return tuple(row[version] for version in sorted(row)) if isinstance(row, dict) else row


def _build(
    changes: int, numbers: Sequence[Number], devices: Sequence[Device], flows: Sequence[Sequence[Flow]]
) -> Reception:
    return Reception(
        {number.number: number for number in numbers},
        {device.device: device for device in devices},
        {versions[0].flow: {flow.version: flow for flow in versions} for versions in flows},
        changes,
    )


def _touched(event: Any) -> Sequence[tuple[str, str]]:
    match event:
        case NumberConfigured(number):
            return (("numbers", number),)
        case FlowConfigured(flow):
            return (("flows", flow),)
        case DevicesTold() | ReceptionReturned():
            return ()
        case _:
            return (("devices", event.device),)


ROWS = Rows(("numbers", "devices", "flows"), _touched, _build, lambda state: state.changes, _frozen)
"""A reception row by row."""


# ------------------------------------------------------------------- decide, evolve, react


def _number(state: Reception, command: PublishNumber, context: Context) -> Sequence[Any]:
    known = state.numbers.get(command.number)
    if not is_news(known, command):
        return ()
    return (NumberConfigured(command.number, command.version, command.flow, command.deleted),)


def _device(state: Reception, command: PublishDevice, context: Context) -> Sequence[Any]:
    known = state.devices.get(command.device)
    if not is_news(known, command):
        return ()
    configured = DeviceConfigured(
        command.device,
        command.version,
        command.agent,
        command.realm,
        command.ha1_md5,
        command.ha1_sha256,
        command.deleted,
    )
    if known is None or not known.node or not (command.deleted or command.agent != known.agent):
        return (configured,)
    # Its phone is registered: the agent whose device it was cannot be rung on it any more.
    now, device, node = context.now_ms, command.device, known.node
    gone = DeviceReachable(device, known.agent, node, False, now)
    if command.deleted:
        return gone, configured
    return gone, configured, DeviceReachable(device, command.agent, node, True, now)


def _flow(state: Reception, command: PublishFlow, context: Context) -> Sequence[Any]:
    if command.version in state.flows.get(command.flow, {}):
        return ()
    return (FlowConfigured(command.flow, command.version, command.steps),)


def _note(state: Reception, command: NoteDevice, context: Context) -> Sequence[Any]:
    device = state.devices.get(command.device)
    if device is None:
        return ()  # withdrawn while the phone was registering
    if command.registered == bool(device.node) and (device.node == command.node or not command.registered):
        return ()  # nothing new
    if not command.registered and device.node != command.node:
        return ()  # it has moved to another node meanwhile
    return (DeviceReachable(command.device, device.agent, command.node, command.registered, command.at_ms),)


def _asked(state: Reception, command: AskDevices, context: Context) -> Sequence[Any]:
    """What the desk takes for registered and is not, then what is and it does not know."""
    there = {(row.agent, row.device): row.node for row in state.devices.values() if row.node}
    known = {(row.agent, row.device): row.node for row in command.known}
    gone = [DeviceTold(of[1], of[0], known[of], False) for of in sorted(known) if of not in there]
    missed = [DeviceTold(of[1], of[0], there[of], True) for of in sorted(there) if known.get(of) != there[of]]
    return (DevicesTold((*gone, *missed), context.now_ms),) if gone or missed else ()


def _say_again(state: Reception, command: SayAgain, context: Context) -> Sequence[Any]:
    match command.lost:
        case Resumed():
            return (ReceptionReturned(context.now_ms),)
        case DeviceReachable(device, agent, node, registered):
            return (DevicesTold((DeviceTold(device, agent, node, registered),), context.now_ms),)
        case DevicesTold() | ReceptionReturned():
            return (command.lost,)
        case _:
            return ()


_HANDLERS: dict[tuple[type, type], Any] = {
    (Reception, PublishNumber): _number,
    (Reception, PublishDevice): _device,
    (Reception, PublishFlow): _flow,
    (Reception, NoteDevice): _note,
    (Reception, AskDevices): _asked,
    (Reception, SayAgain): _say_again,
}


def decide(state: Reception, command: Any, context: Context) -> Sequence[Any]:
    """Configuration is taken as it comes; older versions are passed over."""
    return dispatch(_HANDLERS, state, command, context)


def evolve(state: Reception, event: Any) -> Reception:
    """Change the fold in place."""
    match event:
        case NumberConfigured(number, version, flow, deleted):
            state.changes += 1
            if deleted:
                state.numbers.pop(number, None)
            else:
                state.numbers[number] = Number(number, version, flow)
        case DeviceConfigured():
            state.changes += 1
            _configure(state, event)
        case FlowConfigured(flow, version, steps):
            versions = state.flows.setdefault(flow, {})
            versions[version] = Flow(flow, version, steps)
            if len(versions) > MAX_VERSIONS:
                del versions[min(versions)]
        case DeviceReachable(device, _, node, registered, _):
            row = state.devices[device]
            state.devices[device] = Device(
                row.device, row.version, row.agent, row.realm, row.ha1_md5, row.ha1_sha256, node if registered else ""
            )
    return state


def _configure(state: Reception, event: DeviceConfigured) -> None:
    if event.deleted:
        state.devices.pop(event.device, None)
        return
    known = state.devices.get(event.device)
    state.devices[event.device] = Device(
        event.device,
        event.version,
        event.agent,
        event.realm,
        event.ha1_md5,
        event.ha1_sha256,
        known.node if known else "",
    )


def react(state: Reception, event: Any) -> Sequence[Action]:
    """The desk is told which devices can be rung."""
    match event:
        case DeviceReachable(device, agent, node, registered, at_ms):
            return (Tell(DESK, DeviceChanged(agent, device, node, registered, at_ms)),)
        case DevicesTold(devices, at_ms):
            return [
                Tell(DESK, DeviceChanged(row.agent, row.device, row.node, row.registered, at_ms, again=True))
                for row in devices
            ]
        case ReceptionReturned():
            return (Tell(DESK, ReviewDevices()),)
        case _:
            return ()


STATES = (
    Number,
    Device,
    Flow,
    *STEP_CLASSES,
)

KIND = Kind(
    name=RECEPTION,
    start=Reception,
    starts=(PublishNumber, PublishDevice, PublishFlow, NoteDevice),
    decide=decide,
    evolve=evolve,
    react=react,
    states=STATES,
    rows=ROWS,
    resume=SayAgain,
)
