"""Private values: sealed to their place, gone with their key (spine 4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.core.seal import (
    MAX_SECRET_BYTES,
    Damaged,
    Erased,
    Sealed,
    Secret,
    Withheld,
    associated,
    fingerprint,
    nonce,
    seal,
    secret,
    unseal,
    unwrap,
    wrap,
)

KEY, OTHER = b"k" * 32, b"o" * 32
AAD = associated("t1", "contact/c1", 3, "contact.started")


def _sealed() -> Sealed:
    return seal(Secret(b"+4420111"), "key-1", KEY, nonce(1, 2, 3), AAD)


def test_a_sealed_value_opens_with_its_key_and_shows_nothing_without() -> None:
    sealed = _sealed()
    assert unseal(sealed, KEY) == b"+4420111"
    assert b"+4420111" not in sealed.data and "4420111" not in repr(sealed)


def test_a_destroyed_key_reads_as_erased() -> None:
    assert unseal(_sealed(), None) == Erased()


@pytest.mark.parametrize(
    "aad",
    [
        associated("t2", "contact/c1", 3, "contact.started"),
        associated("t1", "contact/c2", 3, "contact.started"),
        associated("t1", "contact/c1", 4, "contact.started"),
        associated("t1", "contact/c1", 3, "contact.menu_chosen"),
    ],
    ids=["tenant", "stream", "version", "type"],
)
def test_a_value_moved_to_another_place_does_not_open(aad: bytes) -> None:
    with pytest.raises(Damaged, match="key-1"):
        unseal(replace(_sealed(), aad=aad), KEY)


@pytest.mark.parametrize(
    "altered",
    [
        replace(_sealed(), data=_sealed().data[:-1] + b"\0"),
        replace(_sealed(), data=b""),
        replace(_sealed(), nonce=nonce(1, 2, 4)),
    ],
    ids=["tag", "empty", "nonce"],
)
def test_an_altered_value_does_not_open(altered: Sealed) -> None:
    with pytest.raises(Damaged):
        unseal(altered, KEY)


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(Damaged):
        unseal(_sealed(), OTHER)


def test_what_is_not_sealed_reads_as_itself() -> None:
    assert unseal(Secret(b"plain"), None) == b"plain"
    assert unseal(Withheld(), KEY) == Withheld()
    assert unseal(Erased(), KEY) == Erased()


def test_a_secret_is_never_shown() -> None:
    assert "hunter2" not in repr(secret("hunter2")) and "hunter2" not in str(secret("hunter2", sensitive=True))


def test_a_secret_has_a_largest_size() -> None:
    assert len(secret("x" * MAX_SECRET_BYTES).value) == MAX_SECRET_BYTES
    with pytest.raises(ValueError, match="over the limit"):
        secret("é" * (MAX_SECRET_BYTES // 2 + 1))


def test_a_wrapped_key_opens_with_its_cell_key_and_id_alone() -> None:
    wrapped = wrap(OTHER, "key-1", KEY, b"n" * 12)
    assert unwrap(OTHER, "key-1", wrapped) == KEY
    assert KEY not in wrapped
    for cell_key, key_id, body in ((KEY, "key-1", wrapped), (OTHER, "key-2", wrapped), (OTHER, "key-1", wrapped[:-1])):
        with pytest.raises(Damaged):
            unwrap(cell_key, key_id, body)


def test_a_fingerprint_tells_parts_apart() -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc") != fingerprint(b"abc")


def test_a_nonce_has_twelve_bytes_and_no_more_room_than_that() -> None:
    assert len(nonce(2**32 - 1, 2**48 - 1, 2**16 - 1)) == 12
    for bad in ((2**32, 0, 0), (0, 2**48, 0), (0, 0, 2**16)):
        with pytest.raises(OverflowError):
            nonce(*bad)
