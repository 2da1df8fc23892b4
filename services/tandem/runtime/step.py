"""One step of a shard: inputs decided one after another into one commit (rule 4, spine 2).

An input is worked off like this: `decide`; for each event `evolve`, then `react` at once,
before the next event. Messages to deciders of the shard join the step's queue and are
encoded and decoded on the way, so that grouped and split are one code path.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tandem.core.commit import ENGINE, Commit, Effect, Ended, Envelope, Input, Mark, Message, Part, Reply
from tandem.core.decider import (
    HOPS,
    MAX_HOPS,
    Act,
    Action,
    Answer,
    Context,
    EffectEnded,
    Refusal,
    Resumed,
    Settle,
    Tell,
    Wake,
)
from tandem.core.errors import INTERNAL, NOT_IN_USE, OUT_OF_ORDER, REQUEST_ID_REUSED, UNKNOWN_NAME, Rejected
from tandem.core.seal import Sealed, Secret, Withheld, associated, nonce, seal
from tandem.runtime.counts import Counts
from tandem.runtime.ledger import REQUEST_TTL_MS, Aggregate, Ledger, Pending
from tandem.runtime.service import (
    RUNTIME_EVENTS,
    Quarantined,
    QuarantinedLeg,
    QuarantinedLegEnded,
    QuarantineLifted,
    kind_of,
)

QUARANTINED = "QUARANTINED"
"""Why an input was refused that came to a quarantined aggregate."""
MAX_RESUMES = 1_000
"""How often an aggregate that is back in service is asked what is to be done; a desk brings
together one caller and one agent each time."""
CLOSING_HOPS = 2
"""How far past `MAX_HOPS` a closing answer is still decided: the one to a message that was
refused for its hops, and not the round that it might set off."""


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
class _Hop:
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


class _Unfolded(Exception):
    """`evolve` raised; what it raised is the cause."""

    def __init__(self, event: str) -> None:
        super().__init__(event)
        self.event = event


class _Unreacted(Exception):
    """`react` to these events raised; what it raised first is the cause."""

    def __init__(self, *events: Any) -> None:
        super().__init__(" ".join(type(event).__name__ for event in events))
        self.events = events


class PastLimit(Exception):
    """A message that was not given to its receiver."""


class _SetAside(Exception):
    """A command for a quarantined aggregate."""


class KeysNeeded(Exception):
    """No unused data key is at hand: the input waits until the block is refilled."""


@dataclass(slots=True)
class Step:
    """Collects one commit. `key(id)` gives a data key or None; `fresh()` the id of an unused one."""

    ledger: Ledger
    partition: str
    epoch: int
    n: int
    now_ms: int
    boot_id: str
    boottime_ms: int
    key: Callable[[str], bytes | None]
    fresh: Callable[[], str | None]
    report: Callable[[str, BaseException], None]
    counts: Counts = field(default_factory=Counts)
    inputs: list[Input] = field(default_factory=list)
    marks: dict[tuple[str, str], int] = field(default_factory=dict)
    events: list[Envelope] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    touched: dict[tuple[str, str], None] = field(default_factory=dict)
    ended_keys: list[str] = field(default_factory=list)  # of aggregates that are over
    again: list[str] = field(default_factory=list)  # keys of wakes whose command was refused
    torn: list[tuple[str, str, int]] = field(default_factory=list)  # (tenant, stream, version) to fold anew
    _seals: int = 0
    _offer: Offer = field(default_factory=lambda: Offer("", 0, "", ""))
    _answer: Any = None
    _unique: str = ""
    _decisions: int = 0  # of the input at hand

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
            table = ledger.group.commands_of(offer.stream)
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
        self._begin(offer)
        pending = ledger.pending.get(offer.settles) if offer.settles else None
        if isinstance(command, EffectEnded):
            command = replace(command, name=pending.effect.name if pending else "")
        if offer.settles:
            ledger.settle(offer.settles)
        part = self._recorded(offer, table, command, key)
        before = len(self.events)
        refused, rejected = self._work(command, key)
        happened = len(self.events) > before
        if refused and offer.source == "wake" and kind.rescue is None and pending is not None:
            # Nobody else would do what this timer should have done: it comes again.
            self._wake_again(offer, pending)
        if happened or refused or offer.number or offer.settles:
            # A client's command that changed nothing is not worth a record.
            self._record(offer, part, key if happened else "", refused)
        if offer.handle is not None:
            self._reply(rejected)

    def _wake_again(self, offer: Offer, pending: Pending) -> None:
        effect = pending.effect
        if effect.name not in self.ledger.names.get((effect.tenant, effect.stream), {}):
            self.ledger.apply_effect(effect, pending.payload)
            self.again.append(effect.key)
            offer.settles = ""

    def _begin(self, offer: Offer) -> None:
        self._offer, self._answer, self._decisions = offer, None, 0
        self._unique = f"{self.partition}/{offer.source}/{offer.number or self.n}.{len(self.inputs)}"

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
            )
        )
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
        queue: deque[_Hop] = deque()
        name = offer.part.type if offer.part is not None else ""
        hop = _Hop(offer.stream, None, 0, f"{offer.source}/{offer.number}", offer.sender, offer.gone, type=name)
        self.counts.inputs_refused += 1
        if self.ledger.aggregate(offer.tenant, offer.stream) is None or not self._recover(hop, error, "", queue):
            self._gone(hop, queue)
        self._follow(queue, "")
        self._record(offer, offer.part or Part("", b""), "", type(error).__name__)
        if offer.handle is not None:
            self._reply(Rejected(INTERNAL, "the input was refused"))

    def _recorded(self, offer: Offer, table: Any, command: Any, key: str) -> Part:
        """The input's part as it may be written: privates closed with the aggregate's key."""
        if offer.part is not None and not isinstance(command, EffectEnded):
            return offer.part
        aggregate = self.ledger.aggregate(offer.tenant, offer.stream)
        key_id = key or (aggregate.key if aggregate else "")
        return table.close(command, self._closer(key_id, offer.stream, 0))[1]  # type: ignore[no-any-return]

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

    def _reply(self, error: Rejected | None) -> None:
        offer = self._offer
        if error is None and self._answer is None:
            error = Rejected(NOT_IN_USE, "the resource is not in a state that allows this")
        if error is not None:
            self.answers.append(Answered(offer.handle, None, error))
            return
        self.answers.append(Answered(offer.handle, self._answer))
        if offer.request:
            service = self.ledger.group.service_of[kind_of(offer.stream)]
            _, part = service.replies.close(self._answer, self._closer("", offer.stream, 0))
            reply = Reply(offer.tenant, offer.request, offer.digest, self.now_ms, part)
            self.ledger.apply_reply(reply)
            self.replies.append(reply)

    # ---------------------------------------------------------------- deciding

    def _work(self, command: Any, key: str) -> tuple[str, Rejected | None]:
        """Decide the input and every message that it sets off. Returns why it was refused,
        and the answer if it was rejected."""
        offer = self._offer
        cause = f"{offer.source}/{offer.number}"
        return self._follow(deque([_Hop(offer.stream, command, 0, cause, offer.sender, offer.gone)]), key)

    def _follow(self, queue: deque[_Hop], key: str) -> tuple[str, Rejected | None]:
        refused: tuple[str, Rejected | None] = ("", None)
        while queue:
            hop = queue.popleft()
            try:
                if hop.hop > (MAX_HOPS + CLOSING_HOPS if hop.closing else MAX_HOPS):
                    raise PastLimit(f"a message past {MAX_HOPS} hops")
                self._decide(hop, key if hop.hop == 0 else "", queue)
            except Rejected as error:
                self._gone(hop, queue)
                if hop.hop == 0:
                    refused = ("", error)
                else:
                    self.report(f"{hop.stream} rejected a message: {error.reason.name}", error)
            except _SetAside:
                self.counts.quarantined_inputs += 1
                if hop.hop == 0:
                    refused = (QUARANTINED, Rejected(OUT_OF_ORDER, "the resource was set aside"))
            except Exception as error:  # noqa: BLE001
                # Rule 12: one input that cannot be decided stops neither shard nor process.
                why = self._refuse(hop, error, key if hop.hop == 0 else "", queue)
                if hop.hop == 0:
                    refused = (why, Rejected(INTERNAL, f"input {hop.cause} was refused"))
        return refused

    # ---------------------------------------------------------------- refused, recovered, quarantined

    def _refuse(self, hop: _Hop, error: Exception, key: str, queue: deque[_Hop]) -> str:
        """Refuse one command alone: its receiver recovers or is quarantined, its asker hears of it."""
        if hop.hop == 0:
            self.counts.inputs_refused += 1
        else:
            self.counts.messages_refused += 1
        if isinstance(error, PastLimit):
            self.counts.hop_limit += 1
        cause = _cause(error)
        self.report(f"{type(hop.command).__name__} to {hop.stream} was refused", cause)
        if isinstance(error, _Unfolded):
            self._quarantine(hop, error.event, cause, queue)
        elif isinstance(error, _Unreacted) and self._make_good(hop, error, queue):
            self.counts.recovered += 1
        elif not self._recover(hop, error, key, queue):
            self._gone(hop, queue)
        return type(cause).__name__

    def _make_good(self, hop: _Hop, error: _Unreacted, queue: deque[_Hop]) -> bool:
        """What was not done because of an event is made good by the kind's `resume`; False if it has none."""
        aggregate = self.ledger.aggregate(self._offer.tenant, hop.stream)
        if aggregate is None or aggregate.kind.resume is None:
            return False
        again = _Hop(hop.stream, None, hop.hop, hop.cause, "", None, recovering=True)
        try:
            for event in error.events:
                self._run(aggregate, aggregate.kind.resume(event), again, queue)
        except Exception as failed:  # noqa: BLE001 - nothing holds for this aggregate any more
            self.report(f"{hop.stream} could not make good {error}", _cause(failed))
            self._quarantine(hop, str(error), _cause(failed), queue)
        return True

    def _recover(self, hop: _Hop, error: Exception, key: str, queue: deque[_Hop]) -> bool:
        """Give the aggregate its `Recover`; False if it has none, or there is no aggregate that could."""
        tenant = self._offer.tenant
        aggregate = self.ledger.aggregate(tenant, hop.stream)
        kind = self.ledger.group.kinds.get(kind_of(hop.stream))
        if kind is None or kind.rescue is None or (aggregate is not None and aggregate.quarantine is not None):
            return False
        if aggregate is None:
            if hop.hop or type(hop.command) not in kind.starts:
                return False
            aggregate = self.ledger.born(tenant, hop.stream, key)
        why = HOPS if isinstance(error, PastLimit) else type(_cause(error)).__name__
        name = hop.type or self._name(hop)
        recovering = _Hop(hop.stream, None, hop.hop, hop.cause, "", None, recovering=True)
        try:
            half = 0 <= hop.version < aggregate.version
            command = kind.rescue.recover(Refusal(name, hop.command, why, half), self.now_ms)
            self._run(aggregate, command, recovering, queue)
        except Exception as failed:  # noqa: BLE001 - whatever it is: nothing holds for this aggregate any more
            event = failed.event if isinstance(failed, _Unfolded) else name
            raised = _cause(failed)
            self.report(f"{hop.stream} could not recover from {name}", raised)
            self.ledger.aggregates[tenant, hop.stream] = aggregate
            self._quarantine(hop, event, raised, queue)
            return True
        self.counts.recovered += 1
        return True

    def _name(self, hop: _Hop) -> str:
        try:
            return self.ledger.group.commands_of(hop.stream).name(hop.command)
        except KeyError:
            return type(hop.command).__name__

    def _quarantine(self, hop: _Hop, event: str, error: BaseException, queue: deque[_Hop]) -> None:
        """Set the aggregate aside, in the log, so that every fold does the same."""
        tenant, stream = self._offer.tenant, hop.stream
        aggregate = self.ledger.aggregate(tenant, stream)
        if aggregate is None:
            aggregate = self.ledger.aggregates[tenant, stream] = self.ledger.born(tenant, stream, "")
        self._note(tenant, stream, aggregate, type(error).__name__, event, hop, queue)
        if aggregate.kind.rescue is None:
            assert aggregate.quarantine is not None, "it has just been noted"
            aggregate.quarantine = replace(aggregate.quarantine, torn=True)
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
        hop: _Hop,
        queue: deque[_Hop],
    ) -> None:
        self.counts.quarantines += 1
        if aggregate.quarantine is None:
            self.counts.quarantined_now += 1
            self.counts.out_of_service_now += aggregate.kind.rescue is None
        rescue, unread = aggregate.kind.rescue, aggregate.quarantine is not None
        # Where the history could not be read the state is an old one: legs that it has may talk by now.
        state = aggregate.kind.start() if unread else aggregate.state
        try:
            legs = tuple(QuarantinedLeg(node, leg) for node, leg in aggregate.legs)
            actions = rescue.part(state, stream, self.now_ms) if rescue else ()
        except Exception as error:  # noqa: BLE001 - the state is not to be trusted: its legs' ends are told by the node
            self.report(f"{stream} in quarantine: its legs cannot be told", error)
            legs, actions = (), ()
        found = Quarantined(why, event, legs, self.now_ms, unread)
        self._runtime_event(tenant, stream, found, actions, hop, queue)

    def _runtime_event(
        self, tenant: str, stream: str, event: Any, actions: Sequence[Act | Tell], hop: _Hop, queue: deque[_Hop]
    ) -> None:
        aggregate = self.ledger.aggregates[tenant, stream]
        part = RUNTIME_EVENTS.close(event, _no_secret)[1]
        version = aggregate.version + 1
        event_id = f"{self.partition}/{self.epoch}/{self.n}/{len(self.events)}"
        actor, trace = self._offer.actor, self._offer.trace
        envelope = Envelope(event_id, tenant, stream, version, self.now_ms, hop.cause, actor, trace, part)
        self.ledger.apply_quarantine(envelope, event, "")
        self.touched[tenant, stream] = None
        self.events.append(envelope)
        settles: list[str] = []
        for index, action in enumerate(actions):
            settles += self._act(action, stream, version, index, event_id, hop, queue)
        self.events[self.events.index(envelope)] = replace(envelope, settles=tuple(settles))

    def _waits_for_leg(self, aggregate: Aggregate, hop: _Hop) -> bool:
        """A request about a leg that is up is not answered "gone": its agent is not free yet."""
        rescue, quarantine = aggregate.kind.rescue, aggregate.quarantine
        if rescue is None or quarantine is None or hop.command is None:
            return False
        leg = rescue.about(hop.stream, hop.command)
        up = [row[1] for row in quarantine.legs]
        return leg != "" and (leg in up or (quarantine.guessed and bool(up)))

    def _at_quarantined(self, aggregate: Aggregate, hop: _Hop, queue: deque[_Hop]) -> None:
        """Nothing but the ends of its legs counts any more."""
        rescue, quarantine = aggregate.kind.rescue, aggregate.quarantine
        assert quarantine is not None, "only for those in quarantine"
        leg = rescue.over(hop.command) if rescue else ""
        rest = tuple(row for row in quarantine.legs if row[1] != leg)
        if rescue is not None and len(rest) < len(quarantine.legs):
            others = () if quarantine.guessed else rest
            actions = rescue.leg_over(hop.stream, leg, others, self.now_ms)
            ended = QuarantinedLegEnded(leg, self.now_ms)
            self._runtime_event(self._offer.tenant, hop.stream, ended, actions, hop, queue)
        elif not self._waits_for_leg(aggregate, hop):
            self._gone(hop, queue)
        raise _SetAside

    def take_stock(self) -> bool:
        """A new owner's first step: what it could not fold is noted in the log, and those that
        last are tried again. Whether there was anything."""
        queue: deque[_Hop] = deque()
        for tenant, stream, aggregate in list(self.ledger.quarantined()):
            quarantine = aggregate.quarantine
            assert quarantine is not None, "only those in quarantine are listed"
            self._begin(Offer("claim", 0, tenant, stream))
            hop = _Hop(stream, None, 0, "claim", "", None)
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
            self._follow(deque([_Hop(stream, resume(told), 0, "claim", "", None)]), "")
            told = None

    # ---------------------------------------------------------------- deciding, one command

    def _decide(self, hop: _Hop, key: str, queue: deque[_Hop]) -> None:
        ledger, tenant = self.ledger, self._offer.tenant
        aggregate = ledger.aggregate(tenant, hop.stream)
        kind = ledger.group.kinds[kind_of(hop.stream)]
        ended = aggregate is not None and aggregate.over  # in this very step
        if aggregate is not None and aggregate.quarantine is not None and not ended:
            self._at_quarantined(aggregate, hop, queue)
        if aggregate is None or ended:
            if ended or type(hop.command) not in kind.starts:
                if hop.hop == 0 and self._offer.handle is not None:
                    raise Rejected(UNKNOWN_NAME, "there is no such resource")
                self._gone(hop, queue)
                return
            aggregate = ledger.born(tenant, hop.stream, key)
        self._run(aggregate, hop.command, hop, queue)

    def _run(self, aggregate: Aggregate, command: Any, hop: _Hop, queue: deque[_Hop]) -> None:
        ledger, tenant, kind = self.ledger, self._offer.tenant, aggregate.kind
        shared = ledger.aggregate(tenant, kind.reads) if kind.reads else None
        self._decisions += 1
        hop.version = aggregate.version
        context = Context(
            tenant,
            hop.stream,
            self.now_ms,
            f"{self._unique}.{self._decisions}",
            None if shared is None else shared.state,
            self._deriver(aggregate.key),
            self._offer.source,
            self._offer.actor,
        )
        lost: list[_Unreacted] = []
        for event in kind.decide(aggregate.state, command, context):
            try:
                self._happen(aggregate, hop, event, queue)
            except _Unreacted as error:
                # What was decided happens as a whole: half of it is a state that no decider knows.
                lost.append(error)
        if lost:
            raise _Unreacted(*(event for error in lost for event in error.events)) from lost[0].__cause__

    def _gone(self, hop: _Hop, queue: deque[_Hop]) -> None:
        """The closing answer to a request whose receiver is not there."""
        if hop.gone is None or not hop.sender:
            return
        self._send(hop.sender, hop.stream, hop.gone, None, hop.hop + 1, hop.cause, queue, closing=True)

    def _happen(self, aggregate: Aggregate, hop: _Hop, event: Any, queue: deque[_Hop]) -> None:
        ledger, tenant, stream = self.ledger, self._offer.tenant, hop.stream
        version = aggregate.version + 1
        service = ledger.group.service_of[aggregate.kind.name]
        event, part = service.events.close(event, self._closer(aggregate.key, stream, version))
        try:
            aggregate.state = aggregate.kind.evolve(aggregate.state, event)
        except Exception as error:
            raise _Unfolded(part.type) from error
        aggregate.version = version
        ledger.aggregates[tenant, stream] = aggregate
        self.touched[tenant, stream] = None
        event_id = f"{self.partition}/{self.epoch}/{self.n}/{len(self.events)}"
        settles: list[str] = []
        at = len(self.events)
        envelope = Envelope(
            event_id, tenant, stream, version, self.now_ms, hop.cause, self._offer.actor, self._offer.trace, part
        )
        self.events.append(envelope)  # what evolved stands, even if `react` raises
        try:
            for index, action in enumerate(aggregate.kind.react(aggregate.state, event)):
                if isinstance(action, Settle):
                    key = ledger.names.get((tenant, stream), {}).get(action.name)
                    if key is not None:
                        ledger.settle(key)
                        settles.append(key)
                else:
                    settles += self._act(action, stream, version, index, event_id, hop, queue)
        except Exception as error:
            raise _Unreacted(event) from error
        finally:
            self.events[at] = replace(envelope, settles=tuple(settles))

    def _act(
        self, action: Action, stream: str, version: int, index: int, event_id: str, hop: _Hop, queue: deque[_Hop]
    ) -> tuple[str, ...]:
        """Carry it out; the keys of effects that gave way to one of their name."""
        ledger, tenant = self.ledger, self._offer.tenant
        service = ledger.group.service_of[kind_of(stream)]
        key = f"{tenant}/{stream}/{version}/{index}"
        match action:
            case Act(name, kind, payload, deadline_ms):
                part = service.effects.close(payload, _no_secret)[1]
                return self._effect(Effect(key, tenant, stream, name, kind, self.now_ms + deadline_ms, part), payload)
            case Wake(name, at_ms, command):
                part = ledger.group.commands_of(stream).close(command, _no_secret)[1]
                return self._effect(Effect(key, tenant, stream, name, "wake", at_ms, part), command)
            case Tell(to, message, gone):
                part = service.messages.close(message, _no_secret)[1]
                back = None if gone is None else service.commands.close(gone, _no_secret)[1]
                self._send(to, stream, part, back, hop.hop + 1, event_id, queue, hop.recovering)
            case Answer(value):
                self._answer = value
            case Settle():
                raise TypeError("a Settle is handled where its event is made")
        return ()

    def _effect(self, effect: Effect, payload: Any) -> tuple[str, ...]:
        """Make it pending. Written as settled is what gives way: this effect itself may be
        gone again before the step ends, and then nothing else in the commit would say so."""
        earlier = self.ledger.names.get((effect.tenant, effect.stream), {}).get(effect.name)
        self.ledger.apply_effect(effect, payload)
        self.effects.append(effect)
        return () if earlier is None else (earlier,)

    def _send(
        self,
        to: str,
        sender: str,
        part: Part,
        gone: Part | None,
        hop: int,
        cause: str,
        queue: deque[_Hop],
        closing: bool = False,
    ) -> None:
        group = self.ledger.group
        kind = kind_of(to)
        if kind in group.kinds:
            command = group.commands_of(to).decode(part)
            queue.append(_Hop(to, command, hop, cause, sender, gone, closing))
        else:
            self.messages.append(Message(group.elsewhere[kind], self._offer.tenant, to, sender, part, gone))

    # ---------------------------------------------------------------- private values

    def _closer(self, key_id: str, stream: str, version: int) -> Callable[[str, Any], Sealed | Withheld]:
        tenant = self._offer.tenant

        def close(type_: str, value: Any) -> Sealed | Withheld:
            key = self.key(key_id) if key_id else None
            if not isinstance(value, Secret) or value.sensitive or key is None:
                return Withheld()
            self._seals += 1
            mark = nonce(self.epoch, self.n, self._seals)
            return seal(value, key_id, key, mark, associated(tenant, stream, version, type_))

        return close

    def _deriver(self, key_id: str) -> Callable[[str], Secret]:
        def derive(label: str) -> Secret:
            key = self.key(key_id)
            if key is None:
                raise KeysNeeded(f"the data key {key_id} was destroyed")
            return Secret(hmac.digest(key, b"tandem/derive/" + label.encode(), "sha256"))

        return derive

    # ---------------------------------------------------------------- the commit

    def commit(self) -> Commit:
        """The whole step. Effects that the step itself ended again are not in it."""
        ledger = self.ledger
        over: list[Ended] = []
        for tenant, stream in self.touched:
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
            tuple(self.events),
            tuple(effect for effect in self.effects if effect.key in ledger.pending),
            tuple(self.messages),
            tuple(self.replies),
            tuple(over),
        )
        ledger.arbiter = ledger.arbiter.after(commit)
        ledger.apply_time(commit)
        return commit


def _cause(error: BaseException) -> BaseException:
    """What a decider's own code raised."""
    return error.__cause__ if isinstance(error, _Unfolded | _Unreacted) and error.__cause__ else error


def _no_secret(type_: str, value: Any) -> Sealed | Withheld:
    raise TypeError(f"{type_} carries a {type(value).__name__}: only what is sealed in the state may be passed on")
