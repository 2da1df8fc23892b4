"""Counting: plain objects on the event loop's thread.

What happens often is counted where it happens (`count`, `observe`); what can be looked up is
read when somebody asks (`watch`). A metric has at most `SERIES_MAX` combinations of label
values; what is new beyond them is counted under `other`, so that no tenant and no peer can make
a metric grow without end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.names import Metric

_log = structlog.get_logger(__name__)

SERIES_MAX = 1_000
"""Label combinations of a metric; beyond it a collector costs more than what it tells is worth."""
OTHER = "other"
"""Label value of everything beyond them."""

Labels = tuple[str, ...]


class Reading(NamedTuple):
    """A value that was looked up. For a counter it is the whole count so far."""

    metric: Metric
    value: float
    labels: Labels = ()


class Histogram:
    """Counts of values by bound; the last count is of those above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Family:
    """A metric with all its values, to be written out. `values` are of counters and gauges."""

    metric: Metric
    values: dict[Labels, float] = field(default_factory=dict)
    histograms: dict[Labels, Histogram] = field(default_factory=dict)


Source = Callable[[], Iterable[Reading]]


class Meters:
    """All metrics of a process. Not for other threads than the loop's."""

    def __init__(self) -> None:
        self._counts: dict[Metric, dict[Labels, float]] = {}
        self._histograms: dict[Metric, dict[Labels, Histogram]] = {}
        self._sources: dict[Source, None] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        counts = self._counts.get(metric)
        if counts is None:
            counts = self._counts[metric] = {}
        if labels not in counts:
            labels = self._bounded(metric, labels, len(counts))
        counts[labels] = counts.get(labels, 0) + by

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        """The histogram of these label values, to be kept by who observes often."""
        rows = self._histograms.setdefault(metric, {})
        if labels not in rows:
            labels = self._bounded(metric, labels, len(rows))
        found = rows.get(labels)
        if found is None:
            found = rows[labels] = Histogram(metric.bounds)
        return found

    def adopt(self, metric: Metric, histogram: Histogram, *labels: str) -> None:
        """Show a histogram that somebody else keeps."""
        self._histograms.setdefault(metric, {})[labels] = histogram

    def watch(self, source: Source) -> None:
        """Ask `source` whenever metrics are read."""
        self._sources[source] = None

    def unwatch(self, source: Source) -> None:
        """Ask it no more. Idempotent."""
        self._sources.pop(source, None)

    def read(self) -> list[Family]:
        """All that there is now, by name. A source that fails is left out, counted and logged."""
        families: dict[Metric, Family] = {}
        for source in list(self._sources):
            try:
                for metric, value, labels in source():
                    self._take(families.setdefault(metric, Family(metric)), value, labels)
            except Exception as error:  # noqa: BLE001 - one broken source must not hide the others
                self.count(names.SOURCES_FAILED)
                _log.error(names.SOURCE_FAILED, error=type(error).__name__)
        for metric, counts in self._counts.items():
            values = families.setdefault(metric, Family(metric)).values
            for labels, value in counts.items():
                values[labels] = values.get(labels, 0) + value
        for metric, rows in self._histograms.items():
            families.setdefault(metric, Family(metric)).histograms.update(rows)
        return sorted(families.values(), key=lambda family: family.metric.name)

    def _take(self, family: Family, value: float, labels: Labels) -> None:
        """Readings of the same labels add up: two shards know contacts of one tenant."""
        if labels not in family.values:
            labels = self._bounded(family.metric, labels, len(family.values))
        if family.metric is names.QUEUE_OLDEST:
            family.values[labels] = max(family.values.get(labels, 0), value)
        else:
            family.values[labels] = family.values.get(labels, 0) + value

    def _bounded(self, metric: Metric, labels: Labels, have: int) -> Labels:
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}, not {len(labels)} of them")
        if have < SERIES_MAX or metric is names.SERIES_DROPPED:
            return labels
        self.count(names.SERIES_DROPPED, metric.name)
        return (OTHER,) * len(labels)
