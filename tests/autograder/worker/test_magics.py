"""IPython's syntax leaves a cell, Python's stays."""

from __future__ import annotations

import ast

import pytest

from autograder.worker.magics import neutralise


def said(source: str) -> tuple[str, list[str]]:
    notes: list[str] = []
    return neutralise(source, notes.append), notes


@pytest.mark.parametrize(
    ("source", "python"),
    [
        ("!pip install einops", "pass"),
        ("%cd /content", "pass"),
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("!!ls", "pass"),
        ("x = !ls -l", "x = []"),
        ("a.b['k'] = !ls", "a.b['k'] = []"),
        ("x, y = !ls", "x, y = []"),
        ("old = %pwd", "old = None"),
        ("if True:\n    !pip install einops\n    x = 1", "if True:\n    pass\n    x = 1"),
        ("!pip install \\\n    einops \\\n    tqdm\nx = 1", "pass\n\n\nx = 1"),
        ("?print", "pass"),
        ("print??", "pass"),
        ("torch.nn.*Conv?", "pass"),
        ("%time model = fit(1)", "model = fit(1)"),
        ("x = %time fit()", "x = fit()"),
        ("%timeit fit()", "pass"),
        ("%load_ext autoreload\n%autoreload 2", "pass\npass"),
        ("!echo \"it's\nx = 'fine'", "pass\nx = 'fine'"),
        ("%%time\nx = 1\n%matplotlib inline", "\nx = 1\npass"),
        ("%%capture out\nx = 1", "\nx = 1"),
        ("\n\n%%time\nx = 1", "\n\n\nx = 1"),
        ("%%bash\nrm -rf *\nx = 'unclosed", "\n\n"),
        ("%%writefile a.py\nx = 1", "\n"),
    ],
)
def test_magics_and_shell_lines_become_python_with_the_same_lines(source, python):
    result, notes = said(source)
    assert result == python
    assert result.count("\n") == source.count("\n")
    ast.parse(result)
    assert all(note.endswith(" run") for note in notes)


@pytest.mark.parametrize(
    "source",
    [
        "x = 7 % 3",
        "x %= 3",
        "print('100%') if x != 3 else None",
        "text = '''\n%matplotlib inline\n!rm -rf *\nprint?\n'''",
        "x = (7\n% 3)",
        "x = 7 \\\n% 3",
        "# !pip install x\n# %cd y",
        "print('what?')",
        'f"{a!r:%d}"',
    ],
)
def test_python_comes_back_as_it_is(source):
    assert said(source) == (source, [])


def test_a_line_inside_a_string_stays_while_a_magic_beside_it_goes():
    source = 'text = """\n%matplotlib inline\n!ls\n"""\n!pip install x\ny = [1,\n  2 # ]\n]\n%cd z\ns = "a\\\n%b"\n!ls'
    result, notes = said(source)
    assert result == 'text = """\n%matplotlib inline\n!ls\n"""\npass\ny = [1,\n  2 # ]\n]\npass\ns = "a\\\n%b"\npass'
    assert notes == ["`!pip install x` was not run", "`%cd z` was not run", "`!ls` was not run"]


def test_a_broken_cell_stays_broken_at_the_same_line():
    result, notes = said("%matplotlib inline\nx = = 3\n")
    with pytest.raises(SyntaxError) as caught:
        ast.parse(result)
    assert caught.value.lineno == 2
    assert notes == ["`%matplotlib inline` was not run"]


def test_a_note_about_a_long_line_is_short():
    _, notes = said("!pip install " + "x" * 1000)
    assert len(notes[0]) < 120


@pytest.mark.parametrize(
    "source", ["", "\n", "   ", "%", "!", "?", "%%", "\x00!", "!" * 10_000, "(" * 500 + "!", "'''%"]
)
def test_odd_cells_end(source):
    result, _ = said(source)
    assert result.count("\n") == source.count("\n")
