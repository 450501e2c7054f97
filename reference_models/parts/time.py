"""Which way time runs, and how to use a network of the other convention.

    family                                    data at      noise at     t is
    flows (CNF, FFJORD), flow matching        t = 1        t = 0        a time in [0, 1]
    SDEs, score models, probability flow      t = 0        t = 1        a time in [0, 1]
    DDPM, DDIM, D3PM                          before 0     T − 1        an index 0 … T − 1; the papers write t + 1

Every family keeps its own convention throughout, that of its papers but for counting indices from zero. A network that
follows another one is wrapped:

    ReversedVelocity(v)(x, t) = −v(x, 1 − t)        a velocity, which changes its sign when time runs the other way
    ReversedTime(f)(x, t)     = f(x, 1 − t)         a score, a noise, a denoised image, which do not
    UnitTime(f, T)(x, t)      = f(x, (t + 1)/T)     a network of times in (0, 1], called with an index
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from reference_models.parts.require import at_least


class _Wrapped(nn.Module):
    """A network called with another time; what else it is called with, labels or tokens, is passed on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class ReversedVelocity(_Wrapped):
    """A field dx/dt = v(x, t) as one of the time s = 1 − t: dx/ds = −v(x, 1 − s). Twice is the field itself."""

    def forward(self, x: Tensor, t: Tensor, *more: Any) -> Tensor:
        """x of any shape, t of shape (*B,) or (); x's shape."""
        answer: Tensor = self.network(x, 1 - t, *more)
        return -answer


class ReversedTime(_Wrapped):
    """A function of x and t that says the same of x whichever way time runs. Twice is the function itself."""

    def forward(self, x: Tensor, t: Tensor, *more: Any) -> Any:
        """x of any shape, t of shape (*B,) or ()."""
        return self.network(x, 1 - t, *more)


class UnitTime(_Wrapped):
    """A network of times in (0, 1] as one of indices 0 … T − 1: index t is the time (t + 1)/T.

    steps: T, at least 1.
    """

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__(network)
        at_least("steps", steps, 1)
        self.steps = steps

    def forward(self, x: Tensor, t: Tensor, *more: Any) -> Any:
        """x of any shape, t an index, long, of shape (*B,) or ()."""
        return self.network(x, (t + 1).to(x.dtype) / self.steps, *more)
