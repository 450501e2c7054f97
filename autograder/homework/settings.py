"""`assignment.yaml`: its own keys, and one class for each section."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from autograder.homework.files import CHECKS
from autograder.sandbox.settings import Requirement
from autograder.yamlfile import StrictModel

# What students read, and when. "guarded": every check, but of hidden ones not what their code said; that is the TA's.
FeedbackRule = Literal["guarded", "everything", "public checks now, hidden ones after the deadline", "points only"]
LATER: FeedbackRule = "public checks now, hidden ones after the deadline"
POINTS: FeedbackRule = "points only"


class Budgets(StrictModel):
    """Caps of one submission. Times are what the student's code took: its work and its own waiting (`judge.clock`)."""

    cell_seconds: float = Field(default=60, gt=0)
    check_seconds: float = Field(default=20, gt=0)  # of a check whose marker names no other
    train_seconds: float = Field(default=300, gt=0)  # all cells of one training task
    submission_seconds: float = Field(default=900, gt=0)
    memory_mb: int = Field(default=2048, ge=256)
    gpu_memory_mb: int | None = Field(default=None, ge=256)  # of a device that is given; None: all of it

    def seconds(self) -> dict[str, float]:
        """The times alone, by name."""
        return {name: value for name, value in self.model_dump().items() if name.endswith("_seconds")}


class Training(StrictModel):
    """One training task: its model, and how a submitted checkpoint becomes one, inside the sandbox."""

    name: str  # the notebook's name of the trained model
    build: str  # name of a function without arguments, defined in the notebook, that returns the untrained model
    checkpoint: str | None = None  # file name a student may hand in beside the notebook
    data: str | None = None  # what is handed over for it and drawn for each student, so that no checkpoint can fit

    @field_validator("checkpoint")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and (value in {"", ".", ".."} or re.search(r"[/\\\0]", value)):
            raise ValueError("should be a plain file name")
        return value

    @field_validator("name", "build")
    @classmethod
    def _identifier(cls, value: str) -> str:
        if not value.isidentifier():
            raise ValueError("should be a name of the notebook")
        return value

    @model_validator(mode="after")
    def _drawn_or_handed_in(self) -> Training:
        if self.data is not None and self.checkpoint is not None:
            raise ValueError("trains on data drawn for each student, so it takes no `checkpoint`")
        return self


DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class Profile(StrictModel):
    """What another way of grading changes (`homework.profiles`)."""

    budgets: dict[str, float | int] = Field(default={})
    data: dict[str, Any] = Field(default={})
    datasets: list[DatasetName] = Field(default=[])

    @field_validator("budgets")
    @classmethod
    def _known_budgets(cls, value: dict[str, float | int]) -> dict[str, float | int]:
        unknown = value.keys() - Budgets.model_fields.keys()
        if unknown:
            known = ", ".join(Budgets.model_fields)
            raise ValueError(f"has no budget {', '.join(sorted(unknown))}; there are {known}")
        Budgets.model_validate(value)
        return value

    def over(self, budgets: Budgets) -> Budgets:
        """The budgets with the profile's in their place."""
        return Budgets.model_validate(budgets.model_dump() | self.budgets)


class AssignmentConfig(StrictModel):
    """`assignment.yaml`."""

    name: str
    title: str
    points: float = Field(gt=0)
    notebook: str | None = None  # default: <name>.ipynb
    budgets: Budgets = Budgets()
    feedback: FeedbackRule = "guarded"
    files: list[str] = Field(default=[])  # beside it and released: modules, data that checks hand over
    training: dict[str, Training] = Field(default={})
    data: dict[str, Any] = Field(default={})  # thresholds and what else the checks read (the fixture `data`)
    datasets: list[DatasetName] = Field(default=[])  # mounted read-only; course.yaml says where they lie
    packages: list[Requirement] = Field(default=[])  # beside those every sandbox has
    profiles: dict[str, Profile] = Field(default={})  # `grade --profile gpu`

    @field_validator("files")
    @classmethod
    def _text_files(cls, value: list[str]) -> list[str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*\.(txt|csv|json|py)", name) or name == CHECKS:
                raise ValueError(f"{name!r} should be a .txt, .csv, .json or .py file beside it: a release is searched")
        return value
