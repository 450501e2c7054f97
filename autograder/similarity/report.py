"""Compare a homework's submissions and write what was found: a ranked list, and a page for each pair."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import RefusedError, UnreadableError
from autograder.feedback.similarpage import Side, Stretch, list_page, pair_page
from autograder.homework.assignment import Assignment
from autograder.report import write_atomically
from autograder.similarity.pairs import Pair, Work, matched_lines, pairs_of, parts_of, work_of
from autograder.similarity.tokens import Unit, units_of
from autograder.submission import Stored, Submission
from autograder.submissions.collect import Rejected, collect

LIST = "index.html"
EARLIER = "earlier: "


def compared(
    assignment: Assignment, submissions: Iterable[Stored | Submission], earlier: Path | None = None
) -> tuple[list[Pair], list[str]]:
    """Pairs that share something, most first, and a sentence for each submission that could not be read.

    Args:
        earlier: a folder or zip of another year's submissions, in any layout that `collect` takes.

    Raises:
        UserError: `earlier` is missing or unreadable.
    """
    template = units_of(assignment.template)
    works: list[Work] = []
    unread: list[str] = []
    for submission, old in _all(assignment, submissions, earlier, unread):
        try:
            read = submission.read()
            units = units_of(read.notebook, _modules(read, assignment))
        except (RefusedError, UnreadableError) as problem:
            unread.append(f"{submission.student}: {problem}")
            continue
        works.append(work_of(f"{EARLIER if old else ''}{read.student}", units, template, earlier=old))
    return pairs_of(works), unread


def write_pages(course: Course, assignment: Assignment, pairs: list[Pair], most: int) -> Path:
    """Write the list and a page for each of the first pairs; pages of an earlier run are gone.

    Args:
        most: pairs that get a page.
    """
    folder = course.root / "similar" / assignment.name
    shutil.rmtree(folder, ignore_errors=True)
    listed = pairs[:most]
    for number, pair in enumerate(listed, 1):
        parts = parts_of(pair.one, pair.shared)
        sides = [_side(work, matched_lines(work, parts)) for work in (pair.one, pair.other)]
        write_atomically(folder / page_of(number), pair_page(assignment.title, pair.share, *sides))
    rows = [(page_of(n), pair.one.who, pair.other.who, pair.share, pair.runs) for n, pair in enumerate(listed, 1)]
    write_atomically(folder / LIST, list_page(assignment.title, rows, len(pairs)))
    return folder / LIST


def page_of(number: int) -> str:
    """The file of a pair."""
    return f"pair-{number:03d}.html"


def _all(
    assignment: Assignment, submissions: Iterable[Stored | Submission], earlier: Path | None, unread: list[str]
) -> Iterator[tuple[Stored | Submission, bool]]:
    for submission in submissions:
        yield submission, False
    for item in collect(earlier, assignment, {}) if earlier is not None else ():
        if isinstance(item, Rejected):
            unread.append(f"{EARLIER}{item.sentence}")
        else:
            yield item, True


def _modules(submission: Submission, assignment: Assignment) -> Iterator[tuple[str, str]]:
    """Python files that were handed in beside the notebook."""
    for name, data in sorted(submission.files.items()):
        if name.endswith(".py") and name not in assignment.config.files:
            yield name, data.decode("utf-8", "replace")


def _side(work: Work, matched: dict[int, dict[int, int]]) -> Side:
    stretches = [_stretch(unit, matched.get(number, {})) for number, unit in enumerate(work.units)]
    return Side(work.who, stretches)


def _stretch(unit: Unit, matched: dict[int, int]) -> Stretch:
    return Stretch(unit.place, [(line, matched.get(number)) for number, line in enumerate(unit.source.split("\n"))])
