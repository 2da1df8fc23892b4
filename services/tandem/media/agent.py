"""The media agent: what speaks for a media node with the owners of shards (spine 7).

Sans-I/O: frames, a backend's events and closed links come in by method calls; `take` gives what
is to be written, done and sent. What it gives is carried out in that order (`media.turn`): a
change is written before the backend begins a command and before an event is sent.

- Events are numbered per tenant from 1 without gaps, across restarts on the same journal.
- A tenant's events go to one partition, its home: the one whose owner last named the tenant.
- A link is one owner's conversation about one partition. Its first frame is `Hello`; the highest
  epoch is in the journal, and older ones are refused (pitfalls T1). A newer owner's link, or a
  newer link of the same owner, replaces the partition's earlier one.
- A key is carried out once. Without an outcome after the agent's death it is given to
  `Backend.settle` (pitfalls E2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tandem.core import trace
from tandem.core.ports.log import Partition
from tandem.core.ports.media import (
    Ack,
    CallRefused,
    Cause,
    Command,
    CommandSettled,
    DeviceRegistered,
    DeviceUnregistered,
    Directory,
    Event,
    HangUp,
    Hello,
    KeptEnd,
    LegArrived,
    LegEnded,
    LegHeld,
    LegResumed,
    Legs,
    LegTakenOver,
    ListLegs,
    MediaEvent,
    Originate,
    Outcome,
    StaleEpoch,
    TakeOver,
    ToNode,
    Welcome,
    contact_of,
)
from tandem.media.agent_io import (
    BEAT_MS,
    BEHIND,
    DRAINING,
    TOO_MANY_KEYS,
    AgentSettings,
    AskLegs,
    Drain,
    Greet,
    LookWhoWaits,
    Notice,
    OwnerPresent,
    Perform,
    Restore,
    Settle,
    Turn,
)
from tandem.media.backend import LiveLeg, MergedDirectory, RowKind
from tandem.media.draining import Drained, Draining
from tandem.media.journal.changes import (
    Acked,
    Change,
    Deferred,
    DirectoryTaken,
    EpochSeen,
    EventKept,
    KeyTaken,
    NumberReached,
    RowKept,
    TenantHomed,
    TimeReached,
    encode_change,
)
from tandem.media.journal.state import JournalState


@dataclass(frozen=True, slots=True)
class _Owner:
    """The owner of a partition, as long as its link is open."""

    link: str
    epoch: int


class MediaAgent:
    """One media node's agent. It is the backend's `Sink`."""

    def __init__(self, settings: AgentSettings, state: JournalState) -> None:
        self._settings = settings
        self._state = state
        self._owners: dict[Partition, _Owner] = {}
        self._links: dict[str, Partition] = {}
        self._present: dict[int, bool] = {}
        self._sent: dict[str, int] = {}  # tenant -> number of the last event that its owner was sent
        self._told: dict[str, int] = {}  # and of the last that it was told with all that was kept
        self._shed: dict[tuple[str, str], int] = {}
        self._draining = Draining(state)
        self._turn = Turn()
        self._restored = False
        self._started_ms = 0

    def start(self, now_ms: int) -> None:
        """Once, before anything else: give the backend back what the journal holds, which changes
        nothing and so waits for no disk. `now_ms` is CLOCK_BOOTTIME."""
        state, boot_id = self._state, self._settings.boot_id
        died_ms = min(state.time_ms, now_ms) if state.boot_id == boot_id else now_ms
        self._started_ms = now_ms
        if state.directories:
            self._turn.calls.append(Greet(self._merged()))
        self._turn.calls.append(Restore(state.backend_rows(), died_ms))
        if state.drain is not None:
            self._turn.calls.append(Drain(state.drain.on))
        self._turn.calls.extend(Settle(command) for command in state.open_commands())

    def beat(self, now_ms: int) -> None:
        """Write the time, if `beat_ms` says that it is due."""
        due_ms = self.beat_ms
        if due_ms is not None and due_ms <= now_ms:
            self._change(TimeReached(self._settings.boot_id, now_ms))

    @property
    def beat_ms(self) -> int | None:
        """When `beat` is wanted, None while no leg lives. Not before the legs of an earlier life were
        given back: a death on the way there must leave the time of their end as it was."""
        return self._state.time_ms + BEAT_MS if self._state.living and self._restored else None

    def take(self) -> Turn:
        """What has come up since the last call."""
        turn, self._turn = self._turn, Turn()
        if not self._restored:
            self._restored = True
            if self._state.boot_id != self._settings.boot_id:
                self._change(TimeReached(self._settings.boot_id, self._started_ms))
        return turn

    def load(self) -> tuple[int, int, int]:
        """(owners' links, events that nobody has acknowledged, commands remembered)."""
        return len(self._owners), self._state.kept_total(), len(self._state.keys)

    # --------------------------------------------------------------------------------- the operator

    def drain(self, on: bool, within_ms: int | None, now_ms: int) -> None:
        """Take no new callers from now on, or take them again. With `within_ms`, callers who talk with nobody are
        let go after so long; the drain of before keeps its own. Holds across restarts, until it is undone."""
        wish = self._draining.wished(on, within_ms, now_ms)
        if wish is not None:
            self._change(wish)
            self._turn.calls.append(Drain(on))
            self._notice(DRAINING if on else "DRAIN_UNDONE", "no new callers are taken" if on else "callers are taken")

    def look(self, now_ms: int) -> None:
        """Look who waits, if a drain says that it is time. Wanted with each `beat`."""
        if self._draining.due(now_ms):
            self._turn.calls.append(LookWhoWaits(now_ms))

    def overdue(self, live: tuple[LiveLeg, ...], now_ms: int) -> tuple[LiveLeg, ...]:
        """The backend's answer to `LookWhoWaits`: whom it is to let go."""
        found = self._draining.overdue(live, now_ms)
        if found:
            self._notice("LET_GO", f"{len(found)} callers who waited longer than the drain was given end as lost")
        return found

    def drained(self, live: Iterable[LiveLeg], strangers: int = 0) -> Drained:
        """How far the drain is, by what the backend says."""
        return self._draining.shown(live, strangers)

    @property
    def draining(self) -> bool:
        """Whether no new callers are taken."""
        return self._draining.on

    # --------------------------------------------------------------------------------- owners

    def receive(self, link: str, frame: ToNode, now_ms: int) -> None:
        """A frame came over `link`. `now_ms` is CLOCK_BOOTTIME.

        A closed link's name is never used again; its frames that were under way are not handed
        in, because their owner is no owner any more.
        """
        partition = self._links.get(link)
        match frame:
            case Hello() if partition is None:
                self._hello(link, frame, now_ms)
            case _ if partition is None:
                self._close(link, "the first frame of a link must be Hello")
            case Hello():
                self._fault(link, "a link says Hello once")
            case Command():
                self._command(partition, frame, now_ms)
            case Ack(tenant, number) if number > self._state.last.get(tenant, 0):
                self._fault(link, f"event {number} of {tenant} was acknowledged and never sent")
            case Ack(tenant, number):
                self._forget(tenant, number, now_ms)
            case Directory():
                self._directory(partition, frame)
            case ListLegs():
                self._turn.calls.append(AskLegs(link))

    def link_closed(self, link: str) -> None:
        """The link is gone: its process died, or let go of the shard. Idempotent."""
        partition = self._links.pop(link, None)
        if partition is not None:
            del self._owners[partition]
            self._tell_presence(partition)

    def _hello(self, link: str, hello: Hello, now_ms: int) -> None:
        partition = Partition(hello.group, hello.shard)
        highest = self._state.epochs.get(partition, 0)
        if hello.epoch < highest:
            self._turn.sends.append((link, StaleEpoch(highest)))
            self._close(link, f"epoch {hello.epoch} of {partition} is over: {highest} was here")
            return
        if hello.epoch > highest:
            self._change(EpochSeen(partition, hello.epoch))
        self._replace(partition, hello.epoch)
        self._take_marks(partition, hello, now_ms)
        settings = self._settings
        welcome = Welcome(
            settings.node, self._state.incarnation, settings.boot_id, now_ms, self.draining, settings.takes_over
        )
        self._turn.sends.append((link, welcome))
        for tenant, home in self._state.homes.items():
            if home == partition:
                self._send_kept(link, tenant)
        self._turn.sends.append((link, KeptEnd()))
        # From here on events are sent as they come.
        self._owners[partition] = _Owner(link, hello.epoch)
        self._links[link] = partition
        self._tell_presence(partition)

    def _replace(self, partition: Partition, epoch: int) -> None:
        old = self._owners.pop(partition, None)
        if old is None:
            return
        del self._links[old.link]
        if old.epoch < epoch:
            self._turn.sends.append((old.link, StaleEpoch(epoch)))
        self._close(old.link, f"a newer link of {partition} took its place")

    def _take_marks(self, partition: Partition, hello: Hello, now_ms: int) -> None:
        """Marks are durable, so they acknowledge; and they name the shard's tenants."""
        for tenant, number in hello.marks:
            if self._state.homes.get(tenant) != partition:
                self._change(TenantHomed(tenant, partition))
            if hello.incarnation != self._state.incarnation:
                continue
            if number > self._state.last.get(tenant, 0):
                # Never written by this node as it now is; numbers above it are still unused.
                self._notice("MARK_AHEAD", f"the owner of {partition} knows event {number} of {tenant}, we do not")
                self._change(NumberReached(tenant, number))
            self._forget(tenant, number, now_ms)

    def _forget(self, tenant: str, number: int, now_ms: int) -> None:
        first = self._state.first_kept(tenant)
        if first is None or number < first:
            return
        self._change(Acked(tenant, number))
        self._tell_deferred(tenant, now_ms)
        self._send_on(tenant)

    def _directory(self, partition: Partition, directory: Directory) -> None:
        known = self._state.directories.get(partition)
        if known is not None and known.version == directory.version:
            return
        self._change(DirectoryTaken(partition, directory))
        tenants = [entry.tenant for entry in directory.numbers] + [entry.tenant for entry in directory.devices]
        for tenant in dict.fromkeys(tenants):
            self._come_home(tenant, partition)
        self._turn.calls.append(Greet(self._merged()))

    def _merged(self) -> MergedDirectory:
        """All shards' directories. Where two name the same number or user, as they may for a
        moment while a tenant moves, the partition that is the tenant's home counts."""
        numbers = {}
        devices = {}
        ordered = sorted(self._state.directories.items(), key=lambda item: (item[0].group, item[0].shard))
        for partition, directory in ordered:
            for number in directory.numbers:
                if number.number not in numbers or self._state.homes.get(number.tenant) == partition:
                    numbers[number.number] = number
            for device in directory.devices:
                if device.user not in devices or self._state.homes.get(device.tenant) == partition:
                    devices[device.user] = device
        return MergedDirectory(numbers, devices)

    def _come_home(self, tenant: str, partition: Partition) -> None:
        if self._state.homes.get(tenant) == partition:
            return
        self._change(TenantHomed(tenant, partition))
        self._send_kept(self._owners[partition].link, tenant)

    def _send_kept(self, link: str, tenant: str) -> None:
        self._turn.sends.extend((link, event) for event in self._state.kept(tenant))
        self._sent[tenant] = self._told[tenant] = self._state.last.get(tenant, 0)

    def _send_on(self, tenant: str) -> None:
        """Send the tenant's owner what may be under way to it. What a storm brings above that waits
        here, where it stands in nobody's way: behind this point links, threads and disks take
        what comes in its order, whosever it is."""
        home = self._state.homes.get(tenant)
        owner = None if home is None else self._owners.get(home)
        first = self._state.first_kept(tenant)
        if owner is None or first is None:
            return
        for number in self._unsent(tenant):
            if number >= first + self._settings.under_way_max:
                break
            self._turn.sends.append((owner.link, self._state.kept_event(tenant, number)))
            self._sent[tenant] = number

    def _unsent(self, tenant: str) -> range:
        """The numbers of the tenant's events that its owner was not sent."""
        first = self._state.first_kept(tenant)
        if first is None:
            return range(0)
        return range(max(self._sent.get(tenant, 0) + 1, first), self._state.last[tenant] + 1)

    # --------------------------------------------------------------------------------- commands

    def _command(self, partition: Partition, command: Command, now_ms: int) -> None:
        tenant = command.tenant
        self._come_home(tenant, partition)
        key = self._state.keys.get((tenant, command.key))
        if key is None:
            self._take_key(command, now_ms)
        elif key.settled is not None and key.acked:
            # The owner forgot what it had been told; tell it again, as something that happens now.
            self._keep(tenant, key.leg, key.settled, now_ms)
        # Else it is under way, or its settlement is on its way on this very link.

    def _take_key(self, command: Command, now_ms: int) -> None:
        limit = self._settings.keys_max * (2 if isinstance(command.verb, HangUp) else 1)
        refusal = ""
        if len(self._state.keys) >= limit:
            self._notice(TOO_MANY_KEYS, f"{limit} commands are remembered; raise media.keys_max or end some calls")
            refusal = TOO_MANY_KEYS
        elif self.draining and self._is_new(command):
            refusal = DRAINING
        if refusal:
            self._keep(command.tenant, command.leg, CommandSettled(command.key, Outcome.FAILED, refusal), now_ms)
            return
        self._change(KeyTaken(command))
        self._turn.calls.append(Perform(command))

    def _is_new(self, command: Command) -> bool:
        """Whether it would bring somebody here who is not: what a node that is drained refuses."""
        ringing = isinstance(command.verb, Originate) and not self._state.has_caller(contact_of(command.leg))
        return ringing or (isinstance(command.verb, TakeOver) and not self._state.has_leg(command.leg))

    def legs(self, link: str, live: tuple[LiveLeg, ...]) -> None:
        """The backend's answer to `AskLegs`."""
        partition = self._links.get(link)
        if partition is None:
            return
        homes = self._state.homes
        ours = ((leg.tenant, leg.leg) for leg in live if homes.get(leg.tenant) == partition)
        told = dict.fromkeys(leg for leg in ours if leg not in self._shed)
        for tenant in [tenant for tenant, home in homes.items() if home == partition]:
            self._take_back(told, tenant)
        self._turn.sends.append((link, Legs(tuple(told))))

    def _take_back(self, legs: dict[tuple[str, str], None], tenant: str) -> None:
        """Make of the legs that live those that the tenant's owner was told of. It would hang up one
        whose arrival still waits here, and end the contact of one whose end does."""
        for number in reversed(self._unsent(tenant)):
            event = self._state.kept_event(tenant, number)
            if isinstance(event.body, LegEnded):
                legs[tenant, event.leg] = None
            elif isinstance(event.body, LegArrived | LegTakenOver):
                legs.pop((tenant, event.leg), None)

    def is_open(self, tenant: str, key: str) -> bool:
        """Whether the command was taken and has no outcome yet."""
        taken = self._state.keys.get((tenant, key))
        return taken is not None and taken.settled is None

    # --------------------------------------------------------------------------------- the sink

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        """See `media.backend.Sink`."""
        if (tenant, leg) in self._shed:
            self._swallow(tenant, leg, body)
            return
        match body:
            case CommandSettled(key):
                if not self.is_open(tenant, key):
                    self._notice("SETTLED_TWICE", f"the backend settled {key} of {tenant}, which is not open")
                    return
            case LegArrived() if self._is_full(tenant):
                self._notice("KEPT_FULL", f"a call for {tenant} is refused: no owner has taken its events for too long")
                self._refuse_call(tenant, leg)
                return
            case LegArrived(number) if self._is_behind(tenant, media_time_ms):
                self._refuse_call(tenant, leg)
                self._keep(tenant, "", CallRefused(number, BEHIND), media_time_ms)
                return
            case CallRefused() if self._is_full(tenant):
                self._notice("KEPT_FULL", f"a call refused for {tenant} is not on record: too many events are kept")
                return
            case DeviceRegistered() | DeviceUnregistered() | LegHeld() | LegResumed():
                subject = _subject(leg, body)
                if self._defers(tenant, subject):
                    self._change(Deferred(tenant, subject, Event(tenant, 0, media_time_ms, leg, body)))
                    return
            case LegEnded() if (tenant, leg) in self._state.deferred:
                self._change(Deferred(tenant, leg, None))
        self._keep(tenant, leg, body, media_time_ms)

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        """See `media.backend.Sink`."""
        self._change(RowKept(kind, id, value))

    def _keep(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        ratio = self._settings.sample_ratio
        context = trace.begin(contact_of(leg), ratio) if leg and ratio else ""
        event = Event(tenant, self._state.last.get(tenant, 0) + 1, media_time_ms, leg, body, context)
        self._change(EventKept(event))
        self._send_on(tenant)

    # --------------------------------------------------------------------------------- no room

    def _is_full(self, tenant: str) -> bool:
        return self._state.kept_count(tenant) >= self._settings.kept_max

    def _is_behind(self, tenant: str, now_ms: int) -> bool:
        """Whether its events wait here for too long, though there is an owner who takes them. What was
        kept while there was none is the owner's to work off: its callers have waited already."""
        first, sent = self._state.first_kept(tenant), self._sent.get(tenant, 0)
        if first is None or first <= self._told.get(tenant, 0) or self._state.homes.get(tenant) not in self._owners:
            return False
        if sent >= self._state.last[tenant]:
            return False
        return now_ms - self._state.kept_event(tenant, sent + 1).media_time_ms > self._settings.behind_ms

    def _defers(self, tenant: str, subject: str) -> bool:
        """Once one of a subject's changes waits, the later ones wait too: they keep their order."""
        return self._is_full(tenant) or (tenant, subject) in self._state.deferred

    def _refuse_call(self, tenant: str, leg: str) -> None:
        """Take the call away from the backend before any owner has heard of it."""
        self._shed[tenant, leg] = 2
        self._turn.calls.append(Perform(Command(tenant, f"shed/{leg}", leg, HangUp(Cause.REFUSED))))

    def _swallow(self, tenant: str, leg: str, body: MediaEvent) -> None:
        """Two ends are to come of a refused call: the leg's and the hang-up's."""
        if isinstance(body, LegEnded | CommandSettled):
            self._shed[tenant, leg] -= 1
            if not self._shed[tenant, leg]:
                del self._shed[tenant, leg]

    def _tell_deferred(self, tenant: str, now_ms: int) -> None:
        """There is room again. They are told as of now, behind what happened meanwhile."""
        waiting = [subject for owner, subject in self._state.deferred if owner == tenant]
        for subject in waiting:
            if self._is_full(tenant):
                return
            event = self._state.deferred[tenant, subject]
            self._change(Deferred(tenant, subject, None))
            self._keep(tenant, event.leg, event.body, now_ms)

    # --------------------------------------------------------------------------------- helpers

    def _change(self, change: Change) -> None:
        encoded = encode_change(change)
        self._state.apply(change, encoded)
        self._turn.changes.append(encoded)

    def _tell_presence(self, partition: Partition) -> None:
        present = any(owned.shard == partition.shard for owned in self._owners)
        if present != self._present.get(partition.shard, False):
            self._present[partition.shard] = present
            self._turn.calls.append(OwnerPresent(partition.shard, present))

    def _fault(self, link: str, reason: str) -> None:
        """The other end is out of step: part, and let it begin again."""
        self.link_closed(link)
        self._close(link, reason)

    def _close(self, link: str, reason: str) -> None:
        self._turn.closes.append((link, reason))
        self._notice("LINK_CLOSED", reason)

    def _notice(self, reason: str, detail: str) -> None:
        self._turn.notices.append(Notice(reason, detail))


def _subject(leg: str, body: MediaEvent) -> str:
    """What a change of state is about: of its changes the latest says it all."""
    match body:
        case DeviceRegistered(device) | DeviceUnregistered(device):
            return f"device/{device}"
    return leg
