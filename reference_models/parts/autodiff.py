"""The divergence of a vector field by autograd, exactly: the trace of its Jacobian, a derivative a dimension.

    ∇·f(x) = Σ_i ∂f_i/∂x_i

Score matching, the instantaneous change of variables and the Fokker–Planck equation all ask for it. In many dimensions
`flows.ffjord` estimates it from one product.
"""

from __future__ import annotations

import torch
from torch import Tensor


def divergence(field: Tensor, x: Tensor, *, create_graph: bool = False) -> Tensor:
    """Σ_i ∂field_i/∂x_i of each example, (N,); zero where the field does not depend on x.

    field: f(x), (N, *event), each row a function of its own row of x alone.
    x: (N, *event), of which the field's graph begins.
    create_graph: whether the result can be differentiated again, in the parameters for instance.
    """
    columns = field.flatten(1)  # (N, D)
    total = torch.zeros_like(columns[:, 0])
    if not field.requires_grad:
        return total
    for i in range(columns.shape[1]):
        (row,) = torch.autograd.grad(
            columns[:, i].sum(), x, create_graph=create_graph, retain_graph=True, materialize_grads=True
        )
        total = total + row.flatten(1)[:, i]
    return total
