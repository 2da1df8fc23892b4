"""The media node of this host: agent, journal, link, and the backend that the settings name."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import CannotOpen
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.points import Points
from tandem.core.ports.blobs import Blobs
from tandem.core.ports.clock import Clock
from tandem.core.ports.entropy import Entropy
from tandem.media.backend import Sink
from tandem.media.builtin.config import BuiltinConfig, Fallback
from tandem.media.builtin.driver import BuiltinNode, PortTaken
from tandem.media.builtin.prompts import BadPrompts, load_prompts
from tandem.media.driver import BuildBackend, MediaProcess, MediaSettings
from tandem.media.freeswitch.driver import LookupPortTaken
from tandem.media.journal.disk import BadNodeKey, JournalInUse, NoJournal, default_node_key_file
from tandem.media.link.address import LinkAddress, UnsafeLink
from tandem.runtime.beside import beside
from tandem.runtime.config import Config
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.admin import AdminPortTaken, serve_metrics
from tandem.runtime.telemetry.process import Telemetry, traced_ratio
from tandem.targets.gateways import Rereading
from tandem.targets.groups import PROMPTS
from tandem.targets.media_freeswitch import BadSwitch, freeswitch_backend
from tandem.targets.secret_file import BadSecretFile
from tandem.wire.sip.guard import GuardConfig

_log = logging.getLogger(__name__)

METRICS = "media-metrics.json"
"""File in the run directory that says where the node's metrics are served."""
DIGESTS = {"md5": ("MD5",), "sha-256": ("SHA-256",), "both": ("SHA-256", "MD5")}
"""Setting `sip.digest` -> what phones are challenged with, preferred first (RFC 8760)."""

CANNOT_START = (
    CannotOpen, PortTaken, BadPrompts, BadNodeKey, JournalInUse, NoJournal, UnsafeLink, AdminPortTaken,
    LookupPortTaken, BadSwitch, BadSecretFile,
)  # fmt: skip
"""Errors of `run_media` that say what to do."""


def _guard(config: Config) -> GuardConfig:
    limits = {name: getattr(config.guard, name) for name in config.guard.__struct_fields__ if name != "trusted"}
    return GuardConfig(config.guard.networks(), **limits)


def _builtin(config: Config, blobs: Blobs, clock: Clock, entropy: Entropy, telemetry: Telemetry) -> BuildBackend:
    """The built-in node. Raises `BadPrompts`."""
    media = config.media
    builtin = BuiltinConfig(
        config.data_dir / "media" / "spool",
        media.prompts_dir or PROMPTS,
        config.sip.host,
        config.sip.port,
        media.rtp_port_min,
        media.rtp_port_max,
        media.capacity,
        digest_algorithms=DIGESTS[config.sip.digest],
        guard=_guard(config),
        fallback_after_s=media.fallback_after_s,
        fallback=Fallback.APOLOGY if media.fallback == "apology" else Fallback.REFUSE,
    )
    prompts = load_prompts(builtin.prompts_dir)

    @asynccontextmanager
    async def build(sink: Sink) -> AsyncIterator[BuiltinNode]:
        node = BuiltinNode(builtin, blobs, entropy, clock, prompts, sink)
        telemetry.meters.watch(node.readings)
        telemetry.meters.adopt(names.RTP_TICK_DELAY, node.counts.send_delay)
        try:
            async with beside(node.run()):
                yield node
        finally:
            node.close()

    return build


async def run_media(
    config: Config, points: Points, ready: Callable[[], None], settings_now: Callable[[], Config]
) -> None:
    """The media node of this process, until cancelled. `settings_now` reads its settings again, for `admin gateways`;
    it raises `BadConfig`."""
    clock, entropy = SystemClock(), SystemEntropy()
    media = config.media
    telemetry = Telemetry(config, "media", f"{config.cell}/{media.node}/{os.getpid()}", clock)
    settings = MediaSettings(
        media.node,
        LinkAddress(config.media_link),
        config.data_dir / "media" / "journal",
        media.node_key_file or default_node_key_file(os.environ),
        media.allow_node_key_on_disk,
        sample_ratio=traced_ratio(config),
        takes_over=media.backend == "freeswitch" and bool(media.freeswitch.door),
    )
    blobs = await LocalBlobs.open(config.blobs)
    rereading = Rereading(settings_now)
    if media.backend == "freeswitch":
        build = freeswitch_backend(config, blobs, clock, entropy, telemetry, rereading)
    else:
        build = _builtin(config, blobs, clock, entropy, telemetry)
    process = MediaProcess(settings, clock, entropy, points, build, telemetry.instruments, rereading)

    def begun() -> None:
        telemetry.meters.watch(process.readings)
        ready()

    try:
        async with telemetry.running(), serve_metrics(config.telemetry.media_port, telemetry.text) as port:
            _write_port(config, port)
            await process.run(begun)
    finally:
        await blobs.close()
        telemetry.close()


def _write_port(config: Config, port: int) -> None:
    """For scrapers of this host: the port may be 0 in the configuration. On a full disk they have to know
    it, or find what an earlier life wrote: calls are worth more."""
    path = config.run_dir / METRICS
    temporary = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"metrics": f"http://127.0.0.1:{port}/metrics"}), encoding="ascii")
        temporary.rename(path)
    except OSError as error:
        _log.error("file %s cannot be written: %s; metrics are on port %d", path, error, port)
