"""Who does the effects of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tandem.runtime.outputs import Perform, Taken

if TYPE_CHECKING:
    from tandem.runtime.driver import ShardDriver


class Receiver(Protocol):
    """Does the effects of one kind, and brings the inputs that come of them."""

    def introduce(self, driver: ShardDriver, node: str, epoch: int) -> None:
        """The shard is ours under this epoch: say so to the node."""
        ...

    def perform(self, driver: ShardDriver, order: Perform) -> None:
        """Begin a durable effect."""
        ...

    def taken(self, driver: ShardDriver, taken: Taken) -> None:
        """A numbered source's mark is durable."""
        ...

    def ask_legs(self, driver: ShardDriver, node: str) -> None:
        """See `outputs.AskLegs`."""
        ...

    def dropped(self, driver: ShardDriver, why: str) -> None:
        """The shard is not ours any more. Idempotent."""
        ...
