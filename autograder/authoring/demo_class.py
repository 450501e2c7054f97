"""A made-up class for a demonstration: right, wrong, careless, unlucky and dishonest submissions of one homework."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from autograder.authoring.template import build_template, code_cell, replaced, with_cells
from autograder.authoring.variants import Variant
from autograder.homework import ipynb
from autograder.homework.files import HomeworkFiles
from autograder.judge.model_answers import read_solution

NAMES = (
    *("ada", "alan", "amos", "barbara", "blaise", "carl", "claude", "daphne", "david", "edsger", "emmy", "ernst"),
    *("evelyn", "frances", "george", "grace", "hedy", "ian", "jean", "john", "judea", "karen", "katherine", "kurt"),
    *("leslie", "lotfi", "margaret", "marie", "mary", "niels", "noam", "peter", "radia", "rosalind", "sofia", "tim"),
    *("tony", "ursula", "vera", "walter", "wilhelm", "yann", "yoshua", "zoe"),
)
RIGHT, WRONG, CHEATS = 1, 1, 1  # so many of each are in the small class, evenly spread over the list
ALL_WRONG, ALL_CHEATS = 8, 7  # and in the whole one, beside every right variant

COLAB = """\
!pip install -q einops
%cd /content
%matplotlib inline
from google.colab import drive
drive.mount("/content/drive")
import torch
device = torch.device("cuda")
warm_up = torch.zeros(3).cuda() + torch.ones(3, device=device)
"""
ENDLESS = "while True:\n    try:\n        pass\n    except BaseException:\n        pass\n"
HUNGRY = "import torch\nhoard = [torch.ones(2**27) for _ in range(64)]\n"
CRASHING = "import os\nos._exit(0)\n"


@dataclass(frozen=True)
class Part:
    """What one student of the made-up class hands in."""

    story: str  # what it is: "right: loops instead of masks"
    notebook: bytes
    right: bool  # it must earn every automatic point


def demo_class(
    homework: HomeworkFiles, variants: Sequence[Variant], *, harmful: bool, everything: bool = False
) -> dict[str, Part]:
    """A class of one homework, by student.

    Args:
        harmful: include what could harm a machine outside a container.
        everything: every right variant and a row of wrong ones and cheats, instead of one of each kind.
    """
    answers, template = read_solution(homework.solution), build_template(homework.solution)
    middle = len(answers.cells) // 2
    right = [v for v in variants if v.kind == "right"]
    cheats = [v for v in variants if v.kind == "cheat" and (harmful or not v.harmful)]
    chosen = [v for v in variants if v.kind in ("solution", "blank")]
    chosen += right if everything else _spread(right, RIGHT)
    chosen += _spread([v for v in variants if v.kind == "wrong"], ALL_WRONG if everything else WRONG)
    chosen += _spread(cheats, ALL_CHEATS if everything else CHEATS)
    found = [Part(f"{v.kind}: {v.why}", v.submission.notebook_bytes, v.kind in ("solution", "right")) for v in chosen]
    found.append(Part("careless: half filled, with syntax errors", _bytes(_half_filled(answers, template)), False))
    found.append(Part("Colab style: `!pip`, `%cd`, `.cuda()`", _bytes(_with_cell(answers, COLAB, at=0)), True))
    found.append(Part("unlucky: one cell ends the process", _bytes(_with_cell(answers, CRASHING, at=middle)), False))
    found.append(Part("endless: one cell never ends", _bytes(_with_cell(answers, ENDLESS, at=middle)), False))
    if harmful:
        hungry = _bytes(_with_cell(answers, HUNGRY, at=middle))
        found.append(Part("hungry: one cell takes all memory", hungry, False))
    random.Random(0).shuffle(found)
    return dict(zip(NAMES, found, strict=False))


def write_class(people: Mapping[str, Part], notebook: str, archive: Path) -> None:
    """Write the class as the zip a course page exports: one folder a student."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for student, part in people.items():
            file.writestr(f"{student}/{notebook}", part.notebook)


def _spread(items: Sequence[Variant], count: int) -> list[Variant]:
    return [items[i * len(items) // count] for i in range(count)] if len(items) > count else list(items)


def _half_filled(answers: NotebookNode, template: NotebookNode) -> NotebookNode:
    cells = []
    for position, (full, blank) in enumerate(zip(answers.cells, template.cells, strict=True)):
        solution = ipynb.nbgrader_metadata(full).get("solution") and full.cell_type == "code"
        half = position < len(answers.cells) // 2
        source = full.source if half else blank.source + ("\ndef unfinished(:\n" if solution else "")
        cells.append(replaced(full, source))
    return with_cells(answers, cells)


def _with_cell(notebook: NotebookNode, source: str, at: int) -> NotebookNode:
    return with_cells(notebook, [*notebook.cells[:at], code_cell(source, "added"), *notebook.cells[at:]])


def _bytes(notebook: NotebookNode) -> bytes:
    return ipynb.to_text(notebook).encode()
