"""`submission: best`: each hand-in is graded, and the one with the most points after the late rule counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from autograder.course.course import Course
from autograder.records.attempts import attempts_of
from autograder.records.record import Record
from autograder.records.state import State
from autograder.report import Report
from tests.autograder.commands.conftest import course, invoke, provider, repository  # noqa: F401 (fixtures)
from tests.autograder.commands.saying import WRONG, Invoke
from tests.autograder.course_factory import ANSWERS, NAME, Repository, answered, to_bytes
from tests.autograder.grading.test_stale import edit

DUE = datetime(2026, 10, 12, 21, tzinfo=UTC)
HOUR = timedelta(hours=1)
HALF = WRONG | {"why": "Why?"}  # 1 of 3 points
OTHERWISE = ANSWERS | {"double-answer": "double = lambda x: x + x\n"}  # 3 of 3
NOTHING = HALF | {"line-answer": "Line = None\n"}


@pytest.fixture
def best(course: Course) -> Course:  # noqa: F811
    path = course.root / "course.yaml"
    late = {"per_day": 10, "submission": "best"}
    path.write_text(path.read_text() + yaml.safe_dump({"due": {NAME: DUE}, "late": late}))
    return course


def hand_in(repository: Repository, name: str, *given: tuple[str, timedelta, dict[str, str]]) -> Path:  # noqa: F811
    """What lies in nbgrader's exchange: who, how long after the deadline, what."""
    folder = repository.root / name
    template = repository.load().template
    for who, after, answers in given:
        when = f"{DUE + after:%Y-%m-%d %H:%M:%S} UTC"
        place = folder / f"{who}+{NAME}+{when}"
        place.mkdir(parents=True)
        (place / f"{NAME}.ipynb").write_bytes(to_bytes(answered(template, answers)))
        (place / "timestamp.txt").write_text(when)
    return folder


def state_of(course: Course, who: str) -> State:  # noqa: F811
    with Record(course.root, NAME) as record:
        found = record.get(who)
    assert found is not None
    return found


def counts(course: Course, who: str) -> tuple[float, timedelta]:  # noqa: F811
    """Points of the checks of what counts, and how long after the deadline it came: report, record and files agree."""
    report, state = Report.load(course.report_path(NAME, who)), state_of(course, who)
    assert report.submission_sha256 == state.sha == state.graded
    stamp = (course.submitted_dir / who / NAME / "timestamp.txt").read_text()
    assert state.when is not None
    assert stamp.startswith(f"{state.when:%Y-%m-%d %H:%M:%S}")
    return report.earned, state.when - DUE


def test_the_best_counts_after_what_being_late_costs(best: Course, repository: Repository, invoke: Invoke, provider):  # noqa: F811
    grade = ("grade", NAME, "-c", best.root, "--sandbox", "process")
    first = hand_in(
        repository,
        "first",
        ("ada", -2 * HOUR, HALF), ("ada", HOUR, ANSWERS),  # the later one, less 10 %
        ("bob", -2 * HOUR, ANSWERS), ("bob", -HOUR, HALF),  # the earlier one
        ("cleo", -2 * HOUR, OTHERWISE), ("cleo", HOUR, ANSWERS),  # the earlier one: the same points, and in time
    )  # fmt: skip
    ahead = invoke("collect", NAME, first, "-c", best.root)
    assert "3 submissions of hw0 lie" in ahead.err
    ahead = invoke(*grade, "--dry-run")
    assert "6 submissions would be run" in ahead.out
    said = invoke(*grade)
    assert "6 hand-ins of students who handed in more than once, each graded." in said.out
    assert {who: counts(best, who) for who in ("ada", "bob", "cleo")} == {
        "ada": (3.0, HOUR), "bob": (3.0, -2 * HOUR), "cleo": (3.0, -2 * HOUR),
    }  # fmt: skip
    assert [row.split(",")[2] for row in best.scores_path.read_text().splitlines()[1:]] == ["2.7", "3", "3"]
    page = (best.feedback_dir(NAME) / "ada.html").read_text()
    assert "2 submissions were handed in: " in page
    assert "The one with the most points counts, after what being late costs:" in page
    assert "2 submissions were handed in" in invoke("show", NAME, "bob", "-c", best.root).out
    # nothing new: nothing runs, nothing moves
    before = {who: state_of(best, who) for who in ("ada", "bob", "cleo")}
    assert "0 submissions would be run" in invoke(*grade, "--dry-run").out
    invoke(*grade)
    assert {who: state_of(best, who) for who in before} == before
    # a later hand-in that is worse stays beside; one that is better counts, and an extension can turn it
    more = hand_in(repository, "second", ("bob", 2 * HOUR, NOTHING), ("cleo", 2 * HOUR, HALF))
    assert "2 hand-ins of students" in invoke(*grade[:2], more, *grade[2:]).out
    assert counts(best, "bob") == (3.0, -2 * HOUR)
    assert len(attempts_of(best, NAME, "bob")) == 3
    until = (DUE + 3 * HOUR).isoformat()
    (best.root / "extensions.yaml").write_text(f"cleo:\n  {NAME}: {{until: {until}, reason: illness}}\n")
    invoke(*grade)
    assert counts(best, "cleo") == (3.0, HOUR), "of equals the last one"


def test_what_counts_is_found_again_after_a_kill_and_without_the_record(
    best: Course,
    repository: Repository,  # noqa: F811
    invoke: Invoke,  # noqa: F811
    provider,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    grade = ("grade", NAME, "-c", best.root, "--sandbox", "process")
    source = hand_in(repository, "first", ("ada", -2 * HOUR, ANSWERS), ("ada", -HOUR, HALF))
    with monkeypatch.context() as patch:

        def killed(*arguments: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("autograder.grading.best.write_way", killed)  # its files lie there, and its report does not
        invoke("collect", NAME, hand_in(repository, "only", ("ada", -HOUR, HALF)), "-c", best.root)
        assert invoke("grade", NAME, source, *grade[2:]).code == 130
    assert invoke(*grade).code == 0
    assert counts(best, "ada") == (3.0, -2 * HOUR)
    (best.root / "state.db").unlink()
    assert invoke(*grade).code == 0
    assert counts(best, "ada") == (3.0, -2 * HOUR)
    assert len(attempts_of(best, NAME, "ada")) == 2


def test_published_marks_of_the_others_move_when_those_that_count_are_published(
    best: Course,
    repository: Repository,  # noqa: F811
    invoke: Invoke,  # noqa: F811
    provider,  # noqa: F811
):
    where = ("-c", best.root, "--sandbox", "process")
    invoke("grade", NAME, hand_in(repository, "a", ("ada", -2 * HOUR, ANSWERS), ("ada", -HOUR, WRONG)), *where)
    assert counts(best, "ada") == (3.0, -2 * HOUR)
    edit(best, "2 * secret_input", "3 * secret_input")
    invoke("grade", NAME, *where)
    assert counts(best, "ada") == (3.0, -2 * HOUR)
    invoke("regrade", NAME, "--publish", *where)
    assert counts(best, "ada") == (2.5, -HOUR)
    assert best.scores_path.read_text().splitlines()[1].split(",")[2] == "2.5"
