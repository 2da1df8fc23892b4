"""Events of a contact in words, for a timeline that people read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Data = Mapping[str, Any]


def tell(type_: str, data: Data) -> str:
    """A line for an event; its own name for one that has no words yet."""
    words = _WORDS.get(type_)
    return words(data) if words is not None else type_


def _step(data: Data) -> str:
    kind = str(data.get("kind", "")).removeprefix("STEP_KIND_").lower()
    prompts = ", ".join(data.get("prompts", ()))
    again = f", try {int(data['attempt'])}" if int(data.get("attempt", 1)) > 1 else ""
    return f"flow: step {data.get('step')} ({kind}{again}){f', plays {prompts}' if prompts else ''}"


def _missed(data: Data) -> str:
    return "menu: no digit in time" if data.get("timeout") else "menu: a digit that is no choice"


def _offer_ended(data: Data) -> str:
    outcome = str(data.get("outcome", "")).rpartition("OUTCOME_")[2].lower().replace("_", " ")
    return f"offer to {data.get('agent')} ended: {outcome or 'over'}; the place in line is kept"


def _recovered(data: Data) -> str:
    rest = "; out of line for a moment" if data.get("rejoin") else ""
    return f"{data.get('refused')} could not be decided ({data.get('why')}){rest}"


def _pause_begun(data: Data) -> str:
    return "the recording is to pause" if data.get("paused") else "the recording is to go on"


def _pause_failed(data: Data) -> str:
    return f"the recording could not {'pause' if data.get('paused') else 'go on'}: {data.get('reason', 'unknown')}"


def _disconnected(data: Data) -> str:
    by = str(data.get("by", "")).removeprefix("ENDED_BY_").lower()
    outcome = str(data.get("outcome", "")).rpartition("OUTCOME_")[2].lower().replace("_", " ")
    return f"ended by the {by}: {outcome}"


def _recorded(data: Data) -> str:
    if not data.get("blob"):
        return f"recording: none ({data.get('reason', 'unknown')})"
    return f"recorded: {int(data.get('frames', 0)) / 8000:.1f} s in stereo, sealed"


def _erased(data: Data) -> str:
    what = "its recordings" if data.get("scope") == "ERASURE_SCOPE_RECORDINGS" else "all that was private"
    why = "by the retention policy" if data.get("cause") == "ERASURE_CAUSE_RETENTION" else "on request"
    return f"erased: {what}, {why}"


_WORDS: Mapping[str, Callable[[Data], str]] = {
    "contact.started": lambda data: f"call from {data.get('caller') or 'a hidden number'} to {data.get('number')}",
    "contact.answered": lambda data: "Tandem answers",
    "contact.step_entered": _step,
    "contact.menu_chosen": lambda data: f"menu: digit {data.get('digits') or '?'}, on to {data.get('next')}",
    "contact.menu_missed": _missed,
    "contact.queued": lambda data: f"waits in queue {data.get('queue')}",
    "contact.music_started": lambda data: "music",
    "contact.dequeued": lambda data: f"leaves queue {data.get('queue')}: {data.get('why')}",
    "contact.agent_offered": lambda data: f"offered to {data.get('agent')}, whose phone is asked to ring",
    "contact.agent_ringing": lambda data: "the agent's phone rings",
    "contact.offer_ended": _offer_ended,
    "contact.offer_cancel_begun": lambda data: "the offer is taken back",
    "contact.offer_turned_down": lambda data: f"{data.get('agent')} could not be offered it",
    "contact.turned_away": lambda data: f"turned away: {data.get('reason')}",
    "contact.agent_answered": lambda data: f"{data.get('agent')} answers",
    "contact.connected": lambda data: f"talks with {data.get('agent')}, recorded",
    "contact.held": lambda data: "on hold",
    "contact.resumed": lambda data: "off hold",
    "contact.recording_pause_begun": _pause_begun,
    "contact.recording_paused": lambda data: "silence on the recording from here",
    "contact.recording_resumed": lambda data: "recorded again from here",
    "contact.recording_pause_failed": _pause_failed,
    "contact.requeued": lambda data: f"back in queue {data.get('queue')} at the old place",
    "contact.queue_rejoined": lambda data: f"back in queue {data.get('queue')} at the old place",
    "contact.offer_not_held": lambda data: "routing asks after an offer that is over; its end is told again",
    "contact.place_not_held": lambda data: "routing asks whether it still waits; it does not",
    "contact.recovered": _recovered,
    "contact.disconnected": _disconnected,
    "contact.leg_closed": lambda data: "a phone is off the line",
    "contact.leg_in_doubt": lambda data: "nobody knows whether the agent's phone still rings: it is told to hang up",
    "contact.move_begun": lambda data: f"the media node is being emptied: {data.get('node')} is to take the call over",
    "contact.handed_out": lambda data: "the other media node is asked",
    "contact.moved": lambda data: f"on media node {data.get('node')} now, at the old place in line",
    "contact.move_failed": lambda data: f"stays on its media node: {data.get('reason', 'unknown')}",
    "contact.offer_kept": lambda data: f"{data.get('agent')} is rung when the move is over",
    "contact.recording_ended": _recorded,
    "contact.wrap_up_ended": lambda data: "the agent's wrap-up is over",
    "contact.completed": lambda data: "the contact is complete",
    "contact.erased": _erased,
}
