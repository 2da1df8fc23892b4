"""Private values and their seals: the only user of cryptography in the core (spine 4).

A private value is a `Secret` while a command carries it, and from the moment that it is
written a `Sealed`: the ciphertext as it stands in the log. States, pending effects and
snapshots hold only that, so they are the same bytes with and without keys. It is opened
at the edge alone; without its key it reads `Erased`. A sensitive secret is never written:
the log has `Withheld` in its place.
"""

from __future__ import annotations

import hashlib
from dataclasses import field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tandem.core.values import dataclass

MAX_SECRET_BYTES = 65536
"""Largest private value; longer texts belong into Blobs."""
NONCE_BYTES = 12
AUDIO = "/audio"
"""What the id of an aggregate's second key ends in. The keys of its recordings are made from it and
sealed under it, so that recordings can be erased while the rest is kept."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Plaintext on its way to the seal. Never written, never shown."""

    value: bytes = field(repr=False)
    sensitive: bool = False
    audio: bool = False  # sealed under the aggregate's `AUDIO` key


@dataclass(frozen=True, slots=True)
class Sealed:
    """AES-256-GCM ciphertext with all that its opening needs but the key."""

    key: str
    nonce: bytes = field(repr=False)
    aad: bytes = field(repr=False)
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Withheld:
    """In place of a sensitive value, which is nowhere."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What a private value reads as once its key is destroyed."""


Private = Secret | Sealed | Withheld | Erased


class Damaged(Exception):
    """A seal that does not open with its own key: the bytes were altered."""


def secret(text: str, *, sensitive: bool = False) -> Secret:
    """A text as a private value. Raises ValueError over `MAX_SECRET_BYTES`."""
    value = text.encode()
    if len(value) > MAX_SECRET_BYTES:
        raise ValueError(f"a private value of {len(value)} bytes is over the limit of {MAX_SECRET_BYTES}")
    return Secret(value, sensitive)


def nonce(epoch: int, n: int, index: int) -> bytes:
    """Epoch (32 bits), commit (48) and index in it (16): unique, because an owner never
    uses `(epoch, n)` twice. Raises OverflowError past those widths."""
    return epoch.to_bytes(4, "big") + n.to_bytes(6, "big") + index.to_bytes(2, "big")


def associated(tenant: str, stream: str, version: int, type_: str) -> bytes:
    """What a seal is bound to, so that it cannot be moved to another place of the log."""
    return f"{tenant}\n{stream}\n{version}\n{type_}".encode()


def seal(value: Secret, key_id: str, key: bytes, nonce_: bytes, aad: bytes) -> Sealed:
    """Close a secret. The nonce must never have been used with this key."""
    return Sealed(key_id, nonce_, aad, AESGCM(key).encrypt(nonce_, value.value, aad))


def unseal(sealed: Private, key: bytes | None) -> bytes | Withheld | Erased:
    """The value, or why there is none. Raises `Damaged`."""
    match sealed:
        case Sealed():
            if key is None:
                return Erased()
            try:
                return AESGCM(key).decrypt(sealed.nonce, sealed.data, sealed.aad)
            except InvalidTag as error:
                raise Damaged(f"the value sealed under key {sealed.key} was altered") from error
        case Secret():
            return sealed.value
        case _:
            return sealed


def wrap(cell_key: bytes, key_id: str, key: bytes, nonce_: bytes) -> bytes:
    """A data key under the cell key: nonce and ciphertext, bound to the key's id."""
    return nonce_ + AESGCM(cell_key).encrypt(nonce_, key, key_id.encode())


def unwrap(cell_key: bytes, key_id: str, wrapped: bytes) -> bytes:
    """The data key. Raises `Damaged` for altered bytes or another cell key."""
    try:
        return AESGCM(cell_key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], key_id.encode())
    except InvalidTag as error:
        raise Damaged(f"key {key_id} does not open with this cell key") from error


def fingerprint(*parts: bytes) -> str:
    """SHA-256 over length-prefixed parts, hex."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
