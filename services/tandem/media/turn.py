"""Carries out what an agent gives: write, ask the backend, send; in that order (spine 7).

Synchronous and without a clock, so that the asyncio driver and the simulator share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tandem.core.points import Point, Points
from tandem.core.ports.media import CommandSettled, FromNode, Outcome
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import (
    AskLegs,
    Call,
    Drain,
    Greet,
    LookWhoWaits,
    Notice,
    OwnerPresent,
    Perform,
    Restore,
    Settle,
    Turn,
)
from tandem.media.backend import Backend
from tandem.media.journal.file import Journal
from tandem.media.journal.state import JournalState

BACKEND_FAULT = "BACKEND_FAULT"
"""Reason of a command whose backend raised."""


@dataclass(slots=True)
class Outgoing:
    """What leaves the node: frames, then closed links. `journal_error`: the journal could not be
    written; what hangs on it waits, and the caller tries again a little later."""

    sends: list[tuple[str, FromNode]] = field(default_factory=list)
    closes: list[tuple[str, str]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    journal_error: OSError | None = None


class Turns:
    """One agent with its journal and its backend."""

    def __init__(
        self, agent: MediaAgent, state: JournalState, journal: Journal, backend: Backend, points: Points
    ) -> None:
        self._agent = agent
        self._state = state
        self._journal = journal
        self._backend = backend
        self._points = points
        self._unwritten: Turn | None = None
        self.journal_away = False
        """Whether something waits to be written: of a turn, or all that this life begins with."""

    def run(self, now_ms: int) -> Outgoing:
        """Go on until nothing is left to do. `now_ms` is CLOCK_BOOTTIME."""
        out = Outgoing()
        try:
            while turn := self._unwritten or self._agent.take():
                self._unwritten = turn
                if turn.changes:
                    self._journal.append(turn.changes)
                self._unwritten = None
                self._carry_out(turn, out, now_ms)
            self._journal.catch_up()
            if self._journal.overgrown():
                self._journal.rewrite(self._state)
        except OSError as error:
            out.journal_error = error
        self._watch_journal(out)
        return out

    def _watch_journal(self, out: Outgoing) -> None:
        away = self._unwritten is not None or not self._journal.is_written
        if away is self.journal_away:
            return
        self.journal_away = away
        try:
            self._backend.journal_away(away)
        except Exception as error:  # noqa: BLE001 - as in `_carry_out`
            out.faults.append(error)

    def _carry_out(self, turn: Turn, out: Outgoing, now_ms: int) -> None:
        if any(isinstance(call, Perform) for call in turn.calls):
            self._points.reach(Point.JOURNALLED)
        out.sends += turn.sends
        out.closes += turn.closes
        out.notices += turn.notices
        for call in turn.calls:
            try:
                self._ask(call)
            except Exception as error:  # noqa: BLE001 - one call's fault must not end the others' calls
                out.faults.append(error)
                if isinstance(call, Perform | Settle):
                    self._give_up(call, now_ms)

    def _ask(self, call: Call) -> None:
        match call:
            case Perform(command):
                self._backend.perform(command)
            case Settle(command):
                self._backend.settle(command)
            case Greet(directory):
                self._backend.directory(directory)
            case Restore(rows, died_ms):
                self._backend.restore(rows, died_ms)
            case OwnerPresent(shard, present):
                self._backend.owner_present(shard, present)
            case AskLegs(link):
                self._agent.legs(link, self._backend.legs())
            case Drain(on):
                self._backend.drain(on)
            case LookWhoWaits(now_ms):
                if overdue := self._agent.overdue(self._backend.legs(), now_ms):
                    self._backend.let_go(overdue)

    def _give_up(self, call: Perform | Settle, now_ms: int) -> None:
        """How far the backend came before it raised cannot be told."""
        command = call.command
        if self._agent.is_open(command.tenant, command.key):
            settled = CommandSettled(command.key, Outcome.UNKNOWN, BACKEND_FAULT)
            self._agent.emit(command.tenant, command.leg, settled, now_ms)
