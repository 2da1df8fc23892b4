"""Callers: from a parked channel to a leg, or to the fallback that the dialplan holds ready."""

from __future__ import annotations

import json
import re

from tandem.core.ports.media import Answer, By, CallRefused, Cause, Command, LegAnswered, LegArrived
from tandem.core.seal import secret
from tandem.media.agent_io import DRAINING
from tandem.media.backend import MergedDirectory
from tandem.media.freeswitch.board import Board, media_ms
from tandem.media.freeswitch.ids import leg_of_caller
from tandem.media.freeswitch.leg import Leg, Stage, named
from tandem.wire import esl

MAX_CALLER = 64
"""Characters kept of who calls."""
FALLBACK = "fallback"
"""The dialplan's context for callers whom nobody took in time."""
_UNFIT = re.compile(r"[^\x20-\x7e]")
_UNLISTED, _NOT_NOW = "UNALLOCATED_NUMBER", "SWITCH_CONGESTION"
"""What a caller is refused with: 404, and 503."""


class Arrivals:
    """Takes inbound calls to listed numbers. The dialplan has told them that it rings."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def parked(self, event: esl.Event, now: float) -> None:
        """A channel that is no leg was parked: a call has come, or one that nobody knows any more."""
        channel = event.get("Unique-ID") or ""
        leg_id = leg_of_caller(channel)
        if leg_id is None or event.get("Call-Direction") != "inbound":
            return
        directory = self._board.directory
        number = event.get("Caller-Destination-Number") or ""
        if event.get("Answer-State") == "answered":
            self._take_up(leg_id, event, directory, number)
        elif directory is None or self._board.journal_away or self._board.draining:
            self._refuse(channel, _NOT_NOW)
        elif number not in directory.numbers:
            self._refuse(channel, _UNLISTED)
        else:
            self._arrive(leg_id, channel, directory, number, event, now)

    def _take_up(self, leg_id: str, event: esl.Event, directory: MergedDirectory | None, number: str) -> None:
        """An owner has it and the journal was lost: it is listed again, and that owner decides. One that was taken
        over from another node says itself whose leg it is."""
        channel = event.get("Unique-ID") or ""
        entry = directory.numbers.get(number) if directory is not None else None
        moved, tenant, shard = named(event)
        if not moved and entry is not None:
            tenant, shard = entry.tenant, entry.shard
        elif not moved or moved in self._board.legs:
            self._board.notice("STRAY_CHANNEL", f"channel {channel} is answered, and nobody's leg")
            return
        leg = Leg(moved or leg_id, tenant, shard, channel, True, Stage.UP, parked=True, taken=True)
        self._board.add(leg)
        self._board.note(leg)

    def _refuse(self, channel: str, cause: str) -> None:
        if cause == _NOT_NOW:
            self._board.say_when(channel)
        self._board.api(f"uuid_kill {channel} {cause}")

    def _arrive(
        self, leg_id: str, channel: str, directory: MergedDirectory, number: str, event: esl.Event, now: float
    ) -> None:
        entry = directory.numbers[number]
        leg = Leg(leg_id, entry.tenant, entry.shard, channel, inbound=True, stage=Stage.ARRIVED, parked=True)
        self._board.add(leg)
        self._board.note(leg)
        self._board.emit(leg, LegArrived(entry.number, secret(_caller(event))), now)

    def turned_away(self, event: esl.Event, now: float) -> None:
        """A call ended that never was a leg: the dialplan has a limit of callers, as we have not, and takes none while
        it is drained."""
        board, number = self._board, event.get("Caller-Destination-Number") or ""
        entry = board.directory.numbers.get(number) if board.directory is not None else None
        if entry is None or board.journal_away or event.get("Call-Direction") != "inbound":
            return
        if event.get("Hangup-Cause") == _NOT_NOW:
            reason = DRAINING if board.draining else "CAPACITY"
            board.sink.emit(entry.tenant, "", CallRefused(entry.number, reason), media_ms(now))

    # ------------------------------------------------------------------ an owner takes the call

    def take(self, leg: Leg) -> None:
        """Cancel the fallback; ask whether it came first if there is none to cancel."""
        leg.asking = True

        def cancelled(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if isinstance(reply, esl.ApiReply) and not reply.text.startswith("+OK Deleted: 0"):
                self._taken(leg)
            else:
                self._board.api(f"uuid_dump {leg.channel} json", looked)

        def looked(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            channel = dumped(reply)
            waits = channel is None or channel.get("variable_current_application") == "park"
            if not waits and leg.id in self._board.legs:
                self.fell_back(leg)
            self._taken(leg)

        self._board.api(f"sched_del {leg.channel}", cancelled)

    def _taken(self, leg: Leg) -> None:
        leg.asking = False
        if leg.id in self._board.legs:
            leg.taken = leg.stage is not Stage.FALLBACK
            self._board.note(leg)
            self._board.stir(leg)

    def answer(self, leg: Leg, command: Command, now: float) -> bool:
        """Answer a ringing leg: settles with its event."""
        board = self._board
        if leg.stage is Stage.UP:
            board.settle(leg.tenant, leg.id, command.key, now)
            return True
        leg.begun = command

        def replied(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if not reply.ok and leg.begun is command:
                leg.begun = None
                board.settle(leg.tenant, leg.id, command.key, now, "LEG_GONE")
                board.stir(leg)

        if board.hold_music:
            board.api(f"uuid_setvar {leg.channel} hold_music {board.hold_music}")
        board.api(f"uuid_answer {leg.channel}", replied)
        board.timers.set("begun", leg.id, now + board.config.settle_after_s)
        return True

    def answered(self, leg: Leg, now: float) -> None:
        """An inbound channel was answered: by us, or by the fallback, for nobody else would."""
        if leg.stage is not Stage.ARRIVED:
            return
        if not leg.taken:
            self.fell_back(leg)
            return
        leg.stage = Stage.UP
        self._board.note(leg)
        self._board.emit(leg, LegAnswered(), now)
        if leg.begun is not None and isinstance(leg.begun.verb, Answer):
            self._board.settle_begun(leg, now)
        self._board.stir(leg)

    def fell_back(self, leg: Leg) -> None:
        """Nobody took the caller in time: FreeSWITCH plays the apology."""
        leg.stage = Stage.FALLBACK
        self._board.note(leg)

    def let_go(self, now: float) -> None:
        """No owner can be told of callers who still hear it ringing: they may try elsewhere."""
        for leg in [leg for leg in self._board.legs.values() if leg.stage in (Stage.ARRIVED, Stage.CALLING)]:
            self._board.kill(leg, Cause.REFUSED, by_node=True)

    def end_of(self, leg: Leg, cause: Cause, by: By) -> tuple[Cause, By]:
        """The end of a caller whom nobody took is the fallback's, unless they went themselves."""
        fell_back = leg.stage is Stage.FALLBACK or (leg.stage is Stage.ARRIVED and not leg.taken)
        if leg.inbound and fell_back and by is By.NODE and cause is not Cause.MEDIA_LOST:
            return Cause.FALLBACK, By.NODE
        return (Cause.FALLBACK, by) if leg.stage is Stage.FALLBACK else (cause, by)


def _caller(event: esl.Event) -> str:
    """The number or user that a caller gives, fit for display."""
    text = _UNFIT.sub("", event.get("Caller-Caller-ID-Number") or "")[:MAX_CALLER]
    return text or "anonymous"


def dumped(reply: esl.Reply | esl.ApiReply) -> esl.JsonEvent | None:
    """The channel that `uuid_dump ... json` printed; None if there is none."""
    if not isinstance(reply, esl.ApiReply) or not reply.ok:
        return None
    try:
        fields = json.loads(reply.text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    return esl.JsonEvent({name: value for name, value in fields.items() if isinstance(value, str)})
