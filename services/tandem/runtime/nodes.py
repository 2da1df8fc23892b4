"""The media nodes as a shard's owner sees them: what they kept, which legs they have (rule 9, T2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tandem.core.decider import EffectEnded
from tandem.core.ports.media import Originate, Outcome, TakeOver
from tandem.runtime.ledger import Ledger
from tandem.runtime.service import Group
from tandem.runtime.step import Offer
from tandem.runtime.turns import Earlier

NODE_LOST_MS = 600_000
"""A node that was away for so long does not come back with its calls: their contacts end."""

Marks = tuple[tuple[str, int], ...]


@dataclass(slots=True)
class _Node:
    """Introduced, kept events heard, asked for its legs, of which it should have those `expected`,
    legs listed; those `listed_legs` are to be looked through for strays when what came `before_list`
    is decided. Away since `away_ms`, if it is not up. `draining`: it is being emptied; `takes_over`: it
    can take callers of other nodes."""

    incarnation: str = ""
    up: bool = False
    heard: Earlier | None = None
    asked: bool = False
    expected: tuple[tuple[str, str, str], ...] = ()
    listed: bool = False
    listed_legs: tuple[tuple[str, str], ...] = ()
    before_list: Earlier | None = None
    away_ms: int = 0
    given_up: bool = False
    draining: bool = False
    takes_over: bool = False


class Nodes:
    """`queue` takes the inputs that come of what nodes tell: legs that are missing, and strays."""

    def __init__(
        self, names: Sequence[str], group: Group, ledger: Ledger, queue: Callable[[Offer], None], lost_ms: int
    ) -> None:
        self._rows = {name: _Node() for name in names}
        self._group, self._ledger, self._queue, self._lost_ms = group, ledger, queue, lost_ms

    def begin(self, now_ms: int) -> list[str]:
        """The shard is ours: which nodes have to be told."""
        for row in self._rows.values():
            row.away_ms = now_ms
        return list(self._rows)

    # ---------------------------------------------------------------- what they tell

    def up(self, node: str, incarnation: str, now_ms: int, *, draining: bool = False, takes_over: bool = False) -> None:
        """The node has answered our Hello; what it kept follows."""
        row = self._rows.setdefault(node, _Node())
        row.incarnation, row.up = incarnation, True
        row.draining, row.takes_over = draining, takes_over
        row.asked = row.listed = row.given_up = False
        row.heard = None
        prefix = f"media/{node}/"
        known: dict[str, bool] = {}  # tenant -> whether something was taken of this incarnation
        for source, tenant in self._ledger.marks:
            if source.startswith(prefix):
                known[tenant] = known.get(tenant, False) or source.startswith(f"{prefix}{incarnation}/")
        for tenant in [tenant for tenant, of_this in known.items() if not of_this]:
            self._journal_lost(node, tenant, now_ms)

    def down(self, node: str, now_ms: int) -> None:
        """The link is gone. Its calls are taken as alive; what is pending is offered again when it is back."""
        row = self._rows.setdefault(node, _Node())
        if row.up:
            row.away_ms = now_ms
        row.up = row.asked = row.listed = False
        row.heard = None
        row.listed_legs = ()

    def drains(self, node: str, draining: bool) -> None:
        """The node is being emptied, or is not any more."""
        self._rows.setdefault(node, _Node()).draining = draining

    def kept(self, node: str, earlier: Earlier) -> None:
        """All that the node had kept has been offered: it is among what waits."""
        self._rows.setdefault(node, _Node()).heard = earlier

    def legs(self, node: str, legs: Iterable[tuple[str, str]], now_ms: int, earlier: Earlier) -> None:
        """The legs that live on the node. Those that it should have had when it was asked, and
        has not, are ended. What it told before is among what waits."""
        row = self._rows.setdefault(node, _Node())
        row.listed = True
        row.listed_legs, row.before_list = tuple(legs), earlier
        expected, row.expected = row.expected, ()
        there = set(row.listed_legs)
        for tenant, stream, leg in expected:
            aggregate = self._ledger.aggregate(tenant, stream)
            if aggregate is None or (tenant, leg) in there:
                continue
            if (node, leg) in aggregate.legs:
                self._missing(tenant, stream, node, leg, now_ms)

    def _journal_lost(self, node: str, tenant: str, now_ms: int) -> None:
        """The node forgot which commands it had: a ring in doubt is never repeated (E2). This comes
        before the first event of the new journal, so that a mark of it says that this was done."""
        if self._group.new_journal is not None:
            kinds, command = self._group.new_journal(node, now_ms)
            for (of, stream), aggregate in self._ledger.aggregates.items():
                if of == tenant and aggregate.kind.name in kinds:
                    self._queue(Offer("legs", 0, tenant, stream, command))
        for key, pending in self._ledger.pending.items():
            effect, payload = pending.effect, pending.payload
            if (effect.tenant, effect.kind) != (tenant, "media") or payload.node != node:
                continue
            if isinstance(payload.verb, Originate):
                ended = EffectEnded("", Outcome.UNKNOWN, "JOURNAL_LOST")
                self._queue(Offer("legs", 0, tenant, effect.stream, ended, settles=key))

    # ---------------------------------------------------------------- the takeover

    def ask(self) -> Iterator[str]:
        """Nodes of which all that they kept is decided: from now on each may have new orders, and is to
        be asked for its legs. What it should have by then is noted."""
        for name, row in self._rows.items():
            if row.heard is not None and row.heard.over and not row.asked:
                row.asked, row.expected = True, self._expected(name)
                yield name

    def takes_orders(self, node: str) -> bool:
        """Whether new orders may go there. A node that is away, or still telling what it kept, is
        offered all that is pending afterwards, oldest first: nothing new may overtake that."""
        row = self._rows.get(node)
        return row is not None and row.asked

    @property
    def emptied(self) -> list[str]:
        """Nodes that are up and being emptied."""
        return [name for name, row in self._rows.items() if row.asked and row.draining]

    @property
    def takers(self) -> list[str]:
        """Nodes that can take callers of others now."""
        return [name for name, row in self._rows.items() if row.asked and row.takes_over and not row.draining]

    @property
    def all_listed(self) -> bool:
        """Whether each has told of its legs."""
        return all(row.listed for row in self._rows.values())

    def _expected(self, node: str) -> tuple[tuple[str, str, str], ...]:
        """(tenant, stream, leg) of what the node must have if it has not told of its end. A leg
        whose `Originate` or `TakeOver` is pending may come to be after the answer; its outcome says more."""
        coming = {
            (pending.effect.tenant, pending.payload.leg)
            for pending in self._ledger.pending.values()
            if pending.effect.kind == "media" and isinstance(pending.payload.verb, Originate | TakeOver)
        }
        return tuple(
            (tenant, stream, leg)
            for (tenant, stream), aggregate in self._ledger.aggregates.items()
            for on, leg in aggregate.legs
            if on == node and (tenant, leg) not in coming
        )

    # ---------------------------------------------------------------- legs that nobody holds, or that are gone

    def strays(self, now_ms: int, place: str) -> None:
        """Hang up what nodes listed and nobody holds. Looked for when every event that came before
        the list is decided: a call that just arrived is held by then. An order that is pending may
        still bring its leg about, or end it. `place` is of the log, and makes new streams' names."""
        make = self._group.stray_leg
        # Where legs are guessed a talk that goes on would look like a stray. What is one shows when it is over.
        guessed = {tenant for (tenant, _), aside in self._ledger.aggregates.aside.items() if aside.guessed}
        for node, row in self._rows.items():
            listed = [of for of in row.listed_legs if of[0] not in guessed]
            if not listed or make is None or row.before_list is None or not row.before_list.over:
                continue
            row.listed_legs = tuple(of for of in row.listed_legs if of[0] in guessed)
            held = self._held()
            for tenant, leg in listed:
                if (tenant, leg) not in held:
                    kind, command = make(node, leg, now_ms)
                    self._queue(Offer("legs", 0, tenant, f"{kind}/{place}.{leg}", command))

    def _held(self) -> set[tuple[str, str]]:
        """(tenant, leg) of all that an aggregate or a pending order has."""
        held = {(tenant, leg) for (tenant, _), one in self._ledger.aggregates.items() for _, leg in one.legs}
        held.update(
            (pending.effect.tenant, pending.payload.leg)
            for pending in self._ledger.pending.values()
            if pending.effect.kind == "media"
        )
        return held

    def give_up(self, now_ms: int) -> None:
        """End the legs of nodes that have been away for too long."""
        for node, row in self._rows.items():
            if row.up or row.given_up or now_ms - row.away_ms < self._lost_ms:
                continue
            row.given_up = True
            for (tenant, stream), aggregate in self._ledger.aggregates.items():
                for on, leg in aggregate.legs:
                    if on == node:
                        self._missing(tenant, stream, node, leg, now_ms)

    def give_up_ms(self) -> list[int]:
        """When those that are away will have been away for too long."""
        return [row.away_ms + self._lost_ms for row in self._rows.values() if not row.up and not row.given_up]

    def _missing(self, tenant: str, stream: str, node: str, leg: str, now_ms: int) -> None:
        make = self._group.missing_leg
        if make is not None:
            self._queue(Offer("legs", 0, tenant, stream, make(node, leg, now_ms)))

    # ---------------------------------------------------------------- marks

    def marks_of(self, node: str, incarnation: str, durable: Mapping[tuple[str, str], int]) -> tuple[str, Marks]:
        """(incarnation, durable marks per tenant) of that incarnation of a node; without one, of
        the newest that something was taken from. The node forgets what they cover, and learns from them
        whose tenants' legs it may list: of whom nothing was taken of this incarnation, 0 stands there."""
        prefix = f"media/{node}/"
        found: dict[str, dict[str, int]] = {}
        tenants: dict[str, int] = {}
        for (source, tenant), number in durable.items():
            if source.startswith(prefix):
                found.setdefault(source.split("/")[2], {})[tenant] = number
                tenants[tenant] = 0
        if not incarnation and not found:
            return "", ()
        current = self._rows[node].incarnation if node in self._rows else ""
        told = incarnation or (current if current in found else list(found)[-1])
        return told, tuple(sorted((tenants | found.get(told, {})).items()))
