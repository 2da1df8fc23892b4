"""What a leg hears and what its digits do: play, collect, stop, bridge.

FreeSWITCH collects the digits of a step itself, into a variable named after the command: pressed
while nobody listens, they are found there (pitfalls M1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tandem.core.ports.media import (
    MAX_DIGITS,
    Bridge,
    Collect,
    Collected,
    Command,
    DigitsCollected,
    LegBridged,
    Play,
)
from tandem.core.seal import secret
from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.ids import token_of
from tandem.media.freeswitch.leg import Leg, Sound, Stage
from tandem.wire import esl

LOOP = "endless_playback"
"""What plays until something else ends it."""
HEARD = "tandem_heard"
"""The channel variable that holds the token of the last command that made a sound."""
_DIGITS = "0123456789*#ABCD"
_TERMINATORS = re.compile(r"[0-9*#A-D]{0,16}")
_AFTER_BRIDGE = "park_after_bridge=true;hangup_after_bridge=false"


def variable_of(token: str) -> str:
    """The channel variable that a step's digits are collected into."""
    return f"tandem_digits_{token}"


class Hearing:
    """Commands that replace each other on a leg, and the ends of what plays. `False` from a
    command: it must wait until what is there has ended."""

    def __init__(self, board: Board) -> None:
        self._board = board

    # ------------------------------------------------------------------ commands

    def play(self, leg: Leg, command: Command, verb: Play, now: float) -> bool:
        """Play prompts in place of what the leg heard."""
        paths = self._paths(verb.prompts)
        if paths is None:
            self._board.settle(leg.tenant, leg.id, command.key, now, "UNKNOWN_PROMPT")
            return True
        if not self.quiet(leg, now):
            return False
        if not paths:
            self._board.settle(leg.tenant, leg.id, command.key, now)
            return True
        self._execute(leg, command, LOOP if verb.loop else "playback", _file(paths), None)
        return True

    def collect(self, leg: Leg, command: Command, verb: Collect, now: float) -> bool:
        """Play prompts and gather digits."""
        paths = self._paths(verb.prompts)
        if paths is None or not _TERMINATORS.fullmatch(verb.terminators):
            reason = "UNKNOWN_PROMPT" if paths is None else "BAD_TERMINATORS"
            self._board.settle(leg.tenant, leg.id, command.key, now, reason)
            return True
        if not self.quiet(leg, now):
            return False
        # With a minimum of none it says why it ended: "success" for enough or a terminator, else "timeout".
        # Without terminators it would take "#"; "silence" is its word for no prompt.
        words = (
            "0", str(verb.max_digits), "1", str(verb.timeout_ms), verb.terminators or "none",
            _file(paths) if paths else "silence", "silence_stream://20",
            variable_of(token_of(leg.tenant, command.key)), ".+", str(verb.interdigit_ms),
        )  # fmt: skip
        self._execute(leg, command, "play_and_get_digits", " ".join(words), verb)
        return True

    def stop(self, leg: Leg, command: Command, now: float) -> bool:
        """End what plays or collects; a bridge stays."""
        if (leg.sound is not None or leg.occupied) and not self.quiet(leg, now):
            return False
        self._board.settle(leg.tenant, leg.id, command.key, now)
        return True

    def bridge(self, leg: Leg, command: Command, verb: Bridge, now: float) -> bool:
        """Join two legs. Doing it again changes nothing."""
        board, other = self._board, self._board.legs.get(verb.other)
        if other is None or other is leg or other.tenant != leg.tenant or other.hanging_up is not None:
            board.settle(leg.tenant, leg.id, command.key, now, "OTHER_GONE")
        elif other.stage is not Stage.UP and not other.early:
            board.settle(leg.tenant, leg.id, command.key, now, "NOT_ANSWERED")
        elif leg.peer == other.id:
            board.settle(leg.tenant, leg.id, command.key, now)
        elif leg.occupied or other.occupied:
            other.awaited_by = leg.id
            for one in (leg, other):
                if one.occupied:
                    self.quiet(one, now)
            return False
        elif not (_there(leg) and _there(other)):
            other.awaited_by = leg.id
            return False
        else:
            self._join(leg, other, command, verb, now)
        return True

    def _join(self, leg: Leg, other: Leg, command: Command, verb: Bridge, now: float) -> None:
        board = self._board
        leg.begun, leg.moving, other.moving, other.awaited_by = command, True, True, leg.id
        for one in (leg, other):
            board.api(f"uuid_setvar_multi {one.channel} {_AFTER_BRIDGE}")

        def over(result: str, now: float) -> None:
            if not result.startswith("+OK") and leg.begun is command:
                self.not_joined(leg, command, verb, now, "BRIDGE_FAILED")

        board.job(f"uuid_bridge {leg.channel} {other.channel}", token_of(leg.tenant, command.key), over)
        board.timers.set("begun", leg.id, now + board.config.settle_after_s)

    def not_joined(self, leg: Leg, command: Command, verb: Bridge, now: float, reason: str) -> None:
        """The `Bridge` that had begun on the leg came to nothing."""
        other = self._board.legs.get(verb.other)
        for one in (leg,) if other is None else (leg, other):
            one.moving = False
            self._board.stir(one)
        leg.begun = None
        self._board.timers.cancel("begun", leg.id)
        self._board.settle(leg.tenant, leg.id, command.key, now, reason)

    def _paths(self, prompts: tuple[str, ...]) -> list[str] | None:
        paths = [self._board.prompts.get(prompt) for prompt in prompts]
        known = [path for path in paths if path is not None]
        return known if len(known) == len(paths) else None

    def _execute(self, leg: Leg, command: Command, application: str, argument: str, collect: Collect | None) -> None:
        board, token = self._board, token_of(leg.tenant, command.key)
        heard = argument if collect is None else variable_of(token)
        sound = leg.sound = Sound(command.key, token, heard, collect, loops=application == LOOP)

        def taken(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if not reply.ok:
                if leg.sound is sound:
                    leg.sound = None
                board.settle(leg.tenant, leg.id, command.key, now, "LEG_GONE")
                board.stir(leg)
            elif sound.loops:
                sound.play_key = None
                board.settle(leg.tenant, leg.id, command.key, now)

        board.api(f"uuid_setvar_multi {leg.channel} {HEARD}={token}")
        board.send(esl.execute(leg.channel, application, argument, token), taken)

    def comfort(self, leg: Leg) -> None:
        """Nobody will say what comes next while no owner is there: a caller hears music instead of silence."""
        board = self._board
        music = board.prompts.get(board.config.music)
        waits = leg.inbound and leg.stage is Stage.UP and leg.parked and leg.shard not in board.owners
        busy = leg.sound is not None or leg.replacing or leg.queue or leg.begun is not None or leg.peer is not None
        if music is None or not waits or busy or leg.hanging_up is not None or not board.live:
            return
        token = token_of(leg.tenant, f"comfort {leg.id}")
        sound = leg.sound = Sound(None, token, music, loops=True)

        def taken(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if not reply.ok and leg.sound is sound:
                leg.sound = None

        board.api(f"uuid_setvar_multi {leg.channel} {HEARD}={token}")
        board.send(esl.execute(leg.channel, LOOP, music, token), taken)

    # ------------------------------------------------------------------ making room

    def quiet(self, leg: Leg, now: float) -> bool:
        """Whether nothing is heard on the leg. If something is, its end is begun.

        One application runs inside the other, and a break would hit the wrong one: the next begins
        when this one's end has been told. A break does not end the wait for digits, and begins a loop
        anew; being sent to park anew ends everything, a bridge too.
        """
        if leg.replacing:
            return False
        if leg.sound is None and leg.peer is None and not leg.occupied:
            return leg.parked
        leg.replacing = True
        sound = leg.sound
        if leg.peer is None and sound is not None and sound.collect is None and not sound.loops:
            self._board.api(f"uuid_break {leg.channel} all")
        else:
            leg.parked, leg.moving = False, True
            self._board.api(f"uuid_setvar_multi {leg.channel} {_AFTER_BRIDGE}")
            self._board.api(f"uuid_transfer {leg.channel} park inline")
        self._board.timers.set("quiet", leg.id, now + self._board.config.quiet_after_s)
        return False

    def on_its_way(self, leg: Leg, now: float) -> None:
        """What was heard on the leg is being ended, by the wish of an earlier life of the agent."""
        if leg.stage is Stage.UP and not (leg.parked or leg.occupied or leg.peer is not None):
            leg.replacing = leg.moving = True
            self._board.timers.set("quiet", leg.id, now + self._board.config.quiet_after_s)

    def loud(self, leg: Leg, now: float) -> None:
        """The end of what it heard was not told in time."""
        self._board.notice("SOUND_NOT_ENDED", f"channel {leg.channel} did not say that its sound ended")
        if leg.sound is not None:
            self._over(leg, leg.sound, None, now)
        leg.parked = True
        self._made_room(leg)

    def _made_room(self, leg: Leg) -> None:
        if leg.replacing and leg.sound is None and leg.parked:
            leg.replacing = leg.moving = False
            self._board.timers.cancel("quiet", leg.id)
        self._board.stir(leg)

    # ------------------------------------------------------------------ what happens

    def parked(self, leg: Leg, now: float) -> None:
        """FreeSWITCH waits for commands on the leg: a bridge that it was in is over.

        The other end of it is told when it is parked too, for it may be hanging up.
        """
        leg.parked = True
        self.parted(leg, now)
        self._board.stirred[leg.awaited_by] = None
        self._made_room(leg)

    def parted(self, leg: Leg, now: float) -> None:
        """The bridge of the leg is over, if it was in one."""
        peer = self._board.part(leg)
        if peer is not None:
            self._board.lose(peer, leg.id)
            self._board.left(leg, peer.id, now)
        elif leg.lost:
            self._board.left(leg, leg.lost, now)

    def complete(self, leg: Leg, event: esl.Event, now: float) -> None:
        """An application ended."""
        sound = leg.sound
        if sound is not None and event.get("Application-UUID") == sound.token:
            self._over(leg, sound, event, now)
            self._made_room(leg)

    def _over(self, leg: Leg, sound: Sound, event: esl.Event | None, now: float) -> None:
        leg.sound = None
        if sound.collect is not None:
            self.collected(leg, sound.token, sound.collect, event, now)
        self._board.settle(leg.tenant, leg.id, sound.play_key, now)

    def collected(self, leg: Leg, token: str, verb: Collect, event: esl.Event | None, now: float) -> None:
        """Tell a step's digits, from the channel as it is after it."""
        pressed = (event.get(f"variable_{variable_of(token)}") if event is not None else None) or ""
        digits = "".join(digit for digit in pressed if digit in _DIGITS)[:MAX_DIGITS]
        result = event.get("variable_read_result") if event is not None else None
        if len(digits) >= verb.max_digits or result == "success":
            why = Collected.COMPLETE
        else:
            why = Collected.REPLACED if leg.replacing or leg.moving else Collected.TIMEOUT
        if verb.sensitive:
            # The switch writes a channel's variables to its call records.
            self._board.api(f"uuid_setvar {leg.channel} {variable_of(token)}")
        body = DigitsCollected(verb.step, secret(digits, sensitive=verb.sensitive), why)
        self._board.emit(leg, body, now)

    def bridged(self, one: Leg, two: Leg, now: float) -> None:
        """Two channels hear each other."""
        if one.peer == two.id:
            return
        board = self._board
        leg = two if two.begun is not None and two.begun.verb == Bridge(one.id) else one
        other = one if leg is two else two
        for part in (leg, other):
            if part.sound is not None:
                self._over(part, part.sound, None, now)
            was = board.part(part)
            if was is not None:
                board.left(was, part.id, now)
            board.leave(part, now)
            part.lost = ""
            part.moving = part.replacing = False
            board.timers.cancel("quiet", part.id)
        board.pair(leg, other)
        board.emit(leg, LegBridged(other.id), now)
        if leg.begun is not None and leg.begun.verb == Bridge(other.id):
            board.settle_begun(leg, now)
        board.stir(leg)
        board.stir(other)


def _there(leg: Leg) -> bool:
    """Whether a bridge may be made with it now: FreeSWITCH has it parked, or in another bridge."""
    return (leg.parked or leg.peer is not None) and not leg.replacing


def argument_of(verb: Play | Collect, token: str, prompts: Mapping[str, str]) -> str:
    """What tells the application of a command from others."""
    if isinstance(verb, Collect):
        return variable_of(token)
    return _file([prompts.get(prompt, "") for prompt in verb.prompts])


def _file(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else "file_string://" + "!".join(paths)
