"""Homework 1 graded with and without a GPU, in the process sandbox: `python -m benchmarks.gpu_homework`.

The solution notebook, with its networks and training data moved to the GPU where there is one, is graded twice by the
command that TAs use: with `--gpus 0` and without. Prints points, seconds, the device that the notebook saw and how it
computed; exits with 1 where the points differ or the notebook did not see the GPU. For a machine of one's own: nothing
is walled in.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from autograder.authoring.template import code_cell, with_cells
from autograder.homework import ipynb
from autograder.homework.files import HomeworkFiles
from autograder.judge.model_answers import read_solution
from autograder.report import Report

ROOT = Path(__file__).parents[1]
NAME = "hw1"
WHERE = """\
import torch
device = "cuda" if torch.cuda.is_available() else "cpu"
print("this notebook computes on", device)
"""


def moved_to_the_gpu() -> bytes:
    """The solution as a student with a GPU writes it: every network that is trained, and its data, on the device."""
    notebook = read_solution(HomeworkFiles(NAME, ROOT / "assignments", ROOT / "solutions").solution)
    moved = 0
    for cell in notebook.cells:
        if cell.cell_type == "code" and "train" in ipynb.tags(cell):
            for pattern in (r"(= make_\w+\(\))", r"(?<=, )(\w+_train)(?=,)"):
                cell.source, found = re.subn(pattern, r"\1.to(device)", cell.source)
                moved += found
    if moved < 2:
        raise SystemExit(f"{NAME}'s training cells are written otherwise than this benchmark expects")
    return ipynb.to_text(with_cells(notebook, [code_cell(WHERE, "where"), *notebook.cells])).encode()


def run(*words: object, cwd: Path = ROOT) -> str:
    command = [sys.executable, "-m", "autograder", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(map(str, words))}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def graded(course: Path, *options: str) -> tuple[float, float, str]:
    """Points, seconds, and what the notebook said of its device."""
    begin = time.perf_counter()
    run("grade", NAME, "--course", course, "--sandbox", "process", "--no-walls-as-root", "--force", *options)
    seconds = time.perf_counter() - begin
    report = Report.load(next((course / "reports").rglob("ada.json")))
    said = re.search(r"this notebook computes on (\w+)", report.model_dump_json())
    settled = report.environment.settled
    print("\n".join(f"{name}: {value}" for name, value in settled.items()), end="\n" if settled else "")
    lost = [f"{check.id}: {check.message}" for check in report.checks if check.fraction < 1]
    print("\n".join(lost), end="\n" if lost else "")
    return report.earned, seconds, said[1] if said else "nothing"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder) / "course"
        run("init", course)
        handed_in = course / "submitted" / "ada" / NAME
        handed_in.mkdir(parents=True)
        (handed_in / f"{NAME}.ipynb").write_bytes(moved_to_the_gpu())
        rows = {"CPU": graded(course)}
        if torch.cuda.is_available():
            rows["GPU"] = graded(course, "--gpus", "0")
    for name, (points, seconds, said) in rows.items():
        print(f"{name}: {points:g} points in {seconds:.1f} s, the notebook computed on {said}")
    if "GPU" not in rows:
        print("no GPU here")
        return 0
    return int(rows["CPU"][0] != rows["GPU"][0] or rows["GPU"][2] != "cuda" or rows["CPU"][2] != "cpu")


if __name__ == "__main__":
    raise SystemExit(main())
