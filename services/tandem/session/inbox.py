"""What media nodes tell, as inputs of contacts and receptions (spine 7)."""

from __future__ import annotations

from typing import Any

from tandem.core.decider import EffectEnded
from tandem.core.ids import derived_id
from tandem.core.ports.media import (
    CallRefused,
    CommandSettled,
    DeviceRegistered,
    DeviceUnregistered,
    DigitsCollected,
    Event,
    LegArrived,
    LegHandedOut,
    LegReferred,
    contact_of,
)
from tandem.core.seal import Withheld
from tandem.runtime.step import Offer
from tandem.session.domain import words as w
from tandem.session.domain.reception import RECEPTION, NoteDevice


def media_offer(node: str, incarnation: str, event: Event, at_ms: int) -> Offer:
    """An event of a node as a numbered input. `at_ms` is when it happened, in shard time."""
    source = f"media/{node}/{incarnation}/{event.tenant}"
    leg, body = event.leg, event.body
    settles = ""
    command: Any
    match body:
        case CommandSettled(key, outcome, reason):
            stream, settles, command = stream_of(key), key, EffectEnded("", outcome, reason)
        case LegArrived(number, caller):
            stream, command = f"contact/{leg}", w.TakeCall(node, at_ms, number, caller)
        case DigitsCollected(step, digits, why):
            stream, command = _contact(leg), w.TakeDigits(leg, at_ms, step, digits, why)
        case CallRefused(number, reason):
            # It never had a leg, so its contact has an id of its own, the same at each repeat.
            stream = f"contact/{derived_id(source, str(event.number))}"
            command = w.NoteRefusal(node, at_ms, number, reason)
        case DeviceRegistered(device):
            stream, command = RECEPTION, NoteDevice(device, node, True, at_ms)
        case DeviceUnregistered(device):
            stream, command = RECEPTION, NoteDevice(device, node, False, at_ms)
        case LegReferred(other):
            # Whom the phone named changes nothing, so it goes no further.
            stream, command = _contact(leg), w.NoteLeg(node, leg, at_ms, LegReferred(other, Withheld()))
        case LegHandedOut(dialog):
            stream, command = _contact(leg), w.TakeDialog(leg, at_ms, dialog)
        case _:
            stream, command = _contact(leg), w.NoteLeg(node, leg, at_ms, body)
    return Offer(source, event.number, event.tenant, stream, command, settles=settles)


def _contact(leg: str) -> str:
    return f"contact/{contact_of(leg)}"


def stream_of(key: str) -> str:
    """The stream that an effect's key (`tenant/stream/version.n/index`) belongs to."""
    _, _, rest = key.partition("/")
    return rest.rsplit("/", 2)[0]
