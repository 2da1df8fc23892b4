"""The configuration: defaults that the documents promise, and what a section refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.runtime.config import Config
from tandem.runtime.settings import BadConfig, load, reference


def test_the_promised_defaults():
    config = load(Config, None, {})
    assert [config.sip.port, config.grpc.port, config.http.port] == [5060, 50051, 8080]
    assert {config.sip.host, config.grpc.host, config.http.host} == {"127.0.0.1"}
    assert (config.data_dir, config.cell, config.live.shards) == (Path("var"), "c1", 4)
    assert (config.media.capacity, config.media.fallback_after_s, config.media.fallback) == (50, 20.0, "apology")
    assert not config.media.allow_node_key_on_disk


def test_paths_follow_the_data_directory():
    config = load(Config, None, {"TANDEM_DATA_DIR": "/srv/t"})
    assert config.log_dir == Path("/srv/t/log")
    assert config.media_link == "unix:/srv/t/run/media.sock"


def test_a_path_that_is_set_stands():
    config = load(Config, None, {"TANDEM_LOG__DIR": "/fast/log", "TANDEM_MEDIA__LINK": "unix:/run/m.sock"})
    assert (config.log_dir, config.media_link) == (Path("/fast/log"), "unix:/run/m.sock")


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"TANDEM_SIP__HOST": "localhost"}, "sip: host 'localhost' is not an IP address; write for example 127.0.0.1"),
        (
            {"TANDEM_MEDIA__RTP_PORT_MIN": "16384"},
            "media: rtp_port_min and rtp_port_max: set both, or both to 0 for any free port",
        ),
        (
            {"TANDEM_MEDIA__RTP_PORT_MIN": "16385", "TANDEM_MEDIA__RTP_PORT_MAX": "16999"},
            "media: rtp_port_min must be even and not above rtp_port_max, not 16385 to 16999",
        ),
        (
            {"TANDEM_MEDIA__CAPCITY": "9"},
            "TANDEM_MEDIA__CAPCITY: there is no such setting; did you mean TANDEM_MEDIA__CAPACITY?",
        ),
        (
            {"TANDEM_MEDIA__BACKEND": "asterisk"},
            "TANDEM_MEDIA__BACKEND: media.backend: Invalid enum value 'asterisk'",
        ),
        (
            {"TANDEM_MEDIA__FREESWITCH__HOST": "192.0.2.1"},
            "TANDEM_MEDIA__FREESWITCH__HOST: media.freeswitch.host: Invalid enum value '192.0.2.1'",
        ),
        ({"TANDEM_CELL": "C 1"}, "TANDEM_CELL: cell: Expected `str` matching regex '^[a-z0-9][a-z0-9-]*$'"),
    ],
)
def test_what_cannot_work_is_refused(variables, problem):
    with pytest.raises(BadConfig) as caught:
        load(Config, None, variables)
    assert caught.value.problems == (problem,)


def test_every_setting_says_what_it_is_for():
    assert all(row.doc.endswith(".") and row.kind for row in reference(Config))


def test_no_secret_can_stand_in_the_tree():
    secret = ("password", "secret", "token", "api_key", "_key")
    assert not [row.name for row in reference(Config) if row.name.endswith(secret)]


CARRIER = {"TANDEM_MEDIA__BACKEND": "freeswitch", "TANDEM_MEDIA__GATEWAYS__NORTH__PROXY": "sip.carrier.test"}


def test_a_carrier_needs_little_and_reaches_nobody_until_told():
    north = load(Config, None, CARRIER).media.gateways["north"]
    assert (north.transport, north.register, north.srtp, north.codecs) == ("udp", False, "no", "PCMA,PCMU")
    assert (north.tenants, north.destinations, north.caller_id) == ("", "", "")


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("NORTH", {"PROXY": "a b"}, "regex"),
        ("NORTH", {"PROXY": "a;transport=udp"}, "regex"),
        ("NORTH", {"PROXY": '"><param'}, "regex"),
        ("NORTH", {"PROXY": "-x"}, "regex"),
        ("NORTH", {"REALM": "carrier.test>"}, "regex"),
        ("NORTH", {"USERNAME": 'acme"'}, "regex"),
        ("NORTH", {"USERNAME": "a@b"}, "regex"),
        ("NORTH", {"USERNAME": "a" * 65}, "regex"),
        ("NORTH", {"CODECS": "PCMA,G729"}, "regex"),
        ("NORTH", {"CALLER_ID": "+49 30"}, "regex"),
        ("NORTH", {"CALLER_ID": "${x}"}, "regex"),
        ("NORTH", {"TENANTS": "t1;t2"}, "regex"),
        ("NORTH", {"DESTINATIONS": "49"}, "regex"),
        ("NORTH", {"INTERNATIONAL": "0"}, "enum"),
        ("NORTH", {"TRANSPORT": "sctp"}, "enum"),
        ("NORTH", {"PORT": "65536"}, "65535"),
        ("NORTH", {"CALLS_MAX": "0"}, "1"),
        ("NORTH", {"PASSWORD": "x"}, "there is no such setting"),
        ("NORTH", {"REGISTER": "true"}, "register needs username and password_file"),
        ("NORTH", {"PASSWORD_FILE": "/p"}, "password_file needs username"),
        ("NORTH", {"SRTP": "mandatory"}, "srtp needs transport"),
        ("NORTH", {"PING_S": "3"}, "ping_s is 5 or more"),
        ("NORTH", {"TENANTS": "t1"}, "set both"),
        ("NORTH", {"DESTINATIONS": "+49"}, "set both"),
        ("EMERGENCY", {"PROXY": "h", "TENANTS": "t1", "DESTINATIONS": "+"}, "emergency calls are the dialplan's"),
        ("SOUTH", {"PORT": "5060"}, "gateways.south: proxy is not set"),
    ],
)
def test_a_carrier_that_cannot_be_is_refused(name, more, says):
    own = {f"TANDEM_MEDIA__GATEWAYS__{name}__{key}": value for key, value in more.items()}
    with pytest.raises(BadConfig, match=says) as caught:
        load(Config, None, CARRIER | own)
    assert len(caught.value.problems) == 1


def test_the_built_in_node_has_no_carriers():
    with pytest.raises(BadConfig, match="the built-in node has none"):
        load(Config, None, CARRIER | {"TANDEM_MEDIA__BACKEND": "builtin"})
