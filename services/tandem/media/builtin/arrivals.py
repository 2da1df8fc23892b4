"""Callers: from INVITE to a ringing leg, or to a refusal with its reason."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tandem.core.ports.media import By, CallRefused, Cause, DirectoryNumber, LegAnswered, LegArrived
from tandem.core.seal import secret
from tandem.media.agent_io import DRAINING
from tandem.media.builtin.board import Board, media_ms
from tandem.media.builtin.causes import reason_of, status_of
from tandem.media.builtin.config import Fallback
from tandem.media.builtin.leg import Leg, Stage
from tandem.media.builtin.restart import invite_text
from tandem.media.builtin.sound import Playlist
from tandem.media.builtin.stream import Session
from tandem.wire.sdp import SdpError
from tandem.wire.sip.events import Address, CallArrived
from tandem.wire.sip.message import Request

MAX_CALLER = 64
"""Characters kept of who calls."""
_UNFIT = re.compile(r"[^\x20-\x7e]")


class Arrivals:
    """Takes inbound calls to listed numbers, up to the capacity."""

    def __init__(self, board: Board) -> None:
        self._board = board

    # ------------------------------------------------------------------ arrival

    def screen(self, request: Request, source: Address, now: float) -> tuple[int, Sequence[tuple[str, str]]] | None:
        """Refuse what costs nothing to refuse: numbers that nobody has, and the many calls of one stranger."""
        board, counters = self._board, self._board.guard.counters
        if board.directory is None:
            return None
        if request.uri.number not in board.directory.numbers:
            counters.failures_unknown_number += 1
            board.guard.failed(source, now)
            return 404, ()
        busy = 503, (("Retry-After", str(board.config.retry_after_s)),)
        if board.journal_away:
            return busy
        if board.guard.knows(source):
            return None
        strangers = [leg.stranger for leg in board.legs.values() if leg.stranger]
        if strangers.count(source[0]) >= board.config.guard.calls_per_source:
            counters.refused_calls_per_source += 1
        elif len(strangers) >= board.config.guard.calls_of_strangers:
            counters.refused_calls_of_strangers += 1
        else:
            return None
        return busy

    def arrived(self, event: CallArrived, now: float) -> None:
        """An INVITE: ring, or refuse at once. `screen` has seen that the number is known."""
        board = self._board
        if board.directory is None:
            self._refuse(event.call, 503, now, Cause.FAILED)
            return
        number = board.directory.numbers[event.request.uri.number]
        if board.draining:
            self._refuse(event.call, 503, now, Cause.REFUSED)
            self._tell_refused(number, DRAINING, now)
        elif board.callers() >= board.config.capacity:
            self._refuse(event.call, 503, now, Cause.REFUSED)
            self._tell_refused(number, "CAPACITY", now)
        elif (port := board.ports.open()) is None:
            self._refuse(event.call, 503, now, Cause.REFUSED)
            self._tell_refused(number, "NO_RTP_PORT", now)
        else:
            self._ring(event, number, port, now)

    def _ring(self, event: CallArrived, number: DirectoryNumber, port: int, now: float) -> None:
        board = self._board
        negotiation = board.negotiation(port)
        prepared = negotiation.answer(event.offer) if event.offer is not None else None
        if isinstance(prepared, SdpError):
            board.ports.close(port)
            self._refuse(event.call, 488, now, Cause.NO_MEDIA)
            self._tell_refused(number, "NO_CODEC", now)
            return
        stranger = "" if board.guard.knows(event.source) else event.source[0]
        leg = Leg(
            board.entropy.token(), number.tenant, number.shard, Stage.ARRIVED, inbound=True, began=now,
            call=event.call, stranger=stranger, port=port, negotiation=negotiation, prepared=prepared,
            invite=invite_text(event.request),
        )  # fmt: skip
        board.add(leg)
        board.endpoint.ring(event.call, now)
        board.note(leg)
        board.emit(leg, LegArrived(number.number, secret(caller_of(event.request))), now)
        if leg.shard not in board.owners:
            self._await_owner(leg, now)

    def _refuse(self, call: str, status: int, now: float, cause: Cause) -> None:
        wait = [("Retry-After", str(self._board.config.retry_after_s))] if status == 503 else []
        self._board.endpoint.reject(call, status, now, reason=reason_of(cause), headers=wait)

    def turn_away(self, leg: Leg, cause: Cause, now: float) -> None:
        """A caller who was not answered is refused by an owner."""
        self._refuse(leg.call, status_of(cause), now, cause)

    def let_go(self, leg: Leg, now: float) -> None:
        """A caller who hears it ringing, and whose call no owner can be told of."""
        self._refuse(leg.call, 503, now, Cause.REFUSED)
        self._board.end(leg, Cause.REFUSED, By.NODE, now, "the journal cannot be written")

    def _tell_refused(self, number: DirectoryNumber, reason: str, now: float) -> None:
        self._board.sink.emit(number.tenant, "", CallRefused(number.number, reason), media_ms(now))

    # ------------------------------------------------------------------ answer

    def answer(self, leg: Leg, now: float) -> bool:
        """Answer a ringing leg; False if the caller is already gone."""
        if leg.stage is not Stage.ARRIVED or not self._send_answer(leg, now):
            return False
        leg.stage = Stage.UP
        self._board.timers.cancel("fallback", leg.id)
        self._board.note(leg)
        self._board.emit(leg, LegAnswered(), now)
        return True

    def _send_answer(self, leg: Leg, now: float) -> bool:
        """200 with our answer, or with our offer: then the caller's answer comes with the ACK."""
        assert leg.negotiation is not None
        sdp = leg.prepared.sdp if leg.prepared is not None else leg.negotiation.offer()
        if not self._board.endpoint.answer(leg.call, sdp, now):
            return False
        if leg.prepared is not None:
            self._board.talk(leg, Session.of(leg.prepared.audio), now)
        return True

    # ------------------------------------------------------------------ no owner

    def owner_present(self, shard: int, present: bool, now: float) -> None:
        """Owners come and go."""
        for leg in self._board.legs.values():
            if leg.shard == shard and leg.stage is Stage.ARRIVED:
                if present:
                    self._board.timers.cancel("fallback", leg.id)
                else:
                    self._await_owner(leg, now)

    def _await_owner(self, leg: Leg, now: float) -> None:
        """A ringing caller and nobody to decide: the fallback follows unless an owner comes."""
        self._board.timers.set("fallback", leg.id, now + self._board.config.fallback_after_s)

    def fall_back(self, leg: Leg, now: float) -> None:
        """No owner came. The apology, or a refusal that lets the carrier try elsewhere."""
        board = self._board
        apology = board.prompts.get(board.config.apology)
        if board.config.fallback is Fallback.REFUSE or apology is None or not self._send_answer(leg, now):
            self._refuse(leg.call, 503, now, Cause.FALLBACK)
            board.end(leg, Cause.FALLBACK, By.NODE, now)
            return
        leg.stage = Stage.FALLBACK
        leg.playlist = Playlist([apology])
        board.note(leg)

    def apologised(self, leg: Leg, now: float) -> None:
        """The apology was heard to its end."""
        self._board.endpoint.hangup(leg.call, now, reason=reason_of(Cause.FALLBACK))
        self._board.end(leg, Cause.FALLBACK, By.NODE, now)


def caller_of(request: Request) -> str:
    """The number or user that a caller gives, fit for display."""
    text = _UNFIT.sub("", request.from_.uri.number)[:MAX_CALLER]
    return text or "anonymous"
