"""What grading again costs where nothing changed, and where one student of many is new.

    python -m benchmarks.growth [100 1000 10000]

A class hands in homework 1. One submission is graded; what came of it is copied for all others, since grading them is
not what is measured. Then the command `grade` is run again as a TA types it: unchanged, and with one more hand-in. Each
line gives, of all processes together, processor time, the most memory at a time (proportional set sizes) and the bytes
given to the disk, looked at five times a second. What the new submission's own grading took is in its report and named
apart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from autograder.course.course import Course, init_course, load_course
from autograder.feedback import page_name
from autograder.homework.assignment import load_assignment
from autograder.records.gradebook import Book
from autograder.records.record import Record
from autograder.records.rendering import content_of
from autograder.records.state import digest_of
from autograder.report import Report
from autograder.sandbox.process import relatives
from autograder.submissions.person import Person

NAME, FIRST, NEW = "hw1", "s00000", "zz-new"
ROOT = Path(__file__).resolve().parent.parent
LOOKS = 0.2  # seconds between two looks at memory
HEAD = "submissions  what changed   processor s   its own wall s   wall s   memory MB   written MB"


@dataclass(frozen=True)
class Cost:
    """Of one command."""

    wall: float
    processor: float
    memory: float  # MB
    written: float  # MB


def main() -> None:
    """Print two lines for each size of class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=[100, 1_000, 10_000])
    os.environ["OMP_NUM_THREADS"] = "1"
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sizes = sorted(parser.parse_args().sizes)
        course = first_graded(Path(folder), max(sizes))
        for size in sizes:
            copy_to(course, size)
            grade_again(course)  # what was copied is read once
            say(size, "nothing", grade_again(course))
            hand_in(course, NEW, f"one more beside {size}")
            cost = grade_again(course)
            say(size, "one is new", cost, Report.load(course.report_path(NAME, NEW)).timings["total"])


def say(size: int, what: str, cost: Cost, own: float = 0.0) -> None:
    """One line of the table."""
    figures = f"{cost.processor:14.1f}{own:16.1f}{cost.wall:9.1f}{cost.memory:12.0f}{cost.written:13.1f}"
    print(f"{size:11}  {what:12}{figures}", flush=True)


def first_graded(folder: Path, most: int) -> Course:
    """A course of one submission that was graded, and the names of all who will follow."""
    people = [Person(id=f"s{number:05}") for number in range(most)] + [Person(id=NEW)]
    places = {"assignments": ROOT / "assignments", "solutions": ROOT / "solutions"}
    course = init_course(folder / "course", **places, students=people, settings={"sandbox": {"kind": "process"}})
    Book(course.gradebook_url).close()
    with sqlite3.connect(course.gradebook_url.removeprefix("sqlite:///")) as book:
        book.executemany("INSERT INTO student (id) VALUES (?)", [(person.id,) for person in people])
    hand_in(course, FIRST)
    grade_again(course)
    return load_course(course.root)


def hand_in(course: Course, student: str, more: str = "") -> None:
    """The template, as it was given out."""
    place = course.submitted_dir / student / NAME
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{NAME}.ipynb").write_text(notebook_with(more))


@cache
def notebook_with(more: str) -> str:
    """The template with one cell more."""
    template = (ROOT / "assignments" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
    cell = f'{{"cell_type": "markdown", "metadata": {{}}, "source": "{more}"}}, '
    return template.replace('"cells": [', f'"cells": [{cell}', 1)


def copy_to(course: Course, size: int) -> None:
    """As many submissions, each with everything that the first one has."""
    assignment = load_assignment(course.files(NAME))
    path = course.report_path(NAME, FIRST)
    report, text = Report.load(path), path.read_text(encoding="utf-8")
    page = (course.feedback_dir(NAME) / page_name(FIRST)).read_bytes()
    with Record(course.root, NAME) as record, record.together():
        state = record.get(FIRST)
        assert state is not None
        known = {"answered": state.answered, "answers": state.answers, "remarked": state.remarked}
        there = {state.who for state in record.states()}
        names = [name for name in (f"s{number:05}" for number in range(size)) if name not in there]
        for name in names:
            hand_in(course, name)
            copy = report.model_copy(update={"student": name})
            course.report_path(NAME, name).write_text(text.replace(f'"{FIRST}"', f'"{name}"', 1))
            (course.feedback_dir(NAME) / page_name(name)).write_bytes(page)
            course.autograded_path(NAME, name).parent.mkdir(parents=True)
            shutil.copyfile(course.autograded_path(NAME, FIRST), course.autograded_path(NAME, name))
            content = content_of(assignment, digest_of(course.report_path(NAME, name).read_bytes()))
            record.settled(copy, course.report_path(NAME, name), content=content, **known)
    with sqlite3.connect(course.gradebook_url.removeprefix("sqlite:///")) as book:
        copy_grades(book, names)


def copy_grades(book: sqlite3.Connection, students: list[str]) -> None:
    """Enter for students what is entered for the first; its rows are looked for once, for no index helps."""

    def rows_of(table: str, where: str, found: str) -> list[dict[str, str]]:
        columns = [row[1] for row in book.execute(f"PRAGMA table_info({table})")]
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE {where} = ?"
        return [dict(zip(columns, row, strict=True)) for row in book.execute(query, (found,))]

    def enter(table: str, row: dict[str, str], **changed: str) -> str:
        values = row | changed | {"id": uuid4().hex}
        book.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", list(values.values()))
        return values["id"]

    (assignment,) = rows_of("submitted_assignment", "student_id", FIRST)
    (notebook,) = rows_of("submitted_notebook", "assignment_id", assignment["id"])
    below = [(table, row) for table in ("grade", "comment") for row in rows_of(table, "notebook_id", notebook["id"])]
    for student in students:
        above = enter("submitted_assignment", assignment, student_id=student)
        mine = enter("submitted_notebook", notebook, assignment_id=above)
        for table, row in below:
            enter(table, row, notebook_id=mine)


def grade_again(course: Course) -> Cost:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--course", str(course.root)]
    command += ["--sandbox", "process", "--no-walls-as-root", "--jobs", "1"]
    begin, most = time.perf_counter(), 0.0
    processor: dict[int, float] = {}
    written: dict[int, int] = {}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            looks = {pid: look for pid in relatives(process.pid) if (look := look_at(pid)) is not None}
            processor |= {pid: look.processor for pid, look in looks.items()}
            written |= {pid: look.written for pid, look in looks.items()}
            most = max(most, sum(look.memory for look in looks.values()))
            time.sleep(LOOKS)
        wall = time.perf_counter() - begin
        if process.wait() not in (0, 1):
            said.seek(0)
            raise SystemExit(said.read())
    return Cost(wall, sum(processor.values()), most / 1e6, sum(written.values()) / 1e6)


@dataclass(frozen=True)
class Look:
    """At one process."""

    processor: float  # seconds until now
    memory: int  # bytes now; what processes share counts once
    written: int  # bytes given to the disk until now


def look_at(pid: int) -> Look | None:
    """What the system tells of a process; None if it has just ended."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        memory = _figure((folder / "smaps_rollup").read_text(encoding="ascii"), "Pss:")
        written = _figure((folder / "io").read_text(encoding="ascii"), "write_bytes:")
    except OSError:
        return None
    return Look((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), memory * 1024, written)


def _figure(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0)


if __name__ == "__main__":
    main()
