"""Digits in INFO requests: application/dtmf-relay and application/dtmf, as phones send them."""

from __future__ import annotations

import re

from tandem.wire.sip.message import Request

DURATION_MS_DEFAULT = 160
_BODY_MAX = 256
_SIGNAL = re.compile(r"(?im)^\s*Signal\s*=\s*([0-9A-D*#])\s*$")
_DURATION = re.compile(r"(?im)^\s*Duration\s*=\s*([0-9]{1,5})\s*$")
_PLAIN = re.compile(r"\s*([0-9A-Da-d*#])\s*")


def find_digit(request: Request) -> tuple[str, int] | None:
    """The digit and its length in ms; None if the request holds none that we understand."""
    kind = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if len(request.body) > _BODY_MAX or not request.body.isascii():
        return None
    text = request.body.decode("ascii")
    if kind == "application/dtmf-relay":
        signal = _SIGNAL.search(text)
        duration = _DURATION.search(text)
        return (signal[1].upper(), int(duration[1]) if duration else DURATION_MS_DEFAULT) if signal else None
    if kind == "application/dtmf":
        plain = _PLAIN.fullmatch(text)
        return (plain[1].upper(), DURATION_MS_DEFAULT) if plain else None
    return None
