"""What a SIP endpoint tells its application, and how it is set up.

Every call has a handle: the tag that this endpoint put into the dialog, a random
token that is also what the journal keeps (`Dialog.local_tag`). For every handle
that an event or `Endpoint.invite` gave out, exactly one `CallEnded` follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tandem.wire.sip.dialog import Dialog
from tandem.wire.sip.headers import Headers
from tandem.wire.sip.message import Request
from tandem.wire.sip.reason import Reason
from tandem.wire.sip.transaction import TimerValues

Address = tuple[str, int]
"""An IP literal and a UDP port, as a socket gives them."""


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Who this endpoint is and how much it takes on. All times are in seconds."""

    host: str
    """The IP literal that peers reach us at; goes into Via and Contact."""

    port: int
    """The bound UDP port; goes into Via and Contact."""

    user_agent: str = "Tandem"
    """Goes into User-Agent of requests and Server of responses."""

    timers: TimerValues = field(default_factory=TimerValues)
    """T1, T2 and T4 of RFC 3261."""

    calls_max: int = 500
    """Calls at once, those that are still being tidied up included. Over it: 503.

    A safety net against floods, not the capacity of a media node: that is the
    application's, which rejects the call too many with a reason of its own.
    """

    transactions_max: int = 5_000
    """Transactions at once in each direction. Over it requests get 503, and
    `invite` and `register` refuse."""

    retry_after_s: int = 5
    """Retry-After of a 503 that the endpoint itself sends."""

    progress_interval_s: float = 60.0
    """How often the last 18x is sent again, so that no proxy gives up (RFC 3261 13.3.1.1)."""


class EndCause(Enum):
    """Why a call is over."""

    CANCELLED = "cancelled"
    """The caller cancelled an incoming call before it was answered."""

    REJECTED = "rejected"
    """We rejected an incoming call, or the far end a call of ours; see `status`."""

    TIMED_OUT = "timed_out"
    """No answer from the far end within 64 * T1 to a call of ours; `status` is 408."""

    REMOTE_BYE = "remote_bye"
    """The far end hung up an answered call."""

    LOCAL_HANGUP = "local_hangup"
    """`Endpoint.hangup` was called, at whatever stage."""

    NO_ACK = "no_ack"
    """We answered, the ACK never came within 64 * T1, BYE was sent (RFC 3261 13.3.1.4)."""

    DIALOG_GONE = "dialog_gone"
    """A request of ours within the dialog got 408, 481 or nothing (RFC 3261 12.2.1.2)."""


@dataclass(frozen=True, slots=True)
class CallArrived:
    """A new incoming call. 100 was sent; the application rings, answers or rejects."""

    call: str
    request: Request
    """The INVITE: `uri` is who is called, `from_` who calls, `headers` the rest."""

    source: Address
    offer: bytes | None
    """The SDP offer, or None if the caller wants ours (it then comes with the 200)."""


@dataclass(frozen=True, slots=True)
class CallProgress:
    """A provisional response above 100 to a call of ours (180, 183, ...)."""

    call: str
    status: int
    sdp: bytes | None
    """Early media description of a 183, if it has one."""


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """A call of ours was answered; ACK was sent, and is sent again when needed."""

    call: str
    answer: bytes | None
    """The SDP answer."""

    headers: Headers


@dataclass(frozen=True, slots=True)
class CallConfirmed:
    """The ACK to our 200 arrived, for the call itself or a later change of it."""

    call: str
    answer: bytes | None
    """The SDP answer, if our 200 carried the offer."""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over; the handle is spent. Comes exactly once per handle; behind it there are only
    `CancelSent` and `InviteSettled`."""

    call: str
    cause: EndCause
    status: int = 0
    """The final SIP status that ended it; 0 if a BYE or a hang-up did."""

    reason: Reason | None = None
    """The far end's Reason header, if it gave one."""

    headers: Headers = field(default_factory=Headers)
    """Headers of the far end's BYE, CANCEL or final response (e.g. Retry-After)."""


@dataclass(frozen=True, slots=True)
class CancelSent:
    """A call of ours that was hung up or taken back before its answer: the far end has shown that it has
    the INVITE. After `CallEnded`, with its handle."""

    call: str


@dataclass(frozen=True, slots=True)
class InviteSettled:
    """A call of ours that was hung up or taken back before its answer has its final response now. After
    `CallEnded`, with its handle; once for each far end that answered all the same."""

    call: str
    dialog: Dialog | None
    """It was answered all the same: ACK and BYE were sent in this dialog."""


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """The far end wants to change the session (re-INVITE: hold, unhold, new address).

    The application calls `accept_offer` or `refuse_offer`.
    """

    call: str
    offer: bytes | None
    """None: the far end wants our offer; its answer comes in `CallConfirmed`."""


@dataclass(frozen=True, slots=True)
class OfferAnswered:
    """Our `offer` (re-INVITE) was accepted."""

    call: str
    answer: bytes | None


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """Our `offer` (re-INVITE) was refused; the session goes on as before.

    491: both sides offered at once; offer again later (RFC 3261 14.1: 2.1 to 4 s
    for the side that made the call, up to 2 s for the other).
    """

    call: str
    status: int


@dataclass(frozen=True, slots=True)
class DigitReceived:
    """A digit by INFO with application/dtmf-relay or application/dtmf; 200 was sent."""

    call: str
    digit: str
    """One of `0123456789*#ABCD`."""

    duration_ms: int


@dataclass(frozen=True, slots=True)
class RegisterArrived:
    """A REGISTER: the application checks credentials and calls `Endpoint.respond`.

    Without a response within 64 * T1 the transaction is dropped.
    """

    transaction: str
    request: Request
    source: Address


@dataclass(frozen=True, slots=True)
class Registered:
    """A REGISTER of ours was accepted; it is refreshed by itself from now on."""

    registration: str
    expires_s: int


@dataclass(frozen=True, slots=True)
class RegistrationFailed:
    """A REGISTER of ours failed for good: `register` again to retry."""

    registration: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unregistered:
    """`unregister` is done: accepted, refused or timed out, the binding is no longer kept up."""

    registration: str


@dataclass(frozen=True, slots=True)
class ByeSettled:
    """A BYE for a restored dialog was answered, or timed out (status 408)."""

    call: str
    status: int


@dataclass(frozen=True, slots=True)
class DatagramRefused:
    """A datagram was dropped or answered 400. For counters: holds no text of the peer."""

    source: Address
    where: str
    reason: str


Event = (
    CallArrived
    | CallProgress
    | CallAnswered
    | CallConfirmed
    | CallEnded
    | CancelSent
    | InviteSettled
    | OfferReceived
    | OfferAnswered
    | OfferRefused
    | DigitReceived
    | RegisterArrived
    | Registered
    | RegistrationFailed
    | Unregistered
    | ByeSettled
    | DatagramRefused
)
