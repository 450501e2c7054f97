"""From what a class handed in to submissions ready to grade, one per student.

A source may be a folder in nbgrader's layout (`<student>/hw1/…`), a folder of notebooks, zips or folders named by
student, what a course page exports (`exports`), a zip of any of these, or one notebook. Whatever is wrong with one of
them becomes a `Rejected` with a sentence, and the others go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from autograder.errors import RefusedError, UnreadableError, UserError
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.homework.files import CONFIG
from autograder.submission import Submission
from autograder.submissions.archive import Entry, file_entry, folder_entries, printable, zip_entries
from autograder.submissions.beside import content, files_beside, show
from autograder.submissions.exports import CLONED, METADATA, MOODLE, Origin, gradescope, origin
from autograder.submissions.person import Person
from autograder.submissions.roster import Label, Match, Roster
from autograder.submissions.times import Clock, Handed, order_of
from autograder.submissions.which import choose

LISTED = 20  # files named one by one
ZIP_BYTES = 256 << 20  # of one student
JUNK = re.compile(r"\.(?!\.?$).*|__MACOSX|__pycache__|Thumbs\.db|desktop\.ini|timestamp\.txt", re.IGNORECASE)
PRINTED = "The outputs in the notebook, {} MB, were dropped."


@dataclass(frozen=True)
class Look:
    """How notebooks are read.

    Args:
        notes: what is odd about one; raises UnreadableError if it is none.
        slim: one without its outputs; raises UnreadableError likewise.
    """

    notes: Callable[[bytes], list[str]] = lambda data: ipynb.parse(data)[1]
    slim: Callable[[bytes], bytes] = ipynb.without_outputs


@dataclass(frozen=True)
class Rejected:
    """Something that was handed in and cannot be graded."""

    student: str | None  # None if nobody on the course's list could be meant
    sentence: str
    path: str


@dataclass(frozen=True)
class _Unit:
    """Files handed in under one name."""

    path: str
    origin: Origin  # of the first of them
    entries: list[Entry]
    how: str = ""  # it is known whose it is


def collect(
    source: Path,
    assignment: Assignment,
    people: Iterable[Person],
    due: datetime | None = None,
    look: Look = Look(),
    times: Mapping[str, datetime] | None = None,
) -> list[Submission | Rejected]:
    """Everything in `source`, sorted by student; what nobody can be named for comes last.

    Args:
        source: folder, zip or notebook.
        people: the course's list; if empty, every name is taken as it stands.
        due: submissions that are known to be later are flagged.
        times: student -> when they handed in, as a report of the course page says.

    Raises:
        UserError: the source itself is missing or unreadable.
    """
    found = list(collect_each(source, assignment, roster_of(people, assignment), Clock(due, times or {}), look))
    return sorted(found, key=lambda item: (item.student is None, item.student or "", item.path))


def roster_of(people: Iterable[Person], assignment: Assignment) -> Roster:
    """The course's list as this homework's files may name them."""
    return Roster(people, assignment.name, assignment.config.title)


def collect_each(
    source: Path,
    assignment: Assignment,
    people: Roster,
    clock: Clock,
    look: Look = Look(),
    tops: Collection[str] | None = None,
    *,
    every: bool = False,
) -> Iterator[Submission | Rejected]:
    """Like `collect`, one after the other, so that only one submission is in memory at a time.

    Args:
        every: all that a student handed in, the oldest first as far as anything tells, and not the newest alone.
        tops: of a folder that has no other around it, look only at these files and folders.
    """
    by_student: dict[str, list[_Unit]] = {}
    units = _units(Path(source), assignment, people, tops)
    clock = clock.of_export([(unit.origin, unit.entries) for unit in units], packed=Path(source).is_file())
    for unit in units:
        match = people.find(unit.origin.label)
        if match.doubt or (tops is not None and len(match.students) > 1):
            yield Rejected(None, _sentence(unit, match), printable(unit.path))
            continue
        for student in match.students:
            by_student.setdefault(student, []).append(replace(unit, how=match.how))
    for student in sorted(by_student):
        yield from (_every if every else _newest)(student, by_student[student], assignment, clock, look)


def _sentence(unit: _Unit, match: Match) -> str:
    """Why nobody is credited with something."""
    unsafe = (f"`{show(entry)}` inside {entry.problem}." for entry in unit.entries if entry.problem)
    doubt = match.doubt or f"it is from {' and '.join(match.students)}; `autograder collect` stores it for each."
    return f"`{printable(unit.path)}`: {next(unsafe, doubt)}"


def owner(name: str, is_folder: bool, people: Roster) -> str | None:
    """Whose a file or folder is that lies in a folder of submissions; None if nobody's, or of several."""
    parts = (name, "") if is_folder else (name,)
    students = people.find(origin(Entry(parts, 0, None, lambda limit: b"")).label).students
    return students[0] if len(students) == 1 else None


