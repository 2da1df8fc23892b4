"""A shard under any inputs, any delay of the log and any takeover: each input acts once, what is
acknowledged is in the log, and owner, log and snapshot are always one state."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tandem.core.commit import Commit
from tandem.core.ports.log import Stored
from tandem.core.ports.media import CommandSettled, Outcome
from tandem.runtime.ledger import Ledger
from tandem.runtime.outputs import Lost, Perform, Taken
from tandem.runtime.restore import restore
from tandem.runtime.shard import Phase
from tandem.runtime.shardtime import Instant
from tandem.runtime.step import Answered
from tests.support.bench import BOOT, Bench
from tests.support.budget import examples
from tests.support.late_snapshot import LateHash, LateSnapshot, check_hashes, check_replay
from tests.support.toy import NODE, toy_group

TENANTS = st.sampled_from(["t1", "t2"])
STREAMS = st.sampled_from(["toy/a", "toy/b", "vault/a"])
PIECE = st.sampled_from(
    [
        "act:play",
        "act:play",
        "act:play;settle:play",
        "act:ring",
        "settle:play",
        "settle:ring",
        f"wake:w:{BOOT.wall_ms + 3000}",
        "settle:w",
        "tell:toy/b:say:told,act:play",
        "ask:nobody/x:say:never",
        "tell:far/x:say:out",
        "over",
        "raise",
        "boom",
        "bang",
        "reject",
        "answer",
        "hop:20",
    ]
)
SCRIPTS = st.lists(PIECE, max_size=3)


class ShardLife(RuleBasedStateMachine):
    """Numbered inputs are offered again and again until they were taken, as sources do."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Stored] = []
        self.keys: dict[str, bytes] = {}
        self.bench = Bench("o0", (NODE,), self.log, keys=self.keys).live()
        self.owners = 0
        self.sent: dict[str, list[tuple[str, str]]] = {"t1": [], "t2": []}  # what the source has said, by number
        self.told: dict[str, int] = {"t1": 0, "t2": 0}  # to this owner
        self.asked: dict[int, str] = {}
        self.handles: list[object] = []
        self.seen = 0
        self.late: list[LateSnapshot] = []
        self.hash = LateHash(self.bench.shard)

    # ---------------------------------------------------------------- inputs

    @rule(tenant=TENANTS, stream=STREAMS, script=SCRIPTS)
    def say(self, tenant: str, stream: str, script: list[str]) -> None:
        number = len(self.sent[tenant]) + 1
        self.sent[tenant].append((stream, ";".join([f"say:{tenant}-{number}", *script])))

    @rule(tenant=TENANTS, most=st.integers(1, 5))
    def tell(self, tenant: str, most: int) -> None:
        for number in range(self.told[tenant] + 1, min(self.told[tenant] + most, len(self.sent[tenant])) + 1):
            stream, script = self.sent[tenant][number - 1]
            self.bench.do(stream, script, tenant, number=number)
            self.told[tenant] = number

    @rule(tenant=TENANTS)
    def tell_again(self, tenant: str) -> None:
        if self.told[tenant]:
            stream, script = self.sent[tenant][self.told[tenant] - 1]
            self.bench.do(stream, script, tenant, number=self.told[tenant])

    @rule(tenant=TENANTS, stream=STREAMS, script=SCRIPTS, request=st.sampled_from(["", "r1", "r2"]))
    def ask(self, tenant: str, stream: str, script: list[str], request: str) -> None:
        word = f"ask{len(self.asked)}"
        handle = self.bench.ask(stream, ";".join([f"say:{word}", *script, "answer"]), request, "d", tenant)
        self.asked[id(handle)] = word
        self.handles.append(handle)  # kept, so that no other token has its id

    @rule(outcome=st.sampled_from(list(Outcome)))
    def the_node_settles(self, outcome: Outcome) -> None:
        """A numbered source of its own, which repeats nothing."""
        keys = list(self.bench.shard.ledger.pending)
        if keys:
            source = f"media/{NODE}/i1/t1"
            number = self.bench.shard.ledger.mark(source, "t1") + 100
            tenant, _, rest = keys[0].partition("/")
            if tenant == "t1":
                body = CommandSettled(keys[0], outcome)
                self.bench.shard.settled(source, number, "t1", rest.rsplit("/", 2)[0], body)

    # ---------------------------------------------------------------- the owner

    @rule()
    def turn(self) -> None:
        self.bench.turn()

    @rule(most=st.integers(1, 3))
    def store(self, most: int) -> None:
        self.bench.store(most)

    @rule()
    def settle(self) -> None:
        self.bench.settle()

    @rule(ms=st.sampled_from([10, 1500, 6000, 61_000]))
    def time_passes(self, ms: int) -> None:
        self.bench.pass_ms(ms)

    @rule()
    def the_link_flaps(self) -> None:
        self.bench.shard.node_down(NODE)
        self.bench.turn()
        self.bench.node()

    @rule(landed=st.integers(0, 3), snapshot=st.booleans(), reboot=st.sampled_from([False, False, True]))
    def an_owner_dies(self, landed: int, snapshot: bool, reboot: bool) -> None:
        """Some of what it had appended lands before the next claim, some after, where it is void."""
        self._watch()
        self.late.clear()
        old, now = self.bench, self.bench.now
        for _ in range(min(landed, len(old.appended))):
            self.log.append(Stored(len(self.log) + 1, old.appended.popleft()))
        if reboot:
            now = Instant(77, now.wall_ms + 20_000, now.boot_id + "'")
        ledger = restore(toy_group(), old.folded().parts()) if snapshot else None
        self.owners += 1
        offset = len(self.log) if snapshot else 0
        self.bench = Bench(f"o{self.owners}", (NODE,), self.log, now=now, keys=self.keys, ledger=ledger, offset=offset)
        self.seen = 0
        self.bench.shard.claim(now)
        self.bench.turn()
        self.bench.store()
        while old.appended:
            self.log.append(Stored(len(self.log) + 1, old.appended.popleft()))
        self.bench.follow()
        self.bench.settle()
        old.follow()
        old.turn()
        assert any(isinstance(output, Lost) for output in old.left)
        self.hash = LateHash(self.bench.shard)
        self.told = {tenant: self.bench.shard.ledger.mark(f"src/{tenant}", tenant) for tenant in self.told}
        self.bench.node()
        assert self.bench.shard.phase is Phase.LIVE

    # ---------------------------------------------------------------- a snapshot beside the work

    @rule()
    def begin_a_snapshot(self) -> None:
        self.late.append(LateSnapshot(self.bench.shard.ledger))

    @rule(rows=st.integers(1, 4))
    def pack(self, rows: int) -> None:
        for late in self.late:
            late.pack(rows)

    @rule(rows=st.integers(1, 20))
    def digest(self, rows: int) -> None:
        self.hash.work(rows)

    # ---------------------------------------------------------------- what must hold

    def _watch(self) -> None:
        """What left the shard since last time."""
        durable = self.bench.folded()
        for output in self.bench.left[self.seen :]:
            match output:
                case Taken(source, tenant, number):
                    assert durable.mark(source, tenant) >= number, "acknowledged and not in the log"
                case Answered(handle, value, None):
                    word = self.asked[id(handle)]
                    if word in value.value.split():  # a repeat has the answer to the first of its id
                        written = [event.part.clear for commit in self.bench.commits() for event in commit.events]
                        assert word.encode() in b"".join(written), "answered and not in the log"
                case Perform(key=key):
                    written = {effect.key for commit in self.bench.commits() for effect in commit.effects}
                    assert key in written, "done and not in the log"
        self.seen = len(self.bench.left)

    @invariant()
    def nothing_leaves_before_it_is_durable(self) -> None:
        self._watch()

    @invariant()
    def one_state(self) -> None:
        if not self.bench.appended and self.bench.shard.phase is Phase.LIVE:
            self.bench.same()

    @invariant()
    def time_never_runs_back(self) -> None:
        times = [commit.shard_time_ms for commit in self.bench.commits()]
        assert times == sorted(times)

    def teardown(self) -> None:
        """The source says all it has; each of its inputs stands in the log once, in order."""
        for late in self.late:
            late.check()
        for tenant in ("t1", "t2"):
            for number in range(self.told[tenant] + 1, len(self.sent[tenant]) + 1):
                stream, script = self.sent[tenant][number - 1]
                self.bench.do(stream, script, tenant, number=number)
        self.bench.settle()
        self._watch()
        for tenant, sent in self.sent.items():
            counted = self.bench.folded()
            assert counted.mark(f"src/{tenant}", tenant) == len(sent)
            taken = [
                taken.number
                for commit in _counted(self.bench)
                for taken in commit.inputs
                if taken.source == f"src/{tenant}"
            ]
            assert taken == list(range(1, len(sent) + 1))
        self.bench.same()
        check_hashes(self.bench.group, self.bench.records())
        check_replay(self.bench.group, self.bench.log, self.keys)


def _counted(bench: Bench) -> list[Commit]:
    ledger = Ledger(bench.group)
    return [record for record in bench.records() if ledger.fold(record) and isinstance(record, Commit)]


ShardLife.TestCase.settings = examples(50, steps=35)
TestShardLife = ShardLife.TestCase
