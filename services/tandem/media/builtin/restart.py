"""What a restarted node owes to the calls of its last life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tandem.core.ports.media import By, Cause, LegEnded
from tandem.media.backend import RowKind
from tandem.media.builtin.board import Board
from tandem.media.builtin.causes import reason_of
from tandem.wire.sip.dialog import Address, Dialog
from tandem.wire.sip.message import Request, parse, respond_to
from tandem.wire.sip.pending import PendingInvite

REPEATS_S = (0.5, 1.0, 2.0)
"""When a last response is sent again: its ACK finds nobody who waits for it."""


def invite_text(request: Request) -> str:
    """An INVITE for the journal, as far as a response needs it."""
    return replace(request, body=b"").to_bytes().decode("utf-8", "replace")


class Restart:
    """Ends what cannot go on: BYE for talks, CANCEL for phones that ring, 503 for callers that still hear
    it ringing."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._repeats: dict[str, tuple[tuple[bytes, Address], int]] = {}
        self._datagrams: list[tuple[bytes, Address]] = []

    def lost(self, leg: str, row: Mapping[str, Any], died_ms: int, now: float) -> None:
        """A journalled leg: tell its end, which was at `died_ms`, and tell the phone."""
        board = self._board
        self.say_goodbye(leg, row, now)
        board.sink.emit(row["tenant"], leg, LegEnded(Cause.MEDIA_LOST, By.NODE), died_ms)
        board.sink.remember(RowKind.LEG, leg, None)

    def say_goodbye(self, leg: str, row: Mapping[str, Any], now: float) -> None:
        """Tell the phone, also that of a leg that had ended: it may not have heard of it."""
        board, call = self._board, ""
        if row["invite"] is not None:
            self._refuse(leg, row, now)
        elif (pending := row.get("pending")) is not None:
            kept, reason = PendingInvite.from_dict(pending), reason_of(Cause.MEDIA_LOST)
            call = board.endpoint.take_back(kept, now, reason=reason)
        elif row["dialog"] is not None:
            board.endpoint.bye_restored(Dialog.from_dict(row["dialog"]), now, reason=reason_of(Cause.MEDIA_LOST))
        board.goodbyes.keep(leg, row, call, now)

    def _refuse(self, leg: str, row: Mapping[str, Any], now: float) -> None:
        """The caller's INVITE waits for a final response; the callee must not say BYE (RFC 3261, 15)."""
        request = parse(row["invite"].encode())
        if not isinstance(request, Request):
            return
        headers = (reason_of(Cause.MEDIA_LOST).header(), ("Retry-After", str(self._board.config.retry_after_s)))
        response = respond_to(request, 503, to_tag=Dialog.from_dict(row["dialog"]).local_tag, headers=headers)
        self._repeats[leg] = ((response.to_bytes(), request.vias[0].reply_address()), 0)
        self._datagrams.append(self._repeats[leg][0])
        self._board.timers.set("repeat", leg, now + REPEATS_S[0])

    def repeat(self, leg: str, now: float) -> None:
        """Send a last response once more."""
        datagram, sent = self._repeats.pop(leg)
        self._datagrams.append(datagram)
        if sent + 1 < len(REPEATS_S):
            self._repeats[leg] = (datagram, sent + 1)
            self._board.timers.set("repeat", leg, now + REPEATS_S[sent + 1])

    def take_datagrams(self) -> list[tuple[bytes, Address]]:
        """What to send."""
        taken, self._datagrams = self._datagrams, []
        return taken
