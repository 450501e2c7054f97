"""The notebook a human grades from: read by nbgrader's own tools, and harmless in a browser."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from autograder.course.course import Course, init_course
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment
from autograder.homework.restore import restore
from autograder.records import settle as settling
from autograder.records.autograded import for_humans, seen_answers
from autograder.records.disarm import disarm
from autograder.records.gradebook import Book, dump
from autograder.records.record import Record
from autograder.records.rendering import rendered as made_of
from autograder.records.settle import Desk, settle
from autograder.report import CheckResult, Report
from autograder.submission import Submission
from autograder.submissions.person import Person
from tests.autograder.course_factory import ANSWERS, Repository, answered, make_repository, points_of, to_bytes
from tests.autograder.records.test_gradebook import report as plain_report


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return make_repository(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def template(repository: Repository) -> NotebookNode:
    return repository.load().template


@pytest.fixture
def course(repository: Repository, tmp_path: Path) -> Course:
    return init_course(
        tmp_path / "course",
        assignments=repository.assignments,
        solutions=repository.solutions,
        students=[Person(id="alice", name="Alice Archer")],
    )


def report(message: str = "off by log 2") -> Report:
    check = CheckResult(
        id="test_x", cell="double", title="Doubling 1 gives 2.", public=True, points=2, fraction=0.75,
        outcome="partial", reason="wrong", message=message,
    )  # fmt: skip
    return plain_report("alice", 1.5, 0.4).model_copy(update={"checks": [check]})


def seen(submitted: NotebookNode, template: NotebookNode) -> NotebookNode:
    return for_humans(submitted, template, restore(submitted, template).answers, report())


def test_a_human_sees_the_answers_the_students_own_cells_and_what_the_checks_said(template: NotebookNode) -> None:
    notebook = answered(template)
    notebook.cells.insert(4, NotebookNode(cell_type="code", source="my_own = 1", metadata=NotebookNode(), id="x"))
    shown = seen(notebook, template)
    sources = [cell.source for cell in shown.cells]
    assert sources[3:6] == [ANSWERS["double-answer"], "my_own = 1", 'check("double")']
    assert "partial" in shown.cells[5].outputs[0].text
    assert "1.5/2  Doubling 1 gives 2.\n" in shown.cells[5].outputs[0].text
    assert "off by log 2" in shown.cells[5].outputs[0].text
    assert sources[-1] == ANSWERS["why"].strip()
    nbformat.validate(shown)


def test_without_metadata_a_human_sees_the_same(template: NotebookNode) -> None:
    bare = answered(template)
    for cell in bare.cells:
        cell.metadata, cell["id"] = NotebookNode(), ""
    assert ipynb.to_text(seen(bare, template)) == ipynb.to_text(seen(answered(template), template))


def enter(book: Book, course: Course, hw0: Assignment, graded: Report, submission: Submission) -> None:
    """Make all that is made of a report, and enter it."""
    with Record(course.root, hw0.name) as record:
        desk = Desk(course, hw0, book, record)
        settling.enter(desk, made_of(hw0, graded, submission), submission)


def test_nbgraders_tools_find_scores_and_cells_in_it(course: Course, repository: Repository) -> None:
    from nbgrader.nbgraderformat import read
    from nbgrader.preprocessors import GetGrades

    hw0 = repository.load()
    notebook = answered(hw0.template)
    del notebook.cells[4]
    with Book(course.gradebook_url) as book:
        book.ensure_assignment(hw0)
        enter(book, course, hw0, report(), Submission.of("alice", to_bytes(notebook)))
    with course.autograded_path("hw0", "alice").open() as file:
        graded = read(file, as_version=4)
    where = {"notebook": "hw0", "assignment": "hw0", "student": "alice", "db_url": course.gradebook_url}
    shown, totals = GetGrades().preprocess(graded, {"nbgrader": where})
    assert [
        cell.metadata.nbgrader.grade_id for cell in shown.cells if cell.metadata.get("nbgrader", {}).get("grade")
    ] == [
        "double",
        "line",
        "why",
    ]
    assert {cell.metadata.nbgrader.score for cell in shown.cells if "score" in cell.metadata.get("nbgrader", {})} == {
        1.5,
        0.4,
        0.0,
    }
    assert (totals["nbgrader"]["score"], totals["nbgrader"]["max_score"]) == (1.9, 4.0)


def test_recording_again_changes_no_byte_and_a_new_answer_asks_the_human_again(
    course: Course, repository: Repository
) -> None:
    hw0 = repository.load()
    path = course.autograded_path("hw0", "alice")
    first = Submission.of("alice", to_bytes(answered(hw0.template)))
    with Book(course.gradebook_url) as book:
        book.ensure_assignment(hw0)
        enter(book, course, hw0, report(), first)
        book.set_manual(hw0, "alice", "why", 0.5)
        before, grades = path.read_bytes(), dump(course.gradebook_url)
        enter(book, course, hw0, report(), first)
        assert (path.read_bytes(), dump(course.gradebook_url)) == (before, grades)
        second = answered(hw0.template, ANSWERS | {"why": "Another reason."})
        for _ in range(2):
            enter(book, course, hw0, report(), Submission.of("alice", to_bytes(second)))
            (score,) = book.read_scores(hw0.name, points_of(hw0))
            assert (score.cells["why"].points, score.cells["why"].needs_manual) == (0.5, True)


def test_a_kill_between_gradebook_and_notebook_is_repaired_by_grading_again(
    course: Course, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    hw0 = repository.load()
    second = Submission.of("alice", to_bytes(answered(hw0.template, ANSWERS | {"why": "Another."})))
    with Book(course.gradebook_url) as book:
        book.ensure_assignment(hw0)
        enter(book, course, hw0, report(), Submission.of("alice", to_bytes(answered(hw0.template))))
        book.set_manual(hw0, "alice", "why", 0.5)
        with monkeypatch.context() as patch:
            patch.setattr("autograder.records.settle.write_atomically", lambda *args: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                enter(book, course, hw0, report(), second)
        enter(book, course, hw0, report(), second)
        assert book.read_scores(hw0.name, points_of(hw0))[0].cells["why"].needs_manual
    assert "Another." in course.autograded_path("hw0", "alice").read_text()


def test_an_infrastructure_failure_records_nothing(course: Course, repository: Repository) -> None:
    hw0 = repository.load()
    trouble = CheckResult(id="x", cell="double", title="t", public=True, points=2, fraction=0, outcome="infrastructure")
    with Book(course.gradebook_url) as book:
        book.ensure_assignment(hw0)
        before = dump(course.gradebook_url)
        broken = report().model_copy(update={"checks": [trouble]})
        enter(book, course, hw0, broken, Submission.of("alice", to_bytes(answered(hw0.template))))
        assert dump(course.gradebook_url) == before
    assert not course.autograded_path("hw0", "alice").exists()


def test_without_a_notebook_seen_before_nothing_counts_as_changed(tmp_path: Path) -> None:
    assert seen_answers(tmp_path / "none.ipynb") == {}
    for text in ("", "[]", "{}", '{"metadata": {"autograder": 3}}'):
        (tmp_path / "odd.ipynb").write_text(text)
        assert seen_answers(tmp_path / "odd.ipynb") == {}


class Harm(HTMLParser):
    """Collects whatever in a page could run, or load something from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "embed", "svg", "style", "form", "base", "meta", "link"}:
            self.found.append(tag)
        for name, value in attributes:
            scheme = "".join((value or "").split()).lower().split(":")[0]
            if name.startswith("on") or (
                name in {"href", "src", "action"} and scheme in {"javascript", "vbscript", "data"}
            ):
                self.found.append(f"{tag} {name}={value}")


PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](javascript\\:alert(1))",
    "[x](java\\\nscript:alert(1))",
    "[x]( javascript:alert(1) 'title')",
    "[x](<javascript:alert(1)>)",
    "<javascript:alert(1)>",
    "[x][r]\n\n[r]: javascript:alert(1)",
    "![x](vbscript:msgbox)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "```html\n</code></pre><script>alert(1)</script>\n```",
    "`</code><script>alert(1)</script>`",
    "$</span><script>alert(1)</script>$",
    "<!-- --><iframe src=//evil>",
    "<a href='data:text/html,x'>",
    "| <b onclick=alert(1)> |\n|---|\n| <details ontoggle=alert(1) open> |",
    '![x](attachment:"onerror=alert(1).png)',
    "[x](\x01javascript:alert(1))",
]


def rendered(markdown: str, attachments: dict[str, dict[str, str]] | None = None) -> str:
    """Markdown as nbconvert, and with it formgrader, shows it."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    return str(MarkdownWithMath(renderer=IPythonRenderer(escape=False, attachments=attachments or {})).render(markdown))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_a_student_writes_runs_where_a_human_reads_it(payload: str) -> None:
    page = Harm()
    page.feed(rendered(disarm(payload)))
    assert page.found == []


def test_the_payloads_are_dangerous_without_disarming() -> None:
    dangerous = 0
    for payload in PAYLOADS[:-2]:
        page = Harm()
        page.feed(rendered(payload))
        dangerous += bool(page.found)
    assert dangerous >= 12


def test_a_line_break_stays_and_a_tag_that_only_begins_like_one_does_not() -> None:
    assert disarm("one<br>two<br/>three<BR />") == "one<br>two<br/>three<BR />"
    assert disarm("<br onload=x><broken>") == "< br onload=x>< broken>"


@pytest.mark.parametrize(
    "formula",
    [
        r"$\href{java#1}{x}$",
        r"$\newcommand{\h}[1]{\href{javas#1}{x}}\h{cript:alert(1)}$",
        r"$\mmlToken{mi}[href='x']{y}$",
        r"$\let\x\href \x{a}{b}$",
        r"$\style{position:fixed}{x}$",
        r"$\class{cell}{x} \cssId{main}{y} \require{html} \bbox[color:red]{z}$",
    ],
)
def test_no_formula_reaches_beyond_itself(formula: str) -> None:
    commands = ("href", "mmlToken", "style", "class", "cssId", "require", "bbox")
    assert not any(f"\\{command}" in disarm(formula) for command in commands)


def test_formulas_with_commands_that_begin_alike_stay() -> None:
    formula = r"$\stylex \newcommand{\E}{\mathbb{E}} \E_{q}[\log p] \textstyle \displaystyle \classify \urlx$"
    assert disarm(formula) == formula


def test_formulas_code_and_pictures_of_a_site_read_as_before() -> None:
    text = (
        "If $a < b$ and $p(x) \\le 1$, then\n\n$$x_i & y_j \\\\ 1 &= 2$$\n\n*so* `x = [1]`; ![x](https://x.org/a.png)"
    )
    assert disarm(text) == text
    assert disarm("$\\sum_{i<j} x_i$") == "$\\sum_{i< j} x_i$"  # the same to TeX


def test_pictures_pasted_into_an_answer_reach_the_human_and_nothing_else_attached_does(template: NotebookNode) -> None:
    notebook = json.loads(to_bytes(answered(template)))
    notebook["cells"][-1]["source"] = (
        "![a](attachment:my%20photo.png) ![b](attachment:evil.svg) ![c](attachment:none.png)"
    )
    notebook["cells"][-1]["attachments"] = {
        "my photo.png": {"image/png": "aGVsbG8="},
        "evil.svg": {"image/svg+xml": "PHN2Zz4="},
        "quote.png": {"image/png": 'x" onerror="alert(1)'},
    }
    submitted, _ = ipynb.parse(json.dumps(notebook).encode())
    cell = seen(submitted, template).cells[-1]
    assert cell.attachments == {"picture-0": {"image/png": "aGVsbG8="}}
    page = rendered(cell.source, cell.attachments)
    assert page.count("<img") == 3
    assert page.count('src="data:image/png;base64,aGVsbG8="') == 1


def test_messages_of_checks_cannot_move_the_cursor(template: NotebookNode, tmp_path: Path) -> None:
    shown = for_humans(template, template, {}, report("a\x1b[2Jb\rc"))
    assert "a[2Jb" in shown.cells[4].outputs[0].text
    assert "\x1b" not in ipynb.to_text(shown)


def test_a_mangled_notebook_still_gives_every_graded_cell_once(template: NotebookNode, tmp_path: Path) -> None:
    notebook = copy.deepcopy(answered(template))
    notebook.cells = [*reversed(notebook.cells), *copy.deepcopy(notebook.cells)]
    made = for_humans(notebook, template, restore(notebook, template).answers, report())
    (tmp_path / "x.ipynb").write_text(ipynb.to_text(made))
    shown = nbformat.read(tmp_path / "x.ipynb", as_version=4)
    names = [cell.metadata.nbgrader.grade_id for cell in shown.cells if "nbgrader" in cell.metadata]
    assert sorted(names) == ["double", "double-answer", "line", "line-answer", "setup", "why"]
    nbformat.validate(shown)


def test_nothing_only_a_ta_may_read_lies_where_nbgrader_makes_feedback_from(
    course: Course, repository: Repository, tmp_path: Path
) -> None:
    secret = CheckResult(
        id="test_x", cell="double", title="Doubling 1 gives 2.", public=False, points=2, fraction=0.0,
        outcome="failed", reason="crash", message="your code raised an error",
        detail="expected 8642.5", full="saw 97531",
    )  # fmt: skip
    assignment = repository.load()
    submission = Submission.of("alice", to_bytes(answered(assignment.template)))
    told = plain_report("alice", 0.0, 0.4).model_copy(update={"checks": [secret]})
    with Book(course.gradebook_url) as book:
        book.ensure_assignment(assignment)
        with Record(course.root, assignment.name) as record:
            desk = Desk(course, assignment, book, record)
            settle(desk, made_of(assignment, told, submission), submission)
    command = [sys.executable, "-m", "nbgrader", "generate_feedback", "hw0"]
    done = subprocess.run(command, cwd=course.root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (page,) = (course.root / "feedback").rglob("alice/**/*.html")
    assert "your code raised an error" in page.read_text()
    for folder in (course.autograded_dir, course.root / "feedback", course.root / "gradebook.db"):
        for path in [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.is_file()]:
            said = path.read_bytes()
            assert b"8642.5" not in said, path
            assert b"97531" not in said, path
    shown = course.autograded_path("hw0", "alice").read_text()
    assert "your code raised an error" in shown
    assert b"8642.5" in course.report_path("hw0", "alice").read_bytes(), "the TA reads it in the report"
