"""Where a student stands in one homework: what they handed in, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

Origin = Literal["collecting", "place", "grading"]  # where something handed in, or its grading, failed


@dataclass(frozen=True, slots=True)
class State:
    """Where somebody stands in one homework. They may have both a report and a sentence: the newer of two was broken.

    Args:
        who: the student's id, or the path of something that nobody on the course's list could be named for.
        came: when it was collected, ISO 8601, UTC.
        source: the name under which it was handed in.
        matched: how it is known whose it is, where not by the id: "by full name".
        exported: the name that the course page gave it, by which it takes feedback back.
        submitted: when it was handed in, ISO 8601 with its zone; None if nothing tells.
        clock: what tells it, as in "timestamp.txt".
        late: it is known to have come after the deadline.
        marked_late: the course page says that it came late, and not when.
        several: of several hand-ins, all of which are graded, which one counts: a sentence.
        sha: hash over the notebook and the files; None if nothing sound lies under `submitted/`.
        notes: for the student, made while collecting; `handed` is the hash of what they speak of.
        odd: for the student, of what lies under `submitted/`.
        path: what lies there, for people.
        files: where it lies, relative to the course folder: the notebook as "", and the files beside it.
        rejected: why something handed in, or its grading, failed, a sentence; `origin` says where.
        report, page: hashes of the report that counts and of the page made of it.
        stat: what `stat` said of the report when it was written.
        content: hash over all that page and notebook are made of.
        remarked: hash over what people and rules added to the page.
        answered: manual cells, and whether there is an answer.
        answers: manual cells, and a hash of the answer.
        by_hand: cells to which somebody gave points or a comment in formgrader: points, comment, to be looked at again.
        graded: hash of the submission that was graded.
        basis: hash of all that made the marks, beside the submission: of the newest report, proposed or not.
        sandbox: where it ran.
        marks: points of the automatic cells.
        proposed: those a newer report would give to the same submission, until they are published.
        seconds: grading took.
        infrastructure: the machine failed for a part of the report; `final` if grading again would only repeat it.
    """

    who: str
    student: bool = True
    came: str = ""
    source: str = ""
    matched: str = ""
    exported: str = ""
    submitted: str | None = None
    clock: str = ""
    late: bool = False
    marked_late: bool = False
    several: str = ""
    sha: str | None = None
    notes: tuple[str, ...] = ()
    handed: str | None = None
    odd: tuple[str, ...] = ()
    path: str = ""
    files: dict[str, str] | None = None
    rejected: str | None = None
    origin: Origin | None = None
    report: str | None = None
    page: str = ""
    stat: str = ""
    content: str = ""
    remarked: str = ""
    answered: dict[str, bool] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    by_hand: dict[str, list[Any]] = field(default_factory=dict)
    graded: str | None = None
    basis: str = ""
    sandbox: str = ""
    marks: dict[str, float | None] = field(default_factory=dict)
    proposed: dict[str, float | None] | None = None
    seconds: float = 0.0
    infrastructure: bool = False
    final: bool = True

    @property
    def when(self) -> datetime | None:
        """When it was handed in."""
        return moment(self.submitted)

    @property
    def words(self) -> tuple[str, ...]:
        """All notes for the student on what lies there."""
        mine = self.notes if self.handed == self.sha else ()
        return tuple(dict.fromkeys((*mine, *self.odd)))

    @property
    def sentence(self) -> str:
        """Where they stand, for a human; what being late means is said by the course's rule."""
        if self.rejected is not None:
            return f"not graded: {self.rejected}"
        if self.report is None:
            return "handed in, not graded yet" if self.sha else "nothing handed in"
        return "the machine failed, to be graded again" if self.infrastructure else "graded"


NAMES = tuple(item.name for item in fields(State))
OF_A_REPORT: tuple[str, ...] = (
    "report",
    "page",
    "stat",
    "content",
    "remarked",
    "answered",
    "answers",
    "graded",
    "basis",
    "sandbox",
    "marks",
    "seconds",
)
OF_A_REPORT += ("infrastructure", "final")
FLAGS = ("student", "late", "marked_late", "infrastructure", "final")
LISTS = ("notes", "odd")
WRITTEN_AS_JSON = (*LISTS, "files", "answered", "answers", "by_hand", "marks", "proposed")


def row_of(state: State) -> list[object]:
    """A state as the record writes it, in the order of `NAMES`."""
    return [
        json.dumps(value) if name in WRITTEN_AS_JSON else value
        for name, value in ((name, getattr(state, name)) for name in NAMES)
    ]


def state_of(row: Sequence[Any]) -> State:
    """The state that was written."""
    values: dict[str, Any] = dict(zip(NAMES, row, strict=True))
    values |= {name: _loaded(values[name]) for name in WRITTEN_AS_JSON}
    values |= {name: bool(values[name]) for name in FLAGS}
    return State(**(values | {name: tuple(values[name]) for name in LISTS}))


def _loaded(text: str) -> Any:
    """What was written as JSON; most of it is nothing."""
    return None if text == "null" else [] if text == "[]" else {} if text == "{}" else json.loads(text)


def moment(written: str | None) -> datetime | None:
    """What the record writes of a moment."""
    return None if written is None else datetime.fromisoformat(written)


def digest_of(data: bytes) -> str:
    """A hash."""
    return sha256(data).hexdigest()


def now() -> str:
    """This moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def stat_of(path: Path) -> str:
    """What tells that a file is still the one that was written; "" if there is none."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"
