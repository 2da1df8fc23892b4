"""Kill points that can be armed while the process runs."""

from __future__ import annotations

from tandem.core.points import Point, Points


class Died(BaseException):
    """A process is killed here. No `Exception`: nobody may catch it."""


class Trap(Points):
    """Counts passes; at an armed one the process dies."""

    def __init__(self) -> None:
        super().__init__()
        self._armed: dict[Point, int] = {}

    def arm(self, point: Point, nth: int) -> None:
        """Die at the nth pass of `point` from now on."""
        self._armed[point] = nth

    def disarm(self) -> None:
        """Die at no point."""
        self._armed.clear()

    def reach(self, point: Point) -> None:
        """See `Points`."""
        super().reach(point)
        if point in self._armed:
            self._armed[point] -= 1
            if not self._armed[point]:
                del self._armed[point]
                raise Died
