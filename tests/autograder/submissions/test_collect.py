"""Collecting a class: every way of handing in is understood, every bad one is a sentence, and the others go on."""

from __future__ import annotations

import io
import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest

from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.submission import Submission
from autograder.submissions.collect import Rejected, collect
from autograder.submissions.person import Person
from autograder.submissions.storing import store
from tests.autograder.course_factory import answered, blank_bytes, make_repository, to_bytes

NAMES = {"alice": "Alice Archer", "bob": "Bob Brown", "jdoe7": "Jane Doe", "emilie": "Émilie du Châtelet"}
ROSTER = [Person(id=student, name=name) for student, name in NAMES.items()]


@pytest.fixture(scope="module")
def hw0(tmp_path_factory: pytest.TempPathFactory) -> Assignment:
    return make_repository(tmp_path_factory.mktemp("course")).load()


@pytest.fixture(scope="module")
def good(hw0: Assignment) -> bytes:
    return to_bytes(answered(hw0.template))


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def lay_out(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def students(found: list[Submission | Rejected]) -> list[str | None]:
    return [item.student for item in found if isinstance(item, Submission)]


def only(found: list[Submission | Rejected]) -> Submission:
    (submission,) = found
    assert isinstance(submission, Submission), submission
    return submission


def refusal(found: list[Submission | Rejected]) -> str:
    (rejected,) = [item for item in found if isinstance(item, Rejected)]
    return rejected.sentence


LAYOUTS = {
    "nbgrader": ["alice/hw0/hw0.ipynb", "bob/hw0/hw0.ipynb"],
    "folders": ["alice/hw0.ipynb", "bob/hw0.ipynb"],
    "notebooks": ["alice.ipynb", "bob.ipynb"],
    "suffixed": ["alice_hw0.ipynb", "hw0-bob.ipynb"],
    "wrapped": ["export/alice/hw0.ipynb", "export/bob/hw0.ipynb"],
    "full names": ["Alice Archer/hw0.ipynb", "Brown Bob.ipynb"],
    "moodle": ["Alice Archer_1234_assignsubmission_file/hw0.ipynb", "Bob Brown_99_assignsubmission_file_hw0.ipynb"],
    "canvas": ["archeralice_123_456_hw0.ipynb", "brownbob_LATE_124_457_hw0-2.ipynb"],
    "system files": [
        "alice.ipynb",
        "bob.ipynb",
        "__MACOSX/._alice.ipynb",
        ".DS_Store",
        "bob/.ipynb_checkpoints/x.ipynb",
    ],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_usual_layout_gives_both_students(
    tmp_path: Path, hw0: Assignment, good: bytes, layout: str, packed: bool
) -> None:
    files = dict.fromkeys(LAYOUTS[layout], good)
    source = tmp_path / "class.zip"
    if packed:
        source.write_bytes(zipped(files))
    else:
        source = lay_out(tmp_path / "class", files)
    found = collect(source, hw0, ROSTER)
    assert students(found) == ["alice", "bob"]
    assert len(found) == 2
    assert all(item.notebook_bytes == good for item in found if isinstance(item, Submission))


def test_a_folder_of_zips_is_opened_in_memory(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    source = lay_out(
        tmp_path,
        {
            "alice.zip": zipped({"hw0/hw0.ipynb": good, "hw0/line.pt": b"weights"}),
            "Jane Doe_7_assignsubmission_file/work.zip": zipped({"hw0.ipynb": good}),
        },
    )
    before = sorted(tmp_path.rglob("*"))
    alice, jane = collect(source, hw0, ROSTER)
    assert isinstance(alice, Submission)
    assert alice.files == {"line.pt": b"weights"}
    assert jane.student == "jdoe7"
    assert sorted(tmp_path.rglob("*")) == before


def test_one_notebook_and_one_students_zip_are_sources_too(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    source = lay_out(
        tmp_path, {"alice.ipynb": good, "bob.zip": zipped({"hw0.ipynb": good}), "emilie/hw0/hw0.ipynb": good}
    )
    assert students(collect(source / "alice.ipynb", hw0, ROSTER)) == ["alice"]
    assert students(collect(source / "bob.zip", hw0, ROSTER)) == ["bob"]
    assert students(collect(source / "emilie/hw0/hw0.ipynb", hw0, [])) == ["emilie"]


def test_what_was_handed_in_for_another_homework_is_passed_over(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    other = hw0.files.assignments / "hw9/assignment.yaml"
    other.parent.mkdir(exist_ok=True)
    other.write_text("")
    files = {"alice/hw0/hw0.ipynb": good, "alice/hw9/hw9.ipynb": b"", "bob/hw9/hw9.ipynb": good}
    try:
        assert only(collect(lay_out(tmp_path, files), hw0, ROSTER)).student == "alice"
    finally:
        other.unlink()


def test_names_that_would_write_to_the_terminal_are_shown_harmlessly(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    found = collect(lay_out(tmp_path, {"\x1b[2Jalice/hw0.ipynb": good, "bob/\x1b]0;x\x07.ipynb": good}), hw0, ROSTER)
    assert len(found) == 2
    assert all(str(item).isprintable() for item in found)


def test_accents_and_letter_case_do_not_matter(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    source = lay_out(tmp_path, {"EMILIE.ipynb": good})
    assert students(collect(source, hw0, ROSTER)) == ["emilie"]
    source = lay_out(tmp_path / "names", {"emilie du chatelet.ipynb": good})
    assert students(collect(source, hw0, ROSTER)) == ["emilie"]


def test_a_misspelt_student_is_named_with_the_nearest(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    found = collect(lay_out(tmp_path, {"alise.ipynb": good, "bob.ipynb": good}), hw0, ROSTER)
    assert students(found) == ["bob"]
    assert refusal(found) == "`alise.ipynb`: no student of the course is called 'alise'. Did you mean `alice`?"


def test_without_a_list_of_students_every_plain_name_is_taken(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    found = collect(lay_out(tmp_path, {"zoe_hw0.ipynb": good, "=cmd().ipynb": good}), hw0, [])
    assert students(found) == ["zoe"]
    assert "cannot be a student's id" in refusal(found)


def test_a_renamed_single_notebook_is_graded_with_a_note(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    submission = only(collect(lay_out(tmp_path, {"alice/final (2).ipynb": good}), hw0, ROSTER))
    assert submission.notes == ("The notebook is called `final (2).ipynb` instead of `hw0.ipynb`; it was graded.",)


def test_of_two_notebooks_the_one_called_like_the_homework_is_graded(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    files = {"alice/HW0.ipynb": good, "alice/scratch.ipynb": b"{}"}
    submission = only(collect(lay_out(tmp_path, files), hw0, ROSTER))
    assert submission.notebook_bytes == good
    assert submission.notes == ("`scratch.ipynb` was left out.",)


def test_two_notebooks_of_other_names_are_refused(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    found = collect(lay_out(tmp_path, {"alice/a.ipynb": good, "alice/b.ipynb": good + b"\n"}), hw0, ROSTER)
    assert refusal(found).startswith("There are 2 notebooks (`a.ipynb`, `b.ipynb`) and it is not clear which")


def test_folders_handed_in_stay_folders_and_a_checkpoint_is_also_found_beside_the_notebook(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    files = {"hw0.ipynb": good, "util.py": b"x", "utils/__init__.py": b"", "out/line.pt": b"w", "checks.py": b"mine"}
    submission = only(collect(lay_out(tmp_path, {f"alice/{k}": v for k, v in files.items()}), hw0, ROSTER))
    assert submission.files == {"util.py": b"x", "utils/__init__.py": b"", "out/line.pt": b"w", "line.pt": b"w"}
    assert submission.notes == ("`out/line.pt` was taken as the checkpoint `line.pt`.",)
    where = store(submission, hw0, tmp_path / "stored")
    again = only(collect(tmp_path / "stored", hw0, ROSTER))
    assert (where / "utils" / "__init__.py").read_bytes() == b""
    assert again.sha256 == submission.sha256


def test_no_path_is_two_files_and_no_file_is_also_a_folder(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    names = ["utils/a.py", "UTILS/A.py", "utils", "data/x/y.csv", "data/X", "hw0.ipynb/inside.py"]
    with zipfile.ZipFile(tmp_path / "alice.zip", "w") as archive:
        archive.writestr("hw0.ipynb", good)
        for name in names:
            archive.writestr(name, name)
    submission = only(collect(tmp_path, hw0, ROSTER))
    assert set(submission.files) == {"utils", "data/X"}
    assert len(submission.notes) == 4
    store(submission, hw0, tmp_path / "stored")


def test_many_files_are_bounded_and_named_in_few_sentences(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    files = {f"alice/data/{number:04}.txt": b"x" for number in range(300)} | {"alice/hw0.ipynb": good}
    submission = only(collect(lay_out(tmp_path, files), hw0, ROSTER))
    assert len(submission.files) == 64
    assert len(submission.notes) == 21
    assert submission.notes[-1] == "216 more files were left out."


def test_a_loose_checkpoint_belongs_to_the_notebook_of_the_same_name(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    submission = only(collect(lay_out(tmp_path, {"alice.ipynb": good, "alice.pt": b"w"}), hw0, ROSTER))
    assert submission.files == {"alice.pt": b"w"}


def test_the_hash_follows_the_notebook_and_the_files_and_nothing_else(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    def digest(name: str, files: dict[str, bytes]) -> str:
        return only(collect(lay_out(tmp_path / name, files), hw0, ROSTER)).sha256

    first = digest("1", {"alice/hw0.ipynb": good, "alice/a.pt": b"12"})
    assert first == digest("2", {"alice/hw0/a.pt": b"12", "alice/hw0/hw0.ipynb": good})
    assert first != digest("3", {"alice/hw0.ipynb": good, "alice/a.pt": b"13"})
    assert first != digest("4", {"alice/hw0.ipynb": good, "alice/b.pt": b"12"})
    assert first != digest("5", {"alice/hw0.ipynb": good + b"\n", "alice/a.pt": b"12"})


@pytest.mark.parametrize("newest", ["alice", "Alice Archer"])
def test_of_two_submissions_the_newest_counts(tmp_path: Path, hw0: Assignment, good: bytes, newest: str) -> None:
    files = {f"{name}/hw0.ipynb": good for name in ("alice", "Alice Archer")} | {f"{newest}/hw0.ipynb": good + b"\n"}
    files |= {f"{name}/timestamp.txt": b"2025-10-01 10:00:00 UTC" for name in ("alice", "Alice Archer")}
    files[f"{newest}/timestamp.txt"] = b"2025-10-01 10:00:01 UTC"
    submission = only(collect(lay_out(tmp_path, files), hw0, ROSTER))
    assert submission.notebook_bytes == good + b"\n"
    assert submission.notes == (f"2 submissions were handed in (`Alice Archer`, `alice`); `{newest}` was graded.",)


def test_a_broken_newer_submission_is_named_and_the_older_one_graded(
    tmp_path: Path, hw0: Assignment, good: bytes
) -> None:
    source = lay_out(tmp_path, {"alice.ipynb": b"", "Alice Archer.ipynb": good})
    found = collect(source, hw0, ROSTER)
    assert students(found) == ["alice"]
    assert refusal(found) == "`alice.ipynb` is empty."


def test_a_submission_after_the_deadline_is_flagged(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    due = datetime(2025, 10, 1, 21, 0, tzinfo=UTC)
    files = {
        "alice/hw0/timestamp.txt": b"2025-10-02 00:00:01 +0300",
        "bob/hw0/timestamp.txt": b"2025-10-01 20:59:59 UTC",
    }
    files |= {"alice/hw0/hw0.ipynb": good, "bob/hw0/hw0.ipynb": good, "emilie/hw0/timestamp.txt": b"\xffsoon"}
    files |= {"emilie/hw0/hw0.ipynb": good}
    found = collect(lay_out(tmp_path, files), hw0, ROSTER, due)
    assert [(item.student, item.late) for item in found if isinstance(item, Submission)] == [
        ("alice", True),
        ("bob", False),
        ("emilie", False),
    ]


def v3(source: str) -> bytes:
    cell = {"cell_type": "code", "input": source, "language": "python", "metadata": {}, "outputs": []}
    heading = {"cell_type": "heading", "level": 2, "source": "Title", "metadata": {}}
    return json.dumps(
        {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [heading, cell]}]}
    ).encode()


BAD = {
    "empty": (b"", "`hw0.ipynb` is empty."),
    "blank": (b" \n", "`hw0.ipynb` is empty."),
    "text": (b"hello", "is not a notebook (no valid JSON at line 1: Expecting value)."),
    "list": (b"[]", "is not a notebook (its JSON is not an object)."),
    "object": (b"{}", "is not a notebook (it names no nbformat)."),
    "format 5": (b'{"nbformat": 5, "cells": []}', "is in notebook format 5; formats 3 and 4 are accepted."),
    "format 2": (b'{"nbformat": 2, "worksheets": []}', "is in notebook format 2; formats 3 and 4 are accepted."),
    "format true": (b'{"nbformat": true, "cells": []}', "is not a notebook (it names no nbformat)."),
    "no cells": (b'{"nbformat": 4}', "is not a notebook (it has no list of cells)."),
    "nested": (b"[" * 10_000 + b"]" * 10_000, "is not a notebook (its JSON is nested too deeply)."),
    "digits": (
        b'{"nbformat": ' + b"9" * 10_000 + b"}",
        "is not a notebook (its JSON holds a number that is too long).",
    ),
    "nulls": (bytes(1000), "is not a notebook"),
    "binary": (bytes(range(256)) * 10, "is not a notebook"),
    "blank and large": (b" " * (33 << 20), "`hw0.ipynb` is not a notebook"),
    "large": (b" " * (129 << 20), "`hw0.ipynb` has 129 MB; at most 128 MB are accepted."),
    "large without outputs": (blank_bytes([{"source": "x" * (33 << 20)}]), "has 33 MB; at most 32 MB are accepted."),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_notebook_is_a_sentence_and_the_next_student_is_graded(
    tmp_path: Path, hw0: Assignment, good: bytes, case: str
) -> None:
    data, sentence = BAD[case]
    found = collect(lay_out(tmp_path, {"alice/hw0.ipynb": data, "bob/hw0.ipynb": good}), hw0, ROSTER)
    assert students(found) == ["bob"]
    assert sentence in refusal(found)
    assert found[0].student == "alice"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_strange_encodings_are_read(tmp_path: Path, hw0: Assignment, good: bytes, encoding: str) -> None:
    data = good.decode().replace("A parabola", "Une façon: A parabola").encode(encoding)
    submission = only(collect(lay_out(tmp_path, {"alice.ipynb": data}), hw0, ROSTER))
    assert any("façon" in cell.source for cell in submission.notebook.cells)


def test_format_3_is_upgraded_as_nbformat_does(tmp_path: Path, hw0: Assignment) -> None:
    data = v3("x = 1\ny = 2")
    submission = only(collect(lay_out(tmp_path, {"alice.ipynb": data}), hw0, ROSTER))
    oracle = nbformat.reads(data.decode(), as_version=4)
    mine = submission.notebook
    assert [(c.cell_type, c.source) for c in mine.cells] == [(c.cell_type, c.source) for c in oracle.cells]
    assert submission.notes == ("The notebook was in the old format 3 and was upgraded.",)


WRONG_TYPES = [
    None,
    17,
    [],
    {"cell_type": "code"},
    {"cell_type": ["code"], "source": {"a": 1}, "metadata": []},
    {"cell_type": "code", "source": [1, None, "x"], "metadata": {"tags": {"a": 1}, "nbgrader": [1]}, "id": 5},
    {"cell_type": "code", "source": "\ud800", "metadata": {"tags": [1, "train"], "nbgrader": {"grade_id": {}}}},
    {"cell_type": "code", "source": "\x00", "metadata": {"nbgrader": {"grade_id": 3, "grade": "yes"}}, "outputs": 1},
]


def test_cells_of_wrong_types_get_a_harmless_form(tmp_path: Path, hw0: Assignment) -> None:
    from autograder.homework.restore import restore

    data = json.dumps({"nbformat": 4, "cells": WRONG_TYPES, "metadata": "none"}).encode()
    notebook = only(collect(lay_out(tmp_path, {"alice.ipynb": data}), hw0, ROSTER)).notebook
    assert [type(cell.source) for cell in notebook.cells] == [str] * len(WRONG_TYPES)
    restored = restore(notebook, hw0.template)
    json.dumps(restored.cells).encode()
    assert {cell["grade_id"] for cell in restored.cells} == {None, "double", "line"}


def test_of_ten_thousand_cells_two_thousand_are_looked_at(tmp_path: Path, hw0: Assignment) -> None:
    cells = [{"cell_type": "code", "source": "x", "metadata": {}, "outputs": []}] * 10_000
    data = json.dumps({"nbformat": 4, "cells": cells}).encode()
    submission = only(collect(lay_out(tmp_path, {"alice.ipynb": data}), hw0, ROSTER))
    assert len(submission.notebook.cells) == ipynb.MAX_CELLS
    assert "10000 cells" in submission.notes[0]


def test_links_and_pipes_reject_their_submission_alone(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    secret = lay_out(tmp_path / "outside", {"secret.ipynb": good}) / "secret.ipynb"
    source = lay_out(tmp_path / "class", {"bob.ipynb": good, "jdoe7/hw0.ipynb": good})
    (source / "alice").mkdir()
    (source / "alice/hw0.ipynb").symlink_to(secret)
    os.mkfifo(source / "jdoe7/pipe")
    (source / "emilie.ipynb").hardlink_to(secret)
    found = collect(source, hw0, ROSTER)
    assert students(found) == ["bob"]
    assert {item.student: item.sentence for item in found if isinstance(item, Rejected)} == {
        "alice": "`hw0.ipynb` is a symbolic link, not a plain file.",
        "jdoe7": "`pipe` is a pipe, not a plain file.",
        "emilie": "`emilie.ipynb` is a hard link to a file elsewhere.",
    }


def test_a_zip_that_climbs_out_is_refused_and_nothing_is_written(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    source = tmp_path / "class"
    files = {"alice.zip": zipped({"hw0.ipynb": good, "../../evil": b"x"}), "bob.zip": zipped({"hw0.ipynb": good})}
    found = collect(lay_out(source, files), hw0, ROSTER)
    assert students(found) == ["bob"]
    assert refusal(found) == "`../../evil` has a name that leads out of the zip."
    assert not list(tmp_path.rglob("evil"))


def test_a_class_zip_with_a_climbing_name_goes_on(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    (tmp_path / "class.zip").write_bytes(zipped({"../evil.ipynb": good, "bob/hw0.ipynb": good, "/etc/x": b""}))
    found = collect(tmp_path / "class.zip", hw0, ROSTER)
    assert students(found) == ["bob"]
    sentences = sorted(item.sentence for item in found if isinstance(item, Rejected))
    assert sentences == [
        "`..`: `evil.ipynb` inside has a name that leads out of the zip.",
        "`etc`: `x` inside has an absolute name.",
    ]


def test_a_zip_bomb_is_refused(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    files = {"alice.zip": zipped({"hw0.ipynb": good, "bomb.bin": bytes(40 << 20)}), "bob.zip": b"PK no zip"}
    found = collect(lay_out(tmp_path, files), hw0, ROSTER)
    assert [item.student for item in found if isinstance(item, Rejected)] == ["alice", "bob"]
    assert "zip bomb" in found[0].sentence  # type: ignore[union-attr]
    assert "is not a sound zip file" in found[1].sentence  # type: ignore[union-attr]


def test_files_that_are_too_large_are_left_out_with_a_note(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    source = lay_out(tmp_path, {"alice/hw0.ipynb": good})
    with (source / "alice/data.bin").open("wb") as file:
        file.truncate(1 << 30)
    submission = only(collect(source, hw0, ROSTER))
    assert submission.files == {}
    assert "`data.bin` was left out" in submission.notes[0]


def test_a_missing_notebook_says_what_was_handed_in(tmp_path: Path, hw0: Assignment) -> None:
    found = collect(lay_out(tmp_path, {"alice/essay.pdf": b"%PDF"}), hw0, ROSTER)
    assert refusal(found) == "There is no notebook `hw0.ipynb`; handed in: `essay.pdf`."


def test_a_missing_source_is_the_users_mistake(tmp_path: Path, hw0: Assignment) -> None:
    with pytest.raises(UserError, match="does not exist"):
        collect(tmp_path / "nowhere", hw0, ROSTER)
    (tmp_path / "class.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match="is not a sound zip"):
        collect(tmp_path / "class.zip", hw0, ROSTER)


def test_a_stored_submission_is_collected_again_as_it_was(tmp_path: Path, hw0: Assignment, good: bytes) -> None:
    files = {"alice/final.ipynb": good, "alice/line.pt": b"w", "alice/timestamp.txt": b"2025-10-01 10:00:00.5 UTC"}
    first = only(collect(lay_out(tmp_path / "in", files), hw0, ROSTER))
    for _ in range(2):
        store(first, hw0, tmp_path / "submitted")
    again = only(collect(tmp_path / "submitted", hw0, ROSTER))
    assert (again.sha256, again.files, again.submitted) == (first.sha256, first.files, first.submitted)
    assert sorted(p.name for p in (tmp_path / "submitted/alice").iterdir()) == ["hw0"]
