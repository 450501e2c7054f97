"""The places of a gradebook: cells of an assignment, and a grade and a comment for each in every submission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from autograder.errors import UserError
from autograder.homework import ipynb
from autograder.homework.assignment import Assignment


def notebook_of(assignment: Assignment) -> str:
    """The name of an assignment's only notebook."""
    return assignment.template_path.stem


def ensure_cells(api: Any, assignment: Assignment) -> None:
    """Make the gradebook's cells those of the assignment. Grades of cells that stay are kept.

    Raises:
        UserError: a cell that is gone has a human's score.
    """
    name = notebook_of(assignment)
    api.update_or_create_assignment(assignment.name)
    notebook = api.update_or_create_notebook(name, assignment.name)
    wanted = {kind: _wanted(assignment, kind) for kind in ("grade", "solution", "source")}
    _remove_cells(api, notebook, wanted)
    for kind, cells in wanted.items():
        known = {cell.name: cell for cell in _cells(notebook)[kind]}
        update = getattr(api, f"update_or_create_{kind}_cell")
        for cell, values in cells.items():
            if cell not in known or any(getattr(known[cell], key) != value for key, value in values.items()):
                update(cell, name, assignment.name, **values)
    _complete_all(api, notebook)


def _cells(notebook: Any) -> dict[str, Any]:
    return {"grade": notebook.grade_cells, "solution": notebook.solution_cells, "source": notebook.source_cells}


def _remove_cells(api: Any, notebook: Any, wanted: Mapping[str, Mapping[str, object]]) -> None:
    for kind, cells in _cells(notebook).items():
        for cell in cells:
            if cell.name in wanted[kind]:
                continue
            for grade in list(cell.grades or []) if kind == "grade" else []:
                if grade.manual_score is not None:
                    raise UserError(
                        f"The gradebook has a human's score for `{cell.name}` of {grade.student.id}, but the "
                        f"assignment has no such cell any more; put the cell back or remove the score."
                    )
                api.db.delete(grade)
            for comment in list(cell.comments or []) if kind == "solution" else []:
                api.db.delete(comment)
            api.db.delete(cell)
    api.db.flush()


def _wanted(assignment: Assignment, kind: str) -> dict[str, dict[str, object]]:
    """Cells of one kind as nbgrader's SaveCells would record them."""
    cells: dict[str, dict[str, object]] = {}
    for cell in assignment.template.cells:
        meta, name = ipynb.nbgrader_metadata(cell), ipynb.grade_id(cell)
        if name is None:
            continue
        if kind == "grade" and meta.get("grade"):
            cells[name] = {"max_score": float(meta["points"]), "cell_type": cell.cell_type}
        elif kind == "solution" and meta.get("solution"):
            cells[name] = {}
        elif kind == "source":
            locked = not meta.get("solution") and bool(meta.get("grade") or meta.get("locked"))
            checksum = meta.get("checksum")
            cells[name] = {
                "cell_type": cell.cell_type, "locked": locked, "source": cell.source, "checksum": checksum
            }  # fmt: skip
    return cells


def complete(api: Any, notebook: Any, submitted: Any) -> None:
    """Give a submission a place for every cell the assignment has by now."""
    from nbgrader.api import Comment, Grade

    graded = {grade.cell_id for grade in submitted.grades}
    commented = {comment.cell_id for comment in submitted.comments}
    for cell in notebook.grade_cells:
        if cell.id not in graded:
            api.db.add(Grade(cell_id=cell.id, notebook=submitted))
    for cell in notebook.solution_cells:
        if cell.id not in commented:
            api.db.add(Comment(cell_id=cell.id, notebook=submitted))
    api.db.flush()


def _complete_all(api: Any, notebook: Any) -> None:
    """The same for every submission, without looking at those that have all places."""
    from nbgrader.api import BaseCell, Comment, Grade, GradeCell, SolutionCell, SubmittedNotebook
    from sqlalchemy import and_, insert, select

    api.db.flush()
    for kind, place in ((GradeCell, Grade), (SolutionCell, Comment)):
        cells = [cell for (cell,) in api.db.execute(select(kind.id).where(BaseCell.notebook_id == notebook.id))]
        for cell in cells:
            here = and_(place.notebook_id == SubmittedNotebook.id, place.cell_id == cell)
            lacking = select(SubmittedNotebook.id).outerjoin(place, here)
            lacking = lacking.where(SubmittedNotebook.notebook_id == notebook.id, place.id.is_(None))
            rows = [{"id": uuid4().hex, "notebook_id": found, "cell_id": cell} for (found,) in api.db.execute(lacking)]
            if rows:
                api.db.execute(insert(place), rows)
