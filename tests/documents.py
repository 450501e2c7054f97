"""The tables of the documents that are made from the project itself: `python -m tests.documents` writes them anew.

A test holds the documents to them, so a folder, a homework or a probe that comes or goes is not forgotten there.
"""

from __future__ import annotations

import ast
import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.worker.probes import PROBES
from tests.test_ladder import RUNGS

ROOT = Path(__file__).resolve().parent.parent


def first_sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line, without what follows its first full stop or colon."""
    paragraph = " ".join((docstring or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s", paragraph)[0].rstrip(".:")


def ladder() -> str:
    """The engine's rungs from the top, each with what its folder says of itself."""
    rows = ["| rung | what it is |", "|---|---|"]
    for rung in RUNGS:
        for name in rung:
            folder = ROOT / "autograder" / name
            file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            shown = f"{name}/" if folder.is_dir() else file.name
            rows.append(f"| `{shown}` | {first_sentence(ast.get_docstring(ast.parse(file.read_text())))} |")
    return "\n".join(rows)


def homeworks() -> str:
    """Every homework with its points."""
    rows = ["| homework | topic | points | graded by checks | by hand |", "|---|---|---|---|---|"]
    for config in sorted((ROOT / "assignments").glob("*/assignment.yaml")):
        files = HomeworkFiles(config.parent.name, ROOT / "assignments", ROOT / "solutions")
        assignment = load_assignment(files)
        parts = {cell.manual: 0.0 for cell in assignment.cells.values()}
        for cell in assignment.cells.values():
            parts[cell.manual] += cell.points
        row = (f"`{files.name}`", assignment.title, *(f"{n:g}" for n in (assignment.points, parts[False], parts[True])))
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


def probes() -> str:
    """Every probe with its formula, by family."""
    rows = ["| probe | family | what it computes |", "|---|---|---|"]
    for name, probe in PROBES.items():
        family = probe.__module__.rpartition(".")[2]
        rows.append(f"| `{name}` | {family.replace('_', ' ')} | {first_sentence(probe.__doc__).replace('|', '∣')} |")
    return "\n".join(rows)


TABLES: dict[str, dict[str, Callable[[], str]]] = {  # document -> table -> its maker
    "README.md": {"homeworks": homeworks},
    "docs/architecture.md": {"ladder": ladder},
    "docs/writing-checks.md": {"probes": probes},
}


def written(name: str) -> tuple[str, str]:
    """A document as it is, and as it is with its tables made anew."""
    before = text = (ROOT / name).read_text(encoding="utf-8")
    for table, make in TABLES[name].items():
        begin, end = f"<!-- {table} -->\n", f"<!-- /{table} -->"
        head, _, rest = text.partition(begin)
        _, found, tail = rest.partition(end)
        assert found, f"{name} has no place for the table `{table}`"
        text = f"{head}{begin}{make()}\n{end}{tail}"
    return before, text


CATALOGUE = ROOT / "reference_models" / "catalogue.csv"


def imported(path: Path) -> set[str]:
    """The modules that a file's imports name, and what they take from them, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def homework_column() -> tuple[str, str]:
    """The catalogue as it is, and with its column of homeworks made anew.

    A homework uses a family whose module its hidden checks import, or its table of pairs (`tests/solutions/hands`).
    """
    before = CATALOGUE.read_text(encoding="utf-8")
    uses: dict[str, set[str]] = {}
    for path in sorted([*ROOT.glob("solutions/hw*/*.py"), *ROOT.glob("tests/solutions/hands/hw*.py")]):
        name = path.stem if path.parent.name == "hands" else path.parent.name
        uses.setdefault(name.removeprefix("hw"), set()).update(imported(path))
    rows = list(csv.DictReader(io.StringIO(before)))
    made = io.StringIO()
    table = csv.DictWriter(made, list(rows[0]), lineterminator="\n")
    table.writeheader()
    for row in rows:
        used = [n for n, modules in sorted(uses.items()) if f"reference_models.{row['module']}" in modules]
        table.writerow({**row, "homework": " ".join(used)})
    return before, made.getvalue()


if __name__ == "__main__":
    CATALOGUE.write_text(homework_column()[1], encoding="utf-8")
    for document in TABLES:
        (ROOT / document).write_text(written(document)[1], encoding="utf-8")
