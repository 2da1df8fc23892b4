"""The public API over HTTP as any client sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.e2e.programs import PATIENCE_S, beside

Json = dict[str, Any]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.request.method} {response.request.url}: {response.status_code} {response.text}")
        self.status = response.status_code
        self.text = response.text

    @property
    def reason(self) -> str:
        """The stable name in ErrorInfo."""
        details = json.loads(self.text)["error"]["details"]
        found: str = next(detail["reason"] for detail in details if "reason" in detail)
        return found

    @property
    def message(self) -> str:
        """The text."""
        found: str = json.loads(self.text)["error"]["message"]
        return found


class Rest:
    """Calls with one credential."""

    def __init__(self, base_url: str, key: str | None) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=PATIENCE_S)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def raw(self, verb: str, path: str, **arguments: Any) -> httpx.Response:
        """Any request to `/v1/{path}`."""
        return await self._client.request(verb, f"/v1/{path}", **arguments)

    async def get(self, path: str, **query: Any) -> Json:
        """GET, again if the answer says so (429). Raises `Refused`."""
        return _body(await self._patient(path, params=query))

    async def post(self, path: str, body: Json | None = None, **query: Any) -> Json:
        """POST. Raises `Refused`."""
        return _body(await self.raw("POST", path, json=body or {}, params=query))

    async def patch(self, path: str, body: Json, **query: Any) -> Json:
        """PATCH. Raises `Refused`."""
        return _body(await self.raw("PATCH", path, json=body, params=query))

    async def download(self, recording: str) -> bytes:
        """A recording's WAV file, as `get`. Raises `Refused`."""
        response = await self._patient(f"{recording}:download")
        _succeeded(response)
        assert response.headers["content-type"] == "audio/wav"
        return response.content

    async def _patient(self, path: str, **arguments: Any) -> httpx.Response:
        while (answer := await self.raw("GET", path, **arguments)).status_code == 429:
            await asyncio.sleep(float(answer.headers["retry-after"]))
        return answer

    @asynccontextmanager
    async def watch(self, tenant: str) -> AsyncIterator[Watch]:
        """The live stream, from what is live now."""
        watch = Watch()
        async with self._client.stream("GET", f"/v1/{tenant}/contacts:watch", timeout=None) as response:
            assert response.status_code == 200, await response.aread()
            async with beside(watch.read(response)):
                await watch.when(lambda: watch.synced)
                yield watch


class Watch:
    """What the live stream has told: the contacts as they are now, and their events."""

    def __init__(self) -> None:
        self.synced = False
        self.contacts: dict[str, Json] = {}
        self.events: list[Json] = []
        self._news = asyncio.Event()

    async def read(self, response: httpx.Response) -> None:
        """Take what comes, until it ends."""
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                self._take(json.loads(line.removeprefix("data: ")))

    def _take(self, message: Json) -> None:
        self.synced = self.synced or message["synced"]
        if contact := message.get("contact"):
            self.contacts[contact["name"]] = contact
        if event := message.get("event"):
            self.events.append(event)
        self._news.set()

    async def when(self, ready: Callable[[], Any]) -> Any:
        """Until `ready` gives something true, and that."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (found := ready()):
                    self._news.clear()
                    await self._news.wait()
                return found
        except TimeoutError:
            told = [(event["type"], event["contact"]) for event in self.events]
            raise AssertionError(f"the live stream did not come there; it told {told}") from None

    async def event(self, type_: str, contact: str = "", count: int = 1) -> Json:
        """The `count`-th event of that type (of that contact), now or to come."""

        def found() -> list[Json]:
            told = [e for e in self.events if e["type"] == type_ and contact in ("", e["contact"])]
            return told[count - 1 : count]

        told: list[Json] = await self.when(found)
        return told[0]

    async def step(self, step: str) -> Json:
        """The first contact's entry into a step of its flow."""

        def found() -> Json | None:
            steps = (event for event in self.events if event["type"] == "contact.step_entered")
            return next((event for event in steps if event["data"]["step"] == step), None)

        entered: Json = await self.when(found)
        return entered

    def types(self, contact: str) -> list[str]:
        """What happened to a contact."""
        return [event["type"] for event in self.events if event["contact"] == contact]


def _succeeded(response: httpx.Response) -> None:
    if not response.is_success:
        raise Refused(response)


def _body(response: httpx.Response) -> Json:
    _succeeded(response)
    body: Json = response.json()
    return body
