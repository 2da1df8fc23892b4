"""What a desk decides. Each command frees at most one agent and one contact, so each makes
at most two reservations; which ones is decided on the desk as it stands, without changing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context, dispatch
from tandem.routing.domain import agents, line, offers, repair
from tandem.routing.domain.desk import Desk

HANDLERS: dict[tuple[type, type], Any] = {
    **agents.HANDLERS,
    **line.HANDLERS,
    **offers.HANDLERS,
    **repair.HANDLERS,
}


def decide(desk: Desk, command: Any, context: Context) -> Sequence[Any]:
    """The events that a command leads to."""
    return dispatch(HANDLERS, desk, command, context)
