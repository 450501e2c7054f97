"""From what a student has to a grade: components, points, the formula with the numbers put in, what is still missing.

Everything here is a pure function of a policy and a `Standing`, in exact rational arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from autograder.course.formula import Formula, shown
from autograder.course.late import Late
from autograder.course.policy import POINTS, Component, Policy

ZERO = Fraction(0)
IN_TIME = Late()
FINE = 100  # the missing points are found to a hundredth
Marks = tuple[Fraction | None, ...]  # of the parts of a component; None where nothing was given yet


@dataclass(frozen=True)
class Homework:
    """Where a student stands in one homework."""

    earned: Fraction = ZERO  # before anything is taken off for being late
    most: Fraction = ZERO  # of the homework as it was written; 0 where nobody was graded yet
    waiting: Fraction = ZERO  # points that somebody still has to give
    late: Late = IN_TIME
    words: str = ""  # "graded", "nothing handed in", "not graded: …"
    stage: Literal["nothing", "handed in", "graded"] = "nothing"
    given: bool = False  # somebody gave points where nothing was graded
    closed: bool = False  # nothing can be handed in any more

    @property
    def counted(self) -> Fraction:
        """Points that count."""
        return self.earned - self.late.cost(self.earned)

    @property
    def has_points(self) -> bool:
        """True if another program should hear of them."""
        return self.stage == "graded" or self.given

    @property
    def open(self) -> Fraction:
        """The share of it that may still be earned."""
        if not self.closed:
            return 1 - (self.counted / self.most if self.most else ZERO)
        if self.stage == "graded":
            return self.waiting * (1 - self.late.percent / 100) / self.most if self.most else ZERO
        return Fraction(self.stage == "handed in")


@dataclass(frozen=True)
class Standing:
    """All that is known of a student."""

    student: str
    name: str = ""
    homeworks: Mapping[str, Homework] = field(default_factory=dict)
    marks: Mapping[str, Marks] = field(default_factory=dict)  # of components and conditions


@dataclass(frozen=True)
class Item:
    """One homework in its component."""

    homework: str
    state: Homework
    value: Fraction  # rescaled to the component's points
    most: Fraction
    counts: bool  # False where the course counts only the best, and this is none of them


@dataclass(frozen=True)
class Part:
    """One component of a grade."""

    name: str
    component: Component
    value: Fraction
    open: Fraction  # points of it that may still be earned
    items: Sequence[Item] = ()
    marks: Marks = ()

    @property
    def title(self) -> str:
        """For people."""
        return self.component.title or self.name

    @property
    def words(self) -> str:
        """Of marks: each, and what is not marked yet."""
        return " and ".join("not marked yet" if mark is None else shown(mark) for mark in self.marks)


@dataclass(frozen=True)
class Met:
    """A condition, and whether it is met; None where nothing is recorded yet."""

    title: str
    asks: str  # "at least 65 %"
    value: Fraction | None
    met: bool | None
    means: str
    grade: str | None


@dataclass(frozen=True)
class Wanted:
    """What it takes to get a better grade."""

    grade: str
    component: str  # its title; "" where several are open
    points: Fraction  # of it, or percent of everything that is open


@dataclass(frozen=True)
class Grade:
    """A student's grade, and how it came about."""

    standing: Standing
    parts: Sequence[Part]
    conditions: Sequence[Met]
    points: Fraction
    most: Fraction
    number: Fraction
    grade: str  # as it is given: a word of the scale, or the number
    lines: Sequence[str]  # the formulas, with the numbers put in
    wanted: Sequence[Wanted]

    @property
    def final(self) -> bool:
        """True if nothing can change it any more but a person."""
        return all(not part.open for part in self.parts) and all(one.met is not None for one in self.conditions)

    @property
    def missing(self) -> list[str]:
        """What is not there yet, in words."""
        homeworks = [f"{i.homework}: {i.state.words}" for p in self.parts for i in p.items if i.state.words != "graded"]
        marks = [f"{p.title}: {p.words}" for p in self.parts if not p.items and None in p.marks]
        return homeworks + marks + [f"{one.title}: not recorded yet" for one in self.conditions if one.met is None]


def grade_of(policy: Policy, standing: Standing, homeworks: Sequence[str]) -> Grade:
    """The grade of a student.

    Args:
        homeworks: of the course, in their order; a component that gives only a number takes the first ones.
    """
    parts = [_part(name, component, standing, homeworks) for name, component in policy.components.items()]
    conditions = [_condition(policy, name, standing, parts) for name in policy.conditions]
    values = {part.name: part.value for part in parts}
    points, number = policy.sum(values), policy.number(values)
    given = _given(policy, number, conditions)
    return Grade(
        standing, parts, conditions, points, policy.most, number, given,
        _lines(policy, values, points, number, conditions), _wanted(policy, parts, conditions, number),
    )  # fmt: skip


def homeworks_of(component: Component, homeworks: Sequence[str]) -> Sequence[str]:
    """The homeworks that a component counts."""
    if isinstance(component.homeworks, list):
        return component.homeworks
    return [*homeworks, *(f"homework {n + 1}" for n in range(len(homeworks), component.homeworks or 0))][
        : component.homeworks
    ]


