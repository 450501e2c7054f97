"""Probes that serve any family: known functions, a recorder, a network that fails."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .weights import exact_weight, weight_of


class Constant(nn.Module):
    """f(x) = value for every sample, in x's dtype: shape (B, *value.shape), or x.shape when value has no dimension.

    Known: its gradient with respect to x is zero; a constant velocity moves a sample by exactly value · time; the flow
    matching loss is mean (value − (x_1 − x_0))².
    """

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = exact_weight(value)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        shape = x.shape if self.value.dim() == 0 else (x.shape[0], *self.value.shape)
        value = self.value.to(x.dtype) if x.is_floating_point() else self.value
        return value.expand(shape) + 0.0  # a copy of its own: the student may write into it


class Linear(nn.Module):
    """f(x) = flatten(x) · weight + bias: weight (D,) gives (B,), weight (D, K) gives (B, K).

    Known: its gradient with respect to x is `weight` everywhere; with ‖weight‖ = c the gradient penalty (‖∇f‖ − 1)² is
    (c − 1)², so 0 for a critic of unit norm.
    """

    def __init__(self, weight: Any, bias: Any = 0.0) -> None:
        super().__init__()
        self.weight = weight_of(weight)
        self.bias = weight_of(bias)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return x.flatten(1) @ self.weight + self.bias  # (B,) or (B, K)


class Quadratic(nn.Module):
    """f(x) = ½ xᵀ A x + bᵀ x + c for flattened x: A (D, D), b (D,), result (B,).

    Known: ∇f = ½(A + Aᵀ) x + b, the Hessian is ½(A + Aᵀ). As an energy with positive definite A its law is the Gaussian
    with precision ½(A + Aᵀ).
    """

    def __init__(self, A: Any, b: Any = 0.0, c: Any = 0.0) -> None:
        super().__init__()
        self.A = weight_of(A)
        self.b = weight_of(b)
        self.c = weight_of(c)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        flat = x.flatten(1)  # (B, D)
        return 0.5 * ((flat @ self.A) * flat).sum(1) + (flat * self.b).sum(1) + self.c  # (B,)


class ReluMap(nn.Module):
    """f(x)_i = max(0, Σ_j weight[i, j] x_j + bias_i) over flattened pixels, reshaped like x: weight (n, n), bias (n,).

    Known: output i depends on exactly the pixels j with weight[i, j] ≠ 0. Where a unit is off its gradient is zero, so
    one image may show nothing of what it depends on.
    """

    def __init__(self, weight: Any, bias: Any = 0.0) -> None:
        super().__init__()
        self.weight = weight_of(weight)
        self.bias = weight_of(bias)

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


class Same(nn.Module):
    """f(x) = x, the very tensor.

    Known: what a check keeps of it is one argument for several calls, so that a call that changes it shows in the next.
    """

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return x


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


def _remember(value: Any) -> Any:
    """Detached copies of all tensors in nested containers."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_remember(item) for item in value) if type(value) in (list, tuple) else value
    if type(value) is dict:
        return {key: _remember(item) for key, item in value.items()}
    return value
