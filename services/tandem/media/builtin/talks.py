"""Answered calls: changes of the session, digits by INFO, lost audio."""

from __future__ import annotations

from tandem.core.ports.media import Cause, LegHeld, LegResumed
from tandem.media.builtin.board import Board
from tandem.media.builtin.hearing import Hearing
from tandem.media.builtin.leg import Leg, Stage
from tandem.media.builtin.stream import Session
from tandem.wire.sdp import Audio, SdpError
from tandem.wire.sip.events import CallConfirmed, DigitReceived, OfferReceived


class Talks:
    """What phones do while they are connected."""

    def __init__(self, board: Board, hearing: Hearing) -> None:
        self._board = board
        self._hearing = hearing

    def confirmed(self, leg: Leg, event: CallConfirmed, now: float) -> None:
        """ACK. It has the phone's answer when our 200 had the offer."""
        assert leg.negotiation is not None
        if event.answer is not None:
            self._agreed(leg, leg.negotiation.accept(event.answer), now)
        elif leg.stream is None:
            self._board.give_up(leg, Cause.NO_MEDIA, now, "no SDP in the ACK")

    def offered(self, leg: Leg, event: OfferReceived, now: float) -> None:
        """A re-INVITE: hold, resume, another address, or "what can you do?"."""
        assert leg.negotiation is not None
        endpoint = self._board.endpoint
        if event.offer is None:
            endpoint.accept_offer(leg.call, leg.negotiation.offer(), now)
            return
        answer = leg.negotiation.answer(event.offer)
        if isinstance(answer, SdpError):
            endpoint.refuse_offer(leg.call, 488, now)
        elif endpoint.accept_offer(leg.call, answer.sdp, now):
            self._agreed(leg, answer.audio, now)

    def _agreed(self, leg: Leg, agreed: Audio | SdpError, now: float) -> None:
        if isinstance(agreed, SdpError):
            self._board.give_up(leg, Cause.NO_MEDIA, now, agreed.reason)
            return
        was_held = leg.held
        self._board.talk(leg, Session.of(agreed), now)
        if leg.held is not was_held:
            self._board.emit(leg, LegHeld() if leg.held else LegResumed(), now)
            self._hearing.hold_changed(leg)
        self._board.note(leg)

    def digit_by_info(self, leg: Leg, event: DigitReceived, now: float) -> None:
        """A phone that sends digits both ways means one digit: the one in RTP counts."""
        if leg.stream is not None and leg.stream.session.event_type is None:
            self._hearing.digit(leg, event.digit, now)

    def silent(self, leg: Leg, now: float) -> None:
        """Time to look whether the phone still sends. One that holds, or said that it sends nothing, need not."""
        if leg.stream is None or leg.stage is not Stage.UP:
            return
        limit = self._board.config.rtp_timeout_s
        dead_at = leg.stream.last_heard + limit
        if leg.held or not leg.stream.session.they_send:
            self._board.timers.set("media", leg.id, now + limit)
        elif dead_at > now:
            self._board.timers.set("media", leg.id, dead_at)
        else:
            self._board.give_up(leg, Cause.NO_MEDIA, now, f"no RTP for {limit:g} s")
