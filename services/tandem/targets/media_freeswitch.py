"""The FreeSWITCH of this host as the media node's backend."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tandem.adapters.freeswitch_core import insert_call
from tandem.core.ports.blobs import Blobs
from tandem.core.ports.clock import Clock
from tandem.core.ports.entropy import Entropy
from tandem.media.backend import Sink
from tandem.media.builtin.prompts import load_prompts, prompt_files
from tandem.media.driver import BuildBackend
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.driver import FreeswitchNode, Switch
from tandem.media.freeswitch.files import Files
from tandem.media.freeswitch.gateway_files import ForeignFile
from tandem.media.journal.disk import default_node_key_file, in_memory
from tandem.runtime.beside import beside
from tandem.runtime.config import Config
from tandem.runtime.telemetry.process import Telemetry
from tandem.targets.carriers import gateways_of
from tandem.targets.gateways import Rereading
from tandem.targets.groups import PROMPTS
from tandem.targets.secret_file import read_secret
from tandem.targets.switch import PASSWORD_SETTING


class BadSwitch(Exception):
    """The settings do not let the agent reach FreeSWITCH; the text says what to change."""


def freeswitch_backend(
    config: Config, blobs: Blobs, clock: Clock, entropy: Entropy, telemetry: Telemetry, rereading: Rereading
) -> BuildBackend:
    """The FreeSWITCH node, which `rereading` is given to. Raises `BadSwitch`, `BadSecretFile`, `BadPrompts`."""
    given = config.media.freeswitch
    folder = (config.media.prompts_dir or PROMPTS).absolute()
    load_prompts(folder)  # what FreeSWITCH will play is what the manifest lists
    prompts = {name: str(path) for name, path in prompt_files(folder).items()}
    switch = Switch(given.host, given.port, "127.0.0.1", given.lookup_port)
    if given.password_file is None:
        raise BadSwitch(
            f"{PASSWORD_SETTING} is not set: write FreeSWITCH's esl_password into a file that only this user can read, "
            "and name it there"
        )
    password = read_secret(PASSWORD_SETTING, given.password_file)
    gateways = tuple(gateways_of(config))
    key_file = config.media.node_key_file or default_node_key_file(os.environ)
    recordings = given.recordings_dir or key_file.parent / "recordings"
    settings = FreeswitchConfig(
        door=given.door, recordings_dir=str(recordings.absolute()), phones_srtp=given.phones_srtp
    )
    cdrs = given.cdr_dir or config.freeswitch_dir / "storage" / "cdr"
    folder_of_gateways = given.gateways_dir or config.freeswitch_dir / "storage" / "gateways"
    files = Files(config.data_dir / "media" / "spool", cdrs, blobs, entropy, folder_of_gateways, insert=insert_call)

    @asynccontextmanager
    async def build(sink: Sink) -> AsyncIterator[FreeswitchNode]:
        # The directory of the node key was checked before: it is in memory, and this user's alone.
        if given.recordings_dir is not None:
            _check_memory(recordings, allow_on_disk=config.media.allow_node_key_on_disk)
        try:
            node = FreeswitchNode(settings, switch, password, prompts, files, clock, sink, gateways)
        except ForeignFile as error:
            raise BadSwitch(str(error)) from error
        await node.open()
        rereading.node = node
        telemetry.meters.watch(node.readings)
        try:
            async with beside(node.run()):
                yield node
        finally:
            await node.close()

    return build


def _check_memory(directory: Path, *, allow_on_disk: bool) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not in_memory(directory) and not allow_on_disk:
        raise BadSwitch(
            f"media.freeswitch.recordings_dir {directory} is not in memory: a disk would keep what calls said. Set it "
            "to a directory on tmpfs, or leave it out"
        )
