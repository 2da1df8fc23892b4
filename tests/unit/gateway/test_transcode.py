"""JSON and query -> protobuf: both spellings, every well-known form, and no garbage that gets through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from tandem.api.recording.v1 import recording_service_pb2
from tandem.api.session.v1 import session_service_pb2
from tandem.api.tenant.v1 import tenant_service_pb2
from tandem.core.errors import BAD_FIELD, Rejected
from tandem.gateway.transcode import request_of, to_json
from tandem.runtime.methods import Method, methods_of

METHODS = {
    method.attribute: method
    for file in (tenant_service_pb2, session_service_pb2, recording_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in methods_of(service)
}
NAME = {"queue.name": "tenants/red/queues/sales"}


def made(
    method: str, body: Any = None, query: tuple[tuple[str, str], ...] = (), variables: dict[str, str] | None = None
) -> Any:
    """The request of a call."""
    content = b"" if body is None else json.dumps(body).encode()
    return request_of(METHODS[method], content, query, variables or {})


def test_both_spellings_are_one_field() -> None:
    camel = made("update_queue", {"displayName": "S", "ringTimeout": "1.5s"}, (("updateMask", "displayName"),), NAME)
    snake = made(
        "update_queue", {"display_name": "S", "ring_timeout": "1.5s"}, (("update_mask", "display_name"),), NAME
    )
    assert camel == snake
    assert camel.queue.ring_timeout.nanos == 500_000_000
    assert list(camel.update_mask.paths) == ["display_name"]


def test_the_path_wins_over_the_body() -> None:
    request = made("update_queue", {"name": "tenants/blue/queues/theirs"}, (), NAME)
    assert request.queue.name == "tenants/red/queues/sales"


def test_null_is_no_value() -> None:
    assert made("update_queue", {"displayName": None, "wrapUp": None}, (), NAME).queue.display_name == ""


def test_a_whole_body_carries_all_fields() -> None:
    request = made("publish_flow", {"etag": '"1"', "waitLive": True}, (), {"name": "tenants/red/flows/main"})
    assert (request.etag, request.wait_live, request.name) == ('"1"', True, "tenants/red/flows/main")


def test_a_query_may_hold_times_enums_and_numbers() -> None:
    query = (("life", "LIFE_LIVE"), ("startTime", "2026-01-31T12:00:00Z"), ("pageSize", "7"))
    request = made("list_contacts", None, query, {"parent": "tenants/red"})
    assert (request.life, request.page_size) == (session_service_pb2.ListContactsRequest.LIFE_LIVE, 7)
    assert request.start_time.seconds == 1769860800
    assert made("list_contacts", None, (("life", "1"),)).life == session_service_pb2.ListContactsRequest.LIFE_LIVE


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("life=LIFE_STYLE", "life"),
        ("pageSize=many", "page_size"),
        ("pageSize=99999999999", "page_size"),
        ("startTime=yesterday", "start_time"),
        ("nope=1", "nope"),
        ("start_time.seconds=1", "start_time.seconds"),
        ("=1", ""),
        ("parent.x=1", "parent.x"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(query: str, path: str) -> None:
    key, _, value = query.partition("=")
    with pytest.raises(Rejected) as caught:
        made("list_contacts", None, ((key, value),))
    assert list(caught.value.metadata) == [path]


def test_a_body_where_none_belongs_is_refused() -> None:
    with pytest.raises(Rejected, match="takes none"):
        made("get_queue", {"name": "x"}, (), {"name": "tenants/red/queues/sales"})


def test_answers_have_all_fields_in_camel_case() -> None:
    shown = to_json(tenant_service_pb2.ListQueuesResponse())
    assert shown == {"queues": [], "nextPageToken": ""}


def test_what_is_answered_can_be_sent_back() -> None:
    request = made("create_flow", {"steps": [{"id": "a", "answer": {"next": "b"}}, {"id": "b", "hangUp": {}}]})
    again = made("create_flow", to_json(request.flow))
    assert again.flow == request.flow


FIELDS = (
    "displayName display_name steps id menu options digit timeout tries queue skills name etag createTime "
    "publishedVersion answer next maxWait"
)
keys: Any = st.one_of(st.text(max_size=8), st.sampled_from(FIELDS.split()))
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, values, max_size=5))
def test_any_json_is_taken_or_refused_with_a_path(body: Any) -> None:
    try:
        request = made("create_flow", body)
    except Rejected as error:
        assert error.reason is BAD_FIELD
        assert error.metadata
    else:
        MessageToDict(request)  # what was taken can be shown


@given(st.binary(max_size=200), st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=4))
def test_any_bytes_and_any_query_are_taken_or_refused(content: bytes, query: list[tuple[str, str]]) -> None:
    for method in METHODS.values():
        try:
            request_of(method, content, query, {})
        except Rejected as error:
            assert error.reason is BAD_FIELD


def test_every_method_has_a_path_of_its_own() -> None:
    seen: dict[tuple[str, str], Method] = {}
    for method in METHODS.values():
        assert seen.setdefault((method.route.verb, method.route.path.pattern), method) is method
