"""From what a class handed in to submissions ready to grade, one per student.

A source may be a folder in nbgrader's layout (`<student>/hw1/…`), a folder of notebooks, zips or folders named by
student, a zip of any of these (Moodle's and Canvas's exports included), or one notebook. Whatever is wrong with one of
them becomes a `Rejected` with a sentence, and the others go on.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from autograder.errors import RefusedError, UnreadableError, UserError
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.homework.files import CONFIG
from autograder.submission import Submission
from autograder.submissions.archive import Entry, file_entry, folder_entries, printable, zip_entries
from autograder.submissions.beside import content, files_beside, show
from autograder.submissions.roster import Roster

LISTED = 20  # files named one by one
ZIP_BYTES = 256 << 20  # of one student
JUNK = re.compile(r"\.(?!\.?$).*|__MACOSX|__pycache__|Thumbs\.db|desktop\.ini|timestamp\.txt", re.IGNORECASE)
MOODLE = re.compile(r"(?P<who>.+?_\d+)_assignsubmission_(?:file|onlinetext)(?:_(?P<name>.*))?")
CANVAS = re.compile(r"(?P<who>[^_]+)(?:_LATE)?_(?P<user>\d+)_(?P<file>\d+)_(?P<name>.+)")


Look = Callable[[bytes], list[str]]  # notes on a notebook; raises UnreadableError if it is none


@dataclass(frozen=True)
class Rejected:
    """Something that was handed in and cannot be graded."""

    student: str | None  # None if nobody on the course's list could be meant
    sentence: str
    path: str


@dataclass(frozen=True)
class _Unit:
    """Files handed in under one name."""

    key: str
    path: str
    entries: list[Entry]


def collect(
    source: Path,
    assignment: Assignment,
    roster: Mapping[str, str],
    due: datetime | None = None,
    look: Look = lambda data: ipynb.parse(data)[1],
) -> list[Submission | Rejected]:
    """Everything in `source`, sorted by student; what nobody can be named for comes last.

    Args:
        source: folder, zip or notebook.
        roster: id -> full name; if empty, every name is taken as it stands.
        due: submissions whose `timestamp.txt` is later are flagged.
        look: says what is odd about a notebook.

    Raises:
        UserError: the source itself is missing or unreadable.
    """
    found = list(collect_each(source, assignment, roster, due, look))
    return sorted(found, key=lambda item: (item.student is None, item.student or "", item.path))


def collect_each(
    source: Path,
    assignment: Assignment,
    roster: Mapping[str, str] | Roster,
    due: datetime | None,
    look: Look,
    tops: Collection[str] | None = None,
) -> Iterator[Submission | Rejected]:
    """Like `collect`, one after the other, so that only one submission is in memory at a time.

    Args:
        roster: the course's list, or what was made of it.
        tops: of a folder that has no other around it, look only at these files and folders.
    """
    people = roster if isinstance(roster, Roster) else Roster(roster, assignment.name)
    by_student: dict[str, list[_Unit]] = {}
    for unit in _units(Path(source), assignment, people, tops):
        student, doubt = people.find(unit.key)
        if student is None:
            unsafe = (f"`{show(entry)}` inside {entry.problem}." for entry in unit.entries if entry.problem)
            yield Rejected(None, f"`{printable(unit.path)}`: {next(unsafe, doubt)}", printable(unit.path))
        else:
            by_student.setdefault(student, []).append(unit)
    for student in sorted(by_student):
        yield from _newest(student, by_student[student], assignment, due, look)


def owner(name: str, is_folder: bool, people: Roster) -> str | None:
    """Whose a file or folder is that lies in a folder of submissions; None if nobody's."""
    parts = (name, "") if is_folder else (name,)
    return people.find(_belongs(Entry(parts, 0, None, lambda limit: b""))[0])[0]


