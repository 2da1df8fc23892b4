"""What is to be seen of a desk: its lines and its agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tandem.routing.domain.desk import Desk
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Reading

SLICE = 2_000
"""Entries looked at before a pause."""


def census(tenant: str, desk: Desk, now_ms: int) -> Iterator[Reading | None]:
    """Lengths of the lines, their longest waits, and agents by status; queues without anybody too."""
    length: dict[str, int] = dict.fromkeys(desk.queues, 0)
    oldest: dict[str, int] = dict.fromkeys(desk.queues, now_ms)
    for index, entry in enumerate(list(desk.entries.values()), 1):
        length[entry.queue] = length.get(entry.queue, 0) + 1
        oldest[entry.queue] = min(oldest.get(entry.queue, now_ms), entry.enqueued_ms)
        if index % SLICE == 0:
            yield None
    agents: Counter[str] = Counter()
    for index, agent in enumerate(list(desk.agents.values()), 1):
        agents[agent.status.value.lower()] += 1
        if index % SLICE == 0:
            yield None
    for queue, count in length.items():
        yield Reading(names.QUEUE_LENGTH, count, (tenant, queue))
        yield Reading(names.QUEUE_OLDEST, max(0, now_ms - oldest[queue]) / 1000, (tenant, queue))
    for status, number in agents.items():
        yield Reading(names.AGENTS, number, (tenant, status))
