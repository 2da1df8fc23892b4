"""One trace of a real call, through the death of the control plane; metrics of both processes; and
nothing private in any of it, nor in a log line."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tandem.client.account import Account
from tandem.client.manner import Answers
from tandem.client.phone import Phone
from tandem.client.ticker import Ticker
from tandem.core import trace
from tandem.runtime.telemetry import names
from tests.e2e.cell import Cell, Centre
from tests.support.collector import Collector, Span, collector

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def scraped(url: str) -> tuple[Samples, str]:
    """What a scraper reads there: by sample name, then by labels; and the text."""
    answer = httpx.get(url)
    assert answer.status_code == 200, answer.text
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found, answer.text


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    rows = samples.get(name, {})
    return sum(value for given, value in rows.items() if set(labels.items()) <= set(given))


def node_metrics(cell: Cell) -> str:
    """Where the media node serves them."""
    place = json.loads((cell.data_dir / "run" / "media-metrics.json").read_text())
    return str(place["metrics"])


def has(sent: Collector, contact: str, *wanted: str) -> bool:
    """Whether the contact's trace has spans of all these names."""
    found = trace.trace_id(trace.begin(contact, 1.0))
    return set(wanted) <= {span.name for span in sent.trace(found)}


def check_tree(spans: list[Span], contact: str, node: str = "m1") -> None:
    """The tree of a call that was answered."""
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans), "an id twice"
    (root,) = (span for span in spans if not span.parent)
    assert (root.name, root.attributes["tandem.contact"]) == (names.CONTACT_SPAN, contact)
    assert all(span.parent in by_id for span in spans if span is not root), "a parent that never came"

    def above(name: str) -> set[str]:
        return {by_id[span.parent].name for span in spans if span.name == name}

    for name in (names.ARRIVAL_SPAN, names.DECIDE_SPAN, names.WAIT_SPAN, names.RING_SPAN, names.TALK_SPAN):
        assert above(name) == {names.CONTACT_SPAN}, name
    assert above(names.RECORDING_SPAN) == {names.CONTACT_SPAN}
    assert above(names.APPEND_SPAN) == {names.DECIDE_SPAN}
    assert names.DECIDE_SPAN in above(names.EFFECT_SPAN) <= {names.DECIDE_SPAN, names.CONTACT_SPAN}
    assert above(names.COMMAND_SPAN) <= {names.EFFECT_SPAN}
    for span in spans:
        assert set(span.attributes) <= {*names.SPANS[span.name].attributes, "tandem.tenant"}, span.name
        assert span.begun_ns <= span.ended_ns
    verbs = {span.attributes["tandem.verb"] for span in spans if span.name == names.EFFECT_SPAN}
    assert {"Answer", "Collect", "Originate", "Bridge", "RecordStart"} <= verbs
    commanded = {span.attributes["tandem.verb"] for span in spans if span.name == names.COMMAND_SPAN}
    assert {"Answer", "Originate", "Bridge"} <= commanded
    events = {type_ for span in spans if span.name == names.DECIDE_SPAN for type_ in span.attributes["tandem.events"]}
    assert {
        "contact.started",
        "contact.queued",
        "contact.connected",
        "contact.disconnected",
        "recording.kept",
    } <= events
    assert {span.process["tandem.target"] for span in spans} == {"all", "media"}


async def check_client_trace(cell: Cell, centre: Centre, sent: Collector) -> None:
    """A client's own trace goes on in what is decided for it; one that is not sampled does not."""
    path = f"{cell.base_url}/v1/{centre.agents['ann'].name}:setPresence"
    for flags, presence in (("00", "PRESENCE_AVAILABLE"), ("01", "PRESENCE_BREAK")):
        context = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{flags}"
        headers = {"authorization": f"Bearer {centre.key}", "traceparent": context}
        async with httpx.AsyncClient() as client:
            answer = await client.post(path, json={"presence": presence}, headers=headers)
        assert answer.status_code == 200, answer.text
    await asyncio.to_thread(sent.wait, lambda: len(sent.trace(trace.trace_id(context))) == 3)
    by_name = {span.name: span for span in sent.trace(trace.trace_id(context))}
    assert by_name[names.API_SPAN].parent == trace.span_id(context)
    assert by_name[names.API_SPAN].attributes["rpc.method"].endswith("/SetPresence")
    assert by_name[names.DECIDE_SPAN].parent == by_name[names.API_SPAN].id
    assert "agent.presence_set" in by_name[names.DECIDE_SPAN].attributes["tandem.events"]
    assert {span.trace for span in sent.spans if span.name == names.API_SPAN} == {trace.trace_id(context)}


@pytest.fixture
def sent(own_cell: Cell):
    """A collector that the cell's processes push to."""
    with collector() as found:
        own_cell.set(
            telemetry__otlp_endpoint=found.endpoint, telemetry__push_interval_s=1, telemetry__log_format="json"
        )
        yield found


