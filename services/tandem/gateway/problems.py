"""Reasons as HTTP answers (AIP-193: the JSON form of google.rpc.Status)."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2
from starlette.responses import JSONResponse

from tandem.core.errors import (
    API_RATE_EXCEEDED,
    BAD_FIELD,
    BAD_RANGE,
    BODY_TOO_LARGE,
    ERASED,
    REQUEST_TOO_SLOW,
    Code,
    Rejected,
)
from tandem.runtime.status import retry_after_s, to_status

_STATUS = {BODY_TOO_LARGE.name: 413, BAD_RANGE.name: 416, ERASED.name: 410, REQUEST_TOO_SLOW.name: 408}
"""Reasons that HTTP has a status of its own for."""


def bad(path: str, problem: str) -> Rejected:
    """A field that is wrong."""
    return Rejected(BAD_FIELD, f"{path}: {problem}", **{path: problem})


def http_status(error: Rejected) -> int:
    """The HTTP status of a reason."""
    return _STATUS.get(error.reason.name, error.reason.code.http_status)


def body_of(error: Rejected) -> dict[str, Any]:
    """The JSON body."""
    status = to_status(error)
    return {
        "error": {
            "code": http_status(error),
            "status": code_pb2.Code.Name(status.code),
            "message": status.message,
            "details": [MessageToDict(detail) for detail in status.details],
        }
    }


def answer(error: Rejected) -> JSONResponse:
    """The whole answer."""
    headers = {"cache-control": "no-store"}
    if error.reason.code is Code.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    if wait_s := retry_after_s(error):
        headers["retry-after"] = str(math.ceil(wait_s))
    if error.reason is API_RATE_EXCEEDED:
        headers |= {"ratelimit-limit": error.metadata["limit"], "ratelimit-remaining": "0"}
        headers["ratelimit-reset"] = str(math.ceil(wait_s))
    if error.reason is BAD_RANGE:
        headers["content-range"] = f"bytes */{error.metadata['size']}"
    return JSONResponse(body_of(error), http_status(error), headers)
