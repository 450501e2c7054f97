"""The policies that ship, on examples worked by hand at, just below and just above every boundary."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from autograder.course.formula import Formula, shown
from autograder.course.grades import Grade, Homework, Standing, grade_of
from autograder.course.late import Late
from autograder.course.policy import Component, Policy, load_policy, shipped
from autograder.errors import UserError

SIX = [f"hw{n}" for n in range(1, 7)]
HUNDREDTH = Fraction(1, 100)


def graded(earned: Fraction | int, most: Fraction | int = 15, **changes: object) -> Homework:
    return Homework(Fraction(earned), Fraction(most), stage="graded", words="graded", closed=True, **changes)


def grade(
    policy: Policy | str, homeworks: list[Fraction | int], exam: tuple[Fraction | int | None, ...] = (None,), most=15
) -> Grade:
    """Of somebody with so many points, each homework written for `most`."""
    policy = load_policy(Path("course.yaml"), policy, {}) if isinstance(policy, str) else policy
    names = [f"hw{n}" for n in range(1, len(homeworks) + 1)]
    marks = tuple(None if mark is None else Fraction(mark) for mark in exam)
    states = {name: graded(earned, most) for name, earned in zip(names, homeworks, strict=True)}
    return grade_of(policy, Standing("ada", "Ada", states, {"exam": marks}), names)


def spread(total: Fraction, count: int, each: int) -> list[Fraction]:
    """So many points, over homeworks of `each`."""
    return [min(max(total - n * each, Fraction(0)), Fraction(each)) for n in range(count)]


def test_four_policies_ship():
    assert shipped() == ["aimasters-2025", "mipt-2021", "mipt-oral", "skoltech-2025"]


@pytest.mark.parametrize("tens", range(1, 12))
def test_aimasters_gives_a_grade_for_every_ten_points(tens):
    """59.99 points are a 5, 60 and 60.01 a 6; from 100 on it is a 10."""
    for off, wanted in ((-HUNDREDTH, min(tens - 1, 10)), (Fraction(0), min(tens, 10)), (HUNDREDTH, min(tens, 10))):
        points = Fraction(10 * tens) + off
        exam = min(points, Fraction(30))
        found = grade("aimasters-2025", spread(points - exam, 6, 15), (exam,))
        assert (found.points, found.grade) == (points, str(wanted))


@pytest.mark.parametrize("step", range(1, 12))
def test_mipt_gives_a_grade_for_every_eight_points_beyond_sixteen(step):
    """23.99 points are a 0, 24 a 1, 104 an 11: the published rule has no cap."""
    for off, wanted in ((-HUNDREDTH, step - 1), (Fraction(0), step), (HUNDREDTH, step)):
        points = Fraction(8 * step + 16) + off
        exam = min(points, Fraction(26))
        homeworks = [value * 15 / 13 for value in spread(points - exam, 6, 13)]  # written for 15, rescaled to 13
        if points <= 104:
            found = grade("mipt-2021", homeworks, (exam,))
            assert (found.points, found.grade) == (points, str(wanted))
    assert grade("mipt-2021", [0] * 6, (16,)).grade == "0"
    assert grade("mipt-2021", [15] * 6, (26,)).grade == "11"


@pytest.mark.parametrize(
    ("line", "word", "below"), [(86, "A", "B"), (76, "B", "C"), (66, "C", "D"), (56, "D", "E"), (46, "E", "F")]
)
def test_skoltech_letters_begin_where_they_say(line, word, below):
    """85.99 % are a B, 86 and 86.01 % an A."""
    for off, wanted in ((-HUNDREDTH, below), (Fraction(0), word), (HUNDREDTH, word)):
        percent = Fraction(line) + off
        exam = min(percent, Fraction(30))
        homeworks = [value * 15 / 35 for value in spread(percent - exam, 2, 35)]
        found = grade("skoltech-2025", homeworks, (exam,))
        assert (found.points, found.grade) == (percent, wanted)


@pytest.mark.parametrize(
    ("marks", "number", "word"),
    [
        ((8, 8), 8, "excellent"),
        ((7, 8), 8, "excellent"),
        ((7, Fraction("7.98")), 7, "good"),
        ((10, 10), 10, "excellent"),
        ((5, 5), 5, "good"),
        ((4, 5), 5, "good"),
        ((4, Fraction("4.98")), 4, "satisfactory"),
        ((3, 3), 3, "satisfactory"),
        ((2, 3), 3, "satisfactory"),
        ((2, Fraction("2.98")), 2, "fail"),
        ((1, 1), 1, "fail"),
        ((7, Fraction("8.02")), 8, "excellent"),
    ],
)
def test_the_oral_exam_is_the_mean_of_two_questions_a_half_rounded_up(marks, number, word):
    found = grade("mipt-oral", [], marks)
    assert (found.number, found.grade) == (number, word)


@pytest.mark.parametrize(
    ("policy", "worst"), [("aimasters-2025", "0"), ("mipt-2021", "0"), ("skoltech-2025", "F"), ("mipt-oral", "fail")]
)
def test_nobody_handing_in_anything_gets_the_worst_grade(policy, worst):
    found = grade_of(load_policy(Path("course.yaml"), policy, {}), Standing("ada"), [])
    assert (found.points, found.grade) == (0, worst)


@pytest.mark.parametrize(
    ("policy", "count", "exam", "best"),
    [("aimasters-2025", 6, (40,), "10"), ("mipt-2021", 6, (34,), "12"), ("skoltech-2025", 2, (45,), "A")],
)
def test_more_points_than_there_are_count_as_they_are(policy, count, exam, best):
    """Only the formula caps: 130 of 120 points are a 10, 112 of 104 points in a policy without a cap a 12."""
    found = grade(policy, [15] * count, exam)
    assert found.points > found.most
    assert found.grade == best


def test_fifteen_points_are_rescaled_exactly():
    """7 of 15 points are 91/15 of 13 and 49/3 of 35; no rounding creeps in anywhere."""
    assert grade("mipt-2021", [7, 0, 0, 0, 0, 0]).points == Fraction(91, 15)
    assert grade("skoltech-2025", [7, 0]).points == Fraction(49, 3)
    assert grade("aimasters-2025", [Fraction("0.1")] * 6).points == Fraction(6, 10)


def test_a_grade_shows_its_formula_with_the_numbers_put_in():
    found = grade("mipt-2021", [12] * 6, (21,))
    assert list(found.lines) == [
        "points = homework + exam = 62.4 + 21 = 83.4",
        "grade = relu(points / 8 - 2) = relu(83.4 / 8 - 2) = 8.425, rounded down to 8",
    ]
    letters = grade("skoltech-2025", [15, 12], (20,))
    assert letters.lines[-1] == "grade = points = 83: B"


def test_what_is_missing_for_each_better_grade_is_said_in_points_of_the_exam():
    """With 62 points of homework an 8 takes 18 exam points and a 9 takes 28; a 10 is out of reach."""
    found = grade("aimasters-2025", [12, 12, 12, 12, 7, 7])
    assert found.grade == "6"
    assert [(one.grade, one.component, one.points) for one in found.wanted] == [
        ("7", "Exam", 8),
        ("8", "Exam", 18),
        ("9", "Exam", 28),
    ]
    exact = grade("aimasters-2025", [12, 12, 12, 12, 7, 7], (18,))
    assert exact.grade == "8"
    assert not exact.wanted
    assert exact.final


def test_where_several_things_are_open_it_is_said_in_percent_of_all_of_them():
    policy = load_policy(Path("course.yaml"), "aimasters-2025", {})
    states = {name: graded(15) for name in SIX[:5]}
    found = grade_of(policy, Standing("ada", "", states), SIX)
    assert [(one.grade, one.component, shown(one.points)) for one in found.wanted] == [
        ("8", "", "11.12"),
        ("9", "", "33.34"),
        ("10", "", "55.56"),
    ]
    assert found.missing == ["hw6: not there yet", "Exam: not marked yet"]


def test_points_taken_off_for_being_late_are_gone_before_anything_is_rescaled():
    policy = load_policy(Path("course.yaml"), "mipt-2021", {})
    late = Homework(Fraction(15), Fraction(15), late=Late(2, 0, Fraction(20)), stage="graded", closed=True)
    found = grade_of(policy, Standing("ada", "", {"hw1": late}), SIX)
    assert found.points == Fraction(13) * Fraction(8, 10)


def own(**changes: object) -> Policy:
    components = {
        "homework": {"homeworks": 3, "points": 10},
        "exam": {"points": 10},
        "bonus": {"points": 5, "bonus": True},
    }
    values = {"title": "Own", "components": components, "points": "homework + exam + bonus", "grade": "points"}
    return Policy.model_validate(values | changes)


def test_only_the_best_homeworks_count_and_a_bonus_is_no_part_of_the_maximum():
    policy = own(
        components={"homework": {"homeworks": 3, "points": 10, "best": 2}, "bonus": {"points": 5, "bonus": True}},
        points="homework + bonus",
    )
    names = ["hw1", "hw2", "hw3"]
    states = {name: graded(earned, 10) for name, earned in zip(names, (4, 9, 7), strict=True)}
    found = grade_of(policy, Standing("ada", "", states, {"bonus": (Fraction(3),)}), names)
    assert (found.points, found.most) == (19, 20)
    assert [item.counts for item in found.parts[0].items] == [False, True, True]


@pytest.mark.parametrize(("attendance", "met", "given"), [(None, None, "8"), ("64.99", False, "2"), (65, True, "8")])
def test_a_condition_that_is_no_points_is_shown_and_says_what_missing_it_means(attendance, met, given):
    condition = {"title": "Attendance", "least": 65, "unit": "%", "means": "not admitted to the exam", "grade": "2"}
    policy = own(conditions={"attendance": condition}, scale={})
    marks = {"exam": (Fraction(8),), "bonus": (Fraction(0),)} | (
        {} if attendance is None else {"attendance": (Fraction(attendance),)}
    )
    found = grade_of(policy, Standing("ada", "", {}, marks), [])
    assert (found.conditions[0].met, found.grade) == (met, given)
    assert found.lines[-1].startswith("Attendance missed: 2") == (met is False)
    assert [one.grade for one in found.wanted] == ([] if met is False else [str(n) for n in range(9, 39)])
    assert ("Attendance: not recorded yet" in found.missing) == (met is None)


def test_a_condition_may_ask_for_a_part_of_the_points():
    policy = own(conditions={"enough": {"of": "exam", "least": 5, "means": "failed the exam", "grade": "0"}})
    worst = grade_of(
        policy,
        Standing("ada", "", {"hw1": graded(10, 10)}, {"exam": (Fraction("4.9"),), "bonus": (Fraction(5),)}),
        ["hw1"],
    )
    assert worst.grade == "0"
    good = grade_of(
        policy, Standing("ada", "", {"hw1": graded(10, 10)}, {"exam": (Fraction(5),), "bonus": (Fraction(5),)}), ["hw1"]
    )
    assert good.grade == "20"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("homework ** 9", "may"),
        ("__import__('os')", "calls `__import__`"),
        ("exam.real", "may"),
        ("lambda: 1", "may"),
        ("[1][0]", "may"),
        ("quiz + 1", "names `quiz`"),
        ("1 / (exam - 1)", "divides by zero"),
        ("floor()", "arguments"),
        ("'a'", "no number"),
        ("True", "no number"),
        ("homework +", "no formula"),
        ("min(1, key=exam)", "keyword"),
        ("exam if exam else 1", "may"),
        ("clip(exam)", "arguments"),
        ("1 +" * 200 + "1", "longer"),
        ("exam = 1", "no formula"),
    ],
)
def test_a_formula_that_is_none_is_refused_with_a_reason(text, why):
    with pytest.raises(ValueError, match=why):
        Formula.parse(text, ["homework", "exam"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("round(2.5)", 3),
        ("round(-2.5)", -2),
        ("0.1 + 0.2", Fraction(3, 10)),
        ("ceil(1/3)", 1),
        ("relu(-1)", 0),
        ("clip(7, 0, 5)", 5),
        ("max(1, 2, 3) - min(4, 5)", -1),
        ("-exam + +exam", 0),
    ],
)
def test_formulas_are_exact(text, value):
    assert Formula.parse(text, ["exam"]).value({"exam": Fraction(1, 3)}) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(2), "2"),
        (Fraction(1, 2), "0.5"),
        (Fraction(-1, 4), "-0.25"),
        (Fraction(2, 3), "0.66…"),
        (Fraction("85.9999"), "85.99…"),
        (Fraction(0), "0"),
        (Fraction(-2, 3), "-0.66…"),
    ],
)
def test_numbers_are_never_rounded_up_to_a_boundary(value, text):
    assert shown(value) == text


POLICY = "title: Own\ncomponents:\n  exam: {points: 10}\npoints: exam\ngrade: points\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("points: exam", "points: exam + quiz", ("line 4", "`points`", "`quiz`")),
        ("grade: points", "grade: points / (exam - 10)", ("line 5", "`grade`", "divides by zero")),
        ("exam: {points: 10}", "exam: {parts: 2}", ("line 2", "`components`", "`points` of `exam`")),
        ("exam: {points: 10}", "exam: {pionts: 10}", ("line 3", "did you mean `components.exam.points`")),
        ("exam: {points: 10}", "exam: {points: -1}", ("line 3", "`components.exam.points", "-1")),
        ("grade: points", "grade: points\nscale: {A: 5, B: 7, C: 0}", ("line 6", "`scale`", "fall")),
        ("grade: points", "grade: points\nscale: {A: 5, B: 1}", ("line 6", "`scale`", "begins at 0")),
        ("grade: points", "grade: points\nconditions: {x: {least: 1, of: quiz, means: m}}", ("line 6", "`quiz`")),
        ("grade: points", "grade: points\nrounding: {of: grade, to: 0, how: down}", ("line 6", "`rounding.to")),
        ("grade: points", "grade: points\nrounding: {of: grade, to: 1, how: off}", ("line 6", "`rounding.how`")),
    ],
)
def test_a_policy_of_the_course_is_refused_with_file_line_and_key(tmp_path, old, new, words):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    assert load_policy(tmp_path, "policy.yaml", {}).most == 10
    path.write_text(POLICY.replace(old, new))
    with pytest.raises(UserError) as refused:
        load_policy(tmp_path, "policy.yaml", {})
    for word in (str(path), *words):
        assert word in str(refused.value)


def test_a_course_names_its_homeworks_and_adds_components_of_its_own(tmp_path):
    named = {"homework": Component(homeworks=["hw2", "hw1"]), "exam": Component(points=40)}
    policy = load_policy(tmp_path, "skoltech-2025", named)
    assert (policy.components["homework"].homeworks, policy.most) == (["hw2", "hw1"], 110)
    with pytest.raises(UserError, match="names 3, and the policy counts 2: name as many"):
        load_policy(tmp_path, "skoltech-2025", {"homework": Component(homeworks=["a", "b", "c"])})
    with pytest.raises(UserError, match="names a homework twice"):
        load_policy(tmp_path, "skoltech-2025", {"homework": Component(homeworks=["a", "a"])})
    with pytest.raises(UserError, match="should say the `points` of `quiz`"):
        load_policy(tmp_path, "skoltech-2025", {"quiz": Component()})
    with pytest.raises(UserError, match="there is no policy `ours`"):
        load_policy(tmp_path, "ours", {})
