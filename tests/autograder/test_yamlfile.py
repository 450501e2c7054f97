"""A configuration file with a mistake: the sentence names file, line and key."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from autograder.errors import UserError
from autograder.yamlfile import StrictModel, load_yaml


class Inner(StrictModel):
    seconds: float = 1
    memory: int = Field(default=1, ge=1)


class Outer(StrictModel):
    name: str
    points: float
    budgets: Inner = Inner()
    items: list[Inner] = Field(default=[])


def complaint(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load_yaml(path, Outer)
    return str(caught.value).replace(str(path), "file")


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("name: hw1\npoints: 15\nbudgets: {seconds: 2.5}\nitems: [{memory: 2}]\n")
    assert load_yaml(tmp_path / "f.yaml", Outer) == Outer(
        name="hw1", points=15, budgets=Inner(seconds=2.5), items=[Inner(memory=2)]
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: a\npoints: 1\n\npionts: 2\n", "file, line 4: unknown key `pionts`; did you mean `points`?"),
        ("name: a\npoints: 1\nzzz: 2\n", "file, line 3: unknown key `zzz`."),
        (
            "budgets:\n  memry: 2\nname: a\npoints: 1",
            "file, line 2: unknown key `budgets.memry`; did you mean `budgets.memory`?",
        ),
        ("name: a\n", "file, line 1: the key `points` is missing."),
        ("name: a\npoints: many\n", "file, line 2: `points` should be a valid number, got 'many'."),
        ("name: a\npoints: '1'\n", "file, line 2: `points` should be a valid number, got '1'."),
        ("name: no\npoints: 1\n", "file, line 1: `name` should be a valid string, got False."),
        (
            "name: a\npoints: 1\nitems:\n- memory: 0\n",
            "file, line 4: `items.0.memory` should be greater than or equal to 1, got 0.",
        ),
        ("name: a\nname: b\npoints: 1\n", "file, line 2: `name` is given twice."),
        ("name: a\npoints: 1\nbudgets:\n  memory: 1\n  memory: 2\n", "file, line 5: `memory` is given twice."),
        ("name: [a\npoints: 1\n", "file, line 2: not valid YAML (expected ',' or ']', but got ':')."),
        ("name: a\n\tpoints: 1\n", "file, line 2: not valid YAML (found character '\\t' that cannot start any token)."),
        ("- a\n", "file, line 1: expected `key: value` lines."),
        ("", "file is empty."),
        ("[a]: 1\n", "file, line 1: a key must be a word."),
        (b"name: \xff\n", "file is not UTF-8 text."),
        ("a: &a [*a]\n", "file, line 1: what is named with `&` may not be used again with `*`; write it out."),
        ("a: " + "[" * 50 + "]" * 50, "file, line 1: nested too deeply."),
        ("a: " + "[" * 10_000, "file: not valid YAML (RecursionError)."),
        ("a: !x ['true']\n", "file, line 1: not valid YAML (could not determine a constructor for the tag '!x')."),
        ("name: a\npoints: .nan\nextra: 1", "file, line 3: unknown key `extra`."),
    ],
)  # fmt: skip
def test_every_mistake_names_line_and_key(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    assert complaint(tmp_path, text) == sentence


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    assert complaint(tmp_path, "name: 1\npoints: x\n").count("\n") == 1


def test_a_billion_laughs_are_refused_at_once(tmp_path: Path) -> None:
    text = "a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    begin = time.process_time()
    assert "write it out" in complaint(tmp_path, text)
    assert time.process_time() - begin < 1  # of CPU time: nothing was written out


def test_a_tag_that_would_run_something_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    assert "constructor" in complaint(tmp_path, f"a: !!python/object/apply:os.mkdir ['{marker}']\n")
    assert not marker.exists()


def test_missing_and_unreadable_files_are_sentences(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UserError):
            load_yaml(path, Outer)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!?|>'\"#,\n \t\\0", max_size=60))
def test_any_text_is_a_model_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text)
    with pytest.raises(UserError):
        load_yaml(path, Outer)
