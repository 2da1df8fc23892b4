"""The same promises for inputs that Hypothesis makes: seeds cut, doubled, joined and mixed with noise.

No coverage guides it, but it runs everywhere and shrinks what it finds.
"""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.sip import SEPARATOR
from tests.fuzz.table import TARGETS
from tests.support.budget import examples

EXAMPLES = {"sip_endpoint": 40, "registrar": 40}
_NOISE = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"\r\n", b"\r\n\r\n", SEPARATOR, b"\0", b'"', b"{", b"[" * 200, b"9" * 30, b"\xff\xff\xff\xff"]),
)


@functools.cache
def kept(name: str) -> list[bytes]:
    return seeds.all_of(name)


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """Pieces of seeds, cut, doubled and mixed with noise."""
    data = draw(st.sampled_from(kept(name)))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 4, 30, 400])))
        other = draw(st.sampled_from(kept(name)))
        piece = draw(st.one_of(_NOISE, st.just(data[start:end] * 2), st.just(other[start:end]), st.just(b"")))
        data = data[:start] + piece + data[end:]
    return data[: TARGETS[name].max_bytes]


@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_holds_for_every_mutation(name: str) -> None:
    @given(st.one_of(mutated(name), mutated(name), st.binary(max_size=300)))
    @examples(EXAMPLES.get(name, 120))
    def holds(data: bytes) -> None:
        TARGETS[name].check(data)

    holds()
