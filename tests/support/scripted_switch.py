"""A FreeSWITCH made of rules: its event socket as bytes in and out, its calls as far as Tandem moves them.

The order of events is that of the traces of real FreeSWITCH (tests/traces); what a rule here does not say,
real FreeSWITCH is asked (tests/e2e/freeswitch). Time is the caller's: `tick`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import quote, unquote

PLAY_S, ANSWERS_AFTER_S, HEARTBEAT_S, FALLBACK_S, SPEAKS_S = 0.4, 1.0, 2.0, 20.0, 5.0
NOTHING = "-ERR no reply\n"
"""What a command says that prints nothing."""
MOVED = "sip_bye_h_X-Tandem-Moved"
"""With this variable a channel's BYE is answered by the door."""
REINVITED_S = 0.05
"""How long a phone takes to answer a re-INVITE."""
RTP_PORT_MIN = 16_384
PARKS_LATE_S = 0.5
SILENCE = b"\xff\xff" * 8000
"""A second of stereo mu-law."""


@dataclass
class Running:
    """An application."""

    name: str
    token: str
    argument: str
    ends: float | None
    """When it ends by itself."""


@dataclass
class Channel:
    """A call's leg."""

    uuid: str
    inbound: bool
    number: str = ""
    answered: bool = False
    early: bool = False
    """It is heard before it answers."""
    progress_us: int = 0
    answered_us: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    running: Running | None = None
    bridged: str = ""
    pressed: str = ""
    record: str = ""
    listens: str = ""
    """The channel that it eavesdrops on."""
    context: str = "arrivals"
    dialplan: str = "XML"
    profile_us: int = 0
    """When it got its present context."""
    fallback_at: float | None = None
    """When the dialplan takes it, unless that is cancelled."""
    answers_at: float | None = None
    ends_at: float | None = None
    ends_with: str = ""
    job: str = ""
    reinvited_at: float | None = None
    """When its phone answers the re-INVITE of a switch that has taken it up."""
    parks_at: float | None = None
    reinvited: str = ""
    """What it answers: a status, 200 for yes."""


@dataclass
class Gateway:
    """A carrier as the switch has read it from a file."""

    token: str
    """What its file says of its version; empty for one that nobody numbered."""
    up: bool = True
    deleted: bool = False


