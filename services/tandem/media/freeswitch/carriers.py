"""Gateways as FreeSWITCH has them: brought to what their files say, and watched.

A file that changed is taken in once the gateway of before is gone: while both were there, the old one's
farewell to the carrier would end the new one's registration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.certificates import SAY, Certificates
from tandem.media.freeswitch.gateways import MARK, Gateway
from tandem.wire import esl

PROFILE = "tandem"
"""The SIP profile that gateways belong to."""
GATEWAYS_MAX = 1000
"""Gateways of a switch that are watched."""
GONE_S = 5.0
"""How long the end of a dropped gateway may be missing; the switch looks through them every second."""
_NO_PROFILE = "Invalid Profile"
_RESCAN = "gateways"
"""The job that has FreeSWITCH read the files."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")


class Carriers:
    """`wanted`: the gateways of the settings, and `tokens`, the version of each one's file; None if nobody wrote
    them, and FreeSWITCH's are left as they are."""

    def __init__(self, board: Board, wanted: Mapping[str, Gateway], tokens: Mapping[str, str] | None) -> None:
        self._board = board
        self.wanted = wanted
        self._tokens = tokens
        self._asked = 0
        """Which of our rounds of questions it is: answers to earlier ones count for nothing."""
        self._unsure: set[str] = set()
        """Gateways of which it is not known from which file they are."""
        self._dropped: set[str] = set()
        """Gateways whose end we wait for."""
        self._missing = False
        """Something stands in the files that FreeSWITCH has not taken in."""
        self.up: dict[str, bool] = {}
        """Gateways that FreeSWITCH has, and whether it would call through them."""
        self._certificates = Certificates(board)
        self.said = self._certificates.said
        """Takes the lines of the switch's log."""

    # ------------------------------------------------------------------ asking

    def begin(self, now: float) -> None:
        """The switch answers: which gateways does it have, and from which files?"""
        self._asked, self._missing = self._asked + 1, False
        self._unsure.clear()
        self._dropped.clear()
        if any(gateway.transport == "tls" for gateway in self.wanted.values()):
            self._board.api(SAY)
        self._list(self._compare)

    def change(self, wanted: Mapping[str, Gateway], tokens: Mapping[str, str] | None, now: float) -> None:
        """The settings have other gateways now."""
        self.wanted, self._tokens = wanted, tokens
        if self._board.linked:
            self.begin(now)

    def lost(self) -> None:
        """The connection is gone, and what is true with it."""
        self.up.clear()
        self._unsure.clear()
        self._dropped.clear()
        self._board.timers.cancel("gateways", "")

    def _list(self, then: Callable[[float], None]) -> None:
        """Which are up and which are down; `then`."""
        found: dict[str, bool] = {}

        def told(up: bool, reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if isinstance(reply, esl.ApiReply) and reply.ok and not reply.text.startswith(_NO_PROFILE):
                found.update((name, up) for name in reply.text.split()[:GATEWAYS_MAX] if _NAME.fullmatch(name))

        def both(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            told(False, reply, now)
            self.up = found
            then(now)

        self._board.api(f"sofia profile {PROFILE} gwlist up", partial(told, True))
        self._board.api(f"sofia profile {PROFILE} gwlist down", both)

    def _compare(self, now: float) -> None:
        """Ask for the version of each. One that does not say it is somebody else's: it stays as it is."""
        names = dict.fromkeys((*self.up, *self.wanted)) if self._tokens is not None else {}
        self._unsure.update(names)
        for name in names:
            self._board.api(f"sofia_gateway_data {name} ovar {MARK}", partial(self._is, self._asked, name))

    def _is(self, asked: int, name: str, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        if asked != self._asked:
            return
        token = reply.text.strip() if isinstance(reply, esl.ApiReply) and reply.ok else ""
        wanted = (self._tokens or {}).get(name)
        if token and token != wanted:
            self._dropped.add(name)
            self._board.api(f"sofia profile {PROFILE} killgw {name}")
        if wanted is not None and token != wanted:
            self._missing = True
        self._unsure.discard(name)
        if not self._unsure and self._dropped:
            self._board.timers.set("gateways", "", now + GONE_S)
        self._take_in(now)

    # ------------------------------------------------------------------ taking in

    def deleted(self, event: esl.Event, now: float) -> None:
        """A gateway is gone."""
        name = event.get("Gateway") or ""
        self.up.pop(name, None)
        if name in self._dropped:
            self._dropped.remove(name)
            self._take_in(now)

    def not_deleted(self, now: float) -> None:
        """Nobody said that they are."""
        self._dropped.clear()
        self._take_in(now)

    def _take_in(self, now: float) -> None:
        """Have the files read, once nothing stands in their way."""
        if self._unsure or self._dropped:
            return
        self._board.timers.cancel("gateways", "")
        if self._missing:
            self._missing = False
            self._board.job(f"sofia profile {PROFILE} rescan", _RESCAN, lambda result, now: self._list(self._complain))

    def _complain(self, now: float) -> None:
        for name in sorted(set(self.wanted) - set(self.up)):
            detail = (
                f"FreeSWITCH does not take gateway {name}: its log says why; tls needs its own tls and certificates"
            )
            self._board.notice("GATEWAY_NOT_TAKEN", detail)

    # ------------------------------------------------------------------ watching

    def state(self, event: esl.Event, now: float) -> None:
        """A gateway registered, or did not, or answers, or does not."""
        name, up = event.get("Gateway") or "", event.get("Ping-Status") == "UP"
        if not _NAME.fullmatch(name) or (name not in self.up and len(self.up) >= GATEWAYS_MAX):
            return
        if self.up.get(name) and not up and name not in self._dropped:
            said = " ".join(filter(None, (event.get("Status"), event.get("Phrase"))))
            self._board.notice("GATEWAY_DOWN", f"gateway {name} is not to be had{said and f': {said:.100}'}")
        if up:
            self._certificates.well()
        self.up[name] = up

    def states(self) -> tuple[tuple[str, bool], ...]:
        """Each gateway that there is or should be, and whether it can be called through."""
        new = self._unsure | self._dropped
        return tuple((name, self.up.get(name, False) and name not in new) for name in sorted({*self.up, *self.wanted}))
