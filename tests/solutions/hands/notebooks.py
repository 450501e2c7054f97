"""Solution notebooks as a table of functions: what their code cells define, without pictures, loops and trainings."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path
from typing import Any

import matplotlib as mpl
from nbformat import NotebookNode

from autograder.homework import ipynb
from autograder.judge.model_answers import read_solution

ROOT = Path(__file__).parents[3]
DEFINITIONS = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Try | ast.Assign


def homeworks() -> list[str]:
    """The homeworks that have a solution notebook, by name."""
    return sorted(path.parent.name for path in ROOT.glob("solutions/*/hw*.py") if path.stem == path.parent.name)


def solution(homework: str) -> NotebookNode:
    """The solution notebook of a homework."""
    return read_solution(ROOT / "solutions" / homework / f"{homework}.py")


def namespace(notebook: NotebookNode, homework: str = "hw1") -> dict[str, Any]:
    """What a notebook defines, without its pictures, loops and trainings; its data are the example of the release."""
    with contextlib.chdir(ROOT / "assignments" / homework):
        return _defined(notebook)


def _defined(notebook: NotebookNode) -> dict[str, Any]:
    mpl.use("Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "train" not in ipynb.tags(cell):
            tree = ast.parse(cell.source)
            kept = [node for node in tree.body if isinstance(node, DEFINITIONS)]
            tree.body = [node for node in kept if "plt.subplots" not in ast.unparse(node)]
            exec(compile(tree, "cell", "exec"), names)
    return names


def answers(notebook: NotebookNode) -> list[str]:
    """The functions and classes that students are asked to write: those of the cells that hold solutions, in order."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution"):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in found:
                    found.append(node.name)
    return found