def store(submission: Submission, assignment: Assignment, folder: Path) -> Path:
    """Write a submission as `<folder>/<student>/<assignment>/` (nbgrader's layout), whole or not at all."""
    target = folder / submission.student / assignment.name
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{assignment.name}-", dir=target.parent))
    try:
        (fresh / assignment.template_path.name).write_bytes(submission.notebook_bytes)
        for name, data in submission.files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        if submission.submitted is not None:
            (fresh / "timestamp.txt").write_text(submission.submitted.strftime("%Y-%m-%d %H:%M:%S.%f UTC"))
        fresh.chmod(0o755)
        old = Path(tempfile.mkdtemp(prefix=f".{assignment.name}-old-", dir=target.parent))
        if target.exists():
            target.replace(old)
        fresh.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return target


def _units(source: Path, assignment: Assignment, people: Roster, tops: Collection[str] | None) -> list[_Unit]:
    try:
        if source.is_dir():
            entries = folder_entries(source, tops)
        elif source.suffix.lower() == ".zip" and source.is_file():
            entries = zip_entries(source)
        elif source.is_file():
            return [_Unit(_author(source.resolve(), assignment), source.name, [file_entry(source)])]
        else:
            raise UserError(f"{source} does not exist.")
    except RefusedError as problem:
        raise UserError(f"{source} {problem}.") from None
    entries = [entry for entry in entries if not any(JUNK.fullmatch(part) for part in entry.parts[:-1])]
    if source.is_file() and any(entry.parts == (assignment.template_path.name,) for entry in entries):
        return [_Unit(source.stem, str(source), entries)]  # the zip of one student
    while tops is None and (prefix := _wrapper(entries, assignment, people)):
        entries = [entry.below(1) for entry in entries if entry.parts[0] == prefix and len(entry.parts) > 1]
    units: dict[str, _Unit] = {}
    others = {path.parent.name for path in assignment.files.assignments.glob(f"*/{CONFIG}")} - {assignment.name}
    notebooks = {entry.name for entry in entries if len(entry.parts) == 1 and entry.name.endswith(".ipynb")}
    for entry in entries:
        key, path, inner = _belongs(entry)
        if path == entry.parts[0] and f"{key}.ipynb" in notebooks and not path.lower().endswith(".zip"):
            path = f"{key}.ipynb"  # alice.pt belongs to alice.ipynb
        if JUNK.fullmatch(path) or (len(entry.parts) == 1 and not _hands_in(entry, inner)):
            continue
        if len(inner.parts) > 1 and inner.parts[0] in others:
            continue
        unit = units.setdefault(path, _Unit(key, path, []))
        unit.entries.append(inner)
    return list(units.values())


def _author(notebook: Path, assignment: Assignment) -> str:
    """Who a single notebook is from: its own name, or that of the folder around it if it is called hw1.ipynb."""
    if notebook.name != assignment.template_path.name:
        return notebook.stem
    folder = notebook.parent
    return folder.parent.name if folder.name == assignment.name else folder.name


def _belongs(entry: Entry) -> tuple[str, str, Entry]:
    """Who an entry is from, the name of what was handed in, and the entry as seen from there."""
    top = entry.parts[0]
    inside = len(entry.parts) > 1
    if (match := MOODLE.fullmatch(top)) and (inside or match["name"]):
        inner = entry.below(1) if inside else replace(entry, parts=(match["name"],))
        return match["who"].rpartition("_")[0], match["who"], inner
    if inside:
        return top, top, entry.below(1)
    if match := CANVAS.fullmatch(top):
        name = re.sub(r"-\d+(?=\.\w+$)", "", match["name"])  # Canvas numbers what is handed in again
        return match["who"], f"{match['who']}_{match['user']}", replace(entry, parts=(name,))
    return top.rpartition(".")[0] or top, top, entry


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
    if MOODLE.fullmatch(top):
        return None
    children = {(entry.parts[1], len(entry.parts) > 2) for entry in entries if entry.parts[0] == top}
    folders = {name for name, is_folder in children if is_folder}
    files = {name for name, is_folder in children if not is_folder and name.lower().endswith((".ipynb", ".zip"))}
    if assignment.name in folders or assignment.template_path.name in files:
        return None
    if people.known and people.find(top)[0] is not None:
        return None
    return top if folders or len(files) > 1 or people.known else None


