"""The API over a scripted contact centre: what the page is looked at with, and what no real cell does on demand.

The gateway, its guard, the session and the JSON are the real ones; behind them a test says
what happens. `python -m tests.e2e.fake_api` serves a busy one for a look in a browser.
"""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from tandem.adapters.system import SystemEntropy
from tandem.api.event.v1 import tenant_pb2 as event
from tandem.api.recording.v1 import recording_pb2
from tandem.api.recording.v1 import recording_service_pb2 as recording_api
from tandem.api.routing.v1 import agent_state_pb2 as desk
from tandem.api.routing.v1 import routing_service_pb2 as routing_api
from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.api.tenant.v1 import agent_pb2, number_pb2, queue_pb2, tenant_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as tenant_api
from tandem.api.type.v1 import access_pb2, content_pb2, private_pb2
from tandem.core.commit import Commit, Envelope, Part
from tandem.core.errors import BAD_FIELD, BAD_RANGE, NOT_IN_USE, UNKNOWN_NAME, Rejected
from tandem.core.recording import wav_header
from tandem.gateway import Gateway, Settings
from tandem.gateway.demo_session import DemoSession
from tandem.gateway.page import Page, page_routes
from tandem.runtime.auth import Credentials, digest_of
from tandem.runtime.interceptors import Api
from tandem.runtime.times import time_of
from tandem.wire.g711 import Law, encode

