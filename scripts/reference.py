"""Writes docs/reference and the API's descriptions from the code they are about, all of it committed.

make reference                 writes what has changed
scripts/reference.py --to DIR  writes everything into DIR (a test compares that with the tree)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict

from tandem.__main__ import app
from tandem.core.errors import REASONS
from tandem.recording.events import EVENTS as RECORDING
from tandem.routing.events import EVENTS as ROUTING
from tandem.runtime.codec import Codec
from tandem.runtime.config import Config
from tandem.runtime.settings import reference
from tandem.runtime.telemetry import names
from tandem.session.events import EVENTS as SESSION
from tandem.tenant.events import EVENTS as TENANT

ROOT = Path(__file__).parents[1]
DESCRIPTIONS = "services/tandem/api/descriptions.json"
MADE = "<!-- Made by `make reference` from {source}; change that and not this page. -->"
PUBLIC = "tandem.api.event.v1"
SERVICES: tuple[tuple[str, Codec], ...] = (
    ("tenant", TENANT),
    ("session", SESSION),
    ("routing", ROUTING),
    ("recording", RECORDING),
)
SAMPLES = {
    "contact": "4tceldeyxhscryc7vu2fothujq",
    "offer": "c2cd55b3q7736xma",
    "agent": "ann",
    "queue": "sales",
    "number": "493012345",
    "flow": "main",
    "device": "red-ann",
    "node": "m1",
    "tenant": "demo",
    "recording": "4tceldeyxhscryc7vu2fothujq-c2cd55b3q7736xma",
    "step": "menu",
    "reason": "CAPACITY",
    "skill": "de",
    "prompts": "welcome-menu",
    "music": "music",
}
"""What stands in the examples, by field name."""


# ------------------------------------------------------------------- comments of the protos


def comments() -> dict[str, str]:
    """Full name -> leading comment, of everything in the protos of ours that has one."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "set"
        files = sorted(str(path) for path in (ROOT / "protos" / "tandem").rglob("*.proto"))
        command = [sys.executable, "-m", "grpc_tools.protoc", "--include_source_info", f"--descriptor_set_out={out}"]
        paths = [f"--proto_path={ROOT / 'protos'}", f"--proto_path={ROOT / 'protos' / 'third_party'}"]
        subprocess.run([*command, *paths, *files], check=True)
        found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return {name: text for file in found.file for name, text in _comments_of(file)}


def _comments_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for place in file.source_code_info.location:
        name = _name_at(file, list(place.path))
        if place.leading_comments and name:
            yield f"{file.package}.{name}", " ".join(place.leading_comments.split())


def _name_at(node: Any, path: list[int]) -> str:
    """The dotted name of what a path of source_code_info leads to; "" for what has none."""
    parts: list[str] = []
    while path:
        if len(path) < 2:
            return ""
        number, index, *path = path
        field = node.DESCRIPTOR.fields_by_number.get(number)
        if field is None or field.message_type is None or field.name in {"options", "dependency"}:
            return ""
        node = getattr(node, field.name)[index]
        if not hasattr(node, "name"):
            return ""
        parts.append(node.name)
    return ".".join(parts)


# ------------------------------------------------------------------- pages


def page(title: str, source: str, intro: str, body: Iterable[str]) -> str:
    """A page of the reference."""
    return "\n".join([f"# {title}", "", MADE.format(source=source), "", intro, "", *body]).rstrip() + "\n"


