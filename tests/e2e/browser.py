"""A headless Chromium that goes nowhere but to us, and remembers what a page complains about."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    async_playwright,
    expect,
)

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser; ends with the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Complaints:
    """What a page wrote to its console as an error, threw, or asked of other servers."""

    origin: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(f"thrown: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "blob:", "data:")):
            self.foreign.append(request.url)


@asynccontextmanager
async def opened(
    browser: Browser, base_url: str, width: int = 1280, height: int = 900, dark: bool = False
) -> AsyncIterator[tuple[Page, Complaints]]:
    """The page in a window of its own."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
        timezone_id="Europe/Vienna",
    )
    try:
        page = await context.new_page()
        complaints = Complaints(base_url.rstrip("/"))
        complaints.listen(page)
        await page.goto(base_url)
        yield page, complaints
    finally:
        await context.close()


_HEARD = """(audio) => new Promise((resolve, reject) => {
  audio.addEventListener("error", () => reject(new Error(audio.error.message)));
  audio.addEventListener("timeupdate", () => audio.currentTime > 0.2 && resolve(audio.duration));
  audio.play().catch(reject);
})"""


async def play(card: Locator) -> float:
    """Play the recording of an open contact; its length in seconds, once some of it was heard."""
    audio = card.locator("audio")
    await expect(audio).to_be_visible()
    seconds: float = await audio.evaluate(_HEARD)
    return seconds
