"""Fuzz target: the built-in node, without sockets: SIP and RTP from anybody, commands in between."""

from __future__ import annotations

from collections import Counter

from tandem.core.ports.media import (
    Answer,
    Bridge,
    Collect,
    Command,
    CommandSettled,
    HangUp,
    LegArrived,
    LegEnded,
    Originate,
    Play,
    RecordStart,
    Verb,
)
from tandem.core.seal import Secret
from tandem.media.backend import RowKind
from tandem.wire.sip.guard import GuardConfig
from tests.fuzz.sip import PARTS_MAX, SEPARATOR
from tests.unit.media.builtin.bench import TENANT, Bench

CAPACITY, SOURCES_MAX = 3, 4
GUARD = GuardConfig(trusted=("10.1.0.0/16",), sources_max=SOURCES_MAX, source_burst=12, total_burst=20, failures=5)
SOURCES = (("10.1.0.1", 5060), ("10.0.9.1", 5060), ("10.0.9.2", 5060), ("10.1.0.1", 5070))
LIFE_S = 200.0
DIES = 0x80
"""The bit of a part's first byte after which the node dies."""


def _command(code: int, legs: list[str], number: int) -> tuple[str, Verb] | None:
    """What the owner does: by the input, to the newest leg. Legs of its own have ids that are never used again."""
    newest = legs[-1] if legs else "nobody"
    verbs: dict[int, Verb] = {
        1: Answer(),
        2: HangUp(),
        3: Collect("menu", ("menu",), max_digits=2, timeout_ms=3000),
        4: Play(("menu",)),
        5: Bridge(legs[-2] if len(legs) > 1 else "nobody"),
        6: Originate("ann", 5000, "offer", Secret(b"4917")),
        7: RecordStart("r1", Secret(b"k" * 32)),
    }
    verb = verbs.get(code)
    return None if verb is None else (f"made.{number}" if isinstance(verb, Originate) else newest, verb)


def node(data: bytes) -> None:
    """Legs within their limits at every step; each leg and each command ends once; nothing is left."""
    bench = Bench(capacity=CAPACITY, guard=GUARD)
    keys: dict[str, Command] = {}
    for part in data.split(SEPARATOR)[:PARTS_MAX]:
        if len(part) < 2:
            continue
        bench._deadlines(bench.now + part[1] * part[1] / 256)
        _receive(bench, part[0], part[2:])
        bench.settle_wire()
        command = _command(part[0] >> 4 & 7, [live.leg for live in bench.node.legs()], len(keys))
        if command is not None:
            _do(bench, keys, *command)
        if part[0] & DIES:
            _die(bench, keys)
        _check(bench)
    for live in bench.node.legs():
        _do(bench, keys, live.leg, HangUp())
    bench._deadlines(bench.now + LIFE_S)
    bench.work_spool()
    _check_end(bench, keys)


def _do(bench: Bench, keys: dict[str, Command], leg: str, verb: Verb) -> None:
    key = bench.do(leg, verb)
    keys[key] = Command(TENANT, key, leg, verb)


def _die(bench: Bench, keys: dict[str, Command]) -> None:
    """kill -9 and the next life, from what the journal held; what was under way on the wire is lost."""
    rows = bench.as_rows()
    bench.ports.open_ports.clear()
    bench.spool.begun.clear()
    bench.spool.finished.clear()
    bench.node = bench.new_node()
    bench.node.directory(bench.greeting("ann", "bob"), bench.now)
    bench.node.restore(rows, int(bench.now * 1000), bench.now)
    settled = {body.key for _, body in bench.events if isinstance(body, CommandSettled)}
    for command in [command for key, command in keys.items() if key not in settled]:
        bench.node.settle(command, bench.now)
    bench.node.owner_present(0, True, bench.now)
    bench.settle_wire()


def _receive(bench: Bench, verb: int, datagram: bytes) -> None:
    source = SOURCES[verb & 3]
    if verb & 4 and bench.ports.open_ports:
        bench.node.rtp(bench.ports.open_ports[-1], datagram, source, bench.now)
    else:
        bench.node.sip(datagram, source, bench.now)


def _check(bench: Bench) -> None:
    legs = bench.node._board.legs
    assert sum(leg.inbound for leg in legs.values()) <= CAPACITY
    assert sorted(leg.port for leg in legs.values() if leg.port) == sorted(bench.ports.open_ports)
    assert bench.node.counters.sources <= SOURCES_MAX
    assert len(bench.node._board.leg_of_call) <= len(legs)


def _check_end(bench: Bench, keys: dict[str, Command]) -> None:
    settled = Counter(body.key for _, body in bench.events if isinstance(body, CommandSettled))
    assert dict(settled) == dict.fromkeys(keys, 1), "not one outcome for each command"
    arrived = Counter(leg for leg, body in bench.events if isinstance(body, LegArrived))
    ended = Counter(leg for leg, body in bench.events if isinstance(body, LegEnded))
    assert all(count == 1 for count in (*arrived.values(), *ended.values())), "a leg ends twice"
    assert set(arrived) <= set(ended), "a leg without an end"
    assert bench.node.legs() == ()
    assert bench.ports.open_ports == []
    assert [kind for kind, _ in bench.rows if kind is not RowKind.REGISTRATION] == []
    layer = bench.node._board.endpoint._layer
    assert not (layer.clients or layer.servers or layer._requests)
