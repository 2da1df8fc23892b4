"""The product's own phone against the built-in node: real sockets, real audio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from tandem.client.account import Account, NotRegistered
from tandem.client.call import CallOver
from tandem.client.facts import By, Sound, Way
from tandem.client.manner import Answers, Declines, RingsForEver, Vanishes
from tandem.client.phone import Phone
from tandem.client.ticker import Ticker
from tandem.core.ports.media import (
    Answer,
    Bridge,
    Cause,
    Collect,
    Collected,
    DigitsCollected,
    HangUp,
    LegAnswered,
    LegArrived,
    LegEnded,
    Play,
)
from tandem.core.ports.media import (
    By as LegBy,
)
from tandem.core.seal import Secret
from tandem.wire.g711 import Law
from tests.integration.media.world import NUMBER, World, world
from tests.support.prompts import PROMPT_HZ

PATIENCE_S = 20
CALLER_HZ, AGENT_HZ = 620.0, 1040.0
T = TypeVar("T")


async def soon(waiting: Awaitable[T]) -> T:
    """A test waits no longer than this for what must come."""
    async with asyncio.timeout(PATIENCE_S):
        return await waiting


class Desk:
    """Phones at a node."""

    def __init__(self, w: World, ticker: Ticker) -> None:
        self.w, self.ticker = w, ticker
        self.phones: list[Phone] = []

    def phone(self, user: str, password: str = "", **options: Any) -> Phone:
        account = Account(user, ("127.0.0.1", self.w.node.sip_port), password)
        phone = Phone(account, self.ticker, **options)
        self.phones.append(phone)
        return phone


@asynccontextmanager
async def desk(tmp_path, **settings: Any) -> AsyncIterator[Desk]:
    async with world(tmp_path, **settings) as w:
        made = Desk(w, Ticker())
        try:
            yield made
        finally:
            for phone in made.phones:
                await phone.leave()
            made.ticker.close()


async def talk(d: Desk, **agent_options: Any):
    """(caller's call, agent's call, their phones, caller's leg) in a bridge."""
    caller = d.phone("4917055", hz=CALLER_HZ)
    agent = d.phone("ann", "ann-secret", hz=AGENT_HZ, manner=Answers(0.1), **agent_options)
    await agent.register()
    call = caller.dial(NUMBER)
    leg = (await d.w.sink.until(LegArrived)).leg

    await d.w.do(leg, Answer())
    await d.w.ring(f"{leg}.1", "ann")
    await d.w.sink.until(LegAnswered, leg=f"{leg}.1")
    await d.w.do(leg, Bridge(f"{leg}.1"))
    return call, await soon(agent.next_call()), caller, agent, leg


async def test_two_phones_hear_each_others_tones_and_know_who_hung_up(tmp_path):
    async with desk(tmp_path) as d:
        call, answered, caller, agent, leg = await talk(d, law=Law.A)
        assert abs(await soon(call.until_voice(0.5)) - AGENT_HZ) < 5
        await soon(answered.until_hears(CALLER_HZ, 0.5))
        agent.hang_up(answered)
        await d.w.sink.until(LegEnded, leg=f"{leg}.1")
        await d.w.do(leg, HangUp())
        facts = await soon(call.until_over())
        mine = answered.facts

        assert (facts.way, facts.number, facts.caller, facts.by) == (Way.OUT, NUMBER, "4917055", By.FAR)
        assert (mine.way, mine.number, mine.by, mine.offer) == (Way.IN, "ann", By.SELF, f"offer-{leg}.1")
        assert mine.began <= mine.rang <= mine.answered <= mine.first(CALLER_HZ) < mine.last(CALLER_HZ) <= mine.ended
        assert facts.seconds(AGENT_HZ) >= 0.5
        assert facts.first(CALLER_HZ) is None
        assert facts.ended >= mine.ended
        assert len({f.dialog for f in (*caller.facts(), *agent.facts())}) == 2


async def test_digits_go_out_one_after_another(tmp_path):
    async with desk(tmp_path) as d:
        call, answered, _, agent, _ = await talk(d)
        call.press("40#")
        await soon(agent.news.when(lambda: answered.digits == "40#"))
        assert [pressed.digit for pressed in call.facts.pressed] == ["4", "0", "#"]


async def test_a_menu_is_heard_and_a_digit_answers_it(tmp_path):
    async with desk(tmp_path) as d:
        caller = d.phone("4917055", hz=CALLER_HZ)
        call = caller.dial(NUMBER)
        leg = (await d.w.sink.until(LegArrived)).leg
        await soon(call.until_rings())

        await d.w.do(leg, Answer())
        await soon(call.until_answered())
        d.w.begin(leg, Collect("menu", ("menu",), max_digits=1, timeout_ms=5000))
        await soon(call.until_hears(PROMPT_HZ["menu"]))
        call.press("2")
        assert (await d.w.sink.until(DigitsCollected)).body == DigitsCollected("menu", Secret(b"2"), Collected.COMPLETE)
        caller.hang_up(call)
        assert (await d.w.sink.until(LegEnded)).body == LegEnded(Cause.NORMAL, LegBy.FAR)
        assert call.facts.by is By.SELF


async def test_silence_is_heard_as_silence(tmp_path):
    async with desk(tmp_path) as d:
        call, answered, caller, _, _ = await talk(d)
        await soon(call.until_hears(AGENT_HZ))
        answered.mute()
        await soon(caller.news.when(lambda: call.hears.sound is Sound.SILENCE and call.hears.seconds >= 0.4))
        answered.mute(False)
        await soon(call.until_hears(AGENT_HZ))
        quiet = answered.facts.quiet[0]
        silence = max((h for h in call.facts.heard if h.sound is Sound.SILENCE), key=lambda h: h.seconds)
        assert quiet.start <= silence.start <= quiet.end
        assert abs(silence.seconds - (quiet.end - quiet.start)) < 0.35


async def test_hold_is_music_to_the_other(tmp_path):
    async with desk(tmp_path) as d:
        call, answered, _, agent, _ = await talk(d)
        await soon(call.until_hears(AGENT_HZ))
        agent.hold(answered)
        await soon(call.until_hears(PROMPT_HZ["music"]))
        agent.resume(answered)
        await soon(call.until_hears(AGENT_HZ))
        assert len(answered.facts.quiet) == 1


@pytest.mark.parametrize(
    ("manner", "cause"),
    [
        (Declines(603), Cause.DECLINED),
        (Declines(486, 0.1), Cause.BUSY),
        (RingsForEver(), Cause.NO_ANSWER),
        (Vanishes(), Cause.NO_ANSWER),
    ],
)
async def test_what_a_phone_does_with_a_call(tmp_path, manner, cause):
    async with desk(tmp_path) as d:
        agent = d.phone("ann", "ann-secret", manner=manner)
        await agent.register()
        key = await d.w.ring("c1.1", "ann", ring_timeout_ms=600)
        assert (await d.w.settled(key)).reason == cause
        call = await soon(agent.next_call())
        facts = await soon(call.until_over())
        assert facts.rang is not None
        assert facts.answered is None
        assert facts.offer == "offer-c1.1"
        assert facts.by is (By.FAR if isinstance(manner, RingsForEver) else By.SELF)


async def test_a_call_that_comes_in_during_another_gets_busy(tmp_path):
    async with desk(tmp_path) as d:
        _, first, _, agent, _ = await talk(d)
        assert (await d.w.settled(await d.w.ring("c2.1", "ann"))).reason == Cause.BUSY
        second = await soon(agent.next_call(first))
        assert (second.facts.by, second.facts.status, second.facts.rang) == (By.SELF, 486, None)
        assert first.is_up


async def test_a_wrong_password_says_so(tmp_path):
    async with desk(tmp_path) as d:
        with pytest.raises(NotRegistered, match="403") as error:
            await soon(d.phone("ann", "wrong").register())
        assert error.value.status == 403


async def test_an_unknown_number_is_refused_with_a_status(tmp_path):
    async with desk(tmp_path) as d:
        call = d.phone("4917055").dial("999")
        with pytest.raises(CallOver, match="404") as error:
            await soon(call.until_answered())
        assert (error.value.facts.by, error.value.facts.status) == (By.FAR, 404)


async def test_a_caller_cancels_while_it_rings(tmp_path):
    async with desk(tmp_path) as d:
        caller = d.phone("4917055")
        call = caller.dial(NUMBER)
        await soon(call.until_rings())
        caller.hang_up(call)
        assert (await d.w.sink.until(LegEnded)).body == LegEnded(Cause.CANCELED, LegBy.FAR)
        assert (call.facts.by, call.facts.answered) == (By.SELF, None)


async def test_a_phone_that_is_put_away_hangs_up_and_unregisters(tmp_path):
    async with desk(tmp_path) as d:
        _, answered, _, agent, leg = await talk(d)
        await soon(agent.leave())
        assert answered.facts.by is By.SELF
        await d.w.sink.until(LegEnded, leg=f"{leg}.1")
        assert (await d.w.settled(await d.w.ring("c2.1", "ann"))).reason == Cause.UNREACHABLE


async def test_music_goes_on_without_silence(tmp_path):
    async with desk(tmp_path) as d:
        call = d.phone("4917055").dial(NUMBER)
        leg = (await d.w.sink.until(LegArrived)).leg

        await d.w.do(leg, Answer())
        await d.w.do(leg, Play(("music",), loop=True))
        await soon(call.until_hears(PROMPT_HZ["music"], 2.0))
        facts = call.facts
        first, last = facts.first(PROMPT_HZ["music"]), facts.last(PROMPT_HZ["music"])
        assert facts.longest_silence(first, last) == 0
