"""The FreeSWITCH of this host as the media node's backend."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
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
from tandem.media.freeswitch.gateways import MAX_PASSWORD, Gateway, is_password
from tandem.media.journal.disk import default_node_key_file, in_memory
from tandem.runtime.config import Config
from tandem.runtime.telemetry.process import Telemetry
from tandem.targets.groups import PROMPTS
from tandem.targets.secret_file import BadSecretFile, read_secret


class BadSwitch(Exception):
    """The settings do not let the agent reach FreeSWITCH; the text says what to change."""


def freeswitch_backend(
    config: Config, blobs: Blobs, clock: Clock, entropy: Entropy, telemetry: Telemetry
) -> BuildBackend:
    """The FreeSWITCH node. Raises `BadSwitch`, `BadSecretFile`, `BadPrompts`."""
    given = config.media.freeswitch
    folder = (config.media.prompts_dir or PROMPTS).absolute()
    load_prompts(folder)  # what FreeSWITCH will play is what the manifest lists
    prompts = {name: str(path) for name, path in prompt_files(folder).items()}
    switch = Switch(given.host, given.port, "127.0.0.1", given.lookup_port)
    password = _password(given.password_file)
    gateways = list(_gateways(config))
    key_file = config.media.node_key_file or default_node_key_file(os.environ)
    recordings = given.recordings_dir or key_file.parent / "recordings"
    settings = FreeswitchConfig(
        behind_door=given.behind_door, recordings_dir=str(recordings.absolute()), phones_srtp=given.phones_srtp
    )
    cdrs = given.cdr_dir or config.data_dir / "freeswitch" / "storage" / "cdr"
    folder_of_gateways = given.gateways_dir or config.data_dir / "freeswitch" / "storage" / "gateways"
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
        telemetry.meters.watch(node.readings)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(node.run())
            try:
                yield node
            finally:
                running.cancel()
                await node.close()

    return build


def _check_memory(directory: Path, *, allow_on_disk: bool) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not in_memory(directory) and not allow_on_disk:
        raise BadSwitch(
            f"media.freeswitch.recordings_dir {directory} is not in memory: a disk would keep what calls said. Set it "
            "to a directory on tmpfs, or leave it out"
        )


def _gateways(config: Config) -> Iterator[Gateway]:
    """The carriers of the settings, with their passwords. Raises `BadSecretFile`."""
    for name, given in config.media.gateways.items():
        password = ""
        if given.password_file is not None:
            setting = f"media.gateways.{name}.password_file"
            password = read_secret(setting, given.password_file)
            if not is_password(password):
                raise BadSecretFile(
                    f"{setting} {given.password_file} holds no password that FreeSWITCH can take: up to {MAX_PASSWORD} "
                    "characters of ASCII, without blanks and colons"
                )
        yield Gateway(
            name, given.proxy, given.port, given.realm, given.transport, given.username, password, given.register,
            _listed(given.codecs), given.srtp, given.caller_id, given.caller_id_in == "from", given.international,
            _listed(given.tenants), _listed(given.destinations), given.calls_max, given.ping_s,
        )  # fmt: skip


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _password(path: Path | None) -> str:
    if path is None:
        raise BadSwitch(
            "media.freeswitch.password_file is not set: write FreeSWITCH's esl_password into a file that only this "
            "user can read, and name it there"
        )
    return read_secret("media.freeswitch.password_file", path)
