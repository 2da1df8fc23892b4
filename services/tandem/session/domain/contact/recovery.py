"""What becomes of a contact when something that was told of it cannot be decided (rule 12).

`Recover` is the runtime's command after such a refusal. Its handlers touch legs, offer and
outcome alone, and look at no flow: a contact in line keeps its place, a talk goes on, everybody
else hears the apology. What the refused input said of a leg is a fact, and is taken as one.
If even that raises, the contact is quarantined, and the functions at the end are all that the
runtime still asks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tandem.core.changed import changed
from tandem.core.decider import HOPS, Act, Answer, Context, EffectEnded, Refusal, Rescue, Tell
from tandem.core.ports.media import By, Cause, HangUp, LegAnswered, LegBridged, LegEnded, LegTakenOver, Outcome
from tandem.core.values import dataclass
from tandem.session.domain import words as w
from tandem.session.domain.contact import moving, parting
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.decide import decide as decide_contact
from tandem.session.domain.contact.ending import closed, nobody_offered
from tandem.session.domain.contact.flow import APOLOGY
from tandem.session.domain.contact.offers import holds
from tandem.session.domain.contact.react import DESK, ORDER_DEADLINE_MS, expected, leave
from tandem.session.domain.contact.talking import connected
from tandem.session.domain.contact.waiting import MAX_RECOVERIES

APOLOGY_PROMPT = "apology"
OFFER, RESCIND = "session.offer_contact", "session.rescind_offer"
ASK_PLACE = "session.ask_place"
OF_A_MOVE = ("media.take_dialog", "session.end_move")
NO_WAY_BACK = ("session.refuse_queue", "session.give_up_waiting")
"""After these a contact does not wait any more, whatever else cannot be decided."""
NOT_OF_THE_FLOW = (OFFER, RESCIND, "session.refuse_queue", "session.end_wrap_up", "session.rejoin_queue")
"""Latecomers that a contact in its flow need not answer with its end."""

Events = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Recover:
    """From the runtime: `refused` could not be decided. The rest is what it said that the Media
    port knows: a leg, whether it was answered, bridged, taken over or has ended, an order that ended; and
    the offer or the queue that it was about."""

    refused: str
    why: str
    at_ms: int
    half: bool = False
    arrived: w.TakeCall | None = None
    leg: str = ""
    answered: bool = False
    bridged: bool = False
    taken: bool = False
    ended: LegEnded | None = None
    order: str = ""
    offer: str = ""
    agent: str = ""
    queue: str = ""


def recover(refusal: Refusal, now_ms: int) -> Recover:
    """The command after a refusal."""
    plain = Recover(refusal.type, refusal.why, now_ms, refusal.half)
    match refusal.command:
        case w.TakeCall() as arrived:
            return replace(plain, arrived=arrived)
        case w.NoteLeg(leg=leg, body=LegEnded() as ended):
            return replace(plain, leg=leg, ended=ended)
        case w.NoteLeg(leg=leg, body=body):
            answered, bridged, taken = (isinstance(body, kind) for kind in (LegAnswered, LegBridged, LegTakenOver))
            return replace(plain, leg=leg, answered=answered, bridged=bridged, taken=taken)
        case w.OfferContact(offer=offer, agent=agent):
            return replace(plain, offer=offer, agent=agent)
        case w.RescindOffer(offer=offer) | w.EndWrapUp(offer=offer):
            return replace(plain, offer=offer)
        case w.AskPlace(queue=queue):
            return replace(plain, queue=queue)
        case EffectEnded(name=name, outcome=outcome):
            done = name if outcome is Outcome.DONE else ""
            return replace(plain, order=name, bridged=done == "bridge", taken=done == "takeover")
        case _:
            return plain


def decide(state: st.State, command: Any, context: Context) -> Events:
    """The contact's `decide`, with `Recover` among its commands."""
    if not isinstance(command, Recover):
        return decide_contact(state, command, context)
    match state:
        case st.New():
            return _never_began(command, context)
        case st.Done():
            return ()
        case _:
            # A message past the hop limit is not the contact's doing.
            counted = command.why != HOPS
            rejoin = isinstance(state, st.Waiting | st.Moving) and _stays(state, command) and _left_line(state, command)
            half, at_ms = command.half, command.at_ms
            noted = w.ContactRecovered(command.refused, command.why, counted, rejoin, half, at_ms)
            return noted, *(_parted(state, command) or _fallback(state, command, context))


