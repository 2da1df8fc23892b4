"""The invariants of which the phones are the oracle (spine 12): what they saw, against what the log says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tandem.core.commit import Commit
from tandem.core.ports.log import Partition
from tandem.core.ports.media import By, Cause, contact_of
from tandem.simulation.invariants import Checker, Happened, Place, Violation
from tandem.simulation.phones import Caller, Dialog
from tandem.simulation.scripted_media import ScriptedMedia


class Outcomes(Checker):
    """Every contact has exactly one outcome, and it is the one that the phones know."""

    def __init__(self, dialogs: dict[str, Dialog], callers: dict[str, Caller]) -> None:
        self._dialogs, self._callers = dialogs, callers
        self.of: dict[Place, str] = {}
        self.started: dict[Place, None] = {}
        self.completed: dict[Place, None] = {}
        self._talking: dict[Place, None] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for envelope, event in happened:
            contact = envelope.stream.partition("/")[2]
            place = (envelope.tenant, contact)
            match envelope.type:
                case "contact.started":
                    if place in self.started:
                        raise Violation("a contact begins once", contact)
                    self.started[place] = None
                case "contact.connected":
                    self._talking[place] = None
                case "contact.requeued":
                    self._talking.pop(place, None)
                case "contact.disconnected" | "contact.turned_away":
                    if place in self.of:
                        raise Violation("exactly one outcome", f"{contact} after {self.of[place]}")
                    self.of[place] = "REFUSED" if envelope.type.endswith("away") else event.outcome.value
                    self._by_the_phones(place, self.of[place], event)
                case "shard.quarantined" if envelope.stream.startswith("contact/"):
                    self.of.setdefault(place, "FAILED")
                case "contact.completed":
                    if place not in self.of or place in self.completed:
                        raise Violation("exactly one outcome", f"{contact} completed without outcome, or twice")
                    self.completed[place] = None

    def _lost(self, contact: str) -> bool:
        """Whether a phone of the contact was cut off, or its end was lost with a journal."""
        return any(dialog.dead for leg, dialog in self._dialogs.items() if contact_of(leg) == contact)

    def _heard_talking(self, place: Place, dialog: Dialog) -> bool:
        """Whether they talked to the end and that could be known: what went with a journal cannot, unless
        the log has it."""
        return dialog.talked_to_end and (place in self._talking or not dialog.unheard)

    def _by_the_phones(self, place: Place, outcome: str, event: Any) -> None:
        _, contact = place
        dialog, caller = self._dialogs.get(contact), self._callers.get(contact)
        if dialog is None or caller is None:
            return
        talked = dialog.joined_ms >= 0
        wrong = ""
        match outcome:
            case "HANDLED" if not talked:
                wrong = "the phones never talked"
            case "ABANDONED" | "LEFT_IN_FLOW" if self._heard_talking(place, dialog):
                wrong = "the caller was talking"
            case "ABANDONED" | "LEFT_IN_FLOW" if event.by.value == "CALLER" and not dialog.own:
                wrong = "the caller did not hang up"
            case "HUNG_UP" if not caller.cut_by_us:
                wrong = "nobody asked for it"
            case "MEDIA_LOST" if not self._lost(contact):
                wrong = "its node lives"
            case _:
                pass
        if wrong:
            raise Violation("the outcome is what the phones saw", f"{contact} ended {outcome}, but {wrong}")


class Strays(Checker):
    """A caller is hung up as one whom nobody knows only if nobody could: their arrival went with a journal."""

    def __init__(self, dialogs: dict[str, Dialog], callers: dict[str, Caller]) -> None:
        self._dialogs, self._callers = dialogs, callers
        self._known: dict[Place, None] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for envelope, event in happened:
            if envelope.stream.startswith("contact/"):
                self._known[envelope.tenant, envelope.stream.partition("/")[2]] = None
            elif envelope.type == "stray.found":
                self._found(envelope.tenant, event.leg)

    def _found(self, tenant: str, leg: str) -> None:
        if leg in self._callers and (tenant, leg) not in self._known and not self._dialogs[leg].untold:
            raise Violation("no caller is taken for a stray", f"the node was about to tell of {leg}")


class Rings(Checker):
    """No phone rings twice for an offer, no agent's phones have two calls, nobody is blamed for a ring
    that did not last or was answered."""

    def __init__(self, agent_of: Callable[[str], str]) -> None:
        self._agent_of = agent_of
        self._rung: dict[tuple[str, str], Dialog] = {}
        self._open: dict[str, list[Dialog]] = {}
        self.offers: dict[str, Dialog] = {}

    def saw(self, what: str, dialog: Dialog) -> None:
        """See `Checker`."""
        if what != "rings":
            return
        if (dialog.offer, dialog.device) in self._rung:
            raise Violation("no phone rings twice", f"{dialog.device} for offer {dialog.offer}")
        self._rung[dialog.offer, dialog.device] = self.offers[dialog.offer] = dialog
        agent = self._agent_of(dialog.device)
        still = [other for other in self._open.get(agent, ()) if other.open]
        if still:
            raise Violation("no agent has two calls", f"{dialog.device} rings while {still[0].leg} is open")
        self._open[agent] = [*still, dialog]

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for envelope, event in happened:
            if envelope.type == "agent.not_responding":
                self._blamed(event)

    def _blamed(self, event: Any) -> None:
        dialog = self.offers.get(event.offer)
        wrong = ""
        if dialog is None:
            wrong = "no phone rang"
        elif dialog.answered_ms >= 0:
            wrong = "the phone was answered"
        elif dialog.ended_ms - dialog.began_ms < dialog.limit_ms:
            # Declined at the very moment of the limit it was both; the node says which came first.
            rang = f"it rang {dialog.ended_ms - dialog.began_ms} of {dialog.limit_ms} ms"
            wrong = "the call was declined" if dialog.own else rang
        if wrong:
            raise Violation("nobody is blamed for it", f"{event.agent} for offer {event.offer}, but {wrong}")


class Drops(Checker):
    """A talk ends because a phone or a client ended it, or with its node."""

    def __init__(self, dialogs: dict[str, Dialog], callers: dict[str, Caller]) -> None:
        self._dialogs, self._callers = dialogs, callers

    def saw(self, what: str, dialog: Dialog) -> None:
        """See `Checker`."""
        if what != "is over" or not dialog.talked_to_end or dialog.own or dialog.by is By.FAR:
            return
        caller = self._callers[contact_of(dialog.leg)]
        if dialog.dead or caller.cut_by_us or dialog.cause is Cause.NO_MEDIA:
            return
        raise Violation("no call is dropped", f"{dialog.leg} ended {dialog.cause} by {dialog.by} in mid-talk")


class Pauses(Checker):
    """Whoever is told that nothing is recorded, or that it is again, is told the truth."""

    def __init__(self, media: Callable[[], ScriptedMedia | None]) -> None:
        self._media = media

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for envelope, event in happened:
            if envelope.type not in ("contact.recording_paused", "contact.recording_resumed"):
                continue
            media, contact = self._media(), envelope.stream.partition("/")[2]
            paused = None if media is None else media.is_paused(contact, event.recording)
            if paused is not None and paused is not (envelope.type == "contact.recording_paused"):
                raise Violation("a pause is in force when it is told", f"{envelope.type} {event.recording}")
