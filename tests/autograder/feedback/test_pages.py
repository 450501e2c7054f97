"""The pages: what a student reads, what only a TA reads, what a class adds up to."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autograder.feedback import (
    Known,
    Theory,
    brief,
    class_page,
    page_name,
    plots,
    student_page,
    text,
    write_class_page,
    write_student_page,
)
from autograder.feedback.classpage import Tally, cell_rows, check_rows, task_rows
from autograder.feedback.html import prose
from autograder.feedback.remarks import Remarks
from autograder.report import CellRun, Report
from tests.autograder.report_factory import (
    FAILURES,
    PAYLOADS,
    REJECTED,
    TITLE,
    a_class,
    blank,
    every_reason,
    failed,
    hostile,
    infrastructure,
    not_finite,
    report,
    typical,
)

VOID = {"meta", "img", "path", "rect", "br"}


class Page(HTMLParser):
    """Elements, attributes and visible text of a page; checks that tags are balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str, str]] = set()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name, value or "") for name, value in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name, value or "") for name, value in attrs}

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


EVERY = [typical, every_reason, infrastructure, blank, hostile]


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("audience", ["student", "ta"])
def test_a_page_is_balanced_and_loads_and_runs_nothing(make: object, audience: str) -> None:
    page = Page(student_page(make(), TITLE, audience))
    assert page.tags.isdisjoint(
        {"script", "link", "iframe", "object", "embed", "base", "form", "input", "foreignobject"}
    )
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name != "style"
        if name in {"href", "src", "action", "formaction", "xlink:href"}:
            assert value.startswith(("#", "data:image/png;base64,")), value
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_a_student_reads_points_outcomes_reasons_and_hints() -> None:
    page = Page(student_page(typical(), TITLE)).text
    assert "5.4 of 7.5 automatic points" in page
    assert "8 of 11 checks passed, 1 partly, 2 failed. 4 points of theory wait for a human." in page
    assert "Your code raised RuntimeError: mat1 and mat2 shapes cannot be multiplied" in page
    assert "cell 12, line 3 h = F.relu(self.fc1(x.flatten(1)))" in page
    assert "Hint. The mask of the first layer has a 1 right of its centre." in page
    assert "!pip install einops was not run" in page
    assert "Cell 16 sns.set_theme() stopped with an error" in page
    assert "autograder check hw1.ipynb" in page
    assert "21 November 2026, 03:44 UTC" in page


def test_start_here_names_the_first_tasks_that_lost_points_by_what_cost_most_in_each() -> None:
    made = blank()
    checks = [check.model_copy(update={"points": 0.1 * (1 + k)}) for k, check in enumerate(made.checks)]
    checks[0] = checks[0].model_copy(update={"outcome": "passed", "fraction": 1.0, "reason": None})
    source = student_page(made.model_copy(update={"checks": checks}), TITLE)
    start = source.split("<h2>Start here</h2>")[1].split("</section>")[0]
    costliest = {check.cell: check.title for check in checks if check.outcome == "failed"}  # the last of a cell
    wanted = [costliest[cell.cell] for cell in made.cells if cell.cell in costliest][:3]
    assert len(costliest) > 3
    assert re.findall(r"<li><a [^>]*>(.*?)</a>", start) == [str(prose(text.line(title))) for title in wanted]


@pytest.mark.parametrize("reason", list(FAILURES))
def test_each_reason_is_said_in_words(reason: str) -> None:
    made = report(outcomes={"test_made_is_causal": failed(reason)})
    assert f"failed {text.REASONS[reason]}" in Page(student_page(made, TITLE)).text


def test_the_detail_is_on_the_tas_page_and_never_on_the_students() -> None:
    for make in EVERY:
        made = made_unique(make())
        details = [check.detail for check in made.checks if check.detail]
        assert details or make in (blank,)
        student, ta = (Page(student_page(made, TITLE, audience)).text for audience in ("student", "ta"))
        for detail in details:
            assert detail not in student
            assert detail in ta


def made_unique(made: Report) -> Report:
    """The report with details that occur nowhere else in it."""
    checks = [c.model_copy(update={"detail": c.detail and f"secret-{i}-"}) for i, c in enumerate(made.checks)]
    return made.model_copy(update={"checks": checks})


