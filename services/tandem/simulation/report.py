"""What a run of seeds has shown, for people: failures with their story, and what was reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tandem.runtime.counts import NAMES
from tandem.simulation.outcome import Result

STATES = ("nothing", "InFlow", "Waiting", "Ringing", "Connecting", "Talking", "Closing", "Ended", "Quarantined")
"""States of a contact that a fault can meet."""

BRANCHES = (
    "void commit",
    "void claim",
    "newer claim",
    "a late claim is void",
    "an append in doubt",
    "deposed by a node",
    "shard time stepped",
    "live without its node",
    "started from a snapshot",
    "went on from a hot standby",
    "messages taken from a place on",
    "a state hash compared from zero",
    "a state hash compared from a snapshot on",
    "a pending effect offered again",
    "a leg that the node does not list",
    "a leg that nobody holds",
    "an overdue offer asked about",
    "the gone answer",
    "an input refused",
    "tenants in turn",
    "16 hops",
    "contact.recovered",
    "contact.queue_rejoined",
    "contact.offer_not_held",
    "contact.place_not_held",
    "reception.devices_told",
    "a contact quarantined",
    "a desk quarantined",
    "a desk back in service",
    "a state folded anew",
    *(f"erasure.begun {cause} CONTACT" for cause in ("REQUESTED", "RETENTION")),
    *(f"contact.erased {scope}" for scope in ("CONTACT", "RECORDINGS")),
    "an erasure refused: the contact is not over",
    "an erasure asked for once more",
    "an erasure that storage refused",
    "an erasure offered again",
    "a late recording found",
    "a late recording listed",
    *(
        f"counted {name}"
        for name in NAMES
        # Void commits are told above, as the log has them; a hash that differs is no branch but a failure.
        if not name.endswith("_now") and name not in ("void_commits", "hashes_differing")
    ),
    *(f"raised in contact {where}" for where in ("decide", "recover", "react", "evolve", "fold")),
    *(f"raised in desk {where}" for where in ("decide", "react", "evolve")),
    "raised in reception decide",
    "kept events wait for keys",
    "8 commits in flight",
    "a repeated request id",
    "configuration changed under way",
    "a torn journal",
    "a new incarnation",
    "died at before_append",
    "died at appended",
    "died at read_back",
    "died at effect_sent",
    "died at in_claim",
    "died at journalled",
    "an effect ended DONE",
    "an effect ended FAILED",
    "an effect ended UNKNOWN",
    "line.queue_refused",
    "contact.dequeued",
    "contact.requeued",
    "contact.turned_away CAPACITY",
    "contact.turned_away CONTACT_QUOTA_EXCEEDED",
    "contact.turned_away SETUP_RATE_EXCEEDED",
    *(
        f"contact.disconnected {outcome}"
        for outcome in (
            "HANDLED",
            "ABANDONED",
            "LEFT_IN_FLOW",
            "FLOW_ENDED",
            "HUNG_UP",
            "MEDIA_LOST",
            "FALLBACK",
            "FAILED",
        )
    ),
    *(
        f"contact.offer_ended {outcome}"
        for outcome in ("REJECTED", "TIMEOUT", "CANCELED", "RESCINDED", "UNREACHABLE", "UNKNOWN")
    ),
)
"""What the seeds together must reach: a rule that no seed meets is not shown to hold."""


@dataclass(slots=True)
class Report:
    """The sum of many results."""

    seeds: int = 0
    simulated_ms: int = 0
    commits: int = 0
    calls: int = 0
    crashes: int = 0
    failed: list[Result] = field(default_factory=list)
    branches: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    pairs: dict[tuple[str, str], int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Another seed."""
        self.seeds += 1
        self.simulated_ms += result.simulated_ms
        self.commits += result.commits
        self.calls += result.calls
        self.crashes += result.crashes
        if result.violation:
            self.failed.append(result)
        _sum(self.branches, result.branches)
        _sum(self.faults, result.faults)
        _sum(self.outcomes, result.outcomes)
        for pair, count in result.pairs.items():
            self.pairs[pair] = self.pairs.get(pair, 0) + count

    @property
    def never(self) -> list[str]:
        """Branches that no seed reached."""
        return [branch for branch in BRANCHES if branch not in self.branches]

    def lines(self) -> Iterable[str]:
        """All of it."""
        yield (
            f"{self.seeds} seeds, {self.simulated_ms // 60_000} simulated minutes, {self.calls} calls, "
            f"{self.commits} commits, {sum(self.faults.values())} faults, {self.crashes} crashes"
        )
        yield "outcomes: " + _counts(self.outcomes)
        yield "faults: " + _counts(self.faults)
        yield "reached: " + _counts({name: self.branches.get(name, 0) for name in BRANCHES if name in self.branches})
        missed = [f"{state} x {fault}" for fault in self.faults for state in STATES if (state, fault) not in self.pairs]
        met = len(STATES) * len(self.faults) - len(missed)
        yield f"states x faults: {met} of {len(STATES) * len(self.faults)} met" + (
            "; never: " + ", ".join(missed) if missed else ""
        )
        if self.never:
            yield "NEVER REACHED: " + ", ".join(self.never)
        yield f"{len(self.failed)} seeds failed" if self.failed else "every invariant held"


def story(result: Result, facts: int = 40) -> Iterable[str]:
    """A failing seed: its last facts, what did not hold, how to play it again."""
    yield from result.story[-facts:]
    yield f"seed {result.seed} ({result.shape}) at {result.simulated_ms / 1000:.3f} s: {result.violation}"
    yield (
        f"again: tandem simulate --seeds 1 --from {result.seed} --minutes {result.minutes} "
        f"--shape {result.shape} --verbose"
    )


def _sum(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda row: (-row[1], row[0])))
