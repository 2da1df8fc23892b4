"""An INVITE of ours that has no final answer yet: a frozen value that a journal can keep.

Whoever finds one that an earlier life of the process left behind, given up already or not, takes it
back. RFC 3261 lets a CANCEL go only when a provisional response shows that the far end has the
INVITE (9.1), and the far end repeats its 180 once a minute at best (13.3.1.1). So, if none was
heard, the INVITE is sent again as timer A would have done (17.1.1.2): byte for byte, in the same
branch, by which the far end knows it for a retransmission, rings no second time, and repeats what
it last answered (17.2.1). After 64 * T1 that is no longer so, for its transaction may be over and
the INVITE would be a new call: then nothing is sent, and the far end's late answer is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tandem.wire.sip.dialog import Address
from tandem.wire.sip.message import Request, parse


@dataclass(frozen=True, slots=True)
class PendingInvite:
    """What was sent, where, when, and whether the far end has shown that it has it."""

    request: Request
    """As it was sent: branch, Call-ID, CSeq, From tag, Request-URI and routes are in it."""

    address: Address
    sent_at: float
    """Seconds on the endpoint's clock."""

    heard: bool
    """Whether a provisional response has come."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a journal."""
        return {
            "request": self.request.to_bytes().decode(),
            "address": list(self.address),
            "sent_at": self.sent_at,
            "heard": self.heard,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PendingInvite:
        """The inverse of `to_dict`. `ValueError` if that is not what `data` is."""
        try:
            request = parse(data["request"].encode())
            host, port = data["address"]
            if isinstance(request, Request) and request.method == "INVITE":
                return cls(request, (str(host), int(port)), float(data["sent_at"]), bool(data["heard"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not a kept INVITE ({error!r}): drop this journal entry") from error
        raise ValueError("not a kept INVITE: drop this journal entry")
