"""A report without what only its own page shows: texts for its student, pictures, output."""

from __future__ import annotations

import zlib

from autograder.report import CheckResult, Report

Brief = Report  # whose checks have no figures, and whose words are those a class is told
DROPPED: dict[str, object] = {"figures": [], "hint": None, "where": None, "full": None}


def brief(report: Report) -> Brief:
    """What a class page and a summary need of a report."""
    checks = [check.model_copy(update=DROPPED | _words(check)) for check in report.checks]
    runs = [run.model_copy(update={"notes": [], "stdout": "", "error": None}) for run in report.runs]
    return report.model_copy(update={"checks": checks, "runs": runs, "notes": []})


def packed(report: Report) -> bytes:
    """Its brief as bytes."""
    return zlib.compress(brief(report).model_dump_json(exclude_defaults=True).encode(), 1)


def unpacked(data: bytes) -> Brief:
    """The brief that was packed."""
    return Report.model_validate_json(zlib.decompress(data))


def _words(check: CheckResult) -> dict[str, object]:
    """Of a check that the machine or its author failed, what a TA should read; of others nothing."""
    if check.outcome != "infrastructure" and not check.stumbled:
        return {"message": "", "detail": None}
    return {"detail": None if check.detail is None else check.detail[:2000]}
