"""A grading policy: data. What a course consists of, how points add up, how they become a grade.

    title: AI Masters 2025
    components:
      homework: {homeworks: 6, points: 15}        # each homework is rescaled to this many points, exactly
      exam: {points: 30}                          # marks that people give: `autograder marks import exam.csv`
    points: homework + exam                       # a formula of the components' names
    grade: min(floor(points / 10), 10)            # a formula of `points` and the components' names
    rounding: {of: grade, to: 1, how: down}       # of points or of the grade; without it nothing is rounded
    scale: {A: 86, B: 76, F: 0}                   # the word for a grade from this number on
    conditions:
      attendance: {least: 65, unit: "%", means: "not admitted to the exam", grade: F}

Four policies ship beside this file, in `policies/`; a course writes its own the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from autograder.course.formula import Formula, half_up
from autograder.errors import UserError
from autograder.report import exact
from autograder.yamlfile import StrictModel, load_yaml

SHIPPED = Path(__file__).parent / "policies"
POINTS = "points"
Number = Annotated[int | float, Field(ge=0, le=1_000_000)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Ways = Literal["down", "half up", "up"]


class Component(StrictModel):
    """One part of the grade.

    A component with `homeworks` is filled from what was graded; every other one by marks that people give.
    """

    title: str = ""
    points: Number | None = None  # the most it gives; of homeworks, the most each gives
    homeworks: int | list[str] | None = None  # how many, or which, count
    best: int | None = Field(default=None, ge=1)  # only so many of them, the best
    parts: int = Field(default=1, ge=1, le=20)  # marks a student gets, such as one for each question of an oral exam
    combine: Literal["sum", "mean", "best"] = "sum"  # how parts add up; of a mean or the best, each has all the points
    bonus: bool = False  # given beside what can be had: the component is no part of the maximum

    @property
    def most(self) -> Fraction:
        """Points of it, or of each homework."""
        return exact(self.points or 0)

    @property
    def part_most(self) -> Fraction:
        """Points of each part."""
        return self.most / self.parts if self.combine == "sum" else self.most

    @property
    def number(self) -> int:
        """How many homeworks count."""
        named = self.homeworks
        total = len(named) if isinstance(named, list) else named or 0
        return total if self.best is None else min(self.best, total)

    @property
    def whole(self) -> Fraction:
        """The most it gives, all homeworks together."""
        return self.most * self.number if self.homeworks is not None else self.most

    def combined(self, marks: tuple[Fraction | None, ...]) -> Fraction:
        """What the marks of its parts come to; a part that is not marked yet counts nothing."""
        given = [mark or Fraction(0) for mark in marks]
        if not given:
            return Fraction(0)
        if self.combine == "sum":
            return sum(given, Fraction(0))
        return max(given) if self.combine == "best" else sum(given, Fraction(0)) / self.parts


class Rounding(StrictModel):
    """What is rounded, to a multiple of what, and which way."""

    of: Literal["points", "grade"]
    to: Annotated[int | float, Field(gt=0, le=1000)]
    how: Ways

    def __call__(self, value: Fraction) -> Fraction:
        """The value, rounded."""
        steps = value / exact(self.to)
        ways: dict[Ways, Callable[[Fraction], Fraction | int]]
        ways = {"down": math.floor, "up": math.ceil, "half up": half_up}
        return Fraction(ways[self.how](steps)) * exact(self.to)


class Condition(StrictModel):
    """What a grade asks for beside points.

    It is looked up among the marks by its own name, or is a component, if `of` names one.
    """

    title: str = ""
    of: str | None = None
    least: Number
    unit: str = ""
    means: str  # what missing it means, for people
    grade: str | None = None  # that is given in the place of any better one

    @field_validator("means")
    @classmethod
    def _said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("should say what missing it means")
        return value


class Policy(StrictModel):
    """A policy, as its file has it."""

    title: str
    components: dict[Name, Component] = Field(min_length=1)
    points: str
    grade: str
    rounding: Rounding | None = None
    scale: dict[str, Number] = Field(default={})  # word -> the least number that earns it, best first
    conditions: dict[Name, Condition] = Field(default={})

    @field_validator("scale")
    @classmethod
    def _falls(cls, value: dict[str, int | float]) -> dict[str, int | float]:
        lines = list(value.values())
        if lines and (sorted(lines, reverse=True) != lines or len(set(lines)) < len(lines) or lines[-1] != 0):
            raise ValueError("should fall from the best word to the last one, which begins at 0")
        return value

    @field_validator("components")
    @classmethod
    def _with_points(cls, value: dict[str, Component]) -> dict[str, Component]:
        for name, component in value.items():
            if name == POINTS:
                raise ValueError(f"should not call a component `{POINTS}`, the word for the sum of all")
            if component.points is None:
                raise ValueError(f"should say the `points` of `{name}`")
        return value

    @field_validator("points", "grade")
    @classmethod
    def _formula(cls, value: str, info: ValidationInfo) -> str:
        if "components" not in info.data:  # they are refused themselves
            return value
        components: dict[str, Component] = info.data["components"]
        names = [*components, *([POINTS] if info.field_name == "grade" else [])]
        formula = Formula.parse(value, names)
        full = {name: component.whole for name, component in components.items()}
        for values in ({}, full):
            formula.value(dict.fromkeys(names, Fraction(0)) | values)
        return value

    @field_validator("conditions")
    @classmethod
    def _known(cls, value: dict[str, Condition], info: ValidationInfo) -> dict[str, Condition]:
        components, scale = info.data.get("components", {}), info.data.get("scale", {})
        for name, condition in value.items():
            if condition.of is not None and condition.of not in components:
                raise ValueError(f"should not ask `{name}` of `{condition.of}`, which is no component")
            if condition.of is None and name in components:
                raise ValueError(
                    f"should not call a condition like the component `{name}`; write `of: {name}` to mean it"
                )
            if condition.grade is not None and scale and condition.grade not in scale:
                raise ValueError(f"should not give {condition.grade!r} for `{name}`, which is not on the scale")
        return value

    @property
    def most(self) -> Fraction:
        """Points of somebody who has everything but bonuses."""
        return self.sum({name: Fraction(0) if c.bonus else c.whole for name, c in self.components.items()})

    def sum(self, values: Mapping[str, Fraction]) -> Fraction:
        """The points that components come to."""
        points = Formula(self.points).value(values)
        return self.rounding(points) if self.rounding and self.rounding.of == "points" else points

    def number(self, values: Mapping[str, Fraction]) -> Fraction:
        """The grade as a number, before any scale."""
        grade = Formula(self.grade).value({**values, POINTS: self.sum(values)})
        return self.rounding(grade) if self.rounding and self.rounding.of == "grade" else grade

    def marked(self, name: str) -> tuple[int, Fraction | None, str]:
        """How many marks a student gets of a component or condition, how much one can be, and its unit.

        Raises:
            UserError: nothing of that name takes marks.
        """
        component, condition = self.components.get(name), self.conditions.get(name)
        if component is not None and component.homeworks is None:
            return component.parts, component.part_most, "points"
        if condition is not None and condition.of is None:
            return 1, Fraction(100) if condition.unit == "%" else None, condition.unit or "points"
        known = [key for key, one in self.components.items() if one.homeworks is None]
        known += [key for key, one in self.conditions.items() if one.of is None]
        raise UserError(f"`{name}` takes no marks in the course's policy; those that do: {', '.join(known) or 'none'}.")

    def word(self, number: Fraction) -> str:
        """The word of the scale for a number; "" if there is no scale."""
        return next((word for word, least in self.scale.items() if number >= exact(least)), "")


def shipped() -> list[str]:
    """Names of the policies that ship."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_policy(root: Path, name: str, changes: Mapping[str, Component]) -> Policy:
    """The policy `name`: a shipped one, or a file of the course folder `root`.

    Args:
        changes: by component, what the course says in the place of the policy; new ones too.

    Raises:
        UserError: there is none, or with the changes it is none.
    """
    own = root / name
    path = own if name.endswith((".yaml", ".yml")) else SHIPPED / f"{name}.yaml"
    if path.parent != own.parent and name not in shipped():
        raise UserError(
            f"{root}: there is no policy `{name}`; there are {', '.join(shipped())}, or name a file of the course such "
            "as policy.yaml."
        )
    policy = load_yaml(path, Policy)
    known = policy.model_dump(exclude_unset=True)
    for component, change in changes.items():
        before = policy.components.get(component)
        _compare(root, component, before, change)
        known["components"].setdefault(component, {}).update(change.model_dump(exclude_unset=True))
    try:
        return Policy.model_validate(known)
    except ValidationError as error:
        problem = error.errors()[0]
        key, text = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
        raise UserError(f"{root}: with the course's own `components`, `{key}` of the policy {name} {text}.") from None


def _compare(root: Path, name: str, before: Component | None, change: Component) -> None:
    """Raise UserError if a course fills a component with another number of homeworks than its policy counts."""
    counted = before.homeworks if before is not None else None
    if isinstance(counted, int) and isinstance(change.homeworks, list) and len(change.homeworks) != counted:
        raise UserError(
            f"{root}: `components.{name}.homeworks` names {len(change.homeworks)}, and the policy counts {counted}: "
            "name as many, those that are not out yet too."
        )
    if isinstance(change.homeworks, list) and len(set(change.homeworks)) < len(change.homeworks):
        raise UserError(f"{root}: `components.{name}.homeworks` names a homework twice.")
