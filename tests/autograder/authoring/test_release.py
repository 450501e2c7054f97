"""Releasing a homework: what is public leaves, byte for byte the same each time, and nothing hidden ever does."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nbformat
import pytest

from autograder.authoring.leaks import find_leaks
from autograder.authoring.release import release, released_files
from autograder.authoring.secrets import read_secrets
from autograder.authoring.template import build_template, write_template
from autograder.course.course import Course, init_course
from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.files import HomeworkFiles
from autograder.homework.first_cell import WHEEL
from autograder.homework.profiles import limits_text
from autograder.judge.model_answers import read_solution
from autograder.records.gradebook import dump
from autograder.submissions.person import Person
from tests.autograder.course_factory import HIDDEN_CHECKS, SOLUTION, Repository, make_repository

ROOT = Path(__file__).parents[3]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


@pytest.fixture
def course(repository: Repository) -> Course:
    people = [Person(id="alice", name="Alice Archer"), Person(id="bob")]
    folder = repository.root / "course"
    return init_course(folder, assignments=repository.assignments, solutions=repository.solutions, students=people)


def test_the_template_is_the_solution_with_the_answers_cut_out(repository: Repository) -> None:
    solution = read_solution(repository.solutions / "hw0/hw0.py")
    template = build_template(repository.solutions / "hw0/hw0.py")
    assert len(solution.cells) == len(template.cells)
    for full, blank in zip(solution.cells, template.cells, strict=True):
        if not full.metadata.get("nbgrader", {}).get("solution"):
            assert blank.source == full.source
    answer = next(cell for cell in template.cells if cell.id == "double-answer")
    assert (
        answer.source == 'def double(x):\n    """Return 2x."""\n    # YOUR CODE HERE\n    raise NotImplementedError()'
    )
    text = ipynb.to_text(template)
    assert not any(secret in text for secret in ("twice_the_argument", "nn.Parameter(", "convex", "SOLUTION"))


def test_the_template_is_a_valid_notebook_for_jupyter_and_nbgrader(repository: Repository) -> None:
    from nbgrader.nbgraderformat import reads
    from nbgrader.utils import compute_checksum

    text = (repository.assignments / "hw0/hw0.ipynb").read_text()
    nbformat.validate(nbformat.reads(text, as_version=4))
    notebook = reads(text, as_version=4)
    marked = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert len(marked) == 6
    assert all(cell.metadata.nbgrader.checksum == compute_checksum(cell) for cell in marked)
    locked = [cell.id for cell in notebook.cells if cell.metadata.get("editable") is False]
    assert locked == ["setup", "double", "line"]


def test_making_the_template_again_gives_the_same_bytes(repository: Repository) -> None:
    path = repository.assignments / "hw0/hw0.ipynb"
    before = path.read_bytes()
    assert write_template(repository.files) == path
    assert path.read_bytes() == before


def test_inserting_a_cell_keeps_the_ids_of_the_others(repository: Repository) -> None:
    source = repository.solutions / "hw0/hw0.py"
    before = [cell.id for cell in build_template(source).cells]
    source.write_text("# %% [markdown]\n# A word first.\n\n" + SOLUTION)
    assert [cell.id for cell in build_template(source).cells][1:] == before


def test_an_unclosed_answer_is_named_with_its_cell(repository: Repository) -> None:
    source = repository.solutions / "hw0/hw0.py"
    source.write_text(SOLUTION.replace("    ### END SOLUTION\n", "", 1))
    with pytest.raises(UserError, match=r"hw0.py, line 15: cell 4 \('def double\(x\):'\) begins .* never ends"):
        build_template(source)


def test_an_answer_outside_a_solution_cell_is_refused(repository: Repository) -> None:
    source = repository.solutions / "hw0/hw0.py"
    source.write_text(SOLUTION + "\n# %%\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n")
    with pytest.raises(UserError, match=r"cell 12 .*is no answer, so students would get it"):
        build_template(source)


def test_a_release_has_the_public_files_a_zip_and_a_place_in_the_gradebook(course: Course) -> None:
    folder = release(course, "hw0")
    assert folder == course.root / "release/hw0"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "assignment.yaml", "checks.py", WHEEL, "hw0.ipynb")
    ]
    with zipfile.ZipFile(course.root / "release/hw0.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"hw0/{path.name}": path.read_bytes() for path in folder.iterdir()
        }
    book = dump(course.gradebook_url)
    assert book["assignments"]["hw0"]["cells"] == {
        "double": [2.0, "code"],
        "line": [1.0, "code"],
        "why": [1.0, "markdown"],
    }
    assert book["students"] == {"alice": ["Alice", "Archer", None], "bob": [None, None, None]}


def test_releasing_again_gives_the_same_bytes_and_leaves_nothing_behind(course: Course) -> None:
    release(course, "hw0")
    before = {path: path.read_bytes() for path in course.release_dir.rglob("*") if path.is_file()}
    (course.release_dir / "hw0/stray.txt").write_text("x")
    release(course, "hw0")
    assert {path: path.read_bytes() for path in course.release_dir.rglob("*") if path.is_file()} == before


def test_a_student_can_load_what_was_released(course: Course) -> None:
    from autograder.homework.assignment import load_assignment

    hw0 = load_assignment(HomeworkFiles("hw0", release(course, "hw0").parent, None))
    assert (hw0.title, hw0.points, list(hw0.cells)) == ("Doubling", 4.0, ["double", "line", "why"])
    assert hw0.config.training["line"].checkpoint == "line.pt"


def test_data_files_go_to_students_and_a_missing_one_is_named(repository: Repository, course: Course) -> None:
    with (repository.assignments / "hw0/assignment.yaml").open("a") as file:
        file.write("files: [points.csv]\n")
    with pytest.raises(UserError, match=r"`files` names points.csv, which does not exist"):
        release(course, "hw0")
    (repository.assignments / "hw0/points.csv").write_text("x,y\n1,2\n")
    folder = release(course, "hw0")
    assert (folder / "points.csv").read_text() == "x,y\n1,2\n"
    assert "`checks.py` and `points.csv`" in (folder / "README.md").read_text()


def test_a_data_file_that_cannot_be_searched_is_refused(repository: Repository, course: Course) -> None:
    with (repository.assignments / "hw0/assignment.yaml").open("a") as file:
        file.write("files: [points.npz]\n")
    with pytest.raises(UserError, match=r"'points.npz' should be a .txt, .csv, .json or .py file"):
        release(course, "hw0")


def test_thresholds_stay_with_the_instructor(repository: Repository, course: Course) -> None:
    with (repository.assignments / "hw0/assignment.yaml").open("a") as file:
        file.write("data:\n  slope_floor: 2.75\n")
    assert "2.75" not in (release(course, "hw0") / "assignment.yaml").read_text()


GIVEN_CELL = "\n# %%\n{}\n"
LEAKS = {
    "an answer in a given cell": (
        "hw0.py", GIVEN_CELL.format("twice_the_argument = x + x\nreturn twice_the_argument"),
        "hw0.ipynb, cell 11, lines 1 to 2 are part of an answer.",
    ),
    "an answer in the public checks": (
        "checks.py", "\n# twice_the_argument = x + x\n",
        "checks.py, line 18 is part of an answer: '# twice_the_argument = x + x'.",
    ),
    "a manual answer in a text cell": (
        "hw0.py", "\n# %% [markdown]\n# * Because the loss is   convex and its only minimum lies at slope 3.\n",
        "hw0.ipynb, cell 11, lines 1 to 1 are part of an answer.",
    ),
    "a hidden check by name": (
        "checks.py", "\n# def test_double_of_noise(student):\n",
        "checks.py, line 18 is part of a hidden check: '# def test_double_of_noise(student):'.",
    ),
    "a hidden check's body": (
        "hw0.py", GIVEN_CELL.format(HIDDEN_CHECKS.split('shape."""\n')[1].split("\n\n")[0].replace("    ", "")),
        "hw0.ipynb, cell 11, lines 1 to 3 are part of the hidden check `test_double_of_noise`.",
    ),
    "a canary": (
        "hw0.py", GIVEN_CELL.format("x = 'CANARY-3f2a9c71'"), "hw0.ipynb, cell 11, line 1 has a canary",
    ),
    "the name of a hidden package": (
        "hw0.py", GIVEN_CELL.format("from reference_models import made"),
        "hw0.ipynb, cell 11, line 1 has the name of a hidden package: 'from reference_models import made'.",
    ),
    "an import of the solutions": (
        "hw0.py", GIVEN_CELL.format("import solutions.hw0.checks"), "cell 11, line 1 has the name of a hidden package",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LEAKS)