def _never_began(command: Recover, context: Context) -> Events:
    """The call's own arrival could not be decided: it has its outcome, its leg is hung up."""
    call = command.arrived
    if call is None:
        return ()
    contact = st.id_of(context.stream)
    return (
        w.ContactStarted(contact, call.number, call.caller, call.node, "", 0, call.at_ms),
        w.ContactRecovered(command.refused, command.why, True, False, False, command.at_ms),
        _disconnected((contact,), command.at_ms),
    )


def _parted(state: Any, command: Recover) -> Events:
    """A phone that the contact has left behind is down, whatever else could not be decided."""
    if command.ended is not None:
        return parting.parted(state, command.leg, command.ended, command.at_ms)
    return parting.hung_up(state, command.order, command.at_ms)


def _fallback(state: Any, command: Recover, context: Context) -> Events:
    match state:
        case _ if command.refused == ASK_PLACE:
            return () if isinstance(state, st.InLine) else (w.PlaceNotHeld(command.queue, command.at_ms),)
        case st.Closing():
            return _closing(state, command)
        case st.Ended():
            return _ended(state, command)
        case st.Moving():
            return _moving(state, command)
        case _ if command.ended is not None and command.leg == state.call.leg:
            return _caller_gone(state, command.ended, command)
        case st.InFlow():
            return _in_flow(state, command)
        case st.Waiting():
            return _waiting(state, command)
        case st.Ringing():
            return _ringing(state, command)
        case st.Connecting() if command.bridged:
            # They hear each other, whatever else could not be decided about it.
            return connected(state, context, command.at_ms)
        case _:
            return _with_agent(state, command)


def _disconnected(
    open_: tuple[str, ...],
    at_ms: int,
    outcome: w.ContactOutcome = w.ContactOutcome.FAILED,
    by: w.EndedBy = w.EndedBy.NODE,
    cause: Cause = Cause.FAILED,
) -> w.ContactDisconnected:
    return w.ContactDisconnected(outcome, by, cause, open_, at_ms)


def _caller_gone(state: Any, ended: LegEnded, command: Recover) -> Events:
    caller, at_ms = command.leg, command.at_ms
    open_ = tuple(leg for _, leg in st.legs(state) if leg != caller)
    outcome = w.ContactOutcome.HANDLED if isinstance(state, st.Talking) else w.ContactOutcome.FAILED
    by = w.EndedBy.CALLER if ended.by is By.FAR else w.EndedBy.NODE
    events = _disconnected(open_, at_ms, outcome, by, ended.cause), w.LegClosed(caller, ended.cause, ended.by, at_ms)
    return events if open_ or state.recordings else (*events, w.ContactCompleted(at_ms))


def _told(command: Recover) -> Events:
    """The closing answer to a request that the contact could not take."""
    if command.refused == OFFER:
        return (w.OfferTurnedDown(command.offer, command.agent, command.at_ms),)
    return (w.OfferNotHeld(command.offer, command.at_ms),) if command.refused == RESCIND else ()


def _in_flow(state: st.InFlow, command: Recover) -> Events:
    if (not command.half and command.refused in NOT_OF_THE_FLOW) or (command.leg and command.leg != state.call.leg):
        return _told(command)
    answered = command.answered and not state.call.answered_ms
    events: Events = (w.ContactAnswered(command.at_ms),) if answered else ()
    return *events, *_apology(state, command, bool(state.call.answered_ms or answered))


def _apology(state: Any, command: Recover, answered: bool) -> Events:
    """Say sorry to who can hear it, once; then the call ends."""
    if not answered or (isinstance(state, st.InFlow) and state.step == APOLOGY and state.attempt):
        return (_disconnected((state.call.leg,), command.at_ms),)
    return (w.FlowStepEntered(APOLOGY, w.StepKind.HANG_UP, 1, (APOLOGY_PROMPT,), 0, False, command.at_ms),)


