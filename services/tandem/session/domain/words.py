"""The words of a contact: commands, events, messages, effects. Times are shard time in ms."""

from __future__ import annotations

from enum import StrEnum

from tandem.core.flow import SkillNeed
from tandem.core.ports.media import (
    By,
    Cause,
    Collected,
    LegAnswered,
    LegBridged,
    LegEarlyMedia,
    LegEnded,
    LegHeld,
    LegReferred,
    LegResumed,
    LegRinging,
    LegTakenOver,
    LegUnbridged,
    RecordingFailed,
    RecordingStored,
    Verb,
)
from tandem.core.seal import Private
from tandem.core.values import dataclass


class OfferOutcome(StrEnum):
    """How an offer ended (Twilio's reservation states, field guide C4, and what media adds)."""

    ACCEPTED = "ACCEPTED"  # the agent answered
    REJECTED = "REJECTED"  # the agent declined, or the device was busy
    TIMEOUT = "TIMEOUT"  # it rang for its whole time: RONA
    CANCELED = "CANCELED"  # the contact ended first
    RESCINDED = "RESCINDED"  # routing took it back: agent away, device gone, contact not waiting
    UNREACHABLE = "UNREACHABLE"  # the device never rang
    UNKNOWN = "UNKNOWN"  # in doubt for ever; nobody is blamed


class ContactOutcome(StrEnum):
    """How a contact ended. Exactly one per contact."""

    HANDLED = "HANDLED"  # caller and agent talked
    ABANDONED = "ABANDONED"  # the caller left the line while waiting or ringing
    LEFT_IN_FLOW = "LEFT_IN_FLOW"  # the caller hung up before any queue
    FLOW_ENDED = "FLOW_ENDED"  # the flow hung up
    HUNG_UP = "HUNG_UP"  # ended by the API
    MEDIA_LOST = "MEDIA_LOST"  # the media node died with the call
    FALLBACK = "FALLBACK"  # nobody owned the shard; the node played its apology
    REFUSED = "REFUSED"  # the node would not take the call
    FAILED = "FAILED"  # anything else; the cause says more


class EndedBy(StrEnum):
    """Who ended a contact."""

    CALLER = "CALLER"
    AGENT = "AGENT"
    FLOW = "FLOW"
    API = "API"
    NODE = "NODE"


class WhyRequeued(StrEnum):
    """Why a contact is back at its place."""

    AGENT_LOST = "AGENT_LOST"  # the agent's leg died in the talk
    NOT_BRIDGED = "NOT_BRIDGED"  # the bridge did not come about
    REFERRED = "REFERRED"  # the agent's phone asked to hand the caller over; whom a phone may call is not its to say


class StepKind(StrEnum):
    """What a step of a flow does; waiting has an event of its own."""

    ANSWER = "ANSWER"
    PLAY = "PLAY"
    MENU = "MENU"
    HANG_UP = "HANG_UP"


# ------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class TakeCall:
    """A call has arrived at a media node (port: LegArrived). Begins a contact."""

    node: str
    at_ms: int
    number: str
    caller: Private


@dataclass(frozen=True, slots=True)
class NoteRefusal:
    """A media node turned a call away before it became a leg. Begins and ends a contact."""

    node: str
    at_ms: int
    number: str
    reason: str


LegBody = (
    LegRinging
    | LegEarlyMedia
    | LegAnswered
    | LegEnded
    | LegBridged
    | LegUnbridged
    | LegHeld
    | LegResumed
    | LegReferred
    | LegTakenOver
    | RecordingStored
    | RecordingFailed
)


@dataclass(frozen=True, slots=True)
class NoteLeg:
    """Something happened on a leg of the contact."""

    node: str
    leg: str
    at_ms: int
    body: LegBody


@dataclass(frozen=True, slots=True)
class TakeDigits:
    """A menu's digits (port: DigitsCollected)."""

    leg: str
    at_ms: int
    step: str
    digits: Private
    why: Collected


@dataclass(frozen=True, slots=True)
class MoveCaller:
    """From the runtime: the node on which the caller waits is being emptied, `node` can take them over."""

    node: str


@dataclass(frozen=True, slots=True)
class TakeDialog:
    """A node has described a leg for another one (port: LegHandedOut)."""

    leg: str
    at_ms: int
    dialog: Private


@dataclass(frozen=True, slots=True)
class OfferContact:
    """From routing: ring this agent for the contact. Answered by exactly one `OfferClosed`."""

    offer: str
    agent: str
    device: str
    queue: str
    ring_timeout_ms: int


@dataclass(frozen=True, slots=True)
class RescindOffer:
    """From routing: take the offer back; the closing answer still comes."""

    offer: str
    why: str


