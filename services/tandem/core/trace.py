"""Trace contexts, as W3C `traceparent` texts (https://www.w3.org/TR/trace-context/, version 00).

A contact that is traced carries one in its inputs, events, effects and messages; one that is
not carries the empty text, and then nothing is made for it anywhere. Ids are derived and not
drawn: the trace of a contact from the contact's id, a span from its trace and what it is of.
So a successor goes on in the same trace, names the same parents, and needs no memory for it.
"""

from __future__ import annotations

import hashlib
import re

TRACEPARENT = "traceparent"
"""Name of the header, and of the metadata of gRPC."""
ROOT = "contact"
"""What the first span of a contact's trace is derived from."""
_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_RANGE = 1 << 64


def begin(contact: str, ratio: float) -> str:
    """The context of a contact that starts, "" if it is not among the `ratio` (0 to 1) that are
    traced. The same contact and ratio give the same answer everywhere."""
    digest = hashlib.sha256(f"tandem/trace/{contact}".encode()).hexdigest()
    trace = digest[:32]
    # As OpenTelemetry's own sampler does: the lower half of the id is the chance.
    if int(trace[16:], 16) >= ratio * _RANGE:
        return ""
    return f"00-{trace}-{_span(trace, ROOT)}-01"


def taken(text: str) -> str:
    """A caller's context if it is one and asks to be traced, else ""."""
    return text if _FORM.fullmatch(text) and int(text[-2:], 16) & 1 else ""


def child(trace: str, name: str) -> str:
    """The context of a span in the same trace; `name` says what it is of, once in a trace."""
    found = trace_id(trace)
    return f"00-{found}-{_span(found, name)}-01"


def trace_id(trace: str) -> str:
    """32 hex digits."""
    return trace[3:35]


def span_id(trace: str) -> str:
    """16 hex digits."""
    return trace[36:52]


def _span(trace: str, name: str) -> str:
    return hashlib.sha256(f"{trace}/{name}".encode()).hexdigest()[:16]
