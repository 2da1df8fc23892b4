"""The gate of a tenant: which calls are let in (architecture, tenancy: quotas).

One small aggregate per tenant (stream `gate`), which contacts read while they decide whether
to begin. It has the quota as the tenant service published it, the bucket of set-ups, and the
orders that end the legs of calls that were not let in: such a call begins no contact, so that
a storm beyond the quota costs two events a call. A tenant whose quota was never published has
no gate, and all its calls are let in.

How many contacts live is not counted here: the runtime knows it (`Context.living`), and a
number that is looked up cannot drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tandem.core.decider import Act, Action, Context, Kind, dispatch
from tandem.core.ports.media import Cause, HangUp
from tandem.core.published import is_news
from tandem.core.values import dataclass
from tandem.session.domain.words import MediaOrder

GATE = "gate"
CONTACT_QUOTA_EXCEEDED = "CONTACT_QUOTA_EXCEEDED"
SETUP_RATE_EXCEEDED = "SETUP_RATE_EXCEEDED"
REFUSE_DEADLINE_MS = 5_000
"""By when the node should have ended a refused leg; then it is asked again."""
_CALL_M = 1000
"""One call in the bucket's unit, so that a rate per second is a whole number per millisecond."""


# ------------------------------------------------------------------- commands, events, state


@dataclass(frozen=True, slots=True)
class PublishQuota:
    """From the tenant service."""

    version: int
    live_contacts: int
    setups_per_s: int
    setup_burst: int


@dataclass(frozen=True, slots=True)
class CountCall:
    """From a contact that began. `at_ms` is when its call arrived."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class RefuseCall:
    """From a contact that was turned away: its leg shall end."""

    node: str
    leg: str


@dataclass(frozen=True, slots=True)
class QuotaTaken:
    """These limits hold from now on."""

    version: int
    live_contacts: int
    setups_per_s: int
    setup_burst: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class CallCounted:
    """`level_m` thousandths of a call are left in the bucket."""

    level_m: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The leg is being ended."""

    node: str
    leg: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The quota and the bucket of set-ups, as it was at `at_ms`."""

    version: int = 0
    live_contacts: int = 0
    setups_per_s: int = 0
    setup_burst: int = 0
    level_m: int = 0
    at_ms: int = 0

    def level_at(self, at_ms: int) -> int:
        """The bucket when a call arrives. Calls of two nodes may come out of order by a
        little: time does not run back for it."""
        return min(self.setup_burst * _CALL_M, self.level_m + max(0, at_ms - self.at_ms) * self.setups_per_s)

    def refusal(self, living: int, at_ms: int) -> str:
        """Why a call that arrived then is not let in, "" if it is. It is judged by when it
        arrived and not by when it is decided: callers who rang through a takeover come at
        once, and were no storm."""
        if living >= self.live_contacts:
            return CONTACT_QUOTA_EXCEEDED
        return "" if self.level_at(at_ms) >= _CALL_M else SETUP_RATE_EXCEEDED


# ------------------------------------------------------------------- decide, evolve, react


def _quota(gate: Gate, command: PublishQuota, context: Context) -> Sequence[Any]:
    if not is_news(gate, command):
        return ()
    quota = (command.version, command.live_contacts, command.setups_per_s, command.setup_burst)
    return (QuotaTaken(*quota, context.now_ms),)


def _count(gate: Gate, command: CountCall, context: Context) -> Sequence[Any]:
    # One that began without asking, because its arrival was refused and it recovered, takes what is there.
    level_m = max(0, gate.level_at(command.at_ms) - _CALL_M)
    return (CallCounted(level_m, max(gate.at_ms, command.at_ms)),)


def _refuse(gate: Gate, command: RefuseCall, context: Context) -> Sequence[Any]:
    return (CallRefused(command.node, command.leg),)


_HANDLERS: dict[tuple[type, type], Any] = {
    (Gate, PublishQuota): _quota,
    (Gate, CountCall): _count,
    (Gate, RefuseCall): _refuse,
}


def decide(gate: Gate, command: Any, context: Context) -> Sequence[Any]:
    """Events of a command; the end of an order needs none."""
    return dispatch(_HANDLERS, gate, command, context)


def evolve(gate: Gate, event: Any) -> Gate:
    """The gate after an event."""
    match event:
        case CallCounted(level_m, at_ms):
            return replace(gate, level_m=level_m, at_ms=at_ms)
        case QuotaTaken(version, live_contacts, setups_per_s, setup_burst, at_ms):
            # The first quota begins with a full bucket, a later one with what there was.
            level_m = gate.level_at(at_ms) if gate.version else setup_burst * _CALL_M
            level_m = min(level_m, setup_burst * _CALL_M)
            return Gate(version, live_contacts, setups_per_s, setup_burst, level_m, max(gate.at_ms, at_ms))
        case CallRefused():
            return gate
        case _:
            raise TypeError(f"{type(event).__name__} is no event of a gate")


def react(gate: Gate, event: Any) -> Sequence[Action]:
    """A refused leg is ended: 503 with Retry-After, by the media node."""
    if isinstance(event, CallRefused):
        order = MediaOrder(event.node, event.leg, HangUp(Cause.REFUSED))
        return (Act(f"refuse/{event.leg}", "media", order, REFUSE_DEADLINE_MS),)
    return ()


KIND = Kind(
    name=GATE,
    start=Gate,
    starts=(PublishQuota,),
    decide=decide,
    evolve=evolve,
    react=react,
    states=(Gate,),
)