class ScriptedSwitch:
    """One life of it after another; `out` is what the listener was sent and has not read."""

    def __init__(self, password: str = "esl") -> None:
        self.password = password
        self.now = 0.0
        self.life = "life-1"
        self.channels: dict[str, Channel] = {}
        self.registered: dict[str, bool] = {}
        """Device -> whether its phone is answered."""
        self._rows: tuple[str, ...] = ()
        """Those whose row is written: a thread of its own does that, a moment later."""
        self.places: dict[tuple[str, str], str] = {}
        """Device and place, where it registered at more than one -> what its phone there does: it `answers` after a
        second, `rings` on, or one of FreeSWITCH's causes."""
        self.elsewhere: list[str] = []
        """Phones that were told that another one answered: place by place."""
        self.rung: list[str] = []
        self.outside: dict[str, str] = {}
        """Number -> what comes of a call: `answers`, `rings`, `speaks` and then answers, or a cause."""
        self.called: list[str] = []
        self.files: dict[str, str] = {}
        """The directory of gateways: name -> version."""
        self.gateways: dict[str, Gateway] = {}
        self.records: dict[str, dict[str, str]] = {}
        """Variables of channels that ended: the spool of call records."""
        self.commands: list[str] = []
        self.globals: dict[str, str] = {}
        self.max_callers = 500
        self.recovery: dict[str, str] = {}
        """Rows of calls that are not of this life, in the database: they stay when it dies."""
        self.byes: list[str] = []
        """Phones that were told that the call has ended, by the Call-ID: that is the name of the channel on which the
        caller came."""
        self.cseq: dict[str, int] = {}
        """Of the last re-INVITE, by Call-ID."""
        self.reinvites: dict[str, str] = {}
        """Call-ID -> what its phone says to a re-INVITE, if not 200: a status, `silent`, `port` for one that
        is not sent, because its port is taken, or `at once`: before the switch has parked the channel."""
        self.paused = False
        """Everything new that comes in gets 503, OPTIONS too."""
        self.subscribed: set[str] = set()
        self.out = bytearray()
        self.listening = False
        self.moved_first = False
        """Of two that are parted, who was sent away is parked first: each has a thread of its own, either may be."""
        self._in = bytearray()
        self._names = count(1)
        self._beats_at = 0.0

    # ------------------------------------------------------------------ the listener

    def connect(self) -> None:
        """Somebody connects to the event socket."""
        self.listening, self.subscribed = True, set()
        self._in.clear()
        self.out[:] = b"Content-Type: auth/request\n\n"

    def cut(self) -> None:
        """The connection is gone. What was not read is lost."""
        self.listening = False
        self.out.clear()

    def take(self) -> bytes:
        """What the listener reads."""
        data = bytes(self.out)
        self.out.clear()
        return data

    def receive(self, data: bytes) -> None:
        """Commands, in any pieces."""
        self._in += data
        while (end := self._in.find(b"\n\n")) >= 0:
            head = self._in[:end].decode()
            size = re.search(r"^Content-Length: (\d+)$", head, re.MULTILINE)
            stop = end + 2 + (int(size[1]) if size else 0)
            if len(self._in) < stop:
                return
            body = self._in[end + 2 : stop].decode()
            del self._in[:stop]
            self._command(head, body)

    def _command(self, head: str, body: str) -> None:
        line, _, rest = head.partition("\n")
        self.commands.append(line)
        headers = dict(header.split(": ", 1) for header in rest.split("\n") if header)
        name, _, argument = line.partition(" ")
        match name:
            case "auth":
                self._reply("+OK accepted" if argument == self.password else "-ERR invalid")
            case "event":
                self.subscribed |= set(argument.split()[1:])
                self._reply("+OK event listener enabled plain")
            case "nixevent":
                self.subscribed -= set(argument.split())
                self._reply("+OK events nixed")
            case "log":
                self._reply("+OK log level set")
            case "api":
                text = self._api(argument)
                self._frame("api/response", text)
            case "bgapi":
                self._reply(f"+OK Job-UUID: {headers['Job-UUID']}")
                self._background(argument, headers["Job-UUID"])
            case "sendmsg":
                channel = self.channels.get(argument)
                self._reply("+OK" if channel else f"-ERR invalid session id [{argument}]")
                if channel is not None:
                    self._execute(channel, headers["execute-app-name"], body, headers.get("Event-UUID", ""))
            case _:
                self._reply("-ERR command not found")

    def _reply(self, text: str) -> None:
        self._send(f"Content-Type: command/reply\nReply-Text: {text}\n\n")

    def _frame(self, kind: str, text: str) -> None:
        self._send(f"Content-Type: {kind}\nContent-Length: {len(text.encode())}\n\n{text}")

    def _send(self, text: str) -> None:
        if self.listening:
            self.out += text.encode()

    def log(self, line: str) -> None:
        """A line of the log that the listener asked for."""
        self._send(f"Content-Type: log/data\nContent-Length: {len(line.encode())}\nLog-Level: 0\n\n{line}")

    def fire(self, name: str, channel: Channel | None = None, /, body: str = "", **headers: str) -> None:
        """An event, sent if somebody listens to it."""
        if not self.listening or name not in self.subscribed:
            return
        fields = {"Event-Name": name, "Event-Date-Timestamp": str(self._us)}
        if "::" in name:
            fields |= {"Event-Name": "CUSTOM", "Event-Subclass": name}
        fields |= {} if channel is None else self.shown(channel)
        fields |= {header.replace("__", "-"): value for header, value in headers.items()}
        if body:
            fields["Content-Length"] = str(len(body.encode()))
        lines = "".join(f"{header}: {quote(value, safe='')}\n" for header, value in fields.items())
        self._frame("text/event-plain", f"{lines}\n{body}")

    @property
    def _us(self) -> int:
        return int(self.now * 1_000_000)

    def shown(self, channel: Channel) -> dict[str, str]:
        """A channel as `uuid_dump` and its events show it."""
        running = channel.running
        parked = not channel.bridged and (channel.answered or channel.early or channel.inbound)
        state = "answered" if channel.answered else "early" if channel.early else "ringing"
        return {
            "Unique-ID": channel.uuid,
            "Call-Direction": "inbound" if channel.inbound else "outbound",
            "Answer-State": state,
            "Channel-State": "CS_EXCHANGE_MEDIA" if channel.bridged else "CS_EXECUTE" if parked else "CS_CONSUME_MEDIA",
            "Event-Date-Timestamp": str(self._us),
            "Caller-Destination-Number": channel.number,
            "Caller-Caller-ID-Number": "4917055",
            "Caller-Context": channel.context,
            "Caller-Dialplan": channel.dialplan,
            "Caller-Profile-Created-Time": str(channel.profile_us),
            "Caller-Channel-Progress-Time": str(channel.progress_us),
            "Caller-Channel-Answered-Time": str(channel.answered_us),
            "variable_current_application": running.name if running else channel.variables.get("_last", "park"),
            "variable_current_application_data": running.argument if running else channel.variables.get("_data", ""),
            **({"variable_bridge_uuid": channel.bridged} if channel.bridged else {}),
            **{f"variable_{name}": value for name, value in channel.variables.items() if not name.startswith("_")},
        }

    # ------------------------------------------------------------------ phones

    def name_from(self, first: int) -> None:
        """Names of channels begin there: two switches have no channel in common."""
        self._names = count(first)

    def dial(self, number: str) -> str:
        """A caller comes, is told that it rings, and is parked; the channel's name. A node that takes none has none:
        a paused one not even a channel."""
        uuid = f"00000000-0000-4000-8000-{next(self._names):012}"
        if self.paused:
            return uuid
        channel = self.channels[uuid] = Channel(uuid, True, number, progress_us=self._us)
        channel.variables |= {
            "sip_via_protocol": "udp", "sip_cseq": "20", "local_media_port": "20000", "rtp_use_ssrc": "77",
            "sip_full_from": "<sip:cara@192.0.2.1>;tag=phone", "sip_full_to": f"<sip:{number}@192.0.2.1>",
            "sip_invite_record_route": "<sip:192.0.2.1;lr=on;ftag=phone>",
            "sip_call_id": uuid, "uuid": uuid, "call_uuid": uuid,
        }  # fmt: skip
        if self.globals.get("tandem_draining") == "true":
            self._end(channel, "SWITCH_CONGESTION", "send_refuse")
            return uuid
        self.fire("CHANNEL_PROGRESS", channel)
        self.fire("CHANNEL_PARK", channel)
        return uuid

    def emergency(self) -> tuple[str, str]:
        """A caller whom the dialplan put through to a gateway: both channels of the talk."""
        made = []
        for inbound in (True, False):
            uuid = f"00000000-0000-4000-8000-{next(self._names):012}"
            channel = self.channels[uuid] = Channel(uuid, inbound, "112", progress_us=self._us)
            channel.variables["_last"] = "bridge"
            self._answered(channel)
            made.append(channel)
        made[0].bridged, made[1].bridged = made[1].uuid, made[0].uuid
        return made[0].uuid, made[1].uuid

    def register(self, user: str, *, answers: bool = True) -> None:
        """A phone registers; it is answered after a second if so wished."""
        self.registered[user] = answers
        self.fire("sofia::register", **{"from-user": user})

    def register_at(self, user: str, place: str, does: str) -> None:
        """A phone of a device that has others registers."""
        self.places[user, place] = does
        contact = f'"" <sip:{user}@{place}.test;transport=tls>'
        self.fire("sofia::register", **{"from-user": user, "call-id": place, "contact": contact})

    def unregister_at(self, user: str, place: str) -> None:
        """Its connection is gone: nothing but the Call-ID says which one."""
        del self.places[user, place]
        self.fire("sofia::unregister", **{"from-user": user, "call-id": place})

    def press(self, uuid: str, digits: str) -> None:
        """Keys; for the step that collects, if one does."""
        channel = self.channels[uuid]
        for digit in digits:
            running = channel.running
            if running is None or running.name != "play_and_get_digits":
                return
            words = running.argument.split(" ")
            ended = digit in words[4]
            channel.pressed += "" if ended else digit
            if ended or len(channel.pressed) >= int(words[1]):
                self._collected(channel, running, "success")

    def hang_up(self, uuid: str) -> None:
        """The phone says BYE, or CANCEL."""
        channel = self.channels[uuid]
        self._end(channel, "NORMAL_CLEARING", "recv_bye" if channel.answered else "recv_cancel")

    def refer(self, uuid: str, target: str) -> None:
        """The phone hands the other party of its talk over, and says BYE."""
        channel = self.channels[uuid]
        other = self.channels[channel.bridged]
        channel.bridged = other.bridged = ""
        channel.variables |= {"transfer_to": f"blind:{other.uuid}", "transfer_destination": f"blind:{target}"}
        other.context, other.dialplan, other.profile_us = "referred", "XML", self._us
        other.number, other.fallback_at = target, self.now + FALLBACK_S
        self.fire("CHANNEL_PARK", other)
        self.hang_up(uuid)

    def die(self) -> None:
        """kill -9; the next life knows nothing of the calls."""
        self.cut()
        self.channels.clear()
        self.globals.clear()
        self.paused = False
        self.gateways.clear()
        self.read_gateways()
        self.life = f"life-{next(self._names)}"

    def read_gateways(self) -> None:
        """What begins, and `rescan`: those of a name that is there are passed over."""
        for name, token in self.files.items():
            if name not in self.gateways or self.gateways[name].deleted:
                self.gateways[name] = Gateway(token)

    def gateway_is(self, name: str, *, up: bool) -> None:
        """A carrier answers, or does not."""
        self.gateways[name].up = up
        said = {} if up else {"Status": "503", "Phrase": "Service Unavailable"}
        state = {"Gateway": name, "State": "NOREG", "Ping-Status": "UP" if up else "DOWN"}
        self.fire("sofia::gateway_state", **state, **said)

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """It is later."""
        self.now = now
        self._rows = tuple(self.registered)
        if now >= self._beats_at:
            self._beats_at = now + HEARTBEAT_S
            self.fire("HEARTBEAT")
        for name in [name for name, gateway in self.gateways.items() if gateway.deleted]:
            del self.gateways[name]
            self.fire("sofia::gateway_delete", Gateway=name)
        for channel in list(self.channels.values()):
            running = channel.running
            if running is not None and running.ends is not None and running.ends <= now:
                if running.name == "play_and_get_digits":
                    self._collected(channel, running, "timeout")
                else:
                    self._over(channel, running, "FILE PLAYED")
            if channel.parks_at is not None and channel.parks_at <= now:
                channel.parks_at = None
                self.fire("CHANNEL_PARK", channel)
            if channel.reinvited_at is not None and channel.reinvited_at <= now:
                channel.reinvited_at = None
                if channel.reinvited == "200":
                    channel.variables["sip_cseq"] = channel.variables["sip_invite_cseq"]
                else:
                    channel.variables["sip_term_status"] = channel.reinvited
                    self._end(channel, "NORMAL_TEMPORARY_FAILURE", "recv_refuse")
                    continue
            if channel.fallback_at is not None and channel.fallback_at <= now:
                channel.context = "fallback"
                self._end(channel, "NORMAL_TEMPORARY_FAILURE", "send_bye")
            elif channel.ends_at is not None and channel.ends_at <= now:
                self._end(channel, channel.ends_with, "recv_refuse")
            elif channel.answers_at is not None and channel.answers_at <= now and channel.uuid in self.channels:
                channel.answers_at = None
                self._answered(channel)
                for other in self._others(channel):
                    self.elsewhere.append(other.number)
                    self._end(other, "LOSE_RACE", "send_cancel")
                if not channel.early:
                    self.fire("CHANNEL_PARK", channel)
                    self._job(channel.job, f"+OK {channel.uuid}")

    # ------------------------------------------------------------------ commands

    def _api(self, line: str) -> str:
        name, _, rest = line.partition(" ")
        words = rest.split(" ")
        lists: dict[str, Callable[[], str]] = {
            "global_getvar": lambda: self._get_global(rest),
            "limit_usage": lambda: str(sum(channel.inbound for channel in self.channels.values())),
            "global_setvar": lambda: self._set_global(rest),
            "fsctl": lambda: self._pause(rest),
            "xml_flush_cache": lambda: "+OK cleared 0 entries\n",
            "show": lambda: self._show(words[0]),
            "sofia_contact": lambda: self._contact(rest),
            "sched_del": lambda: self._cancel(words[0]),
            "sofia": lambda: self._sofia(words),
            "sofia_gateway_data": lambda: self._gateway_data(words[0]),
        }
        if name in lists:
            return lists[name]()
        channel = self.channels.get(words[0])
        if channel is None:
            return "-ERR No such channel!\n"
        match name:
            case "uuid_dump":
                return json.dumps(self.shown(channel))
            case "uuid_setvar_multi":
                for pair in rest.partition(" ")[2].split(";"):
                    variable, _, value = pair.partition("=")
                    channel.variables[variable] = value
            case "uuid_setvar" if len(words) > 2:
                channel.variables[words[1]] = " ".join(words[2:])
            case "uuid_setvar":
                channel.variables.pop(words[1], None)
            case "uuid_getvar":
                return channel.variables.get(words[1], "_undef_")
            case "uuid_answer":
                self._answered(channel)
            case "uuid_kill":
                self._end(channel, words[1] if len(words) > 1 else "NORMAL_CLEARING", "send_bye")
            case "uuid_break":
                # It ends no wait for digits, and begins a loop anew.
                if channel.running is not None and channel.running.name not in (
                    "play_and_get_digits",
                    "endless_playback",
                ):
                    self._over(channel, channel.running, "FILE PLAYED")
            case "uuid_transfer":
                # A transfer that names no context goes to that one.
                channel.context, channel.dialplan, channel.profile_us = "referred", "inline", self._us
                self._park(channel, words[1])
            case "uuid_record":
                return self._record(channel, words[1], words[2])
            case _:
                return f"-ERR {name} Command not found!\n"
        return "+OK\n"

    def _get_global(self, name: str) -> str:
        own = {
            "core_uuid": self.life, "max_callers": str(self.max_callers), "rtp_ip": "192.0.2.9", "db_dir": "/db",
            "rtp_port_min": str(RTP_PORT_MIN),
        }  # fmt: skip
        return own.get(name) or self.globals.get(name, "")

    def _recover(self) -> str:
        """Every row is taken up, and forgotten. Their channels are parked before their phones are asked."""
        rows, self.recovery = self.recovery, {}
        for row in rows.values():
            own = re.search(r"<variables>(.*)</variables>", row)
            assert own is not None
            variables = {name: unquote(value) for name, value in re.findall(r"<([^>]+)>([^<]*)</\1>", own[1])}
            assert variables["local_media_ip"] == "192.0.2.9", "it cannot bind another's address: no BYE, and no audio"
            assert {"sip_cseq", "rtp_use_ssrc"}.isdisjoint(variables)
            assert int(variables["local_media_port"]) < RTP_PORT_MIN, "it would be given back to a list that has it not"
            # Of its name the row's column says nothing.
            uuid, call = variables["uuid"], variables["sip_call_id"]
            assert uuid not in self.channels, "it has this call"
            number = re.search(r"<destination_number>([^<]*)<", row)
            assert number is not None
            channel = self.channels[uuid] = Channel(uuid, True, number[1], True, variables=variables)
            channel.answered_us = self._us
            says = self.reinvites.get(call, "200")
            if says == "491":  # it has asked for something itself, and is done with that soon
                del self.reinvites[call]
            assert int(variables["sip_invite_cseq"]) > self.cseq.get(call, 0), "a phone refuses what is not newer"
            self.cseq[call] = int(variables["sip_invite_cseq"])
            if says == "one port":
                says = self.reinvites[call] = "200"
                self._end(channel, "INCOMPATIBLE_DESTINATION", "")
                continue
            if says == "port":
                self._end(channel, "INCOMPATIBLE_DESTINATION", "")
                continue
            if says == "at once":
                channel.variables["sip_cseq"] = variables["sip_invite_cseq"]
                channel.parks_at = self.now + PARKS_LATE_S
                continue
            if says != "silent":
                channel.reinvited_at, channel.reinvited = self.now + REINVITED_S, says
            self.fire("CHANNEL_PARK", channel)
        return f"Recovered {len(rows)} call(s)\n" if rows else "No calls to recover.\n"

    def _set_global(self, pair: str) -> str:
        name, _, value = pair.partition("=")
        self.globals[name] = value
        return "+OK"

    def _pause(self, words: str) -> str:
        assert words in ("pause inbound", "resume inbound"), words
        self.paused = words.startswith("pause")
        return "+OK\n"

    def _sofia(self, words: list[str]) -> str:
        """`sofia recover`, `sofia loglevel ...`, and `sofia profile tandem ...` as far as it is about gateways."""
        if words == ["recover"]:
            return self._recover()
        if words[0] == "loglevel":
            return f"Sofia log level for component [{words[1]}] has been set to [{words[2]}]"
        if words[2] == "gwlist":
            up = words[3] == "up"
            return "".join(f"{name} " for name, gateway in self.gateways.items() if gateway.up is up) or NOTHING
        assert words[2] == "killgw", words
        if words[3] not in self.gateways or self.gateways[words[3]].deleted:
            return "-ERR no such gateway.\n"
        self.gateways[words[3]].deleted = True
        return "+OK gateway marked for deletion.\n"

    def _gateway_data(self, name: str) -> str:
        gateway = self.gateways.get(name)
        return NOTHING if gateway is None or gateway.deleted else gateway.token or NOTHING

    def _contact(self, where: str) -> str:
        user = where.removeprefix("tandem/").partition("@")[0]
        there = user in self.registered or any(user == other for other, _ in self.places)
        return f"sofia/tandem/sip:{user}@192.0.2.1" if there else "error/user_not_registered"

    def _cancel(self, uuid: str) -> str:
        if uuid in self.channels:
            self.channels[uuid].fallback_at = None
        return "+OK Deleted: 1\n"

    def _show(self, what: str) -> str:
        rows = [{"uuid": uuid} for uuid in self.channels]
        if what == "registrations":
            rows = [{"reg_user": user, "realm": "tandem"} for user in self._rows]
            rows += [
                {"reg_user": user, "token": place, "url": f"sofia/tandem/sip:{user}@{place}.test;transport=tls"}
                for user, place in self.places
            ]
        return json.dumps({"row_count": len(rows)} | ({"rows": rows} if rows else {}))

    def _record(self, channel: Channel, what: str, path: str) -> str:
        if what in ("mask", "unmask"):
            masked = channel.record == path
            return "+OK Success\n" if masked else f"-ERR Cannot {what} recording!\n"
        if what == "start":
            channel.record = path
            if Path(path).parent.is_dir():
                Path(path).write_bytes(SILENCE)
            return "+OK Success\n"
        if channel.record != path:
            return "-ERR Cannot stop record session!\n"
        self._end_record(channel)
        return "+OK Success\n"

    def _end_record(self, channel: Channel) -> None:
        path, channel.record = channel.record, ""
        if path:
            self.fire("RECORD_STOP", channel, **{"Record-File-Path": path})

    def _background(self, line: str, job: str) -> None:
        name, _, rest = line.partition(" ")
        if name == "originate":
            self._originate(rest, job)
            return
        if name == "sofia":
            assert rest == "profile tandem rescan", rest
            self.read_gateways()
            self._job(job, "Reload XML [Success]\n+OK scan complete\n")
            return
        one, other = (self.channels.get(uuid) for uuid in rest.split(" "))
        if one is None or other is None:
            self._job(job, "-ERR Invalid uuid\n")
            return
        for channel in (one, other):
            if channel.running is not None:
                self._over(channel, channel.running, "_none_")
            self._leave(channel)
        one.bridged, other.bridged = other.uuid, one.uuid
        ends = {"Bridge-A-Unique-ID": one.uuid, "Bridge-B-Unique-ID": other.uuid}
        self.fire("CHANNEL_BRIDGE", one, **ends)
        self._job(job, f"+OK {other.uuid}\n")

    def _job(self, job: str, text: str) -> None:
        self.fire("BACKGROUND_JOB", body=text, **{"Job-UUID": job})

    def _originate(self, text: str, job: str) -> None:
        found = re.fullmatch(r"\{([^}]*)\}(\S+) &park\(\)", text)
        assert found is not None, text
        variables = _pairs(found[1])
        targets = re.findall(r"(?:^|,)(?:\[([^\]]*)\])?sofia/(tandem|gateway)/([^,]+)", found[2])
        for own, kind, target in targets:
            if kind == "gateway":
                self._call(*target.split("/"), variables, job)
            elif target.startswith("sip:"):
                user, _, place = target.removeprefix("sip:").partition("@")
                self._ring_at(user, place.partition(".")[0], variables | _pairs(own), job)
            else:
                self._ring(target.partition("%")[0], variables, job)

    def _ring_at(self, user: str, place: str, variables: dict[str, str], job: str) -> None:
        """One of several places."""
        uuid, does = variables["origination_uuid"], self.places[user, place]
        channel = self.channels[uuid] = Channel(uuid, False, f"{user}@{place}", variables=variables, job=job)
        self.rung.append(user)
        channel.progress_us = self._us
        self.fire("CHANNEL_PROGRESS", channel)
        if does == "answers":
            channel.answers_at = self.now + ANSWERS_AFTER_S
        elif does != "rings":
            channel.ends_at, channel.ends_with = self.now + ANSWERS_AFTER_S / 2, does

    def _others(self, channel: Channel) -> list[Channel]:
        """Other places where the same device rings."""
        same = [other for other in self.channels.values() if other.job == channel.job and not other.answered]
        return [other for other in same if other is not channel] if channel.job else []

    def _call(self, name: str, number: str, variables: dict[str, str], job: str) -> None:
        """Through a gateway."""
        gateway, does = self.gateways.get(name), self.outside.get(number, "answers")
        if gateway is None or gateway.deleted or not gateway.up:
            self._job(job, f"-ERR {'INVALID_GATEWAY' if gateway is None or gateway.deleted else 'GATEWAY_DOWN'}\n")
            return
        self.called.append(number)
        uuid = variables["origination_uuid"]
        variables["sip_gateway_name"] = name
        channel = self.channels[uuid] = Channel(uuid, False, number, variables=variables, job=job)
        if does not in ("answers", "rings", "speaks"):
            self._end(channel, does, "recv_refuse")
            return
        channel.progress_us = self._us
        self.fire("CHANNEL_PROGRESS", channel)
        if does == "speaks":
            channel.early = True
            self.fire("CHANNEL_PROGRESS_MEDIA", channel)
            self._job(job, f"+OK {uuid}")
            self.fire("CHANNEL_PARK", channel)
        if does != "rings":
            channel.answers_at = self.now + (SPEAKS_S if channel.early else ANSWERS_AFTER_S)

    def _ring(self, user: str, variables: dict[str, str], job: str) -> None:
        uuid = variables["origination_uuid"]
        if uuid in self.channels or user not in self.registered:
            self._job(job, "-ERR USER_NOT_REGISTERED\n")
            return
        channel = self.channels[uuid] = Channel(uuid, False, user, variables=variables, job=job)
        self.rung.append(user)
        channel.progress_us = self._us
        self.fire("CHANNEL_PROGRESS", channel)
        if self.registered[user]:
            channel.answers_at = self.now + ANSWERS_AFTER_S

    def _execute(self, channel: Channel, name: str, argument: str, token: str) -> None:
        assert channel.running is None, f"{name} inside {channel.running}: the inner one would run first"
        ends = {"playback": PLAY_S, "play_and_get_digits": 0.0}.get(name)
        if name == "play_and_get_digits":
            ends = PLAY_S + int(argument.split(" ")[3]) / 1000
            channel.variables.pop("read_result", None)
            channel.pressed = ""
        channel.variables.pop("current_application_response", None)
        channel.running = Running(name, token, argument, None if ends is None else self.now + ends)

    # ------------------------------------------------------------------ what becomes of channels

    def _answered(self, channel: Channel) -> None:
        if not channel.answered:
            channel.answered, channel.answered_us = True, self._us
            if channel.inbound and "sip_full_to" in channel.variables:
                channel.variables["sip_full_to"] += ";tag=switch"  # as of the phone's ACK
            self.fire("CHANNEL_ANSWER", channel)

    def _collected(self, channel: Channel, running: Running, result: str) -> None:
        if channel.pressed:
            channel.variables[running.argument.split(" ")[7]] = channel.pressed
        channel.variables["read_result"] = result
        self._over(channel, running, "_none_")

    def _over(self, channel: Channel, running: Running, response: str) -> None:
        channel.running = None
        channel.variables |= {
            "current_application_response": response, "_last": running.name, "_data": running.argument,
        }  # fmt: skip
        ended = {"Application": running.name, "Application-UUID": running.token}
        self.fire("CHANNEL_EXECUTE_COMPLETE", channel, **ended)

    def _leave(self, channel: Channel) -> None:
        """Its bridge is over: who stays is parked."""
        other = self._parted(channel)
        if other is not None:
            self.fire("CHANNEL_PARK", other)

    def _parted(self, channel: Channel) -> Channel | None:
        other = self.channels.get(channel.bridged)
        channel.bridged = ""
        if other is not None:
            other.bridged = ""
            other.variables["_last"] = "park"
        return other

    def _park(self, channel: Channel, applications: str) -> None:
        running = channel.running
        if running is not None:
            if running.name == "play_and_get_digits":
                self._collected(channel, running, "failure")
            else:
                self._over(channel, running, "_none_")
        other_end = self._parted(channel)
        if other_end is not None and not self.moved_first:
            self.fire("CHANNEL_PARK", other_end)
        name, _, uuid = applications.strip("'").partition(",")[0].partition(":")
        other = self.channels.get(uuid)
        channel.listens = "" if other is None else uuid
        if name == "conference":
            channel.variables |= {"_last": "conference", "_data": uuid}
            came_in = {"Action": "add-member", "Conference-Name": uuid.partition("@")[0]}
            self.fire("conference::maintenance", channel, **came_in)
        elif name == "eavesdrop" and other is not None:
            channel.variables |= {"_last": "eavesdrop", "_data": uuid}
            self.fire("MEDIA_BUG_START", other, **{"Media-Bug-Function": "eavesdrop"})
        else:
            channel.variables["_last"] = "park"
            self.fire("CHANNEL_PARK", channel)
        if other_end is not None and self.moved_first:
            self.fire("CHANNEL_PARK", other_end)

    def _end(self, channel: Channel, cause: str, how: str) -> None:
        del self.channels[channel.uuid]
        for other in [other for other in self.channels.values() if other.listens == channel.uuid]:
            self._park(other, "park")
        if channel.running is not None:
            self._over(channel, channel.running, "_none_")
        self._leave(channel)
        self._end_record(channel)
        if how == "send_bye" and channel.answered and MOVED not in channel.variables:
            self.byes.append(channel.variables.get("sip_call_id", channel.uuid))
        last = {"hangup_cause": cause, "sip_hangup_disposition": how}
        channel.variables |= last
        self.records[channel.uuid] = {
            **channel.variables, "uuid": channel.uuid, "direction": "inbound" if channel.inbound else "outbound",
            "end_uepoch": str(self._us), "progress_uepoch": str(channel.progress_us),
            "answer_uepoch": str(channel.answered_us),
        }  # fmt: skip
        others = self._others(channel)
        if cause == "CALL_REJECTED" and channel.variables.get("fail_on_single_reject") == cause:
            for other in others:
                other.job = ""
                self._end(other, "LOSE_RACE", "send_cancel")
            others = []
        if channel.job and cause != "LOSE_RACE" and not others and not channel.answered and not channel.early:
            self._job(channel.job, f"-ERR {cause}\n")
        self.fire("CHANNEL_HANGUP_COMPLETE", channel, **{"Hangup-Cause": cause})


def _pairs(text: str) -> dict[str, str]:
    """A list of variables."""
    return {name: value.strip("'") for name, value in (pair.split("=", 1) for pair in text.split(",") if pair)}
