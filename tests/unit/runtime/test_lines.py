"""Log lines: one form for all loggers, and whoever speaks of a contact names it and its trace."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tandem.core import trace
from tandem.runtime.telemetry.lines import about_a_contact

CONTACT = "4tceldeyxhscryc7vu2fothujq"
TRACE = trace.trace_id(trace.begin(CONTACT, 1.0))


@pytest.mark.parametrize(
    "line",
    [
        {"contact": CONTACT},
        {"event": "input refused", "what": f"TakeCall to contact/{CONTACT} was refused"},
        {"event": "input refused", "stream": f"contact/{CONTACT}"},
        {"event": f"contact/{CONTACT} is in quarantine"},
    ],
)
def test_a_line_about_a_contact_names_it_and_its_trace(line):
    said = about_a_contact(None, "error", dict(line))
    assert (said["contact"], said["trace"]) == (CONTACT, TRACE)


def test_a_trace_that_is_given_stays_and_other_lines_are_left_alone():
    assert about_a_contact(None, "info", {"contact": CONTACT, "trace": "t"})["trace"] == "t"
    for line in ({"event": "media node up", "node": "m1"}, {"event": "x", "what": "desk"}, {"event": 5}):
        assert about_a_contact(None, "info", dict(line)) == line


PROGRAM = f"""
import logging, structlog
from tandem.runtime.lifecycle import log_to_stderr
log_to_stderr("{{form}}")
structlog.get_logger().error("input refused", what="contact/{CONTACT}")
logging.getLogger("tandem.media").error("the audio of leg %s failed", "x", extra={{{{"contact": "{CONTACT}"}}}})
logging.getLogger("grpc").info("from a library")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("it failed")
"""


def printed(form):
    program = PROGRAM.format(form=form)
    return (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        .stderr.strip()
        .splitlines()
    )


def test_every_line_is_json_where_that_is_wanted():
    lines = [json.loads(line) for line in printed("json")]
    assert [line["event"] for line in lines] == [
        "input refused",
        "the audio of leg x failed",
        "from a library",
        "it failed",
    ]
    assert [line.get("trace") for line in lines] == [TRACE, TRACE, None, None]
    assert [line.get("name") for line in lines] == [None, "the audio of leg %s failed", None, None]
    assert {line["level"] for line in lines} == {"error", "info"}
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert "ZeroDivisionError" in lines[-1]["exception"]


def test_lines_for_people_come_in_one_form_too():
    lines = printed("text")
    assert lines[0].startswith("timestamp='")
    assert f"contact='{CONTACT}'" in lines[0]
    assert lines[1].startswith("timestamp='")
