"""What the phones and the API say after `tandem demo --kill`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tandem.api.session.v1 import contact_pb2
from tandem.client import count
from tandem.client.count import Blame
from tandem.client.facts import CallFacts, Heard, Sound

AROUND_S = 0.5
"""The gap is looked at from so long before the kill to so long after the return."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A contact before the kill and later."""

    before: contact_pb2.Contact
    after: contact_pb2.Contact

    @property
    def place_lost(self) -> bool:
        """Whether the enqueue time, which is the place in line, is another one than before."""
        return self.before.HasField("enqueue_time") and self.before.enqueue_time != self.after.enqueue_time


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown. Times are CLOCK_MONOTONIC, seconds."""

    killed: float
    back: float
    lines: Sequence[tuple[str, CallFacts]]
    """(what the caller was doing, its call)"""
    calls: Sequence[CallFacts]
    """Of all phones."""
    at_once: Sequence[Kept]
    """The contacts when the control plane was back."""
    ended: Sequence[Kept]
    """The contacts at the end."""
    blames: Sequence[Blame]
    """The agents who were taken out of routing."""
    digit: str


def counts(report: Report) -> dict[str, int]:
    """What must be zero."""
    handled = contact_pb2.Contact.OUTCOME_HANDLED
    return {
        "calls dropped": len(count.dropped(report.calls)),
        "silences over 1 s in talk, caused by no phone": sum(
            len(count.gaps(call, count.partners(call, report.calls))) for call in report.calls
        ),
        "phones rung twice for one offer": len(count.rung_twice(report.calls)),
        "callers overtaken in line": len(count.overtaken(report.calls, report.digit)),
        "agents blamed who did nothing wrong": len(count.blamed(report.blames, report.calls)),
        "enqueue times changed": sum(kept.place_lost for kept in (*report.at_once, *report.ended)),
        "contacts without the outcome handled": sum(kept.after.outcome != handled for kept in report.ended),
    }


def show(console: Console, report: Report) -> int:
    """Print the table and the counts; 0 if all of them are zero, else 1."""
    gap = report.back - report.killed
    table = Table(
        title=f"kill -9 of the control plane, gone for {gap:.2f} s, as the phones heard it", title_justify="left"
    )
    for column in ("caller", "was", "heard before", "heard in the gap", "longest silence", "heard then", "outcome"):
        table.add_column(column)
    for index, ((role, call), kept) in enumerate(zip(report.lines, report.ended, strict=True)):
        outcome = contact_pb2.Contact.Outcome.Name(kept.after.outcome).removeprefix("OUTCOME_").lower()
        table.add_row(
            str(index + 1),
            role,
            _heard(call, report.killed - 1.0, report.killed, role),
            _heard(call, report.killed, report.back, role),
            f"{call.longest_silence(report.killed - AROUND_S, report.back + AROUND_S):.1f} s",
            _heard(call, report.back + 1.0, call.ended or report.back, role),
            outcome,
        )
    console.print()
    console.print(table)
    found = counts(report)
    for what, times in found.items():
        console.print(f"[{'red' if times else 'green'}]{times:3}[/]  {what}", highlight=False)
    return 1 if any(found.values()) else 0


def _heard(call: CallFacts, start: float, end: float, role: str) -> str:
    """What there was to hear between two times, in words; silence only if nothing else was."""
    sums: dict[str, float] = {}
    for heard in call.heard:
        seconds = min(heard.end, end) - max(heard.start, start)
        if seconds > 0:
            name = _name(heard, role)
            sums[name] = sums.get(name, 0.0) + seconds
    return max(sums, key=lambda name: (name != "silence", sums[name])) if sums else "-"


def _name(heard: Heard, role: str) -> str:
    match heard.sound:
        case Sound.TONE:
            return f"an agent ({heard.hz:.0f} Hz)"
        case Sound.OTHER:
            return "the menu, music" if role == "in the menu" else "music"
        case Sound.SILENCE:
            return "silence"
        case Sound.STALL:
            return "(this phone stood still)"
