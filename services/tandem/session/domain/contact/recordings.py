"""What becomes of a contact's recordings, whichever state it is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from tandem.core.decider import Context, EffectEnded
from tandem.core.ports.media import Outcome, RecordingFailed, RecordingStored
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st

Events = Sequence[Any]

NEVER_STORED = "NEVER_STORED"
"""Reason of a recording that a contact does not wait for any longer; it may come late."""


def recording_over(state: st.Begun, command: w.NoteLeg) -> Events:
    """What a node says of a recording, if it is the contact's and was not told before."""
    for kept in state.recordings:
        match command.body:
            case RecordingStored(recording, blob, frames, size, sha256, truncated) if recording == kept.recording:
                return (_ended(kept, command, blob, frames, size, sha256, truncated, ""),)
            case RecordingFailed(recording, reason) if recording == kept.recording:
                return (_ended(kept, command, "", 0, 0, "", False, reason),)
            case _:
                pass
    return ()


def never_recorded(state: st.Begun, command: EffectEnded, context: Context) -> Events:
    """A recording that could not begin is told by the outcome of its order alone."""
    prefix, _, recording = command.name.partition("/")
    if prefix != "record" or command.outcome is not Outcome.FAILED:
        return ()
    return recording_over(
        state, w.NoteLeg("", state.call.contact, context.now_ms, RecordingFailed(recording, command.reason))
    )


def _ended(
    kept: st.Recording,
    command: w.NoteLeg,
    blob: str,
    frames: int,
    size_bytes: int,
    sha256: str,
    truncated: bool,
    reason: str,
) -> w.RecordingEnded:
    return w.RecordingEnded(
        kept.recording,
        command.leg.partition(".")[0],
        kept.queue,
        kept.agent,
        kept.started_ms,
        blob,
        frames,
        size_bytes,
        sha256,
        truncated,
        reason,
        kept.data_key,
        command.at_ms,
    )


def all_lost(state: st.Begun, reason: str, at_ms: int) -> Events:
    """None of the recordings that are still to come will come, for a stable UPPER_SNAKE reason."""
    note = w.NoteLeg("", state.call.contact, at_ms, RecordingFailed("", reason))
    return [_ended(kept, note, "", 0, 0, "", False, reason) for kept in state.recordings]


def _journal_lost(state: st.Begun, command: w.NoteNewJournal, context: Context) -> Events:
    """What the node recorded is lost to it: nothing is to be waited for any more."""
    if state.call.node != command.node or not state.recordings:
        return ()
    lost = all_lost(state, "JOURNAL_LOST", command.at_ms)
    over = isinstance(state, st.Ended) and not state.wrapping
    return (*lost, w.ContactCompleted(command.at_ms)) if over else lost


HANDLERS: dict[tuple[type, type], Any] = {(state, w.NoteNewJournal): _journal_lost for state in get_args(st.Begun)}
