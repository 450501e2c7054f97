"""A homework written with the wheel and two pages of `docs/` only, in an empty folder: its audit is clean."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.authoring import audit as module
from autograder.authoring.audit import run_audit
from autograder.homework.files import HomeworkFiles
from autograder.judge import grade as grading
from tests.autograder.providers import ForkProvider

FIXTURES = Path(__file__).with_name("fixtures")


@pytest.fixture
def density(tmp_path, monkeypatch) -> Iterator[HomeworkFiles]:
    source = ForkProvider()
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: source)
    monkeypatch.setattr(module, "run_jobs", lambda jobs, workers, work: ((job, work(job)) for job in jobs))
    monkeypatch.setattr(module, "sweep", lambda: [])
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True)
    yield HomeworkFiles("density", tmp_path / "assignments", tmp_path / "solutions")
    source.close()


@pytest.mark.filterwarnings("ignore:the process sandbox")
def test_its_audit_is_clean(density):
    audit = run_audit(density, seeds=2, sandbox="process")
    assert [(finding.variant, finding.sentence) for finding in audit.findings] == []
    assert len(audit.variants) == 13
    assert density.template().is_file()


@pytest.mark.filterwarnings("ignore:the process sandbox")
def test_a_check_made_toothless_is_found(density):
    path = density.hidden / "checks.py"
    text = path.read_text()
    assert text.count('counts / counts.sum(), "`fit`"') == 1
    path.write_text(text.replace('counts / counts.sum(), "`fit`"', 'answer, "`fit`"'))
    audit = run_audit(density, seeds=1, sandbox="process")
    assert any("`test_fit_of_any_numbers` of `fit` failed no wrong variant" in f.sentence for f in audit.findings)