def _part(name: str, component: Component, standing: Standing, homeworks: Sequence[str]) -> Part:
    if component.homeworks is None:
        marks = standing.marks.get(name, (None,) * component.parts)
        full = tuple(component.part_most if mark is None else mark for mark in marks)
        value = component.combined(marks)
        return Part(name, component, value, component.combined(full) - value, (), marks)
    items = []
    for homework in homeworks_of(component, homeworks):
        state = standing.homeworks.get(homework, Homework(words="not there yet"))
        share = state.counted / state.most if state.most else ZERO
        items.append((homework, state, share * component.most))
    best = sorted(range(len(items)), key=lambda i: -items[i][2])[: component.number]
    shown_items = [Item(h, state, value, component.most, i in best) for i, (h, state, value) in enumerate(items)]
    value = sum((item.value for item in shown_items if item.counts), ZERO)
    reach = sorted((item.value + item.state.open * component.most for item in shown_items), reverse=True)
    return Part(name, component, value, sum(reach[: component.number], ZERO) - value, shown_items)


def _condition(policy: Policy, name: str, standing: Standing, parts: Sequence[Part]) -> Met:
    condition = policy.conditions[name]
    least = Fraction(str(condition.least))
    title = condition.title or name
    asks = f"at least {shown(least)}{' ' + condition.unit if condition.unit else ''}"
    if condition.of is not None:
        part = next(part for part in parts if part.name == condition.of)
        met = True if part.value >= least else None if part.value + part.open >= least and part.open else False
        return Met(condition.title or part.title, asks, part.value, met, condition.means, condition.grade)
    value = next(iter(standing.marks.get(name, ())), None)
    return Met(title, asks, value, None if value is None else value >= least, condition.means, condition.grade)


def _given(policy: Policy, number: Fraction, conditions: Sequence[Met]) -> str:
    return _bounded(policy, policy.word(number) or shown(number), conditions)


def _bounded(policy: Policy, given: str, conditions: Sequence[Met]) -> str:
    """A grade, or the one that missed conditions leave of it."""
    for one in conditions:
        if one.met is False and one.grade is not None:
            given = _worse(policy, given, one.grade)
    return given


def _worse(policy: Policy, given: str, other: str) -> str:
    """Of two grades the worse one."""
    if policy.scale:
        order = list(policy.scale)
        return max(given, other, key=order.index)
    try:
        return min(given, other, key=Fraction)
    except ValueError:
        return other


def _lines(
    policy: Policy, values: Mapping[str, Fraction], points: Fraction, number: Fraction, conditions: Sequence[Met]
) -> list[str]:
    """ "points = homework + exam = 62.5 + 21 = 83.5", and the same of the grade; roundings as steps of their own."""
    rounding, lines = policy.rounding, []
    known = {**values, POINTS: points}
    for what, text, result in ((POINTS, policy.points, points), ("grade", policy.grade, number)):
        formula = Formula(text)
        plain, filled = formula.value(known), formula.filled(known)
        steps = [what, text, filled, shown(plain)]
        line = " = ".join(step for i, step in enumerate(steps) if i == 0 or step != steps[i - 1])
        if rounding and rounding.of == what:
            line += f", rounded {rounding.how} to {shown(result)}"
        lines.append(line)
    word = policy.word(number) or shown(number)
    lines[-1] += f": {word}" if word != shown(number) else ""
    if (given := _bounded(policy, word, conditions)) != word:
        missed = " and ".join(one.title for one in conditions if one.met is False)
        lines.append(f"{missed} missed: {given}")
    return lines


def _wanted(policy: Policy, parts: Sequence[Part], conditions: Sequence[Met], number: Fraction) -> list[Wanted]:
    """For every better grade the least that reaches it; those out of reach are left out."""
    open_parts = [part for part in parts if part.open > 0]
    if not open_parts:
        return []
    alone = open_parts[0] if len(open_parts) == 1 and not open_parts[0].items else None
    whole = alone.open if alone is not None else Fraction(100)
    steps = math.ceil(whole * FINE)

    def reached(step: int) -> Fraction:
        share = min(Fraction(step, FINE) / whole, Fraction(1))
        return policy.number({part.name: part.value + part.open * share for part in parts})

    wanted = []
    for word, least in _better(policy, number, reached(steps)):
        low, high = 0, steps
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if reached(middle) >= least else (middle + 1, high)
        points = min(Fraction(low, FINE), whole)
        if _bounded(policy, word, conditions) == word:
            wanted.append(Wanted(word, alone.title if alone else "", points))
    return wanted


def _better(policy: Policy, number: Fraction, highest: Fraction) -> list[tuple[str, Fraction]]:
    """Grades above a number that can be reached, with the number each begins at, lowest first."""
    if policy.scale:
        lines = [(word, Fraction(str(least))) for word, least in policy.scale.items()]
    else:
        lines = [
            (str(n), Fraction(n)) for n in range(math.floor(number) + 1, math.floor(min(highest, number + 100)) + 1)
        ]
    return sorted(((w, least) for w, least in lines if number < least <= highest), key=lambda item: item[1])
