"""One step of a shard: inputs decided one after another into one commit (rule 4, spine 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tandem.core.access import CELL_TENANT
from tandem.core.commit import ENGINE, Commit, Ended, Envelope, Input, Mark, Part, Reply
from tandem.core.decider import EffectEnded, Kind
from tandem.core.errors import INTERNAL, NOT_IN_USE, REQUEST_ID_REUSED, Rejected
from tandem.runtime.aggregates import Aggregate
from tandem.runtime.cascade import CLAIM, Cascade
from tandem.runtime.counts import Counts
from tandem.runtime.decisions import Decisions, Hop
from tandem.runtime.ledger import REQUEST_TTL_MS, SHARD, Ledger
from tandem.runtime.refusals import Refusals
from tandem.runtime.sealing import KeysNeeded, Sealer
from tandem.runtime.service import kind_of
from tandem.runtime.state import Pending
from tandem.runtime.traced import Decided


@dataclass(slots=True)
class Offer:
    """An input that waits to be decided. `number` 0: not numbered (clients, wakes).

    `handle` is the caller's own token, given back with the answer. `request` and `digest`
    make a client's repeats exact. `command` may be given encoded, as `part`.
    """

    source: str
    number: int
    tenant: str
    stream: str
    command: Any = None
    part: Part | None = None
    handle: Any = None
    request: str = ""
    digest: str = ""
    actor: str = ""
    trace: str = ""
    settles: str = ""
    sender: str = ""
    gone: Part | None = None


@dataclass(slots=True)
class Answered:
    """The end of a client's command: a value or a `Rejected`."""

    handle: Any
    value: Any
    error: Rejected | None = None


