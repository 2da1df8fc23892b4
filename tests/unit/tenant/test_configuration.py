"""A tenant's configuration: what is taken, what is refused and why, and who hears of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.decider import Context, EffectEnded
from tandem.core.destroy import DestroyKeys
from tandem.core.errors import (
    BAD_FIELD,
    BAD_FLOW,
    ETAG_MISMATCH,
    IN_USE,
    LIMIT_REACHED,
    NAME_TAKEN,
    UNKNOWN_NAME,
    Rejected,
)
from tandem.core.flow import AnswerStep, FlowStep, HangUpStep, MenuOption, MenuStep, QueueStep, SkillNeed
from tandem.core.ports.media import Outcome
from tandem.core.seal import AUDIO, Erased, Sealed, Secret, Withheld
from tandem.runtime.canonical import Canonical
from tandem.tenant.domain import configuration, decide
from tandem.tenant.domain import words as w
from tandem.tenant.domain.cell import Deleted
from tests.support.late_snapshot import changed_rows

PROMPTS = ("welcome", "bye", "music")
QUEUE = w.CreateQueue("sales", "Sales", 15_000, 5000)
AGENT = w.CreateAgent(
    "ann",
    Secret(b"Ann Example"),
    ("sales",),
    (SkillNeed("french", 50),),
    "ann.red",
    "realm",
    Secret(b"m"),
    Secret(b"s"),
    "try-1",
)
STEPS = (
    FlowStep("hello", AnswerStep("line")),
    FlowStep("line", QueueStep("sales", (), 0, (), "music", 0, "")),
)
FLOW = w.CreateFlow("main", "Main", STEPS, PROMPTS)
NUMBER = w.CreateNumber("1000", "Hotline", "main")


def rejected(config: Any, command: Any) -> Rejected:
    before = config.state
    with pytest.raises(Rejected) as caught:
        config.do(command)
    assert config.state is before
    return caught.value


def filled(config: Any) -> Any:
    """A queue, its agent, a published flow and a number."""
    for command in (QUEUE, AGENT, FLOW, w.PublishFlow("main", "", PROMPTS), NUMBER):
        config.do(command)
    return config


# ------------------------------------------------------------------- queues


def test_a_new_queue_is_told_to_the_desk(config: Any) -> None:
    queue = config.do(QUEUE)
    assert queue.queue == "sales"
    assert config.told == [("desk", w.TellQueue("sales", queue.version, 15_000, 5000, False))]


def test_an_update_changes_the_named_fields_alone(config: Any) -> None:
    old = config.do(QUEUE)
    config.now_ms += 1000
    new = config.do(w.UpdateQueue("sales", "", ("wrap_up_ms",), "ignored", 1, 9000))
    assert new == replace(old, wrap_up_ms=9000, version=old.version + 1, updated_ms=old.updated_ms + 1000)


def test_an_update_with_another_etag_is_refused(config: Any) -> None:
    queue = config.do(QUEUE)
    config.do(w.UpdateQueue("sales", f'"{queue.version}"', ("wrap_up_ms",), "", 0, 1))
    error = rejected(config, w.UpdateQueue("sales", f'"{queue.version}"', ("wrap_up_ms",), "", 0, 2))
    assert error.reason is ETAG_MISMATCH


def test_a_queue_made_anew_is_newer_than_the_one_deleted(config: Any) -> None:
    first = config.do(QUEUE)
    config.do(w.DeleteQueue("sales", ""))
    assert config.told[-1] == ("desk", w.TellQueue("sales", first.version + 1, 0, 0, True))
    assert config.do(QUEUE).version > first.version + 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"queue": "Sales"}, "queue_id"),
        ({"display_name": "x" * 101}, "display_name"),
        ({"display_name": "a\nb"}, "display_name"),
        ({"ring_timeout_ms": 0}, "ring_timeout"),
        ({"ring_timeout_ms": 120_001}, "ring_timeout"),
        ({"wrap_up_ms": -1}, "wrap_up"),
        ({"wrap_up_ms": 3_600_001}, "wrap_up"),
    ],
)
def test_a_bad_queue_is_refused_with_the_path(config: Any, change: dict[str, Any], path: str) -> None:
    error = rejected(config, replace(QUEUE, **change))
    assert error.reason is BAD_FIELD
    assert list(error.metadata) == [path]
    assert path in str(error)


def test_ids_are_taken_once_and_limits_hold(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "MAX_QUEUES", 2)
    config.do(QUEUE)
    assert rejected(config, QUEUE).reason is NAME_TAKEN
    config.do(replace(QUEUE, queue="other"))
    assert rejected(config, replace(QUEUE, queue="third")).reason is LIMIT_REACHED


# ------------------------------------------------------------------- agents


def test_a_new_agent_is_told_to_the_desk_and_the_device_to_the_reception(config: Any) -> None:
    config.do(QUEUE)
    config.told.clear()
    saved = config.do(AGENT)
    assert saved.attempt == "try-1"
    (to_desk, agent), (to_reception, device) = config.told
    assert (to_desk, to_reception) == ("desk", "reception")
    assert agent == w.TellAgent("ann", agent.version, ("sales",), (SkillNeed("french", 50),), ("ann.red",), False)
    assert device == w.TellDevice("ann.red", device.version, "ann", "realm", Secret(b"m"), Secret(b"s"), False)


def test_an_update_keeps_the_name_and_the_device_s_secret(config: Any) -> None:
    config.do(QUEUE)
    config.do(AGENT)
    saved = config.do(w.UpdateAgent("ann", "", ("queues",), Secret(b"ignored"), (), ()))
    assert saved.agent.queues == ()
    assert saved.display_name == AGENT.display_name
    assert config.state.agents["ann"].ha1_md5 == Secret(b"m")


def test_another_secret_is_told_to_the_reception_alone(config: Any) -> None:
    config.do(QUEUE)
    config.do(AGENT)
    config.told.clear()
    saved = config.do(w.ResetSecret("ann", "realm", Secret(b"m2"), Secret(b"s2"), "try-2"))
    assert saved.attempt == "try-2"
    ((stream, device),) = config.told
    assert (stream, device.ha1_md5) == ("reception", Secret(b"m2"))


def test_a_deleted_agent_s_device_is_withdrawn(config: Any) -> None:
    config.do(QUEUE)
    config.do(AGENT)
    config.told.clear()
    assert config.do(w.DeleteAgent("ann", "")) == Deleted()
    assert [(stream, message.deleted) for stream, message in config.told] == [("desk", True), ("reception", True)]
    assert config.told[1][1].device == "ann.red"


def test_a_person_s_key_is_destroyed_with_the_agent(config: Any) -> None:
    config.do(QUEUE)
    config.do(AGENT)
    key = config.state.agents["ann"].key_id
    assert key
    config.do(w.ResetSecret("ann", "realm", Secret(b"m2"), Secret(b"s2"), "try-2"))
    assert config.state.agents["ann"].key_id == key
    config.do(w.DeleteAgent("ann", ""))
    ((name, kind, payload),) = config.effects
    assert (kind, payload) == ("erase", DestroyKeys((key, key + AUDIO)))
    assert config.do(EffectEnded(name, Outcome.DONE)) == Deleted()
    assert config.events[-1] == w.AgentErased("ann", config.now_ms)


def test_an_agent_of_an_older_release_has_the_tenant_s_key_which_stays(config: Any) -> None:
    body = w.AgentBody("old", (), (), "old.red", 1, 1, 1)
    config.state = config.kind.evolve(config.state, w.AgentCreated(body, Secret(b"Old"), ""))
    for command in (
        w.UpdateAgent("old", "", ("display_name",), Secret(b"Older"), (), ()),
        w.ResetSecret("old", "realm", Secret(b"m2"), Secret(b"s2"), "try-2"),
    ):
        assert config.kind.person(config.state, command) is None
        config.do(command)
    assert config.do(w.DeleteAgent("old", "")) == Deleted()
    assert config.effects == []


def test_who_is_unknown_or_there_already_gets_no_key(config: Any) -> None:
    config.do(QUEUE)
    config.do(AGENT)
    assert config.kind.person(config.state, AGENT) is None
    assert config.kind.person(config.state, w.ResetSecret("x", "", Secret(b""), Secret(b""), "")) is None
    assert config.kind.person(config.state, QUEUE) is None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"agent": "ann.b"}, "agent_id"),
        ({"agent": "a" * 33}, "agent_id"),
        ({"display_name": Secret(b"x" * 101)}, "display_name"),
        ({"queues": ("sales", "nope")}, "queues[1]"),
        ({"queues": ("tenants/blue/queues/sales",)}, "queues[0]"),
        ({"queues": ("sales", "sales")}, "queues[1]"),
        ({"queues": ("sales",) * 101}, "queues"),
        ({"skills": (SkillNeed("french", 101),)}, "skills[0].level"),
        ({"skills": (SkillNeed("french", 1), SkillNeed("french", 2))}, "skills[1].skill"),
        ({"skills": (SkillNeed("", 1),)}, "skills[0].skill"),
    ],
)
def test_a_bad_agent_is_refused_with_the_path(config: Any, change: dict[str, Any], path: str) -> None:
    config.do(QUEUE)
    error = rejected(config, replace(AGENT, **change))
    assert error.reason is BAD_FIELD
    assert path in error.metadata


# ------------------------------------------------------------------- flows and numbers


def test_publishing_makes_the_next_version_and_callers_get_that(config: Any) -> None:
    config.do(QUEUE)
    config.do(FLOW)
    assert config.told[-1][0] == "desk"  # a draft is nobody's business
    config.do(w.PublishFlow("main", "", PROMPTS))
    assert config.told[-1] == ("reception", w.TellFlow("main", 1, STEPS))
    shorter = (FlowStep("bye", HangUpStep(())),)
    config.do(w.UpdateFlow("main", "", ("steps",), "", shorter, PROMPTS))
    assert config.state.flows["main"].published_steps == STEPS
    config.do(w.PublishFlow("main", "", PROMPTS))
    assert config.told[-1] == ("reception", w.TellFlow("main", 2, shorter))


def test_a_bad_flow_is_refused_with_the_path_of_each_fault(config: Any) -> None:
    menu = MenuStep(("welcome",), (MenuOption("1", "nowhere"), MenuOption("1", "menu")), 5000, 0, (), (), "menu")
    steps = (FlowStep("hello", AnswerStep("menu")), FlowStep("menu", menu))
    error = rejected(config, w.CreateFlow("main", "", steps, PROMPTS))
    assert error.reason is BAD_FLOW
    assert set(error.metadata) == {
        "steps[1].menu.options[0].next",
        "steps[1].menu.options[1].digit",
        "steps[1].menu.tries",
    }
    assert "steps[1].menu" in str(error)


def test_fault_paths_are_those_of_the_api(config: Any) -> None:
    menu = MenuStep((), (MenuOption("1", "menu"),), 0, 1, (), (), "menu")
    error = rejected(
        config, w.CreateFlow("main", "", (FlowStep("a", AnswerStep("menu")), FlowStep("menu", menu)), PROMPTS)
    )
    assert "steps[1].menu.timeout" in error.metadata


def test_a_prompt_that_went_away_stops_publishing(config: Any) -> None:
    config.do(QUEUE)
    config.do(FLOW)
    error = rejected(config, w.PublishFlow("main", "", ("welcome",)))
    assert list(error.metadata) == ["steps[1].queue.music"]


def test_a_number_leads_to_a_published_flow(config: Any) -> None:
    config.do(QUEUE)
    assert "no flow" in rejected(config, NUMBER).metadata["flow"]
    config.do(FLOW)
    assert "publish" in rejected(config, NUMBER).metadata["flow"]
    config.do(w.PublishFlow("main", "", PROMPTS))
    number = config.do(NUMBER)
    assert config.told[-1] == ("reception", w.TellNumber("1000", number.version, "main", False))
    config.do(w.DeleteNumber("1000", ""))
    assert config.told[-1][1].deleted


def test_what_is_in_use_is_not_deleted(config: Any) -> None:
    filled(config)
    flow = rejected(config, w.DeleteFlow("main", ""))
    assert (flow.reason, flow.metadata["user"], flow.metadata["path"]) == (IN_USE, "tenants/red/numbers/1000", "flow")
    by_agent = rejected(config, w.DeleteQueue("sales", ""))
    assert (by_agent.metadata["user"], by_agent.metadata["path"]) == ("tenants/red/agents/ann", "queues[0]")
    config.do(w.DeleteAgent("ann", ""))
    by_flow = rejected(config, w.DeleteQueue("sales", ""))
    assert (by_flow.metadata["user"], by_flow.metadata["path"]) == (
        "tenants/red/flows/main",
        "steps[1].queue.queue",
    )
    config.do(w.UpdateFlow("main", "", ("steps",), "", (FlowStep("bye", HangUpStep(())),), PROMPTS))
    by_callers = rejected(config, w.DeleteQueue("sales", ""))
    assert by_callers.metadata["path"] == "published_steps[1].queue.queue"
    config.do(w.DeleteNumber("1000", ""))
    config.do(w.DeleteFlow("main", ""))
    assert config.do(w.DeleteQueue("sales", "")) == Deleted()


@pytest.mark.parametrize(
    "command",
    [
        w.UpdateQueue("x", "", (), "", 0, 0),
        w.DeleteQueue("x", ""),
        w.UpdateAgent("x", "", (), Secret(b""), (), ()),
        w.ResetSecret("x", "", Secret(b""), Secret(b""), ""),
        w.DeleteAgent("x", ""),
        w.UpdateNumber("x", "", (), "", ""),
        w.DeleteNumber("x", ""),
        w.UpdateFlow("x", "", (), "", (), ()),
        w.PublishFlow("x", "", ()),
        w.DeleteFlow("x", ""),
    ],
)
def test_unknown_ids_get_one_answer(config: Any, command: Any) -> None:
    error = rejected(config, command)
    assert (error.reason, str(error), error.metadata) == (UNKNOWN_NAME, "there is no such resource", {})


# ------------------------------------------------------------------- any history

ids = st.sampled_from(["sales", "support", "main"])
etags = st.sampled_from(["", '"1"', '"5"'])
names = st.sampled_from(["", "Name", "x" * 101])
steps = st.sampled_from([(), STEPS, (FlowStep("bye", HangUpStep(())),)])
any_queues = st.lists(ids, max_size=3).map(tuple)
private = st.just(Withheld())
commands = st.one_of(
    st.builds(w.CreateQueue, ids, names, st.sampled_from([0, 1000]), st.just(0)),
    st.builds(w.UpdateQueue, ids, etags, st.just(("display_name",)), names, st.just(0), st.just(0)),
    st.builds(w.DeleteQueue, ids, etags),
    st.builds(w.CreateAgent, ids, private, any_queues, st.just(()), ids, st.just("r"), private, private, st.just("t")),
    st.builds(w.UpdateAgent, ids, etags, st.just(("queues",)), private, any_queues, st.just(())),
    st.builds(w.ResetSecret, ids, st.just("r"), private, private, st.just("t")),
    st.builds(w.DeleteAgent, ids, etags),
    st.builds(w.CreateNumber, st.sampled_from(["10", "11"]), names, ids),
    st.builds(w.UpdateNumber, st.sampled_from(["10", "11"]), etags, st.just(("flow",)), names, ids),
    st.builds(w.DeleteNumber, st.sampled_from(["10", "11"]), etags),
    st.builds(w.CreateFlow, ids, names, steps, st.just(PROMPTS)),
    st.builds(w.UpdateFlow, ids, etags, st.just(("steps",)), names, steps, st.just(PROMPTS)),
    st.builds(w.PublishFlow, ids, etags, st.just(PROMPTS)),
    st.builds(w.DeleteFlow, ids, etags),
)


@given(st.lists(commands, max_size=40))
def test_nothing_that_is_named_is_ever_missing(history: list[Any]) -> None:
    state = w.Configuration()
    for command in history:
        context = Context("red", "configuration", 1, "u", None, lambda label: Secret(b""))
        try:
            events = decide.decide(state, command, context)
        except Rejected:
            continue
        version = state.version
        for event in events:
            before, state = state, configuration.evolve(state, event)
            configuration.react(state, event)
            assert changed_rows(configuration.ROWS, before, state) <= set(configuration.ROWS.touched(event))
        assert state.version > version
    for agent in state.agents.values():
        assert set(agent.body.queues) <= set(state.queues)
    for number in state.numbers.values():
        assert state.flows[number.flow].published
    for flow in state.flows.values():
        for step in (*flow.steps, *flow.published_steps):
            assert not isinstance(step.body, QueueStep) or step.body.queue in state.queues
    canonical = Canonical(Sealed, Withheld, Erased, *configuration.KIND.states)
    assert configuration.ROWS.load(canonical.decode(canonical.encode(configuration.ROWS.dump(state)))) == state
