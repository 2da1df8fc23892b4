"""Finds what the import contracts cannot see: set order and hidden clocks in pure code.

The order of a set differs from process to process, so whatever depends on it makes two
replays differ. A set may be asked (`in`, `len`, `any`, `min`) and sorted; it may not be walked.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

WALKERS = {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "sum", "dict", "deque"}
HIDDEN = {
    "hash": "differs between processes; use a digest",
    "id": "is an address in memory",
    "open": "is input and output",
    "print": "is output",
    "input": "is input",
}
CLOCKS = {"now", "utcnow", "today"}
SET_NAMES = {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}


def faults(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and reason of each impurity that can be seen in the syntax."""
    attributes = {name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for name in _set_attributes(node)}
    found: list[tuple[int, str]] = []
    _visit(tree, set(), attributes, found)
    return sorted(set(found))


def _visit(scope: ast.AST, outer: set[str], attributes: set[str], found: list[tuple[int, str]]) -> None:
    """One function or module with the names of sets that it can see."""
    names = outer | _set_names(scope, outer, attributes)
    for node in _own_nodes(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            _visit(node, names - _parameters(node), attributes, found)
        elif reason := _fault(node, names, attributes):
            found.append((node.lineno, reason))


def _fault(node: ast.AST, names: set[str], attributes: set[str]) -> str:
    def is_set(value: ast.expr) -> bool:
        return _is_set(value, names, attributes)

    match node:
        case ast.For(iter=walked) | ast.Starred(value=walked) if is_set(walked):
            return "walks over a set; sort it first"
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp() if any(is_set(g.iter) for g in node.generators):
            return "walks over a set; sort it first"
        case ast.Call(func=ast.Name(id=name), args=[value, *_]) if name in WALKERS and is_set(value):
            return f"{name}() walks over a set; sort it first"
        case ast.Call(func=ast.Attribute(attr="join" | "fromkeys" | "extend"), args=[value, *_]) if is_set(value):
            return "walks over a set; sort it first"
        case ast.Call(func=ast.Attribute(attr="pop", value=value), args=[]) if is_set(value):
            return "takes any element of a set"
        case ast.Call(func=ast.Name(id=name)) if name in HIDDEN:
            return f"{name}() {HIDDEN[name]}"
        case ast.Call(func=ast.Attribute(attr=name, value=ast.Name(id="datetime" | "date"))) if name in CLOCKS:
            return f"{name}() reads a clock"
    return ""


def _is_set(value: ast.expr, names: set[str], attributes: set[str]) -> bool:
    match value:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(attr=method)) if method in SET_METHODS:
            return True
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), left=left, right=right):
            return any(_is_set(side, names, attributes) or _is_view(side) for side in (left, right))
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(attr=name, value=ast.Name(id="self" | "cls")):
            return name in attributes
    return False


def _is_view(value: ast.expr) -> bool:
    """`a.keys() & b.keys()` is a set."""
    return (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in {"keys", "items"}
    )


def _set_names(scope: ast.AST, outer: set[str], attributes: set[str]) -> set[str]:
    """Names that this scope binds to a set, by annotation or by what is assigned."""
    names: set[str] = set()
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        names |= {each.arg for each in _arguments(scope) if each.annotation and _is_set_type(each.annotation)}
    for node in _own_nodes(scope):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind) if _is_set_type(kind):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_set(value, outer | names, attributes):
                names.add(name)
    return names


def _set_attributes(owner: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(owner):
        match node:
            case ast.AnnAssign(target=ast.Attribute(attr=name) | ast.Name(id=name), annotation=kind):
                if _is_set_type(kind):
                    yield name
            case ast.Assign(targets=[ast.Attribute(attr=name, value=ast.Name(id="self"))], value=value):
                if _is_set(value, set(), set()):
                    yield name


def _is_set_type(kind: ast.expr) -> bool:
    match kind:
        case ast.Subscript(value=ast.Name(id=name)) | ast.Name(id=name):
            return name in SET_NAMES
        case ast.BinOp(left=left, right=right):
            return _is_set_type(left) or _is_set_type(right)
    return False


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[ast.arg]:
    spread = [each for each in (function.args.vararg, function.args.kwarg) if each]
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs, *spread]


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    return {each.arg for each in _arguments(function)}


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Everything below, without what stands inside inner functions."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own_nodes(child)
