"""Course folders: made, loaded again as they were, and refused with file and line when something is off."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autograder.course.course import init_course, load_course
from autograder.course.people import students_csv
from autograder.errors import UserError
from autograder.submissions.person import Person


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("assignments", "solutions"):
        (tmp_path / name).mkdir()
    return tmp_path


def made(folders: Path, **settings: object) -> Path:
    people = [Person(id="alice", name="Alice Archer", email="a@x.org"), Person(id="bob")]
    init_course(
        folders / "course",
        name="Generative models",
        assignments=folders / "assignments",
        solutions=folders / "solutions",
        students=people,
        settings=settings,
    )
    return folders / "course"


def test_a_course_is_loaded_as_it_was_made(folders: Path) -> None:
    course = load_course(made(folders, due={"hw1": datetime(2025, 10, 1, 21, tzinfo=UTC)}, sandbox={"jobs": 2}))
    assert course.name == "Generative models"
    assert course.roster == {"alice": "Alice Archer", "bob": ""}
    assert course.people["alice"].email == "a@x.org"
    assert course.assignments_dir.resolve() == folders / "assignments"
    assert course.gradebook_url == f"sqlite:///{folders}/course/gradebook.db"
    assert course.config.due == {"hw1": datetime(2025, 10, 1, 21, tzinfo=UTC)}
    assert (course.config.sandbox.kind, course.config.sandbox.jobs) == ("docker", 2)


def test_a_course_moves_with_its_repository(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    made(folders)
    target = tmp_path_factory.mktemp("elsewhere") / "moved"
    folders.rename(target)
    course = load_course(target / "course")
    assert course.assignments_dir.resolve() == target / "assignments"
    assert course.gradebook_url == f"sqlite:///{target}/course/gradebook.db"


def test_every_course_has_a_salt_of_its_own(folders: Path) -> None:
    salts = set()
    for name in "abc":
        course = init_course(folders / name, assignments=folders / "assignments", solutions=folders / "solutions")
        salts.add(course.config.salt)
    assert len(salts) == 3


@pytest.mark.parametrize("url", ["postgresql://grader@db/course", "sqlite:////var/grades.db"])
def test_other_gradebooks_are_taken_as_they_are(folders: Path, url: str) -> None:
    assert load_course(made(folders, gradebook=url)).gradebook_url == url


def test_the_folders_default_to_those_of_the_working_directory(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders)
    assert init_course(Path("course")).solutions_dir.resolve() == folders / "solutions"


def test_a_course_is_not_made_twice_nor_without_its_folders(folders: Path, tmp_path: Path) -> None:
    made(folders)
    with pytest.raises(UserError, match="exists already"):
        made(folders)
    with pytest.raises(UserError, match=r"no folder .*nowhere"):
        init_course(tmp_path / "other", assignments=tmp_path / "nowhere", solutions=folders / "solutions")
    with pytest.raises(UserError, match="is no course folder"):
        load_course(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sandbx:\n  jobs: 2\n", "course.yaml, line 7: unknown key `sandbx`; did you mean `sandbox`?"),
        ("sandbox:\n  jobs: two\n", "course.yaml, line 8: `sandbox.jobs` should be a valid integer, got 'two'."),
        ("sandbox:\n  jobs: 0\n", "course.yaml, line 8: `sandbox.jobs` should be greater than or equal to 1, got 0."),
        ("sandbox:\n  kind: podman\n", "line 8: `sandbox.kind` should be 'docker' or 'process', got 'podman'."),
        (
            "due:\n  hw1: 2025-10-01 23:59:00\n",
            "line 8: `due.hw1` should have a time zone, as in 2025-10-01T23:59:00+03:00, got 2025-10-01T23:59:00.",
        ),
        ("due:\n  hw1: tomorrow\n", "line 8: `due.hw1` should be a valid datetime, got 'tomorrow'."),
        ("students:\n- id: 12345\n", "line 8: `students.0.id` should be a valid string, got 12345."),
        (
            "students:\n- id: ../x\n",
            "line 8: `students.0.id` should be letters, digits and any of . _ @ + -, got '../x'.",
        ),
        ("students:\n- id: a\n- id: A\n", "the student ids `a` and `A` are the same but for letter case."),
        ("students:\n- id: a\n- id: a\n", "the student `a` is listed twice; keep one of the two."),
        ("name: again\n", "course.yaml, line 7: `name` is given twice."),
    ],
)
def test_a_mistake_in_course_yaml_is_named_with_its_line(folders: Path, text: str, sentence: str) -> None:
    root = made(folders)
    (root / "students.csv").unlink()
    with (root / "course.yaml").open("a") as file:
        file.write(text)
    with pytest.raises(UserError) as caught:
        load_course(root)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "id,name,email\nalice,Alice Archer,\nbob,,b@x.org\n",
        "\ufeffID;First_name;Last_name;Email\r\nalice;Alice;Archer;\r\n\r\nbob;;;b@x.org\r\n",
        "email,id,group,name\n,alice,1,Alice Archer\nb@x.org, bob ,2,\n",
    ],
)
def test_lists_of_students_come_in_many_dialects(folders: Path, text: str) -> None:
    root = made(folders)
    (root / "students.csv").write_text(text, encoding="utf-8")
    course = load_course(root)
    assert course.roster == {"alice": "Alice Archer", "bob": ""}
    assert course.people["bob"].email == "b@x.org"


def people_of(root: Path, text: str) -> list[Person]:
    (root / "students.csv").write_text(text, encoding="utf-8")
    return list(load_course(root).people.values())


def test_students_have_accounts_numbers_and_any_number_of_aliases(folders: Path) -> None:
    root = made(folders)
    text = "id,GitHub,canvas_id,Moodle ID,alias,Alias,team,faculty\nalice,al-a,12,Participant 34,Ali,A. Archer,R,x\n"
    alice = Person(id="alice", github="al-a", canvas_id="12", moodle_id="34", alias=["Ali", "A. Archer"], team="R")
    assert people_of(root, text) == [alice]
    assert people_of(root, students_csv([alice, Person(id="bob")])) == [alice, Person(id="bob")]


CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,hw1 (9)
,,,,,Manual Posting
    Points Possible,,,,,15
"Archer, Alice",101,s-1,alice@uni.edu,A,
"Student, Test",999,,,A,
"""
MOODLE = "First name,Surname,ID number,Email address,Groups\nAlice,Archer,s-1,alice@uni.edu,\n"
WORKSHEET = "Identifier,Full name,Email address,Status,Grade\nParticipant 34,Alice Archer,alice@uni.edu,,\n"


