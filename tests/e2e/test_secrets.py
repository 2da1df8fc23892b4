"""What is private stands nowhere in plain: not in a file, not in a log line, not after kill -9.
And what was erased stands nowhere at all.

Two robots call and talk with two robots, each with a tone of its own. The hunt goes through all
files of the cell and of the host's temporary places, and through the command lines and
environments of the processes: while they talk, after both were killed in the middle of it, after
an erasure that was cut off by kill -9, and after a clean stop.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import secrets
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tandem.adapters.sqlite import SqliteKeys, SqliteLog
from tandem.adapters.system import SystemEntropy
from tandem.client.account import Account
from tandem.client.call import PhoneCall
from tandem.client.manner import Answers
from tandem.client.mouth import Voice
from tandem.client.phone import Phone
from tandem.client.ticker import Ticker
from tandem.core.commit import Commit
from tandem.core.ports.log import Partition
from tandem.core.seal import AUDIO, Sealed, Withheld, unwrap
from tandem.runtime import log_codec
from tandem.runtime.ledger import Ledger
from tandem.session.events import COMMANDS, EVENTS
from tandem.targets.groups import make_groups
from tandem.wire.g711 import Law, transcode
from tests.e2e import sounds
from tests.e2e.cell import SHARDS, Cell, Centre
from tests.e2e.programs import PATIENCE_S
from tests.e2e.rest import Json, Refused, Rest, Watch

REALM = "tandem"
PRESSED = ("media.take_digits", "contact.menu_chosen", "contact.menu_missed")
"""Commands and events that hold what was pressed."""
FRAGMENT = 64
"""Bytes of a tone that count as a find: 8 ms."""
KEY_PART = 8
"""Bytes of a key that count as a find, wherever twice as many in a row are left."""
STRIDE = 200
"""Between the phases that are looked for: any 33 ms of the tone hold one of them."""
WRONG, PLAIN = "9", "1"
"""Pressed in the sensitive menu, which has no such choice, and in the menu that is not sensitive."""


# ------------------------------------------------------------------- the hunt


class Hunt:
    """Needles, each under a name that says what has leaked."""

    def __init__(
        self,
        texts: Mapping[str, str],
        digests: Mapping[str, bytes],
        voices: Mapping[str, bytes],
        keys: Mapping[str, bytes] | None = None,
    ) -> None:
        """`voices` are tones in mu-law, 200 ms each and whole periods of it; of `keys` each part counts."""
        self._plain: dict[bytes, str] = {}
        for name, key in (keys or {}).items():
            parts = [key[at : at + KEY_PART] for at in range(0, len(key) - KEY_PART + 1, KEY_PART)]
            self._plain |= dict.fromkeys((*parts, key.hex().encode(), base64.b64encode(key)), name)
        for name, text in texts.items():
            self._plain |= dict.fromkeys((text.encode(), text.encode("utf-16-le"), text.encode().hex().encode()), name)
        for name, digest in digests.items():
            self._plain |= dict.fromkeys((digest, digest.hex().encode()), name)
        self._tones: dict[bytes, str] = {}
        for name, mu in voices.items():
            a = transcode(Law.MU, Law.A, mu)
            for audio in (mu, a, transcode(Law.A, Law.MU, a)):
                again = audio + audio
                self._tones |= {again[at : at + FRAGMENT]: name for at in range(0, len(audio), STRIDE)}

    def in_bytes(self, data: bytes) -> set[str]:
        """What stands there; audio also as either channel of two."""
        found = {name for needle, name in self._plain.items() if needle in data}
        for channel in (data, data[::2], data[1::2]):
            found |= {name for needle, name in self._tones.items() if needle in channel}
        return found

    def in_files(self, paths: Iterable[Path]) -> set[tuple[str, str]]:
        """(path, what) of all that stands in these files; one that is gone again holds nothing."""
        found = set()
        for path in paths:
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            found |= {(str(path), name) for name in self.in_bytes(data)}
        return found


def regular_files(directory: Path, since: float = 0.0) -> Iterator[Path]:
    """All files below a directory that were written since then (Unix time)."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_mtime >= since:
                yield path


