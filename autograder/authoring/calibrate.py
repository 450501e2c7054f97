"""Calibration: are the lines of a trained part where honest trainings are?

Grades the solution, the right variants and the honest trainings of `solutions/hwN/calibration.yaml`, each trained anew
in every run, under other seeds and on other drawn data:

    honest:
      - name: few-steps
        why: Stops after a fifth of the steps.
        edits: [{cell: train-bars-run, find: steps=600, replace: steps=120}]
        loses: [train-bars]             cells that may lose points by it, and no other may
        fails: [test_drawn_from_bars]   checks without a line that may fail as well
      - name: pixel-means
        why: Predicts every pixel by its mean.
        baseline: true                  must earn nothing on any line of these cells
        ...

An honest training is accused where a check fails it for another reason than that its figure lies on the line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from pydantic import Field

from autograder.authoring.lines import LEAST, Line, Spread
from autograder.authoring.template import write_template
from autograder.authoring.variants import Edit, edited, load_variants, submission_of
from autograder.errors import UserError
from autograder.feedback.text import duration
from autograder.grading.executor import Trouble, run_jobs
from autograder.grading.local import Local
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.judge.grade import grade_repeatedly
from autograder.judge.job import Job
from autograder.judge.model_answers import read_solution
from autograder.report import CheckResult, Report, lost_cells
from autograder.sandbox import SandboxKind, permitted, sweep
from autograder.submission import Submission
from autograder.yamlfile import StrictModel, load_yaml, parse_yaml

AGAIN = 10_000  # rounds from here on draw the laws of earlier ones
Kind = Literal["solution", "right", "honest", "baseline"]
Figure = tuple[str, str]  # check, what it measures


class HonestConfig(StrictModel):
    """One entry of `calibration.yaml`."""

    name: str
    why: str  # one sentence: what a student does
    edits: list[Edit] = Field(default=[])
    cells: dict[str, str] = Field(default={})  # grade_id -> whole source
    loses: list[str] = Field(min_length=1)
    fails: list[str] = Field(default=[])
    baseline: bool = False


class CalibrationFile(StrictModel):
    """`calibration.yaml`."""

    honest: list[HonestConfig]


@dataclass(frozen=True)
class Training:
    """A submission that is trained."""

    name: str
    kind: Kind
    submission: Submission
    loses: frozenset[str] = frozenset()
    fails: frozenset[str] = frozenset()
    place: str = ""  # where it is written


@dataclass
class Calibration:
    """All reports so far, and what follows from them."""

    assignment: Assignment
    trainings: Sequence[Training]
    reports: dict[str, list[Report]] = field(default_factory=dict)  # training -> one a run
    repeats: dict[int, Report] = field(default_factory=dict)  # law -> the solution trained on it once more
    troubles: list[str] = field(default_factory=list)

    def figures(self) -> dict[Figure, Line]:
        """Every figure with its present line, in the order of the checks."""
        found: dict[Figure, Line] = {}
        for report in self.reports.get("solution", []):
            for check in report.checks:
                for measure in check.measures:
                    found[check.id, measure.what] = Line(measure.floor, measure.target)
        return found

    def spread(self, name: str, figure: Figure) -> Spread:
        """What one training reached."""
        return Spread(tuple(value for report in self.reports.get(name, []) for value in _values(report, figure)))

    def pairs(self, figure: Figure) -> list[tuple[float, float]]:
        """What the solution reached in two trainings on the same drawn laws."""
        found = []
        for report in self.reports.get("solution", []):
            other = self.repeats.get(report.environment.seed)
            values = [] if other is None else [*_values(report, figure), *_values(other, figure)]
            if len(values) == 2:
                found.append((values[0], values[1]))
        return found

    def baselines(self, figure: Figure) -> list[Spread]:
        """Of every baseline that was measured by the figure's check with points to lose there."""
        cell = next(check.cell for check in self.assignment.checks if figure[0].partition("[")[0] == check.name)
        concerned = [t for t in self.trainings if t.kind == "baseline" and cell in t.loses]
        spreads = [self.spread(training.name, figure) for training in concerned]
        return [spread for spread in spreads if spread.values]

    def accusations(self) -> Iterator[str]:
        """One sentence for each thing that an honest training is told or loses and should not."""
        for training in self.trainings:
            counts: dict[str, int] = {}
            reports = self.reports.get(training.name, [])
            for report in reports:
                for sentence in wronged(training, report):
                    counts[sentence] = counts.get(sentence, 0) + 1
            for sentence, count in counts.items():
                yield f"{training.name} {sentence} ({count} of {len(reports)} runs)"


def _values(report: Report, figure: Figure) -> list[float]:
    measures = [m for check in report.checks if check.id == figure[0] for m in check.measures if m.what == figure[1]]
    return [measure.value for measure in measures if measure.value is not None]


def wronged(training: Training, report: Report) -> Iterator[str]:
    """What happens to a training in one report that should not."""
    for cell in sorted(lost_cells(report) - training.loses):
        kept = "loses points of" if training.kind in ("honest", "baseline") else "does not earn all of"
        yield f"{kept} `{cell}`"
    for check in report.checks:
        allowed = check.id.partition("[")[0] in training.fails
        if training.kind == "baseline" and check.measures and check.cell in training.loses and check.fraction > 0:
            yield f"is a baseline and earns points in `{check.id}`"
        if check.outcome == "failed" and not allowed and not _on_the_line(check):
            yield f"fails `{check.id}`: {check.message.splitlines()[0] if check.message else check.reason}"


