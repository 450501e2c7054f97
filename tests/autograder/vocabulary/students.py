"""Answers to try the assertions on: right ones written differently, and each with one planted error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autograder.errors import Wrong

Logits = Callable[[Tensor], Tensor]


def fails(check: Callable[[], object], *, says: str = "", hint: str | None = "") -> Wrong:
    """The check raises Wrong with these words; `hint` None asks for no hint at all."""
    with pytest.raises(Wrong) as caught:
        check()
    fault = caught.value
    assert says in fault.message, fault.message
    if hint is None:
        assert fault.hint is None, fault.hint
    elif hint:
        assert fault.hint is not None, fault.message
        assert hint in fault.hint, fault.hint
    return fault


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class MaskedConv(nn.Conv2d):
    """PixelCNN's layer; `kind` "A", "B", or an error: "no left" is blind in its row, "row ahead" sees ahead."""

    def __init__(self, kind: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        k = self.kernel_size[0]
        mask = torch.ones(k, k)
        mask[k // 2 + 1 :] = 0
        mask[k // 2, {"A": k // 2, "B": k // 2 + 1, "no left": 0, "row ahead": k // 2 + 2}[kind] :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


def perturbed(model: nn.Module, std: float = 0.2, seed: int = 0) -> nn.Module:
    g = generator(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += std * torch.randn(p.shape, generator=g, dtype=torch.float64).to(p)
    return model


def pixelcnn(
    first: str = "A", hidden: str = "B", channels: int = 8, seed: int = 0, layers: int = 1, std: float = 0.2
) -> nn.Module:
    torch.manual_seed(seed)
    middle: list[nn.Module] = []
    for _ in range(layers):
        middle += [MaskedConv(hidden, channels, channels, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(
        MaskedConv(first, 1, channels, 5, padding=2), nn.ReLU(), *middle, MaskedConv("B", channels, 1, 1)
    )
    return perturbed(net, std, seed).requires_grad_(False)


def made(n: int = 6, hidden: int = 32, strict_hidden: bool = False, seed: int = 0) -> Logits:
    """MADE with one hidden layer and degrees spread evenly; `strict_hidden` loses dependence by a wrong mask."""
    degree = torch.arange(hidden) % (n - 1) + 1
    inputs = torch.arange(1, n + 1)
    m1 = (degree[:, None] > inputs[None]) if strict_hidden else (degree[:, None] >= inputs[None])
    m2 = inputs[:, None] > degree[None]
    g = generator(seed)
    w1, w2 = (torch.randn(m.shape, generator=g) * m for m in (m1, m2))
    b1, b2 = torch.randn(hidden, generator=g), torch.randn(n, generator=g)
    return lambda x: functional.linear(torch.tanh(functional.linear(2 * x.to(w1) - 1, w1, b1)), w2, b2)


class CausalTransformer(nn.Module):
    """A causal transformer over pixels; errors: "no sos" does not shift, "no mask" sees everything."""

    def __init__(self, n: int, error: str = "", width: int = 8) -> None:
        super().__init__()
        self.error, self.n = error, n
        self.token, self.place = nn.Embedding(3, width), nn.Parameter(torch.randn(n, width))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1).long()
        if self.error != "no sos":
            tokens = torch.cat([torch.full_like(tokens[:, :1], 2), tokens[:, :-1]], 1)
        h = self.token(tokens) + self.place
        q, k, v = self.qkv(h).chunk(3, -1)
        score = q @ k.transpose(1, 2) / 3
        if self.error != "no mask":
            score = score.masked_fill(torch.ones(self.n, self.n).triu(1).bool(), -torch.inf)
        return self.out(h + score.softmax(-1) @ v)  # (B, n, 2)


def transformer(n: int, error: str = "", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return perturbed(CausalTransformer(n, error), 0.2, seed).requires_grad_(False)


def log_prob_of(logits_fn: Logits) -> Logits:
    """A right log_prob: nats summed over pixels, one an image."""
    return lambda x: (
        -(
            functional.binary_cross_entropy_with_logits(logits_fn(x).reshape(x.shape), x, reduction="none")
            .flatten(1)
            .sum(1)
        )
    )


def sample_from(logits_fn: Logits, count: int, shape: tuple[int, ...], order: list[int], g: torch.Generator) -> Tensor:
    """Sampling position by position; any order but the model's own is an error."""
    x = torch.zeros(count, *shape)
    for i in order:
        p = logits_fn(x).reshape(count, -1)[:, i].sigmoid()
        x.view(count, -1)[:, i] = (torch.rand(count, generator=g) < p).to(x.dtype)
    return x