@dataclass(frozen=True, slots=True)
class AskPlace:
    """From routing: does the contact still wait?"""

    queue: str


@dataclass(frozen=True, slots=True)
class NoteNewJournal:
    """A media node begins a new journal: which recordings it had begun is lost with the old one."""

    node: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class RefuseQueue:
    """From routing: there is no such queue; the contact goes on in its flow."""

    queue: str
    why: str


@dataclass(frozen=True, slots=True)
class EndWrapUp:
    """From routing: the agent's after-call work on this offer is over."""

    offer: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class HangUpContact:
    """From a client."""


@dataclass(frozen=True, slots=True)
class PauseRecording:
    """From a client: a talk's recording has silence from now on, or what is said (`paused` false).
    `agent` asks, in their own talk alone; empty for those who may in any."""

    paused: bool
    agent: str


@dataclass(frozen=True, slots=True)
class GiveUpWaiting:
    """Wake: the longest wait in the queue has passed."""

    step: str


@dataclass(frozen=True, slots=True)
class EndMove:
    """Wake: nothing was heard of the move that was to bring this leg about."""

    leg: str


@dataclass(frozen=True, slots=True)
class RejoinQueue:
    """Wake: back to the place in line."""


@dataclass(frozen=True, slots=True)
class CompleteAnyway:
    """Wake: what an ended contact still waited for did not come."""


# ------------------------------------------------------------------- messages to other services


@dataclass(frozen=True, slots=True)
class Enqueue:
    """To the desk: put the contact in line, at the place that `enqueued_ms` gives it."""

    contact: str
    queue: str
    skills: tuple[SkillNeed, ...]
    priority: int
    enqueued_ms: int


@dataclass(frozen=True, slots=True)
class LeaveQueue:
    """To the desk: the contact does not wait any more."""

    contact: str
    why: str


@dataclass(frozen=True, slots=True)
class OfferAccepted:
    """To the desk: the agent answered."""

    offer: str
    contact: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class OfferClosed:
    """To the desk: the closing answer to an offer that was not accepted."""

    offer: str
    contact: str
    outcome: OfferOutcome
    rang_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class TalkEnded:
    """To the desk: the agent's leg of an accepted offer is gone. Wrap-up only if there was audio.
    `lost`: it was the agent's side that failed, the contact is back in line."""

    offer: str
    contact: str
    audio: bool
    lost: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class RecordingKept:
    """To the recording service: a recording stands whole in Blobs."""

    recording: str
    contact: str
    queue: str
    agent: str
    started_ms: int
    blob: str
    frames: int
    size_bytes: int
    sha256: str
    truncated: bool
    data_key: Private


@dataclass(frozen=True, slots=True)
class HangUpBegun:
    """Reply to `HangUpContact`: the contact has its outcome, its legs are going down."""

    contact: str


@dataclass(frozen=True, slots=True)
class RecordingOrdered:
    """Reply to `PauseRecording`: the media node has the order, or will when it is there."""

    contact: str


# ------------------------------------------------------------------- effect


@dataclass(frozen=True, slots=True)
class MediaOrder:
    """A verb for a leg on a node."""

    node: str
    leg: str
    verb: Verb


# ------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class ContactStarted:
    """A call has arrived; the flow begins. `flow` is empty if the number leads nowhere any more."""

    contact: str
    number: str
    caller: Private
    node: str
    flow: str
    flow_version: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactTurnedAway:
    """A call was turned away before its flow began: by the media node (capacity, no owner), or
    by the tenant's quota; then `leg` is being refused on `node`."""

    number: str
    reason: str
    at_ms: int
    leg: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class ContactAnswered:
    """The caller's leg is answered."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class FlowStepEntered:
    """The flow goes on with this step; a menu is entered anew for each try. `prompts` are all that is played."""

    step: str
    kind: StepKind
    attempt: int
    prompts: tuple[str, ...]
    timeout_ms: int  # of a menu
    sensitive: bool  # of a menu
    at_ms: int


@dataclass(frozen=True, slots=True)
class MenuChosen:
    """The caller pressed a digit that the menu has."""

    step: str
    next: str
    digits: Private
    at_ms: int


@dataclass(frozen=True, slots=True)
class MenuMissed:
    """A try of a menu failed: nothing was pressed, or no choice."""

    step: str
    attempt: int
    timeout: bool
    digits: Private
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactQueued:
    """The contact waits. `enqueued_ms` is its place in line, for as long as it waits for this queue.
    `give_up_ms` is when the flow goes on without an agent, 0 for never."""

    queue: str
    step: str
    skills: tuple[SkillNeed, ...]
    priority: int
    enqueued_ms: int
    give_up_ms: int
    prompts: tuple[str, ...]
    music: str


@dataclass(frozen=True, slots=True)
class QueueMusicStarted:
    """The announcement is over; music plays."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactDequeued:
    """The contact waits no more and goes on in its flow: the wait was too long, or there is no such queue."""

    queue: str
    why: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentOffered:
    """An agent's device is asked to ring."""

    offer: str
    agent: str
    device: str
    leg: str
    queue: str
    ring_timeout_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentRinging:
    """The device rings."""

    offer: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class OfferCancelBegun:
    """The agent's leg is being taken down before an answer."""

    offer: str
    outcome: OfferOutcome
    at_ms: int


