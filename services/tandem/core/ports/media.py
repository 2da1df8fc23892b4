"""The `Media` port: what Tandem tells a media node and what a node tells Tandem (spine 7).

The session's media effects *are* these verbs. One protobuf codec (`runtime.media_codec`)
serves log, snapshot and link. A leg is one party's connection to a node. The id of a
caller's leg is the id of the contact; an agent's leg begins with the contact's id and a
dot, and so does a caller's leg that another node has taken over (`TakeOver`): a leg always
names its contact (`contact_of`).

Commands on one leg run in order. Every command ends in exactly one `CommandSettled`.
Ring limits and digit time-outs are enforced by the node, where answer and time-out meet
in one order.

`Play`, `Collect`, `Bridge`, `Supervise` and `Confer` replace each other: a leg does one of them at a time, and
leaves a bridge for another one. Park, hold, transfers and what is said to a caller are made of these verbs
(docs/reference/media-backends.md).
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from tandem.core.seal import MAX_SECRET_BYTES, Private
from tandem.core.values import dataclass

MAX_LEG = 120
"""Characters in a leg id."""
MAX_DIGITS = 64
"""Digits one `Collect` may ask for."""
MAX_PROMPTS = 16
"""Prompts in one `Play` or `Collect`."""
MAX_DIALOG_BYTES = MAX_SECRET_BYTES
"""A leg as `LegHandedOut` describes it: some 12 KB."""


def contact_of(leg: str) -> str:
    """The contact that a leg belongs to."""
    return leg.partition(".")[0]


class Cause(StrEnum):
    """Why a leg ended. Field terms; each backend maps its own (SIP status, Q.850) to these."""

    NORMAL = "NORMAL"  # hung up after it was answered
    CANCELED = "CANCELED"  # the originating side gave up before the answer
    BUSY = "BUSY"  # 486, 600
    DECLINED = "DECLINED"  # 603, and any other deliberate refusal by a person
    NO_ANSWER = "NO_ANSWER"  # the ring limit passed, or 408/480 from the phone
    UNREACHABLE = "UNREACHABLE"  # no registration, no answer to signalling, 404, transport error
    NO_MEDIA = "NO_MEDIA"  # no RTP for the configured time, or no codec in common
    MEDIA_LOST = "MEDIA_LOST"  # the node died with the leg
    FALLBACK = "FALLBACK"  # no owner took the call; the node played the apology
    REFUSED = "REFUSED"  # the node would not: capacity, malformed request
    FAILED = "FAILED"  # anything else; `detail` says more
    MOVED = "MOVED"  # the leg lives on another node, which took it over: its phone heard of no end


class By(StrEnum):
    """Who ended a leg."""

    FAR = "FAR"  # the phone at the other end
    TANDEM = "TANDEM"  # a `HangUp`
    NODE = "NODE"  # the node itself: limit, lost media, fallback


# ------------------------------------------------------------------- verbs (owner to node)


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a ringing inbound leg."""


@dataclass(frozen=True, slots=True)
class Play:
    """Play prompts one after another; `loop` repeats them until another verb replaces it.

    Settles done at the end of the last prompt, when looping as soon as it has begun, and
    also when another verb or `Stop` replaces it. An unknown prompt settles failed(UNKNOWN_PROMPT).
    With no prompts the leg is up and silent: parked.
    """

    prompts: tuple[str, ...]
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """End what plays or collects on the leg."""


@dataclass(frozen=True, slots=True)
class Collect:
    """Play prompts (a digit interrupts them) and collect digits of one menu step.

    The node reports `DigitsCollected` with the digits that it has when `max_digits` are
    in, a terminator is pressed or a time-out passes; then the command settles done.
    `timeout_ms` counts from the end of the prompts to the first digit. With `sensitive`
    the digits are never journalled or logged in plain.
    """

    step: str
    prompts: tuple[str, ...]
    max_digits: int
    timeout_ms: int
    interdigit_ms: int = 3000
    terminators: str = ""
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Originate:
    """Ring a registered device and make a new leg, whose id the command is addressed to.

    Rings at most `ring_timeout_ms`. `LegRinging`, `LegAnswered` or `LegEnded` tell how it
    goes; the command settles done when the leg is answered, failed(cause) when it ended
    before. Never repeated in doubt: a node that cannot tell settles it `unknown`.

    With a `gateway` it calls `number` (E.164, as +493012345) there in place of a device. The node's settings say
    which tenants may call what through it: what they do not let ends at once, with `LegEnded(REFUSED)`, as
    failed(NO_SUCH_GATEWAY, BAD_NUMBER, NUMBER_NOT_ALLOWED, CALLER_NOT_ALLOWED or GATEWAY_FULL). A carrier that is
    not to be had is GATEWAY_DOWN, a number of nobody UNALLOCATED. `caller` is one of the tenant's numbers; in place
    of any other one the gateway's own is shown.
    """

    device: str  # empty for a number
    ring_timeout_ms: int
    offer: str
    caller: Private
    gateway: str = ""
    number: Private | None = None


