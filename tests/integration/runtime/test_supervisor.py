"""The supervisor with real children: restarted, given up, and none left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tandem.runtime import supervisor_driver
from tandem.runtime.supervisor_driver import GIVE_UP, GaveUp, Part, Supervisor
from tests.integration.runtime.toys import until

CHILD = """
import os, signal, sys, time
name, *do = sys.argv[1:]
with open(os.environ["NOTES"], "a") as notes:
    notes.write(f"{name} {os.getpid()} begins\\n")
if "stubborn" in do:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for word in do:
    if word.startswith("exit"):
        sys.exit(int(word[4:]))
with open(os.environ["NOTES"], "a") as notes:
    notes.write(f"{name} {os.getpid()} works\\n")
signal.pause()
"""
"""What `python -m tandem NAME WORD...` is in these tests: `exitN` ends at once, the others work."""


class Place:
    """A run directory with a program in the place of Tandem's."""

    def __init__(self, directory: Path) -> None:
        package = directory / "fake" / "tandem"
        package.mkdir(parents=True)
        (package / "__main__.py").write_text(CHILD)
        (package / "__init__.py").touch()
        self.notes = directory / "notes"
        self.notes.touch()
        self.run = directory / "run"
        self.said: list[str] = []
        self.begun = 0

    def part(self, name: str, *do: str) -> Part:
        """A child that does this."""
        fake = self.notes.parent / "fake"
        return Part(name, (name, *do), {"PYTHONPATH": str(fake), "NOTES": str(self.notes), "PYTHONSAFEPATH": "1"})

    def pids(self, name: str, what: str = "works") -> list[int]:
        """Of all children of that name that came so far, oldest first."""
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        return [int(pid) for who, pid, did in lines if (who, did) == (name, what)]

    async def started(self) -> None:
        """See `Supervisor.run`."""
        self.begun += 1

    @asynccontextmanager
    async def up(self, *parts: Part) -> AsyncIterator[asyncio.Task[None]]:
        """A supervisor that is cancelled at the end, as by Ctrl-C."""
        task = asyncio.create_task(Supervisor(self.run, self.said.append).run(parts, self.started))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])

    def nothing_left(self) -> None:
        """No child of ours lives, no pid file stands."""
        assert list(self.run.glob("*.pid")) == []
        for line in self.notes.read_text().splitlines():
            with pytest.raises(ProcessLookupError):
                os.kill(int(line.split()[1]), 0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(supervisor_driver, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(supervisor_driver, "BACKOFF_MAX_S", 0.004)
    return Place(tmp_path)


async def test_parts_run_until_they_are_ended_in_order(place: Place) -> None:
    async with place.up(place.part("media"), place.part("control")) as up:
        await until(lambda: place.pids("media") and place.pids("control"))
        for name in ("media", "control"):
            assert int((place.run / f"{name}.pid").read_text()) == place.pids(name)[0]
        assert place.begun == 1
    assert up.cancelled()
    assert place.said == []
    place.nothing_left()


async def test_a_part_that_is_killed_is_started_again_and_a_line_says_so(place: Place) -> None:
    async with place.up(place.part("media"), place.part("control")):
        await until(lambda: place.pids("media") and place.pids("control"))
        (before,) = place.pids("control")
        os.kill(before, signal.SIGKILL)
        await until(lambda: len(place.pids("control")) == 2)
        assert place.said == ["control ended (SIGKILL); starting it again in 0.0 s"]
        assert int((place.run / "control.pid").read_text()) == place.pids("control")[1] != before
        assert len(place.pids("media")) == 1
    place.nothing_left()


async def test_the_pause_grows_up_to_a_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_driver, "BACKOFF_FIRST_S", 0.2)
    monkeypatch.setattr(supervisor_driver, "BACKOFF_MAX_S", 0.4)
    async with place.up(place.part("control", "exit3")):
        await until(lambda: len(place.said) == 3)
    pauses = [float(line.split()[-2]) for line in place.said]
    # Half of each is chance, and a line tells one digit.
    assert all(0.5 * most - 0.05 <= pause <= most + 0.05 for pause, most in zip(pauses, (0.2, 0.4, 0.4), strict=True))
    place.nothing_left()


async def test_a_part_that_cannot_work_as_configured_ends_all(place: Place) -> None:
    async with place.up(place.part("media"), place.part("control", f"exit{GIVE_UP}")) as up:
        await asyncio.wait([up])
    with pytest.raises(ExceptionGroup) as failed:
        await up
    assert failed.group_contains(GaveUp, match="control cannot start as it is configured")
    assert place.said == []
    assert len(place.pids("control", "begins")) == 1
    place.nothing_left()


async def test_a_part_that_does_not_end_is_killed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_driver, "GRACE_S", 0.05)
    async with place.up(place.part("media"), place.part("control", "stubborn")):
        await until(lambda: place.pids("media") and place.pids("control"))
    place.nothing_left()


async def test_who_asks_twice_does_not_wait(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_driver, "GRACE_S", 3600.0)
    async with place.up(place.part("media", "stubborn"), place.part("control", "stubborn")) as up:
        await until(lambda: place.pids("media") and place.pids("control"))
        async with asyncio.timeout(20):
            while not up.done():
                up.cancel()
                await asyncio.sleep(0)
    place.nothing_left()


async def test_a_part_that_dies_while_all_are_ended_is_no_error(place: Place) -> None:
    """Its end may not be known yet when it is to be signalled."""
    async with place.up(place.part("media"), place.part("control")) as up:
        await until(lambda: place.pids("media") and place.pids("control"))
        control = place.pids("control")[0]
        os.kill(control, signal.SIGKILL)
        with suppress(ChildProcessError):  # whoever watches the children may have been quicker
            os.waitid(os.P_PID, control, os.WEXITED | os.WNOWAIT)
    assert up.cancelled()
    place.nothing_left()


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_ended_at_any_moment_it_leaves_nothing(place: Place, steps: int) -> None:
    async with place.up(place.part("media"), place.part("control", "exit1")):
        for _ in range(steps):
            await asyncio.sleep(0)
    place.nothing_left()


async def test_what_goes_wrong_beside_the_parts_ends_them(place: Place) -> None:
    async def broken() -> None:
        await until(lambda: place.pids("media"))
        raise LookupError("the greeting")

    supervisor = Supervisor(place.run, place.said.append)
    with pytest.raises(ExceptionGroup) as failed:
        await supervisor.run([place.part("media")], broken)
    assert failed.group_contains(LookupError)
    place.nothing_left()
