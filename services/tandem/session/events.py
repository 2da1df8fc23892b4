"""Stable names of everything that the session service reads and writes (house: events.py)."""

from __future__ import annotations

from typing import Any

from tandem.api.event.v1 import erasure_pb2 as erasures
from tandem.api.event.v1 import late_pb2 as lates
from tandem.api.event.v1 import session_pb2 as pb
from tandem.core.decider import Kind
from tandem.core.ports.media import By, Cause, LegEnded
from tandem.internal.config.v1 import config_pb2 as config
from tandem.internal.config.v1 import quota_pb2
from tandem.internal.config.v1 import retention_pb2 as config_retention
from tandem.internal.recording.v1 import recording_pb2 as recording
from tandem.internal.routing.v1 import routing_pb2 as routing
from tandem.internal.session.v1 import erasure_pb2 as own_erasures
from tandem.internal.session.v1 import gate_pb2
from tandem.internal.session.v1 import late_pb2 as own_lates
from tandem.internal.session.v1 import session_pb2 as own
from tandem.runtime.codec import Codec
from tandem.runtime.service import RUNTIME_EVENTS, Service
from tandem.session.domain import erasure, gate, late, reception, retention, stray
from tandem.session.domain import reception as r
from tandem.session.domain import words as w
from tandem.session.domain.contact import evolve, moving, react, recovery, states

BEGUN = "erasure.begun"
ERASED = "contact.erased"
"""Stands on the stream of an erasure: its contact's has ended."""
LATE_STORED = "late.stored"

EVENTS = Codec(
    ("contact.started", w.ContactStarted, pb.ContactStarted),
    ("contact.turned_away", w.ContactTurnedAway, pb.ContactTurnedAway),
    ("contact.answered", w.ContactAnswered, pb.ContactAnswered),
    ("contact.step_entered", w.FlowStepEntered, pb.FlowStepEntered),
    ("contact.menu_chosen", w.MenuChosen, pb.MenuChosen),
    ("contact.menu_missed", w.MenuMissed, pb.MenuMissed),
    ("contact.queued", w.ContactQueued, pb.ContactQueued),
    ("contact.music_started", w.QueueMusicStarted, pb.QueueMusicStarted),
    ("contact.dequeued", w.ContactDequeued, pb.ContactDequeued),
    ("contact.agent_offered", w.AgentOffered, pb.AgentOffered),
    ("contact.agent_ringing", w.AgentRinging, pb.AgentRinging),
    ("contact.offer_cancel_begun", w.OfferCancelBegun, pb.OfferCancelBegun),
    ("contact.offer_ended", w.OfferEnded, pb.OfferEnded),
    ("contact.offer_turned_down", w.OfferTurnedDown, pb.OfferTurnedDown),
    ("contact.agent_answered", w.AgentAnswered, pb.AgentAnswered),
    ("contact.connected", w.ContactConnected, pb.ContactConnected),
    ("contact.held", w.ContactHeld, pb.ContactHeld),
    ("contact.resumed", w.ContactResumed, pb.ContactResumed),
    ("contact.recording_pause_begun", w.RecordingPauseBegun, pb.RecordingPauseBegun),
    ("contact.recording_paused", w.RecordingPaused, pb.RecordingPaused),
    ("contact.recording_resumed", w.RecordingResumed, pb.RecordingResumed),
    ("contact.recording_pause_failed", w.RecordingPauseFailed, pb.RecordingPauseFailed),
    ("contact.requeued", w.ContactRequeued, pb.ContactRequeued),
    ("contact.disconnected", w.ContactDisconnected, pb.ContactDisconnected),
    ("contact.leg_closed", w.LegClosed, pb.LegClosed),
    ("contact.leg_in_doubt", w.LegInDoubt, pb.LegInDoubt),
    ("contact.move_begun", w.CallerMoveBegun, pb.CallerMoveBegun),
    ("contact.handed_out", w.CallerHandedOut, pb.CallerHandedOut),
    ("contact.moved", w.CallerMoved, pb.CallerMoved),
    ("contact.move_failed", w.CallerMoveFailed, pb.CallerMoveFailed),
    ("contact.offer_kept", w.OfferKept, pb.OfferKept),
    ("contact.recording_ended", w.RecordingEnded, pb.RecordingEnded),
    ("contact.wrap_up_ended", w.WrapUpEnded, pb.WrapUpEnded),
    ("contact.recovered", w.ContactRecovered, pb.ContactRecovered),
    ("contact.queue_rejoined", w.QueueRejoined, pb.QueueRejoined),
    ("contact.offer_not_held", w.OfferNotHeld, pb.OfferNotHeld),
    ("contact.place_not_held", w.PlaceNotHeld, pb.PlaceNotHeld),
    ("contact.completed", w.ContactCompleted, pb.ContactCompleted),
    ("stray.found", stray.StrayFound, pb.StrayFound),
    ("stray.gone", stray.StrayGone, pb.StrayGone),
    ("reception.number_configured", r.NumberConfigured, pb.NumberConfigured),
    ("reception.device_configured", r.DeviceConfigured, own.DeviceConfigured),
    ("reception.flow_configured", r.FlowConfigured, own.FlowConfigured),
    ("reception.device_reachable", r.DeviceReachable, pb.DeviceReachable),
    ("reception.devices_told", r.DevicesTold, pb.DevicesTold),
    ("reception.returned", r.ReceptionReturned, pb.ReceptionReturned),
    (BEGUN, erasure.ErasureBegun, erasures.ErasureBegun),
    (ERASED, erasure.ContactErased, erasures.ContactErased),
    ("late.expected", late.LateExpected, lates.LateExpected),
    ("late.not_found", late.LateNotFound, lates.LateNotFound),
    (LATE_STORED, late.LateStored, lates.LateStored),
    ("late.given_up", late.LateGivenUp, lates.LateGivenUp),
    ("late.settled", late.LateSettled, lates.LateSettled),
    ("retention.configured", retention.Retention, erasures.RetentionConfigured),
    ("gate.quota_taken", gate.QuotaTaken, gate_pb2.QuotaTaken),
    ("gate.call_counted", gate.CallCounted, gate_pb2.CallCounted),
    ("gate.call_refused", gate.CallRefused, gate_pb2.CallRefused),
)