@dataclass(frozen=True, slots=True)
class Bridge:
    """Join the leg and `other`, both answered and on this node; replaces what plays on either. `other` may also be a
    leg that told `LegEarlyMedia`: then the leg hears what is said before the answer.

    When one of them ends, or leaves by an order, the other is left silent and up (parked), with `LegUnbridged`.
    """

    other: str


@dataclass(frozen=True, slots=True)
class RecordStart:
    """Record the leg (left) and what it hears (right) as stereo mu-law at 8 kHz.

    `data_key` is the recording's own key, wrapped by the contact's key in the log and
    opened for the node; each 200 ms chunk is sealed with it. Ends with `RecordStop`
    or with the leg; then `RecordingStored` follows. Settles done when begun. The same order again goes on with
    what is recorded, paused or not.
    """

    recording: str
    data_key: Private


@dataclass(frozen=True, slots=True)
class RecordStop:
    """End a recording. A recording that ended before settles done."""

    recording: str


@dataclass(frozen=True, slots=True)
class RecordPause:
    """Record silence on both sides in place of what is said, until `RecordResume`: the time is kept. Settles done
    when nothing more is recorded; failed(NOT_RECORDING) if the leg does not make that recording."""

    recording: str


@dataclass(frozen=True, slots=True)
class RecordResume:
    """Record what is said again. As `RecordPause`."""

    recording: str


class Supervision(StrEnum):
    """Whom a supervisor speaks to. Both parties of the talk are heard in any case."""

    MONITOR = "MONITOR"  # nobody
    WHISPER = "WHISPER"  # the leg that is supervised
    BARGE = "BARGE"  # that leg and the other party


@dataclass(frozen=True, slots=True)
class Supervise:
    """Have the leg, a supervisor's, listen to `other`, an agent's leg, and to whoever it talks with; replaces what
    plays. Again with another mode changes the mode.

    Settles done when it is in force. It ends with `Stop` or another verb that replaces what plays, and with `other`:
    then the leg is left silent and up, with `LegUnbridged`.
    """

    other: str
    mode: Supervision


@dataclass(frozen=True, slots=True)
class Confer:
    """Have the leg, answered, take part in a conference of the tenant on this node, which is there as long as somebody
    takes part in it: each hears all others. Replaces what plays.

    Settles done when it takes part. It ends with `Stop` or another verb that replaces what plays. When somebody ends
    or leaves, the others go on; who is alone then is told `LegUnbridged`, and is still in it.
    """

    conference: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the leg: BYE, CANCEL or a final refusal, as its state asks. A leg that is gone settles done."""

    cause: Cause = Cause.NORMAL


@dataclass(frozen=True, slots=True)
class HandOut:
    """Describe the leg so that another node can take it over: `LegHandedOut`, then done. Nothing is given up by it,
    and nothing changes for the caller; again it describes the leg anew.

    Only a caller who waits can be moved. Fails with NO_DOOR (the node stands behind none, so that the phone speaks
    to this node's own address), NOT_WAITING (not answered, or the phone has not acknowledged it yet; in a menu, bridge
    or conference; recorded), CANNOT_MOVE (by browser, encrypted, or not over UDP), NOT_ON_THIS_BACKEND.
    """


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Take over from another node the leg that its `LegHandedOut` described, as a new leg of the same contact, to whose
    id the command is addressed: `<contact>.move1`, then `.move2`. The owner chooses it, for each try another one, so
    that no leg is on two nodes. From then on it is a caller's leg like any other, and may be handed out in its turn.

    Settles done after `LegTakenOver`: the leg is up and silent here, and the caller's audio comes and goes here. Of a
    leg that was taken over before and lives it settles done at once, and `LegTakenOver` is not told again.
    Failed: this node has nothing of the leg, and its caller has heard of nothing. DRAINING, CAPACITY,
    NOT_ON_THIS_BACKEND, NO_DOOR, BAD_DIALOG (not written by a node of this release; or of another contact's leg, or of
    the very leg of that id), NO_ANSWER (the caller's phone did not say yes to this node), CALL_GONE (it said that it
    knows no such call), NO_PORT (none is free here for its audio), CANNOT_WRITE (FreeSWITCH's database), LEG_EXISTS
    (another leg of that id, or one that is being taken over). Unknown: the switch died with it.
    """

    dialog: Private


