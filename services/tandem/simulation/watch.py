"""Folds the logs a second time, from the records alone, and has every invariant checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from tandem.adapters.memory.blobs import BlobTable
from tandem.core.commit import Claim, Commit
from tandem.core.errors import Rejected
from tandem.core.ports.log import Partition, Stored
from tandem.core.ports.media import Command
from tandem.runtime.ledger import OF_THE_RUNTIME, SHARD, STEPPED, Ledger
from tandem.runtime.refusals import PastLimit
from tandem.runtime.restore import restore
from tandem.runtime.service import RUNTIME_EVENTS, Group, Quarantined, QuarantineLifted, kind_of
from tandem.runtime.turns import MAX_SHARED
from tandem.simulation import desks, oracle
from tandem.simulation import invariants as inv
from tandem.simulation.clients import Asked
from tandem.simulation.invariants import Violation
from tandem.simulation.nodes import MediaNode
from tandem.simulation.phones import Dialog, Phones
from tandem.simulation.poison import Planted
from tandem.simulation.reading import Parts
from tandem.simulation.scheduler import Scheduler
from tandem.simulation.seat import Seat
from tandem.simulation.simlog import SimLog
from tandem.simulation.tenants import Tenant

SECRET = b"+49555"
"""How every caller's number begins, and nothing else."""
SNAPSHOT_EVERY = 50
"""Commits between two snapshots of the standby."""
PROMPT_MS = 1_000
"""By when an order has left for a node that is there."""

TOLD = (
    "line.queue_refused",
    "contact.dequeued",
    "contact.requeued",
    "contact.recording_paused",
    "contact.recording_resumed",
    "contact.recording_pause_failed",
    "contact.recovered",
    "contact.queue_rejoined",
    "contact.offer_not_held",
    "contact.place_not_held",
    "reception.devices_told",
)
"""Events that a seed tells it has reached."""
OF_PHONES = ("NoteDevice to ", "LookAgain to ", "SayAgain to ", "AskDevices to ", "ReviewDevices to ")
"""Commands by which desk and reception come to agree on which phones are registered."""


class Watched(Protocol):
    """The cell, as far as the watch looks at it."""

    scheduler: Scheduler
    log: SimLog
    blobs: BlobTable
    phones: Phones
    node: MediaNode
    groups: dict[Partition, Group]
    tenants: list[Tenant]

    def seats(self) -> Iterator[Seat]:
        """All seats of all living processes."""
        ...

    def reached(self, what: str) -> None:
        """A branch was reached."""
        ...

    def fact(self, text: str, event: Any = None) -> None:
        """For the story of a failing seed."""
        ...


class _Fold:
    """One partition, judged and folded by nobody else."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.ledger = Ledger(group)
        self.tail: Ledger | None = None  # from a snapshot on
        self.compared: dict[str, int] = {}  # state hashes, by either
        self.epoch = self.n = self.offset = 0
        self.snapshot: tuple[int, str] | None = None
        self.parts, self.restored = Parts(), Parts()
        self.owner, self.owner_parts = self.ledger, Parts()  # of the last that was compared
        self.commits = 0

    def parts_of(self, owner: Ledger) -> list[bytes]:
        """An owner's state as it has it."""
        if owner is not self.owner:
            self.owner, self.owner_parts = owner, Parts()
        return self.owner_parts.of(owner)

    def counts(self, record: Claim | Commit) -> bool:
        if isinstance(record, Claim):
            return record.epoch == self.epoch + 1
        return record.epoch == self.epoch and record.n == self.n + 1


