"""What a desk decides of queues and of who waits in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context
from tandem.core.published import is_news
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Desk, Entry, Need
from tandem.routing.domain.reserving import reserve

Events = Sequence[Any]


def _queue(desk: Desk, command: w.PublishQueue, context: Context) -> Events:
    known = desk.queues.get(command.queue)
    if not is_news(known, command):
        return ()
    return (
        w.QueueConfigured(command.queue, command.version, command.ring_timeout_ms, command.wrap_up_ms, command.deleted),
    )


def _need(command: w.EnqueueContact) -> Need:
    return command.queue, tuple(sorted(command.skills, key=lambda need: need.skill))


def _enqueue(desk: Desk, command: w.EnqueueContact, context: Context) -> Events:
    known = desk.queues.get(command.queue)
    if known is None or known.deleted:
        return (w.QueueRefused(command.contact, command.queue, "UNKNOWN_QUEUE"),)
    queue, skills = _need(command)
    entry = Entry(command.contact, queue, skills, command.priority, command.enqueued_ms)
    missed: Events = ()
    stands = desk.entries.get(command.contact)
    if stands is not None:
        if stands.offer or (stands.need, stands.order) == (entry.need, entry.order):
            return ()  # it stands in line already
        # That it left its earlier place was missed.
        missed = (w.ContactLeftLine(stands.contact, stands.queue, "ELSEWHERE", context.now_ms),)
    entered = w.ContactEnteredLine(command.contact, queue, skills, command.priority, command.enqueued_ms)
    agent = desk.best_agent((queue, skills))
    if agent is None:
        return *missed, entered
    return *missed, entered, reserve(desk, entry, agent, context)


def _remove(desk: Desk, command: w.RemoveContact, context: Context) -> Events:
    entry = desk.entries.get(command.contact)
    if entry is None:
        return ()
    return (w.ContactLeftLine(entry.contact, entry.queue, command.why, context.now_ms),)


HANDLERS: dict[tuple[type, type], Any] = {
    (Desk, w.PublishQueue): _queue,
    (Desk, w.EnqueueContact): _enqueue,
    (Desk, w.RemoveContact): _remove,
}
