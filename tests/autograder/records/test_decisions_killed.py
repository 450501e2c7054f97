"""Killed while decisions, or what being late costs, are entered, the gradebook has all of them or none."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from autograder.homework.assignment import Assignment
from autograder.records.gradebook import Book, dump
from autograder.records.gradebook.lateness import Lateness
from tests.autograder.course_factory import make_repository
from tests.autograder.records.test_gradebook import ANSWERS, report

KILLS = 24
STUDENTS = [f"s{number:02}" for number in range(12)]
DUE = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def hw0(tmp_path_factory: pytest.TempPathFactory) -> Assignment:
    return make_repository(tmp_path_factory.mktemp("course")).load()


def enter(book: Book, number: int, say: Callable[[int], None] = lambda number: None) -> None:
    """Everybody gets so many eighths of a point, the last one without having handed in, and loses as many."""
    points = number % 8 / 8
    say(number)
    book.decide("hw0", {who: {"double": points} for who in STUDENTS}, {})
    say(number)
    late = {who: Lateness(points, timedelta(hours=1 + number)) for who in STUDENTS}
    book.put_late("hw0", DUE + timedelta(days=number), late)


def without_end(url: str, first: int, steps: Connection) -> None:
    with Book(url) as book:
        for number in range(first, 10**9):
            enter(book, number, steps.send)


def found_in(url: str) -> tuple[float, float]:
    """The points that all have, and what all lose. Fails where students differ in one of them, or in more time."""
    submissions = dump(url)["assignments"]["hw0"]["submissions"]
    assert sorted(submissions) == STUDENTS
    manual = {one["grades"]["double"][1] for one in submissions.values()}
    late = {tuple(one["late"]) for one in submissions.values()}
    assert (len(manual), len(late)) == (1, 1)
    (points,), ((_, penalty),) = manual, late
    return points, penalty or 0.0


def test_a_kill_leaves_what_was_decided_for_all_or_for_nobody(tmp_path: Path, hw0: Assignment) -> None:
    url = f"sqlite:///{tmp_path}/gradebook.db"
    with Book(url) as book:
        book.ensure_assignment(hw0)
        for who in STUDENTS[:-1]:
            book.write(report(who, 1.0, 0.5), hw0, ANSWERS)
        enter(book, 0)
    chance, context, number = random.Random(3), multiprocessing.get_context("fork"), 1
    for _ in range(KILLS):
        here, there = context.Pipe(duplex=False)
        writer = context.Process(target=without_end, args=(url, number, there))
        writer.start()
        there.close()
        said = []
        for _ in range(chance.choice([2, 3, 3, 4])):
            number = here.recv()
            said.append(time.monotonic())
        time.sleep(chance.random() * (said[-1] - said[-2]))  # that entering one of the two took
        writer.kill()
        writer.join()
        with suppress(EOFError):
            while True:
                number = here.recv()
        before, after = (number - 1) % 8 / 8, number % 8 / 8
        assert found_in(url) in {(before, before), (after, before), (after, after)}
    with Book(url) as book:
        enter(book, number)
    assert found_in(url) == (number % 8 / 8, number % 8 / 8)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["gradebook.db"]
