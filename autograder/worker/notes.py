"""Sentences for the student about what was not run as written, each said once per cell."""

from __future__ import annotations

LIMIT = 50  # notes of one cell


class Notes:
    """Collects notes until they are taken."""

    def __init__(self) -> None:
        self._notes: dict[str, None] = {}
        self._said: set[str] = set()

    def add(self, note: str) -> None:
        """Adds a note about the cell that runs."""
        if len(self._notes) < LIMIT:
            self._notes[note] = None

    def once(self, note: str) -> None:
        """Adds a note that holds for the whole notebook, the first time only."""
        if note not in self._said:
            self._said.add(note)
            self.add(note)

    def take(self) -> list[str]:
        """The notes since the last call, in order, without repetition."""
        notes, self._notes = list(self._notes), {}
        return notes
