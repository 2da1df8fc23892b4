"""Phones that were asked to ring by a node that died: its next life takes the INVITE back (`wire.sip.pending`)."""

from __future__ import annotations

import pytest

from tandem.core.ports.media import By, Cause, CommandSettled, LegEnded, Originate, Outcome
from tandem.core.ports.media import Command as MediaCommand
from tandem.core.seal import secret
from tandem.media.backend import RowKind
from tandem.wire.sip import events as sip
from tandem.wire.sip.message import Request, parse
from tandem.wire.sip.pending import PendingInvite
from tests.unit.media.builtin.bench import NODE, TENANT, Bench, Handset

LEG = "c1.1"
RING = Originate("ann", 20_000, "offer-1", secret("4917012345"))


class Death:
    """A node that dies right after its INVITE was in the journal."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.ann = self.bench.phone("ann")
        self.ann.register()
        self.bench.node.perform(MediaCommand(TENANT, "k1", LEG, RING), self.bench.now)
        self.rows = self.bench.as_rows()
        self.sent = [data for data, _ in self.bench.node.take_sip()]
        self.bench.events = []

    def reaches_the_phone(self) -> None:
        """The INVITE does; what the phone answers meets nobody."""
        for data in self.sent:
            self.ann.endpoint.receive(data, NODE, self.bench.now)
        self.unheard()

    def unheard(self) -> None:
        """What the phone sends while no node is there."""
        for event in self.ann.endpoint.take_events():
            self.ann.happened(event)
        self.ann.endpoint.take_datagrams()

    def next_life(self, after_s: float = 1.0, rows: list | None = None) -> list[Request]:
        """What a node that begins so much later sends first."""
        self.bench.now += after_s
        self.ann.endpoint.tick(self.bench.now)
        self.unheard()
        self.bench.node = self.bench.new_node()
        self.bench.node.directory(self.bench.greeting("ann", "bob"), self.bench.now)
        self.bench.node.restore(self.rows if rows is None else rows, int(self.bench.now * 1000), self.bench.now)
        first = self.bench.node.take_sip()
        for data, target in first:
            assert target == self.ann.address
            self.ann.endpoint.receive(data, NODE, self.bench.now)
        self.bench.settle_wire()
        return [message for data, _ in first if isinstance(message := parse(data), Request)]

    def over(self) -> None:
        """All that was under way comes to its end, and nothing is left."""
        self.bench.advance(70)
        layer = self.bench.node._board.endpoint._layer
        assert not layer.clients
        assert not layer.servers
        assert [kind for kind, _ in self.bench.rows] == [RowKind.REGISTRATION]
        assert self.bench.events == [(LEG, LegEnded(Cause.MEDIA_LOST, By.NODE))]


def arrivals(phone: Handset) -> int:
    """How often it was asked to ring."""
    return sum(isinstance(event, sip.CallArrived) for event in phone.events)


def test_a_phone_whose_180_nobody_heard_is_cancelled() -> None:
    death = Death()
    death.reaches_the_phone()
    assert arrivals(death.ann) == 1
    first = death.next_life()
    assert [request.to_bytes() for request in first] == death.sent, "not the same INVITE"
    assert death.ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED
    death.over()
    assert arrivals(death.ann) == 1


def test_a_phone_that_was_picked_up_meanwhile_is_acknowledged_and_hung_up() -> None:
    death = Death()
    death.reaches_the_phone()
    death.ann.endpoint.answer(death.ann.call, b"v=0\r\n", death.bench.now)
    death.unheard()
    death.next_life()
    death.bench.advance(4)  # its next 200
    assert death.ann.told(sip.CallConfirmed)
    assert death.ann.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE
    death.over()
    assert arrivals(death.ann) == 1


def test_a_phone_that_declined_meanwhile_rings_no_second_time() -> None:
    death = Death()
    death.reaches_the_phone()
    death.ann.endpoint.reject(death.ann.call, 486, death.bench.now)
    death.unheard()
    death.next_life(after_s=5.0)
    assert arrivals(death.ann) == 1
    death.over()
    assert arrivals(death.ann) == 1
    assert not death.ann.endpoint._layer.servers, "its 486 was acknowledged"


def test_an_invite_that_never_left_is_cancelled_by_the_life_that_sends_it() -> None:
    death = Death()
    death.next_life()
    assert arrivals(death.ann) == 1
    assert death.ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED
    death.over()


def test_a_phone_that_was_heard_ringing_is_cancelled_at_once() -> None:
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    bench.do(LEG, RING)
    rows, bench.events = bench.as_rows(), []
    bench.now += 40.0
    bench.node = bench.new_node()
    bench.node.restore(rows, int(bench.now * 1000), bench.now)
    first = [parse(data) for data, _ in bench.node.take_sip()]
    assert [message.method for message in first if isinstance(message, Request)] == ["CANCEL"]
    assert isinstance(first[0], Request)
    assert first[0].vias[0].branch == ann.told(sip.CallArrived).request.vias[0].branch
    assert (first[0].headers.get("Reason") or "").startswith("Q.850;cause=41")


def test_an_invite_older_than_its_transaction_is_not_sent_again_but_its_late_answer_is_taken() -> None:
    death = Death()
    death.reaches_the_phone()
    assert death.next_life(after_s=33.0) == [], "to the phone it would be a new call"
    assert arrivals(death.ann) == 1
    assert death.ann.answer()
    assert death.ann.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE
    death.over()


def test_a_journal_of_an_earlier_release_has_no_invite_to_take_back() -> None:
    death = Death()
    old = [row for row in death.rows if row.kind is not RowKind.LEG]
    leg = next(row for row in death.rows if row.kind is RowKind.LEG)
    value = {name: part for name, part in leg.value.items() if name != "pending"}
    assert death.next_life(rows=[*old, type(leg)(leg.kind, leg.id, value)]) == []
    assert death.bench.events == [(LEG, LegEnded(Cause.MEDIA_LOST, By.NODE))]


def test_the_command_in_doubt_is_unknown() -> None:
    death = Death()
    death.reaches_the_phone()
    death.next_life()
    death.bench.node.settle(MediaCommand(TENANT, "k1", LEG, RING), death.bench.now)
    assert death.bench.events[-1] == (LEG, CommandSettled("k1", Outcome.UNKNOWN, "NODE_RESTARTED"))


def test_an_invite_says_how_long_it_is_valid() -> None:
    death = Death()
    death.reaches_the_phone()
    assert death.ann.told(sip.CallArrived).request.headers.get("Expires") == "24"


@pytest.mark.parametrize("damage", [{"request": "BYE"}, {"address": []}, {"sent_at": "x"}, {"request": None}])
def test_what_is_no_kept_invite_is_refused(damage: dict) -> None:
    death = Death()
    death.reaches_the_phone()
    kept = next(row for row in death.rows if row.kind is RowKind.LEG).value["pending"]
    assert PendingInvite.from_dict(kept).to_dict() == kept
    with pytest.raises(ValueError, match="not a kept INVITE"):
        PendingInvite.from_dict({**kept, **damage})
