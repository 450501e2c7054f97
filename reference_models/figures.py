"""Learning curves and samples as PNG files."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from reference_models.recipes import Curve, Figure, Images, Points


def save_learning_curve(losses: Mapping[str, Sequence[float]], path: Path, title: str) -> None:
    """Each loss over its steps, as it was and averaged over fiftieths of the run, one below the other."""
    canvas = Canvas(figsize=(6, 4.5), dpi=120, layout="constrained")
    canvas.suptitle(textwrap.fill(title, 60))
    for i, (name, values) in enumerate(losses.items()):
        axes = canvas.add_subplot(len(losses), 1, i + 1)
        window = max(1, len(values) // 50)
        mean = np.convolve(values, np.ones(window) / window, mode="valid")
        (line,) = axes.plot(np.arange(len(mean)) + window, mean)
        axes.plot(np.arange(len(values)) + 1, values, color=line.get_color(), alpha=0.25, linewidth=0.5)
        low, high = np.quantile(values[len(values) // 50 :], [0.002, 0.998])  # the first steps would hide the rest
        if high - low < 1e-3 * np.ptp(values):  # unless nothing happens after them
            low, high = np.min(values), np.max(values)
        margin = max(0.05 * (high - low), 1e-3 * abs(high)) or 1.0  # rounding is no curve
        axes.set(ylabel=name, ylim=(low - margin, high + margin))
    canvas.supxlabel("step")
    canvas.savefig(path)


def save_figure(figure: Figure, path: Path, title: str) -> None:
    """What a learner wants to show."""
    canvas = Canvas(figsize=(6, 4.5), dpi=120, layout="constrained")
    canvas.suptitle(textwrap.fill(title, 60))
    if isinstance(figure, Images):
        for i, (name, pixels) in enumerate(figure.sheets.items()):
            axes = canvas.add_subplot(1, len(figure.sheets), i + 1, title=name)
            _draw_sheet(pixels, axes)
    elif isinstance(figure, Points):
        _draw_points(figure, canvas.add_subplot())
    else:
        _draw_curve(figure, canvas.add_subplot())
    canvas.savefig(path)


def _draw_sheet(sheet_of: Tensor, axes: Axes) -> None:
    pixels = sheet_of.detach().cpu().double().clamp(0, 1).numpy()  # (N, C, H, W)
    n, channels, height, width = pixels.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 0.5)
    for i, image in enumerate(pixels):
        top, left = 1 + (i // columns) * (height + 1), 1 + (i % columns) * (width + 1)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    axes.imshow(sheet[..., 0] if channels == 1 else sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def _draw_points(figure: Points, axes: Axes) -> None:
    for points, colour, label in ((figure.data, "0.75", "data"), (figure.samples, "tab:blue", "samples")):
        xy = points.detach().cpu().numpy()
        axes.scatter(xy[:, 0], xy[:, 1], s=3, color=colour, label=label, linewidths=0)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", markerscale=4)


def _draw_curve(figure: Curve, axes: Axes) -> None:
    x = figure.x.detach().cpu().numpy()
    for name, y in figure.lines.items():
        axes.plot(x, y.detach().cpu().numpy(), label=name)
    axes.legend()
