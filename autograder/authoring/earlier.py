"""What an audit found before: a variant is graded again only if something has changed that could move its marks.

An audit takes an hour or more. One that was stopped goes on where it was, and the next one costs what has changed. What
was found lies beside the solution, in a file for each variant, under a hash of all that it stands on: the marks' own
basis (`judge.basis`), the notebook, the seeds, and the cells that were checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from autograder.authoring.variants import Variant
from autograder.homework.assignment import Assignment
from autograder.judge.basis import basis_of
from autograder.report import Report, write_atomically
from autograder.sandbox import SandboxKind
from autograder.sandbox.identity import identity
from autograder.sandbox.tags import tag_of

FOLDER = ".audit"  # beside the solution
REPORTS = TypeAdapter(list[Report])
Cells = Mapping[int | str, frozenset[str]]  # seed -> those that alone are checked


@dataclass(frozen=True)
class Earlier:
    """The reports of earlier audits of a homework.

    Args:
        folder: where they lie.
        stands_on: one hash over checks, thresholds, engine and the place they run in.
    """

    folder: Path
    stands_on: str

    @classmethod
    def of(cls, assignment: Assignment, sandbox: SandboxKind) -> Self:
        """What was found for this homework as it is now, in this kind of sandbox."""
        where = identity(sandbox, tag_of(assignment.config.packages) if sandbox == "docker" else None)
        return cls(assignment.files.solution.with_name(FOLDER), _hash([basis_of(assignment, where).whole, sandbox]))

    def reports(self, variant: Variant, seeds: Sequence[int], cells: Cells) -> list[Report] | None:
        """What it got when it was graded so, one report a seed; None if that is not known."""
        try:
            kept = json.loads(self._file(variant).read_text(encoding="utf-8"))
            if kept["key"] == self._key(variant, seeds, cells):
                return REPORTS.validate_python(kept["reports"])
        except (OSError, ValueError, TypeError, KeyError, ValidationError):
            pass  # as if it had never been graded
        return None

    def keep(self, variant: Variant, seeds: Sequence[int], cells: Cells, reports: list[Report]) -> None:
        """Remember what it got, pictures and what its cells printed left out; what the machine failed is not kept."""
        if any(report.infrastructure for report in reports):
            return
        lean = [report.model_copy(update=_without_pictures(report)) for report in reports]
        text = json.dumps({"key": self._key(variant, seeds, cells), "reports": REPORTS.dump_python(lean, mode="json")})
        with suppress(OSError):  # where solutions can not be written to, nothing is remembered
            self.folder.mkdir(exist_ok=True)
            write_atomically(self._file(variant), text)

    def _file(self, variant: Variant) -> Path:
        return self.folder / f"{variant.name}.json"

    def _key(self, variant: Variant, seeds: Sequence[int], cells: Cells) -> str:
        submission = variant.submission.read()
        code = [f"{cell.metadata}\n{cell.source}" for cell in submission.notebook.cells if cell.cell_type == "code"]
        files = [f"{name} {sha256(data).hexdigest()}" for name, data in sorted(submission.files.items())]
        asked = [f"{seed} {sorted(cells.get(seed, ()))}" for seed in seeds]
        return _hash([self.stands_on, *asked, *files, *code])


def _without_pictures(report: Report) -> dict[str, object]:
    """What is put in the place of the report's large parts; how its cells ended is still said."""
    return {
        "runs": [run.model_copy(update={"stdout": ""}) for run in report.runs],
        "checks": [check.model_copy(update={"figures": []}) for check in report.checks],
    }


def _hash(parts: Iterable[str]) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()
