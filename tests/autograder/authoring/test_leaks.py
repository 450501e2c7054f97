"""Nothing of the hidden folder leaves with a release, whatever file of it; what is given on purpose may."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.authoring.release import release
from autograder.course.course import Course, init_course
from autograder.errors import UserError
from tests.autograder.course_factory import NAME, SOLUTION, Repository, make_repository, plant_variants

LAWS = '''\
"""What the judge knows."""

import math

import torch


def doubled_law(x, flip):
    """Exact log p in nats."""
    white = x.double().flatten(1).sum(1)
    black = x.double().flatten(1).shape[1] - white
    return white * math.log(1 - flip) + black * math.log(flip)


TABLE_OF_LEVELS = {"floor": 2.7512, "target": 0.5034, "white": 0.0813}
'''
COMMON = """\
def nearly(value, target, width):
    gap = abs(float(value) - float(target))
    closeness = max(0.0, 1.0 - gap / float(width))
    return round(closeness * 4) / 4
"""
RIGHT = '''\
"""An object that can be called, in the place of a function."""

# %% double-answer
class Double:
    def __call__(self, given_argument):
        answer_of_mine = given_argument * 2
        return answer_of_mine
double = Double()
'''


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = make_repository(tmp_path)
    hidden = made.solutions / NAME
    (hidden / "laws.py").write_text(LAWS)
    (hidden / "more").mkdir()
    (hidden / "more" / "deep.py").write_text(COMMON.replace("nearly", "deeply").replace("closeness", "depth"))
    plant_variants(made, {"right_object.py": RIGHT})
    (made.solutions / "common").mkdir()
    (made.solutions / "common" / "near.py").write_text(COMMON)
    return made


@pytest.fixture
def course(repository: Repository) -> Course:
    folders = {"assignments": repository.assignments, "solutions": repository.solutions}
    return init_course(repository.root / "course", **folders)


def body(source: str, name: str) -> str:
    """A function of a file, its header left out."""
    return source.split(f"def {name}(")[1].split("\n", 1)[1].split("\n\n\n")[0]


PASTED = {
    "laws.py": ("def mine(x, flip):\n" + body(LAWS, "doubled_law"), "laws.py"),
    "all of laws.py": (LAWS, "laws.py"),
    "a table": ('LEVELS = 1\nTABLE_OF_LEVELS = {"floor": 2.7512, "target": 0.5034, "white": 0.0813}\n', "laws.py"),
    "a file further down": (body(COMMON, "nearly").replace("closeness", "depth"), "deep.py"),
    "common": ("def mine(value, target, width):\n" + body(COMMON, "nearly"), "near.py"),
    "a right answer": (
        "class D:\n    def __call__(self, given_argument):\n        answer_of_mine = given_argument * 2\n"
        "        return answer_of_mine\n",
        "right_object.py",
    ),
    "a hidden check but for its last line": (
        'secret_input = torch.randn(shape, generator=rng)\nanswer = student.double(secret_input)\n',
        "test_double_of_noise",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PASTED)
@pytest.mark.parametrize("into", ["checks", "notebook"])
def test_a_part_of_any_hidden_file_stops_the_release_and_is_named(
    repository: Repository, course: Course, case: str, into: str
) -> None:
    pasted, source = PASTED[case]
    if into == "checks":
        with (repository.assignments / NAME / "checks.py").open("a") as checks:
            checks.write("\n\n" + pasted)
    else:
        (repository.solutions / NAME / f"{NAME}.py").write_text(f"{SOLUTION}\n# %%\n{pasted}\n")
    with pytest.raises(UserError) as caught:
        release(course, NAME)
    assert source in str(caught.value)
    assert not (course.root / "release").exists()


GIVEN = """
# %% [markdown]
# ## 3. Change the method below so that it triples.

# %% nbgrader={"grade": false, "solution": false, "locked": true, "grade_id": "given"}
class Scale:
    def forward(self, argument_of_it):
        first_factor_of_it = argument_of_it + argument_of_it
        second_factor_of_it = first_factor_of_it * 3
        return first_factor_of_it

    def name(self):
        return "the scale that is given to you here"

# %% nbgrader={"grade": false, "solution": true, "grade_id": "changed"}
class Scale:
    ### BEGIN SOLUTION{word}
    def forward(self, argument_of_it):
        first_factor_of_it = argument_of_it + argument_of_it
        second_factor_of_it = first_factor_of_it * 3
        return first_factor_of_it + argument_of_it

    def name(self):
        return "the scale that is given to you here"
    ### END SOLUTION
"""


def test_an_answer_may_repeat_given_code_if_it_says_so(repository: Repository, course: Course) -> None:
    solution = repository.solutions / NAME / f"{NAME}.py"
    solution.write_text(SOLUTION + GIVEN.replace("{word}", ""))
    with pytest.raises(UserError, match="repeats given code"):
        release(course, NAME)
    solution.write_text(SOLUTION + GIVEN.replace("{word}", ", repeats given code"))
    released = release(course, NAME)
    assert "repeats given code" not in (released / f"{NAME}.ipynb").read_text()


def test_what_the_answer_adds_is_a_leak_although_it_repeats_given_code(repository: Repository, course: Course) -> None:
    solution = repository.solutions / NAME / f"{NAME}.py"
    solution.write_text(SOLUTION + GIVEN.replace("{word}", ", repeats given code"))
    with (repository.assignments / NAME / "checks.py").open("a") as checks:
        checks.write("\n# return first_factor_of_it + argument_of_it\n")
    with pytest.raises(UserError, match="is part of an answer"):
        release(course, NAME)


def test_what_the_template_shows_is_no_secret_where_a_hidden_file_says_that_it_repeats_it(
    repository: Repository, course: Course
) -> None:
    shown = GIVEN.replace("{word}", ", repeats given code")
    (repository.solutions / NAME / f"{NAME}.py").write_text(SOLUTION + shown)
    given = shown.split('"grade_id": "given"}\n')[1].split("\n# %%")[0]
    (repository.solutions / NAME / "shown.py").write_text(given)
    with pytest.raises(UserError, match="shown in the template"):
        release(course, NAME)
    (repository.solutions / NAME / "shown.py").write_text("# shown in the template\n" + given)
    assert release(course, NAME).is_dir()
    with (repository.assignments / NAME / "checks.py").open("a") as checks:
        checks.write("\n\n" + LAWS)
    with pytest.raises(UserError, match=r"laws\.py"):
        release(course, NAME)
