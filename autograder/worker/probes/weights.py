"""The weights of probes: parameters, so that gradients and optimisers work on them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def weight_of(value: Any) -> nn.Parameter:
    """A number, list or tensor as a parameter of its own; integers become the default floating type."""
    value = torch.as_tensor(value)
    if not (value.is_floating_point() or value.is_complex()):
        value = value.to(torch.get_default_dtype())
    return nn.Parameter(value.detach().clone())


def exact_weight(value: Any) -> nn.Parameter:
    """As `weight_of`, but plain numbers and lists keep their digits, in float64: for probes that cast to x's dtype."""
    plain = not isinstance(value, torch.Tensor)
    return weight_of(torch.as_tensor(value, dtype=torch.float64) if plain else value)
