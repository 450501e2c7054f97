"""All the states of a few binary units, for models small enough to be summed exactly.

Two to the power n rows: the partition function, the stationary law and the exact gradient of a small energy model are
sums over them, which makes such a model the oracle of every approximation of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from reference_models.parts.require import binary

MOST_UNITS = 22  # 4 194 304 states: seconds; beyond it a sum over states is a mistake, not a plan


def binary_states(n: int, like: Tensor | nn.Module) -> Tensor:
    """Every vector of {0, 1}^n; row k holds the binary digits of k, the most significant first.

    n: number of units, 1 to 22.
    like: a tensor, or a module with parameters, whose device and dtype the states take.

    Returns the states, shape (2^n, n).

    Raises ValueError when n lies outside 1..22.
    """
    return torch.cat(list(binary_states_in_chunks(n, like, chunk=1 << max(n, 0))))


def binary_states_in_chunks(n: int, like: Tensor | nn.Module, chunk: int = 1 << 14) -> Iterator[Tensor]:
    """The rows of `binary_states` in order, at most `chunk` at a time, so that memory stays small.

    Yields tensors of shape (at most chunk, n).
    """
    if not 1 <= n <= MOST_UNITS:
        raise ValueError(f"the states of n binary units are enumerated for n from 1 to {MOST_UNITS}, got n = {n}")
    reference = like if isinstance(like, Tensor) else next(like.parameters())
    places = torch.arange(n - 1, -1, -1, device=reference.device)
    for start in range(0, 1 << n, chunk):
        numbers = torch.arange(start, min(start + chunk, 1 << n), device=reference.device)
        yield (numbers[:, None] >> places & 1).to(reference.dtype)  # (chunk, n)


def state_index(x: Tensor) -> Tensor:
    """The row of `binary_states` in which each binary vector stands.

    x: zeros and ones, shape (*B, n).

    Returns integers, shape (*B,).

    Raises ValueError for any other value.
    """
    binary("states", x)
    places = torch.arange(x.shape[-1] - 1, -1, -1, device=x.device)
    return (x.long() << places).sum(-1)
