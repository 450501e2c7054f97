"""What residual networks repeat: a body of layers whose answer is added to what came in."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """shortcut(x) + scale · body(x), `layers` one after the other being the body; the shortcut is x unless given."""

    def __init__(self, *layers: nn.Module, shortcut: nn.Module | None = None, scale: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """x (N, ...) to what the shortcut makes of it, x's own shape unless it is given."""
        return self.shortcut(x) + self.scale * self.body(x)
