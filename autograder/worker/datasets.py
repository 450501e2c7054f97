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


def dataset(name: str) -> Path:
    """The folder of a data set.

    Raises:
        FileNotFoundError: it is not there; the message says where to put it.
    """
    folder = Path(os.environ.get(FOLDER) or "datasets")
    found = folder / name
    if os.sep in name or name in ("", ".", "..") or not found.is_dir():
        raise FileNotFoundError(
            f"the data set {name!r} is not in {folder.absolute()}: put its files into a folder of that name there, or"
            f" set the environment variable {FOLDER} to the folder that holds it"
        )
    return found
