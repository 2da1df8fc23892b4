"""Folds a partition again, apart from its owner, and compares with what the owner wrote (rule 7).

The hash of the state is worked out here after each commit that may have been hashed, and
compared with every one that the log names; at the end the sum is compared with all rows
digested anew. What was committed after the last recorded hash is folded and not compared.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tandem.core.commit import Commit
from tandem.core.ports.log import Partition, Stored
from tandem.internal.log.v1 import log_pb2
from tandem.runtime import log_codec
from tandem.runtime.ledger import STATE_HASHED, Ledger
from tandem.runtime.redecide import Again, Redecide
from tandem.runtime.service import Group
from tandem.runtime.statehash import Point, total

POINTS_KEPT = 1024
"""Hashes worked out and not named by the log yet; an owner names one within a minute or never."""
MAX_FAULTS = 20
"""Told of one fold; the rest is counted."""
TELL_EVERY = 5_000
"""Records between two words of progress."""


@dataclass(slots=True)
class Verdict:
    """What one fold of a partition gave."""

    partition: Partition
    whence: str
    records: int = 0
    commits: int = 0
    compared: int = 0  # recorded hashes that were worked out anew
    other_schema: int = 0  # hashes of a release that wrote states otherwise
    unhashed: int = 0  # commits after the last hash that was compared
    faults: list[str] = field(default_factory=list)
    more_faults: int = 0
    again: Again | None = None  # what deciding again gave

    def fault(self, text: str) -> None:
        """Something is wrong."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text)
        else:
            self.more_faults += 1

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


class Fold:
    """One fold of a partition: from zero, or from a ledger that stands somewhere in the log."""

    def __init__(
        self, group: Group, partition: Partition, ledger: Ledger | None = None, redecide: Redecide | None = None
    ) -> None:
        self.ledger = ledger or Ledger(group)
        self._group, self._redecide = group, redecide
        self._first = self.ledger.arbiter.n
        self._points: OrderedDict[int, bytes] = OrderedDict()
        self.verdict = Verdict(partition, f"from commit {self._first}" if self._first else "from zero")

    def run(self, records: Iterable[Stored]) -> Iterator[int]:
        """Fold them all; yields how many are done from time to time. Ends at the first that cannot be folded."""
        verdict = self.verdict
        for stored in records:
            try:
                self._record(stored)
            except Exception as error:  # noqa: BLE001 - whatever a damaged record raises is what is told of it
                why = f"{error}: {error.__cause__}" if error.__cause__ is not None else str(error)
                verdict.fault(f"offset {stored.offset} cannot be folded: {type(error).__name__}: {why}")
                return
            verdict.records += 1
            if verdict.records % TELL_EVERY == 0:
                yield verdict.records
        self._end()
        yield verdict.records

    def _record(self, stored: Stored) -> None:
        record = log_codec.decode(stored.body)
        counts = self.ledger.arbiter.counts(record)
        if counts and isinstance(record, Commit):
            self._compare(record)
        self.ledger.fold(record)
        if counts and self._redecide is not None:
            self._redecide.take(record, self.ledger)
        if counts and isinstance(record, Commit):
            self.verdict.commits += 1
            self.verdict.unhashed += 1
            if self.ledger.hash.due:
                for _ in self.ledger.hash.work(self.ledger.row):
                    pass
                self._points[record.n] = self.ledger.hash.written
                if len(self._points) > POINTS_KEPT:
                    self._points.popitem(last=False)

    def _compare(self, commit: Commit) -> None:
        for envelope in commit.events:
            if envelope.type != STATE_HASHED:
                continue
            said = log_pb2.StateHashed.FromString(envelope.part.clear)
            if said.schema != self._group.canonical.schema:
                self.verdict.other_schema += 1
            elif said.n in self._points:
                self.verdict.compared += 1
                self.verdict.unhashed = commit.n - 1 - said.n
                if said.hash != self._points[said.n]:
                    mine = self._points[said.n].hex()
                    self.verdict.fault(
                        f"after commit {said.n} the owner's state hashed to {said.hash.hex()}, this to {mine}"
                    )
            elif said.n > self._first:
                self.verdict.fault(f"a hash of commit {said.n}, at which none is due")

    def _end(self) -> None:
        """The sum that went along is that of all rows."""
        ledger = self.ledger
        ledger.hash.reached(Point(ledger.arbiter.n, ledger.head(), ledger.moment()), ledger.row)
        for _ in ledger.hash.work(ledger.row):
            pass
        if ledger.hash.value != total(ledger.parts()):
            self.verdict.fault("rows changed that were not said to change: the hash that went along is not the state's")
        if self._redecide is not None:
            self.verdict.again = self._redecide.again
            for fault in self._redecide.again.faults:
                self.verdict.fault(fault)
