"""Erasures: what is private of a contact that is over ceases to exist (architecture, rule 2).

A contact that is over has left the live state, so its erasure is an aggregate of its own
(stream `erasure/{contact}`, or `erasure/{contact}.recordings`). Destroying keys and deleting
recordings is one effect, pending until it is done: a crash anywhere only repeats it, and
repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from tandem.core.decider import Act, Action, Answer, Context, EffectEnded, Kind, dispatch
from tandem.core.destroy import ASK_AGAIN_MS, ERASE
from tandem.core.ports.media import Outcome
from tandem.core.seal import AUDIO
from tandem.core.values import dataclass
from tandem.session.domain.retention import RETENTION, Retention

ERASURE = "erasure"
_RECORDINGS = ".recordings"


class ErasureScope(StrEnum):
    """How much is erased."""

    CONTACT = "CONTACT"  # all that is private, the recordings too
    RECORDINGS = "RECORDINGS"


class ErasureCause(StrEnum):
    """Why."""

    REQUESTED = "REQUESTED"
    RETENTION = "RETENTION"


def stream_of(contact: str, scope: ErasureScope) -> str:
    """The stream of an erasure. Recordings that are erased alone stand in no other's way."""
    return f"{ERASURE}/{contact}" + (_RECORDINGS if scope is ErasureScope.RECORDINGS else "")


# ------------------------------------------------------------------- commands, events, effect


@dataclass(frozen=True, slots=True)
class EraseContact:
    """From a client, of a contact that is over. `key` is its data key, empty if it had none."""

    contact: str
    key: str


@dataclass(frozen=True, slots=True)
class EraseDue:
    """From the sweep: the contact has been over since `ended_ms`. Decided by the policy."""

    contact: str
    key: str
    scope: ErasureScope
    ended_ms: int


@dataclass(frozen=True, slots=True)
class ErasureBegun:
    """It is ordered, or asked for once more while it is under way."""

    contact: str
    key: str
    scope: ErasureScope
    cause: ErasureCause
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactErased:
    """No byte is left. `actor` asked first; empty for retention."""

    contact: str
    scope: ErasureScope
    cause: ErasureCause
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ErasureOrdered:
    """Reply: it stands in the log, and will be done."""

    contact: str


@dataclass(frozen=True, slots=True)
class EraseOrder:
    """The effect: destroy the keys, and delete all recordings whose ids begin so."""

    keys: tuple[str, ...]
    recordings: str


# ------------------------------------------------------------------- states


@dataclass(frozen=True, slots=True)
class NotBegun:
    """Nobody has asked."""


@dataclass(frozen=True, slots=True)
class Erasing:
    """The effect is pending. `asked` counts who asked."""

    contact: str
    key: str
    scope: ErasureScope
    cause: ErasureCause
    actor: str
    asked: int


@dataclass(frozen=True, slots=True)
class Gone:
    """Done."""


State = NotBegun | Erasing | Gone


# ------------------------------------------------------------------- decide, evolve, react


def _asked(state: NotBegun | Erasing, command: EraseContact, context: Context) -> Sequence[Any]:
    requested = ErasureCause.REQUESTED
    return (ErasureBegun(command.contact, command.key, ErasureScope.CONTACT, requested, context.actor, context.now_ms),)


def _due(state: NotBegun, command: EraseDue, context: Context) -> Sequence[Any]:
    policy: Retention = context.shared or Retention()
    kept_ms = policy.kept_ms(command.scope is ErasureScope.RECORDINGS)
    if kept_ms is None or context.now_ms < command.ended_ms + kept_ms:
        return ()  # the policy was changed while the sweep was at it
    return (ErasureBegun(command.contact, command.key, command.scope, ErasureCause.RETENTION, "", context.now_ms),)


def _ended(state: Erasing, command: EffectEnded, context: Context) -> Sequence[Any]:
    if command.outcome is not Outcome.DONE:
        raise ValueError(f"an erasure ends done, not {command.outcome}")
    return (ContactErased(state.contact, state.scope, state.cause, state.actor, context.now_ms),)


_HANDLERS: dict[tuple[type, type], Any] = {
    (NotBegun, EraseContact): _asked,
    (NotBegun, EraseDue): _due,
    (Erasing, EraseContact): _asked,
    (Erasing, EffectEnded): _ended,
}


def decide(state: State, command: Any, context: Context) -> Sequence[Any]:
    """Events of a command. A due contact whose erasure is under way is no news."""
    return dispatch(_HANDLERS, state, command, context)


def evolve(state: State, event: Any) -> State:
    """The erasure after an event."""
    match event, state:
        case ErasureBegun(), Erasing():
            return replace(state, asked=state.asked + 1)
        case ErasureBegun(contact, key, scope, cause, actor, _), _:
            return Erasing(contact, key, scope, cause, actor, 1)
        case ContactErased(), _:
            return Gone()
        case _:
            raise TypeError(f"{type(event).__name__} is no event of an erasure")


def react(state: State, event: Any) -> Sequence[Action]:
    """The order, once; and the answer to each who asks."""
    if isinstance(state, Erasing) and state.asked == 1:
        return Act(ERASE, ERASE, order_of(state), ASK_AGAIN_MS), Answer(ErasureOrdered(state.contact))
    return (Answer(ErasureOrdered(event.contact)),)


def order_of(erased: Erasing | ErasureBegun) -> EraseOrder:
    """What the erasure destroys and deletes."""
    keys: tuple[str, ...] = ()
    if erased.key:
        audio = erased.key + AUDIO
        keys = (audio,) if erased.scope is ErasureScope.RECORDINGS else (erased.key, audio)
    # A recording is called after its contact and the offer that it is of.
    return EraseOrder(keys, f"{erased.contact}-")


KIND = Kind(
    name=ERASURE,
    start=NotBegun,
    starts=(EraseContact, EraseDue),
    decide=decide,
    evolve=evolve,
    react=react,
    over=lambda state: isinstance(state, Gone),
    reads=RETENTION,
    states=(NotBegun, Erasing, Gone, ErasureScope, ErasureCause),
)
