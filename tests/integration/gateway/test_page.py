"""The page in a browser, over a contact centre that does what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, expect
from playwright.async_api import Page as Tab

from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.recording import wav_header
from tandem.gateway import Gateway, Settings
from tandem.gateway.demo_session import DemoSession
from tandem.gateway.page import Page, page_routes
from tests.e2e.browser import chromium, opened, play
from tests.e2e.fake_api import FakeCell, ScriptedContact, fill, now_ms, served, serving
from tests.integration.gateway.conftest import fill as configure
from tests.support.mini_cell import MiniCell, SeededEntropy, mini_cell

pytestmark = pytest.mark.needs("chromium")

EVIL = "<img src=x onerror=alert(1)><b>bold</b>"


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


def live(page: Tab, contact: ScriptedContact) -> Locator:
    return page.locator(f"#live-contacts [data-contact='{contact.pb.name}']")


async def test_a_call_from_the_button_to_its_recording(browser: Browser) -> None:
    cell = FakeCell()
    async with served(cell) as url, opened(browser, url) as (page, complaints):
        await expect(page.locator("#live-text")).to_have_text("Live")
        await expect(page.locator("#dial")).to_contain_text("dial 100 at 127.0.0.1:5060")
        await expect(page.locator("#line")).to_contain_text("Nobody waits. Press Call, or dial 100")
        await page.get_by_role("button", name="Call").click()
        card = page.locator("#live-contacts details")
        await expect(card).to_contain_text("In the menu")

        contact = next(iter(cell.contacts.values()))
        contact.queue(now_ms())
        await expect(card.locator(".chip")).to_have_text("Waiting")
        await expect(page.locator("#line li")).to_contain_text("Waits for an agent")
        contact.ring(now_ms(), "anna")
        await expect(card.locator(".chip")).to_have_text("Ringing")
        await expect(page.locator("#line li")).to_contain_text("Rings Anna Berger")
        contact.connect(now_ms(), "anna")
        await expect(card.locator(".chip")).to_have_text("Talking")
        await expect(page.locator("#figure-talking")).to_have_text("1")
        await card.locator("summary").click()
        await expect(card.locator(".events")).to_contain_text("Talks with Anna Berger")

        contact.end(now_ms())
        contact.keep_recording(now_ms())
        ended = page.locator("#ended-contacts details")
        await expect(ended).to_contain_text("Handled")
        await expect(ended).to_have_attribute("open", "")
        await expect(page.locator("#live-empty")).to_be_visible()
        await play(ended)
        assert complaints.errors == []
        assert complaints.foreign == []


async def test_what_the_api_says_is_shown_as_text(browser: Browser) -> None:
    cell = FakeCell()
    cell.agents["anna"] = EVIL
    cell.queues["sales"] = EVIL
    contact = cell.arrive(EVIL)
    contact.queue(now_ms())
    async with served(cell) as url, opened(browser, url) as (page, complaints):
        await expect(page.locator("#live-contacts .who")).to_have_text(EVIL)
        await expect(page.locator("#agents .who").first).to_have_text(EVIL)
        await expect(page.locator("#line .queue-name").first).to_have_text(EVIL)
        assert await page.locator("img, main b").count() == 0
        assert complaints.errors == []


async def test_a_broken_line_is_shown_and_what_happened_meanwhile_is_made_up_for(browser: Browser) -> None:
    cell = FakeCell()
    contact = cell.arrive("+43 1 100")
    async with served(cell) as url, opened(browser, url) as (page, complaints):
        card = live(page, contact)
        await expect(card).to_contain_text("In the menu")
        cell.refuse = Rejected(NO_OWNER, "nobody owns this shard")
        cell.break_streams()
        await expect(page.locator("#live-text")).to_have_text("Not live, reconnecting")
        await expect(page.locator("#stale")).to_contain_text("Nobody owns this shard")
        contact.queue(now_ms())
        contact.ring(now_ms(), "ben")
        another = cell.arrive("+43 1 200")
        cell.refuse = None
        await expect(page.locator("#live-text")).to_have_text("Live")
        await expect(page.locator("#stale")).to_be_hidden()
        await expect(card.locator(".chip")).to_have_text("Ringing")
        await expect(live(page, another)).to_contain_text("In the menu")
        await card.locator("summary").click()
        await expect(card.locator(".events li")).to_have_count(len(contact.events))
        assert [error for error in complaints.errors if "503" not in error] == []


async def test_a_new_log_under_the_page_is_begun_anew(browser: Browser) -> None:
    cell = FakeCell()
    gone = cell.arrive("+43 1 100")
    async with served(cell) as url, opened(browser, url) as (page, _):
        await expect(live(page, gone)).to_be_visible()
        cell.forget_positions()
        there = cell.arrive("+43 1 200")
        gone.end(now_ms(), "ABANDONED")
        cell.break_streams()
        await expect(live(page, there)).to_be_visible()
        await expect(page.locator("#ended-contacts")).to_contain_text("Gave up waiting")


async def test_a_call_that_cannot_be_placed_says_why(browser: Browser) -> None:
    cell = FakeCell()
    async with served(cell) as url, opened(browser, url) as (page, _):
        await expect(page.locator("#live-text")).to_have_text("Live")
        cell.refuse = Rejected(NO_OWNER, "no robot is there to call")
        await page.get_by_role("button", name="Call").click()
        await expect(page.get_by_role("alert")).to_contain_text("No robot is there to call")
        await page.get_by_role("button", name="Dismiss").click()
        await expect(page.get_by_role("alert")).to_be_empty()


async def test_a_session_that_is_over_asks_for_the_page_to_be_loaded_again(browser: Browser) -> None:
    cell = FakeCell()
    async with served(cell) as url, opened(browser, url) as (page, _):
        await expect(page.locator("#live-text")).to_have_text("Live")
        await page.context.clear_cookies()
        cell.break_streams()
        await expect(page.locator("#live-text")).to_have_text("Session ended")
        await page.get_by_role("button", name="Load again").click()
        await expect(page.locator("#live-text")).to_have_text("Live")


async def test_a_supervisor_steps_in(browser: Browser) -> None:
    cell = FakeCell()
    contact = cell.arrive("+43 1 100")
    async with served(cell) as url, opened(browser, url) as (page, complaints):
        await page.get_by_label("Presence of Ben Novak").select_option("Meal")
        row = page.locator("#agents li", has_text="Ben Novak")
        await expect(row.locator(".chip")).to_have_text("Off queue")
        await live(page, contact).locator("summary").click()
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.locator("#ended-contacts")).to_contain_text("Hung up by a supervisor")
        assert complaints.errors == []


async def test_a_recording_is_paused_and_goes_on(browser: Browser) -> None:
    cell = FakeCell()
    contact = cell.arrive("+43 1 100")
    contact.queue(now_ms())
    contact.ring(now_ms(), "anna")
    async with served(cell) as url, opened(browser, url) as (page, complaints):
        card = live(page, contact)
        await card.locator("summary").click()
        pause = page.get_by_role("button", name="Pause recording")
        await expect(pause).to_be_hidden()  # nobody talks yet
        contact.connect(now_ms(), "anna")
        await pause.click()
        await expect(card.locator(".recorded")).to_have_text("recording paused")
        await expect(card.locator(".events")).to_contain_text("Silence on the recording from here")
        await page.get_by_role("button", name="Resume recording").click()
        await expect(card.locator(".recorded")).to_have_text("")
        await pause.click()
        contact.end(now_ms())
        await expect(page.locator("#ended-contacts details .recorded")).to_have_text("")
        await expect(pause).to_be_hidden()
        assert complaints.errors == []


async def test_it_works_by_keyboard(browser: Browser) -> None:
    cell = FakeCell()
    contact = cell.arrive("+43 1 100")
    async with served(cell) as url, opened(browser, url) as (page, _):
        card = live(page, contact)
        await expect(card).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the contacts")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(card.locator(".events")).to_be_visible()


@pytest.mark.parametrize("width", [360, 800, 1280])
async def test_nothing_is_wider_than_the_window(browser: Browser, width: int) -> None:
    cell = FakeCell()
    fill(cell)
    cell.arrive("W" * 60)
    async with served(cell) as url, opened(browser, url, width) as (page, complaints):
        await expect(page.locator("#live-contacts details")).to_have_count(5)
        await expect(page.locator("#ended-contacts details")).to_have_count(9)
        for summary in await page.locator("summary").all():
            await summary.click()
        await expect(page.locator("#ended-contacts .wave canvas").first).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert complaints.errors == []


async def test_earlier_contacts_come_when_asked_for(browser: Browser) -> None:
    cell = FakeCell()
    for index in range(70):
        cell.arrive(f"+43 1 {index}", now_ms() - 100_000 + index).end(now_ms() - 50_000, "LEFT_IN_FLOW")
    async with served(cell) as url, opened(browser, url) as (page, _):
        cards = page.locator("#ended-contacts details")
        await expect(cards).to_have_count(50)
        await page.get_by_role("button", name="Show earlier contacts").click()
        await expect(cards).to_have_count(70)
        await expect(page.get_by_role("button", name="Show earlier contacts")).to_be_hidden()


# ------------------------------------------------------------------ the modules by themselves


async def test_events_are_found_in_pieces_of_any_size(browser: Browser) -> None:
    stream = 'retry: 1000\n\n: \n\nid: p1\ndata: {"a": 1}\n\nevent: error\ndata: x\ndata: y\n\ndata: "ü"\n\n'
    script = """async ([text, size]) => {
      const { EventParser } = await import("/static/stream.js");
      const parser = new EventParser(), found = [];
      for (let at = 0; at < text.length; at += size) found.push(...parser.take(text.slice(at, at + size)));
      return found;
    }"""
    wanted = [
        {"id": "p1", "type": "message", "data": '{"a": 1}'},
        {"id": "", "type": "error", "data": "x\ny"},
        {"id": "", "type": "message", "data": '"ü"'},
    ]
    async with served(FakeCell()) as url, opened(browser, url) as (page, _):
        for size in (1, 2, 3, 7, 50, 1000):
            assert await page.evaluate(script, [stream, size]) == wanted


async def test_the_plot_counts_what_is_open_at_each_moment(browser: Browser) -> None:
    script = """async ([intervals, from, to]) => (await import("/static/plot.js")).counts(intervals, from, to)"""
    cases = [
        ([], [[0, 0]]),
        ([{"from": -5, "to": 4}], [[0, 1], [4, 0]]),
        ([{"from": 2, "to": 6}, {"from": 4, "to": 20}], [[0, 0], [2, 1], [4, 2], [6, 1]]),
        ([{"from": -5, "to": 0}, {"from": 10, "to": 20}], [[0, 0]]),
    ]
    async with served(FakeCell()) as url, opened(browser, url) as (page, _):
        for intervals, points in cases:
            assert await page.evaluate(script, [intervals, 0, 10]) == points


async def test_a_picture_shows_each_channel_and_a_damaged_file_is_refused(browser: Browser) -> None:
    script = """async (bytes) => {
      const { readWav, peaks } = await import("/static/wave.js");
      try {
        const wav = readWav(Uint8Array.from(bytes).buffer);
        const percent = (channel) => [...peaks(wav, channel, 4)].map((peak) => Math.round(peak * 100));
        return [wav.rate, percent(0), percent(1)];
      } catch (error) {
        return error.constructor.name;
      }
    }"""
    silent, loud = 0xFF, 0x00
    body = list(wav_header(8) + bytes([silent, loud, silent, silent] * 2 + [loud, silent, silent, silent] * 2))
    async with served(FakeCell()) as url, opened(browser, url) as (page, _):
        assert await page.evaluate(script, body) == [8000, [0, 0, 100, 100], [100, 100, 0, 0]]
        for damaged in (body[:3], body[:40], [0] * 100, [*body[:20], 1, *body[21:]]):
            assert await page.evaluate(script, damaged) == "RangeError"


# ------------------------------------------------------------------ the real services


async def test_what_the_real_services_tell_is_understood(browser: Browser) -> None:
    async with mini_cell() as cell:
        await configure(cell, "red")
        async with real(cell) as url, opened(browser, url) as (page, complaints):
            card = page.locator("#live-contacts details")
            await expect(card).to_contain_text("+4420111")
            await expect(card.locator(".chip")).to_have_text("In the menu")
            await card.locator("summary").click()
            await expect(card.locator(".events")).to_contain_text("Calls 1000 from +4420111")
            await expect(page.locator("#agents")).to_contain_text("Ann red")
            await expect(page.locator("#agents .phone")).to_have_text("register a phone as ann.red")
            await page.get_by_label("Presence of Ann red").select_option("Available")
            await expect(page.locator("#agents select")).to_have_attribute("data-presence", "available")
            await cell.call("red", "another", "1000", "+4420222")
            await expect(card.filter(has_text="+4420222")).to_be_visible()
            await expect(page.locator("#line .queue-name")).to_have_text("Sales")
            await expect(page.locator("#line")).to_contain_text("or dial 1000")
            assert complaints.errors == []


@asynccontextmanager
async def real(cell: MiniCell) -> AsyncIterator[str]:
    """The page of the tenant red."""

    def gateway(port: int) -> Gateway:
        hosts, origins = (f"127.0.0.1:{port}",), (f"http://127.0.0.1:{port}",)
        session = DemoSession(cell.secrets["red", "SUPERVISOR"], hosts, origins, SeededEntropy())
        pages = page_routes(Page("red", "127.0.0.1:5060"), session, nobody)
        return cell.gateway(Settings(hosts, origins), credential=session.credential, pages=pages)

    async with serving(gateway) as url:
        yield url


async def nobody() -> str:
    raise Rejected(NO_OWNER, "there are no robots here")
