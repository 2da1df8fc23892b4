"""The page's session: whom a cookie stands for, and what a foreign page cannot do with it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request

from tandem.core.errors import NO_CREDENTIAL, NO_OWNER, Rejected
from tandem.gateway.demo_session import LIFE_S, TOKEN_HEADER, DemoSession
from tandem.gateway.guard import Guard
from tandem.gateway.page import Page, page_routes
from tests.support.mini_cell import SeededEntropy

KEY = "k-of-a-supervisor"
HOST, ORIGIN = "127.0.0.1:8080", "http://127.0.0.1:8080"
COOKIE = "tandem-demo-8080"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def session_at(clock: Clock, key: str = KEY, seed: int = 1) -> DemoSession:
    return DemoSession(key, (HOST,), (ORIGIN,), SeededEntropy(seed), clock)


def request(method: str = "GET", cookie: str = "", **headers: str) -> Request:
    """A request; `sec_fetch_site="none"` is the header sec-fetch-site."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    all_ = {"host": HOST, "cookie": f"{COOKIE}={cookie}"} | named
    raw = [(name.encode(), value.encode("latin-1")) for name, value in all_.items()]
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw})


def begun(session: DemoSession) -> tuple[str, str]:
    """(cookie, token) of a browser that has just loaded the page."""
    first = session.begin(request())
    return first.set_cookie.partition("=")[2].partition(";")[0], first.token


def test_the_cookie_stands_for_the_key_and_does_not_hold_it() -> None:
    session = session_at(Clock())
    answer = session.begin(request())
    cookie, token = begun(session)
    assert session.credential(request(cookie=cookie)) == f"Bearer {KEY}"
    assert KEY not in answer.set_cookie + token
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(re.split("; ?", answer.set_cookie))


def test_a_header_of_its_own_wins() -> None:
    session = session_at(Clock())
    cookie, _ = begun(session)
    assert session.credential(request(cookie=cookie, authorization="Bearer other")) == "Bearer other"


def test_a_browser_keeps_its_session_and_its_tabs_their_token() -> None:
    clock = Clock()
    session = session_at(clock)
    cookie, token = begun(session)
    clock.now += LIFE_S / 2 - 1
    again = session.begin(request(cookie=cookie))
    assert (again.set_cookie, again.token) == ("", token)
    clock.now += 1
    assert session.begin(request(cookie=cookie)).set_cookie


@pytest.mark.parametrize("later", [LIFE_S, LIFE_S + 1, -1])
def test_a_session_ends(later: int) -> None:
    clock = Clock()
    session = session_at(clock)
    cookie, _ = begun(session)
    clock.now += later
    assert session.credential(request(cookie=cookie)) is None


def test_it_outlives_a_restart_but_not_its_key() -> None:
    clock = Clock()
    cookie, token = begun(session_at(clock))
    post = request("POST", cookie, origin=ORIGIN, **{TOKEN_HEADER: token})
    assert session_at(clock, seed=2).credential(post) == f"Bearer {KEY}"
    assert session_at(clock, key="another").credential(request(cookie=cookie)) is None


