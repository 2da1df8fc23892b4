"""What a leg hears and what its digits do: play, collect, bridge, hold."""

from __future__ import annotations

from tandem.core.ports.media import (
    Bridge,
    Collect,
    Collected,
    DigitsCollected,
    LegBridged,
    Play,
)
from tandem.core.seal import secret
from tandem.media.builtin.board import Board
from tandem.media.builtin.collection import Collection
from tandem.media.builtin.leg import Leg, Stage
from tandem.media.builtin.sound import Playlist
from tandem.wire.wav import Audio


class Hearing:
    """Commands that replace each other on a leg, and the ends of what plays."""

    def __init__(self, board: Board) -> None:
        self._board = board

    # ------------------------------------------------------------------ commands

    def play(self, leg: Leg, key: str, verb: Play, now: float) -> None:
        """Play prompts in place of what the leg heard."""
        clips = self._clips(verb.prompts)
        if clips is None:
            self._board.settle(leg.tenant, leg.id, key, now, "UNKNOWN_PROMPT")
            return
        self.replace(leg, now)
        leg.playlist = Playlist(clips, loop=verb.loop)
        if verb.loop or not clips:
            self._board.settle(leg.tenant, leg.id, key, now)
        else:
            leg.play_key = key

    def collect(self, leg: Leg, key: str, verb: Collect, now: float) -> None:
        """Play prompts and gather digits."""
        clips = self._clips(verb.prompts)
        if clips is None:
            self._board.settle(leg.tenant, leg.id, key, now, "UNKNOWN_PROMPT")
            return
        self.replace(leg, now)
        leg.collection = Collection(key, verb)
        if clips:
            leg.playlist = Playlist(clips)
        else:
            self._await_digit(leg, now)

    def stop(self, leg: Leg, key: str, now: float) -> None:
        """End what plays or collects; a bridge stays."""
        self._end_sound(leg, now)
        self._board.settle(leg.tenant, leg.id, key, now)

    def bridge(self, leg: Leg, key: str, verb: Bridge, now: float) -> None:
        """Join two legs. Doing it again changes nothing."""
        board = self._board
        other = board.legs.get(verb.other)
        if other is None or other is leg or other.tenant != leg.tenant:
            board.settle(leg.tenant, leg.id, key, now, "OTHER_GONE")
        elif other.stage is not Stage.UP:
            board.settle(leg.tenant, leg.id, key, now, "NOT_ANSWERED")
        elif leg.peer == other.id:
            board.settle(leg.tenant, leg.id, key, now)
        else:
            self.replace(leg, now)
            self.replace(other, now)
            leg.peer, other.peer = other.id, leg.id
            self.hold_changed(leg)
            self.hold_changed(other)
            board.emit(leg, LegBridged(other.id), now)
            board.settle(leg.tenant, leg.id, key, now)

    def replace(self, leg: Leg, now: float) -> None:
        """Make room for the next thing to hear: end sound and bridge."""
        self._end_sound(leg, now)
        if leg.peer is not None:
            self._board.part(leg, now)

    def _end_sound(self, leg: Leg, now: float) -> None:
        leg.playlist = None
        key, leg.play_key = leg.play_key, None
        self._board.settle(leg.tenant, leg.id, key, now)
        if leg.collection is not None:
            self._collected(leg, leg.collection, Collected.REPLACED, now)

    def _clips(self, prompts: tuple[str, ...]) -> list[Audio] | None:
        clips = [self._board.prompts.get(prompt) for prompt in prompts]
        known = [clip for clip in clips if clip is not None]
        return known if len(known) == len(clips) else None

    # ------------------------------------------------------------------ what happens

    def playlist_over(self, leg: Leg, now: float) -> None:
        """The last prompt has ended."""
        if leg.collection is not None:
            self._await_digit(leg, now)
            return
        key, leg.play_key = leg.play_key, None
        self._board.settle(leg.tenant, leg.id, key, now)
        self.comfort(leg)

    def digit(self, leg: Leg, digit: str, now: float) -> None:
        """The phone sent a digit: for the menu, or for the other party."""
        collection = leg.collection
        if collection is not None:
            leg.playlist = None
            why = collection.digit(digit, now)
            if why is None:
                self._arm(leg, collection)
            else:
                self._collected(leg, collection, why, now)
                self.comfort(leg)
        elif leg.peer is not None:
            peer = self._board.legs[leg.peer]
            if peer.stream is not None:
                peer.stream.press(digit)

    def time_up(self, leg: Leg, now: float) -> None:
        """The time for a digit has passed."""
        if leg.collection is not None:
            self._collected(leg, leg.collection, Collected.TIMEOUT, now)
            self.comfort(leg)

    def hold_changed(self, leg: Leg) -> None:
        """While a phone holds, the party at the other end of its bridge hears music."""
        peer = self._board.legs.get(leg.peer or "")
        if peer is None:
            return
        music = self._board.prompts.get(self._board.config.music)
        peer.music = Playlist([music], loop=True) if leg.held and music is not None else None

    def comfort(self, leg: Leg) -> None:
        """Nobody will say what comes next while no owner is there: music instead of silence."""
        music = self._board.prompts.get(self._board.config.music)
        idle = leg.playlist is None and leg.peer is None and leg.collection is None and leg.stage is Stage.UP
        if idle and leg.inbound and leg.shard not in self._board.owners and music is not None:
            leg.playlist = Playlist([music], loop=True)

    def _await_digit(self, leg: Leg, now: float) -> None:
        assert leg.collection is not None
        leg.collection.prompts_ended(now)
        self._arm(leg, leg.collection)

    def _arm(self, leg: Leg, collection: Collection) -> None:
        if collection.deadline is not None:
            self._board.timers.set("collect", leg.id, collection.deadline)

    def _collected(self, leg: Leg, collection: Collection, why: Collected, now: float) -> None:
        leg.collection = leg.playlist = None
        self._board.timers.cancel("collect", leg.id)
        digits = secret(collection.digits, sensitive=collection.verb.sensitive)
        self._board.emit(leg, DigitsCollected(collection.verb.step, digits, why), now)
        self._board.settle(leg.tenant, leg.id, collection.key, now)
