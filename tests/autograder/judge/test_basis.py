"""What marks stand on: all of ours that is loaded lies in it, and a change counts exactly where it is reached."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.judge import basis as module
from autograder.judge.basis import Basis, Trace, basis_of, files_of, worked_out
from autograder.judge.definitions import Definitions, Node
from tests.autograder.course_factory import HIDDEN_CHECKS, make_repository

ROOT = Path(__file__).resolve().parents[3]
GRADES = """\
import sys
from pathlib import Path
from autograder.homework.files import HomeworkFiles
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.submission import Submission

root = Path(sys.argv[1])
files = HomeworkFiles("hw0", root / "assignments", root / "solutions")
report = grade(Job(files, Submission.of("ada", files.template().read_bytes()), "process", control=False))
assert len(report.checks) == 7, report
for loaded in list(sys.modules.values()):
    print(getattr(loaded, "__file__", None) or "")
"""
MORE = '''\
from autograder.checks import assert_close, table_law
from ..common.shared import THREE


@pytest.mark.graded("double", points=0)
def test_of_a_probe(student):
    """A probe answers."""
    net = student.probe("Constant", float(THREE))
    assert_close(net(torch.zeros(2)), torch.full((2,), 3.0), "the probe")
    assert table_law
'''


@pytest.fixture
def homework(tmp_path: Path) -> Assignment:
    """A homework whose checks import the vocabulary, a probe, and what homeworks share."""
    repository = make_repository(tmp_path)
    common = repository.solutions / "common"
    common.mkdir()
    (common / "shared.py").write_text('"""Shared."""\nTHREE = 3\n\n\ndef unused():\n    return THREE\n')
    checks = repository.solutions / "hw0" / "checks.py"
    checks.write_text(HIDDEN_CHECKS.replace("import torch\n", "import torch\n", 1) + "\n\n" + MORE)
    return repository.load()


def test_every_file_of_ours_that_a_grading_loads_lies_inside(homework: Assignment) -> None:
    root = homework.files.assignments.parent
    done = subprocess.run([sys.executable, "-c", GRADES, str(root)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded = {Path(line).resolve() for line in done.stdout.splitlines() if line.endswith(".py")}
    ours = {path for path in loaded if module.ENGINE in path.parents or root.resolve() in path.parents}
    assert len(ours) > 60
    assert root.resolve() / "solutions" / "common" / "shared.py" in ours
    assert ours - files_of(homework) == set()


# --- a copy of everything, to edit


class Copy:
    """The engine and homework 1, where they may be edited."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("autograder", "assignments", "solutions"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        engine = folder / "autograder"
        worker = engine / "worker"
        monkeypatch.setattr(module, "ENGINE", engine)
        monkeypatch.setattr(module, "CORE", Node(engine / "judge" / "grade.py", "grade_repeatedly"))
        monkeypatch.setattr(module, "WORKER", worker)
        monkeypatch.setattr(module, "PROBES", worker / "probes")
        monkeypatch.setattr(module, "worker_files", lambda: sorted(worker.rglob("*.py")))
        carriers = frozenset(engine / path.relative_to(ROOT / "autograder") for path in module.CARRIERS)
        monkeypatch.setattr(module, "CARRIERS", carriers)

    def basis(self) -> Basis:
        files = HomeworkFiles("hw1", self.root / "assignments", self.root / "solutions")
        return basis_of(load_assignment(files), {"python": "3"})

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text, (file, old)
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    return Copy(tmp_path.resolve(), monkeypatch)


def changed(before: Basis, after: Basis) -> set[str]:
    assert before.checks.keys() == after.checks.keys()
    return {name for name in before.checks if before.of(name) != after.of(name)}


def naming(word: str) -> set[str]:
    """Checks of homework 1 in whose text, or that of a function they name, a word stands: found without syntax trees
    of the engine."""
    texts: dict[str, str] = {}
    for path in (ROOT / "assignments" / "hw1" / "checks.py", *(ROOT / "solutions" / "hw1").glob("*.py")):
        if path.name == "hw1.py":
            continue
        source = path.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                texts[node.name] = texts.get(node.name, "") + (ast.get_source_segment(source, node) or "")

    def says(name: str, seen: frozenset[str]) -> bool:
        words = set(re.findall(r"\w+", texts[name])) - {name}
        return word in words or any(says(other, seen | {name}) for other in words & texts.keys() - seen)

    return {name for name in texts if name.startswith("test_") and says(name, frozenset())}


