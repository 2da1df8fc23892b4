"""The OpenAPI document: complete, closed, and about the methods that are served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tandem.api.recording.v1 import recording_service_pb2
from tandem.api.routing.v1 import routing_service_pb2
from tandem.api.session.v1 import session_service_pb2
from tandem.api.tenant.v1 import tenant_service_pb2
from tandem.core.errors import REASONS
from tandem.gateway.openapi import document
from tandem.runtime.methods import methods_of

METHODS = [
    method
    for file in (tenant_service_pb2, session_service_pb2, routing_service_pb2, recording_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in methods_of(service)
]
DOCUMENT: Any = json.loads(json.dumps(document(METHODS)))
VERBS = {"get", "post", "patch", "put", "delete"}


def operations() -> Iterator[tuple[str, str, Any]]:
    """(path, verb, operation)."""
    for path, item in DOCUMENT["paths"].items():
        for verb, operation in item.items():
            yield path, verb, operation


def nested(value: Any) -> Iterator[Any]:
    """Every object in the document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nested(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nested(inner)


def test_each_method_is_there_once() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids)) == len(METHODS)
    assert {verb for _, verb, _ in operations()} <= VERBS


def test_every_reference_leads_somewhere() -> None:
    for value in nested(DOCUMENT):
        if "$ref" in value:
            *_, section, name = value["$ref"].split("/")
            assert name in DOCUMENT["components"][section]


def test_the_parameters_of_a_path_are_exactly_those_in_it() -> None:
    for path, _, operation in operations():
        in_path = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
        assert in_path == re.findall(r"\{(\w+)\}", path)
        assert all(p["required"] for p in operation["parameters"] if p["in"] == "path")
        names = [(p["in"], p["name"]) for p in operation["parameters"]]
        assert len(names) == len(set(names))


def test_every_operation_says_what_it_answers_and_who_may_ask() -> None:
    for _, verb, operation in operations():
        assert "200" in operation["responses"]
        assert operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"].endswith("/Error")
        assert operation["x-roles"]
        assert "requestBody" not in operation or verb not in ("get", "delete")


def test_streams_and_files_are_told_apart() -> None:
    watch = DOCUMENT["paths"]["/v1/tenants/{tenant}/contacts:watch"]["get"]["responses"]["200"]["content"]
    assert list(watch) == ["text/event-stream"]
    download = DOCUMENT["paths"]["/v1/tenants/{tenant}/recordings/{recording}:download"]["get"]
    assert list(download["responses"]["200"]["content"]) == ["audio/wav"]


def test_every_reason_is_named() -> None:
    text = json.dumps(DOCUMENT["components"]["schemas"]["Error"])
    assert all(reason in text for reason in REASONS)


def test_every_operation_and_property_says_what_it_is() -> None:
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert [operation["operationId"] for operation in operations if not operation.get("description")] == []
    schemas = {name: schema for name, schema in DOCUMENT["components"]["schemas"].items() if name != "Error"}
    bare = [
        f"{name}.{key}"
        for name, schema in schemas.items()
        for key, found in schema.get("properties", {}).items()
        if not found.get("description")
    ]
    assert bare == []
