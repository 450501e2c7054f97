"""Public stub networks whose answers are known, handed to student code in the place of a trained network.

A check builds a probe with weights of its choice inside the sandbox, passes its handle to the student's loss or
sampler, and compares the result with what the theory says for exactly this network. Nothing here is secret: each
docstring states what is known. Every probe ignores further arguments (a time, a condition), and its floating weights
are parameters, so that gradients and optimisers work on it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def _weight(value: Any) -> nn.Parameter:
    value = torch.as_tensor(value)
    if not (value.is_floating_point() or value.is_complex()):
        value = value.to(torch.get_default_dtype())
    return nn.Parameter(value.detach().clone())


class Constant(nn.Module):
    """f(x) = value for every sample: shape (B, *value.shape), or x.shape when value has no dimension.

    Known: its gradient with respect to x is zero; a constant velocity moves a sample by exactly value · time; the flow
    matching loss is mean (value − (x_1 − x_0))².
    """

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = _weight(value)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        shape = x.shape if self.value.dim() == 0 else (x.shape[0], *self.value.shape)
        return self.value.expand(shape) + 0.0  # a copy of its own: the student may write into it


class Linear(nn.Module):
    """f(x) = flatten(x) · weight + bias: weight (D,) gives (B,), weight (D, K) gives (B, K).

    Known: its gradient with respect to x is `weight` everywhere; with ‖weight‖ = c the gradient penalty (‖∇f‖ − 1)² is
    (c − 1)², so 0 for a critic of unit norm.
    """

    def __init__(self, weight: Any, bias: Any = 0.0) -> None:
        super().__init__()
        self.weight = _weight(weight)
        self.bias = _weight(bias)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return x.flatten(1) @ self.weight + self.bias  # (B,) or (B, K)


class Quadratic(nn.Module):
    """f(x) = ½ xᵀ A x + bᵀ x + c for flattened x: A (D, D), b (D,), result (B,).

    Known: ∇f = ½(A + Aᵀ) x + b, the Hessian is ½(A + Aᵀ). As an energy with positive definite A its law is the Gaussian
    with precision ½(A + Aᵀ).
    """

    def __init__(self, A: Any, b: Any = 0.0, c: Any = 0.0) -> None:
        super().__init__()
        self.A = _weight(A)
        self.b = _weight(b)
        self.c = _weight(c)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        flat = x.flatten(1)  # (B, D)
        return 0.5 * ((flat @ self.A) * flat).sum(1) + (flat * self.b).sum(1) + self.c  # (B,)


class AffineScore(nn.Module):
    """f(x) = a · x + b, of x's shape.

    Known: the score of N(m, s²) is a = −1/s², b = m/s²; denoising score matching at noise σ on N(0, s²) is least at
    a = −1/(s² + σ²).
    """

    def __init__(self, a: Any, b: Any = 0.0) -> None:
        super().__init__()
        self.a = _weight(a)
        self.b = _weight(b)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.a * x + self.b


class ReluMap(nn.Module):
    """f(x)_i = max(0, Σ_j weight[i, j] x_j + bias_i) over flattened pixels, reshaped like x: weight (n, n), bias (n,).

    Known: output i depends on exactly the pixels j with weight[i, j] ≠ 0. Where a unit is off its gradient is zero, so
    one image may show nothing of what it depends on.
    """

    def __init__(self, weight: Any, bias: Any = 0.0) -> None:
        super().__init__()
        self.weight = _weight(weight)
        self.bias = _weight(bias)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return (x.flatten(1) @ weight.T + bias).relu().reshape(x.shape)  # (B, n) -> (B, *)


class Recorder(nn.Module):
    """Remembers what it was called with and answers as `inner` does, or with zeros shaped like its first argument.

    Known: `calls` lists the arguments of each call in order, detached and copied, so that a loss tells which points,
    times and conditions it shows its network. With zeros a noise-prediction loss is the mean square of the noise: 1.
    """

    def __init__(self, inner: Any = None) -> None:
        super().__init__()
        self.inner = inner
        self.anchor = nn.Parameter(torch.zeros(()))  # gives zeros a graph, so that `loss.backward()` works
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((_remember(args), _remember(kwargs)))
        if self.inner is not None:
            return self.inner(*args, **kwargs)
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        return torch.zeros_like(first) + self.anchor


class TableConditional(nn.Module):
    """A binary autoregressive model as a table: the logit of pixel i depends on the bits before it in raster order.

    Args:
        logits: shape (2ⁿ − 1,). Pixel i owns the 2ⁱ entries from 2ⁱ − 1 on; among them the bits x_0 … x_{i−1} count
            as a binary number, x_0 being the highest digit.

    Takes images (B, 1, H, W) or vectors (B, n) and returns logits of the same shape. A value above ½ is a one; pixels
    not yet known may hold anything.

    Known: its law, exactly: `table_law(logits)`. With `strong_table` the order in which a sampler fills pixels shows.
    """

    def __init__(self, logits: Any) -> None:
        super().__init__()
        self.logits = _weight(logits)
        self.pixels = pixels_of(self.logits)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        bits = (x.flatten(1) > 0.5).long()  # (B, n)
        if bits.shape[1] != self.pixels:
            raise ValueError(f"this model has {self.pixels} pixels, got x of shape {tuple(x.shape)}")
        prefix = torch.zeros_like(bits[:, 0])  # (B,), the bits so far as a number
        columns = []
        for i in range(self.pixels):
            columns.append(self.logits[2**i - 1 + prefix])
            prefix = 2 * prefix + bits[:, i]
        logits = torch.stack(columns, 1).reshape(x.shape)
        return logits.to(x.dtype) if x.is_floating_point() else logits


class Exploding(nn.Module):
    """Fails on purpose: returns NaN of x's shape ("nan") or raises RuntimeError ("raise").

    Known: what a careful caller must do, pass the failure on instead of hiding it.
    """

    def __init__(self, mode: str = "nan") -> None:
        super().__init__()
        if mode not in ("nan", "raise"):
            raise ValueError(f"mode must be 'nan' or 'raise', got {mode!r}")
        self.mode = mode

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        if self.mode == "raise":
            raise RuntimeError("this network fails on purpose")
        return torch.full_like(x, float("nan"))


PROBES: dict[str, type[nn.Module]] = {
    probe.__name__: probe
    for probe in (Constant, Linear, Quadratic, AffineScore, ReluMap, Recorder, TableConditional, Exploding)
}


def pixels_of(logits: Tensor) -> int:
    """The n of a table of 2ⁿ − 1 logits. Raises ValueError for any other length."""
    n = (logits.numel() + 1).bit_length() - 1
    if logits.dim() != 1 or logits.numel() != 2**n - 1 or n == 0:
        raise ValueError(f"a table for n pixels has shape (2ⁿ − 1,), got {tuple(logits.shape)}")
    return n


def table_law(logits: Tensor) -> tuple[Tensor, Tensor]:
    """All states of `TableConditional(logits)` and their exact log-probabilities.

    Returns:
        states: shape (2ⁿ, n), zeros and ones, row k being k written in binary with pixel 0 the highest digit.
        log_prob: shape (2ⁿ,), nats; logsumexp is 0.
    """
    n = pixels_of(logits)
    number = torch.arange(2**n)
    states = (number[:, None] >> torch.arange(n - 1, -1, -1)) & 1  # (2ⁿ, n)
    states = states.to(logits.dtype)
    predicted = TableConditional(logits)(states).detach()
    log_prob = -nn.functional.binary_cross_entropy_with_logits(predicted, states, reduction="none").sum(1)
    return states, log_prob


def strong_table(n: int, generator: torch.Generator | None = None, strength: float = 2.0) -> Tensor:
    """A table for `TableConditional` with strong dependence: logits ±strength(1 ± ¼), the sign drawn for each prefix.

    Siblings that differ in the newest bit only have opposite signs, so every pixel depends on the one before it, and
    the first pixel is nearly even, so both sides are seen. On 2×2 images a sampler that goes column by column is then
    0.25 to 0.52 in total variation away from the law (least and most of 3000 draws).

    Returns:
        logits, shape (2ⁿ − 1,), float64.
    """
    parts = [torch.rand(1, generator=generator, dtype=torch.float64) - 0.5]
    for i in range(1, n):
        sign = torch.randint(0, 2, (2 ** (i - 1),), generator=generator, dtype=torch.float64) * 2 - 1
        sign = torch.stack([sign, -sign], 1).flatten()  # (2ⁱ,)
        size = 0.75 + 0.5 * torch.rand(2**i, generator=generator, dtype=torch.float64)
        parts.append(strength * sign * size)
    return torch.cat(parts)


def _remember(value: Any) -> Any:
    """Detached copies of all tensors in nested containers."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_remember(item) for item in value) if type(value) in (list, tuple) else value
    if type(value) is dict:
        return {key: _remember(item) for key, item in value.items()}
    return value