def test_an_edit_counts_exactly_where_it_is_reached(copy: Copy) -> None:
    first = before = copy.basis()
    everything = set(before.checks)
    flow, probes, laws = "autograder/vocabulary/flow_matching.py", "autograder/worker/probes", "solutions/hw1/laws.py"
    table = f"{probes}/autoregressive.py"
    edits: list[tuple[str, str, str, Callable[[], set[str]]]] = [
        ("autograder/judge/scoring.py", "min(cell.points,", "min(cell.points / 2,", lambda: everything),
        ("autograder/worker/shell.py", "\nclass ", "\nODD = 1\n\n\nclass ", lambda: everything),
        ("autograder/judge/session.py", "ACQUIRE_ATTEMPTS = 2", "ACQUIRE_ATTEMPTS = 3", lambda: everything),
        ("autograder/judge/scoring.py", "from __future__", "# a comment\nfrom __future__", set),
        ("autograder/feedback/page.py", "START_HERE = 3", "START_HERE = 4", set),
        ("autograder/commands/progress.py", "OPEN: Outcome", "OPEN2 = 1\nOPEN: Outcome", set),
        (flow, "def assert_velocity(", "def _new(): ...\n\n\ndef assert_velocity(", set),
        (f"{probes}/general.py", "class Linear(", "class New(Constant): ...\n\n\nclass Linear(", set),
        (
            table,
            "(nn.Module):",
            "(nn.Module):\n    odd = 1\n",
            lambda: naming("TableConditional"),
        ),
        (
            "autograder/vocabulary/quality.py",
            "def assert_excess(",
            "def assert_excess(*odd, **odder): ...\n\n\ndef assert_excess(",
            lambda: naming("assert_excess"),
        ),
        (laws, "def kernel_mask(", "def kernel_mask(): ...\n\n\ndef kernel_mask(", lambda: naming("kernel_mask")),
    ]
    for file, old, new, expected in edits:
        copy.edit(file, old, new)
        after = copy.basis()
        assert changed(before, after) == expected(), file
        before = after
    assert 0 < len(naming("TableConditional")) < len(everything)
    assert 0 < len(naming("assert_excess")) < len(everything)
    some = next(iter(naming("kernel_mask")))
    assert "kernel_mask" in before.why(some, first) or "more changed" in before.why(some, first)


def test_a_basis_is_worked_out_anew_when_and_only_when_something_of_it_changed(copy: Copy) -> None:
    files = HomeworkFiles("hw1", copy.root / "assignments", copy.root / "solutions")
    first, where = load_assignment(files), {"python": "3"}
    basis, trace = worked_out(first, where)
    again = Trace.of(trace.text())
    assert again.holds(load_assignment(files), where)
    assert not again.holds(first, {"python": "4"})
    (copy.root / "docs.py").write_text("nobody looks for it")
    assert again.holds(load_assignment(files), where)
    looked = next(path for path, is_there in again.there.items() if not is_there)
    for path, text in ((Path(looked), ""), (copy.root / "autograder" / "judge" / "scoring.py", "ODD = 1\n")):
        before = path.read_bytes() if path.is_file() else None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((before or b"") + text.encode())
        assert not again.holds(load_assignment(files), where), path
        path.unlink() if before is None else path.write_bytes(before)
        assert again.holds(load_assignment(files), where), path
    assert Basis.read(basis.text()).whole == basis.whole


def test_what_is_installed_beside_the_engine_is_not_ours(tmp_path: Path) -> None:
    engine = tmp_path / "autograder"
    for name in ("autograder", "torch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("x = 1\n")
    (engine / "words.py").write_text("import torch\nfrom autograder.more import g\n\ndef f():\n    return g(torch.x)\n")
    (engine / "more.py").write_text("from torch import x\n\ndef g(y):\n    return x\n")
    reached = Definitions([], engine, engine / "probes.py", {}).reach([Node((engine / "words.py").resolve(), "f")])
    assert {node.file.name for node in reached} == {"words.py", "more.py", "__init__.py"}
    assert all(engine.resolve() in node.file.parents for node in reached)


def test_a_basis_is_read_back_as_it_was_written(copy: Copy) -> None:
    basis = copy.basis()
    again = Basis.read(basis.text())
    assert again.whole == basis.whole
    assert changed(basis, again) == set()


def test_thresholds_and_the_place_count(copy: Copy) -> None:
    before = copy.basis()
    files = HomeworkFiles("hw1", copy.root / "assignments", copy.root / "solutions")
    assignment = load_assignment(files)
    data = {**assignment.config.data, "bars": {**assignment.config.data["bars"], "floor": 9.9}}
    config = assignment.config.model_copy(update={"data": data})
    found = changed(before, basis_of(replace(assignment, config=config), {"python": "3"}))
    assert found
    assert found < set(before.checks)
    assert all("bars" in name or "excess" in name or "data" in name for name in found), found
    assert changed(before, basis_of(assignment, {"python": "4"})) == set(before.checks)
