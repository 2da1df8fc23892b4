"""What the parts of the FreeSWITCH node share: the legs, what is known, and the ways out."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tandem.core.ports.media import (
    By,
    Cause,
    Command,
    CommandSettled,
    HangUp,
    LegEnded,
    LegUnbridged,
    LetGo,
    MediaEvent,
    Originate,
    Outcome,
    RecordStop,
)
from tandem.media.agent_io import Notice
from tandem.media.backend import MergedDirectory, RowKind, Sink
from tandem.media.builtin.timers import Timers
from tandem.media.freeswitch.causes import name_of
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.leg import Leg, Stage
from tandem.wire import esl

UNSEEN = "ended while nobody listened to the switch"
"""Detail of an end whose cause nobody saw."""

Then = Callable[[esl.Reply | esl.ApiReply, float], None]
"""What follows the answer to a command."""

_PATH = re.compile(r"[A-Za-z0-9/._-]+")
"""A file whose name may stand in a list of variables."""
_LEG_TIMERS = ("ring", "begun", "quiet", "goodbye")


@dataclass(slots=True)
class OpenRecording:
    """A recording that is not stored yet; its leg may be long gone."""

    tenant: str
    leg: str
    recording: str
    key: bytes = field(repr=False)
    truncated: bool = False
    """Its end is missing: the switch died."""
    sealing: bool = False
    """FreeSWITCH has ended it."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Seal what stands in `file` with `key` and store it under `name`."""

    name: str
    file: str
    key: bytes = field(repr=False)
    truncated: bool


@dataclass(frozen=True, slots=True)
class RecoveryRow:
    """Put `row` into the database of FreeSWITCH that lies in `directory`, in place of all that are not of its life
    `switch`."""

    channel: str
    directory: str
    switch: str
    row: str = field(repr=False)


