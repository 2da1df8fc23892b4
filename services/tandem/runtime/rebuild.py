"""A mutable state folded anew, alone, after an exception left it half changed (spine 2).

The log is whole: what could not be folded is not in it, or is where this fold stops.
"""

from __future__ import annotations

from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Commit, Record
from tandem.runtime.ledger import OF_THE_RUNTIME, STEPPED, Ledger
from tandem.runtime.service import Group, kind_of


class Refold:
    """One aggregate up to version `sound`, from a snapshot's ledger or from the beginning. Give it
    every record behind the snapshot; `done` when there is nothing more to take."""

    def __init__(self, group: Group, tenant: str, stream: str, sound: int, ledger: Ledger | None = None) -> None:
        self._service = group.service_of[kind_of(stream)]
        self._kind = group.kinds[kind_of(stream)]
        self._place, self._sound = (tenant, stream), sound
        self._judge = ledger.arbiter if ledger else Arbiter()
        held = ledger.aggregate(tenant, stream) if ledger else None
        self.state: Any = held.state if held else self._kind.start()
        self._version = held.version if held else 0

    @property
    def done(self) -> bool:
        """Whether the state is what it was at `sound`."""
        return self._version >= self._sound

    def take(self, record: Record) -> bool:
        """Fold the next record; whether it is done. Raises what `evolve` raises."""
        if self._judge.counts(record):
            self._judge = self._judge.after(record)
            if isinstance(record, Commit):
                self._fold(record)
        return self.done

    def _fold(self, commit: Commit) -> None:
        for envelope in commit.events:
            ours = (envelope.tenant, envelope.stream) == self._place and envelope.type != STEPPED
            if ours and self._version < envelope.version <= self._sound:
                if envelope.type not in OF_THE_RUNTIME:
                    self.state = self._kind.evolve(self.state, self._service.events.decode(envelope.part))
                self._version = envelope.version
