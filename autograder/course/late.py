"""The late rule of a course: data, and what it makes of when somebody handed in.

    late:
      grace_minutes: 15
      per_day: 10                # percent of what was earned, for each day that has begun; or
      steps: {1: 10, 3: 30}      # up to so many days late: percent; nothing is left after the last step
      free_days: 5               # each student has so many in all, used up in the order of the deadlines
      last_day: 7                # days after the deadline; what comes later earns nothing
      submission: last in time   # of several that were handed in: the last one, the last one in time, or the best one

An extension moves a student's deadline. An excuse forgives being late until it expires: whoever hands in later is as
late as without it. Where nobody knows when something was handed in, it is not late.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, RootModel, field_validator, model_validator

from autograder.errors import UserError
from autograder.report import exact
from autograder.yamlfile import StrictModel, load_yaml, parse_yaml

EXTENSIONS = "extensions.yaml"
DAY = timedelta(days=1)
Percent = Annotated[int | float, Field(ge=0, le=100)]
Days = Annotated[int, Field(ge=0, le=365)]


class LateRule(StrictModel):
    """The section `late:` of course.yaml."""

    grace_minutes: int = Field(default=0, ge=0, le=7 * 24 * 60)
    per_day: Percent | None = None
    steps: dict[Annotated[int, Field(ge=1, le=365)], Percent] = Field(default={})
    free_days: Days = 0
    last_day: Days | None = None
    submission: Literal["last", "last in time", "best"] = "last"

    @field_validator("steps")
    @classmethod
    def _rise(cls, value: dict[int, float]) -> dict[int, float]:
        if list(value) != sorted(value) or list(value.values()) != sorted(value.values()):
            raise ValueError("should rise: more days, more percent")
        return value

    @model_validator(mode="after")
    def _one_of_two(self) -> LateRule:
        if self.per_day is not None and self.steps:
            raise ValueError("should have `per_day` or `steps`, not both")
        return self

    def percent(self, days: int) -> Fraction:
        """What being that many days late costs, of what was earned."""
        if days <= 0:
            return Fraction(0)
        if self.steps:
            return next((exact(cost) for last, cost in self.steps.items() if days <= last), Fraction(100))
        return min(days * exact(self.per_day or 0), Fraction(100))


class Extension(StrictModel):
    """More time for one student and one homework."""

    until: AwareDatetime  # the new deadline; of an excuse, when it expires
    reason: str = Field(min_length=1)
    kind: Literal["extension", "excuse"] = "extension"


class _File(RootModel[dict[str, dict[str, Extension]]]):
    """`extensions.yaml`: student -> homework -> extension."""


Extensions = Mapping[str, Mapping[str, Extension]]


def load_extensions(root: Path, students: Mapping[str, object], homeworks: Mapping[str, object]) -> Extensions:
    """`extensions.yaml` of the course folder `root`; nothing if there is none.

    Args:
        students, homeworks: those that there are; without students everybody is taken as they stand.

    Raises:
        UserError: with file, line and key, if it names others.
    """
    path = root / EXTENSIONS
    if not path.exists():
        return {}
    found = load_yaml(path, _File).root
    _, lines = parse_yaml(path)
    for student, granted in found.items():
        if students and student not in students:
            raise UserError(f"{path}, line {lines[student,]}: `{student}` is no student of the course.")
        for homework in granted:
            if homework not in homeworks:
                known = ", ".join(homeworks) or "none"
                raise UserError(
                    f"{path}, line {lines[student, homework]}: `{student}.{homework}` is no homework that has a "
                    f"deadline under `due:` of course.yaml (those with one: {known})."
                )
    return found


@dataclass(frozen=True)
class HandIn:
    """When somebody handed a homework in."""

    when: datetime | None  # None: nobody knows
    flagged: bool = False  # where it came from says that it is late, without saying when it came


@dataclass(frozen=True)
class Late:
    """What the late rule makes of one hand-in."""

    days: int = 0  # begun since the deadline that held, those for which a free day was taken included
    free: int = 0  # of them
    percent: Fraction = Fraction(0)  # of what was earned that is lost
    accepted: bool = True
    words: str = ""  # what a student and a TA read; "" where there is nothing to say

    @property
    def late(self) -> bool:
        """True if something should be said about it."""
        return self.days > 0

    def cost(self, earned: Fraction) -> Fraction:
        """Points that are lost."""
        return earned * self.percent / 100


def lateness(
    rule: LateRule,
    due: Mapping[str, datetime],
    extensions: Mapping[str, Extension],
    handed_in: Mapping[str, HandIn],
) -> dict[str, Late]:
    """What the rule makes of all a student handed in, by homework; free days go in the order of the deadlines.

    Args:
        due: homework -> its deadline; a homework without one is never late.
        extensions: of this student.
    """
    found: dict[str, Late] = {}
    bank = rule.free_days
    for homework in sorted(handed_in, key=lambda name: (due[name].timestamp() if name in due else math.inf, name)):
        late = _one(rule, due.get(homework), extensions.get(homework), handed_in[homework], bank)
        bank -= late.free
        found[homework] = late
    return found


def last_deadline(homework: str, due: Mapping[str, datetime], extensions: Extensions) -> datetime | None:
    """When the time of everybody is over, those included who have more; None without a deadline."""
    if homework not in due:
        return None
    longer = (granted[homework].until for granted in extensions.values() if homework in granted)
    return max([due[homework], *longer])


def _one(rule: LateRule, due: datetime | None, extension: Extension | None, item: HandIn, bank: int) -> Late:
    if due is None:
        return Late()
    if item.when is None:
        if item.flagged:
            return Late(words="It is marked as late, but not when it came: no points are taken off.")
        return Late(words="Nobody knows when it was handed in; it is not called late.")
    granted = "" if extension is None else f" ({extension.kind} until {_said(extension.until)}: {extension.reason})"
    if extension is not None and extension.kind == "excuse" and item.when <= extension.until:
        return Late(words=f"Being late is excused{granted}." if item.when > due else "")
    if extension is not None and extension.kind == "extension":
        due = max(due, extension.until)
    if item.when <= due + timedelta(minutes=rule.grace_minutes):
        return Late(words=f"It was handed in in time{granted}." if granted else "")
    days = -((due - item.when) // DAY)
    after = f"It was handed in {days} day{'s' * (days != 1)} after the deadline{granted}"
    if rule.last_day is not None and days > rule.last_day:
        return Late(days, 0, Fraction(100), False, f"{after}; the last day was day {rule.last_day}: it earns nothing.")
    free = min(days, bank)
    percent = rule.percent(days - free)
    taken = f", {free} of them free" if free else ""
    cost = f"{float(percent):g} % of the points are taken off" if percent else "no points are taken off"
    return Late(days, free, percent, True, f"{after}{taken}: {cost}.")


def _said(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M %Z}"
