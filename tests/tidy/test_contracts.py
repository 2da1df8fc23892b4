"""The import contracts and the banned calls catch what they are there for: each is shown a planted fault."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tidy.source import PACKAGE, ROOT

BIN = ROOT / ".venv" / "bin"

FAULTS = [
    ("layers", "runtime/planted.py", "import tandem.gateway"),
    ("layers", "wire/planted.py", "import tandem.runtime"),
    ("layers", "client/planted.py", "import tandem.session"),
    ("layers", "media/planted.py", "import tandem.adapters"),
    ("layers", "unplaced/__init__.py", ""),
    ("inside-a-service", "routing/domain/__init__.py", "import tandem.routing.events"),
    ("inside-a-service", "routing/views/__init__.py", "import tandem.routing.inbox"),
    ("services-apart", "routing/planted.py", "import tandem.session"),
    ("purity", "core/planted.py", "import asyncio"),
    ("purity", "wire/planted.py", "from socket import socket"),
    ("purity", "routing/domain/__init__.py", "import random"),
    ("purity", "routing/desk/__init__.py", "import time"),
    ("purity", "core/planted.py", "import os.path"),
    ("purity", "core/planted.py", "import grpc"),
    ("purity", "session/domain/__init__.py", "from google.protobuf import message"),
    ("purity", "session/domain/__init__.py", "import tandem.api"),
    ("seal", "core/planted.py", "from cryptography.hazmat.primitives.ciphers.aead import AESGCM"),
    ("seal", "gateway/planted.py", "import cryptography"),
    ("drivers", "runtime/planted.py", "import sqlite3"),
    ("adapters", "gateway/planted.py", "import tandem.adapters.memory"),
    ("simulator-adapters", "simulation/planted.py", "import tandem.adapters.sqlite"),
    ("simulator-adapters", "simulation/planted.py", "import asyncio"),
    ("grpc", "session/planted.py", "import grpc"),
    ("grpc", "media/planted.py", "import grpc.aio"),
    ("protos", "session/views/__init__.py", "import tandem.api"),
    ("protos", "adapters/planted.py", "import tandem.internal"),
]
SKELETON = [
    *(path.parent.name for path in sorted(PACKAGE.glob("*/__init__.py"))),
    *(
        f"{service}/{part}"
        for service in ("routing", "session")
        for part in ("domain", "desk", "events", "inbox", "views")
    ),
    "adapters/memory",
    "adapters/sqlite",
]


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """Tandem with its packages and nothing in them."""
    for folder in ["", *SKELETON]:
        package = tmp_path / "services" / "tandem" / folder
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return tmp_path


def plant(skeleton: Path, file: str, code: str) -> None:
    path = skeleton / "services" / "tandem" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code + "\n")


def contract_holds(skeleton: Path, contract: str) -> bool:
    ran = subprocess.run(
        [BIN / "lint-imports", "--no-logo", "--no-cache", "--contract", contract],
        cwd=skeleton,
        # The skeleton shadows the installed package.
        env={"PYTHONPATH": str(skeleton / "services"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts:" in ran.stdout, ran.stdout + ran.stderr
    return ran.returncode == 0


@pytest.mark.parametrize("contract", sorted({contract for contract, _, _ in FAULTS}))
def test_an_empty_tree_keeps_the_contract(skeleton, contract):
    assert contract_holds(skeleton, contract)


@pytest.mark.parametrize(("contract", "file", "code"), FAULTS)
def test_a_planted_import_breaks_its_contract(skeleton, contract, file, code):
    plant(skeleton, file, code)
    assert not contract_holds(skeleton, contract)


def test_every_contract_has_a_planted_fault():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = [line.split('"')[1] for line in text.splitlines() if line.startswith('id = "')]
    assert sorted(contracts) == sorted({contract for contract, _, _ in FAULTS})


@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        ("runtime/shard.py", False),
        ("media/agent.py", False),
        ("session/servicer/watch.py", False),
        ("simulation/world.py", False),
        ("runtime/driver.py", True),
        ("media/driver.py", True),
        ("media/builtin/driver.py", True),
        ("gateway/live.py", True),
        ("client/robots.py", True),
        ("adapters/system.py", True),
    ],
)
@pytest.mark.parametrize(
    "code",
    [
        "import time\n\nprint(time.monotonic())",
        "from time import time\n\nprint(time())",
        "import asyncio\n\nprint(asyncio.create_task)",
        "from uuid import uuid4\n\nprint(uuid4())",
    ],
)
def test_clocks_ids_and_tasks_stay_where_they_belong(skeleton, file, allowed, code):
    plant(skeleton, file, code)
    ran = subprocess.run(
        [BIN / "ruff", "check", "--no-cache", "--select", "TID251", "services"],
        cwd=skeleton,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode == 0) == allowed, ran.stdout + ran.stderr