async def call_through_a_takeover(cell: Cell, centre: Centre, sent: Collector, caller: str) -> str:
    """A caller is connected, the control plane dies, another one sees the end. The contact's id."""
    ticker = Ticker()
    account = centre.agents["ann"]
    at = ("127.0.0.1", cell.sip_port)
    desk = Phone(Account(account.sip_user, at, account.password), ticker, manner=Answers(0.1))
    phone = Phone(Account(caller, at, ""), ticker)
    try:
        await desk.register()
        await centre.available("ann")
        call = phone.dial(centre.number)
        await call.until_answered()
        await call.until_sound()
        call.press("1")
        await desk.next_call()
        while (contact := (await centre.the_contact()))["state"] != "STATE_TALKING":
            await asyncio.sleep(0.1)
        id_ = str(contact["name"].rpartition("/")[2])
        await asyncio.to_thread(sent.wait, lambda: has(sent, id_, names.RING_SPAN, names.WAIT_SPAN))
        await asyncio.to_thread(cell.kill_control)
        cell.start_control()
        await asyncio.to_thread(cell.wait_ready)
        phone.hang_up(call)
        await asyncio.to_thread(
            sent.wait, lambda: has(sent, id_, names.CONTACT_SPAN, names.TALK_SPAN, names.RECORDING_SPAN)
        )
        return id_
    finally:
        phone.vanish()
        desk.vanish()


async def test_a_call_is_one_trace_even_through_a_takeover(own_cell: Cell, sent: Collector) -> None:
    own_cell.start()
    caller = f"4915799{secrets.randbelow(10**8):08}"
    name = f"Ottilie Grabowsky {secrets.token_hex(6)}"
    async with own_cell.centre("ann") as centre:
        await centre.rest.patch(centre.agents["ann"].name, {"displayName": name}, updateMask="displayName")
        contact = await call_through_a_takeover(own_cell, centre, sent, caller)
        trace_id = trace.trace_id(trace.begin(contact, 1.0))
        sent.wait(lambda: any("recording.kept" in s.attributes.get("tandem.events", ()) for s in sent.trace(trace_id)))
        spans = sent.trace(trace_id)
        check_tree(spans, contact)
        owners = {span.process["service.instance.id"] for span in spans if span.process["tandem.target"] == "all"}
        assert len(owners) == 2, "the successor went on in the same trace"
        assert {span.trace for span in sent.spans if span.name == names.CONTACT_SPAN} == {trace_id}

        await check_client_trace(own_cell, centre, sent)
        while "tandem_agents" not in (control := scraped(f"{own_cell.base_url}/metrics")[0]):
            await asyncio.sleep(0.2)  # they are counted every few seconds
        control, control_text = scraped(f"{own_cell.base_url}/metrics")
        node, node_text = scraped(node_metrics(own_cell))
        tenant = centre.tenant.partition("/")[2]
        assert total(control, "tandem_contacts_ended_total", tenant=tenant, outcome="HANDLED") == 1
        assert total(control, "tandem_takeover_seconds_count", group="live") == 4
        assert total(control, "tandem_shard_live") == 12
        assert total(control, "tandem_append_seconds_count") == total(control, "tandem_commits_total") > 0
        assert total(control, "tandem_api_requests_total", code="OK") > 0
        assert total(control, "tandem_queue_length", tenant=tenant) == 0
        assert total(node, "tandem_media_calls_total") == 1
        assert total(node, "tandem_media_registrations") == 1
        if own_cell.switch is None:
            assert total(node, "tandem_rtp_packets_total", direction="in") > 0
            assert total(node, "tandem_rtp_packets_total", direction="out") > 0
            assert total(node, "tandem_sip_messages_total", direction="in", kind="INVITE") == 1
            assert total(node, "tandem_sip_messages_total", direction="out", kind="INVITE") >= 1
        else:
            assert total(node, "tandem_freeswitch_ready") == 1
        shown = {
            name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in {**control, **node}
        }
        assert shown <= set(names.METRICS)

        of_node = "tandem_rtp_packets_total" if own_cell.switch is None else "tandem_freeswitch_frames_total"
        sent.wait(lambda: {"tandem_contacts_ended_total", of_node} <= set(sent.metrics))
        unset = {name: (sent.metrics[name].unit, names.METRICS[name].unit) for name in sent.metrics}
        assert all(was == wanted for was, wanted in unset.values())

        lines = [json.loads(line) for line in own_cell.output.splitlines() if line.startswith("{")]
        (ended,) = (line for line in lines if line["event"] == names.CONTACT_ENDED_LINE)
        assert (ended["contact"], ended["trace"], ended["outcome"]) == (contact, trace_id, "HANDLED")
        everything = [control_text.encode(), node_text.encode(), own_cell.output.encode(), *sent.raw]
        password = centre.agents["ann"].password
        for private in (caller, name, password, centre.key):
            assert not [data for data in everything if private.encode() in data], "a private value"


async def test_without_a_collector_nothing_changes(own_cell: Cell, tmp_path: Path) -> None:
    """An endpoint where nobody listens: calls go on, and the process ends when it is asked to."""
    own_cell.set(telemetry__otlp_endpoint="http://127.0.0.1:9", telemetry__push_interval_s=1)
    own_cell.start()
    async with own_cell.centre("ann") as centre:
        phone = Phone(Account("anybody", ("127.0.0.1", own_cell.sip_port), ""), Ticker())
        try:
            call = phone.dial(centre.number)
            await call.until_answered()
            while total(scraped(f"{own_cell.base_url}/metrics")[0], "tandem_pushes_failed_total") == 0:
                await asyncio.sleep(0.2)
            assert (await centre.the_contact())["state"] != "STATE_ENDED"
            phone.hang_up(call)
        finally:
            phone.vanish()
