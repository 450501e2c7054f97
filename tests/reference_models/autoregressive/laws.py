"""What the tests of autoregressive models share: every state, what sees what, and a sampler against its exact law."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod

import torch
from scipy.stats import chi2
from torch import Tensor, nn

from tests.reference_models.helpers import numpy

FALSE_FAILURE = 1e-6  # of every chi-square test here


def every_state(shape: Sequence[int], levels: int = 2) -> Tensor:
    """All images (or vectors) of the shape, floats k/(K−1), (K^n, *shape); the first value changes slowest."""
    values = torch.arange(levels, dtype=torch.get_default_dtype()) / (levels - 1)
    return torch.cartesian_prod(*[values] * prod(shape)).reshape(-1, *shape)


def index_of(x: Tensor, levels: int = 2) -> Tensor:
    """The row of `every_state` in which each x stands."""
    digits = (x * (levels - 1)).round().long().flatten(1)
    weights = levels ** torch.arange(digits.shape[1] - 1, -1, -1)
    return (digits * weights).sum(1)


def departs_from_law(samples: Tensor, log_p: Tensor, levels: int = 2) -> bool:
    """Whether a chi-square test at level 1e-6 tells the samples from the law log_p over `every_state`.

    States expected fewer than five times are counted together.
    """
    expected = numpy(log_p.exp() * len(samples))
    observed = numpy(torch.bincount(index_of(samples, levels), minlength=len(log_p)))
    common = expected >= 5
    pairs = [*zip(observed[common], expected[common], strict=True), (observed[~common].sum(), expected[~common].sum())]
    statistic = sum((o - e) ** 2 / e for o, e in pairs if e > 0)
    return not statistic < chi2.isf(FALSE_FAILURE, len(pairs) - 1)


def strong(module: nn.Module, scale: float = 1.0) -> None:
    """Draws every parameter anew, large: conditionals far from even, on which an error of order or of index shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            parameter.copy_(scale * torch.randn_like(parameter) * (2 / fan_in) ** 0.5)


Place = tuple[int, ...]


def what_sees_what(logits: Callable[[Tensor], Tensor], shape: tuple[int, int, int], trials: int = 6) -> Tensor:
    """Which inputs each conditional depends on, by autograd at a few random images: bool (*shape, *shape).

    logits: (N, C, H, W) to (N, K, C, H, W). Entry [c, i, j, c', i', j'] says that the conditional of channel c at
    (i, j) has a gradient with respect to channel c' at (i', j') that is not zero at one of the images.
    """
    x = torch.rand(trials, *shape).requires_grad_()
    out = logits(x)
    out = (out * torch.randn(out.shape[1])[:, None, None, None]).sum(dim=(0, 1))  # (C, H, W)
    seen = torch.zeros(*shape, *shape, dtype=torch.bool)
    for place in torch.cartesian_prod(*map(torch.arange, shape)).tolist():
        (gradient,) = torch.autograd.grad(out[tuple(place)], x, retain_graph=True, allow_unused=True)
        if gradient is not None:
            seen[tuple(place)] = (gradient != 0).any(0)
    return seen


def raster_past(shape: tuple[int, int, int]) -> Tensor:
    """The same table for a model that sees the whole past, rows, then columns, then channels."""
    C, _, W = shape
    c, i, j = torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    time = (i * W + j) * C + c
    return time.reshape(*shape, 1, 1, 1) > time


def reachable(layers: Sequence[Iterable[tuple[int, int]]], height: int, width: int) -> Tensor:
    """What a stack of convolutions sees on a grid, by walking: bool (H, W, H, W).

    layers: from the input to the output, the offsets (di, dj) that a layer reads.
    """
    seen = torch.eye(height * width, dtype=torch.bool).reshape(height, width, height, width)
    for offsets in layers:
        wider = torch.zeros_like(seen)
        for i in range(height):
            for j in range(width):
                for di, dj in offsets:
                    if 0 <= i + di < height and 0 <= j + dj < width:
                        wider[i, j] |= seen[i + di, j + dj]
        seen = wider
    return seen


def mask_offsets(kind: str, kernel: int) -> list[tuple[int, int]]:
    """The offsets a masked k×k convolution reads, written out: above, to the left, and for "B" the place itself."""
    r = kernel // 2
    offsets = [(di, dj) for di in range(-r, 0) for dj in range(-r, r + 1)] + [(0, dj) for dj in range(-r, 0)]
    return [*offsets, (0, 0)] if kind == "B" else offsets


def parameters(module: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in module.parameters())


def every_parameter_learns(module: nn.Module, loss: Tensor) -> bool:
    """Whether each parameter has a gradient that is finite and, somewhere, not zero."""
    loss.backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    return all(g is not None and bool(torch.isfinite(g).all()) and bool((g != 0).any()) for g in gradients)
