"""Session and routing, grouped on one partition or split over two, with a node by hand.

Everything that can be late is: turns, read-backs, messages between the groups, orders to the
node and its events each wait until the test lets the next one through. `settle` lets all of
them through. A takeover throws an owner away with all that is not in its log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from tandem.core import trace
from tandem.core.commit import Commit
from tandem.core.decider import EffectEnded
from tandem.core.errors import Rejected
from tandem.core.flow import AnswerStep, FlowStep, HangUpStep, MenuOption, MenuStep, PlayStep, QueueStep
from tandem.core.ports import media
from tandem.core.ports.log import Partition, Stored
from tandem.core.seal import Withheld
from tandem.routing import events as routing
from tandem.routing.domain import words as rw
from tandem.runtime import log_codec
from tandem.runtime.inbox import Inbox
from tandem.runtime.ledger import Ledger
from tandem.runtime.outputs import Append, AskLegs, LoadKeys, Perform, Rebuild
from tandem.runtime.rebuild import Refold
from tandem.runtime.restore import restore
from tandem.runtime.service import Group, Service
from tandem.runtime.shard import Phase, Shard
from tandem.runtime.shardtime import Instant
from tandem.runtime.step import Answered, Offer
from tandem.runtime.traced import Committed
from tandem.session import events as session
from tandem.session.domain import reception as r
from tandem.session.domain.late import DropRecording, FindRecording
from tandem.session.inbox import media_offer
from tandem.simulation.poison import Planted, Poison
from tests.support.hand_node import HandNode

TENANT = "t1"
NODE = "m1"
MAX_WAIT_MS = 120_000
STEPS = (
    FlowStep("hello", AnswerStep("welcome")),
    FlowStep("welcome", PlayStep(("welcome",), "menu")),
    FlowStep("menu", MenuStep(("menu",), (MenuOption("1", "sales"),), 5000, 2, ("invalid",), ("timeout",), "bye")),
    FlowStep("sales", QueueStep("sales", (), 0, ("please-wait",), "music", MAX_WAIT_MS, "bye")),
    FlowStep("bye", HangUpStep(("goodbye",))),
)


def groups(split: bool) -> list[Group]:
    """The services on one partition, or each on its own."""
    elsewhere = {"recording": "recording"}
    if not split:
        return [Group("live", (session.SERVICE, routing.SERVICE), elsewhere, "grouped")]
    return [
        _alone(session.SERVICE, {"desk": "routing", **elsewhere}),
        _alone(routing.SERVICE, {"contact": "session", "reception": "session"}),
    ]


def _alone(service: Service, elsewhere: dict[str, str]) -> Group:
    return Group(service.name, (service,), elsewhere, "split")


class Lane:
    """One group's partition and its owner."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.log: list[Stored] = []
        self.shard: Shard
        self.appended: deque[bytes] = deque()
        self.inboxes: dict[Lane, Inbox] = {}
        self.mail: deque[Offer] = deque()
        self.owners = 0

    @property
    def has_media(self) -> bool:
        """Whether this group talks to nodes."""
        return "contact" in self.group.kinds

    def commits(self) -> Iterator[Commit]:
        """Every commit of the log."""
        return (r for r in (log_codec.decode(stored.body) for stored in self.log) if isinstance(r, Commit))