KEY = "a-supervisor's-key"
TENANT = "tenants/demo"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class ScriptedContact:
    """A contact that does what it is told, at the time it is told."""

    def __init__(self, cell: FakeCell, id_: str, caller: str, at_ms: int) -> None:
        self._cell, self.id = cell, id_
        self.pb = pb.Contact(name=f"{TENANT}/contacts/{id_}")
        self.pb.number, self.pb.flow = f"{TENANT}/numbers/100", f"{TENANT}/flows/main"
        self.pb.caller.CopyFrom(private_pb2.PrivateText(value=caller, visibility=private_pb2.VISIBILITY_SHOWN))
        self.pb.create_time.CopyFrom(time_of(at_ms))
        self.events: list[pb.ContactEvent] = []
        self.offers = 0
        cell.contacts[id_] = self
        self.tell("started", at_ms, "IN_FLOW", number="100", caller=caller)
        self.tell("answered", at_ms + 40)
        self.tell("step_entered", at_ms + 40, step="menu", kind="STEP_KIND_MENU", prompts=["welcome-menu"])

    def tell(self, type_: str, at_ms: int, state: str = "", **data: Any) -> None:
        """An event, and the state that the contact has after it."""
        if state:
            self.pb.state = pb.Contact.State.Value(f"STATE_{state}")
        told = pb.ContactEvent(
            event_id=f"live/0/1/{self.id}/{len(self.events)}",
            contact=self.pb.name,
            version=len(self.events) + 1,
            type=f"contact.{type_}",
            event_time=time_of(at_ms),
        )
        told.data.update({"at_ms": str(at_ms)} | data)
        self.events.append(told)
        self._cell.publish(self.pb, told)

    def queue(self, at_ms: int, queue: str = "sales") -> None:
        self.tell("menu_chosen", at_ms, step="menu", next=queue, digits="1")
        self.pb.queue = f"{TENANT}/queues/{queue}"
        self.pb.enqueue_time.CopyFrom(time_of(at_ms))
        self.tell("queued", at_ms, "WAITING", queue=queue, enqueued_ms=str(at_ms))
        self.tell("music_started", at_ms + 3000)

    def ring(self, at_ms: int, agent: str) -> None:
        self.offers += 1
        offer = f"o{self.offers}"
        self.tell("agent_offered", at_ms, "RINGING", offer=offer, agent=agent, ring_timeout_ms=15000)
        self._cell.set_status(agent, "ALERTING", at_ms, self.id)

    def ring_out(self, at_ms: int, agent: str) -> None:
        outcome = {"outcome": "OFFER_OUTCOME_TIMEOUT", "cause": "CAUSE_NO_ANSWER", "rang_ms": 15000}
        self.tell("offer_ended", at_ms, "WAITING", agent=agent, **outcome)
        self._cell.set_status(agent, "NOT_RESPONDING", at_ms)

    def connect(self, at_ms: int, agent: str) -> None:
        self.pb.agent = f"{TENANT}/agents/{agent}"
        self.tell("agent_answered", at_ms, "CONNECTING", agent=agent)
        self.pb.connect_time.CopyFrom(time_of(at_ms + 60))
        self.tell("connected", at_ms + 60, "TALKING", agent=agent, recording=f"r-{self.id}")
        self._cell.set_status(agent, "INTERACTING", at_ms, self.id)

    def hold(self, at_ms: int, until_ms: int) -> None:
        self.tell("held", at_ms, by="ENDED_BY_AGENT")
        if until_ms:
            self.tell("resumed", until_ms, by="ENDED_BY_AGENT")

    def end(self, at_ms: int, outcome: str = "HANDLED", by: str = "CALLER") -> None:
        self.pb.outcome = pb.Contact.Outcome.Value(f"OUTCOME_{outcome}")
        self.pb.ended_by = pb.Contact.EndedBy.Value(f"ENDED_BY_{by}")
        self.pb.end_time.CopyFrom(time_of(at_ms))
        words = {"outcome": f"CONTACT_OUTCOME_{outcome}", "by": f"ENDED_BY_{by}", "cause": "CAUSE_NORMAL"}
        self.tell("disconnected", at_ms, "ENDED", **words)
        self.tell("leg_closed", at_ms + 20, leg=self.id, cause="CAUSE_NORMAL")

    def keep_recording(self, at_ms: int) -> None:
        seconds = max(1, at_ms // 1000 - self.pb.connect_time.seconds)
        name = self._cell.record(self.pb, seconds)
        self.pb.recordings.append(name)
        self.tell("recording_ended", at_ms, recording=f"r-{self.id}", blob="b", frames=str(seconds * 8000))
        self.tell("completed", at_ms + 5)


class FakeCell:
    """The servicers' shared world."""

    def __init__(self) -> None:
        self.contacts: dict[str, ScriptedContact] = {}
        self.recordings: dict[str, tuple[recording_pb2.Recording, bytes]] = {}
        self.agents = {"anna": "Anna Berger", "ben": "Ben Novak", "carla": "Carla Ruiz"}
        self.queues = {"sales": "Sales", "support": "Support"}
        self.states: dict[str, desk.AgentState] = {}
        self.told: list[api.WatchContactsResponse] = []
        self.calls = 0
        self.log = 1
        self.cut = asyncio.Event()
        self.refuse: Rejected | None = None
        self._moved = asyncio.Event()
        for agent in self.agents:
            self.states[agent] = desk.AgentState(
                name=f"{TENANT}/agentStates/{agent}",
                agent=f"{TENANT}/agents/{agent}",
                reachable=True,
                presence=desk.PRESENCE_AVAILABLE,
                presence_time=time_of(now_ms() - 900_000),
            )
            self.set_status(agent, "IDLE", now_ms() - 42_000)

    # ---------------------------------------------------------------- the script's side

    def arrive(self, caller: str, at_ms: int = 0, id_: str = "") -> ScriptedContact:
        return ScriptedContact(self, id_ or f"c{len(self.contacts) + 1:05d}", caller, at_ms or now_ms())

    def set_status(self, agent: str, status: str, at_ms: int, contact: str = "") -> None:
        state = self.states[agent]
        state.status = desk.AgentState.Status.Value(f"STATUS_{status}")
        state.status_time.CopyFrom(time_of(at_ms))
        state.contact = f"{TENANT}/contacts/{contact}" if contact else ""

    def set_presence(self, agent: str, presence: desk.Presence.ValueType) -> None:
        state = self.states[agent]
        state.presence = presence
        state.presence_time.CopyFrom(time_of(now_ms()))
        self.set_status(agent, "IDLE" if presence == desk.PRESENCE_AVAILABLE else "OFF_QUEUE", now_ms())

    def publish(self, contact: pb.Contact, told: pb.ContactEvent) -> None:
        message = api.WatchContactsResponse(position=self.position(len(self.told) + 1), event=told)
        message.contact.CopyFrom(contact)
        self.told.append(message)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def position(self, n: int) -> str:
        return f"{self.log}/{n}"

    def record(self, contact: pb.Contact, seconds: int) -> str:
        name = f"{TENANT}/recordings/r-{contact.name.rpartition('/')[2]}"
        body = wav(seconds)
        row = recording_pb2.Recording(name=name, contact=contact.name, agent=contact.agent, queue=contact.queue)
        row.start_time.CopyFrom(contact.connect_time)
        row.duration.FromSeconds(seconds)
        row.size_bytes = len(body)
        self.recordings[name] = (row, body)
        return name

    def break_streams(self) -> None:
        """The line to every page breaks."""
        cut, self.cut = self.cut, asyncio.Event()
        cut.set()

    def forget_positions(self) -> None:
        """From here on it is another log: positions of the old one mean nothing."""
        self.log += 1

    async def place_call(self) -> str:
        if self.refuse is not None:
            raise self.refuse
        self.calls += 1
        return self.arrive(f"+43 1 5550{self.calls:03d}").id

    # ---------------------------------------------------------------- what the servicers read

    async def follow(self, after: int) -> AsyncIterator[api.WatchContactsResponse]:
        ends = asyncio.ensure_future(self.cut.wait())
        moves = ends
        try:
            while not ends.done():
                moves = asyncio.ensure_future(self._moved.wait())
                for message in self.told[after:]:
                    yield message
                    after += 1
                await asyncio.wait({moves, ends}, return_when=asyncio.FIRST_COMPLETED)
                moves.cancel()
        finally:
            moves.cancel()
            ends.cancel()


def wav(seconds: int) -> bytes:
    """Two who talk in turns: 440 Hz on the left, 620 Hz on the right."""
    frames = seconds * 8000
    sides = []
    for side, hertz in enumerate((440, 620)):
        samples = (
            int(9000 * math.sin(2 * math.pi * hertz * n / 8000) * (0.15 + abs(math.sin(n / 1300 + side))))
            if (n // 12000) % 2 == side
            else 0
            for n in range(frames)
        )
        sides.append(encode(Law.MU, struct.pack(f"<{frames}h", *samples)))
    return wav_header(frames) + bytes(byte for pair in zip(*sides, strict=True) for byte in pair)


class _Partial:
    """A servicer of which the page uses some methods."""

    def __getattr__(self, name: str) -> Any:
        async def absent(request: Any, call: Any) -> Any:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")

        return absent


class _Sessions(_Partial):
    def __init__(self, cell: FakeCell) -> None:
        self._cell = cell

    def _contact(self, name: str) -> ScriptedContact:
        found = self._cell.contacts.get(name.rpartition("/")[2])
        if found is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        return found

    async def get_contact(self, request: api.GetContactRequest, call: Any) -> pb.Contact:
        return self._contact(request.name).pb

    async def list_contacts(self, request: api.ListContactsRequest, call: Any) -> api.ListContactsResponse:
        ended = request.life == api.ListContactsRequest.LIFE_ENDED
        rows = [c.pb for c in self._cell.contacts.values() if not ended or c.pb.state == pb.Contact.STATE_ENDED]
        rows.sort(key=lambda row: row.create_time.ToMilliseconds(), reverse=True)
        start = int(request.page_token or 0)
        stop = start + (request.page_size or 50)
        token = str(stop) if stop < len(rows) else ""
        return api.ListContactsResponse(contacts=rows[start:stop], next_page_token=token)

    async def list_contact_events(self, request: api.ListContactEventsRequest, call: Any) -> Any:
        return api.ListContactEventsResponse(events=self._contact(request.parent).events)

    async def hang_up_contact(self, request: api.HangUpContactRequest, call: Any) -> pb.Contact:
        contact = self._contact(request.name)
        contact.end(now_ms(), "HUNG_UP", "API")
        return contact.pb

    async def pause_recording(self, request: api.PauseRecordingRequest, call: Any) -> pb.Contact:
        return self._turn(request.name, True)

    async def resume_recording(self, request: api.ResumeRecordingRequest, call: Any) -> pb.Contact:
        return self._turn(request.name, False)

    def _turn(self, name: str, paused: bool) -> pb.Contact:
        contact = self._contact(name)
        contact.tell("recording_pause_begun", now_ms(), recording="r", paused=paused)
        contact.pb.recording_paused = paused
        contact.tell("recording_paused" if paused else "recording_resumed", now_ms(), recording="r")
        return contact.pb

    async def watch_contacts(self, request: api.WatchContactsRequest, call: Any) -> AsyncIterator[Any]:
        if self._cell.refuse is not None:
            raise self._cell.refuse
        log, _, after = request.position.partition("/")
        if after and int(log) != self._cell.log:
            raise Rejected(BAD_FIELD, "position: it is of another log", position="it is of another log")
        return self._watch(int(after or 0))

    async def _watch(self, after: int) -> AsyncIterator[api.WatchContactsResponse]:
        n = len(self._cell.told)
        if not after:
            for contact in list(self._cell.contacts.values()):
                if contact.pb.state != pb.Contact.STATE_ENDED:
                    yield api.WatchContactsResponse(contact=contact.pb)
            yield api.WatchContactsResponse(position=self._cell.position(n), synced=True)
        for message in self._cell.told[after or n : n]:
            told = api.WatchContactsResponse()
            told.CopyFrom(message)
            told.ClearField("contact")  # as the real one: it tells what happened, not what the contact was then
            yield told
        async for message in self._cell.follow(n):
            yield message


class _Routing(_Partial):
    def __init__(self, cell: FakeCell) -> None:
        self._cell = cell

    async def list_agent_states(self, request: Any, call: Any) -> routing_api.ListAgentStatesResponse:
        return routing_api.ListAgentStatesResponse(agent_states=list(self._cell.states.values()))

    async def list_waiting(self, request: routing_api.ListWaitingRequest, call: Any) -> routing_api.ListWaitingResponse:
        states, alerting = self._cell.states.values(), desk.AgentState.STATUS_ALERTING
        offered = {state.contact: state.agent for state in states if state.status == alerting}
        rows = [
            c.pb
            for c in self._cell.contacts.values()
            if c.pb.queue == request.parent and c.pb.state in (pb.Contact.STATE_WAITING, pb.Contact.STATE_RINGING)
        ]
        rows.sort(key=lambda row: row.enqueue_time.ToMilliseconds())
        line = [
            desk.WaitingContact(
                contact=row.name,
                place=place,
                enqueue_time=row.enqueue_time,
                offered_agent=offered.get(row.name, ""),
            )
            for place, row in enumerate(rows, 1)
        ]
        size = request.page_size or 50
        return routing_api.ListWaitingResponse(waiting=line[:size], total_size=len(line))

    async def set_presence(self, request: routing_api.SetPresenceRequest, call: Any) -> desk.AgentState:
        agent = request.name.rpartition("/")[2]
        self._cell.set_presence(agent, request.presence)
        return self._cell.states[agent]

    async def end_wrap_up(self, request: routing_api.EndWrapUpRequest, call: Any) -> desk.AgentState:
        agent = request.name.rpartition("/")[2]
        if self._cell.states[agent].status != desk.AgentState.STATUS_WRAP_UP:
            raise Rejected(NOT_IN_USE, "this agent has no wrap-up")
        self._cell.set_status(agent, "IDLE", now_ms())
        return self._cell.states[agent]


class _Recordings(_Partial):
    def __init__(self, cell: FakeCell) -> None:
        self._cell = cell

    async def get_recording(self, request: recording_api.GetRecordingRequest, call: Any) -> recording_pb2.Recording:
        return self._found(request.name)[0]

    def _found(self, name: str) -> tuple[recording_pb2.Recording, bytes]:
        if name not in self._cell.recordings:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        return self._cell.recordings[name]

    async def download_recording(self, request: recording_api.DownloadRecordingRequest, call: Any) -> Any:
        body = self._found(request.name)[1]
        start = request.read_offset if request.read_offset >= 0 else max(0, len(body) + request.read_offset)
        if start >= len(body):
            raise Rejected(BAD_RANGE, f"the file has {len(body)} bytes", size=str(len(body)))
        stop = start + request.read_limit if request.read_limit else len(body)

        async def pieces() -> AsyncIterator[content_pb2.ContentChunk]:
            head = {"content_type": "audio/wav", "size_bytes": len(body), "offset": start}
            yield content_pb2.ContentChunk(data=body[start:stop], **head)

        return pieces()


class _Tenants(_Partial):
    def __init__(self, cell: FakeCell) -> None:
        self._cell = cell

    async def get_tenant(self, request: Any, call: Any) -> tenant_pb2.Tenant:
        return tenant_pb2.Tenant(name=TENANT, display_name="Demo centre")

    async def list_queues(self, request: Any, call: Any) -> tenant_api.ListQueuesResponse:
        rows = [queue_pb2.Queue(name=f"{TENANT}/queues/{q}", display_name=n) for q, n in self._cell.queues.items()]
        return tenant_api.ListQueuesResponse(queues=rows)

    async def list_agents(self, request: Any, call: Any) -> tenant_api.ListAgentsResponse:
        rows = [agent_pb2.Agent(name=f"{TENANT}/agents/{a}", display_name=n) for a, n in self._cell.agents.items()]
        return tenant_api.ListAgentsResponse(agents=rows)

    async def list_numbers(self, request: Any, call: Any) -> tenant_api.ListNumbersResponse:
        return tenant_api.ListNumbersResponse(numbers=[number_pb2.Number(name=f"{TENANT}/numbers/100")])


def _credentials() -> Credentials:
    body = event.ApiKeyBody(tenant="demo", api_key="page", role=access_pb2.ROLE_SUPERVISOR, sha256=digest_of(KEY))
    part = Part("api_key.created", event.ApiKeyCreated(api_key=body).SerializeToString())
    envelope = Envelope("tenant/0/1/1/0", "demo", "tenant/demo", 1, 0, "", "", "", part)
    credentials = Credentials()
    credentials.apply(Commit(1, 1, 0, "", 0, "1", events=(envelope,)))
    return credentials


def gateway_of(cell: FakeCell, port: int) -> Gateway:
    """The real gateway with the page, over the scripted centre."""

    def report(text: str, error: BaseException) -> None:
        raise AssertionError(text) from error

    entropy = SystemEntropy()
    served = Api(_credentials(), entropy, report)
    for module, name, servicer in (
        (api, "SessionService", _Sessions(cell)),
        (routing_api, "RoutingService", _Routing(cell)),
        (recording_api, "RecordingService", _Recordings(cell)),
        (tenant_api, "TenantService", _Tenants(cell)),
    ):
        served.add(module.DESCRIPTOR.services_by_name[name], servicer)
    hosts, origins = (f"127.0.0.1:{port}",), (f"http://127.0.0.1:{port}",)
    session = DemoSession(KEY, hosts, origins, entropy)
    pages = page_routes(Page("demo", "127.0.0.1:5060"), session, cell.place_call)
    return Gateway(served, entropy, Settings(hosts, origins), lambda: True, session.credential, pages)


@contextmanager
def _no_signals() -> Iterator[None]:
    """Signals are the test runner's."""
    yield


@asynccontextmanager
async def serving(gateway_at: Callable[[int], Gateway], port: int = 0) -> AsyncIterator[str]:
    """The base URL of a gateway that is made for its port, for as long as the block lasts."""
    config = uvicorn.Config(lambda *_: None, host="127.0.0.1", port=port, log_config=None, lifespan="off", ws="none")
    listener = config.bind_socket()
    port = listener.getsockname()[1]
    gateway = gateway_at(port)
    config.app = gateway.app()
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        gateway.close()
        server.should_exit = True
        await running
        listener.close()


def served(cell: FakeCell, port: int = 0) -> AbstractAsyncContextManager[str]:
    """The scripted centre's page."""
    return serving(lambda bound: gateway_of(cell, bound), port)


# ------------------------------------------------------------------ a busy centre to look at


def fill(cell: FakeCell) -> None:
    """Some history, and one live contact in each state."""
    t = now_ms()
    for index in range(9):
        start = t - 560_000 + index * 52_000
        contact = cell.arrive(f"+43 664 12{index:05d}", start)
        if index == 2:
            contact.tell("menu_missed", start + 6000, attempt=1, timeout=True)
            contact.end(start + 11_000, "LEFT_IN_FLOW")
            continue
        contact.queue(start + 5000, "sales" if index % 3 else "support")
        if index == 5:
            contact.ring(start + 9000, "ben")
            contact.ring_out(start + 24_000, "ben")
            contact.end(start + 31_000, "ABANDONED")
            continue
        contact.ring(start + 9000 + index * 1500, "anna")
        contact.connect(start + 10_000 + index * 1500, "anna")
        if index == 7:
            contact.hold(start + 30_000, start + 38_000)
        outcome, by = ("MEDIA_LOST", "NODE") if index == 3 else ("HANDLED", "AGENT")
        contact.end(start + 32_000 + index * 2500, outcome, by)
        contact.keep_recording(start + 32_300 + index * 2500)
    for agent, status, ago in (("anna", "IDLE", 20_000), ("ben", "IDLE", 72_000), ("carla", "IDLE", 120_000)):
        cell.set_status(agent, status, t - ago)
    talking = cell.arrive("+43 1 234567", t - 64_000)
    talking.queue(t - 58_000)
    talking.ring(t - 50_000, "anna")
    talking.connect(t - 49_000, "anna")
    talking.hold(t - 20_000, t - 11_000)
    ringing = cell.arrive("+44 20 7946 0018", t - 33_000)
    ringing.queue(t - 28_000)
    ringing.ring(t - 22_000, "carla")
    ringing.ring_out(t - 7000, "carla")
    ringing.ring(t - 4000, "ben")
    waiting = cell.arrive("+49 30 901820", t - 16_000)
    waiting.queue(t - 11_000)
    cell.arrive("anonymous", t - 3000)


async def _look(port: int) -> None:
    cell = FakeCell()
    fill(cell)
    async with served(cell, port) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    import sys

    asyncio.run(_look(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
