"""OpenAPI 3.1 of the public API, from the same table that serves it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor

from tandem.core.errors import REASONS
from tandem.runtime.methods import Method

_VARIABLE = re.compile(r"\{[a-z_.]+=([^}]+)\}")
_WELL_KNOWN: dict[str, dict[str, Any]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string", "description": "Names of fields, with commas between"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Empty": {"type": "object"},
}
_SCALARS: dict[int, dict[str, Any]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message"],
            "properties": {
                "code": {"type": "integer", "description": "HTTP status"},
                "status": {"type": "string", "description": "Name of the gRPC code"},
                "message": {"type": "string", "description": "For people: what is wrong and what to do"},
                "details": {
                    "type": "array",
                    "description": "google.rpc details; ErrorInfo has the reason, which never changes its meaning: "
                    + ", ".join(sorted(REASONS)),
                    "items": {"type": "object"},
                },
            },
        }
    },
}


DESCRIPTIONS = Path(__file__).parents[1] / "api" / "descriptions.json"
"""The protos' comments by full name, which generated code does not have (made by `make reference`)."""


def document(methods: Iterable[Method]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    said: dict[str, str] = json.loads(DESCRIPTIONS.read_bytes())
    schemas = _Schemas(said)
    for method in methods:
        path, names = _path(method.route.template)
        operation = _operation(method, names, schemas)
        text = said.get(f"{method.service}.{method.name}")
        paths.setdefault(path, {})[method.route.verb.lower()] = (
            {"description": text, **operation} if text else operation
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tandem", "version": "v1"},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR, **schemas.named},
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"apiKey": []}],
    }


def _path(template: str) -> tuple[str, list[str]]:
    """(path, names of its parameters): `/v1/{name=tenants/*}` -> `/v1/tenants/{tenant}`."""
    names: list[str] = []

    def expand(found: re.Match[str]) -> str:
        parts = found[1].split("/")
        for index, part in enumerate(parts):
            if part == "*":
                names.append(parts[index - 1].removesuffix("s"))
                parts[index] = "{" + names[-1] + "}"
        return "/".join(parts)

    return _VARIABLE.sub(expand, template), names


def _operation(method: Method, names: list[str], schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{method.service.rsplit('.', 1)[1]}_{method.name}",
        "tags": [method.service.rsplit(".", 1)[1]],
        "x-roles": [role.value.lower() for role in method.roles],
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {"200": _success(method, schemas), "default": _failure()},
    }
    operation["parameters"] += _query(method, schemas)
    if method.route.body:
        body: Any = method.request.DESCRIPTOR
        if method.route.body != "*":
            body = body.fields_by_name[method.route.body].message_type
        operation["requestBody"] = {"content": {"application/json": {"schema": schemas.of(body)}}}
    return operation


def _query(method: Method, schemas: _Schemas) -> list[dict[str, Any]]:
    """What may stand in the query: all that is neither in the path nor in the body."""
    if method.route.body == "*":
        return []
    elsewhere = {path.partition(".")[0] for path, _ in method.route.variables} | {method.route.body}
    return [
        {"name": field.json_name, "in": "query", "required": _has(field, "REQUIRED"), "schema": schemas.field(field)}
        for field in method.request.DESCRIPTOR.fields
        if field.name not in elsewhere
    ]


def _success(method: Method, schemas: _Schemas) -> dict[str, Any]:
    schema = schemas.of(method.response.DESCRIPTOR)
    if method.response.DESCRIPTOR.name == "ContentChunk":
        return {"description": "The file", "content": {"audio/wav": {}}}
    if method.streams:
        text = "Events; the id of each is its position, to be sent as Last-Event-ID"
        return {"description": text, "content": {"text/event-stream": {"itemSchema": schema}}}
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _failure() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": "What is wrong", "content": {"application/json": {"schema": schema}}}


def _has(field: Any, behavior: str) -> bool:
    return (
        field_behavior_pb2.FieldBehavior.Value(behavior)
        in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    )


class _Schemas:
    """Collects the schemas of all messages that are met."""

    def __init__(self, said: dict[str, str]) -> None:
        self.named: dict[str, dict[str, Any]] = {}
        self._said = said

    def of(self, message: Any) -> dict[str, Any]:
        """The schema of a message, by reference."""
        if message.full_name in _WELL_KNOWN:
            return _WELL_KNOWN[message.full_name]
        name = _name(message)
        if name not in self.named:
            self.named[name] = {}  # known from here on, should it contain itself
            schema: dict[str, Any] = {
                "type": "object",
                "properties": {field.json_name: self.field(field) for field in message.fields},
            }
            if message.full_name in self._said:
                schema["description"] = self._said[message.full_name]
            required = [field.json_name for field in message.fields if _has(field, "REQUIRED")]
            if required:
                schema["required"] = required
            self.named[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: Any) -> dict[str, Any]:
        """The schema of a field."""
        if field.message_type is not None:
            schema = dict(self.of(field.message_type))
        elif field.enum_type is not None:
            schema = {"type": "string", "enum": [value.name for value in field.enum_type.values]}
        else:
            schema = dict(_SCALARS[field.type])
        if field.is_repeated:
            schema = {"type": "array", "items": schema}
        if _has(field, "OUTPUT_ONLY"):
            schema["readOnly"] = True
        if field.full_name in self._said:
            schema["description"] = self._said[field.full_name]
        return schema


def _name(descriptor: Any) -> str:
    """`tandem.api.tenant.v1.Queue` -> `tenant.Queue`."""
    package = descriptor.file.package.split(".")[-2]
    return f"{package}.{descriptor.full_name.removeprefix(descriptor.file.package + '.')}"
