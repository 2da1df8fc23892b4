"""core, wire and every domain: no set order, no hidden clock, and a docstring for each module."""

from __future__ import annotations

import ast

import pytest

from tests.tidy.purity import faults
from tests.tidy.source import name_of, parse, pure_modules


def test_pure_code_depends_on_no_set_order_and_no_clock():
    found = [f"{name_of(path)}:{line}: {why}" for path in pure_modules() for line, why in faults(parse(path))]
    assert not found, "\n".join(found)


def test_every_pure_module_says_what_it_is():
    assert [name_of(path) for path in pure_modules() if not ast.get_docstring(parse(path))] == []


@pytest.mark.parametrize(
    "code",
    [
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "[x for x in frozenset(y)]",
        "{x: 1 for x in {z for z in y}}",
        "list({1, 2})",
        "tuple(set(y))",
        "f(*{1, 2})",
        "','.join({'a'})",
        "dict.fromkeys({'a'})",
        "next(iter({1}))",
        "a = set(y)\nfor x in a: pass",
        "def f(a: set[int]):\n    return [x for x in a]",
        "def f(a: frozenset[int] | None):\n    for x in a: pass",
        "A = {1, 2}\ndef f():\n    return list(A)",
        "a = {1}\nb = a | c\nfor x in b: pass",
        "for x in a.keys() & b.keys(): pass",
        "for x in a.union(b): pass",
        "class C:\n    a: set[int]\n    def f(self):\n        for x in self.a: pass",
        "class C:\n    def __init__(self):\n        self.a = set()\n    def f(self):\n        return self.a.pop()",
        "hash('a')",
        "id(x)",
        "open('f')",
        "datetime.now()",
        "date.today()",
    ],
)
def test_impure_code_is_found(code):
    assert faults(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "for x in sorted({1, 2}): pass",
        "1 in {1, 2}",
        "len({1}) + min({2})",
        "any(x in {1} for x in [1])",
        "{x for x in {1, 2}}",
        "a = [1]\nfor x in a: pass",
        "for x in {'a': 1}: pass",
        "def f(a: set[int]): pass\ndef g(a: list[int]):\n    return [x for x in a]",
        "a = {1}\ndef f(a):\n    for x in a: pass",
        "datetime(2026, 1, 1)",
        "x.id\nx.open()",
    ],
)
def test_pure_code_is_left_alone(code):
    assert faults(ast.parse(code)) == []
