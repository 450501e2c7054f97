"""Reports in a terminal: one submission, or the table of a class.

Everything is said in words, so it reads the same without colour, in a log file or through a pipe. Text from a student
is cleaned of control characters first: a terminal obeys what it prints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from types import MappingProxyType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autograder.feedback import Brief, text
from autograder.feedback.classpage import REASON_WORDS
from autograder.feedback.page import RUN_WORDS, Audience, CheckView, Task, summary, tasks_of
from autograder.feedback.remarks import NOTHING, Remarks, amended, theory
from autograder.homework.assignment import Assignment
from autograder.judge.rubrics import Rubric
from autograder.records.state import State
from autograder.report import Report, exact

STYLES = {"passed": "green", "partial": "yellow", "failed": "red", "infrastructure": "blue"}
RUN_LIMIT = 12  # cells with trouble that are listed


def show_report(
    report: Report,
    assignment_title: str,
    *,
    audience: Audience = "student",
    console: Console | None = None,
    rubrics: Mapping[str, Rubric] = MappingProxyType({}),
    remarks: Remarks = NOTHING,
) -> None:
    """Print one report: points, every check with its message, cells that did not run; below theory its rubric.

    Args:
        remarks: what people and the course's rules add to it.
    """
    console = console or Console()
    say = _Speaker(console)
    report = amended(report, remarks)
    console.print(say(f"{text.line(assignment_title)} · {text.line(report.student)}", "bold"))
    console.print(say(_points_line(report)))
    console.print(say(summary(report)))
    if report.infrastructure:
        console.print(say("Some checks could not run because the machine failed; no points are lost.", "blue"))
    for note in report.notes:
        console.print(say(f"Note: {text.line(note)}", "dim"))
    for line in remarks.lines(staff=audience == "ta"):
        console.print(say(text.line(line)))
    names = [cell.cell for cell in report.cells]
    for task, name in zip_longest(tasks_of(report), names, fillvalue=""):  # checks of no known cell come last
        assert isinstance(task, Task)
        console.print()
        console.print(_task(task, say, audience))
        given = remarks.by_hand.get(name)
        if given is not None and (given.comment or given.again):
            again = ["The answer has changed since; look at it again."] if given.again else []
            console.print(Padding(say("\n".join([*again, *given.comment.splitlines()]), "italic"), (0, 0, 0, 2)))
        if name in rubrics:
            console.print(_rubric(rubrics[name], say))
    _show_runs(report, say, console)


def moved(old: Mapping[str, float | None], new: Mapping[str, float | None]) -> str:
    """Cells whose marks are others now, as in "double 2 → 0, line – → 1"."""

    def mark(points: float | None) -> str:
        return "–" if points is None else text.points(points)

    others = [cell for cell in dict.fromkeys([*old, *new]) if old.get(cell) != new.get(cell)]
    return ", ".join(f"{cell} {mark(old.get(cell))} → {mark(new.get(cell))}" for cell in others)


def show_state(state: State, assignment_title: str, *, staff: bool = True, console: Console | None = None) -> None:
    """Print what the record knows of one student: where they stand, what came, when and from which file.

    Args:
        staff: tell marks that are not published as well.
    """
    console = console or Console()
    say = _Speaker(console)
    console.print(say(f"{text.line(state.who)} · {text.line(assignment_title)}: {text.line(state.sentence)}", "bold"))
    collected, when = (text.moment(known) if known else "" for known in (state.came, state.submitted))
    if when and state.clock:
        when = f"{when} ({state.clock})"
    facts = {"handed in as": state.source, "known": state.matched, "collected": collected, "handed in": when}
    if staff and state.proposed is not None:
        facts["graded again, not published"] = moved(state.marks, state.proposed)
    for what, value in facts.items():
        if value:
            console.print(say(f"{what}: {text.line(value)}", "dim"))


def show_class(
    briefs: Iterable[Brief], rejected: Mapping[str, str], title: str, *, console: Console | None = None
) -> None:
    """Print a class as a table, ordered by name, and the submissions that could not be graded with the reason."""
    console = console or Console()
    say = _Speaker(console)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("student", overflow="fold")
    for heading in ("points", "passed", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what failed", overflow="fold")
    rows, final = [], []
    for one in briefs:
        row = (
            say(text.line(one.student, 60)),
            say(f"{text.points(one.earned)} / {text.points(one.most)}"),
            say(f"{one.said.count('passed')} / {len(one.said)}"),
            say(text.duration(one.stages.get("total", 0.0))),
            say(_failures(one), "blue" if one.infrastructure else ""),
        )
        rows.append(((one.student.casefold(), one.student), row))
        final += [] if one.infrastructure else [one.earned]
    for _, row in sorted(rows, key=lambda item: item[0]):
        table.add_row(*row)
    console.print(say(text.line(title), "bold"))
    console.print(table)
    for name, sentence in sorted(rejected.items()):
        console.print(say(f"Not graded: {text.line(text.blamed(name, sentence))}", "yellow"))
    if final:
        mean = text.amount(sum(final) / len(final))
        console.print(say(f"{text.count(len(rows), 'submission')}, mean {mean}", "dim"))


def show_rubrics(assignment: Assignment, rubrics: Mapping[str, Rubric], *, console: Console | None = None) -> None:
    """Print how what is graded by hand is graded."""
    console = console or Console()
    say = _Speaker(console)
    console.print(say(text.line(assignment.title), "bold"))
    for name, rubric in rubrics.items():
        cell = assignment.cells[name]
        console.print()
        console.print(say(f"{text.line(cell.title)} ({name}, {text.amount(cell.points)})", "bold"))
        console.print(_rubric(rubric, say))
    if not rubrics:
        console.print(say("Nothing of it is graded by hand."))


class _Speaker:
    """Makes rich text that holds no markup, no control characters and nothing the terminal's encoding lacks."""

    def __init__(self, console: Console) -> None:
        self.encoding = console.encoding
        self.icons = text.ICONS
        try:
            "".join(self.icons.values()).encode(self.encoding)
        except UnicodeEncodeError:
            self.icons = text.PLAIN_ICONS

    def __call__(self, words: str, style: str = "") -> Text:
        readable = text.clean(words).expandtabs(4)
        return Text(readable.encode(self.encoding, "replace").decode(self.encoding), style=style)


