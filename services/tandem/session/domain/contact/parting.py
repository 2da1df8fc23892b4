"""The leg of an agent whom the contact has left behind: it goes down, whatever state the contact is in.

A bridge that does not come about puts the contact back at its place while the agent's phone is still
up, and so may a ring whose node has lost the order and not the call. That phone is hung up, and the
contact is not over before its leg is: an order dies with whoever gave it, and nobody else would take
the leg down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context, EffectEnded
from tandem.core.ports.media import By, Cause, LegEnded
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st

Events = Sequence[Any]


def decide(state: st.State, command: Any, context: Context) -> Events:
    """What a command says of such a leg, nothing if it is not about one."""
    match command:
        case w.NoteLeg(leg=leg, body=LegEnded() as ended, at_ms=at_ms):
            return parted(state, leg, ended, at_ms)
        case EffectEnded(name=name):
            return hung_up(state, name, context.now_ms)
        case _:
            return ()


def parted(state: Any, leg: str, ended: LegEnded, at_ms: int) -> Events:
    """The node says that it is gone."""
    if not isinstance(state, st.Live) or leg not in state.call.parting:
        return ()
    return (w.LegClosed(leg, ended.cause, ended.by, at_ms),)


def hung_up(state: Any, order: str, at_ms: int) -> Events:
    """Its hang-up ended without an event of the leg: it had gone before."""
    prefix, _, leg = order.partition("/")
    return parted(state, leg, LegEnded(Cause.CANCELED, By.TANDEM), at_ms) if prefix == "hangup" else ()