TIMELINE_EVENTS = EVENTS.joined(RUNTIME_EVENTS)
"""All that can stand on a contact's stream."""

COMMANDS = Codec(
    ("media.take_call", w.TakeCall, own.TakeCall),
    ("media.note_refusal", w.NoteRefusal, own.NoteRefusal),
    ("media.note_leg", w.NoteLeg, own.NoteLeg),
    ("media.take_digits", w.TakeDigits, own.TakeDigits),
    ("media.take_dialog", w.TakeDialog, own.TakeDialog),
    ("media.move_caller", w.MoveCaller, own.MoveCaller),
    ("media.note_device", r.NoteDevice, own.NoteDevice),
    ("session.ask_devices", r.AskDevices, own.AskDevices),
    ("media.note_new_journal", w.NoteNewJournal, own.NoteNewJournal),
    ("media.hang_up_stray", stray.HangUpStray, own.HangUpStray),
    ("session.offer_contact", w.OfferContact, own.OfferContact),
    ("session.rescind_offer", w.RescindOffer, own.RescindOffer),
    ("session.ask_place", w.AskPlace, own.AskPlace),
    ("session.refuse_queue", w.RefuseQueue, own.RefuseQueue),
    ("session.end_wrap_up", w.EndWrapUp, own.EndWrapUp),
    ("session.hang_up", w.HangUpContact, own.HangUpContact),
    ("session.pause_recording", w.PauseRecording, own.PauseRecording),
    ("session.give_up_waiting", w.GiveUpWaiting, own.GiveUpWaiting),
    ("session.end_move", w.EndMove, own.EndMove),
    ("session.rejoin_queue", w.RejoinQueue, own.RejoinQueue),
    ("session.complete_anyway", w.CompleteAnyway, own.CompleteAnyway),
    ("config.number", r.PublishNumber, config.NumberPublished),
    ("config.device", r.PublishDevice, config.DevicePublished),
    ("config.flow", r.PublishFlow, config.FlowPublished),
    ("config.retention", retention.Retention, config_retention.RetentionPublished),
    ("erasure.erase", erasure.EraseContact, own_erasures.EraseContact),
    ("erasure.erase_due", erasure.EraseDue, own_erasures.EraseDue),
    ("late.expect", late.ExpectRecording, own_lates.ExpectRecording),
    ("late.note", late.NoteLateRecording, own_lates.NoteLateRecording),
    ("late.found", late.FoundRecording, own_lates.FoundRecording),
    ("late.give_up", late.GiveUpRecording, own_lates.GiveUpRecording),
    ("config.quota", gate.PublishQuota, quota_pb2.QuotaPublished),
    ("gate.count_call", gate.CountCall, gate_pb2.CountCall),
    ("gate.refuse_call", gate.RefuseCall, gate_pb2.RefuseCall),
)

