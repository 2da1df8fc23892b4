"""A connection, or an agent, that dies at every point of a trace: what follows is found out and told once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tandem.core.ports.media import (
    By,
    Cause,
    CommandSettled,
    DigitsCollected,
    LegAnswered,
    LegArrived,
    LegBridged,
    LegEnded,
    LegUnbridged,
    Outcome,
)
from tandem.core.seal import Secret
from tandem.media.backend import RowKind
from tests.unit.media.freeswitch.replay import Replay
from tests.unit.media.freeswitch.test_traces import SCRIPTS, replay

TRACES = sorted(name for name in SCRIPTS if not name.startswith("01j"))


def with_gap(name: str, begin: int, length: int, *, restart: bool) -> Replay:
    """The trace of which `length` frames from `begin` on are not heard."""
    switch = replay(name)
    switch.connect()
    frames = switch.frames()
    for index, frame in enumerate(frames):
        if index == begin:
            switch.cut()
        if index == begin + length:
            if restart:
                switch.restart()
            switch.connect()
        switch.happen(frame)
        if not begin <= index < begin + length:
            switch.hear(frame)
    if begin + length >= len(frames):
        if begin >= len(frames):
            switch.cut()
        if restart:
            switch.restart()
        switch.connect()
    switch.rest()
    return switch


def check(switch: Replay) -> None:
    """Once each, and in an order that can be."""
    told, tape = switch.tape.told, switch.tape
    assert sorted(tape.settled()) == sorted(command.key for command in switch.performed)
    known = {leg for leg, body in told if leg and not isinstance(body, CommandSettled)}
    assert sorted(tape.ends()) == sorted(known)
    assert not [row for row in tape.rows if row[0] is RowKind.LEG]
    assert switch.node.legs() == ()
    over: set[str] = set()
    bridged: dict[str, str] = {}
    pairs: set[frozenset[str]] = set()
    for leg, body in told:
        assert leg not in over or isinstance(body, CommandSettled), (leg, body)
        match body:
            case LegBridged(other):
                assert bridged.get(leg) != other
                # Who is joined anew before it could be told that it was left is told that alone.
                for one in (leg, other):
                    bridged.pop(bridged.pop(one, ""), None)
                bridged |= {leg: other, other: leg}
                assert frozenset((leg, other)) not in pairs
                pairs.add(frozenset((leg, other)))
            case LegUnbridged(other):
                bridged.pop(leg, None)
                bridged.pop(other, None)
            case LegEnded():
                over.add(leg)
                bridged.pop(bridged.pop(leg, ""), None)
    for kind in (LegArrived, LegAnswered):
        subjects = [leg for leg, body in told if isinstance(body, kind)]
        assert len(subjects) == len(set(subjects))
    for (_, digits), (_, settled) in pairwise(told):
        if isinstance(digits, DigitsCollected) and settled == CommandSettled("menu", Outcome.DONE):
            assert isinstance(digits.digits, Secret)
            assert digits.digits.value == b"123"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", TRACES)
def test_a_short_gap_at_every_point(name: str, restart: bool) -> None:
    frames = replay(name).frames()
    for begin in [index for index, frame in enumerate(frames) if Replay.is_heard(frame)]:
        check(with_gap(name, begin, 1, restart=restart))


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", TRACES)
def test_calls_die_with_their_switch_at_every_point(name: str, restart: bool) -> None:
    frames = replay(name).frames()
    for died in [index for index, frame in enumerate(frames) if Replay.is_heard(frame)]:
        switch = replay(name)
        switch.connect()
        for frame in frames[:died]:
            switch.happen(frame)
            switch.hear(frame)
        alive = switch.node.legs()
        told = len(switch.tape.told)
        switch.crash()
        if restart:
            switch.restart()
        switch.connect()
        switch.rest()
        check(switch)
        lost = [body for _, body in switch.tape.told[told:] if isinstance(body, LegEnded)]
        assert [(end.cause, end.by) for end in lost] == [(Cause.MEDIA_LOST, By.NODE)] * len(alive)


@pytest.mark.parametrize("name", TRACES)
def test_a_connection_that_breaks_before_every_answer(name: str) -> None:
    commands = len(_ran(name, -1).sent)
    for left in range(1, commands + 1):
        check(_ran(name, left))


def _ran(name: str, answers_left: int) -> Replay:
    switch = replay(name)
    switch.answers_left = answers_left
    switch.run()
    return switch


@settings(max_examples=150, deadline=None)
@example("09b_attended_transfer_esl", 68, 16, False)
@given(st.sampled_from(TRACES), st.integers(0, 400), st.integers(0, 400), st.booleans())
def test_a_gap_of_any_length(name: str, begin: int, length: int, restart: bool) -> None:
    frames = len(replay(name).frames()) + 1
    check(with_gap(name, begin % frames, length % frames, restart=restart))
