"""How a step closes private values, with the data keys of those whom they are about."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from tandem.core.seal import AUDIO, Sealed, Secret, Withheld, associated, nonce, seal

Closer = Callable[[str, Any], Sealed | Withheld]
"""Closes one value of the message of that name."""


class KeysNeeded(Exception):
    """No unused data key is at hand: the input waits until the block is refilled."""


class Sealer:
    """Of one commit, from whose epoch and number its nonces are made. `key(id)` gives a data key or None."""

    __slots__ = ("_epoch", "_n", "_seals", "key")

    def __init__(self, key: Callable[[str], bytes | None], epoch: int, n: int) -> None:
        self.key, self._epoch, self._n = key, epoch, n
        self._seals = 0

    def closer(self, key_id: str, tenant: str, stream: str, version: int) -> Closer:
        """For values that stand at this place of the log. What has no key is withheld."""

        def close(type_: str, value: Any) -> Sealed | Withheld:
            if not isinstance(value, Secret) or value.sensitive or not key_id:
                return Withheld()
            found = self._key(key_id, value.audio)
            if found is None:
                return Withheld()
            self._seals += 1
            mark = nonce(self._epoch, self._n, self._seals)
            return seal(value, *found, mark, associated(tenant, stream, version, type_))

        return close

    def deriver(self, key_id: str) -> Callable[[str], Secret]:
        """Secrets that follow from the data key, for its audio. It raises KeysNeeded without one."""

        def derive(label: str) -> Secret:
            found = self._key(key_id, audio=True)
            if found is None:
                raise KeysNeeded(f"the data key {key_id} was destroyed")
            return Secret(hmac.digest(found[1], b"tandem/derive/" + label.encode(), "sha256"), audio=True)

        return derive

    def _key(self, key_id: str, audio: bool) -> tuple[str, bytes] | None:
        """Id and bytes of an aggregate's key. One that began under a release without audio keys
        has its first key alone."""
        for id_ in (key_id + AUDIO, key_id) if audio else (key_id,):
            key = self.key(id_)
            if key is not None:
                return id_, key
        return None


def no_secret(type_: str, value: Any) -> Sealed | Withheld:
    """For what is sealed in the state already, or never was secret. Raises TypeError."""
    raise TypeError(f"{type_} carries a {type(value).__name__}: only what is sealed in the state may be passed on")
