"""Who may call and register, and what everybody else is told."""

from __future__ import annotations

import pytest

from tandem.core.ports.media import (
    Answer,
    By,
    CallRefused,
    Cause,
    DeviceRegistered,
    DeviceUnregistered,
    HangUp,
    LegArrived,
    LegEnded,
    Originate,
)
from tandem.core.seal import secret
from tandem.media.backend import MergedDirectory
from tandem.media.builtin.config import Fallback
from tandem.media.builtin.driver import PortTaken
from tandem.wire.sip import events as sip
from tests.integration.media.phone import Phone
from tests.integration.media.world import DIRECTORY, NUMBER, TENANT, World, world
from tests.support.prompts import PROMPT_HZ


async def refused(phone: Phone, number: str = NUMBER) -> sip.CallEnded:
    phone.dial(number)
    ended = await phone.until(sip.CallEnded)
    assert ended.cause is sip.EndCause.REJECTED
    return ended


async def test_an_unlisted_number_is_404_and_nothing_is_told(tmp_path):
    async with world(tmp_path) as w:
        assert (await refused(w.phone("4917055"), "4930999")).status == 404
        assert w.sink.told == []
        assert w.sink.rows == {}


async def test_before_any_directory_phones_are_asked_to_wait(tmp_path):
    async with world(tmp_path, directory=None) as w:
        caller = w.phone("4917055")
        ended = await refused(caller)
        assert (ended.status, ended.headers.get("Retry-After")) == (503, "5")
        assert not await caller.register("any")
        assert next(e for e in caller.events if isinstance(e, sip.RegistrationFailed)).status == 503


async def test_the_call_over_capacity_is_refused_with_a_reason(tmp_path):
    async with world(tmp_path, capacity=2) as w:
        callers = [w.phone(f"491705{i}") for i in range(3)]
        leg = await w.call(callers[0])
        callers[1].dial(NUMBER)
        await callers[1].until(sip.CallProgress)
        ended = await refused(callers[2])
        assert (ended.status, ended.headers.get("Retry-After")) == (503, "5")
        assert ended.reason is not None
        assert (ended.reason.protocol, ended.reason.cause) == ("Q.850", 42)
        told = w.sink.told[-1]
        assert (told.tenant, told.leg, told.body) == (TENANT, "", CallRefused(NUMBER, "CAPACITY"))
        await w.do(leg, HangUp())
        await w.call(callers[2])


async def test_agents_legs_do_not_count_as_calls(tmp_path):
    async with world(tmp_path, capacity=1) as w:
        await w.talk(w.phone("4917055"), w.phone("ann"), "ann-secret")


async def test_the_fifty_first_call(tmp_path):
    async with world(tmp_path) as w:
        callers = [w.phone(f"49170{i}") for i in range(51)]
        for caller in callers[:50]:
            caller.dial(NUMBER)
        for caller in callers[:50]:
            await caller.until(sip.CallProgress)
        assert (await refused(callers[50])).status == 503
        assert sum(isinstance(t.body, LegArrived) for t in w.sink.told) == 50
        assert len(w.node.legs()) == 50


async def test_no_free_rtp_port(tmp_path):
    async with world(tmp_path, rtp_port_min=47110, rtp_port_max=47111) as w:
        first, second = w.phone("4917055"), w.phone("4917056")
        first.dial(NUMBER)
        await first.until(sip.CallProgress)
        assert (await refused(second)).status == 503
        assert w.sink.told[-1].body == CallRefused(NUMBER, "NO_RTP_PORT")


async def test_passwords(tmp_path):
    async with world(tmp_path) as w:
        ann, thief, ghost = w.phone("ann"), w.phone("ann"), w.phone("nobody")
        assert await ann.register("ann-secret")
        assert w.sink.told[-1].body == DeviceRegistered("ann")
        for phone in (thief, ghost):
            assert not await phone.register("bob-secret")
            assert next(e for e in phone.events if isinstance(e, sip.RegistrationFailed)).status == 403
        assert len(w.sink.told) == 1


