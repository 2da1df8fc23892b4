"""mod_callcenter on the FreeSWITCH of a cell: the peer of `row_queued`.

Its queues stand beside Tandem's on the same node: the same door, the same menu (`play_and_get_digits` with the words
that the media agent uses), the same music, the same agents at the same phones, dialled by the same words. The strategy
is longest-idle-agent, as Tandem's is, and nothing else differs from the module's shipped configuration but that agents
have no wrap-up and no delay after a call, and that who hung up is soon forgotten, so that the next turn need not wait.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.e2e.freeswitch.esl_client import Esl
from tests.e2e.freeswitch.node import CONFIG

MENU, LINE = "5550001", "5550002"
"""Numbers: a menu whose digit 1 leads to the queue `sales`, and one that leads into the line of `held`."""
QUEUES = ("sales", "held")
DIALPLAN = """\
  <extension name="peer menu">
    <condition field="destination_number" expression="^{menu}$">
      <action application="answer"/>
      <action application="play_and_get_digits"
       data="0 1 1 5000 none $${{prompts_dir}}/welcome-menu.wav silence_stream://20 chosen .+ 2000"/>
      <action application="callcenter" data="sales"/>
    </condition>
  </extension>
  <extension name="peer line">
    <condition field="destination_number" expression="^{line}$">
      <action application="answer"/>
      <action application="callcenter" data="held"/>
    </condition>
  </extension>
"""
QUEUE = """\
    <queue name="{name}">
      <param name="strategy" value="longest-idle-agent"/>
      <param name="moh-sound" value="$${{prompts_dir}}/music.wav"/>
      <param name="time-base-score" value="system"/>
      <param name="max-wait-time" value="0"/>
      <param name="max-wait-time-with-no-agent" value="0"/>
      <param name="max-wait-time-with-no-agent-time-reached" value="5"/>
      <param name="tier-rules-apply" value="false"/>
      <param name="tier-rule-wait-second" value="300"/>
      <param name="tier-rule-wait-multiply-level" value="true"/>
      <param name="tier-rule-no-agent-no-wait" value="false"/>
      <param name="discard-abandoned-after" value="1"/>
      <param name="abandoned-resume-allowed" value="false"/>
    </queue>
"""
FIRST = '  <extension name="arrival">\n'
"""Of our own dialplan: what it takes any number for. The peer's stand before it."""


def with_callcenter(home: Path) -> Path:
    """Our configuration of FreeSWITCH, with the module's beside it: a directory for `-conf`."""
    shutil.copytree(CONFIG, home)
    arrivals = home / "dialplan/arrivals.xml"
    before, found, after = arrivals.read_text().partition(FIRST)
    assert found, f"{arrivals} has no line {FIRST!r}"
    arrivals.write_text(before + DIALPLAN.format(menu=MENU, line=LINE) + found + after)
    queues = "".join(QUEUE.format(name=name) for name in QUEUES)
    (home / "autoload_configs/callcenter.conf.xml").write_text(
        f'<configuration name="callcenter.conf">\n  <settings/>\n  <queues>\n{queues}  </queues>\n'
        "  <agents/>\n  <tiers/>\n</configuration>\n"
    )
    return home


class RealCallCenter:
    """The module, told by its own commands."""

    def __init__(self, esl: Esl) -> None:
        self._esl = esl

    async def load(self) -> None:
        """Start it. Raises AssertionError where FreeSWITCH was built without it."""
        await self._done("load mod_callcenter")

    async def staff(self, users: Iterable[str], queue: str, status: str) -> None:
        """Agents with a registered device each, who serve a queue."""
        for user in users:
            await self._done(f"callcenter_config agent add {user} callback")
            await self._done(f"callcenter_config agent set contact {user} [leg_timeout=15]sofia/tandem/{user}%tandem")
            await self._done(f"callcenter_config agent set status {user} '{status}'")
            await self._done(f"callcenter_config tier add {queue} {user} 1 1")

    async def until_waiting(self, count: int) -> None:
        """Until so many callers are in line for `held`."""
        while int(await self._esl.api("callcenter_config queue count members held")) != count:
            await asyncio.sleep(0.1)

    async def _done(self, line: str) -> None:
        answer = await self._esl.api(line)
        assert answer.startswith("+OK"), f"{line}: {answer}"
