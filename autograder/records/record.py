"""One record of each student's state in a homework: what they handed in, and what came of it.

Written by collecting and settling; read by grading, scores, pages and summaries, so that they cannot disagree. It is
one SQLite file in the course folder. Deleted, damaged or of another version, it is made anew from the reports, and what
lies under `submitted/` is read once more. What collecting turned away lies nowhere else: collected again, it is known.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from autograder.course.late import HandIn
from autograder.errors import UserError
from autograder.feedback.brief import Brief, brief, outline_text, read_outline
from autograder.homework.assignment import Assignment
from autograder.records.state import NAMES, OF_A_REPORT, Origin, State, digest_of, moment, row_of, stat_of, state_of
from autograder.report import Report

Kind = Literal["all", "rejected", "infrastructure", "proposed"]

FILE = "state.db"
SCHEMA = """
CREATE TABLE homework (name TEXT PRIMARY KEY, title TEXT, cells TEXT);
CREATE TABLE place (homework TEXT, name TEXT, signature TEXT, who TEXT, PRIMARY KEY (homework, name));
CREATE TABLE notebook (sha TEXT PRIMARY KEY, notes TEXT);
CREATE TABLE state (homework TEXT, who TEXT, {columns}, PRIMARY KEY (homework, who));
CREATE TABLE brief (homework TEXT, who TEXT, outline TEXT, brief TEXT, PRIMARY KEY (homework, who));
CREATE TABLE outline (sha TEXT PRIMARY KEY, outline TEXT);
CREATE TABLE basis (homework TEXT PRIMARY KEY, trace TEXT, basis TEXT);
CREATE TABLE written (homework TEXT, what TEXT, content TEXT, PRIMARY KEY (homework, what));
"""
VERSION = zlib.crc32(repr((SCHEMA, NAMES)).encode()) & 0x7FFFFFFF  # another form of the file is made anew
KINDS: dict[Kind, str] = {
    "all": "TRUE",
    "rejected": "rejected IS NOT NULL",
    "infrastructure": "infrastructure",
    "proposed": "proposed != 'null'",
}
PAGE = 500  # states that are in memory at a time


class Record:
    """The record of a course, seen from one homework. A context manager; every write is whole or not at all.

    Args:
        root: the course folder.
        homework: whose states are read and written.
    """

    def __init__(self, root: Path, homework: str) -> None:
        self.root, self.homework = root, homework
        self._inside = False
        self._open()

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Writes inside are one: all are there, or none. Raises UserError if they cannot be written."""
        if self._inside:
            yield
            return
        self._inside = True
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise UserError(f"The record {self.root / FILE} cannot be written: {error}.") from error
            raise
        finally:
            self._inside = False

    # --- written by collecting

    def put(self, state: State) -> None:
        """Write a state in the place of the one that was."""
        values = [self.homework, *row_of(state)]
        marks = ", ".join("?" * len(values))
        self._write(f"INSERT OR REPLACE INTO state (homework, {', '.join(NAMES)}) VALUES ({marks})", values)

    def change(self, who: str, **values: object) -> None:
        """Change some of a state, which is made if there is none."""
        self.put(replace(self.get(who) or State(who), **values))  # type: ignore[arg-type]

    def rejected(self, who: str, sentence: str, origin: Origin, *, student: bool = True) -> None:
        """Something handed in, or its grading, failed through no report of its own."""
        self.change(who, rejected=sentence, origin=origin, student=student)

    def accepted(self, who: str, origin: Origin) -> None:
        """What was wrong there is so no longer; nothing is left of somebody of whom nothing else is known."""
        state = self.get(who)
        if state is not None and state.origin == origin:
            self.change(who, rejected=None, origin=None)
            if not state.student:
                self._write("DELETE FROM state WHERE homework = ? AND who = ?", (self.homework, who))

    def places(self) -> dict[str, tuple[str, str]]:
        """What lies under `submitted/`: name -> what `stat` said of it, and whose it is."""
        rows = self._read("SELECT name, signature, who FROM place WHERE homework = ?")
        return {name: (signature, who) for name, signature, who in rows}

    def put_place(self, name: str, signature: str, who: str) -> None:
        """Something under `submitted/` was read."""
        self._write("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)", (self.homework, name, signature, who))

    def remove_place(self, name: str) -> None:
        """Something does not lie under `submitted/` any more."""
        self._write("DELETE FROM place WHERE homework = ? AND name = ?", (self.homework, name))

    def notes_on(self, notebook: str) -> list[str] | None:
        """What was odd about a notebook that was read before, by the hash of its file."""
        row = self._connection.execute("SELECT notes FROM notebook WHERE sha = ?", (notebook,)).fetchone()
        return None if row is None else list(json.loads(row[0]))

    def put_notes(self, notebook: str, notes: Sequence[str]) -> None:
        """A notebook was read."""
        self._write("INSERT OR REPLACE INTO notebook VALUES (?, ?)", (notebook, json.dumps(list(notes))))

    # --- written by settling

    def settled(self, report: Report, path: Path, **values: object) -> None:
        """A report lies in its place."""
        known = {
            "report": digest_of(path.read_bytes()),
            "stat": stat_of(path),
            "graded": report.submission_sha256,
            "basis": report.basis,
            "sandbox": report.environment.sandbox,
            "marks": report.marks,
            "seconds": report.timings.get("total", 0.0),
            "infrastructure": report.infrastructure,
            "final": report.final,
        }
        with self.together():
            self.accepted(report.student, "grading")
            self.change(report.student, **(known | values))
            self._put_brief(brief(report))

    def _put_brief(self, made: Brief) -> None:
        outline = outline_text(made.outline)
        sha = digest_of(outline.encode())
        self._write("INSERT OR IGNORE INTO outline VALUES (?, ?)", (sha, outline))
        values = (self.homework, made.student, sha, made.text())
        self._write("INSERT OR REPLACE INTO brief VALUES (?, ?, ?, ?)", values)

    def forget_report(self, who: str) -> None:
        """A report is not there any more."""
        unknown = State(who)
        values = {name: getattr(unknown, name) for name in OF_A_REPORT}
        with self.together():
            self.change(who, **values)
            self._write("DELETE FROM brief WHERE homework = ? AND who = ?", (self.homework, who))

    def put_homework(self, assignment: Assignment) -> None:
        """What a homework was when it was graded last: scores need no more of it."""
        cells = json.dumps(assignment.points_of_cells)
        self._write("INSERT OR REPLACE INTO homework VALUES (?, ?, ?)", (assignment.name, assignment.title, cells))

    def written(self, what: str) -> str:
        """Of what content something that speaks of the whole class was made; "" if of none."""
        row = self._connection.execute(
            "SELECT content FROM written WHERE homework = ? AND what = ?", (self.homework, what)
        ).fetchone()
        return "" if row is None else str(row[0])

    def put_written(self, what: str, content: str) -> None:
        """Something that speaks of the whole class was made."""
        self._write("INSERT OR REPLACE INTO written VALUES (?, ?, ?)", (self.homework, what, content))

    def traced(self) -> tuple[str, str] | None:
        """What marks stood on when somebody last looked, after what it was worked out from."""
        query = "SELECT trace, basis FROM basis WHERE homework = ?"
        row = self._connection.execute(query, (self.homework,)).fetchone()
        return None if row is None else (str(row[0]), str(row[1]))

    def put_traced(self, trace: str, basis: str) -> None:
        """What marks stand on was worked out."""
        self._write("INSERT OR REPLACE INTO basis VALUES (?, ?, ?)", (self.homework, trace, basis))

    # --- read by everybody

    def get(self, who: str) -> State | None:
        """The state of one student; None if nothing is known."""
        row = self._connection.execute(
            f"SELECT {', '.join(NAMES)} FROM state WHERE homework = ? AND who = ?", (self.homework, who)
        ).fetchone()
        return None if row is None else state_of(row)

    def states(self, kind: Kind = "all") -> Iterator[State]:
        """Every state, or those of a kind, by student; what nobody could be named for comes last.

        A few are read at a time, so whoever goes through them may change them.
        """
        query = f"SELECT {', '.join(NAMES)} FROM state WHERE homework = ? AND {KINDS[kind]}"
        for who_is in ("student", "NOT student"):
            rows = list(self._read(f"{query} AND {who_is} ORDER BY who LIMIT {PAGE}"))
            while rows:
                found = [state_of(row) for row in rows]
                yield from found
                more = f"{query} AND {who_is} AND who > ? ORDER BY who LIMIT {PAGE}"
                rows = list(self._read(more, found[-1].who)) if len(rows) == PAGE else []

    def handed_in(self) -> set[str]:
        """Students of whom something sound lies under `submitted/`."""
        return {who for (who,) in self._read("SELECT who FROM state WHERE homework = ? AND student AND sha NOTNULL")}

    def hand_ins(self, student: str | None = None) -> Iterator[tuple[str, dict[str, HandIn]]]:
        """By student, or of one: when they handed in which homework."""
        query = "SELECT who, homework, submitted, late FROM state WHERE student AND (sha NOTNULL OR report NOTNULL)"
        one, values = ("", ()) if student is None else (" AND who = ?", (student,))
        rows = self._connection.execute(f"{query}{one} ORDER BY who", values)
        for who, mine in itertools.groupby(rows, lambda row: str(row[0])):
            yield who, {homework: HandIn(moment(when), bool(late)) for _, homework, when, late in mine}

    def by_hand(self) -> list[tuple[str, dict[str, list[Any]]]]:
        """Of everybody: who, and what somebody gave them in formgrader."""
        rows = self._read("SELECT who, by_hand FROM state WHERE homework = ? ORDER BY who")
        return [(who, {} if given == "{}" else json.loads(given)) for who, given in rows]

    def everybody(self) -> dict[str, dict[str, State]]:
        """Where every student stands in every homework: student -> homework -> state."""
        rows = self._connection.execute(f"SELECT homework, {', '.join(NAMES)} FROM state WHERE student")
        found: dict[str, dict[str, State]] = {}
        for homework, *row in rows:
            state = state_of(row)
            found.setdefault(state.who, {})[homework] = state
        return found

    def of(self, student: str, homeworks: Iterable[str]) -> dict[str, State]:
        """Where one student stands in these homeworks, and in the record's own."""
        query = f"SELECT {', '.join(NAMES)} FROM state WHERE homework = ? AND who = ?"
        rows = {
            name: self._connection.execute(query, (name, student)).fetchone() for name in {*homeworks, self.homework}
        }
        return {name: state_of(row) for name, row in rows.items() if row is not None}

    def standing(self) -> Iterator[tuple[str, str | None, str | None, str]]:
        """Of everybody: who, hash of the report, why something was not graded, hash of what was added to the page."""
        return self._read("SELECT who, report, rejected, remarked FROM state WHERE homework = ? ORDER BY who")

    def briefs(self, students: Collection[str] | None = None) -> Iterator[Brief]:
        """What a class is told of each report, by student; one at a time, for there may be many.

        Args:
            students: only theirs.
        """
        outlines = {sha: read_outline(text) for sha, text in self._connection.execute("SELECT * FROM outline")}
        query = "SELECT outline, brief FROM brief WHERE homework = ?"
        if students is None:
            rows = self._read(f"{query} ORDER BY who")
        else:
            rows = (row for who in sorted(students) for row in self._read(f"{query} AND who = ?", who))
        yield from (Brief.read(text, outlines[sha]) for sha, text in rows)

    def homeworks(self) -> dict[str, dict[str, float]]:
        """Every homework of which something was graded: its cells and their points."""
        rows = self._connection.execute("SELECT name, cells FROM homework ORDER BY name").fetchall()
        return {name: json.loads(cells) for name, cells in rows}

    @property
    def title(self) -> str:
        """The homework's title when it was graded last."""
        row = self._connection.execute("SELECT title FROM homework WHERE name = ?", (self.homework,)).fetchone()
        return self.homework if row is None else str(row[0])

    def sentences(self) -> dict[str, dict[str, str]]:
        """Student -> homework -> why something handed in was not graded."""
        found: dict[str, dict[str, str]] = {}
        known = "SELECT who, homework, rejected, report, sha FROM state WHERE student ORDER BY homework"
        for who, homework, rejected, report, sha in self._connection.execute(known):
            if rejected is not None or (report is None and sha is not None):
                found.setdefault(who, {})[homework] = State(who, rejected=rejected, sha=sha).sentence
        return found

    def graded(self) -> dict[str, set[str]]:
        """Student -> homeworks of which there is a report."""
        found: dict[str, set[str]] = {}
        for who, homework in self._connection.execute("SELECT who, homework FROM state WHERE report NOTNULL"):
            found.setdefault(who, set()).add(homework)
        return found

    # --- the file

    def _open(self) -> None:
        path = self.root / FILE
        self._connection = _connect(path)
        try:
            version = self._version()
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # it is in use, or cannot be written; else it is damaged
                raise
            version = -1
        if version not in (0, VERSION):
            self._connection.close()
            path.unlink()
            self._connection = _connect(path)
            version = 0
        if version == 0:
            self._make()

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _make(self) -> None:
        """An empty record, and what the reports of every homework tell."""
        columns = ", ".join(name for name in NAMES if name != "who")
        mine = self.homework
        with self.together():
            if self._version() == VERSION:  # somebody else was faster
                return
            for statement in SCHEMA.format(columns=columns).split(";"):
                self._connection.execute(statement)
            for folder in sorted((self.root / "reports").glob("*/")):
                self.homework = folder.name
                for path in sorted(folder.glob("*.json")):
                    with suppress(OSError, ValueError):
                        self._found(Report.load(path), path)
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
        self.homework = mine

    def _found(self, report: Report, path: Path) -> None:
        self.settled(report, path, came=report.started, **proposed(path, report))
        cells = json.dumps({cell.cell: cell.max_points for cell in report.cells})
        self._write("INSERT OR REPLACE INTO homework VALUES (?, ?, ?)", (self.homework, self.homework, cells))

    def _read(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        return iter(self._connection.execute(query, (self.homework, *values)))

    def _write(self, statement: str, values: Sequence[object]) -> None:
        with self.together():
            self._connection.execute(statement, tuple(values))


def proposed(path: Path, report: Report) -> dict[str, object]:
    """What is proposed in the place of a report."""
    try:
        newer = Report.load(path.parent / "proposed" / path.name)
    except (OSError, ValueError):
        return {"proposed": None}
    if newer.submission_sha256 != report.submission_sha256 or newer.marks == report.marks:
        return {"proposed": None}
    return {"proposed": newer.marks, "basis": newer.basis}


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=30)