def open_files(pid: int) -> Iterator[Path]:
    """All files that a process holds open, those without a name too."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if stat.S_ISREG(descriptor.stat().st_mode):
                yield descriptor
        except FileNotFoundError:
            continue


def process_texts(pid: int) -> Iterator[Path]:
    """What everybody on the host can read of a process: its command line, its name; and its environment."""
    for name in ("cmdline", "comm", "environ"):
        yield Path(f"/proc/{pid}/{name}")


# ------------------------------------------------------------------- the cell and those who talk in it


@dataclass(frozen=True)
class Person:
    """Somebody with a phone that speaks with a tone. `secrets` must be nowhere, by what they are."""

    id: str
    user: str
    hz: int
    law: Law
    password: str
    secrets: Mapping[str, str]

    @property
    def voice(self) -> bytes:
        """200 ms of it, mu-law."""
        return sounds.mu_law_tone(self.hz, 0.2)

    @property
    def digests(self) -> dict[str, bytes]:
        """What digest authentication takes for the password (RFC 7616, 3.4.2)."""
        text = f"{self.user}:{REALM}:{self.password}".encode()
        kinds = ("md5", "sha256") if self.password else ()
        return {f"the password of {self.id} as {kind}": hashlib.new(kind, text).digest() for kind in kinds}

    def phone(self, cell: Cell, ticker: Ticker) -> Phone:
        """Their phone; it writes no files."""
        account = Account(self.user, ("127.0.0.1", cell.sip_port), self.password)
        return Phone(account, ticker, voice=Voice(self.voice), law=self.law, manner=Answers(0.2))


def caller(id_: str, hz: int, law: Law) -> Person:
    """A caller with a number that nobody else has."""
    number = f"4915799{secrets.randbelow(10**8):08}"
    return Person(id_, number, hz, law, "", {f"the number of {id_}": number})


async def agent(centre: Centre, id_: str, hz: int, law: Law) -> Person:
    """An agent with a name and a password that nobody else has."""
    name, password = f"Ottilie Grabowsky {secrets.token_hex(6)}", secrets.token_urlsafe(18)
    body = {"displayName": name, "queues": [centre.queue], "sipPassword": password}
    made = await centre.rest.post(f"{centre.tenant}/agents", body, agentId=id_, waitLive="true")
    assert made["displayName"] == name
    told = {f"the name of {id_}": name, f"the password of {id_}": password}
    return Person(id_, made["sipUser"], hz, law, password, told)


async def two_menus(centre: Centre) -> None:
    """Publish a flow with a sensitive menu, in which 3 and 7 lead to the same step, then another menu."""

    def menu(digits: str, next_: str, *, sensitive: bool) -> Json:
        options = [{"digit": digit, "next": next_} for digit in digits]
        return {"prompts": ["welcome-menu"], "options": options, "otherwise": "bye", "sensitive": sensitive}

    steps = [
        {"id": "hello", "answer": {"next": "pin"}},
        {"id": "pin", "menu": menu("37", "menu", sensitive=True)},
        {"id": "menu", "menu": menu(PLAIN, "line", sensitive=False)},
        {"id": "line", "queue": {"queue": centre.queue, "music": "music"}},
        {"id": "bye", "hangUp": {"prompts": ["goodbye"]}},
    ]
    flow = f"{centre.tenant}/flows/main"
    await centre.rest.patch(flow, {"steps": steps}, updateMask="steps")
    await centre.rest.post(f"{flow}:publish", {"waitLive": True})


async def entered(watch: Watch, contact: str, place: Json) -> None:
    """Until the contact is in that step, at that try."""

    def told() -> bool:
        steps = (event for event in watch.events if event["type"] == "contact.step_entered")
        return any(event["contact"] == contact and place.items() <= event["data"].items() for event in steps)

    await watch.when(told)


async def calls(watch: Watch, phone: Phone, number: str, pin: str) -> tuple[str, PhoneCall]:
    """Call, press a digit that is no choice, then `pin`, then 1; the contact, once it is in line."""
    known = set(watch.contacts)
    call = phone.dial(number)
    await call.until_answered()
    (contact,) = await watch.when(lambda: set(watch.contacts) - known)
    for step, attempt, digit in (("pin", 1, WRONG), ("pin", 2, pin), ("menu", 1, PLAIN)):
        await entered(watch, contact, {"step": step, "attempt": attempt})
        await call.until_sound()
        call.press(digit)
    return contact, call


@dataclass(frozen=True)
class Talk:
    """A talk that goes on."""

    contact: str
    caller: Person
    agent: Person
    told: list[Json]
    """What the live stream has told of it."""


async def talk(cell: Cell, centre: Centre, stack: AsyncExitStack, speaker: Person, listener: Person, pin: str) -> Talk:
    """The caller is heard by the agent, who is the only one that is free, and the other way round. With the stack
    their phones are gone, without a word."""
    ticker = Ticker()
    desk, phone = listener.phone(cell, ticker), speaker.phone(cell, ticker)
    stack.callback(desk.vanish)
    stack.callback(phone.vanish)
    await desk.register()
    await centre.rest.post(f"{centre.tenant}/agents/{listener.id}:setPresence", {"presence": "PRESENCE_AVAILABLE"})
    async with centre.rest.watch(centre.tenant) as watch:
        contact, call = await calls(watch, phone, centre.number, pin)
        await call.until_hears(listener.hz, 1.0)
        await (await desk.next_call()).until_hears(speaker.hz, 1.0)
        told = [event for event in watch.events if event["contact"] == contact]
    return Talk(contact, speaker, listener, told)


def hunt_for(centre: Centre, talks: Iterable[Talk], keys: Mapping[str, bytes] | None = None) -> Hunt:
    """Everything that is private of these talks, and these keys."""
    people = [person for one in talks for person in (one.caller, one.agent)]
    return Hunt(
        {"the API key": centre.key} | {name: text for person in people for name, text in person.secrets.items()},
        {name: digest for person in people for name, digest in person.digests.items()},
        {f"the voice of {person.id}": person.voice for person in people},
        keys,
    )


def start(cell: Cell, temporary: Path) -> None:
    """Both processes, whose temporary files would come to lie in that directory."""
    temporary.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        # Only root looks into the open files of processes that leave no core (proc(5)).
        cell.set(limits__core_dumps="true")
    cell.start_media(TMPDIR=str(temporary))
    cell.start_control(TMPDIR=str(temporary))
    cell.wait_ready()


async def leaks(cell: Cell, hunt: Hunt, temporary: Path, since: float) -> set[tuple[str, str]]:
    """All that can be found of this cell at this moment."""
    running = [program.pid for program in (cell.media, cell.control) if program is not None and program.alive]

    def places() -> Iterator[Path]:
        yield from regular_files(cell.data_dir)
        yield from regular_files(temporary)
        for pid in running:
            yield from open_files(pid)
            yield from process_texts(pid)
        for place in ("/tmp", "/var/tmp", "/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "/dev/shm")):
            yield from regular_files(Path(place), since)

    found = await asyncio.to_thread(lambda: hunt.in_files(places()))
    return found | {("a log line", name) for name in hunt.in_bytes(cell.output.encode())}


# ------------------------------------------------------------------- what the log says


async def records(directory: Path) -> dict[Partition, list[bytes]]:
    """All records of a cell that does not run."""
    log = await SqliteLog.open(directory)
    try:
        found: dict[Partition, list[bytes]] = {}
        for partition in (Partition(group, shard) for group in make_groups() for shard in range(SHARDS)):
            end, bodies = await log.end(partition), found.setdefault(partition, [])
            if end:
                async for batch in log.read(partition):
                    bodies += [stored.body for stored in batch]
                    if batch[-1].offset >= end:
                        break
        return found
    finally:
        await log.close()


async def fold(directory: Path) -> dict[Partition, Ledger]:
    """The state of every shard of a cell that does not run, from its log alone."""
    groups = make_groups()
    ledgers = {}
    for partition, bodies in (await records(directory)).items():
        ledger = ledgers[partition] = Ledger(groups[partition.group])
        assert all(ledger.fold(log_codec.decode(body)) for body in bodies)
    return ledgers


def state(ledgers: Mapping[Partition, Ledger]) -> dict[Partition, list[bytes]]:
    """The canonical bytes of all that the shards know."""
    return {partition: list(ledger.parts()) for partition, ledger in ledgers.items()}


def key_of(ledgers: Mapping[Partition, Ledger], contact: str) -> str:
    """The id of a live contact's data key."""
    _, tenant, _, id_ = contact.split("/")
    (key,) = [found.key for ledger in ledgers.values() if (found := ledger.aggregate(tenant, f"contact/{id_}"))]
    return key


