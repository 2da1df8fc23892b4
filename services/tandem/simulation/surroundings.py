"""What a control process needs of the cell around it, and whom it tells what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tandem.core.arbiter import Place
from tandem.core.errors import Rejected
from tandem.core.ports.log import Partition
from tandem.core.ports.media import Command
from tandem.runtime.outputs import Perform
from tandem.runtime.service import Group
from tandem.runtime.shard import Shard
from tandem.simulation.lines import Line
from tandem.simulation.simlog import SimLog

if TYPE_CHECKING:
    from tandem.simulation.owners import Process
    from tandem.simulation.seat import Seat


class Asker(Protocol):
    """Who asked: told of the answer, or that the owner is gone."""

    def told(self, value: Any, error: Rejected | None) -> None:
        """Once."""
        ...


class Surroundings(Protocol):
    """What a control process needs of the cell around it, and whom it tells what it does."""

    log: SimLog
    places: dict[tuple[Partition, Partition], Place]
    """(receiver, sender) -> where the sender's log may be taken from, as the newest snapshot would say."""

    def shard(self, group: Group, number: int, owner: str) -> Shard:
        """A new shard object, from nothing or from a snapshot."""
        ...

    def allocate(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Data keys. Raises OSError."""
        ...

    def keys(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Data keys that exist."""
        ...

    def keys_ms(self) -> int:
        """How long the keys take."""
        ...

    def dial(self, node: str, at_owner: tuple[Callable[[bytes], None], Callable[[str], None]]) -> Line | None:
        """A line to a node, None if it cannot be reached."""
        ...

    def redial_ms(self) -> int:
        """Pause before a node is dialled again."""
        ...

    def wants(self, process: Process, partition: Partition) -> bool:
        """Whether the process is the preferred owner."""
        ...

    def follows(self, group: str) -> Sequence[str]:
        """The groups whose messages a group takes."""
        ...

    def sent(self, seat: Seat, command: Command, again: bool) -> None:
        """A command leaves for a node."""
        ...

    def erase(self, seat: Seat, order: Perform) -> None:
        """An erasure is to be carried out."""
        ...

    def acked(self, seat: Seat, source: str, tenant: str, number: int) -> None:
        """An acknowledgement leaves for a node."""
        ...

    def reached(self, what: str) -> None:
        """A branch of the runtime was reached."""
        ...

    def fact(self, text: str) -> None:
        """For the story of a failing seed."""
        ...
