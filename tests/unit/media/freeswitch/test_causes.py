"""Every cause of the switch's has a word of ours, and what we ask for reads back as we meant it."""

from __future__ import annotations

import pytest

from tandem.core.ports.media import By, Cause
from tandem.media.freeswitch.causes import cause_of, ended, name_of
from tandem.wire.esl import JsonEvent

LOSSY = {
    Cause.MEDIA_LOST: Cause.UNREACHABLE,
    Cause.FALLBACK: Cause.UNREACHABLE,
    Cause.MOVED: Cause.NORMAL,
}
"""The first two are 503 with a temporary failure on the wire, as on the built-in node; the last is told to nobody."""


@pytest.mark.parametrize("cause", Cause)
def test_a_cause_survives_the_way_there_and_back(cause: Cause) -> None:
    assert cause_of(name_of(cause)) is LOSSY.get(cause, cause)


def test_a_word_that_nobody_knows_is_a_failure() -> None:
    assert cause_of("WRONG_CALL_STATE") is Cause.FAILED


def end(cause: str, disposition: str, direction: str = "outbound", **more: str) -> JsonEvent:
    return JsonEvent(
        {"Hangup-Cause": cause, "Call-Direction": direction, "variable_sip_hangup_disposition": disposition, **more}
    )


@pytest.mark.parametrize(
    ("event", "rang", "answered", "cause", "by"),
    [
        (end("NO_ANSWER", "send_cancel"), True, False, Cause.NO_ANSWER, By.NODE),
        (end("NO_ANSWER", "send_cancel"), False, False, Cause.UNREACHABLE, By.NODE),
        (end("NO_USER_RESPONSE", "recv_refuse"), False, False, Cause.NO_ANSWER, By.FAR),
        # A port where nothing listens: the switch makes up a 503.
        (end("NORMAL_TEMPORARY_FAILURE", "recv_refuse"), False, False, Cause.UNREACHABLE, By.NODE),
        (end("CALL_REJECTED", "recv_refuse"), True, False, Cause.DECLINED, By.FAR),
        (end("NORMAL_CLEARING", "recv_bye"), True, True, Cause.NORMAL, By.FAR),
        (end("MEDIA_TIMEOUT", "send_bye", "inbound"), False, True, Cause.NO_MEDIA, By.NODE),
        (end("ORIGINATOR_CANCEL", "recv_cancel", "inbound"), False, False, Cause.CANCELED, By.FAR),
    ],
)
def test_who_ended_a_call_and_why(event: JsonEvent, rang: bool, answered: bool, cause: Cause, by: By) -> None:
    assert ended(event, rang=rang, answered=answered)[:2] == (cause, by)


def test_the_status_is_for_people() -> None:
    assert ended(end("USER_BUSY", "recv_refuse", variable_sip_term_status="486"), rang=True, answered=False)[2] == (
        "USER_BUSY, SIP 486"
    )
