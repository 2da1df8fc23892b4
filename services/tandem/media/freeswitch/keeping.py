"""Which accounts FreeSWITCH keeps, so that phones can register while no agent answers its look-ups.

It keeps for ever what it has looked up (`accounts`), and forgets what it is told to forget. An agent that
begins anew cannot tell what has changed meanwhile, so all is forgotten; and as the agent may die again before
the phones register next, it has the accounts of those that are registered looked up at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tandem.core.ports.media import DirectoryDevice
from tandem.media.backend import MergedDirectory
from tandem.media.freeswitch.board import Board
from tandem.wire import esl

FLUSHES_MAX = 100
"""Accounts that are forgotten one by one; beyond it all of them are."""
USER = re.compile(r"[A-Za-z0-9+*#._-]{1,64}")
REALM = re.compile(r"[A-Za-z0-9.:\[\]-]{1,253}")


class Keeping:
    """One look-up at a time: the switch answers nothing else meanwhile."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._forgotten: set[str] | None = set()  # None for all
        self._wanted: dict[str, None] = {}
        self._asks = False

    def forget(self, known: MergedDirectory | None) -> None:
        """Have the accounts forgotten that differ from those that the switch may have kept: all, for None."""
        board = self._board
        if known is None:
            self._wanted.clear()
            self._asks = False  # it may be another connection
        if board.directory is None:
            return
        changed = (
            [entry for user, entry in known.devices.items() if board.directory.devices.get(user) != entry]
            if known is not None
            else None
        )
        if changed is None or len(changed) > FLUSHES_MAX:
            self._forgotten = None
            board.api("xml_flush_cache")
            return
        for entry in changed:
            if _can_be_asked(entry):
                board.api(f"xml_flush_cache id {entry.user} {entry.realm}")
                if self._forgotten is not None:
                    self._forgotten.add(entry.user)

    def keep(self, users: Iterable[str]) -> None:
        """These phones are registered, and will register again: have those looked up that were forgotten."""
        forgotten, self._forgotten = self._forgotten, set()
        self._wanted |= {user: None for user in users if forgotten is None or user in forgotten}
        if not self._asks:
            self._next()

    def _next(self) -> None:
        directory = self._board.directory
        self._asks = False
        while self._wanted and directory is not None:
            user = next(iter(self._wanted))
            del self._wanted[user]
            entry = directory.devices.get(user)
            if entry is not None and _can_be_asked(entry):
                self._asks = True
                # Of all that it could be asked, the least: the digest stays where it is.
                self._board.api(f"user_data {entry.user}@{entry.realm} attr cacheable", self._looked_up)
                return

    def _looked_up(self, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        self._next()


def _can_be_asked(entry: DirectoryDevice) -> bool:
    return bool(USER.fullmatch(entry.user) and REALM.fullmatch(entry.realm))
