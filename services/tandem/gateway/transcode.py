"""JSON, query and path -> protobuf, and back (google/api/http.proto).

What a field cannot take is refused with its path, and so is a field that does not exist:
a client that misspells `wrapUp` shall hear of it, not wonder. Names may be written as in
the protos or in lowerCamelCase; answers use lowerCamelCase.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from tandem.gateway.problems import bad
from tandem.runtime.methods import Method

_FIELD_MASK = "google.protobuf.FieldMask"
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_INTEGER = re.compile(r"-?[0-9]{1,20}")


def request_of(method: Method, body: bytes, query: Iterable[tuple[str, str]], variables: Mapping[str, str]) -> Message:
    """The request of a call. `variables` are field paths of the URL with their values.
    Raises `Rejected`."""
    message = method.request()
    route = method.route
    if route.body == "*":
        fill(message, _object(body), "")
    elif route.body:
        fill(getattr(message, route.body), _object(body), "")
        getattr(message, route.body).SetInParent()
    elif body:
        raise bad("body", "this call takes none")
    _fill_query(message, query, method, variables)
    for path, value in variables.items():
        *outer, last = path.split(".")
        inner: Any = message
        for name in outer:
            inner = getattr(inner, name)
        setattr(inner, last, value)
    return message


def to_json(message: Message) -> dict[str, Any]:
    """The JSON form, fields without a value too."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad("body", "it is no JSON") from None
    if not isinstance(value, dict):
        raise bad("body", "it must be a JSON object")
    return value


def fill(message: Any, data: Mapping[str, Any], prefix: str) -> None:
    """Put JSON into a message. Raises `Rejected` with the path of what is wrong."""
    fields = _fields(message.DESCRIPTOR)
    chosen: dict[str, str] = {}
    for key, value in data.items():
        field = fields.get(key)
        if field is None:
            raise bad(prefix + key, "there is no such field" + _meant(key, fields))
        if value is None:
            continue
        oneof = field.containing_oneof
        if oneof is not None and chosen.setdefault(oneof.name, field.name) != field.name:
            raise bad(prefix + field.name, f"{chosen[oneof.name]} is set already; only one of the two may be")
        _put(message, field, value, prefix + field.name)


def _put(message: Any, field: FieldDescriptor, value: Any, path: str) -> None:
    if not _is_plain(field):
        if not field.is_repeated:
            fill(getattr(message, field.name), _dict(value, path), path + ".")
            getattr(message, field.name).SetInParent()
            return
        for index, item in enumerate(_list(value, path)):
            fill(getattr(message, field.name).add(), _dict(item, f"{path}[{index}]"), f"{path}[{index}].")
        return
    if field.message_type is not None and field.message_type.full_name == _FIELD_MASK and isinstance(value, str):
        paths = [_CAMEL.sub(r"_\1", part.strip()).lower() for part in value.split(",") if part.strip()]
        getattr(message, field.name).paths.extend(paths)
        return
    try:
        ParseDict({field.json_name: value}, message)
    except (ParseError, ValueError, TypeError):
        raise bad(path, f"it must be {_form(field)}") from None


def _is_plain(field: FieldDescriptor) -> bool:
    """Whether protobuf's own JSON parser takes the value whole."""
    return field.message_type is None or field.message_type.full_name.startswith("google.protobuf.")


def _form(field: FieldDescriptor) -> str:
    """What a field takes, for people."""
    if field.enum_type is not None:
        one = "one of " + ", ".join(value.name for value in field.enum_type.values if value.number)
    elif field.message_type is not None:
        forms = {"Duration": 'a duration like "15s"', "Timestamp": 'a time like "2026-01-31T12:00:00Z"'}
        one = forms.get(field.message_type.name, f"a {field.message_type.name}")
    else:
        kinds = {FieldDescriptor.CPPTYPE_STRING: "a text", FieldDescriptor.CPPTYPE_BOOL: "true or false"}
        one = kinds.get(field.cpp_type, "a number in range")
    return f"a list of which each is {one}" if field.is_repeated else one


def _dict(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad(path, "it must be a JSON object")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad(path, "it must be a list")
    return value


def _fields(descriptor: Any) -> dict[str, FieldDescriptor]:
    """Fields by both of their names."""
    return {name: field for field in descriptor.fields for name in (field.name, field.json_name)}


def _meant(key: str, fields: Mapping[str, FieldDescriptor]) -> str:
    near = difflib.get_close_matches(key, [field.json_name for field in fields.values()], 1)
    return f"; did you mean {near[0]}?" if near else ""


# ------------------------------------------------------------------- the query


def _fill_query(
    message: Message, query: Iterable[tuple[str, str]], method: Method, variables: Mapping[str, str]
) -> None:
    values: dict[str, list[str]] = {}
    for key, value in query:
        values.setdefault(key, []).append(value)
    for key, texts in values.items():
        names, field = _located(method, key)
        path = ".".join(names)
        if path in variables:
            raise bad(path, "it stands in the path already")
        if method.route.body == "*" or names[0] == method.route.body:
            raise bad(path, "it belongs in the body")
        if len(texts) > 1 and not field.is_repeated:
            raise bad(path, "it stands twice")
        converted = [_value(field, text, path) for text in texts]
        inner: Any = message
        for name in names[:-1]:
            inner = getattr(inner, name)
        _put(inner, field, converted if field.is_repeated else converted[0], path)


def _located(method: Method, key: str) -> tuple[list[str], FieldDescriptor]:
    """(names of the path, field) of a query parameter like `queue.displayName`."""
    descriptor: Any = method.request.DESCRIPTOR
    names: list[str] = []
    field: FieldDescriptor | None = None
    for part in key.split("."):
        fields = {} if descriptor is None else _fields(descriptor)
        if part not in fields:
            raise bad(key, "there is no such parameter" + _meant(part, fields))
        field = fields[part]
        names.append(field.name)
        descriptor = None if _is_plain(field) or field.is_repeated else field.message_type
    if field is None or not _is_plain(field):
        raise bad(key, "it cannot be given in the query")
    return names, field


def _value(field: FieldDescriptor, text: str, path: str) -> Any:
    """A query text as JSON would have it."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text not in ("true", "false"):
            raise bad(path, "it must be true or false")
        return text == "true"
    if field.enum_type is not None and _INTEGER.fullmatch(text):
        return int(text)
    return text