async def pressed_in(directory: Path, contact: str) -> list[tuple[str, str, type]]:
    """What was pressed, as commands and events hold it: (type, step, kind of the private value). A command
    names the try of the step, too."""
    stream = f"contact/{contact.rpartition('/')[2]}"
    commits = [log_codec.decode(body) for bodies in (await records(directory)).values() for body in bodies]
    parts = [
        (table, one.part)
        for commit in commits
        if isinstance(commit, Commit)
        for table, found in ((COMMANDS, commit.inputs), (EVENTS, commit.events))
        for one in found
        if one.stream == stream and one.part.type in PRESSED
    ]
    return [(part.type, table.decode(part).step, type(value)) for table, part in parts for _, value in part.private]


# ------------------------------------------------------------------- tests


def test_the_hunt_finds_what_is_planted(tmp_path: Path) -> None:
    """A number in the middle of a page, a name as UTF-16, a digest as text, a tone in one of two channels, a part
    of a key; in files, in one without a name, in one in memory, in a command line, in an environment."""
    digest = hashlib.md5(b"ann.t1:tandem:geheim", usedforsecurity=False).digest()
    voices = {"mu": sounds.mu_law_tone(1135, 0.2), "a": sounds.mu_law_tone(1465, 0.2)}
    wrapped = os.urandom(60)
    hunt = Hunt({"number": "4915799000001", "name": "Ottilie"}, {"digest": digest}, voices, {"key": wrapped})
    other, silence = sounds.mu_law_tone(1250, 0.2), bytes([0xFF]) * 400
    chunk = bytearray(3200)
    chunk[::2], chunk[1::2] = voices["mu"], other
    planted = {
        "page": (os.urandom(4096) + b"4915799000001" + os.urandom(99), {"number"}),
        "wide": ("Ottilie".encode("utf-16-le"), {"name"}),
        "digest": (digest.hex().encode(), {"digest"}),
        "left": (b"\x01" + chunk, {"mu"}),
        "a-law": (transcode(Law.MU, Law.A, voices["a"][777:] + silence), {"a"}),
        "piece": (silence + voices["mu"][333 : 333 + FRAGMENT + STRIDE] + silence, {"mu"}),
        "wrapped": (os.urandom(4000) + wrapped[13:29] + os.urandom(99), {"key"}),
        "base64": (base64.b64encode(wrapped), {"key"}),
        "nothing": (os.urandom(100_000) + other + silence, set()),
    }
    for name, (data, expected) in planted.items():
        (tmp_path / name).write_bytes(data)
        assert hunt.in_files([tmp_path / name]) == {(str(tmp_path / name), what) for what in expected}
    assert set(regular_files(tmp_path)) == {tmp_path / name for name in planted}
    with (tmp_path / "unnamed").open("wb+") as file:
        file.write(b"4915799000001")
        file.flush()
        Path(file.name).unlink()
        assert {what for _, what in hunt.in_files(open_files(os.getpid()))} >= {"number"}
    begun = time.time() - 1
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="tandem-hunt-") as file:
        file.write(b"Ottilie")
        file.flush()
        assert (file.name, "name") in hunt.in_files(regular_files(Path("/dev/shm"), begun))
    script = ("sh", "-c", "echo ready; read end")
    for where, command, more in (
        ("cmdline", (*script, "4915799000001"), {}),
        ("environ", script, {"PHONE": "4915799000001"}),
    ):
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env={**os.environ, **more}, stdin=pipe, stdout=pipe) as child:
            try:
                assert child.stdout is not None
                child.stdout.readline()
                assert hunt.in_files(process_texts(child.pid)) == {(f"/proc/{child.pid}/{where}", "number")}
            finally:
                child.kill()


@pytest.mark.builtin("it hunts through the files of that node")
async def test_private_values_are_nowhere_in_plain(own_cell: Cell, tmp_path: Path) -> None:
    """During talks, after kill -9 of everything, without a contact's key, and after a clean stop."""
    begun, temporary, log_dir = time.time(), tmp_path / "temporary", own_cell.data_dir / "log"
    start(own_cell, temporary)
    async with own_cell.centre() as centre, AsyncExitStack() as phones:
        await two_menus(centre)
        ann, bob = await agent(centre, "ann", 1785, Law.MU), await agent(centre, "bob", 2015, Law.A)
        first = await talk(own_cell, centre, phones, caller("the first caller", 1135, Law.MU), ann, "7")
        second = await talk(own_cell, centre, phones, caller("the second caller", 1465, Law.A), bob, "3")
        hunt = hunt_for(centre, (first, second))
        check_open_files(own_cell)
        await check_what_the_api_shows(centre.rest, first, second)
        assert await leaks(own_cell, hunt, temporary, begun) == set()
        own_cell.kill_media()
        own_cell.kill_control()
    assert await leaks(own_cell, hunt, temporary, begun) == set()
    await check_digits(log_dir, first, second)
    await check_fold_without_key(log_dir, first.contact, hunt)

    start(own_cell, temporary)
    async with own_cell.rest(centre.key) as rest:
        await check_erased(rest, centre.tenant, first)
        await check_kept(rest, centre.tenant, second, hunt)
    assert own_cell.control is not None
    assert own_cell.media is not None
    assert (own_cell.control.stop(), own_cell.media.stop()) == (0, 0)
    assert await leaks(own_cell, hunt, temporary, begun) == set()


@pytest.mark.builtin("it hunts through the files of that node")
async def test_of_an_erased_contact_no_byte_is_left(own_cell: Cell, tmp_path: Path) -> None:
    """Another program reads keys.db while it is erased, so it is not answered as done; then the control plane is
    killed; the next one finishes. Another tenant can neither erase nor see it, and its own contact stays."""
    begun, temporary, log_dir = time.time(), tmp_path / "temporary", own_cell.data_dir / "log"
    own_cell.set(log__snapshot_commits=10)  # so that there are some for the hunt
    start(own_cell, temporary)
    async with own_cell.centre() as centre, own_cell.centre() as other, AsyncExitStack() as phones:
        await two_menus(centre)
        await two_menus(other)
        ann, bob = await agent(centre, "ann", 1785, Law.MU), await agent(other, "bob", 2015, Law.A)
        gone = await talk(own_cell, centre, phones, caller("the first caller", 1135, Law.MU), ann, "7")
        kept = await talk(own_cell, other, phones, caller("the second caller", 1465, Law.A), bob, "3")
        for one, of in ((gone, centre), (kept, other)):
            with pytest.raises(Refused) as refused:
                await of.rest.post(f"{one.contact}:erase")
            assert (refused.value.status, refused.value.reason) == (400, "CONTACT_NOT_OVER")
            await of.rest.post(f"{one.contact}:hangUp")
            await ended(of.rest, of.tenant, one.contact)
        keys = keys_of(log_dir, gone.contact)
        hunt = hunt_for(centre, (gone, kept), {name: key for name, key in keys.items() if "wrapped" not in name})
        assert await leaks(own_cell, hunt, temporary, begun) == set()
        with pytest.raises(Refused) as refused:
            await other.rest.post(f"{gone.contact}:erase")
        assert (refused.value.status, refused.value.reason) == (404, "UNKNOWN_NAME")

        assert list((own_cell.data_dir / "blobs").rglob("manifest"))
        hunt = hunt_for(centre, (gone, kept), keys)
        assert {what for _, what in await leaks(own_cell, hunt, temporary, begun)} == {
            name for name in keys if "wrapped" in name
        }
        with read_by_another(log_dir / "keys.db"):
            with pytest.raises(Refused) as refused:
                await centre.rest.post(f"{gone.contact}:erase", {"requestId": "once"})
            assert (refused.value.status, refused.value.reason) == (503, "ERASURE_UNDER_WAY")
            assert await leaks(own_cell, hunt, temporary, begun) != set()
            own_cell.kill_control()
        own_cell.start_control(TMPDIR=str(temporary))
        own_cell.wait_ready()

        erased = await centre.rest.post(f"{gone.contact}:erase", {"requestId": "once"})
        assert erased["caller"] == {"value": "", "visibility": "VISIBILITY_ERASED"}
        assert erased["eraseTime"]
        assert await leaks(own_cell, hunt, temporary, begun) == set()
        blobs = [path.name for path in regular_files(own_cell.data_dir / "blobs")]
        assert not [name for name in blobs if name.startswith(gone.contact.rpartition("/")[2])]
        await check_download_is_gone(centre.rest, erased["recordings"])
        listed = (await centre.rest.get(f"{gone.contact}/events", pageSize=100))["events"]
        assert [(event["type"], event["actor"] != "") for event in listed[-1:]] == [("contact.erased", True)]
        assert [event["type"] for event in listed].count("contact.erased") == 1
        await check_kept(other.rest, other.tenant, kept, hunt)

        own_cell.kill_media()
        own_cell.kill_control()
    assert await leaks(own_cell, hunt, temporary, begun) == set()
    assert state(await fold(log_dir))


READS = """
import sqlite3, sys
backup = sqlite3.connect(sys.argv[1], isolation_level=None)
backup.execute("BEGIN")
backup.execute("SELECT count(*) FROM key").fetchone()
print("reads", flush=True)
sys.stdin.read()
"""


@contextmanager
def read_by_another(database: Path) -> Iterator[None]:
    """Meanwhile a process holds a read open. (Not this one: when the hunt closes the file, all locks that
    its process has on it are gone, fcntl(2).)"""
    command = (sys.executable, "-c", READS, database)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"reads\n"
        yield


def keys_of(log_dir: Path, contact: str) -> dict[str, bytes]:
    """The keys of a contact as the files of a running cell have them, wrapped and not."""
    stream = f"contact/{contact.rpartition('/')[2]}"
    cell_key, keys = (log_dir / "cell.key").read_bytes(), {}
    with closing(sqlite3.connect(f"file:{log_dir}/log.db?mode=ro", uri=True)) as log:
        bodies = [bytes(row[0]) for row in log.execute("SELECT body FROM record WHERE partition LIKE 'live/%'")]
    commits = [commit for commit in map(log_codec.decode, bodies) if isinstance(commit, Commit)]
    (key,) = [taken.key for commit in commits for taken in commit.inputs if taken.stream == stream and taken.key]
    with closing(sqlite3.connect(f"file:{log_dir}/keys.db?mode=ro", uri=True)) as there:
        for id_ in (key, key + AUDIO):
            digest = hashlib.sha256(id_.encode()).digest()
            wrapped = bytes(there.execute("SELECT wrapped FROM key WHERE digest = ?", (digest,)).fetchone()[0])
            keys |= {f"{id_}, wrapped": wrapped, id_: unwrap(cell_key, id_, wrapped)}
    return keys


async def check_download_is_gone(rest: Rest, recordings: Iterable[str]) -> None:
    """For ever, and the recording says so itself."""
    for recording in recordings:
        with pytest.raises(Refused) as refused:
            await download(rest, recording)
        assert (refused.value.status, refused.value.reason) == (410, "ERASED")
        assert (await rest.get(recording))["erased"] is True


def check_open_files(cell: Cell) -> None:
    """The hunt sees what is being written: log, WAL, keys, views, journal and spool, none of them empty."""
    names = {str(path.relative_to(cell.data_dir)) for path in regular_files(cell.data_dir) if path.stat().st_size}
    assert {"log/log.db", "log/log.db-wal", "log/keys.db", "log/views.db"} <= names
    assert any(name.startswith("media/journal") for name in names)
    assert any(name.startswith("media/spool/") for name in names)
    assert cell.control is not None
    held = {str(path.readlink()) for path in open_files(cell.control.pid)}
    assert str(cell.data_dir / "log" / "log.db") in held


async def check_what_the_api_shows(rest: Rest, *talks: Talk) -> None:
    """The number to who may see it, and the digits of the menu that is not sensitive, but not of the other one."""
    for one in talks:
        found = await rest.get(one.contact)
        assert (found["state"], found["agent"].rpartition("/")[2]) == ("STATE_TALKING", one.agent.id)
        assert found["caller"] == {"value": one.caller.user, "visibility": "VISIBILITY_SHOWN"}
        listed = (await rest.get(f"{one.contact}/events", pageSize=100))["events"]
        for events in (listed, one.told):
            pressed = [
                (event["type"], event["data"]["step"], event["data"]["digits"])
                for event in events
                if event["type"] in PRESSED
            ]
            assert pressed == [
                ("contact.menu_missed", "pin", ""),
                ("contact.menu_chosen", "pin", ""),
                ("contact.menu_chosen", "menu", PLAIN),
            ]


async def check_digits(log_dir: Path, *talks: Talk) -> None:
    """Of the sensitive menu the log holds no digit, not even sealed, neither in commands nor in events."""
    for one in talks:
        assert await pressed_in(log_dir, one.contact) == [
            ("media.take_digits", "pin#1", Withheld),
            ("contact.menu_missed", "pin", Withheld),
            ("media.take_digits", "pin#2", Withheld),
            ("contact.menu_chosen", "pin", Withheld),
            ("media.take_digits", "menu#1", Sealed),
            ("contact.menu_chosen", "menu", Sealed),
        ]


async def check_fold_without_key(log_dir: Path, contact: str, hunt: Hunt) -> None:
    """Destroy a live contact's keys: the log folds to the same state, in which nothing private is readable."""
    before = await fold(log_dir)
    key = key_of(before, contact)
    both = [key, key + AUDIO]
    keys = await SqliteKeys.open(log_dir, entropy=SystemEntropy())
    try:
        assert set(await keys.get(both)) == set(both)
        await keys.destroy(both)
        assert await keys.get(both) == {}
    finally:
        await keys.close()
    after = state(await fold(log_dir))
    assert after == state(before)
    assert not hunt.in_bytes(b"".join(part for parts in after.values() for part in parts))


async def ended(rest: Rest, tenant: str, contact: str) -> Json:
    """The contact, once nothing more can happen to it: it is over and its recording is kept."""
    async with rest.watch(tenant) as watch:
        listed = (await rest.get(f"{contact}/events", pageSize=100))["events"]
        if "contact.completed" not in [event["type"] for event in listed]:
            await watch.event("contact.completed", contact)
    return await rest.get(contact)


async def download(rest: Rest, recording: str) -> bytes:
    """The audio, or the answer that there is none. The history of recordings may be a moment behind the contact,
    and has no live stream."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await rest.download(recording)
            except Refused as refused:
                if refused.status != 404:
                    raise
            await asyncio.sleep(0.1)


async def check_erased(rest: Rest, tenant: str, of: Talk) -> None:
    """Its history is there, its caller and its recording are not."""
    found = await ended(rest, tenant, of.contact)
    assert found["outcome"] == "OUTCOME_MEDIA_LOST"
    assert found["caller"] == {"value": "", "visibility": "VISIBILITY_ERASED"}
    events = (await rest.get(f"{of.contact}/events", pageSize=100))["events"]
    assert [event["data"]["caller"] for event in events if event["type"] == "contact.started"] == [""]
    (recording,) = found["recordings"]
    with pytest.raises(Refused) as refused:
        await download(rest, recording)
    assert refused.value.reason == "ERASED"


async def check_kept(rest: Rest, tenant: str, of: Talk, hunt: Hunt) -> None:
    """The other contact is whole: its caller is shown, and its recording, opened, holds the very needles that
    stand in no file."""
    found = await ended(rest, tenant, of.contact)
    assert found["caller"] == {"value": of.caller.user, "visibility": "VISIBILITY_SHOWN"}
    (recording,) = found["recordings"]
    voices = {f"the voice of {of.caller.id}", f"the voice of {of.agent.id}"}
    assert hunt.in_bytes(await download(rest, recording)) == voices
