"""The media contract over the FreeSWITCH backend before a scripted switch, whose calls live on."""

from __future__ import annotations

import pytest

from tests.contract.freeswitch_media_world import FreeswitchWorld
from tests.contract.media_contract import CLAUSES


@pytest.mark.parametrize("name", CLAUSES)
async def test_clause(name: str) -> None:
    await CLAUSES[name](FreeswitchWorld())
