"""The configuration of a Tandem process: one typed tree (see `runtime.settings` for how it is read).

Every limit is a setting, and its description gives the reason for its default.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tandem.runtime.gateway_settings import Gateway

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0, le=86400)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together. Immutable, like everything that a process starts from."""


class _Listener(Section, frozen=True, kw_only=True):
    host: Annotated[
        str, Meta(description="IP address to bind to; 127.0.0.1 serves this host alone.", min_length=1, max_length=64)
    ] = "127.0.0.1"

    def __post_init__(self) -> None:
        """Refuse a name: what it means could change between two starts."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError as error:
            raise ValueError(f"host {self.host!r} is not an IP address; write for example 127.0.0.1") from error


class Sip(_Listener, frozen=True, kw_only=True):
    """SIP over UDP, at the built-in media node."""

    port: Annotated[Port, Meta(description="UDP port that phones register at and dial; 0 takes any free one.")] = 5060
    digest: Annotated[
        Literal["md5", "sha-256", "both"],
        Meta(
            description="How phones prove their password. Many, baresip 1.0 among them, give up when SHA-256 is "
            "asked for, even beside MD5; choose sha-256 when all of yours can do it."
        ),
    ] = "md5"


class Guard(Section, frozen=True, kw_only=True):
    """What scanners and floods may take of the built-in media node. Established calls are not counted."""

    trusted: Annotated[
        str,
        Meta(
            description="Networks that are not counted, with commas: this host, your carriers and proxies.",
            max_length=4096,
        ),
    ] = "127.0.0.0/8, ::1/128"
    source_rate: Annotated[
        float,
        Meta(
            description="New requests a second of one address; beyond it they are dropped. 100 phones behind one "
            "address need 4, a scanner sends 50 and more.",
            gt=0,
        ),
    ] = 20.0
    source_burst: Annotated[
        int, Meta(description="New requests of one address at once: 100 phones after a power cut.", ge=1)
    ] = 200
    total_rate: Annotated[
        float,
        Meta(
            description="New requests a second of all addresses that are neither trusted nor registered; each takes "
            "0.2 ms, so these take 4 % of a core.",
            gt=0,
        ),
    ] = 200.0
    total_burst: Annotated[int, Meta(description="The same at once: two seconds of it.", ge=1)] = 400
    refusals_rate: Annotated[
        float,
        Meta(description="503 with Retry-After a second to those beyond total_rate; the rest gets no answer.", ge=1),
    ] = 50.0
    failures: Annotated[
        int,
        Meta(
            description="Wrong passwords, unknown numbers and garbage of one address before it is not heard: four "
            "phones with a mistyped password.",
            ge=1,
        ),
    ] = 20
    failure_every_s: Annotated[
        float, Meta(description="After that one more in so many seconds: 2,880 guesses a day.", gt=0, le=86400)
    ] = 30.0
    call_rate: Annotated[
        float, Meta(description="Datagrams a second within one call; digits by INFO need 10.", gt=0)
    ] = 20.0
    call_burst: Annotated[int, Meta(description="Datagrams within one call at once.", ge=1)] = 100
    calls_per_source: Annotated[
        int,
        Meta(
            description="Calls at once from an address that is neither trusted nor a registered phone's; one more "
            "gets 503. Half of the default capacity, so that one stranger does not take all places.",
            ge=1,
        ),
    ] = 25
    calls_of_strangers: Annotated[
        int,
        Meta(
            description="Calls at once from all such addresses; one more gets 503. Whoever forges addresses leaves "
            "ten places of the default capacity to your carriers.",
            ge=1,
        ),
    ] = 40
    sources_max: Annotated[
        int, Meta(description="Addresses remembered, the longest unheard forgotten first; 10,000 take 4 MB.", ge=10)
    ] = 10_000

    def __post_init__(self) -> None:
        """Refuse what is no network."""
        for text in self.networks():
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"trusted: {error}; write for example 192.0.2.0/24") from error

    def networks(self) -> tuple[str, ...]:
        """`trusted` as a list."""
        return tuple(text.strip() for text in self.trusted.split(",") if text.strip())


class Grpc(_Listener, frozen=True, kw_only=True):
    """The public API over gRPC."""

    port: Annotated[Port, Meta(description="TCP port of the API; 0 takes any free one.")] = 50051


class Http(_Listener, frozen=True, kw_only=True):
    """The public API over REST, its live streams and the page."""

    port: Annotated[Port, Meta(description="TCP port of REST and page; 0 takes any free one.")] = 8080
    connections_max: Annotated[
        int,
        Meta(
            description="Connections at once; one more is answered 429. Half of the 1,024 files that a process may "
            "open where nobody has raised that (ulimit -n). Each live stream is one.",
            ge=1,
        ),
    ] = 500
    connections_per_address_max: Annotated[
        int,
        Meta(
            description="The same of one address, which may be a whole office; raise it to connections_max behind a "
            "proxy, whose address all have.",
            ge=1,
        ),
    ] = 200
    head_bytes_max: Annotated[
        int, Meta(description="Largest head of a request; browsers and proxies send a tenth.", ge=1024, le=1024 * 1024)
    ] = 16 * 1024
    head_s: Annotated[
        Seconds, Meta(description="How long the head of a request may take to come; then the client gets 408.")
    ] = 10.0
    body_s: Annotated[
        Seconds, Meta(description="How long its body may take; then the connection is closed. 1 MiB at 280 kbit/s.")
    ] = 30.0
    idle_s: Annotated[
        Seconds,
        Meta(
            description="How long a connection may stay open between requests; longer than clients and load balancers "
            "(60 s) keep theirs, because who closes first must be they, or a request meets the connection as it closes."
        ),
    ] = 75.0
    unread_s: Annotated[
        Seconds,
        Meta(description="How long a client may leave unread what it is sent; then the connection is closed."),
    ] = 30.0


class Log(Section, frozen=True, kw_only=True):
    """The record of everything that happened."""

    kind: Annotated[
        Literal["sqlite", "memory"],
        Meta(description="sqlite keeps the log in one file; memory forgets it at the end, for trials."),
    ] = "sqlite"
    dir: Annotated[
        Path | None, Meta(description="Directory of log.db, keys.db and views.db; default {data_dir}/log.")
    ] = None

    snapshot_commits: Annotated[
        int,
        Meta(
            description="A shard writes a snapshot after so many commits; 10,000 are folded in about a second "
            "at a restart.",
            ge=10,
        ),
    ] = 10_000


class Live(Section, frozen=True, kw_only=True):
    """The group of session and routing."""

    shards: Annotated[
        int,
        Meta(
            description="Shards of a group, fixed once the log exists. 4 is an embedded cell, a cluster has 64.",
            ge=1,
            le=64,
        ),
    ] = 4


class FreeSwitch(Section, frozen=True, kw_only=True):
    """FreeSWITCH beside the media agent (`media.backend = "freeswitch"`). Its own settings stand in
    `infra/freeswitch/settings.xml`; what stands in both has to agree."""

    prefix: Annotated[
        Path | None,
        Meta(
            description="Where FreeSWITCH 1.10 is installed (PREFIX/bin/freeswitch). `tandem up` then starts it, with "
            "infra/freeswitch as its configuration and {data_dir}/freeswitch to write to, and it carries the calls."
        ),
    ] = None
    host: Annotated[
        Literal["127.0.0.1", "::1"],
        Meta(description="Where its event socket listens: on this host alone, for it has no TLS."),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="TCP port of the event socket; FreeSWITCH's esl_port.")] = 8021
    password_file: Annotated[
        Path | None,
        Meta(
            description="File with the event socket's password and nothing else, mode 0600; FreeSWITCH's esl_password."
        ),
    ] = None
    lookup_port: Annotated[
        Port,
        Meta(
            description="TCP port on 127.0.0.1 where the agent answers FreeSWITCH's look-ups of accounts; the one in "
            "FreeSWITCH's directory_url."
        ),
    ] = 8022
    cdr_dir: Annotated[
        Path | None,
        Meta(
            description="FreeSWITCH's cdr_dir: call records, which tell after a gap who hung up, and are removed. "
            "They hold numbers. Default: {data_dir}/freeswitch/storage/cdr; with `tandem up` beside the node key, in "
            "memory."
        ),
    ] = None
    recordings_dir: Annotated[
        Path | None,
        Meta(
            description="Where FreeSWITCH writes recordings until they are sealed, in memory only: 58 MB an hour and "
            "call. Default: recordings, beside the node key."
        ),
    ] = None
    door: Annotated[
        str,
        Meta(
            description="Address and port of the door (infra/kamailio) by which all SIP comes, where the phones are "
            "registered too: each node rings each phone. A node that is drained then answers OPTIONS, registrations "
            "and emergency calls with 503, the door sends them to another one, and callers who wait on it are moved "
            "there. Empty: there is none, and a drained node refuses callers alone.",
            pattern=r"^(([0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})?$",
            max_length=128,
        ),
    ] = ""
    phones_srtp: Annotated[
        Literal["no", "optional", "mandatory"],
        Meta(
            description="The audio of agents' phones that registered over TLS. optional: encrypted where the phone "
            "can. mandatory: one that cannot is not rung. Phones over UDP and TCP are in the clear, browsers "
            "(WSS) are always encrypted."
        ),
    ] = "optional"
    carrier_ca_file: Annotated[
        Path | None,
        Meta(
            description="Whom carriers over TLS have to be signed by: certificates in one file (PEM). `tandem up` lays "
            "it down as FreeSWITCH's certs/cafile.pem, if no file of yours is there. Default: those that the system "
            "trusts."
        ),
    ] = None
    gateways_dir: Annotated[
        Path | None,
        Meta(
            description="FreeSWITCH's gateways_dir: a file for each of media.gateways is written there, and removed "
            "with it; files of others stay. Default: {data_dir}/freeswitch/storage/gateways."
        ),
    ] = None


class Media(Section, frozen=True, kw_only=True):
    """The media node of this host."""

    backend: Annotated[
        Literal["builtin", "freeswitch"],
        Meta(
            description="What carries the calls: the built-in node, for evaluation and up to 50 calls, or the "
            "FreeSWITCH of this host."
        ),
    ] = "builtin"

    node: Annotated[
        str,
        Meta(
            description="Name of this node in its cell, stable across restarts; its events are numbered under it.",
            pattern="^[a-z0-9][a-z0-9-]*$",
            max_length=32,
        ),
    ] = "m1"
    link: Annotated[
        str,
        Meta(
            description="Where the control plane meets the node: unix:PATH; empty is unix:{data_dir}/run/media.sock.",
            max_length=256,
        ),
    ] = ""
    capacity: Annotated[
        int,
        Meta(
            description="Callers at once; the next one gets 503. 50 recorded calls are what one core carries.",
            ge=1,
            le=1000,
        ),
    ] = 50
    fallback_after_s: Annotated[
        Seconds,
        Meta(
            description="How long a caller rings when no control plane is there; 20 s is less than carriers wait "
            "and more than a restart takes."
        ),
    ] = 20.0
    fallback: Annotated[
        Literal["apology", "503"],
        Meta(description="What follows then: answer with the apology, or 503 so that the carrier tries elsewhere."),
    ] = "apology"
    lost_after_s: Annotated[
        Seconds,
        Meta(
            description="A node that was away for so long is given up: its contacts end as media_lost and its agents "
            "are free. Calls that lived on there are hung up when it comes back, so longer than any cut of the network."
        ),
    ] = 600.0
    rtp_port_min: Annotated[
        Port, Meta(description="First UDP port for audio, even; 0 (with rtp_port_max = 0) takes any that is free.")
    ] = 0
    rtp_port_max: Annotated[
        Port, Meta(description="Last UDP port for audio, odd; a leg takes two, a call with its agent four.")
    ] = 0
    prompts_dir: Annotated[
        Path | None, Meta(description="Directory with prompts and manifest.json; default: those that Tandem ships.")
    ] = None
    node_key_file: Annotated[
        Path | None,
        Meta(
            description="The key of journal and recording spool, in memory only; default in $XDG_RUNTIME_DIR, "
            "else in /dev/shm."
        ),
    ] = None
    allow_node_key_on_disk: Annotated[
        bool,
        Meta(description="Take a node key that is not on tmpfs: who has the disk can then read what calls said."),
    ] = False
    freeswitch: FreeSwitch = FreeSwitch()
    gateways: Mapping[str, Gateway] = {}

    def __post_init__(self) -> None:
        """Refuse half a range, one that holds no pair of ports, and gateways that cannot be."""
        low, high = self.rtp_port_min, self.rtp_port_max
        if (low == 0) != (high == 0):
            raise ValueError("rtp_port_min and rtp_port_max: set both, or both to 0 for any free port")
        if low % 2 or low > high:
            raise ValueError(f"rtp_port_min must be even and not above rtp_port_max, not {low} to {high}")
        for name, gateway in self.gateways.items():
            problem = gateway.problem(name)
            if problem:
                raise ValueError(f"gateways.{name}: {problem}")
        if self.gateways and self.backend == "builtin":
            raise ValueError('gateways: the built-in node has none; set backend = "freeswitch", or leave them out')


class Relay(Section, frozen=True, kw_only=True):
    """The TURN servers for phones in browsers that cannot reach a media node (`:issueRelay`)."""

    urls: Annotated[
        str,
        Meta(
            description="The servers, with commas: turn:relay.example:3478?transport=udp. Empty: there is none.",
            pattern=r"^(turns?:[^\s,]+(,\s*turns?:[^\s,]+)*)?$",
            max_length=1024,
        ),
    ] = ""
    secret_file: Annotated[
        Path | None, Meta(description="The file with coturn's static-auth-secret and nothing else, mode 0600.")
    ] = None
    lifetime_s: Annotated[
        int,
        Meta(description="How long a credential is good: a shift. Who takes one away uses the relay no longer.", ge=60),
    ] = 8 * 3600

    def __post_init__(self) -> None:
        """Refuse half of it."""
        if bool(self.urls) != (self.secret_file is not None):
            raise ValueError("urls and secret_file: set both, or none for no relay")


class Keys(Section, frozen=True, kw_only=True):
    """The keys of private values."""

    cell_key_file: Annotated[
        Path | None,
        Meta(
            description="The key that wraps all others, mode 0600, made at the first start; default beside keys.db. "
            "Without it nothing private can be read again: back it up apart from the log."
        ),
    ] = None


class Retention(Section, frozen=True, kw_only=True):
    """How the tenants' retention policies are carried out."""

    sweep_every_s: Annotated[
        float,
        Meta(
            description="How often contacts that are over are looked through for what is due. Terms are days, so an "
            "hour later is in time; a pass reads what has become due since the last one.",
            ge=1,
            le=86400,
        ),
    ] = 3600.0