def test_canvas_and_moodles_own_lists_are_understood(folders: Path) -> None:
    root = made(folders)
    email, name = "alice@uni.edu", "Alice Archer"
    assert people_of(root, CANVAS) == [Person(id=email, name=name, canvas_id="101")]
    assert people_of(root, MOODLE) == [Person(id="s-1", name=name, email=email)]
    assert people_of(root, WORKSHEET) == [Person(id=email, name=name, email=email, moodle_id="34")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"id,nmae\nalice,A\n", "line 1: there is no column 'nmae'; call it `name` if it is that, or something else."),
        (b"id,Sur-names\nalice,A\n", "line 1: there is no column 'Sur-names'; call it `last_name` if it is that"),
        (b"id,canvasid\nalice,1\n", "line 1: there is no column 'canvasid'; call it `canvas_id` if it is that"),
        (b"id,name,Full name\nalice,A,B\n", "line 1: 'Full name' is a second column `name`; keep one."),
        (
            b"id,alias\na,x\nb,X\n",
            "`a` and `b` have the same alias 'X'; a `team` is what students who hand in together",
        ),
        (b"name\nAlice\n", "students.csv, line 1: there is no column `id` (found: name)."),
        (b"", "students.csv, line 1: there is no column `id` (found: nothing)."),
        (b"id\nalice\n../bob\n", "students.csv, line 3: '../bob' cannot be a student's id; an id begins"),
        (b"id,name\nalice,A\n,B\n", "students.csv, line 3: a student has neither an id nor an e-mail address."),
        (b"id,name\nalice,\xff\n", "students.csv is not UTF-8 text; save it as CSV UTF-8."),
    ],
)
def test_a_bad_list_of_students_is_a_sentence(folders: Path, text: bytes, sentence: str) -> None:
    root = made(folders)
    (root / "students.csv").write_bytes(text)
    with pytest.raises(UserError) as caught:
        load_course(root)
    assert sentence in str(caught.value)


SHORT = "salt: 12345"


@pytest.mark.parametrize("line", [SHORT, "salt: 0", "salt: 281474976710655", ""])
def test_a_short_salt_gets_a_sentence_with_a_long_one(folders: Path, line: str) -> None:
    from autograder.course.course import FILE

    course = init_course(folders / "dgm", assignments=folders / "assignments", solutions=folders / "solutions")
    path = course.root / FILE
    lines = [row for row in path.read_text().splitlines() if not row.startswith("salt:")]
    path.write_text("\n".join([*lines, line]) + "\n")
    with pytest.raises(UserError, match=r"salt") as caught:
        load_course(course.root)
    offered = int(re.search(r"`salt: (\d+)`", str(caught.value))[1])
    assert offered.bit_length() > 128
    path.write_text("\n".join([*lines, f"salt: {offered}"]) + "\n")
    assert load_course(course.root).config.salt == offered


def test_a_new_course_has_a_salt_of_more_than_128_bits(folders: Path) -> None:
    course = init_course(folders / "dgm", assignments=folders / "assignments", solutions=folders / "solutions")
    assert course.config.salt.bit_length() > 128
