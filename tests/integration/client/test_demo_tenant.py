"""The demo tenant: made, made again, and after each loss."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tandem.api.tenant.v1 import tenant_service_pb2 as ten
from tandem.client.api import Api, ApiError
from tandem.client.demo_tenant import Demo, make_demo, read_demo, write_demo
from tandem.client.place import Place
from tandem.client.tenant_maker import TenantMaker, make_tenant, new_key, works
from tandem.runtime.config import Config
from tests.integration.client.conftest import Served


@dataclass(frozen=True)
class Stand(Place):
    """The place of the test's cell."""

    address: str = ""
    key: str = ""

    def addresses(self) -> tuple[str, str]:
        return self.address, "http://127.0.0.1:1"

    def platform_key(self) -> str:
        return self.key


@pytest.fixture
def place(served: Served, tmp_path: Path) -> Stand:
    return Stand(Config(data_dir=tmp_path), served.address, served.cell.secrets["-", "PLATFORM"])


async def agents_of(place: Stand, demo: Demo) -> dict[str, str]:
    """name -> SIP user, as the API lists them."""
    async with Api(place.address, demo.api_key) as api:
        listed = await api.call(api.tenants.ListAgents, ten.ListAgentsRequest(parent=demo.tenant))
    return {agent.name: agent.sip_user for agent in listed.agents}


async def test_it_is_as_the_file_says(place: Stand):
    demo = await make_demo(place)
    assert read_demo(place.demo_file) == demo
    assert place.demo_file.stat().st_mode & 0o777 == 0o600
    told = json.loads(place.demo_file.read_bytes())
    assert told["tenant"] == "tenants/demo"
    assert told["numbers"] == [
        {"number": "100", "digits": {"1": "tenants/demo/queues/sales", "2": "tenants/demo/queues/support"}}
    ]
    assert [agent["robot"] for agent in told["agents"]] == [True, True, False, False]
    assert await agents_of(place, demo) == {agent.name: agent.sip_user for agent in demo.agents}
    assert len({agent.sip_password for agent in demo.agents}) == 4
    async with Api(place.address, demo.api_key) as api:
        number = await api.call(api.tenants.GetNumber, ten.GetNumberRequest(name="tenants/demo/numbers/100"))
        flow = await api.call(api.tenants.GetFlow, ten.GetFlowRequest(name=number.flow))
        assert flow.published_version == 1


async def test_a_second_start_changes_nothing(place: Stand):
    assert await make_demo(place) == await make_demo(place)


async def test_a_lost_file_is_made_anew_with_new_secrets(place: Stand):
    first = await make_demo(place)
    place.demo_file.unlink()
    second = await make_demo(place)
    assert not await works(place.address, "demo", first.api_key)  # whoever found the file has nothing of it
    assert await works(place.address, "demo", second.api_key)
    passwords = {agent.sip_user: agent.sip_password for agent in first.agents}
    assert all(passwords[agent.sip_user] != agent.sip_password for agent in second.agents)
    assert replace(first, api_key="", agents=()) == replace(second, api_key="", agents=())


async def test_a_start_that_was_killed_on_its_way_is_completed(place: Stand, served: Served):
    async with Api(served.address, place.key) as platform:
        await make_tenant(platform, "demo", "Demo")
        key = await new_key(platform, "demo")
    async with Api(served.address, key) as api:
        maker = TenantMaker(api, "demo")
        queue = await maker.queue("sales", "Sales", wrap_up_s=2)
        await maker.agent("ada", "Ada (robot)", (queue,))
    demo = await make_demo(place)
    assert len(await agents_of(place, demo)) == 4


async def test_a_file_of_another_cell_is_not_believed(place: Stand):
    demo = await make_demo(place)
    write_demo(place.demo_file, replace(demo, api_key="tandem_of_another_cell"))
    assert await works(place.address, "demo", (await make_demo(place)).api_key)


async def test_what_people_changed_stays(place: Stand):
    demo = await make_demo(place)
    async with Api(place.address, demo.api_key) as api:
        queue = await api.call(api.tenants.GetQueue, ten.GetQueueRequest(name="tenants/demo/queues/sales"))
        queue.display_name = "Mine"
        await api.call(api.tenants.UpdateQueue, ten.UpdateQueueRequest(queue=queue))
        await make_demo(place)
        found = await api.call(api.tenants.GetQueue, ten.GetQueueRequest(name=queue.name))
    assert found.display_name == "Mine"


async def test_a_bad_tenant_id_is_refused_with_its_reason(place: Stand):
    async with Api(place.address, place.key) as platform:
        with pytest.raises(ApiError) as refused:
            await make_tenant(platform, "Bad_", "Bad")
        assert refused.value.reason == "BAD_FIELD"