Amount = Annotated[int, Meta(ge=1, le=1_000_000)]


class TenantLimits(Section, frozen=True, kw_only=True):
    """What each tenant may use at most, unless its quota says otherwise (`tenants/{tenant}/quota`)."""

    live_contacts: Annotated[
        Amount,
        Meta(description="Contacts at once; 1,000 are some 4 MB of state, more than a few nodes carry."),
    ] = 1000
    setups_per_s: Annotated[
        Amount,
        Meta(description="New calls a second, on average; half of what a core decides, so that others have room."),
    ] = 100
    setup_burst: Annotated[
        Amount, Meta(description="New calls at once, above the average: two seconds of it, as after an advertisement.")
    ] = 200
    api_requests_per_s: Annotated[
        Amount,
        Meta(description="Requests to the API a second; the API shares a core with the calls, this is a fifth of it."),
    ] = 200
    api_burst: Annotated[
        Amount, Meta(description="Requests at once, above the average: two seconds of it, for pages that open.")
    ] = 400
    credential_requests_per_s: Annotated[
        Amount,
        Meta(description="Requests a second of one credential: one gone wild leaves half to the others."),
    ] = 100
    credential_burst: Annotated[
        Amount, Meta(description="Requests at once of one credential, above the average: two seconds of it.")
    ] = 200
    streams: Annotated[
        Amount, Meta(description="Streams open at once (watches, downloads): one for each of 100 open desktops.")
    ] = 100
    queues: Annotated[
        int, Meta(description="Queues configured; the most that a desk is tried with.", ge=1, le=1000)
    ] = 1000
    agents: Annotated[
        int, Meta(description="Agents configured; the most that a desk is tried with.", ge=1, le=10_000)
    ] = 10_000
    numbers: Annotated[
        int, Meta(description="Numbers configured; all of them travel to each media node.", ge=1, le=10_000)
    ] = 10_000
    flows: Annotated[
        int, Meta(description="Flows configured, each with up to 100 versions in the state of its shard.", ge=1, le=500)
    ] = 500


