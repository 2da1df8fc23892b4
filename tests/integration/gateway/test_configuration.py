"""A tenant's administrator at work over HTTP; the other tenant notices nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.core.ports.log import Partition
from tandem.wire.sip.digest import hash_password
from tests.integration.gateway.conftest import STEPS, good, reason, violations
from tests.support.mini_cell import REALM, SHARDS, MiniCell

RED, BLUE = "/v1/tenants/red", "/v1/tenants/blue"


# ------------------------------------------------------------------- requests that come twice


async def test_a_repeat_gets_the_first_answer(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        path = f"{RED}/queues?queueId=support&requestId=r1"
        first = await client.post(path, json={"displayName": "Support"})
        again = await client.post(path, json={"displayName": "Support"})
        assert good(again) == good(first)
        assert first.headers["tandem-request-id"] == "r1"
        other = await client.post(path, json={"displayName": "Other"})
        assert (other.status_code, reason(other)) == (400, "REQUEST_ID_REUSED")


async def test_a_request_id_is_its_credential_s_own(cell: MiniCell) -> None:
    for tenant in ("red", "blue"):
        async with cell.client(tenant) as client:
            path = f"/v1/tenants/{tenant}/apiKeys?apiKeyId=extra&requestId=same"
            key = good(await client.post(path, json={"role": "ROLE_ADMIN"}))
            assert key["name"] == f"tenants/{tenant}/apiKeys/extra"
            assert key["secretShown"] is True


async def test_without_a_request_id_one_is_made_and_told(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        made = (await client.post(f"{RED}/flows/main:publish", json={})).headers["tandem-request-id"]
        assert made
        long = await client.post(f"{RED}/flows/main:publish", json={"requestId": "x" * 129})
        assert list(violations(long)) == ["request_id"]


# ------------------------------------------------------------------- secrets


async def test_a_key_works_at_once_and_its_secret_is_shown_once(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        path = f"{RED}/apiKeys?apiKeyId=viewer&requestId=k1"
        first = good(await client.post(path, json={"role": "ROLE_SUPERVISOR", "displayName": "Wall"}))
        again = good(await client.post(path, json={"role": "ROLE_SUPERVISOR", "displayName": "Wall"}))
        assert (again["secret"], again["secretShown"]) == ("", False)
        assert again["name"] == first["name"]
        headers = {"authorization": f"Bearer {first['secret']}"}
        assert (await client.get(f"{RED}/queues", headers=headers)).status_code == 200
        assert (await client.post(f"{RED}/queues?queueId=x", json={}, headers=headers)).status_code == 403
        listed = good(await client.get(f"{RED}/apiKeys"))["apiKeys"]
        assert "tenants/red/apiKeys/viewer" in [key["name"] for key in listed]
        assert not any(key["secret"] for key in listed)
        good(await client.delete(f"{RED}/apiKeys/viewer"))
        refused = await client.get(f"{RED}/queues", headers=headers)
        assert (refused.status_code, reason(refused)) == (401, "BAD_CREDENTIAL")


async def test_a_key_for_an_agent_needs_that_agent(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        path = f"{RED}/apiKeys"
        for body in (
            {"role": "ROLE_AGENT"},
            {"role": "ROLE_AGENT", "agent": "tenants/red/agents/nobody"},
            {"role": "ROLE_AGENT", "agent": "tenants/blue/agents/ann"},
            {"role": "ROLE_ADMIN", "agent": "tenants/red/agents/ann"},
        ):
            assert list(violations(await client.post(path, json=body))) == ["agent"]
        for role in ("ROLE_PLATFORM", "ROLE_UNSPECIFIED", 99):
            assert list(violations(await client.post(path, json={"role": role}))) == ["role"]
        key = good(await client.post(path, json={"role": "ROLE_AGENT", "agent": "tenants/red/agents/ann"}))
        assert key["agent"] == "tenants/red/agents/ann"


async def test_a_device_s_password_is_shown_once_and_kept_as_digests(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        path = f"{RED}/agents?agentId=bob&requestId=a1"
        first = good(await client.post(path, json={"displayName": "Bob Example"}))
        again = good(await client.post(path, json={"displayName": "Bob Example"}))
        assert first["sipUser"] == "bob.red"
        assert (first["secretShown"], again["secretShown"], again["sipPassword"]) == (True, False, "")
        assert again["displayName"] == "Bob Example"
        reset = good(await client.post(f"{RED}/agents/bob:resetSipPassword", json={"sipPassword": "open sesame"}))
        assert reset["sipPassword"] == "open sesame"
        got = good(await client.get(f"{RED}/agents/bob"))
        assert (got["sipPassword"], got["displayName"], got["etag"]) == ("", "Bob Example", reset["etag"])
    log = b"".join(
        stored.body
        for group in ("tenant", "live")
        for shard in range(SHARDS)
        for stored in cell.partitions.records(Partition(group, shard))
    )
    hashed = hash_password("bob.red", REALM, first["sipPassword"])
    for secret in (first["sipPassword"], "open sesame", "Bob Example", hashed.md5, hashed.sha256):
        assert secret.encode() not in log
    for secret in cell.secrets.values():
        assert secret.encode() not in log


async def test_an_erased_name_reads_empty(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        assert good(await client.get(f"{RED}/agents/ann"))["displayName"] == "Ann red"
        cell.keys.destroy(tuple(cell.keys._keys))
        assert good(await client.get(f"{RED}/agents/ann"))["displayName"] == ""


@pytest.mark.parametrize("password", ["short", "x" * 129, "tab\tinside", "nul\u0000inside", "gr\u00fc\u00dfe1234"])
async def test_a_password_that_phones_cannot_send_is_refused(cell: MiniCell, password: str) -> None:
    async with cell.client("red") as client:
        answer = await client.post(f"{RED}/agents?agentId=bob", json={"sipPassword": password})
        assert list(violations(answer)) == ["sip_password"]
        assert password not in answer.text
        changed = await client.patch(f"{RED}/agents/ann", json={"sipPassword": password})
        assert "resetSipPassword" in violations(changed)["sip_password"]


# ------------------------------------------------------------------- pages


async def test_pages_are_whole_and_their_tokens_bound(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        for index in range(5):
            good(await client.post(f"{RED}/queues?queueId=q{index}", json={}))
        names: list[str] = []
        token = ""
        while True:
            page = good(await client.get(f"{RED}/queues?pageSize=2&pageToken={token}"))
            names += [queue["name"] for queue in page["queues"]]
            assert len(page["queues"]) <= 2
            token = page["nextPageToken"] or token
            if not page["nextPageToken"]:
                break
        assert names == sorted(names)
        assert len(names) == len(set(names)) == 6
        assert good(await client.get(f"{RED}/queues?pageSize=100000"))["nextPageToken"] == ""
        assert list(violations(await client.get(f"{RED}/queues?pageSize=-1"))) == ["page_size"]
        for path in (
            f"{RED}/agents?pageToken={token}",
            f"{RED}/queues?pageToken=x",
            f"{RED}/queues?pageToken={token}A",
        ):
            answer = await client.get(path)
            assert (answer.status_code, reason(answer)) == (400, "BAD_PAGE_TOKEN")
    async with cell.client("blue") as client:
        assert reason(await client.get(f"{BLUE}/queues?pageToken={token}")) == "BAD_PAGE_TOKEN"
        assert [q["name"] for q in good(await client.get(f"{BLUE}/queues"))["queues"]] == ["tenants/blue/queues/sales"]


# ------------------------------------------------------------------- changes


async def test_masks_say_what_changes(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        path = f"{RED}/queues/sales"
        populated = good(await client.patch(path, json={"wrapUp": "7s"}))
        assert (populated["wrapUp"], populated["displayName"]) == ("7s", "Sales")
        masked = good(await client.patch(f"{path}?updateMask=displayName", json={"displayName": "S", "wrapUp": "1s"}))
        assert (masked["wrapUp"], masked["displayName"]) == ("7s", "S")
        snake = good(await client.patch(f"{path}?update_mask=ring_timeout,wrap_up", json={"ringTimeout": "20s"}))
        assert (snake["ringTimeout"], snake["wrapUp"], snake["displayName"]) == ("20s", "0s", "S")
        everything = good(await client.patch(f"{path}?updateMask=*", json={"displayName": "All"}))
        assert (everything["ringTimeout"], everything["displayName"]) == ("15s", "All")
        unknown = await client.patch(f"{path}?updateMask=name", json={})
        assert list(violations(unknown)) == ["update_mask"]


async def test_an_etag_guards_against_lost_changes(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        path = f"{RED}/queues/sales"
        old = (await client.get(path)).headers["etag"]
        good(await client.patch(path, json={"wrapUp": "7s", "etag": old}))
        late = await client.patch(path, json={"wrapUp": "8s", "etag": old})
        assert (late.status_code, reason(late)) == (409, "ETAG_MISMATCH")
        assert good(await client.get(path))["wrapUp"] == "7s"
        gone = await client.delete(f"{RED}/numbers/1000", params={"etag": old})
        assert reason(gone) == "ETAG_MISMATCH"


async def test_deleting_what_is_used_names_the_user(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        answer = await client.delete(f"{RED}/queues/sales")
        assert (answer.status_code, reason(answer)) == (400, "IN_USE")
        metadata = answer.json()["error"]["details"][0]["metadata"]
        assert (metadata["user"], metadata["path"]) == ("tenants/red/agents/ann", "queues[0]")
        good(await client.delete(f"{RED}/agents/ann"))
        assert (await client.get(f"{RED}/agents/ann")).status_code == 404


# ------------------------------------------------------------------- flows and numbers


async def test_a_bad_flow_is_refused_with_its_paths(cell: MiniCell) -> None:
    steps: list[dict[str, Any]] = [
        {"id": "hello", "answer": {"next": "nowhere"}},
        {"id": "ask", "menu": {"prompts": ["nope"], "options": [{"digit": "12", "next": "ask"}], "otherwise": "ask"}},
        {"id": "line", "queue": {"queue": "tenants/blue/queues/sales", "music": "music"}},
    ]
    async with cell.client("red") as client:
        answer = await client.patch(f"{RED}/flows/main", json={"steps": steps})
        assert (answer.status_code, reason(answer)) == (400, "BAD_FLOW")
        assert set(violations(answer)) == {
            "steps[0].answer.next",
            "steps[1].menu.prompts[0]",
            "steps[1].menu.options[0].digit",
            "steps[2].queue.queue",
        }
        bodiless = await client.patch(f"{RED}/flows/main", json={"steps": [{"id": "x"}]})
        assert list(violations(bodiless)) == ["steps[0]"]
        many = await client.patch(f"{RED}/flows/main", json={"steps": [{"id": "x"}] * 201})
        assert list(violations(many)) == ["steps"]
        negative = await client.patch(
            f"{RED}/flows/main",
            json={"steps": [{"id": "x", "queue": {"queue": "sales", "music": "music", "maxWait": "-1s"}}]},
        )
        assert list(violations(negative)) == ["steps[0].queue.max_wait"]
        assert good(await client.get(f"{RED}/flows/main"))["steps"][0]["id"] == "hello"


async def test_callers_get_what_was_published(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        over = [{"id": "over", "hangUp": {"prompts": []}}]
        draft = good(await client.patch(f"{RED}/flows/main", json={"steps": over}))
        assert (draft["publishedVersion"], len(draft["publishedSteps"])) == (1, len(STEPS))
        stale = await client.post(f"{RED}/flows/main:publish", json={"etag": '"1"'})
        assert reason(stale) == "ETAG_MISMATCH"
        published = good(await client.post(f"{RED}/flows/main:publish", json={"etag": draft["etag"]}))
        assert (published["publishedVersion"], published["publishedSteps"]) == (2, draft["steps"])
    names = [message.part.type for message in cell.messages("red")]
    assert names == ["config.queue", "config.agent", "config.device", "config.flow", "config.number", "config.flow"]


async def test_a_number_is_one_tenant_s(cell: MiniCell) -> None:
    body = {"flow": "tenants/blue/flows/main"}
    async with cell.client("blue") as blue, cell.client("red") as red:
        taken = await blue.post(f"{BLUE}/numbers?numberId=1000", json=body)
        assert (taken.status_code, reason(taken)) == (409, "NAME_TAKEN")
        assert "red" not in taken.text
        foreign = await blue.post(f"{BLUE}/numbers?numberId=3000", json={"flow": "tenants/red/flows/main"})
        assert list(violations(foreign)) == ["flow"]
        good(await red.delete(f"{RED}/numbers/1000"))
        good(await blue.post(f"{BLUE}/numbers?numberId=1000", json=body))
        again = await red.post(f"{RED}/numbers?numberId=1000", json={"flow": "tenants/red/flows/main"})
        assert reason(again) == "NAME_TAKEN"


async def test_a_repeated_delete_leaves_the_new_number_its_claim(cell: MiniCell) -> None:
    async with cell.client("blue") as blue, cell.client("red") as red:
        delete = f"{RED}/numbers/1000?requestId=d1"
        good(await red.delete(delete))
        good(await red.post(f"{RED}/numbers?numberId=1000", json={"flow": "tenants/red/flows/main"}))
        good(await red.delete(delete))
        assert good(await red.get(f"{RED}/numbers/1000"))["flow"] == "tenants/red/flows/main"
        taken = await blue.post(f"{BLUE}/numbers?numberId=1000", json={"flow": "tenants/blue/flows/main"})
        assert reason(taken) == "NAME_TAKEN"


# ------------------------------------------------------------------- what JSON may be


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"wrapup": "5s"}, "wrapup"),
        ({"wrapUp": "soon"}, "wrap_up"),
        ({"wrapUp": 5}, "wrap_up"),
        ({"displayName": 5}, "display_name"),
        ({"displayName": ["a"]}, "display_name"),
        ([], "body"),
        ("text", "body"),
    ],
)
async def test_what_a_field_cannot_take_is_refused_by_name(cell: MiniCell, body: Any, path: str) -> None:
    async with cell.client("red") as client:
        answer = await client.patch(f"{RED}/queues/sales", json=body)
        assert (answer.status_code, reason(answer)) == (400, "BAD_FIELD")
        assert list(violations(answer)) == [path]


async def test_a_misspelt_field_is_answered_with_what_was_meant(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        answer = await client.patch(f"{RED}/queues/sales", json={"wrapup": "5s"})
        assert "did you mean wrapUp?" in violations(answer)["wrapup"]
        deep = await client.patch(f"{RED}/flows/main", json={"steps": [{"id": "a", "answr": {}}]})
        assert list(violations(deep)) == ["steps[0].answr"]
        both = await client.patch(f"{RED}/flows/main", json={"steps": [{"id": "a", "answer": {}, "play": {}}]})
        assert list(violations(both)) == ["steps[0].play"]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("queueId=x&queueid=y", "queueid"),
        ("queueId=x&queueId=y", "queue_id"),
        ("queueId=x&parent=tenants/blue", "parent"),
        ("queueId=x&queue.displayName=y", "queue.display_name"),
        ("queueId=x&waitLive=yes", "wait_live"),
        ("queueId=x&queue=y", "queue"),
    ],
)
async def test_a_bad_query_is_refused_by_name(cell: MiniCell, query: str, path: str) -> None:
    async with cell.client("red") as client:
        answer = await client.post(f"{RED}/queues?{query}", json={})
        assert list(violations(answer)) == [path]


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"displayName": "\\ud800"}', b"[" * 100_000, b'{"a":1}}'])
async def test_what_is_no_json_is_refused(cell: MiniCell, content: bytes) -> None:
    async with cell.client("red") as client:
        answer = await client.patch(f"{RED}/queues/sales", content=content)
        assert (answer.status_code, list(violations(answer))) == (400, ["body"])
        form = await client.patch(f"{RED}/queues/sales", content=b"{}", headers={"content-type": "text/plain"})
        assert list(violations(form)) == ["Content-Type"]
