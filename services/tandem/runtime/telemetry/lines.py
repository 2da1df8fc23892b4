"""Log lines about a contact name it and its trace, wherever they are written."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from tandem.core import trace

CONTACT = "contact"
_STREAM = re.compile(r"\bcontact/([a-z0-9]+)")
_SPEAKS = ("what", "stream", "event")
"""Fields in which a contact's stream may stand."""


def named(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor for lines of the standard library's loggers: what they are called, in
    `name`, because `event` has the values in it."""
    record = line.get("_record")
    if record is not None and record.msg != line["event"]:
        line["name"] = record.msg
    return line


def about_a_contact(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor. `trace` is the id that the contact's trace has, if it is traced."""
    if CONTACT not in line:
        for key in _SPEAKS:
            found = _STREAM.search(value) if isinstance(value := line.get(key), str) else None
            if found is not None:
                line[CONTACT] = found[1]
                break
    if CONTACT in line and "trace" not in line:
        line["trace"] = trace.trace_id(trace.begin(str(line[CONTACT]), 1.0))
    return line
