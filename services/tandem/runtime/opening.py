"""Opening private values at the edge, for those who may see them (spine 4)."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.api.type.v1 import private_pb2
from tandem.core.seal import Erased, Private, Sealed, Withheld, unseal
from tandem.runtime.host import Host

Opened = bytes | Withheld | Erased


async def open_all(host: Host, values: Sequence[Private]) -> list[Opened]:
    """The values in their order, with one look-up of keys. Raises `core.seal.Damaged`."""
    ids = dict.fromkeys(value.key for value in values if isinstance(value, Sealed))
    keys = await host.keys(tuple(ids)) if ids else {}
    return [unseal(value, keys.get(value.key) if isinstance(value, Sealed) else None) for value in values]


def text_of(opened: Opened) -> str:
    """The text, "" where there is none (any more)."""
    return opened.decode() if isinstance(opened, bytes) else ""


def private_text(opened: Opened | None) -> private_pb2.PrivateText:
    """A private text as the API shows it; None: the caller may not see it."""
    match opened:
        case bytes():
            return private_pb2.PrivateText(value=opened.decode(), visibility=private_pb2.VISIBILITY_SHOWN)
        case Erased():
            return private_pb2.PrivateText(visibility=private_pb2.VISIBILITY_ERASED)
        case Withheld():
            return private_pb2.PrivateText(visibility=private_pb2.VISIBILITY_WITHHELD)
        case None:
            return private_pb2.PrivateText(visibility=private_pb2.VISIBILITY_HIDDEN)
