"""One shard in one process: drives the production `Shard` on virtual time, as `runtime.driver` does
on asyncio."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from tandem.core.arbiter import Place
from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.points import Point
from tandem.core.ports.log import Partition, Stored
from tandem.core.ports.media import (
    Ack,
    Command,
    Directory,
    DirectoryDevice,
    DirectoryNumber,
    Event,
    ListLegs,
)
from tandem.media.link.owner_end import (
    Deposed,
    Heard,
    KeptHeard,
    LegsHeard,
    LinkInput,
    NodeDown,
    NodeUp,
    OwnerLink,
    opened_verb,
)
from tandem.runtime.inbox import BEGINNING, Inbox
from tandem.runtime.ledger import Ledger
from tandem.runtime.outputs import Append, AskLegs, Introduce, LoadKeys, Lost, Output, Perform, Rebuild, Taken
from tandem.runtime.rebuild import Refold
from tandem.runtime.service import Group
from tandem.runtime.shard import Phase
from tandem.runtime.statehash import Differs
from tandem.runtime.step import Answered, Offer
from tandem.session.inbox import media_offer
from tandem.simulation.invariants import Violation
from tandem.simulation.simlog import Reader, Writer
from tandem.simulation.surroundings import Asker

if TYPE_CHECKING:
    from tandem.simulation.owners import Process

MANY = 8
"""Commits in flight that are worth noting."""
DIGESTED = 25
"""Rows of a state that are digested in one go."""


@dataclass(slots=True)
class _Asked:
    """A client's handle while its answer is on the way."""

    asker: Asker
    over: bool = False


@dataclass(slots=True)
class _DirectoryAsked:
    """The handle of the owner's own query."""


