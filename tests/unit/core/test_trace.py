"""Trace contexts: derived, sampled once, taken from callers only if they are well formed."""

from __future__ import annotations

import pytest

from tandem.core import trace

CONTACT = "k3v5x7z2abcdefgh"


def test_a_contact_has_one_trace_wherever_it_is_asked_for():
    context = trace.begin(CONTACT, 1.0)
    assert context == trace.begin(CONTACT, 1.0)
    assert trace.taken(context) == context
    assert context == f"00-{trace.trace_id(context)}-{trace.span_id(context)}-01"
    assert trace.trace_id(trace.begin("another", 1.0)) != trace.trace_id(context)


def test_children_stay_in_the_trace_and_differ():
    context = trace.begin(CONTACT, 1.0)
    first, second = trace.child(context, "a"), trace.child(context, "b")
    assert trace.trace_id(first) == trace.trace_id(second) == trace.trace_id(context)
    assert len({trace.span_id(each) for each in (context, first, second)}) == 3
    assert trace.child(first, "b") == second, "what a span is of names it, not who asks"


def test_the_ratio_is_the_part_that_is_traced():
    contacts = [f"contact-{number}" for number in range(4000)]
    assert not any(trace.begin(contact, 0.0) for contact in contacts)
    assert all(trace.begin(contact, 1.0) for contact in contacts)
    tenth = {contact for contact in contacts if trace.begin(contact, 0.1)}
    assert 300 < len(tenth) < 500
    assert tenth <= {contact for contact in contacts if trace.begin(contact, 0.2)}, (
        "a higher ratio adds, and swaps none"
    )


GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        GOOD.upper(),
        GOOD.replace("00-", "ff-", 1),
        GOOD[:-2] + "00",
        "00-" + "0" * 32 + GOOD[35:],
        GOOD[:36] + "0" * 16 + "-01",
        GOOD.replace("af", "аf"),  # a Cyrillic letter
    ],
)
def test_what_is_no_context_or_asks_for_nothing_is_not_taken(text):
    assert trace.taken(text) == ""


def test_a_callers_context_is_taken():
    assert trace.taken(GOOD) == GOOD
    assert trace.taken(GOOD[:-2] + "03") == GOOD[:-2] + "03"
