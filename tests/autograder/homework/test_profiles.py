"""Profiles, large data sets and printed limits: one file says them, and a notebook, the checks and a sandbox agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autograder.authoring.lint import lint
from autograder.authoring.release import release
from autograder.authoring.template import write_template
from autograder.course.course import Course, init_course
from autograder.errors import UserError
from autograder.grading.batch import grade_course
from autograder.grading.results import Options
from autograder.homework import ipynb
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.homework.profiles import limits_text, under
from autograder.homework.settings import AssignmentConfig
from autograder.judge.keys import Keys
from autograder.judge.notebook_check import check_notebook
from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.student.local import LocalChannel
from autograder.worker.datasets import dataset
from tests.autograder.course_factory import ANSWERS, NAME, SOLUTION, Repository, answered, make_repository, to_bytes

SETTINGS = """\
data:
  line: {slope: 3, width: 0.1}
profiles:
  gpu:
    budgets: {train_seconds: 600, memory_mb: 4096, gpu_memory_mb: 8192}
    data: {line: {slope: 5}}
    datasets: [numbers]
"""
LIMITS_CELL = '# %% [markdown] tags=["limits"]\n# Written when the template is made.\n\n'
SLOPE = """\
    slope = float(student.trained("line").line(torch.ones(())))
    assert abs(slope - data["line"]["slope"]) < data["line"]["width"]
    assert ("numbers" in datasets) == (data["line"]["slope"] == 5)
"""
READING = """
try:
    from autograder import dataset
    target = float((dataset("numbers") / "slope.txt").read_text())
except FileNotFoundError as error:
    print(error)
    target = 3.0
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = make_repository(tmp_path)
    files = made.files
    files.config.write_text(files.config.read_text() + SETTINGS)
    files.solution.write_text(SOLUTION.replace("# %% [markdown]\n# ## 1", f"{LIMITS_CELL}# %% [markdown]\n# ## 1", 1))
    hidden = files.hidden / "checks.py"
    text = hidden.read_text()
    start = text.index('    slope = float(student.trained("line")')
    hidden.write_text(
        text[:start].replace("slope_is_three(student)", "slope_is_three(student, data, datasets)") + SLOPE
    )
    write_template(files)
    return made


@pytest.fixture
def course(repository: Repository) -> Course:
    folder = repository.root / "numbers"
    folder.mkdir()
    (folder / "slope.txt").write_text("5")
    return init_course(
        repository.root / "course",
        assignments=repository.assignments,
        solutions=repository.solutions,
        settings={"datasets": {"numbers": str(folder)}},
    )


def config_of(repository: Repository) -> AssignmentConfig:
    return repository.load().config


def test_a_profile_changes_what_it_names_and_leaves_the_rest(repository: Repository) -> None:
    plain = config_of(repository)
    gpu = under(plain, "gpu", repository.files.config)
    assert gpu.data == {"line": {"slope": 5, "width": 0.1}}
    assert (gpu.budgets.train_seconds, gpu.budgets.memory_mb, gpu.budgets.cell_seconds) == (600, 4096, 10)
    assert (plain.budgets.gpu_memory_mb, gpu.budgets.gpu_memory_mb) == (None, 8192)
    assert (plain.budgets.train_seconds, plain.datasets, gpu.datasets) == (20, [], ["numbers"])
    with pytest.raises(UserError, match="has no profile `tpu`; there are gpu"):
        under(plain, "tpu", repository.files.config)


FAULTS = {
    "train_seconds: 600": ("train_hours: 6", r"line \d+: `profiles.gpu.budgets` has no budget train_hours"),
    "memory_mb: 4096": ("memory_mb: 4", r"line \d+: `profiles.gpu.budgets"),
    "datasets: [numbers]": ("datasets: [../numbers]", r"line \d+: `profiles.gpu.datasets.0`"),
}


@pytest.mark.parametrize("old", FAULTS)
def test_a_profile_that_is_not_sound_is_named_with_its_line(repository: Repository, old: str) -> None:
    new, said = FAULTS[old]
    repository.files.config.write_text(repository.files.config.read_text().replace(old, new))
    with pytest.raises(UserError, match=said):
        repository.load()


def test_the_notebook_prints_the_limits_of_the_file(repository: Repository) -> None:
    def shown() -> str:
        cells = ipynb.parse(write_template(repository.files).read_bytes())[0].cells
        (text,) = [cell.source for cell in cells if "limits" in ipynb.tags(cell)]
        return str(text)

    assert shown() == limits_text(config_of(repository))
    assert "A cell may take 10 s, a check 10 s" in shown()
    assert "With the profile `gpu`: A cell may take 10 s" in shown()
    assert "a training 10 minutes" in shown()
    assert "in 4 GB of memory and 8 GB of the GPU's." in shown()
    config = repository.files.config
    config.write_text(config.read_text().replace("cell_seconds: 10", "cell_seconds: 12"))
    assert "A cell may take 12 s" in shown()