@dataclass(frozen=True, slots=True)
class OfferEnded:
    """An offer that was not accepted is over; a waiting contact keeps its place."""

    offer: str
    agent: str
    outcome: OfferOutcome
    cause: Cause
    rang_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class OfferTurnedDown:
    """Routing offered an agent while the contact was not waiting (any more)."""

    offer: str
    agent: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentAnswered:
    """The agent's leg is answered; the legs are being bridged."""

    offer: str
    agent: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactConnected:
    """Caller and agent hear each other; a recording begins."""

    offer: str
    agent: str
    recording: str
    data_key: Private
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactHeld:
    """A phone put the call on hold."""

    by: EndedBy
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactResumed:
    """The hold is over."""

    by: EndedBy
    at_ms: int


@dataclass(frozen=True, slots=True)
class RecordingPauseBegun:
    """Somebody ordered that the talk is recorded as silence, or as it is again (`paused` false)."""

    recording: str
    paused: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class RecordingPaused:
    """From here on the recording has silence."""

    recording: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class RecordingResumed:
    """From here on the recording has what is said."""

    recording: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class RecordingPauseFailed:
    """The media node did not carry the order out; the recording goes on as it was."""

    recording: str
    paused: bool
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactRequeued:
    """The agent was lost; the contact is back at its place."""

    queue: str
    enqueued_ms: int
    offer: str
    why: WhyRequeued
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactDisconnected:
    """The one end of a contact. The legs in `open` are still up and are taken down."""

    outcome: ContactOutcome
    by: EndedBy
    cause: Cause
    open: tuple[str, ...]
    at_ms: int


@dataclass(frozen=True, slots=True)
class LegClosed:
    """A leg of the contact is gone."""

    leg: str
    cause: Cause
    by: By
    at_ms: int


@dataclass(frozen=True, slots=True)
class LegInDoubt:
    """Nobody knows any more whether an agent's leg rings, or talks to nobody: it is taken down."""

    leg: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class CallerMoveBegun:
    """The node on which the caller waits is being emptied, and is asked to describe the call: `node` is to have it as
    `leg`. The place is kept, and they hear what they heard."""

    leg: str
    node: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class CallerHandedOut:
    """The first node has described the call, and the other one is asked to take it over."""

    dialog: Private
    at_ms: int


@dataclass(frozen=True, slots=True)
class CallerMoved:
    """The caller is on `node` as `leg` from now on."""

    leg: str
    node: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class CallerMoveFailed:
    """The caller stays where they are, at least until `stays_ms`. `doubt`: the other node may have the leg, and lets
    it go."""

    reason: str
    doubt: bool
    stays_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class OfferKept:
    """An agent was found while another node takes the caller over: they are rung when that is over."""

    offer: str
    agent: str
    device: str
    queue: str
    ring_timeout_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """A recording stands whole in Blobs, or could not be kept (`blob` empty, `reason` says why)."""

    recording: str
    contact: str
    queue: str
    agent: str
    started_ms: int
    blob: str
    frames: int
    size_bytes: int
    sha256: str
    truncated: bool
    reason: str
    data_key: Private
    at_ms: int


@dataclass(frozen=True, slots=True)
class WrapUpEnded:
    """The agent's after-call work is over."""

    offer: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactRecovered:
    """Something that was told of the contact could not be decided; it is at its fallback.
    `counted` against the contact; `rejoin`: it is out of line for a moment, its place kept;
    `half`: what should have been done because of what did happen is ordered again."""

    refused: str
    why: str
    counted: bool
    rejoin: bool
    half: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class QueueRejoined:
    """The contact is back in line, at the place that it had."""

    queue: str
    enqueued_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class OfferNotHeld:
    """Routing asked after an offer that the contact has not, or no longer; its end is told again."""

    offer: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class PlaceNotHeld:
    """Routing asked whether the contact still waits, and is told that it does not."""

    queue: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactCompleted:
    """Nothing more will happen to this contact."""

    at_ms: int
