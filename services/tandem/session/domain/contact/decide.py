"""What a contact decides: commands to events, one small handler per state and command.

Every race of a call is a case in a handler, with a sentence. A pair of state and command that is
in no table changes nothing: the command came too late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context, dispatch
from tandem.session.domain.contact import ending, flow, moving, offers, parting, pausing, recordings, talking, waiting
from tandem.session.domain.contact import states as st

HANDLERS: dict[tuple[type, type], Any] = {
    **flow.HANDLERS,
    **waiting.HANDLERS,
    **offers.HANDLERS,
    **moving.HANDLERS,
    **talking.HANDLERS,
    **pausing.HANDLERS,
    **ending.HANDLERS,
    **recordings.HANDLERS,
}


def decide(state: st.State, command: Any, context: Context) -> Sequence[Any]:
    """The events that a command leads to, none if it came too late."""
    return parting.decide(state, command, context) or dispatch(HANDLERS, state, command, context)
