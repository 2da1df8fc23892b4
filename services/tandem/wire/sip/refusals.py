"""Why a new request is refused before anything of it is kept (RFC 3261, 8.2.1 to 8.2.3)."""

from __future__ import annotations

from tandem.wire.sip.layer import ALLOW, HeaderPairs
from tandem.wire.sip.message import Request, tokens

METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "REGISTER")


def find_refusal(
    request: Request, *, is_merged: bool, is_full: bool, retry_after_s: int
) -> tuple[int, HeaderPairs] | None:
    """Status and headers; None if it is not refused. `is_merged`: the same request has come by another
    path; `is_full`: there is no room for what it would begin."""
    in_dialog = bool(request.to.tag)
    if request.method not in METHODS:
        return 405, (ALLOW,)
    if not request.uri.is_sip:
        return 416, ()
    if request.method == "REGISTER" and not request.to.uri.is_sip:
        return 400, ()  # 10.3: the address of record is a SIP URI
    if not in_dialog and is_merged:
        return 482, ()
    if not in_dialog and request.method in ("BYE", "INFO"):
        return 481, ()
    if required := tokens(request.headers, "Require"):
        return 420, (("Unsupported", ", ".join(required)),)
    if request.method == "INVITE" and (status := _media_type_refusal(request)):
        return status, (("Accept", "application/sdp"), ("Accept-Encoding", "identity"))
    if request.method != "OPTIONS" and is_full:
        return 503, (("Retry-After", str(retry_after_s)),)
    return None


def _media_type_refusal(request: Request) -> int | None:
    """415 if an INVITE has a body other than SDP, 406 if its sender takes no SDP (8.2.3, 20.1)."""
    kind = _media_type(request.headers.get("Content-Type") or "")
    encoding = (request.headers.get("Content-Encoding") or "identity").strip().lower()
    if request.body and (kind != "application/sdp" or encoding != "identity"):
        return 415
    accepted = [_media_type(value) for value in tokens(request.headers, "Accept")]
    if accepted and not any(value in ("application/sdp", "application/*", "*/*") for value in accepted):
        return 406
    return None


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()
