"""Digest authentication for SIP: server and client (RFC 3261 22, RFC 7616, RFC 8760).

MD5 and SHA-256 with qop=auth. The server holds H(user:realm:password) and never a
password; its nonces are signed, not stored. What it does store is which counts of a
nonce were used, and that only after a right answer, so nobody without a password can
fill its memory.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from tandem.wire.sip.grammar import Malformed, quote, unescape
from tandem.wire.sip.headers import Headers
from tandem.wire.sip.message import Request
from tandem.wire.sip.uri import Uri, parse_uri

ALGORITHMS = ("SHA-256", "MD5")
"""In the order in which the server offers them: the better one first (RFC 8760 2.4)."""

_HASHES: dict[str, Callable[[bytes], str]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}
_PARAM = re.compile(r"""\s*+([A-Za-z0-9_\-]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s,"]*+)\s*+(?:,|$)""", re.DOTALL)
_PARAMS_MAX = 32
_NC = re.compile(r"[0-9A-Fa-f]{8}")
_WINDOW_BITS = 64


@dataclass(frozen=True, slots=True)
class Credentials:
    """A client's user name and password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HashedPassword:
    """What a server keeps of a password: H(user:realm:password) by each algorithm, in hex."""

    md5: str = field(repr=False)
    sha256: str = field(repr=False)

    def of(self, algorithm: str) -> str:
        """The hash by "MD5" or "SHA-256"."""
        return self.sha256 if algorithm == "SHA-256" else self.md5


def hash_password(user: str, realm: str, password: str) -> HashedPassword:
    """What to keep of a password."""
    secret = f"{user}:{realm}:{password}".encode()
    return HashedPassword(_HASHES["MD5"](secret), _HASHES["SHA-256"](secret))


def digest_response(
    algorithm: str, ha1: str, method: str, uri: str, nonce: str, *, nc: str = "", cnonce: str = "", qop: str = ""
) -> str:
    """The `response` value (RFC 7616 3.4.1); without `qop` that of RFC 2069."""
    hashed = _HASHES[algorithm]
    ha2 = hashed(f"{method}:{uri}".encode())
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return hashed(f"{ha1}:{middle}:{ha2}".encode())


# -- client


@dataclass(frozen=True, slots=True)
class Challenge:
    """One WWW-Authenticate or Proxy-Authenticate value that we can answer."""

    realm: str
    nonce: str
    algorithm: str
    qop: bool
    opaque: str | None
    stale: bool


def find_challenge(headers: Headers, status: int) -> Challenge | None:
    """The first challenge of a 401 or 407 that we can answer (RFC 8760 2.4), if any."""
    for value in headers.all("WWW-Authenticate" if status == 401 else "Proxy-Authenticate"):
        params = _parse_digest(value)
        if params is None or "realm" not in params or "nonce" not in params:
            continue
        algorithm = params.get("algorithm", "MD5").upper()
        qops = [word.strip() for word in params.get("qop", "").lower().split(",") if word.strip()]
        if algorithm in _HASHES and (not qops or "auth" in qops):
            stale = params.get("stale", "").lower() == "true"
            return Challenge(params["realm"], params["nonce"], algorithm, bool(qops), params.get("opaque"), stale)
    return None


def answer_challenge(
    challenge: Challenge, credentials: Credentials, method: str, uri: str, cnonce: str, count: int = 1
) -> str:
    """The Authorization (401) or Proxy-Authorization (407) value. `count` is the use of this nonce, from 1."""
    ha1 = hash_password(credentials.user, challenge.realm, credentials.password).of(challenge.algorithm)
    nc, qop = (f"{count:08x}", "auth") if challenge.qop else ("", "")
    response = digest_response(
        challenge.algorithm, ha1, method, uri, challenge.nonce, nc=nc, cnonce=cnonce if qop else "", qop=qop
    )
    parts = [
        f"username={quote(credentials.user)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f"uri={quote(uri)}",
        f'response="{response}"',
        f"algorithm={challenge.algorithm}",
    ]
    if qop:
        parts += [f"qop={qop}", f"nc={nc}", f"cnonce={quote(cnonce)}"]
    if challenge.opaque is not None:
        parts.append(f"opaque={quote(challenge.opaque)}")
    return "Digest " + ", ".join(parts)


# -- server


class AuthOutcome(Enum):
    """What became of a request's credentials."""

    ACCEPTED = "accepted"
    MISSING = "missing"
    """None for our realm: send 401 with the verdict's headers."""
    STALE = "stale"
    """Right password, but the nonce is old, used up or not ours: 401, and the phone answers by itself."""
    WRONG = "wrong"
    """Unknown user or wrong password: send 403."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of `Authenticator.verify`."""

    outcome: AuthOutcome
    user: str | None
    """The user name; only if accepted."""

    status: int
    """200, 401 or 403."""

    headers: tuple[tuple[str, str], ...] = ()
    """Of the 401."""


