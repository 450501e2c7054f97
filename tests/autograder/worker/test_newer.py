"""Syntax of a newer Python is named with the version it needs, and nothing else is."""

from __future__ import annotations

import ast
import sys

import pytest

from autograder.worker.newer import needed_version

NEWER = [
    ('d = {}\nprint(f"value {d["k"]}")', (3, 12)),
    ("print(f'{a['b']:>{w['c']}} {x!r}')", (3, 12)),
    ("x = f'{'\\n'.join(y)}'", (3, 12)),
    ("x = f'''{\n    a  # the first's\n}'''", (3, 12)),
    ("def f[T](x: T) -> T:\n    return x", (3, 12)),
    ("class A[T: int, *Ts]:\n    pass", (3, 12)),
    ("async def f[T](x): pass", (3, 12)),
    ("type X = list[int]", (3, 12)),
    ("type X[T] = list[T]", (3, 12)),
    ("def f[T](x):\n    print(f'{x['a']}')", (3, 12)),
    ("try:\n    pass\nexcept A, B:\n    pass", (3, 14)),
    ('y = t"{x}"', (3, 14)),
]


@pytest.mark.parametrize(("source", "version"), NEWER)
def test_a_newer_construct_is_named(source, version):
    try:
        ast.parse(source)
    except SyntaxError:
        found = needed_version(source)
        assert found is not None
        assert found.version == version
    else:
        assert sys.version_info >= version


@pytest.mark.parametrize(
    "source",
    [
        *("print(f'{x y}')", "print(f'abc", "x = 1 +", "def f[T(x): pass", "f'{'", "type = = 3", "f('", "'''", "# f'{"),
        *("def f[T](x) return x", "f'" + "{" * 5000, "f'{f" * 3000, "print f'{x}'", "x = f'{}'"),
    ],
)
def test_what_no_python_reads_is_not_called_newer(source):
    assert needed_version(source) is None
