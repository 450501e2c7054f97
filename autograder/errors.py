"""Everything the engine raises on purpose.

AutograderError
├── UserError        the person at the keyboard can fix it: one sentence, exit code 2
├── Infrastructure   the machine failed (engine, image, disk): never costs a student points
└── StudentFault     the submission failed a check: a reason code and a message for the student
    ├── Wrong        a property does not hold
    └── PartialCredit  a property holds in part: carries the fraction earned
"""

from __future__ import annotations

from typing import Literal

Reason = Literal["wrong", "missing", "crash", "timeout", "memory", "output", "tampered"]


class AutograderError(Exception):
    """Base of every exception the engine raises on purpose."""


class UserError(AutograderError):
    """A sentence for the person at the keyboard: what was wrong, where, what to do."""


class Infrastructure(AutograderError):  # noqa: N818 (the name of the outcome)
    """The machine, not the submission, failed; the submission is queued again and loses nothing."""


class StudentFault(AutograderError):  # noqa: N818 (no error of the program)
    """The submission failed a check.

    Args:
        message: what the student reads; never the expected value.
        reason: the reason code of the outcome.
        hint: a likely cause, given only when it is true of every answer that fails this way.
        where: the student's own last frame, as "cell 12, line 3: text of the line".
        detail: for the TA only; may hold expected values and tracebacks.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Reason,
        hint: str | None = None,
        where: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason: Reason = reason
        self.hint = hint
        self.where = where
        self.detail = detail


class Wrong(StudentFault):
    """A property does not hold: what was compared, how far off, where it is worst, perhaps a hint."""

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, reason="wrong", hint=hint, detail=detail)


class PartialCredit(StudentFault):
    """A property holds in part.

    Args:
        fraction: the share of the check's points that is earned, strictly between 0 and 1.
        message: what is missing for the rest.
    """

    def __init__(self, fraction: float, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        if not 0.0 < fraction < 1.0:
            raise ValueError(f"a partial fraction lies strictly between 0 and 1, got {fraction}")
        super().__init__(message, reason="wrong", hint=hint, detail=detail)
        self.fraction = fraction
