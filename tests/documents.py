"""The tables of the README that are made from the project itself: `python -m tests.documents` writes them anew.

A test holds the README to them, so a folder, a homework or a probe that comes or goes is not forgotten there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.worker.probes import PROBES
from tests.test_ladder import RUNGS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


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


TABLES: dict[str, Callable[[], str]] = {"ladder": ladder, "homeworks": homeworks, "probes": probes}


def written(text: str) -> str:
    """The document with its tables as they are now."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"the README has no place for the table `{name}`"
        text = f"{before}{begin}{table()}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