@dataclass(frozen=True, slots=True)
class LetGo:
    """Another node has the leg: end this node's side of it, of which its phone is told nothing, with
    `LegEnded(MOVED, TANDEM)`. A leg that is gone settles done."""


Verb = (
    Answer
    | Play
    | Stop
    | Collect
    | Originate
    | Bridge
    | RecordStart
    | RecordStop
    | RecordPause
    | RecordResume
    | Supervise
    | Confer
    | HangUp
    | HandOut
    | TakeOver
    | LetGo
)


# ------------------------------------------------------------------- events (node to owner)


@dataclass(frozen=True, slots=True)
class LegArrived:
    """A call to one of the tenant's numbers; the node has sent 180."""

    number: str  # the dialled number as the directory lists it: the tenant's own, clear
    caller: Private  # the caller's number or SIP user


@dataclass(frozen=True, slots=True)
class LegRinging:
    """The device rings (180 or 183)."""


@dataclass(frozen=True, slots=True)
class LegEarlyMedia:
    """A number that is called through a gateway can be heard before it is answered: its ringing tone, or what the
    carrier says. Told once, after `LegRinging`."""


@dataclass(frozen=True, slots=True)
class LegAnswered:
    """The leg is answered; audio can flow."""


@dataclass(frozen=True, slots=True)
class LegEnded:
    """The leg is gone. Exactly one per leg, the last event that names it but recordings' and settlements."""

    cause: Cause
    by: By
    rang_ms: int = 0  # how long the device rang (outbound legs)
    detail: str = ""  # SIP status or the like, for people


@dataclass(frozen=True, slots=True)
class LegBridged:
    """Audio flows between the leg and `other` (told once per bridge, on the leg that was commanded)."""

    other: str


@dataclass(frozen=True, slots=True)
class LegUnbridged:
    """Whoever the leg was joined to is gone, `other` last; this leg is up and silent. Told once, and not to a leg that
    leaves by an order of its own. `other` is empty if the leg itself was put out of a conference."""

    other: str


@dataclass(frozen=True, slots=True)
class LegHeld:
    """The phone put the leg on hold (re-INVITE)."""


@dataclass(frozen=True, slots=True)
class LegResumed:
    """The phone took the leg off hold."""


@dataclass(frozen=True, slots=True)
class LegReferred:
    """The phone of `other` has asked by REFER to hand this leg over to `target`, a number or user as the phone
    named it. Nobody is called because of that: this leg is up and silent, as after `LegUnbridged`, which comes
    first, and waits for its owner. `other` is empty if the node does not know any more who it was."""

    other: str
    target: Private


@dataclass(frozen=True, slots=True)
class LegHandedOut:
    """All that another node needs to take the leg over. Opaque to owners, and as good as the call itself: it holds
    numbers, addresses and the names of the dialog. At most `MAX_DIALOG_BYTES`."""

    dialog: Private


@dataclass(frozen=True, slots=True)
class LegTakenOver:
    """The leg is on this node now: up and silent. The first that this node tells of it."""


class Collected(StrEnum):
    """Why a `Collect` ended."""

    COMPLETE = "COMPLETE"  # max_digits, or a terminator
    TIMEOUT = "TIMEOUT"  # no digit, or no further one, in time; `digits` has what came
    REPLACED = "REPLACED"  # another verb took its place


@dataclass(frozen=True, slots=True)
class DigitsCollected:
    """The end of a `Collect` of that step."""

    step: str
    digits: Private
    why: Collected


@dataclass(frozen=True, slots=True)
class RecordingStored:
    """The recording stands whole in Blobs under `blob`; `frames` are samples per channel at 8 kHz."""

    recording: str
    blob: str
    frames: int
    size_bytes: int
    sha256: str
    truncated: bool = False  # its end is missing: the node died, or its disk was full