def _on_the_line(check: CheckResult) -> bool:
    """True if a check failed because a figure lies at its floor or beyond."""
    return any(
        measure.value is None or Line(measure.floor, measure.target).sign * (measure.value - measure.floor) >= 0
        for measure in check.measures
    )


def load_trainings(homework: HomeworkFiles) -> list[Training]:
    """The solution, the right variants, and the entries of `calibration.yaml`.

    Raises:
        UserError: the file is not there or not sound, or a name is used twice.
    """
    right = [variant for variant in load_variants(homework) if variant.kind in ("solution", "right")]
    found = [Training(v.name, "solution" if v.kind == "solution" else "right", v.submission) for v in right]
    answers = read_solution(homework.solution)
    _, lines = parse_yaml(homework.calibration)
    for number, config in enumerate(load_yaml(homework.calibration, CalibrationFile).honest):
        place = f"{homework.calibration}, line {lines['honest', number]}"
        if any(config.name == training.name for training in found):
            raise UserError(f"{place}: two trainings are called `{config.name}`.")
        submission = submission_of(config.name, edited(answers, config, place))
        kind: Kind = "baseline" if config.baseline else "honest"
        found.append(Training(config.name, kind, submission, frozenset(config.loses), frozenset(config.fails), place))
    return found


def run_calibration(
    homework: HomeworkFiles,
    *,
    seeds: int,
    jobs: int | None = None,
    sandbox: SandboxKind = "docker",
    as_root: bool = False,
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Train and grade everything, the solution `seeds` times, all else half as often.

    Every run has other seeds, and draws other laws where the homework draws any; then the solution is trained on half
    of its laws once more, which tells how much of the spread is theirs. In its first run a training is checked in every
    cell, further on in those that trained checks decide.

    Args:
        as_root: said a second time by root who names the process sandbox.
        only: names of trainings besides the solution; all if empty.
        say: told one line a run.

    Raises:
        UserError: the homework or its calibration.yaml is not sound, nothing is trained, there is no engine.
    """
    permitted(sandbox, as_root=as_root)
    if homework.folder.is_dir():
        write_template(homework)
    assignment = load_assignment(homework)
    trainings = load_trainings(homework)
    unknown = set(only) - {training.name for training in trainings}
    if unknown:
        raise UserError(f"there is no training called {', '.join(sorted(unknown))}.")
    trainings = [training for training in trainings if not only or training.name in {"solution", *only}]
    _known_names(assignment, trainings)
    if seeds < LEAST:
        raise UserError(f"a calibration takes at least {LEAST} seeds, got {seeds}; a spread is estimated from them.")
    cells = frozenset(check.cell for check in assignment.checks if check.trains is not None)
    if not cells:
        raise UserError(f"{homework.name} has no check that trains anything, so there is nothing to calibrate.")
    result = Calibration(assignment, trainings)
    queue = list(_queue(homework.resolved(), trainings, sandbox, seeds))
    if any(section.data is not None for section in assignment.config.training.values()):
        solution = queue[0]
        queue += [replace(solution, round=AGAIN + law, law=law) for law in range(max(LEAST, seeds // 2))]
    names = {training.submission.student: training.name for training in trainings}
    work = partial(_train_and_grade, trained=cells)
    begin = time.monotonic()
    try:
        with closing(run_jobs(queue, Local(jobs or len(os.sched_getaffinity(0))), work)) as runs:
            for number, (job, reports) in enumerate(runs, start=1):
                name = names[job.submission.student]
                left = (time.monotonic() - begin) / number * (len(queue) - number)
                place = f"{number:4} of {len(queue)}, about {duration(left)} left"
                if isinstance(reports, Trouble):
                    result.troubles.append(f"{name}: {reports.sentence}")
                    say(f"{place:36}{name:28}not graded")
                    continue
                if job.law is None:
                    result.reports.setdefault(name, []).extend(reports)
                else:
                    result.repeats[job.law] = reports[0]
                say(f"{place:36}{name:28}{_figures_of(reports[0])}")
    finally:
        sweep()
    for reports in result.reports.values():
        reports.sort(key=lambda report: report.environment.seed)
    return result


def _queue(homework: HomeworkFiles, trainings: Sequence[Training], sandbox: SandboxKind, seeds: int) -> Iterator[Job]:
    for training in trainings:
        for run in range(seeds if training.kind == "solution" else max(LEAST, seeds // 2)):
            yield Job(homework, training.submission, sandbox, round=run, control=False)


def _train_and_grade(job: Job, trained: frozenset[str]) -> list[Report]:
    """Runs in a judge process."""
    narrow: Mapping[int | str, frozenset[str]] = {job.round: trained} if job.round else {}
    return grade_repeatedly(job, [job.round], narrow)


def _figures_of(report: Report) -> str:
    measures = [measure for check in report.checks for measure in check.measures]
    return "  ".join("none" if measure.value is None else f"{measure.value:.3f}" for measure in measures)


def _known_names(assignment: Assignment, trainings: Sequence[Training]) -> None:
    checks = {check.name for check in assignment.checks}
    for training in trainings:
        for name in training.loses - set(assignment.automatic):
            raise UserError(f"{training.place}: `{training.name}` loses `{name}`, which checks do not grade.")
        for name in training.fails - checks:
            raise UserError(f"{training.place}: `{training.name}` fails `{name}`, which is no check.")