class Authenticator:
    """Checks the credentials of requests to one realm.

    A nonce is `issued.token.mac`; it needs no memory and does not survive the secret:
    a phone that answers with the nonce of an earlier life gets stale=true and tries again
    by itself.
    """

    def __init__(
        self,
        realm: str,
        secret: bytes,
        token: Callable[[], str],
        *,
        nonce_life_s: float = 300.0,
        nonces_max: int = 10_000,
        algorithms: tuple[str, ...] = ALGORITHMS,
    ) -> None:
        """`secret` signs nonces (32 random bytes); `token` gives random letters and digits.

        `algorithms` are offered in this order. Clients that know only one challenge or only
        MD5 (SIPp 3.6, old phones) look at the first: `("MD5",)` is for them.
        """
        if not algorithms or any(name not in _HASHES for name in algorithms):
            raise ValueError(f"algorithms {algorithms}: use one or more of {ALGORITHMS}")
        self._realm = realm
        self._algorithms = algorithms
        self._secret = secret
        self._token = token
        self._life_s = nonce_life_s
        self._nonces_max = nonces_max
        self._used: dict[str, tuple[int, int]] = {}  # nonce -> highest count, bits of the counts just below it
        self._forgotten_ms = -1  # nonces issued at or before this are stale: their counts were forgotten
        self._nobody = hash_password("", realm, token())

    def challenge(self, now: float, *, stale: bool = False) -> tuple[tuple[str, str], ...]:
        """WWW-Authenticate headers, one for each algorithm."""
        nonce = self._sign(f"{max(0, round(now * 1000)):x}.{self._token()}")
        suffix = ", stale=true" if stale else ""
        return tuple(
            (
                "WWW-Authenticate",
                f'Digest realm={quote(self._realm)}, nonce="{nonce}", algorithm={name}, qop="auth"{suffix}',
            )
            for name in self._algorithms
        )

    def verify(self, request: Request, lookup: Callable[[str], HashedPassword | None], now: float) -> Verdict:
        """Check a request's Authorization. `lookup` gives a user's hashes for this realm, None for unknown users."""
        for value in request.headers.all("Authorization"):
            params = _parse_digest(value)
            if params is not None and params.get("realm") == self._realm:
                return self._judge(params, request, lookup, now)
        return Verdict(AuthOutcome.MISSING, None, 401, self.challenge(now))

    def _judge(
        self, params: dict[str, str], request: Request, lookup: Callable[[str], HashedPassword | None], now: float
    ) -> Verdict:
        algorithm = params.get("algorithm", "MD5").upper()
        nonce, nc, user = params.get("nonce", ""), params.get("nc", ""), params.get("username", "")
        if params.get("qop") != "auth" or algorithm not in self._algorithms or not _NC.fullmatch(nc):
            return Verdict(AuthOutcome.MISSING, None, 401, self.challenge(now))
        known = lookup(user)
        expected = digest_response(
            # An unknown user costs as much time as a wrong password.
            algorithm,
            (known or self._nobody).of(algorithm),
            request.method,
            params.get("uri", ""),
            nonce,
            nc=nc,
            cnonce=params.get("cnonce", ""),
            qop="auth",
        )
        right = hmac.compare_digest(expected.encode(), params.get("response", "").lower().encode())
        if known is None or not right or not _covers(params.get("uri", ""), request.uri):
            return Verdict(AuthOutcome.WRONG, None, 403)
        if not self._is_fresh(nonce, now) or not self._count(nonce, int(nc, 16), now):
            return Verdict(AuthOutcome.STALE, None, 401, self.challenge(now, stale=True))
        return Verdict(AuthOutcome.ACCEPTED, user, 200)

    def _sign(self, content: str) -> str:
        mac = hmac.new(self._secret, f"{self._realm}:{content}".encode(), hashlib.sha256).hexdigest()
        return f"{content}.{mac[:32]}"

    def _is_fresh(self, nonce: str, now: float) -> bool:
        content = nonce.rpartition(".")[0]
        if not hmac.compare_digest(self._sign(content).encode(), nonce.encode()):
            return False
        issued_ms = _issued_ms(nonce)
        return issued_ms > self._forgotten_ms and 0 <= now * 1000 - issued_ms + 1 <= self._life_s * 1000

    def _count(self, nonce: str, count: int, now: float) -> bool:
        """Take this use of a nonce; False if it was taken before (RFC 7616 3.4, replay)."""
        highest, bits = self._used.get(nonce, (0, 0))
        ahead = count - highest
        if ahead > 0:
            bits = (bits << ahead | 1) & (1 << _WINDOW_BITS) - 1 if ahead < _WINDOW_BITS else 1
            highest = count
        else:
            bit = 1 << -ahead
            if -ahead >= _WINDOW_BITS or bits & bit or count == 0:
                return False
            bits |= bit
        if nonce not in self._used:
            self._make_room(now)
        self._used[nonce] = (highest, bits)
        return True

    def _make_room(self, now: float) -> None:
        while self._used:
            oldest = next(iter(self._used))
            issued_ms = _issued_ms(oldest)
            if len(self._used) < self._nonces_max and now * 1000 - issued_ms <= self._life_s * 1000:
                return
            del self._used[oldest]
            self._forgotten_ms = max(self._forgotten_ms, issued_ms)


def _issued_ms(nonce: str) -> int:
    return int(nonce.partition(".")[0], 16)


def _covers(digest_uri: str, uri: Uri) -> bool:
    """Whether credentials made for `digest_uri` are for `uri`.

    The same user, host and port; some clients leave the user out (RFC 7616 3.4.6 asks for
    the same resource, and nobody but the client can change what the digest covers).
    """
    try:
        made_for = parse_uri(digest_uri)
    except Malformed:
        return False
    return made_for.key() == uri.key() or (made_for.user is None and made_for.key()[2:] == uri.key()[2:])


def _parse_digest(value: str) -> dict[str, str] | None:
    """The parameters of a Digest challenge or answer by lower-case name; None if it is none."""
    scheme, _, text = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    params: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAM.match(text, position)
        if match is None or len(params) == _PARAMS_MAX or match[1].lower() in params:
            return None
        raw = match[2]
        params[match[1].lower()] = unescape(raw[1:-1]) if raw.startswith('"') else raw
        position = match.end()
    return params


def authorisation_header(status: int) -> str:
    """The name of the header that answers a 401 or a 407."""
    return "Authorization" if status == 401 else "Proxy-Authorization"
