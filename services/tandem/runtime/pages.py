"""Pages of a List (AIP-158): sizes, and tokens that are bound to the other arguments.

A token holds the last key that was sent and a digest of tenant, method and arguments.
It says where to go on and nothing else: tenant and filters come from the request anew,
so a token of another tenant or another List is refused and could not show anything.
Whoever knows this code can make tokens; so the kinds of a key's parts are checked as well.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, TypeVar

import msgspec
from google.protobuf.message import Message

from tandem.core.errors import BAD_FIELD, BAD_PAGE_TOKEN, Rejected
from tandem.core.seal import fingerprint

DEFAULT_SIZE = 50
MAX_SIZE = 1000
MAX_TOKEN = 1024
"""Characters; a longer one is none of ours."""

MAX_NUMBER = 2**63 - 1
"""What every store can compare."""

Cursor = tuple[str | int, ...]
Shape = tuple[type[str] | type[int], ...]
"""The kinds of a key's parts."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """What of a List is asked for: at most `size` things beyond `after`."""

    size: int
    after: Cursor | None
    bound: str

    def token(self, last: Cursor) -> str:
        """Where the next page begins, given the key of the last thing sent."""
        body = msgspec.msgpack.encode((self.bound, *last))
        return base64.urlsafe_b64encode(body).decode("ascii").rstrip("=")

    def cut(self, found: Sequence[T], key: Callable[[T], Cursor]) -> tuple[Sequence[T], str]:
        """(the page, its token) of things beyond `after`, of which at least `size` + 1 were
        looked for. The token is empty at the end."""
        if len(found) <= self.size:
            return found, ""
        shown = found[: self.size]
        return shown, self.token(key(shown[-1]))

    def of(self, there: Mapping[str, T]) -> tuple[Sequence[T], str]:
        """(the page, its token) of things in the order of their ids."""
        after = "" if self.after is None else str(self.after[0])
        ids = nsmallest(self.size + 1, (id_ for id_ in there if id_ > after))
        shown, token = self.cut(ids, lambda id_: (id_,))
        return [there[id_] for id_ in shown], token


def page_of(request: Any, tenant: str, most: int = MAX_SIZE, shape: Shape = (str,)) -> Page:
    """The page that a List request asks for, of at most `most` things with keys of that shape.
    Raises `Rejected`."""
    if request.page_size < 0:
        raise Rejected(BAD_FIELD, "page_size: it may not be negative", page_size="it may not be negative")
    bound = _bound(request, tenant)
    size = min(request.page_size or DEFAULT_SIZE, most)
    return Page(size, _cursor(request.page_token, bound, shape) if request.page_token else None, bound)


def _bound(request: Message, tenant: str) -> str:
    rest = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("page_size")
    rest.ClearField("page_token")
    name = request.DESCRIPTOR.full_name
    return fingerprint(tenant.encode(), name.encode(), rest.SerializeToString(deterministic=True))[:16]


def _cursor(token: str, bound: str, shape: Shape) -> Cursor:
    found = _decoded(token) if len(token) <= MAX_TOKEN else ()
    fits = tuple(map(type, found)) == (str, *shape) and found[0] == bound
    if not fits or any(isinstance(part, int) and abs(part) > MAX_NUMBER for part in found):
        raise Rejected(BAD_PAGE_TOKEN, "this page_token is not of a List with these arguments")
    return found[1:]


def _decoded(token: str) -> Cursor:
    """What the token encodes, nothing for what is no token."""
    try:
        body = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(body, type=tuple[str | int, ...])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        return ()
