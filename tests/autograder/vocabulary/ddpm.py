"""A small DDPM homework: right answers in several styles, and each common mistake, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Model = Callable[[Tensor, Tensor], Tensor]
LOSS_MISTAKES = (
    "always t = 0",
    "t + 1",
    "t − 1",
    "never the last",
    "float t",
    "one t a batch",
    "shared noise",
    "one noise a sample",
    "no root of ᾱ",
    "variance as std",
    "reversed t",
    "rows moved",
    "target drawn anew",
    "sum over entries",
)
SAMPLER_MISTAKES = (
    "always t = 0",
    "t + 1",
    "t − 1",
    "reversed t",
    "β for β̃",
    "variance as std",
    "noise at index 0",
    "shared noise",
    "one noise a sample",
    "same noise every step",
    "a step too few",
    "clamped",
)


def abar_of(betas: Tensor) -> Tensor:
    return (1 - betas).cumprod(0)


def loss(model: Model, x_0: Tensor, betas: Tensor, style: str = "") -> Tensor:
    """The simple loss; `style` a right one ("antithetic", "stratified") or a mistake."""
    shape, T, B = x_0.shape, len(betas), len(x_0)
    abar = abar_of(betas)
    t = torch.randint(0, T - (style == "never the last"), (B,))
    if style == "antithetic":
        t = torch.cat([t[: B // 2], T - 1 - t[: B // 2]])
    if style == "stratified":
        t = ((torch.rand(B) + torch.arange(B)) / B * T).long()[torch.randperm(B)]
    if style == "one t a batch":
        t = t[:1].expand(B)
    noise = torch.randn(shape, dtype=x_0.dtype)
    if style == "shared noise":
        noise = noise[:1].expand(shape)
    if style == "one noise a sample":
        noise = noise.flatten(1)[:, :1].reshape(-1, *[1] * (x_0.dim() - 1)).expand(shape)
    a = abar[t].reshape(-1, *[1] * (x_0.dim() - 1)).to(x_0.dtype)
    data = x_0.roll(1, 0) if style == "rows moved" else x_0
    x_t = (a if style == "no root of ᾱ" else a.sqrt()) * data + (
        1 - a if style == "variance as std" else (1 - a).sqrt()
    ) * noise
    told = {
        "always t = 0": torch.zeros_like(t),
        "t + 1": (t + 1).clamp(max=T - 1),
        "t − 1": t - 1,
        "float t": t / T,
        "reversed t": T - 1 - t,
    }.get(style, t)
    target = torch.randn_like(noise) if style == "target drawn anew" else noise
    error = (model(x_t, told) - target).square()
    return error.flatten(1).sum(1).mean() if style == "sum over entries" else error.mean()


def sample(model: Model, x: Tensor, betas: Tensor, style: str = "") -> Tensor:
    """The ancestral sampler; `style` a right one ("by x_0", "noise first", "float64 tables") or a mistake."""
    T, abar = len(betas), abar_of(betas)
    ready = torch.randn(T, *x.shape, dtype=x.dtype) if style == "noise first" else None
    fixed = torch.randn_like(x)
    for i in reversed(range(1 if style == "a step too few" else 0, T)):
        told = {"always t = 0": 0, "t + 1": min(i + 1, T - 1), "t − 1": i - 1, "reversed t": T - 1 - i}.get(style, i)
        t = torch.full((len(x),), told, dtype=torch.long)
        eps = model(x, t)
        before = abar[i - 1] if i else torch.ones((), dtype=abar.dtype)
        beta, a = betas[i], abar[i]
        variance = beta if style == "β for β̃" else beta * (1 - before) / (1 - a)
        if style == "by x_0":
            x_0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
            mean = before.sqrt() * beta / (1 - a) * x_0 + (1 - beta).sqrt() * (1 - before) / (1 - a) * x
        else:
            mean = (x - beta / (1 - a).sqrt() * eps) / (1 - beta).sqrt()
        std = variance if style == "variance as std" else variance.sqrt()
        noise = torch.randn_like(x) if ready is None else ready[i]
        if style == "shared noise":
            noise = noise[:1].expand(x.shape)
        if style == "one noise a sample":
            noise = noise.flatten(1)[:, :1].reshape(-1, *[1] * (x.dim() - 1)).expand(x.shape)
        if style == "same noise every step":
            noise = fixed
        if i == 0:
            std = beta.sqrt() if style == "noise at index 0" else 0 * std
        x = (mean + std * noise).to(x.dtype)
        if style == "clamped":
            x = x.clamp(-1, 1)
    return x


def reverse_steps(slope: Tensor, shift: Tensor, betas: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The exact sampler's steps for the noise slope[t] x + shift[t], from the last index to 0."""
    abar = abar_of(betas)
    before = torch.cat([torch.ones(1, dtype=abar.dtype), abar[:-1]])
    steps: tuple[list[Any], list[Any], list[Any]] = [], [], []
    for i in reversed(range(len(betas))):
        scale, gain = (1 - betas[i]).rsqrt(), betas[i] / (1 - abar[i]).sqrt()
        steps[0].append(scale * (1 - gain * slope[i]))
        steps[1].append(-scale * gain * shift[i])
        steps[2].append((betas[i] * (1 - before[i]) / (1 - abar[i])).sqrt())
    return steps
