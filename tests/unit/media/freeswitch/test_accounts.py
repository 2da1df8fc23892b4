"""What FreeSWITCH is told of an account, and what a stranger's request gets."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest

from tandem.core.ports.media import DirectoryDevice
from tandem.media.backend import MergedDirectory
from tandem.media.freeswitch.accounts import LIMITS, account, accounts
from tandem.runtime.http_driver import BadRequest

DIGEST = "0f" * 16
DIRECTORY = MergedDirectory({}, {"ann.t1": DirectoryDevice("ann.t1", "t1", 0, "tandem", DIGEST, "00")})


def form(user: str = "ann.t1", domain: str = "tandem") -> bytes:
    return urlencode({"section": "directory", "action": "sip_auth", "user": user, "domain": domain}).encode()


def test_a_known_device_is_told_by_its_digest_and_may_be_kept() -> None:
    answer = account(DIRECTORY, form())
    assert answer is not None
    user = ET.fromstring(answer).find("section/domain[@name='tandem']/user")
    assert user is not None
    # A number of milliseconds above 35 minutes overflows in FreeSWITCH (switch_xml.c); no number is for ever.
    assert user.attrib == {"id": "ann.t1", "cacheable": "true"}
    assert [(param.get("name"), param.get("value")) for param in user.iter("param")] == [("a1-hash", DIGEST)]


@pytest.mark.parametrize(
    ("user", "domain"), [("bob.t1", "tandem"), ("ann.t1", "elsewhere"), ("", ""), ("ann.t1'/><x a='", "tandem")]
)
def test_others_are_not_found(user: str, domain: str) -> None:
    answer = account(DIRECTORY, form(user, domain))
    assert answer is not None
    result = ET.fromstring(answer).find("section/result")
    assert result is not None and result.get("status") == "not found"


def test_nothing_is_known_before_somebody_told() -> None:
    assert account(None, form()) is None


@pytest.mark.parametrize("bad", [b"\xff=1", b"&".join(b"a=%d" % n for n in range(501))])
def test_what_is_no_form_is_refused(bad: bytes) -> None:
    with pytest.raises(BadRequest):
        account(DIRECTORY, bad)


POST = b"POST /directory HTTP/1.1\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "known", "status"),
    [
        (POST % len(form()) + form(), True, b"200 OK"),
        (POST % len(form()) + form(), False, b"503 Service Unavailable"),
        (b"GET /directory HTTP/1.1\r\n\r\n", True, b"400 Bad Request"),
        (POST % (LIMITS.body_bytes + 1), True, b"400 Bad Request"),
    ],
)
async def test_over_http(request_: bytes, known: bool, status: bytes) -> None:
    server = accounts("127.0.0.1", 0, lambda: DIRECTORY if known else None)
    await server.open()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request_)
        assert (await reader.readline()).strip() == b"HTTP/1.1 " + status
        writer.close()
    finally:
        await server.close()
