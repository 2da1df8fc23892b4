"""JsSIP in headless Chromium: a phone that others wrote, in a page."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from tests.e2e.programs import PATIENCE_S

BUILD_JSSIP = Path(__file__).parents[1] / "jssip/build.sh"
PHONE = Path(__file__).with_name("browser_phone.js")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    # The node's certificate is signed by itself; that it is the one that was given, another test looks at.
    "--ignore-certificate-errors",
    # Node and browser meet on 127.0.0.1, which ICE leaves out by default.
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
NEAR_HZ = 12
"""Two steps of the page's ear."""

needs_chromium = pytest.mark.needs("chromium", "npm")


@cache
def jssip() -> Path:
    """Its file, which the first test of a machine makes."""
    made = subprocess.run([BUILD_JSSIP], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


class PagePhone:
    """One phone."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def call(self, number: str) -> None:
        """Dial."""
        await self.page.evaluate("number => window.phone.call(number)", number)

    async def hang_up(self) -> None:
        """Its red button."""
        await self.page.evaluate("window.phone.hangUp()")

    async def transfer(self, number: str = "") -> None:
        """Its first call to a number; without one, to the other party of its second call (REFER with Replaces)."""
        await self.page.evaluate("number => window.phone.transfer(number)", number)

    async def transferred(self, *told: str) -> None:
        """Until it was told so of its REFER: taken, then done or refused."""
        await self._until(f"window.phone.referred.join() === '{','.join(told)}'")

    async def registered(self) -> None:
        """Until the node took its password."""
        await self._until("window.phone.registered")

    async def hears(self, hz: float) -> None:
        """Until that tone is the loudest that it hears."""
        await self._until(f"Math.abs(window.phone.loudest - {hz}) < {NEAR_HZ}")

    async def ended(self) -> str:
        """Until its call, or its registration, has ended: why."""
        await self._until("window.phone.ended")
        return str(await self.page.evaluate("window.phone.ended"))

    async def told(self, name: str) -> list[str]:
        """`states` of its calls, or the kinds of `candidates` that it offered."""
        return list(await self.page.evaluate(f"window.phone.{name}"))

    async def _until(self, expression: str) -> None:
        try:
            await self.page.wait_for_function(expression)
        except Exception as error:
            stands = await self.page.evaluate("JSON.stringify({...window.phone, sessions: undefined})")
            raise AssertionError(f"{expression} did not come to be: {stands}") from error


@asynccontextmanager
async def page_phone(
    wss_port: int, user: str, password: str = "", *, hz: int, relay: dict[str, str] | None = None
) -> AsyncIterator[PagePhone]:
    """A phone that says `hz`. Without a password it does not register; with `relay`, an entry of WebRTC's
    iceServers, its audio goes that way and no other. Ends with the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        try:
            page = await browser.new_page()
            page.set_default_timeout(PATIENCE_S * 1000)
            await page.add_script_tag(path=jssip())
            settings = {"url": f"wss://127.0.0.1:{wss_port}", "user": user, "password": password, "hz": hz}
            await page.evaluate(PHONE.read_text(), {**settings, "relay": relay})
            yield PagePhone(page)
        finally:
            await browser.close()
