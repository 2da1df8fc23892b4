"""The FreeSWITCH node, sans I/O: frames, commands and time in; ESL commands, events and rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tandem.core.ports.media import By, Cause, Command, LegHeld, LegResumed, RecordingStored
from tandem.media.agent_io import Notice
from tandem.media.backend import LiveLeg, MergedDirectory, Row, RowKind, Sink
from tandem.media.freeswitch import ringing
from tandem.media.freeswitch.arrivals import Arrivals
from tandem.media.freeswitch.board import Board, InOrder, RecoveryRow, Seal
from tandem.media.freeswitch.carriers import Carriers
from tandem.media.freeswitch.causes import ended, of_carrier, why_of
from tandem.media.freeswitch.conferring import EVENT as CONFERENCE
from tandem.media.freeswitch.conferring import Conferring
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.connection import Connection
from tandem.media.freeswitch.devices import Devices, user_of
from tandem.media.freeswitch.dialog import MOVED
from tandem.media.freeswitch.draining import Draining
from tandem.media.freeswitch.gateways import Gateway
from tandem.media.freeswitch.hearing import Hearing
from tandem.media.freeswitch.leg import Leg, Stage
from tandem.media.freeswitch.moving import Moving
from tandem.media.freeswitch.numbers import Numbers
from tandem.media.freeswitch.reconcile import Reconcile
from tandem.media.freeswitch.recorder import Recorder
from tandem.media.freeswitch.referrals import Referrals
from tandem.media.freeswitch.supervising import Supervising
from tandem.media.freeswitch.verbs import Verbs
from tandem.wire import esl

_SIGNS = ("CHANNEL_PROGRESS", "CHANNEL_PROGRESS_MEDIA", "CHANNEL_ANSWER")
"""Events of a channel that lives, as early as we hear of it."""


@dataclass(frozen=True, slots=True)
class Out:
    """What the edge is to do: send, tell the operator, and close the connection if there is a reason."""

    data: tuple[bytes, ...]
    notices: tuple[Notice, ...]
    close: str
    seals: tuple[Seal, ...]
    records: tuple[str, ...]
    """Channels whose call records are to be given to `record`."""
    spent: tuple[str, ...]
    """Channels whose call records nobody will want."""
    rows: tuple[RecoveryRow, ...]
    """To be written into FreeSWITCH's database; then `written`."""


