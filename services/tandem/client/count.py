"""Counts from what the phones say, never from a log of ours (spine 12). Pure.

Two calls belong together when the phone that rings is shown the number of the phone that
calls. Numbers of callers are therefore to be unique in a count.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from tandem.client.facts import By, CallFacts, Heard, Sound, Way

SILENCE_S = 1.0
"""More silence than this in a talk, caused by neither phone, is a dropped call."""
SLACK_S = 0.5
"""Two things that two phones saw within this time have no order."""
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A call that was taken from its phone."""

    call: CallFacts
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class Blame:
    """An agent was taken out of routing for this offer, whose ring limit was `limit_s`."""

    offer: str
    limit_s: float


def no_excuse(call: CallFacts) -> bool:
    """No call may be ended by the far end alone."""
    return False


def partners(call: CallFacts, calls: Iterable[CallFacts]) -> list[CallFacts]:
    """The answered calls at the other end of this one, in the order in which they were answered."""
    found = [
        other
        for other in calls
        if other.way is not call.way
        and other.answered is not None
        and other.caller == call.caller
        and other.began < _end(call)
        and call.began < _end(other)
    ]
    return sorted(found, key=lambda other: other.answered or 0.0)


def dropped(calls: Sequence[CallFacts], excused: Callable[[CallFacts], bool] = no_excuse) -> list[Dropped]:
    """Every BYE, and every silence of more than 1 s in a talk, that neither phone caused.

    `excused` says of a call that the far end was right to end it: a flow that hangs up, say.
    """
    found: list[Dropped] = []
    together = _by_caller(calls)
    for call in calls:
        if call.answered is None:
            continue
        others = partners(call, together[call.caller])
        why = _why_ended(call, others)
        if why and not excused(call):
            found.append(Dropped(call, _end(call), why))
        found += [Dropped(call, gap.start, f"{gap.seconds:.1f} s of silence") for gap in gaps(call, others)]
    return sorted(found, key=lambda one: one.at)


def gaps(call: CallFacts, others: Iterable[CallFacts]) -> list[Heard]:
    """The silences of more than 1 s in the talks with these others that they did not cause."""
    found: list[Heard] = []
    for other in others:
        start = call.first(other.voice_hz) if other.voice_hz else None
        if start is None:
            continue
        end = min(_end(call), _end(other), call.heard[-1].end)
        quiet = [(pause.start, pause.end + SLACK_S) for pause in other.quiet]
        for silence in call.silences(start, end):
            found += [left for left in _without(silence, quiet) if left.seconds > SILENCE_S]
    return found


def talks(call: CallFacts, calls: Iterable[CallFacts]) -> list[CallFacts]:
    """The partners whose voice this phone heard."""
    return [other for other in partners(call, calls) if other.voice_hz and call.first(other.voice_hz) is not None]


def heard_agent(call: CallFacts, calls: Iterable[CallFacts]) -> float | None:
    """When a caller first heard an agent."""
    times = [call.first(other.voice_hz) for other in talks(call, calls)]
    return min((time for time in times if time is not None), default=None)


def rung_twice(calls: Iterable[CallFacts]) -> list[tuple[str, str]]:
    """The (offer, phone) for which there were two dialogs or more."""
    rung = Counter((call.offer, call.phone) for call in calls if call.way is Way.IN and call.offer)
    return sorted(one for one, times in rung.items() if times > 1)


def overtaken(calls: Sequence[CallFacts], digit: str) -> list[tuple[CallFacts, CallFacts]]:
    """Each (earlier, later) caller where an agent's phone began to ring for the later one while the
    earlier, who had pressed that digit before, was in line with nobody ringing.

    It is phones that tell it, when they ring: whom a caller hears first also depends on which agent
    picks up sooner.
    """
    line = [call for call in calls if call.way is Way.OUT and call.pressed and call.pressed[-1].digit == digit]
    together = _by_caller(calls)
    idle: list[tuple[float, float, int]] = []  # (from, until, place in `line`) of who waits
    rings: list[tuple[float, int]] = []
    for index, call in enumerate(line):
        rung = [other for other in together[call.caller] if other.way is Way.IN and other.began < _end(call)]
        rings += [(other.began, index) for other in rung]
        idle += [(start, until, index) for start, until in _idle(call, rung) if start < until]
    found = []
    starts = deque(sorted(idle))
    waiting: list[tuple[float, float, int]] = []  # (pressed, idle until, place in `line`)
    for at, later in sorted(rings):
        while starts and starts[0][0] <= at:
            _, until, index = starts.popleft()
            heappush(waiting, (line[index].pressed[-1].at, until, index))
        while waiting and waiting[0][1] < at:
            heappop(waiting)
        if waiting and waiting[0][0] < line[later].pressed[-1].at - SLACK_S:
            found.append((line[waiting[0][2]], line[later]))
    return found


