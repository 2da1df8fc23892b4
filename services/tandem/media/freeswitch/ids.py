"""Names that both sides can derive: after a restart nothing but FreeSWITCH itself need be asked.

A channel's name is a UUID. The leg of a caller is named after it; the channel of a device is named
after the command that rings it, so that ringing again what lives is refused as a duplicate; the channel of a caller
who was taken over is named after the leg.
"""

from __future__ import annotations

import hashlib
import json
import re

from tandem.core.ports.media import Originate

_CHANNEL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CALLER = re.compile(r"[0-9a-f]{32}")


def leg_of_caller(channel: str) -> str | None:
    """The leg of an inbound channel; None for a channel that FreeSWITCH did not name itself."""
    return channel.replace("-", "") if _CHANNEL.fullmatch(channel) else None


def channel_of_caller(leg: str) -> str | None:
    """The inbound channel of a leg; None if the leg is no caller's."""
    return _dashed(leg) if _CALLER.fullmatch(leg) else None


def channel_of_device(tenant: str, key: str, device: str) -> str:
    """The channel on which that command rings that device."""
    return _dashed(_digest("ring", tenant, key, device))


def channel_of(tenant: str, key: str, verb: Originate) -> str:
    """The channel that an `Originate` makes. No device is called as a gateway is here."""
    return channel_of_device(tenant, key, f"@{verb.gateway}" if verb.gateway else verb.device)


def channel_of_moved(tenant: str, leg: str) -> str:
    """The channel on which a caller's leg is taken over from another node: no record of a channel on which the caller
    was before is one of this."""
    return _dashed(_digest("moved", tenant, leg))


def token_of(tenant: str, key: str) -> str:
    """What FreeSWITCH calls the application or job of a command: fit for any of its texts."""
    return _digest("do", tenant, key)


def room_of(tenant: str, conference: str) -> str:
    """What FreeSWITCH calls a tenant's conference."""
    return _digest("room", tenant, conference)


def _digest(*words: str) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