def _units(source: Path, assignment: Assignment, people: Roster, tops: Collection[str] | None) -> list[_Unit]:
    """What was handed in, by the name under which it was."""
    try:
        if source.is_dir():
            entries = folder_entries(source, tops)
        elif source.suffix.lower() == ".zip" and source.is_file():
            entries = zip_entries(source)
        elif source.is_file():
            alone = file_entry(source)
            return [
                _Unit(source.name, Origin(Label(_author(source.resolve(), assignment)), source.name, alone), [alone])
            ]
        else:
            raise UserError(f"{source} does not exist.")
        entries = [entry for entry in entries if not any(JUNK.fullmatch(part) for part in entry.parts[:-1])]
        if source.is_file() and any(entry.parts == (assignment.template_path.name,) for entry in entries):
            label = Label(source.stem)  # the zip of one student
            return [_Unit(str(source), Origin(label, str(source), entries[0], dates=False), entries)]
        around = source.stem if source.is_file() else source.name
        while tops is None and (prefix := _wrapper(entries, assignment, people)):
            around = prefix
            entries = [entry.below(1) for entry in entries if entry.parts[0] == prefix and len(entry.parts) > 1]
        listed = None if tops is not None else gradescope(entries)
    except RefusedError as problem:
        raise UserError(f"{source} {problem}.") from None
    units: dict[str, _Unit] = {}
    others = {path.parent.name for path in assignment.files.assignments.glob(f"*/{CONFIG}")} - {assignment.name}
    notebooks = {entry.name for entry in entries if len(entry.parts) == 1 and entry.is_notebook}
    for entry in entries:
        if listed is not None and len(entry.parts) == 1:
            continue
        found = origin(entry) if listed is None else listed.origin(entry)
        path = found.path
        if path == entry.parts[0] and f"{found.label.key}.ipynb" in notebooks and not path.lower().endswith(".zip"):
            path = f"{found.label.key}.ipynb"  # alice.pt belongs to alice.ipynb
        if JUNK.fullmatch(path) or (len(entry.parts) == 1 and not _hands_in(entry, found.inner)):
            continue
        if found.homework not in ("", assignment.name) or (
            len(found.inner.parts) > 1 and found.inner.parts[0] in others
        ):
            continue
        mine = _unslugged(found, around)
        unit = units.setdefault(path, _Unit(path, mine, []))
        unit.entries.append(found.inner)
        if found.inner.is_notebook and not unit.origin.inner.is_notebook:  # its name tells more than another file's
            units[path] = replace(unit, origin=mine)
    return list(units.values())


def _unslugged(found: Origin, around: str) -> Origin:
    """Without the name of the homework at GitHub Classroom, which begins every repository's, if `around` tells it."""
    slug = CLONED.fullmatch(around)
    if slug is None or not found.label.key.startswith(f"{slug['slug']}-"):
        return found
    return replace(found, label=replace(found.label, key=found.label.key.removeprefix(f"{slug['slug']}-")))


def _author(notebook: Path, assignment: Assignment) -> str:
    """Who a single notebook is from: its own name, or that of the folder around it if it is called hw1.ipynb."""
    if notebook.name != assignment.template_path.name:
        return notebook.stem
    folder = notebook.parent
    return folder.parent.name if folder.name == assignment.name else folder.name


def _hands_in(entry: Entry, inner: Entry) -> bool:
    """True for loose files that may be a submission; lists and notes that lie about are passed over."""
    teachers = re.search(r"\.(csv|tsv|xlsx?|md|ya?ml|db|html?)$", entry.name, re.IGNORECASE)
    return entry is not inner or entry.problem is not None or not teachers


def _wrapper(entries: list[Entry], assignment: Assignment, people: Roster) -> str | None:
    """The single folder around all submissions, if there is one: `export/alice.ipynb`, `export/alice/hw1.ipynb`."""
    tops = {entry.parts[0] for entry in entries if not JUNK.fullmatch(entry.parts[0])}
    if len(tops) != 1 or any(len(entry.parts) == 1 for entry in entries if entry.parts[0] in tops):
        return None
    top = tops.pop()
    if any(entry.parts == (top, METADATA) for entry in entries):
        return top
    if MOODLE.fullmatch(top):
        return None
    children = {(entry.parts[1], len(entry.parts) > 2) for entry in entries if entry.parts[0] == top}
    folders = {name for name, is_folder in children if is_folder}
    files = {name for name, is_folder in children if not is_folder and name.lower().endswith((".ipynb", ".zip"))}
    if assignment.name in folders or assignment.template_path.name in files:
        return None
    if people.known and not people.find(origin(entries[0]).label).doubt:
        return None
    return top if folders or len(files) > 1 or people.known else None


def _newest(
    student: str, units: list[_Unit], assignment: Assignment, clock: Clock, look: Look
) -> Iterator[Submission | Rejected]:
    """The newest sound one of what a student handed in; what is broken and newer is named as well."""
    handed = [clock.handed(student, unit.origin, unit.entries, assignment.name) for unit in units]
    order = order_of([(one, unit.entries) for one, unit in zip(handed, units, strict=True)])
    sound: list[tuple[Submission, Handed, _Unit]] = []
    for position in reversed(range(len(units)) if order is None else clock.chosen(student, order, handed)):
        try:
            submission = _read(student, units[position], assignment, look)
        except RefusedError as problem:
            yield Rejected(student, str(problem), printable(units[position].path))
            continue
        sound.append((submission, handed[position], units[position]))
        if order is not None:
            break
    if len({submission.sha256 for submission, _, _ in sound}) > 1:
        names = " and ".join(f"`{printable(unit.path)}`" for _, _, unit in sound)
        sentence = f"There are {names}, which differ, and nothing tells which one is newer; hand in one of them."
        yield Rejected(student, sentence, printable(sound[0][2].path))
    elif sound:
        yield _finished(*sound[0], units, clock)


