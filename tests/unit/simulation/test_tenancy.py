"""The oracle that no tenant sees another knows names from random ids (seed 10298: `u6fernwimnd4` is an offer)."""

from __future__ import annotations

import pytest

from tandem.core.commit import ENGINE, Commit, Envelope, Part
from tandem.core.ports.log import Partition
from tandem.simulation.invariants import Tenancy, Violation


def _commit(stream: str, clear: bytes) -> Commit:
    event = Envelope("live/0/1/1/0", "cobalt", stream, 1, 0, "", "", "", Part("agent.reserved", clear))
    return Commit(1, 1, 0, "", 0, ENGINE, events=(event,))


def _look(stream: str, clear: bytes) -> None:
    tenancy = Tenancy()
    tenancy.words = ["cobalt", "fern"]
    tenancy.commit(Partition("live", 0), _commit(stream, clear), [])


@pytest.mark.parametrize(
    ("stream", "clear"),
    [
        ("desk", b"\n\x04fern"),
        ("desk", b"\n\x0bfern-agent1\x12\x02id"),
        ("desk", b"\n\x06fernx7"),
        ("contact/fernx74", b""),
        ("desk", b"tenants/fern/queues/sales"),
    ],
)
def test_a_name_of_another_tenant_is_found(stream: str, clear: bytes) -> None:
    with pytest.raises(Violation, match="fern in"):
        _look(stream, clear)


@pytest.mark.parametrize(
    "clear", [b"\n\x0cu6fernwimnd4", b"\n\x0cfernwimnd4aa", b"\n\x0cu6abcdwifern", b"\n\x06cobalt"]
)
def test_letters_of_a_random_id_are_no_name(clear: bytes) -> None:
    _look("desk", clear)