@dataclass(frozen=True, slots=True)
class RecordingFailed:
    """The recording could not be kept."""

    recording: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceRegistered:
    """A device can be rung (told once, not at each refresh). `leg` of the event is empty."""

    device: str


@dataclass(frozen=True, slots=True)
class DeviceUnregistered:
    """A device can no longer be rung: it said so or its registration ran out."""

    device: str


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The node refused a call to the tenant's number before it became a leg (capacity, no owner)."""

    number: str
    reason: str


class Outcome(StrEnum):
    """How a command ended."""

    DONE = "DONE"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"  # in doubt for ever: shown, never repeated


@dataclass(frozen=True, slots=True)
class CommandSettled:
    """The one end of a command. `reason` is a stable UPPER_SNAKE word for FAILED and UNKNOWN."""

    key: str
    outcome: Outcome
    reason: str = ""


MediaEvent = (
    LegArrived
    | LegRinging
    | LegEarlyMedia
    | LegAnswered
    | LegEnded
    | LegBridged
    | LegUnbridged
    | LegHeld
    | LegResumed
    | LegReferred
    | LegHandedOut
    | LegTakenOver
    | DigitsCollected
    | RecordingStored
    | RecordingFailed
    | DeviceRegistered
    | DeviceUnregistered
    | CallRefused
    | CommandSettled
)


# ------------------------------------------------------------------- the link's frames


@dataclass(frozen=True, slots=True)
class Hello:
    """The owner of a shard introduces itself, before it decides anything. `marks` are the
    last numbers it has durably taken, per tenant, of this node's incarnation (one it
    does not know is answered by sending everything)."""

    group: str
    shard: int
    epoch: int
    incarnation: str  # the incarnation that `marks` count in, "" for none
    marks: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class DirectoryNumber:
    """A dialled number and whose it is."""

    number: str
    tenant: str
    shard: int


@dataclass(frozen=True, slots=True)
class DirectoryDevice:
    """A device that may register. `ha1_md5` and `ha1_sha256` are digest secrets, hex, of the realm."""

    user: str
    tenant: str
    shard: int
    realm: str
    ha1_md5: str = field(repr=False)
    ha1_sha256: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything of this shard that a node must know to greet phones; replaces the shard's
    earlier version. Journalled by the node."""

    version: int
    numbers: tuple[DirectoryNumber, ...]
    devices: tuple[DirectoryDevice, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """One verb for one leg. The same key again is answered with its first outcome, or not at
    all while it is under way."""

    tenant: str
    key: str
    leg: str
    verb: Verb
    trace: str = ""  # the context of what is to be done


@dataclass(frozen=True, slots=True)
class Ack:
    """The owner's marks up to `number` are durable: the node may forget those events."""

    tenant: str
    number: int


@dataclass(frozen=True, slots=True)
class ListLegs:
    """Ask for all legs of the shard that live on the node."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The node's answer to `Hello`. `now_ms` is CLOCK_BOOTTIME. `draining`: it takes no new callers; `takes_over`:
    it can carry out `TakeOver`."""

    node: str
    incarnation: str
    boot_id: str
    now_ms: int
    draining: bool = False
    takes_over: bool = False


@dataclass(frozen=True, slots=True)
class StaleEpoch:
    """A newer owner was here; `highest` is its epoch. The link is closed."""

    highest: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, numbered per (node, incarnation, tenant) from 1 without gaps.
    `media_time_ms` is CLOCK_BOOTTIME of the node. `leg` is empty for devices and refusals.
    `trace` is the context of the leg's contact, which begins with its first call."""

    tenant: str
    number: int
    media_time_ms: int
    leg: str
    body: MediaEvent
    trace: str = ""


@dataclass(frozen=True, slots=True)
class KeptEnd:
    """All that the node had kept when `Hello` came has been sent."""


@dataclass(frozen=True, slots=True)
class Legs:
    """The answer to `ListLegs`: (tenant, leg) of each live leg, as of the events that were sent before it."""

    legs: tuple[tuple[str, str], ...]


ToNode = Hello | Directory | Command | Ack | ListLegs
FromNode = Welcome | StaleEpoch | Event | KeptEnd | Legs
