"""Stable names of everything that the routing service reads and writes (house: events.py)."""

from __future__ import annotations

from tandem.api.event.v1 import routing_pb2 as pb
from tandem.internal.config.v1 import config_pb2 as config
from tandem.internal.routing.v1 import routing_pb2 as own
from tandem.internal.session.v1 import session_pb2 as session
from tandem.routing.domain import fold
from tandem.routing.domain import words as w
from tandem.runtime.codec import Codec
from tandem.runtime.service import Service

EVENTS = Codec(
    ("desk.queue_configured", w.QueueConfigured, pb.QueueConfigured),
    ("desk.agent_configured", w.AgentConfigured, pb.AgentConfigured),
    ("desk.device_noted", w.DeviceNoted, pb.DeviceNoted),
    ("agent.presence_set", w.PresenceSet, pb.PresenceSet),
    ("agent.ready", w.AgentReady, pb.AgentReady),
    ("agent.unready", w.AgentUnready, pb.AgentUnready),
    ("agent.reserved", w.AgentReserved, pb.AgentReserved),
    ("agent.reservation_rescinded", w.ReservationRescinded, pb.ReservationRescinded),
    ("agent.engaged", w.AgentEngaged, pb.AgentEngaged),
    ("agent.reservation_closed", w.ReservationClosed, pb.ReservationClosed),
    ("agent.released", w.AgentReleased, pb.AgentReleased),
    ("agent.not_responding", w.AgentNotResponding, pb.AgentNotResponding),
    ("agent.backed_off", w.AgentBackedOff, pb.AgentBackedOff),
    ("agent.wrap_up_started", w.WrapUpStarted, pb.WrapUpStarted),
    ("agent.wrap_up_finished", w.WrapUpFinished, pb.WrapUpFinished),
    ("line.entered", w.ContactEnteredLine, pb.ContactEnteredLine),
    ("line.left", w.ContactLeftLine, pb.ContactLeftLine),
    ("line.asked", w.LineAsked, pb.LineAsked),
    ("desk.devices_asked", w.DevicesAsked, pb.DevicesAsked),
    ("line.queue_refused", w.QueueRefused, pb.QueueRefused),
)

COMMANDS = Codec(
    ("routing.enqueue", w.EnqueueContact, own.EnqueueContact),
    ("routing.remove", w.RemoveContact, own.RemoveContact),
    ("routing.accept_offer", w.AcceptOffer, own.AcceptOffer),
    ("routing.close_offer", w.CloseOffer, own.CloseOffer),
    ("routing.end_talk", w.EndTalk, own.EndTalk),
    ("routing.close_gone", w.CloseGone, own.CloseGone),
    ("routing.note_device", w.NoteDevice, session.DeviceChanged),
    ("routing.review_devices", w.ReviewDevices, session.ReviewDevices),
    ("routing.set_presence", w.SetPresence, own.SetPresence),
    ("routing.finish_wrap_up", w.FinishWrapUp, own.FinishWrapUp),
    ("routing.wrap_up_over", w.WrapUpOver, own.WrapUpOver),
    ("routing.back_off_over", w.BackOffOver, own.BackOffOver),
    ("routing.ask_offer", w.AskOffer, own.AskOffer),
    ("config.queue", w.PublishQueue, config.QueuePublished),
    ("config.agent", w.PublishAgent, config.AgentPublished),
)

MESSAGES = Codec(
    ("session.offer_contact", w.OfferContact, session.OfferContact),
    ("session.rescind_offer", w.RescindOffer, session.RescindOffer),
    ("session.ask_place", w.AskPlace, session.AskPlace),
    ("session.ask_devices", w.AskDevices, session.AskDevices),
    ("session.refuse_queue", w.RefuseQueue, session.RefuseQueue),
    ("session.end_wrap_up", w.EndWrapUp, session.EndWrapUp),
)

REPLIES = Codec(("routing.agent_changed", w.AgentChanged, own.AgentChanged))

SERVICE = Service(
    name="routing", kinds=(fold.KIND,), events=EVENTS, commands=COMMANDS, messages=MESSAGES, replies=REPLIES
)
