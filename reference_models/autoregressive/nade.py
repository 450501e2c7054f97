"""NADE: the neural autoregressive distribution estimator for binary vectors.

The chain rule p(x) = Π_i p(x_{o_i} | x_{o_<i}) in an order o, each conditional a network with one hidden layer. All the
networks share their weights, so that the hidden activation of step i + 1 is that of step i plus one column of W and the
whole likelihood costs O(DH):

    a_1 = c,    a_{i+1} = a_i + W_{·,o_i} x_{o_i},    h_i = σ(a_i)
    p(x_{o_i} = 1 | x_{o_<i}) = σ(b_{o_i} + V_{o_i,·} h_i)

Reference: "The Neural Autoregressive Distribution Estimator" (Larochelle, Murray, 2011),
https://proceedings.mlr.press/v15/larochelle11a.html.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import bernoulli_log_prob
from reference_models.parts.raster import from_levels, to_levels
from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.sampling import draw_bernoulli
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating


class NADE(nn.Module):
    """A density on {0, 1}^D.

    dim: D; hidden: H, the hidden units of every conditional.
    order: a permutation of 0..D−1; order[i] is the variable at step i. Default 0, 1, ..., D−1.

    Raises ValueError when the order is no permutation.
    """

    order: Tensor

    def __init__(self, dim: int, hidden: int = 32, order: Sequence[int] | None = None) -> None:
        super().__init__()
        at_least("dim", dim, 1)
        at_least("hidden", hidden, 1)
        order = range(dim) if order is None else order
        if sorted(order) != list(range(dim)):
            raise ValueError(f"order must be a permutation of 0..{dim - 1}, got {list(order)}")
        self.dim = dim
        self.W = nn.Parameter(torch.randn(hidden, dim) * dim**-0.5)
        self.V = nn.Parameter(torch.randn(dim, hidden) * hidden**-0.5)
        self.b = nn.Parameter(torch.zeros(dim))
        self.c = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("order", torch.tensor(list(order)))

    @classmethod
    def paper(cls) -> NADE:
        """500 hidden units on 28×28 binary digits, as in the experiments."""
        return cls(28 * 28, 500)

    def logits(self, x: Tensor) -> Tensor:
        """logit p(x_d = 1 | the variables before d in the order), for all d at once: (N, D) to (N, D).

        x: zeros and ones. The running sums a_i of the recursion are one cumulative sum.
        """
        steps = x[:, self.order].unsqueeze(-1) * self.W.T[self.order]  # (N, D, H): x_{o_i} W_{·,o_i}
        before = torch.cumsum(steps, dim=1) - steps  # exclusive: step i sees the steps < i
        h = torch.sigmoid(self.c + before)
        in_order = self.b[self.order] + (h * self.V[self.order]).sum(-1)  # (N, D)
        return in_order[:, torch.argsort(self.order)]

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, summed over variables: (*B, D) to (*B,).

        Raises ValueError when the last dimension is not D or a value is neither 0 nor 1.
        """
        has_event_shape("x", x, (self.dim,))
        x, batch = flatten_batch(from_levels(to_levels(x, 2), 2, self.W.dtype), 1)
        return restore_batch(bernoulli_log_prob(x, self.logits(x)).sum(-1), batch)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n vectors of zeros and ones, shape (n, D), in O(DH) each: the recursion carries a_i along."""
        with evaluating(self):
            x = self.W.new_zeros(n, self.dim)
            a = self.c.expand(n, -1)
            for d in self.order.tolist():
                logit = self.b[d] + torch.sigmoid(a) @ self.V[d]
                x[:, d] = draw_bernoulli(logit, generator)
                a = a + x[:, d, None] * self.W[:, d]
        return x
