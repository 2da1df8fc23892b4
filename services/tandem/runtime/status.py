"""Reasons as google.rpc.Status: one form of error for gRPC and HTTP (AIP-193)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tandem.core.errors import (
    BAD_FIELD,
    BAD_FLOW,
    ERASURE_UNDER_WAY,
    NO_OWNER,
    RECORDING_ORDER_UNDER_WAY,
    TOO_MANY,
    VIEW_BEHIND,
    Rejected,
)

DOMAIN = "tandem.dev"
RETRY_S: Mapping[str, int] = {
    NO_OWNER.name: 1,
    TOO_MANY.name: 1,
    VIEW_BEHIND.name: 1,
    ERASURE_UNDER_WAY.name: 5,
    RECORDING_ORDER_UNDER_WAY.name: 1,
}
"""After how long a repeat is worth while, seconds, where the error itself does not say."""
MAX_VIOLATIONS = 50
_METADATA_KEY = re.compile(r"[a-z][a-zA-Z0-9_-]{1,63}")


def retry_after_s(error: Rejected) -> float:
    """After how long a repeat is worth while, 0 if it is not."""
    return float(error.metadata.get("retry_after_s", RETRY_S.get(error.reason.name, 0)))


def to_status(error: Rejected) -> status_pb2.Status:
    """The error as an answer: always an ErrorInfo; for bad fields and flows a BadRequest
    with each path, which is what the metadata of those two reasons are; RetryInfo where a
    repeat is worth while."""
    fields = error.metadata if error.reason in (BAD_FIELD, BAD_FLOW) else {}
    metadata = {"todo": error.reason.todo}
    if fields:
        metadata["field"] = next(iter(fields))
    else:
        metadata |= {key: value for key, value in error.metadata.items() if _METADATA_KEY.fullmatch(key)}
    status = status_pb2.Status(
        code=code_pb2.Code.Value(error.reason.code.name),
        message=f"{error.message}. {error.reason.todo}",
    )
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason.name, domain=DOMAIN, metadata=metadata))
    if fields:
        bad = error_details_pb2.BadRequest()
        for path, text in list(fields.items())[:MAX_VIOLATIONS]:
            bad.field_violations.add(field=path, description=text)
        status.details.add().Pack(bad)
    if wait_s := retry_after_s(error):
        delay = Duration()
        delay.FromMilliseconds(math.ceil(wait_s * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status
