"""The connection to FreeSWITCH as it is logged in, subscribed and watched.

Subscriptions are narrow. Event-Sequence counts every event that the switch fires, sent to us or
not, and numbers are not always in order: under a narrow subscription a gap in it says nothing. What
tells of lost events is the switch's own log line about it, which we subscribe to as well, and a
heartbeat that stays away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.conferring import EVENT as CONFERENCE
from tandem.wire import esl

EVENTS: Final = (
    "CHANNEL_PARK", "CHANNEL_PROGRESS", "CHANNEL_PROGRESS_MEDIA", "CHANNEL_ANSWER", "CHANNEL_BRIDGE",
    "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_HOLD", "CHANNEL_UNHOLD", "CHANNEL_HANGUP_COMPLETE",
    "RECORD_STOP", "MEDIA_BUG_START", "BACKGROUND_JOB", "HEARTBEAT", "SHUTDOWN",
)  # fmt: skip
"""What we listen to; the rest of some 40 events a call never leaves the switch."""
CUSTOM: Final = (
    "sofia::register", "sofia::unregister", "sofia::expire", "sofia::gateway_state", "sofia::gateway_delete",
)  # fmt: skip
SPARED: Final = (
    "CHANNEL_PROGRESS", "CHANNEL_PROGRESS_MEDIA", "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_HOLD", "CHANNEL_UNHOLD",
)  # fmt: skip
"""What we go without while we are behind: most of what is sent, and what channels tell when they are asked. A prompt
that ends meanwhile settles late."""
LOST_EVENTS: Final = ("Lost [", "too many lost events")
"""What the switch logs, at level CRIT, when our queue was full (mod_event_socket.c)."""
_CRIT = 2


class Connection:
    """Logs in, gives each answer to whoever asked, and says when to reconcile."""

    def __init__(
        self, board: Board, password: str, reconcile: Callable[[float], None], said: Callable[[str], None]
    ) -> None:
        """`said` takes the other lines of the switch's log at that level."""
        self._board = board
        self._password = password
        self._reconcile = reconcile
        self._said = said
        self.wants_close = ""
        """Why the edge should close the connection; empty for no reason."""
        self.ready = False
        """The switch answers and says that it is well."""
        self.heard_at = 0.0
        """When the switch said anything last."""
        self._narrow = False

    def lost(self, now: float) -> None:
        """The connection is gone. Whoever waits for an answer gets none: it is found out anew."""
        board = self._board
        if board.lost_at is None:
            board.lost_at = now
        board.linked = board.live = self.ready = self._narrow = False
        board.replies.clear()
        board.jobs.clear()
        board.out.clear()
        board.timers.cancel("heartbeat", "")
        self.wants_close = ""

    def frame(self, frame: esl.Frame, now: float) -> None:
        """A frame that is no event."""
        match frame:
            case esl.AuthWanted():
                self._board.linked = True
                self._board.timers.cancel("gone", "")
                self._board.send(esl.command(f"auth {self._password}"), self._logged_in)
            case esl.Reply() | esl.ApiReply():
                self._answered(frame, now)
            case esl.Disconnected(text, linger) if not linger:
                self._board.notice("SWITCH_LEAVES", text.strip()[:200])
            case esl.Rejected(text):
                self._close("ESL_REJECTED", f"FreeSWITCH refuses us; see its acl for the event socket: {text:.200}")
            case esl.Broken(reason, detail):
                self._close(reason, detail)
            case esl.Other("log/data", text) if any(words in text for words in LOST_EVENTS):
                self._board.notice("EVENTS_LOST", text.strip()[:200])
                self._reconcile(now)
            case esl.Other("log/data", text):
                self._said(text)

    def _answered(self, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        if not self._board.replies:
            self._close("UNASKED_REPLY", "FreeSWITCH answered what was not asked")
            return
        then = self._board.replies.popleft()
        if then is not None:
            then(reply, now)

    def _logged_in(self, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        if not reply.ok:
            self._close("ESL_PASSWORD", "FreeSWITCH does not take our password for the event socket")
            return
        board = self._board
        self._subscribe()
        board.send(esl.command(f"log {_CRIT}"))
        self._heard(now)
        self.ready = True
        self._reconcile(now)

    def _subscribe(self) -> None:
        self._board.send(esl.command(f"event plain {' '.join(EVENTS)} CUSTOM {' '.join(CUSTOM)} {CONFERENCE}"))

    def backlog(self, frames: int, now: float) -> None:
        """So many frames came that nobody has worked off: listen to less, or to everything again."""
        board, limit = self._board, self._board.config.behind_frames
        if not self.ready:
            return
        if not self._narrow and frames >= limit:
            self._narrow = True
            board.notice("BEHIND", f"{frames} frames of FreeSWITCH wait to be worked off: it is asked to send less")
            board.send(esl.command(f"nixevent {' '.join(SPARED)} CUSTOM {' '.join(CUSTOM)}"))
        elif self._narrow and frames <= limit // 10:
            self._narrow = False
            board.notice("CAUGHT_UP", "FreeSWITCH is listened to in full again, and asked what was missed")
            self._subscribe()
            self._reconcile(now)

    def refused(self, now: float) -> None:
        """Nobody listens on the event socket: the switch begins anew, or is dead with its calls."""
        if not self._board.timers.has("gone", ""):
            self._board.timers.set("gone", "", now + self._board.config.gone_after_s)

    def heartbeat(self, now: float) -> None:
        """The switch is well."""
        self._heard(now)

    def _heard(self, now: float) -> None:
        self._board.timers.set("heartbeat", "", now + 3 * self._board.config.heartbeat_s)

    def silent(self, now: float) -> None:
        """Three heartbeats are missing. While much else comes, one may stand behind it."""
        patience_s = 3 * self._board.config.heartbeat_s
        if self.heard_at + patience_s > now:
            self._board.timers.set("heartbeat", "", self.heard_at + patience_s)
            return
        self._close("NO_HEARTBEAT", "FreeSWITCH has said nothing for three heartbeats")

    def _close(self, reason: str, detail: str) -> None:
        self.wants_close = self.wants_close or reason
        self.ready = False
        self._board.notice(reason, detail)
