"""Settings of one carrier: `[media.gateways.NAME]`.

Each value has a form in which it can stand in the file that FreeSWITCH reads, in a dial string and in a
SIP header without being taken for anything else there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

EMERGENCY = "emergency"
"""The gateway that FreeSWITCH's dialplan sends emergency calls to, with no Tandem alive (`emergency_gateway`)."""
_HOST = r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])?$"
_NUMBER = r"^(\+?[0-9]{3,15})?$"


class Gateway(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A carrier, or another exchange, that FreeSWITCH calls numbers through."""

    proxy: Annotated[
        str, Meta(description="The carrier's host: name or IP address, an IPv6 one in brackets.", pattern=_HOST)
    ] = ""
    port: Annotated[int, Meta(description="Its SIP port; 0 is that of the transport, or of DNS.", ge=0, le=65535)] = 0
    realm: Annotated[
        str,
        Meta(description="The carrier's domain, which stands in From; empty is proxy.", pattern=_HOST),
    ] = ""
    transport: Annotated[
        Literal["udp", "tcp", "tls"],
        Meta(description="How SIP goes there; tls needs FreeSWITCH's tls and its certificates."),
    ] = "udp"
    username: Annotated[
        str, Meta(description="The account's name, where the carrier gave one.", pattern=r"^[A-Za-z0-9+._~-]{0,64}$")
    ] = ""
    password_file: Annotated[
        Path | None,
        Meta(
            description="File with the account's password and nothing else, mode 0600: up to 100 characters of ASCII, "
            "no colon, which FreeSWITCH cannot take."
        ),
    ] = None
    register: Annotated[
        bool, Meta(description="Register there, for a carrier that finds us that way; others know our address.")
    ] = False
    codecs: Annotated[
        str,
        Meta(
            description="What it is offered, best first, with commas.",
            pattern=r"^(OPUS|PCMA|PCMU)(, ?(OPUS|PCMA|PCMU)){0,2}$",
        ),
    ] = "PCMA,PCMU"
    srtp: Annotated[
        Literal["no", "optional", "mandatory"],
        Meta(description="Encrypted audio; only with transport tls, because the keys stand in SIP."),
    ] = "no"
    caller_id: Annotated[
        str,
        Meta(
            description="Who calls, where the order names no number of the tenant's own: no other is shown. Empty: "
            "such an order is refused.",
            pattern=_NUMBER,
        ),
    ] = ""
    caller_id_in: Annotated[
        Literal["from", "p-asserted-identity"],
        Meta(description="Where the carrier looks for it; with p-asserted-identity From has the account."),
    ] = "from"
    international: Annotated[
        Literal["+", "00", ""],
        Meta(description="What stands before the country's code in numbers as the carrier takes them."),
    ] = "+"
    tenants: Annotated[
        str,
        Meta(
            description="Ids of the tenants that may call through it, with commas; empty is none.",
            pattern=r"^([a-z0-9-]+(, ?[a-z0-9-]+)*)?$",
            max_length=4096,
        ),
    ] = ""
    destinations: Annotated[
        str,
        Meta(
            description="Beginnings of numbers that may be called, with commas, as +49, !+49900: of those that fit, "
            "the longest decides, and ! means no. + is every number; empty is none. Toll fraud ends here.",
            pattern=r"^(!?\+[0-9]{0,15}(, ?!?\+[0-9]{0,15})*)?$",
            max_length=4096,
        ),
    ] = ""
    calls_max: Annotated[
        int,
        Meta(description="Calls that Tandem makes through it at once: what the carrier sold.", ge=1, le=10_000),
    ] = 30
    ping_s: Annotated[
        int,
        Meta(
            description="How often it is asked whether it is there (OPTIONS), in seconds, 5 or more; one that does not "
            "answer is down, and not called. 0: never. `emergency` never is: a call is tried in any case.",
            ge=0,
            le=3600,
        ),
    ] = 30

    def problem(self, name: str) -> str:
        """What does not fit together; empty if all does."""
        if not self.proxy:
            return "proxy is not set: name the carrier's host"
        if self.register and not (self.username and self.password_file):
            return "register needs username and password_file"
        if self.password_file is not None and not self.username:
            return "password_file needs username"
        if self.srtp != "no" and self.transport != "tls":
            return 'srtp needs transport = "tls": the keys of the audio stand in SIP, for everybody on the way to read'
        if 0 < self.ping_s < 5:
            return "ping_s is 5 or more, or 0 for never"
        if bool(self.tenants) != bool(self.destinations):
            return "tenants and destinations: set both, or none for a gateway that Tandem calls nobody through"
        if name == EMERGENCY and self.tenants:
            return "emergency calls are the dialplan's: give tenants a gateway of another name"
        return ""
