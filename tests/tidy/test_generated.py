"""Generated code is what the protos say."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.tidy.source import PACKAGE, ROOT


def generated(package: Path) -> dict[str, str]:
    """Files below api/ and internal/, without the two hand-written top modules."""
    return {
        path.relative_to(package).as_posix(): path.read_text(encoding="utf-8")
        for top in ("api", "internal")
        for path in sorted((package / top).glob("*/**/*.py*"))
        if path.suffix != ".pyc"
    }


def test_generated_code_matches_the_protos(tmp_path):
    subprocess.run(["scripts/protos.sh", "--to", str(tmp_path)], cwd=ROOT, check=True)
    fresh, committed = generated(tmp_path / "tandem"), generated(PACKAGE)
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    assert not stale, f"run `make protos`: {', '.join(stale[:5])}"


def test_protos_pass_buf_lint():
    linted = subprocess.run(
        [ROOT / ".venv" / "bin" / "buf", "lint"], cwd=ROOT / "protos", capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout
