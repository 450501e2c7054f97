"""When something was handed in, as far as anything tells: where nothing does, it is not known, and nobody is late.

nbgrader and Gradescope say it to the second, Moodle in its report. Canvas says that something is late, and not when. A
zip has the times of its files: they say it where they differ between students; where all are of the same minutes, they
say when the zip was made.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path

from autograder.errors import RefusedError, UserError
from autograder.submissions.archive import Entry
from autograder.submissions.exports import Origin
from autograder.submissions.roster import Label, Roster
from autograder.submissions.which import APART, aware

STAMP = "timestamp.txt"  # nbgrader's
MADE_WITHIN = timedelta(minutes=10)  # all times of a zip that was made of files just written
MONTHS = ["янв", "фев", "мар", "апр", "ма", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"]
TIME_COLUMNS = ("last_modified_submission", "submitted", "submission_time", "submitted_at", "timestamp", "time")


@dataclass(frozen=True)
class Handed:
    """When something was handed in.

    Args:
        when: None if it is not known.
        clock: what says so, as in "timestamp.txt".
        late: the course page says that it came late, and not when.
    """

    when: datetime | None = None
    clock: str = ""
    late: bool = False


@dataclass(frozen=True)
class Clock:
    """What is known of the times of a class.

    Args:
        due: the last moment; times without a zone are of its zone, or UTC.
        report: student -> when they handed in, as the course page says.
        zips: path -> the time of a file in the zip that was exported.
        in_time: of several submissions the newest in time counts, if there is one; else the newest.
        grace: after the deadline, still in time.
        more: student -> a later deadline.
    """

    due: datetime | None = None
    report: Mapping[str, datetime] = field(default_factory=dict)
    zips: Mapping[str, datetime] = field(default_factory=dict)
    in_time: bool = False
    grace: timedelta = timedelta()
    more: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def zone(self) -> tzinfo:
        """Where the course's days begin."""
        return (self.due.tzinfo if self.due else None) or UTC

    def of_export(self, units: Sequence[tuple[Origin, Sequence[Entry]]], *, packed: bool) -> Clock:
        """With the times of a zip's files, if they tell when something was handed in."""
        found: dict[str, datetime] = {}
        for origin, entries in units if packed else ():
            times = [self._zoned(entry.modified) for entry in entries if entry.modified is not None]
            if times and origin.dates:
                found[origin.path] = max(times)
        differ = bool(found) and max(found.values()) - min(found.values()) > MADE_WITHIN
        return replace(self, zips=found if differ else {})

    def handed(self, student: str, origin: Origin, entries: Sequence[Entry], homework: str) -> Handed:
        """When something was handed in; the surest source first."""
        known = (
            (_stamp(entries, homework), STAMP),
            (self.report.get(student), "the course page's report"),
            (origin.when, "Gradescope"),
            (self.zips.get(origin.path), "the time of the file in the zip"),
        )
        when, clock = next(((when, clock) for when, clock in known if when is not None), (None, ""))
        return Handed(when, clock, late=origin.late and when is None)

    def is_in_time(self, student: str, when: datetime | None) -> bool:
        """True if it is known to have come in time, or there is no deadline."""
        if self.due is None:
            return True
        return when is not None and when <= max(self.due, self.more.get(student, self.due)) + self.grace

    def chosen(self, student: str, order: Sequence[int], handed: Sequence[Handed]) -> list[int]:
        """Positions from the oldest to the newest, with the one that counts last."""
        if not self.in_time:
            return list(order)
        return sorted(order, key=lambda position: self.is_in_time(student, handed[position].when))

    def _zoned(self, when: datetime) -> datetime:
        return when.replace(tzinfo=self.zone) if when.tzinfo is None else when