def _idle(call: CallFacts, rung: Iterable[CallFacts]) -> Iterator[tuple[float, float]]:
    """The times in which a caller was in line and no phone rang for it, without their first and last moments."""
    since = call.pressed[-1].at
    for other in sorted(rung, key=lambda other: other.began):
        yield since + SLACK_S, other.began - SLACK_S
        since = max(since, _end(other))
    yield since + SLACK_S, _end(call) - SLACK_S


def blamed(blames: Iterable[Blame], calls: Iterable[CallFacts]) -> list[Blame]:
    """The blames that are wrong: the phone rang less than its limit, or answered, or declined."""
    by_offer: dict[str, list[CallFacts]] = {}
    for call in calls:
        if call.way is Way.IN:
            by_offer.setdefault(call.offer, []).append(call)
    return [blame for blame in blames if not any(_rang_out(call, blame) for call in by_offer.get(blame.offer, ()))]


def refused(calls: Iterable[CallFacts]) -> Mapping[str, int]:
    """How often callers were refused, by status and the reason that was given; a call that was
    given up by its own phone is none."""
    return Counter(
        f"{call.status} {call.detail}".strip()
        for call in calls
        if call.way is Way.OUT and call.answered is None and call.ended is not None and call.by is not By.SELF
    )


def waits(calls: Sequence[CallFacts]) -> list[float]:
    """Seconds from the last digit to an agent's voice of each caller who heard one, in rising order."""
    together = _by_caller(calls)
    callers = [call for call in calls if call.way is Way.OUT and call.pressed]
    served = [(call, heard_agent(call, together[call.caller])) for call in callers]
    return sorted(at - call.pressed[-1].at for call, at in served if at is not None)


def percentile(rising: Sequence[float], share: float) -> float | None:
    """The value that so large a share (0 to 1) is not above; None of nothing."""
    return rising[min(len(rising) - 1, int(len(rising) * share))] if rising else None


def _by_caller(calls: Iterable[CallFacts]) -> Mapping[str, list[CallFacts]]:
    """What can belong together, so that a count of many calls does not compare all with all."""
    together: dict[str, list[CallFacts]] = {}
    for call in calls:
        together.setdefault(call.caller, []).append(call)
    return together


def _end(call: CallFacts) -> float:
    return _NEVER if call.ended is None else call.ended


def _why_ended(call: CallFacts, others: Sequence[CallFacts]) -> str:
    """Why the end of a call is a drop; empty if it is none."""
    if call.ended is None or call.by is By.SELF:
        return ""
    if call.by is By.LOST:
        return "the far end stopped answering"
    last = others[-1] if others else None
    if last is not None and last.by is By.SELF and _end(last) <= call.ended + SLACK_S:
        return ""
    return "BYE that no phone caused"


def _rang_out(call: CallFacts, blame: Blame) -> bool:
    if call.rang is None or call.answered is not None or call.by is By.SELF:
        return False
    return _end(call) - call.rang >= blame.limit_s - SLACK_S


def _without(silence: Heard, pauses: Iterable[tuple[float, float]]) -> list[Heard]:
    """What is left of a silence outside the pauses."""
    left = [silence]
    for start, end in pauses:
        left = [
            Heard(Sound.SILENCE, first, last)
            for piece in left
            for first, last in ((piece.start, min(piece.end, start)), (max(piece.start, end), piece.end))
            if first < last
        ]
    return left
