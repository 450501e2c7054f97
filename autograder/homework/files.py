"""Where the files of one homework lie; every other module asks here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.errors import UserError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
CHECKS = "checks.py"
CONFIG = "assignment.yaml"
DATA = "data.py"
VARIANTS = "variants"


@dataclass(frozen=True)
class HomeworkFiles:
    """The files of one homework: those students get, and the hidden ones.

    Args:
        assignments: the folder of assignments; the homework is the folder of its name there.
        solutions: the folder of solutions; None on a student's machine.
        profile: of assignment.yaml, under which it is graded; None: as it stands there.
        datasets: names and folders of the large data sets that are at hand.

    Raises:
        UserError: the name can be no homework's.
    """

    name: str
    assignments: Path
    solutions: Path | None
    profile: str | None = None
    datasets: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UserError(f"{self.name!r} is no name of an assignment; names look like `hw1`.")

    def resolved(self) -> HomeworkFiles:
        """The same places, whatever the working directory."""
        hidden = None if self.solutions is None else self.solutions.resolve()
        datasets = tuple((name, folder.resolve()) for name, folder in self.datasets)
        return replace(self, assignments=self.assignments.resolve(), solutions=hidden, datasets=datasets)

    # what students get

    @property
    def folder(self) -> Path:
        return self.assignments / self.name

    @property
    def config(self) -> Path:
        return self.folder / CONFIG

    @property
    def public_checks(self) -> Path:
        return self.folder / CHECKS

    def template(self, notebook: str | None = None) -> Path:
        """The template notebook; `notebook` is its file name where assignment.yaml gives another."""
        return self.folder / (notebook or f"{self.name}.ipynb")

    # what they do not

    @property
    def hidden(self) -> Path:
        """The homework's folder of solutions. Raises UserError on a student's machine."""
        if self.solutions is None:
            raise UserError(f"the solutions of {self.name} are not on this machine.")
        return self.solutions / self.name

    @property
    def solution(self) -> Path:
        """The solution notebook as a percent script, from which the template is made."""
        return self.hidden / f"{self.name}.py"

    @property
    def has_solution(self) -> bool:
        """False on a student's machine."""
        return self.solutions is not None and self.solution.is_file()

    @property
    def variants(self) -> Path:
        """The folder of submissions whose grade is known."""
        return self.hidden / VARIANTS

    @property
    def calibration(self) -> Path:
        """Honest trainings, of which the lines of trained parts follow."""
        return self.hidden / "calibration.yaml"

    @property
    def calibrated(self) -> Path:
        """What the last calibration measured."""
        return self.hidden / f"calibration{'' if self.profile is None else f'-{self.profile}'}.json"

    @property
    def cheats(self) -> Path:
        """Cheats that fit every homework."""
        return self.hidden.parent / "cheats"

    @property
    def hidden_data(self) -> Path:
        """Functions that hand over data in grading, where the public ones do not do it themselves."""
        return self.hidden / DATA

    def hidden_files(self) -> tuple[Path, ...]:
        """All Python and YAML that students do not get, besides the solution, also what homeworks share."""
        folders = (self.hidden, self.hidden.parent / "common")
        found = {path for folder in folders for end in ("py", "yaml", "yml") for path in folder.rglob(f"*.{end}")}
        return tuple(sorted(found - {self.solution}))

    def hidden_checks(self) -> tuple[Path, ...]:
        """The files of hidden checks, in a fixed order; none on a student's machine.

        Raises:
            UserError: there should be some and are none.
        """
        if self.solutions is None:
            return ()
        files = tuple(sorted(self.hidden.glob("checks*.py")))
        if not files:
            raise UserError(f"{self.hidden / CHECKS} does not exist, nor any other file of hidden checks (checks*.py).")
        return files
