"""Records of the log <-> bytes (protos/tandem/internal/log/v1)."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from tandem.core.commit import Claim, Commit, Effect, Envelope, Input, Mark, Message, Part, Record, Reply
from tandem.core.seal import Private, Sealed, Secret, Withheld
from tandem.internal.log.v1 import log_pb2 as pb
from tandem.internal.type.v1 import private_pb2
from tandem.runtime.codec import private_from_proto, sealed_or_withheld


class BadRecord(Exception):
    """Bytes in the log that are no record: damage, or a log that is not Tandem's."""


def _part_to(part: Part) -> pb.Part:
    message = pb.Part(type=part.type, clear=part.clear)
    for number, value in part.private:
        field = message.private.add(field=number)
        match sealed_or_withheld(value):
            case Sealed(key, nonce, aad, data):
                field.value.sealed.CopyFrom(private_pb2.Sealed(key=key, nonce=nonce, aad=aad, data=data))
            case Withheld():
                field.value.withheld.SetInParent()
    return message


def _part(message: pb.Part) -> Part:
    if not message.private:
        return Part(message.type, message.clear)
    return Part(
        message.type,
        message.clear,
        tuple((field.field, _written(private_from_proto(field.value))) for field in message.private),
    )


def _written(value: Private) -> Sealed | Withheld:
    if isinstance(value, Secret):
        raise BadRecord("a record with a private value in plain")
    return sealed_or_withheld(value)


def encode(record: Record) -> bytes:
    """The record's bytes. Raises TypeError if a part holds plaintext."""
    if isinstance(record, Claim):
        claim = pb.Claim(epoch=record.epoch, owner=record.owner, shape=record.shape)
        return pb.Record(claim=claim).SerializeToString()
    message = pb.Commit(
        epoch=record.epoch,
        n=record.n,
        shard_time_ms=record.shard_time_ms,
        boot_id=record.boot_id,
        boottime_ms=record.boottime_ms,
        engine=record.engine,
        inputs=[
            pb.Input(
                source=i.source,
                number=i.number,
                tenant=i.tenant,
                stream=i.stream,
                time_ms=i.time_ms,
                part=_part_to(i.part),
                key=i.key,
                actor=i.actor,
                trace=i.trace,
                refused=i.refused,
                settles=i.settles,
                sender=i.sender,
                gone=None if i.gone is None else _part_to(i.gone),
            )
            for i in record.inputs
        ],
        marks=[pb.Mark(source=m.source, tenant=m.tenant, number=m.number) for m in record.marks],
        events=[
            pb.Envelope(
                event_id=e.event_id,
                tenant=e.tenant,
                stream=e.stream,
                version=e.version,
                time_ms=e.time_ms,
                cause=e.cause,
                actor=e.actor,
                trace=e.trace,
                part=_part_to(e.part),
                settles=e.settles,
            )
            for e in record.events
        ],
        effects=[
            pb.Effect(
                key=e.key,
                tenant=e.tenant,
                stream=e.stream,
                name=e.name,
                kind=e.kind,
                at_ms=e.at_ms,
                part=_part_to(e.part),
            )
            for e in record.effects
        ],
        messages=[
            pb.Message(
                group=m.group,
                tenant=m.tenant,
                stream=m.stream,
                sender=m.sender,
                part=_part_to(m.part),
                gone=None if m.gone is None else _part_to(m.gone),
            )
            for m in record.messages
        ],
        replies=[
            pb.Reply(tenant=r.tenant, request=r.request, digest=r.digest, time_ms=r.time_ms, part=_part_to(r.part))
            for r in record.replies
        ],
    )
    return pb.Record(commit=message).SerializeToString()


def decode(body: bytes) -> Record:
    """The record. Raises `BadRecord`."""
    try:
        record = pb.Record.FromString(body)
    except DecodeError as error:
        raise BadRecord(f"{len(body)} bytes that are no record of a Tandem log") from error
    match record.WhichOneof("body"):
        case "claim":
            return Claim(record.claim.epoch, record.claim.owner, record.claim.shape)
        case "commit":
            return _commit(record.commit)
        case _:
            raise BadRecord("a record with neither claim nor commit")


def _commit(c: pb.Commit) -> Commit:
    return Commit(
        c.epoch,
        c.n,
        c.shard_time_ms,
        c.boot_id,
        c.boottime_ms,
        c.engine,
        tuple(
            Input(
                i.source,
                i.number,
                i.tenant,
                i.stream,
                i.time_ms,
                _part(i.part),
                i.key,
                i.actor,
                i.trace,
                i.refused,
                i.settles,
                i.sender,
                _part(i.gone) if i.HasField("gone") else None,
            )
            for i in c.inputs
        ),
        tuple(Mark(m.source, m.tenant, m.number) for m in c.marks),
        tuple(
            Envelope(
                e.event_id,
                e.tenant,
                e.stream,
                e.version,
                e.time_ms,
                e.cause,
                e.actor,
                e.trace,
                _part(e.part),
                tuple(e.settles),
            )
            for e in c.events
        ),
        tuple(Effect(e.key, e.tenant, e.stream, e.name, e.kind, e.at_ms, _part(e.part)) for e in c.effects),
        tuple(
            Message(m.group, m.tenant, m.stream, m.sender, _part(m.part), _part(m.gone) if m.HasField("gone") else None)
            for m in c.messages
        ),
        tuple(Reply(r.tenant, r.request, r.digest, r.time_ms, _part(r.part)) for r in c.replies),
    )
