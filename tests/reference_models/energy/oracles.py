"""Answers known without the code: laws of samples, probabilities of few states, gradients of a given number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import chisquare
from torch import Tensor, nn

from tests.reference_models.helpers import numpy


def rows_of(states: Tensor) -> np.ndarray:
    """The number whose binary digits each row holds, first digit highest."""
    bits = numpy(states).astype(int)
    return bits @ (2 ** np.arange(bits.shape[1])[::-1])


def law_p_value(samples: Tensor, law: np.ndarray) -> float:
    """Pearson's test that binary rows follow `law`, over 2^n states.

    States expected fewer than 5 times are pooled, with the rarest other state where they are too few together; a state
    that cannot be fails at once.
    """
    counts = np.bincount(rows_of(samples), minlength=len(law)).astype(float)
    if counts[law == 0].any():
        return 0.0
    order = np.argsort(law[law > 0])
    counts, expected = counts[law > 0][order], (law[law > 0] / law.sum() * len(samples))[order]
    pooled = int(np.searchsorted(np.cumsum(expected), 5)) + 1 if expected[0] < 5 else 1
    pooled = max(pooled, int((expected < 5).sum()))
    counts = np.append(counts[:pooled].sum(), counts[pooled:])
    expected = np.append(expected[:pooled].sum(), expected[pooled:])
    return float(chisquare(counts, expected).pvalue)


def bernoulli(states: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Probability of each row of states, (S, n), under independent bits with the given means, (.., n): (.., S)."""
    m = means[..., None, :]
    return np.where(states > 0.5, m, 1 - m).prod(-1)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def all_states(n: int) -> np.ndarray:
    return np.array([[k >> (n - 1 - i) & 1 for i in range(n)] for k in range(2**n)], dtype=float)


def gradients(value: Tensor, module: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(module.parameters())))


def numeric_slope(f: Callable[[], Tensor], parameter: nn.Parameter, index: int, h: float = 1e-6) -> float:
    """Central difference of f in one entry of a parameter, which is put back."""
    flat = parameter.data.view(-1)
    start = float(flat[index])
    flat[index] = start + h
    above = float(f())
    flat[index] = start - h
    below = float(f())
    flat[index] = start
    return (above - below) / (2 * h)
