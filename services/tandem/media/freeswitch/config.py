"""Settings of the FreeSWITCH backend that its decisions need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FreeswitchConfig:
    """Every limit with its reason. Times in seconds."""

    dial: str = "sofia/tandem/{user}%{realm}"
    """How a device is rung whose contact is not fit to be dialled: where FreeSWITCH finds it in our realm."""

    phones_srtp: str = "optional"
    """`rtp_secure_media` for phones that registered over TLS, or `no`."""

    door: str = ""
    """Where the door is by which all SIP comes, which asks by OPTIONS who takes calls. A node that is drained then
    refuses everything new; one alone refuses callers only, for its phones have no other registrar and its emergency
    calls no other way."""

    dial_by_door: str = "sofia/tandem/{user}@{door};fs_path=sip:{door}"
    """How a device is rung that registered by another node: the door has all registrations."""

    contact: str = "tandem/{user}@{realm}"
    """The same phone, as FreeSWITCH is asked where it is."""

    unreachable_after_s: float = 4.0
    """A device that does not even ring in this time is not there: four tries of an INVITE."""

    carrier_after_s: float = 20.0
    """The same of a number that is called through a carrier, which may look for its phone in another country."""

    ring_margin_s: int = 3
    """FreeSWITCH's own limit lies so much behind ours. It counts whole seconds, from the call's beginning,
    and may be a second early; it is for the time in which no agent lives."""

    settle_after_s: float = 5.0
    """How long the event of an `Answer` or `Bridge` that the switch has taken may be missing."""

    quiet_after_s: float = 2.0
    """How long a prompt may go on after it was told to end, before the next one begins all the same."""

    look_after_s: float = 0.1
    """How often it is looked whether the phone of a caller who is taken over has answered: nothing tells it."""

    taken_over_after_s: float = 7.0
    """How long that answer may be missing. A phone that hears nothing has said so by four tries of an INVITE."""

    again_after_s: float = 2.5
    """When a phone is asked again that was asking for something itself: RFC 3261 has 2.1 to 4 s."""

    in_flight_s: float = 0.3
    """How long what was sent may be under way inside of FreeSWITCH, to a channel's thread, when nobody listens any
    more: so long after that it is asked what has come of it. What is sent again too early happens twice, and a bridge
    that is made in the middle of the same bridge ends the call."""

    goodbye_s: float = 1.0
    """How long the end of a leg may be missing that a list does not name any more: its event may be under way."""

    list_lag_s: float = 5.0
    """How far FreeSWITCH's list of registrations may lie behind its events: rows are written by a thread of their
    own, some hundred at a time."""

    heartbeat_s: float = 2.0
    """FreeSWITCH's `event-heartbeat-interval`. Three missing ones mean a connection that brings nothing."""

    behind_frames: int = 50_000
    """So much that came and was not worked off narrows what we listen to: half of what FreeSWITCH itself keeps for a
    listener before it drops events. Back to all of it at a tenth, so that it does not go to and fro."""

    gone_after_s: float = 10.0
    """How long nobody may listen on the event socket before the switch counts as dead, with its calls. A FreeSWITCH
    that is started anew says so itself, after 2 to 4 s."""

    recordings_dir: str = "/dev/shm/tandem-recordings"  # noqa: S108
    """Where FreeSWITCH writes recordings, in memory; no blanks."""

    recordings_max: int = 10_000
    """Recordings that are not stored yet."""

    music: str = "music"
    """The prompt that a caller hears between two steps while no owner is there."""

    retry_after_s: int = 5
    """What a refused caller's carrier is told to wait."""

    channels_max: int = 20_000
    """Rows of a list that are read; FreeSWITCH's own limit of sessions is lower."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before a connection is opened."""
        if "{user}" not in self.dial or any(letter in self.dial for letter in " ,;|\r\n\0'"):
            raise ValueError(f"the dial string must hold {{user}} and be one endpoint, not {self.dial!r}")
        if any(letter in self.recordings_dir for letter in " '\r\n\0") or not self.recordings_dir.startswith("/"):
            raise ValueError(
                f"media.freeswitch.recordings_dir {self.recordings_dir!r} must be absolute, without blanks"
            )

    @property
    def behind_door(self) -> bool:
        """Whether there is one."""
        return bool(self.door)
