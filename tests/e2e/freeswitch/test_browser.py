"""A phone in a browser: WSS, ICE, DTLS-SRTP, Opus, and audio both ways."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests.e2e.programs import PATIENCE_S
from tests.e2e.sounds import read_wav, seconds_of

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
FROM_PAGE_HZ = 1000
FROM_NODE_HZ = 600


@pytest.mark.needs("chromium")
async def test_a_page_calls_and_both_sides_hear_each_other(secure, wss_port, tmp_path):
    tape = tmp_path / "page.wav"
    async with secure.connect() as esl, async_playwright() as playwright:
        await esl.subscribe("CHANNEL_PARK", "CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP")
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        await page.evaluate(PHONE.read_text(), {"url": f"wss://127.0.0.1:{wss_port}", "number": "4930123456"})
        leg = (await esl.until("CHANNEL_PARK")).get("Unique-ID")
        assert "Deleted: 1" in await esl.api(f"sched_del {leg}")
        for name, value in {"RECORD_READ_ONLY": "true", "record_sample_rate": "8000"}.items():
            await esl.api(f"uuid_setvar {leg} {name} {value}")
        await esl.api(f"uuid_answer {leg}")
        await esl.api(f"uuid_broadcast {leg} tone_stream://%(60000,0,{FROM_NODE_HZ}) aleg")
        await page.wait_for_function(f"Math.abs(window.phone.loudest - {FROM_NODE_HZ}) < 12")
        await esl.api(f"uuid_record {leg} start {tape} 4")
        await esl.until("RECORD_STOP")
        await esl.api(f"uuid_kill {leg}")
        await page.wait_for_function("window.phone.ended")
        assert 180 in await page.evaluate("window.phone.statuses")
        await browser.close()
        end = await esl.until("CHANNEL_HANGUP_COMPLETE")
    assert end.get("variable_sip_via_protocol") == "wss"
    assert end.get("variable_rtp_use_codec_name") == "opus"
    assert seconds_of(read_wav(tape), FROM_PAGE_HZ) > 0.5
