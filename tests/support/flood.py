"""A scanner: sends as much as it is told, from as many addresses as it is told, until it is ended.

`python -m tests.support.flood PORT RATE ADDRESSES KIND...`: RATE datagrams a second in all, ADDRESSES
of 127.66.0.0/16, KINDs of those below in turn. Answers are read by nobody, as by a forger of addresses.
"""

from __future__ import annotations

import itertools
import random
import socket
import sys
import time
from collections.abc import Callable

BATCH_S = 0.005
HEAD = (
    "{method} sip:{user}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{n:016x}\r\n"
    "From: <sip:{user}@127.0.0.1>;tag=t{n}\r\nTo: <sip:{user}@127.0.0.1>{tag}\r\nCall-ID: {n}@scan\r\n"
    "CSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}"
)
GUESS = (
    'Authorization: Digest username="{user}", realm="demo.test", nonce="0.x.y", uri="sip:127.0.0.1", '
    'response="{n:032x}", algorithm=MD5, qop=auth, nc=00000001, cnonce="a"\r\nContact: <sip:{user}@{host}>\r\n'
)


def _message(method: str, user: str, more: str = "", tag: str = "") -> Callable[[str, int], bytes]:
    def made(host: str, n: int) -> bytes:
        fields = {"method": method, "user": user.format(n=n), "host": host, "n": n, "tag": tag}
        return (HEAD.format(**fields, more=more.format(**fields)) + "Content-Length: 0\r\n\r\n").encode()

    return made


KINDS: dict[str, Callable[[str, int], bytes]] = {
    "scan": _message("INVITE", "1{n}"),
    "storm": _message("INVITE", "4930100"),
    "guess": _message("REGISTER", "ann", GUESS),
    "ask": _message("REGISTER", "{n}"),
    "options": _message("OPTIONS", "100"),
    "stray": _message("BYE", "4930100", tag=";tag=guessed1234567890"),
    "garbage": lambda host, n: random.Random(n).randbytes(200),
    "broken": lambda host, n: _message("INVITE", "1", "Content-Length: x\r\n")(host, n),
    "huge": lambda host, n: _message("INVITE", "1", "X: " + "y" * 60_000 + "\r\n")(host, n),
    "answer": lambda host, n: b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%032x\r\n\r\n" % n,
}


def main() -> None:
    """Never ends by itself."""
    port, rate, addresses = (int(argument) for argument in sys.argv[1:4])
    kinds = itertools.cycle(KINDS[name] for name in sys.argv[4:])
    sockets = []
    for number in range(addresses):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        host = f"127.66.{number >> 8}.{1 + (number & 255) % 254}"
        one.bind((host, 0))
        sockets.append((host, one))
    turn = itertools.cycle(sockets)
    begun, sent = time.monotonic(), 0
    while True:
        wanted = int((time.monotonic() - begun) * rate)
        while sent < wanted:
            sent += 1
            host, one = next(turn)
            try:
                one.sendto(next(kinds)(host, sent), ("127.0.0.1", port))
            except OSError:  # a full buffer: as on a real network, it is lost
                continue
        time.sleep(BATCH_S)


if __name__ == "__main__":
    main()
