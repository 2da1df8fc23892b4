"""Records of the log <-> bytes (protos/tandem/internal/log/v1)."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from google.protobuf.message import DecodeError

from tandem.core.commit import Claim, Commit, Effect, Ended, Envelope, Input, Mark, Message, Part, Record, Reply
from tandem.core.seal import Private, Sealed, Secret, Withheld
from tandem.internal.log.v1 import log_pb2 as pb
from tandem.runtime.codec import private_from_proto, sealed_or_withheld


class BadRecord(Exception):
    """Bytes in the log that are no record: damage, or a log that is not Tandem's."""


# Nested messages are written as dicts, without what stands at its default: the library sets them in
# place, a third quicker than messages that are made and copied.


def _part_to(part: Part) -> dict[str, Any]:
    if not part.private:
        return {"type": part.type, "clear": part.clear}
    private = [{"field": number, "value": _private_to(value)} for number, value in part.private]
    return {"type": part.type, "clear": part.clear, "private": private}


def _private_to(value: Private) -> dict[str, Any]:
    match sealed_or_withheld(value):
        case Sealed(key, nonce, aad, data):
            return {"sealed": {"key": key, "nonce": nonce, "aad": aad, "data": data}}
        case Withheld():
            return {"withheld": {}}


def _input_to(i: Input) -> dict[str, Any]:
    found = {
        "source": i.source,
        "number": i.number,
        "tenant": i.tenant,
        "stream": i.stream,
        "time_ms": i.time_ms,
        "part": _part_to(i.part),
    }
    for name, value in (
        ("key", i.key),
        ("actor", i.actor),
        ("trace", i.trace),
        ("refused", i.refused),
        ("settles", i.settles),
        ("sender", i.sender),
        ("gone", None if i.gone is None else _part_to(i.gone)),
    ):
        if value:
            found[name] = value
    return found


def _envelope_to(e: Envelope) -> dict[str, Any]:
    found = {
        "event_id": e.event_id,
        "tenant": e.tenant,
        "stream": e.stream,
        "version": e.version,
        "time_ms": e.time_ms,
        "cause": e.cause,
        "part": _part_to(e.part),
    }
    for name, value in (("actor", e.actor), ("trace", e.trace), ("settles", e.settles)):
        if value:
            found[name] = value
    return found


def _part(message: pb.Part) -> Part:
    type_, clear, private = _PART(message)
    if not private:
        return Part(type_, clear)
    return Part(type_, clear, tuple([(field.field, _written(private_from_proto(field.value))) for field in private]))


def _written(value: Private) -> Sealed | Withheld:
    if isinstance(value, Secret):
        raise BadRecord("a record with a private value in plain")
    return sealed_or_withheld(value)


def encode(record: Record) -> bytes:
    """The record's bytes. Raises TypeError if a part holds plaintext."""
    if isinstance(record, Claim):
        claim = pb.Claim(epoch=record.epoch, owner=record.owner, shape=record.shape)
        return pb.Record(claim=claim).SerializeToString()
    commit: Any = {
        "epoch": record.epoch,
        "n": record.n,
        "shard_time_ms": record.shard_time_ms,
        "boot_id": record.boot_id,
        "boottime_ms": record.boottime_ms,
        "engine": record.engine,
        "inputs": [_input_to(taken) for taken in record.inputs],
        "marks": [{"source": m.source, "tenant": m.tenant, "number": m.number} for m in record.marks],
        "events": [_envelope_to(event) for event in record.events],
        "effects": [
            {
                "key": e.key,
                "tenant": e.tenant,
                "stream": e.stream,
                "name": e.name,
                "kind": e.kind,
                "at_ms": e.at_ms,
                "part": _part_to(e.part),
            }
            for e in record.effects
        ],
        "messages": [
            {
                "group": m.group,
                "tenant": m.tenant,
                "stream": m.stream,
                "sender": m.sender,
                "part": _part_to(m.part),
                "gone": None if m.gone is None else _part_to(m.gone),
                "trace": m.trace,
            }
            for m in record.messages
        ],
        "replies": [
            {
                "tenant": r.tenant,
                "request": r.request,
                "digest": r.digest,
                "time_ms": r.time_ms,
                "part": _part_to(r.part),
            }
            for r in record.replies
        ],
        "ended": [{"tenant": e.tenant, "stream": e.stream} for e in record.ended],
    }
    body: bytes = pb.Record(commit=commit).SerializeToString()
    return body


