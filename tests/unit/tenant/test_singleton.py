"""A resource of which a tenant has one, with the retention policy as the example."""

from __future__ import annotations

from tandem.core.decider import Answer, Tell
from tandem.core.errors import BAD_FIELD, ETAG_MISMATCH
from tandem.tenant.domain.retention import (
    KIND,
    RetentionPolicy,
    RetentionPolicyUpdated,
    TellRetention,
    UpdateRetentionPolicy,
)
from tests.support.given import AT, Given

SET = RetentionPolicyUpdated(RetentionPolicy(30, 7, 1, 5))


def a_policy(*past: object) -> Given:
    return Given(KIND, "retention_policy", past)


def test_only_the_named_fields_change_and_the_version_grows() -> None:
    changed = RetentionPolicy(30, 14, 2, AT)
    command = UpdateRetentionPolicy('"1"', ("recording_days",), 999, 14)
    a_policy(SET).when(command).then(
        [RetentionPolicyUpdated(changed)], [Tell("retention", TellRetention(2, 30, 14)), Answer(changed)]
    )


def test_a_change_of_what_somebody_else_changed_is_refused() -> None:
    refused = a_policy(SET).when(UpdateRetentionPolicy('"7"', ("contact_days",), 1, 1)).rejected
    assert refused is not None and refused.reason is ETAG_MISMATCH


def test_what_would_be_wrong_afterwards_is_refused_with_its_path() -> None:
    refused = a_policy(SET).when(UpdateRetentionPolicy("", ("contact_days",), 3, 0)).rejected
    assert refused is not None
    assert (refused.reason, list(refused.metadata)) == (BAD_FIELD, ["recording_days"])


def test_another_command_changes_nothing() -> None:
    a_policy(SET).when(object()).nothing()
