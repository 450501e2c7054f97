"""Rubrics reach the grader in formgrader, and no student: not by feedback of nbgrader's, a release or a page."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from autograder.authoring.release import release
from autograder.commands.show import show_report, show_rubrics
from autograder.course.course import Course, init_course
from autograder.errors import UserError
from autograder.homework.settings import LATER, POINTS
from autograder.judge.rubrics import Part, missing_rubrics, rubrics_of
from autograder.records.gradebook import Book
from autograder.records.nbgrader_config import configure
from autograder.records.record import Record
from autograder.records.rendering import rendered
from autograder.records.settle import Desk, settle
from autograder.submission import Submission
from autograder.submissions.person import Person
from tests.autograder.course_factory import NAME, SOLUTION, Repository, answered, make_repository, to_bytes
from tests.autograder.records.test_autograded import report

HIDDEN = ("a convex function of the slope", "the place of its only minimum", "A picture of the parabola")
ANSWER = "the loss is convex and its only minimum lies at slope 3"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path)


@pytest.fixture
def course(repository: Repository) -> Course:
    """A course with one graded submission."""
    course = init_course(
        repository.root / "course",
        assignments=repository.assignments,
        solutions=repository.solutions,
        students=[Person(id="alice", name="Alice Archer")],
    )
    hw0 = repository.load()
    with Book(course.gradebook_url) as book:
        book.ensure_assignment(hw0)
        submission = Submission.of("alice", to_bytes(answered(hw0.template)))
        with Record(course.root, hw0.name) as record:
            settle(Desk(course, hw0, book, record), rendered(hw0, report(), submission), submission)
    configure(course)
    return course


def test_a_rubric_has_part_points_notes_and_the_model_answer(repository: Repository) -> None:
    rubric = rubrics_of(repository.load())["why"]
    assert rubric.parts == (Part(0.6, HIDDEN[0].join(["calls the loss ", ""])), Part(0.4, f"names {HIDDEN[1]}"))
    assert rubric.notes == "A picture of the parabola earns both."
    assert ANSWER in rubric.answer
    assert not list(missing_rubrics(repository.load()))


FAULTS = {
    "- 0.5 calls": "adds up to 0.9 points, but the cell has 1",
    "- 0.63 calls": "multiples of 0.05",
    "- calls": "does not begin with its points",
}


@pytest.mark.parametrize(("written", "said"), FAULTS.items())
def test_a_rubric_that_is_not_sound_stops_the_release(
    repository: Repository, course: Course, written: str, said: str
) -> None:
    solution = repository.files.solution
    solution.write_text(solution.read_text().replace("- 0.6 calls", written))
    with pytest.raises(UserError, match=said):
        release(course, NAME)


def test_a_rubric_below_no_hand_graded_cell_is_refused(repository: Repository) -> None:
    rubric = SOLUTION[SOLUTION.index('# %% [markdown] tags=["rubric"]') :]
    repository.files.solution.write_text(f"{rubric}\n{SOLUTION.replace(rubric, '')}")
    with pytest.raises(UserError, match="stands below no hand-graded cell"):
        rubrics_of(repository.load())


def test_a_cell_without_a_rubric_or_a_model_answer_is_named(repository: Repository) -> None:
    text = SOLUTION[: SOLUTION.index('# %% [markdown] tags=["rubric"]')]
    repository.files.solution.write_text(
        text.replace("# ### BEGIN SOLUTION\n# Because", "# ### BEGIN SOLUTION\n#\n# Because")
    )
    (sentence,) = missing_rubrics(repository.load())
    assert sentence.startswith("`why` is graded by hand and has no rubric")
    start, end = text.rindex("# ### BEGIN"), text.rindex("# ### END")
    repository.files.solution.write_text(f"{text[:start]}# ### BEGIN SOLUTION\n{text[end:]}")
    assert [s for s in missing_rubrics(repository.load()) if "no model answer" in s]


def formgrader_page(course: Course) -> str:
    """The page as formgrader makes it: its exporter, its configuration, its resources."""
    script = """
import sys
from nbconvert.exporters import HTMLExporter
from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension
app = FormgradeExtension()
app.root_dir = "."
app.initialize([])
exporter = HTMLExporter(config=app.config)
known = dict(assignment_id="hw0", notebook_id="hw0", submission_id="x", index=0, total=1, base_url="", student="alice",
             last_name="", first_name="", notebook_path="")
