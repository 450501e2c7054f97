"""Where a notebook finds a data set that is too large to hand over: a folder, read-only while grading.

    from autograder import dataset
    images = load(dataset("mnist") / "train-images-idx3-ubyte")

The environment variable DATASETS names the folder that holds one folder for each data set; without it that is
`datasets` beside the notebook. In a sandbox it names what the course has mounted.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "DATASETS"
BESIDE = "datasets"


def at_home(folder: Path) -> dict[str, Path]:
    """Every data set that a notebook in `folder` would find, by name."""
    shelf = Path(os.environ.get(FOLDER) or folder / BESIDE)
    return {path.name: path.resolve() for path in sorted(shelf.iterdir()) if path.is_dir()} if shelf.is_dir() else {}


def dataset(name: str) -> Path:
    """The folder of a data set.

    Raises:
        FileNotFoundError: it is not there; the message says where to put it.
    """
    folder = Path(os.environ.get(FOLDER) or BESIDE)
    found = folder / name
    if os.sep in name or name in ("", ".", "..") or not found.is_dir():
        raise FileNotFoundError(
            f"the data set {name!r} is not in {folder.absolute()}: put its files into a folder of that name there, or"
            f" set the environment variable {FOLDER} to the folder that holds it"
        )
    return found
