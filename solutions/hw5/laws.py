"""Homework 5: the exact affine steps of every sampler whose network answers slope[t] · x + shift[t].

Each gives slopes, offsets and deviations of the noise, a number or a sample's shape for each step, as
`assert_steps_follow` and `gaussian_recursion` take them.
"""

from __future__ import annotations

import math

import torch


def langevin_steps(mean, variance, step_size, n_steps):
    """Of Langevin dynamics along the score of N(mean, variance)."""
    pull = step_size / (2 * torch.as_tensor(variance))
    return [1 - pull] * n_steps, [pull * mean] * n_steps, [math.sqrt(step_size)] * n_steps


def annealed_steps(mean, std, sigmas, n_steps, eps):
    """Of annealed Langevin dynamics along the exact scores of N(mean, std²), level after level."""
    levels = [
        langevin_steps(mean, std.square() + sigma**2, eps * sigma**2 / sigmas[-1] ** 2, n_steps) for sigma in sigmas
    ]
    return tuple([step for level in levels for step in level[part]] for part in range(3))


def ddpm_steps(slope, shift, betas):
    """Of the DDPM sampler with the posterior's variance, from index T − 1 down to 0."""
    abar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1, dtype=betas.dtype), abar[:-1]])
    pull, grow = betas / (1 - abar).sqrt(), (1 - betas).rsqrt()
    noise = (betas * (1 - before) / (1 - abar)).sqrt()
    times = range(len(betas) - 1, -1, -1)
    return (
        [grow[t] * (1 - pull[t] * slope[t]) for t in times],
        [-grow[t] * pull[t] * shift[t] for t in times],
        [float(noise[t]) for t in times],
    )


def ddim_steps(slope, shift, betas, steps, eta):
    """Of DDIM along an increasing list of indices, from the last one."""
    abar = (1 - betas).cumprod(0)
    found = ([], [], [])
    for now, earlier in zip(reversed(steps), reversed([None, *steps[:-1]]), strict=True):
        a = float(abar[now])
        b = 1.0 if earlier is None else float(abar[earlier])
        variance = eta**2 * (1 - b) / (1 - a) * (1 - a / b)
        push = math.sqrt(max(1 - b - variance, 0.0)) - math.sqrt(b * (1 - a) / a)
        for part, value in zip(
            found, (math.sqrt(b / a) + push * slope[now], push * shift[now], math.sqrt(variance)), strict=True
        ):
            part.append(value)
    return found