class Watch:
    """All checkers of a seed."""

    def __init__(self, cell: Watched) -> None:
        self._cell = cell
        phones = cell.phones
        self._folds = {partition: _Fold(group) for partition, group in cell.groups.items()}
        self.tenancy, self.effects, self.acks = (
            inv.Tenancy(),
            inv.Effects(lambda: cell.scheduler.now_ms),
            inv.Acknowledged(),
        )
        self.outcomes = oracle.Outcomes(phones.dialogs, phones.callers)
        self.rings = oracle.Rings(lambda device: phones.devices[device].agent)
        self.sources, self.epochs = inv.Sources(), inv.Epochs()
        self.timers = inv.Timers(lambda: cell.scheduler.now_ms, self._kept, lambda: cell.node.incarnations)
        self._checkers: list[inv.Checker] = [
            self.sources,
            inv.Traces(),
            inv.ShardTimes(),
            self.tenancy,
            self.effects,
            self.acks,
            self.outcomes,
            oracle.Strays(phones.dialogs, phones.callers),
            desks.Line(),
            desks.Presses(phones.callers, cell.node.host.boot_id),
            self.rings,
            oracle.Drops(phones.dialogs, phones.callers),
            oracle.Pauses(lambda: cell.node.media),
            self.timers,
        ]
        self.desks_quarantined: dict[str, None] = {}  # tenants
        self._unsaid = 0  # refusals of what desk and reception say of phones
        self.commits = 0
        self.compared = 0

    def also(self, checker: inv.Checker) -> None:
        """One more that checks."""
        self._checkers.append(checker)

    def aggregate(self, partition: Partition, tenant: str, stream: str) -> Any:
        """What a log says of an aggregate, None if it is not live."""
        return self._folds[partition].ledger.aggregate(tenant, stream)

    def streams(self, kind: str) -> list[tuple[Partition, str, str]]:
        """(partition, tenant, stream) of all live aggregates of a kind."""
        return [
            (partition, tenant, stream)
            for partition, fold in self._folds.items()
            for (tenant, stream), aggregate in fold.ledger.aggregates.items()
            if aggregate.kind.name == kind
        ]

    def tenant(self, tenant: Tenant) -> None:
        """A tenant of the cell."""
        self.tenancy.words.append(tenant.name)

    def _kept(self, partition: Partition) -> dict[str, int]:
        """The last event that the node keeps for each tenant of a partition."""
        node = self._cell.node
        if not node.up:
            return {}
        state = node.state
        homes = [tenant for tenant, home in state.homes.items() if home == partition]
        return {tenant: state.last[tenant] for tenant in homes if state.kept_count(tenant)}

    # ---------------------------------------------------------------- the log

    def offset(self, partition: Partition) -> int:
        """Up to where a partition was seen."""
        return self._folds[partition].offset

    def stored(self, partition: Partition, records: Sequence[Stored]) -> None:
        """Records were stored."""
        fold = self._folds[partition]
        for stored in records:
            fold.offset = stored.offset
            if SECRET in stored.body:
                raise Violation("private values are sealed", f"a caller's number in {partition} at {stored.offset}")
            record = self._cell.log.decode(stored.body)
            counted = fold.counts(record)
            if fold.ledger.fold(record) != counted:
                raise Violation("one judgement", f"{partition} at {stored.offset}: the arbiter says {not counted}")
            self._compare_hashes(partition, fold, record)
            if not counted:
                self._cell.reached("void claim" if isinstance(record, Claim) else "void commit")
            elif isinstance(record, Claim):
                fold.epoch = record.epoch
                self._cell.fact(f"{record.owner} owns {partition}, epoch {record.epoch}")
                self.timers.claim(partition)
            else:
                fold.n = record.n
                self._commit(partition, fold, record)

    def _compare_hashes(self, partition: Partition, fold: _Fold, record: Claim | Commit) -> None:
        """What the owner hashed is what folds from zero, and from a snapshot on, give."""
        ledgers = [("from zero", fold.ledger)]
        if fold.tail is not None:
            fold.tail.fold(record)
            ledgers.append(("from a snapshot on", fold.tail))
        for whence, ledger in ledgers:
            if ledger.hash.wrong:
                raise Violation(
                    "the state hash holds", f"{partition} n={ledger.hash.wrong[0].n}: a fold {whence} differs"
                )
            if ledger.hash.checked:
                self._cell.reached(f"a state hash compared {whence}")

    def _commit(self, partition: Partition, fold: _Fold, commit: Commit) -> None:
        self.commits += 1
        fold.commits += 1
        self._branches(fold.group, commit)
        happened = [(envelope, self._decoded(fold.group, envelope)) for envelope in commit.events]
        for envelope, event in happened:
            if hasattr(event, "outcome"):
                self._cell.reached(f"{envelope.type} {event.outcome}")
            elif envelope.type == "contact.turned_away":
                self._cell.reached(f"{envelope.type} {event.reason}")
            elif envelope.type in TOLD:
                self._cell.reached(envelope.type)
            self._cell.fact(f"{partition} n={commit.n} {envelope.tenant} {envelope.stream}", event)
        for checker in self._checkers:
            checker.commit(partition, commit, happened)
        if fold.commits % SNAPSHOT_EVERY == 0:
            self._snap(partition, fold)

    def _decoded(self, group: Group, envelope: Any) -> Any:
        if envelope.type == STEPPED:
            self._cell.reached("shard time stepped")
        if envelope.stream == SHARD:
            return None
        if envelope.type in OF_THE_RUNTIME:
            event = RUNTIME_EVENTS.decode(envelope.part)
            self._quarantine(envelope, event)
            return event
        return group.service_of[kind_of(envelope.stream)].events.decode(envelope.part)

    def _quarantine(self, envelope: Any, event: Any) -> None:
        kind = kind_of(envelope.stream)
        if isinstance(event, Quarantined):
            self._cell.reached(f"a {kind} quarantined")
            if kind == "desk":
                self.desks_quarantined[envelope.tenant] = None
        elif isinstance(event, QuarantineLifted):
            self._cell.reached(f"a {kind} back in service")
            self.desks_quarantined.pop(envelope.tenant, None)

    def _branches(self, group: Group, commit: Commit) -> None:
        reached = self._cell.reached
        tenants: dict[str, int] = {}
        for taken in commit.inputs:
            tenants[taken.tenant] = tenants.get(taken.tenant, 0) + 1
            if taken.part.type == "effect.ended":
                reached(f"an effect ended {group.commands_of(taken.stream).decode(taken.part).outcome}")
            if taken.refused:
                reached("an input refused")
            if taken.source == "legs":
                stray = taken.part.type == "media.hang_up_stray"
                reached("a leg that nobody holds" if stray else "a leg that the node does not list")
            if taken.part.type == "routing.close_gone":
                reached("the gone answer")
            if taken.part.type == "routing.ask_offer":
                reached("an overdue offer asked about")
        if max(tenants.values(), default=0) >= MAX_SHARED and len(tenants) > 1:
            reached("tenants in turn")

    # ---------------------------------------------------------------- snapshots and comparison

    def _snap(self, partition: Partition, fold: _Fold) -> None:
        """As a standby would. What is restored must give the same parts again."""
        parts = fold.parts.of(fold.ledger)
        restored = restore(fold.group, parts)
        again = fold.restored.of(restored)
        if again != parts:
            raise Violation(
                "a snapshot is the state", f"{partition} n={fold.n}: {_difference(fold.group, parts, again)}"
            )
        name = f"snapshots/{partition}/{fold.n:020d}"
        packed = msgspec.msgpack.encode(parts)
        if SECRET in packed:
            raise Violation("private values are sealed", f"a caller's number in the snapshot of {partition}")
        self._cell.blobs.put(name, packed)
        if fold.tail is None or fold.tail.hash.checked:
            fold.tail = restored
        fold.snapshot = (fold.offset, name)

    def snapshot(self, partition: Partition) -> tuple[int, str] | None:
        """(offset, blob) of the newest."""
        return self._folds[partition].snapshot

    @staticmethod
    def unpacked(blob: bytes) -> list[bytes]:
        """A snapshot's parts."""
        return msgspec.msgpack.decode(blob, type=list[bytes])

    def compare(self, *, anew: bool = False) -> None:
        """Owners whose state is durable have the state that their log has. `anew`: all rows are encoded,
        also those that look as they did."""
        for seat in self._cell.seats():
            shard, fold = seat.shard, self._folds[seat.partition]
            if anew:
                fold.parts, fold.owner_parts = Parts(), Parts()
            if seat.live and not shard.ledger.torn and shard.n == shard.durable == fold.n and shard.epoch == fold.epoch:
                mine, theirs = fold.parts.of(fold.ledger), fold.parts_of(shard.ledger)
                self.compared += 1
                self._offered(seat, fold)
                if mine != theirs:
                    raise Violation(
                        "the fold is the state", f"{seat.partition} n={fold.n}: {_difference(fold.group, mine, theirs)}"
                    )

    def _offered(self, seat: Seat, fold: _Fold) -> None:
        """A node that has told all it kept was offered all that is pending."""
        now_ms = self._cell.scheduler.now_ms
        if seat.asked_ms < 0 or now_ms - seat.asked_ms < PROMPT_MS:
            return
        for key, pending in fold.ledger.pending.items():
            waits_ms = now_ms - self.effects.made_ms[key]
            if pending.effect.kind == "media" and waits_ms >= PROMPT_MS and key not in seat.offered:
                raise Violation("what is pending is offered", f"{key} of {seat.partition} for {waits_ms} ms")

    # ---------------------------------------------------------------- other witnesses

    def saw(self, what: str, dialog: Dialog) -> None:
        """A phone saw something."""
        for checker in self._checkers:
            checker.saw(what, dialog)

    def sent(self, partition: Partition, command: Command) -> None:
        """A command leaves for a node."""
        self.effects.sent(partition, command.key)

    def acknowledged(self, asked: Asked, value: Any) -> None:
        """A client holds an answer."""
        self.acks.told(asked.tenant, asked.request, value)

    def refused(self, text: str, error: BaseException) -> None:
        """An input was refused. Only a broken flow or a plant may bring that about."""
        self._unsaid += text.startswith(OF_PHONES)
        if isinstance(error, KeyError) and error.args == ("nowhere",):
            return
        if isinstance(error, Planted):
            return
        if isinstance(error, PastLimit):
            self._cell.reached("16 hops")
            return
        if isinstance(error, Rejected):
            self._cell.reached("a message rejected")
            return
        raise Violation("deciders do not raise", f"{text}: {type(error).__name__}: {error}") from error

    def contact_states(self) -> list[str]:
        """State of every contact that is not over."""
        return [
            "Quarantined" if aggregate.quarantine else type(aggregate.state).__name__
            for fold in self._folds.values()
            for aggregate in fold.ledger.aggregates.values()
            if aggregate.kind.name == "contact"
        ]

    # ---------------------------------------------------------------- rest

    def unrest(self) -> str:
        """What is not at rest, empty if all is."""
        for partition, fold in self._folds.items():
            for (tenant, stream), aggregate in fold.ledger.aggregates.items():
                if aggregate.kind.name == "contact":
                    is_ = f"in quarantine: {aggregate.quarantine}" if aggregate.quarantine else type(aggregate.state)
                    return f"{partition}: {stream} of {tenant} is {is_}"
                if aggregate.kind.name == "desk" and (busy := _busy(aggregate.state)):
                    return f"{partition}: desk of {tenant}: {busy}"
            for key, pending in fold.ledger.pending.items():
                if not (pending.effect.kind == "wake" and pending.effect.stream.startswith("late/")):
                    return f"{partition}: {key} is pending"
        if missed := self._missed_phones():
            return missed
        node = self._cell.node
        if not node.up or node.media is None:
            return "the node is down"
        if legs := node.media.legs():
            return f"the node has {legs[0].leg}"
        for row in self._cell.tenants:
            if node.state.kept_count(row.name):
                return f"the node keeps events of {row.name}"
        return "" if self._cell.phones.at_rest else "a phone has a call"

    def _missed_phones(self) -> str:
        """A desk that takes other phones for registered than its reception, empty if none does. What makes a
        refusal good is tried once: where that may have been refused too, nothing is said."""
        if self._unsaid > 1:
            return ""
        desks: dict[str, set[tuple[str, str, str]]] = {}
        phones: dict[str, set[tuple[str, str, str]]] = {}
        for fold in self._folds.values():
            for (tenant, stream), aggregate in fold.ledger.aggregates.items():
                if stream == "desk":
                    rows = [(a.agent, r.device, r.node) for a in aggregate.state.agents.values() for r in a.reachable]
                    desks[tenant] = set(rows)
                elif stream == "reception":
                    rows = [(d.agent, d.device, d.node) for d in aggregate.state.devices.values() if d.node]
                    phones[tenant] = set(rows)
        for tenant, there in phones.items():
            if wrong := sorted(there ^ desks.get(tenant, set())):
                return f"the desk of {tenant} is wrong about {wrong[0]}"
        return ""

    def at_the_end(self) -> None:
        """When everything is at rest, every call that came has its one outcome."""
        for caller in self._cell.phones.callers.values():
            tenant = next(t for t in self._cell.tenants if t.name == caller.tenant)
            unknown = caller.number == tenant.numbers[2] or self._cell.node.incarnations > 1
            if caller.reached and not unknown and (caller.tenant, caller.contact) not in self.outcomes.of:
                raise Violation("exactly one outcome", f"{caller.contact} has none")
        for blob in self._cell.blobs.list("", limit=1000):
            if SECRET in self._cell.blobs.get(blob):
                raise Violation("private values are sealed", f"a caller's number in {blob}")
        if SECRET in self._cell.node.store.data:
            raise Violation("private values are sealed", "a caller's number in the journal")


def _busy(desk: Any) -> str:
    if desk.reservations:
        return f"offer {next(iter(desk.reservations))} is open"
    if desk.entries:
        return f"{next(iter(desk.entries))} waits"
    for agent in desk.agents.values():
        if agent.status.value not in ("OFF_QUEUE", "IDLE", "NOT_RESPONDING"):
            return f"{agent.agent} is {agent.status.value}"
    return ""


def _difference(group: Group, one: list[bytes], other: list[bytes]) -> str:
    """The first part that differs, for people."""
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            return f"{group.canonical.decode(mine)!r:.600} != {group.canonical.decode(theirs)!r:.600}"
    return f"{len(one)} parts and {len(other)}"
