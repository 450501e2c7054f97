"""What a judge that died had found: its finished checks, one a line in a file, and the one it was at.

The next judge takes them over and goes on. After two deaths no check is run any more: what was found is reported, and
the check at which judges died is named.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from autograder.report import CheckResult

DEATHS = 2


class Kept:
    """The file of one submission.

    Args:
        path: where it is; None keeps nothing.
    """

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self._finished: dict[str, CheckResult] = {}
        self._begun: str | None = None
        self._deaths = 0
        for line in self._lines():
            if "result" in line:
                result = CheckResult.model_validate(line["result"])
                self._finished[result.id] = result
            self._begun = line.get("begins", self._begun)
            self._deaths += line.get("starts", 0) - line.get("done", 0)
        self._write(starts=1)

    @property
    def stopped(self) -> bool:
        """Judges died twice, so no check is run."""
        return self._deaths >= DEATHS

    def finished(self, name: str) -> CheckResult | None:
        """The result of a check that an earlier judge finished."""
        return self._finished.get(name)

    def trouble(self, name: str) -> str:
        """Why a check is not run."""
        at = "the grader's process died twice in this check"
        return at if name == self._begun else "the grader's process died twice before this check"

    def begins(self, name: str) -> None:
        """A check begins."""
        self._write(begins=name)

    def ends(self, result: CheckResult) -> None:
        """A check has ended. What the machine failed in is not kept: it is for the next judge."""
        if result.outcome != "infrastructure":
            self._write(result=result.model_dump(mode="json"))

    def done(self) -> None:
        """The report is made."""
        self._write(done=1)

    def _lines(self) -> list[dict[str, Any]]:
        if self._path is None or not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # the last one may be half a line
                found.append(json.loads(line))
        return found

    def _write(self, **fields: object) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(fields) + "\n")
