"""What the operator is told of a carrier's certificate, from lines as live FreeSWITCH 1.10.12 wrote them."""

from __future__ import annotations

import pytest

from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.certificates import Certificates
from tandem.media.freeswitch.config import FreeswitchConfig
from tests.unit.media.freeswitch.replay import Tape

SIGNED_BY_ITSELF = (
    "tport_type_tcp.c:202 tport_tcp_init_secondary() tport_tcp_init_secondary(0x7f4): Setting TCP_KEEPIDLE to 30",
    "tport_tls.c:252 tls_verify_cb() -Error with certificate at depth: 0",
    "tport_tls.c:254 tls_verify_cb()   issuer   = /CN=The carrier",
    "tport_tls.c:256 tls_verify_cb()   subject  = /CN=127.0.0.1",
    "tport_tls.c:257 tls_verify_cb()   err 18:self-signed certificate",
)
OTHER_NAME = (
    "tport_tls.c:756 tls_post_connection_check() tls_post_connection_check(0x7fa8d4018880): Peer Subject Mismatch "
    "(sip.carrier.test)"
)


@pytest.fixture
def board() -> Board:
    return Board(FreeswitchConfig(), Tape(), {})


def test_what_is_wrong_is_said_in_a_sentence(board: Board) -> None:
    certificates = Certificates(board)
    for line in (*SIGNED_BY_ITSELF, OTHER_NAME):
        certificates.said(f"{line}\n")
    assert [(notice.reason, notice.detail) for notice in board.notices] == [
        (
            "CARRIER_NOT_TRUSTED",
            "FreeSWITCH does not believe the certificate of /CN=127.0.0.1: self-signed certificate",
        ),
        ("CARRIER_NOT_TRUSTED", "whoever answers at sip.carrier.test has another name in its certificate"),
    ]


def test_the_same_is_said_again_only_after_somebody_was_believed(board: Board) -> None:
    certificates = Certificates(board)
    for _ in range(3):
        certificates.said(OTHER_NAME)
    assert len(board.notices) == 1
    certificates.well()
    certificates.said(OTHER_NAME)
    assert len(board.notices) == 2


@pytest.mark.parametrize(
    "line",
    [
        "sofia.c:6472 Peer Subject Mismatch (a)",
        "tport_tls.c:756 Peer Subject Mismatch ()",
        "tport_tls.c:256   subject  = /CN=a",
        "tport_tls.c:756 Peer Subject Mismatch (a\x1b[2J)",
        "tport_tls.c:257   err x:y",
        "",
    ],
)
def test_other_lines_say_nothing(board: Board, line: str) -> None:
    Certificates(board).said(line)
    assert board.notices == []
