"""A push to an OpenTelemetry collector: spans in batches, metrics every few seconds.

All network work is done by daemon threads behind bounded queues. A collector that is slow, away
or broken costs what it does not take, and nothing else: no call waits for it and no process
stays for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tandem.runtime.telemetry.meters import Family
from tandem.runtime.telemetry.names import Kind
from tandem.runtime.telemetry.spans import Spans

SPANS_MAX = 8_192
"""Spans that wait for the collector: some seconds of 20 traced contacts/s, about 16 MB."""
BATCH = 512
DELAY_MS = 1_000
"""A span is on its way after so long at the latest."""
EXPORT_S = 5
"""A collector that does not answer within this is taken for away."""
CLOSE_S = 2.0
"""How long a process that ends waits for its last spans to be taken."""

_SCOPE = InstrumentationScope("tandem")
_CUMULATIVE = sdk.AggregationTemporality.CUMULATIVE


class Push:
    """Both exporters of a process. `endpoint` is http://HOST:PORT, or https:// for TLS by the
    host's authorities. `spans_failed` and `metrics_failed` count what was not taken."""

    def __init__(self, endpoint: str, process: Mapping[str, str]) -> None:
        """`process` says whose telemetry it is, in OpenTelemetry's words."""
        # The exporters say in two lines a second that a collector is away; two metrics say it better.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._resource = Resource(process)
        self._traces = _Counting(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_S))
        self._batches = BatchSpanProcessor(
            self._traces, max_queue_size=SPANS_MAX, schedule_delay_millis=DELAY_MS, max_export_batch_size=BATCH
        )
        self.spans = Spans(self._batches, self._resource)
        self.metrics_failed = 0
        self._metrics = OTLPMetricExporter(endpoint=endpoint, timeout=EXPORT_S)
        self._waiting: queue.Queue[MetricsData] = queue.Queue(maxsize=1)
        threading.Thread(target=self._export, name="otlp-metrics", daemon=True).start()

    @property
    def spans_failed(self) -> int:
        """Spans that the collector did not take."""
        return self._traces.failed

    def metrics(self, families: list[Family], begun_ns: int, now_ns: int) -> None:
        """Hand over all metrics; if the last ones are still waiting, these are left out."""
        try:
            self._waiting.put_nowait(metrics_data(families, self._resource, begun_ns, now_ns))
        except queue.Full:
            self.metrics_failed += 1

    def close(self) -> None:
        """Let the collector have the last spans, for `CLOSE_S` at most."""
        closing = threading.Thread(target=self._close, name="otlp-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _close(self) -> None:
        self._batches.shutdown()  # type: ignore[no-untyped-call]
        self._metrics.shutdown()

    def _export(self) -> None:
        while True:
            if self._metrics.export(self._waiting.get()) is not MetricExportResult.SUCCESS:
                self.metrics_failed += 1


class _Counting(SpanExporter):
    """Counts the spans that were not taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()


def metrics_data(families: list[Family], resource: Resource, begun_ns: int, now_ns: int) -> MetricsData:
    """The families as the SDK's exporter takes them; counters count since `begun_ns`."""
    metrics = [sdk.Metric(f.metric.name, f.metric.doc, f.metric.unit, _points(f, begun_ns, now_ns)) for f in families]
    scope = sdk.ScopeMetrics(_SCOPE, metrics, "")
    return MetricsData([sdk.ResourceMetrics(resource, [scope], "")])


def _points(family: Family, begun_ns: int, now_ns: int) -> sdk.Sum | sdk.Gauge | sdk.Histogram:
    metric = family.metric
    if metric.kind is Kind.HISTOGRAM:
        rows = [
            sdk.HistogramDataPoint(
                _named(metric.labels, labels),
                begun_ns,
                now_ns,
                sum(row.counts),
                row.total,
                tuple(row.counts),
                row.bounds,
                # The least and the greatest are not kept: optional in the protocol, if not for the SDK's types.
                min=None,  # type: ignore[arg-type]
                max=None,  # type: ignore[arg-type]
            )
            for labels, row in family.histograms.items()
        ]
        return sdk.Histogram(rows, _CUMULATIVE)
    points = [
        sdk.NumberDataPoint(_named(metric.labels, labels), begun_ns, now_ns, value)
        for labels, value in family.values.items()
    ]
    if metric.kind is Kind.COUNTER:
        return sdk.Sum(points, _CUMULATIVE, is_monotonic=True)
    return sdk.Gauge(points)


def _named(labels: tuple[str, ...], values: tuple[str, ...]) -> Mapping[str, str]:
    return dict(zip(labels, values, strict=True))
