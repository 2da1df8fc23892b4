"""Erasures in a simulated cell: who asks for them, who carries them out, and what must hold of them.

The receiver does what `session.eraser` does on asyncio; the sweep is the production's fold of the
log (`session.sweep.Lives`) with minutes for days. All draws are of streams of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tandem.core.commit import Commit
from tandem.core.decider import EffectEnded
from tandem.core.errors import Rejected
from tandem.core.ports.log import Partition
from tandem.core.ports.media import Outcome
from tandem.core.recording import name_of
from tandem.core.seal import AUDIO, Erased, Private, Sealed, unseal
from tandem.runtime.outputs import Perform
from tandem.runtime.step import Offer
from tandem.session.domain.erasure import (
    ContactErased,
    EraseContact,
    EraseDue,
    EraseOrder,
    ErasureBegun,
    ErasureScope,
    stream_of,
)
from tandem.session.domain.late import DropRecording, FindRecording, FoundRecording, LateGivenUp, LateStored
from tandem.session.domain.retention import DAY_MS, Retention
from tandem.session.domain.words import ContactStarted
from tandem.session.sweep import Lives, Over
from tandem.simulation.chance import Chance
from tandem.simulation.clients import Clients
from tandem.simulation.invariants import Checker, Happened, Violation

if TYPE_CHECKING:
    from tandem.simulation.seat import Seat
    from tandem.simulation.world import Cell

ASK_EVERY_MS = 15_000
SWEEP_EVERY_MS = 10_000
MINUTE_MS = 60_000
POLICY = (2, 1)
"""Days of contacts and of recordings, of the tenant that has a policy; its days pass in a minute each."""
CONTACT, RECORDINGS = ErasureScope.CONTACT, ErasureScope.RECORDINGS

Place = tuple[str, str]
"""A tenant and a contact."""


class Erasures(Checker):
    """Customers who want to be forgotten, a policy, and the keys and blobs behind them."""

    def __init__(self, cell: Cell, chance: Chance) -> None:
        self._cell, self._chance, self._slow = cell, chance.fork("asking"), chance.fork("storage")
        self._clients = Clients(cell.scheduler, chance.fork("clients"), cell, "e")
        tenants = frozenset(tenant.name for tenant in cell.tenants)
        self._lives = {partition: Lives(tenants) for partition in cell.groups}
        self._callers: dict[Place, Private] = {}
        self._over: dict[Place, Over] = {}
        self._erased: dict[Place, dict[ErasureScope, None]] = {}
        self._begun: dict[Place, None] = {}
        self.calm = False

    def start(self) -> None:
        """Begin."""
        tenant = self._chance.pick(self._cell.tenants)
        self._policy, self._of = Retention(1, *POLICY), tenant.name
        self._cell.config.publish(tenant, [("retention", self._policy)])
        self._cell.scheduler.after(ASK_EVERY_MS, self._ask)
        self._cell.scheduler.after(SWEEP_EVERY_MS, self._sweep)

    # ---------------------------------------------------------------- who asks

    def _ask(self) -> None:
        """A customer wants one of all calls that there were forgotten, as the servicer takes it."""
        if self.calm:
            return
        self._cell.scheduler.after(self._chance.around(ASK_EVERY_MS), self._ask)
        if not self._callers:
            return
        tenant, contact = place = self._chance.pick(tuple(self._callers))
        over = self._over.get(place)
        if over is None:
            self._cell.reached("an erasure refused: the contact is not over")
            return
        command, stream = EraseContact(contact, over.key), stream_of(contact, CONTACT)
        shard = self._cell.tenant(tenant).shard

        def answered(value: Any, error: Rejected | None) -> None:
            if error is None and self._chance.one_in(3):
                self._cell.reached("an erasure asked for once more")
                self._clients.ask(tenant, shard, stream, command, same(value))

        def same(before: Any) -> Callable[[Any, Rejected | None], None]:
            def told(value: Any, error: Rejected | None) -> None:
                if error is None and value != before:
                    raise Violation("a second erasure is told the same", f"{stream} of {tenant}: {value}")

            return told

        self._clients.ask(tenant, shard, stream, command, answered)

    def _sweep(self) -> None:
        """The owner's sweep: all that is over is asked for when its minutes have passed, and a little before."""
        if self.calm:
            return
        self._cell.scheduler.after(SWEEP_EVERY_MS, self._sweep)
        seat = self._cell.seat_of("erasure", self._cell.tenant(self._of).shard)
        if seat is None:
            return
        for (tenant, contact), over in self._over.items():
            for scope in (RECORDINGS, CONTACT):
                recordings = scope is RECORDINGS
                kept_ms = self._policy.kept_ms(recordings) or 0
                # The policy's days, less those that a minute stands for.
                ended_ms = over.ended_ms - kept_ms + kept_ms // DAY_MS * MINUTE_MS
                key = over.key + AUDIO if recordings else over.key
                if tenant == self._of and self._cell.keys((key,)) and (over.recorded or not recordings):
                    due = EraseDue(contact, over.key, scope, ended_ms)
                    seat.ask(Offer("retention", 0, tenant, stream_of(contact, scope), due), _Nobody())

    # ---------------------------------------------------------------- who carries it out

    def perform(self, seat: Seat, order: Perform) -> None:
        """Keys first, then blobs, then the end is told; a crash anywhere leaves what was done."""
        process, cell, payload = seat.process, self._cell, order.payload

        def keys() -> None:
            if self._slow.one_in(8):
                cell.reached("an erasure that storage refused")
                process.later(1_000, keys)
                return
            if isinstance(payload, EraseOrder):
                cell.key_table.destroy(payload.keys)
                gone = True
            else:
                gone = isinstance(payload, DropRecording) and not (payload.unless and cell.keys((payload.unless,)))
            process.later(self._slow.between(1, 1_500), lambda: blobs(gone))

        def blobs(gone: bool) -> None:
            ending: EffectEnded | FoundRecording = EffectEnded("", Outcome.DONE)
            if isinstance(payload, EraseOrder):
                for name in cell.blobs.list(name_of(order.tenant, payload.recordings)):
                    cell.blobs.delete(name)
            elif isinstance(payload, FindRecording):
                ending = found(name_of(order.tenant, payload.recording))
            elif gone:
                cell.blobs.delete(name_of(order.tenant, payload.recording))
            seat.told(Offer("eraser", 0, order.tenant, order.stream, ending, settles=order.key))

        def found(name: str) -> EffectEnded | FoundRecording:
            if not cell.blobs.list(name):
                return EffectEnded("", Outcome.DONE)
            cell.reached("a late recording found")
            return FoundRecording(name, 0, len(cell.blobs.get(name)), "")

        if order.again:
            cell.reached("an erasure offered again")
        cell.watch.effects.sent(seat.partition, order.key)
        process.later(self._slow.between(1, 800), keys)

    # ---------------------------------------------------------------- what must hold

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for over in self._lives[partition].take(commit):
            self._over[over.tenant, over.contact] = over
        for envelope, event in happened:
            match event:
                case ContactStarted(contact, caller=caller):
                    self._callers[envelope.tenant, contact] = caller
                case ErasureBegun():
                    self._check_over(partition, envelope.tenant, event)
                case ContactErased():
                    self._check_erased(envelope.tenant, event)
                case LateStored():
                    self._cell.reached("a late recording listed")
                case LateGivenUp(reason=reason):
                    self._cell.reached(f"a late recording given up {reason}")

    def _check_over(self, partition: Partition, tenant: str, event: ErasureBegun) -> None:
        self._begun[tenant, event.contact] = None
        self._cell.reached(f"erasure.begun {event.cause} {event.scope}")
        if self._cell.watch.aggregate(partition, tenant, f"contact/{event.contact}") is not None:
            raise Violation("a live contact is not erased", f"{event.contact} of {tenant} for {event.cause}")

    def _check_erased(self, tenant: str, event: ContactErased) -> None:
        place = (tenant, event.contact)
        self._erased.setdefault(place, {})[event.scope] = None
        self._cell.reached(f"contact.erased {event.scope}")
        over = self._over[place]
        ids = (over.key + AUDIO,) if event.scope is RECORDINGS else (over.key, over.key + AUDIO)
        if left := self._cell.keys(ids):
            raise Violation("erased is without keys", f"{event.contact} of {tenant} has {sorted(left)}")

    def at_the_end(self) -> None:
        """What is erased reads so, all else can be read; no blob stays that nobody may hear."""
        for place, caller in self._callers.items():
            if not isinstance(caller, Sealed):
                continue
            erased = isinstance(unseal(caller, self._cell.keys((caller.key,)).get(caller.key)), Erased)
            if erased != (CONTACT in self._erased.get(place, ())):
                raise Violation("what is erased reads so, and nothing else", f"{place}: erased {erased}")
        for tenant, contact in self._erased:
            if left := self._cell.blobs.list(name_of(tenant, f"{contact}-")):
                raise Violation("no recording outlives its erasure", left[0])
        for _, tenant, stream in self._cell.watch.streams("late"):
            blob = name_of(tenant, stream.partition("/")[2])
            if self._cell.blobs.list(blob):
                raise Violation("a late recording is listed or deleted", blob)
        if unfinished := [place for place in self._begun if place not in self._erased]:
            raise Violation("an erasure that is begun ends", f"{unfinished[0]}")


class _Nobody:
    """The sweep looks at the keys again, and not at answers."""

    def told(self, value: Any, error: Rejected | None) -> None:
        """See `surroundings.Asker`."""
