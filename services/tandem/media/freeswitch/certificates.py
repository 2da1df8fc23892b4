"""What FreeSWITCH finds wrong with a carrier's certificate. It says so in its log alone, line by line, as sofia-sip
does (tport_tls.c: tls_verify_cb, tls_post_connection_check); the gateway is then down for want of an answer.
"""

from __future__ import annotations

import re

from tandem.media.freeswitch.board import Board

SAY = "sofia loglevel tport 3"
"""Has FreeSWITCH log it, at a level that the agent listens to."""
_PLACE = "tport_tls.c:"
_SUBJECT = re.compile(r" {2}subject +=(.{1,200})")
_WRONG = re.compile(r" {2}err \d+:(.{1,100})")
_NAME = re.compile(r"Peer Subject Mismatch \(([^()]{1,253})\)")


class Certificates:
    """Tells the operator, once until something else is wrong or a gateway came up."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._subject = ""
        self._told = ""

    def said(self, line: str) -> None:
        """A line of FreeSWITCH's log."""
        if _PLACE not in line or not line.strip().isprintable():
            return
        if found := _SUBJECT.search(line):
            self._subject = found[1].strip()
        elif found := _WRONG.search(line):
            self._tell(f"FreeSWITCH does not believe the certificate of {self._subject}: {found[1].strip()}")
        elif found := _NAME.search(line):
            self._tell(f"whoever answers at {found[1]} has another name in its certificate")

    def well(self) -> None:
        """Somebody is believed: what is wrong after that is new."""
        self._told = ""

    def _tell(self, detail: str) -> None:
        if detail != self._told:
            self._told = detail
            self._board.notice("CARRIER_NOT_TRUSTED", detail)
