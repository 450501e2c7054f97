"""Words and numbers of a report as people read them, on a page or in a terminal.

Text from a student may hold anything. `clean` takes out what acts instead of being read: terminal escape sequences,
control characters, invisible and direction-changing characters, lone surrogates. Escaping is the template's business.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache

from autograder.report import CheckResult, Outcome, exact

# CSI (colours, cursor), OSC/DCS/APC/PM/SOS up to their terminator, and any other two-character escape
ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
BREAKS = re.compile(r"\r\n|[\x85\u2028\u2029]")
JOINERS = "\u200c\u200d"  # format characters that spelling (Persian) and emoji need
ICONS: dict[Outcome, str] = {"passed": "✓", "partial": "◐", "failed": "✗", "infrastructure": "↻"}
PLAIN_ICONS: dict[Outcome, str] = {"passed": "+", "partial": "~", "failed": "x", "infrastructure": "?"}
WORDS: dict[Outcome, str] = {
    "passed": "passed",
    "partial": "partly",
    "failed": "failed",
    "infrastructure": "not graded yet",
}
REASONS: dict[str, str] = {
    "wrong": "not right yet",
    "missing": "missing",
    "crash": "error",
    "timeout": "out of time",
    "memory": "out of memory",
    "output": "too much output",
    "tampered": "answer not accepted",
}
STUMBLES: dict[str, str] = {  # the same of a class, a sentence each
    "wrong": "The answer runs, and is not right.",
    "missing": "Something that the check asks for is not there.",
    "crash": "Their code ended with an error.",
    "timeout": "Their code ran out of time.",
    "memory": "Their code ran out of memory.",
    "output": "Their code wrote too much output.",
    "tampered": "The answer was not accepted: look at it.",
}
NOT_YOUR_FAULT = "The machine failed here, not your code: not your fault, and it will be graded again."
TOO_BUSY = "The machine was too busy for this, twice: not your fault, and it costs no points; the staff see to it."


def not_your_fault(check: CheckResult) -> str:
    """What a student reads of a check that the machine failed to run."""
    return TOO_BUSY if check.starved else NOT_YOUR_FAULT


def clean(text: str, limit: int = 4000) -> str:
    """`text` with only what can be read left in it, and only `limit` characters of that."""
    if len(text) <= limit and text.isprintable():  # most are, and nothing else could be taken out of them
        return text
    text = ESCAPES.sub("", text[: 8 * limit])
    lines = BREAKS.sub("\n", text).split("\n")
    text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)  # what a progress bar was rewritten to
    text = "".join(c for c in text if c in "\n\t" or c in JOINERS or readable(c))
    if len(text) > limit:
        text = f"{text[:limit]} … ({len(text) - limit:,} more characters)"
    return text


def readable(character: str) -> bool:
    """False for control, format and private characters and lone surrogates."""
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co"}


def line(text: str, limit: int = 300) -> str:
    """`clean` text on one line, for names and titles."""
    return " ".join(clean(text, limit).split())


@lru_cache(1024)
def points(value: float | Fraction) -> str:
    """Points as people write them: 2, 0.5, 1.25; at most two decimals, half a hundredth up, however it was added up."""
    near = Decimal(f"{float(value):.9f}").quantize(Decimal("0.01"), ROUND_HALF_UP)
    return f"{near:.2f}".rstrip("0").rstrip(".")


def earned(check: CheckResult) -> Fraction:
    """Points the check earned."""
    return exact(check.points) * exact(check.fraction)


def why(check: CheckResult) -> str:
    """The reason of a failure, or the share of a part, in two or three words; empty for the rest."""
    if check.outcome == "failed" and check.reason:
        return REASONS[check.reason]
    return f"{round(100 * check.fraction)} %" if check.outcome == "partial" else ""


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.4 s, 12 s, 3 min 20 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def size(number: int) -> str:
    """Bytes as people say them: 12 MB, 1.2 GB."""
    return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{number / 2**20:.0f} MB"


def moment(iso: str) -> str:
    """ "2026-11-21T03:44:28Z" as "21 November 2026, 03:44 UTC"; anything else as it is."""
    try:
        when = datetime.fromisoformat(iso)
        when = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return line(iso, 60)
    return f"{when.day} {calendar.month_name[when.month]} {when.year}, {when:%H:%M} UTC"


def short(digest: str | None) -> str:
    """The first twelve digits of a hash."""
    return "none" if not digest else line(digest.removeprefix("sha256:"), 100)[:12]


def blamed(who: str, sentence: str) -> str:
    """Whose or what a sentence is about, and the sentence; once where it begins with that itself."""
    return sentence if sentence.startswith(f"`{who}`") else f"{line(who, 60)}: {sentence}"


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 check", "3 checks"."""
    return plural(str(number), noun)


def amount(value: float | Fraction, noun: str = "point") -> str:
    """Points and their noun: "1 point", "0.5 points"."""
    return plural(points(value), noun)


def plural(number: str, noun: str) -> str:
    """A number as it is written, and its noun."""
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"