def test_trouble_with_the_machine_is_not_the_students_fault() -> None:
    page = Page(student_page(infrastructure(), TITLE)).text
    assert "Not your fault: it costs no points" in page
    assert page.count(text.NOT_YOUR_FAULT) == 8
    assert "so far" in page
    assert "no space left on device" not in page


def test_what_the_machine_was_too_busy_for_twice_is_not_promised_again() -> None:
    made = infrastructure()
    starved = [c.model_copy(update={"starved": c.outcome == "infrastructure"}) for c in made.checks]
    page = Page(student_page(made.model_copy(update={"checks": starved}), TITLE)).text
    assert page.count(text.TOO_BUSY) == 8
    assert "graded again" not in page
    assert "ran out of time" not in page


def test_a_figure_that_cannot_be_drawn_costs_one_sentence() -> None:
    made = report(outcomes={"test_made_is_causal": {"figures": [not_finite()]}})
    assert "This picture could not be drawn: 2 of the 6 numbers" in Page(student_page(made, TITLE)).text


def test_checks_of_an_unknown_cell_are_shown_too() -> None:
    made = typical()
    strays = [check.model_copy(update={"cell": "gone"}) for check in made.checks[:2]]
    page = Page(student_page(made.model_copy(update={"checks": [*strays, *made.checks[2:]]}), TITLE)).text
    assert "Other checks 1.5 / 1.5" in page


def test_a_manual_score_replaces_the_waiting() -> None:
    made = typical()
    cells = [c.model_copy(update={"earned": 1.5}) if c.manual else c for c in made.cells]
    page = Page(student_page(made.model_copy(update={"cells": cells}), TITLE)).text
    assert "waiting" not in page
    assert "Graded by a human." in page


def test_templates_inside_a_report_are_not_evaluated() -> None:
    page = student_page(hostile(), "{{7*7}}")
    assert "{{7*7}}" in page
    assert "49" not in Page(page).text.replace("149", "")


def test_invisible_and_acting_characters_are_gone() -> None:
    for page in (
        student_page(hostile(), TITLE, "ta"),
        class_page(map(brief, [hostile()]), {p: p for p in PAYLOADS}, TITLE),
    ):
        assert not set(page) & set("\x00\x07\x08\x1b\x7f\x9b\u202e\u2066\u2069\u200f\ufeff\ud800")
        page.encode("utf-8")


def test_long_text_is_cut() -> None:
    made = report(outcomes={"test_made_is_causal": failed("crash", message="x" * 1_000_000)})
    assert len(student_page(made, TITLE)) < 40_000


def test_the_same_report_gives_the_same_bytes_also_after_a_round_trip(tmp_path: Path) -> None:
    made = typical()
    write_student_page(made, TITLE, tmp_path / "a.html")
    made.save(tmp_path / "report.json")
    write_student_page(Report.load(tmp_path / "report.json"), TITLE, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_backticks_set_code_and_one_alone_stays() -> None:
    assert prose("`a<b` and `c") == "<code>a&lt;b</code> and `c"
    assert prose("the mask", capital=True) == "The mask"


def test_page_names_are_safe_and_differ_when_students_do() -> None:
    odd = ["ada", "Ada", "ADA", "index", "class", "", ".", "..", "a/b", "a\\b", "Ünal", "Unal", "a" * 300]
    students = [*PAYLOADS, *odd]
    names = [page_name(student) for student in students]
    assert len({name.casefold() for name in names}) == len(students)
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9._-]*\.html", name) for name in names)
    assert page_name("ada") == "ada.html"


# the class


def test_a_class_page_is_balanced_and_links_only_to_students() -> None:
    reports = [*a_class(), *(hostile(p) for p in PAYLOADS)]
    page = Page(class_page(map(brief, reports), {**REJECTED, **{p: p for p in PAYLOADS}}, TITLE))
    links = {value for _, name, value in page.attributes if name in {"href", "src"}}
    assert links == {"#needs-you", *(page_name(r.student) for r in reports)}
    assert "script" not in page.tags
    assert not any(name.startswith("on") or name == "style" for _, name, _ in page.attributes)


def four() -> list[Report]:
    """Four students: two fail one check in different ways, one is right, one met machine trouble on every check."""
    hit = "test_made_is_causal"
    return [
        report("a", outcomes={hit: failed("wrong")}),
        report("b", outcomes={hit: failed("timeout"), "test_no_blind_spot": failed("wrong", 0.5)}),
        report("c"),
        report("d", outcomes={hit: {"outcome": "infrastructure", "fraction": 0.0}}),
    ]