def decode(body: bytes) -> Record:
    """The record. Raises `BadRecord`."""
    return _record(body, _commit)


def decode_messages(body: bytes) -> Record:
    """The record, of a commit only its place and its messages: all that another group needs of it.
    Raises `BadRecord`."""
    return _record(body, _messages_alone)


def decode_to_fold(body: bytes) -> Record:
    """The record, of a commit what changes the state: no messages, and of inputs only those that
    bring a key or settle something, and of these nothing else. Raises `BadRecord`."""
    return _record(body, _commit_to_fold)


def _record(body: bytes, commit: Callable[[pb.Commit], Commit]) -> Record:
    try:
        record = pb.Record.FromString(body)
    except DecodeError as error:
        raise BadRecord(f"{len(body)} bytes that are no record of a Tandem log") from error
    match record.WhichOneof("body"):
        case "claim":
            return Claim(record.claim.epoch, record.claim.owner, record.claim.shape)
        case "commit":
            return commit(record.commit)
        case _:
            raise BadRecord("a record with neither claim nor commit")


# Fields that are read at one go.
_PART: Callable[[Any], Any] = attrgetter("type", "clear", "private")
_INPUT: Callable[[Any], Any] = attrgetter("source", "number", "tenant", "stream", "time_ms", "part")
_INPUT_MORE: Callable[[Any], Any] = attrgetter("key", "actor", "trace", "refused", "settles", "sender")
_ENVELOPE: Callable[[Any], Any] = attrgetter(
    "event_id", "tenant", "stream", "version", "time_ms", "cause", "actor", "trace", "part", "settles"
)
_EFFECT: Callable[[Any], Any] = attrgetter("key", "tenant", "stream", "name", "kind", "at_ms", "part")


def _commit(c: pb.Commit) -> Commit:
    return _whole(c, tuple(map(_input, c.inputs)), _messages(c))


def _commit_to_fold(c: pb.Commit) -> Commit:
    told = [(i, i.key, i.settles) for i in c.inputs]
    inputs = [
        Input("", 0, i.tenant, i.stream, 0, _LEFT_OUT, key, settles=settles)
        for i, key, settles in told
        if key or settles
    ]
    return _whole(c, tuple(inputs), ())


_LEFT_OUT = Part("", b"")


def _whole(c: pb.Commit, inputs: tuple[Input, ...], messages: tuple[Message, ...]) -> Commit:
    return Commit(
        c.epoch,
        c.n,
        c.shard_time_ms,
        c.boot_id,
        c.boottime_ms,
        c.engine,
        inputs,
        tuple([Mark(m.source, m.tenant, m.number) for m in c.marks]),
        tuple(map(_envelope, c.events)),
        tuple(map(_effect, c.effects)),
        messages,
        tuple([Reply(r.tenant, r.request, r.digest, r.time_ms, _part(r.part)) for r in c.replies]),
        tuple([Ended(e.tenant, e.stream) for e in c.ended]),
    )


def _input(i: Any) -> Input:
    *first, part = _INPUT(i)
    gone = _part(i.gone) if i.HasField("gone") else None
    return Input(*(*first, _part(part), *_INPUT_MORE(i), gone))


def _envelope(e: Any) -> Envelope:
    event_id, tenant, stream, version, time_ms, cause, actor, trace, part, settles = _ENVELOPE(e)
    return Envelope(
        event_id, tenant, stream, version, time_ms, cause, actor, trace, _part(part), tuple(settles) if settles else ()
    )


def _effect(e: Any) -> Effect:
    key, tenant, stream, name, kind, at_ms, part = _EFFECT(e)
    return Effect(key, tenant, stream, name, kind, at_ms, _part(part))


def _messages_alone(c: pb.Commit) -> Commit:
    return Commit(c.epoch, c.n, c.shard_time_ms, c.boot_id, c.boottime_ms, c.engine, messages=_messages(c))


def _messages(c: pb.Commit) -> tuple[Message, ...]:
    return tuple(
        Message(
            m.group,
            m.tenant,
            m.stream,
            m.sender,
            _part(m.part),
            _part(m.gone) if m.HasField("gone") else None,
            m.trace,
        )
        for m in c.messages
    )
