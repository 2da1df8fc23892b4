"""What is true after a gap: asked of FreeSWITCH channel by channel, and told as far as nobody told it.

`show channels` comes from a database that lags behind; it only names channels that we might not
know. What holds is `uuid_dump`, which reads the channel itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from tandem.core.ports.media import (
    Bridge,
    By,
    Cause,
    Collect,
    Command,
    Confer,
    HangUp,
    LetGo,
    Originate,
    Play,
    Stop,
    Supervise,
    TakeOver,
)
from tandem.media.freeswitch import ringing
from tandem.media.freeswitch.arrivals import FALLBACK, Arrivals, dumped
from tandem.media.freeswitch.board import UNSEEN, Board
from tandem.media.freeswitch.conferring import Conferring
from tandem.media.freeswitch.devices import Devices
from tandem.media.freeswitch.dialog import MOVED
from tandem.media.freeswitch.hearing import HEARD, LOOP, Hearing, argument_of
from tandem.media.freeswitch.ids import channel_of, token_of
from tandem.media.freeswitch.leg import LEG, Leg, Sound, Stage, named
from tandem.media.freeswitch.moving import Moving
from tandem.media.freeswitch.referrals import Referrals
from tandem.media.freeswitch.supervising import Supervising
from tandem.media.freeswitch.verbs import Verbs
from tandem.wire import esl

RING_MAX_S = 120
"""What a device rings at most, where nothing else is known."""
_BRIDGED = ("CS_EXCHANGE_MEDIA", "CS_SOFT_EXECUTE")
"""States of a bridged channel. Its variables go on naming the other one when the bridge is over."""
_PARKED = ("CS_EXECUTE", "CS_PARK")
"""States in which it runs an application, `park` first of all; in those between, its event will come."""

_MOVING = (Play, Collect, Bridge, Supervise, Confer)
"""Verbs that take a leg out of whatever it was in."""

_ENDS = {
    "playback": "variable_current_application_response",
    LOOP: "variable_current_application_response",
    "play_and_get_digits": "variable_read_result",
}
"""What a channel has once the application that it names last has ended: each clears it when it begins."""


class Reconcile:
    """Asks, compares, tells. Events may arrive meanwhile: each change is told by whoever sees it first."""

    def __init__(
        self,
        board: Board,
        hearing: Hearing,
        arrivals: Arrivals,
        devices: Devices,
        verbs: Verbs,
        referrals: Referrals,
        supervising: Supervising,
        conferring: Conferring,
        moving: Moving,
    ) -> None:
        self._board = board
        self._hearing = hearing
        self._arrivals = arrivals
        self._devices = devices
        self._verbs = verbs
        self._referrals = referrals
        self._supervising = supervising
        self._conferring = conferring
        self._moving = moving
        self._asked = 0
        self._before: list[str] = []
        """Legs that there were when it was to be found out what became of them."""
        self._doubts: dict[tuple[str, str], Command] = {}
        self._bridges: dict[str, str] = {}
        """Which channel each one named as the other end of its bridge."""

    # ------------------------------------------------------------------ asking

    def doubt(self, command: Command) -> None:
        """A command that may have been carried out: settled when the channels are known."""
        self._board.take(command)
        self._doubts[command.tenant, command.key] = command
        if isinstance(command.verb, TakeOver):
            self._moving.in_doubt(command)

    def begin(self, now: float) -> None:
        """Nothing is known for sure. Ask for everything, once nothing can be under way any more."""
        board = self._board
        board.live, board.asks, board.switch = False, True, ""
        board.strangers.clear()
        self._moving.gap()
        self._before = list(board.legs)
        for leg in board.legs.values():
            self._doubt_begun(leg)
        for leg in self._leaving():
            leg.moving = True
        heard = any(leg.sound is not None and leg.sound.play_key for leg in board.legs.values())
        if self._doubts or heard or any(self._moving.asked()):
            board.timers.set("ask", "", now + board.config.in_flight_s)
        else:
            self.ask(now)

    def ask(self, now: float) -> None:
        """Ask for everything."""
        board = self._board
        self._ask("global_getvar core_uuid", self._life)
        self._ask("show registrations as json", self._registrations)
        for leg in [board.legs[name] for name in self._before if name in board.legs]:
            leg.missing.clear()
            for channel in leg.channels:
                self._ask(f"uuid_dump {channel} json", partial(self._known, leg.id, channel))
        for command in self._doubts.values():
            if isinstance(command.verb, Originate) and command.leg not in board.legs:
                channel = channel_of(command.tenant, command.key, command.verb)
                self._ask(f"uuid_dump {channel} json", partial(self._in_doubt, command, channel))
        for channel in self._moving.asked():
            self._ask(f"uuid_dump {channel} json", self._coming)
        self._ask("show channels as json", self._channels)

    def _coming(self, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        """A channel that is being taken over, if it is there."""
        channel = dumped(reply)
        if channel is not None and self._moving.expects(channel.get("Unique-ID")):
            self._moving.found(channel)

    def _life(self, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        """Which life of FreeSWITCH it is. The calls of an earlier one died with it."""
        board = self._board
        if not isinstance(reply, esl.ApiReply) or not reply.ok:
            return
        board.switch = reply.text.strip()
        for leg in [leg for leg in board.legs.values() if leg.switch not in ("", board.switch)]:
            board.end(leg, Cause.MEDIA_LOST, By.NODE, self._died_at(now), "the switch began anew")

    def died(self, now: float) -> None:
        """Nobody listens on its event socket any more, for long enough: its calls are over."""
        if self._board.legs:
            self._board.notice("SWITCH_GONE", f"FreeSWITCH is gone, and {len(self._board.legs)} legs with it")
        for leg in list(self._board.legs.values()):
            self._board.end(leg, Cause.MEDIA_LOST, By.NODE, self._died_at(now), "the switch is gone")
        self._board.strangers.clear()
        self._moving.died(now)

    def _died_at(self, now: float) -> float:
        """When a switch died, as far as we know: a dead one lets go of its sockets at once."""
        return now if self._board.lost_at is None else self._board.lost_at

    def look(self) -> None:
        """Ask what phones and calls there are that the directory may know now."""
        self._ask("show registrations as json", self._registrations)
        self._ask("show channels as json", self._channels)

    def _doubt_begun(self, leg: Leg) -> None:
        leg.replacing = leg.asking = False
        self._board.timers.cancel("begun", leg.id)
        self._board.timers.cancel("quiet", leg.id)
        if leg.begun is not None:
            self._doubts[leg.tenant, leg.begun.key] = leg.begun
            leg.begun = None

    def _leaving(self) -> list[Leg]:
        """Legs that leave what they were in by their owner's wish, if they leave it: an order in doubt says so."""
        found = []
        for command in self._doubts.values():
            verb = command.verb
            for name in (command.leg, verb.other if isinstance(verb, Bridge) else ""):
                leg = self._board.legs.get(name)
                if leg is not None and (isinstance(verb, _MOVING) or (isinstance(verb, Stop) and leg.occupied)):
                    found.append(leg)
        return found

    def _ask(self, line: str, then: Callable[[esl.Reply | esl.ApiReply, float], None]) -> None:
        self._asked += 1

        def answered(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            then(reply, now)
            self._asked -= 1
            if not self._asked and not self._board.timers.has("ask", ""):
                self._known_all(now)

        self._board.api(line, answered)

    def lost(self) -> None:
        """The connection is gone: no answer will come."""
        self._asked = 0
        self._bridges.clear()
        self._board.asks = False
        self._board.timers.cancel("ask", "")

    # ------------------------------------------------------------------ lists

    def _registrations(self, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        rows = _rows(reply, self._board.config.channels_max)
        if rows is None:
            self._board.notice("BAD_LIST", "the list of registrations cannot be read")
            return
        listed = [(row.get("reg_user", ""), row.get("token", ""), row.get("url", "")) for row in rows]
        self._devices.list_is(listed, now)

    def _channels(self, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        rows = _rows(reply, self._board.config.channels_max)
        if rows is None:
            self._board.notice("BAD_LIST", "the list of channels cannot be read")
            return
        for row in rows:
            channel = row.get("uuid", "")
            if channel.isascii() and channel.isprintable() and " " not in channel and not self._board.leg_on(channel):
                self._ask(f"uuid_dump {channel} json", self._stranger)

    # ------------------------------------------------------------------ channels

    def _stranger(self, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        """A channel that is nobody's leg: a call that came in the gap, or one that the journal lost."""
        channel = dumped(reply)
        if channel is None or self._board.leg_on(channel.get("Unique-ID")) is not None:
            return
        if self._moving.expects(channel.get("Unique-ID")):
            return
        if channel.get("Call-Direction") == "inbound":
            waits = channel.get("variable_current_application") == "park"
            if waits or channel.get("Answer-State") == "answered":
                self._arrivals.parked(channel, now)
            leg = self._board.leg_on(channel.get("Unique-ID"))
            if leg is not None:
                self._see(leg, channel, now)
        elif channel.get(f"variable_{LEG}"):
            self._adopt(channel, now)
        if self._board.leg_on(channel.get("Unique-ID")) is None:
            self._board.strangers[channel.get("Unique-ID") or ""] = None

    def _adopt(self, channel: esl.Event, now: float) -> Leg:
        """A device's leg, or a place where it rings, that no row tells of."""
        leg_id, tenant, shard = named(channel)
        known = self._board.legs.get(leg_id)
        if known is not None:
            if known.stage is Stage.CALLING:
                ringing.another(self._board, known, channel.get("Unique-ID") or "")
                self._see(known, channel, now)
            return known
        leg = Leg(
            leg_id, tenant, shard, channel.get("Unique-ID") or "", inbound=False, stage=Stage.CALLING, parked=False,
            taken=True, gateway=channel.get("variable_sip_gateway_name") or "",
            # Until its order says otherwise, what FreeSWITCH itself was given.
            ring_limit_s=_us(channel.get("variable_originate_timeout")) or RING_MAX_S,
        )  # fmt: skip
        self._board.add(leg)
        self._board.note(leg)
        self._see(leg, channel, now)
        return leg

    def _in_doubt(self, command: Command, name: str, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        """The channel of an `Originate` of which no row tells."""
        channel = dumped(reply)
        if channel is not None and command.leg not in self._board.legs:
            self._adopt(channel, now)

    def _known(self, leg_id: str, name: str, reply: esl.Reply | esl.ApiReply, now: float) -> None:
        leg, channel = self._board.legs.get(leg_id), dumped(reply)
        if leg is None or name not in leg.channels:
            return
        if channel is None:
            leg.missing.append(name)
            self._board.await_end(leg, now)
        else:
            self._see(leg, channel, now)

    def gone(self, leg: Leg, now: float) -> None:
        """The end of a leg stayed away: it was told while nobody listened. The switch wrote it down."""
        if leg.rings:
            self._board.records_wanted += leg.missing or leg.rings
            leg.missing.clear()
        elif not leg.record_wanted:
            leg.record_wanted = True
            self._board.records_wanted.append(leg.channel)

    def see_record(self, leg: Leg, record: esl.Event, now: float) -> None:
        """Tell what the call record of a leg says that nobody was told."""
        rang, answered = record.get("Caller-Channel-Progress-Time"), record.get("Caller-Channel-Answered-Time")
        if leg.inbound:
            if _us(answered):
                self._arrivals.answered(leg, now)
            return
        if _us(rang):
            self._devices.progress(leg, _us(rang), now)
        if _us(answered):
            ringing.answered(self._board, leg, record.get("Unique-ID") or "")
            self._devices.answered(leg, _us(answered), now)

    def unseen(self, leg: Leg, now: float) -> None:
        """Nobody knows how a leg ended."""
        if leg.hanging_up is not None:
            by = By.NODE if leg.by_node else By.TANDEM
            self._board.end(leg, leg.hanging_up, by, now)
        elif not leg.inbound and leg.stage is Stage.CALLING and leg.originate_key is not None:
            self._board.end(leg, Cause.FAILED, By.NODE, now, UNSEEN)
        else:
            cause = Cause.FALLBACK if leg.stage is Stage.FALLBACK else Cause.FAILED
            self._board.end(leg, cause, By.NODE, now, UNSEEN)

    def _see(self, leg: Leg, channel: esl.Event, now: float) -> None:
        """Tell what has become of a leg."""
        if channel.get(f"variable_{MOVED}") and leg.hanging_up is None:
            # The agent died as it took the leg over, or as it let it go: that is settled afterwards.
            self._board.api(f"uuid_setvar {leg.channel} {MOVED}")
        if not leg.inbound and (channel.get("Caller-Channel-Progress-Time") or "0") != "0":
            self._devices.progress(leg, _us(channel.get("Caller-Channel-Progress-Time")), now)
        if not leg.inbound and channel.get("Answer-State") == "early":
            self._devices.progress(leg, _us(channel.get("Caller-Channel-Progress-Media-Time")), now)
            self._devices.early(leg, channel, now)
        if channel.get("Answer-State") == "answered":
            if leg.inbound:
                self._arrivals.answered(leg, now)
            else:
                ringing.answered(self._board, leg, channel.get("Unique-ID") or "")
                self._devices.answered(leg, _us(channel.get("Caller-Channel-Answered-Time")), now)
        if channel.get("Channel-State") in _BRIDGED:
            self._bridges[leg.channel] = channel.get("variable_bridge_uuid") or ""
            self._referrals.seen_bridged(leg, channel)
        if leg.taken and leg.inbound and channel.get("Caller-Context") == FALLBACK:
            # Nobody was there when its talk's other phone let go of it.
            self._arrivals.fell_back(leg)
        leg.parked = channel.get("Channel-State") in _PARKED
        if leg.parked:
            other = leg.peer or leg.lost
            if other:
                self._hearing.parted(leg, now)
            self._supervising.seen(leg, channel, now)
            self._conferring.seen(leg, channel, now)
            if leg.parked:
                self._referrals.parked(leg, other, channel, now)
        self._hear(leg, channel, now)

    def _commanded(self, leg: Leg, other: Leg) -> bool:
        return any(doubt.leg == leg.id and doubt.verb == Bridge(other.id) for doubt in self._doubts.values())

    def _hear(self, leg: Leg, channel: esl.Event, now: float) -> None:
        """What plays or collects on the leg, and whether it has ended."""
        heard = channel.get(f"variable_{HEARD}") or ""
        application = channel.get("variable_current_application") or ""
        ends = _ENDS.get(application)
        runs = ends is not None and channel.get(ends) is None and leg.parked
        sound, leg.sound = leg.sound or self._doubted(leg, heard), None
        if sound is None:
            # A loop has settled: that it runs is all there is to know of it.
            leg.sound = Sound(None, heard, "", loops=application == LOOP) if runs else None
        elif sound.token != heard or sound.argument not in (channel.get("variable_current_application_data") or ""):
            self._again(leg, sound)
        elif runs:
            leg.sound = sound
            sound.loops = application == LOOP
            if sound.loops:
                self._board.settle(leg.tenant, leg.id, sound.play_key, now)
                sound.play_key = None
        else:
            if sound.collect is not None:
                self._hearing.collected(leg, sound.token, sound.collect, channel, now)
            self._board.settle(leg.tenant, leg.id, sound.play_key, now)

    def _doubted(self, leg: Leg, heard: str) -> Sound | None:
        """What an earlier life of the agent had begun to play."""
        for (tenant, key), command in self._doubts.items():
            verb = command.verb
            if command.leg == leg.id and isinstance(verb, Play | Collect) and token_of(tenant, key) == heard:
                del self._doubts[tenant, key]
                argument = argument_of(verb, heard, self._board.prompts)
                return Sound(key, heard, argument, verb if isinstance(verb, Collect) else None)
        return None

    def _again(self, leg: Leg, sound: Sound) -> None:
        """The switch never had it, or has played something else since: in doubt, it is played again."""
        command = self._board.open.get((leg.tenant, leg.id), {}).get(sound.play_key or "")
        if command is not None:
            self._doubts[leg.tenant, command.key] = command

    # ------------------------------------------------------------------ settling

    def _known_all(self, now: float) -> None:
        """Every channel is known: settle what is in doubt, and go on."""
        board = self._board
        if not board.live:
            board.live, board.asks, board.lost_at = True, False, None
            board.notice("SWITCH_ANSWERS", f"FreeSWITCH answers, {len(board.legs)} legs live on it")
            self._join(now)
            for leg in board.legs.values():
                leg.moving = False
            for leg in self._leaving():
                self._hearing.on_its_way(leg, now)
            self._moving.known(now)
        else:
            self._join(now)
        doubts, self._doubts = self._doubts, {}
        again: dict[str, list[Command]] = {}
        for (tenant, key), command in doubts.items():
            if board.is_open(tenant, command.leg, key):
                self._settle(command, again, now)
        for leg_id, commands in again.items():
            board.legs[leg_id].queue.extendleft(reversed(commands))
        for leg in list(board.legs.values()):
            if leg.hanging_up is not None:
                board.kill(leg, leg.hanging_up, by_node=leg.by_node)
            board.stir(leg)

    def _join(self, now: float) -> None:
        """Two channels are bridged if each names the other: one that changes its bridge still names the last."""
        board = self._board
        bridges, self._bridges = self._bridges, {}
        for channel, other in bridges.items():
            leg, peer = board.leg_on(channel), board.leg_on(other)
            if leg is not None and peer is not None and bridges.get(other) == channel:
                first = not self._commanded(peer, leg)
                self._hearing.bridged(leg if first else peer, peer if first else leg, now)

    def _settle(self, command: Command, again: dict[str, list[Command]], now: float) -> None:
        """Pitfalls E2. What is harmless is done again, before what waits."""
        board = self._board
        leg = board.legs.get(command.leg)
        if isinstance(command.verb, Originate):
            if leg is None or leg.tenant != command.tenant:
                board.settle(command.tenant, command.leg, command.key, now, "NODE_RESTARTED", in_doubt=True)
            elif leg.stage is Stage.CALLING:
                leg.originate_key, leg.ring_limit_s = command.key, command.verb.ring_timeout_ms / 1000
                board.timers.set("ring", leg.id, now + leg.ring_limit_s)
            else:
                board.settle(leg.tenant, leg.id, command.key, now)
        elif isinstance(command.verb, TakeOver):
            self._moving.settle(command, now)
        elif self._moving.follows(command):
            pass
        elif leg is None or leg.tenant != command.tenant:
            self._verbs.late(command, now)
        elif isinstance(command.verb, HangUp):
            board.kill(leg, command.verb.cause)
        elif isinstance(command.verb, LetGo):
            self._moving.let_go(leg, command, now)
        else:
            # An answered leg is not answered again, nor a bridge made that stands.
            again.setdefault(leg.id, []).append(command)


def _rows(reply: esl.Reply | esl.ApiReply, limit: int) -> list[dict[str, str]] | None:
    """The rows that `show ... as json` printed; None if they cannot be read."""
    if not isinstance(reply, esl.ApiReply):
        return None
    try:
        table = json.loads(reply.text)
    except (ValueError, RecursionError):
        return None
    rows = table.get("rows", []) if isinstance(table, dict) else None
    if not isinstance(rows, list):
        return None
    return [
        {name: value for name, value in row.items() if isinstance(value, str)}
        for row in rows[:limit]
        if isinstance(row, dict)
    ]


def _us(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else 0
