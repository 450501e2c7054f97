"""The file that lists the students of a course: ours, or one that Moodle or Canvas exports."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from autograder.errors import UserError
from autograder.submissions.person import STUDENT_ID, Person

STUDENTS = "students.csv"
COLUMNS = ("id", "name", "email", "github", "canvas_id", "moodle_id", "team", "alias")
MEANS = {  # what others call them, in small letters with _ for what stands between words
    "student_id": "id",
    "id_number": "id",  # Moodle
    "sis_login_id": "id",  # Canvas
    "username": "id",
    "login": "id",
    "full_name": "name",
    "fullname": "name",
    "student": "name",  # Canvas: "Lovelace, Ada"
    "student_name": "name",
    "firstname": "first_name",
    "given_name": "first_name",
    "lastname": "last_name",
    "surname": "last_name",
    "family_name": "last_name",
    "email_address": "email",
    "e_mail": "email",
    "mail": "email",
    "github_username": "github",
    "github_name": "github",
    "identifier": "moodle_id",  # Moodle: "Participant 1234"
    "aliases": "alias",
    "group_name": "team",
}
PARTS = ("first_name", "last_name")
NOT_A_PERSON = ("points possible", "student, test")  # rows of a Canvas gradebook
OTHERS = {
    "sis_user_id",
    "root_account",
    "section",
    "status",
    "grade",
    "maximum_grade",
    "groups",
    "group",
    "roles",
    "stream",
    "note",
    "notes",
}
LAST_FIRST = re.compile(r"([^\W\d_][\w .’'-]*), ?([^\W\d_][\w .’'-]*)")  # "Lovelace, Ada"
NEAR = 0.72


def students_csv(people: Iterable[Person]) -> str:
    """The file that lists these students."""
    people = list(people)
    used = [name for name in COLUMNS[:-1] if name in COLUMNS[:3] or any(getattr(person, name) for person in people)]
    most = max((len(person.alias) for person in people), default=0)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*used, *["alias"] * most])
    for person in people:
        row = [getattr(person, name) for name in used]
        writer.writerow([*row, *person.alias, *[""] * (most - len(person.alias))])
    return buffer.getvalue()


def read_students(path: Path) -> list[Person]:
    """The students of a CSV file, separated by commas, semicolons or tabs.

    Columns are those of `Person`, `first_name` and `last_name` in the place of `name`, any number of `alias`; Moodle's
    and Canvas' own names for them are understood. Without ids an e-mail address is one.

    Raises:
        UserError: naming the line; a column that is nearly one of these is not passed over.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as CSV UTF-8.") from None
    header = text.split("\n", 1)[0]
    rows = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=header.count))
    columns = _columns(path, next(rows, []))
    known = [column for column in columns if column]
    if "id" not in known and "email" not in known:
        raise UserError(f"{path}, line 1: there is no column `id` (found: {header.strip() or 'nothing'}).")
    people = []
    for row in rows:
        cells = [(column, cell.strip()) for column, cell in zip(columns, row, strict=False) if column and cell.strip()]
        value, aliases = dict(cells), [cell for column, cell in cells if column == "alias"]
        if value and not _is_nobody(value):
            people.append(_person(f"{path}, line {rows.line_num}", value, aliases))
    _refuse_shared(path, people)
    return people


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    """What each column holds; "" for what is none of ours."""
    plain = [re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_") for name in header]
    canvas = "student" in plain and bool({"sis_login_id", "sis_user_id"} & set(plain))
    means = MEANS | ({"id": "canvas_id"} if canvas else {})
    if canvas and "sis_login_id" not in plain:
        means |= {"sis_user_id": "id"}
    found: list[str] = []
    for written, name in zip(header, plain, strict=True):
        column = means.get(name, name)
        if column not in (*COLUMNS, *PARTS):
            near = [] if name in OTHERS else difflib.get_close_matches(name, [*COLUMNS, *PARTS, *means], 1, NEAR)
            if near:
                meant = means.get(near[0], near[0])
                raise UserError(
                    f"{path}, line 1: there is no column {written.strip()!r}; call it `{meant}` if it is that, or "
                    "something else."
                )
            column = ""
        if column and column != "alias" and column in found:
            raise UserError(f"{path}, line 1: {written.strip()!r} is a second column `{column}`; keep one.")
        found.append(column)
    return found


def _is_nobody(value: Mapping[str, str]) -> bool:
    """True for rows that Canvas puts between the students."""
    return "id" not in value and value.get("name", "").lower() in NOT_A_PERSON


def _person(place: str, value: dict[str, str], aliases: list[str]) -> Person:
    who = value.get("id") or value.get("email", "")
    if not STUDENT_ID.fullmatch(who):
        if not who:
            raise UserError(f"{place}: a student has neither an id nor an e-mail address.")
        raise UserError(
            f"{place}: {who!r} cannot be a student's id; an id begins with a Latin letter or a digit and holds only "
            "these and . _ @ + -"
        )
    name = value.get("name") or " ".join(value[part] for part in PARTS if part in value)
    if found := LAST_FIRST.fullmatch(name):
        name = f"{found[2]} {found[1]}"
    number = re.sub(r"^\D+", "", value.get("moodle_id", ""))
    plain = {key: value.get(key, "") for key in ("email", "github", "canvas_id", "team")}
    return Person(id=who, name=name, moodle_id=number, alias=aliases, **plain)


def _refuse_shared(path: Path, people: Sequence[Person]) -> None:
    """Raise UserError where what should name one student names two."""
    taken: dict[tuple[str, str], str] = {}
    for person in people:
        for column, key in _keys(person):
            other = taken.setdefault((column, key.casefold()), person.id)
            if other != person.id:
                raise UserError(
                    f"{path}: `{other}` and `{person.id}` have the same {column} {key!r}; a `team` is what students "
                    "who hand in together share."
                )


def _keys(person: Person) -> Iterator[tuple[str, str]]:
    for column in ("email", "github", "canvas_id", "moodle_id"):
        if key := getattr(person, column):
            yield column, key
    yield from (("alias", alias) for alias in person.alias)
