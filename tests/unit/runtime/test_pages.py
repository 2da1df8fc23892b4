"""Pages and positions: tokens that mean one thing, and nothing else that is taken for one."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.api.session.v1 import session_service_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as pb
from tandem.core.errors import BAD_FIELD, BAD_PAGE_TOKEN, Rejected
from tandem.runtime import positions
from tandem.runtime.pages import DEFAULT_SIZE, MAX_SIZE, page_of
from tandem.runtime.positions import Position
from tests.support.budget import examples


def listing(token: str = "", size: int = 0, parent: str = "tenants/red") -> Any:
    return pb.ListQueuesRequest(parent=parent, page_token=token, page_size=size)


@given(st.sets(st.text("abc-", min_size=1, max_size=6), max_size=30), st.integers(1, 7))
def test_pages_together_are_the_whole_in_order(ids: set[str], size: int) -> None:
    there = {id_: id_.upper() for id_ in ids}
    seen: list[str] = []
    token = ""
    for _ in range(len(ids) + 1):
        shown, token = page_of(listing(token, size), "red").of(there)
        assert len(shown) <= size
        seen += shown
        if not token:
            break
    assert seen == [there[id_] for id_ in sorted(ids)]


def test_sizes_are_defaulted_and_clamped() -> None:
    assert page_of(listing(), "red").size == DEFAULT_SIZE
    assert page_of(listing(size=10**6), "red").size == MAX_SIZE
    with pytest.raises(Rejected) as caught:
        page_of(listing(size=-1), "red")
    assert caught.value.reason is BAD_FIELD


def test_a_token_is_bound_to_tenant_method_and_arguments() -> None:
    token = page_of(listing(), "red").token(("sales",))
    assert page_of(listing(token, 9), "red").after == ("sales",)
    others: list[tuple[Any, str]] = [
        (listing(token), "blue"),
        (listing(token, parent="tenants/blue"), "red"),
        (pb.ListAgentsRequest(parent="tenants/red", page_token=token), "red"),
        (session_service_pb2.ListContactsRequest(parent="tenants/red", page_token=token), "red"),
    ]
    for request, tenant in others:
        with pytest.raises(Rejected) as caught:
            page_of(request, tenant)
        assert caught.value.reason is BAD_PAGE_TOKEN


@given(st.text(max_size=50))
def test_no_text_is_taken_for_a_page_token(token: str) -> None:
    if token:
        with pytest.raises(Rejected):
            page_of(listing(token), "red")


_PARTS = st.one_of(st.text(max_size=3), st.integers(-(2**63), 2**64 - 1), st.booleans(), st.none(), st.binary())


@given(st.lists(_PARTS, max_size=4), st.sampled_from([(str,), (int,), (int, str), (int, int, str)]))
@examples(100)
def test_a_forged_token_whose_key_does_not_fit_is_refused(key: list[Any], shape: tuple[type, ...]) -> None:
    """The digest in a token is no secret: with it anybody can make one."""
    bound = page_of(listing(), "red").bound
    body = msgspec.msgpack.encode((bound, *key))
    request = listing(base64.urlsafe_b64encode(body).decode().rstrip("="))
    fits = tuple(map(type, key)) == shape and all(type(part) is not int or abs(part) < 2**63 for part in key)
    if fits:
        assert page_of(request, "red", shape=shape).after == tuple(key)
        return
    with pytest.raises(Rejected) as caught:
        page_of(request, "red", shape=shape)
    assert caught.value.reason is BAD_PAGE_TOKEN


@given(st.from_regex(r"[a-z_]{1,32}", fullmatch=True), st.integers(0, 9999), st.integers(0, 10**14))
def test_a_position_reads_the_same(group: str, shard: int, n: int) -> None:
    position = Position(group, shard, n)
    assert positions.decode(positions.encode(position)) == position


@given(st.text(max_size=120))
def test_no_text_is_taken_for_a_position(token: str) -> None:
    try:
        position = positions.decode(token, "where")
    except Rejected as error:
        assert list(error.metadata) == ["where"]
    else:
        assert positions.encode(position).rstrip("=") == token.rstrip("=")
