"""Two tests over every public callable: a generator decides all randomness, and every keyword changes the answer.

A callable takes its place in the table of its folder, or this fails: see `rows`.
"""

from __future__ import annotations

import importlib
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.reference_models.every_callable.rows import (
    Row,
    callables,
    defaults,
    draws,
    flat,
    gen,
    keywords,
    same,
    undefined,
)

pytestmark = pytest.mark.skipif("config.getoption('--device', 'cpu') != 'cpu'", reason="the tables lie on the CPU")
HERE = Path(__file__).resolve().parent
FOLDERS = [file.stem for file in sorted(HERE.glob("*.py")) if not file.stem.startswith(("test_", "rows", "__"))]
torch.set_default_dtype(torch.float64)  # of what stands in the tables
TABLES = {name: importlib.import_module(f"tests.reference_models.every_callable.{name}") for name in FOLDERS}
torch.set_default_dtype(torch.float32)
ROWS = [row for table in TABLES.values() for row in table.ROWS]
APART = {name: where for table in TABLES.values() for name, where in table.APART.items()}
FOUND = {name: function for folder in FOLDERS for name, function in callables(folder).items()}
DRAWING = [row for row in ROWS if row.name in FOUND and draws(FOUND[row.name])]


def numbered(rows: list[Row]) -> list[str]:
    """A name for each row, with a number where a callable has several."""
    seen: dict[str, int] = {}
    names = []
    for row in rows:
        seen[row.name] = seen.get(row.name, 0) + 1
        names.append(row.name if seen[row.name] == 1 else f"{row.name} {seen[row.name]}")
    return names


@pytest.mark.parametrize("row", DRAWING, ids=numbered(DRAWING))
def test_a_generator_decides_all_randomness(row):
    """Equal states give equal answers whatever the global generators, which stay untouched; others, other answers."""
    answers = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        answers.append(row.run(generator=gen(1)))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    assert same(*answers)
    assert not any(undefined(part) for part in flat(answers[0]))
    assert not row.drawn or not same(row.run(generator=gen(2)), answers[0])


TRIED = [(row, key) for row in ROWS for key in row.values]


@pytest.mark.parametrize(
    ("row", "keyword"),
    TRIED,
    ids=[f"{name}-{key}" for name, row in zip(numbered(ROWS), ROWS, strict=True) for key in row.values],
)
def test_another_value_of_a_keyword_gives_another_answer(row, keyword):
    """With the same seeds throughout, so that nothing but the keyword can be the reason."""
    tried = row.values[keyword]
    source = {"generator": gen} if row.name in FOUND and draws(FOUND[row.name]) else {}

    def answer(**given):
        torch.manual_seed(0)
        return row.run(**{key: make(1) for key, make in source.items()}, **given)

    first = answer(**tried.given)
    assert not any(undefined(part) for part in flat(first))  # NaN, which hides everything
    assert same(first, answer(**tried.given))
    assert not same(first, answer(**{**tried.given, keyword: tried.value}))


WRITTEN = HERE / "defaults.txt"
WITH_DEFAULTS = [name for name, function in FOUND.items() if keywords(function)]


@pytest.mark.parametrize("name", WITH_DEFAULTS)
def test_the_defaults_are_those_written_down(name):
    """Sizes and rates of papers: a change of one is a change of what everybody gets, and shows in two files."""
    written = dict(line.split(": ", 1) for line in WRITTEN.read_text().splitlines())
    assert written[name] == defaults(FOUND[name]), "run: python -m tests.reference_models.every_callable"


def test_no_default_is_written_down_of_what_is_not_there():
    assert [line.split(": ")[0] for line in WRITTEN.read_text().splitlines()] == sorted(WITH_DEFAULTS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_public_callable_stands_in_its_table(folder):
    found = callables(folder)
    rows = {row.name: set() for row in ROWS}
    for row in ROWS:
        rows[row.name] |= set(row.values)
    assert {name for name in rows if name.startswith(f"{folder}.")} <= set(found), "rows of what is not there"
    unrowed = {name for name, f in found.items() if (draws(f) or keywords(f)) and name not in rows}
    untried = {f"{name}.{key}" for name, f in found.items() for key in keywords(f) if key not in rows.get(name, ())}
    apart = {name for name in APART if name.startswith(f"{folder}.")}
    by_name = {
        name for name in unrowed if not draws(found[name]) and {f"{name}.{k}" for k in keywords(found[name])} <= apart
    }
    assert unrowed - by_name == set()
    assert untried == apart


def test_exceptions_are_few_and_name_the_test_that_covers_them():
    total = sum(len(keywords(f)) for f in FOUND.values())
    assert len(APART) <= 0.1 * total
    for name, (file, test) in APART.items():
        source = (HERE.parent / file).read_text()
        assert re.search(rf"^def {test}\b", source, re.MULTILINE), f"{name}: no {test} in {file}"
