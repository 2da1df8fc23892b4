"""What a process knows of a partition that another one owns, sans-I/O (rule 10).

It decides nothing. What it knows is the same fold of the same log that a cold start makes out of a
snapshot and its tail, only made beforehand: it never has to be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tandem.core.arbiter import Place
from tandem.core.commit import Claim, Commit
from tandem.core.ports.log import Partition, Stored
from tandem.core.seal import AUDIO
from tandem.internal.log.v1 import log_pb2
from tandem.runtime import log_codec
from tandem.runtime.inbox import BEGINNING, Inbox
from tandem.runtime.ledger import SNAPSHOT_TAKEN, Ledger
from tandem.runtime.places import Places
from tandem.runtime.service import Group
from tandem.runtime.snapshot import Loaded
from tandem.runtime.statehash import Differs

SPARE_KEYS = 1_000
"""Keys of what has ended are dropped when they are many more than those of what lives, and than these."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is known: as a snapshot of this very moment would have it, the commit that the newest
    real one is of, and data keys of what lives."""

    loaded: Loaded
    snapshot_n: int
    keys: Mapping[str, bytes]


class OtherShape(Exception):
    """The log is of another grouping; who takes it over says what to do."""


class Following:
    """Begins with the newest snapshot, if one was `found`, and goes on with what is given. `follows`
    are the partitions whose messages this one takes."""

    def __init__(self, group: Group, found: Loaded | None = None, follows: Iterable[Partition] = ()) -> None:
        self._group = group
        self.ledger = found.ledger if found else Ledger(group)
        self.offset = found.offset if found else 0
        self._snapshot_n = self.ledger.arbiter.n if found else 0
        self._places = Places()
        self._places.begin(found.places if found else ())
        begins = found.followed if found else {}
        self.inboxes = {sender: Inbox(sender, group.name, begins.get(str(sender), BEGINNING)) for sender in follows}
        self._whole = True  # nothing has raised half way
        self._keys: dict[str, bytes] = {}
        self._wanted: dict[str, None] = {}
        self._want(aggregate.key for aggregate in self.ledger.aggregates.values())

    def fold(self, stored: Stored) -> list[Differs]:
        """The next record of the partition; state hashes in it that this fold does not give. Raises
        `OtherShape`, `BadHistory`, `BadRecord`."""
        self._whole = False
        record = log_codec.decode_to_fold(stored.body)
        ledger = self.ledger
        if isinstance(record, Claim) and ledger.arbiter.counts(record) and record.shape != self._group.shape:
            raise OtherShape(f"the log was written with the services grouped as {record.shape}")
        known = len(ledger.hash.wrong)
        counts = ledger.fold(record)
        self.offset = stored.offset
        if counts and isinstance(record, Commit):
            self._want(taken.key for taken in record.inputs)
            for envelope in record.events:
                if envelope.type == SNAPSHOT_TAKEN:
                    self._snapshot_n = log_pb2.SnapshotTaken.FromString(envelope.part.clear).n
        self._places.reached(Place(self.offset, ledger.arbiter))
        self._whole = True
        return ledger.hash.wrong[known:]

    def take_message(self, sender: Partition, stored: Stored) -> None:
        """The next record of a partition that is followed. Raises `BadRecord`."""
        whole, self._whole = self._whole, False
        self.inboxes[sender].take(log_codec.decode_messages(stored.body), stored.offset)
        self._whole = whole

    def forget_taken(self, sender: Partition) -> int:
        """Forget messages that the owner has taken, as far as is known; how many are left."""
        inbox = self.inboxes[sender]
        inbox.taken(self.ledger.mark)
        return inbox.untaken

    # ---------------------------------------------------------------- keys

    def wanted_keys(self) -> tuple[str, ...]:
        """Ids of keys of what has begun to live, each told once."""
        wanted, self._wanted = tuple(self._wanted), {}
        return wanted

    def keys_found(self, keys: Mapping[str, bytes]) -> None:
        """Those of them that are there; others are asked for at the takeover."""
        self._keys.update(keys)
        aggregates = self.ledger.aggregates
        if len(self._keys) > 4 * len(aggregates) + SPARE_KEYS:
            alive = {key for one in aggregates.values() for key in (one.key, one.key + AUDIO)}
            self._keys = {key: value for key, value in self._keys.items() if key in alive}

    def _want(self, ids: Iterable[str]) -> None:
        for key in filter(None, ids):
            if key not in self._keys:
                self._wanted[key] = self._wanted[key + AUDIO] = None

    # ---------------------------------------------------------------- the end

    def ahead(self) -> Ahead | None:
        """What is known now; None after a record that could not be taken whole. Nothing may be folded
        afterwards: the state is handed over."""
        if not self._whole:
            return None
        followed = {str(sender): inbox.taken(self.ledger.mark) for sender, inbox in self.inboxes.items()}
        return Ahead(Loaded(self.ledger, self.offset, self._places.all, followed), self._snapshot_n, self._keys)
