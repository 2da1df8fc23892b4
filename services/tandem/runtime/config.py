"""The configuration of a Tandem process: one typed tree (see `runtime.settings` for how it is read).

Every limit is a setting, and its description gives the reason for its default.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

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


class Grpc(_Listener, frozen=True, kw_only=True):
    """The public API over gRPC."""

    port: Annotated[Port, Meta(description="TCP port of the API; 0 takes any free one.")] = 50051


class Http(_Listener, frozen=True, kw_only=True):
    """The public API over REST, its live streams and the page."""

    port: Annotated[Port, Meta(description="TCP port of REST and page; 0 takes any free one.")] = 8080


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


class Media(Section, frozen=True, kw_only=True):
    """The media node of this host."""

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

    def __post_init__(self) -> None:
        """Refuse half a range, and one that holds no pair of ports."""
        low, high = self.rtp_port_min, self.rtp_port_max
        if (low == 0) != (high == 0):
            raise ValueError("rtp_port_min and rtp_port_max: set both, or both to 0 for any free port")
        if low % 2 or low > high:
            raise ValueError(f"rtp_port_min must be even and not above rtp_port_max, not {low} to {high}")


class Keys(Section, frozen=True, kw_only=True):
    """The keys of private values."""

    cell_key_file: Annotated[
        Path | None,
        Meta(
            description="The key that wraps all others, mode 0600, made at the first start; default beside keys.db. "
            "Without it nothing private can be read again: back it up apart from the log."
        ),
    ] = None


class Limits(Section, frozen=True, kw_only=True):
    """Limits of the whole process."""

    body_bytes_max: Annotated[
        int,
        Meta(
            description="Largest body of a call to the API; 1 MiB holds a flow of some thousand steps.",
            ge=1024,
            le=64 * 1024 * 1024,
        ),
    ] = 1024 * 1024
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
    sip: Sip = Sip()
    grpc: Grpc = Grpc()
    http: Http = Http()
    log: Log = Log()
    live: Live = Live()
    media: Media = Media()
    keys: Keys = Keys()
    limits: Limits = Limits()
    telemetry: Telemetry = Telemetry()
    demo: Demo = Demo()

    @property
    def log_dir(self) -> Path:
        """Directory of the log, the keys and the views."""
        return self.log.dir or self.data_dir / "log"

    @property
    def run_dir(self) -> Path:
        """Directory of pid files and sockets."""
        return self.data_dir / "run"

    @property
    def media_link(self) -> str:
        """Where the control plane meets the media node of this host."""
        return self.media.link or f"unix:{self.run_dir / 'media.sock'}"
