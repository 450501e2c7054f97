"""A fault of a solution is a sentence that names the line, the cell and what to do."""

from __future__ import annotations

import pytest

from autograder.authoring.soundness import faults
from autograder.authoring.template import build_template
from autograder.errors import UserError
from autograder.homework import ipynb
from tests.autograder.course_factory import Repository, make_repository

SOUND = """\
# %% [markdown]
# # Doubling

# %% answer="double-answer"
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% graded="double" points=2
check("double")

# %% [markdown] by_hand="why" points=1
# Because.

# %% [markdown] tags=["rubric"]
# - 1 says so
"""


@pytest.fixture
def repository(tmp_path) -> Repository:
    made = make_repository(tmp_path)
    made.files.solution.write_text(SOUND)
    return made


def test_short_headers_mean_what_nbgraders_metadata_means(repository):
    cells = build_template(repository.files.solution).cells
    marks = [ipynb.nbgrader_metadata(cell) for cell in cells]
    kinds = [(m.get("grade_id"), m.get("grade"), m.get("solution"), m.get("locked"), m.get("points")) for m in marks]
    assert kinds == [
        (None, None, None, None, None),
        ("double-answer", False, True, False, None),
        ("double", True, False, True, 2),
        ("why", True, True, False, 1),
    ]
    assert "YOUR CODE HERE" in cells[1].source
    assert "YOUR ANSWER HERE" in cells[3].source


def test_a_sound_solution_has_no_faults(repository):
    assert faults(repository.files.solution) == []


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("    ### END SOLUTION\n", "", "line 4: cell 2 ('def double(x):') begins a solution on its line 2 and never"),
        ("    ### BEGIN SOLUTION\n", "", "cell 2 ('def double(x):') ends a solution on its line 3 that none begins"),
        ("    return", "    ### BEGIN SOLUTION\n    return", "begins a solution again on its line 3; end the one"),
        (' answer="double-answer"', "", "has a solution but is no answer, so students would get it; write answer="),
        ('by_hand="why" points=1', 'answer="why"', "is text, which only a human can grade; write by_hand="),
        ('="double-answer"', '="double"', "line 10: cell 3 ('check(\"double\")') is called `double`, and so is cell 2"),
        (' points=2', "", "is graded but has no points; write points="),
        ('points=2', 'points="two"', "has points 'two'; a number of points is needed"),
        ('points=2', 'points=-2', "has points -2; a number"),
        ('="double-answer"', '="double answer"', "is called 'double answer'; a name has letters, digits, - and _ only"),
        ('="double-answer"', '=""', "has no name (grade_id)"),
        ('answer="double-answer"', 'anwser="double-answer"', "cell 2 has `anwser` in its header; did you mean `answ"),
        ('graded="double"', 'graded="double" locked="d"', "cell 3 is `graded` and `locked`; a cell has one of them"),
        ('graded="double" ', "", "cell 3 has `points` but is neither"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_cell_and_what_to_do(repository, old, new, sentence):
    path = repository.files.solution
    assert SOUND.count(old) == 1
    path.write_text(SOUND.replace(old, new))
    with pytest.raises(UserError) as caught:
        build_template(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


def test_all_faults_are_said_at_once(repository):
    path = repository.files.solution
    path.write_text(SOUND.replace("    ### END SOLUTION\n", "").replace(" points=2", ""))
    assert len(faults(path)) == 2
