"""Plots as inline SVG, drawn from numbers alone: axes with round ticks, curves, clouds of points.

Colours, fonts and line widths come from the style sheet of the page, by class, so a plot follows light and dark mode;
the strict content policy of the pages would refuse a style inside the SVG.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

Array = NDArray[np.float64]

W, H = 320, 210  # of a plot, in CSS pixels
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26
LABEL = 36  # that the last label of a histogram's axis takes
COLOURS = 6  # classes c0 ... c5 of the style sheet


def curves(panels: list[Array]) -> Markup:
    """All curves, each (N, 2) rows of x and y, in one plot."""
    box = bounds(panels)
    return _plot(box, [_line(rows, box) for rows in panels])


def clouds(panels: list[Array]) -> list[Markup]:
    """Each cloud of points (N, 2) in its own plot, all with the same axes."""
    box = bounds(panels)
    return [_plot(box, [_dots(rows, box)]) for rows in panels]


@dataclass(frozen=True)
class Box:
    """The rectangle of values a plot shows."""

    x0: float
    x1: float
    y0: float
    y1: float

    def place(self, rows: Array) -> Array:
        """Rows of x and y (N, 2) as CSS pixels of the plot, rounded to a tenth."""
        x = LEFT + (rows[:, 0] - self.x0) / (self.x1 - self.x0) * (W - LEFT - RIGHT)
        y = H - BOTTOM - (rows[:, 1] - self.y0) / (self.y1 - self.y0) * (H - TOP - BOTTOM)
        return np.round(np.stack([x, y], axis=1), 1).astype(np.float64)


def ticks(low: float, high: float, at_most: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) between low and high."""
    span = (high - low) / at_most
    power = 10.0 ** math.floor(math.log10(span))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= span * (1 - 1e-9))
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def bounds(panels: list[Array]) -> Box:
    rows = np.concatenate(panels)
    sides: list[float] = []
    for axis in range(2):
        low, high = float(rows[:, axis].min()), float(rows[:, axis].max())
        pad = 0.04 * (high - low)
        if not pad > 1e-12 * max(abs(low), abs(high)):  # all equal, or as good as equal
            pad = 0.5 * abs(low) or 0.5
        sides += [low - pad, high + pad]
    return Box(*sides)


def _plot(box: Box, marks: list[str]) -> Markup:
    """Axes with ticks, and `marks` inside them. Made of numbers only, so it needs no escaping."""
    parts = [f'<svg class="plot" viewBox="0 0 {W} {H}" aria-hidden="true">']
    for x in ticks(box.x0, box.x1):
        left = box.place(np.array([[x, box.y0]]))[0, 0]
        parts.append(f'<path class="grid" d="M{left:g} {TOP}V{H - BOTTOM}"/>')
        parts.append(f'<text x="{left:g}" y="{H - 8}" text-anchor="middle">{x:.4g}</text>')
    for y in ticks(box.y0, box.y1):
        top = box.place(np.array([[box.x0, y]]))[0, 1]
        parts.append(f'<path class="grid" d="M{LEFT} {top:g}H{W - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{top + 3.5:g}" text-anchor="end">{y:.4g}</text>')
    for i, mark in enumerate(marks):
        parts.append(mark.replace("<path", f'<path class="mark c{i % COLOURS}"', 1))
    return Markup("".join([*parts, "</svg>"]))


def _line(rows: Array, box: Box) -> str:
    return '<path d="M' + "L".join(f"{x:g} {y:g}" for x, y in box.place(rows)) + '"/>'


def _dots(rows: Array, box: Box) -> str:
    """Points as strokes of no length, which round caps make visible: a third of the bytes of circles."""
    return '<path stroke-width="3" d="' + "".join(f"M{x:g} {y:g}h0" for x, y in box.place(rows)) + '"/>'


def histogram(counts: list[int], step: float, end: float, *, narrow: bool = False) -> Markup:
    """Columns of `counts`, column i over [i·step, (i+1)·step), the last one ending at `end`.

    Args:
        narrow: for a phone.
    """
    width, labels, kind = (370, 8, "histogram narrow") if narrow else (860, 16, "histogram")
    height, left, right, top, bottom = 190, 8, 8, 22, 26
    slot, tallest = (width - left - right) / len(counts), max([*counts, 1])
    parts = [f'<svg class="{kind}" viewBox="0 0 {width} {height}" aria-hidden="true">']
    every = 1 + (len(counts) - 1) // labels
    for i, number in enumerate(counts):
        x, tall = left + i * slot, (height - top - bottom) * number / tallest
        y = height - bottom - tall
        if number:
            parts.append(f'<rect x="{x + 2:.1f}" y="{y:.1f}" width="{slot - 4:.1f}" height="{tall:.1f}" rx="2"/>')
            parts.append(f'<text x="{x + slot / 2:.1f}" y="{y - 6:.1f}" text-anchor="middle">{number}</text>')
        if i % every == 0 and x < width - right - LABEL:
            anchor = "start" if i == 0 else "middle"
            parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="{anchor}">{i * step:g}</text>')
    parts.append(f'<text x="{width - right}" y="{height - 8}" text-anchor="end">{end:g}</text>')
    parts.append(f'<path class="axis" d="M{left} {height - bottom}H{width - right}"/></svg>')
    return Markup("".join(parts))
