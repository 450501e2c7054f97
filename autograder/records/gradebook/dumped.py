"""The contents of a gradebook, to compare two of them."""

from __future__ import annotations

from typing import Any

from autograder.records.gradebook.book import Book


def dump(url: str) -> dict[str, Any]:
    """The contents of a gradebook without its random ids, to compare two of them."""
    with Book(url) as book, book.transaction() as api:
        return {
            "students": {s.id: [s.first_name, s.last_name, s.email] for s in api.students},
            "assignments": {
                a.name: {
                    "cells": {c.name: [c.max_score, c.cell_type] for n in a.notebooks for c in n.grade_cells},
                    "solutions": sorted(c.name for n in a.notebooks for c in n.solution_cells),
                    "sources": {c.name: [c.locked, c.source, c.checksum] for n in a.notebooks for c in n.source_cells},
                    "submissions": {s.student.id: _dump_submission(s) for s in a.submissions},
                }
                for a in api.assignments
            },
        }


def _dump_submission(submission: Any) -> dict[str, Any]:
    return {
        "timestamp": str(submission.timestamp),
        "late": [str(submission.extension), *(n.late_submission_penalty for n in submission.notebooks)],
        "grades": {
            g.name: [g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade]
            for n in submission.notebooks
            for g in n.grades
        },
        "comments": {c.name: [c.auto_comment, c.manual_comment] for n in submission.notebooks for c in n.comments},
    }