def test_a_planted_leak_stops_the_release_and_is_named(repository: Repository, course: Course, case: str) -> None:
    file, planted, sentence = LEAKS[case]
    if file == "hw0.py":
        (repository.solutions / "hw0/hw0.py").write_text(SOLUTION + planted)
    else:
        with (repository.assignments / "hw0/checks.py").open("a") as checks:
            checks.write(planted)
    with pytest.raises(UserError) as caught:
        release(course, "hw0")
    assert sentence in str(caught.value)
    assert not (course.root / "release").exists()


def test_a_leaked_answer_is_found_however_it_is_indented(repository: Repository) -> None:
    folder = repository.solutions / "hw0"
    secrets = read_secrets(folder / "hw0.py", [folder / "checks.py"])
    leak = "x = 1\n\n\t\ttwice_the_argument   =  x + x\n"
    assert len(list(find_leaks({"notes.md": leak.encode()}, secrets))) == 1
    assert list(find_leaks({"notes.md": b"x = 1\n"}, secrets)) == []
    assert "cannot be searched" in next(find_leaks({"weights.pt": b"x"}, secrets))
    assert "cannot be searched" in next(find_leaks({"notes.md": b"\xff"}, secrets))


def homeworks() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "solutions").glob("*/hw*.py") if path.stem == path.parent.name)


@pytest.mark.parametrize("name", homeworks())
def test_every_homework_of_the_course_can_be_released(name: str) -> None:
    from autograder.homework.assignment import load_assignment

    assignment = load_assignment(HomeworkFiles(name, ROOT / "assignments", ROOT / "solutions"))
    limits = limits_text(assignment.config)
    files = assignment.config.files
    made = ipynb.to_text(build_template(ROOT / "solutions" / name / f"{name}.py", limits=limits, files=files))
    assert assignment.template_path.read_text() == made, "run `autograder release` to make the template again"
    released_files(assignment)
