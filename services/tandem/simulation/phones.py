"""Scripted phones that behave badly, and remember what they saw.

They live on when nodes and control processes die. What they remember is the oracle: it is
written down by the phones alone, never read from Tandem's log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from tandem.core.ports.media import By, Cause, Event, LegArrived, LegBridged, LegEnded, contact_of
from tandem.simulation.chance import Chance
from tandem.simulation.nodes import MediaNode
from tandem.simulation.scheduler import Scheduler
from tandem.simulation.scripted_media import Does, Phone, ScriptedMedia

REREGISTER_MS = 20_000
"""How often a phone registers again; a registration of a phone that does not is over by then."""
NO_RTP_MS = 8_000
"""A phone that hears nothing from a dead node hangs up by itself."""


@dataclass(slots=True)
class Dialog:
    """One call as the phone at its far end saw it. Times are of the simulation, -1 for never."""

    leg: str
    device: str  # empty for callers
    offer: str
    began_ms: int
    limit_ms: int = 0
    answered_ms: int = -1
    joined_ms: int = -1
    parted: bool = False
    untold: bool = False  # that it arrived went with the journal, and no owner had taken it
    unheard: bool = False  # that they were joined went with the journal, and no owner had taken it
    ended_ms: int = -1
    cause: Cause | None = None
    by: By | None = None
    talked_to_end: bool = False
    own: bool = False  # the phone itself hung up, declined or was busy
    dead: bool = False  # its node died
    does: Does | None = None

    @property
    def open(self) -> bool:
        """Whether the phone takes it as alive."""
        return self.ended_ms < 0 and not self.dead


@dataclass(slots=True)
class Device:
    """A phone of an agent."""

    device: str
    tenant: str
    agent: str
    online: bool = True


@dataclass(slots=True)
class Caller:
    """A customer with a plan."""

    contact: str
    tenant: str
    number: str
    caller: str
    began_ms: int
    patience_ms: int
    digits: tuple[tuple[int, str], ...]
    talk_ms: int
    mischief: str = ""
    presses: list[tuple[int, str]] = field(default_factory=list)  # those that a menu took
    reached: bool = False
    cut_by_us: bool = False  # Tandem was asked over its API to end the call


class Witness(Protocol):
    """Is told at once what the phones see."""

    def saw(self, what: str, dialog: Dialog) -> None:
        """Something happened at a phone."""
        ...


AGENT_MOODS: tuple[tuple[str, int], ...] = (
    ("answer", 60),
    ("answer at the limit", 6),
    ("answer and hang up", 4),
    ("decline", 7),
    ("busy", 5),
    ("ring on", 8),
    ("vanish", 4),
    ("leave while it rings", 3),
    ("vanish with the network", 3),
)
MISCHIEF: tuple[tuple[str, int], ...] = (
    ("", 60),
    ("hang up as the agent rings", 8),
    ("hang up as the agent answers", 8),
    ("hang up as they are joined", 3),
    ("hang up at the limit", 3),
    ("hold", 10),
    ("hang up together", 8),
)


class Phones:
    """All phones of the world; the node's `Party`."""

    def __init__(self, scheduler: Scheduler, chance: Chance, witness: Witness) -> None:
        self._scheduler, self._witness = scheduler, witness
        self._jitter, self._people = chance.fork("registrations"), chance.fork("people")
        self._drawn: dict[str, Chance] = {}
        self.node: MediaNode
        self.devices: dict[str, Device] = {}
        self.callers: dict[str, Caller] = {}
        self.dialogs: dict[str, Dialog] = {}
        self._of_contact: dict[str, list[Dialog]] = {}
        self._at_device: dict[str, list[Dialog]] = {}  # those that are open, and some that were
        self.history: list[Dialog] = []
        self.calm = False
        self.hang_up_by_api: Callable[[Caller], None] = lambda caller: None
        self.pause_by_api: Callable[[Caller, bool], None] = lambda caller, paused: None
        self.sign_off: Callable[[Device], None] = lambda device: None

    # ---------------------------------------------------------------- registration

    def add_device(self, device: Device) -> None:
        """A phone is plugged in and registers from now on."""
        self.devices[device.device] = device
        self._scheduler.after(self._jitter.between(100, 3_000), lambda: self._register(device))

    def _register(self, device: Device) -> None:
        self.node.phone(lambda media: media.register(device.device, registered=device.online))
        self._scheduler.after(self._jitter.between(REREGISTER_MS // 2, REREGISTER_MS), lambda: self._register(device))

    def go(self, device: Device, *, online: bool, politely: bool) -> None:
        """A phone comes or goes; politely: it says so at once."""
        device.online = online
        if politely:
            self.node.phone(lambda media: media.register(device.device, registered=online))

    # ---------------------------------------------------------------- callers

    def call(self, caller: Caller) -> None:
        """Dial; again a little later if nobody is there to take the call."""
        self.callers[caller.contact] = caller
        dialog = Dialog(caller.contact, "", "", self._scheduler.now_ms)
        # It is there before the node is told: the node may answer in the same moment.
        self._begin(dialog)
        taken: list[bool] = []
        self.node.phone(lambda media: taken.append(media.call(caller.number, caller.contact, caller.caller)))
        if not (taken and taken[0]):
            self._close(dialog, Cause.REFUSED, By.NODE)
            return
        caller.reached = True
        self._witness.saw("calls", dialog)
        self.history.append(dialog)
        self._scheduler.after(caller.patience_ms, lambda: self.hang_up(caller.contact))

    def _begin(self, dialog: Dialog) -> None:
        self.dialogs[dialog.leg] = dialog
        self._of_contact.setdefault(contact_of(dialog.leg), []).append(dialog)

    def _press(self, caller: Caller, digit: str) -> None:
        dialog = self.dialogs.get(caller.contact)
        if dialog is not None and dialog.open:
            self.node.phone(lambda media: self._pressed(media, caller, digit))

    def _pressed(self, media: ScriptedMedia, caller: Caller, digit: str) -> None:
        if media.collects(caller.contact):
            caller.presses.append((self._scheduler.now_ms, digit))
        media.press(caller.contact, digit)

    def hang_up(self, leg: str) -> None:
        """The phone's own BYE or CANCEL."""
        dialog = self.dialogs.get(leg)
        if dialog is None or not dialog.open:
            return
        dialog.own = True
        self._witness.saw("hangs up", dialog)
        if not self.node.phone(lambda media: media.hang_up(leg)) or dialog.open:
            self._close(dialog, Cause.NORMAL, By.FAR)

    def _chance_of(self, leg: str) -> Chance:
        """What happens on a contact is drawn for it alone, so that it is the same in every shape."""
        contact = contact_of(leg)
        if contact not in self._drawn:
            self._drawn[contact] = self._people.fork(contact)
        return self._drawn[contact]

    def _soon_hang_up(self, leg: str, most_ms: int = 2) -> None:
        self._scheduler.after(self._chance_of(leg).between(0, most_ms), lambda: self.hang_up(leg))

    # ---------------------------------------------------------------- Party

    def rung(self, device: str, leg: str, offer: str, limit_ms: int) -> Phone:
        """See `scripted_media.Party`."""
        chance = self._chance_of(leg)
        mood = "answer" if self.calm else chance.weighted(AGENT_MOODS)
        row = self.devices[device]
        still = [dialog for dialog in self._at_device.get(device, ()) if dialog.open]
        busy = bool(still)
        dialog = Dialog(leg, device, offer, self._scheduler.now_ms, limit_ms)
        self._at_device[device] = [*still, dialog]
        self._begin(dialog)
        self.history.append(dialog)
        script = self._script(mood, row, limit_ms, busy, chance)
        dialog.does = script.does
        self._witness.saw("rings", dialog)
        if mood in ("answer and hang up", "vanish with the network") and script.does is Does.ANSWER:
            self._after_answer(mood, leg, script.after_ms)
        self._tease(contact_of(leg), limit_ms)
        return script

    def _script(self, mood: str, device: Device, limit_ms: int, busy: bool, chance: Chance) -> Phone:
        if not device.online:
            return Phone(Does.VANISH, 1)
        if busy:
            return Phone(Does.BUSY, 1)
        match mood:
            case "answer at the limit":
                return Phone(Does.ANSWER, limit_ms - 1 + chance.below(3))
            case "decline":
                return Phone(Does.DECLINE, chance.between(1, 3_000))
            case "busy":
                return Phone(Does.BUSY, chance.between(1, 50))
            case "ring on":
                return Phone(Does.RING_ON, 1)
            case "vanish":
                return Phone(Does.VANISH, 1)
            case "leave while it rings":
                self._scheduler.after(chance.between(0, 3_000), lambda: self._leave(device, chance))
                return Phone(Does.RING_ON, 1)
            case _:
                return Phone(Does.ANSWER, chance.between(100, 6_000))

    def _leave(self, device: Device, chance: Chance) -> None:
        if chance.one_in(2):
            self.sign_off(device)
            return
        self.go(device, online=False, politely=True)
        self._scheduler.after(20_000, lambda: self.go(device, online=True, politely=True))

    def _after_answer(self, mood: str, leg: str, after_ms: int) -> None:
        delay_ms = after_ms + self._chance_of(leg).between(0, 5)
        if mood == "answer and hang up":
            self._scheduler.after(delay_ms, lambda: self.hang_up(leg))
        else:
            self._scheduler.after(delay_ms + 5_000, lambda: self.node.phone(lambda media: media.lose(leg)))

    def _tease(self, contact: str, limit_ms: int) -> None:
        caller = self.callers.get(contact)
        if caller is None:
            return
        if caller.mischief == "hang up as the agent rings":
            self._soon_hang_up(contact)
        elif caller.mischief == "hang up at the limit":
            self._scheduler.after(limit_ms - 1 + self._chance_of(contact).below(3), lambda: self.hang_up(contact))

    def answered(self, leg: str) -> None:
        """See `scripted_media.Party`."""
        dialog = self.dialogs[leg]
        dialog.answered_ms = self._scheduler.now_ms
        self._witness.saw("is up", dialog)
        caller = self.callers[contact_of(leg)]
        if leg == caller.contact:
            for delay_ms, digit in caller.digits:
                self._scheduler.after(delay_ms, partial(self._press, caller, digit))
        elif caller.mischief == "hang up as the agent answers":
            self._soon_hang_up(caller.contact, 5)

    def joined(self, leg: str, other: str) -> None:
        """See `scripted_media.Party`."""
        caller = self.callers[contact_of(leg)]
        for one in (leg, other):
            dialog = self.dialogs[one]
            dialog.joined_ms, dialog.parted, dialog.unheard = self._scheduler.now_ms, False, False
            self._witness.saw("talks", dialog)
        agent = other if leg == caller.contact else leg
        self._talk(caller, agent)

    def _talk(self, caller: Caller, agent: str) -> None:
        chance, after = self._chance_of(agent), self._scheduler.after
        talk_ms = caller.talk_ms
        match caller.mischief:
            case "hang up as they are joined":
                self._soon_hang_up(caller.contact)
                return
            case "hang up together":
                after(talk_ms, lambda: self.hang_up(caller.contact))
                after(talk_ms, lambda: self.hang_up(agent))
                return
            case "hold":
                who = chance.pick((caller.contact, agent))
                after(talk_ms // 3, lambda: self.node.phone(lambda media: media.hold(who, held=True)))
                after(talk_ms // 2, lambda: self.node.phone(lambda media: media.hold(who, held=False)))
        self._card_data(caller, chance.fork("card data"))
        ends = chance.below(8)
        if ends == 0:
            after(talk_ms, lambda: self.hang_up_by_api(caller))
            after(talk_ms + 20_000, lambda: self.hang_up(caller.contact))
        else:
            after(talk_ms, lambda: self.hang_up(agent if ends < 4 else caller.contact))

    def _card_data(self, caller: Caller, chance: Chance) -> None:
        """What must not be recorded; sometimes the agent goes on before the pause is in force, or never does."""
        if not chance.one_in(4):
            return
        begins_ms = chance.between(0, caller.talk_ms)
        self._scheduler.after(begins_ms, lambda: self.pause_by_api(caller, True))
        if not chance.one_in(4):
            lasts_ms = chance.pick((1, 200, caller.talk_ms // 3))
            self._scheduler.after(begins_ms + lasts_ms, lambda: self.pause_by_api(caller, False))

    def ended(self, leg: str, cause: Cause, by: By) -> None:
        """See `scripted_media.Party`."""
        dialog = self.dialogs.get(leg)
        if dialog is None:
            return
        if by is By.FAR:
            dialog.own = True
        if dialog.ended_ms < 0:
            self._close(dialog, cause, by)
        for other in self._of_contact[contact_of(leg)]:
            other.parted = True

    def _close(self, dialog: Dialog, cause: Cause, by: By) -> None:
        dialog.ended_ms, dialog.cause, dialog.by = self._scheduler.now_ms, cause, by
        dialog.talked_to_end = dialog.joined_ms >= 0 and not dialog.parted
        self._witness.saw("is over", dialog)

    # ---------------------------------------------------------------- the node's death

    def node_died(self, unwritten_ms: int, forgotten: Collection[Event], *, alone: bool) -> None:
        """No RTP any more; whoever still has a dialog hangs up in a while. What happened from
        `unwritten_ms` on did not come to the journal, and what is `forgotten` went with it. With
        `alone` the calls go on."""
        ends = {event.leg for event in forgotten if isinstance(event.body, LegEnded)}
        joins = {event.leg for event in forgotten if isinstance(event.body, LegBridged)}
        arrivals = {event.leg for event in forgotten if isinstance(event.body, LegArrived)}
        for dialog in self.dialogs.values():
            dialog.unheard = dialog.unheard or dialog.leg in joins
            dialog.untold = dialog.untold or dialog.leg in arrivals or dialog.began_ms >= unwritten_ms
            if dialog.ended_ms >= unwritten_ms or dialog.leg in ends:
                dialog.dead = True  # its end was not written any more
            if dialog.began_ms >= unwritten_ms and not dialog.device:
                self.callers[dialog.leg].reached = False  # nor was that it began
            if dialog.open and not alone:
                dialog.dead = True
                self._scheduler.after(NO_RTP_MS, partial(self._give_up, dialog))

    def _give_up(self, dialog: Dialog) -> None:
        if dialog.ended_ms < 0:
            self._close(dialog, Cause.NO_MEDIA, By.FAR)

    @property
    def at_rest(self) -> bool:
        """Whether no phone has a call."""
        return not any(dialog.open for dialog in self.dialogs.values())
