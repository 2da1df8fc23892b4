"""What the node answers to scanners, and what it keeps of them: nothing."""

from __future__ import annotations

import pytest

from tandem.wire.g711 import Law
from tandem.wire.sip import events as sip
from tandem.wire.sip.guard import GuardConfig
from tandem.wire.sip.message import Response, parse
from tests.support.flood import KINDS
from tests.unit.media.builtin.bench import Bench, Handset

STRANGER = ("10.0.9.9", 5060)


def answers(bench: Bench, kind: str, count: int = 1, source: tuple[str, int] = STRANGER) -> list[Response]:
    """What comes back when a stranger sends so much of a kind."""
    for number in range(count):
        bench.node.sip(KINDS[kind](source[0], number), source, bench.now)
    found = [parse(data) for data, _ in bench.node.take_sip()]
    return [answer for answer in found if isinstance(answer, Response)]


def kept(bench: Bench) -> int:
    layer = bench.node._board.endpoint._layer
    return len(layer.servers) + len(layer._requests) + len(layer.timers._armed)


@pytest.mark.parametrize(
    ("kind", "status", "counter"),
    [
        ("scan", 404, "failures_unknown_number"),
        ("guess", 403, "failures_password"),
        ("broken", 400, "failures_malformed"),
        ("ask", 401, ""),
        ("options", 200, ""),
        ("stray", 481, ""),
    ],
)
def test_one_answer_and_nothing_kept(kind: str, status: int, counter: str) -> None:
    bench = Bench()
    [answer] = answers(bench, kind)
    assert answer.status == status
    assert kept(bench) == 0
    assert not counter or getattr(bench.node.counters, counter) == 1


@pytest.mark.parametrize("kind", ["scan", "guess", "broken"])
def test_who_keeps_failing_is_not_answered_any_more(kind: str) -> None:
    bench = Bench(guard=GuardConfig(failures=5, failure_every_s=10))
    assert len(answers(bench, kind, 100)) == 5
    assert bench.node.counters.dropped_failures == 95
    assert len(answers(bench, "options", source=("10.0.9.10", 5060))) == 1
    bench.now += 10
    assert len(answers(bench, kind, 100)) == 1


def test_noise_and_answers_to_nothing_are_not_answered() -> None:
    bench = Bench()
    assert answers(bench, "garbage", 5) == []
    assert answers(bench, "answer", 5) == []
    assert bench.node.counters.failures_malformed == 10
    assert kept(bench) == 0


def test_beyond_what_strangers_have_together_a_few_are_told_to_come_later() -> None:
    bench = Bench(guard=GuardConfig(total_rate=1, total_burst=3, refusals_rate=2))
    found = [answers(bench, "options", source=(f"10.0.8.{n}", 5060)) for n in range(10)]
    assert [answer[0].status if answer else None for answer in found] == [200] * 3 + [503] * 2 + [None] * 5
    assert found[3][0].headers.get("Retry-After") == str(bench.config.retry_after_s)


def caller(bench: Bench, host: str, port: int) -> Handset:
    """Somebody who dials."""
    bench.phones[host, port] = phone = Handset(bench, f"4917{port}", (host, port), Law.MU)
    phone.dial()
    return phone


def test_a_stranger_has_so_many_calls_and_strangers_together_so_many() -> None:
    limits = GuardConfig(calls_per_source=2, calls_of_strangers=3, trusted=("192.0.2.0/24",))
    bench = Bench(guard=limits, capacity=10)
    first = [caller(bench, "10.0.9.1", 6000 + number) for number in range(3)]
    others = [caller(bench, f"10.0.9.{number}", 6000) for number in range(2, 4)]
    carrier = [caller(bench, "192.0.2.1", 6000 + number) for number in range(5)]

    def refused(phones: list[Handset]) -> list[int]:
        return [event.status for phone in phones for event in phone.events if isinstance(event, sip.CallEnded)]

    assert (refused(first), refused(others), refused(carrier)) == ([503], [503], [])
    counters = bench.node.counters
    assert (counters.refused_calls_per_source, counters.refused_calls_of_strangers) == (1, 1)
    first[0].hang_up()
    assert refused([caller(bench, "10.0.9.9", 6000)]) == [], "the place of who has gone is free again"


def test_a_registered_phone_is_no_stranger() -> None:
    bench = Bench(guard=GuardConfig(calls_per_source=1, calls_of_strangers=1, trusted=()), capacity=10)
    ann = bench.phone("ann")
    ann.register()
    for _ in range(3):
        ann.dial()
    assert not any(isinstance(event, sip.CallEnded) for event in ann.events)
    assert len(bench.node.legs()) == 3
