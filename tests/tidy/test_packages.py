"""What others wrote and the tests take in is held to a hash, and comes from wherever the installer is told."""

from __future__ import annotations

import json

from tests.tidy.source import ROOT

JSSIP = ROOT / "tests/e2e/jssip"


def test_what_jssip_is_made_of_is_pinned_by_hash_and_names_no_address():
    packages = json.loads((JSSIP / "package-lock.json").read_text())["packages"]
    made_of = {name: package for name, package in packages.items() if name}
    assert [name for name, package in made_of.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in made_of.items() if "resolved" in package] == []
