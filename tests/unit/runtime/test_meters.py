"""Counting: sums, bounds, and no more series than are good."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tandem.runtime.telemetry import meters as module
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Histogram, Meters, Reading
from tandem.runtime.telemetry.names import Kind
from tandem.runtime.telemetry.text import exposition


def samples(meters: Meters) -> dict[tuple[str, tuple[str, ...]], float]:
    """What Prometheus reads."""
    families = text_string_to_metric_families(exposition(meters).decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def test_counts_and_readings_of_the_same_labels_add_up():
    meters = Meters()
    meters.count(names.CONTACTS_STARTED, "red")
    meters.count(names.CONTACTS_STARTED, "red", by=2)
    meters.watch(lambda: [Reading(names.CONTACTS, 3, ("red", "talking"))])
    meters.watch(
        lambda: [Reading(names.CONTACTS, 4, ("red", "talking")), Reading(names.CONTACTS, 1, ("red", "waiting"))]
    )
    found = samples(meters)
    assert found["tandem_contacts_started_total", ("red",)] == 3
    assert found["tandem_contacts", ("red", "talking")] == 7
    assert found["tandem_contacts", ("red", "waiting")] == 1


def test_the_oldest_wait_of_two_shards_is_the_older():
    meters = Meters()
    meters.watch(lambda: [Reading(names.QUEUE_OLDEST, 3, ("red", "sales"))])
    meters.watch(lambda: [Reading(names.QUEUE_OLDEST, 2, ("red", "sales"))])
    assert samples(meters)["tandem_queue_oldest_wait_seconds", ("red", "sales")] == 3


def test_a_histogram_counts_a_bound_itself_as_below_it():
    meters = Meters()
    row = meters.histogram(names.STEP, "live")
    for value in (0.0001, 0.0002, 0.00021, 7.0):
        row.observe(value)
    found = samples(meters)
    by_bound = {labels[1]: value for (name, labels), value in found.items() if name == "tandem_step_seconds_bucket"}
    assert (by_bound["0.0001"], by_bound["0.0002"], by_bound["0.0005"]) == (1, 2, 3)
    assert (by_bound["2"], by_bound["+Inf"]) == (3, 4)
    assert found["tandem_step_seconds_count", ("live",)] == 4
    assert found["tandem_step_seconds_sum", ("live",)] == pytest.approx(7.00051)


def test_label_values_without_end_become_one(monkeypatch):
    monkeypatch.setattr(module, "SERIES_MAX", 3)
    meters = Meters()
    for number in range(10):
        meters.count(names.MEDIA_REFUSED, f"reason-{number}")
        meters.histogram(names.CONTACT_WAIT, f"tenant-{number}").observe(1)
    meters.watch(lambda: [Reading(names.CONTACTS, 1, (f"tenant-{n}", "waiting")) for n in range(10)])
    found = samples(meters)
    refused = {labels: value for (name, labels), value in found.items() if name == "tandem_media_calls_refused_total"}
    assert refused == {("reason-0",): 1, ("reason-1",): 1, ("reason-2",): 1, ("other",): 7}
    assert found["tandem_contact_wait_seconds_count", ("other",)] == 7
    assert found["tandem_contacts", ("other", "other")] == 7
    assert found["tandem_series_folded_total", ("tandem_media_calls_refused_total",)] == 7


def test_a_source_that_fails_hides_no_other():
    meters = Meters()

    def broken() -> list[Reading]:
        raise KeyError("a bug")

    meters.watch(broken)
    meters.watch(lambda: [Reading(names.REGISTRATIONS, 5)])
    found = samples(meters)
    assert found["tandem_media_registrations", ()] == 5
    assert found["tandem_metric_sources_failed_total", ()] == 1


def test_a_source_is_asked_until_it_is_taken_away():
    meters = Meters()

    def source() -> list[Reading]:
        return [Reading(names.REGISTRATIONS, 1)]

    meters.watch(source)
    assert samples(meters)
    meters.unwatch(source)
    meters.unwatch(source)
    assert not samples(meters)


def test_texts_of_peers_are_escaped():
    meters = Meters()
    nasty = 'a"b\\c\nd} 9\n# HELP'
    meters.count(names.MEDIA_REFUSED, nasty)
    assert samples(meters)["tandem_media_calls_refused_total", (nasty,)] == 1


def test_an_adopted_histogram_shows_what_its_keeper_counts():
    meters, row = Meters(), Histogram(names.RTP_TICK_DELAY.bounds)
    meters.adopt(names.RTP_TICK_DELAY, row)
    row.observe(0.003)
    assert samples(meters)["tandem_rtp_send_delay_seconds_count", ()] == 1


def test_labels_must_be_those_that_are_declared():
    with pytest.raises(ValueError, match="tandem_contacts_started_total"):
        Meters().count(names.CONTACTS_STARTED)


def test_declared_names_are_as_prometheus_wants_them():
    for name, metric in names.METRICS.items():
        assert name.startswith("tandem_")
        assert name.endswith("_total") is (metric.kind is Kind.COUNTER), name
        assert bool(metric.bounds) is (metric.kind is Kind.HISTOGRAM), name
        assert list(metric.bounds) == sorted(set(metric.bounds)), name
        assert metric.doc.endswith("."), name
