"""Promises about files: sizes, places, lock files, the mirror of the tree."""

from __future__ import annotations

import re

import pytest

from tests.tidy.source import PACKAGE, ROOT, name_of, tracked

MAX_BYTES = 64 * 1024
"""Nobody reads a larger file; sound, pictures, recorded traffic, lock files and generated code are not read."""
NOT_TEXT = (".wav", ".png", ".xz")
GENERATED = ("_pb2.py", "_pb2.pyi")
MIRRORS = ("unit", "property", "integration")
# A path that is there on one machine only. Container files under infra/ have a root of their own.
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:work|root|home/\w+|Users/\w+)/")


def test_no_file_is_too_large_to_read():
    large = [
        name_of(path)
        for path in tracked()
        if path.suffix not in NOT_TEXT
        and path.parent != ROOT / "requirements"
        and path.stat().st_size > MAX_BYTES
        and not path.name.endswith(GENERATED)
    ]
    assert not large


def test_no_file_names_a_place_of_one_machine():
    found = []
    for path in tracked():
        if path.suffix in NOT_TEXT:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if MACHINE_PATH.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:80]}")
    assert not found, "\n".join(found)


def test_only_shipped_sound_pictures_of_the_docs_and_recorded_traffic_are_binary():
    binary = [name_of(path) for path in tracked() if b"\0" in path.read_bytes()]
    places = ("services/tandem/media/prompts/", "docs/images/", "tests/traces/")
    assert [name for name in binary if not name.startswith(places)] == []


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_lock_files_pin_by_hash_and_name_no_address(name):
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "://" in line or line.startswith(("-i", "--index", "--find", "--extra"))]
    pins = [line for line in lines if re.match(r"[a-z0-9]", line)]
    assert pins
    assert [line for line in pins if not re.match(r"[\w.-]+==[\w.]+( ; .+)? \\$", line)] == []
    assert sum("--hash=sha256:" in line for line in lines) >= len(pins)


def test_the_runtime_lock_is_part_of_the_dev_lock():
    runtime, dev = (
        set(re.findall(r"^[\w.-]+==[\w.]+", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))
        for name in ("runtime", "dev")
    )
    assert runtime <= dev


def test_the_readme_says_how_to_run_and_how_to_test():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make run" in readme
    assert "make test" in readme


@pytest.mark.parametrize("kind", MIRRORS)
def test_test_folders_mirror_the_tree(kind):
    folders = [path for path in (ROOT / "tests" / kind).rglob("*") if path.is_dir() and path.name != "__pycache__"]
    mirrored = [(folder, PACKAGE / folder.relative_to(ROOT / "tests" / kind)) for folder in folders]
    assert [
        name_of(folder) for folder, place in mirrored if not (place.is_dir() or place.with_suffix(".py").is_file())
    ] == []


def test_every_package_is_a_package():
    """A folder without `__init__.py` is seen by no import contract."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [name_of(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
