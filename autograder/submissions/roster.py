"""Who is meant: find a student of the course in the name of a file."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping

from autograder.submissions.archive import printable

STUDENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,119}")  # it becomes part of file names


class Roster:
    """The course's students, and how people abbreviate them.

    Args:
        names: id -> full name.
        assignment: its name, which students like to add to their own.
    """

    def __init__(self, names: Mapping[str, str], assignment: str) -> None:
        self.known = bool(names)
        self._ids = {name.casefold(): name for name in names}
        self._assignment = assignment.casefold()
        self._people: dict[str, list[str]] = {}
        for student, full in names.items():
            words = _words(full)
            if words:
                self._people.setdefault("".join(sorted(words)), []).append(student)
                for joined in {"".join(words), "".join(reversed(words)), "".join(words[-1:] + words[:-1])}:
                    self._people.setdefault(joined, []).append(student)

    def is_student(self, who: str) -> bool:
        """True if this is an id; without a list of students every name that can be one is."""
        return who.casefold() in self._ids if self.known else STUDENT_ID.fullmatch(who) is not None

    def find(self, key: str) -> tuple[str | None, str]:
        """The student a name means, or None and a sentence why nobody."""
        folded = key.casefold().strip()
        bare = re.sub(rf"(?:^|[\s_.-]+){re.escape(self._assignment)}(?=$|[\s_.-])", "", folded).strip(" _.-")
        if not self.known:
            plain = key if folded == bare else key[folded.find(bare) :][: len(bare)]
            if STUDENT_ID.fullmatch(plain):
                return plain, ""
            return None, f"{printable(plain)!r} cannot be a student's id."
        if folded in self._ids or bare in self._ids:
            return self._ids.get(folded) or self._ids[bare], ""
        names = {name for name in self._ids if re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", bare)}
        inside = {self._ids[name] for name in names if not any(name in other for other in names - {name})}
        words = _words(bare)
        meant = inside or {
            student for form in ("".join(words), "".join(sorted(words))) for student in self._people.get(form, ())
        }
        if len(meant) == 1:
            return meant.pop(), ""
        if meant:
            return None, f"it could be from {' or '.join(sorted(meant))}; name it by the student's id."
        close = difflib.get_close_matches(bare, self._ids, n=1)
        hint = f" Did you mean `{self._ids[close[0]]}`?" if close else ""
        return None, f"no student of the course is called {printable(bare)!r}.{hint}"


def _words(text: str) -> list[str]:
    """Words of a name without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return [word for word in re.split(r"[\W\d_]+", plain) if word]
