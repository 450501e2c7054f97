"""How course pages name what they export: who something is from, and what its files are called inside.

nbgrader           ada/hw1/hw1.ipynb, and the exchange's inbound: ada+hw1+2025-10-01 10:00:00 UTC+…/hw1.ipynb
Moodle             Ada Lovelace_12345_assignsubmission_file_/hw1.ipynb
Canvas             lovelaceada_LATE_12345_67890_hw1-2.ipynb
Gradescope         submission_123/hw1.ipynb, and who that is in submission_metadata.yml
GitHub Classroom   hw1-adal/hw1.ipynb, below hw1-submissions/ as its own tool clones them
Google Classroom   Ada Lovelace - hw1.ipynb
flat               ada.ipynb, ada.zip, ada/hw1.ipynb
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import yaml

from autograder.errors import RefusedError
from autograder.submissions.archive import NOTEBOOK, Entry, printable
from autograder.submissions.roster import Label

MOODLE = re.compile(r"(?P<who>.+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)(?:_(?P<name>.*))?")
CANVAS = re.compile(r"(?P<who>[^_]+)(?P<late>_LATE)?_(?P<user>\d+)_(?P<file>\d+)_(?P<name>.+)")
EXCHANGE = re.compile(r"(?P<who>[^+]+)\+(?P<homework>[^+]+)\+(?P<when>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^+]*)(\+[^+]*)?")
CLONED = re.compile(r"(?P<slug>.+)-submissions")
METADATA = "submission_metadata.yml"
METADATA_BYTES = 8 << 20


@dataclass(frozen=True)
class Origin:
    """Whose an entry is.

    Args:
        label: what names the author.
        path: the name of what was handed in; entries of one name belong together.
        inner: the entry as seen from there.
        late: the course page says that it came late, and not when.
        when: it was handed in, as the course page says.
        homework: which it is of, where the name tells.
        dates: times of its files say when it was handed in.
        exported: the name that the course page gave it, by which it takes feedback back.
    """

    label: Label
    path: str
    inner: Entry
    late: bool = False
    when: datetime | None = None
    homework: str = ""
    dates: bool = True
    exported: str = ""


def origin(entry: Entry) -> Origin:
    """Whose an entry is, by the name of what it lies in."""
    top = entry.parts[0]
    inside = len(entry.parts) > 1
    if (match := MOODLE.fullmatch(top)) and (inside or match["name"]):
        inner = entry.below(1) if inside else replace(entry, parts=(match["name"],))
        label = Label(match["who"], named=True, moodle=match["number"])
        return Origin(label, f"{match['who']}_{match['number']}", inner, exported=top)
    if inside and (match := EXCHANGE.fullmatch(top)):
        return Origin(Label(match["who"]), top, entry.below(1), homework=match["homework"])
    if inside:
        return Origin(Label(top), top, entry.below(1))
    if match := CANVAS.fullmatch(top):
        name = match["name"]
        if not NOTEBOOK.search(name):  # Canvas numbers what is handed in again; of notebooks the number tells which
            name = re.sub(r"-\d+(?=\.\w+$)", "", name)
        inner = replace(entry, parts=(name,), modified=None)  # it is when the export was made
        label, path = Label(match["who"], named=True, canvas=match["user"]), f"{match['who']}_{match['user']}"
        return Origin(label, path, inner, late=match["late"] is not None, dates=False, exported=top)
    found = NOTEBOOK.search(top)
    return Origin(Label(top[: found.start()] if found else top.rpartition(".")[0] or top), top, entry)


@dataclass(frozen=True)
class Gradescope:
    """What Gradescope's export says of each submission."""

    submitters: Mapping[str, tuple[Label, ...]]
    times: Mapping[str, datetime]

    def origin(self, entry: Entry) -> Origin:
        """Whose an entry is; a folder that the list does not name is nobody's."""
        top = entry.parts[0]
        label = Label("", several=self.submitters.get(top, (Label(top, named=True),)))
        return Origin(label, top, entry.below(1), when=self.times.get(top), dates=False)


def gradescope(entries: list[Entry]) -> Gradescope | None:
    """The list of a Gradescope export, None if it is another. Raises RefusedError if the list cannot be read."""
    lists = [entry for entry in entries if entry.parts == (METADATA,)]
    if not lists:
        return None
    try:
        document = yaml.load(lists[0].read(METADATA_BYTES), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise RefusedError(f"holds a {METADATA} that cannot be read ({printable(str(error))})") from None
    submitters: dict[str, tuple[Label, ...]] = {}
    times: dict[str, datetime] = {}
    for folder, said in document.items() if isinstance(document, dict) else ():
        said = said if isinstance(said, dict) else {}
        people = [one for one in _listed(said.get(":submitters")) if isinstance(one, dict)]
        submitters[str(folder)] = tuple(map(_label, people)) or (Label(str(folder), named=True),)
        when = said.get(":created_at")
        if isinstance(when, datetime):
            times[str(folder)] = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    return Gradescope(submitters, times)


def _label(person: Mapping[Any, Any]) -> Label:
    name, sid, email = (str(person.get(key) or "") for key in (":name", ":sid", ":email"))
    return Label(name, named=True, sid=sid, email=email)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


class _Loader(yaml.SafeLoader):
    """Plain YAML; what Ruby marks as an object of its own is read as the mapping it is."""


def _mapping(loader: _Loader, suffix: str, node: yaml.Node) -> object:
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_Loader.add_multi_constructor("!ruby/", _mapping)
