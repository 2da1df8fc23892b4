"""A recording that comes after its contact is over: its node was away, or could not store it for hours.

A contact waits an hour for its recordings. Then it is over all the same and may be erased, and
what its node still uploads must not stay behind without a key. So each recording that is missing
becomes an aggregate of its own (stream `late/{recording}`). When the recording comes it is listed
like any other; and if the contact's key is gone by then, the blob is deleted. One that nothing
expects has no key that anybody knows, and is deleted. It may also be there already: a contact that
could not decide what its node said of it waited for nothing. So it is looked for first.

NotLate -> Expected -> Settling -> Over
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Act, Action, Answer, Context, EffectEnded, Kind, Settle, Tell, Wake, dispatch
from tandem.core.destroy import ASK_AGAIN_MS, ERASE
from tandem.core.ports.media import RecordingFailed, RecordingStored
from tandem.core.seal import Private, Sealed
from tandem.core.values import dataclass
from tandem.session.domain.retention import DAY_MS
from tandem.session.domain.words import NoteLeg, NoteNewJournal, RecordingKept

LATE = "late"
EXPECTED_MS = 30 * DAY_MS
"""How long a recording is expected after its contact is over: a node that was away for longer will
not be back with it."""
NEVER_CAME = "NEVER_CAME"
JOURNAL_LOST = "JOURNAL_LOST"
NOT_EXPECTED = "NOT_EXPECTED"
"""Reasons of a `LateGivenUp`; a node gives others."""
_GIVE_UP, _FIND, _DROP = "give_up", "find", "drop"


def stream_of(recording: str) -> str:
    """The stream of a late recording."""
    return f"{LATE}/{recording}"


# ------------------------------------------------------------------- commands, events, effect


@dataclass(frozen=True, slots=True)
class ExpectRecording:
    """From the contact."""

    recording: str
    contact: str
    node: str
    queue: str
    agent: str
    started_ms: int
    data_key: Private


@dataclass(frozen=True, slots=True)
class NoteLateRecording:
    """From the node, after the contact was over or set aside."""

    contact: str
    at_ms: int
    body: RecordingStored | RecordingFailed


@dataclass(frozen=True, slots=True)
class FoundRecording:
    """It stands in Blobs already: what the node said of it was refused, or was lost with its journal."""

    blob: str
    frames: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class GiveUpRecording:
    """Wake: it was expected for long enough."""


@dataclass(frozen=True, slots=True)
class LateExpected:
    """The contact does not wait for it any more."""

    recording: str
    contact: str
    node: str
    queue: str
    agent: str
    started_ms: int
    data_key: Private
    at_ms: int


@dataclass(frozen=True, slots=True)
class LateNotFound:
    """It was looked for, and does not stand in Blobs yet."""

    recording: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class LateStored:
    """It came, and is listed."""

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
    at_ms: int


@dataclass(frozen=True, slots=True)
class LateGivenUp:
    """It does not come, or nothing expected it."""

    recording: str
    contact: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class LateSettled:
    """What had to be deleted of it is gone."""

    recording: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class FindRecording:
    """The effect: look for the recording, and answer with `FoundRecording` if it is there."""

    recording: str


@dataclass(frozen=True, slots=True)
class DropRecording:
    """The effect: delete the recording, unless that key is there."""

    recording: str
    unless: str


# ------------------------------------------------------------------- states


@dataclass(frozen=True, slots=True)
class NotLate:
    """Nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The node may still bring it."""

    recording: str
    contact: str
    node: str
    queue: str
    agent: str
    started_ms: int
    data_key: Private


@dataclass(frozen=True, slots=True)
class Settling:
    """The blob is deleted if nobody may hear it. `key` opens it, empty if none is known."""

    recording: str
    key: str


@dataclass(frozen=True, slots=True)
class Over:
    """Done."""


State = NotLate | Expected | Settling | Over
Events = Sequence[Any]


# ------------------------------------------------------------------- decide, evolve, react


def late_news(command: Any) -> tuple[str, Any] | None:
    """Who hears what is told of a contact that is over or set aside: (stream, command)."""
    match command:
        case NoteLeg(leg=leg, at_ms=at_ms, body=RecordingStored() | RecordingFailed() as body):
            return stream_of(body.recording), NoteLateRecording(leg.partition(".")[0], at_ms, body)
        case _:
            return None


def _expect(state: NotLate, command: ExpectRecording, context: Context) -> Events:
    return (
        LateExpected(
            command.recording,
            command.contact,
            command.node,
            command.queue,
            command.agent,
            command.started_ms,
            command.data_key,
            context.now_ms,
        ),
    )


def _came_unexpected(state: NotLate, command: NoteLateRecording, context: Context) -> Events:
    if isinstance(command.body, RecordingFailed):
        return ()
    return (LateGivenUp(command.body.recording, command.contact, NOT_EXPECTED, command.at_ms),)


def _came(state: Expected, command: NoteLateRecording, context: Context) -> Events:
    match command.body:
        case RecordingStored(_, blob, frames, size_bytes, sha256, truncated):
            return (
                LateStored(
                    state.recording,
                    state.contact,
                    state.queue,
                    state.agent,
                    state.started_ms,
                    blob,
                    frames,
                    size_bytes,
                    sha256,
                    truncated,
                    state.data_key,
                    command.at_ms,
                ),
            )
        case RecordingFailed(_, reason):
            return (LateGivenUp(state.recording, state.contact, reason, command.at_ms),)


def _found(state: Expected, command: FoundRecording, context: Context) -> Events:
    """Whether its node died over it is not known, so its end may be missing."""
    body = RecordingStored(
        state.recording, command.blob, command.frames, command.size_bytes, command.sha256, truncated=True
    )
    return _came(state, NoteLateRecording(state.contact, context.now_ms, body), context)


def _not_found(state: Expected, command: EffectEnded, context: Context) -> Events:
    return (LateNotFound(state.recording, context.now_ms),) if command.name == _FIND else ()


def _journal_lost(state: Expected, command: NoteNewJournal, context: Context) -> Events:
    """The node stored it and could not say so, or never will."""
    if command.node != state.node:
        return ()
    return (LateGivenUp(state.recording, state.contact, JOURNAL_LOST, command.at_ms),)


def _never_came(state: Expected, command: GiveUpRecording, context: Context) -> Events:
    return (LateGivenUp(state.recording, state.contact, NEVER_CAME, context.now_ms),)


def _dropped(state: Settling, command: EffectEnded, context: Context) -> Events:
    return (LateSettled(state.recording, context.now_ms),) if command.name == _DROP else ()


_HANDLERS: dict[tuple[type, type], Any] = {
    (NotLate, ExpectRecording): _expect,
    (NotLate, NoteLateRecording): _came_unexpected,
    (Expected, NoteLateRecording): _came,
    (Expected, FoundRecording): _found,
    (Expected, EffectEnded): _not_found,
    (Expected, NoteNewJournal): _journal_lost,
    (Expected, GiveUpRecording): _never_came,
    (Settling, EffectEnded): _dropped,
}


def decide(state: State, command: Any, context: Context) -> Events:
    """Events of a command."""
    return dispatch(_HANDLERS, state, command, context)


def evolve(state: State, event: Any) -> State:
    """The late recording after an event."""
    match event:
        case LateExpected(recording, contact, node, queue, agent, started_ms, data_key):
            return Expected(recording, contact, node, queue, agent, started_ms, data_key)
        case LateNotFound():
            return state
        case LateStored(recording, data_key=key) if isinstance(key, Sealed):
            return Settling(recording, key.key)
        case LateStored(recording):
            return Settling(recording, "")
        case LateGivenUp(recording):
            known = isinstance(state, Expected) and isinstance(state.data_key, Sealed)
            return Settling(recording, state.data_key.key if known else "")  # type: ignore[union-attr]
        case LateSettled():
            return Over()
        case _:
            raise TypeError(f"{type(event).__name__} is no event of a late recording")


def react(state: State, event: Any) -> Sequence[Action]:
    """It is listed, also when it can be heard no more; and what nobody can open is deleted."""
    match event, state:
        case LateExpected(recording, at_ms=at_ms), _:
            find = Act(_FIND, ERASE, FindRecording(recording), ASK_AGAIN_MS)
            return Wake(_GIVE_UP, at_ms + EXPECTED_MS, GiveUpRecording()), find
        case LateStored(), Settling(recording, key):
            drop = Act(_DROP, ERASE, DropRecording(recording, key), ASK_AGAIN_MS)
            return Settle(_GIVE_UP), Tell(f"recording/{recording}", _kept(event)), drop
        case LateGivenUp(), Settling(recording, key):
            return Settle(_GIVE_UP), Act(_DROP, ERASE, DropRecording(recording, key), ASK_AGAIN_MS)
        case _:
            return (Answer(event),)  # the eraser hears that its end was taken


def _kept(event: LateStored) -> RecordingKept:
    return RecordingKept(
        event.recording,
        event.contact,
        event.queue,
        event.agent,
        event.started_ms,
        event.blob,
        event.frames,
        event.size_bytes,
        event.sha256,
        event.truncated,
        event.data_key,
    )


KIND = Kind(
    name=LATE,
    start=NotLate,
    starts=(ExpectRecording, NoteLateRecording),
    decide=decide,
    evolve=evolve,
    react=react,
    over=lambda state: isinstance(state, Over),
    states=(NotLate, Expected, Settling, Over),
)
