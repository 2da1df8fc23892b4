"""Small forms that all resources share: names, times, durations, update masks."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from tandem.core.errors import BAD_FIELD, Rejected

MAX_DURATION_MS = 24 * 3600 * 1000


def bad(path: str, problem: str) -> Rejected:
    """A field that is wrong."""
    return Rejected(BAD_FIELD, f"{path}: {problem}", **{path: problem})


def id_of(name: str) -> str:
    """The id at the end of a resource name that was checked at the entrance."""
    return name.rsplit("/", 1)[1]


def name_of(tenant: str, collection: str, id_: str) -> str:
    """A resource name; "" for no id."""
    return f"tenants/{tenant}/{collection}/{id_}" if id_ else ""


def reference(name: str, tenant: str, collection: str) -> str:
    """The id in a resource name that stands in a body, or the id itself. What is neither, or
    another tenant's, is given back as it is: nothing of ours is called so."""
    prefix = f"tenants/{tenant}/{collection}/"
    return name.removeprefix(prefix)


def duration(ms: int) -> Duration:
    """A length of time."""
    return Duration(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def millis(value: Duration, path: str) -> int:
    """Milliseconds, fractions dropped. Raises `Rejected` below 0 and over a day."""
    ms = value.seconds * 1000 + value.nanos // 1_000_000
    if not 0 <= ms <= MAX_DURATION_MS or value.nanos < 0:
        raise bad(path, "a duration is 0 to 86400 seconds")
    return ms


def changed(mask: FieldMask, given: Message, fields: Mapping[str, str], *, within: str = "") -> tuple[str, ...]:
    """The command's fields that an update changes (AIP-134): those of the mask, all for `*`,
    those that are set without a mask. `fields` maps the resource's to the command's. `given` is
    the resource, or what stands in its field `within` if all that can be changed stands there."""
    paths, prefix = list(mask.paths), f"{within}." if within else ""
    if not paths:
        named = [prefix + field.name for field, _ in given.ListFields()]
        return tuple(fields[name] for name in named if name in fields)
    if paths == ["*"] or (within and paths == [within]):
        return tuple(fields.values())
    for path in paths:
        if path not in fields:
            allowed = ", ".join(fields)
            raise bad("update_mask", f"{path!r} is no field that can be changed; these are: {allowed}")
    return tuple(dict.fromkeys(fields[path] for path in paths))
