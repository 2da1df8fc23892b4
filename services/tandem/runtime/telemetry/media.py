"""What is measured of a media node: plain counts that its drivers keep, and the spans of its part of a call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tandem.core import trace
from tandem.core.ports.media import (
    CallRefused,
    Command,
    CommandSettled,
    LegArrived,
    MediaEvent,
    Outcome,
    contact_of,
)
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.clock import Nanoseconds
from tandem.runtime.telemetry.meters import Histogram, Reading
from tandem.runtime.telemetry.shards import Instruments

METHODS = frozenset(
    b"INVITE ACK BYE CANCEL OPTIONS REGISTER INFO UPDATE PRACK REFER NOTIFY SUBSCRIBE MESSAGE PUBLISH".split()
)
OTHER = "other"
OPEN_MAX = 10_000
"""Traced commands under way whose span is not made yet; beyond it the oldest gets none."""


class NodeCounts:
    """Counts of the built-in node's sockets and ticker."""

    def __init__(self) -> None:
        self.rtp_received = 0
        self.rtp_sent = 0
        self.frames_skipped = 0
        self.send_delay = Histogram(names.RTP_TICK_DELAY.bounds)
        self._sip: Counter[tuple[str, str]] = Counter()

    def received_sip(self, data: bytes) -> None:
        """A datagram came to the SIP port."""
        self._sip["in", _kind(data)] += 1

    def sent_sip(self, data: bytes) -> None:
        """One left it."""
        self._sip["out", _kind(data)] += 1

    def ticked(self, late_s: float, skipped: int, sent: int) -> None:
        """A frame was made for all legs, so late; that many before it were skipped."""
        self.send_delay.observe(max(0.0, late_s))
        self.frames_skipped += skipped
        self.rtp_sent += sent

    def readings(self) -> Iterator[Reading]:
        """For `/metrics`; the histogram is shared with the meters."""
        yield Reading(names.RTP_PACKETS, self.rtp_received, ("in",))
        yield Reading(names.RTP_PACKETS, self.rtp_sent, ("out",))
        yield Reading(names.RTP_LATE_TICKS, self.frames_skipped)
        for labels, count in self._sip.items():
            yield Reading(names.SIP_MESSAGES, count, labels)


def _kind(data: bytes) -> str:
    """The method or the status; whatever else a peer sends is one kind."""
    first = data[:16].partition(b" ")
    if first[0] == b"SIP/2.0":
        status = first[2][:3]
        return status.decode() if status.isdigit() and b"100" <= status <= b"699" else OTHER
    return first[0].decode() if first[0] in METHODS else OTHER


class MediaWatch:
    """Watches the media process between its agent and the owners."""

    def __init__(self, instruments: Instruments, node: str, ratio: float) -> None:
        self._instruments, self._node, self._ratio = instruments, node, ratio
        self._meters = instruments.meters
        self._unix = Nanoseconds(instruments.clock)
        self._arrivals: list[tuple[str, str, int]] = []  # (leg, trace, when) of this turn
        self._commands: dict[tuple[str, str], tuple[str, str, int]] = {}  # key -> trace, verb, when

    def heard(self, frame: object) -> None:
        """A frame of an owner."""
        if isinstance(frame, Command) and frame.trace and self._instruments.spans is not None:
            if len(self._commands) >= OPEN_MAX:
                del self._commands[next(iter(self._commands))]
            self._commands[frame.tenant, frame.key] = frame.trace, type(frame.verb).__name__, self._unix.now()

    def emitted(self, tenant: str, leg: str, body: MediaEvent) -> None:
        """The backend told something."""
        if isinstance(body, LegArrived):
            self._meters.count(names.MEDIA_CALLS)
            context = trace.begin(contact_of(leg), self._ratio) if self._ratio else ""
            if context:
                self._arrivals.append((leg, context, self._unix.now()))
        elif isinstance(body, CallRefused):
            self._meters.count(names.MEDIA_REFUSED, body.reason)
        elif isinstance(body, CommandSettled) and self._commands:
            self._settled(tenant, body)

    def turned(self) -> None:
        """What came up is journalled and on its way."""
        spans = self._instruments.spans
        arrivals, self._arrivals = self._arrivals, []
        for leg, context, begun_ns in arrivals:
            if spans is not None:
                attributes = {"tandem.contact": leg, "tandem.node": self._node}
                own = trace.child(context, names.ARRIVAL_SPAN)
                spans.add(names.ARRIVAL_SPAN, own, context, begun_ns, self._unix.now(), attributes)

    def _settled(self, tenant: str, body: CommandSettled) -> None:
        begun, spans = self._commands.pop((tenant, body.key), None), self._instruments.spans
        if begun is None or spans is None:
            return
        context, verb, begun_ns = begun
        attributes = {"tandem.effect": body.key, "tandem.verb": verb, "tandem.node": self._node}
        own = trace.child(context, f"{self._node}/{body.key}")
        failed = body.outcome is not Outcome.DONE
        spans.add(names.COMMAND_SPAN, own, context, begun_ns, self._unix.now(), attributes, failed=failed)
