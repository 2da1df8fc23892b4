"""What a decider is (architecture, eight words): `decide`, `evolve`, `react`, all pure.

`decide(state, command, context)` returns events, or raises `Rejected` for a client's
command that it will not carry out. `evolve(state, event)` returns the next state (a desk
changes in place and returns itself). `react(state, event)` looks at the state *after* the
event and returns what shall be done; it runs only while deciding, never in a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.core.ports.media import Outcome
from tandem.core.seal import Secret

MAX_HOPS = 16
"""Messages that one input may set off one after another inside a step (rule 4)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may know beside state and command. All of it is in the log.

    `unique` is different for each input of the cell and the same at each replay: ids are
    made of it. `shared` is the read-only state of the tenant's `Kind.reads` aggregate.
    `derive(label)` gives a secret made from the aggregate's own data key.
    """

    tenant: str
    stream: str
    now_ms: int
    unique: str
    shared: Any
    derive: Callable[[str], Secret]
    source: str = ""
    actor: str = ""


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

    `starts` are the command types that begin an aggregate; another command to one that
    does not exist is answered "gone". `sealed` kinds get a data key of their own at their
    start. `over(state)`: nothing more can happen; the aggregate leaves the live state.
    `reads` names the kind whose tenant-wide aggregate (stream = kind) `decide` may see.
    `legs(state)` are the (node, leg) pairs that the aggregate holds. A state is small and
    frozen, or it has `rows`. Snapshots are made of frozen dataclasses out of `states`, tuples
    and plain values.
    """

    name: str
    start: Callable[[], Any]
    starts: tuple[type, ...]
    decide: Callable[[Any, Any, Context], Sequence[Any]]
    evolve: Callable[[Any, Any], Any]
    react: Callable[[Any, Any], Sequence[Action]]
    over: Callable[[Any], bool] = lambda state: False
    sealed: bool = False
    reads: str = ""
    legs: Callable[[Any], Sequence[tuple[str, str]]] = lambda state: ()
    states: tuple[type, ...] = ()
    rows: Rows | None = None


Handlers = Mapping[tuple[type, type], Callable[[Any, Any, Context], Sequence[Any]]]


def dispatch(handlers: Handlers, state: Any, command: Any, context: Context) -> Sequence[Any]:
    """Hand a command to the handler of (state type, command type); a pair that is not in
    the table changes nothing. Tables are checked for holes by the tests of each decider."""
    handler = handlers.get((type(state), type(command)))
    return () if handler is None else handler(state, command, context)
