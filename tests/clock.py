"""The clock's proof: what a class gets on a busy machine is what it gets on a quiet one.

    python -m tests.clock                     # 20 submissions in containers, quiet, then beside 12 busy processes
    python -m tests.clock --sandbox process
    python -m tests.clock --busy 0 6 12       # three runs

For each budget (of a cell, a check, a training, the whole submission) there is an answer that needs 70 % of it, one
that needs 130 %, one that sleeps, one of four processes that spin, and one whose checks end the sandbox again and
again. What they need is CPU time, the same on every machine. The table of reason codes is written down below; both runs
must give it, and nothing may be left that the machine was too busy for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from autograder.errors import Infrastructure, StudentFault
from autograder.grading.executor import Trouble, run_jobs
from autograder.grading.local import Local
from autograder.homework.settings import Budgets
from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.judge.session import Session
from autograder.report import Report
from autograder.sandbox import SandboxKind
from autograder.student import Student
from autograder.submission import Submission
from tests.autograder.course_factory import NAME, answered, make_repository, to_bytes
from tests.autograder.providers import ForkProvider, cells
from tests.load import busy

PLACES = ("cell", "check", "train", "submission")
KINDS = ("fits", "exceeds", "sleeps", "spins", "restarts")
Table = dict[tuple[str, str], dict[str, str]]

CODES = {"fits": "passed", "exceeds": "timeout", "sleeps": "timeout", "spins": "timeout", "restarts": "crash"}
NEED = {"fits": 0.7, "exceeds": 1.3, "restarts": 0.7}  # of the budget
WORK = """\
import os, time

def work(seconds):
    begin = time.process_time()
    while time.process_time() - begin < seconds: pass

def spin():
    for _ in range(4):
        if os.fork() == 0:
            while True: pass
    os.wait()

"""
LAST_LINE = {False: "    return 2 * x\n", True: "    os._exit(3)\n"}
TRAINED = '''

@pytest.mark.graded("line", points=0.3, trains="line")
def test_trained_slope_is_three(student):
    """The trained line has slope 3."""
    assert abs(float(student.trained("line").line(torch.ones(()))) - 3) < 0.1


@pytest.mark.graded("double", points=0.5)
def test_double_once_more(student):
    """Doubling 1 gives 2, still."""
    assert float(student.double(torch.ones(()))) == 2


@pytest.mark.graded("line", points=0.3, trains="line")
def test_trained_slope_is_three_still(student):
    """The trained line has slope 3, still."""
    assert abs(float(student.trained("line").line(torch.ones(()))) - 3) < 0.1
'''


def expected(place: str, kind: str) -> dict[str, str]:
    """What the checks of `double`, of `line` and of its training must end in."""
    code, right = CODES[kind], dict.fromkeys(("double", "line", "trained"), "passed")
    if kind == "restarts":
        return right | {"double": code}
    if place == "submission":
        return dict.fromkeys(right, code)
    return right | {"trained" if place == "train" else "double": code}


def effort(place: str, kind: str, seconds: float) -> str:
    """The statement that uses the budget, or a half of it for the two cells that share the submission's."""
    if kind in NEED:
        return f"work({NEED[kind] * seconds / (2 if place == 'submission' else 1)})"
    return {"sleeps": "time.sleep(3600)", "spins": "spin()"}[kind]


def answers(place: str, kind: str, seconds: float) -> dict[str, str]:
    """Sources of the answers to `double`, `line` and its training; `seconds` is the budget in question."""
    act = effort(place, kind, seconds)
    at = {name: f"{act}\n" if place in places else "" for name, places in WHERE.items()}
    inside = f"    {act}\n" if place == "check" else ""
    return {
        "double": f"{WORK}{at['double']}def double(x):\n{inside}{LAST_LINE[kind == 'restarts']}",
        "line": at["line"],
        "training": at["training"],
    }


WHERE = {"double": ("cell", "submission"), "line": ("submission",), "training": ("train",)}


# --- the small table: sessions with forked workers


def small_table(seconds: float = 0.6) -> Table:
    """The table without an engine, in less than a minute."""
    return {(place, kind): _small(place, kind, seconds) for place in PLACES for kind in KINDS}


