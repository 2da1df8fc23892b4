"""One step of a shard: inputs decided one after another into one commit (rule 4, spine 2).

An input is worked off like this: `decide`; for each event `evolve`, then `react` at once,
before the next event. Messages to deciders of the shard join the step's queue and are
encoded and decoded on the way, so that grouped and split are one code path.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tandem.core.changed import changed
from tandem.core.commit import ENGINE, Commit, Effect, Ended, Envelope, Input, Mark, Message, Part, Reply
from tandem.core.decider import (
    MAX_HOPS,
    Act,
    Action,
    Answer,
    Context,
    EffectEnded,
    Kind,
    Settle,
    Tell,
    Wake,
)
from tandem.core.errors import INTERNAL, NOT_IN_USE, OUT_OF_ORDER, REQUEST_ID_REUSED, UNKNOWN_NAME, Rejected
from tandem.core.seal import AUDIO, Sealed, Secret, Withheld, associated, nonce, seal
from tandem.runtime.aggregates import Aggregate
from tandem.runtime.counts import Counts
from tandem.runtime.ledger import REQUEST_TTL_MS, Ledger
from tandem.runtime.refusals import Hop, PastLimit, Refusals, SetAside, Unfolded, Unreacted, no_secret
from tandem.runtime.service import kind_of
from tandem.runtime.state import Pending
from tandem.runtime.traced import Change, Decided

QUARANTINED = "QUARANTINED"
"""Why an input was refused that came to a quarantined aggregate."""
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


class KeysNeeded(Exception):
    """No unused data key is at hand: the input waits until the block is refilled."""


@dataclass(slots=True)
class Step(Refusals):
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
    decided: list[Decided] = field(default_factory=list)  # what stands in a trace
    again: list[str] = field(default_factory=list)  # keys of wakes whose command was refused
    torn: list[tuple[str, str, int]] = field(default_factory=list)  # (tenant, stream, version) to fold anew
    _seals: int = 0
    _offer: Offer = field(default_factory=lambda: Offer("", 0, "", ""))
    _answer: Any = None
    _unique: str = ""
    _person: str = ""  # key of whom the input at hand is about
    _decisions: int = 0  # of the input at hand
    _changes: list[Change] = field(default_factory=list)  # of the input at hand, in a trace

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
        self._begin(offer)
        self._person = person
        pending = ledger.pending.get(offer.settles) if offer.settles else None
        if isinstance(command, EffectEnded):
            command = EffectEnded(pending.effect.name if pending else "", command.outcome, command.reason)
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

    def _person_of(self, kind: Kind, aggregate: Aggregate | None, command: Any) -> str:
        """The key of whom an input is about, empty for nobody. Raises `KeysNeeded` for somebody new."""
        if aggregate is not None and aggregate.quarantine is not None:
            return ""
        person = kind.person(kind.start() if aggregate is None else aggregate.state, command)
        if person == "" and (person := self.fresh()) is None:
            raise KeysNeeded
        return person or ""

    def _begin(self, offer: Offer) -> None:
        self._offer, self._answer, self._decisions, self._changes, self._person = offer, None, 0, [], ""
        self._unique = f"{self.partition}/{offer.source}/{offer.number or self.n}.{len(self.inputs)}"

    def _begin_claim(self, tenant: str, stream: str) -> None:
        self._begin(Offer("claim", 0, tenant, stream))

    @property
    def _tenant(self) -> str:
        return self._offer.tenant

    @property
    def _asked(self) -> tuple[str, str]:
        return self._offer.actor, self._offer.trace

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
        if self._changes or offer.trace:
            self.decided.append(Decided(len(self.inputs) - 1, tuple(self._changes)))
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
        queue: deque[Hop] = deque()
        name = offer.part.type if offer.part is not None else ""
        hop = Hop(offer.stream, None, 0, f"{offer.source}/{offer.number}", offer.sender, offer.gone, type=name)
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
        key_id = self._person or key or (aggregate.key if aggregate else "")
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
        return self._follow(deque([Hop(offer.stream, command, 0, cause, offer.sender, offer.gone)]), key)

    def _follow(self, queue: deque[Hop], key: str) -> tuple[str, Rejected | None]:
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
            except SetAside:
                self.counts.quarantined_inputs += 1
                if hop.hop == 0:
                    refused = (QUARANTINED, Rejected(OUT_OF_ORDER, "the resource was set aside"))
            except Exception as error:  # noqa: BLE001
                # Rule 12: one input that cannot be decided stops neither shard nor process.
                why = self._refuse(hop, error, key if hop.hop == 0 else "", queue)
                if hop.hop == 0:
                    refused = (why, Rejected(INTERNAL, f"input {hop.cause} was refused"))
        return refused

    def _decide(self, hop: Hop, key: str, queue: deque[Hop]) -> None:
        ledger, tenant = self.ledger, self._offer.tenant
        aggregate = ledger.aggregate(tenant, hop.stream)
        kind = ledger.group.kinds[kind_of(hop.stream)]
        ended = aggregate is not None and aggregate.over  # in this very step
        if aggregate is not None and aggregate.quarantine is not None and not ended:
            self._at_quarantined(aggregate, hop, queue)
            return
        if aggregate is None or ended:
            if ended or type(hop.command) not in kind.starts:
                if self._pass_on(kind, hop, queue):
                    return
                if hop.hop == 0 and self._offer.handle is not None:
                    raise Rejected(UNKNOWN_NAME, "there is no such resource")
                self._gone(hop, queue)
                return
            aggregate = ledger.born(tenant, hop.stream, key, self._offer.trace)
        self._run(aggregate, hop.command, hop, queue)

    def _run(self, aggregate: Aggregate, command: Any, hop: Hop, queue: deque[Hop]) -> None:
        ledger, tenant, kind = self.ledger, self._offer.tenant, aggregate.kind
        shared = ledger.aggregate(tenant, kind.reads) if kind.reads else None
        gate = ledger.aggregate(tenant, kind.gate) if kind.gate else None
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
            None if gate is None else gate.state,
            ledger.aggregates.living(tenant, kind.name),
            self._person if hop.hop == 0 else "",
        )
        lost: list[Unreacted] = []
        for event in kind.decide(aggregate.state, command, context):
            try:
                self._happen(aggregate, hop, event, queue)
            except Unreacted as error:
                # What was decided happens as a whole: half of it is a state that no decider knows.
                lost.append(error)
        if lost:
            raise Unreacted(*(event for error in lost for event in error.events)) from lost[0].__cause__

    def _gone(self, hop: Hop, queue: deque[Hop]) -> None:
        """The closing answer to a request whose receiver is not there."""
        if hop.gone is None or not hop.sender:
            return
        self._send(hop.sender, hop.stream, hop.gone, None, hop.hop + 1, hop.cause, queue, closing=True)

    def _happen(self, aggregate: Aggregate, hop: Hop, event: Any, queue: deque[Hop]) -> None:
        ledger, tenant, stream = self.ledger, self._offer.tenant, hop.stream
        version = aggregate.version + 1
        service = ledger.group.service_of[aggregate.kind.name]
        key_id = (self._person if hop.hop == 0 else "") or aggregate.key
        event, part = service.events.close(event, self._closer(key_id, stream, version))
        before, trace = aggregate.state, aggregate.trace if aggregate.kind.traced else self._offer.trace
        ledger.before_event((tenant, stream), aggregate.kind, event)
        try:
            aggregate.state = aggregate.kind.evolve(aggregate.state, event)
        except Exception as error:
            raise Unfolded(part.type) from error
        aggregate.version = version
        ledger.aggregates[tenant, stream] = aggregate
        self.touched[tenant, stream] = None
        event_id = f"{self.partition}/{self.epoch}/{self.n}/{len(self.events)}"
        settles: list[str] = []
        at = len(self.events)
        envelope = Envelope(event_id, tenant, stream, version, self.now_ms, hop.cause, self._offer.actor, trace, part)
        if trace:
            self._changes.append(Change(at, before, aggregate.state))
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
            raise Unreacted(event) from error
        finally:
            if settles:
                self.events[at] = changed(envelope, settles=tuple(settles))

    def _act(
        self, action: Action, stream: str, version: int, index: int, event_id: str, hop: Hop, queue: deque[Hop]
    ) -> tuple[str, ...]:
        """Carry it out; the keys of effects that gave way to one of their name."""
        ledger, tenant = self.ledger, self._offer.tenant
        service = ledger.group.service_of[kind_of(stream)]
        key = f"{tenant}/{stream}/{version}/{index}"
        match action:
            case Act(name, kind, payload, deadline_ms):
                part = service.effects.close(payload, no_secret)[1]
                return self._effect(Effect(key, tenant, stream, name, kind, self.now_ms + deadline_ms, part), payload)
            case Wake(name, at_ms, command):
                part = ledger.group.commands_of(stream).close(command, no_secret)[1]
                return self._effect(Effect(key, tenant, stream, name, "wake", at_ms, part), command)
            case Tell(to, message, gone):
                part = service.messages.close(message, no_secret)[1]
                back = None if gone is None else service.commands.close(gone, no_secret)[1]
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
        queue: deque[Hop],
        closing: bool = False,
    ) -> None:
        group = self.ledger.group
        kind = kind_of(to)
        if kind in group.kinds:
            command = group.commands[kind].decode(part)
            queue.append(Hop(to, command, hop, cause, sender, gone, closing))
        else:
            aggregate = self.ledger.aggregate(self._offer.tenant, sender)
            trace = aggregate.trace if aggregate is not None and aggregate.kind.traced else self._offer.trace
            self.messages.append(Message(group.elsewhere[kind], self._offer.tenant, to, sender, part, gone, trace))

    # ---------------------------------------------------------------- private values

    def _closer(self, key_id: str, stream: str, version: int) -> Callable[[str, Any], Sealed | Withheld]:
        tenant = self._offer.tenant

        def close(type_: str, value: Any) -> Sealed | Withheld:
            if not isinstance(value, Secret) or value.sensitive or not key_id:
                return Withheld()
            found = self._key(key_id, value.audio)
            if found is None:
                return Withheld()
            self._seals += 1
            mark = nonce(self.epoch, self.n, self._seals)
            return seal(value, *found, mark, associated(tenant, stream, version, type_))

        return close

    def _deriver(self, key_id: str) -> Callable[[str], Secret]:
        def derive(label: str) -> Secret:
            found = self._key(key_id, audio=True)
            if found is None:
                raise KeysNeeded(f"the data key {key_id} was destroyed")
            return Secret(hmac.digest(found[1], b"tandem/derive/" + label.encode(), "sha256"), audio=True)

        return derive

    def _key(self, key_id: str, audio: bool) -> tuple[str, bytes] | None:
        """Id and bytes of an aggregate's key. One that began under a release without audio keys
        has its first key alone."""
        for id_ in (key_id + AUDIO, key_id) if audio else (key_id,):
            key = self.key(id_)
            if key is not None:
                return id_, key
        return None

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
