"""How far a run of seeds has come, how fast it goes, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable

from tandem.simulation.outcome import Result


class Pace:
    """Told of each seed that is over. Time in which a cell only comes to rest does not count as simulated."""

    def __init__(self, seeds: int, minutes: int, clock_s: Callable[[], float]) -> None:
        self._seeds, self._minutes, self._clock_s = seeds, minutes, clock_s
        self._begun_s = clock_s()
        self._over = self._failed = 0
        self._cpu_s = 0.0

    def over(self, result: Result) -> None:
        """Another seed."""
        self._over += 1
        self._failed += bool(result.violation)
        self._cpu_s += result.cpu_s

    @property
    def _took_s(self) -> float:
        return self._clock_s() - self._begun_s

    def so_far(self) -> str:
        """For a line that is written over."""
        left_s = self._took_s * (self._seeds - self._over) / max(1, self._over)
        return (
            f"{self._over} of {self._seeds} seeds, {self._failed} failed, "
            f"{self._times(self._took_s):.0f} times real time, {_length(left_s)} left"
        )

    def at_the_end(self) -> str:
        """What the run took."""
        return (
            f"took {_length(self._took_s)}: {self._times(self._took_s):.0f} times real time, "
            f"{self._times(self._cpu_s):.0f} times a core"
        )

    def _times(self, took_s: float) -> float:
        return self._over * self._minutes * 60 / max(took_s, 0.01)


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
