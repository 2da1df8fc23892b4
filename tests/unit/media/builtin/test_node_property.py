"""Whatever owners, phones and time do: one settlement per command, one end per leg, nothing left behind."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.ports.media import (
    Answer,
    Bridge,
    Cause,
    Collect,
    Command,
    CommandSettled,
    HangUp,
    LegAnswered,
    LegArrived,
    LegEnded,
    LegRinging,
    Originate,
    Play,
    RecordStart,
    RecordStop,
    Stop,
    Verb,
)
from tandem.core.seal import Secret, secret
from tandem.media.backend import RowKind
from tandem.wire.sdp import Direction
from tests.unit.media.builtin.bench import TENANT, Bench, Handset

VERBS: tuple[Verb, ...] = (
    Play(("short",)),
    Play(("menu", "short")),
    Play(("music",), loop=True),
    Play(("nothing",)),
    Stop(),
    Collect("m", ("short",), 2, 500, 300, "#"),
    Collect("m", (), 1, 200),
    RecordStart("r1", Secret(bytes(32))),
    RecordStart("r2", Secret(bytes(32))),
    RecordStop("r1"),
)


class Storm:
    """Two callers, two agents and an owner, at random; a seed replays it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.bench = Bench(owner=self.chance.random() < 0.8, fallback_after_s=2.0, rtp_timeout_s=4.0)
        self.phones: list[Handset] = [self.bench.phone(user) for user in ("1", "2", "ann", "bob")]
        for phone in self.phones[2:]:
            phone.register()
        self.keys: list[str] = []
        self._originated = 0

    def step(self) -> None:
        """One thing happens."""
        weighted = (
            (6, self.dial), (4, self.answer), (6, self.originate), (4, self.pick_up), (8, self.command),
            (6, self.bridge), (4, self.press), (4, self.talk), (2, self.hold), (2, self.decline), (2, self.hang_up),
            (1, self.end), (1, self.owner), (2, self.bench.work_spool), (6, self.time),
        )  # fmt: skip
        weights, actions = zip(*weighted, strict=True)
        self.chance.choices(actions, weights)[0]()
        self.check()

    def leg(self) -> str:
        live = [live.leg for live in self.bench.node.legs()]
        return self.chance.choice(live) if live and self.chance.random() < 0.9 else "gone"

    def give(self, leg: str, verb: Verb) -> None:
        self.keys.append(self.bench.do(leg, verb))

    def dial(self) -> None:
        phone = self.chance.choice(self.phones[:2])
        if phone.endpoint.dialog(phone.call) is None:
            phone.dial()

    def answer(self) -> None:
        self.give(self.leg(), Answer())

    def originate(self) -> None:
        self._originated += 1
        device = self.chance.choice(("ann", "bob", "ann", "bob", "eve"))
        limit_ms = self.chance.choice((0, 800, 800))
        self.give(f"x.{self._originated}", Originate(device, limit_ms, "o", secret("1")))

    def pick_up(self) -> None:
        self.chance.choice(self.phones[2:]).answer()

    def command(self) -> None:
        self.give(self.leg(), self.chance.choice(VERBS))

    def bridge(self) -> None:
        self.give(self.leg(), Bridge(self.leg()))

    def press(self) -> None:
        self.chance.choice(self.phones).press(self.chance.choice("19#"))

    def talk(self) -> None:
        for phone in self.phones:
            phone.say(1)

    def hold(self) -> None:
        phone = self.chance.choice(self.phones)
        if phone.audio is not None:
            phone.hold(self.chance.choice(list(Direction)))

    def decline(self) -> None:
        self.chance.choice(self.phones[2:]).reject(self.chance.choice((486, 408, 500)))

    def hang_up(self) -> None:
        self.chance.choice(self.phones).hang_up()

    def end(self) -> None:
        self.give(self.leg(), HangUp(self.chance.choice((Cause.NORMAL, Cause.BUSY))))

    def owner(self) -> None:
        self.bench.node.owner_present(0, self.chance.random() < 0.7, self.bench.now)

    def time(self) -> None:
        self.bench.advance(self.chance.choice((0.02, 0.06, 0.3, 1.0)))

    def check(self) -> None:
        live = [live.leg for live in self.bench.node.legs()]
        for leg in dict.fromkeys(leg for leg, _ in self.bench.events if leg not in ("", "gone")):
            kinds = [type(body) for body in self.bench.of(leg)]
            for kind in (LegArrived, LegRinging, LegAnswered, LegEnded):
                assert kinds.count(kind) <= 1, (leg, kinds)
            assert (leg in live) is (LegEnded not in kinds), (leg, kinds)
            assert (leg in live) is ((RowKind.LEG, leg) in self.bench.rows)

    def finish(self) -> None:
        """Everything comes to rest."""
        for live in self.bench.node.legs():
            self.give(live.leg, HangUp())
        self.bench.advance(40.0)
        self.bench.work_spool()
        settled = Counter(body.key for _, body in self.bench.events if isinstance(body, CommandSettled))
        assert dict(settled) == dict.fromkeys(self.keys, 1)
        assert self.bench.node.legs() == ()
        assert self.bench.ports.open_ports == []
        assert [kind for kind, _ in self.bench.rows if kind is not RowKind.REGISTRATION] == []


@pytest.mark.parametrize("seed", range(12))
def test_everything_settles_once_and_ends_once(seed: int):
    storm = Storm(seed)
    for _ in range(300):
        storm.step()
    storm.finish()


@given(st.binary(max_size=400), st.booleans())
def test_garbage_on_either_port_tells_nothing(data: bytes, on_sip: bool):
    bench = Bench()
    leg = bench.call(bench.phone("1"))
    before = list(bench.events)
    if on_sip:
        bench.node.sip(data, ("10.0.9.9", 5060), bench.now)
    else:
        bench.node.rtp(bench.ports.open_ports[0], data, ("10.0.9.9", 4000), bench.now)
    bench.settle_wire()
    assert bench.events == before
    assert bench.node.legs()[0].leg == leg


def test_a_restored_leg_ends_once_and_its_commands_settle():
    bench = Bench()
    leg = bench.call(bench.phone("1"))
    key = bench.do(leg, Play(("menu",)))
    rows = bench.as_rows()
    bench.node = bench.new_node()
    bench.node.restore(rows, int(bench.now * 1000), bench.now)
    bench.node.settle(Command(TENANT, key, leg, Play(("menu",))), bench.now)
    assert [type(body) for body in bench.of(leg)].count(LegEnded) == 1
    assert bench.outcome(key) == "LEG_GONE"
