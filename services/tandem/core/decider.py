"""What a decider is (architecture, eight words): `decide`, `evolve`, `react`, all pure.

`decide(state, command, context)` returns events, or raises `Rejected` for a client's
command that it will not carry out. `evolve(state, event)` returns the next state (a desk
changes in place and returns itself). `react(state, event)` looks at the state *after* the
event and returns what shall be done; it runs only while deciding, never in a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tandem.core.ports.media import Outcome
from tandem.core.seal import Secret
from tandem.core.values import dataclass

MAX_HOPS = 16
"""Messages that one input may set off one after another inside a step (rule 4)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may know beside state and command. All of it is in the log.

    `unique` is different for each input of the cell and the same at each replay: ids are
    made of it. `shared` is the read-only state of the tenant's `Kind.reads` aggregate, `gate`
    that of its `Kind.gate`, None where there is none. `living` counts the aggregates of this
    kind that the tenant has, those not counted to which nothing more can happen.
    `derive(label)` gives a secret made from the aggregate's second key (`core.seal.AUDIO`).
    `key_id` is the key of the person that the command is about (`Kind.person`).
    """

    tenant: str
    stream: str
    now_ms: int
    unique: str
    shared: Any
    derive: Callable[[str], Secret]
    source: str = ""
    actor: str = ""
    gate: Any = None
    living: int = 0
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """An effect on a receiver that `kind` names (`media`); asked again after `deadline_ms`."""

    name: str
    kind: str
    payload: Any
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Wake:
    """A timer of the shard's wheel: `command` comes back to this stream at `at_ms`."""

    name: str
    at_ms: int
    command: Any


@dataclass(frozen=True, slots=True)
class Settle:
    """The event ended the pending effect or wake of that name, if there is one."""

    name: str


