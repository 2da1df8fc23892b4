"""The files of the gateways, one each, for FreeSWITCH to read: whole or not there, and for its user's eyes alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tandem.core.ports.entropy import Entropy
from tandem.media.freeswitch.gateways import Gateway, token_in

MAX_FILE_BYTES = 64 * 1024
"""A gateway's file has 2 KB."""
_SUFFIX = ".xml"
_NEW = ".new"
"""Of what is not whole yet: FreeSWITCH reads all that end in the other suffix."""
_TOKEN_BYTES = 8


class ForeignFile(Exception):
    """A file that somebody else wrote stands where a gateway's is to be; the text says what to do."""


class GatewayFiles:
    """One directory of them. What the agent did not write it does not touch."""

    def __init__(self, directory: Path, entropy: Entropy) -> None:
        self._directory = directory
        self._entropy = entropy

    def put(self, gateways: Iterable[Gateway]) -> dict[str, str]:
        """Write what differs and remove what is no more; which version of each there is. Raises `ForeignFile` and,
        where there is no room, OSError, before anything is changed."""
        wanted = {gateway.name: gateway for gateway in gateways}
        there = {path.name.removesuffix(_SUFFIX): path for path in sorted(self._directory.glob(f"*{_SUFFIX}"))}
        texts = {name: _read(path) for name, path in there.items()}
        for name in wanted:
            if name in there and token_in(texts[name]) is None:
                raise ForeignFile(
                    f"media.gateways.{name}: {there[name]} was not written by Tandem: remove it, or name the gateway "
                    "otherwise"
                )
        for left in self._directory.glob(f".*{_NEW}"):
            left.unlink(missing_ok=True)
        tokens: dict[str, str] = {}
        new: dict[str, Path] = {}
        for name, gateway in wanted.items():
            known = token_in(texts.get(name, ""))
            # A new version only where something is new: FreeSWITCH has to drop the old one for it.
            if known is not None and gateway.file(known) == texts[name]:
                tokens[name] = known
            else:
                tokens[name] = self._entropy.secret(_TOKEN_BYTES).hex()
                new[name] = self._written(gateway, tokens[name])
        for name, path in new.items():
            path.rename(self._directory / f"{name}{_SUFFIX}")
        for name, text in texts.items():
            if name not in wanted and token_in(text) is not None:
                there[name].unlink(missing_ok=True)
        return tokens

    def _written(self, gateway: Gateway, token: str) -> Path:
        """A file that FreeSWITCH does not read yet."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._directory / f".{gateway.name}{_NEW}"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(gateway.file(token))
            file.flush()
            os.fsync(file.fileno())
        return new


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES).decode("ascii", "replace")