def table(rows: Iterable[tuple[str, ...]], *head: str) -> list[str]:
    """A table; a `|` in a cell stays text."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def settings() -> str:
    """Every setting."""
    intro = (
        "A setting stands in the TOML file given with `--config` under its name, or in the environment under its "
        "variable, which wins. Unknown ones are refused. `tandem --print-config` shows what is in force."
    )
    rows = reference(Config)
    body: list[str] = []
    for section in dict.fromkeys(row.name.rpartition(".")[0] for row in rows):
        ours = [row for row in rows if row.name.rpartition(".")[0] == section]
        body += [f"## {section or 'top'}", ""]
        cells = ((f"`{r.name}`<br>`{r.variable}`", r.kind, f"`{r.default}`" if r.default else "", r.doc) for r in ours)
        body += [*table(cells, "setting, variable", "value", "default", "what it does"), ""]
    return page("Settings", "runtime/config.py", intro, body)


def errors() -> str:
    """Every reason."""
    intro = (
        "An error carries `google.rpc.ErrorInfo` with a reason (in REST under `error.details`). A reason never changes "
        "its meaning; the message beside it is for people and may change."
    )
    rows = ((f"`{r.name}`", r.code.name, str(r.code.http_status), r.todo) for r in REASONS.values())
    return page("Error reasons", "core/errors.py", intro, table(rows, "reason", "gRPC", "HTTP", "what to do"))


def telemetry() -> str:
    """Every metric, span and log event."""
    intro = (
        "Metrics are served at `/metrics` and pushed by OTLP, spans are pushed by OTLP, log lines go to standard "
        "error: [how to observe a cell](../how-to/observe.md)."
    )
    metrics = (
        (f"`{m.name}`", m.kind.value, ", ".join(f"`{label}`" for label in m.labels), m.doc)
        for m in sorted(names.METRICS.values(), key=lambda metric: metric.name)
    )
    spans = ((f"`{s.name}`", ", ".join(f"`{a}`" for a in s.attributes), s.doc) for s in names.SPANS.values())
    lines = ((f"`{e.name}`", e.level, e.doc) for e in names.LOG_EVENTS.values())
    body = ["## Metrics", "", *table(metrics, "metric", "kind", "labels", "what it counts"), ""]
    body += ["## Spans", "", "Every span also has `tandem.tenant` where it is about one.", ""]
    body += [*table(spans, "span", "attributes", "what it is"), ""]
    body += ["## Log events", "", *table(lines, "event", "level", "what it means")]
    return page("Metrics, spans and log events", "runtime/telemetry/names.py", intro, body)


def commands() -> str:
    """The command line."""
    text = app.generate_docs(output_format="markdown", include_hidden=False)
    body = text.split("\n", 1)[1].strip().splitlines()
    return page("The `tandem` command", "`tandem --help`", "What is not given comes from the settings.", body)


def events(said: dict[str, str]) -> str:
    """Every event with an example."""
    intro = (
        "An event has a stable name and a protobuf message. Fields are only ever added. Private fields are sealed in "
        "the log and read as erased once their key is destroyed. Events marked internal stay in the log of their "
        "service; the others are what `ListContactEvents`, live streams and exports show as `data`."
    )
    body: list[str] = []
    for service, codec in SERVICES:
        body += [f"## {service}", ""]
        for name in codec.names:
            body += _event(name, codec, said)
    return page("Events", "protos/tandem/api/event/v1 and the services' events.py", intro, body)


def _event(name: str, codec: Codec, said: dict[str, str]) -> list[str]:
    message, private = codec.shape(name)
    descriptor = message.DESCRIPTOR
    internal = "" if descriptor.file.package == PUBLIC else " Internal."
    lines = [f"### `{name}`", "", f"{said.get(descriptor.full_name, '')}{internal}".strip(), ""]
    rows = (
        (f"`{f.json_name}`", _kind(f), said.get(f"{descriptor.full_name}.{f.name}", "") + _mark(f.name in private))
        for f in descriptor.fields
    )
    if descriptor.fields:
        lines += [*table(rows, "field", "type", "meaning"), ""]
    example = message()
    _fill(example, depth=0)
    data = MessageToDict(example)
    for field in descriptor.fields:
        if field.name in private:
            data[field.json_name] = "(private)"
    lines += ["```json", json.dumps({"type": name, "data": data}, indent=2), "```", ""]
    return lines


def _mark(private: bool) -> str:
    return " *Private.*" if private else ""


def _kind(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        kind = field.message_type.name
    elif field.enum_type is not None:
        kind = field.enum_type.name
    else:
        kind = {
            FieldDescriptor.CPPTYPE_STRING: "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "text",
            FieldDescriptor.CPPTYPE_BOOL: "true or false",
        }.get(field.cpp_type, "number")
    return f"list of {kind}" if field.is_repeated else kind


def _fill(message: Any, depth: int) -> None:
    """The same values each time: a page that changes by itself would never be read."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name):
            continue
        if field.message_type is not None:
            if depth < 3:
                inner = getattr(message, field.name)
                _fill(inner.add() if field.is_repeated else inner, depth + 1)
                if not field.is_repeated:
                    inner.SetInParent()
            continue
        value = _sample(field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)


def _sample(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[min(1, len(field.enum_type.values) - 1)].number
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return b"\x01\x02"
        case FieldDescriptor.CPPTYPE_STRING:
            return SAMPLES.get(field.name, field.name.replace("_", "-"))
        case _:
            # Moments are int64, lengths uint32.
            moment = field.name.endswith("_ms") and field.type == FieldDescriptor.TYPE_INT64
            return 1_767_225_600_000 if moment else 1


def descriptions(said: dict[str, str]) -> str:
    """What the OpenAPI document says of methods, messages and fields."""
    ours = {
        name: text
        for name, text in sorted(said.items())
        if name.startswith("tandem.api.") and not name.startswith(PUBLIC)
    }
    return json.dumps(ours, indent=0, ensure_ascii=False) + "\n"


def pages() -> dict[str, str]:
    """Path -> text of everything that is made."""
    said = comments()
    makers: dict[str, Callable[[], str]] = {
        "docs/reference/settings.md": settings,
        "docs/reference/errors.md": errors,
        "docs/reference/telemetry.md": telemetry,
        "docs/reference/commands.md": commands,
        "docs/reference/events.md": lambda: events(said),
        DESCRIPTIONS: lambda: descriptions(said),
    }
    return {path: make() for path, make in makers.items()}


def main() -> None:
    """See the module's text."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--to", type=Path, default=ROOT)
    to: Path = arguments.parse_args().to
    for name, text in pages().items():
        path = to / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
