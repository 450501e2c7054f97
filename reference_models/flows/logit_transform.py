"""Logit transform: from pixels in [0, 1] to the whole line, where a flow with a normal base lives.

    s = α + (1 - 2α) x,    z = logit(s) = log s - log(1 - s),
    log|∂z/∂x| = -log s - log(1 - s) + log(1 - 2α)   a dimension;

α keeps the ends 0 and 1 at a finite distance. The inverse, a sigmoid, can leave [0, 1] by α/(1 - 2α) on either side.

"Masked Autoregressive Flow for Density Estimation" (Papamakarios, Pavlakou, Murray, 2017), experiments on images,
https://arxiv.org/abs/1705.07057; after "Density Estimation Using Real NVP" (Dinh, Sohl-Dickstein, Bengio, 2017),
section 4.1, https://arxiv.org/abs/1605.08803.

NOTE: RealNVP maps x to logit(α + (1 - α) x), which keeps only 0 away; the symmetric form of MAF stands here.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from reference_models.flows.change_of_variables import Mapped, Transform
from reference_models.parts.require import within


class Logit(Transform):
    """z = logit(α + (1 - 2α) x).

    Args:
        event_shape: shape of one x.
        alpha: α in [0, ½); 1e-6 for MNIST and 0.05 for CIFAR-10 in the papers. With 0, x must lie strictly inside.
    """

    def __init__(self, event_shape: Sequence[int], alpha: float = 0.05) -> None:
        within("alpha", alpha, 0, 0.5, "[)")
        super().__init__(event_shape)
        self.alpha = alpha
        self.log_width = math.log1p(-2 * alpha)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        s = self.alpha + (1 - 2 * self.alpha) * x
        if not bool(((s > 0) & (s < 1)).all()):
            raise ValueError(
                f"x must lie in [0, 1] (strictly inside for alpha = 0), got values in "
                f"[{float(x.min()):g}, {float(x.max()):g}]"
            )
        terms = -torch.log(s) - torch.log1p(-s) + self.log_width
        return torch.log(s) - torch.log1p(-s), terms.flatten(1).sum(1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        x = (torch.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)
        terms = logsigmoid(z) + logsigmoid(-z) - self.log_width
        return x, terms.flatten(1).sum(1)
