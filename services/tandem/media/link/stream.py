"""What both ends of a stream share."""

from __future__ import annotations

PING_MS = 2_000
"""How often the node is asked for its time; the owner's sign of life too."""
SILENT_MS = 6_000
"""A stream that brought nothing for three pings is dropped, by either end: the other is stopped
or cut off."""
FRAMES_PER_MESSAGE = 400
"""So that a message of the largest frames but directories stays under the codec's limit."""


class StreamFault(Exception):
    """The two ends are out of step; the message says how. Drop the stream and dial again."""
