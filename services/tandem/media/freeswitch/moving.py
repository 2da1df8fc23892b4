"""Callers who wait, moved between FreeSWITCH nodes: one hands them out, another takes them over, the first lets go.

The node that takes a leg over writes a row into its FreeSWITCH's own database and says `sofia recover` (see `dialog`).
FreeSWITCH takes up every row that is not of its own life at once and then forgets them all, so they go one at a time;
the answers of the phones are awaited side by side. The channel is parked before its phone has answered, and nothing
tells that it has: it is looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tandem.core.ports.media import Cause, Command, LegHandedOut, LegTakenOver, TakeOver, contact_of
from tandem.media.freeswitch.arrivals import dumped
from tandem.media.freeswitch.board import Board, RecoveryRow
from tandem.media.freeswitch.dialog import CSEQ, MOVED, Dialog, Named, handed_out, port_below, read, row_of
from tandem.media.freeswitch.ids import channel_of_moved
from tandem.media.freeswitch.leg import Leg, Stage
from tandem.wire import esl

TRIES_MAX = 3
"""How often a phone is asked that has just asked for something itself (RFC 3261, 14.1), or a port is tried."""
_PENDING = "491"
UNDER_WAY_MAX = 64
"""Callers who come at once: what an owner sends is far below."""
_ASKED = (
    "global_getvar max_callers",
    "limit_usage hash tandem callers",
    "global_getvar rtp_ip",
    "global_getvar db_dir",
    "global_getvar rtp_port_min",
)
"""What must be known before a row is made."""
_NO_CHANNEL = "-ERR No such channel"


@dataclass(slots=True)
class _Coming:
    """A leg that is being taken over."""

    command: Command
    dialog: Dialog
    channel: str
    """Its name on this FreeSWITCH."""
    switch: str = ""
    """The life of FreeSWITCH that was asked to take it up."""
    tries: int = 0
    """How often its row was begun: a gap begins it anew."""
    recovered: bool = False
    parked: bool = False
    seen: bool = False
    """Found again after a gap."""
    given_up: bool = False
    later: list[Command] = field(default_factory=list)
    """Commands that follow it."""

    @property
    def leg(self) -> str:
        """Its id."""
        return self.command.leg


class Moving:
    """Both ends of a move. `settle` of what is in doubt is `reconcile`'s."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._coming: dict[str, _Coming] = {}
        """By leg, in the order in which they were asked for."""
        self._leg_on: dict[str, str] = {}
        """Channel -> leg, of all of them."""
        self._waiting: deque[str] = deque()
        """Legs among them whose row is not made."""
        self._making = ""
        """The leg whose row is being made, or recovered."""

    # ------------------------------------------------------------------ the node that has the caller

    def hand_out(self, leg: Leg, command: Command, now: float) -> bool:
        """Describe a caller who waits."""
        board = self._board
        collects = leg.sound is not None and leg.sound.collect is not None
        talks = leg.peer is not None or bool(leg.lost) or leg.occupied or bool(leg.recording)
        if not board.config.behind_door or not leg.inbound or collects or talks:
            reason = "NO_DOOR" if not board.config.behind_door else "NOT_WAITING"
            board.settle(leg.tenant, leg.id, command.key, now, reason)
            return True
        leg.begun = command

        def described(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if leg.begun is not command:
                return
            channel = dumped(reply)
            told = "LEG_GONE" if channel is None else handed_out(channel, leg.id, leg.shard)
            if not isinstance(told, str):
                board.emit(leg, LegHandedOut(told), now)
            board.settle_begun(leg, now, told if isinstance(told, str) else "")
            board.stir(leg)

        board.api(f"uuid_dump {leg.channel} json", described)
        board.timers.set("begun", leg.id, now + board.config.settle_after_s)
        return True

    def let_go(self, leg: Leg, command: Command, now: float) -> None:
        """Its caller is on another node: end it here, of which the phone is told nothing."""
        if leg.stage is not Stage.UP:
            self._board.settle(leg.tenant, leg.id, command.key, now, "NOT_ANSWERED")
            return
        self._board.api(f"uuid_setvar {leg.channel} {MOVED} true")
        self._board.kill(leg, Cause.MOVED)

    # ------------------------------------------------------------------ the node that takes the caller

    def take_over(self, command: Command, now: float) -> None:
        """Begin as soon as it is its turn."""
        assert isinstance(command.verb, TakeOver)
        board, dialog = self._board, read(command.verb.dialog)
        reason = ""
        if not board.config.behind_door:
            reason = "NO_DOOR"
        elif self._is_here(command):
            # Each try has a leg of its own: it is the same one, of which the journal was lost.
            board.settle(command.tenant, command.leg, command.key, now)
            return
        elif command.leg in board.legs or command.leg in self._coming:
            reason = "LEG_EXISTS"
        elif dialog is None or not _fits(dialog, command):
            reason = "BAD_DIALOG"
        elif len(self._coming) >= UNDER_WAY_MAX:
            reason = "CAPACITY"
        if reason or dialog is None:
            board.settle(command.tenant, command.leg, command.key, now, reason)
            return
        self._expect(_Coming(command, dialog, channel_of_moved(command.tenant, command.leg)))
        self._waiting.append(command.leg)

    def _is_here(self, command: Command) -> bool:
        """Whether the leg was taken over, and lives."""
        leg = self._board.legs.get(command.leg)
        return leg is not None and leg.channel == channel_of_moved(command.tenant, command.leg)

    def _expect(self, coming: _Coming) -> None:
        self._coming[coming.leg] = coming
        self._leg_on[coming.channel] = coming.leg

    def _on(self, channel: str | None) -> _Coming | None:
        return self._coming.get(self._leg_on.get(channel or "", ""))

    def follows(self, command: Command) -> bool:
        """Whether the command is for a leg that is being taken over: then it waits for the end of that."""
        coming = self._coming.get(command.leg)
        if coming is None or coming.command.tenant != command.tenant:
            return False
        coming.later.append(command)
        return True

    def run(self, now: float) -> None:
        """Make the next row, if none is being made."""
        board = self._board
        while board.live and self._waiting and self._is_here(self._coming[self._waiting[0]].command):
            # It was found after a gap.
            self._end(self._coming[self._waiting[0]], "", now)
        if self._making or not self._waiting or not board.live:
            return
        leg = self._making = self._waiting.popleft()
        coming = self._coming[leg]
        coming.switch = board.switch
        coming.tries += 1
        tries, said = coming.tries, list[str]()

        def answered(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            said.append(reply.text.strip())
            if len(said) == len(_ASKED) and self._coming.get(leg) is coming and coming.tries == tries:
                self._make(coming, *said, now=now)

        for line in _ASKED:
            board.api(line, answered)

    def _make(
        self, coming: _Coming, limit: str, callers: str, media_ip: str, directory: str, first: str, *, now: float
    ) -> None:
        port = port_below(int(first) if first.isdecimal() else 0, coming.leg, coming.tries)
        under_way = sum(one.recovered and not one.parked for one in self._coming.values())
        if limit.isdecimal() and callers.isdecimal() and int(callers) + under_way >= int(limit):
            self._end(coming, "CAPACITY", now)
        elif not media_ip or not directory.startswith("/"):
            self._end(coming, "CANNOT_WRITE", now)
        elif not port:
            self._board.notice("NO_PORT", f"below rtp_port_min, which is {first!r}, there is no room for the audio of "
                               "callers who are taken over")  # fmt: skip
            self._end(coming, "NO_PORT", now)
        else:
            named = Named(coming.channel, coming.leg, coming.command.tenant)
            row = row_of(coming.dialog, named, (media_ip, port), coming.tries)
            self._board.rows.append(RecoveryRow(coming.channel, directory, self._board.switch, row))

    def written(self, channel: str, error: str, now: float) -> None:
        """Its row is in FreeSWITCH's database, or why not."""
        coming = self._on(channel)
        if coming is None or self._making != coming.leg or coming.recovered:
            return
        leg = coming.leg
        if error or not self._board.linked:
            self._board.notice("CANNOT_WRITE", f"a caller cannot be taken over: {error or 'FreeSWITCH has gone'}")
            self._end(coming, "CANNOT_WRITE", now)
            return
        coming.recovered = True

        def recovered(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if self._making == leg:
                self._making = ""
            if self._coming.get(leg) is coming and "Recovered" not in reply.text:
                self._end(coming, "BAD_DIALOG", now)

        self._board.api("sofia recover", recovered)
        self._await(coming, now)

    def _await(self, coming: _Coming, now: float) -> None:
        self._board.timers.set("coming", coming.leg, now + self._board.config.look_after_s)
        self._board.timers.set("stays away", coming.leg, now + self._board.config.taken_over_after_s)

    def look(self, leg: str, now: float) -> None:
        """Has the phone said yes to this node?"""
        coming = self._coming.get(leg)
        if coming is None:
            return

        def told(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if self._coming.get(leg) is not coming:
                return
            if coming.parked and reply.text.strip().isdecimal():
                self._taken(coming, now)
            elif reply.text.startswith(_NO_CHANNEL) and coming.given_up:
                self._end(coming, "NO_ANSWER", now)
            else:
                self._board.timers.set("coming", leg, now + self._board.config.look_after_s)

        self._board.api(f"uuid_getvar {coming.channel} {CSEQ}", told)

    def stays_away(self, leg: str, now: float) -> None:
        """The phone has not answered in time: end it here, of which the phone hears nothing."""
        coming = self._coming.get(leg)
        if coming is not None:
            coming.given_up = True
            self._board.api(f"uuid_kill {coming.channel}")
            self._board.timers.set("coming", leg, now + self._board.config.goodbye_s)

    def expects(self, channel: str | None) -> bool:
        """Whether FreeSWITCH was asked to take a call up on that channel."""
        coming = self._on(channel)
        return coming is not None and coming.recovered

    def parked(self, event: esl.Event) -> None:
        """FreeSWITCH has taken it up."""
        self._coming[self._leg_on[event.get("Unique-ID") or ""]].parked = True

    def _taken(self, coming: _Coming, now: float) -> None:
        board, command = self._board, coming.command
        self._forget(coming)
        # From here on it is a call like any other, and its phone is to hear of its end.
        board.api(f"uuid_setvar {coming.channel} {MOVED}")
        leg = Leg(coming.leg, command.tenant, coming.dialog.shard, coming.channel, True, Stage.UP, True)
        leg.taken = True
        board.add(leg)
        board.note(leg)
        board.emit(leg, LegTakenOver(), now)
        board.settle(command.tenant, command.leg, command.key, now)
        self._go_on(coming)

    def ended(self, event: esl.Event, now: float) -> None:
        """The phone said no to this node, or FreeSWITCH could not take it up."""
        coming = self._coming[self._leg_on[event.get("Unique-ID") or ""]]
        status = event.get("variable_sip_term_status") or ""
        told = status or coming.given_up or event.get("variable_sip_hangup_disposition") == "recv_bye"
        if (status == _PENDING or not told) and coming.tries < TRIES_MAX:
            coming.recovered = coming.parked = False
            for what in ("coming", "stays away"):
                self._board.timers.cancel(what, coming.leg)
            # Without a word of the phone the port was not free: another one is, at once.
            self._board.timers.set("again", coming.leg, now + (self._board.config.again_after_s if told else 0))
            return
        if status == "481":
            reason = "CALL_GONE"
        elif told:
            reason = "NO_ANSWER"
        else:
            self._board.notice("NO_PORT", "no port below rtp_port_min is free for a caller who is to be taken over")
            reason = "NO_PORT"
        self._end(coming, reason, now)

    def again(self, leg: str) -> None:
        """Its phone may be done with what it asked for itself."""
        if leg in self._coming:
            self._waiting.append(leg)

    def _end(self, coming: _Coming, reason: str, now: float, *, in_doubt: bool = False) -> None:
        command = coming.command
        self._forget(coming)
        self._board.settle(command.tenant, command.leg, command.key, now, reason, in_doubt=in_doubt)
        self._go_on(coming)

    def _forget(self, coming: _Coming) -> None:
        leg = coming.leg
        del self._coming[leg], self._leg_on[coming.channel]
        if leg in self._waiting:
            self._waiting.remove(leg)
        if self._making == leg and not coming.recovered:
            self._making = ""
        for what in ("coming", "stays away", "again"):
            self._board.timers.cancel(what, leg)

    def _go_on(self, coming: _Coming) -> None:
        """What was ordered meanwhile can begin."""
        self._board.followers += coming.later

    # ------------------------------------------------------------------ gaps

    def gap(self) -> None:
        """Something may have happened unseen. What FreeSWITCH was not asked for yet is begun anew."""
        for coming in self._coming.values():
            coming.parked = coming.seen = False
        making, self._making = self._coming.get(self._making), ""
        if making is not None and not making.recovered:
            making.tries += 1
            self._waiting.appendleft(making.leg)

    def died(self, now: float) -> None:
        """FreeSWITCH is gone, and with it what it was asked to take up."""
        for coming in [one for one in self._coming.values() if one.recovered]:
            self._end(coming, "SWITCH_GONE", now, in_doubt=True)

    def in_doubt(self, command: Command) -> None:
        """An earlier life of the agent had begun it, or may have: its channel says what came of it."""
        assert isinstance(command.verb, TakeOver)
        dialog = read(command.verb.dialog)
        if dialog is not None and command.leg not in self._board.legs:
            channel = channel_of_moved(command.tenant, command.leg)
            self._expect(_Coming(command, dialog, channel, recovered=True))

    def settle(self, command: Command, now: float) -> None:
        """Of those in doubt, the ones that nothing is to be waited for."""
        if command.leg not in self._coming:
            reason = "" if self._is_here(command) else "BAD_DIALOG"
            self._board.settle(command.tenant, command.leg, command.key, now, reason)

    def asked(self) -> Iterator[str]:
        """Channels that are to be looked for after a gap."""
        return (coming.channel for coming in self._coming.values() if coming.recovered)

    def found(self, channel: esl.Event) -> None:
        """One of them."""
        coming = self._coming[self._leg_on[channel.get("Unique-ID") or ""]]
        coming.seen = True
        coming.parked = channel.get("Channel-State") == "CS_EXECUTE"

    def known(self, now: float) -> None:
        """All that live have been found."""
        for coming in [one for one in self._coming.values() if one.recovered]:
            if coming.switch not in ("", self._board.switch):
                self._end(coming, "SWITCH_GONE", now, in_doubt=True)
            elif coming.seen:
                coming.switch = self._board.switch
                self._await(coming, now)
            else:
                self._end(coming, "NO_ANSWER", now)


def _fits(dialog: Dialog, command: Command) -> bool:
    """Whether the leg that was handed out can go on as the one that the command is addressed to."""
    return contact_of(dialog.leg) == contact_of(command.leg) and dialog.leg != command.leg
