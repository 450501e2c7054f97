"""Turns reports into pages: one per student, one per class.

    write_student_page(report, "Homework 1", folder / page_name(report.student))
    write_class_page(map(brief, reports), {"knuth": "it is empty"}, "Homework 1", folder / "class.html")

A page is one HTML file without scripts or requests. Pages are pure functions of their reports.
"""

from autograder.feedback.brief import Brief, Outline, brief
from autograder.feedback.classpage import Known, Theory, class_page, write_class_page
from autograder.feedback.page import page_name, rejected_page, student_page, write_student_page
from autograder.feedback.remarks import NOTHING, ByHand, Given, Remarks, amended
from autograder.feedback.visible import visible

__all__ = [
    "NOTHING",
    "Brief",
    "ByHand",
    "Given",
    "Known",
    "Outline",
    "Remarks",
    "Theory",
    "amended",
    "brief",
    "class_page",
    "page_name",
    "rejected_page",
    "student_page",
    "visible",
    "write_class_page",
    "write_student_page",
]
