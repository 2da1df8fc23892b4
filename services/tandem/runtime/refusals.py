"""What a step does with a command that cannot be decided, and with what cannot be gone on with (rule 12).

A refused command costs its own aggregate alone: it recovers, or it is quarantined; its asker
hears of it. A quarantine is an event of the runtime on the aggregate's stream, so that every
fold does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tandem.core.decider import HOPS, MAX_HOPS, Act, Refusal, Tell
from tandem.runtime.aggregates import Aggregate
from tandem.runtime.counts import Counts
from tandem.runtime.decisions import Decisions, Hop, Unfolded, Unreacted
from tandem.runtime.ledger import Ledger
from tandem.runtime.service import Quarantined, QuarantinedHungUp, QuarantinedLeg, QuarantinedLegEnded, kind_of


class PastLimit(Exception):
    """A message that was not given to its receiver."""


class SetAside(Exception):
    """A command for a quarantined aggregate."""


class Refusals:
    """Those among the `decisions` of one commit. `report` is told of each."""

    __slots__ = ("_counts", "_decisions", "_ledger", "_now_ms", "_report", "torn")

    def __init__(
        self,
        decisions: Decisions,
        ledger: Ledger,
        now_ms: int,
        report: Callable[[str, BaseException], None],
        counts: Counts,
    ) -> None:
        self._decisions, self._ledger, self._now_ms = decisions, ledger, now_ms
        self._report, self._counts = report, counts
        self.torn: list[tuple[str, str, int]] = []  # (tenant, stream, version) to fold anew

    def refuse(self, hop: Hop, error: Exception, key: str) -> str:
        """Refuse one command alone: its receiver recovers or is quarantined, its asker hears of it."""
        if hop.hop == 0:
            self._counts.inputs_refused += 1
        else:
            self._counts.messages_refused += 1
        if isinstance(error, PastLimit):
            self._counts.hop_limit += 1
        cause = cause_of(error)
        self._report(f"{type(hop.command).__name__} to {hop.stream} was refused", cause)
        if isinstance(error, Unfolded):
            self._quarantine(hop, error.event, cause)
        elif isinstance(error, Unreacted) and self._make_good(hop, error):
            self._counts.recovered += 1
        elif not self.recover(hop, error, key):
            self._decisions.gone(hop)
            self._look_again(hop)
        return type(cause).__name__

    def _look_again(self, hop: Hop) -> None:
        """What a refused command said is lost: a kind with `resume` may ask those whom it concerns, once."""
        aggregate = self._ledger.aggregate(self._decisions.tenant, hop.stream)
        if aggregate is None or aggregate.kind.resume is None or hop.recovering or hop.hop > MAX_HOPS:
            return
        again = aggregate.kind.resume(hop.command)
        self._decisions.queue.append(Hop(hop.stream, again, hop.hop + 1, hop.cause, "", None, recovering=True))

    def _make_good(self, hop: Hop, error: Unreacted) -> bool:
        """What was not done because of an event is made good by the kind's `resume`; False if it has none."""
        aggregate = self._ledger.aggregate(self._decisions.tenant, hop.stream)
        if aggregate is None or aggregate.kind.resume is None:
            return False
        again = Hop(hop.stream, None, hop.hop, hop.cause, "", None, recovering=True)
        try:
            for event in error.events:
                self._decisions.decide(aggregate, aggregate.kind.resume(event), again)
        except Exception as failed:  # noqa: BLE001 - nothing holds for this aggregate any more
            self._report(f"{hop.stream} could not make good {error}", cause_of(failed))
            self._quarantine(hop, str(error), cause_of(failed))
        return True

    def recover(self, hop: Hop, error: Exception, key: str) -> bool:
        """Give the aggregate its `Recover`; False if it has none, or there is no aggregate that could."""
        tenant = self._decisions.tenant
        aggregate = self._ledger.aggregate(tenant, hop.stream)
        kind = self._ledger.group.kinds.get(kind_of(hop.stream))
        if kind is None or kind.rescue is None or (aggregate is not None and aggregate.quarantine is not None):
            return False
        if aggregate is None:
            if hop.hop or type(hop.command) not in kind.starts:
                return False
            aggregate = self._ledger.born(tenant, hop.stream, key, self._decisions.trace)
        why = HOPS if isinstance(error, PastLimit) else type(cause_of(error)).__name__
        name = hop.type or self._name(hop)
        recovering = Hop(hop.stream, None, hop.hop, hop.cause, "", None, recovering=True)
        try:
            half = 0 <= hop.version < aggregate.version
            command = kind.rescue.recover(Refusal(name, hop.command, why, half), self._now_ms)
            self._decisions.decide(aggregate, command, recovering)
        except Exception as failed:  # noqa: BLE001 - whatever it is: nothing holds for this aggregate any more
            event = failed.event if isinstance(failed, Unfolded) else name
            raised = cause_of(failed)
            self._report(f"{hop.stream} could not recover from {name}", raised)
            self._ledger.adopt(tenant, hop.stream, aggregate)
            self._quarantine(hop, event, raised)
            return True
        self._counts.recovered += 1
        return True

    def _name(self, hop: Hop) -> str:
        try:
            return self._ledger.group.commands_of(hop.stream).name(hop.command)
        except KeyError:
            return type(hop.command).__name__

    # ---------------------------------------------------------------- quarantine

    def _quarantine(self, hop: Hop, event: str, error: BaseException) -> None:
        """Set the aggregate aside, in the log, so that every fold does the same."""
        tenant, stream = self._decisions.tenant, hop.stream
        aggregate = self._ledger.aggregate(tenant, stream)
        if aggregate is None:
            aggregate = self._ledger.born(tenant, stream, "", self._decisions.trace)
            self._ledger.adopt(tenant, stream, aggregate)
        self.note(aggregate, type(error).__name__, event, hop)
        if aggregate.kind.rescue is None:
            assert aggregate.quarantine is not None, "it has just been noted"
            self._ledger.aggregates.set_aside((tenant, stream), replace(aggregate.quarantine, torn=True))
            self.torn.append((tenant, stream, aggregate.version))
        # What could not be decided may say that a leg is over: nobody will say it again.
        self._told(aggregate, hop)

    def note(self, aggregate: Aggregate, why: str, event: str, hop: Hop) -> None:
        """Write the quarantine of the hop's aggregate into the log, and have its legs ended."""
        self._counts.quarantines += 1
        if aggregate.quarantine is None:
            self._counts.quarantined_now += 1
            self._counts.out_of_service_now += aggregate.kind.rescue is None
        rescue, unread = aggregate.kind.rescue, aggregate.quarantine is not None
        # Where the history could not be read the state is an old one: legs that it has may talk by now.
        state = aggregate.kind.start() if unread else aggregate.state
        actions: Sequence[Act | Tell]
        try:
            legs = tuple(QuarantinedLeg(node, leg) for node, leg in aggregate.legs)
            actions = (*rescue.part(state, hop.stream, self._now_ms), *rescue.keeps(aggregate.state)) if rescue else ()
        except Exception as error:  # noqa: BLE001 - the state is not to be trusted: its legs' ends are told by the node
            self._report(f"{hop.stream} in quarantine: its legs cannot be told", error)
            legs, actions = (), ()
        found = Quarantined(why, event, legs, self._now_ms, unread)
        self._decisions.of_the_runtime(found, actions, hop)

    def _waits_for_leg(self, aggregate: Aggregate, hop: Hop) -> bool:
        """A request about a leg that is up is not answered "gone": its agent is not free yet."""
        rescue, quarantine = aggregate.kind.rescue, aggregate.quarantine
        if rescue is None or quarantine is None or hop.command is None:
            return False
        leg = rescue.about(hop.stream, hop.command)
        up = [row[1] for row in quarantine.legs]
        return leg != "" and (leg in up or (quarantine.guessed and bool(up)))

    def at_quarantined(self, aggregate: Aggregate, hop: Hop) -> None:
        """Nothing but the ends of its legs counts any more, and who asks for them. Raises `SetAside`."""
        rescue, quarantine = aggregate.kind.rescue, aggregate.quarantine
        assert quarantine is not None, "only for those in quarantine"
        if self._decisions.pass_on(aggregate.kind, hop):
            return
        asked = rescue.ends(hop.stream, hop.command, quarantine.legs, self._now_ms) if rescue else ()
        if asked:
            self._decisions.of_the_runtime(QuarantinedHungUp(self._now_ms), asked, hop)
            return
        self._told(aggregate, hop)
        raise SetAside

    def _told(self, aggregate: Aggregate, hop: Hop) -> None:
        """The end of a leg of what is in quarantine, or a request that nobody will answer."""
        rescue, quarantine = aggregate.kind.rescue, aggregate.quarantine
        leg = rescue.over(hop.command) if rescue else ""
        rest = tuple(row for row in quarantine.legs if row[1] != leg) if quarantine else ()
        if rescue is not None and quarantine is not None and len(rest) < len(quarantine.legs):
            actions = rescue.leg_over(hop.stream, leg, rest, quarantine.guessed, self._now_ms)
            self._decisions.of_the_runtime(QuarantinedLegEnded(leg, self._now_ms), actions, hop)
        elif not self._waits_for_leg(aggregate, hop):
            self._decisions.gone(hop)


def cause_of(error: BaseException) -> BaseException:
    """What a decider's own code raised."""
    return error.__cause__ if isinstance(error, Unfolded | Unreacted) and error.__cause__ else error
