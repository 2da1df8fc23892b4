"""A shard on a bench: nothing is read back, no key is loaded and no node answers before the test says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from tandem.core.commit import Commit, Record
from tandem.core.ports.log import Stored
from tandem.runtime import log_codec
from tandem.runtime.ledger import Ledger
from tandem.runtime.outputs import Append, LoadKeys, Output, Perform, Rebuild, Taken
from tandem.runtime.rebuild import Refold
from tandem.runtime.restore import restore
from tandem.runtime.service import Group
from tandem.runtime.shard import Phase, Shard
from tandem.runtime.shardtime import Instant
from tandem.runtime.step import Answered, Offer
from tests.support.toy import NODE, Do, toy_group

BOOT = Instant(1_000_000, 1_700_000_000_000, "boot-1")


class Bench:
    """One owner on one log. `left` is everything that has left the shard but records."""

    def __init__(
        self,
        owner: str = "a",
        nodes: Sequence[str] = (),
        log: list[Stored] | None = None,
        group: Group | None = None,
        now: Instant = BOOT,
        keys: dict[str, bytes] | None = None,
        ledger: Ledger | None = None,
        offset: int = 0,
    ) -> None:
        self.log = [] if log is None else log
        self.keys = {} if keys is None else keys
        self.now = now
        self.group = group or toy_group()
        self.nodes = nodes
        self.appended: deque[bytes] = deque()
        self.wanted: deque[LoadKeys] = deque()
        self.hold_keys = False
        self.left: list[Output] = []
        self.reports: list[str] = []
        self.numbers: dict[str, int] = {}
        self.shard = Shard(self.group, 0, owner, nodes, lambda text, error: self.reports.append(text), ledger, offset)
        self.follow()

    # ---------------------------------------------------------------- the log

    def follow(self) -> None:
        """Read what others wrote."""
        self.shard.read_back([stored for stored in self.log if stored.offset > self.shard.offset], self.now)

    def store(self, most: int = 1_000_000) -> None:
        """Let appends reach the log, and the log the shard."""
        for _ in range(min(most, len(self.appended))):
            self.log.append(Stored(len(self.log) + 1, self.appended.popleft()))
            self.follow()

    def turn(self) -> list[Output]:
        """Turns until all that can be is decided: appends wait, keys are loaded unless held, all else has left."""
        outputs = self.one_turn()
        while self.shard.busy:
            outputs += self.one_turn()
        return outputs

    def one_turn(self) -> list[Output]:
        """One turn."""
        outputs = self.shard.turn(self.now)
        for output in outputs:
            match output:
                case Append(body):
                    self.appended.append(body)
                case LoadKeys():
                    self.wanted.append(output)
                    if not self.hold_keys:
                        self.load_keys()
                case Rebuild(tenant, stream, sound):
                    self.rebuild(tenant, stream, sound)
                case _:
                    self.left.append(output)
        return outputs

    def rebuild(self, tenant: str, stream: str, sound: int) -> None:
        """Fold a state anew from the log."""
        refold = Refold(self.group, tenant, stream, sound)
        for record in self.records():
            refold.take(record)
        self.shard.rebuilt(tenant, stream, refold.state)

    def settle(self) -> None:
        """Turn and store until nothing moves."""
        for _ in range(1000):
            moved = bool(self.turn()) | bool(self.appended)
            self.store()
            if not moved:
                return
        raise AssertionError("the shard never comes to rest")

    def load_keys(self) -> None:
        """Answer what was asked for."""
        wanted = self.wanted.popleft()
        fresh = {key: key.encode().ljust(32, b"k")[:32] for key in wanted.allocate}
        self.keys |= fresh
        self.shard.keys_loaded(fresh, {key: self.keys[key] for key in wanted.get if key in self.keys})

    def live(self) -> Bench:
        """Claim and come to rest; nodes, if there are any, have nothing to say."""
        self.shard.claim(self.now)
        self.settle()
        for name in self.nodes:
            self.node(name)
        assert self.shard.phase is Phase.LIVE
        return self

    def node(self, name: str = NODE, legs: Sequence[tuple[str, str]] = ()) -> None:
        """A node answers, has kept nothing, and has these legs."""
        self.shard.node_up(name, "i1")
        self.shard.node_kept(name)
        self.settle()
        self.shard.node_legs(name, legs)
        self.settle()

    def pass_ms(self, ms: int) -> None:
        """Let time go by and come to rest."""
        self.now = Instant(self.now.boottime_ms + ms, self.now.wall_ms + ms, self.now.boot_id)
        self.settle()

    # ---------------------------------------------------------------- inputs

    def do(self, stream: str, script: str, tenant: str = "t1", source: str = "src", number: int | None = None) -> None:
        """The next numbered input of a source; it waits for a turn."""
        if number is None:
            taken = self.shard.ledger.mark(f"{source}/{tenant}", tenant)
            number = max(self.numbers.get(f"{source}/{tenant}", 0), taken) + 1
        self.numbers[f"{source}/{tenant}"] = number
        self.shard.offer(Offer(f"{source}/{tenant}", number, tenant, stream, Do(script)))

    def ask(self, stream: str, script: str, request: str = "", digest: str = "", tenant: str = "t1") -> object:
        """A client's command; the token comes back with its answer."""
        handle = object()
        self.shard.offer(
            Offer("client/k1", 0, tenant, stream, Do(script), handle=handle, request=request, digest=digest)
        )
        return handle

    # ---------------------------------------------------------------- what is to be seen

    def words(self, stream: str, tenant: str = "t1") -> tuple[str, ...]:
        """What was said on a stream; empty if there is none."""
        aggregate = self.shard.ledger.aggregate(tenant, stream)
        return aggregate.state.words if aggregate else ()

    def answer(self, handle: object) -> Answered | None:
        """The one answer to a client, None if it has not left."""
        found = [output for output in self.left if isinstance(output, Answered) and output.handle is handle]
        assert len(found) < 2, "answered twice"
        return found[0] if found else None

    def performed(self) -> list[Perform]:
        """Effects that have left."""
        return [output for output in self.left if isinstance(output, Perform)]

    def taken(self) -> list[Taken]:
        """Marks that have left."""
        return [output for output in self.left if isinstance(output, Taken)]

    def records(self) -> list[Record]:
        """The log."""
        return [log_codec.decode(stored.body) for stored in self.log]

    def commits(self) -> list[Commit]:
        """Its commits."""
        return [record for record in self.records() if isinstance(record, Commit)]

    def folded(self) -> Ledger:
        """What another process knows from the log alone."""
        ledger = Ledger(self.group)
        for record in self.records():
            ledger.fold(record)
        return ledger

    def same(self) -> None:
        """Owner, fold and a restored snapshot are one state, in one order."""
        parts = list(self.folded().parts())
        assert parts == list(self.shard.ledger.parts())
        restored = restore(self.group, iter(parts))
        assert list(restored.parts()) == parts
        assert _by_stream(restored) == _by_stream(self.shard.ledger)


def _by_stream(ledger: Ledger) -> dict[tuple[str, str], list[str]]:
    """Keys of pending effects in their order, which counts within a stream."""
    found: dict[tuple[str, str], list[str]] = {}
    for key, pending in ledger.pending.items():
        found.setdefault((pending.effect.tenant, pending.effect.stream), []).append(key)
    return found


def value(answered: Answered | None) -> Any:
    """The value of an answer that must be there and good."""
    assert answered is not None and answered.error is None, answered
    return answered.value


def reason(answered: Answered | None) -> str:
    """The reason of an answer that must be a refusal."""
    assert answered is not None and answered.error is not None, answered
    return answered.error.reason.name
