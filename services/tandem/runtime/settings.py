"""Settings from a TOML file and the environment into one typed tree.

The tree is made of msgspec structs. A setting is named by its path (`sip.port`); the file
writes it as a key of a table, the environment as `TANDEM_SIP__PORT`, which wins. Nothing is
ignored: a key that no struct has is refused with the name that was probably meant, a value of
the wrong type with the place where it stands. Secrets never stand in the tree: settings that
end in `_file` name the file that holds one.

A field of type `Mapping[str, Struct]` is a table of sections that the configuration names, each with
settings of one kind (`[media.gateways.carrier]`, `TANDEM_MEDIA__GATEWAYS__CARRIER__PROXY`).
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import msgspec

PREFIX = "TANDEM_"
MAX_FILE_BYTES = 1024 * 1024
"""A configuration is written by hand; more than this is another file given by mistake."""
_TABLE = re.compile(r"\s*\[([^\[\]]+)\]")
_KEY = re.compile(r"""\s*([\w"'. -]+?)\s*=""")
NAMED = "NAME"
"""Stands in a path for a name that the configuration gives."""
NAMED_MAX = 64
"""Sections in one table of them."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")

Tree = TypeVar("Tree", bound=msgspec.Struct)


class BadConfig(Exception):
    """The configuration cannot be used. `problems` has a line for each fault, with its place and what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the reference."""

    name: str
    """Path in the tree, as `sip.port`."""

    kind: str
    """What may stand there, in words."""

    default: str
    """As it is written in the file; empty if there is none."""

    doc: str
    """What it does and, for a limit, why it is that much."""

    variable: str
    """Its environment variable."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: tuple[str, ...]
    field: msgspec.structs.FieldInfo

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return PREFIX + "__".join(self.path).upper()

    @property
    def section(self) -> type[msgspec.Struct] | None:
        """What a table of sections holds; None for a setting."""
        kind = self.field.type
        return get_args(kind)[1] if get_origin(kind) is Mapping else None


def load(tree: type[Tree], file: Path | None, environment: Mapping[str, str]) -> Tree:
    """The tree from its defaults, `file` (if given) and the environment's `TANDEM_...`.

    Raises `BadConfig` with every fault at once.
    """
    leaves = {leaf.path: leaf for leaf in _leaves(tree)}
    problems: list[str] = []
    values: dict[tuple[str, ...], Any] = {}
    if file is not None:
        _take_file(file, leaves, values, problems)
    _take_environment(environment, leaves, values, problems)
    if not problems:
        built = _build(tree, (), values, problems)
        if not problems:
            return built
    raise BadConfig(problems)


def render(config: msgspec.Struct) -> str:
    """The whole tree as a TOML file with what each setting means; `load` takes it back."""
    lines: list[str] = []
    table: tuple[str, ...] = ()
    for leaf, value in sorted(_values(config), key=lambda row: len(row[0].path) > 1):
        if leaf.path[:-1] != table:
            table = leaf.path[:-1]
            lines += ["", f"[{'.'.join(table)}]"]
        lines.append(f"# {_doc(leaf.field)}")
        lines.append(f"# {leaf.path[-1]} =" if value is None else f"{leaf.path[-1]} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def reference(tree: type[msgspec.Struct]) -> list[Setting]:
    """Every setting of the tree, in its order: the table of the reference documentation."""
    return [
        Setting(leaf.name, _kind(leaf.field), _default(leaf.field), _doc(leaf.field), leaf.variable)
        for leaf in _leaves(tree)
    ]


def _leaves(tree: type[msgspec.Struct], path: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    for field in msgspec.structs.fields(tree):
        leaf = _Leaf((*path, field.name), field)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _leaves(field.type, leaf.path)
        elif leaf.section is not None:
            yield from _leaves(leaf.section, (*leaf.path, NAMED))
        else:
            yield leaf


def _values(tree: msgspec.Struct, path: tuple[str, ...] = ()) -> Iterator[tuple[_Leaf, Any]]:
    """Every setting of a tree as it stands there."""
    for field in msgspec.structs.fields(tree):
        leaf, value = _Leaf((*path, field.name), field), getattr(tree, field.name)
        if isinstance(value, msgspec.Struct):
            yield from _values(value, leaf.path)
        elif leaf.section is not None:
            for name, section in value.items():
                yield from _values(section, (*leaf.path, name))
        else:
            yield leaf, value


Leaves = Mapping[tuple[str, ...], _Leaf]
Values = dict[tuple[str, ...], Any]


def _general(path: tuple[str, ...], leaves: Leaves) -> tuple[str, ...]:
    """The path as the tree has it, with `NAMED` for a name that the configuration gave."""
    for table in {leaf[: leaf.index(NAMED)] for leaf in leaves if NAMED in leaf}:
        if len(path) > len(table) and path[: len(table)] == table:
            return (*table, NAMED, *path[len(table) + 1 :])
    return path


def _take_file(file: Path, leaves: Leaves, values: Values, problems: list[str]) -> None:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            problems.append(f"{file}: over {MAX_FILE_BYTES} bytes; is this the configuration?")
            return
        text = data.decode()
        document = tomllib.loads(text)
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        problems.append(f"{file}: is no TOML: {error}")
    else:
        for path, value in _flat(document, leaves, ()):
            line = _line_of(text, path)
            place = f"{file}:{line}" if line else str(file)
            _take(path, value, leaves, values, problems, place=place, strict=True)


def _flat(table: Mapping[str, Any], leaves: Leaves, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        here = (*path, key)
        general = _general(here, leaves)
        # Only known tables are entered; everything else is a value, and a foreign one is named as it stands.
        known = any(leaf[: len(here)] == general for leaf in leaves if len(leaf) > len(here))
        if known and isinstance(value, dict) and (value or general[-1] != NAMED):
            yield from _flat(value, leaves, here)
        else:
            yield here, value


def _take_environment(environment: Mapping[str, str], leaves: Leaves, values: Values, problems: list[str]) -> None:
    by_variable = {leaf.variable: leaf for leaf in leaves.values()}
    for variable, value in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        leaf = by_variable.get(variable)
        path = tuple(variable.removeprefix(PREFIX).lower().split("__")) if leaf is None else leaf.path
        if _general(path, leaves) in leaves:
            if value:  # set but empty means not set
                _take(path, value, leaves, values, problems, place=variable, strict=False)
            continue
        meant = difflib.get_close_matches(variable, by_variable, n=1, cutoff=0.85)
        # Kubernetes gives every pod TANDEM_SERVICE_HOST and the like for a service named tandem,
        # so without the mark of a setting only a near miss is a mistake.
        if meant or "__" in variable:
            problems.append(f"{variable}: there is no such setting{_ask(meant)}")


def _take(
    path: tuple[str, ...],
    value: Any,
    leaves: Leaves,
    values: Values,
    problems: list[str],
    *,
    place: str,
    strict: bool,
) -> None:
    general = _general(path, leaves)
    leaf = leaves.get(general)
    name = ".".join(path)
    if general != path and not _NAME.fullmatch(path[general.index(NAMED)]):
        problems.append(
            f"{place}: {name}: a name is a small letter and then up to 31 small letters, digits and hyphens, "
            f"not {path[general.index(NAMED)]!r}"
        )
    elif leaf is None:
        if general[-1] == NAMED and value == {}:
            problems.append(f"{place}: {name} says nothing; give it settings or leave it out")
        elif any(known[: len(path)] == general for known in leaves):
            problems.append(f"{place}: {name} is a section, not a setting; write it as [{name}]")
        else:
            problems.append(f"{place}: there is no setting {name}{_ask(_meant(general, leaves))}")
    else:
        try:
            values[path] = msgspec.convert(value, leaf.field.type, strict=strict, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(f"{place}: {name}: {_reason(error)}")


def _build(tree: type[Tree], path: tuple[str, ...], values: Values, problems: list[str]) -> Tree:
    """The struct with what was given; a `__post_init__` that refuses names the section."""
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(tree):
        here = (*path, field.name)
        section = _Leaf(here, field).section
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            given[field.name] = _build(field.type, here, values, problems)
        elif section is not None:
            given[field.name] = _build_named(section, here, values, problems)
        elif here in values:
            given[field.name] = values[here]
    try:
        return tree(**given)
    except ValueError as error:
        problems.append(f"{'.'.join(path)}: {error}" if path else str(error))
        return tree()


def _build_named(
    section: type[msgspec.Struct], path: tuple[str, ...], values: Values, problems: list[str]
) -> dict[str, Any]:
    names = sorted({given[len(path)] for given in values if given[: len(path)] == path})
    if len(names) > NAMED_MAX:
        problems.append(f"{'.'.join(path)}: {len(names)} sections are over the limit of {NAMED_MAX}")
        return {}
    return {name: _build(section, (*path, name), values, problems) for name in names}


def _meant(path: tuple[str, ...], leaves: Leaves) -> list[str]:
    """What the path may have been meant for: a name like it, or the same key in another section."""
    names = {leaf.name: leaf.path for leaf in leaves.values()}
    sections = {".".join(known[:depth]) for known in leaves for depth in range(1, len(known))}
    close = difflib.get_close_matches(".".join(path), sorted({*names, *sections}), n=1, cutoff=0.75)
    if close:
        return close
    keys = difflib.get_close_matches(path[-1], sorted({known[-1] for known in leaves}), n=1, cutoff=0.75)
    return [name for name, known in names.items() if known[-1] in keys][:3]


def _ask(names: list[str]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else "; --print-config lists all"


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("Expected a path")


def _reason(error: Exception) -> str:
    # msgspec ends with "- at `$`", which says nothing for a single value.
    return str(error).split(" - at `$", maxsplit=1)[0]


def _line_of(text: str, path: tuple[str, ...]) -> int:
    """Where the file sets the path, 0 if that is not seen (an inline table). Lines count from 1."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _keys(header[1])
            if table[: len(path)] == path:
                return number
        elif (key := _KEY.match(line)) and (*table, *_keys(key[1]))[: len(path)] == path:
            return number
    return 0


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # A JSON string is a TOML basic string, but for DEL and for pairs of surrogates.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _meta(field: msgspec.structs.FieldInfo) -> Mapping[str, Any]:
    return msgspec.json.schema(field.type, schema_hook=lambda _: {"type": "string", "format": "path"})


def _doc(field: msgspec.structs.FieldInfo) -> str:
    doc: str = _meta(field)["description"]
    return doc


def _kind(field: msgspec.structs.FieldInfo) -> str:
    schema = _meta(field)
    if "enum" in schema:
        return " or ".join(_toml(choice) for choice in schema["enum"])
    for choice in schema.get("anyOf", ()):
        if choice["type"] != "null":
            schema = choice
    kind = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}[schema["type"]]
    if schema.get("format") == "path":
        kind = "path"
    low, high = schema.get("minimum"), schema.get("maximum")
    return kind if low is None and high is None else f"{kind}, {low} to {high}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    return "" if field.default in (msgspec.NODEFAULT, None) else _toml(field.default)
