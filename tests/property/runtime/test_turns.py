"""Tenants in turn, in any order of arrivals, rounds and inputs that cannot be decided yet (rule 4; L6)."""

from __future__ import annotations

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tandem.runtime.step import Offer
from tandem.runtime.turns import MAX_ALONE, MAX_CLIENTS, MAX_INPUTS, MAX_SHARED, TOGETHER_MS, Turns
from tests.support.budget import examples

TENANTS = st.sampled_from([f"t{n}" for n in range(8)])


class TenantsInTurn(RuleBasedStateMachine):
    """The model: each tenant's own line, and for who waits how many turns each other one had meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.lines: dict[str, deque[int]] = {}
        self.over: set[int] = set()
        self.count = 0
        self.passed: dict[str, dict[str, int]] = {}
        self.now_ms = 0
        self.had: dict[str, int] = {}  # in the last step
        self.decided: list[tuple[int, str, int]] = []  # (span, tenant, inputs)
        self.resting: set[str] = set()

    @rule(ms=st.integers(0, 1_500))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule()
    def rest(self) -> None:
        """Who had a turn, and more than an equal part of what was decided in the last span and the one before."""
        last = self.decided[-1][0] if self.decided else 0
        lately = [(tenant, many) for span, tenant, many in self.decided if span >= last - 1]
        together, total = len({tenant for tenant, _ in lately}), sum(many for _, many in lately)
        for one in self.had:
            if sum(many for tenant, many in lately if tenant == one) > total / together:
                self.resting.add(one)
        assert self.turns.rest() == bool(self.resting)

    @rule()
    def rested(self) -> None:
        self.turns.rested()
        self.resting.clear()

    @rule(tenants=st.sets(TENANTS, min_size=1), many=st.integers(1, 40), client=st.booleans(), over=st.integers(0, 3))
    def come(self, tenants: set[str], many: int, client: bool, over: int) -> None:
        for tenant in sorted(tenants):
            if not self.lines.get(tenant):
                self.passed[tenant] = {}
            for index in range(many):
                self.count += 1
                if over and index % over == 1:
                    self.over.add(self.count)
                self.lines.setdefault(tenant, deque()).append(self.count)
                self.turns.add(Offer("s", self.count, tenant, "toy/a", handle=object() if client else None))

    @rule(blocked=st.sets(TENANTS, max_size=3))
    def decide_a_step(self, blocked: set[str]) -> None:
        # Who has nothing left that wants a decision waits for none.
        blocked = blocked | self.resting
        waiting = {tenant for tenant, line in self.lines.items() if not self.over.issuperset(line)} - blocked
        had: dict[str, int] = {}

        def decide(offer: Offer) -> bool:
            assert offer.tenant not in self.resting
            if offer.tenant in blocked:
                return False
            self._leave(offer)
            had[offer.tenant] = had.get(offer.tenant, 0) + 1
            return True

        taken = self.turns.round(decide, self._over, self.now_ms)
        assert taken == sum(had.values()) <= MAX_INPUTS
        assert max(had.values(), default=0) <= (MAX_SHARED if len(had) > 1 else MAX_ALONE)
        self.decided += ((self.now_ms // TOGETHER_MS, tenant, many) for tenant, many in had.items())
        self.had = had
        for tenant in had:  # in the order of their turns
            for other in waiting - {tenant}:
                self.passed[other][tenant] = self.passed[other].get(tenant, 0) + 1
                assert self.passed[other][tenant] == 1, f"{tenant} had two turns while {other} waited for one"
            self.passed[tenant] = {}
        for tenant in blocked:
            self.passed[tenant] = {}

    def _over(self, offer: Offer) -> bool:
        if offer.number not in self.over:
            return False
        self._leave(offer)
        return True

    def _leave(self, offer: Offer) -> None:
        line = self.lines[offer.tenant]
        assert offer.number == line.popleft(), "a tenant's inputs changed their order"

    @invariant()
    def all_that_waits_is_counted(self) -> None:
        assert self.turns.ready == any(line and tenant not in self.resting for tenant, line in self.lines.items())
        assert len(self.turns) == sum(len(line) for line in self.lines.values())
        assert all(self.turns.has_room(tenant) for tenant in self.lines if len(self.lines[tenant]) < MAX_CLIENTS)


TestTenantsInTurn = TenantsInTurn.TestCase
TestTenantsInTurn.settings = examples(60, steps=20)
