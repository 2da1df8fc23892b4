"""The four transaction state machines (RFC 3261 section 17, RFC 6026), sans I/O, over UDP.

Each holds what it wants sent in `datagrams` (all to one peer) and its next deadline in
`next_wakeup()`. `tick(now)` returns True once: when the transaction has just timed out.
Client machines return what their user must see from `receive`; what is absorbed is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tandem.wire.sip.headers import Headers
from tandem.wire.sip.message import CSeq, Request, Response
from tandem.wire.sip.uri import MAGIC_COOKIE


@dataclass(frozen=True, slots=True)
class TimerValues:
    """The base times of RFC 3261 17.1.1.1 and 17.1.2.2, in seconds."""

    t1: float = 0.5
    """Round-trip estimate: the first retransmission interval."""

    t2: float = 4.0
    """The longest retransmission interval."""

    t4: float = 5.0
    """How long a message may stay in the network."""

    @property
    def give_up(self) -> float:
        """64 * T1: timers B, D, F, H, J, L and M."""
        return 64 * self.t1


class State(Enum):
    """The states of RFC 3261 17 and RFC 6026."""

    TRYING = "trying"
    """Calling, for INVITE clients."""
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    TERMINATED = "terminated"


class InviteClient:
    """INVITE client transaction (17.1.1, RFC 6026 7.2). Timers A, B, D, M."""

    def __init__(self, request: Request, timers: TimerValues, now: float) -> None:
        self.request = request
        self.state = State.TRYING
        self.datagrams = [request.to_bytes()]
        self._wire = self.datagrams[0]
        self._ack = b""
        self._timers = timers
        self._interval = timers.t1
        self._resend_at: float | None = now + timers.t1
        self._end_at: float | None = now + timers.give_up
        self._abandoned_at: float | None = None

    def hush(self, now: float) -> None:
        """Right after it was made, of one that an earlier life of ours had sent: nothing is sent again,
        and responses are awaited for 64 * T1."""
        self.state = State.PROCEEDING
        self.datagrams.clear()
        self._resend_at = None
        self.give_up_at(now + self._timers.give_up)

    def receive(self, response: Response, now: float) -> Response | None:
        """Take a response; returns it if the user must see it."""
        match self.state:
            case State.TRYING | State.PROCEEDING:
                self._resend_at = None
                self._end_at = self._abandoned_at if response.status < 200 else now + self._timers.give_up
                if response.status < 200:
                    self.state = State.PROCEEDING
                elif response.status < 300:
                    self.state = State.ACCEPTED
                else:
                    self.state = State.COMPLETED
                    self._ack = ack_for_failure(self.request, response).to_bytes()
                    self.datagrams.append(self._ack)
                return response
            case State.COMPLETED if response.status >= 300:
                self.datagrams.append(self._ack)
                return None
            case State.ACCEPTED if 200 <= response.status < 300:
                # Again or from another fork: the user acknowledges, for only the user knows the ACK.
                return response
            case _:
                return None

    def next_wakeup(self) -> float | None:
        """The next deadline."""
        return _earliest(self._resend_at, self._end_at)

    def tick(self, now: float) -> bool:
        """Fire what is due; True if no response came in time."""
        if self._end_at is not None and now >= self._end_at:
            timed_out = self.state is State.TRYING
            self._stop()
            return timed_out
        if self._resend_at is not None and now >= self._resend_at:
            self.datagrams.append(self._wire)
            self._interval *= 2
            self._resend_at = now + self._interval
        return False

    def give_up_at(self, when: float) -> None:
        """End at `when` even without a final response: our CANCEL may go unheard (9.1)."""
        self._abandoned_at = when
        if self.state is State.PROCEEDING:
            self._end_at = when

    def _stop(self) -> None:
        self.state = State.TERMINATED
        self._resend_at = self._end_at = None


class RequestClient:
    """Non-INVITE client transaction (17.1.2). Timers E, F, K."""

    def __init__(self, request: Request, timers: TimerValues, now: float) -> None:
        self.request = request
        self.state = State.TRYING
        self.datagrams = [request.to_bytes()]
        self._wire = self.datagrams[0]
        self._timers = timers
        self._interval = timers.t1
        self._resend_at: float | None = now + timers.t1
        self._end_at: float | None = now + timers.give_up

    def receive(self, response: Response, now: float) -> Response | None:
        """Take a response; returns it if the user must see it."""
        if self.state not in (State.TRYING, State.PROCEEDING):
            return None
        if response.status < 200:
            self.state = State.PROCEEDING
        else:
            self.state = State.COMPLETED
            self._resend_at = None
            self._end_at = now + self._timers.t4
        return response

    def next_wakeup(self) -> float | None:
        """The next deadline."""
        return _earliest(self._resend_at, self._end_at)

    def tick(self, now: float) -> bool:
        """Fire what is due; True if no final response came in time."""
        if self._end_at is not None and now >= self._end_at:
            timed_out = self.state is not State.COMPLETED
            self.state = State.TERMINATED
            self._resend_at = self._end_at = None
            return timed_out
        if self._resend_at is not None and now >= self._resend_at:
            self.datagrams.append(self._wire)
            proceeding = self.state is State.PROCEEDING
            self._interval = self._timers.t2 if proceeding else min(2 * self._interval, self._timers.t2)
            self._resend_at = now + self._interval
        return False


class InviteServer:
    """INVITE server transaction (17.2.1, RFC 6026 7.1). Timers G, H, I, L."""

    def __init__(self, request: Request, timers: TimerValues, now: float) -> None:
        self.request = request
        self.state = State.PROCEEDING
        self.datagrams: list[bytes] = []
        self._wire = b""
        self._timers = timers
        self._interval = timers.t1
        self._resend_at: float | None = None
        self._end_at: float | None = None

    def respond(self, response: Response, now: float) -> None:
        """Send a response of the user. In the accepted state that is the same 2xx again."""
        wire = response.to_bytes()
        match self.state:
            case State.PROCEEDING if response.status < 200:
                pass
            case State.PROCEEDING if response.status < 300:
                self.state = State.ACCEPTED
                self._end_at = now + self._timers.give_up
            case State.PROCEEDING:
                self.state = State.COMPLETED
                self._resend_at = now + self._timers.t1
                self._end_at = now + self._timers.give_up
            case State.ACCEPTED if 200 <= response.status < 300:
                pass
            case _:
                return
        self._wire = wire
        self.datagrams.append(wire)

    def receive(self, request: Request, now: float) -> None:
        """Take a retransmitted INVITE, or the ACK to a failure."""
        if request.method == "ACK":
            if self.state is State.COMPLETED:
                self.state = State.CONFIRMED
                self._resend_at = None
                self._end_at = now + self._timers.t4
        elif self.state in (State.PROCEEDING, State.COMPLETED) and self._wire:
            self.datagrams.append(self._wire)

    def next_wakeup(self) -> float | None:
        """The next deadline."""
        return _earliest(self._resend_at, self._end_at)

    def tick(self, now: float) -> bool:
        """Fire what is due; True if the ACK to a failure never came."""
        if self._end_at is not None and now >= self._end_at:
            timed_out = self.state is State.COMPLETED
            self.state = State.TERMINATED
            self._resend_at = self._end_at = None
            return timed_out
        if self._resend_at is not None and now >= self._resend_at:
            self.datagrams.append(self._wire)
            self._interval = min(2 * self._interval, self._timers.t2)
            self._resend_at = now + self._interval
        return False


class RequestServer:
    """Non-INVITE server transaction (17.2.2). Timer J, and the same time as a limit on the user."""

    def __init__(self, request: Request, timers: TimerValues, now: float) -> None:
        self.request = request
        self.state = State.TRYING
        self.datagrams: list[bytes] = []
        self._wire = b""
        self._timers = timers
        # The client gives up by then (timer F), so a user that never answers must not leak.
        self._end_at: float | None = now + timers.give_up

    def respond(self, response: Response, now: float) -> None:
        """Send a response of the user."""
        if self.state not in (State.TRYING, State.PROCEEDING):
            return
        self._wire = response.to_bytes()
        self.datagrams.append(self._wire)
        if response.status < 200:
            self.state = State.PROCEEDING
        else:
            self.state = State.COMPLETED
            self._end_at = now + self._timers.give_up

    def receive(self, request: Request, now: float) -> None:
        """Take a retransmission of the request."""
        if self._wire:
            self.datagrams.append(self._wire)

    def next_wakeup(self) -> float | None:
        """The next deadline."""
        return self._end_at

    def tick(self, now: float) -> bool:
        """Fire what is due; True if the user never answered."""
        if self._end_at is None or now < self._end_at:
            return False
        timed_out = self.state is not State.COMPLETED
        self.state = State.TERMINATED
        self._end_at = None
        return timed_out


ClientTransaction = InviteClient | RequestClient
ServerTransaction = InviteServer | RequestServer


def ack_for_failure(invite: Request, response: Response) -> Request:
    """The ACK to a 3xx to 6xx: hop by hop, in the INVITE's transaction (17.1.1.3)."""
    return Request(
        "ACK",
        invite.uri,
        invite.vias[:1],
        invite.from_,
        response.to,
        invite.call_id,
        CSeq(invite.cseq.number, "ACK"),
        _same_way(invite),
    )


