"""Reasons: what can be wrong with a request, by a stable name (house: errors).

A reason never changes its meaning. `code` is the gRPC status; the gateway derives the
HTTP status from it. Texts tell the user what to do and never quote an exception.
"""

from __future__ import annotations

from enum import Enum

from tandem.core.values import dataclass


class Code(Enum):
    """gRPC status codes in use, with their HTTP statuses (google.rpc.Code)."""

    INVALID_ARGUMENT = 400
    FAILED_PRECONDITION = 400.5
    UNAUTHENTICATED = 401
    PERMISSION_DENIED = 403
    NOT_FOUND = 404
    ALREADY_EXISTS = 409
    ABORTED = 409.5
    RESOURCE_EXHAUSTED = 429
    INTERNAL = 500
    UNIMPLEMENTED = 501
    UNAVAILABLE = 503

    @property
    def http_status(self) -> int:
        """HTTP status code."""
        return int(self.value)


@dataclass(frozen=True, slots=True)
class Reason:
    """One row of the table."""

    name: str
    code: Code
    todo: str  # what the user can do


REASONS: dict[str, Reason] = {}


def _reason(name: str, code: Code, todo: str) -> Reason:
    REASONS[name] = row = Reason(name, code, todo)
    return row


UNKNOWN_NAME = _reason("UNKNOWN_NAME", Code.NOT_FOUND, "Check the resource name; List shows what there is.")
NO_CREDENTIAL = _reason("NO_CREDENTIAL", Code.UNAUTHENTICATED, "Send `Authorization: Bearer <API key>`.")
BAD_CREDENTIAL = _reason("BAD_CREDENTIAL", Code.UNAUTHENTICATED, "The API key is unknown or was deleted; use another.")
ROLE_REQUIRED = _reason("ROLE_REQUIRED", Code.PERMISSION_DENIED, "Ask an administrator for a role that may do this.")
NAME_TAKEN = _reason("NAME_TAKEN", Code.ALREADY_EXISTS, "Choose another id, or update the resource that has it.")
BAD_FIELD = _reason("BAD_FIELD", Code.INVALID_ARGUMENT, "Correct the field that the message names.")
BAD_FLOW = _reason("BAD_FLOW", Code.INVALID_ARGUMENT, "Correct the flow at the path that the message names.")
BAD_PAGE_TOKEN = _reason(
    "BAD_PAGE_TOKEN", Code.INVALID_ARGUMENT, "Repeat the List with the same arguments, or begin anew."
)
BODY_TOO_LARGE = _reason("BODY_TOO_LARGE", Code.INVALID_ARGUMENT, "Send a smaller body.")
ETAG_MISMATCH = _reason(
    "ETAG_MISMATCH", Code.ABORTED, "Get the resource again and repeat the change on what it is now."
)
REQUEST_ID_REUSED = _reason("REQUEST_ID_REUSED", Code.INVALID_ARGUMENT, "Use a new request_id for a different request.")
NOT_IN_USE = _reason(
    "NOT_IN_USE", Code.FAILED_PRECONDITION, "The resource is not in a state that allows this; Get shows its state."
)
IN_USE = _reason("IN_USE", Code.FAILED_PRECONDITION, "Change or delete the user that the message names first.")
LIMIT_REACHED = _reason("LIMIT_REACHED", Code.RESOURCE_EXHAUSTED, "Delete what is not needed any more.")
RESOURCE_QUOTA_EXCEEDED = _reason(
    "RESOURCE_QUOTA_EXCEEDED",
    Code.RESOURCE_EXHAUSTED,
    "Delete what is not needed any more, or ask the cell's operator for a larger quota.",
)
API_RATE_EXCEEDED = _reason(
    "API_RATE_EXCEEDED",
    Code.RESOURCE_EXHAUSTED,
    "Slow down and repeat after the time that the answer names; GetQuota shows the tenant's rates.",
)
STREAM_QUOTA_EXCEEDED = _reason(
    "STREAM_QUOTA_EXCEEDED",
    Code.RESOURCE_EXHAUSTED,
    "Close a stream that is not needed any more; one stream can watch all of a tenant's contacts.",
)
BAD_RANGE = _reason("BAD_RANGE", Code.INVALID_ARGUMENT, "Ask for bytes inside the file; the answer names its size.")
BAD_ORIGIN = _reason("BAD_ORIGIN", Code.PERMISSION_DENIED, "Call the address that the configuration names.")
CONTACT_ENDED = _reason("CONTACT_ENDED", Code.FAILED_PRECONDITION, "The contact has ended; nothing can be done to it.")
CONTACT_NOT_OVER = _reason(
    "CONTACT_NOT_OVER",
    Code.FAILED_PRECONDITION,
    "Repeat when the contact has ended, its recording is stored and the agent's wrap-up is through; :hangUp ends it.",
)
NOT_RECORDING = _reason(
    "NOT_RECORDING",
    Code.FAILED_PRECONDITION,
    "Only a talk is recorded; GetContact shows whether the contact talks with an agent.",
)
NOT_YOUR_CONTACT = _reason(
    "NOT_YOUR_CONTACT", Code.PERMISSION_DENIED, "Ask the agent who talks with the contact, or a supervisor."
)
RECORDING_ORDER_UNDER_WAY = _reason(
    "RECORDING_ORDER_UNDER_WAY",
    Code.UNAVAILABLE,
    "The media node has not carried the order out yet, and will when it is there: until `recording_paused` says so, "
    "what is said is recorded as before. Repeat with the same request_id to learn its end.",
)
RECORDING_ORDER_FAILED = _reason(
    "RECORDING_ORDER_FAILED",
    Code.FAILED_PRECONDITION,
    "The recording goes on as it was; the contact's timeline says why. Repeat with a new request_id.",
)
ERASURE_UNDER_WAY = _reason(
    "ERASURE_UNDER_WAY",
    Code.UNAVAILABLE,
    "The erasure is ordered and goes on by itself; repeat with the same request_id to learn that it is complete.",
)
NO_OWNER = _reason("NO_OWNER", Code.UNAVAILABLE, "Repeat with the same request_id after a moment.")
VIEW_BEHIND = _reason("VIEW_BEHIND", Code.ABORTED, "The view has not reached your position yet; repeat the request.")
TOO_MANY = _reason("TOO_MANY", Code.RESOURCE_EXHAUSTED, "Slow down and repeat after the time that the answer names.")
TOO_MANY_CONNECTIONS = _reason(
    "TOO_MANY_CONNECTIONS",
    Code.RESOURCE_EXHAUSTED,
    "Close connections that you do not use, and keep one open for many requests; the operator can raise "
    "http.connections_max and http.connections_per_address_max.",
)
REQUEST_TOO_SLOW = _reason("REQUEST_TOO_SLOW", Code.INVALID_ARGUMENT, "Send each request at once and as a whole.")
OUT_OF_ORDER = _reason(
    "OUT_OF_ORDER",
    Code.FAILED_PRECONDITION,
    "Tandem could not go on with this resource and set it aside; an operator has been alerted.",
)
ERASED = _reason("ERASED", Code.FAILED_PRECONDITION, "The key was destroyed; the data cannot be read any more.")
INTERNAL = _reason("INTERNAL", Code.INTERNAL, "Report this with the id that the message names.")


class Rejected(Exception):
    """A command that its decider will not carry out: no event, an answer with a reason.

    `metadata` holds every variable of the message (AIP-193).
    """

    def __init__(self, reason: Reason, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = metadata
