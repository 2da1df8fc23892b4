"""A browser's session under `--demo`: a cookie that stands for a supervisor's API key (spine 11).

The key itself never leaves this process. The cookie is a time and a nonce under a MAC whose
key is made from the API key, so a session outlives a restart of the control plane and ends
with the API key. What a foreign page could send with the cookie does not count:

    Host            must be ours                   DNS rebinding
    Sec-Fetch-Site  must not tell of another site  cookies know no ports: 127.0.0.1:3000 has ours too
    Origin, token   must be ours where something   cross-site request forgery
                    is changed
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from tandem.core.errors import NO_CREDENTIAL, Rejected
from tandem.core.ports.entropy import Entropy
from tandem.runtime.interceptors import AUTHORIZATION

TOKEN_HEADER = "tandem-page-token"  # noqa: S105 - a header's name
LIFE_S = 24 * 3600
"""How long a session lasts; loading the page in its second half begins a new one."""
MAX_COOKIE = 256
"""Characters of a presented cookie; a longer one is none of ours and not worth a digest."""
_SAFE = ("GET", "HEAD")
_OWN_SITE = (None, "same-origin", "none")  # absent: no browser of the last years; none: typed by the user


@dataclass(frozen=True, slots=True)
class Begun:
    """`set_cookie` is the header's value, empty if the browser has a session already; `token`
    is what the page must send with everything that changes something."""

    set_cookie: str
    token: str


@dataclass(frozen=True, slots=True)
class _Session:
    issued_s: int
    nonce: str


class DemoSession:
    """Sessions of the demo's page. `api_key` is a supervisor's; `hosts` and `origins` are ours
    (`127.0.0.1:8080`, `http://127.0.0.1:8080`); `now_s` is Unix time in seconds."""

    def __init__(
        self,
        api_key: str,
        hosts: tuple[str, ...],
        origins: tuple[str, ...],
        entropy: Entropy,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        if not hosts or not origins:
            raise ValueError("a page needs to know its own hosts and origins")
        self._authorization = f"Bearer {api_key}"
        self._key = hashlib.sha256(b"tandem demo session\0" + api_key.encode()).digest()
        self._hosts, self._origins = hosts, origins
        self._entropy, self._now_s = entropy, now_s
        self._cookie = f"tandem-demo-{hosts[0].rpartition(':')[2]}"

    def begin(self, request: Request) -> Begun:
        """The session of a browser that loads the page; its own one if that is young enough."""
        session = self._presented(request)
        if session is not None and self._now_s() - session.issued_s < LIFE_S / 2:
            return Begun("", self._token(session))
        session = _Session(int(self._now_s()), self._entropy.token(16))
        value = f"{session.issued_s}.{session.nonce}.{self._mac(session)}"
        cookie = f"{self._cookie}={value}; Path=/; Max-Age={LIFE_S}; HttpOnly; SameSite=Strict"
        return Begun(cookie, self._token(session))

    def credential(self, request: Request) -> str | None:
        """The Authorization that a request stands for: its own header, else that of its
        session; None if it has neither, or if it may come from a foreign page."""
        own = request.headers.get(AUTHORIZATION)
        if own is not None:
            return own
        session = self._presented(request)
        if session is None or not self._is_ours(request, session):
            return None
        return self._authorization

    def admit(self, request: Request) -> None:
        """Let the page alone through. Raises `Rejected`."""
        session = self._presented(request)
        if session is None or not self._is_ours(request, session):
            raise Rejected(NO_CREDENTIAL, "this needs the session and the token of the page; load the page again")

    # ---------------------------------------------------------------- checks

    def _is_ours(self, request: Request, session: _Session) -> bool:
        headers = request.headers
        if headers.get("host") not in self._hosts or headers.get("sec-fetch-site") not in _OWN_SITE:
            return False
        if request.method in _SAFE:
            return True
        token = headers.get(TOKEN_HEADER, "")
        return headers.get("origin") in self._origins and _equal(token, self._token(session))

    def _presented(self, request: Request) -> _Session | None:
        """The session of the request's cookie, if we made it and it is not over."""
        value = request.cookies.get(self._cookie, "")
        issued, _, rest = value.partition(".")
        nonce, _, mac = rest.partition(".")
        if len(value) > MAX_COOKIE or not (issued.isascii() and issued.isdecimal()):
            return None
        session = _Session(int(issued), nonce)
        if not _equal(mac, self._mac(session)):
            return None
        return session if 0 <= self._now_s() - session.issued_s < LIFE_S else None

    def _mac(self, session: _Session) -> str:
        return self._sign("session", f"{session.issued_s}.{session.nonce}")

    def _token(self, session: _Session) -> str:
        return self._sign("token", session.nonce)

    def _sign(self, purpose: str, text: str) -> str:
        digest = hmac.digest(self._key, f"{purpose}\0{text}".encode(), "sha256")
        return base64.b32encode(digest).decode().rstrip("=").lower()


def _equal(presented: str, right: str) -> bool:
    """Compares in a time that does not tell how much was right."""
    return hmac.compare_digest(presented.encode(), right.encode())