def order_of(handed: Sequence[tuple[Handed, Sequence[Entry]]]) -> list[int] | None:
    """Positions from the oldest to the newest; None where nothing tells.

    By when they were handed in, or else by when their files were written.
    """
    if len(handed) == 1:
        return [0]
    times: list[datetime] = []
    written = [[aware(entry.modified) for entry in entries if entry.modified is not None] for _, entries in handed]
    if all(one.when is not None for one, _ in handed):
        times = [one.when for one, _ in handed if one.when is not None]
        apart = timedelta(0)
    elif all(written):
        times, apart = [max(found) for found in written], APART
    order = sorted(range(len(times)), key=lambda position: times[position])
    if not order or any(times[b] - times[a] <= apart for a, b in pairwise(order)):
        return None
    return order


def read_times(path: Path, people: Roster, zone: tzinfo) -> dict[str, datetime]:
    """Student -> when they handed in, as a report says: Moodle's grading worksheet, or a table of ids and times.

    Args:
        zone: of times that name none.

    Raises:
        UserError: there is no column of times, or one of them cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as CSV UTF-8.") from None
    rows = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=text.split("\n", 1)[0].count))
    header = [re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_") for name in next(rows, [])]
    column = next((header.index(name) for name in TIME_COLUMNS if name in header), None)
    if column is None:
        raise UserError(
            f"{path}, line 1: no column says when something was handed in; call it `submitted`, or export Moodle's "
            "grading worksheet, which has `Last modified (submission)`."
        )
    times: dict[str, datetime] = {}
    for row in rows:
        value = dict(zip(header, (cell.strip() for cell in row), strict=False))
        said = value.get(header[column], "")
        students = people.find(_label(value)).students
        if said in ("", "-") or not students:
            continue
        when = _parsed(said, zone)
        if when is None:
            raise UserError(f"{path}, line {rows.line_num}: {said!r} is no time; write 2025-10-01 23:59.")
        times |= dict.fromkeys(students, when)
    return times


def _label(value: Mapping[str, str]) -> Label:
    name = value.get("full_name") or f"{value.get('first_name', '')} {value.get('last_name', '')}".strip()
    sid = next((value[key] for key in ("id", "id_number", "username", "student") if value.get(key)), "")
    number = re.sub(r"^\D+", "", value.get("identifier", ""))
    email = value.get("email_address") or value.get("email", "")
    return Label(name, named=True, sid=sid, email=email, moodle=number)


def _parsed(text: str, zone: tzinfo) -> datetime | None:
    from dateutil import parser

    def month(word: re.Match[str]) -> str:
        number = next((n for n, name in enumerate(MONTHS, 1) if word[0].lower().startswith(name)), None)
        return word[0] if number is None else parser.parserinfo.MONTHS[number - 1][0]

    plain = re.sub(r"^\s*[^\W\d_]+,\s*", "", text)  # the day of the week, in whatever language
    try:
        when: datetime = parser.parse(re.sub(r"[а-яё]+", month, plain, flags=re.IGNORECASE))
    except (ValueError, OverflowError):
        return None
    return when.replace(tzinfo=zone) if when.tzinfo is None else when


def _stamp(entries: Sequence[Entry], homework: str) -> datetime | None:
    """The time in nbgrader's `timestamp.txt`, if it is there and can be read."""
    for entry in entries:
        if entry.parts in {(STAMP,), (homework, STAMP)}:
            try:
                return _moment(entry.read(200).decode().strip())
            except (RefusedError, ValueError, OverflowError):
                return None
    return None


def _moment(text: str) -> datetime:
    """A time as nbgrader writes it; one without a zone is in UTC. Raises ValueError if it is none.

    NOTE: nbgrader's own reader takes `+0300` for three hundred seconds and passes over `+03:00`.
    """
    from nbgrader.utils import parse_utc

    try:
        when = datetime.fromisoformat(re.sub(r"\s+(?=[+-]\d\d:?\d\d$)", "", text))
    except ValueError:
        when = parse_utc(text)  # a zone by its name
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
