"""Promises about infra/kamailio that need no node to be checked."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tidy.source import ROOT

CONFIG = ROOT / "infra/kamailio"
NODES = ROOT / "infra/freeswitch/settings.xml"
SETTING = re.compile(r"^#!define (\w+) ", re.MULTILINE)
BY_HAND = {"CONTROL"}
"""Settings that have no default: without one the thing itself is not there."""


def text(name: str) -> str:
    """A file, without what is said in comments."""
    lines = (CONFIG / name).read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("#!") or not line.lstrip().startswith("#"))


def test_every_setting_is_used_and_can_be_given_on_the_command_line():
    settings, door = text("settings.cfg"), text("kamailio.cfg")
    defined = SETTING.findall(settings)
    assert re.findall(r"^#!ifndef (\w+)$", settings, re.MULTILINE) == defined
    assert [name for name in [*defined, *BY_HAND] if not re.search(rf"\b{name}\b", door)] == []


def test_what_is_set_is_of_a_module_that_is_loaded():
    door = text("kamailio.cfg")
    loaded = re.findall(r'^loadmodule "(\w+)\.so"$', door, re.MULTILINE)
    assert len(loaded) == len(set(loaded))
    assert set(re.findall(r'^modparam\("(\w+)"', door, re.MULTILINE)) <= set(loaded)


def test_every_route_is_there_and_gone_to():
    door = text("kamailio.cfg")
    there = set(re.findall(r"^(?:failure_|onreply_)?route\[(\w+)\]", door, re.MULTILINE))
    assert set(re.findall(r'(?:route\(|t_on_failure\("|t_on_reply\(")(\w+)', door)) == there


def test_it_listens_on_loopback_until_somebody_says_otherwise():
    assert re.findall(r"^listen=(.*)$", text("kamailio.cfg"), re.MULTILINE) == ["udp:DOOR_IP:DOOR_PORT"]
    assert "#!define DOOR_IP 127.0.0.1\n" in text("settings.cfg")
    assert "0.0.0.0" not in text("kamailio.cfg") + text("settings.cfg")


def test_emergency_numbers_are_those_of_the_nodes():
    (numbers,) = re.findall(r'cmd="set" data="emergency_numbers=(.*?)"', NODES.read_text())
    assert f'#!define EMERGENCY_NUMBERS "^({numbers})$"\n' in text("settings.cfg")


@pytest.mark.needs("kamailio")
def test_kamailio_reads_it_without_a_complaint(tmp_path: Path):
    nodes = tmp_path / "nodes.list"
    nodes.write_text("1 sip:127.0.0.1:5070\n")
    program = shutil.which("kamailio") or "kamailio"
    command = [program, "-c", "-f", CONFIG / "kamailio.cfg", "-A", f'NODES_FILE="{nodes}"', "-A", 'CONTROL="unix:x"']
    read = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert read.returncode == 0, read.stderr
    assert "ERROR" not in read.stderr and "WARNING" not in read.stderr, read.stderr
