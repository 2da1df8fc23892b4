"""An input and every message that it sets off, worked off one after another (rule 4, spine 2)."""

from __future__ import annotations

from collections.abc import Callable

from tandem.core.decider import MAX_HOPS, Resumed
from tandem.core.errors import INTERNAL, OUT_OF_ORDER, UNKNOWN_NAME, Rejected
from tandem.runtime.aggregates import Aggregate
from tandem.runtime.counts import Counts
from tandem.runtime.decisions import Decisions, Hop
from tandem.runtime.ledger import Ledger
from tandem.runtime.refusals import PastLimit, Refusals, SetAside
from tandem.runtime.service import QuarantineLifted, kind_of

QUARANTINED = "QUARANTINED"
"""Why an input was refused that came to a quarantined aggregate."""
CLOSING_HOPS = 2
"""How far past `MAX_HOPS` a closing answer is still decided: the one to a message that was
refused for its hops, and not the round that it might set off."""
CLAIM = "claim"
"""Cause of what a new owner does before it decides anything."""
MAX_RESUMES = 1_000
"""How often an aggregate that is back in service is asked what is to be done; a desk brings
together one caller and one agent each time."""


class Cascade:
    """Has the `decisions` of one commit made, and what cannot be decided refused."""

    __slots__ = ("_counts", "_decisions", "_ledger", "_now_ms", "_refusals", "_report")

    def __init__(
        self,
        decisions: Decisions,
        refusals: Refusals,
        ledger: Ledger,
        now_ms: int,
        report: Callable[[str, BaseException], None],
        counts: Counts,
    ) -> None:
        self._decisions, self._refusals, self._ledger, self._now_ms = decisions, refusals, ledger, now_ms
        self._report, self._counts = report, counts

    def run(self, key: str) -> tuple[str, Rejected | None]:
        """Decide what waits in the queue, and all that comes of it. Returns why the input was
        refused, and the answer if it was rejected. An aggregate that it begins has this data key."""
        refused: tuple[str, Rejected | None] = ("", None)
        queue = self._decisions.queue
        while queue:
            hop = queue.popleft()
            try:
                if hop.hop > (MAX_HOPS + CLOSING_HOPS if hop.closing else MAX_HOPS):
                    raise PastLimit(f"a message past {MAX_HOPS} hops")
                self._decide(hop, key if hop.hop == 0 else "")
            except Rejected as error:
                self._decisions.gone(hop)
                if hop.hop == 0:
                    refused = ("", error)
                else:
                    self._report(f"{hop.stream} rejected a message: {error.reason.name}", error)
            except SetAside:
                self._counts.quarantined_inputs += 1
                if hop.hop == 0:
                    refused = (QUARANTINED, Rejected(OUT_OF_ORDER, "the resource was set aside"))
            except Exception as error:  # noqa: BLE001
                # Rule 12: one input that cannot be decided stops neither shard nor process.
                why = self._refusals.refuse(hop, error, key if hop.hop == 0 else "")
                if hop.hop == 0:
                    refused = (why, Rejected(INTERNAL, f"input {hop.cause} was refused"))
        return refused

    def _decide(self, hop: Hop, key: str) -> None:
        ledger, decisions = self._ledger, self._decisions
        aggregate = ledger.aggregate(decisions.tenant, hop.stream)
        kind = ledger.group.kinds[kind_of(hop.stream)]
        ended = aggregate is not None and aggregate.over  # in this very step
        if aggregate is not None and aggregate.quarantine is not None and not ended:
            self._refusals.at_quarantined(aggregate, hop)
            return
        if aggregate is None or ended:
            if ended or type(hop.command) not in kind.starts:
                if decisions.pass_on(kind, hop):
                    return
                if hop.hop == 0 and decisions.awaited:
                    raise Rejected(UNKNOWN_NAME, "there is no such resource")
                decisions.gone(hop)
                return
            aggregate = ledger.born(decisions.tenant, hop.stream, key, decisions.trace)
        decisions.decide(aggregate, hop.command, hop)

    # ---------------------------------------------------------------- a new owner

    def take_stock(self, unique: str) -> None:
        """What this process could not fold is noted in the log, and those that last are tried again."""
        for tenant, stream, aggregate in list(self._ledger.quarantined()):
            quarantine = aggregate.quarantine
            assert quarantine is not None, "only those in quarantine are listed"
            self._decisions.begin(tenant, CLAIM, unique)
            hop = Hop(stream, None, 0, CLAIM, "", None)
            if not quarantine.noted:
                self._refusals.note(aggregate, quarantine.why, quarantine.event, hop)
            elif aggregate.kind.rescue is None and not quarantine.unread and not quarantine.torn:
                self._counts.quarantines_lifted += 1
                self._counts.quarantined_now -= 1
                self._counts.out_of_service_now -= 1
                self._decisions.of_the_runtime(QuarantineLifted(self._now_ms), (), hop)
                self._resume(aggregate, stream)
            self.run("")

    def _resume(self, aggregate: Aggregate, stream: str) -> None:
        resume, before = aggregate.kind.resume, -1
        told: Resumed | None = Resumed()
        decisions = self._decisions
        for _ in range(MAX_RESUMES):
            if resume is None or len(decisions.events) == before or aggregate.quarantine is not None:
                return
            before = -1 if told else len(decisions.events)
            decisions.queue.append(Hop(stream, resume(told), 0, CLAIM, "", None))
            self.run("")
            told = None
