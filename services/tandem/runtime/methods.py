"""The table of public methods, read from the protos' descriptors: roles, paths, names.

There is no second route table and no second table of rights: gRPC server, gateway, OpenAPI
and tests all work from this one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tandem.api.type.v1 import access_pb2
from tandem.core.access import Role
from tandem.runtime.auth import role_of

_VARIABLE = re.compile(r"\{([a-z_.]+)=([^}]+)\}")
_VERBS = ("get", "post", "patch", "put", "delete")


class BadMethod(Exception):
    """A method without roles or path: a mistake in the protos."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method's HTTP form (google/api/http.proto). `variables` are (field path, pattern of
    its value); `body` is "", "*" or the field that the body is."""

    verb: str
    template: str
    path: re.Pattern[str]
    variables: tuple[tuple[str, re.Pattern[str]], ...]
    body: str


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC. `attribute` is what it is called on its servicer: `create_queue`."""

    full_name: str
    service: str
    name: str
    attribute: str
    request: type[Message]
    response: type[Message]
    streams: bool
    roles: tuple[Role, ...]
    route: Route
    repeatable: bool  # has a request_id

    @property
    def for_platform(self) -> bool:
        """Whether the platform role may call it, for any tenant."""
        return Role.PLATFORM in self.roles


@cache
def methods_of(service: ServiceDescriptor) -> tuple[Method, ...]:
    """The methods of a service, worked out once. Raises `BadMethod`."""
    return tuple(_method(service, method) for method in service.methods)


def _method(service: ServiceDescriptor, method: MethodDescriptor) -> Method:
    options = method.GetOptions()
    roles = tuple(role_of(number) for number in options.Extensions[access_pb2.access].roles)
    if not roles:
        raise BadMethod(f"{method.full_name} names no roles")
    if method.client_streaming:
        raise BadMethod(f"{method.full_name} streams from the client, which HTTP cannot")
    return Method(
        full_name=f"/{service.full_name}/{method.name}",
        service=service.full_name,
        name=method.name,
        attribute=re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower(),
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
        streams=method.server_streaming,
        roles=roles,
        route=_route(method),
        repeatable="request_id" in method.input_type.fields_by_name,
    )


def _route(method: MethodDescriptor) -> Route:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    if verb not in _VERBS:
        raise BadMethod(f"{method.full_name} has no path")
    template: str = getattr(rule, verb)
    path, at, variables = "", 0, []
    for found in _VARIABLE.finditer(template):
        pattern = re.escape(found[2]).replace(r"\*", "[^/:]+")
        group = found[1].replace(".", "__")
        path += re.escape(template[at : found.start()]) + f"(?P<{group}>{pattern})"
        at = found.end()
        variables.append((found[1], re.compile(pattern)))
    path += re.escape(template[at:])
    for field_path, _ in variables:
        field_at(method.input_type, field_path)
    return Route(verb.upper(), template, re.compile(path), tuple(variables), rule.body)


def field_at(message: Descriptor, path: str) -> FieldDescriptor:
    """The field of a path like `queue.name`. Raises `BadMethod`."""
    *outer, last = path.split(".")
    for name in outer:
        inner = message.fields_by_name[name].message_type if name in message.fields_by_name else None
        if inner is None:
            raise BadMethod(f"{message.full_name} has no field {path}")
        message = inner
    if last not in message.fields_by_name:
        raise BadMethod(f"{message.full_name} has no field {path}")
    return message.fields_by_name[last]


def value_at(message: Any, path: str) -> str:
    """The string at a path like `queue.name`."""
    for name in path.split("."):
        message = getattr(message, name)
    return str(message)
