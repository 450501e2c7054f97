"""A report as Gradescope's `results.json`: https://gradescope-autograders.readthedocs.io/en/latest/specs/"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from autograder.feedback import text
from autograder.feedback.remarks import NOTHING, Remarks, amended
from autograder.feedback.visible import visible
from autograder.homework.settings import LATER, FeedbackRule
from autograder.report import CheckResult, Report, exact

VISIBLE, LATER_VISIBLE, HIDDEN = "visible", "after_due_date", "hidden"


def results_of(report: Report, rule: FeedbackRule = "guarded", remarks: Remarks = NOTHING) -> dict[str, Any]:
    """What Gradescope shows a student: a test for each check, one for each task that no check is shown of.

    Hidden checks that are to be read after the deadline are there, and Gradescope keeps them until then. It knows of no
    extension of ours: where somebody has more time it shows them to nobody, until they are uploaded anew.
    """
    whole = amended(report, remarks)
    later = rule == LATER and not remarks.over
    shown = whole if later else visible(whole, rule, remarks)
    hidden = HIDDEN if remarks.extended else LATER_VISIBLE
    tests = [as_test(check, hidden if later and not check.public else VISIBLE) for check in shown.checks]
    given = {cell.cell for cell in shown.cells if remarks.points(cell.cell) is not None}
    checked = {check.cell for check in shown.checks} - given
    tests = [test for test, check in zip(tests, shown.checks, strict=True) if check.cell in checked]
    for cell in shown.cells:
        if cell.cell not in checked and cell.earned is not None:
            comment = remarks.by_hand[cell.cell].comment if cell.cell in remarks.by_hand else ""
            tests.append(_test(text.line(cell.title or cell.cell), exact(cell.earned), exact(cell.max_points), comment))
    notes = [note for note in (remarks.several, remarks.late, *shown.notes) if note]
    off = sum((exact(test["score"]) for test in tests), Fraction(0)) * remarks.percent / 100
    if off:
        tests.append(_test("Handed in late", -off, Fraction(0), remarks.late))
    return {
        "tests": tests,
        "output": "\n".join(map(text.line, notes)),
        "visibility": VISIBLE,
        "stdout_visibility": "hidden",
        "execution_time": round(report.timings.get("total", 0.0)),
    }


def as_test(check: CheckResult, visibility: str = VISIBLE) -> dict[str, Any]:
    """One check.

    Args:
        visibility: when it may be read, as Gradescope says it.
    """
    said = [text.not_your_fault(check)] if check.outcome == "infrastructure" else []
    said += [check.message, f"in {check.where}" if check.where else "", f"Hint: {check.hint}" if check.hint else ""]
    output = "\n".join(text.clean(line) for line in said if line)
    test = _test(text.line(check.title), text.earned(check), exact(check.points), output)
    return test | {"visibility": visibility}


def _test(name: str, score: Fraction, most: Fraction, output: str) -> dict[str, Any]:
    passed = score >= most
    numbers = {"score": float(score), "max_score": float(most), "status": "passed" if passed else "failed"}
    return {"name": name, **numbers, "output": output, "output_format": "text", "visibility": VISIBLE}
