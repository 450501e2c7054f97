"""What probes with Gaussian data share: (scale · C + extra · I)⁻¹ applied to samples, for any form of C."""

from __future__ import annotations

import torch
from torch import Tensor


def is_matrix(cov: Tensor, x: Tensor, event: int) -> bool:
    """Whether `cov` is a matrix over the flattened sample, rather than variances of its entries."""
    size = x.shape[x.dim() - event :].numel()
    return cov.shape == (size, size) and size > 1


def solved(cov: Tensor, scale: Tensor, extra: Tensor, x: Tensor, event: int) -> Tensor:
    """(scale · C + extra · I)⁻¹ x for every sample.

    Args:
        cov: variance of every entry (a number or the shape of a sample), or a matrix over the flattened sample.
        scale, extra: as `per_sample` shapes them.
        event: how many of the last dimensions of x are one sample's.
    """
    cov = cov.to(x.dtype)
    if not is_matrix(cov, x, event):
        return x / (scale * cov + extra)
    flat = x.flatten(x.dim() - event)  # (*batch, D)
    scale, extra = (q.reshape(*q.shape[: x.dim() - event], 1, 1).to(x.dtype) for q in (scale, extra))
    total = scale * cov + extra * torch.eye(len(cov), dtype=x.dtype, device=x.device)  # (*batch, D, D)
    solution: Tensor = torch.linalg.solve(total, flat.unsqueeze(-1)).squeeze(-1).reshape(x.shape)
    return solution


def applied(cov: Tensor, x: Tensor, event: int) -> Tensor:
    """C x for every sample."""
    cov = cov.to(x.dtype)
    if not is_matrix(cov, x, event):
        return cov * x
    return (x.flatten(x.dim() - event) @ cov.T).reshape(x.shape)
