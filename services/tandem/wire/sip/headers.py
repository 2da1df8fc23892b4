"""An ordered, case-insensitive list of headers (RFC 3261 section 7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# fmt: off
_COMPACT = {
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
    "e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
    "l": "Content-Length", "m": "Contact", "o": "Event", "r": "Refer-To", "s": "Subject", "t": "To",
    "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}
_KNOWN = {
    name.lower(): name
    for name in (
        *_COMPACT.values(),
        "Accept", "Alert-Info", "Allow", "Authorization", "CSeq", "Contact", "Content-Disposition", "Date", "Expires",
        "Max-Forwards", "Min-Expires", "P-Asserted-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate",
        "Proxy-Authorization", "Proxy-Require", "RSeq", "Reason", "Record-Route", "Replaces", "Require", "Retry-After",
        "Route", "Server", "Service-Route", "Timestamp", "Unsupported", "User-Agent", "WWW-Authenticate", "Warning",
    )
} | _COMPACT
# fmt: on


def canonical_name(name: str) -> str:
    """The usual spelling of a header's name; compact forms written out, unknown names as they are."""
    return _KNOWN.get(name) or _KNOWN.get(name.lower(), name)


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers in order. Names are canonical (see `canonical_name`), values without outer blanks."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, *pairs: tuple[str, str]) -> Headers:
        """From pairs with names in any spelling."""
        return cls(tuple((canonical_name(name), value) for name, value in pairs))

    def get(self, name: str) -> str | None:
        """The first value of a header, None if absent."""
        wanted = name.lower()
        for key, value in self.pairs:
            if key.lower() == wanted:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """The values of every line with this name, in order."""
        wanted = name.lower()
        return [value for key, value in self.pairs if key.lower() == wanted]

    def plus(self, pairs: Iterable[tuple[str, str]]) -> Headers:
        """These and then those."""
        return Headers(self.pairs + tuple((canonical_name(name), value) for name, value in pairs))

    def without(self, *names: str) -> Headers:
        """Without every line of these names."""
        unwanted = [name.lower() for name in names]
        return Headers(tuple(pair for pair in self.pairs if pair[0].lower() not in unwanted))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


NO_HEADERS = Headers()
