"""What the tests of autoregressive models share: strong weights, what sees what, and errors a sampler might make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from reference_models.exact import state_number


def strong(module: nn.Module, scale: float = 1.0) -> None:
    """Draws every parameter anew, large: conditionals far from even, on which an error of order or of index shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            parameter.copy_(scale * torch.randn_like(parameter) * (2 / fan_in) ** 0.5)


def strong_law(
    module: nn.Module,
    log_prob: Callable[[Tensor], Tensor],
    states: Tensor,
    misread: Callable[[Tensor], Tensor],
    levels: int = 2,
    scale: float = 1.0,
) -> Tensor:
    """Draws weights until the law differs from the law of misread samples by 0.3 in total variation; returns log p.

    misread: what a sampler with an error of order would give in place of a sample, a permutation of the values.
    Without this a test of a sampler can pass for lack of anything to get wrong.
    """
    where = state_number(misread(states), levels)
    for _ in range(100):
        strong(module, scale)
        log_p = log_prob(states).detach()
        p = log_p.exp()
        if (p - torch.zeros_like(p).index_add(0, where, p)).abs().sum() / 2 > 0.3:
            return log_p
    raise AssertionError("no weights made a law that depends on the order")


def what_sees_what(
    module: nn.Module, logits: Callable[[Tensor], Tensor], shape: Sequence[int], draws: int = 5, scale: float = 0.8
) -> Tensor:
    """Which inputs each conditional depends on, by autograd: bool (C', H, W, *shape).

    logits: (N, C, H, W) to (N, K, C', H, W). Entry [c, i, j, c', i', j'] says that the conditional of channel c at
    (i, j) has a gradient with respect to channel c' at (i', j') that is not zero, at one of a few random images and for
    one of a few draws of the weights: a ReLU that happens to be dead hides nothing.
    """
    table: Tensor | None = None
    for _ in range(draws):
        strong(module, scale)
        x = torch.rand(4, *shape).requires_grad_()
        out = logits(x)
        out = (out * torch.randn(out.shape[1])[:, None, None, None]).sum(dim=(0, 1))  # (C', H, W)
        rows = []
        for value in out.flatten():
            (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
            rows.append((gradient != 0).any(0))
        seen = torch.stack(rows).reshape(*out.shape, *shape)
        table = seen if table is None else table | seen
    assert table is not None
    return table


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


def transposed(images: Tensor) -> Tensor:
    """What a sampler that goes down the columns would give: images with rows and columns exchanged."""
    return images.mT


def rolled(vectors: Tensor) -> Tensor:
    """What a sampler off by one would give: vectors with each value a place further."""
    return vectors.roll(1, dims=1)