async def test_registered_is_told_once_and_unregistered_when_the_directory_drops_the_device(tmp_path):
    async with world(tmp_path) as w:
        ann = w.phone("ann")
        assert await ann.register("ann-secret")
        ann.events.clear()
        assert await ann.register("ann-secret")
        assert [t.body for t in w.sink.told] == [DeviceRegistered("ann")]
        w.node.directory(MergedDirectory(DIRECTORY.numbers, {}))
        assert w.sink.told[-1].body == DeviceUnregistered("ann")
        assert w.sink.rows == {}


async def test_a_registration_runs_out(tmp_path):
    async with world(tmp_path, register_min_s=1) as w:
        ann = w.phone("ann")
        assert await ann.register("ann-secret", expires_s=1)
        ann.close()
        w.phones.remove(ann)
        assert (await w.sink.until(DeviceUnregistered)).tenant == TENANT


async def test_a_foreign_tenants_device_is_not_rung(tmp_path):
    async with world(tmp_path) as w:
        ann = w.phone("ann")
        assert await ann.register("ann-secret")
        key = w.begin_of("t2", "c9.1", Originate("ann", 5000, "o", secret("1")))
        assert (await w.settled(key)).reason == Cause.UNREACHABLE
        leg = await w.call(w.phone("4917055"))
        assert (await w.settled(w.begin_of("t2", leg, Answer()))).reason == "LEG_GONE"


async def test_without_an_owner_the_caller_hears_the_apology(tmp_path):
    async with world(tmp_path, owner=False, fallback_after_s=0.3) as w:
        caller = w.phone("4917055", tone_hz=500)
        caller.dial(NUMBER)
        leg = (await w.sink.until(LegArrived)).leg
        await caller.until(sip.CallAnswered)
        await caller.hears(PROMPT_HZ["apology"])
        assert (await w.settled(w.begin(leg, Answer()))).reason == "FALLBACK"
        assert (await w.sink.until(LegEnded)).body == LegEnded(Cause.FALLBACK, By.NODE)
        assert (await caller.until(sip.CallEnded)).cause is sip.EndCause.REMOTE_BYE


async def test_without_an_owner_the_carrier_may_be_told_to_try_elsewhere(tmp_path):
    async with world(tmp_path, owner=False, fallback_after_s=0.1, fallback=Fallback.REFUSE) as w:
        assert (await refused(w.phone("4917055"))).status == 503
        assert (await w.sink.until(LegEnded)).body == LegEnded(Cause.FALLBACK, By.NODE)


async def test_an_owner_that_comes_in_time_takes_the_call(tmp_path):
    async with world(tmp_path, owner=False, fallback_after_s=0.5) as w:
        caller = w.phone("4917055", tone_hz=500)
        caller.dial(NUMBER)
        leg = (await w.sink.until(LegArrived)).leg
        w.node.owner_present(0, True)
        await w.do(leg, Answer())
        await caller.hears_audio(0.7)
        assert [live.leg for live in w.node.legs()] == [leg]


async def test_a_taken_port_names_the_setting(tmp_path):
    async with world(tmp_path / "one") as w:
        with pytest.raises(PortTaken, match=r"sip\.port"):
            World(type(w.config)(tmp_path, w.config.prompts_dir, sip_port=w.node.sip_port), w.sink, w.blobs)


async def test_a_stopped_node_says_goodbye(tmp_path):
    async with world(tmp_path) as w:
        caller, ringing = w.phone("4917055", tone_hz=500), w.phone("4917056")
        await w.call(caller)
        ringing.dial(NUMBER)
        await ringing.until(sip.CallProgress)
        await w.stop()
        assert (await caller.until(sip.CallEnded)).cause is sip.EndCause.REMOTE_BYE
        assert (await ringing.until(sip.CallEnded)).status == 503
