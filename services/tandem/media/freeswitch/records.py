"""FreeSWITCH's call records (mod_json_cdr): one file for each channel that ended, written while nobody listens too."""

from __future__ import annotations

import json

from tandem.wire import esl

MAX_BYTES = 1024 * 1024
"""A record is 9 KB; a channel's variables may make it longer."""
SUFFIX = ".cdr.json"

_HEADERS = {
    "Unique-ID": "uuid",
    "Call-Direction": "direction",
    "Hangup-Cause": "hangup_cause",
    "Event-Date-Timestamp": "end_uepoch",
    "Caller-Channel-Progress-Time": "progress_uepoch",
    "Caller-Channel-Answered-Time": "answer_uepoch",
}
"""What CHANNEL_HANGUP_COMPLETE calls them, and the record."""


def event_of(record: bytes) -> esl.Event | None:
    """A record as the event of that channel's end. None for what is no whole record: it is written in place."""
    try:
        written = json.loads(record)
        variables = written["variables"]
        fields = {f"variable_{name}": value for name, value in variables.items() if isinstance(value, str)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    for header, name in _HEADERS.items():
        fields[header] = fields.get(f"variable_{name}", "")
    return esl.JsonEvent(fields)
