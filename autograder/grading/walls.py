"""What was graded behind strong walls stays: a report made without them replaces no better one."""

from __future__ import annotations

from autograder.sandbox import SandboxKind

CHANGED = (
    "changed since it was graded in a container, and this run has no containers; grade it where an engine answers,"
    " or add --force to replace that report"
)
STRENGTH: dict[str, int] = {"process": 0, "docker": 1}


def is_stronger(was: str, kind: SandboxKind) -> bool:
    """True if a report was made behind walls that `kind` does not have."""
    return STRENGTH.get(was, 0) > STRENGTH[kind]
