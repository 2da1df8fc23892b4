"""Credentials of a TURN relay that end by themselves and that nobody has to store.

"A REST API For Access To TURN Services" (draft-uberti-behave-turn-rest-00, 2.2), as coturn has it with
`use-auth-secret`: the name says until when, the password proves that who knows the secret said so.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import field

from tandem.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Credential:
    """One that was issued. `expires_s` is Unix time."""

    username: str
    password: str = field(repr=False)
    expires_s: int


@dataclass(frozen=True, slots=True)
class Relay:
    """Servers that know this secret, and how many seconds a credential is good."""

    urls: tuple[str, ...]
    secret: bytes = field(repr=False)
    lifetime_s: int

    def issue(self, user: str, now_s: int) -> Credential:
        """For one user, from now (Unix time) on."""
        expires_s = now_s + self.lifetime_s
        username = f"{expires_s}:{user}"
        # SHA-1 is what the servers know; as HMAC it is sound.
        proof = hmac.digest(self.secret, username.encode(), "sha1")
        return Credential(username, base64.b64encode(proof).decode(), expires_s)