def _every(
    student: str, units: list[_Unit], assignment: Assignment, clock: Clock, look: Look
) -> Iterator[Submission | Rejected]:
    """All that a student handed in; the same once more counts as handed in the first time."""
    handed = [clock.handed(student, unit.origin, unit.entries, assignment.name) for unit in units]
    order = order_of([(one, unit.entries) for one, unit in zip(handed, units, strict=True)])
    seen: set[str] = set()
    for position in range(len(units)) if order is None else order:
        try:
            submission = _read(student, units[position], assignment, look)
        except RefusedError as problem:
            yield Rejected(student, str(problem), printable(units[position].path))
            continue
        if submission.sha256 not in seen:
            seen.add(submission.sha256)
            yield _finished(submission, handed[position], units[position], units[position : position + 1], clock)


def _finished(submission: Submission, handed: Handed, unit: _Unit, units: list[_Unit], clock: Clock) -> Submission:
    """A submission with what is known of its way here."""
    notes = submission.notes
    if len(units) > 1:
        names = ", ".join(f"`{printable(other.path)}`" for other in units)
        notes += (f"{len(units)} submissions were handed in ({names}); `{printable(unit.path)}` was graded.",)
    late = handed.late if handed.when is None else clock.due is not None and handed.when > clock.due
    return replace(
        submission, notes=notes, matched=unit.how, exported=unit.origin.exported,
        submitted=handed.when, clock=handed.clock, late=late, marked_late=handed.late,
    )  # fmt: skip


def _read(student: str, unit: _Unit, assignment: Assignment, look: Look) -> Submission:
    """Read one submission. Raises RefusedError with a whole sentence."""
    notes: list[str] = []
    entries = _without_odd_names(_inside(unit, assignment), notes)
    for entry in entries:
        if entry.problem is not None:
            raise RefusedError(f"`{show(entry)}` {entry.problem}.")
    chosen = choose(unit.path, entries, assignment, notes)
    data = content(chosen, ipynb.PRINTED_BYTES)
    try:
        slim = look.slim(data) if len(data) > ipynb.NOTEBOOK_BYTES else data
        notes += look.notes(slim)
    except UnreadableError as error:
        raise RefusedError(f"`{show(chosen)}` {error}") from None
    if slim is not data:
        notes.append(PRINTED.format((len(data) - len(slim)) >> 20))
    files, origins = files_beside([entry for entry in entries if entry is not chosen], assignment, notes)
    places = {name: entry.file for name, entry in {"": chosen, **origins}.items()}
    lies = {name: str(place) for name, place in places.items() if place is not None}
    return replace(
        Submission.of(student, slim, files),
        path=printable(unit.path),
        notes=tuple(notes),
        lies=lies if len(lies) == len(places) and slim is data else None,
    )


def _without_odd_names(entries: list[Entry], notes: list[str]) -> list[Entry]:
    """The entries whose names can be shown; another name costs its own file, unless that is the notebook."""
    odd = [entry for entry in entries if entry.oddly_named and not entry.is_notebook]
    notes += [f"`{show(entry)}` {entry.problem} and was left out." for entry in odd[:LISTED]]
    if len(odd) > LISTED:
        notes.append(f"{len(odd) - LISTED} more files with such names were left out.")
    return [entry for entry in entries if entry not in odd]


def _inside(unit: _Unit, assignment: Assignment) -> list[Entry]:
    """A submission's own files: of its folder for this assignment, out of its zip, without what systems left."""
    entries = unit.entries
    if any(len(entry.parts) > 1 and entry.parts[0] == assignment.name for entry in entries):
        entries = [entry.below(1) for entry in entries if len(entry.parts) > 1 and entry.parts[0] == assignment.name]
    entries = _tidy(entries)
    zips = [entry for entry in entries if entry.name.lower().endswith(".zip")]
    if len(zips) == 1 and not any(entry.is_notebook for entry in entries):
        try:
            packed = _tidy(zip_entries(content(zips[0], ZIP_BYTES)))
        except RefusedError as problem:
            text = str(problem)
            raise RefusedError(text if text.startswith("`") else f"`{show(zips[0])}` {text}.") from None
        entries = packed + [entry for entry in entries if entry is not zips[0]]
    tops = {entry.parts[0] for entry in entries}
    while len(tops) == 1 and all(len(entry.parts) > 1 for entry in entries):  # one folder around everything
        entries = [entry.below(1) for entry in entries]
        tops = {entry.parts[0] for entry in entries}
    return entries


def _tidy(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if not any(JUNK.fullmatch(part) for part in entry.parts)]