def _points_line(report: Report) -> str:
    waiting = sum((exact(c.max_points) for c in report.cells if c.manual and c.earned is None), exact(0))
    line = f"{text.points(report.earned)} of {text.amount(report.automatic_points, 'automatic point')}"
    given, most = theory(report)
    line += f", {text.points(given)} of {text.points(most)} by hand" if most else ""
    waits = "waits" if waiting == 1 else "wait"
    return f"{line}; {text.amount(waiting)} of theory {waits} for a human" if waiting else line


def _task(task: Task, say: _Speaker, audience: Audience) -> RenderableType:
    waits = task.manual and task.earned is None
    points = "waiting" if waits else text.points(task.earned or 0)
    heading = Table.grid(expand=True)
    heading.add_column(ratio=1)
    heading.add_column(justify="right", no_wrap=True)
    heading.add_row(say(text.line(task.title), "bold"), say(f"{points} / {text.points(task.max_points)}", "bold"))
    rows = Table.grid(padding=(0, 2, 0, 0), expand=True)
    rows.add_column(no_wrap=True, width=14)
    rows.add_column(ratio=1, overflow="fold")
    rows.add_column(justify="right", no_wrap=True)
    for view in task.checks:
        style = STYLES[view.check.outcome]
        mark = f"{say.icons[view.check.outcome]} {view.word.removesuffix(' yet')}"
        worth = f"{text.points(view.earned)} / {text.points(view.check.points)}"
        rows.add_row(say(mark, style), _said(view, say, audience), say(worth))
    return Group(heading, Padding(rows, (0, 0, 0, 2)))


def _rubric(rubric: Rubric, say: _Speaker) -> RenderableType:
    rows = Table.grid(padding=(0, 2, 0, 0), expand=True)
    rows.add_column(justify="right", no_wrap=True, width=5)
    rows.add_column(ratio=1, overflow="fold")
    for part in rubric.parts:
        rows.add_row(say(text.points(part.points)), say(part.says))
    if not rubric.parts:
        rows.add_row(say(""), say("No rubric is given."))
    for words in (rubric.notes, f"Model answer:\n{rubric.answer}" * bool(rubric.answer)):
        if words:
            rows.add_row(say(""), say(words))
    return Padding(rows, (0, 0, 0, 2))


def _said(view: CheckView, say: _Speaker, audience: Audience) -> RenderableType:
    check = view.check
    lines = [say(text.line(check.title))]
    if check.outcome == "infrastructure":
        lines.append(say(text.not_your_fault(check), "blue"))
    if check.message:
        why = f"{view.why}: " if view.why else ""
        lines.append(say(why + check.message, STYLES[check.outcome]))
    elif view.why:
        lines.append(say(view.why, STYLES[check.outcome]))
    if check.where:
        lines.append(say(check.where, "dim"))
    if check.hint:
        lines.append(say(f"Hint: {check.hint}", "italic"))
    if audience == "ta" and check.full:
        lines.append(say(check.full, "dim"))
    if audience == "ta" and check.detail:
        lines.append(say(f"[{text.line(check.id, 100)}]\n{check.detail}", "dim"))
    return Group(*lines)


def _show_runs(report: Report, say: _Speaker, console: Console) -> None:
    trouble = [run for run in report.runs if run.status not in ("ok", "skipped") or run.notes]
    if not trouble:
        return
    console.print()
    console.print(say("How the notebook ran", "bold"))
    for run in trouble[:RUN_LIMIT]:
        said = [] if run.status in ("ok", "skipped") else [RUN_WORDS[run.status]]
        said += [run.error] if run.error else []
        begins = f" `{run.begins}`" if run.begins else ""
        told = f"  cell {run.index}{begins}: " + "; ".join([*said, *run.notes])
        console.print(say(told, "red" if run.error else ""))
    if len(trouble) > RUN_LIMIT:
        console.print(say(f"  and {len(trouble) - RUN_LIMIT} more cells"))


def _failures(one: Brief) -> str:
    if one.infrastructure:
        return "the machine was too busy" if one.final else "machine trouble, to be graded again"
    lost = Counter(said for said in one.said if said != "passed")
    return ", ".join(f"{number} {REASON_WORDS[said]}" for said, number in lost.items())