class Node:
    """Everything that is decided about FreeSWITCH's calls. `now` is CLOCK_BOOTTIME in seconds.

    The edge connects after the agent's first turn, so that what is to be restored and settled is known
    when the switch is asked. After each call it carries out `take()`, once the agent has written what it was told, and
    asks `next_wakeup()` again.
    """

    def __init__(
        self,
        config: FreeswitchConfig,
        sink: Sink,
        prompts: Mapping[str, str],
        password: str,
        gateways: Mapping[str, Gateway] = MappingProxyType({}),
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        board = self._board = Board(config, InOrder(sink), prompts)
        self._carriers = Carriers(board, gateways, tokens)
        self._arrivals = Arrivals(board)
        self._hearing = Hearing(board)
        self._devices = Devices(board)
        self._numbers = Numbers(board, self._devices, self._carriers)
        self._recorder = Recorder(board)
        self._referrals = Referrals(board, self._hearing)
        self._supervising = Supervising(board, self._hearing)
        self._conferring = Conferring(board, self._hearing)
        self._moving = Moving(board)
        self._verbs = Verbs(
            board, self._hearing, self._arrivals, self._devices, self._numbers, self._recorder, self._supervising,
            self._conferring, self._moving,
        )  # fmt: skip
        self._reconcile = Reconcile(
            board, self._hearing, self._arrivals, self._devices, self._verbs, self._referrals, self._supervising,
            self._conferring, self._moving,
        )  # fmt: skip
        self._draining = Draining(board)
        self._connection = Connection(board, password, self._begin, self._carriers.said)
        self._handlers: dict[str, Callable[[esl.Event, float], None]] = {
            "CHANNEL_PARK": self._parked,
            "CHANNEL_PROGRESS": self._of_leg(lambda leg, event, now: self._devices.progress(leg, _at(event), now)),
            "CHANNEL_PROGRESS_MEDIA": self._of_leg(self._heard),
            "CHANNEL_ANSWER": self._of_leg(self._answered),
            "CHANNEL_BRIDGE": self._bridged,
            "CHANNEL_EXECUTE_COMPLETE": self._of_leg(self._hearing.complete),
            "CHANNEL_HOLD": self._of_leg(lambda leg, event, now: board.emit(leg, LegHeld(), now)),
            "CHANNEL_UNHOLD": self._of_leg(lambda leg, event, now: board.emit(leg, LegResumed(), now)),
            "CHANNEL_HANGUP_COMPLETE": self._hung_up,
            "RECORD_STOP": self._recorder.stopped,
            "MEDIA_BUG_START": self._of_leg(self._supervising.attached),
            CONFERENCE: self._of_leg(self._conferring.came_in),
            "BACKGROUND_JOB": self._job,
            "HEARTBEAT": lambda event, now: self._connection.heartbeat(now),
            "SHUTDOWN": lambda event, now: board.notice("SWITCH_STOPS", "FreeSWITCH is being shut down"),
            "sofia::register": self._registered,
            "sofia::unregister": self._unregistered,
            "sofia::expire": self._unregistered,
            "sofia::gateway_state": self._carriers.state,
            "sofia::gateway_delete": self._carriers.deleted,
        }
        self._due: dict[str, Callable[[Leg, float], None]] = {
            "ring": lambda leg, now: self._devices.ring_limit(leg),
            "begun": self._verbs.overdue,
            "quiet": self._hearing.loud,
            "goodbye": self._reconcile.gone,
        }

    # ------------------------------------------------------------------ from the agent

    def directory(self, directory: MergedDirectory, now: float) -> None:
        """Replace what is known; devices that are gone are unregistered, new ones may be there already."""
        board, known = self._board, self._board.directory
        board.directory = directory
        self._devices.directory(now)
        self._numbers.directory(directory)
        if board.linked and known != directory:
            self._devices.accounts.forget(known)
            self._reconcile.look()

    def restore(self, rows: Iterable[Row], died_ms: int, now: float) -> None:
        """What an earlier life of the agent knew. Its calls live: they are asked for when the switch is there."""
        kept = list(rows)
        for row in kept:
            if row.kind is RowKind.LEG:
                leg = _leg_of(row)
                self._board.add(leg)
                if leg.stage is Stage.CALLING:
                    # Longer than is left of it, for nobody wrote how much that is.
                    self._board.timers.set("ring", leg.id, now + leg.ring_limit_s)
            elif row.kind is RowKind.REGISTRATION:
                self._board.registered[row.id] = row.value["tenant"]
        if self._board.legs:
            # Should they have died with the switch, that is the last that is known of them.
            self._board.lost_at = died_ms / 1000
        for row in kept:
            if row.kind is RowKind.RECORDING:
                self._recorder.restore(row.id, row.value)

    def perform(self, command: Command, now: float) -> None:
        """Begin a command."""
        self._verbs.perform(command, now)
        self._go_on(now)

    def settle(self, command: Command, now: float) -> None:
        """Settle a command of an earlier life, once the switch has said what is."""
        self._reconcile.doubt(command)

    def owner_present(self, shard: int, present: bool, now: float) -> None:
        """Owners come and go; the dialplan holds the fallback ready in any case."""
        board = self._board
        if present:
            board.owners.add(shard)
            return
        board.owners.discard(shard)
        for leg in board.legs.values():
            if leg.shard == shard:
                board.stir(leg)
        self._go_on(now)

    def journal_away(self, away: bool, now: float) -> None:
        """Nothing can be told, or it can again."""
        self._board.journal_away = away
        if away:
            self._arrivals.let_go(now)

    def drain(self, on: bool) -> None:
        """Take no new callers, or take them again."""
        self._draining.order(on)

    def change_gateways(self, gateways: Mapping[str, Gateway], tokens: Mapping[str, str] | None, now: float) -> None:
        """Call through these from now on; who talks through others goes on."""
        self._carriers.change(gateways, tokens, now)

    def strangers(self) -> int:
        """Channels that are nobody's leg."""
        return len(self._board.strangers)

    def let_go(self, legs: Iterable[LiveLeg], now: float) -> None:
        """End the legs of callers who have waited long enough."""
        for live in legs:
            leg = self._board.legs.get(live.leg)
            if leg is not None and leg.tenant == live.tenant:
                self._board.kill(leg, Cause.MEDIA_LOST, by_node=True)
        self._go_on(now)

    def legs(self) -> tuple[LiveLeg, ...]:
        """All legs that an owner may command, in the order in which they began."""
        return tuple(
            LiveLeg(
                leg.tenant, leg.shard, leg.id, leg.inbound and leg.peer is None, leg.inbound and leg.peer is not None
            )
            for leg in self._board.legs.values()
        )

    # ------------------------------------------------------------------ from the edge

    @property
    def ready(self) -> bool:
        """Whether FreeSWITCH answers."""
        return self._connection.ready

    def frame(self, frame: esl.Frame, now: float) -> None:
        """Something came from FreeSWITCH."""
        self._connection.heard_at = now
        if isinstance(frame, esl.Event):
            if frame.name in _SIGNS:
                self._seen(frame)
            handler = self._handlers.get(frame.name)
            if handler is not None:
                handler(frame, now)
        else:
            self._connection.frame(frame, now)
        self._go_on(now)

    def lost(self, now: float) -> None:
        """The connection is gone. The edge makes another; what happens meanwhile is asked for then."""
        self._connection.lost(now)
        self._reconcile.lost()
        self._carriers.lost()

    def refused(self, now: float) -> None:
        """Nobody listens where the switch should; told each time that it is tried."""
        self._connection.refused(now)

    def backlog(self, frames: int, now: float) -> None:
        """So many frames came and were not handed in yet."""
        self._connection.backlog(frames, now)

    def record(self, channel: str, record: esl.Event | None, now: float) -> None:
        """The call record of a channel that ended while nobody listened, as `records.event_of` reads it; None if
        there is none."""
        leg = self._board.leg_on(channel)
        if leg is None:
            return
        if record is None:
            if not ringing.rings_on(self._board, leg, channel, None):
                self._reconcile.unseen(leg, now)
        else:
            self._reconcile.see_record(leg, record, now)
            self._ended(leg, record, now)
        self._board.records_spent.append(channel)
        self._go_on(now)

    def recordings(self) -> tuple[str, ...]:
        """Names of those that are not stored yet."""
        return tuple(self._board.recordings)

    def recording_stored(self, name: str, stored: RecordingStored, now: float) -> None:
        """The blob is there."""
        self._recorder.stored(name, stored, now)

    def recording_failed(self, name: str, reason: str, now: float) -> None:
        """It could not be kept."""
        self._recorder.failed(name, reason, now)

    def written(self, channel: str, error: str, now: float) -> None:
        """A row stands in FreeSWITCH's database, or why it does not."""
        self._moving.written(channel, error, now)
        self._go_on(now)

    def load(self) -> tuple[int, int, int]:
        """(callers, legs, devices that are registered)."""
        legs = self._board.legs.values()
        return sum(leg.inbound for leg in legs), len(legs), len(self._board.registered)

    def gateways(self) -> tuple[tuple[str, bool], ...]:
        """Each gateway, and whether it can be called through; none while nobody knows."""
        return self._carriers.states() if self._board.linked else ()

    def next_wakeup(self) -> float | None:
        """When `wake` is wanted."""
        return self._board.timers.next()

    def wake(self, now: float) -> None:
        """Fire what is due."""
        while (name := self._board.timers.pop(now)) is not None:
            if name.what == "heartbeat":
                self._connection.silent(now)
            elif name.what == "ask":
                self._reconcile.ask(now)
            elif name.what == "gone":
                self._reconcile.died(now)
            elif name.what == "tape":
                self._recorder.over(name.of)
            elif name.what == "gateways":
                self._carriers.not_deleted(now)
            elif name.what == "coming":
                self._moving.look(name.of, now)
            elif name.what == "again":
                self._moving.again(name.of)
            elif name.what == "stays away":
                self._moving.stays_away(name.of, now)
            elif (leg := self._board.legs.get(name.of)) is not None:
                self._due[name.what](leg, now)
        self._go_on(now)

    def take(self) -> Out:
        """What is to be done now."""
        board = self._board
        out = Out(
            tuple(board.out), tuple(board.notices), self._connection.wants_close, tuple(board.seals),
            tuple(board.records_wanted), tuple(board.records_spent), tuple(board.rows),
        )  # fmt: skip
        for given in (board.out, board.notices, board.seals, board.records_wanted, board.records_spent, board.rows):
            given.clear()
        return out

    def _begin(self, now: float) -> None:
        """Say whether it is drained, ask what is true, and have accounts looked up that changed meanwhile."""
        self._draining.say()
        self._devices.accounts.forget(None)
        self._reconcile.begin(now)
        self._carriers.begin(now)

    # ------------------------------------------------------------------ events

    def _go_on(self, now: float) -> None:
        board = self._board
        self._moving.run(now)
        followers, board.followers = board.followers, []
        for command in followers:
            self._verbs.perform(command, now)
        while board.stirred:
            stirred, board.stirred = board.stirred, {}
            for leg_id in stirred:
                leg = board.legs.get(leg_id)
                if leg is not None:
                    self._verbs.run(leg, now)
                    self._hearing.comfort(leg)

    def _of_leg(self, handler: Callable[[Leg, esl.Event, float], None]) -> Callable[[esl.Event, float], None]:
        """Channels that are no leg (any more) are none of our business."""

        def found(event: esl.Event, now: float) -> None:
            leg = self._board.leg_on(event.get("Unique-ID"))
            if leg is not None:
                handler(leg, event, now)

        return found

    def _seen(self, event: esl.Event) -> None:
        """A channel lives; one that is no leg may become one when it is parked."""
        channel = event.get("Unique-ID")
        if channel and self._board.leg_on(channel) is None:
            self._board.strangers[channel] = None

    def _parked(self, event: esl.Event, now: float) -> None:
        leg = self._board.leg_on(event.get("Unique-ID"))
        if leg is None and self._moving.expects(event.get("Unique-ID")):
            self._moving.parked(event)
        elif leg is None:
            self._arrivals.parked(event, now)
        else:
            other = leg.peer or leg.lost
            self._supervising.parked(leg, now)
            self._conferring.parked(leg, now)
            self._hearing.parked(leg, now)
            self._referrals.parked(leg, other, event, now)

    def _registered(self, event: esl.Event, now: float) -> None:
        self._devices.register(user_of(event), event.get("call-id") or "", event.get("contact") or "", now)

    def _unregistered(self, event: esl.Event, now: float) -> None:
        self._devices.unregister(user_of(event), event.get("call-id") or "", now)

    def _heard(self, leg: Leg, event: esl.Event, now: float) -> None:
        self._devices.progress(leg, _at(event), now)
        self._devices.early(leg, event, now)

    def _answered(self, leg: Leg, event: esl.Event, now: float) -> None:
        if leg.inbound:
            self._arrivals.answered(leg, now)
        else:
            ringing.answered(self._board, leg, event.get("Unique-ID") or "")
            self._devices.answered(leg, _at(event), now)

    def _bridged(self, event: esl.Event, now: float) -> None:
        one = self._board.leg_on(event.get("Bridge-A-Unique-ID"))
        two = self._board.leg_on(event.get("Bridge-B-Unique-ID"))
        if one is not None and two is not None:
            self._hearing.bridged(one, two, now)
        elif one is not None or two is not None:
            self._referrals.taken_over(event)

    def _hung_up(self, event: esl.Event, now: float) -> None:
        leg = self._board.leg_on(event.get("Unique-ID"))
        self._board.records_spent.append(event.get("Unique-ID") or "")
        self._board.strangers.pop(event.get("Unique-ID") or "", None)
        if leg is None and self._moving.expects(event.get("Unique-ID")):
            self._moving.ended(event, now)
        elif leg is None:
            self._arrivals.turned_away(event, now)
        else:
            self._ended(leg, event, now)

    def _ended(self, leg: Leg, event: esl.Event, now: float) -> None:
        answered = leg.stage in (Stage.UP, Stage.FALLBACK)
        told = ended(event, rang=leg.rang_at_us > 0, answered=answered)
        if ringing.rings_on(self._board, leg, event.get("Unique-ID") or "", told):
            return
        self._referrals.ended(leg, event, now)
        if not answered:
            self._devices.rang_until(leg, _at(event))
        cause, by, detail = leg.said or told
        if leg.gateway and not answered and (leg.hanging_up is None or by is By.FAR):
            cause, by = of_carrier(event, cause, by)
            leg.why = why_of(event.get("Hangup-Cause") or "")
        if event.get(f"variable_{MOVED}") and by is not By.FAR:
            # Also of one that an earlier life of the agent had let go.
            cause, by = Cause.MOVED, By.TANDEM
        elif leg.hanging_up is not None and by is not By.FAR:
            cause, by = self._wished(leg), By.NODE if leg.by_node else By.TANDEM
        elif leg.inbound:
            cause, by = self._arrivals.end_of(leg, cause, by)
        self._board.end(leg, cause, by, now, detail)

    def _wished(self, leg: Leg) -> Cause:
        """The cause of an end that we asked for."""
        assert leg.hanging_up is not None
        if leg.stage is Stage.FALLBACK:
            return Cause.FALLBACK
        if leg.stage is Stage.CALLING and leg.hanging_up is Cause.NORMAL:
            return Cause.CANCELED
        if leg.hanging_up is Cause.NO_ANSWER and leg.by_node and not leg.rang_at_us:
            return Cause.UNREACHABLE
        return leg.hanging_up

    def _job(self, event: esl.Event, now: float) -> None:
        then = self._board.jobs.pop(event.get("Job-UUID") or "", None)
        if then is not None:
            then(event.body.strip(), now)


def _at(event: esl.Event) -> int:
    """When the switch fired it, in microseconds by its own clock."""
    text = event.get("Event-Date-Timestamp") or ""
    return int(text) if text.isascii() and text.isdecimal() else 0


def _leg_of(row: Row) -> Leg:
    value = row.value
    return Leg(
        row.id, value["tenant"], value["shard"], value["channel"], switch=value["switch"], inbound=value["inbound"],
        stage=Stage(value["stage"]), parked=False, taken=value["taken"], peer=value["peer"],
        lost=value.get("lost", ""), supervises=value.get("supervises", ""), conference=value.get("conference", ""),
        ring_limit_s=value["ring_limit_s"], rang_at_us=value["rang"],
        referral=value.get("referral", ""), gateway=value.get("gateway", ""), early=value.get("early", False),
        rings=list(value.get("rings", ())),
    )  # fmt: skip