def _stays(state: st.Waiting | st.Moving, command: Recover) -> bool:
    way_back = isinstance(state, st.Moving) or command.refused not in NO_WAY_BACK
    return way_back and state.call.recoveries < MAX_RECOVERIES


def _left_line(state: st.Waiting | st.Moving, command: Recover) -> bool:
    if isinstance(state, st.Moving) and command.refused == "session.refuse_queue":
        return True  # the desk is asked again when the move is over
    return command.half or command.refused in (OFFER, "session.rejoin_queue")


def _waiting(state: st.Waiting, command: Recover) -> Events:
    if _stays(state, command):
        return _told(command)
    return _out_of_line(state, command)


def _out_of_line(state: st.Waiting | st.Moving, command: Recover) -> Events:
    dequeued = w.ContactDequeued(state.place.queue, "FAILED", command.at_ms)
    return dequeued, *_told(command), *_apology(state, command, True)


def _moving(state: st.Moving, command: Recover) -> Events:
    """Who has the caller is a fact, and is taken as one. Without it they stay where they are."""
    at_ms = command.at_ms
    ended = command.ended
    if ended is not None and ended.by is By.FAR and command.leg in (state.call.leg, state.leg):
        return *nobody_offered(state, at_ms), *_caller_gone(state, ended, command)
    if ended is not None:
        return moving.leg_ended(state, command.leg, ended, at_ms)
    if command.taken and state.asked:
        return moving.moved(state, at_ms)
    if command.refused == RESCIND and state.kept is not None and state.kept.offer == command.offer:
        return nobody_offered(state, at_ms)
    gone = _left_line(state, command) and state.call.recoveries >= MAX_RECOVERIES
    steps = command.order in ("handout", "takeover") or command.refused in OF_A_MOVE
    if not gone and not steps and not command.half:
        return _told(command)
    alone = changed(state, kept=None)
    back = *nobody_offered(state, at_ms), *moving.failed(alone, "RECOVERED", at_ms, doubt=state.asked)
    if not gone or state.lost:
        return *_told(command), *back
    return *back, *_out_of_line(state, command)


def _ringing(state: st.Ringing, command: Recover) -> Events:
    """The agent's leg goes down, nobody is blamed, the place is kept."""
    offered, at_ms = state.offered, command.at_ms
    if command.refused in (OFFER, RESCIND) and command.offer != offered.offer:
        return _told(command)
    if command.ended is not None and command.leg == offered.leg:
        cause, by = command.ended.cause, command.ended.by
        return _offer_ended(state, cause, command), w.LegClosed(offered.leg, cause, by, at_ms)
    if command.order == f"hangup/{offered.leg}":
        return (_offer_ended(state, Cause.FAILED, command),)  # it was down before, or never came to be
    if state.cancel is not None:
        return ()
    if command.half or command.leg == offered.leg or command.order == "ring" or command.refused == RESCIND:
        return (w.OfferCancelBegun(offered.offer, w.OfferOutcome.RESCINDED, at_ms),)
    return ()


def _offer_ended(state: st.Ringing, cause: Cause, command: Recover) -> w.OfferEnded:
    outcome = state.cancel or w.OfferOutcome.RESCINDED
    return w.OfferEnded(state.offered.offer, state.offered.agent, outcome, cause, 0, command.at_ms)


def _with_agent(state: st.Connecting | st.Talking, command: Recover) -> Events:
    """A talk goes on; a bridge that did not come about is none, and the place is kept."""
    offered, at_ms = state.offered, command.at_ms
    if command.refused in (OFFER, RESCIND) and command.offer != offered.offer:
        return _told(command)
    ended = command.ended if command.leg == offered.leg else None
    if isinstance(state, st.Connecting) and (ended or command.half or command.order == "bridge"):
        place = state.place
        why = w.WhyRequeued.NOT_BRIDGED
        requeued = w.ContactRequeued(place.queue, place.enqueued_ms, offered.offer, why, at_ms)
        return (requeued, w.LegClosed(offered.leg, ended.cause, ended.by, at_ms)) if ended else (requeued,)
    if ended is not None:
        by = w.EndedBy.AGENT if ended.by is By.FAR else w.EndedBy.NODE
        over = _disconnected((state.call.leg,), at_ms, w.ContactOutcome.HANDLED, by, ended.cause)
        return over, w.LegClosed(offered.leg, ended.cause, ended.by, at_ms)
    return ()


