"""What course pages export, and what students make of a file's name, is understood or refused with a sentence."""

from __future__ import annotations

import io
import json
import os
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from autograder.errors import UserError
from autograder.homework.assignment import Assignment
from autograder.submission import Submission
from autograder.submissions.collect import Rejected, collect, collect_each, roster_of
from autograder.submissions.person import Person
from autograder.submissions.times import Clock, read_times
from autograder.submissions.zipnames import name_of
from tests.autograder.course_factory import answered, make_repository, to_bytes

PEOPLE = [
    Person(id="alice", name="Alice Archer", github="archer", moodle_id="900"),
    Person(id="bob", name="Bob Brown", email="bob@uni.edu", canvas_id="124"),
    Person(id="vera", name="Вера Иванова"),
]
MOSCOW = timezone(timedelta(hours=3))
DUE = datetime(2025, 10, 1, 23, 59, tzinfo=MOSCOW)


@pytest.fixture(scope="module")
def hw0(tmp_path_factory: pytest.TempPathFactory) -> Assignment:
    return make_repository(tmp_path_factory.mktemp("course")).load()


@pytest.fixture(scope="module")
def good(hw0: Assignment) -> bytes:
    return to_bytes(answered(hw0.template))


def lay_out(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def taken(found: list[Submission | Rejected]) -> dict[str, Submission]:
    assert [item for item in found if isinstance(item, Rejected)] == []
    return {item.student: item for item in found if isinstance(item, Submission)}


def refusal(found: list[Submission | Rejected]) -> str:
    (rejected,) = [item for item in found if isinstance(item, Rejected)]
    return rejected.sentence


# --- course pages


def test_github_classrooms_clones_are_known_by_account(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    files = {
        "first-homework-submissions/first-homework-archer/" + name: data
        for name, data in {
            "hw0.ipynb": good,
            "README.md": b"#",
            ".git/HEAD": b"ref",
            ".github/workflows/classroom.yml": b"",
        }.items()
    }
    for source in (lay_out(tmp_path, files), tmp_path / "first-homework-submissions"):
        alice = taken(collect(source, hw0, PEOPLE))["alice"]
        assert (alice.matched, alice.submitted) == ("by GitHub name", None)
        assert set(alice.files) <= {"README.md"}
    assert taken(collect(lay_out(tmp_path / "b", {"hw0-archer/hw0.ipynb": good}), hw0, PEOPLE)).keys() == {"alice"}


def test_google_classrooms_copies_are_known_by_the_name_before_the_title(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    source = lay_out(tmp_path, {"Alice Archer - hw0.ipynb": good, "Bob Brown - Doubling.ipynb": good})
    assert taken(collect(source, hw0, PEOPLE)).keys() == {"alice", "bob"}


def test_the_exchanges_inbound_folder_is_understood(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    stamp = "2025-10-01 10:00:00.000001 UTC"
    files = {f"alice+hw0+{stamp}+rand/hw0.ipynb": good, f"alice+hw0+{stamp}+rand/timestamp.txt": stamp.encode()}
    files |= {"alice+hw0+2025-09-30 10:00:00 UTC/hw0.ipynb": good + b"\n"}
    files |= {"alice+hw0+2025-09-30 10:00:00 UTC/timestamp.txt": b"2025-09-30 10:00:00 UTC"}
    files |= {"bob+hw7+2025-10-01 10:00:00 UTC/hw7.ipynb": good}
    alice = taken(collect(lay_out(tmp_path, files), hw0, PEOPLE))
    assert alice.keys() == {"alice"}
    assert alice["alice"].notebook_bytes == good
    assert (alice["alice"].submitted, alice["alice"].clock) == (
        datetime(2025, 10, 1, 10, 0, 0, 1, tzinfo=UTC),
        "timestamp.txt",
    )


GRADESCOPE = """\
---
submission_11:
  :submitters:
  - :name: Alice Archer
    :sid: ''
    :email: other@uni.edu
  - :name: Robert B.
    :sid:
    :email: bob@uni.edu
  :created_at: 2025-10-02 10:00:00.000000000 Z
  :results: !ruby/hash:ActiveSupport::HashWithIndifferentAccess
    score: 1
submission_12:
  :submitters:
  - :name: Stranger
    :sid: '5'
    :email: s@uni.edu
  :created_at: 2025-10-01 10:00:00.000000000 Z
"""


def test_gradescopes_export_says_who_and_when_and_a_team_is_credited_whole(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    files = {f"assignment_5_export/submission_{n}/hw0.ipynb": good for n in (11, 12)}
    files["assignment_5_export/submission_metadata.yml"] = GRADESCOPE.encode()
    found = collect(lay_out(tmp_path, files), hw0, PEOPLE, DUE)
    assert refusal(found).startswith("`submission_12`: no student of the course is called 'stranger'")
    both = [item for item in found if isinstance(item, Submission)]
    assert [(one.student, one.matched, one.late, one.clock) for one in both] == [
        ("alice", "as a team", True, "Gradescope"),
        ("bob", "as a team", True, "Gradescope"),
    ]


def test_a_broken_list_of_gradescope_is_said(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    files = {"submission_11/hw0.ipynb": good, "submission_metadata.yml": b"a: [", "submission_12/hw0.ipynb": good}
    with pytest.raises(UserError, match=r"holds a submission_metadata\.yml that cannot be read"):
        collect(lay_out(tmp_path, files), hw0, PEOPLE)


def test_canvas_says_late_and_no_more(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    files = {"archeralice_LATE_1_5_hw0.ipynb": good, "brownbob_124_6_hw0-1.ipynb": good}
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for day, (name, data) in enumerate(files.items(), 1):
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, day, 12, 0, 0)), data)  # when the export was made
    found = taken(collect(tmp_path / "export.zip", hw0, PEOPLE, DUE))
    assert {who: (one.submitted, one.late, one.marked_late) for who, one in found.items()} == {
        "alice": (None, True, True),
        "bob": (None, False, False),
    }
    assert found["bob"].notes == ()
    assert found["bob"].matched == "by canvas_id"


# --- when


def test_times_of_a_zip_say_when_only_if_they_differ(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    def zipped(name: str, *times: tuple[int, ...]) -> dict[str, Submission]:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for who, time in zip(("alice", "bob"), times, strict=True):
                archive.writestr(zipfile.ZipInfo(f"{who}.ipynb", time), good)  # type: ignore[arg-type]
        return taken(collect(tmp_path / name, hw0, PEOPLE, DUE))

    found = zipped("days.zip", (2025, 10, 1, 23, 58, 0), (2025, 10, 2, 0, 1, 0))
    assert {who: one.submitted for who, one in found.items()} == {
        "alice": None,
        "bob": None,
    }  # minutes: it was made then
    found = zipped("weeks.zip", (2025, 9, 20, 12, 0, 0), (2025, 10, 2, 0, 1, 0))
    assert {who: (one.submitted, one.late) for who, one in found.items()} == {
        "alice": (datetime(2025, 9, 20, 12, tzinfo=MOSCOW), False),
        "bob": (datetime(2025, 10, 2, 0, 1, tzinfo=MOSCOW), True),
    }
    assert found["bob"].clock == "the time of the file in the zip"


REPORT = """\
Identifier,"Full name","Email address",Status,Grade,"Last modified (submission)"
"Participant 900","Somebody Else",x@uni.edu,"Submitted","-","Thursday, 2 October 2025, 12:30 AM"
"Participant 901","Bob Brown",bob@uni.edu,"Submitted","-","среда, 1 мая 2024, 14:05"
"Participant 902","Вера Иванова",,"No submission","-","-"
"""


def test_moodles_report_says_when_in_english_and_russian(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    (tmp_path / "report.csv").write_text(REPORT)
    people = roster_of(PEOPLE, hw0)
    times = read_times(tmp_path / "report.csv", people, MOSCOW)
    assert times == {
        "alice": datetime(2025, 10, 2, 0, 30, tzinfo=MOSCOW),
        "bob": datetime(2024, 5, 1, 14, 5, tzinfo=MOSCOW),
    }
    source = lay_out(tmp_path / "class", {"Alice Archer_900_assignsubmission_file_/hw0.ipynb": good})
    alice = taken(collect(source, hw0, PEOPLE, DUE, times=times))["alice"]
    assert (alice.late, alice.clock) == (True, "the course page's report")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,when\nalice,1\n", "line 1: no column says when something was handed in"),
        ("id,submitted\nalice,soon\n", "line 2: 'soon' is no time; write 2025-10-01 23:59."),
    ],
)
def test_a_report_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, hw0: Assignment, text: str, sentence: str
) -> None:
    (tmp_path / "report.csv").write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_times(tmp_path / "report.csv", roster_of(PEOPLE, hw0), UTC)


def test_a_report_that_is_not_there_is_said(tmp_path: Path, hw0: Assignment) -> None:
    with pytest.raises(UserError, match=r"report.csv does not exist\.$"):
        read_times(tmp_path / "report.csv", roster_of(PEOPLE, hw0), UTC)


def test_where_nothing_tells_the_time_nobody_is_late(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    alice = taken(collect(lay_out(tmp_path, {"alice/hw0.ipynb": good}), hw0, PEOPLE, DUE))["alice"]
    assert (alice.submitted, alice.clock, alice.late) == (None, "", False)


# --- which


def test_other_endings_and_numbers_of_a_notebooks_name_are_understood(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    source = lay_out(tmp_path, {"alice/hw0.ipynb.txt": good, "bob.ipynb.json": good, "vera/hw0-3.ipynb": good})
    found = taken(collect(source, hw0, PEOPLE))
    assert found.keys() == {"alice", "bob", "vera"}
    assert [one.notes for one in found.values()] == [(), (), ()]


def test_of_numbered_notebooks_the_last_is_graded(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    files = {"alice/hw0.ipynb": b"1", "alice/hw0-2.ipynb": b"3", "alice/hw0-1.ipynb": b"2"}
    source = lay_out(tmp_path, {name: good + b" " * int(data) for name, data in files.items()})
    alice = taken(collect(source, hw0, PEOPLE))["alice"]
    assert alice.notebook_bytes == good + b"   "
    assert "`hw0-2.ipynb` was graded." in alice.notes[0]


def test_an_old_notebook_is_not_taken_over_todays(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    source = lay_out(tmp_path, {"alice/hw0.ipynb": good, "alice/finished.ipynb": good + b"\n", "alice/x.ipynb": b"{}"})
    os.utime(source / "alice/hw0.ipynb", (1_680_000_000, 1_680_000_000))  # of 2023
    alice = taken(collect(source, hw0, PEOPLE))["alice"]
    assert alice.notebook_bytes == good + b"\n"
    assert alice.notes[0] == (
        "2 notebooks hold tasks of this homework (`finished.ipynb`, `hw0.ipynb`); `finished.ipynb` was graded."
    )


def test_of_two_hand_ins_without_times_neither_is_taken_for_the_newer(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    source = lay_out(tmp_path, {"alice.ipynb": good, "Alice Archer.ipynb": good + b"\n"})
    assert refusal(collect(source, hw0, PEOPLE)) == (
        "There are `alice.ipynb` and `Alice Archer.ipynb`, which differ, and nothing tells which one is newer; "
        "hand in one of them."
    )
    os.utime(source / "alice.ipynb", (1_680_000_000, 1_680_000_000))
    assert taken(collect(source, hw0, PEOPLE))["alice"].notebook_bytes == good + b"\n"


def test_outputs_are_dropped_before_a_notebook_is_called_large(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    document = json.loads(good)
    line = {"output_type": "stream", "name": "stdout", "text": ["loss 0.1\n"] * (41 << 16)}
    next(cell for cell in document["cells"] if cell["cell_type"] == "code")["outputs"] = [line]
    large = json.dumps(document).encode()
    assert len(large) > 33 << 20
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hw0.ipynb", large)
    assert len(buffer.getvalue()) * 200 < len(large)  # the same line, printed often: it looks like a bomb
    found = taken(collect(lay_out(tmp_path, {"alice.zip": buffer.getvalue(), "bob.ipynb": large}), hw0, PEOPLE))
    for one in found.values():
        assert len(one.notebook_bytes) < 20_000
        assert [cell.source for cell in one.notebook.cells] == [
            "".join(cell["source"]) for cell in json.loads(good)["cells"]
        ]
        assert one.notes[0].startswith("The outputs in the notebook, ")


# --- names in zips


@pytest.mark.parametrize("encoding", ["cp866", "utf-8", "cp437"])
def test_names_in_zips_are_read_in_the_encoding_in_which_they_were_written(encoding: str) -> None:
    written = {"cp866": "Иванова Вера/hw0.ipynb", "utf-8": "Ünal Вера", "cp437": "Émile Müller.ipynb"}[encoding]
    member = zipfile.ZipInfo(written.encode(encoding).decode("cp437"))
    assert name_of(member) == written


def test_a_class_zipped_on_russian_windows_is_known_by_name(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        archive.writestr("AAAAAAAAAAAA.ipynb", good)
    raw = (tmp_path / "class.zip").read_bytes().replace(b"A" * 12, "Вера Иванова".encode("cp866"))
    (tmp_path / "class.zip").write_bytes(raw)
    assert taken(collect(tmp_path / "class.zip", hw0, PEOPLE)).keys() == {"vera"}


# --- teams where they lie


def test_a_teams_folder_put_by_hand_is_not_one_students(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    team = [Person(id="a", team="Rockets"), Person(id="b", team="Rockets")]
    source = lay_out(tmp_path, {"rockets/hw0/hw0.ipynb": good})
    assert taken(collect(source, hw0, team)).keys() == {"a", "b"}
    (rejected,) = collect_each(source, hw0, roster_of(team, hw0), Clock(), tops=["rockets"])
    assert rejected == Rejected(
        None, "`rockets`: it is from a and b; `autograder collect` stores it for each.", "rockets"
    )


# --- which of several counts


@pytest.mark.parametrize(
    ("in_time", "more", "counts"),
    [(False, {}, b"\n\n"), (True, {}, b"\n"), (True, {"alice": DUE + timedelta(days=3)}, b"\n\n")],
)
def test_the_newest_counts_or_the_newest_in_time(
    tmp_path: Path, hw0: Assignment, good: bytes, in_time: bool, more: dict[str, datetime], counts: bytes
) -> None:
    files = {"alice/hw0.ipynb": good, "Alice Archer/hw0.ipynb": good + b"\n", "alice_hw0/hw0.ipynb": good + b"\n\n"}
    times = (DUE - timedelta(days=2), DUE + timedelta(minutes=9), DUE + timedelta(days=2))
    for name, when in zip([*files], times, strict=True):
        files[f"{name.split('/')[0]}/timestamp.txt"] = when.strftime("%Y-%m-%d %H:%M:%S %z").encode()
    clock = Clock(DUE, in_time=in_time, grace=timedelta(minutes=10), more=more)
    found = collect_each(lay_out(tmp_path, files), hw0, roster_of(PEOPLE, hw0), clock)
    assert taken(list(found))["alice"].notebook_bytes == good + counts


def test_where_nothing_came_in_time_the_newest_counts(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    files = {"alice/hw0.ipynb": good, "Alice Archer/hw0.ipynb": good + b"\n"}
    files |= {
        "alice/timestamp.txt": b"2025-10-03 10:00:00 UTC",
        "Alice Archer/timestamp.txt": b"2025-10-04 10:00:00 UTC",
    }
    found = collect_each(lay_out(tmp_path, files), hw0, roster_of(PEOPLE, hw0), Clock(DUE, in_time=True))
    assert taken(list(found))["alice"].notebook_bytes == good + b"\n"


@pytest.mark.parametrize(
    "stamp",
    [
        "2025-10-01 21:08:00 UTC", "2025-10-02 00:08:00 +0300", "2025-10-02 00:08:00 +03:00", "2025-10-01 21:08:00",
        "2025-10-02T00:08:00+0300", "2025-10-01 21:08:00.000000 UTC", "2025-10-02 00:08:00 Europe/Moscow",
    ],
)  # fmt: skip
def test_a_time_stamp_is_read_in_its_own_zone(tmp_path: Path, hw0: Assignment, good: bytes, stamp: str) -> None:
    files = {"alice/hw0.ipynb": good, "alice/timestamp.txt": stamp.encode()}
    found = collect_each(lay_out(tmp_path, files), hw0, roster_of(PEOPLE, hw0), Clock(DUE))
    assert taken(list(found))["alice"].submitted == datetime(2025, 10, 1, 21, 8, tzinfo=UTC)
