"""The states of a contact: one frozen type per state, so that none holds a field it has no right to.

New -> InFlow -> Waiting -> Ringing -> Connecting -> Talking -> Closing -> Ended -> Done
          ^---------|  ^------|-----------|-----------|
                    Moving (from one media node to another, and back to Waiting)
"""

from __future__ import annotations

import re

from tandem.core.flow import SkillNeed
from tandem.core.ports.media import By, Cause
from tandem.core.seal import Private
from tandem.core.values import dataclass
from tandem.session.domain.words import ContactOutcome, EndedBy, OfferContact, OfferOutcome


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a contact in every state. `node` is where its legs are."""

    contact: str
    node: str
    number: str
    caller: Private
    flow: str
    flow_version: int
    started_ms: int
    answered_ms: int = 0
    connected_ms: int = 0  # first talk
    recoveries: int = 0  # things told of it that could not be decided
    parting: tuple[str, ...] = ()  # legs that it has left behind, and that are going down
    moved_leg: str = ""  # the caller's leg, once another node has taken the caller over
    moves: int = 0  # begun; each has a leg id of its own
    stays_ms: int = 0  # not to be moved before
    elsewhere: tuple[str, str] | None = None  # (leg, node): of a leg that is not on `node`

    @property
    def leg(self) -> str:
        """The caller's leg. On the node where the call came in it has the contact's own id."""
        return self.moved_leg or self.contact

    def node_of(self, leg: str) -> str:
        """The media node of one of the contact's legs."""
        return self.elsewhere[1] if self.elsewhere is not None and self.elsewhere[0] == leg else self.node


@dataclass(frozen=True, slots=True)
class Place:
    """A place in line."""

    queue: str
    step: str
    skills: tuple[SkillNeed, ...]
    priority: int
    enqueued_ms: int
    give_up_ms: int
    music: str


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer that is being made or was accepted."""

    offer: str
    agent: str
    device: str
    leg: str
    ring_timeout_ms: int
    offered_ms: int
    ringing: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that is not stored yet. `ordered`: to pause or to go on, which the node has still to do."""

    recording: str
    data_key: Private
    queue: str
    agent: str
    started_ms: int
    paused: bool = False
    ordered: bool | None = None


@dataclass(frozen=True, slots=True)
class New:
    """Before anything has happened."""


@dataclass(frozen=True, slots=True)
class InFlow:
    """The flow is at `step`."""

    call: Call
    step: str
    attempt: int
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """In line, with nobody offered."""

    call: Call
    place: Place
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class Moving:
    """In line; `node` is to take the caller over as `leg`. `asked`: it is told to. `lost`: the leg on the node that
    has them died meanwhile. `kept` is an agent's offer that came meanwhile."""

    call: Call
    place: Place
    leg: str
    node: str
    asked: bool = False
    lost: bool = False
    kept: OfferContact | None = None
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class Ringing:
    """In line; an agent's device rings. `cancel` says how the offer will end that is being taken back."""

    call: Call
    place: Place
    offered: Offered
    cancel: OfferOutcome | None = None
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class Connecting:
    """The agent answered; the bridge is on its way."""

    call: Call
    place: Place
    offered: Offered
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class Talking:
    """Caller and agent talk. `held_by` is whose phone put the call on hold."""

    call: Call
    place: Place
    offered: Offered
    connected_ms: int
    held_by: EndedBy | None = None
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class Closing:
    """The contact has its outcome; `open` legs are going down. `accepted`: the agent had answered."""

    call: Call
    outcome: ContactOutcome
    ended_ms: int
    open: tuple[str, ...]
    place: Place | None
    offered: Offered | None
    accepted: bool
    audio: bool
    recordings: tuple[Recording, ...] = ()
    wrapped: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """All legs are gone; the recording and the agent's wrap-up may still come."""

    call: Call
    outcome: ContactOutcome
    ended_ms: int
    place: Place | None
    offered: Offered | None
    wrapping: bool
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """Over."""


InLine = Waiting | Moving | Ringing
WithAgent = Connecting | Talking
Live = InFlow | Waiting | Moving | Ringing | Connecting | Talking
Begun = Live | Closing | Ended
State = New | InFlow | Waiting | Moving | Ringing | Connecting | Talking | Closing | Ended | Done

STATES: tuple[type, ...] = (
    New,
    InFlow,
    Waiting,
    Moving,
    Ringing,
    Connecting,
    Talking,
    Closing,
    Ended,
    Done,
    Call,
    Place,
    Offered,
    Recording,
    OfferOutcome,
    ContactOutcome,
    EndedBy,
    OfferContact,
    SkillNeed,
    Cause,
    By,
)


def wraps(state: Closing) -> bool:
    """Whether the agent's wrap-up is still to end."""
    return state.accepted and state.audio and not state.wrapped


def legs(state: State) -> tuple[tuple[str, str], ...]:
    """(node, leg) of every leg that is up or on its way."""
    match state:
        case InFlow(call) | Waiting(call):
            up = (call.leg, *call.parting)
        case Ringing(call, _, offered) | Connecting(call, _, offered) | Talking(call, _, offered):
            up = (call.leg, offered.leg, *call.parting)
        case Moving(call):
            return *_of(call, (call.leg,) * (not state.lost)), *(((state.node, state.leg),) * state.asked)
        case Closing(call, open=open_):
            up = open_
        case _:
            return ()
    return _of(call, up)


def _of(call: Call, legs: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((call.node_of(leg), leg) for leg in legs)


_MOVED = re.compile(r"move[0-9]+")


def moved_leg(contact: str, move: int) -> str:
    """The caller's leg on the node that takes them over in that move of theirs."""
    return f"{contact}.move{move}"


def is_callers(leg: str) -> bool:
    """Whether it is a leg of the caller: a contact's other legs are called after its offers."""
    _, dot, rest = leg.partition(".")
    return not dot or _MOVED.fullmatch(rest) is not None


def id_of(stream: str) -> str:
    """The contact's id, out of the name of its stream."""
    return stream.partition("/")[2]
