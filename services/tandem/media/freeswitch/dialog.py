"""A caller's leg as the node that has it describes it, and as another node's FreeSWITCH reads it.

FreeSWITCH keeps a row for each answered call, to find it again after its own death (`sofia recover`). Such a row can
be made of what `uuid_dump` says of a channel, and put into the database of another FreeSWITCH, which then sends the
phone a re-INVITE of the same dialog from its own address. docs/reference/freeswitch-recipes.md says what it takes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote
from xml.sax.saxutils import escape

from tandem.core.ports.media import MAX_DIALOG_BYTES
from tandem.core.seal import Private, Secret
from tandem.media.freeswitch.leg import LEG, SHARD, TENANT
from tandem.wire.esl import JsonEvent

MOVED = "sip_bye_h_X-Tandem-Moved"
"""A channel that has this variable ends without its phone hearing of it: the door answers the BYE that carries the
header, and passes it on to nobody."""
CSEQ = "sip_cseq"
"""What FreeSWITCH sets when the phone has answered the re-INVITE. Nothing else says so."""
CANNOT_MOVE = "CANNOT_MOVE"
"""Why a leg is not handed out that never can be."""
PORTS = 500
"""So many below rtp_port_min are for callers who are taken over."""
FORMAT = 2
"""Of what `handed_out` writes."""

_PREFIX = "variable_"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_UNFIT = re.compile(r"[^\x20-\x7e]")
_NUMBER = re.compile(r"[0-9]{1,18}")
_TAG = re.compile(r";tag=([^;>\s]+)")
_DOOR_TAG = re.compile(r"<sip:[^>]*;ftag=([^;>\s]+)")
_URI = re.compile(r"<sips?:([^>]*)>")

_LEFT_BEHIND = re.compile(
    # What the other node's FreeSWITCH makes for itself. With the SSRC of this one its packets would seem to be old ones
    # of the same source, and phones would not play them.
    r"rtp_use_ssrc|sip_cseq|sip_outgoing_contact_uri|sip_local_network_addr|sip_handle_full_.*|.*crypto.*|recovered|"
    # What ended with this one.
    r"signal_bond|bridge_.*|last_bridge_.*|last_sched_id|limit_.*|current_application.*|playback_.*|read_result|"
    r"transfer_.*|sip_bye_h_.*|"
    # The names of this one, and of its leg.
    r"uuid|call_uuid|tandem_leg|tandem_tenant|tandem_shard|"
    # What a stranger's phone may have made long, and nobody reads.
    r"sip_h_.*|"
    # What was heard and pressed.
    r"tandem_heard|tandem_digits_.*"
)
"""Variables that do not go along."""

_FLAGS = "0=1;1=1;4=1;39=1;55=1;88=1;89=1;160=1"
_CAPS = "1=1;2=1;3=1;4=1;5=1;6=1;8=1;9=1;10=1"
"""Of an answered inbound channel of FreeSWITCH 1.10 (switch_types.h)."""
_CSEQ_STEP, _CSEQ_MASK, _NTP_EPOCH = 1000, 0x7FFFFFF, 2208988800
"""Sofia begins to count a dialog's requests at the clock's half seconds. So much above, what this node's FreeSWITCH may
still send is below what the other one sends."""

_PROFILE = {
    "username": "Caller-Username",
    "caller_id_name": "Caller-Caller-ID-Name",
    "caller_id_number": "Caller-Caller-ID-Number",
    "ani": "Caller-ANI",
    "network_addr": "Caller-Network-Addr",
    "destination_number": "Caller-Destination-Number",
}


@dataclass(frozen=True, slots=True)
class Dialog:
    """What a node was handed."""

    leg: str
    """That was handed out."""
    shard: int
    cseq: int
    """Below that of the next request."""
    created_us: int
    answered_us: int
    profile: Mapping[str, str] = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)


def handed_out(channel: JsonEvent, leg: str, shard: int) -> Secret | str:
    """The leg whose channel `uuid_dump` printed, for another node; or why not. CANNOT_MOVE: encrypted, not over UDP, or
    not by a door, without which its phone speaks to this node's own address. NOT_WAITING: its phone has not
    acknowledged the answer yet, and until then FreeSWITCH does not tell our own tag."""
    given = {name[len(_PREFIX) :]: value for name, value in channel.headers().items() if name.startswith(_PREFIX)}
    if any(not _TAG.search(given.get(party, "")) for party in ("sip_full_to", "sip_full_from")):
        return "NOT_WAITING"
    parties = _parties(given)
    if parties is None or given.get("sip_via_protocol") != "udp" or "local_media_port" not in given:
        return CANNOT_MOVE
    if "rtp_has_crypto" in given or any(name.startswith("rtp_secure_media_confirmed") for name in given):
        return CANNOT_MOVE
    variables = {
        name: value for name, value in given.items() if _NAME.fullmatch(name) and not _LEFT_BEHIND.fullmatch(name)
    }
    ours, phones = parties
    variables |= {"sip_handle_full_from": ours, "sip_handle_full_to": phones, "sip_from_uri": _uri(phones)}
    written = {
        "format": FORMAT,
        "leg": leg,
        "shard": shard,
        "cseq": _cseq(channel, given),
        "created": _number(channel.get("Caller-Channel-Created-Time")),
        "answered": _number(channel.get("Caller-Channel-Answered-Time")),
        "profile": {name: _UNFIT.sub("", channel.get(header) or "") for name, header in _PROFILE.items()},
        "variables": variables,
    }
    value = json.dumps(written, separators=(",", ":")).encode()
    return Secret(value) if len(value) <= MAX_DIALOG_BYTES else CANNOT_MOVE


def read(dialog: Private) -> Dialog | None:
    """What `handed_out` wrote; None for anything else."""
    if not isinstance(dialog, Secret):
        return None
    try:
        found = json.loads(dialog.value)
        if found["format"] != FORMAT:
            return None
        numbers = shard, cseq, created, answered = tuple(
            found[name] for name in ("shard", "cseq", "created", "answered")
        )
        texts = [found["leg"], *found["profile"].values(), *found["variables"].values()]
        profile, variables = dict(found["profile"]), dict(found["variables"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    fit = all(type(number) is int and number >= 0 for number in numbers) and all(type(text) is str for text in texts)
    if not fit or not all(_NAME.fullmatch(name) for name in (*profile, *variables)):
        return None
    return Dialog(found["leg"], shard, cseq, created, answered, profile, variables)


@dataclass(frozen=True, slots=True)
class Named:
    """What a call that is taken over is called from then on."""

    channel: str
    leg: str
    tenant: str


def port_below(first: int, leg: str, tries: int) -> int:
    """The port for the audio of a leg that is taken over, 0 if there is none below `first`, FreeSWITCH's rtp_port_min.
    FreeSWITCH does not choose it, and gives it back to those that it chooses from when the call ends. A port below
    them it leaves alone. One above them it takes for a place past the end of its list, writes there, and counts one
    port less in use: below none there are none left (switch_core_port_allocator.c)."""
    lowest = max(1024, first - 2 * PORTS)
    count = (first - lowest) // 2
    chance = hashlib.sha256(f"{leg}/{tries}".encode()).digest()
    return lowest + lowest % 2 + 2 * (int.from_bytes(chance[:4], "big") % count) if count > 0 else 0


def row_of(dialog: Dialog, named: Named, audio: tuple[str, int], tries: int = 1) -> str:
    """The row that has FreeSWITCH, which sends and takes its audio at this address and port, take the call up and park
    it, for the `tries`-th time: each request counts on. As long as it has `MOVED` its end is not told to the phone."""
    media_ip, port = audio
    variables = dict(dialog.variables) | {
        # FreeSWITCH takes the channel's name from the first of these, not from the table's column.
        "uuid": named.channel, "call_uuid": named.channel,
        LEG: named.leg, TENANT: named.tenant, SHARD: str(dialog.shard),
        "local_media_ip": media_ip, "advertised_media_ip": media_ip, "local_media_port": str(port),
        "sip_invite_cseq": str(dialog.cseq + tries),
        MOVED: "true",
    }  # fmt: skip
    profile = dict(dialog.profile) | {"dialplan": "XML", "context": "arrivals", "source": "mod_sofia"}
    own = "".join(f"<{name}>{quote(value, safe='')}</{name}>" for name, value in variables.items())
    who = "".join(f"<{name}>{escape(_UNFIT.sub('', value))}</{name}>" for name, value in profile.items())
    return (
        "<cdr>"
        f"<channel_data><direction>inbound</direction><flags>{_FLAGS}</flags><caps>{_CAPS}</caps></channel_data>"
        f"<variables>{own}</variables>"
        # It counts as a caller here: `limit` without a number refuses nobody.
        '<callflow><extension name="moved"><application app_name="limit" app_data="hash tandem callers"/>'
        '<application app_name="park" app_data=""/></extension>'
        f"<caller_profile>{who}</caller_profile><times><created_time>{dialog.created_us}</created_time>"
        f"<answered_time>{dialog.answered_us}</answered_time></times></callflow>"
        "</cdr>"
    )


def _parties(given: Mapping[str, str]) -> tuple[str, str] | None:
    """From and To of a request of ours: this node's party and the phone. Which is which FreeSWITCH tells as of the last
    request, whoever sent it; the phone's tag stands in the route that the door gave the call."""
    route = _DOOR_TAG.search(given.get("sip_invite_record_route", ""))
    one, two = given.get("sip_full_to", ""), given.get("sip_full_from", "")
    tags = [found[1] for party in (one, two) if (found := _TAG.search(party))]
    if route is None or len(tags) < 2 or tags[0] == tags[1] or route[1] not in tags:
        return None
    return (one, two) if tags[1] == route[1] else (two, one)


def _uri(party: str) -> str:
    found = _URI.search(party)
    return found[1] if found else ""


def _cseq(channel: JsonEvent, given: Mapping[str, str]) -> int:
    seconds = _number(channel.get("Event-Date-Timestamp")) // 1_000_000
    clock = ((seconds + _NTP_EPOCH) >> 1) & _CSEQ_MASK
    return max(clock, _number(given.get("sip_cseq")), _number(given.get("sip_invite_cseq"))) + _CSEQ_STEP


def _number(text: str | None) -> int:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else 0
