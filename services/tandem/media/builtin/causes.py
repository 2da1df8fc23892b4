"""SIP's words for the end of a call, and ours."""

from __future__ import annotations

from tandem.core.ports.media import By, Cause
from tandem.wire.sip.events import CallEnded, EndCause
from tandem.wire.sip.reason import Reason

_CAUSE_OF_STATUS = {
    403: Cause.DECLINED,
    404: Cause.UNREACHABLE,
    408: Cause.NO_ANSWER,
    410: Cause.UNREACHABLE,
    415: Cause.NO_MEDIA,
    480: Cause.NO_ANSWER,
    484: Cause.UNREACHABLE,
    486: Cause.BUSY,
    487: Cause.CANCELED,
    488: Cause.NO_MEDIA,
    502: Cause.UNREACHABLE,
    504: Cause.UNREACHABLE,
    600: Cause.BUSY,
    603: Cause.DECLINED,
    604: Cause.UNREACHABLE,
    606: Cause.NO_MEDIA,
    607: Cause.DECLINED,
    608: Cause.DECLINED,
}

_STATUS_OF_CAUSE = {
    Cause.BUSY: 486,
    Cause.DECLINED: 603,
    Cause.UNREACHABLE: 404,
    Cause.NO_MEDIA: 488,
    Cause.REFUSED: 503,
    Cause.FALLBACK: 503,
    Cause.FAILED: 500,
}

_Q850_OF_CAUSE = {
    Cause.BUSY: (17, "User busy"),
    Cause.DECLINED: (21, "Call rejected"),
    Cause.NO_ANSWER: (19, "No answer"),
    Cause.UNREACHABLE: (20, "Subscriber absent"),
    Cause.NO_MEDIA: (88, "Incompatible destination"),
    Cause.MEDIA_LOST: (41, "Temporary failure"),
    Cause.REFUSED: (42, "Switching equipment congestion"),
    Cause.FALLBACK: (41, "Temporary failure"),
    Cause.FAILED: (41, "Temporary failure"),
}


def status_of(cause: Cause) -> int:
    """The final response to a caller whom we do not answer, for that cause."""
    return _STATUS_OF_CAUSE.get(cause, 480)


def reason_of(cause: Cause) -> Reason:
    """The Reason header (RFC 3326, Q.850) for that cause."""
    number, text = _Q850_OF_CAUSE.get(cause, (16, "Normal call clearing"))
    return Reason("Q.850", number, text)


def ended(event: CallEnded, *, rang: bool) -> tuple[Cause, By, str]:
    """Cause, who did it, and a detail for people, of a call that the far end or SIP ended."""
    match event.cause:
        case EndCause.CANCELLED:
            return Cause.CANCELED, By.FAR, ""
        case EndCause.REMOTE_BYE:
            return Cause.NORMAL, By.FAR, ""
        case EndCause.REJECTED:
            return _CAUSE_OF_STATUS.get(event.status, Cause.FAILED), By.FAR, f"SIP {event.status}"
        case EndCause.TIMED_OUT if rang:
            return Cause.NO_ANSWER, By.FAR, "SIP 408"  # it answered once: this 408 is its own
        case EndCause.TIMED_OUT:
            return Cause.UNREACHABLE, By.NODE, "no answer to INVITE"
        case EndCause.NO_ACK:
            return Cause.UNREACHABLE, By.NODE, "no ACK"
        case EndCause.DIALOG_GONE:
            return Cause.UNREACHABLE, By.NODE, "the phone no longer knows the call"
        case EndCause.LOCAL_HANGUP:
            return Cause.NORMAL, By.TANDEM, ""