FOREIGN: list[dict[str, str]] = [
    {"host": "evil.test:8080"},
    {"host": "127.0.0.1:3000"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_page_has_no_session(method: str, headers: Mapping[str, str]) -> None:
    session = session_at(Clock())
    cookie, token = begun(session)
    own = {"origin": ORIGIN, TOKEN_HEADER: token}
    assert session.credential(request(method, cookie, **own)) is not None
    assert session.credential(request(method, cookie, **(own | headers))) is None
    with pytest.raises(Rejected):
        session.admit(request(method, cookie, **(own | headers)))


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_what_changes_something_needs_origin_and_token(method: str) -> None:
    session = session_at(Clock())
    cookie, token = begun(session)
    _, strange = begun(session)
    wrong: list[dict[str, str]] = [
        {},
        {"origin": ORIGIN},
        {TOKEN_HEADER: token},
        {"origin": "http://127.0.0.1:3000", TOKEN_HEADER: token},
        {"origin": "null", TOKEN_HEADER: token},
        {"origin": ORIGIN, TOKEN_HEADER: strange},
        {"origin": ORIGIN, TOKEN_HEADER: token + "a"},
        {"origin": ORIGIN, TOKEN_HEADER: "ü"},
    ]
    for headers in wrong:
        assert session.credential(request(method, cookie, **headers)) is None
    assert session.credential(request(method, cookie, origin=ORIGIN, **{TOKEN_HEADER: token})) == f"Bearer {KEY}"


@given(st.text(alphabet=st.characters(codec="latin-1", exclude_categories=("Cc",)), max_size=300))
def test_no_other_cookie_is_a_session(cookie: str) -> None:
    assert session_at(Clock()).credential(request(cookie=cookie)) is None


@given(st.data())
def test_a_changed_cookie_is_none(data: st.DataObject) -> None:
    session = session_at(Clock())
    cookie, _ = begun(session)
    at = data.draw(st.integers(0, len(cookie) - 1))
    other = data.draw(st.sampled_from("0123456789abcdefghijklmnopqrstuvwxyz."))
    changed = cookie[:at] + other + cookie[at + 1 :]
    assert (session.credential(request(cookie=changed)) is not None) == (changed == cookie)


def test_a_page_without_hosts_is_refused() -> None:
    with pytest.raises(ValueError, match="hosts"):
        DemoSession(KEY, (), (ORIGIN,), SeededEntropy())


# ------------------------------------------------------------------ the routes


def client(*, name: str = "caller-7", error: Rejected | None = None) -> httpx.AsyncClient:
    async def place_call() -> str:
        if error is not None:
            raise error
        return name

    routes = page_routes(Page('de"mo', "127.0.0.1:5060"), session_at(Clock()), place_call)
    app = Starlette(routes=routes)
    app.add_middleware(Guard, hosts=(HOST,), origins=(ORIGIN,))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN)


def token_of(page: str) -> str:
    found = re.search('<meta name="tandem-token" content="([a-z0-9]+)">', page)
    assert found
    return found[1]


async def test_the_page_holds_a_token_and_no_key_and_may_load_nothing_from_elsewhere() -> None:
    answer = await client().get("/")
    assert answer.status_code == 200
    assert KEY not in answer.text
    assert token_of(answer.text)
    assert 'content="de&quot;mo"' in answer.text
    assert "$" not in answer.text
    assert re.findall(r'(?:src|href)="(?!/|#)', answer.text) == []
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"


async def test_a_foreign_host_gets_no_session() -> None:
    answer = await client().get("/", headers={"host": "evil.test"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_the_call_button() -> None:
    browser = client()
    headers = {"origin": ORIGIN, TOKEN_HEADER: token_of((await browser.get("/")).text)}
    answer = await browser.post("/demo/call", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"caller": "caller-7"})
    for wrong in ({}, {"origin": ORIGIN}, {TOKEN_HEADER: headers[TOKEN_HEADER]}):
        refused = await browser.post("/demo/call", headers=wrong)
        assert refused.status_code == 401
        assert refused.json()["error"]["details"][0]["reason"] == NO_CREDENTIAL.name
    assert (await browser.get("/demo/call")).status_code == 405


async def test_why_no_call_can_be_placed_is_told() -> None:
    browser = client(error=Rejected(NO_OWNER, "no robot is there"))
    headers = {"origin": ORIGIN, TOKEN_HEADER: token_of((await browser.get("/")).text)}
    answer = await browser.post("/demo/call", headers=headers)
    assert answer.status_code == 503
    assert "no robot is there" in answer.json()["error"]["message"]


async def test_files_are_served_by_name_and_not_twice() -> None:
    browser = client()
    first = await browser.get("/static/app.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = await browser.get("/static/app.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    for name in ("index.html", "none.js", "..%2fpage.py", "%2e%2e/page.py"):
        assert (await browser.get(f"/static/{name}")).status_code == 404


async def test_every_module_that_is_imported_is_there() -> None:
    browser, seen, wanted = client(), set(), ["app.js"]
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen.add(name)
            answer = await browser.get(f"/static/{name}")
            assert answer.status_code == 200, name
            wanted += re.findall(r'from "\./([a-z]+\.js)"', answer.text)
    assert len(seen) > 10