class Limits(Section, frozen=True, kw_only=True):
    """Limits of the whole process, and of each tenant."""

    tenant: TenantLimits = TenantLimits()
    strangers_per_s: Annotated[
        Amount,
        Meta(
            description="Requests without a valid credential that one source address is answered a second; a "
            "person who mistypes a key sends fewer. Behind a proxy all callers are one source."
        ),
    ] = 20
    strangers_burst: Annotated[
        Amount, Meta(description="Such requests at once, above the average: a page with an old key opens with some.")
    ] = 100
    body_bytes_max: Annotated[
        int,
        Meta(
            description="Largest body of a call to the API; 1 MiB holds a flow of some thousand steps.",
            ge=1024,
            le=64 * 1024 * 1024,
        ),
    ] = 1024 * 1024
    quarantined_max: Annotated[
        int,
        Meta(
            description="A process that has quarantined more contacts, desks and the like than this, or would have "
            "to, claims no further shard. A single one is a rare case; 20 are a release that does not fit its log.",
            ge=0,
            le=1_000_000,
        ),
    ] = 20
    core_dumps: Annotated[
        bool,
        Meta(
            description="Let a crash write the process' memory to a core file, and debuggers attach. Keys and private "
            "values stand in it: only for finding a fault, and never with real callers."
        ),
    ] = False
    stop_grace_s: Annotated[
        Seconds,
        Meta(description="How long calls to the API may end at a stop; above the 5 s in which a command is answered."),
    ] = 6.0


