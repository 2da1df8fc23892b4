"""A carrier's file: what FreeSWITCH reads in it, and that it is whole, ours and for nobody else's eyes."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.system import SystemEntropy
from tandem.media.freeswitch import driver
from tandem.media.freeswitch.files import Files
from tandem.media.freeswitch.gateway_files import ForeignFile, GatewayFiles
from tandem.media.freeswitch.gateways import MAX_PASSWORD, NUMBER, Gateway, is_password, token_in

FULL = Gateway(
    "north", "sip.carrier.test", 5061, "carrier.test", "tls", "acme", "p$${sip_ip}\"'<&>%41", True, ("PCMA",),
    "mandatory", "+493012345", False, "00", ("t1",), ("+49", "!+49900", "+499001"), 5, 20,
)  # fmt: skip
PLAIN = Gateway("south", "192.0.2.1")
ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=MAX_PASSWORD)


def read(text: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """Name, parameters and variables, as FreeSWITCH reads them: line by line, includes passed over."""
    lines = [line for line in text.splitlines() if "<include>" not in line and "</include>" not in line]
    gateway = ElementTree.fromstring("\n".join(lines))
    assert gateway.tag == "gateway"
    params, variables = (
        {row.attrib["name"]: row.attrib["value"] for row in gateway.iter(tag)} for tag in ("param", "variable")
    )
    assert {row.attrib["direction"] for row in gateway.iter("variable")} == {"outbound"}
    return gateway.attrib["name"], params, variables


def test_all_that_was_set_stands_in_the_file() -> None:
    name, params, variables = read(FULL.file("aa01"))
    assert name == "north"
    assert params == {
        "proxy": "sip.carrier.test:5061",
        "realm": "carrier.test",
        "from-domain": "carrier.test",
        "register-transport": "tls",
        "register": "true",
        "username": "acme",
        "password": FULL.password,
        "caller-id-in-from": "false",
        "extension": "auto_to_user",
        "ping": "20",
    }
    assert variables == {
        "tandem_gateway": "aa01",
        "absolute_codec_string": "PCMA",
        "rtp_secure_media": "mandatory",
        "outbound_redirect_fatal": "true",
    }


def test_a_carrier_that_knows_our_address_needs_little() -> None:
    _, params, variables = read(PLAIN.file("aa01"))
    assert "username" not in params and "password" not in params and params["register"] == "false"
    assert params["from-domain"] == "192.0.2.1"
    assert "rtp_secure_media" not in variables


def test_an_emergency_call_is_tried_in_any_case() -> None:
    """A gateway that is pinged may be thought to be down, and then nobody is called."""
    _, params, variables = read(replace(PLAIN, name="emergency").file("aa01"))
    assert "ping" not in params and "outbound_redirect_fatal" not in variables


@given(ASCII)
def test_no_password_is_taken_for_anything_else(password: str) -> None:
    text = replace(FULL, password=password).file("aa01")
    assert read(text)[1]["password"] == password
    # What FreeSWITCH's preprocessor looks for, before anybody knows that the file is XML.
    assert "$" not in text and "pre-process" not in text.lower() and "<!--" not in text[4:]
    assert len(text.splitlines()) == len(FULL.file("aa01").splitlines())


@given(st.text(max_size=MAX_PASSWORD + 5))
def test_what_FreeSWITCH_cannot_be_told_is_no_password(password: str) -> None:
    fits = 0 < len(password) <= MAX_PASSWORD and all("!" <= letter <= "~" and letter != ":" for letter in password)
    assert is_password(password) == fits


def test_the_password_does_not_stand_in_the_repr() -> None:
    assert FULL.password not in repr(FULL)


@pytest.mark.parametrize(
    ("number", "reaches"),
    [
        ("+493012345", True),
        ("+4990012345", True),  # +499001 is longer than !+49900
        ("+4990022345", False),
        ("+431234567", False),
        ("+4912345678", True),
    ],
)
def test_the_longest_beginning_decides(number: str, reaches: bool) -> None:
    assert FULL.reaches(number) is reaches
    assert not PLAIN.reaches(number)


def test_a_number_is_dialled_as_the_carrier_takes_it() -> None:
    assert [replace(PLAIN, international=form).dialled("+493012345") for form in ("+", "00", "")] == [
        "+493012345", "00493012345", "493012345",
    ]  # fmt: skip
    assert FULL.serves("t1") and not FULL.serves("t2") and not PLAIN.serves("t1")


@pytest.mark.parametrize(
    "text", ["112", "+112", "493012345", "+0301234567", "+49 30 1", "+49301234567890123", "+4930a"]
)
def test_what_is_no_number(text: str) -> None:
    assert not NUMBER.fullmatch(text)


# ---------------------------------------------------------------------------------- files


def put(home: Path, *gateways: Gateway) -> dict[str, str]:
    return GatewayFiles(home, SystemEntropy()).put(gateways)


def listed(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_a_file_for_each_that_nobody_else_may_read(tmp_path: Path) -> None:
    home = tmp_path / "gateways"
    tokens = put(home, FULL, PLAIN)
    assert listed(home) == ["north.xml", "south.xml"]
    for name, gateway in (("north", FULL), ("south", PLAIN)):
        path = home / f"{name}.xml"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == gateway.file(tokens[name])
        assert token_in(path.read_text()) == tokens[name]


def test_what_has_not_changed_stays_the_version_that_FreeSWITCH_has(tmp_path: Path) -> None:
    first = put(tmp_path, FULL, PLAIN)
    before = (tmp_path / "south.xml").stat().st_ino
    second = put(tmp_path, replace(FULL, password="other"), PLAIN)
    assert second["south"] == first["south"]
    assert (tmp_path / "south.xml").stat().st_ino == before
    assert second["north"] != first["north"]
    assert read((tmp_path / "north.xml").read_text())[1]["password"] == "other"


def test_only_what_is_ours_is_removed(tmp_path: Path) -> None:
    put(tmp_path, FULL, PLAIN)
    (tmp_path / "emergency.xml").write_text('<gateway name="emergency"/>')
    (tmp_path / ".north.new").write_text("half of a file, with a password")
    assert list(put(tmp_path, PLAIN)) == ["south"]
    assert listed(tmp_path) == ["emergency.xml", "south.xml"]


def test_somebody_elses_file_is_not_written_over_and_nothing_else_changes(tmp_path: Path) -> None:
    put(tmp_path, PLAIN)
    foreign = tmp_path / "north.xml"
    foreign.write_text('<gateway name="north"/>')
    with pytest.raises(ForeignFile, match=re.escape(f"media.gateways.north: {foreign} was not written by Tandem")):
        put(tmp_path, FULL)
    assert listed(tmp_path) == ["north.xml", "south.xml"]
    assert foreign.read_text() == '<gateway name="north"/>'


def test_a_file_that_was_changed_by_hand_is_written_anew(tmp_path: Path) -> None:
    token = put(tmp_path, PLAIN)["south"]
    path = tmp_path / "south.xml"
    path.write_text(path.read_text().replace("192.0.2.1", "192.0.2.66"))
    assert put(tmp_path, PLAIN)["south"] != token
    assert "192.0.2.66" not in path.read_text()


def test_where_not_all_can_be_written_none_is(tmp_path: Path) -> None:
    class Dry(SystemEntropy):
        """Fails where a full disk would: between the first file and the second."""

        def secret(self, size: int) -> bytes:
            if (tmp_path / ".north.new").exists():
                raise OSError(28, "No space left on device")
            return super().secret(size)

    put(tmp_path, FULL)
    before = (tmp_path / "north.xml").read_text()
    with pytest.raises(OSError, match="No space left"):
        GatewayFiles(tmp_path, Dry()).put([replace(FULL, port=5099), PLAIN])
    assert (tmp_path / "north.xml").read_text() == before
    put(tmp_path, FULL)
    assert listed(tmp_path) == ["north.xml"]


def test_a_directory_that_cannot_be_written_keeps_nobody_from_calling(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "full").write_text("no directory")
    places = Files(tmp_path, tmp_path, cast("Any", None), SystemEntropy(), tmp_path / "full" / "gateways")
    assert driver._first_put(places, [PLAIN]) is None
    assert "FreeSWITCH keeps those it has" in caplog.text
