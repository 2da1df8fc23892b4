"""Whole spans, into a bounded queue that a thread of the SDK empties.

A span is made when what it shows is over, out of data that is there anyway, so nothing is kept
open for it; its ids are derived (`core.trace`). For what is not traced nothing is made at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from tandem.core import trace

Attributes = Mapping[str, str | int | bool | tuple[str, ...]]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("tandem")


class Sink(Protocol):
    """Where spans go: `opentelemetry.sdk.trace.SpanProcessor`, of which this is all we use."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that is over; never blocks."""
        ...


class Spans:
    """Makes spans for one process; `resource` says which."""

    def __init__(self, sink: Sink, resource: Resource) -> None:
        self._sink, self._resource = sink, resource

    def add(
        self,
        name: str,
        context: str,
        parent: str,
        begun_ns: int,
        ended_ns: int,
        attributes: Attributes,
        *,
        failed: bool = False,
        server: bool = False,
    ) -> None:
        """A span that is over. `context` is its own, `parent` that of the span above it, "" for
        none. Times are Unix nanoseconds; one that ended before it began has no length. `server`:
        it answers somebody outside."""
        self._sink.on_end(
            ReadableSpan(
                name,
                _context(context),
                _context(parent) if parent else None,
                self._resource,
                attributes,
                kind=SpanKind.SERVER if server else SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=begun_ns,
                end_time=max(begun_ns, ended_ns),
                instrumentation_scope=_SCOPE,
            )
        )


def _context(text: str) -> SpanContext:
    return SpanContext(
        int(trace.trace_id(text), 16), int(trace.span_id(text), 16), is_remote=False, trace_flags=_SAMPLED
    )
