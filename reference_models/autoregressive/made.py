"""MADE: an autoencoder whose masks make it a product of conditionals, all of them computed in one pass.

Every unit carries a degree: an input its place in the order (1..D), a hidden unit the place of the last variable it may
see. A connection exists where the degree does not fall (at the output: rises), so that output d sees what is before it:

    M^{W_l}_{k',k} = 1[m^l(k') ≥ m^{l-1}(k)]    M^V_{d,k} = 1[m^0(d) > m^L(k)]    (eq. 12–13)
    h = g(b + (W ⊙ M^W) x),    p(x_d = 1 | x_<d) = σ(c + (V ⊙ M^V) h + (A ⊙ M^A) x)

The degrees need not be fixed: with an order drawn for each minibatch one network learns the conditionals of all orders,
with hidden degrees drawn too it learns many connectivities; at test time several draws are averaged (section 4.2–4.3).
Here a draw is a value, a list of degrees, and is given to `log_prob` and `sample` by argument.

Reference: "MADE: Masked Autoencoder for Distribution Estimation" (Germain, Gregor, Murray, Larochelle, 2015),
https://arxiv.org/abs/1502.03509.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import bernoulli_log_prob
from reference_models.parts.masked import made_degrees
from reference_models.parts.raster import from_levels, to_levels
from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.sampling import draw_bernoulli
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating

Degrees = Sequence[Tensor]  # m^0 of the inputs, a permutation of 1..D, then m^1, ..., m^L of the hidden layers


class MADE(nn.Module):
    """A density on {0, 1}^D.

    dim: D; hidden: widths of the hidden layers; order: order[k] is the variable at place k, default 0, 1, ..., D−1.
    direct: connect inputs to outputs directly as well (the matrix A).
    """

    def __init__(
        self, dim: int, hidden: Sequence[int] = (32,), order: Sequence[int] | None = None, direct: bool = False
    ) -> None:
        super().__init__()
        at_least("dim", dim, 1)
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden must name at least one positive width, got {tuple(hidden)}")
        self.dim = dim
        widths = [dim, *hidden, dim]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(widths)])
        self.direct = nn.Linear(dim, dim, bias=False) if direct else None
        for layer, m in enumerate(made_degrees(dim, hidden, order)):
            self.register_buffer(f"m{layer}", m)

    @classmethod
    def paper(cls) -> MADE:
        """Two hidden layers of 8000 units on 28×28 binary digits (section 6.2)."""
        return cls(28 * 28, (8000, 8000))

    @property
    def degrees(self) -> list[Tensor]:
        """The degrees used unless others are given."""
        return [self.get_buffer(f"m{layer}") for layer in range(len(self.layers))]

    def sample_degrees(
        self, *, order: bool = True, connectivity: bool = True, generator: Generator | None = None
    ) -> list[Tensor]:
        """Degrees drawn at random: an order uniform over permutations, hidden degrees uniform over what is useful.

        order, connectivity: which of the two to draw; the other is kept from `degrees`.

        m^l(k) is uniform over min m^{l-1}, ..., D−1, so that no unit is cut off from the inputs (section 4.1).
        """
        m = self.degrees
        device = m[0].device
        if order:
            m[0] = torch.randperm(self.dim, generator=generator, device=device) + 1
        for layer in range(1, len(m)) if connectivity else ():
            low = int(m[layer - 1].min())
            high = max(self.dim, low + 1)  # exclusive; D = 1 leaves nothing to choose
            m[layer] = torch.randint(low, high, m[layer].shape, generator=generator, device=device)
        return m

    def masks(self, degrees: Degrees | None = None) -> list[Tensor]:
        """The masks of the layers, bool, each (out, in); the last is the output's, strict.

        Raises ValueError when the degrees do not fit the layers or the first are not a permutation of 1..D.
        """
        m = self.degrees if degrees is None else degrees
        widths = [layer.in_features for layer in self._linear]
        if [len(v) for v in m] != widths:
            raise ValueError(f"degrees must have lengths {widths}, got {[len(v) for v in m]}")
        if sorted(m[0].tolist()) != list(range(1, self.dim + 1)):
            raise ValueError(f"the inputs' degrees must be a permutation of 1..{self.dim}, got {m[0].tolist()}")
        hidden = [after[:, None] >= before[None, :] for before, after in pairwise(m)]
        return [*hidden, m[0][:, None] > m[-1][None, :]]

    def logits(self, x: Tensor, degrees: Degrees | None = None) -> Tensor:
        """logit p(x_d = 1 | the variables before d), for all d in one pass: (N, D) to (N, D)."""
        h = x
        masks = self.masks(degrees)
        for i, (layer, mask) in enumerate(zip(self._linear, masks, strict=True)):
            h = F.linear(h if i == 0 else F.relu(h), layer.weight * mask, layer.bias)
        if self.direct is not None:
            place = (self.degrees if degrees is None else degrees)[0]
            h = h + F.linear(x, self.direct.weight * (place[:, None] > place[None, :]))
        return h

    def log_prob(self, x: Tensor, degrees: Degrees | None = None) -> Tensor:
        """log p(x) in nats, summed over variables: (*B, D) to (*B,).

        Raises ValueError when the last dimension is not D or a value is neither 0 nor 1.
        """
        has_event_shape("x", x, (self.dim,))
        x, batch = flatten_batch(from_levels(to_levels(x, 2), 2, self._dtype), 1)
        return restore_batch(bernoulli_log_prob(x, self.logits(x, degrees)).sum(-1), batch)

    def ensemble_log_prob(self, x: Tensor, members: Sequence[Degrees]) -> Tensor:
        """log of the mean of p(x) over the members, nats: (*B, D) to (*B,). Raises ValueError when there are none."""
        at_least("the number of members", len(members), 1)
        each = torch.stack([self.log_prob(x, degrees) for degrees in members])
        return torch.logsumexp(each, dim=0) - math.log(len(members))

    def sample(self, n: int, *, degrees: Degrees | None = None, generator: Generator | None = None) -> Tensor:
        """n vectors of zeros and ones, shape (n, D), in D passes: one variable after another in the order."""
        place = (self.degrees if degrees is None else degrees)[0]
        with evaluating(self):
            x = torch.zeros(n, self.dim, dtype=self._dtype, device=place.device)
            for d in torch.argsort(place).tolist():
                x[:, d] = draw_bernoulli(self.logits(x, degrees)[:, d], generator)
        return x

    @property
    def _linear(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype
