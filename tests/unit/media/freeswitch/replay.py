"""A switch made of a trace: it tells what FreeSWITCH told, and answers as FreeSWITCH would at that point."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tandem.core.ports.media import (
    Command,
    CommandSettled,
    DigitsCollected,
    DirectoryDevice,
    DirectoryNumber,
    LegEnded,
    MediaEvent,
    Originate,
    Verb,
)
from tandem.core.seal import Secret, secret
from tandem.media.backend import MergedDirectory, Row, RowKind
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.connection import CUSTOM, EVENTS
from tandem.media.freeswitch.hearing import variable_of
from tandem.media.freeswitch.ids import channel_of_device, leg_of_caller, token_of
from tandem.media.freeswitch.node import Node
from tandem.wire import esl
from tests.support.traces import Trace, traces

TENANT, SHARD = "t1", 3
PROMPTS = {
    "tone": "tone_stream://%(300,100,440);loops=2",
    "music": "silence_stream://20000",
    "menu": "silence_stream://6000",
}
DIRECTORY = MergedDirectory(
    {name: DirectoryNumber(name, TENANT, SHARD) for name in ("tandem-0", "tandem-pt-3")},
    {name: DirectoryDevice(name, TENANT, SHARD, "127.0.0.1", "", "") for name in ("agent1", "agent2")},
)
ARRIVED = frozenset(("CHANNEL_CREATE",))


@dataclass(slots=True)
class Tape:
    """The agent: what it was told, and its journal. It takes nothing twice."""

    told: list[tuple[str, MediaEvent]] = field(default_factory=list)
    rows: dict[tuple[RowKind, str], Mapping[str, Any]] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        assert tenant == TENANT
        assert not self.times or media_time_ms >= self.times[-1]
        self.times.append(media_time_ms)
        self.told.append((leg, body))

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        if value is None:
            self.rows.pop((kind, id), None)
        else:
            self.rows[kind, id] = json.loads(json.dumps(value))

    def settled(self) -> list[str]:
        return [body.key for _, body in self.told if isinstance(body, CommandSettled)]

    def ends(self) -> list[str]:
        return [leg for leg, body in self.told if isinstance(body, LegEnded)]


@dataclass(frozen=True, slots=True)
class Step:
    """When the owner is told `on` of that leg, it commands `verb` of `leg`. Legs by the trace's letters."""

    on: tuple[str, str]
    leg: str
    verb: Callable[[Replay], Verb]
    key: str
    application: str = ""
    """The application whose first run in the trace is this command's."""


class Replay:
    """A trace, the node before it, and an owner who follows a script."""

    def __init__(self, name: str, script: tuple[Step, ...] = (), *, registered: tuple[str, ...] = ("agent1", "agent2")):
        self.trace: Trace = traces()[name]
        self.script = script
        self.registered = list(registered)
        self.tape = Tape()
        self.performed: list[Command] = []
        self.sent: list[bytes] = []
        self.now = 100.0
        self._channels: dict[str, dict[str, str]] = {}
        self.life = "life-1"
        self.answers_left = -1
        """How many answers come before the connection breaks once; negative for never."""
        self._variables: dict[str, dict[str, str]] = {}
        self._done: set[int] = set()
        self._names = self._legs()
        self._rename = self._renaming()
        self.node = self._node()

    def _node(self) -> Node:
        node = Node(FreeswitchConfig(heartbeat_s=20.0), self.tape, PROMPTS, "ClueCon")
        node.directory(DIRECTORY, self.now)
        node.owner_present(SHARD, True, self.now)
        return node

    # ------------------------------------------------------------------ names

    def _legs(self) -> dict[str, str]:
        """Letter -> leg: the caller's from its channel, a device's as the owner names it."""
        [caller] = [uuid for letter, uuid in self.trace.legs.items() if not uuid.startswith("b0000000")][:1] or [""]
        base = leg_of_caller(caller) or "c1"
        return {
            letter: f"{base}.{letter}" if uuid.startswith("b0000000") else leg_of_caller(uuid) or ""
            for letter, uuid in ({"A": "b0000000"} | self.trace.legs).items()
        } | {"-": ""}

    def leg(self, letter: str) -> str:
        return self._names[letter]

    def _renaming(self) -> list[tuple[bytes, bytes]]:
        """The trace's driver chose names; the node derives its own."""
        pairs: list[tuple[str, str]] = []
        for step in self.script:
            verb, token = step.verb(self), token_of(TENANT, step.key)
            if isinstance(verb, Originate):
                channel = self.trace.legs.get(step.leg, "b0000000-none")
                pairs.append((channel, channel_of_device(TENANT, step.key, verb.device)))
            elif step.application:
                pairs.append((self._run_of(step.application), token))
                if step.application == "play_and_get_digits":
                    pairs.append(("variable_digits: ", f"variable_{variable_of(token)}: "))
                    pairs.append(("%20digits%20", f"%20{variable_of(token)}%20"))
        return [(old.encode(), new.encode()) for old, new in pairs]

    def _run_of(self, application: str) -> str:
        frames = esl.EslReader().receive_data(self.trace.received)
        events = [frame for frame in frames if isinstance(frame, esl.Event)]
        return next(e.get("Application-UUID") or "" for e in events if e.get("Application") == application)

    def named(self, frame: esl.Frame) -> esl.Frame:
        if isinstance(frame, esl.JsonEvent):
            text = json.dumps(frame.headers())
            for old, new in self._rename:
                text = text.replace(old.decode(), new.decode())
            return esl.JsonEvent(json.loads(text))
        if not isinstance(frame, esl.PlainEvent):
            return frame
        raw = frame._raw
        for old, new in self._rename:
            raw = raw.replace(old, new)
        if frame.name == "BACKGROUND_JOB":
            originates = [step for step in self.script if isinstance(step.verb(self), Originate)]
            told = re.search(rb"Job-UUID: (\S+)", raw)
            jobs = list(dict.fromkeys(re.findall(rb"Job-UUID: (job-\d+)\n\n", self.trace.received)))
            if told is not None and told[1] in jobs:
                raw = raw.replace(told[1], token_of(TENANT, originates[jobs.index(told[1])].key).encode())
        return esl.PlainEvent(raw)

    # ------------------------------------------------------------------ the switch

    def frames(self, size: int = 1 << 20) -> list[esl.Frame]:
        """The trace's events, read in pieces of that size."""
        reader, data = esl.EslReader(), self.trace.received
        read = [frame for at in range(0, len(data), size) for frame in reader.receive_data(data[at : at + size])]
        return [self.named(frame) for frame in read if isinstance(frame, esl.Event)]

    def happen(self, frame: esl.Frame) -> None:
        """Something happens in the switch, heard or not."""
        self.now += 0.02
        assert isinstance(frame, esl.PlainEvent | esl.JsonEvent)
        channel = frame.get("Unique-ID")
        if frame.name == "CHANNEL_HANGUP" and channel is not None:
            self._channels.pop(channel, None)
        elif channel is not None and (channel in self._channels or frame.name in ARRIVED):
            self._channels[channel] = _seen(self._channels.get(channel), frame)
        elif frame.name == "sofia::register":
            self.registered.append(frame.get("from-user") or "")
        elif frame.name == "sofia::unregister":
            self.registered.remove(frame.get("from-user") or "")

    def hear(self, frame: esl.Frame) -> None:
        """The node hears of it, if it listens to that."""
        if self.is_heard(frame):
            self.node.frame(frame, self.now)
            self.work()

    @staticmethod
    def is_heard(frame: esl.Frame) -> bool:
        return isinstance(frame, esl.Event) and frame.name in (*EVENTS, *CUSTOM)

    def connect(self) -> None:
        self.node.frame(esl.AuthWanted(), self.now)
        self.work()

    def cut(self) -> None:
        self.node.lost(self.now)

    def crash(self) -> None:
        """The switch dies with its calls, and begins anew."""
        self.cut()
        self._channels.clear()
        self.life = "life-2"

    def restart(self) -> None:
        """The agent dies and lives again on its journal."""
        settled = set(self.tape.settled())
        self.node = self._node()
        rows = [Row(kind, id, value) for (kind, id), value in self.tape.rows.items()]
        self.node.restore(rows, self.tape.times[-1] if self.tape.times else int(self.now * 1000), self.now)
        for command in self.performed:
            if command.key not in settled:
                self.node.settle(command, self.now)

    def work(self) -> None:
        """Let the switch answer and the owner act until nothing is left to do."""
        while self._own() or self._answer():
            pass

    def _own(self) -> bool:
        for index, step in enumerate(self.script):
            if index not in self._done and self._told(step.on):
                self._done.add(index)
                self.performed.append(Command(TENANT, step.key, self.leg(step.leg), step.verb(self)))
                self.node.perform(self.performed[-1], self.now)
                return True
        return False

    def _told(self, on: tuple[str, str]) -> bool:
        letter, what = on
        for leg, body in self.tape.told:
            name = f"{body.key} {body.outcome}" if isinstance(body, CommandSettled) else type(body).__name__
            if leg == self._names[letter] and name == what:
                return True
        return False

    def _answer(self) -> bool:
        out = self.node.take()
        assert out.close in ("", "NO_HEARTBEAT"), out
        for data in out.data:
            self.answers_left -= 1
            if self.answers_left == 0:
                self.cut()
                self.connect()
                return True
            self.sent.append(data)
            self.node.frame(self._reply(data.decode()), self.now)
            if data.startswith(b"bgapi uuid_bridge"):
                job = re.search(rb"Job-UUID: (\S+)", data)
                assert job is not None
                self.node.frame(
                    esl.PlainEvent(b"\nEvent-Name: BACKGROUND_JOB\nJob-UUID: %b\nContent-Length: 4\n\n+OK\n" % job[1]),
                    self.now,
                )
        for channel in out.records:
            self.node.record(channel, None, self.now)
        return bool(out.data or out.records)

    def _reply(self, text: str) -> esl.Frame:
        line = text.partition("\n")[0]
        words = line.split(" ")
        if words[0] == "sendmsg":
            there = words[1] in self._channels
            return esl.Reply("+OK" if there else f"-ERR invalid session id [{words[1]}]", {})
        if words[0] != "api":
            return esl.Reply("+OK", {})
        return esl.ApiReply(self._api(words[1], words[2:]))

    def _api(self, name: str, words: list[str]) -> str:
        if name == "show":
            rows = (
                [{"uuid": channel} for channel in self._channels]
                if words[0] == "channels"
                else [{"reg_user": user, "realm": "127.0.0.1"} for user in self.registered]
            )
            return json.dumps({"row_count": len(rows)} | ({"rows": rows} if rows else {}))
        if name == "global_getvar":
            return self.life
        if name == "xml_flush_cache":
            return "+OK cleared 0 entries\n"
        if name == "sched_del":
            return "+OK Deleted: 1\n"
        event = self._channels.get(words[0])
        if event is None:
            return "-ERR No such channel!\n"
        if name == "uuid_dump":
            variables = {f"variable_{name}": value for name, value in self._variables.get(words[0], {}).items()}
            return json.dumps(event | variables)
        if name == "uuid_setvar_multi":
            self._variables.setdefault(words[0], {}).update(
                {name: value for name, _, value in (pair.partition("=") for pair in words[1].split(";"))}
            )
        return "+OK\n"

    # ------------------------------------------------------------------ a whole run

    def run(self, *, size: int = 1 << 20) -> list[str]:
        """The whole trace; what was told, in words."""
        self.connect()
        for frame in self.frames(size):
            self.happen(frame)
            self.hear(frame)
        self.rest()
        return self.words()

    def rest(self) -> None:
        """A minute passes."""
        until = self.now + 50
        while (due := self.node.next_wakeup()) is not None and due <= until:
            self.now = max(self.now, due)
            self.node.wake(self.now)
            self.work()

    def words(self) -> list[str]:
        letters = {leg: letter for letter, leg in self._names.items()}
        return [f"{letters.get(leg, '-')} {self._words(body, letters)}" for leg, body in self.tape.told]

    def _words(self, body: MediaEvent, letters: Mapping[str, str]) -> str:
        match body:
            case CommandSettled(key, outcome, reason):
                return f"{key} {outcome.value}{f'({reason})' if reason else ''}"
            case DigitsCollected(step, Secret(value), why):
                return f"DigitsCollected {step} {value.decode()} {why.value}"
            case LegEnded(cause, by):
                return f"LegEnded {cause.value} {by.value}"
        shown = [getattr(body, name) for name in ("other", "number", "device") if hasattr(body, name)]
        return " ".join([type(body).__name__, *(letters.get(text, text) for text in shown)])


def _seen(before: dict[str, str] | None, event: esl.PlainEvent | esl.JsonEvent) -> dict[str, str]:
    """A channel as it is after an event. Some events, as DTMF, leave its variables out."""
    headers = event.headers()
    if before is None or any(name.startswith("variable_") for name in headers):
        return headers
    return before | headers


def originate(device: str, limit_ms: int = 20_000) -> Callable[[Replay], Verb]:
    return lambda replay: Originate(device, limit_ms, "offers/1", secret("15550100"))
