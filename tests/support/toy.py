"""A toy service whose aggregates do what a command's script says: the runtime's test bench.

A script is pieces joined by `;`. Each piece becomes one event, except those that stop the
decision itself (`raise`, `reject`). In a nested script `,` stands for `;`.

    say:x            remember a word             act:name          order something of the node
    settle:name      end an effect               wake:name:at      a timer that says `woke-name`
    tell:to:script   a message                   ask:to:script     the same, `say:gone` comes back if nobody is there
    hop:k            tell `toy/hop` `hop:k-1`    answer            the reply to a client
    over             the end of the aggregate    boom, bang        raise in evolve, in react
    ended:x          the leg x is over, as a quarantined `ward` understands it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue

from tandem.core.decider import (
    Act,
    Action,
    Answer,
    Context,
    EffectEnded,
    Kind,
    Refusal,
    Rescue,
    Settle,
    Tell,
    Wake,
)
from tandem.core.errors import NOT_IN_USE, Rejected
from tandem.core.ports import media
from tandem.internal.session.v1 import session_pb2
from tandem.runtime.codec import Codec
from tandem.runtime.service import Group, Service
from tandem.session.domain.words import MediaOrder

NODE = "m1"


@dataclass(frozen=True, slots=True)
class Do:
    """A script."""

    value: str


@dataclass(frozen=True, slots=True)
class Did:
    """One piece of it."""

    value: str


@dataclass(frozen=True, slots=True)
class Said:
    """The reply."""

    value: str


@dataclass(frozen=True, slots=True)
class Toy:
    """What was said so far."""

    words: tuple[str, ...] = ()
    over: bool = False


def decide(state: Toy, command: Any, context: Context) -> Sequence[Did]:
    if isinstance(command, EffectEnded):
        return (Did(f"say:{command.name or 'late'}-{command.outcome}"),)
    pieces = [piece for piece in command.value.split(";") if piece]
    if "raise" in pieces:
        raise ZeroDivisionError("as the script said")
    if "reject" in pieces:
        raise Rejected(NOT_IN_USE, "as the script said")
    return [Did(f"say:{context.unique}" if piece == "unique" else piece) for piece in pieces]


def evolve(state: Toy, event: Did) -> Toy:
    match event.value.split(":", 1):
        case ["say", word]:
            return replace(state, words=(*state.words, word))
        case ["over"]:
            return replace(state, over=True)
        case ["boom"]:
            raise ZeroDivisionError("as the script said")
        case _:
            return state


def react(state: Toy, event: Did) -> Sequence[Action]:
    word, *rest = event.value.split(":")
    match word:
        case "act":
            return (Act(rest[0], "media", MediaOrder(NODE, rest[0], media.Play((rest[0],))), 5000),)
        case "call":
            return (Act(rest[0], "hook", MediaOrder("", rest[0], media.Play((rest[0],))), 5000),)
        case "settle":
            return (Settle(rest[0]),)
        case "wake":
            return (Wake(rest[0], int(rest[1]), Do(f"say:woke-{rest[0]}")),)
        case "tell":
            return (Tell(rest[0], Do(":".join(rest[1:]).replace(",", ";"))),)
        case "ask":
            return (Tell(rest[0], Do(":".join(rest[1:]).replace(",", ";")), gone=Do("say:gone")),)
        case "hop" if int(rest[0]) > 0:
            return (Tell("toy/hop", Do(f"hop:{int(rest[0]) - 1}"), gone=Do("say:gone")),)
        case "answer":
            return (Answer(Said(" ".join(state.words))),)
        case "bang":
            raise ZeroDivisionError("as the script said")
        case _:
            return ()


def _recover(refusal: Refusal, now_ms: int) -> Do:
    asked = refusal.command.value if isinstance(refusal.command, Do) else "unread"
    return Do("raise" if "frail" in asked else f"say:recovered-{refusal.type}-{refusal.why}")


def _about(stream: str, command: Any) -> str:
    """A request that names a leg is about it."""
    found = [piece for piece in command.value.split(";") if piece.startswith("say:about-")]
    return found[0].removeprefix("say:about-") if found else ""


RESCUE = Rescue(
    recover=_recover,
    part=lambda state, stream, now_ms: (
        Tell("toy/desk", Do(f"say:left-{stream[5:]}")),
        Act("down", "media", MediaOrder(NODE, stream, media.HangUp(media.Cause.FAILED)), 5000),
    ),
    leg_over=lambda stream, leg, rest, guessed, now_ms: (Tell("toy/desk", Do(f"say:free-{leg}-{len(rest)}")),),
    over=lambda command: command.value.removeprefix("ended:") if isinstance(command, Do) else "",
    about=_about,
)


def _kind(name: str, *, starts: bool = True, sealed: bool = False, rescue: Rescue | None = None) -> Kind:
    return Kind(
        name=name,
        start=Toy,
        starts=(Do,) if starts else (),
        decide=decide,
        evolve=evolve,
        react=react,
        over=lambda state: state.over,
        sealed=sealed,
        legs=lambda state: tuple((NODE, word[4:]) for word in state.words if word.startswith("leg-")),
        states=(Toy,),
        rescue=rescue,
    )


def service() -> Service:
    """`toy` begins with any script, `vault` too and has a data key, `nobody` never begins, `ward` has
    a rescue."""
    return Service(
        name="toy",
        kinds=(_kind("toy"), _kind("vault", sealed=True), _kind("nobody", starts=False), _kind("ward", rescue=RESCUE)),
        events=Codec(("toy.did", Did, StringValue)),
        commands=Codec(("toy.do", Do, StringValue)),
        messages=Codec(("toy.do", Do, StringValue)),
        effects=Codec(("toy.order", MediaOrder, session_pb2.MediaOrder)),
        replies=Codec(("toy.said", Said, StringValue)),
        missing_leg=lambda node, leg, now_ms: Do(f"say:lost-{leg}"),
    )


def toy_group(shape: str = "toy") -> Group:
    """The toys alone; streams of the kind `far` are another group's."""
    return Group("toys", (service(),), {"far": "elsewhere"}, shape)