def _small(place: str, kind: str, seconds: float) -> dict[str, str]:
    source = answers(place, kind, seconds)
    notebook = cells(
        source["double"],
        f"{source['line']}def line(): return 0",
        (f"{source['training']}model = 7", "train", "train:t"),
    )
    provider = ForkProvider()
    session = Session(provider, notebook, {}, Budgets(**budgets(place, seconds)), seed=0)
    trained = {"t": {"name": "model"}}
    asks: dict[str, Callable[[], object]] = {
        "double": lambda: Student(session, "a").double(1),
        "line": lambda: Student(session, "b").line(),
        "trained": lambda: Student(session, "c", training=trained).trained("t").model,
    }
    try:
        found = [
            {name: _code(session, ask) for name, ask in asks.items()} for _ in range(2 if kind == "restarts" else 1)
        ]
    finally:
        session.close()
        provider.close()
    return {name: _one({each[name] for each in found}) for name in asks}


def _code(session: Session, ask: Callable[[], object]) -> str:
    try:
        with session.check():
            ask()
    except StudentFault as fault:
        return fault.reason
    except Infrastructure as trouble:
        return f"infrastructure: {trouble}"
    return "passed"


def _one(codes: set[str]) -> str:
    return " and ".join(sorted(codes))


# --- the whole table: a class, graded as every class is


def whole_table(sandbox: SandboxKind, seconds: float, say: Callable[[str], None]) -> Table:
    """The table of a class of 20, two at a time, what the machine was too busy for once more alone."""
    with tempfile.TemporaryDirectory(prefix="clock-") as folder:
        jobs = [_job(Path(folder), place, kind, seconds, sandbox) for place in PLACES for kind in KINDS]
        found: Table = {}
        with closing(run_jobs(jobs, Local(2), grade)) as results:
            for job, result in results:
                place, kind = job.submission.student.split("-")
                found[place, kind] = _codes(result)
                say(f"{place:12}{kind:10}{_line(found[place, kind])}{'' if not job.last else '   (once more, alone)'}")
        return found


def budgets(place: str, seconds: float) -> dict[str, float]:
    """The budget in question is small, and twice as large for two cells together; the others are not reached."""
    chosen = dict.fromkeys(("cell_seconds", "check_seconds", "train_seconds", "submission_seconds"), 60.0)
    return chosen | {f"{place}_seconds": seconds, "submission_seconds": seconds if place == "submission" else 240.0}


def _job(folder: Path, place: str, kind: str, seconds: float, sandbox: SandboxKind) -> Job:
    repository = make_repository(folder / f"{place}-{kind}")
    settings = repository.assignments / NAME / "assignment.yaml"
    head, _, tail = settings.read_text().partition("budgets:\n")
    lines = "".join(f"  {name}: {value}\n" for name, value in budgets(place, seconds).items())
    settings.write_text(f"{head}budgets:\n{lines}  memory_mb{tail.partition('  memory_mb')[2]}")
    hidden = repository.solutions / NAME / "checks.py"
    text = hidden.read_text().replace("points=1.5", "points=1.0")
    hidden.write_text(text[: text.rindex("\n\n@pytest.mark.graded")].rstrip() + "\n" + TRAINED)
    source = answers(place, kind, seconds)
    notebook = answered(repository.load().template)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name == "double-answer":
            cell.source = source["double"]
        elif name == "line-answer":
            cell.source = source["line"] + cell.source
        elif "train" in cell.metadata.get("tags", ()):
            cell.source = source["training"] + cell.source
    return Job(repository.files, Submission.of(f"{place}-{kind}", to_bytes(notebook)), sandbox)


def _codes(result: Report | Trouble) -> dict[str, str]:
    if isinstance(result, Trouble):
        return {"trouble": result.sentence}
    found: dict[str, set[str]] = {}
    for check in result.checks:
        name = "trained" if "trained" in check.id else check.cell
        found.setdefault(name, set()).add(check.reason or check.outcome)
    return {name: _one(codes) for name, codes in sorted(found.items())}


def _line(codes: dict[str, str]) -> str:
    return "  ".join(f"{name} {code}" for name, code in codes.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clock", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--sandbox", choices=("docker", "process"), default="docker")
    parser.add_argument(
        "--busy", type=int, nargs="+", default=[0, 12], help="processes that run beside, a run for each"
    )
    parser.add_argument("--seconds", type=float, default=0.8, help="the budget in question")
    options = parser.parse_args()
    wanted: Table = {(place, kind): expected(place, kind) for place in PLACES for kind in KINDS}
    wrong = 0
    for count in options.busy:
        print(f"beside {count} busy processes", flush=True)
        with busy(count):
            found = whole_table(options.sandbox, options.seconds, lambda line: print(f"  {line}", flush=True))
        for key, codes in wanted.items():
            if found.get(key) != codes:
                wrong += 1
                print(f"  WRONG: {' '.join(key)}: {_line(found.get(key, {}))}, must be {_line(codes)}")
    print("the tables are equal, and right" if not wrong else f"{wrong} lines are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
