"""A node that dies right after it ended a leg: its BYE, CANCEL or refusal never left. The next life says it again."""

from __future__ import annotations

from tandem.core.ports.media import Bridge, Cause, HangUp, LegEnded, Originate
from tandem.core.ports.media import Command as MediaCommand
from tandem.core.seal import secret
from tandem.media.backend import RowKind
from tandem.wire.sip import events as sip
from tandem.wire.sip.message import Request, parse
from tests.unit.media.builtin.bench import NODE, TENANT, Bench


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
        if target in bench.phones:
            bench.phones[target].endpoint.receive(data, NODE, bench.now)
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


class Unheard:
    """A leg that is given up before anything has come from its phone: no CANCEL may go (RFC 3261, 9.1)."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.ann = self.bench.phone("ann")
        self.ann.register()
        self.perform("k1", Originate("ann", 9000, "o", secret("1")))
        self.invite = self.bench.node.take_sip()
        assert self.perform("k2", HangUp()) == []
        self.bench.events = []

    def perform(self, key: str, verb: Originate | HangUp) -> list[tuple[bytes, tuple[str, int]]]:
        self.bench.node.perform(MediaCommand(TENANT, key, "c1.1", verb), self.bench.now)
        return [] if isinstance(verb, Originate) else self.bench.node.take_sip()

    def arrives(self) -> None:
        """The INVITE does; what the phone answers is on its way."""
        for data, _ in self.invite:
            self.ann.endpoint.receive(data, NODE, self.bench.now)
        for event in self.ann.endpoint.take_events():
            self.ann.happened(event)

    def rang(self) -> int:
        return sum(isinstance(event, sip.CallArrived) for event in self.ann.events)


def test_a_phone_that_nobody_had_heard_is_cancelled() -> None:
    """Its 180 met no node, and it would say it again after a minute at best."""
    given_up = Unheard()
    given_up.arrives()
    given_up.ann.endpoint.take_datagrams()
    assert [request.method for request in next_life(given_up.bench)] == ["INVITE"]
    assert given_up.ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED
    is_told_nothing_and_forgets(given_up.bench)
    assert given_up.rang() == 1


def test_a_phone_that_rings_late_is_cancelled_then() -> None:
    given_up = Unheard()
    del given_up.bench.phones[given_up.ann.address]
    next_life(given_up.bench)
    given_up.bench.phones[given_up.ann.address] = given_up.ann
    given_up.bench.advance(2)
    assert given_up.ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED
    is_told_nothing_and_forgets(given_up.bench)
    assert given_up.rang() == 1


def test_a_phone_that_was_picked_up_unheard_is_hung_up() -> None:
    given_up = Unheard()
    given_up.arrives()
    given_up.ann.endpoint.answer(given_up.ann.call, b"v=0\r\n", given_up.bench.now)
    given_up.ann.endpoint.take_datagrams()
    next_life(given_up.bench)
    given_up.bench.advance(4)  # its next 200
    assert given_up.ann.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE
    is_told_nothing_and_forgets(given_up.bench)
    assert given_up.rang() == 1


def test_an_invite_that_was_settled_before_the_death_is_not_sent_again() -> None:
    """To the phone it would be a new call."""
    given_up = Unheard()
    given_up.arrives()
    given_up.bench.settle_wire()
    assert given_up.ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED
    given_up.bench.advance(10)  # the phone has forgotten it
    assert next_life(given_up.bench) == []
    is_told_nothing_and_forgets(given_up.bench)
    assert given_up.rang() == 1


def test_a_cancel_that_may_be_lost_is_sent_again_and_no_invite() -> None:
    given_up = Unheard()
    given_up.arrives()
    given_up.bench.node.sip(given_up.ann.endpoint.take_datagrams()[-1][0], given_up.ann.address, given_up.bench.now)
    assert [request.method for request in next_life(given_up.bench)] == ["CANCEL"]
    assert given_up.ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED
    is_told_nothing_and_forgets(given_up.bench)


def test_a_bye_to_a_late_answer_that_never_left_is_sent() -> None:
    given_up = Unheard()
    given_up.arrives()
    given_up.ann.endpoint.answer(given_up.ann.call, b"v=0\r\n", given_up.bench.now)
    given_up.bench.node.sip(given_up.ann.endpoint.take_datagrams()[-1][0], given_up.ann.address, given_up.bench.now)
    assert [request.method for request in next_life(given_up.bench)] == ["BYE"]
    assert given_up.ann.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE
    is_told_nothing_and_forgets(given_up.bench)


def test_a_bye_to_an_answer_without_audio_that_never_left_is_sent() -> None:
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    bench.ring("c1.1")
    ann.endpoint.answer(ann.call, b"v=0\r\n", bench.now)
    bench.node.sip(ann.endpoint.take_datagrams()[-1][0], ann.address, bench.now)
    assert bench.last(LegEnded).cause is Cause.NO_MEDIA
    assert [request.method for request in next_life(bench)] == ["BYE"]
    assert ann.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE


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
