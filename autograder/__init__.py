"""Grades notebooks of a deep generative models course: student code and the judge never share a process."""

from __future__ import annotations

__all__ = ["check", "course_data", "dataset"]


def __getattr__(name: str) -> object:
    # Only a notebook needs these, and they pull in torch and pytest.
    if name == "dataset":
        from autograder.worker.datasets import dataset

        return dataset
    if name in __all__:
        from autograder.judge import selfcheck

        return getattr(selfcheck, name)
    raise AttributeError(f"module 'autograder' has no attribute {name!r}")
