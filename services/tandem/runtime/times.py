"""Milliseconds of shard time as the API's timestamps."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp


def time_of(ms: int) -> Timestamp | None:
    """A timestamp; None for 0, a time that has not come."""
    if not ms:
        return None
    stamp = Timestamp()
    stamp.FromMilliseconds(ms)
    return stamp
