"""Who may take how much of an endpoint's time: scanners, floods, password guessing.

A datagram is judged before it is parsed. What belongs to a call of ours is known by a token
that we made (our tag, our branch), which nobody else can have seen: it has a budget of its own
for each call, so no flood of others can keep a BYE out, not even one with forged addresses.
All else is a new request, and costs its source address: a rate, and a rate for all together.
An address whose requests keep failing (wrong passwords, numbers that do not exist, garbage)
is not heard for a while, and gets no answer: an answer would tell a scanner that it is right
here, and would be sent to the victim if the address is forged.

Pure: times are seconds on the caller's clock.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

Address = tuple[str, int]

SCAN_BYTES = 8192
"""Where our token must stand: in the first lines, as every stack writes From, To and Via."""
_TOKENS = re.compile(
    rb";[ \t]*(?:tag[ \t]*=[ \t]*|branch[ \t]*=[ \t]*z9hG4bK)([A-Za-z0-9]{16,64})(?![A-Za-z0-9])", re.IGNORECASE
)
_TOKENS_MAX = 8
_TRUST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Every limit with its reason. Rates are datagrams a second, bursts are datagrams."""

    trusted: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks whose new requests are not counted: this host, and your carriers and proxies."""

    source_rate: float = 20.0
    """New requests of one address. An office of 100 phones behind one address needs 4 a second to
    stay registered and to call; scanners send 50 to 1,000."""

    source_burst: int = 200
    """The same office after a power cut: everybody registers at once, twice because of the challenge."""

    total_rate: float = 200.0
    """New requests of all addresses that are neither trusted nor registered. A parse and an answer
    take 0.2 ms, so this is 4 % of a core: a flood leaves the rest to the calls."""

    total_burst: int = 400
    """Two seconds of it."""

    refusals_rate: float = 50.0
    """503 with Retry-After a second to those who come beyond `total_rate`, so that an honest
    phone or carrier tries elsewhere; beyond that there is no answer."""

    failures: int = 20
    """Requests of an address that may fail before it is not heard: a person who mistypes a
    password in a phone that tries 5 times in a row, four times over."""

    failure_every_s: float = 30.0
    """After that one more failure is allowed in so many seconds: 2,880 passwords a day, of which
    a phone's random one has more than 2**60."""

    call_rate: float = 20.0
    """Datagrams within one call. A phone that sends its digits by INFO needs 10."""

    call_burst: int = 100
    """A re-INVITE with all its retransmissions, and digits typed ahead."""

    calls_per_source: int = 25
    """Calls at once of an address that is neither trusted nor a registered phone's; half of the
    default capacity, so that one stranger does not take all places. List your carriers under `trusted`."""

    calls_of_strangers: int = 40
    """Calls at once of all such addresses: whoever forges addresses leaves ten places to your carriers."""

    sources_max: int = 10_000
    """Addresses remembered, the longest unheard forgotten first: 4 MB."""

    def __post_init__(self) -> None:
        """Refuse what is no network, before a socket is opened."""
        for text in self.trusted:
            try:
                ip_network(text)
            except ValueError as error:
                how = "write for example 192.0.2.0/24"
                raise ValueError(f"guard.trusted: {text!r} is no network ({error}); {how}") from None


class Admission(Enum):
    """What becomes of a datagram."""

    CALL = "call"
    """Of a call of ours: go on."""
    NEW = "new"
    """A new request within its limits: go on."""
    REFUSE = "refuse"
    """Too many: answer 503 with Retry-After if it is a request, and do nothing else."""
    DROP = "drop"
    """Too many: do nothing."""


@dataclass(slots=True)
class GuardCounters:
    """What came in since the node began. All are totals, but for `sources`."""

    of_calls: int = 0
    """Datagrams within calls, taken."""
    new: int = 0
    """Other datagrams, taken."""
    dropped_call_rate: int = 0
    """Within a call, over `call_rate`."""
    dropped_source_rate: int = 0
    """Over `source_rate`."""
    dropped_failures: int = 0
    """From an address that is not heard because its requests failed."""
    dropped_total_rate: int = 0
    """Over `total_rate`, without an answer."""
    refused_total_rate: int = 0
    """Over `total_rate`, answered 503."""
    refused_calls_per_source: int = 0
    """Calls over `calls_per_source`, answered 503."""
    refused_calls_of_strangers: int = 0
    """Calls over `calls_of_strangers`, answered 503."""
    failures_malformed: int = 0
    """Datagrams that are no SIP message."""
    failures_unknown_number: int = 0
    """INVITEs to numbers that no tenant has."""
    failures_password: int = 0
    """REGISTERs with a wrong password or an unknown user."""
    silenced: int = 0
    """How often an address began not to be heard."""
    sources: int = 0
    """Addresses remembered now."""


class _Bucket:
    """Tokens that come back at a rate, up to a burst."""

    __slots__ = ("at", "tokens")

    def __init__(self, burst: float, now: float) -> None:
        self.tokens = burst
        self.at = now

    def filled(self, rate: float, burst: float, now: float) -> float:
        """The tokens there are now. A clock that stepped back gives none."""
        self.tokens = min(burst, self.tokens + max(0.0, now - self.at) * rate)
        self.at = max(self.at, now)
        return self.tokens

    def take(self, rate: float, burst: float, now: float) -> bool:
        """Take one if there is one."""
        if self.filled(rate, burst, now) < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class _Source:
    """What one address has left."""

    new: _Bucket
    failures: _Bucket
    silent: bool = field(default=False)


