"""A leg that lives on a media node and that no contact knows (any more): it is hung up.

It comes to be when a node's events are lost with its journal while its calls live on: a caller whose
arrival nobody was told of, a device whose `Originate` is in doubt. Whoever asks a node for its legs
finds it; hanging it up is an effect like any other, so that it is done once, durable first, and seen.

NoStray -> StrayHangingUp -> StrayOver
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Act, Action, Context, EffectEnded, Kind, Settle, dispatch
from tandem.core.ports.media import Cause, HangUp, LegEnded
from tandem.core.values import dataclass
from tandem.session.domain.contact.react import ORDER_DEADLINE_MS
from tandem.session.domain.words import MediaOrder, NoteLeg

STRAY = "stray"
HANG_UP = "hangup"


@dataclass(frozen=True, slots=True)
class HangUpStray:
    """The node lists a leg that nobody holds."""

    node: str
    leg: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StrayFound:
    """A leg that nobody holds is being hung up."""

    node: str
    leg: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StrayGone:
    """It is gone, or could not be hung up: then it is found again."""

    leg: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class NoStray:
    """Before anything has happened."""


@dataclass(frozen=True, slots=True)
class StrayHangingUp:
    """The node was, or will be, told."""

    node: str
    leg: str


@dataclass(frozen=True, slots=True)
class StrayOver:
    """Over."""


State = NoStray | StrayHangingUp | StrayOver
Events = Sequence[Any]


def _found(state: NoStray, command: HangUpStray, context: Context) -> Events:
    return (StrayFound(command.node, command.leg, command.at_ms),)


def _hung_up(state: StrayHangingUp, command: EffectEnded, context: Context) -> Events:
    return (StrayGone(state.leg, context.now_ms),)


def _leg(state: StrayHangingUp, command: NoteLeg, context: Context) -> Events:
    """Its node does not list it any more: it died before it was told."""
    return (StrayGone(state.leg, command.at_ms),) if isinstance(command.body, LegEnded) else ()


HANDLERS: dict[tuple[type, type], Any] = {
    (NoStray, HangUpStray): _found,
    (StrayHangingUp, EffectEnded): _hung_up,
    (StrayHangingUp, NoteLeg): _leg,
}


def decide(state: State, command: Any, context: Context) -> Events:
    """The events that a command leads to."""
    return dispatch(HANDLERS, state, command, context)


def evolve(state: State, event: Any) -> State:
    """How events change it."""
    return StrayHangingUp(event.node, event.leg) if isinstance(event, StrayFound) else StrayOver()


def react(state: State, event: Any) -> Sequence[Action]:
    """What the event asks for."""
    if isinstance(event, StrayFound):
        order = MediaOrder(event.node, event.leg, HangUp(Cause.FAILED))
        return (Act(HANG_UP, "media", order, ORDER_DEADLINE_MS),)
    return (Settle(HANG_UP),)


def _legs(state: State) -> Sequence[tuple[str, str]]:
    return ((state.node, state.leg),) if isinstance(state, StrayHangingUp) else ()


KIND = Kind(
    name=STRAY,
    start=NoStray,
    starts=(HangUpStray,),
    decide=decide,
    evolve=evolve,
    react=react,
    over=lambda state: isinstance(state, StrayOver),
    legs=_legs,
    states=(NoStray, StrayHangingUp, StrayOver),
)
