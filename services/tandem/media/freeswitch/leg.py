"""A leg on FreeSWITCH."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from tandem.core.ports.media import By, Cause, Collect, Command
from tandem.wire.esl import Event

LEG, TENANT, SHARD = "tandem_leg", "tandem_tenant", "tandem_shard"
"""Channel variables that name a leg that a node made or took over, should the journal be lost."""


class Stage(StrEnum):
    """How far a leg has come."""

    ARRIVED = "ARRIVED"  # a caller hears it ringing
    CALLING = "CALLING"  # a device is asked to ring
    UP = "UP"  # answered
    FALLBACK = "FALLBACK"  # the dialplan took the caller: nobody else did in time


@dataclass(slots=True)
class Sound:
    """An application that plays or collects on the leg."""

    play_key: str | None
    """The command that settles when it ends; None once it has settled."""
    token: str
    """What FreeSWITCH calls it."""
    argument: str
    """What it was given, as far as it can be told by that from others."""
    collect: Collect | None = None
    loops: bool = False
    """It begins anew when it has ended, or was broken off."""


@dataclass(slots=True)
class Leg:
    """One channel that an owner may command. Refers to others by id, never by reference."""

    id: str
    tenant: str
    shard: int
    channel: str
    """Its name on FreeSWITCH, a UUID."""
    inbound: bool
    stage: Stage
    parked: bool
    """FreeSWITCH waits for commands on it: what is sent now begins now."""
    switch: str = ""
    """The life of FreeSWITCH that it belongs to; empty while nobody asked."""
    taken: bool = False
    """The fallback is cancelled."""
    asking: bool = False
    """The switch is asked whether the fallback has begun."""
    queue: deque[Command] = field(default_factory=deque)
    """Commands that have not begun."""
    begun: Command | None = None
    """An `Answer`, `Bridge`, `Supervise` or `Confer` that the switch has and whose event has not come: the later
    ones wait."""
    peer: str | None = None
    """The leg that it is bridged to."""
    lost: str = ""
    """The leg that it was bridged to: to be told once FreeSWITCH has it parked."""
    supervises: str = ""
    """The leg that it listens to."""
    conference: str = ""
    """The room that it is in, or on its way to, as FreeSWITCH calls it."""
    sound: Sound | None = None
    awaited_by: str = ""
    """The leg whose `Bridge` to this one waits or has begun."""
    replacing: bool = False
    """What it hears is being ended, to make room."""
    hanging_up: Cause | None = None
    """An owner, or the node, has asked for its end."""
    by_node: bool = False
    """The end was the node's wish."""
    recording: str = ""
    """Name of the recording that FreeSWITCH makes of it."""
    record_wanted: bool = False
    """Its call record is being looked for."""
    referral: str = ""
    """The REFER that brought it to park, if one did; see `referrals`."""
    moving: bool = False
    """It leaves its bridge by an owner's wish: for another one, or to hear something."""

    # outbound
    originate_key: str | None = None
    ring_limit_s: float = 0.0
    rang_at_us: int = 0
    """When it began to ring, by the switch's clock; 0 if it has not."""
    rang_ms: int = 0
    rings: list[str] = field(default_factory=list)
    """Channels of a device that rings in several places, until one of them answers; empty for one place."""
    missing: list[str] = field(default_factory=list)
    """Those of them that the switch does not name any more."""
    said: tuple[Cause, By, str] | None = None
    """The most telling end of a place that did not answer."""
    gateway: str = ""
    """Through which it calls a number; empty for a device."""
    early: bool = False
    """What is said before the answer can be heard."""
    why: str = ""
    """Why a number was not reached, where that says more than the cause of the leg's end."""

    @property
    def channels(self) -> tuple[str, ...]:
        """All that it has on FreeSWITCH."""
        return tuple(self.rings) or (self.channel,)

    @property
    def occupied(self) -> bool:
        """It runs an application that ends when it is sent to park."""
        return bool(self.supervises or self.conference)

    def row(self) -> dict[str, object]:
        """For the journal: what FreeSWITCH cannot tell, and what was told of the leg."""
        return {
            "tenant": self.tenant,
            "shard": self.shard,
            "channel": self.channel,
            "switch": self.switch,
            "inbound": self.inbound,
            "stage": self.stage.value,
            "taken": self.taken,
            "peer": self.peer,
            "lost": self.lost,
            "supervises": self.supervises,
            "conference": self.conference,
            "ring_limit_s": self.ring_limit_s,
            "rang": self.rang_at_us,
            "referral": self.referral,
            "gateway": self.gateway,
            "early": self.early,
            "rings": list(self.rings),
        }


def named(channel: Event) -> tuple[str, str, int]:
    """Leg, tenant and shard as the channel's variables name them; the first is empty for a caller who came here."""
    leg, tenant, shard = (channel.get(f"variable_{name}") or "" for name in (LEG, TENANT, SHARD))
    return leg, tenant, int(shard) if shard.isascii() and shard.isdecimal() else 0
