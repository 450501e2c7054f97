"""Each odd notebook leaves in the worker what a real kernel recorded, or the difference is listed with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import autograder.judge.grade as grading
from autograder.homework import ipynb
from autograder.homework.files import HomeworkFiles
from autograder.judge.job import Job
from autograder.submission import Submission
from tests.autograder.providers import ForkProvider
from tests.autograder.worker_process import WorkerProcess
from tests.odd_notebooks.kernel import in_kernel
from tests.odd_notebooks.oracle import (
    DIFFERENCES,
    FINGERPRINT,
    FOLDER,
    HERE,
    LOSES,
    NOT_IN_A_KERNEL,
    OF_THE_WORKER,
    RECORD,
    digest_of,
    names,
    notebook_file,
    worth,
)
from tests.odd_notebooks.warm import Warm, WarmWorker

KERNEL = json.loads(RECORD.read_text())


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    parent = Warm()
    yield parent
    parent.close()


@pytest.fixture
def worker(warm: Warm, tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WarmWorker(warm, tmp_path, seconds=120.0)
    yield worker
    worker.close()


def in_worker(worker: WorkerProcess, name: str) -> dict[str, Any]:
    notebook, _ = ipynb.parse(notebook_file(name).read_bytes())
    cells = [{"source": cell.source, "kind": cell.cell_type} for cell in notebook.cells]
    beside = [path for path in (FOLDER / name).rglob("*") if path.suffix == ".py"]
    files = {
        str(path.relative_to(FOLDER / name)): torch.tensor(list(path.read_bytes()), dtype=torch.uint8)
        for path in beside
    }
    run = worker.run(*cells, {"source": FINGERPRINT, "kind": "code"}, files=files)[-1]
    assert run["status"] == "ok", run
    told: dict[str, Any] = json.loads(run["stdout"].strip().splitlines()[-1])
    return told


@pytest.mark.parametrize("name", [name for name in names() if name not in NOT_IN_A_KERNEL])
def test_an_odd_notebook_leaves_what_it_leaves_in_a_kernel(worker, name):
    assert KERNEL[name]["notebook"] == digest_of(name), "recorded of another version: python -m tests.odd_notebooks"
    here, there = in_worker(worker, name), KERNEL[name]["leaves"]
    differ = {name for name in here.keys() | there.keys() if here.get(name) != there.get(name)}
    assert differ == DIFFERENCES.get(name, (set(), ""))[0]


def test_every_exception_has_a_notebook():
    assert OF_THE_WORKER | LOSES.keys() <= set(names())
    assert DIFFERENCES.keys() <= set(names())
    assert NOT_IN_A_KERNEL.keys() <= set(names())
    assert KERNEL.keys() == set(names()) - NOT_IN_A_KERNEL.keys()


@pytest.mark.parametrize("name", sorted(OF_THE_WORKER))
def test_an_odd_notebook_earns_what_it_is_worth(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ForkProvider()
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: source)
    homework = HomeworkFiles("mini", HERE / "homework" / "assignments", HERE / "homework" / "solutions")
    report = grading.grade(Job(homework, Submission.of(name, notebook_file(name).read_bytes()), "process"))
    source.close()
    assert report.earned == worth(name), [(check.id, check.message) for check in report.checks]


@pytest.mark.parametrize("name", ["writefile", "toplevel-await", "history-underscore"])
def test_the_record_is_what_a_kernel_says_today(name):
    assert in_kernel(name) == KERNEL[name]["leaves"]
