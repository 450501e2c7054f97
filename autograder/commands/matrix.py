"""The audit as a table: variants against cells, and how each check did."""

from __future__ import annotations

import json
from collections.abc import Sized

from rich.console import Console
from rich.table import Table

from autograder.authoring.audit import Audit
from autograder.report import lost_cells

WIDTH = 160  # columns where there is no terminal, as in a file
ORDER = {"solution": 0, "right": 1, "blank": 2, "cheat": 3, "wrong": 4}


def tables() -> Console:
    """A console that cuts no table where there is no screen to fit it on."""
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=WIDTH)


def count(things: Sized, word: str) -> str:
    """As "1 finding" or "2 findings"."""
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def print_audit(audit: Audit) -> None:
    """The kill matrix, the checks, and what must be mended."""
    console = tables()
    console.print("Cells:  " + "  ".join(f"{number} {cell}" for number, cell in enumerate(audit.cells, 1)))
    console.print("· kept in every run   X lost in every run   a number: lost in so many runs of a hundred\n")
    matrix = Table(box=None, pad_edge=False, header_style="bold")
    matrix.add_column("variant", no_wrap=True)
    matrix.add_column("kind")
    for number in range(1, len(audit.cells) + 1):
        matrix.add_column(str(number), justify="center")
    matrix.add_column("as it must be")
    bad = {finding.variant for finding in audit.findings}
    for variant in sorted(audit.variants, key=lambda v: (ORDER[v.kind], v.name)):
        reports = audit.reports.get(variant.name, [])
        row = []
        for cell in audit.cells:
            there = [report for report in reports if any(result.cell == cell for result in report.cells)]
            lost = sum(cell in lost_cells(report) for report in there)
            row.append("·" if not lost else "X" if lost == len(there) else str(round(100 * lost / len(there))))
        verdict = "no" if variant.name in bad else f"{len(reports)} of {len(reports)} runs" if reports else "not run"
        matrix.add_row(variant.name, variant.kind, *row, verdict)
    console.print(matrix)
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "cell", "kills", "slowest", "flakes"):
        table.add_column(heading, justify="right" if heading in ("kills", "slowest") else "left")
    for quality in audit.checks:
        kills = f"{quality.killed} of {quality.could}"
        table.add_row(quality.check, quality.cell, kills, f"{quality.slowest:.2f} s", ", ".join(quality.flaky))
    console.print(table)
    console.print()
    for note in audit.notes:
        console.print(f"Note: {note}", soft_wrap=True)
    if audit.findings:
        console.print(f"{count(audit.findings, 'finding')}:")
        for finding in audit.findings:
            console.print(f"  {finding.variant}: {finding.sentence}", soft_wrap=True)
    else:
        console.print("The audit is clean.")


def print_audit_json(audit: Audit) -> None:
    """The audit for a script."""
    runs = {
        name: [{"earned": report.earned, "lost": sorted(lost_cells(report))} for report in reports]
        for name, reports in audit.reports.items()
    }
    findings = [{"variant": finding.variant, "sentence": finding.sentence} for finding in audit.findings]
    checks = [vars(quality) for quality in audit.checks]
    print(
        json.dumps(
            {"clean": not findings, "findings": findings, "notes": audit.notes, "checks": checks, "runs": runs},
            indent=1,
        )
    )
