"""A node that dies right after it ended a leg: its BYE, CANCEL or refusal never left. The next life says it again."""

from __future__ import annotations

from tandem.core.ports.media import Bridge, Cause, HangUp, Originate
from tandem.core.ports.media import Command as MediaCommand
from tandem.core.seal import secret
from tandem.media.backend import RowKind
from tandem.wire.sip import events as sip
from tandem.wire.sip.message import Request, parse
from tests.unit.media.builtin.bench import TENANT, Bench


def hang_up_and_die(bench: Bench, leg: str, cause: Cause = Cause.NORMAL) -> list[Request]:
    """The owner's command is carried out, and nothing of it reaches the phone; what the next life asks of phones."""
    bench.node.perform(MediaCommand(TENANT, "last", leg, HangUp(cause)), bench.now)
    return next_life(bench)


def next_life(bench: Bench, after_s: float = 1.0) -> list[Request]:
    rows, bench.events = bench.as_rows(), []
    bench.now += after_s
    bench.node = bench.new_node()
    bench.node.directory(bench.greeting("ann", "bob"), bench.now)
    bench.node.restore(rows, int(bench.now * 1000), bench.now)
    sent = bench.node.take_sip()
    for data, target in sent:
        bench.phones[target].endpoint.receive(data, (bench.config.host, bench.config.sip_port), bench.now)
    bench.settle_wire()
    return [message for data, _ in sent if isinstance(message := parse(data), Request)]


def is_told_nothing_and_forgets(bench: Bench) -> None:
    """Its end was told by the life that ended it; the line of the journal goes by itself."""
    assert bench.events == []
    bench.advance(80)
    assert {kind for kind, _ in bench.rows} <= {RowKind.REGISTRATION}


def test_a_bye_that_never_left_is_sent() -> None:
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    assert [request.method for request in hang_up_and_die(bench, leg)] == ["BYE"]
    assert caller.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE
    is_told_nothing_and_forgets(bench)


def test_a_cancel_that_never_left_is_sent() -> None:
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    bench.ring("c1.1")
    assert [request.method for request in hang_up_and_die(bench, "c1.1")] == ["CANCEL"]
    assert ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED
    is_told_nothing_and_forgets(bench)


def test_a_refusal_that_never_left_is_sent() -> None:
    bench = Bench()
    caller = bench.phone("4917055")
    caller.dial()
    hang_up_and_die(bench, bench.events[0][0], Cause.BUSY)
    assert caller.told(sip.CallEnded).status == 503
    is_told_nothing_and_forgets(bench)


def test_an_invite_that_may_have_been_settled_is_not_sent_again() -> None:
    """The phone had not answered when its leg ended; it may have been cancelled since."""
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    bench.node.perform(MediaCommand(TENANT, "k1", "c1.1", Originate("ann", 9000, "o", secret("1"))), bench.now)
    assert hang_up_and_die(bench, "c1.1") == []
    assert ann.told(sip.CallArrived) is None
    is_told_nothing_and_forgets(bench)


def test_a_phone_that_hung_up_itself_is_told_nothing() -> None:
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    bench.agent(f"{leg}.1")
    bench.do(leg, Bridge(f"{leg}.1"))
    caller.hang_up()
    assert not [id for kind, id in bench.rows if kind is RowKind.GOODBYE]


def test_the_life_after_the_next_says_it_too() -> None:
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    del bench.phones[caller.address]
    bench.node.perform(MediaCommand(TENANT, "last", leg, HangUp()), bench.now)
    for _ in range(2):
        rows, bench.events = bench.as_rows(), []
        bench.node = bench.new_node()
        bench.node.restore(rows, int(bench.now * 1000), bench.now)
    bench.phones[caller.address] = caller
    bench.settle_wire()
    assert caller.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE
