"""A tenant's quota: defaults, numbers of its own, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.core.errors import BAD_FIELD, ETAG_MISMATCH, RESOURCE_QUOTA_EXCEEDED, Rejected
from tandem.core.quota import MOST, NAMES, Limits
from tandem.tenant.domain import configuration, decide
from tandem.tenant.domain import quota as q
from tandem.tenant.domain.words import Configuration, CreateFlow, CreateQueue
from tests.support.given import Given, context

DEFAULTS = Limits(1000, 100, 200, 50, 100, 25, 50, 10, 100, 1000, 1000, 100)
TOLD = q.QuotaConfigured(1, Limits(), DEFAULTS, 5)


def a_quota(*past: object) -> Given:
    return Given(q.KIND, "quota", past)


def test_the_defaults_hold_until_the_platform_says_otherwise() -> None:
    state = a_quota().when(q.TakeDefaults(DEFAULTS)).state
    assert q.effective(state) == DEFAULTS
    changed = a_quota(state).when(q.UpdateQuota("", ("setups_per_s",), Limits(setups_per_s=7))).state
    assert q.effective(changed) == replace(DEFAULTS, setups_per_s=7)
    back = a_quota(changed).when(q.UpdateQuota("", ("setups_per_s",), Limits())).state
    assert q.effective(back) == DEFAULTS


def test_new_defaults_leave_a_tenant_s_own_numbers_alone() -> None:
    own = q.QuotaConfigured(4, Limits(streams=3), DEFAULTS, 5)
    state = a_quota(own).when(q.TakeDefaults(replace(DEFAULTS, streams=50, queues=7))).state
    assert (state.version, q.effective(state).streams, q.effective(state).queues) == (5, 3, 7)


def test_the_gate_hears_what_concerns_calls_with_the_version() -> None:
    when = a_quota(TOLD).when(q.UpdateQuota('"1"', ("live_contacts",), Limits(live_contacts=9)))
    (tell, answer) = when.actions
    assert (tell.stream, tell.message) == ("gate", q.TellQuota(2, 9, 100, 200))
    assert answer.value == when.state


def test_numbers_that_nobody_has_told_yet_are_no_limit() -> None:
    when = a_quota().when(q.UpdateQuota("", ("queues",), Limits(queues=5)))
    assert when.actions[0].message == q.TellQuota(1, MOST.live_contacts, MOST.setups_per_s, MOST.setup_burst)


@pytest.mark.parametrize("value", [-1, MOST.queues + 1])
def test_a_number_out_of_range_is_refused_with_its_path(value: int) -> None:
    refused = a_quota(TOLD).when(q.UpdateQuota("", ("queues",), Limits(queues=value))).rejected
    assert refused is not None
    assert (refused.reason, list(refused.metadata)) == (BAD_FIELD, ["overrides.queues"])


def test_a_change_of_what_somebody_else_changed_is_refused() -> None:
    refused = a_quota(TOLD).when(q.UpdateQuota('"7"', (), Limits())).rejected
    assert refused is not None and refused.reason is ETAG_MISMATCH


@pytest.mark.parametrize("name", NAMES[-4:])
def test_a_resource_above_its_quota_is_refused(name: str) -> None:
    quota = q.QuotaConfigured(1, Limits(**{name: 2}), DEFAULTS, 5)
    q.refuse_over(quota, ["a"], name)
    with pytest.raises(Rejected) as refused:
        q.refuse_over(quota, ["a", "b"], name)
    assert refused.value.reason is RESOURCE_QUOTA_EXCEEDED
    assert refused.value.metadata == {"limit": "2", "quota": name}


def test_a_configuration_asks_its_quota() -> None:
    assert configuration.KIND.reads == q.QUOTA
    known = replace(context("configuration"), shared=q.QuotaConfigured(1, Limits(queues=1), DEFAULTS, 5))
    full = replace(Configuration(), queues={"a": object()}, flows={"a": object()})  # type: ignore[dict-item]
    with pytest.raises(Rejected) as refused:
        decide.decide(full, CreateQueue("b", "", 15_000, 0), known)
    assert refused.value.reason is RESOURCE_QUOTA_EXCEEDED
    with pytest.raises(Rejected) as other:
        decide.decide(full, CreateFlow("b", "", (), ()), known)
    assert other.value.reason is not RESOURCE_QUOTA_EXCEEDED
