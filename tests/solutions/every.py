"""What every homework must have, as rules: each gives a sentence for what a homework lacks.

EXCEPTIONS is the one place where a homework may be let off a rule for a while, with the reason. An exception that is no
longer needed fails the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from itertools import combinations

from autograder.authoring.template import build_template
from autograder.authoring.variants import Variant, load_variants
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.homework.profiles import limits_text
from autograder.judge.model_answers import read_solution, split_answer
from autograder.judge.rubrics import missing_rubrics
from autograder.report import exact
from tests.solutions.hands.notebooks import ROOT

EXCEPTIONS: dict[tuple[str, str], str] = {  # (homework, rule): the reason
    ("hw6", "lines"): "seventeen tasks, and each mistake of its plan is a variant of its own, 119 of them",
    ("hw5", "lines"): "sixteen tasks, and each mistake of its plan is a variant of its own, 79 of them",
    ("hw3", "lines"): "each mistake of its plan is a variant of its own, 113 of them",
    ("hw2", "lines"): "each mistake of its plan is a variant of its own, 77 of them",
    ("hw2", "blanks"): "the list of layers and the matrix of a convolution are one line each",
    ("hw4", "lines"): "each mistake of its plan is a variant of its own, more than a hundred of them",
    ("hw1", "lines"): "its checks and variants were written before the kit's words; whoever remakes it shortens them",
    ("hw1", "blanks"): "some blanks are one idea of one or two lines still",
}
POINTS = {"theory": 4, "practice": 9, "trained": 2}
LINES = 1800  # of all files beside the notebook
BLANK = range(3, 16)  # lines of an answer
COUNTS = {"wrong": 35, "right": 7, "cheat": 5}  # at least, of the homework's own
TERMS = 12  # of the glossary


@cache
def files_of(name: str) -> HomeworkFiles:
    return HomeworkFiles(name, ROOT / "assignments", ROOT / "solutions")


@cache
def assignment_of(name: str) -> Assignment:
    return load_assignment(files_of(name))


@cache
def variants_of(name: str) -> list[Variant]:
    """The homework's own; the cheats that fit every homework have tests of their own."""
    return [variant for variant in load_variants(files_of(name)) if not variant.shared]


@cache
def trained_cells(name: str) -> frozenset[str]:
    """The cells with a check that asks for a training."""
    return frozenset(check.cell for check in assignment_of(name).checks if check.trains is not None)


def texts(name: str) -> list[str]:
    return [cell.source for cell in read_solution(files_of(name).solution).cells if cell.cell_type == "markdown"]


def before_each_cell(name: str) -> Iterator[tuple[str, str]]:
    """Each graded cell with the text between it and the one before."""
    since: list[str] = []
    for cell in read_solution(files_of(name).solution).cells:
        since.append(cell.source if cell.cell_type == "markdown" else "")
        if (grade_id := ipynb.grade_id(cell)) in assignment_of(name).cells:
            yield str(grade_id), "\n".join(since)
            since = []


def template(name: str) -> Iterator[str]:
    config, files = assignment_of(name).config, files_of(name)
    made = ipynb.to_text(build_template(files.solution, limits=limits_text(config), files=config.files))
    if files.template().read_text(encoding="utf-8") != made:
        yield "the template is not the solution with its answers cut out"
    if "BEGIN SOLUTION" in made:
        yield "a mark of a solution is in the template"


def points(name: str) -> Iterator[str]:
    found = dict.fromkeys(POINTS, Fraction(0))
    for cell in assignment_of(name).cells.values():
        theory = "theory" if cell.grade_id.startswith("theory-") else "practice"
        found["trained" if cell.grade_id in trained_cells(name) else theory] += exact(cell.points)
    for kind, due in POINTS.items():
        if found[kind] != due:
            yield f"{kind} has {float(found[kind]):g} points instead of {due}"