def _of(state: st.Closing | st.Ended, offer: str) -> bool:
    return state.offered is not None and state.offered.offer == offer


def _closing(state: st.Closing, command: Recover) -> Events:
    if command.ended is not None:
        return closed(state, command.leg, command.ended.cause, command.ended.by, 0, command.at_ms)
    if command.order.startswith("hangup/"):
        return closed(state, command.order.partition("/")[2], Cause.CANCELED, By.TANDEM, 0, command.at_ms)
    if command.refused == "session.end_wrap_up" and st.wraps(state) and _of(state, command.offer):
        return (w.WrapUpEnded(command.offer, command.at_ms),)
    return () if holds(state, command.offer) else _told(command)


def _ended(state: st.Ended, command: Recover) -> Events:
    if command.refused == "session.complete_anyway":
        return (w.ContactCompleted(command.at_ms),)
    if command.refused != "session.end_wrap_up" or not state.wrapping or not _of(state, command.offer):
        return _told(command)
    wrapped = w.WrapUpEnded(command.offer, command.at_ms)
    return (wrapped,) if state.recordings else (wrapped, w.ContactCompleted(command.at_ms))


# ------------------------------------------------------------------- quarantined


def _down(node: str, leg: str) -> Act:
    return Act(f"hangup/{leg}", "media", w.MediaOrder(node, leg, HangUp(Cause.FAILED)), ORDER_DEADLINE_MS)


def part(state: Any, stream: str, now_ms: int) -> Sequence[Act | Tell]:
    """Out of the line; nobody will attend to a caller who does not talk, nor to a phone that rings."""
    left = Tell(DESK, w.LeaveQueue(st.id_of(stream), "QUARANTINED"))
    if isinstance(state, st.Connecting | st.Talking):
        # Their talk goes on, or is just beginning.
        return left, *(leave(state.call, leg, Cause.FAILED) for leg in state.call.parting)
    return left, *(_down(node, leg) for node, leg in st.legs(state))


def leg_over(
    stream: str, leg: str, rest: Sequence[tuple[str, str]], guessed: bool, now_ms: int
) -> Sequence[Act | Tell]:
    """The agent is free once their own leg is down; with one side gone there is no talk. Where legs
    are guessed, or another agent's is up, an agent's leg may be an old one, and the caller talks with
    another agent by now."""
    contact = st.id_of(stream)
    down = tuple(_down(node, other) for node, other in rest)
    if st.is_callers(leg):
        # With another one left, it was what a move left behind.
        return () if any(st.is_callers(other) for _, other in rest) else down
    closed = w.OfferClosed(leg.removeprefix(f"{contact}."), contact, w.OfferOutcome.UNKNOWN, 0, now_ms)
    talks_on = guessed or any(not st.is_callers(other) for _, other in rest)
    return Tell(DESK, closed), *(() if talks_on else down)


def over(command: Any) -> str:
    """The leg that a command says is over."""
    match command:
        case w.NoteLeg(leg=leg, body=LegEnded()):
            return leg
        case EffectEnded(name=name) if name.startswith("hangup/"):
            return name.partition("/")[2]
        case _:
            return ""


def about(stream: str, command: Any) -> str:
    """The agent's leg that a request of the desk is about."""
    if isinstance(command, w.OfferContact | w.RescindOffer):
        return f"{st.id_of(stream)}.{command.offer}"
    return ""


def keeps(state: Any) -> Sequence[Tell]:
    """Recordings go on, and are not the contact's any more."""
    return tuple(expected(state.call, recording) for recording in getattr(state, "recordings", ()))


def ends(stream: str, command: Any, legs: Sequence[tuple[str, str]], now_ms: int) -> Sequence[Act | Answer]:
    """A supervisor ends what nobody can go on with: all legs that are known of go down."""
    if not isinstance(command, w.HangUpContact):
        return ()
    return Answer(w.HangUpBegun(stream.partition("/")[2])), *(_down(node, leg) for node, leg in legs)


RESCUE = Rescue(recover, part, leg_over, over, about, keeps, ends)
