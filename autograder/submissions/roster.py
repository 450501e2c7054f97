"""Who is meant: find a student of the course by what the name of a file says.

Nobody's work may end under another person's name, so only whole keys count: an id, a full name, an e-mail address, an
alias, a number of the course page. Everything that a name says is read, and where two readings mean two people, or one
means several, the hand-in is refused with all of them.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autograder.submissions.archive import printable
from autograder.submissions.person import STUDENT_ID, Person

COPY = re.compile(r"\s*\(\d{1,2}\)$")  # what browsers add to a second download


@dataclass(frozen=True)
class Label:
    """What the name of something handed in says of its author.

    Args:
        key: an id, a name, an e-mail address or an alias.
        named: `key` is what a course page calls the person, never an id of ours.
        canvas, moodle: the number with which the course page names the person.
        email, sid: as the course page has them beside the name.
        several: the people who handed it in together, in the place of all these.
    """

    key: str
    named: bool = False
    canvas: str = ""
    moodle: str = ""
    email: str = ""
    sid: str = ""
    several: tuple[Label, ...] = ()


@dataclass(frozen=True)
class Match:
    """Who is meant.

    Args:
        students: ids; several of a team, none if nobody is.
        how: by what they were found where it was not an id, as in "by full name".
        doubt: why it is nobody, a sentence.
    """

    students: tuple[str, ...] = ()
    how: str = ""
    doubt: str = ""


class Roster:
    """The course's students, and what they are called elsewhere.

    Args:
        people: empty if every name that can be an id is one.
        strip: names of the homework, which students like to add to their own.
    """

    def __init__(self, people: Iterable[Person], *strip: str) -> None:
        self._people = {person.id: person for person in people}
        self.known = bool(self._people)
        self._strip = [_folded(name) for name in strip if name]
        self._by: dict[str, dict[str, set[str]]] = {}
        for person in self._people.values():
            for how, keys in _keys(person):
                index = self._by.setdefault(how, {})
                for key in keys:
                    index.setdefault(key, set()).add(person.id)

    def is_student(self, who: str) -> bool:
        """True if this is an id; without a list of students every name that can be one is."""
        return who in self._people if self.known else STUDENT_ID.fullmatch(who) is not None

    def find(self, label: Label | str) -> Match:
        """Whom a name means."""
        label = Label(label) if isinstance(label, str) else label
        if label.several:
            return self._together([self.find(one) for one in label.several])
        if not self.known:
            plain = label.sid or label.email or self._plain(label)
            if STUDENT_ID.fullmatch(plain):
                return Match((plain,))
            return Match(doubt=f"{printable(plain)!r} cannot be a student's id.")
        readings = {how: found for how, found in self._readings(label) if found}
        others = self._others(label, readings)
        if not readings:
            return Match(doubt=others or self._nobody(label))
        common = set.intersection(*readings.values())
        if len(common) == 1:
            how = next(iter(readings))
            return Match((common.pop(),), "" if how == "id" else f"by {how}")
        if list(readings) == ["team"]:
            return Match(tuple(sorted(readings["team"])), "by team")
        said = [f"`{who}` by {how}" for how, found in readings.items() for who in sorted(found)]
        return Match(doubt=f"it could be from {' or '.join(said)}; name it by the student's id.")

    @staticmethod
    def _together(found: list[Match]) -> Match:
        """Several people; all of them, or nobody."""
        for match in found:
            if match.doubt:
                return match
        if len(found) == 1:
            return found[0]
        return Match(tuple(sorted({who for match in found for who in match.students})), "as a team")

    def _readings(self, label: Label) -> Iterator[tuple[str, set[str]]]:
        """By what, and who is meant by it; the surest first."""
        keys = self._bare(label.key)

        def read(how: str, keys: Iterable[str]) -> set[str]:
            return {who for key in keys if key for who in self._by.get(how, {}).get(key, ())}

        ids = read("id", keys)
        sure = read("id", [_folded(label.sid)])
        yield "id", sure | {who for who in ids if not (label.named and self._people[who].name)}
        yield "canvas_id", read("canvas_id", [label.canvas])
        yield "moodle_id", read("moodle_id", [label.moodle])
        yield "e-mail", read("e-mail", [*keys, _folded(label.email)])
        yield "alias", read("alias", keys)
        names = read("full name", [_any_order(key) for key in keys])
        yield "full name", {who for who in names if not self._is_another(who, label)}
        if not label.named:
            yield "GitHub name", read("GitHub name", [form for key in keys for form in (key, _branchless(key))])
        if not ids and not names:
            yield "team", read("team", keys)

    def _is_another(self, student: str, label: Label) -> bool:
        """True if Canvas numbers the person otherwise: a namesake."""
        mine = self._people[student].canvas_id
        return bool(label.canvas and mine and label.canvas != mine)

    def _others(self, label: Label, readings: dict[str, set[str]]) -> str:
        """Why a namesake is not meant."""
        if readings or not label.canvas:
            return ""
        for who in sorted(self._by["full name"].get(_any_order(_folded(label.key)), ())):
            mine = self._people[who].canvas_id
            return f"it is named like `{who}`, whose canvas_id is {mine} and not {label.canvas}."
        return ""

    def _nobody(self, label: Label) -> str:
        key = self._bare(label.key)[-1]
        inside = [who for who in self._people if re.search(rf"(?<![^\W_]){re.escape(who.casefold())}(?![^\W_])", key)]
        if inside and not label.named:
            said = " and ".join(f"`{who}`" for who in inside)
            return (
                f"no student of the course is called {printable(key)!r}, and an id inside a longer name ({said}) does "
                f"not count; name it by the id, or give its student the alias {printable(key)!r}."
            )
        calls = {_folded(name): who for who, person in self._people.items() for name in (who, person.name) if name}
        close = difflib.get_close_matches(key, calls, n=1)
        hint = f" Did you mean `{calls[close[0]]}`?" if close else ""
        return f"no student of the course is called {printable(key)!r}.{hint}"

    def _bare(self, key: str) -> list[str]:
        """A key as it is, and without what is the homework's name."""
        folded = COPY.sub("", _folded(key))
        bare = folded
        for name in self._strip:
            bare = re.sub(rf"(?:^|[\s_.-]+){re.escape(name)}(?=$|[\s_.-])", "", bare).strip(" _.-")
        return list(dict.fromkeys((folded, bare)))

    def _plain(self, label: Label) -> str:
        """The key without the homework's name, its letters as they were."""
        folded, bare = _folded(label.key), self._bare(label.key)[-1]
        found = folded.find(bare)
        same = len(folded) == len(label.key.strip())
        return label.key.strip()[found:][: len(bare)] if same and found >= 0 else bare


def _keys(person: Person) -> Iterator[tuple[str, set[str]]]:
    """By what a person can be found, and the keys."""
    plain = {
        "id": [person.id],
        "canvas_id": [person.canvas_id],
        "moodle_id": [person.moodle_id],
        "e-mail": [person.email],
        "alias": person.alias,
        "GitHub name": [person.github],
        "team": [person.team],
    }
    for how, keys in plain.items():
        yield how, {_folded(key) for key in keys if key}
    words = _words(person.name)
    turned = {"".join(words[start:] + words[:start]) for start in range(len(words))}
    yield "full name", turned | {"".join(reversed(words)), " ".join(sorted(words))} - {""}


def _any_order(name: str) -> str:
    """How a full name stands in the index; the one word that Canvas writes stays as it is."""
    return " ".join(sorted(_words(name)))


def _branchless(key: str) -> str:
    """An account's name without the branch that a downloaded repository has."""
    return re.sub(r"-(main|master)$", "", key)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold().strip()


def _words(text: str) -> list[str]:
    """Words of a name without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return [word for word in re.split(r"[\W_]+", plain) if word]
