"""The recording of a talk pauses and goes on by order, for what must not be kept: card data and the like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from tandem.core.decider import Context, EffectEnded
from tandem.core.errors import CONTACT_ENDED, NOT_RECORDING, NOT_YOUR_CONTACT, Rejected
from tandem.core.ports.media import Outcome
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.recordings import never_recorded

Events = Sequence[Any]


def of_talk(state: st.State) -> st.Recording | None:
    """The recording of the talk that goes on, None if nobody talks or it is not recorded."""
    if not isinstance(state, st.Talking):
        return None
    name = f"{state.call.contact}-{state.offered.offer}"
    return next((kept for kept in state.recordings if kept.recording == name), None)


def _order(state: st.Talking, command: w.PauseRecording, context: Context) -> Events:
    if command.agent not in ("", state.offered.agent):
        raise Rejected(NOT_YOUR_CONTACT, "another agent talks with this contact")
    recording = of_talk(state)
    if recording is None:
        return _nothing_recorded(state, command, context)
    # Also what is in force is ordered again: the answer is the media node's word, not the memory of one.
    return (w.RecordingPauseBegun(recording.recording, command.paused, context.now_ms),)


def _nothing_recorded(state: st.State, command: w.PauseRecording, context: Context) -> Events:
    raise Rejected(NOT_RECORDING, "nothing is recorded of the contact now", contact=st.id_of(context.stream))


def _over(state: st.State, command: w.PauseRecording, context: Context) -> Events:
    raise Rejected(CONTACT_ENDED, "the contact has ended", contact=st.id_of(context.stream))


def order_ended(state: st.Talking, command: EffectEnded, context: Context) -> Events:
    """How an order to the recording of the talk ended."""
    recording, at_ms = of_talk(state), context.now_ms
    if recording is None or recording.ordered is None or command.name != f"pause/{recording.recording}":
        return never_recorded(state, command, context)
    if command.outcome is not Outcome.DONE:
        reason = command.reason or command.outcome.value
        return (w.RecordingPauseFailed(recording.recording, recording.ordered, reason, at_ms),)
    turned = w.RecordingPaused if recording.ordered else w.RecordingResumed
    return (turned(recording.recording, at_ms),)


HANDLERS: dict[tuple[type, type], Any] = {
    **{(state, w.PauseRecording): _nothing_recorded for state in (st.InFlow, *get_args(st.InLine), st.Connecting)},
    (st.Talking, w.PauseRecording): _order,
    **{(state, w.PauseRecording): _over for state in (st.Closing, st.Ended)},
}