MESSAGES = Codec(
    ("routing.enqueue", w.Enqueue, routing.EnqueueContact),
    ("routing.remove", w.LeaveQueue, routing.RemoveContact),
    ("routing.accept_offer", w.OfferAccepted, routing.AcceptOffer),
    ("routing.close_offer", w.OfferClosed, routing.CloseOffer),
    ("routing.end_talk", w.TalkEnded, routing.EndTalk),
    ("routing.note_device", r.DeviceChanged, own.DeviceChanged),
    ("routing.review_devices", r.ReviewDevices, own.ReviewDevices),
    ("recording.stored", w.RecordingKept, recording.RecordingStored),
    ("late.expect", late.ExpectRecording, own_lates.ExpectRecording),
    ("gate.count_call", gate.CountCall, gate_pb2.CountCall),
    ("gate.refuse_call", gate.RefuseCall, gate_pb2.RefuseCall),
)

EFFECTS = Codec(
    ("media.order", w.MediaOrder, own.MediaOrder),
    ("erasure.order", erasure.EraseOrder, own_erasures.EraseOrder),
    ("late.find", late.FindRecording, own_lates.FindRecording),
    ("late.drop", late.DropRecording, own_lates.DropRecording),
)

REPLIES = Codec(
    ("session.hang_up_begun", w.HangUpBegun, own.HangUpBegun),
    ("session.recording_ordered", w.RecordingOrdered, own.RecordingOrdered),
    ("erasure.ordered", erasure.ErasureOrdered, own_erasures.ErasureOrdered),
)


def missing_leg(node: str, leg: str, now_ms: int) -> Any:
    """The end of a leg that its node does not have any more: its journal was lost."""
    return w.NoteLeg(node, leg, now_ms, LegEnded(Cause.MEDIA_LOST, By.NODE, 0, "not listed by the node"))


def stray_leg(node: str, leg: str, now_ms: int) -> tuple[str, Any]:
    """What hangs up a leg that lives on a node and that nobody holds."""
    return stray.STRAY, stray.HangUpStray(node, leg, now_ms)


def new_journal(node: str, now_ms: int) -> tuple[tuple[str, ...], Any]:
    """What contacts and late recordings are told when a node's journal was lost."""
    return (CONTACT.name, late.LATE), w.NoteNewJournal(node, now_ms)


def move(state: Any, node: str, now_ms: int) -> Any:
    """What moves a caller who waits to another media node; None for everybody else."""
    return w.MoveCaller(node) if moving.can_move(state, now_ms) else None


CONTACT = Kind(
    name="contact",
    start=states.New,
    starts=(w.TakeCall, w.NoteRefusal),
    decide=recovery.decide,
    evolve=evolve.evolve,
    react=react.react,
    over=lambda state: isinstance(state, states.Done),
    sealed=True,
    traced=True,
    reads=reception.RECEPTION,
    gate=gate.GATE,
    late=late.late_news,
    legs=states.legs,
    states=states.STATES,
    rescue=recovery.RESCUE,
)

SERVICE = Service(
    name="session",
    kinds=(CONTACT, reception.KIND, gate.KIND, stray.KIND, erasure.KIND, late.KIND, retention.KIND),
    events=EVENTS,
    commands=COMMANDS,
    messages=MESSAGES,
    effects=EFFECTS,
    replies=REPLIES,
    missing_leg=missing_leg,
    stray_leg=stray_leg,
    new_journal=new_journal,
    move=move,
)
