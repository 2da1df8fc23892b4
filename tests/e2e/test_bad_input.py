"""Bad input at the doors of real processes: a clear error each, nothing lost, no traceback at the caller.

Agents who are busy, decline or vanish, unknown numbers and wrong passwords are in test_first_call.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tandem.api.tenant.v1 import queue_pb2, tenant_service_pb2, tenant_service_pb2_grpc
from tests.e2e.cell import TANDEM, Cell, environment, flow_steps
from tests.e2e.foreign import needs_sipp, sipp
from tests.e2e.rest import Refused

CONFIGURES_NOTHING = 64
"""Exit code of a part that starting again cannot help."""


# ------------------------------------------------------------------- SIP


@needs_sipp
@pytest.mark.builtin("it claims 50 calls")
async def test_the_fifty_first_call(own_cell: Cell, tmp_path: Path) -> None:
    """503 with Retry-After and a Reason, the fifty go on, and it stands in the history."""
    own_cell.start()
    async with (
        own_cell.centre() as centre,
        centre.rest.watch(centre.tenant) as watch,
        sipp(
            tmp_path / "fifty", "call_and_stay", own_cell.sip, "-s", centre.number, "-m", 50, "-r", 50,
            caller="4917000050",
        ),
    ):  # fmt: skip
        await watch.when(lambda: sum(e["type"] == "contact.answered" for e in watch.events) == 50)
        async with sipp(
            tmp_path / "last", "call_over_capacity", own_cell.sip, "-s", centre.number, caller="4917000051"
        ) as last:
            await last.succeeds()
        turned_away = await watch.event("contact.turned_away")
        refused = await centre.rest.get(turned_away["contact"])
        assert (refused["outcome"], refused["state"]) == ("OUTCOME_REFUSED", "STATE_ENDED")
        live = (await centre.rest.get(f"{centre.tenant}/contacts", life="LIFE_LIVE", pageSize=100))["contacts"]
        assert len(live) == 50


# ------------------------------------------------------------------- API


async def test_without_a_key(platform: Cell) -> None:
    """401 and how to send one; an invalid one likewise; over gRPC UNAUTHENTICATED."""
    async with platform.centre() as centre, platform.rest(None) as nobody, platform.rest("tandem_invented") as liar:
        for client, reason in ((nobody, "NO_CREDENTIAL"), (liar, "BAD_CREDENTIAL")):
            with pytest.raises(Refused) as refused:
                await client.get(f"{centre.tenant}/contacts")
            assert (refused.value.status, refused.value.reason) == (401, reason)
        assert (await nobody.raw("GET", "tenants")).headers["www-authenticate"] == "Bearer"
        async with grpc.aio.insecure_channel(platform.grpc_target) as channel:
            stub = tenant_service_pb2_grpc.TenantServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.GetQueue(tenant_service_pb2.GetQueueRequest(name=centre.queue))
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_foreign_tenants_names(platform: Cell) -> None:
    """404 for what others have, in the words in which what nobody has is answered."""
    async with platform.centre("ann") as ours, platform.centre("ann") as theirs:
        for thing in ("queues/sales", "flows/main", "agents/ann", f"numbers/{theirs.number}", "agentStates/ann"):
            await theirs.rest.get(f"{theirs.tenant}/{thing}")  # it is there
            with pytest.raises(Refused) as foreign:
                await ours.rest.get(f"{theirs.tenant}/{thing}")
            with pytest.raises(Refused) as nobodys:
                await ours.rest.get(f"{ours.tenant}/{thing}-nobody-has")
            assert foreign.value.status == nobodys.value.status == 404
            assert foreign.value.text == nobodys.value.text
        for collection in ("contacts", "queues", "recordings", "contacts:watch"):
            with pytest.raises(Refused) as foreign:
                await ours.rest.get(f"{theirs.tenant}/{collection}")
            assert foreign.value.status == 404
        with pytest.raises(Refused) as foreign:
            await ours.rest.post(f"{theirs.agents['ann'].name}:setPresence", {"presence": "PRESENCE_AVAILABLE"})
        assert foreign.value.status == 404
        assert (await theirs.rest.get(f"{theirs.tenant}/agentStates/ann"))["presence"] == "PRESENCE_OFFLINE"


def _flow(**changes: Any) -> list[dict[str, Any]]:
    """A flow with a fault in its menu."""
    return flow_steps(["QUEUE"], **changes)


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        (_flow(otherwise="nowhere"), "steps[1].menu.otherwise"),
        (_flow(prompts=["welcome-menu", "no-such-prompt"]), "steps[1].menu.prompts[1]"),
        (_flow(options=[{"digit": "12", "next": "line1"}]), "steps[1].menu.options[0].digit"),
        ([*_flow(), {"id": "menu", "hangUp": {}}], "steps[4].id"),
        ([{"id": "alone"}], "steps[0]"),
        ([], "steps"),
    ],
)
async def test_a_bad_flow(platform: Cell, steps: list[dict[str, Any]], path: str) -> None:
    """Refused with the path of the fault; the flow that callers have stays."""
    async with platform.centre() as centre:
        steps = json.loads(json.dumps(steps).replace("QUEUE", centre.queue))
        for change in (
            centre.rest.post(f"{centre.tenant}/flows", {"steps": steps}, flowId="bad"),
            centre.rest.patch(f"{centre.tenant}/flows/main", {"steps": steps}, updateMask="steps"),
        ):
            with pytest.raises(Refused) as refused:
                await change
            assert (refused.value.status, refused.value.reason) == (400, "BAD_FLOW")
            assert path in refused.value.text
        assert (await centre.rest.get(f"{centre.tenant}/flows/main"))["publishedVersion"] == 1


async def test_oversized_bodies(platform: Cell) -> None:
    """413 and INVALID_ARGUMENT; the same connection goes on to be served."""
    huge = "x" * 1_100_000
    async with platform.centre() as centre:
        with pytest.raises(Refused) as refused:
            await centre.rest.post(f"{centre.tenant}/queues", {"displayName": huge}, queueId="huge")
        assert (refused.value.status, refused.value.reason) == (413, "BODY_TOO_LARGE")
        metadata = (("authorization", f"Bearer {centre.key}"),)
        async with grpc.aio.insecure_channel(platform.grpc_target) as channel:
            stub = tenant_service_pb2_grpc.TenantServiceStub(channel)
            request = tenant_service_pb2.CreateQueueRequest(
                parent=centre.tenant, queue_id="huge", queue=queue_pb2.Queue(display_name=huge)
            )
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.CreateQueue(request, metadata=metadata)
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            await stub.GetQueue(tenant_service_pb2.GetQueueRequest(name=centre.queue), metadata=metadata)
        queues = (await centre.rest.get(f"{centre.tenant}/queues"))["queues"]
        assert [queue["name"] for queue in queues] == [centre.queue]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "JSON"),
        (b"[1]", "JSON"),
        (b'{"ringTimeout": "soon"}', "ring_timeout"),
        (b'{"ringTimout": "5s"}', "ringTimout"),
        (b'{"ringTimeout": "9999s"}', "ring_timeout"),
    ],
)
async def test_a_body_that_is_none(platform: Cell, body: bytes, field: str) -> None:
    """400 that names what is wrong."""
    async with platform.centre() as centre:
        headers = {"content-type": "application/json"}
        answer = await centre.rest.raw(
            "POST", f"{centre.tenant}/queues", params={"queueId": "odd"}, content=body, headers=headers
        )
        assert answer.status_code == 400, answer.text
        assert field in answer.text
        assert "Traceback" not in answer.text


# ------------------------------------------------------------------- configuration


def start(data_dir: Path, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """`tandem ARGUMENTS`, which is to end by itself."""
    return subprocess.run(
        [*TANDEM, *arguments], env=environment(data_dir, **settings), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """What it said; it ended with the code that a supervisor gives up at, and without a traceback."""
    assert ended.returncode == CONFIGURES_NOTHING, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    return ended.stderr


@pytest.mark.parametrize("target", ["all", "media"])
def test_an_unknown_key_in_the_file(tmp_path: Path, target: str) -> None:
    """Refused with its line and the name that was meant."""
    file = tmp_path / "tandem.toml"
    file.write_text("[sip]\nprot = 5070\n")
    said = complaint(start(tmp_path / "var", "run", target, "--config", str(file)))
    assert "sip.prot" in said
    assert "did you mean sip.port?" in said
    assert not (tmp_path / "var").exists()


def test_an_unknown_variable(tmp_path: Path) -> None:
    """The environment is held to the same."""
    said = complaint(start(tmp_path / "var", "run", "all", sip__prot=5070))
    assert "TANDEM_SIP__PROT" in said
    assert "TANDEM_SIP__PORT" in said


def test_a_value_of_the_wrong_kind(tmp_path: Path) -> None:
    """Refused with its place."""
    said = complaint(start(tmp_path / "var", "run", "all", http__port="eighty"))
    assert "TANDEM_HTTP__PORT" in said


def test_a_kill_point_without_leave(tmp_path: Path) -> None:
    """TANDEM_KILL_AT is not obeyed, and not ignored either, without --allow-faults."""
    given = environment(tmp_path / "var") | {"TANDEM_KILL_AT": "appended:1"}
    ended = subprocess.run([*TANDEM, "run", "all"], env=given, capture_output=True, text=True, timeout=60, check=False)
    assert "--allow-faults" in complaint(ended)


@pytest.fixture
def taken(platform: Cell) -> Iterator[dict[str, int]]:
    """Settings whose ports the platform has."""
    yield {
        "http.port": int(platform.base_url.rpartition(":")[2]),
        "grpc.port": int(platform.grpc_target.rpartition(":")[2]),
        "sip.port": platform.sip_port,
    }


@pytest.mark.parametrize(("setting", "target"), [("http.port", "all"), ("grpc.port", "all"), ("sip.port", "media")])
def test_a_taken_port(taken: dict[str, int], tmp_path: Path, setting: str, target: str) -> None:
    """An error that names the setting."""
    free = {"http__port": 0, "grpc__port": 0, "sip__port": 0}
    free[setting.replace(".", "__")] = taken[setting]
    memory = Path("/dev/shm") / f"tandem-e2e-{tmp_path.name}"
    try:
        said = complaint(start(tmp_path / "var", "run", target, media__node_key_file=memory / "node.key", **free))
    finally:
        for left in (memory / "node.key", memory):
            if left.exists():
                left.rmdir() if left.is_dir() else left.unlink()
    assert setting in said
    assert str(taken[setting]) in said
