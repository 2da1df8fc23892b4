"""Rates and streams of the public API: whose limit it is, when to come again, and that no table grows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.api.event.v1 import quota_pb2
from tandem.core.access import Principal, Role
from tandem.core.commit import Commit, Envelope, Part
from tandem.core.errors import API_RATE_EXCEEDED, STREAM_QUOTA_EXCEEDED, Rejected
from tandem.core.quota import Limits
from tandem.gateway.problems import answer
from tandem.runtime.limits import MAX_BUCKETS, ApiLimits, Rate
from tests.support.budget import examples

LIMITS = Limits(api_requests_per_s=10, api_burst=20, credential_requests_per_s=5, credential_burst=8, streams=2)


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def made(limits: Limits = LIMITS) -> tuple[ApiLimits, Clock]:
    clock = Clock()
    return ApiLimits(limits, Rate(2, 3), clock), clock


def key(name: str, tenant: str = "red") -> Principal:
    return Principal(tenant, f"{tenant}/{name}", Role.ADMIN)


def refused(limits: ApiLimits, principal: Principal) -> Rejected:
    with pytest.raises(Rejected) as error:
        limits.admit(principal)
    assert error.value.reason is API_RATE_EXCEEDED
    return error.value


def test_a_credential_has_its_burst_and_then_its_rate() -> None:
    limits, clock = made()
    assert [limits.admit(key("a")).remaining for _ in range(8)] == list(range(7, -1, -1))
    error = refused(limits, key("a"))
    assert (error.metadata["of"], error.metadata["limit"], error.metadata["retry_after_s"]) == (
        "credential", "5", "0.200",
    )  # fmt: skip
    clock.s += 0.2
    assert limits.admit(key("a")).reset_s == 2
    refused(limits, key("a"))
    assert limits.refused["credential"] == 2


def test_all_credentials_of_a_tenant_share_its_rate_and_others_have_their_own() -> None:
    limits, _ = made()
    for name in "abc":
        for _ in range(8 if name != "c" else 4):
            limits.admit(key(name))
    assert refused(limits, key("c")).metadata["of"] == "tenant"
    assert limits.admit(key("a", "blue")).remaining == 7


def test_a_refused_request_costs_nothing() -> None:
    """Else who is over the tenant's rate would drain credentials that are not."""
    limits, clock = made()
    for name in "abc":
        for _ in range(8 if name != "c" else 4):
            limits.admit(key(name))
    for _ in range(10):
        refused(limits, key("c"))
    clock.s += 0.4
    for _ in range(4):
        limits.admit(key("c"))


def test_a_quota_that_is_told_holds_from_then_on() -> None:
    limits, _ = made()
    told = quota_pb2.QuotaConfigured(
        version=1,
        overrides=quota_pb2.QuotaLimits(credential_burst=1),
        defaults=quota_pb2.QuotaLimits(streams=7),
    )
    part = Part("quota.configured", told.SerializeToString())
    envelope = Envelope("e", "red", "quota", 1, 0, "", "", "", part)
    limits.apply(replace(Commit(1, 1, 0, "", 0, "", (), (), (), (), (), ()), events=(envelope,)))
    assert (limits.quota("red").credential_burst, limits.quota("red").streams) == (1, 7)
    assert limits.quota("red").api_burst == LIMITS.api_burst
    assert limits.quota("blue") == LIMITS


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "unix:", True),
    ],
)
def test_strangers_are_counted_by_where_they_come_from(one: str, other: str, same: bool) -> None:
    limits, _ = made()
    for _ in range(3):
        limits.stranger(one)
    if same:
        with pytest.raises(Rejected):
            limits.stranger(other)
    else:
        limits.stranger(other)


def test_no_table_grows_without_end_and_who_asks_keeps_the_bucket() -> None:
    limits, _ = made()
    for _ in range(3):
        limits.stranger("192.0.2.1")
    for number in range(MAX_BUCKETS + 100):
        limits.stranger(f"2001:db8:{number // 65536:x}:{number % 65536:x}::1")
        if number % 1000 == 0:
            with pytest.raises(Rejected):
                limits.stranger("192.0.2.1")
    assert len(limits._sources._buckets) == MAX_BUCKETS


def test_streams_are_counted_while_they_are_open() -> None:
    limits, _ = made()
    limits.opened("red")
    limits.opened("red")
    with pytest.raises(Rejected) as error:
        limits.check_stream("red")
    assert error.value.reason is STREAM_QUOTA_EXCEEDED
    with pytest.raises(Rejected):
        limits.opened("red")
    limits.opened("blue")
    limits.closed("red")
    limits.opened("red")
    for tenant in ("red", "red", "blue"):
        limits.closed(tenant)
    assert limits._streams == {}


@given(st.lists(st.tuples(st.floats(0, 0.7), st.sampled_from("ab")), max_size=100))
@examples(100)
def test_who_waits_as_told_is_let_in_and_every_refusal_can_be_answered(steps: list[tuple[float, str]]) -> None:
    limits, clock = made()
    for pause_s, name in steps:
        clock.s += pause_s
        try:
            limits.admit(key(name))
        except Rejected as error:
            headers = answer(error).headers
            assert int(headers["retry-after"]) >= 1
            assert headers["ratelimit-remaining"] == "0"
            clock.s += float(error.metadata["retry_after_s"]) + 0.0006  # it is told in whole ms
            limits.admit(key(name))