class LiveWorld:
    """One tenant, one queue, some agents."""

    def __init__(
        self, *agents: str, split: bool = False, wrap_up_ms: int = 10_000, poison: Poison | None = None
    ) -> None:
        self.poison = poison
        self.now = Instant(1_000_000, 1_700_000_000_000, "boot-1")
        self.node = HandNode()
        self.keys: dict[str, bytes] = {}
        self.answers: list[Answered] = []
        self.traced: set[str] = set()  # contacts whose legs the node reports with a trace
        self.shown: list[Committed] = []
        self.lanes = [Lane(poison.group(group) if poison else group) for group in groups(split)]
        self.told = 0  # events of the node that were told to the owner
        self.forgotten = 0  # events that the node was told are durable
        for lane in self.lanes:
            self.start(lane)
        self._configure(agents, wrap_up_ms)

    @property
    def talk(self) -> Lane:
        """The lane of the contacts."""
        return self.lanes[0]

    @property
    def desk_lane(self) -> Lane:
        """The lane of the desk."""
        return self.lanes[-1]

    # ---------------------------------------------------------------- owners

    def start(self, lane: Lane) -> None:
        """An owner reads the log and claims; for media, the node tells what it kept."""
        lane.owners += 1
        nodes = (NODE,) if lane.has_media else ()
        lane.shard = Shard(lane.group, 0, f"owner-{lane.owners}", nodes, report=self._report)
        lane.appended.clear()
        lane.shard.read_back(lane.log, self.now)
        lane.shard.claim(self.now)
        self._rest(lane)
        lane.mail.clear()
        lane.inboxes = {
            other: Inbox(Partition(other.group.name, 0), lane.group.name) for other in self.lanes if other is not lane
        }
        for other, inbox in lane.inboxes.items():
            for stored in other.log:
                lane.mail += inbox.take(log_codec.decode(stored.body))  # what was taken before is done already
        if lane.has_media:
            self._greet(lane)
        self._rest(lane)

    def _rest(self, lane: Lane) -> None:
        while self.turn(lane) or self.store(lane):
            pass

    def _greet(self, lane: Lane) -> None:
        """The node welcomes a new owner: all it has not durably taken, then `node_kept`."""
        self.node.events = deque(e for e in self.node.events if not isinstance(e[1], media.Legs))
        self.told = dict(lane.shard.marks_of(NODE, "i1")[1]).get(TENANT, 0)
        assert self.told >= self.forgotten, "the node was let to forget what nobody has taken"
        self.forgotten = self.told
        lane.shard.node_up(NODE, "i1")
        while self.hear():
            pass
        lane.shard.node_kept(NODE)

    def takeover(self, lane: Lane, *, landed: bool = False, arrived: bool = False) -> None:
        """The owner dies. What it had appended lands before the next claim, or never; the orders
        that it had sent reach the node, or never."""
        while landed and lane.appended:
            self._land(lane)
        if lane.has_media:
            self.node.orders = deque(o for o in self.node.orders if arrived and isinstance(o, Perform))
        self.start(lane)

    def flap(self, *, arrived: bool = False) -> None:
        """The link to the node is lost and comes back; orders under way arrive, or never."""
        self.talk.shard.node_down(NODE)
        self.node.orders = deque(o for o in self.node.orders if arrived and isinstance(o, Perform))
        self.turn(self.talk)
        self._greet(self.talk)

    # ---------------------------------------------------------------- one thing at a time

    def turn(self, lane: Lane) -> bool:
        """One turn of an owner."""
        outputs = lane.shard.turn(self.now)
        for output in outputs:
            match output:
                case Append(body):
                    lane.appended.append(body)
                case LoadKeys(allocate, get):
                    fresh = {key: key.encode().ljust(32, b"k")[:32] for key in allocate}
                    self.keys |= fresh
                    lane.shard.keys_loaded(fresh, {key: self.keys[key] for key in get})
                case Perform(payload=FindRecording() | DropRecording()):  # no blob is ever there
                    done = EffectEnded("", media.Outcome.DONE)
                    lane.shard.offer(Offer("eraser", 0, TENANT, output.stream, done, settles=output.key))
                case Perform() | AskLegs():
                    self.node.orders.append(output)
                case Answered():
                    self.answers.append(output)
                case Committed():
                    self.shown.append(output)
                case Rebuild():
                    self._rebuild(lane, output)
                case _:
                    pass
        return bool(outputs) or lane.shard.busy

    def _rebuild(self, lane: Lane, wanted: Rebuild) -> None:
        refold = Refold(lane.group, wanted.tenant, wanted.stream, wanted.sound)
        for stored in lane.log:
            refold.take(log_codec.decode(stored.body))
        lane.shard.rebuilt(wanted.tenant, wanted.stream, refold.state)

    def store(self, lane: Lane) -> bool:
        """One append reaches the log and is read back."""
        if not lane.appended:
            return False
        self._land(lane)
        lane.shard.read_back([lane.log[-1]], self.now)
        return True

    def _land(self, lane: Lane) -> None:
        lane.log.append(Stored(len(lane.log) + 1, lane.appended.popleft()))
        for other in self.lanes:
            if lane in other.inboxes:
                other.mail += other.inboxes[lane].take(log_codec.decode(lane.log[-1].body))

    def deliver(self, lane: Lane) -> bool:
        """One message of another group arrives."""
        if not lane.mail:
            return False
        lane.shard.offer(lane.mail.popleft())
        return True

    def work(self) -> bool:
        """The node does its next order."""
        if not self.node.orders:
            return False
        if isinstance(self.node.orders[0], AskLegs):
            self.node.orders.popleft()
            self.node.events.append(("", media.Legs(tuple((TENANT, leg) for leg in self.node.legs))))
        else:
            self.node.work()
        return True

    def hear(self) -> bool:
        """The owner hears the node's next event."""
        if self.told >= len(self.node.events):
            return False
        leg, body = self.node.events[self.told]
        shard = self.talk.shard
        if isinstance(body, media.Legs):
            del self.node.events[self.told]
            shard.node_legs(NODE, body.legs)
            return True
        self.told += 1
        event = media.Event(TENANT, self.told, self.now.boottime_ms, leg, body)
        offer = media_offer(NODE, "i1", event, shard.shard_time(self.now.boottime_ms))
        contact = media.contact_of(leg)
        offer.trace = trace.begin(contact, 1.0) if contact in self.traced else ""
        shard.offer(offer)
        return True

    def settle(self) -> None:
        """Let everything through until nothing moves."""
        for _ in range(10_000):
            moved = [self.turn(lane) | self.store(lane) | self.deliver(lane) for lane in self.lanes]
            if not any([*moved, self.work(), self.hear()]):
                return
        raise AssertionError("the world never comes to rest")

    def pass_ms(self, ms: int) -> None:
        """Time goes by, and what is due happens."""
        self.now = Instant(self.now.boottime_ms + ms, self.now.wall_ms + ms, self.now.boot_id)
        self.settle()

    # ---------------------------------------------------------------- what people do

    def call(self, contact: str) -> None:
        """Somebody dials; the node rings and asks."""
        self.node.arrive(contact, "100")

    def press(self, contact: str) -> None:
        """A caller goes through the flow to the queue, everything let through."""
        self.settle()
        self.node.played(contact)
        self.settle()
        self.node.digit(contact, "1")
        self.settle()

    def waiting(self, contact: str) -> None:
        """A caller who waits, or is offered."""
        self.call(contact)
        self.press(contact)

    def ask(self, lane: Lane, stream: str, command: Any) -> None:
        """A client's command."""
        lane.shard.offer(Offer("client/k1", 0, TENANT, stream, command, handle=object()))

    def presence(self, agent: str, presence: str) -> None:
        """An agent says how they are."""
        self.ask(self.desk_lane, "desk", rw.SetPresence(agent, presence))

    def device(self, agent: str, *, on: bool) -> None:
        """An agent's phone registers, or is gone."""
        body = media.DeviceRegistered if on else media.DeviceUnregistered
        self.node.events.append(("", body(f"{agent}-phone")))

    def _configure(self, agents: tuple[str, ...], wrap_up_ms: int) -> None:
        rows: list[tuple[str, Any]] = [
            ("desk", rw.PublishQueue("sales", 1, 15_000, wrap_up_ms, False)),
            ("reception", r.PublishFlow("main", 1, STEPS)),
            ("reception", r.PublishNumber("100", 1, "main", False)),
        ]
        for agent in agents:
            device = f"{agent}-phone"
            rows.append(("desk", rw.PublishAgent(agent, 1, ("sales",), (), (device,), False)))
            rows.append(("reception", r.PublishDevice(device, 1, agent, "r", Withheld(), Withheld(), False)))
        for number, (stream, command) in enumerate(rows, 1):
            lane = self.desk_lane if stream == "desk" else self.talk
            lane.shard.offer(Offer(f"tenant/0/{TENANT}", number, TENANT, stream, command))
        self.settle()
        for agent in agents:
            self.presence(agent, rw.AVAILABLE)
            self.device(agent, on=True)
            self.pass_ms(1000)

    # ---------------------------------------------------------------- what is to be seen

    def contacts(self) -> dict[str, Any]:
        """State of every contact that is not over."""
        return {
            stream.partition("/")[2]: aggregate.state
            for (_, stream), aggregate in self.talk.shard.ledger.aggregates.items()
            if stream.startswith("contact/")
        }

    @property
    def desk(self) -> Any:
        """The tenant's desk."""
        return self.desk_lane.shard.ledger.aggregates[TENANT, "desk"].state

    def offered(self, contact: str) -> str:
        """The leg of the agent who is offered, or talks."""
        return str(self.contacts()[contact].offered.leg)

    def events(self, *types: type) -> list[tuple[str, Any]]:
        """(stream, event) of all that was ever committed, of these types."""
        found = []
        for lane in self.lanes:
            for commit in lane.commits():
                for envelope in commit.events:
                    if envelope.tenant == TENANT and not envelope.type.startswith("shard."):
                        service = lane.group.service_of[envelope.stream.partition("/")[0]]
                        event = service.events.decode(envelope.part)
                        if not types or isinstance(event, types):
                            found.append((envelope.stream, event))
        return found

    def same(self) -> None:
        """The log alone, and a snapshot of it, say what the owner says."""
        for lane in self.lanes:
            ledger = Ledger(lane.group)
            for stored in lane.log:
                ledger.fold(log_codec.decode(stored.body))
            parts = list(ledger.parts())
            if not lane.appended:
                assert parts == list(lane.shard.ledger.parts())
            assert list(restore(lane.group, iter(parts)).parts()) == parts

    def live(self) -> bool:
        """Whether every owner serves."""
        return all(lane.shard.phase is Phase.LIVE for lane in self.lanes)

    def _report(self, text: str, error: BaseException) -> None:
        if self.poison is None or not isinstance(error, Planted | Rejected):
            raise AssertionError(text) from error
