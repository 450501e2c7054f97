"""How something came is known as long as it lies there, also to a record that is made anew."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from autograder.commands.progress import matches
from autograder.course.course import Course, init_course
from autograder.grading import batch as module
from autograder.grading.batch import take_in
from autograder.records.record import FILE, Record
from autograder.records.state import State
from autograder.submissions.collect import Look
from autograder.submissions.person import Person
from tests.autograder.course_factory import ANSWERS, NAME, Repository, answered, make_repository, to_bytes

PEOPLE = [Person(id="ada", name="Ada Lovelace"), Person(id="bob", name="Bob Brown"), Person(id="cleo")]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(module, "Reader", lambda record: nullcontext(Look()))
    return make_repository(tmp_path)


@pytest.fixture
def course(repository: Repository) -> Course:
    folders = {"assignments": repository.assignments, "solutions": repository.solutions}
    return init_course(repository.root / "course", **folders, students=PEOPLE)


def collected(course: Course, repository: Repository, source: Path | None, times: Path | None = None) -> list[State]:
    with Record(course.root, NAME) as record:
        take_in(course, repository.load(), record, source, times)
        return list(record.states())


@pytest.fixture
def export(repository: Repository) -> Path:
    """What Canvas exports: one late, one by an id of ours."""
    folder = repository.root / "export"
    folder.mkdir()
    data = to_bytes(answered(repository.load().template, ANSWERS))
    for name in ("lovelaceada_LATE_11_21_hw0-1.ipynb", "brownbob_12_22_hw0.ipynb", "cleo.ipynb"):
        (folder / name).write_bytes(data)
    return folder


def way(state: State) -> tuple[object, ...]:
    known = (state.who, state.matched, state.exported, state.submitted, state.clock, state.late, state.marked_late)
    return (*known, state.source, state.notes)


def test_what_a_course_page_said_outlives_the_record(course: Course, repository: Repository, export: Path) -> None:
    before = collected(course, repository, export)
    assert [(s.who, s.matched, s.late, s.marked_late, s.exported) for s in before] == [
        ("ada", "by full name", True, True, "lovelaceada_LATE_11_21_hw0-1.ipynb"),
        ("bob", "by full name", False, False, "brownbob_12_22_hw0.ipynb"),
        ("cleo", "", False, False, ""),
    ]
    again = collected(course, repository, None)
    (course.root / FILE).unlink()
    anew = collected(course, repository, None)
    assert list(map(way, before)) == list(map(way, again)) == list(map(way, anew))


def test_what_was_put_in_its_place_by_other_hands_has_another_way(
    course: Course, repository: Repository, export: Path
) -> None:
    collected(course, repository, export)
    place = course.submitted_dir / "ada" / NAME / f"{NAME}.ipynb"
    place.write_bytes(place.read_bytes() + b"\n")
    (ada, *_) = collected(course, repository, None)
    assert (ada.late, ada.marked_late, ada.matched, ada.exported) == (False, False, "", "")


def test_nothing_handed_in_can_claim_how_it_came(course: Course, repository: Repository) -> None:
    folder = repository.root / "class" / "ada"
    (folder / "collected" / NAME).mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_bytes(to_bytes(answered(repository.load().template, ANSWERS)))
    (folder / "collected" / NAME / "ada.json").write_text('{"clock": "forged"}')
    (ada,) = collected(course, repository, folder.parent)
    (course.root / FILE).unlink()
    (anew,) = collected(course, repository, None)
    assert (ada.clock, anew.clock) == ("", "")


def test_the_summary_names_whoever_was_known_by_something_else_than_the_id(
    course: Course, repository: Repository, export: Path
) -> None:
    assert list(matches(collected(course, repository, export))) == [
        "Known by something else than an id, look them through:",
        "  lovelaceada_11 → ada, by full name",
        "  brownbob_12 → bob, by full name",
    ]


def test_a_report_of_the_course_page_says_when(course: Course, repository: Repository, export: Path) -> None:
    report = repository.root / "times.csv"
    report.write_text("id,submitted\nada,2026-01-02 03:04 +0300\ncleo,2026-01-03 10:00\n")
    states = {state.who: state for state in collected(course, repository, export, report)}
    assert states["ada"].when is not None
    assert (states["ada"].when.isoformat(), states["ada"].marked_late) == ("2026-01-02T00:04:00+00:00", False)
    assert (states["cleo"].clock, states["bob"].when) == ("the course page's report", None)