class Guard:
    """The judge of one endpoint. `is_ours(token)` says whether that tag or branch is of a live call."""

    def __init__(self, config: GuardConfig, is_ours: Callable[[str], bool]) -> None:
        self.config = config
        self.counters = GuardCounters()
        self._is_ours = is_ours
        self._sources: OrderedDict[str | Address, _Source] = OrderedDict()
        self._calls: OrderedDict[str, _Bucket] = OrderedDict()
        self._total = _Bucket(config.total_burst, 0.0)
        self._refusals = _Bucket(config.refusals_rate, 0.0)
        self._networks = [ip_network(text) for text in config.trusted]
        self._trust: OrderedDict[str, bool] = OrderedDict()
        self._places: dict[str, tuple[Address, ...]] = {}
        self._registered: Counter[Address] = Counter()

    def admit(self, data: bytes, source: Address, now: float) -> Admission:
        """Judge a datagram by its first bytes and where it says that it comes from."""
        token = self._token_of(data)
        if token is not None:
            return self._of_call(token, now)
        if self.is_trusted(source[0]):
            self.counters.new += 1
            return Admission.NEW
        registered = source in self._registered
        entry = self._source(source if registered else _key(source[0]), now)
        if not registered and self._is_silent(entry, now):
            self.counters.dropped_failures += 1
            return Admission.DROP
        if not entry.new.take(self.config.source_rate, self.config.source_burst, now):
            self.counters.dropped_source_rate += 1
            return Admission.DROP
        if not registered and not self._total.take(self.config.total_rate, self.config.total_burst, now):
            return self._beyond_total(now)
        self.counters.new += 1
        return Admission.NEW

    def failed(self, source: Address, now: float) -> None:
        """A request from there came to nothing. A registered phone's own place is not blamed."""
        if self.knows(source):
            return
        entry = self._source(_key(source[0]), now)
        self._failures_left(entry, now)
        entry.failures.tokens = max(0.0, entry.failures.tokens - 1)
        if entry.failures.tokens < 1 and not entry.silent:
            entry.silent = True
            self.counters.silenced += 1

    def places(self, record: str, places: Sequence[Address]) -> None:
        """Where a registered user is now; empty: nowhere."""
        for place in self._places.pop(record, ()):
            self._registered[place] -= 1
            if not self._registered[place]:
                del self._registered[place]
        if places:
            self._places[record] = tuple(places)
            self._registered.update(places)

    def knows(self, source: Address) -> bool:
        """Whether it is no stranger: in a trusted network, or a registered phone's place."""
        return source in self._registered or self.is_trusted(source[0])

    def is_trusted(self, host: str) -> bool:
        """Whether an address is in a trusted network."""
        known = self._trust.get(host)
        if known is None:
            known = self._trust[host] = _is_within(host, self._networks)
            if len(self._trust) > _TRUST_KEPT:
                self._trust.popitem(last=False)
        return known

    # ------------------------------------------------------------------ inner

    def _token_of(self, data: bytes) -> str | None:
        for count, match in enumerate(_TOKENS.finditer(data, 0, SCAN_BYTES)):
            if count == _TOKENS_MAX:
                break
            token = match[1].decode("ascii")
            if self._is_ours(token):
                return token
        return None

    def _of_call(self, token: str, now: float) -> Admission:
        bucket = self._calls.pop(token, None) or _Bucket(self.config.call_burst, now)
        self._calls[token] = bucket
        if len(self._calls) > self.config.sources_max:
            self._calls.popitem(last=False)
        if bucket.take(self.config.call_rate, self.config.call_burst, now):
            self.counters.of_calls += 1
            return Admission.CALL
        self.counters.dropped_call_rate += 1
        return Admission.DROP

    def _beyond_total(self, now: float) -> Admission:
        if self._refusals.take(self.config.refusals_rate, self.config.refusals_rate, now):
            self.counters.refused_total_rate += 1
            return Admission.REFUSE
        self.counters.dropped_total_rate += 1
        return Admission.DROP

    def _source(self, key: str | Address, now: float) -> _Source:
        entry = self._sources.pop(key, None)
        if entry is None:
            entry = _Source(_Bucket(self.config.source_burst, now), _Bucket(self.config.failures, now))
        self._sources[key] = entry
        if len(self._sources) > self.config.sources_max:
            self._sources.popitem(last=False)
        self.counters.sources = len(self._sources)
        return entry

    def _failures_left(self, entry: _Source, now: float) -> float:
        return entry.failures.filled(1 / self.config.failure_every_s, self.config.failures, now)

    def _is_silent(self, entry: _Source, now: float) -> bool:
        if entry.silent and self._failures_left(entry, now) >= 1:
            entry.silent = False
        return entry.silent


def _key(host: str) -> str:
    """What counts as one source: an IPv4 address, the /64 of an IPv6 one (a host has a whole one to choose from)."""
    if ":" not in host:
        return host
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(IPv6Network((int(address) >> 64 << 64, 64))) if isinstance(address, IPv6Address) else host


def _is_within(host: str, networks: Sequence[object]) -> bool:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in networks)  # type: ignore[operator]
