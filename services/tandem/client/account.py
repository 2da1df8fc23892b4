"""Who a phone is, and what it cannot do. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tandem.client.udp import Address


@dataclass(frozen=True, slots=True)
class Account:
    """Who a phone is. `node` is where it registers and dials; without a password it can only dial."""

    user: str
    node: Address
    password: str = field(default="", repr=False)


class NotRegistered(Exception):
    """The registrar would not have it, or did not answer (408)."""

    def __init__(self, user: str, status: int, reason: str) -> None:
        super().__init__(f"{user} cannot register: {status} {reason}")
        self.status = status


class CannotDial(Exception):
    """The phone has too many calls or is put away."""
