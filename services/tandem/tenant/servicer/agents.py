"""Agents and their devices."""

from __future__ import annotations

import asyncio

from google.protobuf.empty_pb2 import Empty

from tandem.api.tenant.v1 import agent_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as pb
from tandem.core.errors import ERASURE_UNDER_WAY, Rejected
from tandem.core.flow import SkillNeed
from tandem.core.seal import Secret
from tandem.runtime import positions
from tandem.runtime.interceptors import Call
from tandem.runtime.ledger import Ledger
from tandem.runtime.opening import open_all, text_of
from tandem.runtime.pages import page_of
from tandem.tenant.domain.configuration import CONFIGURATION, erasure_of
from tandem.tenant.domain.rules import known
from tandem.tenant.domain.words import (
    AgentSaved,
    CreateAgent,
    DeleteAgent,
    ResetSecret,
    UpdateAgent,
)
from tandem.tenant.events import ERASED
from tandem.tenant.servicer import resources
from tandem.tenant.servicer.base import Base
from tandem.tenant.servicer.forms import bad, changed, id_of, reference
from tandem.wire.sip.digest import hash_password

MIN_PASSWORD, MAX_PASSWORD = 8, 128
PASSWORD_BYTES = 15
"""Chance in a password that we make: 120 bits, 24 letters and digits that can be typed."""
ERASE_WAIT_S = 10.0
"""How long who deletes an agent waits for the erasure, which a backup that reads keys.db may put off."""
_FIELDS = {"display_name": "display_name", "queues": "queues", "skills": "skills"}


class AgentCalls(Base):
    """Agents of the tenant's configuration."""

    async def get_agent(self, request: pb.GetAgentRequest, call: Call) -> agent_pb2.Agent:
        """One."""
        agent = await self._read(call, lambda state: known(state.agents, id_of(request.name)))
        (name,) = await open_all(self._host, (agent.display_name,))
        return resources.agent(call.tenant, agent.body, text_of(name))

    async def list_agents(self, request: pb.ListAgentsRequest, call: Call) -> pb.ListAgentsResponse:
        """All, by id."""
        page = page_of(request, call.tenant)
        agents, token = await self._read(call, lambda state: page.of(state.agents))
        names = await open_all(self._host, [agent.display_name for agent in agents])
        rows = [
            resources.agent(call.tenant, agent.body, text_of(name)) for agent, name in zip(agents, names, strict=True)
        ]
        return pb.ListAgentsResponse(agents=rows, next_page_token=token)

    async def create_agent(self, request: pb.CreateAgentRequest, call: Call) -> agent_pb2.Agent:
        """A new one. The device's password is in the first answer alone."""
        given = request.agent
        device = f"{request.agent_id}.{call.tenant}"  # ids have no dot, so no two agents share one
        password, hashed = self._password(given.sip_password, device)
        command = CreateAgent(
            request.agent_id,
            Secret(given.display_name.encode()),
            _queues(given, call.tenant),
            _skills(given),
            device,
            self._setting.realm,
            *hashed,
            self._entropy.token(8),
        )
        saved = await self._change(call, command, request.wait_live)
        return await self._shown(call, saved, password if saved.attempt == command.attempt else "")

    async def update_agent(self, request: pb.UpdateAgentRequest, call: Call) -> agent_pb2.Agent:
        """Change one."""
        given = request.agent
        if given.sip_password:
            raise bad("sip_password", "it is changed with :resetSipPassword")
        command = UpdateAgent(
            id_of(given.name),
            given.etag,
            changed(request.update_mask, given, _FIELDS),
            Secret(given.display_name.encode()),
            _queues(given, call.tenant),
            _skills(given),
        )
        return await self._shown(call, await self._change(call, command, request.wait_live))

    async def reset_sip_password(self, request: pb.ResetSipPasswordRequest, call: Call) -> agent_pb2.Agent:
        """Another password for the device. It is in the first answer alone."""
        agent = id_of(request.name)
        password, hashed = self._password(request.sip_password, f"{agent}.{call.tenant}")
        command = ResetSecret(agent, self._setting.realm, *hashed, self._entropy.token(8))
        saved = await self._change(call, command, request.wait_live)
        return await self._shown(call, saved, password if saved.attempt == command.attempt else "")

    async def delete_agent(self, request: pb.DeleteAgentRequest, call: Call) -> Empty:
        """Delete one, and its device with it. Answered when no byte of the person's key is left."""
        agent = id_of(request.name)
        await self._change(call, DeleteAgent(agent, request.etag), request.wait_live)
        try:
            async with asyncio.timeout(ERASE_WAIT_S):
                await self._erased(call, agent)
        except TimeoutError:
            raise Rejected(ERASURE_UNDER_WAY, "the bytes are not gone yet") from None
        return Empty()

    async def _erased(self, call: Call, agent: str) -> None:
        def under_way(ledger: Ledger) -> bool:
            names = ledger.names.get((call.tenant, CONFIGURATION), {})
            return any(name.startswith(erasure_of(agent)) for name in names)

        while call.answered(answer := await self._host.query(call.tenant, CONFIGURATION, under_way)):
            since = positions.decode(answer.position)
            async for _, commit in self._host.tail(since.group, since.shard, since.n):
                if any((one.tenant, one.type) == (call.tenant, ERASED) for one in commit.events):
                    break

    async def _shown(self, call: Call, saved: AgentSaved, password: str = "") -> agent_pb2.Agent:
        (name,) = await open_all(self._host, (saved.display_name,))
        return resources.agent(call.tenant, saved.agent, text_of(name), password)

    def _password(self, given: str, device: str) -> tuple[str, tuple[Secret, Secret]]:
        """(the password, its digests by MD5 and SHA-256): the digests alone go on from here."""
        password = given or self._entropy.token(PASSWORD_BYTES)
        printable = password.isascii() and password.isprintable()
        if not printable or not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            problem = f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} printable ASCII characters"
            raise bad("sip_password", problem)
        hashed = hash_password(device, self._setting.realm, password)
        return password, (Secret(hashed.md5.encode()), Secret(hashed.sha256.encode()))


def _queues(agent: agent_pb2.Agent, tenant: str) -> tuple[str, ...]:
    return tuple(reference(name, tenant, "queues") for name in agent.queues)


def _skills(agent: agent_pb2.Agent) -> tuple[SkillNeed, ...]:
    return tuple(SkillNeed(skill.skill, skill.level or 1) for skill in agent.skills)