def test_failure_rates_leave_out_what_the_machine_spoiled() -> None:
    worst, second, *others = check_rows(Tally.of(map(brief, four())))
    assert worst.title == "Output i of the network depends on the inputs before i only."
    assert (worst.failed, worst.graded, worst.reasons) == (2, 3, [("timeout", 1.0), ("wrong", 1.0)])
    assert (second.failed, second.graded, second.reasons) == (1, 4, [("part", 1.0)])
    assert all(row.failed == 0 for row in others)


def test_task_means_leave_out_what_waits_for_a_human() -> None:
    rows = {row.title: row.mean for row in task_rows(Tally.of(map(brief, four()[:3])))}
    assert len(rows) == 5
    assert rows["MADE: masks"] == pytest.approx((0.5 + 0.5 + 1.5) / 3)
    assert rows["PixelCNN: masked convolution"] == pytest.approx((1.5 + 1.25 + 1.5) / 3)


def test_the_header_of_a_class_counts_final_reports_only() -> None:
    page = Page(class_page(map(brief, four()), REJECTED, TITLE)).text
    assert "Graded 4 Mean 6.75 / 7.5 Median 6.5 / 7.5 All automatic points 1 To be graded again 1 Rejected 2" in page
    assert "3 submissions by automatic points; 1 not final and left out." in page
    assert "knuth Two notebooks" in page or "knuth two notebooks" in page


def test_a_name_that_means_nobody_is_for_the_list_of_students_not_for_a_new_file() -> None:
    page = Page(class_page([], {"knuth": "It is empty.", "smithson": "Nobody is."}, TITLE, strangers=["smithson"])).text
    assert "knuth It is empty. Ask for a new file." in page
    assert "smithson Nobody is. Write this name into students.csv , as an alias of the student" in page


def test_remarks_of_whole_sentences_are_not_joined_by_a_semicolon() -> None:
    late = Known("A", remarks=Remarks(late="It was handed in late."))
    one = report("a", outcomes={"test_made_is_causal": {"outcome": "infrastructure", "fraction": 0.0}})
    page = Page(class_page([brief(one)], {}, TITLE, {"a": late})).text
    assert "machine trouble, to be graded again; It was handed in late." in page


def test_the_last_label_of_an_axis_has_room() -> None:
    for narrow in (True, False):
        drawn = plots.histogram([1] * 13, 1.0, 12.7, narrow=narrow)
        places = [float(x) for x in re.findall(r'<text x="([0-9.]+)" y="182"', drawn)]
        assert places == sorted(places)
        assert places[-1] - places[-2] > 36
        assert '>12.7</text><path class="axis"' in str(drawn)


def test_full_points_fall_into_the_last_column_of_the_histogram() -> None:
    source, _, _ = class_page(map(brief, [report("a"), report("b"), blank()]), {}, TITLE).partition('narrow"')
    columns = re.findall(r'<rect x="([\d.]+)"[^>]*rx="2"/><text[^>]*>(\d+)</text>', source)
    assert [int(number) for _, number in columns] == [1, 2]
    assert float(columns[0][0]) == pytest.approx(10.0)
    assert float(columns[1][0]) == pytest.approx(8 + 14 * 844 / 15 + 2, abs=0.1)


def test_a_class_page_says_which_cells_cost_the_class_most_time() -> None:
    cells = report("a").cells
    first, second = cells[0].cell, cells[1].cell
    reports = [
        report("ada", runs=[CellRun(index=3, task=first, status="ok", seconds=1.0)]),
        report("bob", runs=[CellRun(index=i, task=second, status="ok", seconds=s) for i, s in ((7, 20.0), (8, 90.0))]),
        report("cleo", runs=[CellRun(index=9, task=None, status="ok", seconds=2.0)]),
    ]
    rows = cell_rows(Tally.of(map(brief, reports)))
    assert [(row.title, row.total, row.number, row.student) for row in rows] == [
        (cells[1].title, 110.0, 8, "bob"),
        ("After the last task", 2.0, 9, "cleo"),
        (cells[0].title, 1.0, 3, "ada"),
    ]
    assert "cell 8 of bob" in Page(class_page(map(brief, reports), {}, TITLE)).text


