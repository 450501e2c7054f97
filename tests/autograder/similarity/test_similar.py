"""Alike is what was copied, however it is disguised; what was written apart is not."""

from __future__ import annotations

import builtins
import copy
import keyword
import random
import re
from pathlib import Path

import pytest
from nbformat import NotebookNode

from autograder.authoring.template import build_template
from autograder.authoring.variants import Variant, load_variants
from autograder.feedback.similarpage import Side, Stretch, pair_page
from autograder.homework.files import HomeworkFiles
from autograder.homework.ipynb import as_notebook
from autograder.similarity.fingerprints import RUN, WINDOW, every_run, fingerprints
from autograder.similarity.pairs import Pair, matched_lines, pairs_of, parts_of, work_of
from autograder.similarity.tokens import Unit, units_of

ROOT = Path(__file__).resolve().parents[3]


def notebook(*cells: str) -> NotebookNode:
    return as_notebook(
        [
            {
                "cell_type": "code",
                "source": source,
                "metadata": {},
                "id": f"c{n}",
                "outputs": [],
                "execution_count": None,
            }
            for n, source in enumerate(cells)
        ]
    )


def disguised(original: NotebookNode, seed: int) -> NotebookNode:
    """The same with other names, other comments, other formatting, and its cells in another order."""
    made = copy.deepcopy(original)
    kept = {*keyword.kwlist, *dir(builtins)}
    code = [index for index, cell in enumerate(made.cells) if cell.cell_type == "code"]
    for index in code:
        source = re.sub(r"(?m)\s*#[^'\"\n]*$", "", made.cells[index].source)
        for name in sorted(set(re.findall(r"\b[a-z_]\w+\b", source)) - kept):
            source = re.sub(rf"(?<![.\w]){name}\b(?!\s*=[^=].*[),])", f"my_{name}", source)
        made.cells[index].source = "# written by me\n" + source.replace("\ndef ", "\n\n\n# a function\ndef ")
    order = code[:]
    random.Random(seed).shuffle(order)
    cells = list(made.cells)
    for index, other in zip(code, order, strict=True):
        cells[index] = made.cells[other]
    made.cells = cells
    return made


@pytest.fixture(scope="module")
def hw1() -> tuple[list[Variant], list[Unit]]:
    """Right answers, and what their authors did not write: the template, and the solution's cells they left alone."""
    files = HomeworkFiles("hw1", ROOT / "assignments", ROOT / "solutions")
    variants = load_variants(files)
    solution = next(variant for variant in variants if variant.kind == "solution").submission.notebook
    return [v for v in variants if v.kind == "right"], units_of(build_template(files.solution)) + units_of(solution)


def test_a_disguised_copy_is_the_first_of_the_list_and_right_answers_written_apart_are_far_behind(hw1):
    variants, template = hw1
    works = [work_of(variant.name, units_of(variant.submission.notebook), template) for variant in variants]
    apart = pairs_of(works)
    assert len(works) >= 7
    assert max(pair.share for pair in apart) < 0.15
    for seed, variant in enumerate(variants):
        copied = work_of("copy", units_of(disguised(variant.submission.notebook, seed)), template)
        first, second, *_ = pairs_of([*works, copied])
        assert {first.one.who, first.other.who} == {variant.name, "copy"}
        assert first.share > 0.8 > 0.3 > second.share


FIRST = """\
def f(a, b):
    total = 0
    for i in range(a):
        total += b[i] ** 2 - 3 * i
    return total / len(b)
"""
SECOND = """\
class Net:
    def run(self, x, y):
        if x > y:
            return [k for k in x if k % 2]
        return y
"""


def pair_of(one: NotebookNode, other: NotebookNode, *, template: NotebookNode | None = None) -> Pair | None:
    given = [] if template is None else units_of(template)
    found = pairs_of([work_of("ada", units_of(one), given), work_of("bob", units_of(other), given)])
    return found[0] if found else None


def test_what_the_template_gave_is_nobodys():
    both = notebook(FIRST, SECOND)
    found = pair_of(both, both)
    assert found is not None
    assert found.share == 1.0
    assert pair_of(both, both, template=both) is None


def test_broken_cells_and_shell_lines_are_read_as_well():
    broken = "!pip install einops\n%matplotlib inline\n" + FIRST + "    return (\n"
    found = pair_of(notebook(broken), notebook(FIRST))
    assert found is not None
    assert found.share > 0.7


def test_what_half_a_class_writes_is_the_tasks_own():
    works = [work_of(f"s{n}", units_of(notebook(FIRST)), []) for n in range(6)]
    assert pairs_of(works) == []


def test_an_earlier_years_submissions_are_compared_with_this_years_only():
    works = [work_of("ada", units_of(notebook(FIRST, SECOND)), [])]
    works += [work_of(f"old{n}", units_of(notebook(FIRST, SECOND)), [], earlier=True) for n in range(2)]
    assert [(pair.one.who, pair.other.who) for pair in pairs_of(works)] == [("ada", "old0"), ("ada", "old1")]


def test_the_same_code_has_the_same_number_on_both_sides():
    found = pair_of(
        notebook(FIRST, SECOND), notebook("x = 1", SECOND.replace("self", "me"), FIRST.replace("total", "t"))
    )
    assert found is not None
    parts = parts_of(found.one, found.shared)
    left, right = (matched_lines(work, parts) for work in (found.one, found.other))
    sides = [{found.one.units[u].source.split()[0]: set(lines.values()) for u, lines in left.items()}]
    sides += [{found.other.units[u].source.split()[0]: set(lines.values()) for u, lines in right.items()}]
    assert sides[0] == sides[1] == {"def": {0}, "class": {1}}


def test_winnowing_finds_every_long_run_and_no_short_one():
    rng = random.Random(2)
    for _ in range(50):
        shared = [str(rng.random()) for _ in range(RUN + WINDOW - 1)]
        texts = [[str(rng.random()) for _ in range(40)] + shared + [str(rng.random()) for _ in range(40)] for _ in "ab"]
        one, other = ({mark.digest for mark in fingerprints([text])} for text in texts)
        assert one & other
        assert len(one) < len(every_run(texts[0])) / 2
        short = [[str(rng.random())] + shared[: RUN - 1] + [str(rng.random())] * 30 for _ in "ab"]
        one, other = ({mark.digest for mark in fingerprints([text])} for text in short)
        assert not one & other


def test_a_page_holds_no_markup_of_a_students():
    side = Side("<b>ada</b>", [Stretch("cell 1", [("<script>alert(1)</script>", 0), ("x = 1", None)])])
    page = pair_page("Homework", 0.5, side, side)
    assert "<script" not in page
    assert "accuses nobody" in page