@dataclass(slots=True)
class Step:
    """Collects one commit. `fresh()` gives the id of an unused data key, or None."""

    ledger: Ledger
    partition: str
    epoch: int
    n: int
    now_ms: int
    boot_id: str
    boottime_ms: int
    sealer: Sealer
    fresh: Callable[[], str | None]
    report: Callable[[str, BaseException], None]
    counts: Counts = field(default_factory=Counts)
    inputs: list[Input] = field(default_factory=list)
    marks: dict[tuple[str, str], int] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    ended_keys: list[str] = field(default_factory=list)  # of aggregates that are over
    decided: list[Decided] = field(default_factory=list)  # what stands in a trace
    again: list[str] = field(default_factory=list)  # keys of wakes whose command was refused
    torn: list[tuple[str, str, int]] = field(init=False)  # (tenant, stream, version) to fold anew
    _decisions: Decisions = field(init=False)
    _refusals: Refusals = field(init=False)
    _cascade: Cascade = field(init=False)

    def __post_init__(self) -> None:
        ledger, now_ms, report, counts = self.ledger, self.now_ms, self.report, self.counts
        decisions = Decisions(ledger, f"{self.partition}/{self.epoch}/{self.n}", self.n, now_ms, self.sealer)
        refusals = Refusals(decisions, ledger, now_ms, report, counts)
        self._decisions, self._refusals, self.torn = decisions, refusals, refusals.torn
        self._cascade = Cascade(decisions, refusals, ledger, now_ms, report, counts)

    # ---------------------------------------------------------------- inputs

    def take(self, offer: Offer) -> None:
        """Decide one input. Raises `KeysNeeded` before anything is changed."""
        ledger = self.ledger
        if offer.number and offer.number <= ledger.mark(offer.source, offer.tenant):
            return  # done already
        if offer.request and self._repeated(offer):
            return
        try:
            kind = ledger.group.kinds[kind_of(offer.stream)]
            table = ledger.group.commands[kind.name]
            command = table.decode(offer.part) if offer.part is not None else offer.command
        except Exception as error:  # noqa: BLE001
            self._unread(offer, error)
            return
        aggregate = ledger.aggregate(offer.tenant, offer.stream)
        if aggregate is not None and aggregate.quarantine is not None and offer.source == "wake":
            return  # stays pending: it is due again when somebody takes the aggregate back into service
        key = ""
        if kind.sealed and type(command) in kind.starts and aggregate is None:
            fresh = self.fresh()
            if fresh is None:
                raise KeysNeeded
            key = fresh
        person = self._person_of(kind, aggregate, command)
        self._begin(offer, person)
        pending = ledger.pending.get(offer.settles) if offer.settles else None
        if isinstance(command, EffectEnded):
            command = EffectEnded(pending.effect.name if pending else "", command.outcome, command.reason)
        if offer.settles:
            ledger.settle(offer.settles)
        part = self._recorded(offer, table, command, key)
        events = self._decisions.events
        before = len(events)
        cause = f"{offer.source}/{offer.number}"
        self._decisions.queue.append(Hop(offer.stream, command, 0, cause, offer.sender, offer.gone))
        refused, rejected = self._cascade.run(key)
        happened = len(events) > before
        if refused and offer.source == "wake" and kind.rescue is None and pending is not None:
            # Nobody else would do what this timer should have done: it comes again.
            self._wake_again(offer, pending)
        if happened or refused or offer.number or offer.settles:
            # A client's command that changed nothing is not worth a record.
            self._record(offer, part, key if happened else "", refused)
        if offer.handle is not None:
            self._reply(offer, rejected)

    def _wake_again(self, offer: Offer, pending: Pending) -> None:
        effect = pending.effect
        if effect.name not in self.ledger.names.get((effect.tenant, effect.stream), {}):
            self.ledger.apply_effect(effect, pending.payload)
            self.again.append(effect.key)
            offer.settles = ""

    def _person_of(self, kind: Kind, aggregate: Aggregate | None, command: Any) -> str:
        """The key of whom an input is about, empty for nobody. Raises `KeysNeeded` for somebody new."""
        if aggregate is not None and aggregate.quarantine is not None:
            return ""
        person = kind.person(kind.start() if aggregate is None else aggregate.state, command)
        if person == "" and (person := self.fresh()) is None:
            raise KeysNeeded
        return person or ""

    def _begin(self, offer: Offer, person: str = "") -> None:
        unique = self._unique(offer.source, offer.number)
        awaited = offer.handle is not None
        self._decisions.begin(offer.tenant, offer.source, unique, offer.actor, offer.trace, person, awaited)

    def _unique(self, source: str, number: int = 0) -> str:
        """What no other input has."""
        return f"{self.partition}/{source}/{number or self.n}.{len(self.inputs)}"

    def _record(self, offer: Offer, part: Part, key: str, refused: str) -> None:
        """The input, and its mark if it has a number."""
        self.inputs.append(
            Input(
                offer.source,
                offer.number,
                offer.tenant,
                offer.stream,
                self.now_ms,
                part,
                key,
                offer.actor,
                offer.trace,
                refused,
                offer.settles,
                offer.sender,
                offer.gone,
            )
        )
        if self._decisions.changes or offer.trace:
            self.decided.append(Decided(len(self.inputs) - 1, tuple(self._decisions.changes)))
        if offer.number:
            self.ledger.apply_mark(Mark(offer.source, offer.tenant, offer.number))
            self.marks[offer.source, offer.tenant] = offer.number

    def _unread(self, offer: Offer, error: Exception) -> None:
        """An input of another release, or damaged, is refused like one that cannot be decided:
        the next owner would fare no better with it."""
        self.report(f"an input of {offer.source} to {offer.stream} cannot be read", error)
        self._begin(offer)
        if offer.settles:
            self.ledger.settle(offer.settles)
        name = offer.part.type if offer.part is not None else ""
        hop = Hop(offer.stream, None, 0, f"{offer.source}/{offer.number}", offer.sender, offer.gone, type=name)
        self.counts.inputs_refused += 1
        there = self.ledger.aggregate(offer.tenant, offer.stream) is not None
        if not there or not self._refusals.recover(hop, error, ""):
            self._decisions.gone(hop)
        self._cascade.run("")
        self._record(offer, offer.part or Part("", b""), "", type(error).__name__)
        if offer.handle is not None:
            self._reply(offer, Rejected(INTERNAL, "the input was refused"))

    def _recorded(self, offer: Offer, table: Any, command: Any, key: str) -> Part:
        """The input's part as it may be written: privates closed with the aggregate's key."""
        if offer.part is not None and not isinstance(command, EffectEnded):
            return offer.part
        aggregate = self.ledger.aggregate(offer.tenant, offer.stream)
        key_id = self._decisions.person or key or (aggregate.key if aggregate else "")
        return table.close(command, self.sealer.closer(key_id, offer.tenant, offer.stream, 0))[1]  # type: ignore[no-any-return]

    # ---------------------------------------------------------------- clients' requests

    def _repeated(self, offer: Offer) -> bool:
        """Answer a request that was answered before."""
        requests = self.ledger.requests.get(offer.tenant)
        stored = None if requests is None else requests.get(offer.request)
        if stored is None or stored.time_ms < self.now_ms - REQUEST_TTL_MS:
            return False
        if stored.digest != offer.digest:
            reused = Rejected(REQUEST_ID_REUSED, "this request_id was used for a different request")
            self.answers.append(Answered(offer.handle, None, reused))
        else:
            service = self.ledger.group.service_of[kind_of(offer.stream)]
            self.answers.append(Answered(offer.handle, service.replies.decode(stored.part)))
        return True

    def _reply(self, offer: Offer, error: Rejected | None) -> None:
        answer = self._decisions.answer
        if error is None and answer is None:
            error = Rejected(NOT_IN_USE, "the resource is not in a state that allows this")
        if error is not None:
            self.answers.append(Answered(offer.handle, None, error))
            return
        self.answers.append(Answered(offer.handle, answer))
        if offer.request:
            service = self.ledger.group.service_of[kind_of(offer.stream)]
            _, part = service.replies.close(answer, self.sealer.closer("", offer.tenant, offer.stream, 0))
            reply = Reply(offer.tenant, offer.request, offer.digest, self.now_ms, part)
            self.ledger.apply_reply(reply)
            self.replies.append(reply)

    # ---------------------------------------------------------------- beside inputs

    def take_stock(self) -> bool:
        """A new owner's first step: see `Cascade.take_stock`. Whether there was anything."""
        self._cascade.take_stock(self._unique(CLAIM))
        return bool(self._decisions.events)

    def note(self, part: Part, cause: str) -> None:
        """An event of the shard's own stream."""
        events = self._decisions.events
        event_id = f"{self._decisions.commit}/{len(events)}"
        events.append(Envelope(event_id, CELL_TENANT, SHARD, self.epoch, self.now_ms, cause, "", "", part))

    # ---------------------------------------------------------------- the commit

    def commit(self) -> Commit:
        """The whole step. Effects that the step itself ended again are not in it."""
        ledger, decisions = self.ledger, self._decisions
        over: list[Ended] = []
        for tenant, stream in decisions.touched:
            ended = ledger.close_if_over(tenant, stream)
            if ended is None:
                continue
            over.append(Ended(tenant, stream))
            self.counts.quarantined_now -= ended.quarantine is not None
            if ended.key:
                self.ended_keys.append(ended.key)
        commit = Commit(
            self.epoch,
            self.n,
            self.now_ms,
            self.boot_id,
            self.boottime_ms,
            ENGINE,
            tuple(self.inputs),
            tuple(Mark(source, tenant, number) for (source, tenant), number in self.marks.items()),
            tuple(decisions.events),
            tuple(effect for effect in decisions.effects if effect.key in ledger.pending),
            tuple(decisions.messages),
            tuple(self.replies),
            tuple(over),
        )
        ledger.arbiter = ledger.arbiter.after(commit)
        ledger.apply_time(commit)
        return commit