class Seat:
    """One shard in one process, from following to its loss."""

    def __init__(self, process: Process, group: Group, number: int) -> None:
        self.process, self.group, self.cell = process, group, process.cell
        self.partition = Partition(group.name, number)
        self.shard = self.cell.shard(group, number, process.name)
        self.link: OwnerLink | None = None
        self.asked: list[_Asked] = []
        self.asked_ms = -1  # since when the node has been offered all that is pending
        self.offered: dict[str, None] = {}
        self._dropped = False
        self._scheduled = False
        self._alarm_ms = -1
        self._tails: list[Reader] = []
        self._digesting: Iterator[None] | None = None
        self._places: deque[tuple[int, Partition, Place]] = deque()
        self._told_directory = -1
        self._asking = self._loading = False
        log = self.log = self.cell.log
        self.writer = Writer(log, self.partition)
        self._end = log.partitions.end(self.partition)
        self.reader = Reader(log, self.partition, self.shard.offset, partial(self._from_log, self._read))
        if self._end <= self.shard.offset:
            process.later(0, self._claim)

    # ---------------------------------------------------------------- the log

    def _enter(self, action: Callable[[], None]) -> None:
        self.process.enter(lambda: self._unless_dropped(action))

    def _from_log(self, take: Callable[[Sequence[Stored]], None], records: Sequence[Stored]) -> None:
        self.process.enter_from_log(lambda: self._unless_dropped(lambda: take(records)))

    def _unless_dropped(self, action: Callable[[], None]) -> None:
        if not self._dropped:
            action()

    def _claim(self) -> None:
        if not self._dropped and self.shard.phase is Phase.FOLLOWING:
            self.shard.claim(self.process.host.now())
            self._turn()

    def _read(self, records: Sequence[Stored]) -> None:
        before = self.shard.phase
        self.shard.read_back(records, self.process.host.now())
        if before is Phase.CLAIMING and self.shard.phase is Phase.FOLLOWING:
            self.cell.reached("a late claim is void")
        self.process.points.reach(Point.READ_BACK)
        if self.shard.phase is Phase.FOLLOWING and self.shard.offset >= self._end:
            self._claim()
        self._turn()

    def _failed(self, why: str) -> None:
        self.cell.reached("an append in doubt")
        self.shard.append_failed(why)
        self._turn()

    # ---------------------------------------------------------------- the turn

    def soon(self) -> None:
        """Turn in this millisecond."""
        if not self._scheduled:
            self._scheduled = True
            self.process.scheduler.after(0, lambda: self._enter(self._turn))

    def _turn(self) -> None:
        self._scheduled = False
        before = self.shard.phase
        for output in self.shard.turn(self.process.host.now()):
            if self._dropped:
                return
            self._do(output)
        if self._dropped:
            return
        if self.shard.phase is Phase.LIVE:
            if before is not Phase.LIVE:
                self._follow()
                if self.link is not None and self.asked_ms < 0:
                    self.cell.reached("live without its node")
            self._ask_directory()
            self._note_places()
            if self._digesting is None and (work := self.shard.hash_work()) is not None:
                self._digesting = work
                self.process.later(1, self._digest)
            if self.shard.n - self.shard.durable >= MANY:
                self.cell.reached("8 commits in flight")
        self.process.flush()
        if self.shard.busy:
            self.soon()
        self._arm()

    def _digest(self) -> None:
        """Some rows of the state hash; steps come in between."""
        if self._dropped or self._digesting is None:
            return
        if len(list(islice(self._digesting, DIGESTED))) == DIGESTED:
            self.process.later(1, self._digest)
            return
        self._digesting = None
        self.soon()

    def _arm(self) -> None:
        at = self.shard.next_ms(self.process.host.now())
        if at is None:
            return
        scheduler, host = self.process.scheduler, self.process.host
        at_ms = max(scheduler.now_ms + 1, at - host.uptime_ms)
        if self._alarm_ms <= scheduler.now_ms or at_ms < self._alarm_ms:
            self._alarm_ms = at_ms
            scheduler.at(at_ms, lambda: self._enter(self._turn))

    def _do(self, output: Output) -> None:
        points = self.process.points
        match output:
            case Append(body):
                points.reach(Point.BEFORE_APPEND)
                self.writer.append(body, lambda why: self._enter(lambda: self._failed(why)))
                points.reach(Point.IN_CLAIM if self.shard.phase is Phase.CLAIMING else Point.APPENDED)
            case Answered(_DirectoryAsked(), value):
                self._asking = False
                self._send(value)
            case Answered(_Asked() as asked, value, error):
                asked.over = True
                self.asked.remove(asked)
                asked.asker.told(value, error)
            case Perform():
                self._perform(output)
            case Taken():
                self._taken(output)
            case LoadKeys():
                self._loading = True
                self.process.later(self.cell.keys_ms(), lambda: self._load_keys(output))
            case Introduce(node, epoch):
                shard = self.shard
                self.link = OwnerLink(
                    node, self.partition, epoch, lambda inc: shard.marks_of(node, inc), shard.shard_time
                )
                self.process.wires[node].stream.attach(self.link)
            case AskLegs():
                self.asked_ms = self.process.scheduler.now_ms
                self._send(ListLegs())
            case Rebuild():
                self._rebuild(output)
            case Differs(n):
                raise Violation("the state hash holds", f"{self.partition} n={n}: a follower's differs")
            case Lost(why):
                self.cell.reached("newer claim" if "claimed epoch" in why else "lost otherwise")
                self.process.leave(self, why)

    def _taken(self, taken: Taken) -> None:
        kind, _, rest = taken.source.partition("/")
        # Marks of an incarnation that is over mean nothing to the node of now.
        if kind == "media" and self.link is not None and rest.split("/")[1] == self.link.incarnation:
            self._send(Ack(taken.tenant, taken.number))
            self.cell.acked(self, taken.source, taken.tenant, taken.number)

    def _rebuild(self, wanted: Rebuild) -> None:
        """From the beginning: all that it needs is in the log already."""
        refold = Refold(self.group, wanted.tenant, wanted.stream, wanted.sound)
        for stored in self.cell.log.partitions.records(self.partition):
            refold.take(self.log.decode(stored.body))
        self.cell.reached("a state folded anew")
        self.shard.rebuilt(wanted.tenant, wanted.stream, refold.state)

    def _perform(self, order: Perform) -> None:
        if order.kind == "erase":
            self.cell.erase(self, order)
            return
        payload = order.payload
        command = Command(order.tenant, order.key, payload.leg, opened_verb(payload.verb, self.shard.key))
        if self.link is not None and self._send(command):
            self.offered[command.key] = None
            self.process.wires[self.link.node].commands += 1
            self.cell.sent(self, command, order.again)

    def _send(self, frame: Any) -> bool:
        return self.link is not None and self.process.wires[self.link.node].stream.send(self.link, frame)

    def _load_keys(self, wanted: LoadKeys) -> None:
        if self._dropped:
            return
        try:
            fresh = self.cell.allocate(wanted.allocate) if wanted.allocate else {}
        except OSError:
            self.process.later(500, lambda: self._load_keys(wanted))
            return
        self._loading = False
        self.shard.keys_loaded(fresh, self.cell.keys(wanted.get))
        self._turn()

    # ---------------------------------------------------------------- inputs

    def heard(self, news: LinkInput) -> None:
        """From the node."""
        shard = self.shard
        match news:
            case Heard(node, incarnation, tenant, number, time_ms, leg, body):
                if self._loading:
                    self.cell.reached("kept events wait for keys")
                offer = media_offer(node, incarnation, Event(tenant, number, time_ms, leg, body), time_ms)
                offer.trace = news.trace
                shard.offer(offer)
            case NodeUp(node, incarnation):
                self._told_directory = self.asked_ms = -1
                self.offered.clear()
                shard.node_up(node, incarnation)
            case KeptHeard(node):
                shard.node_kept(node)
            case LegsHeard(node, legs):
                shard.node_legs(node, legs)
            case NodeDown(node):
                self.asked_ms = -1
                shard.node_down(node)
            case Deposed(node, highest):
                self.cell.reached("deposed by a node")
                shard.append_failed(f"node {node} knows epoch {highest}")
        self.soon()

    def told(self, offer: Offer) -> None:
        """By a receiver of effects of this very process."""
        if not self._dropped:
            self.shard.offer(offer)
            self.soon()

    def ask(self, offer: Offer, asker: Asker) -> None:
        """A client's command."""
        self.process.enter(lambda: self._ask(offer, asker))

    def _ask(self, offer: Offer, asker: Asker) -> None:
        asked = _Asked(asker)
        offer.handle = asked
        if not self.shard.offer(offer):
            asker.told(None, Rejected(NO_OWNER, "this shard has no owner at the moment; repeat the request"))
            return
        self.asked.append(asked)
        self.soon()

    @property
    def live(self) -> bool:
        """Whether clients are served."""
        return not self._dropped and self.shard.phase is Phase.LIVE

    def _follow(self) -> None:
        for sender in self.cell.follows(self.group.name):
            partition = Partition(sender, self.partition.shard)
            place = self.cell.places.get((self.partition, partition), BEGINNING)
            if place.offset:
                self.cell.reached("messages taken from a place on")
            take = partial(self._take, Inbox(partition, self.group.name, place), partition)
            self._tails.append(Reader(self.log, partition, place.offset, partial(self._from_log, take)))

    def _take(self, inbox: Inbox, sender: Partition, records: Sequence[Stored]) -> None:
        for stored in records:
            for offer in inbox.take(self.log.decode(stored.body), stored.offset):
                self.shard.offer(offer)
        # As a snapshot of now would say it, once what it is of is durable.
        self._places.append((self.shard.n, sender, inbox.taken(self.shard.ledger.mark)))
        self.soon()

    def _note_places(self) -> None:
        while self._places and self._places[0][0] <= self.shard.durable:
            _, sender, place = self._places.popleft()
            self.cell.places[self.partition, sender] = place

    # ---------------------------------------------------------------- the directory

    def _ask_directory(self) -> None:
        if self.link is None or not self.link.up or self._asking:
            return
        changes = _changes(self.shard.ledger)
        if changes != self._told_directory:
            self._told_directory, self._asking = changes, True
            self.shard.query(_DirectoryAsked(), lambda ledger: _directory(ledger, self.partition.shard))
            self.soon()

    # ---------------------------------------------------------------- the end

    def kill(self) -> None:
        """The process died. A part of what it had handed over may still reach the log."""
        self._dropped = True
        self.writer.die()
        self._close()

    def drop(self, why: str) -> None:
        """The shard is lost: its clients are told, its links closed. What was handed to the log
        may still reach it."""
        self._dropped = True
        if self.link is not None:
            self.process.wires[self.link.node].stream.detach(self.link, why)
            self.process.flush()
        self._close()

    def _close(self) -> None:
        self.reader.close()
        for tail in self._tails:
            tail.close()
        asked, self.asked = self.asked, []
        for row in asked:
            if not row.over:
                row.asker.told(None, Rejected(NO_OWNER, "the owner of this shard changed; repeat the request"))


def _receptions(ledger: Ledger) -> list[tuple[str, Any]]:
    return [(t, a.state) for (t, _), a in ledger.aggregates.items() if a.kind.name == "reception"]


def _changes(ledger: Ledger) -> int:
    return sum(state.changes for _, state in _receptions(ledger))


def _directory(ledger: Ledger, shard: int) -> Directory:
    """What a node must know of this shard."""
    numbers, devices = [], []
    for tenant, state in _receptions(ledger):
        numbers += [DirectoryNumber(number, tenant, shard) for number in state.numbers]
        devices += [DirectoryDevice(device, tenant, shard, "realm", "", "") for device in state.devices]
    return Directory(_changes(ledger), tuple(numbers), tuple(devices))
