"""The attack suite: submissions that try to cheat, each with the grade it must get.

A file in `cheats/` is the source of one answer cell of the small homework (see `course_factory`); its constants say
what must come of it. `read` takes them out, `assert_foiled` holds a report against them.
"""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.report import Report
from autograder.submission import Submission
from tests.autograder.course_factory import ANSWERS, Repository, answered, make_repository, to_bytes

CHEATS = Path(__file__).with_name("cheats")
CONSTANTS = {"ROW", "REASON", "EARNS", "SECONDS", "HARMFUL", "FILES", "CELLS", "CELL_SECONDS"}
MARKER = Path("/tmp/autograder-attack-marker")  # where payloads would leave their trace on this machine
CANARY = "CANARY7f3a-" + "5eed" * 4
SUBMISSION_SECONDS = 40
SLACK = 2.0  # seconds a capped submission may take beyond its cap
SPOKEN = re.compile(r"^(LEAK|OPEN|FOUND|FILLED|PLANTED).*", re.MULTILINE)


@dataclass(frozen=True)
class Cheat:
    """One attack.

    Args:
        row: of the table of attacks.
        reasons: reason codes the checks of `double` may end with; None stands for passed.
        earns: points, None if more than one sum is honest.
        seconds: of its own that grading it may take; the machine may take its time.
        files: handed in beside the notebook.
        cells: sources of other cells.
        cell_seconds: what a cell may take.
    """

    name: str
    what: str
    source: str
    row: int
    reasons: frozenset[str | None]
    earns: float | None = 1.0  # the honest part: `line`
    seconds: float = SUBMISSION_SECONDS + SLACK
    harmful: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    cells: dict[str, str] = field(default_factory=dict)
    cell_seconds: float = 4.0

    def submission(self, repository: Repository) -> Submission:
        """The small homework handed in with this cheat in the cell `double-answer`."""
        answers = {**ANSWERS, "double-answer": self.source, **self.cells}
        return Submission.of(self.name, to_bytes(answered(repository.load().template, answers)), self.files)


def read(path: Path) -> Cheat:
    """The cheat in a file, its constants taken from the source without running it."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, str(path))
    facts: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in CONSTANTS:
            facts[node.targets[0].id] = ast.literal_eval(node.value)
    reason = facts["REASON"]
    files = {name: text if isinstance(text, bytes) else text.encode() for name, text in facts.get("FILES", {}).items()}
    return Cheat(
        name=path.stem,
        what=(ast.get_docstring(tree) or "").splitlines()[0],
        source=source,
        row=facts["ROW"],
        reasons=frozenset(reason if isinstance(reason, set) else {reason}),
        earns=facts.get("EARNS", 1.0),
        seconds=facts.get("SECONDS", SUBMISSION_SECONDS + SLACK),
        harmful=facts.get("HARMFUL", False),
        files=files,
        cells=facts.get("CELLS", {}),
        cell_seconds=facts.get("CELL_SECONDS", 4.0),
    )


def cheats() -> list[Cheat]:
    """All of them, by name."""
    return [read(path) for path in sorted(CHEATS.glob("*.py"))]


def hidden_course(root: Path, cell_seconds: float) -> Repository:
    """The small homework with tight budgets, and secrets wherever a judge keeps some."""
    repository = make_repository(root)
    config = repository.assignments / "hw0" / "assignment.yaml"
    text = config.read_text().replace("cell_seconds: 10", f"cell_seconds: {cell_seconds}")
    text = text.replace("check_seconds: 10", "check_seconds: 2").replace("memory_mb: 1024", "memory_mb: 768")
    config.write_text(text.replace("submission_seconds: 60", f"submission_seconds: {SUBMISSION_SECONDS}"))
    hidden = repository.solutions / "hw0" / "checks.py"  # every check costs a dying submission a sandbox
    hidden.write_text(hidden.read_text().replace("[(), (2, 3), (64,)]", "[(), (2, 3)]"))
    for secret in ("solutions/hw0/checks.py", "solutions/hw0/hw0.py", "gradebook.db", "submitted/ada/hw0/hw0.ipynb"):
        path = root / secret
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"\n# {CANARY}\n")
    return repository


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below `root`, to see that none changed."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def assert_foiled(cheat: Cheat, report: Report) -> None:
    """The report has the points, the reasons and the silence the cheat must get."""
    assert not report.infrastructure, [c.message for c in report.checks if c.outcome == "infrastructure"]
    double = [check for check in report.checks if check.cell == "double"]
    assert len(double) == 3
    told = [(check.id, check.reason, check.message) for check in double]
    assert {check.reason for check in double} <= cheat.reasons, told
    assert (None in cheat.reasons) == any(check.outcome == "passed" for check in double), told
    if cheat.earns is None:
        assert sum(cell.earned or 0 for cell in report.cells if cell.cell == "double") == 0
        assert report.earned <= 1
    else:
        assert report.earned == cheat.earns, [(c.id, c.outcome, c.message) for c in report.checks]
    assert report.timings["charged"] <= cheat.seconds
    said = "\n".join(run.stdout for run in report.runs) + "\n" + "\n".join(c.message for c in report.checks)
    assert SPOKEN.findall(said) == []
    assert CANARY not in report.model_dump_json()
    assert not MARKER.exists()


def containers() -> list[str]:
    """Names of all containers of the sandbox on this machine, running or not."""
    command = ["docker", "ps", "--all", "--quiet", "--filter", "label=autograder.session"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
