"""What was graded behind strong walls stays: a report made without them replaces no better one."""

from __future__ import annotations

from autograder.report import Report
from autograder.sandbox import SandboxKind
from autograder.submission import Submission

CHANGED = (
    "changed since it was graded in a container, and this run has no containers; grade it where an engine answers,"
    " or add --force to replace that report"
)
STRENGTH: dict[SandboxKind, int] = {"process": 0, "docker": 1}


def is_stronger(report: Report, kind: SandboxKind) -> bool:
    """True if a report was made behind walls that `kind` does not have."""
    return STRENGTH[report.environment.sandbox] > STRENGTH[kind]


def is_of(report: Report, submission: Submission) -> bool:
    """True if this very submission was graded."""
    return report.submission_sha256 == submission.sha256
