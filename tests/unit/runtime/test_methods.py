"""The table of methods, and reasons as google.rpc.Status."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2

from tandem.api.recording.v1 import recording_service_pb2
from tandem.api.routing.v1 import routing_service_pb2
from tandem.api.session.v1 import session_service_pb2
from tandem.api.tenant.v1 import tenant_service_pb2
from tandem.core.access import Role
from tandem.core.errors import BAD_FLOW, NAME_TAKEN, NO_OWNER, REASONS, Rejected
from tandem.runtime.interceptors import Api
from tandem.runtime.methods import BadMethod, Method, methods_of
from tandem.runtime.status import to_status

SERVICES = [
    service
    for file in (tenant_service_pb2, session_service_pb2, routing_service_pb2, recording_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
]
METHODS = [method for service in SERVICES for method in methods_of(service)]
every = pytest.mark.parametrize("method", METHODS, ids=[method.attribute for method in METHODS])


@every
def test_every_method_is_about_a_tenant_or_for_the_platform(method: Method) -> None:
    assert method.route.template.startswith("/v1/")
    if not method.route.variables:
        assert method.roles == (Role.PLATFORM,)
    for _, pattern in method.route.variables:
        assert pattern.pattern.startswith("tenants/")


@every
def test_whatever_changes_something_can_be_repeated(method: Method) -> None:
    assert method.repeatable == (method.route.verb != "GET")


@every
def test_lists_have_pages(method: Method) -> None:
    if method.name.startswith("List"):
        assert {"page_size", "page_token"} <= set(method.request.DESCRIPTOR.fields_by_name)
        assert "next_page_token" in method.response.DESCRIPTOR.fields_by_name


@every
def test_mutable_resources_have_etags(method: Method) -> None:
    if method.name.startswith("Update"):
        assert "etag" in method.response.DESCRIPTOR.fields_by_name
        assert "update_mask" in method.request.DESCRIPTOR.fields_by_name


@every
def test_no_request_holds_a_message_that_holds_itself(method: Method) -> None:
    """Reading JSON goes as deep as the request does; that has to end."""

    def depth(descriptor: Any, above: tuple[str, ...]) -> None:
        assert descriptor.full_name not in above
        for field in descriptor.fields:
            if field.type == FieldDescriptor.TYPE_MESSAGE and not field.message_type.full_name.startswith("google."):
                depth(field.message_type, (*above, descriptor.full_name))

    depth(method.request.DESCRIPTOR, ())


def test_a_servicer_that_lacks_a_method_is_not_served(credentials: Any = None) -> None:
    with pytest.raises(BadMethod, match="get_recording"):
        Api(credentials, credentials, lambda text, error: None).add(SERVICES[-1], object())


@pytest.mark.parametrize("reason", REASONS.values(), ids=list(REASONS))
def test_every_reason_is_a_status(reason: Any) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]", reason.name)
    status = to_status(Rejected(reason, "text", key="value"))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason.name, "tandem.dev")
    assert reason.todo in status.message


def test_paths_are_violations_and_other_variables_are_metadata() -> None:
    status = to_status(Rejected(BAD_FLOW, "bad", **{"steps[0].id": "no", "steps[1].menu": "nor this"}))
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == ["steps[0].id", "steps[1].menu"]
    info = error_details_pb2.ErrorInfo()
    to_status(Rejected(NAME_TAKEN, "taken", what="queue")).details[0].Unpack(info)
    assert info.metadata["what"] == "queue"


def test_what_may_be_repeated_says_when() -> None:
    retry = error_details_pb2.RetryInfo()
    assert to_status(Rejected(NO_OWNER, "away")).details[1].Unpack(retry)
    assert retry.retry_delay.seconds >= 1
