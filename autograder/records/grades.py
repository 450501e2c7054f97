"""The grades of a course: `grades.csv`, one page a student, one page of the class over all homeworks."""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autograder.course.course import Course
from autograder.course.formula import shown
from autograder.course.grades import Grade, grade_of
from autograder.course.policy import Policy
from autograder.feedback import page_name
from autograder.feedback.analysis import HomeworkFigures, homework_figures
from autograder.feedback.html import render
from autograder.feedback.text import line
from autograder.records.gradebook import Book
from autograder.records.log import Decided, read_log
from autograder.records.record import Record
from autograder.records.scores import safe
from autograder.records.standing import homeworks_of, standings
from autograder.report import write_atomically

COURSE = "course"  # the folder of feedback/ for the whole course


@dataclass(frozen=True)
class Written:
    """Where the grades are."""

    table: Path
    page: Path
    grades: Sequence[Grade]


def write_grades(course: Course, record: Record, now: datetime | None = None) -> Written:
    """Work out every grade and write it, each file whole or not at all.

    Args:
        now: decides whether something can still be handed in.

    Raises:
        UserError: no policy, or a policy, a log, extensions or a gradebook that cannot be used.
    """
    policy, decided = course.policy, read_log(course.log_path)
    names = homeworks_of(course, record)
    known = standings(course, record, now or datetime.now(UTC))
    grades = [grade_of(policy, standing, names) for standing in known]
    folder = course.feedback_dir(COURSE)
    for grade in grades:
        write_atomically(folder / page_name(grade.standing.student), grade_page(course.name, policy, grade, decided))
    page = folder / "class.html"
    write_atomically(page, course_page(course.name, policy, grades, _figures(course, record)))
    write_atomically(course.grades_path, grades_csv(policy, grades))
    return Written(course.grades_path, page, grades)


def grades_csv(policy: Policy, grades: Sequence[Grade]) -> str:
    """One row a student, safe to open in a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    conditions = list(policy.conditions)
    writer.writerow(["student", "name", "grade", "final", "points", "max", *policy.components, *conditions, "missing"])
    for grade in grades:
        parts = [_number(part.value) for part in grade.parts]
        met = ["" if one.value is None else _number(one.value) for one in grade.conditions]
        who, name = safe(grade.standing.student), safe(line(grade.standing.name))
        final = "yes" if grade.final else "no"
        missing = safe(line("; ".join(grade.missing), 2000))
        writer.writerow(
            [who, name, safe(grade.grade), final, _number(grade.points), _number(grade.most), *parts, *met, missing]
        )
    return buffer.getvalue()


def grade_page(course: str, policy: Policy, grade: Grade, decided: Decided) -> str:
    """A student's page for the whole course."""
    student = grade.standing.student
    given = [
        (homework, override)
        for (who, homework), overrides in decided.overrides.items()
        if who == student
        for override in overrides.values()
    ]
    return render("grade.html", title=course, rules=policy, grade=grade, given=given, shown=shown)


def course_page(course: str, policy: Policy, grades: Sequence[Grade], homeworks: Sequence[HomeworkFigures]) -> str:
    """The page of the class over all homeworks."""
    points = [grade.points for grade in grades]
    return render(
        "course.html",
        title=course,
        rules=policy,
        grades=sorted(grades, key=lambda grade: (grade.standing.name or grade.standing.student).casefold()),
        links={grade.standing.student: page_name(grade.standing.student) for grade in grades},
        distribution=_distribution(policy, grades),
        mean=statistics.fmean(map(float, points)) if points else None,
        median=float(statistics.median(points)) if points else None,
        most=policy.most,
        homeworks=homeworks,
        missing=[grade for grade in grades if grade.missing],
        shown=shown,
    )


def _distribution(policy: Policy, grades: Sequence[Grade]) -> list[tuple[str, int]]:
    """How many have each grade, the best first."""
    counts = Counter(grade.grade for grade in grades)
    if policy.scale:
        return [(word, counts[word]) for word in policy.scale]
    whole = sorted({grade.grade for grade in grades}, key=_value, reverse=True)
    return [(word, counts[word]) for word in whole]


def _value(grade: str) -> float:
    try:
        return float(grade.rstrip("…"))
    except ValueError:
        return float("-inf")


def _figures(course: Course, record: Record) -> list[HomeworkFigures]:
    graded = record.homeworks()
    found = []
    with Book(course.gradebook_url) as book:
        for name in (name for name in homeworks_of(course, record) if name in graded):
            points: list[Mapping[str, float]] = [
                {cell: score.points for cell, score in one.cells.items()}
                for one in book.read_scores(name, graded[name])
            ]
            with Record(course.root, name) as mine:
                found.append(homework_figures(name, graded[name], points, mine.briefs()))
    return found


def _number(value: object) -> str:
    return f"{float(value):.10g}"  # type: ignore[arg-type]
