"""A media node by hand: orders wait until the test lets the node do them, events until it lets
them reach the owner. What it does with an order is what the `Media` port promises, no more."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from tandem.core.ports import media
from tandem.core.ports.media import By, Cause, CommandSettled, Outcome
from tandem.core.seal import Secret
from tandem.runtime.outputs import AskLegs, Perform


@dataclass
class Leg:
    """A leg that lives: `up` once answered; `playing` is the key of what plays or collects."""

    up: bool = False
    ringing: bool = False
    originate: str = ""
    playing: str = ""
    recording: str = ""
    limit_ms: int = 0


class HandNode:
    """`events` are (leg, body), in the order in which the owner will hear them."""

    def __init__(self) -> None:
        self.legs: dict[str, Leg] = {}
        self.orders: deque[Perform | AskLegs] = deque()
        self.events: deque[tuple[str, Any]] = deque()
        self.done: dict[str, CommandSettled | None] = {}
        self.collecting: dict[str, tuple[str, media.Collect]] = {}
        self.rang: list[str] = []

    # ---------------------------------------------------------------- orders

    def work(self) -> None:
        """Do the next order, or answer it as the first of its key was answered."""
        perform = self.orders.popleft()
        assert isinstance(perform, Perform), "whoever brings the orders answers for the legs"
        key, leg, verb = perform.key, perform.payload.leg, perform.payload.verb
        if key in self.done:
            outcome = self.done[key]
            if outcome is not None:
                self.events.append((leg, outcome))
            return
        self.done[key] = None
        self._do(key, leg, verb)

    def _settle(self, leg: str, key: str, outcome: Outcome = Outcome.DONE, reason: str = "") -> None:
        self.done[key] = CommandSettled(key, outcome, reason)
        self.events.append((leg, self.done[key]))

    def _do(self, key: str, name: str, verb: Any) -> None:
        leg = self.legs.get(name)
        if isinstance(verb, media.Originate):
            assert name not in self.rang, f"{name} rung twice"
            self.rang.append(name)
            self.legs[name] = Leg(originate=key, limit_ms=verb.ring_timeout_ms)
            return
        if leg is None:
            harmless = isinstance(verb, media.HangUp | media.RecordStop)
            self._settle(name, key, Outcome.DONE if harmless else Outcome.FAILED, "" if harmless else "LEG_GONE")
            return
        match verb:
            case media.Answer():
                leg.up = True
                self.events.append((name, media.LegAnswered()))
                self._settle(name, key)
            case media.Play(loop=loop):
                self._replace(name, leg)
                if loop:
                    self._settle(name, key)
                else:
                    leg.playing = key
            case media.Collect():
                self._replace(name, leg)
                leg.playing = key
                self.collecting[name] = (key, verb)
            case media.Bridge(other):
                self._bridge(key, name, leg, other)
            case media.RecordStart(recording):
                leg.recording = recording
                self._settle(name, key)
            case media.RecordStop(recording):
                if leg.recording == recording:
                    self._stored(name, leg)
                self._settle(name, key)
            case media.RecordPause(recording) | media.RecordResume(recording):
                known = leg.recording == recording
                self._settle(name, key, Outcome.DONE if known else Outcome.FAILED, "" if known else "NOT_RECORDING")
            case media.HangUp(cause):
                self.end(name, Cause.NORMAL if leg.up else cause, By.TANDEM)
                self._settle(name, key)
            case _:
                raise AssertionError(verb)

    def _replace(self, name: str, leg: Leg) -> None:
        """What plays makes room for something else."""
        if leg.playing:
            collected = self.collecting.pop(name, None)
            if collected is not None:
                body = media.DigitsCollected(collected[1].step, _digits(""), media.Collected.REPLACED)
                self.events.append((name, body))
            key, leg.playing = leg.playing, ""
            self._settle(name, key)

    def _bridge(self, key: str, name: str, leg: Leg, other: str) -> None:
        far = self.legs.get(other)
        if far is None or not far.up or not leg.up:
            self._settle(name, key, Outcome.FAILED, "LEG_GONE")
            return
        self._replace(name, leg)
        self.events.append((name, media.LegBridged(other)))
        self._settle(name, key)

    def _stored(self, name: str, leg: Leg) -> None:
        recording, leg.recording = leg.recording, ""
        self.events.append((name, media.RecordingStored(recording, f"blob/{recording}", 8000, 16000, "00")))

    # ---------------------------------------------------------------- what people do

    def arrive(self, name: str, number: str) -> None:
        """A call to one of our numbers."""
        self.legs[name] = Leg()
        self.events.append((name, media.LegArrived(number, Secret(b"+4420111"))))

    def end(self, name: str, cause: Cause, by: By, rang_ms: int = 0) -> None:
        """A leg ends; what it held is settled."""
        leg = self.legs.pop(name)
        self.collecting.pop(name, None)
        if leg.playing:
            self._settle(name, leg.playing, Outcome.FAILED, "LEG_GONE")
        self.events.append((name, media.LegEnded(cause, by, rang_ms)))
        if leg.originate and not leg.up:
            self._settle(name, leg.originate, Outcome.FAILED, cause.value)
        if leg.recording:
            self._stored(name, leg)

    def ring(self, name: str) -> None:
        """The phone rings."""
        self.legs[name].ringing = True
        self.events.append((name, media.LegRinging()))

    def answer(self, name: str) -> None:
        """The agent answers."""
        leg = self.legs[name]
        leg.up = True
        self.events.append((name, media.LegAnswered()))
        self._settle(name, leg.originate)

    def digit(self, name: str, pressed: str) -> None:
        """The caller presses a digit, or nothing in time, if the node asks for one."""
        key, collect = self.collecting.pop(name)
        self.legs[name].playing = ""
        why = media.Collected.COMPLETE if pressed else media.Collected.TIMEOUT
        self.events.append((name, media.DigitsCollected(collect.step, _digits(pressed), why)))
        self._settle(name, key)

    def played(self, name: str) -> None:
        """A prompt is over."""
        leg = self.legs[name]
        key, leg.playing = leg.playing, ""
        self._settle(name, key)


def _digits(text: str) -> Secret:
    """Digits as the link brings them."""
    return Secret(text.encode())
