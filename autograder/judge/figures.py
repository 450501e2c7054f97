"""Collects the numbers of pictures while a check runs; the feedback page draws them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autograder.report import Figure

IMAGES = 36  # shown at most per panel
SIDE = 256  # pixels of an image or a matrix, at most
POINTS = 1000
LARGEST = 1e30  # the page draws nothing beyond


class Figures:
    """The `figures` fixture. Tensors are cut to a size a page can show; what is not finite is drawn as 0, and said."""

    def __init__(self) -> None:
        self.collected: list[Figure] = []

    def images(self, title: str, panels: Mapping[str, Tensor]) -> None:
        """Grids of grey images, each panel (N, H, W) or (N, 1, H, W) with values in [0, 1]."""
        shown = {}
        for name, batch in panels.items():
            images = batch[:, 0] if batch.ndim == 4 else batch
            cut = images[:IMAGES, :SIDE, :SIDE]
            shown[name] = torch.where(cut.isfinite(), cut.clamp(0, 1), cut)
        self._add(title, "images", shown)

    def heatmap(self, title: str, panels: Mapping[str, Tensor]) -> None:
        """Matrices (H, W)."""
        self._add(title, "heatmap", {name: matrix[:SIDE, :SIDE] for name, matrix in panels.items()})

    def curve(self, title: str, panels: Mapping[str, Tensor]) -> None:
        """Lines, each panel (N, 2): x and y."""
        self._add(title, "curve", {name: rows[:POINTS] for name, rows in panels.items()})

    def points(self, title: str, panels: Mapping[str, Tensor]) -> None:
        """Scatter plots, each panel (N, 2)."""
        self._add(title, "points", {name: rows[:POINTS] for name, rows in panels.items()})

    def _add(self, title: str, kind: str, panels: Mapping[str, Tensor]) -> None:
        values = {name: panel.detach().to(torch.float64) for name, panel in panels.items()}
        drawable = {name: panel.abs() <= LARGEST for name, panel in values.items()}  # false of NaN
        odd = sum(int((~able).sum()) for able in drawable.values())
        if odd:
            numbers = sum(panel.numel() for panel in values.values())
            title = f"{title} ({odd} of {numbers} numbers are not finite, or too large, and drawn as 0)"
        rounded = {
            name: torch.where(drawable[name], panel, 0.0).mul(1000).round().div(1000).tolist()
            for name, panel in values.items()
        }
        self.collected.append(Figure.model_validate({"title": title, "kind": kind, "panels": rounded}))
