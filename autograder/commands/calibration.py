"""A calibration as tables: what every training reached, the marks, the lines, and what is to be mended."""

from __future__ import annotations

from rich.table import Table

from autograder.authoring.calibrate import Calibration
from autograder.authoring.calibrated import findings, judged, marks_by_law, marks_of
from autograder.authoring.lines import CONFIDENCE, LEAST, MISSES, Line, Spread, chance_of_all, same_law_share
from autograder.commands.matrix import count, tables
from autograder.vocabulary.quality import score_line


def print_calibration(calibration: Calibration) -> None:
    """Everything on stdout."""
    console = tables()
    for (check, what), line in calibration.figures().items():
        console.print(f"{what} (`{check}`): nothing at {line.floor:g}, everything at {line.target:g}", soft_wrap=True)
        console.print(_figures(calibration, (check, what), line))
        console.print()
    console.print("Points of the trained cells")
    console.print(_marks(calibration))
    if pairs := marks_by_law(calibration):
        means = [(one + other) / 2 for one, other in pairs]
        between, within = max(means) - min(means), max(abs(one - other) for one, other in pairs)
        console.print(
            f"Marks of the solution differ by up to {between:.2f} between {len(pairs)} drawn laws, and by up to"
            f" {within:.2f} between two trainings on the same law.",
            soft_wrap=True,
        )
    console.print()
    for one in judged(calibration):
        verdict = "holds" if one.holds else "DOES NOT HOLD"
        console.print(
            f"{one.figure[1]}: the target {one.line.target:g} {verdict}. The solution reaches it with an estimated"
            f" probability of {chance_of_all(one.spread, one.line):.5f} and stays within {one.bound:.4g}; proposed:"
            f" floor {one.proposal.floor:g}, target {one.proposal.target:g}." + _laws(calibration, one.figure),
            soft_wrap=True,
        )
    console.print(
        f"Estimator: one-sided tolerance bound of a normal law, confidence {CONFIDENCE:g}, for {1 - MISSES:g} of all"
        " trainings over all figures together, and never better than the worst value seen.\n",
        soft_wrap=True,
    )
    found = findings(calibration)
    console.print(f"{count(found, 'finding')}:" if found else "Every line holds, and no honest training is accused.")
    for sentence in found:
        console.print(f"  {sentence}", soft_wrap=True)


def _laws(calibration: Calibration, figure: tuple[str, str]) -> str:
    """How much of the spread, in figures and marks, is that of the drawn laws; empty where none are drawn."""
    pairs = calibration.pairs(figure)
    if len(pairs) < LEAST:
        return ""
    share = same_law_share(pairs)
    return f" Of its variance {share:.0%} lies between drawn laws ({len(pairs)} of them, two trainings each)."


def _figures(calibration: Calibration, figure: tuple[str, str], line: Line) -> Table:
    table = _table("training", "kind", "runs", "best", "median", "worst", "mean", "deviation", "share of the points")
    for training in calibration.trainings:
        spread = calibration.spread(training.name, figure)
        if spread.values:
            table.add_row(training.name, training.kind, *_row(spread, line))
    return table


def _row(spread: Spread, line: Line) -> list[str]:
    values = sorted(spread.values, key=lambda value: line.sign * value)
    shares = [score_line(value, line.floor, line.target) for value in values]
    numbers = [values[0], values[len(values) // 2], values[-1], spread.mean, spread.deviation]
    worth = f"{shares[-1]:.2f} to {shares[0]:.2f}" if shares[0] != shares[-1] else f"{shares[0]:.2f}"
    return [str(len(values)), *(f"{number:.3f}" for number in numbers), worth]


def _marks(calibration: Calibration) -> Table:
    table = _table("training", "kind", "runs", "lowest", "mean", "highest")
    for training in calibration.trainings:
        marks = marks_of(calibration, training.name)
        if marks:
            numbers = (min(marks), sum(marks) / len(marks), max(marks))
            table.add_row(training.name, training.kind, str(len(marks)), *(f"{mark:.2f}" for mark in numbers))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("training", "kind") else "right", no_wrap=True)
    return table
