"""Calibration on a small homework whose training is a little random."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import autograder.commands.calibration as shown
import autograder.judge.grade as grading
from autograder.authoring import calibrate
from autograder.authoring.calibrate import Calibration, run_calibration
from autograder.authoring.calibrated import Saved, complaints, findings, judged, save
from autograder.authoring.lines import same_law_share
from autograder.authoring.template import write_template
from autograder.errors import UserError
from autograder.judge.job import assignment_of
from tests.autograder.commands.saying import in_this_process
from tests.autograder.course_factory import HIDDEN_CHECKS, NAME, SOLUTION, Repository, make_repository
from tests.autograder.drawn_homework import make_drawn
from tests.autograder.providers import ForkProvider

NOISY = SOLUTION.replace(
    'tags=["train", "train:line"]',
    'tags=["train", "train:line"] nbgrader={"grade": false, "solution": true, "grade_id": "line-run"}',
).replace(
    "        line.slope.grad = None\n",
    "        line.slope.grad = None\nwith torch.no_grad():\n    line.slope += 0.05 * torch.randn(())\n",
)
CHECKS = HIDDEN_CHECKS.replace(
    "    assert abs(slope - 3) < 0.1\n",
    '    if slope > 3.6:\n        raise Wrong("you have trained on the test set")\n'
    '    assert_score(abs(slope - 3), 1.0, 0.01, "the distance of the slope from 3")\n',
).replace("import pytest\n", "import pytest\n\nfrom autograder.checks import Wrong, assert_score\n", 1)
HONEST = """\
honest:
  - name: few-steps
    why: Stops early.
    edits: [{cell: line-run, find: range(60), replace: range(1)}]
    loses: [line]
  - name: too-far
    why: Ends beyond the slope, honestly.
    edits: [{cell: line-run, find: 0.05 * torch.randn(()), replace: "0.7"}]
    loses: [line]
  - name: hits-another-cell
    why: Breaks what it does not train.
    edits:
      - {cell: line-run, find: range(60), replace: range(30)}
      - {cell: double-answer, find: x + x, replace: x + x + 1}
    loses: [line]
  - name: zero
    why: Does not move.
    edits: [{cell: line-run, find: range(60), replace: range(0)}]
    loses: [line]
    baseline: true
"""


def homework(root: Path, honest: str = HONEST) -> Repository:
    repository = make_repository(root)
    files = repository.files
    files.solution.write_text(NOISY)
    (files.hidden / "checks.py").write_text(CHECKS)
    files.calibration.write_text(honest)
    files.config.write_text(f"{files.config.read_text()}data:\n  line: {{floor: 1.0, target: 0.2}}\n")
    write_template(files)
    files.variants.mkdir()
    return repository


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    """Trainings run in forked workers, in this process's own judge."""
    source = ForkProvider()
    assignment_of.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "provider_of", lambda *arguments: source)
        patch.setattr(
            calibrate, "run_jobs", lambda jobs, workers, work: in_this_process(jobs, workers, work, lambda name: None)
        )
        yield
    source.close()
    assignment_of.cache_clear()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return homework(tmp_path_factory.mktemp("calibrated"))


@pytest.fixture(scope="module")
def calibration(repository: Repository) -> Calibration:
    return run_calibration(repository.files, seeds=6, sandbox="process", as_root=True)


FIGURE = ("test_trained_slope_is_three", "the distance of the slope from 3")


def test_the_figure_of_every_training_is_measured_anew_in_every_run(calibration: Calibration) -> None:
    assert list(calibration.figures()) == [FIGURE]
    assert [len(calibration.spread(training.name, FIGURE).values) for training in calibration.trainings] == [
        *(6, 4),  # the last check of `too-far` does not come to its figure
        *(0, 4, 4),
    ]
    assert len(set(calibration.spread("solution", FIGURE).values)) == 6
    assert calibration.spread("zero", FIGURE).mean == pytest.approx(3.0, abs=0.2)


def test_a_target_that_the_solution_misses_is_named_with_one_that_holds(calibration: Calibration) -> None:
    (one,) = judged(calibration)
    assert not one.holds
    assert one.proposal.target >= max(calibration.spread("solution", FIGURE).values)
    assert one.proposal.floor < 3.0
    (sentence,) = [found for found in findings(calibration) if "is not safe" in found]
    assert f"propose {one.proposal.target:g}" in sentence


