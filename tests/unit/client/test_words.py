"""Small pure things: the timeline's words, the palette, files."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tandem.client import story
from tandem.client.demo_tenant import Demo, DemoAgent, DemoNumber, read_demo, welcome, write_demo
from tandem.client.facts import TOLERANCE_HZ
from tandem.client.load import AGENTS_MAX, Plan
from tandem.client.palette import VOICES, agent_hz, caller_hz
from tandem.client.place import NotRunning, Place
from tandem.client.up import parts_of
from tandem.runtime.config import Config, Sip
from tandem.session import events


def test_every_event_of_a_contact_has_words():
    source = Path(events.__file__).read_text(encoding="utf-8")
    types = set(re.findall(r'"(contact\.[a-z_]+)"', source))
    assert types
    for type_ in types:
        assert story.tell(type_, {}) != type_


def test_words_of_an_unknown_event_are_its_name():
    assert story.tell("contact.teleported", {}) == "contact.teleported"


def test_voices_are_apart_and_loop_without_a_click():
    voices = [*(caller_hz(i) for i in range(VOICES)), *(agent_hz(i) for i in range(VOICES))]
    assert len(set(voices)) == 2 * VOICES
    rising = sorted(voices)
    assert min(b - a for a, b in pairwise(rising)) > 2 * TOLERANCE_HZ
    assert all(hz % 5 == 0 and 300 <= hz <= 3400 for hz in voices)


def test_the_demo_file_is_read_as_it_is_written(tmp_path):
    demo = Demo("tenants/demo", "key", "127.0.0.1", (DemoNumber("100", {"1": "q"}),), (DemoAgent("a", True, "u", "p"),))
    path = tmp_path / "demo.json"
    assert read_demo(path) is None
    write_demo(path, demo)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_demo(path) == demo
    assert set(json.loads(path.read_text())) == {"tenant", "api_key", "sip_domain", "numbers", "agents"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"numbers": 1, "agents": []}', "\0", '{"agents": [{"a": 1}]}'])
def test_a_demo_file_that_is_none_counts_as_lost(tmp_path, text):
    path = tmp_path / "demo.json"
    path.write_text(text)
    assert read_demo(path) is None


def test_the_welcome_flow_leads_each_digit_to_its_queue():
    steps = welcome({"1": "tenants/demo/queues/sales", "2": "tenants/demo/queues/support"})
    menu = next(step.menu for step in steps if step.HasField("menu"))
    lines = {step.id: step.queue.queue for step in steps if step.HasField("queue")}
    assert {option.digit: lines[option.next] for option in menu.options} == {
        "1": "tenants/demo/queues/sales",
        "2": "tenants/demo/queues/support",
    }


def test_a_load_has_agents_for_its_rate_and_no_more_than_calls():
    assert Plan(1.0, 1000, 5.0).agents == 9
    assert Plan(10.0, 5, 5.0).agents == 5
    assert Plan(100.0, 10_000, 60.0).agents == AGENTS_MAX


def test_a_cell_that_never_ran_is_named(tmp_path):
    place = Place(Config(data_dir=tmp_path))
    with pytest.raises(NotRunning, match="tandem up"):
        place.addresses()
    with pytest.raises(NotRunning, match=r"platform\.key"):
        place.platform_key()
    with pytest.raises(NotRunning, match=r"sip\.port"):
        _ = Place(Config(sip=Sip(port=0))).sip


def test_the_parts_of_a_host():
    parts = parts_of(None, demo=True, standby=True, allow_faults=True)
    assert [part.name for part in parts] == ["media", "control", "standby", "robots"]
    assert all("--standby" in part.arguments for part in parts[1:3])
    assert "--allow-faults" not in parts[3].arguments
    plain = parts_of(Path("x.toml"), demo=False, standby=False, allow_faults=False)
    assert [part.arguments[:2] for part in plain] == [("run", "media"), ("run", "all")]
    assert all(part.arguments[2] == "--config" and Path(part.arguments[3]).is_absolute() for part in plain)