class InOrder:
    """A sink to which the moment of what died with the switch can be told, who finds that out later: never before
    what the tenant was told last."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._told_ms: dict[str, int] = {}
        self.remember = sink.remember

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        """See `media.backend.Sink`."""
        at_ms = self._told_ms[tenant] = max(media_time_ms, self._told_ms.get(tenant, 0))
        self._sink.emit(tenant, leg, body, at_ms)


@dataclass(slots=True)
class Board:
    """Shared by the node's parts. Holds no time: `now` is CLOCK_BOOTTIME in seconds."""

    config: FreeswitchConfig
    sink: Sink
    prompts: Mapping[str, str]
    """Where FreeSWITCH finds each prompt."""
    timers: Timers = field(default_factory=Timers)
    legs: dict[str, Leg] = field(default_factory=dict)
    leg_of_channel: dict[str, str] = field(default_factory=dict)
    open: dict[tuple[str, str], dict[str, Command]] = field(default_factory=dict)
    """Commands without outcome, by tenant and leg, then key: each leaves by `settle`, once."""
    registered: dict[str, str] = field(default_factory=dict)
    """Device -> tenant."""
    directory: MergedDirectory | None = None
    owners: set[int] = field(default_factory=set)
    journal_away: bool = False
    draining: bool | None = None
    """Whether an operator empties the node; None if nobody ever said."""
    switch: str = ""
    """Which life of FreeSWITCH we talk to; empty until it said."""
    linked: bool = False
    """Logged in to the switch."""
    asks: bool = False
    """Asked, or to be asked as soon as nothing can be under way, what happened before that: phones can be rung."""
    live: bool = False
    """And what happened before that is known: commands are begun."""
    strangers: dict[str, None] = field(default_factory=dict)
    """Channels that are nobody's leg: emergency calls, which the dialplan puts through."""
    lost_at: float | None = None
    """When the connection was lost over which what happens was known; None while it is."""
    replies: deque[Then | None] = field(default_factory=deque)
    """What follows the next answers, in the order of the commands."""
    jobs: dict[str, Callable[[str, float], None]] = field(default_factory=dict)
    """What follows the end of a job, by Job-UUID."""
    stirred: dict[str, None] = field(default_factory=dict)
    """Legs whose waiting commands may begin now."""
    recordings: dict[str, OpenRecording] = field(default_factory=dict)
    """By blob name, from `RecordStart` until stored or failed."""
    seals: list[Seal] = field(default_factory=list)
    rows: list[RecoveryRow] = field(default_factory=list)
    followers: list[Command] = field(default_factory=list)
    """Commands that waited until a leg had been taken over, or had not."""
    records_wanted: list[str] = field(default_factory=list)
    """Channels whose call record is to be read."""
    records_spent: list[str] = field(default_factory=list)
    """Channels whose call record nobody will read any more."""
    out: list[bytes] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    @property
    def hold_music(self) -> str:
        """What FreeSWITCH plays to one party while the other one's phone holds; empty for what it has."""
        path = self.prompts.get(self.config.music, "")
        return path if _PATH.fullmatch(path) else ""

    # ------------------------------------------------------------------ to the switch

    def send(self, data: bytes, then: Then | None = None) -> None:
        """A command, and what follows its answer. Nothing is sent without a connection."""
        if self.linked:
            self.out.append(data)
            self.replies.append(then)

    def api(self, line: str, then: Then | None = None) -> None:
        """A command that is answered when it is done. Raises `esl.BadCommand`."""
        self.send(esl.command(f"api {line}"), then)

    def job(self, line: str, job: str, then: Callable[[str, float], None]) -> None:
        """A command that takes its time. Raises `esl.BadCommand`."""
        if self.linked:
            self.jobs[job] = then
            self.send(esl.bgapi(line, job))

    def kill(self, leg: Leg, cause: Cause, *, by_node: bool = False) -> None:
        """Ask for the leg's end; its event tells it."""
        if leg.hanging_up is None:
            leg.hanging_up, leg.by_node = cause, by_node

        def killed(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if not reply.ok and leg.id in self.legs:
                self.await_end(leg, now)

        if leg.inbound and leg.stage is Stage.ARRIVED and leg.hanging_up is Cause.REFUSED:
            self.say_when(leg.channel)
        for channel in leg.channels:
            self.api(f"uuid_kill {channel} {name_of(leg.hanging_up)}", killed)

    def say_when(self, channel: str) -> None:
        """A 503 that is to come says when to try again."""
        self.api(f"uuid_setvar {channel} sip_rh_Retry-After {self.config.retry_after_s}")

    def await_end(self, leg: Leg, now: float) -> None:
        """Its channel is gone. The event that says so, with the cause, may be under way."""
        self.timers.set("goodbye", leg.id, now + self.config.goodbye_s)

    # ------------------------------------------------------------------ to the agent

    def emit(self, leg: Leg, body: MediaEvent, now: float) -> None:
        """Something happened to a leg."""
        self.sink.emit(leg.tenant, leg.id, body, media_ms(now))

    def take(self, command: Command) -> None:
        """A command that `settle` will end."""
        self.open.setdefault((command.tenant, command.leg), {})[command.key] = command

    def is_open(self, tenant: str, leg: str, key: str | None) -> bool:
        """Whether the command has no outcome yet."""
        return key is not None and key in self.open.get((tenant, leg), ())

    def settle(
        self, tenant: str, leg: str, key: str | None, now: float, reason: str = "", *, in_doubt: bool = False
    ) -> None:
        """A command ended. Nothing for a key of None, or for one that had ended before."""
        if not self.is_open(tenant, leg, key):
            return
        assert key is not None
        of_leg = self.open[tenant, leg]
        del of_leg[key]
        if not of_leg:
            del self.open[tenant, leg]
        outcome = Outcome.UNKNOWN if in_doubt else Outcome.FAILED if reason else Outcome.DONE
        self.sink.emit(tenant, leg, CommandSettled(key, outcome, reason), media_ms(now))

    def settle_begun(self, leg: Leg, now: float, reason: str = "") -> None:
        """What had begun on the leg ended."""
        assert leg.begun is not None
        key, leg.begun = leg.begun.key, None
        self.timers.cancel("begun", leg.id)
        self.settle(leg.tenant, leg.id, key, now, reason)

    def note(self, leg: Leg) -> None:
        """Journal the leg."""
        leg.switch = leg.switch or self.switch
        self.sink.remember(RowKind.LEG, leg.id, leg.row())

    def notice(self, reason: str, detail: str) -> None:
        """For the operator."""
        self.notices.append(Notice(reason, detail))

    # ------------------------------------------------------------------ legs

    @property
    def calls_out(self) -> bool:
        """Whether new legs can be made."""
        return self.live or self.asks

    def add(self, leg: Leg) -> None:
        """A leg begins, or is taken up again."""
        self.legs[leg.id] = leg
        self.leg_of_channel |= dict.fromkeys(leg.channels, leg.id)
        for channel in leg.channels:
            self.strangers.pop(channel, None)

    def leg_on(self, channel: str | None) -> Leg | None:
        """The leg of a channel."""
        return self.legs.get(self.leg_of_channel.get(channel or "", ""))

    def stir(self, leg: Leg) -> None:
        """Look at what waits on the leg, once this input is worked off."""
        self.stirred[leg.id] = None

    def end(self, leg: Leg, cause: Cause, by: By, now: float, detail: str = "") -> None:
        """Take the leg off and tell everybody.

        Order: the leg's end, the peer that is left, what was commanded, and last the row,
        so that a death in between tells the end again and not never.
        """
        del self.legs[leg.id]
        for channel in leg.channels:
            self.leg_of_channel.pop(channel, None)
        for what in _LEG_TIMERS:
            self.timers.cancel(what, leg.id)
        self.emit(leg, LegEnded(cause, by, leg.rang_ms, detail), now)
        peer = self.part(leg)
        if peer is not None:
            self.left(peer, leg.id, now)
        self.leave(leg, now)
        if leg.recording:
            # FreeSWITCH says so before it says that the leg has ended; but not in a gap, nor when it dies.
            self.recordings[leg.recording].truncated = cause is Cause.MEDIA_LOST
            self.timers.set("tape", leg.recording, now)
        for command in list(self.open.get((leg.tenant, leg.id), {}).values()):
            self._settle_late(leg, command, cause, now, unseen=detail == UNSEEN)
        self.stirred[leg.awaited_by] = None
        self.sink.remember(RowKind.LEG, leg.id, None)

    def _settle_late(self, leg: Leg, command: Command, cause: Cause, now: float, *, unseen: bool) -> None:
        """The leg is gone: so are its commands."""
        match command.verb:
            case Originate():
                self.settle(leg.tenant, leg.id, command.key, now, leg.why or cause.value, in_doubt=unseen)
            case HangUp() | RecordStop() | LetGo():
                self.settle(leg.tenant, leg.id, command.key, now)
            case _:
                self.settle(leg.tenant, leg.id, command.key, now, "LEG_GONE")

    def pair(self, leg: Leg, other: Leg) -> None:
        """They hear each other."""
        leg.peer, other.peer = other.id, leg.id
        leg.parked = other.parked = False
        self.note(leg)
        self.note(other)

    def part(self, leg: Leg) -> Leg | None:
        """End the bridge of a leg; who was at its other end."""
        peer, leg.peer = self.legs.get(leg.peer or ""), None
        if leg.id in self.legs:
            self.note(leg)
        if peer is not None:
            peer.peer = None
            self.note(peer)
        return peer

    def lose(self, leg: Leg, other: str) -> None:
        """The leg will be told that the other one left it, once FreeSWITCH has it parked: it may be hanging up."""
        leg.lost = other
        self.note(leg)

    def left(self, leg: Leg, other: str, now: float) -> None:
        """The leg is alone. It is told so, unless it left by an owner's wish."""
        if leg.lost:
            leg.lost = ""
            self.note(leg)
        if not leg.moving:
            self.emit(leg, LegUnbridged(other), now)

    def leave(self, leg: Leg, now: float) -> None:
        """The leg is in no conference any more. Who is alone there now is told."""
        room, leg.conference = leg.conference, ""
        if not room:
            return
        if leg.id in self.legs:
            self.note(leg)
        remaining = [one for one in self.legs.values() if one.conference == room]
        if len(remaining) == 1:
            self.left(remaining[0], leg.id, now)


def media_ms(now: float) -> int:
    """Media time in milliseconds."""
    return int(now * 1000)