def test_thresholds_and_profiles_are_for_hidden_checks(course: Course, repository: Repository) -> None:
    released = yaml.safe_load((release(course, NAME) / "assignment.yaml").read_text())
    assert not {"data", "profiles"} & released.keys()
    hidden = repository.files.hidden / "checks.py"
    assert not list(lint(hidden))
    assert [s for s in lint(hidden, public=True) if "takes `data`, which is no fixture" in s]
    bench = Bench(LocalChannel({"line": 0}), Keys.local(0), only=frozenset({"line"}))
    (result,) = run_checks([CheckFile(hidden, public=False)], bench)
    assert "thresholds stay with the instructor" in (result.detail or "")


@pytest.mark.parametrize(("profile", "marks"), [("gpu", 3.0), (None, 2.4)])
def test_a_class_is_graded_under_a_profile_with_its_data_set(
    course: Course, repository: Repository, profile: str | None, marks: float
) -> None:
    """The notebook goes to the slope that lies in the data set: right under `gpu`, where it is there, alone."""
    notebook = answered(repository.load().template, {**ANSWERS, "line-answer": ANSWERS["line-answer"] + READING})
    for cell in notebook.cells:
        cell.source = cell.source.replace("line(x) - 3 * x", "line(x) - (target if target == 5 else 4) * x")
    (repository.root / "in" / "ada" / NAME).mkdir(parents=True)
    (repository.root / "in" / "ada" / NAME / f"{NAME}.ipynb").write_bytes(to_bytes(notebook))
    options = Options(sandbox="process", as_root=True, jobs=1, profile=profile)
    batch = grade_course(course, NAME, repository.root / "in", options)
    (report,) = batch.reports
    assert report.environment.profile == profile
    assert [(check.id, check.message) for check in report.checks if check.outcome == "infrastructure"] == []
    assert report.earned == marks
    again = grade_course(course, NAME, None, Options(sandbox="process", as_root=True, jobs=1, profile=profile))
    assert again.reused == 1


def test_what_is_missing_of_a_data_set_is_a_sentence(course: Course, repository: Repository) -> None:
    def refused(datasets: dict[str, str]) -> str:
        files = HomeworkFiles(
            NAME,
            repository.assignments,
            repository.solutions,
            "gpu",
            tuple((name, Path(path)) for name, path in datasets.items()),
        )
        with pytest.raises(UserError) as told:
            _ = load_assignment(files).datasets
        return str(told.value)

    assert "add `datasets: {numbers: /path/of/its/folder}` to course.yaml" in refused({})
    assert "which is no folder" in refused({"numbers": str(repository.root / "nowhere")})
    closed = repository.root / "numbers" / "slope.txt"
    closed.chmod(0o600)
    assert "chmod -R a+rX" in refused({"numbers": str(closed.parent)})
    with pytest.raises(UserError, match="has no profile `tpu`"):
        grade_course(course, NAME, None, Options(sandbox="process", as_root=True, profile="tpu"))


def test_a_notebook_checked_in_a_terminal_finds_the_data_set_beside_it(
    course: Course, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATASETS", raising=False)
    folder = release(course, NAME)
    (folder / "datasets" / "numbers").mkdir(parents=True)
    (folder / "datasets" / "numbers" / "slope.txt").write_text("5")
    asking = "\nfrom autograder import dataset\nprint((dataset('numbers') / 'slope.txt').read_text())\n"
    answers = {**ANSWERS, "double-answer": ANSWERS["double-answer"] + asking}
    notebook = answered(repository.load().template, answers)
    (folder / f"{NAME}.ipynb").write_bytes(to_bytes(notebook))
    runs = check_notebook(folder / f"{NAME}.ipynb", "double").runs
    assert [(run.error, run.stdout.strip()) for run in runs if "5" in run.stdout] == [(None, "5")]


def test_at_home_a_data_set_is_a_folder_beside_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATASETS", raising=False)
    with pytest.raises(FileNotFoundError, match="put its files into a folder of that name there"):
        dataset("numbers")
    (tmp_path / "datasets" / "numbers").mkdir(parents=True)
    assert dataset("numbers").samefile(tmp_path / "datasets" / "numbers")
    monkeypatch.setenv("DATASETS", str(tmp_path))
    assert dataset("datasets").samefile(tmp_path / "datasets")
    for name in ("..", "", "datasets/numbers"):
        with pytest.raises(FileNotFoundError):
            dataset(name)
