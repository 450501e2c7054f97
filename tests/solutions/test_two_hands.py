"""Two hands, one answer: each answer of a solution notebook beside the reference model that says the same.

A homework's table, `hands/hwN.py`, names for each function of its solution notebook a comparison on random inputs; what
has none stands there with a reason. The models that the tables and the hidden checks import are those the homework
uses: the catalogue's column is made of them (`python -m tests.documents`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import isfunction
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from tests.documents import homework_column
from tests.solutions.hands.notebooks import answers, homeworks, namespace, solution


def table(homework: str) -> ModuleType:
    return import_module(f"tests.solutions.hands.{homework}")


@cache
def written(homework: str) -> dict[str, Any]:
    return namespace(solution(homework), homework)


@pytest.fixture(autouse=True)
def _double_precision_and_one_seed() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("homework", homeworks())
def test_every_answer_has_a_second_hand_or_a_reason(homework: str) -> None:
    asked, known = answers(solution(homework)), table(homework)
    assert asked
    assert sorted(asked) == sorted([*known.PAIRS, *known.UNPAIRED])
    assert all(known.UNPAIRED.values())


@pytest.mark.parametrize(("homework", "name"), [(hw, name) for hw in homeworks() for name in table(hw).PAIRS])
def test_the_two_hands_agree(homework: str, name: str) -> None:
    torch.manual_seed(0)
    table(homework).PAIRS[name](SimpleNamespace(**written(homework)))


def test_the_catalogue_names_the_homeworks_that_use_a_family() -> None:
    before, after = homework_column()
    assert before == after, "run `python -m tests.documents`"


def spoilt(value: Any) -> Any:
    """Another answer of the same kind."""
    if isinstance(value, list | tuple):
        return type(value)(spoilt(part) for part in value)
    if isinstance(value, dict):
        return {name: spoilt(part) for name, part in value.items()}
    return ~value if isinstance(value, torch.Tensor) and value.dtype == torch.bool else 1 - value


FUNCTIONS = [(hw, name) for hw in homeworks() for name in table(hw).PAIRS if isfunction(written(hw)[name])]


@pytest.mark.parametrize(("homework", "name"), FUNCTIONS)
def test_another_answer_is_noticed(homework: str, name: str) -> None:
    right = written(homework)[name]
    changed = {**written(homework), name: lambda *given: spoilt(right(*given))}
    with pytest.raises(AssertionError):
        table(homework).PAIRS[name](SimpleNamespace(**changed))
