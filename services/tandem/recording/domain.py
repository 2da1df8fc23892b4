"""A recording: born when it stands whole in Blobs, and from then on only read.

It leaves the live state at once; history has it. Times are shard time in ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Action, Context, Kind, dispatch
from tandem.core.seal import Private
from tandem.core.values import dataclass

RECORDING = "recording"


@dataclass(frozen=True, slots=True)
class KeepRecording:
    """From session: a media node has put a recording into Blobs. `data_key` is the
    recording's own key, sealed under the contact's."""

    recording: str
    contact: str
    agent: str
    queue: str
    blob: str
    frames: int
    size_bytes: int
    sha256: str
    data_key: Private
    started_ms: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class RecordingKept:
    """The recording can be heard, once its key follows."""

    recording: str
    contact: str
    agent: str
    queue: str
    blob: str
    frames: int
    size_bytes: int
    sha256: str
    started_ms: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class KeyKept:
    """What opens the recording. An event of its own, so that no reader of public facts meets it."""

    recording: str
    data_key: Private


@dataclass(frozen=True, slots=True)
class New:
    """Nothing is known yet."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The recording is known, its key is about to be."""

    recording: str


@dataclass(frozen=True, slots=True)
class Done:
    """Everything is known; the view has it."""


State = New | Kept | Done


def _keep(state: New, command: KeepRecording, context: Context) -> Sequence[Any]:
    kept = RecordingKept(
        command.recording,
        command.contact,
        command.agent,
        command.queue,
        command.blob,
        command.frames,
        command.size_bytes,
        command.sha256,
        command.started_ms,
        command.truncated,
    )
    return kept, KeyKept(command.recording, command.data_key)


_HANDLERS: dict[tuple[type, type], Any] = {(New, KeepRecording): _keep}


def decide(state: State, command: Any, context: Context) -> Sequence[Any]:
    """Events of a command."""
    return dispatch(_HANDLERS, state, command, context)


def evolve(state: State, event: Any) -> State:
    """The recording after an event."""
    match event:
        case RecordingKept(recording):
            return Kept(recording)
        case KeyKept():
            return Done()
        case _:
            raise TypeError(f"{type(event).__name__} is no event of a recording")


def react(state: State, event: Any) -> Sequence[Action]:
    """Nobody has to be told."""
    return ()


KIND = Kind(
    name=RECORDING,
    start=New,
    starts=(KeepRecording,),
    decide=decide,
    evolve=evolve,
    react=react,
    over=lambda state: isinstance(state, Done),
    traced=True,
    states=(New, Kept, Done),
)
