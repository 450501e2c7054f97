"""Grades notebooks of a deep generative models course: student code and the judge never share a process."""

from __future__ import annotations

__all__ = ["check"]


def __getattr__(name: str) -> object:
    # Only a notebook needs `check`, and it pulls in torch and pytest.
    if name == "check":
        from autograder.judge.selfcheck import check

        return check
    raise AttributeError(f"module 'autograder' has no attribute {name!r}")