def cancel_for(invite: Request) -> Request:
    """The CANCEL of an INVITE (9.1)."""
    return Request(
        "CANCEL",
        invite.uri,
        invite.vias[:1],
        invite.from_,
        invite.to,
        invite.call_id,
        CSeq(invite.cseq.number, "CANCEL"),
        _same_way(invite),
    )


def client_key(message: Request | Response) -> str:
    """What a response matches its request by (17.1.3)."""
    return f"{message.vias[0].branch} {message.cseq.method}"


def server_key(request: Request) -> str:
    """What a retransmission, an ACK or a CANCEL matches its request by (17.2.3).

    For CANCEL see `cancelled_key`. Without the magic cookie of RFC 3261 the whole request counts.
    """
    method = "INVITE" if request.method == "ACK" else request.method
    return _server_key(request, method)


def cancelled_key(cancel: Request) -> str:
    """The `server_key` of the INVITE that this CANCEL means (9.2)."""
    return _server_key(cancel, "INVITE")


def _server_key(request: Request, method: str) -> str:
    via = request.vias[0]
    if via.branch.startswith(MAGIC_COOKIE) and len(via.branch) > len(MAGIC_COOKIE):
        return f"{via.branch} {via.host.lower()}:{via.port or 5060} {method}"
    return f"{request.uri} {request.from_.tag} {request.call_id} {request.cseq.number} {via} {method}"


def _same_way(invite: Request) -> Headers:
    """The headers that ACK and CANCEL take over: the route, and credentials (22.1)."""
    kept = ("route", "authorization", "proxy-authorization")
    return Headers((("Max-Forwards", "70"), *(pair for pair in invite.headers if pair[0].lower() in kept)))


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
