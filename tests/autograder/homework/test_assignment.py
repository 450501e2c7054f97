"""Loading an assignment: a fair one loads, and each way of being unfair is named with its place."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder.errors import UserError
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from tests.autograder.course_factory import HIDDEN_CHECKS, PUBLIC_CHECKS, SOLUTION, Repository, make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


def complaint(repository: Repository) -> str:
    with pytest.raises(UserError) as caught:
        repository.load()
    return str(caught.value).replace(str(repository.root) + "/", "")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_fair_assignment_loads_with_its_cells_and_checks_in_order(repository: Repository) -> None:
    hw0 = repository.load()
    assert [(c.grade_id, c.points, c.manual, c.title) for c in hw0.cells.values()] == [
        ("double", 2.0, False, "1. Double"),
        ("line", 1.0, False, "2. Line"),
        ("why", 1.0, True, "2. Line"),
    ]
    assert [(c.name, c.cell, c.points, c.seconds, c.trains, c.public) for c in hw0.checks] == [
        ("test_double_of_one_is_two", "double", 0.5, None, None, True),
        ("test_line_is_zero_at_zero", "line", 0.4, None, None, True),
        ("test_double_of_noise", "double", 1.5, None, None, False),
        ("test_trained_slope_is_three", "line", 0.6, 20.0, "line", False),
    ]
    assert (hw0.points, hw0.automatic, hw0.manual) == (4.0, ("double", "line"), ("why",))
    assert hw0.checks[2].title == "Doubling works for every shape."


def test_an_assignment_travels_to_another_process(repository: Repository) -> None:
    hw0 = repository.load()
    assert pickle.loads(pickle.dumps(hw0)) == hw0


def test_a_students_machine_needs_no_hidden_checks(repository: Repository) -> None:
    hw0 = repository.load(student=True)
    assert hw0.hidden_checks == ()
    assert all(check.public for check in hw0.checks)


def test_hidden_checks_may_be_written_in_several_files(repository: Repository) -> None:
    whole, folder = repository.load(), repository.solutions / "hw0"
    head, first, second = (folder / "checks.py").read_text().split("@pytest.mark.graded")
    (folder / "checks.py").unlink()
    (folder / "checks_double.py").write_text(f"{head}@pytest.mark.graded{first}")
    (folder / "checks_line.py").write_text(f"{head}@pytest.mark.graded{second}")
    split = repository.load()
    assert [path.name for path in split.hidden_checks] == ["checks_double.py", "checks_line.py"]
    assert [check.name for check in split.checks] == [check.name for check in whole.checks]
    edit(folder / "checks_line.py", "< 0.1", "< 0.2")
    assert repository.load().checks_sha256 != split.checks_sha256


def test_a_homework_without_hidden_checks_is_refused(repository: Repository) -> None:
    (repository.solutions / "hw0/checks.py").unlink()
    with pytest.raises(UserError, match=r"checks\.py does not exist, nor any other file of hidden checks"):
        repository.load()


BROKEN: dict[str, tuple[Callable[[Repository], None], str]] = {
    "points do not add up": (
        lambda r: edit(r.assignments / "hw0/assignment.yaml", "points: 4", "points: 5"),
        "assignments/hw0/assignment.yaml: the graded cells add up to 4 points, but `points` says 5.",
    ),
    "cell without a check": (
        lambda r: (
            (r.assignments / "hw0/checks.py").write_text(PUBLIC_CHECKS.split("@pytest")[0]),
            edit(r.solutions / "hw0/checks.py", '"double", points=1.5', '"line", points=0.4'),
            None,
        )[-1],
        "assignments/hw0: the graded cell `double` has no check.",
    ),
    "check without a cell": (
        lambda r: edit(r.solutions / "hw0/checks.py", '"double"', '"dobule"'),
        "solutions/hw0/checks.py, line 7: `test_double_of_noise` names the cell `dobule`, "
        "which the template does not have.",
    ),
    "check of a manual cell": (
        lambda r: edit(r.solutions / "hw0/checks.py", '"double"', '"why"'),
        "solutions/hw0/checks.py, line 7: `test_double_of_noise` names `why`, which a human grades.",
    ),
    "checks worth less than the cell": (
        lambda r: edit(r.solutions / "hw0/checks.py", "points=0.6", "points=0.5"),
        "assignments/hw0: the checks of `line` carry 0.9 points, but the cell has 1.",
    ),
    "the same check twice": (
        lambda r: edit(r.solutions / "hw0/checks.py", "test_double_of_noise", "test_double_of_one_is_two"),
        "The check `test_double_of_one_is_two` is defined 2 times; names must differ between public and hidden checks.",
    ),
    "training nobody can do": (
        lambda r: edit(r.solutions / "hw0/checks.py", 'trains="line"', 'trains="lime"'),
        "solutions/hw0/checks.py, line 15: `test_trained_slope_is_three` trains `lime`, "
        "but no cell of the template is tagged `train:lime`.",
    ),
    "another name": (
        lambda r: edit(r.assignments / "hw0/assignment.yaml", "name: hw0", "name: hw1"),
        "assignments/hw0/assignment.yaml: `name` is 'hw1' but the folder is called `hw0`.",
    ),
    "a typo": (
        lambda r: edit(r.assignments / "hw0/assignment.yaml", "  check_seconds", "  check_secs"),
        "assignments/hw0/assignment.yaml, line 6: unknown key `budgets.check_secs`; "
        "did you mean `budgets.check_seconds`?",
    ),
    "a checkpoint elsewhere": (
        lambda r: edit(r.assignments / "hw0/assignment.yaml", "line.pt", "../line.pt"),
        "assignments/hw0/assignment.yaml, line 13: `training.line.checkpoint` should be a plain file name, "
        "got '../line.pt'.",
    ),
    "no template": (
        lambda r: (r.assignments / "hw0/hw0.ipynb").unlink(),
        "assignments/hw0/hw0.ipynb does not exist; `autograder release` makes it from the solution.",
    ),
    "template no notebook": (
        lambda r: (r.assignments / "hw0/hw0.ipynb").write_text("[]") and None,
        "assignments/hw0/hw0.ipynb is not a notebook (its JSON is not an object).",
    ),
    "duplicate grade_id": (
        lambda r: edit(r.assignments / "hw0/hw0.ipynb", '"grade_id": "line"', '"grade_id": "double"'),
        "assignments/hw0/hw0.ipynb, cell 9: grade_id `double` is already used by cell 5.",
    ),
    "points that are no number": (
        lambda r: edit(r.assignments / "hw0/hw0.ipynb", '"points": 2', '"points": "2"'),
        "assignments/hw0/hw0.ipynb, cell 5: `double` has points '2'; a number of points is needed.",
    ),
    "unmarked test": (
        lambda r: edit(r.assignments / "hw0/checks.py", '@pytest.mark.graded("line", points=0.4)\n', ""),
        "assignments/hw0/checks.py, line 12: `test_line_is_zero_at_zero` has no @pytest.mark.graded marker.",
    ),
    "computed points": (
        lambda r: edit(r.solutions / "hw0/checks.py", "points=0.6", "points=3 / 5"),
        "solutions/hw0/checks.py, line 14: the marker of `test_trained_slope_is_three`: "
        "`points` must be written out, not computed.",
    ),
    "no points": (
        lambda r: edit(r.solutions / "hw0/checks.py", ", points=1.5", ""),
        "solutions/hw0/checks.py, line 6: the marker of `test_double_of_noise` needs points, a number, got None.",
    ),
    "misspelt argument": (
        lambda r: edit(r.solutions / "hw0/checks.py", "seconds=20", "second=20"),
        "solutions/hw0/checks.py, line 14: the marker of `test_trained_slope_is_three` has an argument `second` "
        "it should not have; known: cell, points, seconds, trains, reply_mb.",
    ),
    "no docstring": (
        lambda r: edit(r.solutions / "hw0/checks.py", '    """The trained line has slope 3."""\n', ""),
        "solutions/hw0/checks.py, line 15: `test_trained_slope_is_three` has no docstring; "
        "students read its first line.",
    ),
    "syntax error": (
        lambda r: edit(r.solutions / "hw0/checks.py", "import torch", "import torch as"),
        "solutions/hw0/checks.py, line 2: invalid syntax.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_every_unfairness_is_named_with_its_place(repository: Repository, case: str) -> None:
    act, sentence = BROKEN[case]
    act(repository)
    assert sentence in complaint(repository).split("\n")


def test_points_are_added_as_written_and_not_as_binary_fractions(repository: Repository) -> None:
    assert 0.3 + 0.6 + 0.1 != 1
    edit(repository.assignments / "hw0/checks.py", "points=0.4", "points=0.3")
    extra = HIDDEN_CHECKS.split("@pytest.mark.graded")[2].replace("slope_is", "line_at")
    with (repository.solutions / "hw0/checks.py").open("a") as file:
        file.write("\n\n@pytest.mark.graded" + extra.replace("points=0.6", "points=0.1"))
    assert repository.load().points == 4


def test_an_unknown_assignment_lists_the_known_ones(repository: Repository) -> None:
    with pytest.raises(UserError, match=r"no assignment `hw9` in .* \(found: hw0\)"):
        load_assignment(HomeworkFiles("hw9", repository.assignments, None))
    with pytest.raises(UserError, match="no name of an assignment"):
        load_assignment(HomeworkFiles("../hw0", repository.assignments, None))


def test_the_hash_changes_with_everything_that_decides_a_score(repository: Repository) -> None:
    reference = repository.root / "reference_models"
    reference.mkdir()
    (reference / "made.py").write_text("x = 1\n")
    edit(repository.solutions / "hw0/checks.py", "import torch", "import torch\nfrom reference_models import made")
    seen = {repository.load().checks_sha256}
    assert repository.load().checks_sha256 in seen
    for path, old, new in [
        (repository.assignments / "hw0/assignment.yaml", "title: Doubling", "title: Twice"),
        (repository.assignments / "hw0/hw0.ipynb", "Fill the cells", "Fill all cells"),
        (repository.assignments / "hw0/checks.py", "full((3,), 2.0)", "full((3,), 2)"),
        (repository.solutions / "hw0/checks.py", "< 0.1", "< 0.2"),
        (reference / "made.py", "1", "2"),
    ]:
        edit(path, old, new)
        digest = repository.load().checks_sha256
        assert digest not in seen, path
        seen.add(digest)
    (repository.solutions / "hw0/hw0.py").write_text(SOLUTION + "\n# %%\n# a remark\n")
    assert repository.load().checks_sha256 in seen
