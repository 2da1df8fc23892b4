"""What deciders decide, and what comes of it at once: events, effects and messages of one commit.

After `decide`, for each event `evolve`, then `react` at once, before the next event. Messages to
deciders of the shard wait in the queue and are encoded and decoded on the way, so that grouped and
split are one code path. Who works the queue off, and what is done with what raises, is not here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tandem.core.changed import changed
from tandem.core.commit import Effect, Envelope, Message, Part
from tandem.core.decider import Act, Action, Answer, Context, Kind, Settle, Tell, Wake
from tandem.runtime.aggregates import Aggregate
from tandem.runtime.ledger import Ledger
from tandem.runtime.sealing import Sealer, no_secret
from tandem.runtime.service import RUNTIME_EVENTS, kind_of
from tandem.runtime.traced import Change


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


class Decisions:
    """Those of one commit, whose events are numbered `commit`/0, 1, 2 ...; `n` is its own number.

    Whose input is at hand `begin` says: `source` gave it, `actor` asked for it, it is about the
    `person` with that key, `awaited` by a client. `queue` are the messages that it has set off.
    """

    __slots__ = (
        "_decided",
        "_ledger",
        "_n",
        "_now_ms",
        "_sealer",
        "_source",
        "_unique",
        "actor",
        "answer",
        "awaited",
        "changes",
        "commit",
        "effects",
        "events",
        "messages",
        "person",
        "queue",
        "tenant",
        "touched",
        "trace",
    )

    def __init__(self, ledger: Ledger, commit: str, n: int, now_ms: int, sealer: Sealer) -> None:
        self._ledger, self.commit, self._n, self._now_ms, self._sealer = ledger, commit, n, now_ms, sealer
        self.events: list[Envelope] = []
        self.effects: list[Effect] = []
        self.messages: list[Message] = []
        self.touched: dict[tuple[str, str], None] = {}
        self.queue: deque[Hop] = deque()
        self.begin("", "", "")

    def begin(
        self,
        tenant: str,
        source: str,
        unique: str,
        actor: str = "",
        trace: str = "",
        person: str = "",
        awaited: bool = False,
    ) -> None:
        """The next input. Ids that its deciders make begin with `unique`."""
        self.tenant, self._source, self._unique = tenant, source, unique
        self.actor, self.trace, self.person, self.awaited = actor, trace, person, awaited
        self.answer: Any = None
        self.changes: list[Change] = []  # in a trace
        self._decided = 0

    # ---------------------------------------------------------------- commands

    def decide(self, aggregate: Aggregate, command: Any, hop: Hop) -> None:
        """Decide one command. Raises what the decider raises, `Unfolded`, or `Unreacted` at the end."""
        ledger, tenant, kind = self._ledger, self.tenant, aggregate.kind
        shared = ledger.aggregate(tenant, kind.reads) if kind.reads else None
        gate = ledger.aggregate(tenant, kind.gate) if kind.gate else None
        self._decided += 1
        hop.version = aggregate.version
        context = Context(
            tenant,
            hop.stream,
            self._now_ms,
            f"{self._unique}.{self._decided}",
            None if shared is None else shared.state,
            self._sealer.deriver(aggregate.key),
            self._source,
            self.actor,
            None if gate is None else gate.state,
            ledger.aggregates.living(tenant, kind.name),
            self.person if hop.hop == 0 else "",
        )
        lost: list[Unreacted] = []
        for event in kind.decide(aggregate.state, command, context):
            try:
                self._happen(aggregate, hop, event)
            except Unreacted as error:
                # What was decided happens as a whole: half of it is a state that no decider knows.
                lost.append(error)
        if lost:
            raise Unreacted(*(event for error in lost for event in error.events)) from lost[0].__cause__

    def gone(self, hop: Hop) -> None:
        """The closing answer to a request whose receiver is not there."""
        if hop.gone is None or not hop.sender:
            return
        self._send(hop.sender, hop.stream, hop.gone, None, hop.hop + 1, hop.cause, closing=True)

    def pass_on(self, kind: Kind, hop: Hop) -> bool:
        """Give what comes too late for its receiver to who hears it instead; False if nobody does."""
        heir = kind.late(hop.command)
        if heir is not None:
            self.queue.append(Hop(heir[0], heir[1], hop.hop + 1, hop.cause, hop.stream, None))
        return heir is not None

    # ---------------------------------------------------------------- events

    def _happen(self, aggregate: Aggregate, hop: Hop, event: Any) -> None:
        ledger, tenant, stream = self._ledger, self.tenant, hop.stream
        version = aggregate.version + 1
        service = ledger.group.service_of[aggregate.kind.name]
        key_id = (self.person if hop.hop == 0 else "") or aggregate.key
        event, part = service.events.close(event, self._sealer.closer(key_id, tenant, stream, version))
        before, trace = aggregate.state, aggregate.trace if aggregate.kind.traced else self.trace
        ledger.before_event((tenant, stream), aggregate.kind, event)
        try:
            aggregate.state = aggregate.kind.evolve(aggregate.state, event)
        except Exception as error:
            raise Unfolded(part.type) from error
        aggregate.version = version
        ledger.aggregates[tenant, stream] = aggregate
        self.touched[tenant, stream] = None
        at = len(self.events)
        event_id = f"{self.commit}/{at}"
        settles: list[str] = []
        envelope = Envelope(event_id, tenant, stream, version, self._now_ms, hop.cause, self.actor, trace, part)
        if trace:
            self.changes.append(Change(at, before, aggregate.state))
        self.events.append(envelope)  # what evolved stands, even if `react` raises
        try:
            for index, action in enumerate(aggregate.kind.react(aggregate.state, event)):
                if isinstance(action, Settle):
                    key = ledger.names.get((tenant, stream), {}).get(action.name)
                    if key is not None:
                        ledger.settle(key)
                        settles.append(key)
                else:
                    settles += self._act(action, stream, version, index, event_id, hop)
        except Exception as error:
            raise Unreacted(event) from error
        finally:
            if settles:
                self.events[at] = changed(envelope, settles=tuple(settles))

    def of_the_runtime(self, event: Any, actions: Sequence[Act | Tell | Answer], hop: Hop) -> None:
        """An event of the runtime on the stream of the hop's aggregate, and what is done because of it."""
        ledger, tenant, stream = self._ledger, self.tenant, hop.stream
        aggregate = ledger.aggregates[tenant, stream]
        part = RUNTIME_EVENTS.close(event, no_secret)[1]
        version, at = aggregate.version + 1, len(self.events)
        event_id = f"{self.commit}/{at}"
        trace = aggregate.trace if aggregate.kind.traced else self.trace
        envelope = Envelope(event_id, tenant, stream, version, self._now_ms, hop.cause, self.actor, trace, part)
        ledger.apply_quarantine(envelope, event, "")
        self.touched[tenant, stream] = None
        self.events.append(envelope)
        settles: list[str] = []
        for index, action in enumerate(actions):
            settles += self._act(action, stream, version, index, event_id, hop)
        self.events[at] = changed(envelope, settles=tuple(settles))

    # ---------------------------------------------------------------- actions

    def _act(self, action: Action, stream: str, version: int, index: int, event_id: str, hop: Hop) -> tuple[str, ...]:
        """Carry it out; the keys of effects that gave way to one of their name."""
        ledger, tenant = self._ledger, self.tenant
        service = ledger.group.service_of[kind_of(stream)]
        key = f"{tenant}/{stream}/{version}.{self._n}/{index}"
        match action:
            case Act(name, kind, payload, deadline_ms):
                part = service.effects.close(payload, no_secret)[1]
                return self._effect(Effect(key, tenant, stream, name, kind, self._now_ms + deadline_ms, part), payload)
            case Wake(name, at_ms, command):
                part = ledger.group.commands_of(stream).close(command, no_secret)[1]
                return self._effect(Effect(key, tenant, stream, name, "wake", at_ms, part), command)
            case Tell(to, message, gone):
                part = service.messages.close(message, no_secret)[1]
                back = None if gone is None else service.commands.close(gone, no_secret)[1]
                self._send(to, stream, part, back, hop.hop + 1, event_id, hop.recovering)
            case Answer(value):
                self.answer = value
            case Settle():
                raise TypeError("a Settle is handled where its event is made")
        return ()

    def _effect(self, effect: Effect, payload: Any) -> tuple[str, ...]:
        """Make it pending. Written as settled is what gives way: this effect itself may be
        gone again before the step ends, and then nothing else in the commit would say so."""
        earlier = self._ledger.names.get((effect.tenant, effect.stream), {}).get(effect.name)
        self._ledger.apply_effect(effect, payload)
        self.effects.append(effect)
        return () if earlier is None else (earlier,)

    def _send(
        self, to: str, sender: str, part: Part, gone: Part | None, hop: int, cause: str, closing: bool = False
    ) -> None:
        group = self._ledger.group
        kind = kind_of(to)
        if kind in group.kinds:
            command = group.commands[kind].decode(part)
            self.queue.append(Hop(to, command, hop, cause, sender, gone, closing))
        else:
            aggregate = self._ledger.aggregate(self.tenant, sender)
            trace = aggregate.trace if aggregate is not None and aggregate.kind.traced else self.trace
            self.messages.append(Message(group.elsewhere[kind], self.tenant, to, sender, part, gone, trace))
