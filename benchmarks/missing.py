"""A pytest plugin: what needs a package that is not here is skipped, and says which: -p benchmarks.missing."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

OURS = ("reference_models", "tests", "autograder")  # these must be here
skipped: dict[str, str] = {}  # files of tests, to the reason


def _reason(name: str | None) -> str | None:
    """Why something is skipped for want of a module, None for one of ours."""
    package = (name or "").split(".")[0]
    return f"the package {package} is not here" if package and package not in OURS else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, Any]:
    """A test file that cannot be imported for want of a package, by itself or by the test file it borrows from."""
    report = yield
    said = str(report.longrepr) if report.failed else ""
    found = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", said)
    borrowed = re.search(r"ImportError: cannot import name .* from .* \((.*)\)", said)
    reason = _reason(found.group(1)) if found else skipped.get(borrowed.group(1)) if borrowed else None
    if reason:
        path = str(collector.path)
        skipped[path] = reason
        report.outcome, report.longrepr = "skipped", (path, 1, f"Skipped: {reason}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, Any]:
    """A test that asks for a package while it runs."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    reason = _reason(error.name) if isinstance(error, ModuleNotFoundError) else None
    if reason:
        path, line, _ = item.location
        report.outcome, report.longrepr = "skipped", (str(Path(path)), (line or 0) + 1, f"Skipped: {reason}")
    return report
