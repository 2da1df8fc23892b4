"""A contact's row, out of its owner's state: live ones are shown as their owner knows them."""

from __future__ import annotations

from typing import Any

from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.pausing import of_talk
from tandem.session.views.rows import ContactRow, LegRow, Party, Phase

_PHASES: dict[type, Phase] = {
    st.InFlow: Phase.IN_FLOW,
    st.Waiting: Phase.WAITING,
    st.Moving: Phase.WAITING,
    st.Ringing: Phase.RINGING,
    st.Connecting: Phase.CONNECTING,
    st.Talking: Phase.TALKING,
    st.Closing: Phase.CLOSING,
    st.Ended: Phase.ENDED,
}


def row_of(state: Any) -> ContactRow | None:
    """A live contact as its owner knows it; None for one that has not begun or is over."""
    phase = _PHASES.get(type(state))
    if phase is None:
        return None
    call, place, offered = state.call, getattr(state, "place", None), getattr(state, "offered", None)
    accepted = not isinstance(state, st.Ringing) and getattr(state, "accepted", True)
    recording = of_talk(state)
    return ContactRow(
        call.contact,
        phase,
        call.number,
        call.caller,
        call.node,
        call.flow,
        call.flow_version,
        call.started_ms,
        queue=place.queue if place else "",
        agent=offered.agent if offered and (accepted or phase is Phase.RINGING) else "",
        enqueued_ms=place.enqueued_ms if place else 0,
        connected_ms=call.connected_ms,
        ended_ms=getattr(state, "ended_ms", 0),
        outcome=state.outcome.value if isinstance(state, st.Closing | st.Ended) else "",
        legs=_live_legs(state, call, offered, accepted),
        recording_paused=recording is not None and recording.paused,
    )


def _live_legs(state: Any, call: st.Call, offered: st.Offered | None, accepted: bool) -> tuple[LegRow, ...]:
    up = {leg for _, leg in st.legs(state)}
    rows = [LegRow(call.leg, Party.CALLER, "", call.started_ms, call.answered_ms)]
    if offered is not None:
        # That the agent answered is in the state; when they did is in the history alone.
        since = getattr(state, "connected_ms", 0) or max(call.connected_ms, offered.offered_ms)
        answered = since if accepted else 0
        rows.append(LegRow(offered.leg, Party.AGENT, offered.agent, offered.offered_ms, answered))
    return tuple(row for row in rows if row.leg in up)
