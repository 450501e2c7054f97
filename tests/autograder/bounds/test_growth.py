"""The path of a notebook costs in proportion to its size, and past a cap nothing more.

Operations are counted, n against 4n, from a tenth of each cap on. A count does not see inside a regular expression, so
the expressions of the path are looked at themselves: none begins with something it may repeat for ever.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from nbformat import NotebookNode

from autograder.feedback import student_page
from autograder.homework import ipynb
from autograder.homework.restore import restore
from autograder.records.autograded import for_humans
from autograder.report import CellRun
from autograder.submission import Submission
from tests.autograder.course_factory import answered, make_repository, to_bytes
from tests.autograder.operations import operations
from tests.autograder.report_factory import report

ENGINE = Path(ipynb.__file__).parent.parent
RATIO = 4.4
PNG = "iVBORw0KGgo="


def document(cells: list[dict[str, Any]], template: NotebookNode) -> bytes:
    """The right answers, and these cells in front of them."""
    notebook = json.loads(to_bytes(answered(template)))
    notebook["cells"][:0] = cells
    return json.dumps(notebook).encode()


def text_cell(source: str = "words", **more: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source, "metadata": {}, **more}


def code_cell(source: str = "pass", **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None, **more}


KINDS: dict[str, tuple[int, Callable[[int], list[dict[str, Any]]]]] = {  # a tenth of the cap, and what n of it is
    "cells": (200, lambda n: [code_cell(f"x = {i}") for i in range(n)]),
    "text cells": (200, lambda n: [text_cell(f"word {i}") for i in range(n)]),
    "copies": (200, lambda n: [code_cell("x = 1")] * n),
    "copies of a locked cell": (
        100,
        lambda n: [code_cell("import os", metadata={"nbgrader": {"grade_id": "setup", "locked": True}})] * n,
    ),
    "copies of an answer": (
        100,
        lambda n: [code_cell("y = 2", metadata={"nbgrader": {"grade_id": "double-answer", "solution": True}})] * n,
    ),
    "copies of a graded cell": (
        100,
        lambda n: [code_cell("z", metadata={"nbgrader": {"grade_id": "double", "grade": True}})] * n,
    ),
    "attachments": (
        200,
        lambda n: [
            text_cell(
                " ".join(f"![](attachment:a{i}.png)" for i in range(n)),
                attachments={f"a{i}.png": {"image/png": PNG} for i in range(n)},
            )
        ],
    ),
    "attachments nobody shows": (
        500,
        lambda n: [text_cell("word " * n, attachments={f"b{i}": {"image/png": PNG} for i in range(n)})],
    ),
    "outputs": (1000, lambda n: [code_cell(outputs=[{"output_type": "stream", "text": "x" * 50}] * n)]),
    "metadata": (1000, lambda n: [code_cell(metadata={"tags": ["t"] * n, "nbgrader": {f"k{i}": i for i in range(n)}})]),
    "lines": (4000, lambda n: [code_cell("x = 1\n" * n)]),
    "a long line": (20_000, lambda n: [code_cell("x" * n), text_cell("<" * n), text_cell("&" * n)]),
    "pieces of a line": (4000, lambda n: [code_cell(["ab"] * n)]),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> NotebookNode:
    return make_repository(tmp_path_factory.mktemp("growth")).load().template


def parse(data: bytes, template: NotebookNode) -> object:
    return ipynb.parse(data)


def hashed(data: bytes, template: NotebookNode) -> object:
    return Submission.of("ada", data)


def restored(data: bytes, template: NotebookNode) -> Callable[[], object]:
    notebook, _ = ipynb.parse(data)
    return lambda: restore(notebook, template)


def rendered(data: bytes, template: NotebookNode) -> Callable[[], object]:
    notebook, _ = ipynb.parse(data)
    answers = restore(notebook, template).answers
    return lambda: ipynb.to_text(for_humans(notebook, template, answers, report()))


STAGES: dict[str, Callable[[bytes, NotebookNode], Callable[[], object]]] = {
    "parse": lambda data, template: lambda: parse(data, template),
    "hash": lambda data, template: lambda: hashed(data, template),
    "restore": restored,
    "render": rendered,
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_grows_with_what_it_is_given(stage, kind, template):
    tenth, make = KINDS[kind]
    few, many = (operations(STAGES[stage](document(make(n), template), template)) for n in (tenth, 4 * tenth))
    assert many <= RATIO * few


@pytest.mark.parametrize("kind", ["attachments nobody shows", "metadata"])
def test_past_its_cap_a_kind_costs_nothing_more_to_show(kind, template):
    _, make = KINDS[kind]
    data = document(make(20_000), template)
    assert operations(rendered(data, template)) < 20 * operations(rendered(document(make(200), template), template))


@pytest.mark.parametrize("kind", ["runs", "output"])
def test_a_page_grows_with_its_report(kind):
    def page(n: int) -> Callable[[], object]:
        runs = [CellRun(index=i, status="error", seconds=0.0, error="E" * 50, notes=["n"]) for i in range(n)]
        if kind == "output":
            runs = [CellRun(index=1, status="error", seconds=0.0, stdout="ab\r" * 100 * n)]
        shown = report(runs=runs)
        return lambda: student_page(shown, "Growth")

    page(10)()
    assert operations(page(800)) <= RATIO * operations(page(200))


# --- regular expressions

PATH = ("feedback/text.py", "feedback/html.py", "homework/ipynb.py", "homework/align.py", "homework/restore.py",
        "records/disarm.py", "records/autograded.py", "submissions/archive.py", "submissions/collect.py")  # fmt: skip
SCANS = {"sub", "search", "findall", "finditer", "split", "compile", "subn"}


def expressions(file: Path) -> list[str]:
    """The literal patterns of a module that are tried at every place of a text."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SCANS:
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "re" and node.args:
                found += [n.value for n in [node.args[0]] if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return found


def begins_endlessly(pattern: str) -> bool:
    """Whether a pattern begins with a repetition that has no end, so that each place of a text costs the rest of it."""
    return _endless(list(_parser.parse(pattern)), more=False)


def _endless(items: list[Any], more: bool) -> bool:
    if not items:
        return False
    (kind, value), more = items[0], more or len(items) > 1
    if kind is _constants.SUBPATTERN:
        return _endless(list(value[-1]), more)
    if kind is _constants.BRANCH:
        return any(_endless(list(branch), more) for branch in value[1])
    repeats = kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT)
    return more and repeats and value[1] is _constants.MAXREPEAT


def test_no_expression_of_the_path_begins_with_an_endless_repetition():
    fixed = {r"\.(?!\.?$).*|__MACOSX|__pycache__|Thumbs\.db|desktop\.ini|timestamp\.txt"}  # for whole names only
    fixed |= {r"(?P<who>.+?_\d+)_assignsubmission_(?:file|onlinetext)(?:_(?P<name>.*))?"}
    fixed |= {r"(?P<who>[^_]+)(?:_LATE)?_(?P<user>\d+)_(?P<file>\d+)_(?P<name>.+)"}
    wrong = [p for name in PATH for p in expressions(ENGINE / name) if p not in fixed and begins_endlessly(p)]
    assert wrong == []


def test_a_planted_expression_is_found():
    assert begins_endlessly(r"[^\n]*\r(?=[^\n])")
    assert begins_endlessly(r"(\s+)x")
    assert not begins_endlessly(r"\n\s*\n+")
