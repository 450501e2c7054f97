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
