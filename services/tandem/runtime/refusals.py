"""What a step does with a command that cannot be decided, and with what cannot be gone on with (rule 12).

A refused command costs its own aggregate alone: it recovers, or it is quarantined; its asker
hears of it. A quarantine is an event of the runtime on the aggregate's stream, so that every
fold does the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tandem.core.commit import Envelope, Part
from tandem.core.decider import HOPS, Act, Action, Answer, Kind, Refusal, Resumed, Tell
from tandem.core.errors import Rejected
from tandem.core.seal import Sealed, Withheld
from tandem.runtime.aggregates import Aggregate
from tandem.runtime.counts import Counts
from tandem.runtime.ledger import Ledger
from tandem.runtime.service import (
    RUNTIME_EVENTS,
    Quarantined,
    QuarantinedHungUp,
    QuarantinedLeg,
    QuarantinedLegEnded,
    QuarantineLifted,
    kind_of,
)

MAX_RESUMES = 1_000
"""How often an aggregate that is back in service is asked what is to be done; a desk brings
together one caller and one agent each time."""

CLAIM = "claim"
"""Cause of what a new owner does before it decides anything."""


@dataclass(slots=True)
class Hop:
    """A command on its way through the step."""

    stream: str
    command: Any
    hop: int
    cause: str
    sender: str
    gone: Part | None
    closing: bool = False  # the closing answer to a request
    recovering: bool = False  # what it sends is a closing answer
    type: str = ""  # stable name, for one that could not be read
    version: int = -1  # of the aggregate before it was decided


class Unfolded(Exception):
    """`evolve` raised; what it raised is the cause."""

    def __init__(self, event: str) -> None:
        super().__init__(event)
        self.event = event


class Unreacted(Exception):
    """`react` to these events raised; what it raised first is the cause."""

    def __init__(self, *events: Any) -> None:
        super().__init__(" ".join(type(event).__name__ for event in events))
        self.events = events


class PastLimit(Exception):
    """A message that was not given to its receiver."""


class SetAside(Exception):
    """A command for a quarantined aggregate."""


class Refusals:
    """The part of a `Step` that this module's text is about. What is declared here is the step's own."""

    __slots__ = ()

    ledger: Ledger
    partition: str
    epoch: int
    n: int
    now_ms: int
    report: Callable[[str, BaseException], None]
    counts: Counts
    events: list[Envelope]
    touched: dict[tuple[str, str], None]
    torn: list[tuple[str, str, int]]

    @property
    def _tenant(self) -> str:
        """Of the input at hand."""
        raise NotImplementedError

    @property
    def _asked(self) -> tuple[str, str]:
        """Actor and trace of the input at hand."""
        raise NotImplementedError

    def _begin_claim(self, tenant: str, stream: str) -> None:
        """What follows is nobody's input."""
        raise NotImplementedError

    def _follow(self, queue: deque[Hop], key: str) -> tuple[str, Rejected | None]:
        """Decide what waits in the queue."""
        raise NotImplementedError

    def _run(self, aggregate: Aggregate, command: Any, hop: Hop, queue: deque[Hop]) -> None:
        """Decide one command."""
        raise NotImplementedError

    def _gone(self, hop: Hop, queue: deque[Hop]) -> None:
        """The closing answer to a request."""
        raise NotImplementedError

    def _act(
        self, action: Action, stream: str, version: int, index: int, event_id: str, hop: Hop, queue: deque[Hop]
    ) -> tuple[str, ...]:
        """Carry out an action."""
        raise NotImplementedError

    # ---------------------------------------------------------------- refused

    def _refuse(self, hop: Hop, error: Exception, key: str, queue: deque[Hop]) -> str:
        """Refuse one command alone: its receiver recovers or is quarantined, its asker hears of it."""
        if hop.hop == 0:
            self.counts.inputs_refused += 1
        else:
            self.counts.messages_refused += 1
        if isinstance(error, PastLimit):
            self.counts.hop_limit += 1
        cause = cause_of(error)
        self.report(f"{type(hop.command).__name__} to {hop.stream} was refused", cause)
        if isinstance(error, Unfolded):
            self._quarantine(hop, error.event, cause, queue)
        elif isinstance(error, Unreacted) and self._make_good(hop, error, queue):
            self.counts.recovered += 1
        elif not self._recover(hop, error, key, queue):
            self._gone(hop, queue)
        return type(cause).__name__

    def _make_good(self, hop: Hop, error: Unreacted, queue: deque[Hop]) -> bool:
        """What was not done because of an event is made good by the kind's `resume`; False if it has none."""
        aggregate = self.ledger.aggregate(self._tenant, hop.stream)
        if aggregate is None or aggregate.kind.resume is None:
            return False
        again = Hop(hop.stream, None, hop.hop, hop.cause, "", None, recovering=True)
        try:
            for event in error.events:
                self._run(aggregate, aggregate.kind.resume(event), again, queue)
        except Exception as failed:  # noqa: BLE001 - nothing holds for this aggregate any more
            self.report(f"{hop.stream} could not make good {error}", cause_of(failed))
            self._quarantine(hop, str(error), cause_of(failed), queue)
        return True

    def _recover(self, hop: Hop, error: Exception, key: str, queue: deque[Hop]) -> bool:
        """Give the aggregate its `Recover`; False if it has none, or there is no aggregate that could."""
        tenant = self._tenant
        aggregate = self.ledger.aggregate(tenant, hop.stream)
        kind = self.ledger.group.kinds.get(kind_of(hop.stream))
        if kind is None or kind.rescue is None or (aggregate is not None and aggregate.quarantine is not None):
            return False
        if aggregate is None:
            if hop.hop or type(hop.command) not in kind.starts:
                return False
            aggregate = self.ledger.born(tenant, hop.stream, key, self._asked[1])
        why = HOPS if isinstance(error, PastLimit) else type(cause_of(error)).__name__
        name = hop.type or self._name(hop)
        recovering = Hop(hop.stream, None, hop.hop, hop.cause, "", None, recovering=True)
        try:
            half = 0 <= hop.version < aggregate.version
            command = kind.rescue.recover(Refusal(name, hop.command, why, half), self.now_ms)
            self._run(aggregate, command, recovering, queue)
        except Exception as failed:  # noqa: BLE001 - whatever it is: nothing holds for this aggregate any more
            event = failed.event if isinstance(failed, Unfolded) else name
            raised = cause_of(failed)
            self.report(f"{hop.stream} could not recover from {name}", raised)
            self.ledger.adopt(tenant, hop.stream, aggregate)
            self._quarantine(hop, event, raised, queue)
            return True
        self.counts.recovered += 1
        return True

    def _name(self, hop: Hop) -> str:
        try:
            return self.ledger.group.commands_of(hop.stream).name(hop.command)
        except KeyError:
            return type(hop.command).__name__

    def _quarantine(self, hop: Hop, event: str, error: BaseException, queue: deque[Hop]) -> None:
        """Set the aggregate aside, in the log, so that every fold does the same."""
        tenant, stream = self._tenant, hop.stream
        aggregate = self.ledger.aggregate(tenant, stream)
        if aggregate is None:
            aggregate = self.ledger.born(tenant, stream, "", self._asked[1])
            self.ledger.adopt(tenant, stream, aggregate)
        self._note(tenant, stream, aggregate, type(error).__name__, event, hop, queue)
        if aggregate.kind.rescue is None:
            assert aggregate.quarantine is not None, "it has just been noted"
            self.ledger.aggregates.set_aside((tenant, stream), replace(aggregate.quarantine, torn=True))
            self.torn.append((tenant, stream, aggregate.version))
        if not self._waits_for_leg(aggregate, hop):
            self._gone(hop, queue)

    def _note(
        self,
        tenant: str,
        stream: str,
        aggregate: Aggregate,
        why: str,
        event: str,
        hop: Hop,
        queue: deque[Hop],
    ) -> None:
        self.counts.quarantines += 1
        if aggregate.quarantine is None:
            self.counts.quarantined_now += 1
            self.counts.out_of_service_now += aggregate.kind.rescue is None
        rescue, unread = aggregate.kind.rescue, aggregate.quarantine is not None
        # Where the history could not be read the state is an old one: legs that it has may talk by now.
        state = aggregate.kind.start() if unread else aggregate.state
        actions: Sequence[Act | Tell]
        try:
            legs = tuple(QuarantinedLeg(node, leg) for node, leg in aggregate.legs)
            actions = (*rescue.part(state, stream, self.now_ms), *rescue.keeps(aggregate.state)) if rescue else ()
        except Exception as error:  # noqa: BLE001 - the state is not to be trusted: its legs' ends are told by the node
            self.report(f"{stream} in quarantine: its legs cannot be told", error)
            legs, actions = (), ()
        found = Quarantined(why, event, legs, self.now_ms, unread)
        self._runtime_event(tenant, stream, found, actions, hop, queue)

    def _runtime_event(
        self, tenant: str, stream: str, event: Any, actions: Sequence[Act | Tell | Answer], hop: Hop, queue: deque[Hop]
    ) -> None:
        aggregate = self.ledger.aggregates[tenant, stream]
        part = RUNTIME_EVENTS.close(event, no_secret)[1]
        version = aggregate.version + 1
        event_id = f"{self.partition}/{self.epoch}/{self.n}/{len(self.events)}"
        actor, trace = self._asked
        trace = aggregate.trace if aggregate.kind.traced else trace
        envelope = Envelope(event_id, tenant, stream, version, self.now_ms, hop.cause, actor, trace, part)
        self.ledger.apply_quarantine(envelope, event, "")
        self.touched[tenant, stream] = None
        self.events.append(envelope)
        settles: list[str] = []
        for index, action in enumerate(actions):
            settles += self._act(action, stream, version, index, event_id, hop, queue)
        self.events[self.events.index(envelope)] = replace(envelope, settles=tuple(settles))

    def _waits_for_leg(self, aggregate: Aggregate, hop: Hop) -> bool:
        """A request about a leg that is up is not answered "gone": its agent is not free yet."""
        rescue, quarantine = aggregate.kind.rescue, aggregate.quarantine
        if rescue is None or quarantine is None or hop.command is None:
            return False
        leg = rescue.about(hop.stream, hop.command)
        up = [row[1] for row in quarantine.legs]
        return leg != "" and (leg in up or (quarantine.guessed and bool(up)))

    def _at_quarantined(self, aggregate: Aggregate, hop: Hop, queue: deque[Hop]) -> None:
        """Nothing but the ends of its legs counts any more, and who asks for them. Raises `SetAside`."""
        rescue, quarantine = aggregate.kind.rescue, aggregate.quarantine
        assert quarantine is not None, "only for those in quarantine"
        if self._pass_on(aggregate.kind, hop, queue):
            return
        asked = rescue.ends(hop.stream, hop.command, quarantine.legs, self.now_ms) if rescue else ()
        if asked:
            self._runtime_event(self._tenant, hop.stream, QuarantinedHungUp(self.now_ms), asked, hop, queue)
            return
        leg = rescue.over(hop.command) if rescue else ""
        rest = tuple(row for row in quarantine.legs if row[1] != leg)
        if rescue is not None and len(rest) < len(quarantine.legs):
            actions = rescue.leg_over(hop.stream, leg, rest, quarantine.guessed, self.now_ms)
            ended = QuarantinedLegEnded(leg, self.now_ms)
            self._runtime_event(self._tenant, hop.stream, ended, actions, hop, queue)
        elif not self._waits_for_leg(aggregate, hop):
            self._gone(hop, queue)
        raise SetAside

    def _pass_on(self, kind: Kind, hop: Hop, queue: deque[Hop]) -> bool:
        """Give what comes too late for its receiver to who hears it instead; False if nobody does."""
        heir = kind.late(hop.command)
        if heir is not None:
            queue.append(Hop(heir[0], heir[1], hop.hop + 1, hop.cause, hop.stream, None))
        return heir is not None

    def take_stock(self) -> bool:
        """A new owner's first step: what it could not fold is noted in the log, and those that
        last are tried again. Whether there was anything."""
        queue: deque[Hop] = deque()
        for tenant, stream, aggregate in list(self.ledger.quarantined()):
            quarantine = aggregate.quarantine
            assert quarantine is not None, "only those in quarantine are listed"
            self._begin_claim(tenant, stream)
            hop = Hop(stream, None, 0, CLAIM, "", None)
            if not quarantine.noted:
                self._note(tenant, stream, aggregate, quarantine.why, quarantine.event, hop, queue)
            elif aggregate.kind.rescue is None and not quarantine.unread and not quarantine.torn:
                self.counts.quarantines_lifted += 1
                self.counts.quarantined_now -= 1
                self.counts.out_of_service_now -= 1
                self._runtime_event(tenant, stream, QuarantineLifted(self.now_ms), (), hop, queue)
                self._resume(aggregate, stream)
            self._follow(queue, "")
        return bool(self.events)

    def _resume(self, aggregate: Aggregate, stream: str) -> None:
        resume, before = aggregate.kind.resume, -1
        told: Resumed | None = Resumed()
        for _ in range(MAX_RESUMES):
            if resume is None or len(self.events) == before or aggregate.quarantine is not None:
                return
            before = -1 if told else len(self.events)
            self._follow(deque([Hop(stream, resume(told), 0, CLAIM, "", None)]), "")
            told = None


def cause_of(error: BaseException) -> BaseException:
    """What a decider's own code raised."""
    return error.__cause__ if isinstance(error, Unfolded | Unreacted) and error.__cause__ else error


def no_secret(type_: str, value: Any) -> Sealed | Withheld:
    """For what is sealed in the state already, or never was secret. Raises TypeError."""
    raise TypeError(f"{type_} carries a {type(value).__name__}: only what is sealed in the state may be passed on")
