"""ESL frames: what real FreeSWITCH sent, in any pieces, and what nobody should send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.wire import esl
from tests.support.traces import Line, traces

AUTH = b"Content-Type: auth/request\n\n"
DESCRIBED = [name for name, trace in traces().items() if trace.lines]


def plain(block: bytes) -> bytes:
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(block), block)


def read(*pieces: bytes) -> list[esl.Frame]:
    reader = esl.EslReader()
    return [frame for piece in pieces for frame in reader.receive_data(piece)]


def event(data: bytes) -> esl.Event:
    [frame] = read(data)
    assert isinstance(frame, esl.Event)
    return frame


def check(frame: esl.Frame, line: Line, legs: dict[str, str]) -> None:
    """A frame against its description in words."""

    def short(value: str | None) -> str:
        for letter, uuid in legs.items():
            value = (value or "").replace(uuid, letter)
        return " ".join((value or "").split())

    match frame:
        case esl.AuthWanted():
            assert line.reply == "auth/request"
        case esl.Reply(text=text):
            # The description has the text as it came; only an outbound `connect` is answered encoded.
            assert (line.reply, line.text.replace("%2B", "+").replace("%0A", "")) == ("command/reply", text)
        case esl.ApiReply(text=text):
            assert line.reply == "api/response"
            assert " ".join(text.split()).startswith(" ".join(line.text.removesuffix("...").split()))
        case esl.Disconnected():
            assert line.reply == "text/disconnect-notice"
        case esl.PlainEvent() | esl.JsonEvent():
            name = frame.get("Event-Name") or ""
            full = f"CUSTOM/{frame.name}" if name == "CUSTOM" else name
            # Fired again by its channel, it has both names; the description took the second.
            full = "PRIVATE_COMMAND" if full == "COMMAND" else full
            leg = next((letter for letter, uuid in legs.items() if uuid == frame.get("Unique-ID")), "-")
            assert (leg, full) == (line.leg, line.name)
            for key, value in line.headers:
                if value.endswith("..."):
                    continue
                seen = frame.body if key == "BODY" else frame.get(key.replace("var:", "variable_"))
                assert short(seen) == value, key
        case _:
            raise AssertionError(frame)


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_trace_reads_as_its_description_says(name: str) -> None:
    trace = traces()[name]
    for frame, line in zip(read(trace.received), trace.lines, strict=True):
        check(frame, line, trace.legs)


@pytest.mark.parametrize("name", sorted(traces()))
def test_every_header_on_demand_is_the_one_of_the_whole_block(name: str) -> None:
    for frame in read(traces()[name].received):
        assert not isinstance(frame, esl.Broken | esl.Other)
        if isinstance(frame, esl.PlainEvent | esl.JsonEvent):
            headers = frame.headers()
            assert len(headers) > 10
            assert {key: frame.get(key) for key in headers} == headers
            assert frame.sequence is not None
            assert frame.get("Event") is None


@given(st.data())
def test_any_pieces_give_the_same_frames(data: st.DataObject) -> None:
    whole = traces()["06c_originate_unregistered"].received
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert [shown(frame) for frame in read(*pieces)] == [shown(frame) for frame in read(whole)]


def test_byte_by_byte() -> None:
    for name in ("01j_inbound_answer_caller_hangup_json", "17_outbound_socket"):
        whole = traces()[name].received
        assert [shown(f) for f in read(*(whole[i : i + 1] for i in range(len(whole))))] == [
            shown(f) for f in read(whole)
        ]


def shown(frame: esl.Frame) -> object:
    return (frame.headers(), frame.body) if isinstance(frame, esl.PlainEvent | esl.JsonEvent) else frame


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_garbage_never_raises_and_after_broken_there_is_nothing(pieces: list[bytes]) -> None:
    reader = esl.EslReader(max_head=100, max_body=100)
    broken = False
    for piece in pieces:
        frames = reader.receive_data(piece)
        assert not (broken and frames)
        broken = broken or any(isinstance(frame, esl.Broken) for frame in frames)
        for frame in frames:
            shown(frame)


HEADS = st.lists(
    st.sampled_from([b"Content-Length: 7\n", b"Content-Type: text/event-json\n", b"Content-Type: command/reply\n"])
    | st.sampled_from([b"Reply-Text: +OK\n", b"\n", b"{}\n", b"Content-Length: x\n", b"Event-Name: HEARTBEAT\n"])
)


@given(HEADS)
def test_near_frames_never_raise(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert [shown(f) for f in read(whole)] == [
        shown(f) for f in read(*(whole[i : i + 3] for i in range(0, len(whole), 3)))
    ]


# ---------------------------------------------------------------- events


def test_a_value_cannot_pass_for_a_header() -> None:
    told = event(plain(b"Event-Name: CHANNEL_PARK\nvariable_x: a%0AUnique-ID: forged%0A\nUnique-ID: real\n\n"))
    assert told.get("Unique-ID") == "real"
    assert told.get("variable_x") == "a\nUnique-ID: forged\n"


def test_a_header_is_not_looked_for_in_the_body() -> None:
    body = b"+OK\nUnique-ID: forged\n"
    told = event(plain(b"Event-Name: BACKGROUND_JOB\nContent-Length: %d\n\n%b" % (len(body), body)))
    assert told.get("Unique-ID") is None
    assert told.body == "+OK\nUnique-ID: forged\n"


def test_the_first_and_the_last_header_are_found_and_no_part_of_a_name() -> None:
    told = event(plain(b"Event-Name: A\nX-Unique-ID: no\nLast: z\n\n"))
    assert (told.get("Event-Name"), told.get("Last"), told.get("Unique-ID"), told.get("Las")) == ("A", "z", None, None)


NAMES = ["Event-Name", "Unique-ID", "variable_x", "Content-Length"]
LINES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["a", "b%0A", ""])), max_size=6)


@given(LINES, st.none() | LINES, st.lists(st.sampled_from([*NAMES, "No"]), max_size=8))
def test_headers_are_found_in_any_order_and_never_in_the_events_own_body(
    headers: list[tuple[str, str]], body: list[tuple[str, str]] | None, asked: list[str]
) -> None:
    """Looking one up does not change where another is looked for."""
    block, own = ("".join(f"{name}: {value}\n" for name, value in lines) for lines in (headers, body or []))
    told = event(plain(f"First: 1\n{block}\n{own}".encode()))
    wanted = dict(reversed([*headers, ("First", "1")]))
    for name in asked:
        assert told.get(name) == (wanted[name].replace("%0A", "\n") if name in wanted else None)
    assert told.body == own


@given(st.data())
def test_a_head_reads_the_same_in_any_order_and_any_pieces(data: st.DataObject) -> None:
    """What is read at a glance, and what is read line by line."""
    bodies = data.draw(st.lists(st.text("ab\n", max_size=5), max_size=4))
    heads = (
        b"Content-Length: %d\nContent-Type: text/event-plain",
        b"Content-Type: text/event-plain\nContent-Length: %d",
    )
    quick, slow = (
        b"".join(head % len(body) + b"\n\n" + body.encode() for body in bodies) + AUTH for head in heads
    )  # fmt: skip
    cuts = sorted(data.draw(st.lists(st.integers(0, len(quick)), max_size=8)))
    pieces = [quick[a:b] for a, b in zip([0, *cuts], [*cuts, len(quick)], strict=True)]
    seen = [shown(frame) for frame in read(slow)]
    assert seen == [shown(frame) for frame in read(quick)] == [shown(frame) for frame in read(*pieces)]
    assert len(seen) == len(bodies) + 1


def test_what_is_no_utf8_and_what_is_no_escape_still_reads() -> None:
    told = event(plain(b"Event-Name: X\nname: J%F6rg \xff 100% %zz\n\n"))
    assert told.get("name") == "J�rg � 100% %zz"


def test_an_array_has_values_and_a_plain_value_is_one() -> None:
    told = event(plain(b"Event-Name: X\na: ARRAY::one|:two%7C|:three\nb: one\n\n"))
    assert told.values("a") == ("one", "two|", "three")
    assert told.values("b") == ("one",)
    assert told.values("c") == ()


def test_an_array_is_the_same_in_json() -> None:
    body = b'{"Event-Name":"X","a":["one","two"],"n":5,"_body":"hello"}'
    told = event(b"Content-Length: %d\nContent-Type: text/event-json\n\n%b" % (len(body), body))
    assert (told.values("a"), told.get("n"), told.body, told.sequence) == (("one", "two"), "5", "hello", None)


@pytest.mark.parametrize("value", [b"", b"12x", b"-1", b"%31", b"\xd9\xa1"])
def test_a_sequence_that_is_no_number_is_none(value: bytes) -> None:
    told = event(plain(b"Event-Name: X\nEvent-Sequence: %b\n\n" % value))
    assert told.sequence == (1 if value == b"%31" else None)


# ---------------------------------------------------------------- frames


def test_replies() -> None:
    frames = read(
        b"Content-Type: command/reply\nReply-Text: +OK Job-UUID: 7\nJob-UUID: 7\n\n"
        b"Content-Type: command/reply\nReply-Text: -ERR invalid\n\n"
        b"Content-Type: api/response\nContent-Length: 9\n\n-ERR no!\n"
        b"Content-Type: api/response\nContent-Length: 0\n\n"
    )
    done, failed, error, nothing = frames
    assert isinstance(done, esl.Reply) and done.ok and done.job == "7"
    assert isinstance(failed, esl.Reply) and not failed.ok and failed.job == ""
    assert isinstance(error, esl.ApiReply) and not error.ok and error.text == "-ERR no!\n"
    assert isinstance(nothing, esl.ApiReply) and nothing.ok and nothing.text == ""


def test_a_linger_notice_is_told_from_the_end() -> None:
    first, second = [f for f in read(traces()["17_outbound_socket"].received) if isinstance(f, esl.Disconnected)]
    assert (first.linger, second.linger) == (True, False)


def test_empty_lines_between_frames_are_passed_over() -> None:
    assert read(AUTH + b"\n\n" + AUTH) == read(AUTH + b"\n", b"\n", AUTH) == [esl.AuthWanted(), esl.AuthWanted()]


def test_not_let_in() -> None:
    assert read(b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n") == [
        esl.Rejected("Access Denied, go away.\n")
    ]


def test_a_frame_that_we_did_not_ask_for() -> None:
    assert read(b"Content-Type: log/data\nContent-Length: 3\nLog-Level: 7\n\nhi\n") == [esl.Other("log/data", "hi\n")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"Event-Name: X\n\n", "NO_CONTENT_TYPE"),
        (b"Content-Type: command/reply\n\n", "NO_REPLY_TEXT"),
        (b"Content-Length: -1\nContent-Type: api/response\n\n", "BAD_LENGTH"),
        (b"Content-Length: 1e3\nContent-Type: api/response\n\n", "BAD_LENGTH"),
        (b"Content-Type: api/response\nContent-Length: \n\n", "BAD_LENGTH"),
        (b"Content-Length: 101\nContent-Type: api/response\n\n", "BAD_LENGTH"),
        (b"Content-Length: 101\nContent-Type: text/event-plain\n\n%b\n\n" % (b"A: b" * 25), "BAD_LENGTH"),
        (b"Content-Length: %s\nContent-Type: api/response\n\n" % (b"9" * 5000), "HEAD_TOO_LONG"),
        (b"A: " + b"b" * 300, "HEAD_TOO_LONG"),
        (b"A: " + b"b" * 300 + b"\n\n", "HEAD_TOO_LONG"),
        (b"Content-Length: 2\nContent-Type: text/event-json\n\n[]", "BAD_JSON"),
        (b"Content-Length: 3\nContent-Type: text/event-json\n\n{x}", "BAD_JSON"),
    ],
)
def test_what_cannot_be_read_breaks_the_connection(data: bytes, reason: str) -> None:
    reader = esl.EslReader(max_head=200, max_body=100)
    first, broken = reader.receive_data(AUTH + data + AUTH)
    assert first == esl.AuthWanted()
    assert isinstance(broken, esl.Broken) and broken.reason == reason
    assert reader.receive_data(AUTH) == []


# ---------------------------------------------------------------- commands


def test_commands() -> None:
    assert esl.command("auth ClueCon") == b"auth ClueCon\n\n"
    assert esl.bgapi("status", "j1") == b"bgapi status\nJob-UUID: j1\n\n"
    assert esl.hang_up("u1", "USER_BUSY") == b"sendmsg u1\ncall-command: hangup\nhangup-cause: USER_BUSY\n\n"
    assert esl.execute("u1", "answer", "") == b"sendmsg u1\ncall-command: execute\nexecute-app-name: answer\n\n"
    assert esl.execute("u1", "playback", "ä\nb", "k1") == (
        b"sendmsg u1\ncall-command: execute\nexecute-app-name: playback\nEvent-UUID: k1\n"
        b"content-type: text/plain\nContent-Length: 4\n\n\xc3\xa4\nb"
    )


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
def test_nobody_can_put_a_second_command_into_one(bad: str) -> None:
    with pytest.raises(esl.BadCommand):
        esl.command(f"api uuid_kill {bad}")
    with pytest.raises(esl.BadCommand):
        esl.command("api status", {"Job-UUID": bad})
    with pytest.raises(esl.BadCommand):
        esl.command("api status", {bad: "x"})
