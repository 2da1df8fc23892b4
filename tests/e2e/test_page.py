"""The page over a whole demo cell: one press of Call, to the recording that is heard."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from tests.e2e.browser import chromium, opened, play
from tests.e2e.cell import environment
from tests.e2e.programs import Program, free_ports

pytestmark = pytest.mark.needs("chromium")

ROBOTS = 2
CALL_MS = 60_000
"""A robot's call from its first ring to its recording takes about 20 s."""


@dataclass(frozen=True)
class Demo:
    """A cell under `tandem up --demo`."""

    base_url: str
    sip: str
    data_dir: Path

    def kill_control(self) -> None:
        """kill -9 of the control plane; its supervisor starts it again."""
        os.kill(int((self.data_dir / "run" / "control.pid").read_text()), signal.SIGKILL)


@pytest_asyncio.fixture(scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """All processes of the demo on free ports, robots too."""
    http, grpc = free_ports(2)
    (sip,) = free_ports(1, socket.SOCK_DGRAM)
    data_dir: Path = tmp_path_factory.mktemp("demo") / "var"
    settings = environment(data_dir, http__port=http, grpc__port=grpc, sip__port=sip)
    program = Program("demo", (sys.executable, "-m", "tandem", "up", "--demo"), env=settings)
    try:
        program.wait_line(f"http://127.0.0.1:{http}")
        yield Demo(f"http://127.0.0.1:{http}", f"127.0.0.1:{sip}", data_dir)
    finally:
        program.stop()


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


async def pressed(page: Page) -> Locator:
    """The card of the one live contact, to which a press of Call leads, also after its end."""
    live = page.locator("#live-contacts details")
    await expect(live).to_have_count(0)
    await page.get_by_role("button", name="Call").click()
    await expect(live).to_have_count(1, timeout=CALL_MS)
    name = await live.get_attribute("data-contact")
    return page.locator(f"details[data-contact='{name}']")


async def erase(demo: Demo, contact: str) -> None:
    """An administrator of the tenant asks for it."""
    key = json.loads((demo.data_dir / "demo.json").read_text())["api_key"]
    async with httpx.AsyncClient(base_url=demo.base_url, headers={"authorization": f"Bearer {key}"}) as client:
        answer = await client.post(f"/v1/{contact}:erase", timeout=30)
    assert answer.status_code == 200, answer.text


async def presence(page: Page, word: str) -> None:
    """Both robots say that."""
    selects = page.locator("#agents li", has_text="phone registered").locator("select")
    await expect(selects).to_have_count(ROBOTS)
    for select in await selects.all():
        await select.select_option(word)
        await expect(select).to_have_attribute("data-presence", word.lower())


async def test_a_call_from_the_button_to_its_recording(demo: Demo, browser: Browser) -> None:
    async with opened(browser, demo.base_url) as (page, complaints):
        await expect(page.locator("#live-text")).to_have_text("Live")
        await expect(page.locator("#dial")).to_contain_text(demo.sip)
        await expect(page.locator("#figure-idle")).to_have_text(str(ROBOTS))
        await presence(page, "Break")  # so that the caller waits
        card = await pressed(page)
        chip = card.locator(".chip")
        await card.locator("summary").click()
        await expect(card.locator(".events")).to_contain_text("asks")
        await expect(chip).to_have_text("Waiting", timeout=CALL_MS)
        await expect(page.locator("#line li")).to_contain_text("Waits for an agent")
        await presence(page, "Available")
        await expect(chip).to_have_text("Talking", timeout=CALL_MS)
        await expect(page.locator("#line")).to_contain_text("Nobody waits")
        await expect(chip).to_have_text("Handled", timeout=CALL_MS)
        for phase in ("Menu", "waiting", "ringing", "talking"):
            await expect(card.locator(".totals")).to_contain_text(phase)
        await expect(card.locator(".events")).to_contain_text("Recording kept", timeout=CALL_MS)
        assert await play(card) > 1
        await expect(card.locator(".events")).to_contain_text("Nothing more will happen", timeout=CALL_MS)
        await erase(demo, await card.get_attribute("data-contact") or "")
        await expect(card.locator(".who")).to_have_text("(erased)")
        await expect(card.locator(".recorded")).to_have_text("erased")
        await expect(card.locator(".events")).to_contain_text("All that was private was erased on request")
        await expect(card.locator("figcaption")).to_have_text("The recording was erased")
        await expect(card.locator("audio")).to_be_hidden()
        assert complaints.errors == []
        assert complaints.foreign == []


async def test_the_page_names_no_key_and_strangers_place_no_calls(demo: Demo) -> None:
    async with httpx.AsyncClient(base_url=demo.base_url) as client:
        page = await client.get("/")
        cookie = page.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await client.get("/v1/tenants/demo/contacts")).status_code == 200
        assert (await client.post("/demo/call")).status_code == 401
        assert (await client.get("/", headers={"host": "evil.test"})).status_code == 403


async def test_it_comes_back_by_itself_and_misses_nothing_when_the_control_plane_dies(
    demo: Demo, browser: Browser
) -> None:
    async with opened(browser, demo.base_url) as (page, complaints):
        await expect(page.locator("#live-text")).to_have_text("Live")
        card = await pressed(page)
        chip = card.locator(".chip")
        await card.locator("summary").click()
        await expect(chip).to_have_text("Talking", timeout=CALL_MS)
        demo.kill_control()
        await expect(page.locator("#live-text")).to_have_text("Not live, reconnecting")
        await expect(page.locator("#stale")).to_contain_text("Calls go on without this page")
        await expect(page.locator("#live-text")).to_have_text("Live", timeout=CALL_MS)
        await expect(page.locator("#stale")).to_be_hidden()
        await expect(chip).to_have_text("Handled", timeout=CALL_MS)
        await expect(card.locator(".events")).to_contain_text("Nothing more will happen", timeout=CALL_MS)
        assert await play(card) > 1
        name = await card.get_attribute("data-contact")
        events = await page.evaluate("name => fetch(`/v1/${name}/events`).then(answer => answer.json())", name)
        await expect(card.locator(".events li")).to_have_count(len(events["events"]))
        # What it asked for while nobody was there stands in the console; nothing else may.
        # (A control plane that is on its way back says 503.)
        expected = ("net::ERR_", "status of 503")
        assert [error for error in complaints.errors if not any(part in error for part in expected)] == []
