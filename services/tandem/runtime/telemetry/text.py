"""Metrics as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator

from tandem.runtime.telemetry.meters import Family, Histogram, Labels, Meters
from tandem.runtime.telemetry.names import Kind

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(meters: Meters) -> bytes:
    """The body of `/metrics`."""
    return "".join(line + "\n" for family in meters.read() for line in _lines(family)).encode()


def _lines(family: Family) -> Iterator[str]:
    metric = family.metric
    doc = metric.doc.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {metric.name} {doc}"
    yield f"# TYPE {metric.name} {metric.kind.value}"
    if metric.kind is Kind.HISTOGRAM:
        for labels, row in family.histograms.items():
            yield from _histogram(metric.name, metric.labels, labels, row)
    else:
        for labels, value in family.values.items():
            yield f"{metric.name}{_named(metric.labels, labels)} {_number(value)}"


def _histogram(name: str, named: Labels, labels: Labels, row: Histogram) -> Iterator[str]:
    below = 0
    for bound, count in zip((*map(_number, row.bounds), "+Inf"), row.counts, strict=True):
        below += count
        yield f"{name}_bucket{_named((*named, 'le'), (*labels, bound))} {below}"
    yield f"{name}_sum{_named(named, labels)} {_number(row.total)}"
    yield f"{name}_count{_named(named, labels)} {below}"


def _named(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
