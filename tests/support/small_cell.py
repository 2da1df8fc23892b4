"""One shard of the group `live` on an in-memory log, driven by hand: no media agent, the
test plays the node. Time stands still until the test moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tandem.core.flow import AnswerStep, FlowStep, HangUpStep, MenuOption, MenuStep, QueueStep
from tandem.core.ports import media
from tandem.core.ports.log import Stored
from tandem.core.seal import Secret, Withheld
from tandem.routing import events as routing
from tandem.routing.domain import words as rw
from tandem.runtime.outputs import Append, LoadKeys, Output, Perform
from tandem.runtime.service import Group
from tandem.runtime.shard import Phase, Shard
from tandem.runtime.shardtime import Instant
from tandem.runtime.step import Answered, Offer
from tandem.session import events as session
from tandem.session.domain import reception as r
from tandem.session.domain import words as sw

TENANT = "t1"
NODE = "m1"
STEPS = (
    FlowStep("hello", AnswerStep("menu")),
    FlowStep(
        "menu",
        MenuStep(("welcome-menu",), (MenuOption("1", "sales"),), 5000, 2, ("invalid",), ("timeout",), "bye"),
    ),
    FlowStep("sales", QueueStep("sales", (), 0, ("please-wait",), "music", 0, "")),
    FlowStep("bye", HangUpStep(("goodbye",))),
)


def live_group() -> Group:
    """Session and routing on one partition."""
    return Group("live", (session.SERVICE, routing.SERVICE), {"recording": "recording"}, "live=session+routing")


class SmallCell:
    """A live shard with one tenant, one queue, and the agents that the test configures."""

    def __init__(self) -> None:
        self.log: list[Stored] = []
        self.keys: dict[str, bytes] = {}
        self.now = Instant(1_000_000, 1_700_000_000_000, "boot-1")
        self.performed: list[Perform] = []
        self.answers: list[Answered] = []
        self.numbers = 0
        self.shard = self.start("owner-1")

    # ---------------------------------------------------------------- owners

    def start(self, owner: str) -> Shard:
        """A process takes the shard over."""
        shard = Shard(live_group(), 0, owner, (NODE,), report=self._report)
        shard.read_back(self.log, self.now)
        shard.claim(self.now)
        self.shard = shard
        self.settle()
        shard.node_up(NODE, "i1")
        shard.node_kept(NODE)
        self.settle()
        shard.node_legs(
            NODE, [(TENANT, leg) for a in shard.ledger.aggregates.values() for _, leg in a.kind.legs(a.state)]
        )
        self.settle()
        assert shard.phase is Phase.LIVE
        return shard

    def _report(self, text: str, error: BaseException) -> None:
        raise AssertionError(text) from error

    # ---------------------------------------------------------------- the log and the clock

    def turn(self) -> list[Output]:
        """One turn without read-back: what would leave now."""
        return self.shard.turn(self.now)

    def settle(self) -> None:
        """Turn until nothing moves: appends are stored and read back, keys are loaded."""
        for _ in range(1000):
            outputs = self.shard.turn(self.now)
            if not outputs and not self.shard.busy:
                return
            for output in outputs:
                self._do(output)
        raise AssertionError("the shard never comes to rest")

    def _do(self, output: Output) -> None:
        match output:
            case Append(body):
                self.log.append(Stored(len(self.log) + 1, body))
                self.shard.read_back([self.log[-1]], self.now)
            case LoadKeys(allocate, get):
                fresh = {key: key.encode().ljust(32, b"k")[:32] for key in allocate}
                self.keys |= fresh
                self.shard.keys_loaded(fresh, {key: self.keys[key] for key in get})
            case Perform():
                self.performed.append(output)
            case Answered():
                self.answers.append(output)
            case _:
                pass

    def pass_ms(self, ms: int) -> None:
        """Let time go by, and what is due happen."""
        self.now = Instant(self.now.boottime_ms + ms, self.now.wall_ms + ms, self.now.boot_id)
        self.settle()

    # ---------------------------------------------------------------- inputs

    def input(self, stream: str, command: Any, settles: str = "") -> None:
        """The next numbered input of the node."""
        self.numbers += 1
        self.shard.offer(Offer(f"media/{NODE}/i1/{TENANT}", self.numbers, TENANT, stream, command, settles=settles))
        self.settle()

    def leg(self, leg: str, body: Any) -> None:
        """An event of a leg."""
        self.input(f"contact/{media.contact_of(leg)}", sw.NoteLeg(NODE, leg, self.shard.now_ms, body))

    def outcome(self, key: str, outcome: media.Outcome = media.Outcome.DONE, reason: str = "") -> None:
        """The node settles a command."""
        self.numbers += 1
        pending = self.shard.ledger.pending.get(key)
        stream = pending.effect.stream if pending else "contact/none"
        self.shard.settled(
            f"media/{NODE}/i1/{TENANT}",
            self.numbers,
            TENANT,
            stream,
            media.CommandSettled(key, outcome, reason),
        )
        self.settle()

    def ask(self, stream: str, command: Any, request: str = "", digest: str = "") -> Answered:
        """A client's command and its answer."""
        self.shard.offer(
            Offer("client/k1", 0, TENANT, stream, command, handle=object(), request=request, digest=digest)
        )
        self.settle()
        return self.answers[-1]

    def orders(self, kind: type) -> list[Perform]:
        """Orders of one kind that left the shard, oldest first."""
        return [p for p in self.performed if isinstance(p.payload.verb, kind)]

    def state(self, stream: str) -> Any:
        """State of an aggregate, None if it is over."""
        aggregate = self.shard.ledger.aggregate(TENANT, stream)
        return None if aggregate is None else aggregate.state

    # ---------------------------------------------------------------- scenes

    def configure(self, *agents: str, wrap_up_ms: int = 10_000) -> None:
        """The flow at number 100, the queue `sales`, and agents that are available with a phone."""
        configured: list[tuple[str, Any]] = [
            ("desk", rw.PublishQueue("sales", 1, 15_000, wrap_up_ms, False)),
            ("reception", r.PublishFlow("main", 1, STEPS)),
            ("reception", r.PublishNumber("100", 1, "main", False)),
        ]
        for agent in agents:
            configured += [
                ("desk", rw.PublishAgent(agent, 1, ("sales",), (), (f"{agent}-phone",), False)),
                ("reception", r.PublishDevice(f"{agent}-phone", 1, agent, "r", Withheld(), Withheld(), False)),
            ]
        for index, (stream, command) in enumerate(configured, 1):
            self.shard.offer(Offer(f"tenant/0/{TENANT}", index, TENANT, stream, command))
        self.settle()
        for agent in agents:
            self.ask("desk", rw.SetPresence(agent, "Available"))
            self.input("reception", r.NoteDevice(f"{agent}-phone", NODE, True, self.shard.now_ms))

    def call(self, contact: str) -> None:
        """A call arrives, is answered, and the caller chooses sales."""
        self.input(f"contact/{contact}", sw.TakeCall(NODE, self.shard.now_ms, "100", Secret(b"+4420111")))
        self.leg(contact, media.LegAnswered())
        digits = sw.TakeDigits(contact, self.shard.now_ms, "menu#1", Secret(b"1"), media.Collected.COMPLETE)
        self.input(f"contact/{contact}", digits)


Check = Callable[[SmallCell], None]
