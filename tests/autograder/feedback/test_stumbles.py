"""The class page names checks that stumble, with what they said, so that the author mends them."""

from __future__ import annotations

from autograder.feedback import brief, class_page
from autograder.feedback.page import student_page
from autograder.report import CheckResult, Report
from tests.autograder.records.test_gradebook import report


def stumbled(student: str, outcome: str) -> Report:
    failed = outcome == "failed"
    check = CheckResult(
        id="test_law[3]", cell="double", title="Doubling follows the law.", public=False, points=2, fraction=0.0,
        outcome=outcome, reason="wrong" if failed else None, message="the check could not be finished",
        detail="IndexError: list index out of range\nTraceback: hidden_helper", stumbled=True,
    )  # fmt: skip
    return report(student, None, 1.0).model_copy(update={"checks": [check]})


def test_a_check_that_stumbles_is_named_with_how_often_and_what_it_said():
    page = class_page(map(brief, [stumbled("ada", "infrastructure"), stumbled("bob", "failed")]), {}, "Title")
    assert "Checks that stumble" in page
    assert "test_law[3]" in page
    assert "IndexError: list index out of range" in page
    assert "2 submissions" in page


def test_a_class_without_stumbles_has_no_such_table():
    assert "Checks that stumble" not in class_page(map(brief, [report("ada", 2.0, 1.0)]), {}, "Title")
    assert "Checks that stumble" in class_page(map(brief, [stumbled("ada", "failed")]), {}, "Title")


def test_the_student_reads_nothing_of_it():
    page = student_page(stumbled("ada", "infrastructure"), "Title")
    assert "IndexError" not in page
    assert "he check could not be finished" in page
    assert "Checks that stumble" in class_page(map(brief, [stumbled("ada", "infrastructure")]), {}, "Title")
