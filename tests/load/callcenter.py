"""mod_callcenter's dispatching, replayed on SQLite: the peer of row 1.

The statements are those of FreeSWITCH 1.10, src/mod/applications/mod_callcenter/mod_callcenter.c
(commit cc93a683): one thread sweeps over all waiting callers, for each of them one SELECT over agents
and tiers without an index; an agent who can take the call is marked `Receiving`, then the agent's leg
is asked for. Between two sweeps the thread sleeps 100 ms. Times in whole seconds, as the module has
them. By default (`global-database-lock`) one mutex is held for a whole sweep, so the end of a talk is
written after it. What FreeSWITCH itself does for a call is not here.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

YIELD_S = 0.1
"""`switch_yield(100000)` between two sweeps."""
TABLES = (
    (
        "CREATE TABLE members (queue VARCHAR(255), instance_id VARCHAR(255), uuid VARCHAR(255) NOT NULL DEFAULT '', "
        "session_uuid VARCHAR(255) NOT NULL DEFAULT '', cid_number VARCHAR(255), cid_name VARCHAR(255), "
        "system_epoch INTEGER NOT NULL DEFAULT 0, joined_epoch INTEGER NOT NULL DEFAULT 0, "
        "rejoined_epoch INTEGER NOT NULL DEFAULT 0, bridge_epoch INTEGER NOT NULL DEFAULT 0, "
        "abandoned_epoch INTEGER NOT NULL DEFAULT 0, base_score INTEGER NOT NULL DEFAULT 0, "
        "skill_score INTEGER NOT NULL DEFAULT 0, serving_agent VARCHAR(255), serving_system VARCHAR(255), "
        "state VARCHAR(255))"
    ),
    (
        "CREATE TABLE agents (name VARCHAR(255), instance_id VARCHAR(255), uuid VARCHAR(255), type VARCHAR(255), "
        "contact VARCHAR(1024), status VARCHAR(255), state VARCHAR(255), max_no_answer INTEGER NOT NULL DEFAULT 0, "
        "wrap_up_time INTEGER NOT NULL DEFAULT 0, reject_delay_time INTEGER NOT NULL DEFAULT 0, "
        "busy_delay_time INTEGER NOT NULL DEFAULT 0, no_answer_delay_time INTEGER NOT NULL DEFAULT 0, "
        "last_bridge_start INTEGER NOT NULL DEFAULT 0, last_bridge_end INTEGER NOT NULL DEFAULT 0, "
        "last_offered_call INTEGER NOT NULL DEFAULT 0, last_status_change INTEGER NOT NULL DEFAULT 0, "
        "no_answer_count INTEGER NOT NULL DEFAULT 0, calls_answered INTEGER NOT NULL DEFAULT 0, "
        "talk_time INTEGER NOT NULL DEFAULT 0, ready_time INTEGER NOT NULL DEFAULT 0, "
        "external_calls_count INTEGER NOT NULL DEFAULT 0)"
    ),
    (
        "CREATE TABLE tiers (queue VARCHAR(255), agent VARCHAR(255), state VARCHAR(255), "
        "level INTEGER NOT NULL DEFAULT 1, position INTEGER NOT NULL DEFAULT 1)"
    ),
)
MEMBERS = (
    "SELECT queue,uuid,session_uuid,cid_number,cid_name,joined_epoch,({now}-joined_epoch)+base_score+skill_score AS "
    "score, state, abandoned_epoch, serving_agent, instance_id FROM members WHERE (state = 'Waiting' OR state = "
    "'Abandoned' OR (serving_agent = 'ring-all' AND state = 'Trying') OR (serving_agent = 'ring-progressively' AND "
    "state = 'Trying')) AND instance_id = 'single_box' ORDER BY score DESC"
)
AGENTS = (
    "SELECT instance_id, name, status, contact, no_answer_count, max_no_answer, reject_delay_time, busy_delay_time, "
    "no_answer_delay_time, tiers.state, agents.last_bridge_end, agents.wrap_up_time, agents.state, "
    "agents.ready_time, tiers.position, tiers.level, agents.type, agents.uuid, external_calls_count FROM agents LEFT "
    "JOIN tiers ON (agents.name = tiers.agent) WHERE tiers.queue = '{queue}' AND (agents.status = 'Available' OR "
    "agents.status = 'On Break' OR agents.status = 'Available (On Demand)') ORDER BY level, agents.last_bridge_end, "
    "position"
)


class CallCenter:
    """One queue with strategy longest-idle-agent, `agents` who are all in a call, `waiting` callers."""

    def __init__(self, file: Path, agents: int, waiting: int) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA synchronous=OFF")  # as switch_core_db does: nothing of it is durable
        for table in TABLES:
            self._db.execute(table)
        now = int(time.time())
        self._db.execute("BEGIN")
        for n in range(agents):
            self._db.execute(
                "INSERT INTO agents (name, instance_id, type, contact, status, state, last_bridge_end) "
                "VALUES (?, 'single_box', 'callback', ?, 'Available', 'In a queue call', ?)",
                (f"a{n}", f"user/a{n}", now - agents + n),
            )
            self._db.execute(
                "INSERT INTO tiers (queue, agent, state) VALUES ('sales', ?, 'Active Inbound')", (f"a{n}",)
            )
        for n in range(waiting):
            self._db.execute(
                "INSERT INTO members (queue, instance_id, uuid, session_uuid, cid_number, joined_epoch, serving_agent, "
                "state) VALUES ('sales', 'single_box', ?, ?, ?, ?, '', 'Waiting')",
                (f"m{n}", f"s{n}", f"+4930{n}", now - waiting + n),
            )
        self._db.execute("COMMIT")
        self._free_s: dict[str, float] = {}
        self.decided = 0
        self.sweeps: list[float] = []

    def free(self, agent: str, ended_s: float) -> None:
        """A talk ended at `ended_s`: what the module writes then, as soon as it gets at the database."""
        now = int(time.time())
        self._db.execute(
            f"UPDATE agents SET state = 'Waiting', last_bridge_end = {now}, talk_time = talk_time + 1 "
            f"WHERE name = '{agent}' AND instance_id = 'single_box'"
        )
        self._db.execute(f"UPDATE tiers SET state = 'Standby' WHERE agent = '{agent}' AND NOT state = 'Offering'")
        self._free_s[agent] = ended_s

    def offers(self, chance: random.Random, count: int) -> list[float]:
        """Free one agent after another, each at a moment of its own in the sweep, and sweep until the
        offer; ms from free to offer, the 100 ms pause between sweeps with it."""
        found: list[float] = []
        busy = [row[0] for row in self._db.execute("SELECT name FROM agents")]
        while len(found) < count:
            agent = chance.choice(busy)
            waiting = int(self._db.execute("SELECT count(*) FROM members WHERE state = 'Waiting'").fetchone()[0])
            moment = chance.randrange(waiting)
            begun = 0.0
            for place in self._sweep(found):
                if place == moment:
                    begun = time.perf_counter()
            self.free(agent, begun)  # the sweep held the module's mutex, which this statement takes, too
            while agent in self._free_s:
                time.sleep(YIELD_S)
                for _ in self._sweep(found):
                    pass
        return found

    def _sweep(self, found: list[float]) -> Iterator[int]:
        """`cc_agent_dispatch_thread_run`, `members_callback` and `agents_callback`."""
        begun, now = time.perf_counter(), int(time.time())
        for place, member in enumerate(self._db.execute(MEMBERS.format(now=now)).fetchall()):
            yield place
            self.decided += 1
            for row in self._db.execute(AGENTS.format(queue=member[0])).fetchall():
                name, state, ready_time = row[1], row[12], row[13]
                if state != "Waiting" or row[2] != "Available" or ready_time > now or row[10] + row[11] > now:
                    continue
                if self._offered(member, name, now, found):
                    break
        self.sweeps.append(time.perf_counter() - begun)

    def _offered(self, member: tuple[str, ...], agent: str, now: int, found: list[float]) -> bool:
        self._db.execute(
            f"UPDATE members SET serving_agent = '{agent}', serving_system = 'single_box', state = 'Trying' WHERE "
            f"state = 'Waiting' AND uuid = '{member[1]}' AND instance_id = 'single_box' AND serving_agent = ''"
        )
        taken = self._db.execute(
            f"SELECT count(*) FROM members WHERE serving_agent = '{agent}' AND serving_system = 'single_box' AND "
            f"uuid = '{member[1]}' AND instance_id = 'single_box'"
        ).fetchone()
        if taken[0] != 1:
            return False
        self._db.execute(f"UPDATE agents SET state = 'Receiving' WHERE name = '{agent}' AND state = 'Waiting'")
        self._db.execute(
            f"UPDATE tiers SET state = 'Offering' WHERE agent = '{agent}' AND queue = '{member[0]}'"
        )  # fmt: skip
        self._db.execute(f"UPDATE agents SET last_offered_call = {now} WHERE name = '{agent}'")
        freed = self._free_s.pop(agent, None)
        if freed is not None:
            found.append(1000 * (time.perf_counter() - freed))
        # The caller goes on waiting for another agent, so that as many wait for the next measurement.
        self._db.execute(f"UPDATE members SET serving_agent = '', state = 'Waiting' WHERE uuid = '{member[1]}'")
        self._db.execute(f"UPDATE agents SET state = 'In a queue call' WHERE name = '{agent}'")
        return True

    def close(self) -> None:
        """Give the file back."""
        self._db.close()