def public_checks(name: str) -> Iterator[str]:
    homework = assignment_of(name)
    for cell in homework.automatic:
        shares = {public: Fraction(0) for public in (True, False)}
        for check in homework.checks:
            if check.cell == cell:
                shares[check.public] += exact(check.points)
        if not 0 < shares[True] <= shares[False]:
            yield f"`{cell}`: public checks carry {float(shares[True]):g} points, hidden ones {float(shares[False]):g}"


def said(name: str) -> Iterator[str]:
    for cell, text in before_each_cell(name):
        if "**What is checked**" not in text and not assignment_of(name).cells[cell].manual:
            yield f"`{cell}`: the text above does not say **What is checked**"


def hints(name: str) -> Iterator[str]:
    for cell, text in before_each_cell(name):
        if "<details>" not in text:
            yield f"`{cell}`: there is no folded hint above"


def limits(name: str) -> Iterator[str]:
    if not any("limits" in ipynb.tags(cell) for cell in read_solution(files_of(name).solution).cells):
        yield "no text cell tagged `limits` says seconds and memory"


def opening(name: str) -> Iterator[str]:
    first = "\n".join(texts(name)[:3])
    for what, pattern in {
        "the hours": r"\bhours?\b",
        "a picture": r"!\[|<img",
        "the conventions": r"(?i)convention",
    }.items():
        if not re.search(pattern, first):
            yield f"the first text says nothing of {what}"


def stars(name: str) -> Iterator[str]:
    if not any("★" in text for text in texts(name)[1:]):
        yield "there is no ★ task"


def glossary(name: str) -> Iterator[str]:
    last = texts(name)[-1]
    if "Glossary" not in last:
        yield "the last text has no **Glossary**"
    elif (terms := len(re.findall(r"= ?[а-яё]", last.split("Glossary")[1]))) < TERMS:
        yield f"the glossary has {terms} words, {TERMS} are asked for"


def blanks(name: str) -> Iterator[str]:
    for cell in read_solution(files_of(name).solution).cells:
        for lines, _ in split_answer(cell)[0] if cell.cell_type == "code" else []:
            count = sum(bool(line.strip()) for line in lines)
            if count not in BLANK:
                yield f"`{ipynb.grade_id(cell)}` has a blank of {count} lines: {lines[0].strip()!r}"


def rubrics(name: str) -> Iterator[str]:
    yield from missing_rubrics(assignment_of(name))


def counts(name: str) -> Iterator[str]:
    kinds = [variant.kind for variant in variants_of(name)]
    for kind, least in COUNTS.items():
        if kinds.count(kind) < least:  # type: ignore[arg-type]
            yield f"it has {kinds.count(kind)} {kind} variants of its own, at least {least} are asked for"  # type: ignore[arg-type]


def mistakes(name: str) -> Iterator[str]:
    wrong = [variant for variant in variants_of(name) if variant.kind == "wrong"]
    for cell in assignment_of(name).automatic:
        if not any(cell in variant.loses for variant in wrong):
            yield f"`{cell}` is broken by no wrong variant"
    for one, other in combinations(wrong, 2):
        if one.submission.sha256 == other.submission.sha256:
            yield f"`{one.name}` and `{other.name}` are the same"


def calibration(name: str) -> Iterator[str]:
    if trained_cells(name) and not files_of(name).calibration.is_file():
        yield "it has trained parts and no calibration.yaml"


def lines(name: str) -> Iterator[str]:
    files = files_of(name)
    beside = [
        files.config,
        files.public_checks,
        *(path for path in files.hidden_files() if files.hidden in path.parents),
    ]
    total = sum(path.read_text(encoding="utf-8").count("\n") for path in beside)
    if total > LINES:
        yield f"there are {total} lines beside the notebook, at most {LINES} are aimed at"


RULES: tuple[Callable[[str], Iterator[str]], ...] = (
    template, points, public_checks, said, hints, limits, opening, stars, glossary, blanks, rubrics, counts, mistakes,
    calibration, lines,
)  # fmt: skip
