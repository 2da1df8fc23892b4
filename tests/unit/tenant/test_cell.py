"""The cell: tenants and their places, keys, whose each number is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.access import Role
from tandem.core.decider import Context
from tandem.core.errors import BAD_FIELD, LIMIT_REACHED, NAME_TAKEN, UNKNOWN_NAME, Rejected
from tandem.core.seal import Erased, Sealed, Secret, Withheld
from tandem.runtime.canonical import Canonical
from tandem.tenant.domain import cell
from tandem.tenant.domain.cell import (
    Cell,
    ClaimNumber,
    CreateApiKey,
    CreateTenant,
    DeleteApiKey,
    NumberClaimed,
    ReleaseNumber,
)
from tests.support.late_snapshot import changed_rows

DIGEST = "0" * 64


def reason_of(call: Any) -> Any:
    with pytest.raises(Rejected) as caught:
        call()
    return caught.value


def test_tenants_are_placed_on_the_shard_with_the_fewest(the_cell: Any) -> None:
    places = [the_cell.do(CreateTenant(name, name, 3)).shard for name in ("a", "b", "c", "d", "e")]
    assert places == [0, 1, 2, 0, 1]


def test_a_tenant_is_made_once(the_cell: Any) -> None:
    the_cell.do(CreateTenant("red", "Red", 1))
    assert reason_of(lambda: the_cell.do(CreateTenant("red", "Again", 1))).reason is NAME_TAKEN


@pytest.mark.parametrize("name", ["", "-", "Red", "1red", "red.blue", "red-", "r" * 33, "red/blue", "ré"])
def test_a_tenant_s_id_is_fit_for_names_and_sip(the_cell: Any, name: str) -> None:
    error = reason_of(lambda: the_cell.do(CreateTenant(name, "", 1)))
    assert error.reason is BAD_FIELD
    assert list(error.metadata) == ["tenant_id"]


def test_a_key_belongs_to_its_tenant_alone(the_cell: Any) -> None:
    for tenant in ("red", "blue"):
        the_cell.do(CreateTenant(tenant, "", 1))
        the_cell.do(CreateApiKey(tenant, "ops", "", Role.ADMIN, "", DIGEST))
    assert list(the_cell.state.keys_of("red")) == ["ops"]
    the_cell.do(DeleteApiKey("red", "ops"))
    assert the_cell.state.keys_of("red") == {}
    assert list(the_cell.state.keys_of("blue")) == ["ops"]
    assert reason_of(lambda: the_cell.do(DeleteApiKey("red", "ops"))).reason is UNKNOWN_NAME


@pytest.mark.parametrize(("role", "agent"), [(Role.AGENT, ""), (Role.ADMIN, "ann")])
def test_a_key_stands_for_an_agent_exactly_if_its_role_is_agent(the_cell: Any, role: Role, agent: str) -> None:
    the_cell.do(CreateTenant("red", "", 1))
    error = reason_of(lambda: the_cell.do(CreateApiKey("red", "k", "", role, agent, DIGEST)))
    assert list(error.metadata) == ["agent"]


def test_a_key_of_no_tenant_is_refused_but_the_platform_s_own(the_cell: Any) -> None:
    assert reason_of(lambda: the_cell.do(CreateApiKey("red", "k", "", Role.ADMIN, "", DIGEST))).reason is UNKNOWN_NAME
    assert the_cell.do(CreateApiKey("-", "k", "", Role.PLATFORM, "", DIGEST)).role is Role.PLATFORM


def test_a_tenant_has_so_many_keys_and_no_more(the_cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "MAX_KEYS", 2)
    the_cell.do(CreateTenant("red", "", 1))
    for name in ("a", "b"):
        the_cell.do(CreateApiKey("red", name, "", Role.ADMIN, "", DIGEST))
    assert reason_of(lambda: the_cell.do(CreateApiKey("red", "c", "", Role.ADMIN, "", DIGEST))).reason is LIMIT_REACHED


def test_a_number_is_one_tenant_s_in_the_whole_cell(the_cell: Any) -> None:
    for tenant in ("red", "blue"):
        the_cell.do(CreateTenant(tenant, "", 1))
    first = the_cell.do(ClaimNumber("red", "1000"))
    error = reason_of(lambda: the_cell.do(ClaimNumber("blue", "1000")))
    assert error.reason is NAME_TAKEN
    assert "red" not in str(error) + str(error.metadata)
    the_cell.do(ReleaseNumber("red", "1000", first.serial))
    assert the_cell.do(ClaimNumber("blue", "1000")).tenant == "blue"


def test_a_release_leaves_a_later_claim_alone(the_cell: Any) -> None:
    the_cell.do(CreateTenant("red", "", 1))
    first = the_cell.do(ClaimNumber("red", "1000"))
    second = the_cell.do(ClaimNumber("red", "1000"))
    assert second.serial > first.serial
    assert the_cell.do(ReleaseNumber("red", "1000", first.serial)) == second
    assert the_cell.state.numbers["1000"] == second
    assert the_cell.do(ClaimNumber("red", "1000")).serial > second.serial


def test_another_tenant_cannot_release_a_number(the_cell: Any) -> None:
    for tenant in ("red", "blue"):
        the_cell.do(CreateTenant(tenant, "", 1))
    claim = the_cell.do(ClaimNumber("red", "1000"))
    the_cell.do(ReleaseNumber("blue", "1000", claim.serial))
    assert the_cell.state.numbers["1000"] == claim


@pytest.mark.parametrize("number", ["", "1", "a1", "+", "12 34", "1" * 21, "*99", "12\r\n"])
def test_a_number_has_digits(the_cell: Any, number: str) -> None:
    the_cell.do(CreateTenant("red", "", 1))
    assert list(reason_of(lambda: the_cell.do(ClaimNumber("red", number))).metadata) == ["number_id"]


names = st.sampled_from(["red", "blue", "green"])
commands = st.one_of(
    st.builds(CreateTenant, names, st.just(""), st.just(2)),
    st.builds(CreateApiKey, names, names, st.just(""), st.just(Role.ADMIN), st.just(""), st.just(DIGEST)),
    st.builds(DeleteApiKey, names, names),
    st.builds(ClaimNumber, names, st.sampled_from(["10", "11"])),
    st.builds(ReleaseNumber, names, st.sampled_from(["10", "11"]), st.integers(0, 9)),
)


@given(st.lists(commands, max_size=30))
def test_any_history_ends_in_a_state_that_a_snapshot_gives_back(history: list[Any]) -> None:
    state = Cell()
    for command in history:
        context = Context("-", "cell", 1, "u", None, lambda label: Secret(b""))
        try:
            events = cell.decide(state, command, context)
        except Rejected:
            continue
        for event in events:
            before, state = state, cell.evolve(state, event)
            cell.react(state, event)
            assert changed_rows(cell.ROWS, before, state) <= set(cell.ROWS.touched(event))
    canonical = Canonical(Sealed, Withheld, Erased, *cell.KIND.states)
    assert cell.ROWS.load(canonical.decode(canonical.encode(cell.ROWS.dump(state)))) == state
    assert all(isinstance(claim, NumberClaimed) and claim.serial <= state.serial for claim in state.numbers.values())
    assert all(key.tenant in state.tenants for key in state.keys.values())
