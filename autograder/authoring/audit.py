"""The audit: is an assignment fair and sharp? Grades submissions whose grade is known, over many seeds.

The solution and every differently written right variant must earn every automatic point, the blank template none, a
wrong variant must lose points in exactly the cells it breaks, a cheat must earn no more than its honest part is worth.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from autograder.authoring.calibrated import complaints
from autograder.authoring.earlier import Earlier
from autograder.authoring.lint import lint
from autograder.authoring.reached import Trainings
from autograder.authoring.template import write_template
from autograder.authoring.variants import Variant, load_variants
from autograder.errors import UserError
from autograder.grading.executor import Trouble, run_jobs
from autograder.grading.local import Local
from autograder.homework.assignment import Assignment, load_assignment
from autograder.homework.checkfile import local_imports
from autograder.homework.files import HomeworkFiles
from autograder.judge.control import note_audited
from autograder.judge.grade import check_files, grade_repeatedly
from autograder.judge.handing import unlike_the_example
from autograder.judge.job import Job
from autograder.judge.model_answers import read_solution
from autograder.judge.rubrics import missing_rubrics
from autograder.report import CheckResult, Report, lost_cells
from autograder.sandbox import SandboxKind, permitted, sweep

WHOLE = 3  # seeds under which a wrong variant is checked in every cell
SAID = 200  # characters of what a check said


@dataclass(frozen=True)
class Finding:
    """A grade that is not the one it must be."""

    variant: str
    sentence: str


@dataclass(frozen=True)
class CheckQuality:
    """How one check did over all variants and seeds."""

    check: str
    cell: str
    killed: int  # of the wrong variants that break its cell, those it failed
    could: int  # wrong variants that break its cell
    flaky: tuple[str, ...]  # variants on which its outcome changed with the seed
    slowest: float  # seconds


@dataclass
class Audit:
    """All that was graded so far, and what it says."""

    cells: Sequence[str]  # automatic cells, in order
    variants: Sequence[Variant]
    whole: bool = True  # all variants were graded, so a check that failed none can not fail
    reports: dict[str, list[Report]] = field(default_factory=dict)  # variant -> one report per seed
    troubles: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what else to know before a release

    def add(self, variant: Variant, result: list[Report] | Trouble) -> None:
        """Take in what grading a variant gave."""
        if isinstance(result, Trouble):
            self.troubles.append(Finding(variant.name, result.sentence))
        else:
            self.reports.setdefault(variant.name, []).extend(result)

    @property
    def findings(self) -> list[Finding]:
        """What must be mended before the assignment is released, each sentence once per variant."""
        found = list(self.troubles)
        for variant in self.variants:
            reports = self.reports.get(variant.name, [])
            seen: dict[str, list[str]] = {}
            for report in reports:
                for sentence, why in faults(variant, report):
                    seen.setdefault(sentence, []).append(why)
            found += [
                Finding(variant.name, f"{sentence} ({len(whys)} of {len(reports)} runs)" + whys[0])
                for sentence, whys in seen.items()
            ]
        solved = [report for report in self.reports.get("solution", []) if not report.infrastructure]
        unsolved = {check.id for report in solved for check in report.checks if check.fraction < 1}
        return found + [
            Finding("all", f"the check `{quality.check}` of `{quality.cell}` failed no wrong variant: it can not fail")
            for quality in self.checks
            if self.whole and not quality.killed and quality.check not in unsolved
        ]

    @property
    def checks(self) -> list[CheckQuality]:
        """Kill counts and flakes of every check, in the order of the cells."""
        kinds = {variant.name: variant for variant in self.variants}
        outcomes: dict[tuple[str, str], dict[str, list[CheckResult]]] = {}
        for name, reports in self.reports.items():
            for report in reports:
                for result in report.checks:
                    outcomes.setdefault((result.cell, result.id), {}).setdefault(name, []).append(result)
        qualities = []
        for (cell, check), per_variant in outcomes.items():
            failed = {name for name, results in per_variant.items() if any(r.fraction < 1 for r in results)}
            changing = {n for n, results in per_variant.items() if len({r.outcome for r in results}) > 1}
            broken = {name for name in per_variant if cell in kinds[name].loses}
            slowest = max(r.seconds for results in per_variant.values() for r in results)
            qualities.append(
                CheckQuality(check, cell, len(failed & broken), len(broken), tuple(sorted(changing)), slowest)
            )
        return sorted(qualities, key=lambda quality: self.cells.index(quality.cell))


def run_audit(
    homework: HomeworkFiles,
    *,
    seeds: int,
    jobs: int | None = None,
    sandbox: SandboxKind = "docker",
    as_root: bool = False,
    only: Sequence[str] | None = None,
    retrain: bool = False,
    thorough: bool = False,
    anew: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Audit:
    """Grade every variant of a homework, its checks once per seed.

    Args:
        as_root: said a second time by root who names the process sandbox.
        retrain: run the notebook anew for every seed, training included, instead of the checks alone.
        thorough: check every cell of every wrong variant under every seed. Otherwise trained cells are left out that
            its edits do not reach (`authoring.reached`), and beyond the first WHOLE seeds all but the cells it breaks:
            what the others do under further seeds is seen on the solution and the right variants.
        anew: grade also what an earlier audit has graded and nothing has changed for (`authoring.earlier`).
        say: told one line per graded variant.

    Raises:
        UserError: the assignment or its list of variants is broken, or there is no engine.
    """
    permitted(sandbox, as_root=as_root)
    if homework.folder.is_dir():
        write_template(homework)
    assignment = load_assignment(homework)
    variants = load_variants(homework)
    if only:
        unknown = set(only) - {variant.name for variant in variants}
        if unknown:
            raise UserError(f"there is no variant called {', '.join(sorted(unknown))}.")
        variants = [variant for variant in variants if variant.name in only]
    if sandbox != "docker":
        variants = [variant for variant in variants if not variant.harmful]
    for variant in variants:
        if strange := sorted(variant.loses - set(assignment.automatic)):
            raise UserError(
                f"{homework.variants}: `{variant.name}` is to lose `{strange[0]}`, which no check grades;"
                f" there are {', '.join(assignment.automatic)}."
            )
    audit = Audit(assignment.automatic, variants, whole=not only)
    audit.troubles += [
        Finding("checks", sentence)
        for path in _files_of_checks(assignment)
        for sentence in lint(path, public=path == assignment.public_checks)
    ]
    audit.troubles += [Finding("data", sentence) for sentence in unlike_the_example(assignment)]
    audit.troubles += [Finding("rubrics", sentence) for sentence in missing_rubrics(assignment)]
    audit.notes += complaints(assignment)
    by_student = {variant.submission.student: variant for variant in variants}
    asked = {} if thorough else _asked_of(assignment, variants)
    rounds = [[seed] for seed in range(seeds)] if retrain else [list(range(seeds))]
    done, worth = 0, sum(assignment.cells[name].points for name in assignment.automatic)
    earlier = None if retrain else Earlier.of(assignment, sandbox)

    def take(variant: Variant, result: list[Report] | Trouble, how: str = "") -> None:
        nonlocal done
        audit.add(variant, result)
        done += 1
        points = "not graded" if isinstance(result, Trouble) else _points(result[0], worth)
        say(f"{f'{done} of {len(rounds) * len(variants)}':12}{variant.name:36}{variant.kind:10}{points}{how}")

    try:
        for batch in rounds:
            narrow = {who: _narrowed(asked.get(who), batch) for who in by_student}
            left = []
            for who, variant in by_student.items():
                known = None if anew or earlier is None else earlier.reports(variant, batch, narrow[who])
                if known is None:
                    left.append(variant)
                else:
                    take(variant, known, ", as before")
            queue = [Job(homework.resolved(), v.submission, sandbox, round=batch[0], control=False) for v in left]
            workers = jobs or len(os.sched_getaffinity(0))
            work = partial(_grade_variant, seeds=batch, narrow=narrow)
            with closing(run_jobs(queue, Local(workers), work)) as results:
                for job, result in results:
                    who = job.submission.student
                    take(by_student[who], result)
                    if earlier is not None and not isinstance(result, Trouble):
                        earlier.keep(by_student[who], batch, narrow[who], result)
    finally:
        sweep()
    if audit.whole and not audit.findings:
        note_audited(assignment)
    return audit


def _points(report: Report, worth: float) -> str:
    """What a variant earns; a cell that is not checked loses nothing."""
    lost = sum(cell.max_points - (cell.earned or 0) for cell in report.cells if not cell.manual)
    return f"{worth - lost:g} of {worth:g} points"


def _files_of_checks(assignment: Assignment) -> Iterator[Path]:
    """The files of checks, and what they import from beside them."""
    for file in check_files(assignment):
        yield file.path
    hidden = assignment.files.solutions
    if hidden is not None:
        named = {found for path in assignment.hidden_checks for found in local_imports(path)}
        yield from sorted(path for path in named if hidden.resolve() in path.parents)
        data = assignment.files.hidden_data
        if data.is_file() and data.resolve() not in named:
            yield data


@dataclass(frozen=True)
class _Asked:
    """The cells of a wrong variant that are checked."""

    first: frozenset[str]  # under the first WHOLE seeds
    then: frozenset[str]


def _asked_of(assignment: Assignment, variants: Sequence[Variant]) -> dict[str, _Asked]:
    """By student, for every wrong variant."""
    trainings = Trainings.of(assignment, read_solution(assignment.files.solution))
    cells = frozenset(assignment.automatic)
    return {
        v.submission.student: _Asked((cells - trainings.left_alone_by(v.submission.notebook)) | v.loses, v.loses)
        for v in variants
        if v.kind == "wrong"
    }


def _narrowed(asked: _Asked | None, seeds: Sequence[int]) -> dict[int | str, frozenset[str]]:
    """The cells that are checked under each seed; nothing where all are."""
    return {} if asked is None else {seed: asked.first if seed < WHOLE else asked.then for seed in seeds}


def _grade_variant(
    job: Job, seeds: Sequence[int], narrow: Mapping[str, Mapping[int | str, frozenset[str]]]
) -> list[Report]:
    """Runs in a judge process."""
    return grade_repeatedly(job, seeds, narrow[job.submission.student])


def faults(variant: Variant, report: Report) -> list[tuple[str, str]]:
    """What is wrong with the grade a variant got, each with why in this run; nothing if it is the one it must get."""
    if report.infrastructure:
        check = next(check for check in report.checks if check.outcome == "infrastructure")
        trouble = (
            f"{check.message} (`{check.id}`: {check.detail.splitlines()[0]})"
            if check.stumbled and check.detail
            else check.message
        )
        return [(f"could not be graded: {trouble}", "")]
    sentences = []
    if variant.kind in ("blank", "cheat"):
        due = variant.earns
        if report.earned != due:
            sentences.append((f"earns {report.earned:g} points instead of {due:g}", _passed(report)))
        if variant.kind == "blank":
            stops = [run for run in report.runs if run.status == "error" and run.error]
            sentences += [(f"the cell that begins with `{run.begins}` fails", f": {run.error}") for run in stops]
    else:
        lost = lost_cells(report)
        sentences += [
            (f"loses `{cell}`, which it does not break", _failed(report, cell)) for cell in sorted(lost - variant.loses)
        ]
        sentences += [(f"keeps all of `{cell}`, which it breaks", "") for cell in sorted(variant.loses - lost)]
    if variant.seconds is not None and report.timings["charged"] > variant.seconds:
        sentences.append((f"took more than {variant.seconds:g} s", f": {report.timings['charged']:.1f} s"))
    return sentences


def _failed(report: Report, cell: str) -> str:
    """What a check of the cell said."""
    check = next(check for check in report.checks if check.cell == cell and check.fraction < 1)
    return f": `{check.id}`: {(check.full or check.message or check.outcome)[:SAID]}"


def _passed(report: Report) -> str:
    """The checks that gave points."""
    names = [f"`{check.id}`" for check in report.checks if check.fraction > 0 and check.points > 0]
    return f", for {', '.join(names[:5])}" if names else ""
