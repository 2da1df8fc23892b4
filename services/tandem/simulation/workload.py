"""What people do in a simulated cell: customers call, agents come, pause and go, configuration changes."""

from __future__ import annotations

from typing import Any

from tandem.routing.domain import words as rw
from tandem.simulation.chance import Chance
from tandem.simulation.phones import MISCHIEF, Caller, Device
from tandem.simulation.tenants import RUSH, SALES, SUPPORT, Tenant, agent_row, configuration
from tandem.simulation.world import Cell

CALL_EVERY_MS = 7_000
"""On average, over all tenants."""


class Workload:
    """Drives phones and clients until `calm`."""

    def __init__(self, cell: Cell, chance: Chance) -> None:
        self._cell, self._chance = cell, chance.fork("customers")
        self._changes = chance.fork("changes")
        # A stream for each agent: who acts first in a millisecond changes nobody's day.
        self._days = {agent: chance.fork(agent) for tenant in cell.tenants for agent in tenant.agents}
        self._calls = 0
        self.calm = False
        cell.phones.hang_up_by_api = cell.hang_up_by_api
        cell.phones.pause_by_api = cell.pause_by_api
        cell.phones.sign_off = self._sign_off

    def start(self) -> None:
        """Begin."""
        for tenant in self._cell.tenants:
            for agent in tenant.agents:
                self._later(self._days[agent].between(500, 8_000), lambda t=tenant, a=agent: self._at_work(t, a))
        self._later(4_000, self._call)
        self._later(60_000, self._reconfigure)

    def _later(self, delay_ms: int, action: Any) -> None:
        self._cell.scheduler.after(delay_ms, action)

    @property
    def calls(self) -> int:
        """How many were made."""
        return self._calls

    # ---------------------------------------------------------------- customers

    def _call(self) -> None:
        if self.calm:
            return
        caller = self._caller()
        self._cell.phones.call(caller)
        if self._chance.one_in(12):
            self._later(self._chance.between(100, 20_000), lambda: self._cell.hang_up_by_api(caller))
        if self._chance.one_in(6):
            self._cell.phones.call(self._caller())  # two at once
        self._later(self._chance.around(CALL_EVERY_MS), self._call)

    def _caller(self) -> Caller:
        chance = self._chance
        tenant = chance.pick(self._cell.tenants)
        self._calls += 1
        contact = f"{tenant.name}x{self._calls}"
        number = tenant.number
        if chance.one_in(25):
            number = tenant.numbers[1]
        elif tenant.poison and chance.one_in(25):
            number = tenant.numbers[2]
        return Caller(
            contact,
            tenant.name,
            number,
            f"+49555{self._calls:07d}",
            self._cell.scheduler.now_ms,
            chance.pick((3_000, 20_000, 60_000, 90_000, 120_000)) + chance.below(5_000),
            self._digits(),
            chance.between(500, 25_000),
            chance.weighted(MISCHIEF),
        )

    def _digits(self) -> tuple[tuple[int, str], ...]:
        chance = self._chance
        wanted = chance.weighted(((SALES, 10), (SUPPORT, 6), (RUSH, 3), ("8", 1), ("9", 1)))
        first = chance.between(200, 5_000)
        match chance.below(8):
            case 0:
                return ((first, "5"), (first + 2_500, wanted))  # a wrong one first
            case 1:
                return ()  # says nothing
            case 2:
                return ((first, wanted), (first + 1, wanted), (first + 30_000, SALES))  # hammers
            case 3:
                # At the very moment of the time-out: two prompts, and the menu's patience.
                return ((2_000 + 4_000 - 1 + chance.below(3), wanted),)
            case _:
                return ((first, wanted), (first + 22_000, SALES))

    # ---------------------------------------------------------------- agents

    def _ask(self, tenant: Tenant, command: Any, done: Any = lambda value, error: None) -> None:
        self._cell.clients.ask(tenant.name, tenant.shard, "desk", command, done)

    def _at_work(self, tenant: Tenant, agent: str) -> None:
        """An agent's day: available, now and then a pause, wrap-up ended by hand."""
        self._ask(tenant, rw.SetPresence(agent, rw.AVAILABLE))
        self._later(self._days[agent].around(25_000), lambda: self._something(tenant, agent))

    def _something(self, tenant: Tenant, agent: str) -> None:
        chance = self._days[agent]
        if self.calm:
            return
        match chance.below(6):
            case 0:
                self._ask(tenant, rw.SetPresence(agent, chance.pick(("Break", "Away", rw.OFFLINE))))
                self._later(chance.between(500, 15_000), lambda: self._at_work(tenant, agent))
                return
            case 1 | 2:
                self._ask(tenant, rw.FinishWrapUp(agent))
            case 3:
                self._unplug(self._cell.phones.devices[chance.pick(tenant.devices[agent])], chance)
            case 4:
                self._ask(tenant, rw.SetPresence(agent, "Dancing"))  # refused
            case _:
                self._ask(tenant, rw.SetPresence(agent, rw.AVAILABLE))  # clears Not Responding
        self._later(chance.around(12_000), lambda: self._something(tenant, agent))

    def _unplug(self, device: Device, chance: Chance) -> None:
        politely = chance.one_in(2)
        self._cell.phones.go(device, online=False, politely=politely)
        back_ms = chance.between(100, 30_000)
        self._later(back_ms, lambda: self._cell.phones.go(device, online=True, politely=True))

    def _sign_off(self, device: Device) -> None:
        """The agent leaves while the phone rings."""
        tenant = self._cell.tenant(device.tenant)
        self._ask(tenant, rw.SetPresence(device.agent, "Away"))
        self._later(10_000, lambda: self._ask(tenant, rw.SetPresence(device.agent, rw.AVAILABLE)))

    # ---------------------------------------------------------------- configuration

    def _reconfigure(self) -> None:
        """A new version while calls are going on: skills, ring time, a flow."""
        if self.calm:
            return
        chance = self._changes
        tenant = chance.pick(self._cell.tenants)
        tenant.version += 1
        if chance.one_in(2):
            tenant.skilled = tuple(agent for agent in tenant.agents if chance.one_in(2)) or tenant.agents[:1]
            self._cell.config.publish(tenant, [agent_row(tenant, agent) for agent in tenant.agents])
        else:
            tenant.ring_ms = chance.pick((5_000, 8_000, 12_000))
            self._cell.config.publish(tenant, configuration(tenant))
        self._cell.reached("configuration changed under way")
        self._later(chance.around(60_000), self._reconfigure)
