"""Every homework has what a homework must have, and its checks do what they should where nothing is trained.

The audit asks the rest of all its variants, in containers, with training and under many seeds.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import Any

import pytest

from autograder.authoring.template import build_template
from autograder.authoring.variants import Variant
from autograder.judge import runner
from autograder.judge.grade import check_files
from autograder.judge.keys import Keys
from autograder.judge.model_answers import read_solution
from autograder.judge.runner import Bench, run_checks
from autograder.judge.selfcheck import public_results
from autograder.report import CheckResult
from autograder.student.local import LocalChannel
from tests.solutions import every
from tests.solutions.every import EXCEPTIONS, RULES, assignment_of, files_of, trained_cells, variants_of
from tests.solutions.hands.notebooks import ROOT, homeworks, namespace

RIGHT = {name: sorted(path.stem for path in files_of(name).variants.glob("right_*")) for name in homeworks()}
CELLS = {name: sorted({*assignment_of(name).automatic} - trained_cells(name)) for name in homeworks()}


def sampled(of_each: dict[str, list[Any]], step: int) -> list[Any]:
    """Of each homework every so many at once, and the others as slow tests."""
    return [
        pytest.param(name, one, marks=pytest.mark.slow if number % step else ())
        for name, ones in of_each.items()
        for number, one in enumerate(ones)
    ]


def untrained_results(homework: str, names: dict[str, Any], seed: int) -> list[CheckResult]:
    """Results of all checks, public and hidden, that need no trained network."""
    bench = Bench(LocalChannel(names), Keys.local(seed))
    results = run_checks(check_files(assignment_of(homework)), bench)
    return [result for result in results if result.cell not in trained_cells(homework)]


def losing(homework: str, cell: str) -> Variant:
    """The first planted mistake that costs this cell; of those, one that costs few others."""
    trained = trained_cells(homework)
    found = (v for v in variants_of(homework) if v.kind == "wrong" and cell in v.loses and not v.loses & trained)
    return min(found, key=lambda variant: len(variant.loses))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("homework", homeworks())
def test_a_homework_has_what_a_homework_must_have(homework, rule):
    found = list(rule(homework))
    if (homework, rule.__name__) in EXCEPTIONS:
        assert found, "the exception is no longer needed: take it out of EXCEPTIONS"
    else:
        assert found == []


def test_exceptions_are_of_homeworks_and_rules_that_there_are():
    known = {(homework, rule.__name__) for homework in homeworks() for rule in RULES}
    assert EXCEPTIONS.keys() <= known
    assert all(reason.strip() for reason in EXCEPTIONS.values())


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("homework", homeworks())
def test_the_solution_passes_every_check_without_training(homework, seed):
    results = untrained_results(homework, namespace(read_solution(files_of(homework).solution), homework), seed)
    assert len(results) >= sum(check.cell not in trained_cells(homework) for check in assignment_of(homework).checks)
    assert [(result.id, result.message) for result in results if result.fraction < 1] == []


@pytest.mark.parametrize("homework", homeworks())
def test_the_blank_template_passes_no_check(homework):
    results = untrained_results(homework, namespace(build_template(files_of(homework).solution), homework), 1)
    assert [result.id for result in results if result.fraction > 0] == []
    assert {result.reason for result in results} == {"missing"}


@pytest.mark.parametrize(("homework", "file"), sampled(RIGHT, 4))
def test_answers_written_differently_pass_too(homework, file):
    variant = next(variant for variant in variants_of(homework) if variant.name == file.replace("_", "-"))
    results = untrained_results(homework, namespace(variant.submission.notebook, homework), 4)
    assert [(result.id, result.message) for result in results if result.fraction < 1] == []


@pytest.mark.parametrize(("homework", "cell"), sampled(CELLS, 4))
def test_a_planted_mistake_costs_exactly_the_cells_it_breaks(homework, cell):
    variant = losing(homework, cell)
    results = untrained_results(homework, namespace(variant.submission.notebook, homework), 5)
    assert {result.cell for result in results if result.fraction < 1} == variant.loses


@pytest.mark.parametrize(("homework", "part"), sampled({name: [0, 1, 2, 3, 4] for name in homeworks()}, 5))
def test_a_check_finds_the_same_alone_reversed_and_in_order(homework, part, monkeypatch):
    """Else a check that is run again, because it alone is stale, might not find what it would have found."""
    variant = losing(homework, CELLS[homework][0])
    names = [check.name for check in assignment_of(homework).checks if check.cell not in trained_cells(homework)]
    everything = frozenset(check.name for check in assignment_of(homework).checks)

    def found(*wanted: str) -> dict[str, CheckResult]:
        channel = LocalChannel(namespace(variant.submission.notebook, homework))
        bench = Bench(channel, Keys.local(6), skip=everything - frozenset(wanted))
        results = run_checks(check_files(assignment_of(homework)), bench)
        return {result.id: result.model_copy(update={"seconds": 0.0, "detail": None}) for result in results}

    in_order = found(*names)
    assert {result.outcome for result in in_order.values()} > {"passed"}
    alone = [result for one in names[part::5] for result in found(one).items()]
    assert len(alone) >= len(names) // 5
    assert alone == [(name, in_order[name]) for name, _ in alone]
    as_it_is = runner._Plugin.pytest_collection_modifyitems

    def reverse(plugin: runner._Plugin, items: list[pytest.Item]) -> None:
        as_it_is(plugin, items)
        items.reverse()

    monkeypatch.setattr(runner._Plugin, "pytest_collection_modifyitems", reverse)
    backwards = found(*names)
    assert list(backwards) == list(in_order)  # the order of the files, whatever ran first
    assert backwards == in_order


LOADED_ELSEWHERE = """
import sys
from pathlib import Path
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.homework.handed import makers
root = Path(sys.argv[1])
for name in sys.argv[2:]:
    assignment = load_assignment(HomeworkFiles(name, root / "assignments", root / "solutions"))
    print(name, *sorted(makers(assignment.files.hidden_data, package=True)))
