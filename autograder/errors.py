"""Everything the engine raises on purpose.

AutograderError
├── AuthorError          a check asks for what makes no sense; a ValueError as well: never costs a student points
├── UserError            the person at the keyboard can fix it: one sentence, exit code 2
├── Infrastructure       the machine failed (engine, image, disk): never costs a student points
│   ├── Starved          it was too busy to run the student's code: tried once more alone, then final
│   └── Overrun          the judge's own part of a check took too much time or memory: tried once more alone
├── Lost                 the place where a submission was graded is gone: it is graded elsewhere, and nobody counts it
├── RefusedError         something handed in is not taken: the rest of a sentence that begins with its name
├── UnreadableError      a file is no notebook: the rest of a sentence that begins with its name
└── StudentFault         the submission failed a check: a reason code and a message for the student
    ├── Wrong            a property does not hold
    ├── PartialCredit    a property holds in part: carries the fraction earned
    └── MissingName      a name or attribute is not there; an AttributeError as well

SandboxWarning           (a UserWarning) student code runs where there is no boundary

The worker runs alone inside a sandbox and imports nothing of this file. It has `WireError` with `Truncated` and
`TooLarge` (what arrived is no message, or more than was asked for; `autograder.worker.layout`), `Fault` (an error
reply; `autograder.worker.calling`) and `AbsentPackage` (a use of what a failed import should have brought;
`autograder.worker.absent`).
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


class Starved(Infrastructure):
    """The machine was too busy to run the student's code in time; what is tried once more, alone, and then final."""


class Overrun(Infrastructure):
    """The judge's own part of a check took too much time or memory; it is tried once more, alone."""


class AuthorError(AutograderError, ValueError):
    """A check is at fault, not the submission: what it asks for makes no sense, said with the value in hand."""


class RefusedError(AutograderError):
    """The rest of a sentence that begins with the entry's name: "is a symbolic link"."""


class UnreadableError(AutograderError):
    """The rest of a sentence that begins with the file's name: "is empty."."""


class SandboxWarning(UserWarning):
    """Said once: where student code runs is no boundary."""


class Lost(AutograderError):  # noqa: N818 (nobody erred)
    """The place where a submission was graded is gone; it is graded in another one, and nobody counts it."""


class StudentFault(AutograderError):  # noqa: N818 (no error of the program)
    """The submission failed a check.

    Args:
        message: what the student reads; never the expected value.
        reason: the reason code of the outcome.
        hint: a likely cause, given only when it is true of every answer that fails this way.
        where: the student's own last frame, as "cell 12, line 3: text of the line".
        detail: for the TA only; may hold expected values and tracebacks.
        plain: where `message` holds text that came out of a sandbox, a sentence of ours in its place, without a number,
            for a student who must not learn from it what a hidden check asks.
        doubtful: the check may be at fault; what it does on the solution decides.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Reason,
        hint: str | None = None,
        where: str | None = None,
        detail: str | None = None,
        plain: str | None = None,
        doubtful: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason: Reason = reason
        self.hint = hint
        self.where = where
        self.detail = detail
        self.plain = plain
        self.doubtful = doubtful


class Wrong(StudentFault):
    """A property does not hold: what was compared, how far off, where it is worst, perhaps a hint."""

    def __init__(
        self, message: str, *, hint: str | None = None, detail: str | None = None, plain: str | None = None
    ) -> None:
        super().__init__(message, reason="wrong", hint=hint, detail=detail, plain=plain)


class PartialCredit(StudentFault):
    """A property holds in part.

    Args:
        fraction: the share of the check's points that is earned, strictly between 0 and 1.
        message: what is missing for the rest.
    """

    def __init__(self, fraction: float, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        if not 0.0 < fraction < 1.0:
            raise AuthorError(f"a partial fraction lies strictly between 0 and 1, got {fraction}")
        super().__init__(message, reason="wrong", hint=hint, detail=detail)
        self.fraction = fraction


class MissingName(StudentFault, AttributeError):  # noqa: N818 (a fault of the student, see errors.py)
    """A name or attribute that is not there; an AttributeError, so that `hasattr` and `getattr` defaults work."""

    def __init__(self, message: str, *, where: str | None = None, plain: str | None = None) -> None:
        super().__init__(message, reason="missing", where=where, plain=plain)
