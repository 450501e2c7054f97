"""A notebook in a worker of its own, forked from the test: what a check meets when it grades."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autograder.homework.settings import Budgets
from autograder.judge.session import Session
from autograder.student import Student
from tests.autograder.providers import ForkProvider, cells

BUDGETS = Budgets(cell_seconds=60, check_seconds=60, train_seconds=60, submission_seconds=300)


@contextmanager
def notebook(source: str) -> Iterator[Student]:
    """The names of a notebook of one cell, played in a forked worker."""
    provider = ForkProvider()
    try:
        yield Student(Session(provider, cells(source), {}, BUDGETS, seed=0), "a")
    finally:
        provider.close()