def test_the_order_of_reports_does_not_change_the_page(tmp_path: Path) -> None:
    reports = a_class()
    write_class_page(map(brief, reports), REJECTED, TITLE, tmp_path / "a.html")
    write_class_page(map(brief, reversed(reports)), dict(reversed(REJECTED.items())), TITLE, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_class_of_nobody_has_a_page() -> None:
    page = Page(class_page([], REJECTED, TITLE)).text
    assert "Graded 0" in page
    assert "it is empty" in page


def test_a_class_page_begins_with_the_students_their_names_and_their_theory() -> None:
    known = {
        "a": Known("Ada Byron", Theory(2.5, 4.0, 0)),
        "b": Known("", Theory(0.0, 4.0, 2)),
        "c": Known("Carl", Theory(1.0, 4.0, 1)),
    }
    page = Page(class_page(map(brief, four()), REJECTED, TITLE, known)).text
    assert page.index("Students") < min(
        page.index(title) for title in ("Needs you", "Tasks", "Checks that fail", "Slowest checks")
    )
    rows = re.findall(r"(Ada Byron a|Carl c|b) [\d.]+ / 7\.5 (2\.5 / 4|to be read|1 / 4, 1 cell to read)", page)
    assert rows == [("Ada Byron a", "2.5 / 4"), ("b", "to be read"), ("Carl c", "1 / 4, 1 cell to read")]
    assert "Theory" not in Page(class_page(map(brief, four()), {}, TITLE)).text


def test_a_class_in_the_process_sandbox_is_warned_about() -> None:
    assert "no security boundary" in Page(class_page(map(brief, [report(sandbox="process")]), {}, TITLE)).text
    assert "no security boundary" not in Page(class_page(map(brief, [report()]), {}, TITLE)).text


def test_an_answer_that_was_not_accepted_is_pointed_out_to_the_ta() -> None:
    made = report(outcomes={"test_made_is_causal": failed("tampered")})
    assert "an answer was not accepted: look at it" in Page(class_page(map(brief, [made]), {}, TITLE)).text


def test_pages_are_written_for_every_report_of_a_class(tmp_path: Path) -> None:
    for made in a_class():
        write_student_page(made, TITLE, tmp_path / page_name(made.student))
    assert len(list(tmp_path.glob("*.html"))) == 24
    json.dumps(sorted(p.name for p in tmp_path.iterdir()))


# words and numbers


@pytest.mark.parametrize(
    ("raw", "readable"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("\x1bPq#0\x1b\\six", "six"),
        ("\x1b(Btext\x1bcmore", "textmore"),
        ("10%\r50%\r100%\nnext", "100%\nnext"),
        ("a\r\nb", "a\nb"),
        ("a\x00b\x08c", "abc"),
        ("x\u202ey\u2066z", "xyz"),
        ("\ud800", ""),
        ("naïve 2⁹ × ∂ 🙂 👩\u200d💻 می\u200cخواهم", "naïve 2⁹ × ∂ 🙂 👩\u200d💻 می\u200cخواهم"),
    ],
)
def test_clean_leaves_what_can_be_read(raw: str, readable: str) -> None:
    assert text.clean(raw) == readable


def test_points_and_durations_are_written_as_people_write_them() -> None:
    assert [text.points(p) for p in (0, 2.0, 0.5, 1.25, 1 / 3, 15)] == ["0", "2", "0.5", "1.25", "0.33", "15"]
    assert {text.points(p) for p in (9.365, 9.364999999999998, Fraction("9.365"))} == {"9.37"}
    durations = [text.duration(s) for s in (0.04, 9.94, 9.96, 119.4, 200)]
    assert durations == ["0.0 s", "9.9 s", "10 s", "119 s", "3 min 20 s"]
    assert text.moment("2026-11-21T05:00:00+02:00") == "21 November 2026, 03:00 UTC"
    assert text.moment("yesterday") == "yesterday"


@pytest.mark.parametrize(("value", "said"), [(1, "1 point"), (1.0, "1 point"), (0.999, "1 point"), (0, "0 points")])
def test_points_are_counted_in_the_singular_where_there_is_one(value, said):
    assert text.amount(value) == said
    assert text.amount(value, "automatic point").replace("automatic ", "") == said
    assert text.amount(1.25) == "1.25 points"


def test_whose_sentence_it_is_is_said_once():
    assert text.blamed("zoe.ipynb", "`zoe.ipynb`: no student.") == "`zoe.ipynb`: no student."
    assert text.blamed("dan", "`dan.ipynb` is not a notebook.") == "dan: `dan.ipynb` is not a notebook."
