"""Settings of the built-in node."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tandem.wire.sip.guard import GuardConfig


class Fallback(StrEnum):
    """What a caller gets whom no owner takes in time."""

    APOLOGY = "APOLOGY"  # answer, play the apology, hang up
    REFUSE = "REFUSE"  # 503, so that the carrier tries elsewhere


@dataclass(frozen=True, slots=True)
class BuiltinConfig:
    """Every limit with its reason. Times in seconds."""

    spool_dir: Path
    """Where sealed recordings grow until they are stored; must outlive the process."""

    prompts_dir: Path
    """WAV files and their `manifest.json`."""

    host: str = "127.0.0.1"
    """The address that SIP and RTP are bound to and that phones are told. An IP literal."""

    sip_port: int = 5060
    """UDP; 0 takes any that is free."""

    rtp_port_min: int = 0
    """First port for RTP, even; 0 takes any pair that is free."""

    rtp_port_max: int = 0
    """Last port for RTP's control channel, odd. A leg takes two ports."""

    capacity: int = 50
    """Callers at once, waiting ones too. What one core carries with a recording of each;
    agents' legs are not counted, for each belongs to a caller."""

    retry_after_s: int = 5
    """What a refused caller's carrier is told to wait."""

    fallback_after_s: float = 20.0
    """How long a caller rings when no owner is connected."""

    fallback: Fallback = Fallback.APOLOGY
    """What follows then."""

    rtp_timeout_s: float = 30.0
    """An answered leg that is not on hold and sends no audio for so long is dead."""

    unreachable_after_s: float = 4.0
    """A device that does not even ring in this time is not there: four tries of an INVITE."""

    register_min_s: int = 60
    """Shorter registrations are refused with 423: a thousand phones make 17 requests a second."""

    register_max_s: int = 3600
    """Longer ones are cut to this."""

    contacts_max: int = 10
    """Places that one device may register. The latest one is rung."""

    digest_algorithms: tuple[str, ...] = ("MD5",)
    """How phones may prove their password. Most phones refuse a challenge that they do not know even beside
    one that they do (baresip 1.0 and SIPp 3.6 among them), so SHA-256 is for those that are all able to."""

    music: str = "music"
    """The prompt that a party on hold hears, and a caller between two steps while no owner is there."""

    apology: str = "apology"
    """The prompt of the fallback."""

    guard: GuardConfig = field(default_factory=GuardConfig)
    """What scanners and floods may take."""

    catch_up_frames: int = 5
    """Frames that a late ticker makes up for; what is older is skipped, as it would only fill the phones'
    buffers. 100 ms is what they commonly hold."""

    spool_max: int = 10_000
    """Recordings that are not stored yet. More means that Blobs has been away for a day."""

    upload_retry_max_s: float = 60.0
    """Longest pause between two tries to store a recording; the first is 1 s."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before a socket is opened."""
        if (self.rtp_port_min == 0) != (self.rtp_port_max == 0):
            raise ValueError("media.rtp_port_min and media.rtp_port_max: set both, or both to 0 for any port")
        if self.rtp_port_min % 2 or self.rtp_port_min > self.rtp_port_max:
            bounds = f"{self.rtp_port_min} to {self.rtp_port_max}"
            raise ValueError(f"media.rtp_port_min must be even and not above media.rtp_port_max, not {bounds}")
        if self.capacity < 1:
            raise ValueError(f"media.capacity {self.capacity} must be at least 1")
