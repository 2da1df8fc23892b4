"""Rows in the database of a FreeSWITCH that is not there: its table is the live one's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tandem.adapters.freeswitch_core import CORE, insert_call

TABLE = """CREATE TABLE recovery (runtime_uuid VARCHAR(255), technology VARCHAR(255), profile_name VARCHAR(255),
           hostname VARCHAR(255), uuid VARCHAR(255), metadata text)"""


@pytest.fixture
def core(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / CORE, isolation_level=None)) as made:
        made.execute(TABLE)
        for life, channel in (("this-life", "talk"), ("last-life", "over"), ("moved", "failed")):
            made.execute("INSERT INTO recovery VALUES (?, 'sofia', 'tandem', 'host', ?, '<cdr/>')", (life, channel))
    return tmp_path


def rows(home: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(home / CORE)) as core:
        return core.execute("SELECT runtime_uuid, technology, profile_name, uuid, metadata FROM recovery").fetchall()


def test_a_row_takes_the_place_of_all_that_are_not_of_this_life(core: Path) -> None:
    assert insert_call(str(core), "this-life", "c1", "<cdr>1</cdr>") == ""
    assert insert_call(str(core), "this-life", "c2", "<cdr>2</cdr>") == ""
    assert rows(core) == [
        ("this-life", "sofia", "tandem", "talk", "<cdr/>"),
        ("moved", "sofia", "tandem", "c2", "<cdr>2</cdr>"),
    ]


def test_what_cannot_be_written_is_told_and_changes_nothing(core: Path, tmp_path: Path) -> None:
    assert str(tmp_path / "elsewhere" / CORE) in insert_call(str(tmp_path / "elsewhere"), "life", "c1", "")
    assert not (tmp_path / "elsewhere").exists()
    with closing(sqlite3.connect(core / CORE, isolation_level=None)) as made:
        made.execute("DROP TABLE recovery")
    assert "no such table" in insert_call(str(core), "life", "c1", "")
