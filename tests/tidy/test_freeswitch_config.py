"""Promises about infra/freeswitch that need no FreeSWITCH to be checked."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.tidy.source import ROOT

CONFIG = ROOT / "infra/freeswitch"
MODULES = "autoload_configs/modules.conf.xml"
FILES = sorted(CONFIG.rglob("*.xml"))
SET = re.compile(r'cmd="(?:set|exec-set)" data="(\w+)=')
FROM_ENVIRONMENT = re.compile(r'cmd="env-set" data="(\w+)=\$TANDEM_FS_(\w+)"')
OF_FREESWITCH = {"sounds_dir", "storage_dir", "certs_dir", "run_dir", "log_dir"}
"""Set by FreeSWITCH itself, from its command line."""
DEMO = re.compile(r"ClueCon|0\.0\.0\.0|\b1000\b|\b1234\b|\bvanilla\b")


def settings() -> str:
    """The file of what differs between nodes."""
    return (CONFIG / "settings.xml").read_text()


def directives(path: Path) -> list[str]:
    """Lines that FreeSWITCH's preprocessor obeys: it reads lines and knows no comment."""
    return [line for line in path.read_text().splitlines() if "x-pre-process" in line.lower()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_xml(path):
    ElementTree.parse(path)


def test_every_setting_can_be_given_in_the_environment_under_its_own_name():
    assert FROM_ENVIRONMENT.findall(settings()) == [(name, name.upper()) for name in SET.findall(settings())]


def test_every_variable_that_is_used_is_a_setting():
    used = {name for path in FILES for name in re.findall(r"\$\$\{(\w+)\}", path.read_text())}
    assert used - OF_FREESWITCH == set(SET.findall(settings()))


def test_the_preprocessor_obeys_no_comment():
    """It takes one directive a line, in a comment too, and drops the rest of the line."""
    for path in FILES:
        for line in directives(path):
            assert re.fullmatch(r'\s*<X-PRE-PROCESS cmd="[\w-]+" data="[^"]*"/>', line), f"{path.name}: {line}"


def test_every_module_with_a_configuration_is_loaded():
    loaded = {load.attrib["module"] for load in ElementTree.parse(CONFIG / MODULES).iter("load")}
    configured = {path.name.removesuffix(".conf.xml") for path in (CONFIG / "autoload_configs").iterdir()}
    assert {f"mod_{name}" for name in configured - {"switch", "acl", "modules"}} <= loaded


def test_nothing_of_the_demo_configuration_is_left():
    found = [f"{path.name}: {match[0]}" for path in FILES for match in DEMO.finditer(path.read_text())]
    assert found == []
