"""Orders of the `Media` port carried out on live FreeSWITCH: what the phones hear, measured."""

from __future__ import annotations

from tandem.core.ports.media import Bridge, LegEnded, LegReferred, LegUnbridged
from tandem.core.seal import secret
from tests.e2e.foreign import needs_baresip
from tests.e2e.freeswitch.backend import ordered_talk
from tests.e2e.freeswitch.talk import CALLER_HZ, THIRD_HZ

pytestmark = needs_baresip
ELSEWHERE = "4930999"


async def test_a_caller_whom_an_agents_phone_hands_over_belongs_to_the_owner(secure, directory_port, tmp_path):
    async with ordered_talk(secure, directory_port, tmp_path) as talk:
        talk.phones["agent"].command("transfer", f"sip:{ELSEWHERE}@{secure.sip}")
        await talk.told.until(lambda: talk.told.of(LegEnded, talk.agent))
        assert talk.told.of(LegUnbridged, talk.caller) == [LegUnbridged(talk.agent)]
        assert talk.told.of(LegReferred, talk.caller) == [LegReferred(talk.agent, secret(ELSEWHERE))]
        third = await talk.ring("third")
        await talk.done(talk.caller, Bridge(third))
        # The node's fallback would have come after two seconds, in the middle of this.
        for _ in range(2):
            assert await talk.heard_by(talk.caller) == {THIRD_HZ}
            assert await talk.heard_by(third) == {CALLER_HZ}
        assert len(talk.told.of(LegReferred, talk.caller)) == 1


async def test_an_agent_whom_a_callers_phone_hands_over_belongs_to_the_owner(secure, directory_port, tmp_path):
    async with ordered_talk(secure, directory_port, tmp_path) as talk:
        talk.phones["caller"].command("transfer", f"sip:112@{secure.sip}")
        await talk.told.until(lambda: talk.told.of(LegEnded, talk.caller))
        assert talk.told.of(LegReferred, talk.agent) == [LegReferred(talk.caller, secret("112"))]
        third = await talk.ring("third")
        await talk.done(talk.agent, Bridge(third))
        for _ in range(2):
            assert await talk.heard_by(talk.agent) == {THIRD_HZ}