class Telemetry(Section, frozen=True, kw_only=True):
    """Metrics, traces and log lines."""

    otlp_endpoint: Annotated[
        str,
        Meta(
            description="OpenTelemetry collector, as http://127.0.0.1:4317 (gRPC); empty sends nothing and traces "
            "nothing. What it does not take is dropped; calls never wait for it.",
            pattern="^(https?://[^/ ]+)?$",
            max_length=256,
        ),
    ] = ""
    sample_ratio: Annotated[
        float,
        Meta(
            description="The part of the contacts that are traced, decided when a contact begins. A traced one is "
            "about 50 spans; 0.01 is enough where hundreds begin in a minute.",
            ge=0,
            le=1,
        ),
    ] = 1.0
    push_interval_s: Annotated[
        float, Meta(description="How often metrics are pushed to the collector.", ge=1, le=3600)
    ] = 15.0
    media_port: Annotated[
        Port,
        Meta(
            description="TCP port on 127.0.0.1 of the media node's /metrics; 0 takes any free one and writes it to "
            "{data_dir}/run/media-metrics.json. The control plane serves /metrics on http.port, to this host alone."
        ),
    ] = 0
    log_format: Annotated[
        Literal["text", "json"], Meta(description="Log lines for people, or one JSON object each for collectors.")
    ] = "text"