"""


@pytest.mark.parametrize("beside", [True, False])
def test_the_hidden_files_are_found_from_any_folder(beside, tmp_path):
    """Beside them, by their relative path, as well as where a course lies elsewhere, and the shell that grades it."""
    free = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", LOADED_ELSEWHERE, "." if beside else str(ROOT), *homeworks()]
    done = subprocess.run(command, cwd=ROOT if beside else tmp_path, env=free, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {name: made for name, *made in (line.split() for line in done.stdout.splitlines())}
    assert found == {name: ["digits"] if files_of(name).hidden_data.is_file() else [] for name in homeworks()}


@pytest.mark.parametrize("homework", homeworks())
def test_a_student_without_the_hidden_files_can_run_the_public_checks(homework):
    names = namespace(read_solution(files_of(homework).solution), homework)
    path = files_of(homework).public_checks
    for cell in set(assignment_of(homework).automatic) - trained_cells(homework):
        assert {result.outcome for result in public_results(path, cell, names)} == {"passed"}, cell
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} - {"__future__"}
    assert {module for module in modules if module and module.startswith(("autograder", "solutions"))} == {
        "autograder.checks"
    }


@pytest.mark.parametrize(
    ("rule", "old", "new", "sentence"),
    [
        ("said", "**What is checked**", "What is checked", "does not say **What is checked**"),
        ("hints", "<details>", "<summary>", "there is no folded hint"),
        ("limits", '"limits"', '"other"', "no text cell tagged `limits`"),
        ("glossary", "Glossary.", "Words.", "the last text has no **Glossary**"),
        ("stars", "★", "*", "there is no ★ task"),
    ],
)
def test_what_is_taken_out_of_a_solution_is_missed(rule, old, new, sentence, monkeypatch, tmp_path):
    """A rule that can not fail is none."""
    path = tmp_path / "hw1.py"
    path.write_text(files_of("hw1").solution.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    solution = read_solution(path)
    monkeypatch.setattr(every, "read_solution", lambda path: solution)
    found = list(getattr(every, rule)("hw1"))
    assert found
    assert sentence in found[0]


def test_too_few_and_too_many_are_missed(monkeypatch):
    monkeypatch.setattr(every, "COUNTS", {"wrong": 10_000})
    assert "10000 are asked for" in next(every.counts("hw1"))
    monkeypatch.setattr(every, "POINTS", {"theory": 5, "practice": 9, "trained": 2})
    assert list(every.points("hw1")) == ["theory has 4 points instead of 5"]
    monkeypatch.setattr(every, "TERMS", 1000)
    assert "1000 are asked for" in next(every.glossary("hw1"))
