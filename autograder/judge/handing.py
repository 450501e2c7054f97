"""Handing data to a notebook: drawn for the student in grading, the released example at home."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from autograder.errors import AuthorError
from autograder.homework.handed import CourseData, Maker, make, makers
from autograder.judge.keys import Keys

if TYPE_CHECKING:  # a student's `check` comes here, without nbformat and PyYAML
    from autograder.homework.assignment import Assignment

EXAMPLE = Keys.of(0, "", "example", "")  # public: at home everybody sees the same


class Handed(Mapping[str, CourseData]):
    """The data of one run by name, each made when it is first asked for.

    Args:
        keys: what they are drawn with.
    """

    def __init__(self, functions: Mapping[str, Maker], keys: Keys) -> None:
        self._functions = functions
        self._keys = keys
        self._made: dict[str, CourseData] = {}

    def __getitem__(self, name: str) -> CourseData:
        if name not in self:
            known = ", ".join(self._functions) or "none"
            raise AuthorError(f"no function hands over {name!r}; there are {known}")
        if name not in self._made:
            self._made[name] = make(name, self._functions[name], *self._keys.data(name))
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that a notebook is handed."""
        return {name: dict(data.tensors) for name, data in self.items()}


NOTHING = Handed({}, EXAMPLE)


def handed_in_grading(assignment: Assignment, keys: Keys) -> Handed:
    """What a student's notebook is handed: drawn anew for them, the same for everything they hand in."""
    public = makers(assignment.public_checks, package=False)
    hidden = {} if assignment.files.solutions is None else makers(assignment.files.hidden_data, package=True)
    return Handed({**public, **hidden}, keys)


def unlike_the_example(assignment: Assignment) -> Iterator[str]:
    """One sentence for each name whose drawn data would not run where the example's do."""
    home, drawn = handed_at_home(assignment.public_checks), handed_in_grading(assignment, EXAMPLE)
    for name in home:
        kinds = [{k: (v.dtype, v.shape[1:]) for k, v in of[name].tensors.items()} for of in (home, drawn)]
        if kinds[0] != kinds[1]:
            odd = sorted(k for k in kinds[0].keys() | kinds[1].keys() if kinds[0].get(k) != kinds[1].get(k))
            yield f"{name!r} as drawn and as the example differ in the name, dtype or shape of `{odd[0]}`."


def handed_at_home(checks: Path) -> Handed:
    """The example, which everybody sees who has the release: `checks` is its file of public checks."""
    return Handed(makers(checks, package=False), EXAMPLE)
