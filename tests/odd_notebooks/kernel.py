"""A notebook in a real Jupyter kernel: the oracle of what a cell means."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from autograder.homework import ipynb
from tests.odd_notebooks.oracle import FINGERPRINT, FOLDER, ROOT, notebook_file


def in_kernel(name: str) -> dict[str, Any]:
    """What the notebook leaves when nbclient runs it, errors passed over as a person would."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(FOLDER / name, folder, dirs_exist_ok=True)
        notebook, _ = ipynb.parse(notebook_file(name).read_bytes())
        notebook.cells.append(nbformat.v4.new_code_cell(FINGERPRINT))
        client = NotebookClient(
            notebook, timeout=120, allow_errors=True, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        environment = {**os.environ, "HOME": folder, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        client.execute(env=environment)
        return _told(notebook.cells[-1])


def _told(cell: Any) -> dict[str, Any]:
    text = "".join(output.get("text", "") for output in cell.outputs)
    told: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return told


def folder_of(name: str) -> Path:
    """The notebook's own folder."""
    return FOLDER / name