def _newest(
    student: str, units: list[_Unit], assignment: Assignment, due: datetime | None, look: Look
) -> Iterator[Submission | Rejected]:
    """The newest sound one of what a student handed in; what is broken and newer is named as well."""
    dated = [(_when(unit, assignment), position, unit) for position, unit in enumerate(units)]
    if all(when is not None for when, _, _ in dated):
        dated.sort(key=lambda item: (item[0] or datetime.min, item[1]))
    for when, _, unit in reversed(dated):
        try:
            submission = _read(student, unit, assignment, look)
        except RefusedError as problem:
            yield Rejected(student, str(problem), printable(unit.path))
            continue
        notes = submission.notes
        if len(units) > 1:
            names = ", ".join(f"`{printable(other.path)}`" for other in units)
            notes += (f"{len(units)} submissions were handed in ({names}); `{printable(unit.path)}` was graded.",)
        late = when is not None and due is not None and when > due
        if late:
            notes += ("It was handed in after the deadline.",)
        yield replace(submission, notes=notes, submitted=when, late=late)
        return


def _read(student: str, unit: _Unit, assignment: Assignment, look: Look) -> Submission:
    """Read one submission. Raises RefusedError with a whole sentence."""
    notes: list[str] = []
    entries = _without_odd_names(_inside(unit, assignment), notes)
    for entry in entries:
        if entry.problem is not None:
            raise RefusedError(f"`{show(entry)}` {entry.problem}.")
    chosen = _choose(unit, entries, assignment, notes)
    data = content(chosen, ipynb.NOTEBOOK_BYTES)
    try:
        notes += look(data)
    except UnreadableError as error:
        raise RefusedError(f"`{show(chosen)}` {error}") from None
    files, origins = files_beside([entry for entry in entries if entry is not chosen], assignment, notes)
    places = {name: entry.file for name, entry in {"": chosen, **origins}.items()}
    lies = {name: str(place) for name, place in places.items() if place is not None}
    return replace(
        Submission.of(student, data, files),
        path=printable(unit.path),
        notes=tuple(notes),
        lies=lies if len(lies) == len(places) else None,
    )


def _without_odd_names(entries: list[Entry], notes: list[str]) -> list[Entry]:
    """The entries whose names can be shown; another name costs its own file, unless that is the notebook."""
    odd = [entry for entry in entries if entry.oddly_named and not entry.name.lower().endswith(".ipynb")]
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
    if len(zips) == 1 and not any(entry.name.lower().endswith(".ipynb") for entry in entries):
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


def _choose(unit: _Unit, entries: list[Entry], assignment: Assignment, notes: list[str]) -> Entry:
    wanted = assignment.template_path.name
    notebooks = [entry for entry in entries if entry.name.lower().endswith(".ipynb")]
    named = [entry for entry in notebooks if entry.name.lower() == wanted.lower()]
    flat = [entry for entry in named if len(entry.parts) == 1]
    if len(flat or named) == 1:
        return (flat or named)[0]
    if len(notebooks) == 1:
        if notebooks[0].parts != (unit.path,):
            notes.append(f"The notebook is called `{show(notebooks[0])}` instead of `{wanted}`; it was graded.")
        return notebooks[0]
    if not notebooks:
        given = ", ".join(f"`{show(entry)}`" for entry in entries[:5]) or "nothing"
        raise RefusedError(f"There is no notebook `{wanted}`; handed in: {given}.")
    names = ", ".join(f"`{show(entry)}`" for entry in notebooks[:5])
    raise RefusedError(f"There are {len(notebooks)} notebooks ({names}) and it is not clear which one is `{wanted}`.")


def _when(unit: _Unit, assignment: Assignment) -> datetime | None:
    """The time in nbgrader's `timestamp.txt`, if it is there and can be read."""
    for entry in unit.entries:
        if entry.parts in {("timestamp.txt",), (assignment.name, "timestamp.txt")}:
            from nbgrader.utils import parse_utc

            try:
                when = parse_utc(entry.read(200).decode().strip())
            except (RefusedError, ValueError, OverflowError):
                return None
            return when.replace(tzinfo=UTC) if isinstance(when, datetime) else None
    return None
