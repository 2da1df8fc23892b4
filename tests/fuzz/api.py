"""Fuzz targets: flow files, bodies and queries of the REST API, page tokens."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl

import msgspec

from tandem.api.recording.v1 import recording_service_pb2
from tandem.api.session.v1 import session_service_pb2
from tandem.api.tenant.v1 import tenant_service_pb2
from tandem.core.errors import BAD_PAGE_TOKEN, Rejected
from tandem.gateway.transcode import request_of, to_json
from tandem.runtime.methods import Method, methods_of
from tandem.runtime.pages import page_of
from tandem.tenant.module import flow_faults

PROMPTS = ("welcome", "menu", "music", "apology")
FAULTS_MAX = 20_000

METHODS: tuple[Method, ...] = tuple(
    method
    for file in (tenant_service_pb2, session_service_pb2, recording_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in methods_of(service)
    if not method.streams
)


def flow(data: bytes) -> None:
    """Every fault has a place and a sentence; the verdict is stable; faults do not grow without bound."""
    text = data.decode("utf-8", "replace")
    found = flow_faults(text, PROMPTS)
    assert flow_faults(text, PROMPTS) == found
    assert len(found) <= FAULTS_MAX
    for fault in found:
        assert fault.message and "\n" not in fault.message
        assert "Traceback" not in fault.message and "object at 0x" not in fault.message


def rest(data: bytes) -> None:
    """Refused with `Rejected`, or a request that survives JSON. Method, query and body are the input's."""
    if not data:
        return
    method = METHODS[data[0] % len(METHODS)]
    query, _, body = data[1:].partition(b"\n")
    pairs = (
        parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=50) if query.count(b"&") < 50 else []
    )
    try:
        request = request_of(method, body, pairs, {})
    except Rejected as refused:
        assert refused.reason.name if hasattr(refused.reason, "name") else refused.reason
        return
    wire = request.SerializeToString(deterministic=True)
    assert method.request.FromString(wire).SerializeToString(deterministic=True) == wire
    if method.route.body == "*":
        lowered = to_json(request)
        again = request_of(method, msgspec.json.encode(lowered), (), {})
        assert again == request, "as JSON and back, it is another request"


def page(data: bytes) -> None:
    """A page token is ours, or is refused with one reason; nothing else."""
    request = tenant_service_pb2.ListQueuesRequest(parent="tenants/red", page_token=data.decode("latin-1"))
    with suppress(Rejected):
        found = page_of(request, "red")
        if found.after is not None:
            assert len(found.after) > 0
        found.of({"a": 1, "b": 2})
    try:
        page_of(request, "red")
    except Rejected as refused:
        assert refused.reason is BAD_PAGE_TOKEN or refused.reason == BAD_PAGE_TOKEN
