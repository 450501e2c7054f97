"""Right answers and cheats are percent scripts that hold only the cells they replace."""

from __future__ import annotations

import pytest

from autograder.authoring.variants import Variant, load_variants
from autograder.errors import UserError
from autograder.homework import ipynb
from tests.autograder.course_factory import NAME, VARIANTS, Repository, make_repository, plant_variants

WHY = '"""Something a student does."""\n'
HEAD = WHY + "EARNS = 0.5\nSECONDS = 30\nHARMFUL = True\nimport os"


@pytest.fixture
def repository(tmp_path) -> Repository:
    made = make_repository(tmp_path)
    plant_variants(made)
    return made


def variant(repository: Repository, name: str) -> Variant:
    return next(v for v in load_variants(repository.files) if v.name == name)


def sources(found: Variant) -> dict[str | None, str]:
    return {ipynb.grade_id(cell): cell.source for cell in found.submission.notebook.cells}


def test_a_right_answer_replaces_its_cells_of_the_solution_and_no_other(repository):
    found, solution = (sources(variant(repository, name)) for name in ("right-object", "solution"))
    assert found["double-answer"].startswith("class Double:\n    def __call__")
    assert {name for name in solution if found[name] != solution[name]} == {"double-answer"}


def test_text_cells_can_be_replaced_too(repository):
    text = WHY + "\n# %% [markdown] why\n# Because it is *convex*.\n"
    (repository.files.variants / "right_words.py").write_text(text)
    assert sources(variant(repository, "right-words"))["why"] == "Because it is *convex*."


def test_a_cheat_replaces_cells_of_the_blank_template_and_its_head_stands_at_the_end_of_every_answer(repository):
    path = repository.files.variants / "cheat_both.py"
    path.write_text(f"{HEAD}\n\n# %% line-answer\nLine = 1\n")
    found, blank = variant(repository, "cheat-both"), sources(variant(repository, "blank"))
    assert (found.kind, found.why) == ("cheat", "Something a student does.")
    assert (found.earns, found.seconds, found.harmful, found.shared) == (0.5, 30, True, False)
    cells = sources(found)
    assert cells["line-answer"] == f"Line = 1\n\n\n{HEAD}"
    assert cells["double-answer"] == f"{blank['double-answer']}\n\n\n{HEAD}"
    assert cells["why"] == blank["why"]
    path.write_text(path.read_text().replace("SECONDS = 30", "ONCE = True"))
    cells = sources(variant(repository, "cheat-both"))
    assert cells["double-answer"].endswith("import os")
    assert cells["line-answer"] == "Line = 1"


def test_cheats_of_all_homeworks_are_files_of_the_same_kind(repository):
    repository.files.cheats.mkdir()
    (repository.files.cheats / "typed_in.py").write_text(VARIANTS["cheat_twos.py"])
    found, own = variant(repository, "typed-in"), variant(repository, "cheat-twos")
    assert (found.kind, found.shared, own.shared) == ("cheat", True, False)
    assert sources(found) == sources(own)


def test_wrong_answers_may_lie_in_several_files(repository):
    more = VARIANTS["wrong.yaml"].replace("name: wrong-", "name: other-")
    (repository.files.variants / "wrong_strangers.yaml").write_text(more)
    names = [v.name for v in load_variants(repository.files) if v.kind == "wrong"]
    assert names == ["wrong-factor", "wrong-shift", "other-factor", "other-shift"]


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("right_bad.py", "# %% double-answer\npass\n", "begins with no docstring"),
        ("right_bad.py", WHY, "a right answer has its docstring, and then cells headed"),
        ("right_bad.py", WHY + "import os\n\n# %% double-answer\npass\n", "a right answer has its docstring, and then"),
        (
            "right_bad.py",
            WHY + "\n# %% double-answer\npass\n\n# %% double-answer\n2\n",
            "`double-answer` is there twice",
        ),
        ("right_bad.py", WHY + "\n# %% dubble\npass\n", "the solution has no cell `dubble`"),
        ("right_bad.py", WHY + "\n# %% double-answer\npass\n\n# %%\n2\n", "cell 3 has no name"),
        ("right_bad.py", WHY + "x = (\n\n# %% double-answer\n2\n", "line 2"),
        ("cheat_bad.py", WHY + "ONCE = True\n", "a cheat has code below its docstring, or cells"),
        ("cheat_bad.py", WHY + "EARNS = 'much'\nimport os\n", "`EARNS`"),
        ("cheat_bad.py", WHY + "SECONDS = 0\nimport os\n", "`SECONDS`"),
        ("wrogn.yaml", "wrong: []\n", "variants are files called right_"),
        ("other.py", WHY, "variants are files called right_"),
        ("wrong_more.yaml", VARIANTS["wrong.yaml"], "two variants are called `wrong-factor`"),
    ],
)
def test_a_broken_file_is_a_sentence_that_names_it(repository, file, text, sentence):
    (repository.files.variants / file).write_text(text)
    with pytest.raises(UserError, match=sentence) as caught:
        load_variants(repository.files)
    assert NAME in str(caught.value)
