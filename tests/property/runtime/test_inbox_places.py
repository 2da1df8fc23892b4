"""Where a receiver may begin to read again: however far it came, and wherever it begins, it is
offered everything that it has not taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.core.commit import ENGINE, Claim, Commit, Message, Part, Record
from tandem.core.ports.log import Partition
from tandem.runtime.inbox import Inbox
from tandem.runtime.step import Offer
from tests.support.budget import examples

SENDER = Partition("tenant", 0)
ROWS = st.tuples(st.sampled_from(["t1", "t2", "t3"]), st.sampled_from(["live", "recording"]))
KINDS = st.sampled_from(["commit", "commit", "commit", "void", "claim", "late claim"])


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """Claims, commits with messages to us and to others, and void records among them."""
    found: list[Record] = [Claim(1, "a", "s")]
    epoch, n = 1, 0
    for kind in draw(st.lists(KINDS, max_size=25)):
        if kind == "claim":
            epoch += 1
            found.append(Claim(epoch, "b", "s"))
        elif kind == "late claim":
            found.append(Claim(epoch, "c", "s"))
        else:
            n += kind == "commit"
            rows = draw(st.lists(ROWS, max_size=3))
            messages = tuple(Message(group, tenant, "desk", "x", Part("m", b"")) for tenant, group in rows)
            number = n if kind == "commit" else n + 5
            found.append(Commit(epoch, number, 1, "boot", 1, ENGINE, messages=messages))
    return found


class Receiver:
    """Takes what it is offered, a tenant's messages in their order."""

    def __init__(self) -> None:
        self.marks: dict[tuple[str, str], int] = {}

    def mark(self, source: str, tenant: str) -> int:
        return self.marks.get((source, tenant), 0)

    def wants(self, offer: Offer) -> bool:
        return offer.number > self.mark(offer.source, offer.tenant)

    def take(self, waiting: list[Offer], index: int) -> None:
        """One tenant's next of what waits."""
        tenants = list(dict.fromkeys(offer.tenant for offer in waiting))
        tenant = tenants[index % len(tenants)]
        offer = next(offer for offer in waiting if offer.tenant == tenant)
        waiting.remove(offer)
        self.marks[offer.source, offer.tenant] = offer.number


@given(logs(), st.lists(st.integers(0, 9), max_size=60), st.data())
@examples(200)
def test_nothing_untaken_is_before_the_place(log: list[Record], turns: list[int], data: st.DataObject) -> None:
    receiver, waiting, read = Receiver(), list[Offer](), 0
    inbox = Inbox(SENDER, "live")
    for turn in turns:
        if turn < 5 and read < len(log):
            read += 1
            waiting += inbox.take(log[read - 1], read)
        elif turn < 8 and waiting:
            receiver.take(waiting, turn)
        else:
            place = inbox.taken(receiver.mark)
            again, whole = Inbox(SENDER, "live", place), Inbox(SENDER, "live")
            offered = [o.number for r in log[place.offset :] for o in again.take(r) if receiver.wants(o)]
            wanted = [o.number for r in log for o in whole.take(r) if receiver.wants(o)]
            assert offered == wanted
            if not waiting:
                assert place.offset == read, "all is taken: nothing is read twice"
            if data.draw(st.booleans()):  # a new life
                inbox, read, waiting = Inbox(SENDER, "live", place), place.offset, []
