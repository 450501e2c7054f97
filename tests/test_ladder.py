"""The engine's folders form a ladder: what stands on a rung imports only what stands on lower ones.

The worker's rung is the lowest but the errors'; inside a folder, modules do not import each other in circles. Two lazy
faces stand outside: `autograder/__init__.py` (`from autograder import check`) and `autograder/checks.py`, which a check
imports from below and which reaches up to whatever it names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "autograder"
RUNGS = (  # from the top
    ("__main__",),
    ("cli",),
    ("commands",),
    ("authoring", "similarity"),
    ("grading",),
    ("records",),
    ("course",),
    ("submissions",),
    ("judge",),
    ("submission",),
    ("feedback",),
    ("homework",),
    ("vocabulary",),
    ("student", "sandbox"),
    ("report",),
    ("yamlfile",),
    ("worker",),
    ("seeds",),
    ("errors", "version"),
)
FACES = {"autograder", "autograder.checks"}
HEIGHT = {name: -position for position, rung in enumerate(RUNGS) for name in rung}


def modules() -> dict[str, Path]:
    """Every module of the engine by its dotted name."""
    found = {}
    for path in sorted(ENGINE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, source: str) -> Iterator[str]:
    """The modules of ours that a module imports, anywhere in it, lazily or not.

    `from package import module` is an import of the module; `from package import name` one of the package.
    """
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            inner = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from inner
            if base in MODULES and len(inner) < len(node.names):
                yield base


def room(name: str) -> str:
    """The folder or file of the ladder that a module belongs to."""
    return name.split(".")[1]


def climbs(name: str, source: str) -> list[str]:
    """What a module imports although it does not stand below it."""
    wrong = []
    for other in imports(name, source):
        if other in FACES:
            wrong.append(f"{name} imports the face {other}")
        elif room(other) != room(name) and not HEIGHT[room(other)] < HEIGHT[room(name)]:
            wrong.append(f"{name} imports {other}")
    return wrong


def test_every_folder_and_file_has_its_rung():
    assert {room(name) for name in MODULES if name not in FACES} == set(HEIGHT)


def test_no_import_leads_up_or_sideways():
    found = [line for name, path in MODULES.items() if name not in FACES for line in climbs(name, path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("autograder.judge.session", "from autograder.records.gradebook import Book"),
        ("autograder.sandbox.docker", "def late():\n    from autograder.student import Student"),
        ("autograder.worker.objects", "from ..student import asking"),
        ("autograder.vocabulary.laws", "from autograder.checks import call"),
        ("autograder.homework.files", "import autograder.course.course"),
    ],
)
def test_a_planted_import_upwards_is_found(name, line):
    assert climbs(name, line) != []


def test_modules_import_each_other_in_no_circle():
    graph = {name: set(imports(name, path.read_text())) - {name} for name, path in MODULES.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_packages_keep_their_logic_in_modules():
    """An `__init__` says what the folder is and exports names; the worker's probes also list them."""
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name not in FACES:
            kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
            assert not any(isinstance(node, kinds) for node in ast.walk(ast.parse(path.read_text()))), name


def test_every_error_stands_in_the_tree():
    """Classes of exceptions are defined in `errors.py` and drawn in its docstring; the worker's own are named there."""
    drawn = ast.get_docstring(ast.parse((ENGINE / "errors.py").read_text())) or ""
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(_is_error(base) for base in node.bases):
                assert name == "autograder.errors" or name.startswith("autograder.worker."), f"{name}.{node.name}"
                assert node.name in drawn, node.name


def _is_error(base: ast.expr) -> bool:
    name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
    ours = {"WireError", "StudentFault", "UserError", "Infrastructure", "Wrong"}
    return name in ours or name.endswith(("Error", "Exception", "Warning"))
