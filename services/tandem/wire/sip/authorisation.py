"""A client's side of digest: answers 401 and 407, and keeps the challenge for the next request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tandem.wire.sip.digest import Challenge, Credentials, answer_challenge, authorisation_header, find_challenge
from tandem.wire.sip.message import CSeq, Request, Response
from tandem.wire.sip.uri import Via

TRIES_MAX = 3
"""Challenges answered for one request: the server's, the proxy's, and one stale nonce."""

_CREDENTIALS = ("Authorization", "Proxy-Authorization")


class Authorisation:
    """The credentials of one call or registration, and what was last asked of them."""

    def __init__(self, credentials: Credentials | None, token: Callable[[], str]) -> None:
        self._credentials = credentials
        self._token = token
        self._challenges: dict[int, tuple[Challenge, int]] = {}  # 401 or 407 -> challenge, times used
        self._tries = 0

    def settled(self) -> None:
        """The request got a response other than a challenge."""
        self._tries = 0

    def accepts(self, response: Response) -> bool:
        """Whether this challenge can be answered; then `headers` gives the answer.

        A fresh nonce that was refused means a wrong password: asking again would not help.
        """
        challenge = find_challenge(response.headers, response.status)
        if self._credentials is None or challenge is None or self._tries >= TRIES_MAX:
            return False
        if response.status in self._challenges and self._tries > 0 and not challenge.stale:
            return False
        self._tries += 1
        self._challenges[response.status] = (challenge, 0)
        return True

    def headers(self, method: str, uri: str) -> tuple[tuple[str, str], ...]:
        """Credentials for a request, for every challenge seen so far."""
        if self._credentials is None:
            return ()
        lines = []
        for status, (challenge, used) in self._challenges.items():
            self._challenges[status] = (challenge, used + 1)
            value = answer_challenge(challenge, self._credentials, method, uri, self._token(), used + 1)
            lines.append((authorisation_header(status), value))
        return tuple(lines)

    def again(self, request: Request, via: Via) -> Request:
        """The same request, with credentials, as a new one (22.2: next CSeq, new branch)."""
        headers = request.headers.without(*_CREDENTIALS, "User-Agent")
        cseq = CSeq(request.cseq.number + 1, request.method)
        answered = headers.plus(self.headers(request.method, str(request.uri)))
        return replace(request, vias=(via,), cseq=cseq, headers=answered)


def credentials_of(request: Request) -> tuple[tuple[str, str], ...]:
    """The credentials in a request, for its ACK (22.1)."""
    return tuple((name, value) for name, value in request.headers if name in _CREDENTIALS)