def test_what_honest_trainings_are_told_and_lose_is_listed(calibration: Calibration) -> None:
    listed = list(calibration.accusations())
    assert [found for found in listed if found.startswith("too-far fails") and "trained on the test set" in found]
    assert [found for found in listed if found.startswith("hits-another-cell loses points of `double`")]
    assert not [found for found in listed if found.startswith(("few-steps", "zero"))]
    assert [found for found in listed if found.startswith("solution does not earn all of `line`")]


def test_the_tables_name_every_training_and_the_estimator(
    calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.StringIO()
    monkeypatch.setattr(shown, "tables", lambda: Console(file=file, width=160, markup=False, highlight=False))
    shown.print_calibration(calibration)
    text = file.getvalue()
    for training in calibration.trainings:
        assert text.count(training.name) >= 2
    assert "DOES NOT HOLD" in text
    assert "tolerance bound" in text


def test_a_calibration_grows_old_with_its_checks_and_not_with_its_lines(
    calibration: Calibration, repository: Repository
) -> None:
    assert ["never calibrated" in found for found in complaints(repository.load())] == [True]
    path = save(calibration, "process")
    saved = Saved.model_validate(json.loads(path.read_text()))
    assert len(saved.figures[": ".join(FIGURE)]["solution"]) == 6
    assert all("found:" in found for found in complaints(repository.load()))
    checks, solution = repository.files.hidden / "checks.py", repository.files.solution
    for file, old, new in (
        (checks, "1.0, 0.01", "2.0, 0.5"),
        (solution, "range(60)", "range(61)"),
    ):
        text = file.read_text()
        file.write_text(text.replace(old, new))
        assert any("older than its checks" in found for found in complaints(repository.load())), file
        file.write_text(text)
    for file, old, new in (
        (solution, "Fill the cells below", "Fill all cells below"),
        (repository.files.config, "target: 0.2", "target: 0.4"),
    ):
        text = file.read_text()
        file.write_text(text.replace(old, new))
        assert not any("older than its checks" in found for found in complaints(repository.load())), file
        file.write_text(text)


FAULTS = {
    "few-steps, twice": ("name: zero", "name: few-steps", "two trainings are called `few-steps`"),
    "an unknown cell": ("cell: double-answer", "cell: triple-answer", "does not have"),
    "a cell of a human's": ("loses: [line]\n    baseline", "loses: [why]\n    baseline", "which checks do not grade"),
    "an unknown check": ("baseline: true", "fails: [test_none]", "which is no check"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_not_sound_is_refused_in_a_sentence(tmp_path: Path, fault: str) -> None:
    old, new, said = FAULTS[fault]
    broken = homework(tmp_path, HONEST.replace(old, new))
    with pytest.raises(UserError, match=rf"calibration\.yaml, line \d+: .*{said}"):
        run_calibration(broken.files, seeds=4, sandbox="process", as_root=True)


def test_a_homework_without_a_file_of_honest_trainings_is_told_which(tmp_path: Path) -> None:
    broken = homework(tmp_path)
    broken.files.calibration.unlink()
    with pytest.raises(UserError, match=r"calibration\.yaml does not exist"):
        run_calibration(broken.files, seeds=4, sandbox="process", as_root=True)
    assert NAME in str(broken.files.calibration)


def test_how_much_of_a_spread_is_that_of_the_drawn_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure is the drawn slope itself: a second training on the same law reaches the same, another law another."""
    files = make_drawn(tmp_path)
    text = files.public_checks.read_text()
    start = text.index("    if not abs(found - course_data")
    end = text.index('\n\n\n@graded("shift"')
    judged_by = '    assert_score(found, 1e6, 9e5, "the slope")'
    text = text[:start] + judged_by + text[end:]
    files.public_checks.write_text(text.replace("import CourseData, ", "import assert_score, CourseData, "))
    files.calibration.write_text("honest: []\n")
    files.variants.mkdir()
    drawn = run_calibration(files, seeds=4, sandbox="process", as_root=True)
    pairs = drawn.pairs(("test_the_trained_line_has_the_slope", "the slope"))
    assert len(pairs) == len({round(one, 3) for one, _ in pairs}) == 4
    assert same_law_share(pairs) > 0.99
    file = io.StringIO()
    monkeypatch.setattr(shown, "tables", lambda: Console(file=file, width=300, markup=False, highlight=False))
    shown.print_calibration(drawn)
    assert "100% lies between drawn laws (4 of them, two trainings each)" in file.getvalue()
    assert "between two trainings on the same law" in file.getvalue()