@dataclass(frozen=True, slots=True)
class Tell:
    """A message to the aggregate `stream` of the tenant, in this shard or another group's.
    A message with `gone` set gets that command back if there is no such aggregate."""

    stream: str
    message: Any
    gone: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to the client whose command is being decided."""

    value: Any


Action = Act | Wake | Settle | Tell | Answer


@dataclass(frozen=True, slots=True)
class EffectEnded:
    """The command that a decider gets when a receiver says how an effect of its stream ended."""

    name: str
    outcome: Outcome
    reason: str = ""


HOPS = "HOPS"
"""Why of a `Refusal`: the message was past `MAX_HOPS`; nothing was wrong with it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that could not be decided. `type` is its stable name; `command` is None if it
    could not even be read. `why` is the type of the exception, or `HOPS`. `half`: some of what
    was decided has happened, and what should have been done because of it may not be."""

    type: str
    command: Any
    why: str
    half: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """Told to an aggregate that is back in service after its quarantine."""


@dataclass(frozen=True, slots=True)
class Rescue:
    """What a kind gives the runtime for the day on which its decider fails (rule 12). Simple
    functions that look at little, so that they hold where the rest did not.

    `recover(refusal, now_ms)` makes the command that `decide` gets after a refused one; if
    that raises too, the aggregate is quarantined. From then on the runtime alone follows its
    legs: `part(state, stream, now_ms)` is what shall be done at once (state is the last good
    one), `leg_over(stream, leg, rest, guessed, now_ms)` when a leg has ended and `rest`, pairs of
    node and leg, are still up, as far as is known if they are `guessed`. `over(command)` is the
    leg that a command says is over, empty for none; `about(stream, command)` the leg that a
    request is about: while that leg is up the asker is not answered "gone". `keeps(state)`: what
    others take over, out of the last state that could be read. `ends(stream, command, legs,
    now_ms)`: what a client's command to end it does, nothing for any other command.
    """

    recover: Callable[[Refusal, int], Any]
    part: Callable[[Any, str, int], Sequence[Act | Tell]]
    leg_over: Callable[[str, str, Sequence[tuple[str, str]], bool, int], Sequence[Act | Tell]]
    over: Callable[[Any], str]
    about: Callable[[str, Any], str]
    keeps: Callable[[Any], Sequence[Tell]] = lambda state: ()
    ends: Callable[[str, Any, Sequence[tuple[str, str]], int], Sequence[Act | Answer]] = (
        lambda stream, command, legs, now_ms: ()
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """How a large state is taken apart into rows, so that it can be written and digested a
    little at a time while it changes.

    `tables` are attributes of the state: dicts of rows by their names, which are strings.
    `base(state)` is what stands beside them. `touched(event)` says (table, name) of every row
    that the event may add, change or remove. `frozen(row)` is a row as snapshots have it.
    `build(base, rows, ...)` makes the state out of all of it, each table's rows in the order
    of their names.
    """

    tables: tuple[str, ...]
    touched: Callable[[Any], Iterable[tuple[str, str]]]
    build: Callable[..., Any]
    base: Callable[[Any], Any] = lambda state: ()
    frozen: Callable[[Any], Any] = lambda row: row

    def dump(self, state: Any) -> tuple[Any, ...]:
        """All of a state in one order."""
        tables = [getattr(state, name) for name in self.tables]
        return (self.base(state), *(tuple(self.frozen(rows[name]) for name in sorted(rows)) for rows in tables))

    def load(self, dumped: tuple[Any, ...]) -> Any:
        """The reverse of `dump`."""
        return self.build(*dumped)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of aggregate: the first segment of its streams' names (`contact/abc`, `desk`).

    `starts` are the command types that begin an aggregate; another command to one that does not exist
    is answered "gone". `sealed` kinds get a data key of their own at their start. `person(state,
    command)` says whose the private values of a command are, and of the events that it leads to, if
    they are a person's: the id of their key, or "" for somebody new, who gets one; None for the
    aggregate's own. `persons(state)` are the keys that it has given. `traced` kinds keep the trace that
    they began with, and all that happens to them stands in it. `over(state)`: nothing more can happen;
    the aggregate leaves the live state. `reads` names the kind whose tenant-wide aggregate (stream =
    kind) `decide` may see, and `gate` another one. `late(command)` says who hears what comes too late
    for one that is over or set aside: (stream, command), None for nobody. `legs(state)` are the (node,
    leg) pairs that the aggregate holds. A state is small and frozen, or it has `rows`. Snapshots are
    made of frozen dataclasses out of `states`, tuples and plain values. `rescue` is for kinds with
    legs. A kind without one lasts: in quarantine its state is kept as it was, and the next owner tries
    again: `resume(event)` is the command that it gets if `react` to that event raised, `resume(command)` if
    that command could not be decided; back in service it gets that of `Resumed()`, and then
    `resume(None)` until nothing more comes of it.
    """

    name: str
    start: Callable[[], Any]
    starts: tuple[type, ...]
    decide: Callable[[Any, Any, Context], Sequence[Any]]
    evolve: Callable[[Any, Any], Any]
    react: Callable[[Any, Any], Sequence[Action]]
    over: Callable[[Any], bool] = lambda state: False
    sealed: bool = False
    person: Callable[[Any, Any], str | None] = lambda state, command: None
    persons: Callable[[Any], Iterable[str]] = lambda state: ()
    traced: bool = False
    reads: str = ""
    gate: str = ""
    late: Callable[[Any], tuple[str, Any] | None] = lambda command: None
    legs: Callable[[Any], Sequence[tuple[str, str]]] = lambda state: ()
    states: tuple[type, ...] = ()
    rows: Rows | None = None
    rescue: Rescue | None = None
    resume: Callable[[Any], Any] | None = None


Handlers = Mapping[tuple[type, type], Callable[[Any, Any, Context], Sequence[Any]]]


def dispatch(handlers: Handlers, state: Any, command: Any, context: Context) -> Sequence[Any]:
    """Hand a command to the handler of (state type, command type); a pair that is not in
    the table changes nothing. Tables are checked for holes by the tests of each decider."""
    handler = handlers.get((type(state), type(command)))
    return () if handler is None else handler(state, command, context)