class Demo(Section, frozen=True, kw_only=True):
    """The demo contact centre (`tandem up --demo`)."""

    robot_answers_after_s: Annotated[
        Seconds, Meta(description="How long a robot agent lets its phone ring; 1 s can be seen on the page.")
    ] = 1.0


_NODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Node(Section, frozen=True, kw_only=True):
    """A media node of the cell, as the control plane knows it."""

    link: Annotated[
        str,
        Meta(
            description="Where the control plane meets it, as the node's own media.link has it: unix:PATH.",
            pattern="^unix:.+$",
            max_length=256,
        ),
    ]


class Config(Section, frozen=True, kw_only=True):
    """Everything a process can be told from outside."""

    data_dir: Annotated[Path, Meta(description="Where Tandem writes: log, keys, blobs, views, journal, pid files.")] = (
        Path("var")
    )
    cell: Annotated[
        str,
        Meta(
            description="Name of this cell; it is part of every id, so it stays.",
            pattern="^[a-z0-9][a-z0-9-]*$",
            max_length=32,
        ),
    ] = "c1"
    blobs_dir: Annotated[
        Path | None,
        Meta(
            description="Recordings and snapshots, sealed. The control plane and all media nodes have the same one; "
            "default {data_dir}/blobs."
        ),
    ] = None
    nodes: Mapping[str, Node] = {}
    sip: Sip = Sip()
    guard: Guard = Guard()
    grpc: Grpc = Grpc()
    http: Http = Http()
    log: Log = Log()
    live: Live = Live()
    media: Media = Media()
    relay: Relay = Relay()
    keys: Keys = Keys()
    retention: Retention = Retention()
    limits: Limits = Limits()
    telemetry: Telemetry = Telemetry()
    demo: Demo = Demo()

    def __post_init__(self) -> None:
        """Refuse nodes whose names cannot be."""
        for name in self.nodes:
            if not _NODE.fullmatch(name):
                raise ValueError(
                    f"nodes.{name}: a node's name is up to 32 of a-z, 0-9 and -, and does not begin with -"
                )

    @property
    def blobs(self) -> Path:
        """Directory of recordings and snapshots."""
        return self.blobs_dir or self.data_dir / "blobs"

    @property
    def media_links(self) -> dict[str, str]:
        """Where the control plane meets each media node: those of `nodes`, or the one of this host."""
        return {name: node.link for name, node in self.nodes.items()} or {self.media.node: self.media_link}

    @property
    def log_dir(self) -> Path:
        """Directory of the log, the keys and the views."""
        return self.log.dir or self.data_dir / "log"

    @property
    def run_dir(self) -> Path:
        """Directory of pid files and sockets."""
        return self.data_dir / "run"

    @property
    def freeswitch_dir(self) -> Path:
        """Where a FreeSWITCH writes that Tandem starts."""
        return self.data_dir.absolute() / "freeswitch"

    @property
    def media_link(self) -> str:
        """Where the control plane meets the media node of this host."""
        return self.media.link or f"unix:{self.run_dir / 'media.sock'}"
