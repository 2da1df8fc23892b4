"""A node died with its calls: what its restart tells, and what becomes of agents (spine 7)."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.core.ports import media
from tandem.session.domain.contact import states as st
from tests.support.small_cell import TENANT, SmallCell

LOST = media.LegEnded(media.Cause.MEDIA_LOST, media.By.NODE)


def anna(cell: SmallCell) -> Any:
    """The agent, as the desk has her."""
    return cell.shard.ledger.aggregates[TENANT, "desk"].state.agents["anna"]


def scene(*, answers: bool) -> tuple[SmallCell, str, int]:
    """Anna's phone rings for c1, and she has picked up or not; the leg, and since when she was idle."""
    cell = SmallCell()
    cell.configure("anna")
    idle_since_ms = anna(cell).idle_since_ms
    cell.pass_ms(5_000)
    cell.call("c1")
    leg = cell.orders(media.Originate)[0].payload.leg
    cell.leg(leg, media.LegRinging())
    if answers:
        cell.leg(leg, media.LegAnswered())
        cell.leg("c1", media.LegBridged(leg))
    return cell, leg, idle_since_ms


@pytest.mark.parametrize("caller_first", [True, False])
def test_an_agent_who_talked_gets_wrap_up(caller_first: bool) -> None:
    cell, leg, _ = scene(answers=True)
    for one in ("c1", leg) if caller_first else (leg, "c1"):
        cell.leg(one, LOST)
    assert anna(cell).status.value == "WRAP_UP"
    ended = cell.state("contact/c1")
    assert isinstance(ended, st.Ended)
    assert ended.outcome.value == "MEDIA_LOST"
    assert ended.place is not None


@pytest.mark.parametrize("caller_first", [True, False])
def test_an_agent_whose_phone_rang_is_idle_again_with_her_idle_time(caller_first: bool) -> None:
    cell, leg, idle_since_ms = scene(answers=False)
    for one in ("c1", leg) if caller_first else (leg, "c1"):
        cell.leg(one, LOST)
    cell.outcome(cell.orders(media.Originate)[0].key, media.Outcome.UNKNOWN, "NODE_RESTARTED")
    cell.pass_ms(60_000)
    assert anna(cell).status.value == "IDLE"
    assert anna(cell).idle_since_ms == idle_since_ms
