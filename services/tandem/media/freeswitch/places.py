"""Where a device's phones are: contacts as they registered, fit to be dialled, and what each needs for its audio.

A contact is a phone's own text. In a dial string it must name one place of the SIP profile and nothing else, for
what stands behind a comma there is called too (switch_ivr_originate.c, FreeSWITCH 1.10).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

PLACES_MAX = 10
"""Of one device; the profile's max-registrations-per-extension."""
MAX_CONTACT = 1000
"""Characters."""
LATELY_MAX = 10_000
"""Registrations that events told of, of the whole node."""
_PREFIX = "sofia/tandem/sip:"
_HARMLESS = re.compile(r"[A-Za-z0-9._~%:;=@+*?&!\[\]-]+")
_PATH = ";fs_path="
_ENTERPRISE = ":_:"
"""What parts two calls for FreeSWITCH, though each letter of it is harmless."""
_TRANSPORT = re.compile(r"[;?]transport=(\w+)|%3[Bb]transport%3[Dd](\w+)")


def dialled(contact: str) -> str:
    """The dial string of a contact, as an event has it (`"Ann" <sip:...>`) or a list (`sofia/tandem/sip:...`); empty
    for one that is not fit to be one."""
    bare = contact.rpartition("<")[2].partition(">")[0] if "<" in contact else contact.removeprefix("sofia/tandem/")
    scheme, colon, rest = bare.partition(":")
    if scheme.lower() not in ("sip", "sips") or not colon or len(rest) > MAX_CONTACT:
        return ""
    # The way there, last of all, is escaped; but FreeSWITCH's events escape no `%`, and what reads them undoes it.
    rest, path, way = rest.partition(_PATH)
    rest += path + quote(unquote(way), safe="")
    return _PREFIX + rest if _HARMLESS.fullmatch(rest) and _ENTERPRISE not in rest else ""


def needs(place: str, phones_srtp: str) -> dict[str, str]:
    """Variables of a call to that place: a browser wants WebRTC, and over TLS the keys of the audio are safe."""
    over = {(plain or escaped).lower() for plain, escaped in _TRANSPORT.findall(place)}
    if over & {"ws", "wss"}:
        return {"media_webrtc": "true"}
    return {"rtp_secure_media": phones_srtp} if "tls" in over and phones_srtp != "no" else {}


class Places:
    """Device -> its registrations, each by the Call-ID that it came with, the last one last."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, str]] = {}

    def add(self, user: str, call: str, contact: str) -> None:
        """It registered there, or refreshed. A phone that began anew has another Call-ID, and the same contact."""
        there, place = self._of.setdefault(user, {}), dialled(contact)
        for other in [known for known, where in there.items() if known == call or (place and where == place)]:
            del there[other]
        there[call] = place
        while len(there) > PLACES_MAX:
            del there[next(iter(there))]

    def remove(self, user: str, call: str) -> bool:
        """That registration ended; whether none is left."""
        there = self._of.get(user, {})
        there.pop(call, None)
        if not there:
            self._of.pop(user, None)
        return not there

    def forget(self, user: str) -> None:
        """All of a device's."""
        self._of.pop(user, None)

    def replace(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """All there are: user, Call-ID, contact."""
        self._of.clear()
        for row in rows:
            self.add(*row)

    def of(self, user: str) -> list[str]:
        """Dial strings; none for a device whose contacts are not fit to be dialled."""
        return [place for place in self._of.get(user, {}).values() if place]


class Lately:
    """What events told of registrations within the last seconds. FreeSWITCH writes its list behind them."""

    def __init__(self, lag_s: float) -> None:
        self._lag_s = lag_s
        self._told: dict[tuple[str, str], tuple[float, str | None]] = {}

    def told(self, user: str, call: str, contact: str | None, now: float) -> None:
        """A registration began or was refreshed with that contact, or, without one, it ended."""
        self._told.pop((user, call), None)
        self._told[user, call] = now, contact
        while len(self._told) > LATELY_MAX:
            del self._told[next(iter(self._told))]

    def over(self, rows: Iterable[tuple[str, str, str]], now: float) -> list[tuple[str, str, str]]:
        """A list as it will be when it has caught up."""
        self._told = {at: told for at, told in self._told.items() if told[0] + self._lag_s > now}
        listed = [row for row in rows if row[:2] not in self._told]
        return listed + [(*at, contact) for at, (_, contact) in self._told.items() if contact is not None]