sys.stdout.write(exporter.from_filename("autograded/alice/hw0/hw0.ipynb", resources=known)[0])
"""
    return run(course, sys.executable, "-c", script)


def run(course: Course, *command: str) -> str:
    done = subprocess.run(command, cwd=course.root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_formgrader_shows_the_rubric_below_the_answer(course: Course) -> None:
    page = formgrader_page(course)
    place = page.index("A parabola has one lowest point")
    for words in (*HIDDEN, ANSWER):
        assert page.index(words) > place


def test_formgrader_says_why_it_can_not_show_a_rubric(course: Course, repository: Repository) -> None:
    repository.files.solution.write_text(SOLUTION.replace("- 0.6 calls", "- 0.5 calls"))
    assert "The rubrics cannot be read" in formgrader_page(course)


BUTTON = """
from nbgrader.apps.api import NbGraderAPI
from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension
app = FormgradeExtension()
app.root_dir = "."
app.initialize([])
assert NbGraderAPI(app.coursedir, app.authenticator, parent=app).generate_feedback("hw0", "alice")["success"]
"""
FEEDBACK = {"nbgrader's command": ("-m", "nbgrader", "generate_feedback", NAME), "formgrader's button": ("-c", BUTTON)}


@pytest.mark.parametrize("way", FEEDBACK)
def test_nothing_of_a_rubric_is_in_nbgraders_feedback(course: Course, way: str) -> None:
    run(course, sys.executable, *FEEDBACK[way])
    made = [path for path in (course.root / "feedback").rglob("*.html") if path.name == "hw0.html"]
    assert made
    assert "A parabola has one lowest point" in made[0].read_text()
    for path in course.root.rglob("*"):  # the page and the notebook, and whatever else lies in the course
        if path.is_file():
            data = path.read_bytes()
            assert not [words for words in (*HIDDEN, ANSWER) if words.encode() in data], path


def nbgraders_page(course: Course) -> str:
    run(course, sys.executable, *FEEDBACK["nbgrader's command"], "--force")
    (page,) = (course.root / "feedback").rglob("hw0.html")
    return page.read_text()


def test_nbgraders_feedback_obeys_the_rule_of_the_homework(course: Course) -> None:
    title = report().checks[0].title
    assert title in nbgraders_page(course)
    config = course.files(NAME).config
    whole = config.read_text()
    config.write_text(f"{whole}\nfeedback: {POINTS}\n")
    assert title not in nbgraders_page(course)
    config.write_text(f"{whole}\nfeedback: {LATER}\n")
    settings = course.root / "course.yaml"
    settings.write_text(f"{settings.read_text()}\ndue: {{{NAME}: 2999-01-01T00:00:00+00:00}}\n")
    command = [sys.executable, *FEEDBACK["nbgrader's command"], "--force"]
    done = subprocess.run(command, cwd=course.root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "hidden checks of hw0 are shown when the time of all is over" in done.stderr
    settings.write_text(settings.read_text().replace("2999", "2001"))
    assert title in nbgraders_page(course)


def test_nothing_of_a_rubric_is_in_a_release(course: Course) -> None:
    folder = release(course, NAME)
    packed = io.BytesIO(folder.with_suffix(".zip").read_bytes())
    with zipfile.ZipFile(packed) as archive:
        texts = [archive.read(name) for name in archive.namelist()]
    for data in texts:
        assert not [words for words in (*HIDDEN, ANSWER) if words.encode() in data]


@pytest.mark.parametrize(
    "words", ["calls the loss a convex function of the slope", "0.4 names the place of its only minimum"]
)
def test_a_line_of_a_rubric_anywhere_in_a_release_stops_it(repository: Repository, course: Course, words: str) -> None:
    public = repository.files.public_checks
    public.write_text(f"{public.read_text()}\n# {words}\n")
    with pytest.raises(UserError, match="is part of a rubric"):
        release(course, NAME)


def test_show_prints_rubrics_for_graders_alone(repository: Repository) -> None:
    hw0 = repository.load()
    file = io.StringIO()
    show_rubrics(hw0, rubrics_of(hw0), console=Console(file=file, width=200, color_system=None))
    show_report(report(), "x", rubrics=rubrics_of(hw0), console=Console(file=file, width=200, color_system=None))
    for words in (*HIDDEN, ANSWER):
        assert file.getvalue().count(words) == 2
