"""/metrics of the control plane: for this host, and for nobody else; calls are counted by method and code."""

from __future__ import annotations

import httpx
import pytest

from tandem.gateway.metrics import metrics_route
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.calls import WatchedApi
from tandem.runtime.telemetry.shards import Instruments
from tandem.runtime.telemetry.text import CONTENT_TYPE, exposition
from tests.support.live_host import StillClock
from tests.support.mini_cell import MiniCell


@pytest.mark.parametrize(
    ("peer", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("127.8.8.8", 200), ("10.0.0.7", 404), ("", 404), ("localhost", 404)],
)
async def test_metrics_are_for_this_host(cell: MiniCell, peer: str, status: int) -> None:
    route = metrics_route(lambda: b"tandem_up 1\n", CONTENT_TYPE)
    app = cell.gateway(pages=[route]).app()
    transport = httpx.ASGITransport(app=app, client=(peer, 5))
    async with httpx.AsyncClient(transport=transport, base_url="http://cell.test") as client:
        answer, unknown = await client.get("/metrics"), await client.get("/v1/nothing")
    assert answer.status_code == status
    if status == 200:
        assert (answer.text, answer.headers["content-type"]) == ("tandem_up 1\n", CONTENT_TYPE)
    else:
        assert answer.json()["error"]["status"] == "NOT_FOUND"
        assert unknown.status_code in (401, 404)


async def test_calls_are_counted(cell: MiniCell) -> None:
    instruments = Instruments(StillClock())
    api = WatchedApi(cell.credentials, cell.entropy, lambda text, error: None, instruments)
    api.methods, api._servicers = cell.api.methods, cell.api._servicers
    cell.api = api
    async with cell.client() as client:
        assert (await client.get("/v1/tenants/red/queues")).status_code == 200
        headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        assert (await client.get("/v1/tenants/red/queues/none", headers=headers)).status_code == 404
    text = exposition(instruments.meters).decode()
    service = "/tandem.api.tenant.v1.TenantService"
    assert f'{names.API_REQUESTS.name}{{method="{service}/ListQueues",code="OK"}} 1' in text
    assert f'{names.API_REQUESTS.name}{{method="{service}/GetQueue",code="NOT_FOUND"}} 1' in text
    assert f'{names.API_SECONDS.name}_count{{method="{service}/GetQueue"}} 1' in text
