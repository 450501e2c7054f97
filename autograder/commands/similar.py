"""`autograder similar`: pairs of submissions that share more than the task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from autograder.commands.for_tas import CourseOption, JsonOption, Name
from autograder.errors import UserError


def similar(
    name: Name,
    course: CourseOption = Path(),
    earlier: Annotated[
        Path | None, typer.Option(help="Another year's submissions: a folder or zip, in any layout.")
    ] = None,
    pages: Annotated[int, typer.Option(min=1, max=500, help="Pairs that get a page.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Rank pairs of submissions by the code they share beyond the template and what the whole class writes.

    Names, comments, formatting and the order of cells and definitions do not count. It accuses nobody: it says where
    to look.

    Example: `autograder similar hw1 --earlier dgm-2025/submitted`
    """
    import json

    from autograder.course.course import load_course
    from autograder.feedback.text import count
    from autograder.grading.alone import alone
    from autograder.grading.batch import take_in
    from autograder.grading.places import stored
    from autograder.homework.assignment import load_assignment
    from autograder.records.record import Record
    from autograder.similarity.report import compared, write_pages

    loaded = load_course(course)
    assignment = load_assignment(loaded.files(name))
    with alone(loaded), Record(loaded.root, name) as record:
        packed = take_in(loaded, assignment, record, None)
        states = [state for state in record.states() if state.student and state.sha is not None]
    if not states:
        raise UserError(f"nothing of {name} lies under {loaded.submitted_dir}; `autograder collect` it first.")
    submissions = [packed.get(state.who) or stored(loaded, state) for state in states]
    pairs, unread = compared(assignment, submissions, earlier)
    page = write_pages(loaded, assignment, pairs, pages)
    for sentence in unread:
        print(f"Not compared: {sentence}", file=sys.stderr)
    if as_json:
        rows = [{"one": p.one.who, "other": p.other.who, "share": round(p.share, 4), "runs": p.runs} for p in pairs]
        print(json.dumps(rows, indent=1))
        return
    if not pairs:
        print(f"No two of {count(len(submissions), 'submission')} share more than the task.", file=sys.stderr)
    for pair in pairs[:pages]:
        print(f"{100 * pair.share:3.0f} %  {pair.one.who} and {pair.other.who}")
    print(f"{page}\nIt accuses nobody: look at the pairs before you ask anybody.", file=sys.stderr)
