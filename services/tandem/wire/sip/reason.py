"""The Reason header (RFC 3326)."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.wire.sip.grammar import Malformed, get_param, is_token, parse_params, quote, split_list
from tandem.wire.sip.headers import Headers


@dataclass(frozen=True, slots=True)
class Reason:
    """A Reason value, e.g. `Reason("Q.850", 17, "User busy")` or `Reason("SIP", 200, "Call completed elsewhere")`."""

    protocol: str
    cause: int
    text: str = ""

    def header(self) -> tuple[str, str]:
        """As a header. `ValueError` if the protocol is no token."""
        if not is_token(self.protocol):
            raise ValueError(f"{self.protocol!r} is no Reason protocol: use e.g. SIP or Q.850")
        text = f";text={quote(self.text)}" if self.text else ""
        return "Reason", f"{self.protocol};cause={self.cause}{text}"


def find_reason(headers: Headers) -> Reason | None:
    """The first Reason that can be understood; a bad one is no reason to refuse a message."""
    value = headers.get("Reason")
    if value is None:
        return None
    try:
        protocol, _, rest = split_list(value, "Reason")[0].partition(";")
        params = parse_params(rest, "Reason")
    except Malformed:
        return None
    cause = get_param(params, "cause") or ""
    if not is_token(protocol.strip()) or not (cause.isascii() and cause.isdigit() and len(cause) <= 5):
        return None
    return Reason(protocol.strip(), int(cause), get_param(params, "text") or "")
