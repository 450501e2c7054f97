"""Minibatch optimal transport: pair noise and data within a batch so that lines do not cross.

Flow matching holds for any coupling of noise and data. Drawn independently, the lines from x_0 to x_1 cross, and where
they cross the learnt velocity bends. Within a batch the pairing of least squared distance,

    π = argmin over permutations of Σ_i ‖x_0[π(i)] − x_1[i]‖²

leaves both marginals as they are, makes paths straighter and the regression target less noisy; as batches grow it tends
to the optimal transport between noise and data. Sinkhorn's algorithm gives the entropic plan instead, from which pairs
are drawn: softer with larger ε, the independent coupling as ε → ∞.

"Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport" (Tong et al., 2024), section
3.2, https://arxiv.org/abs/2302.00482
"Sinkhorn Distances: Lightspeed Computation of Optimal Transport" (Cuturi, 2013), https://arxiv.org/abs/1306.0895

NOTE: the paper draws pairs from the plan, with replacement; the exact coupling here is the permutation itself, so that
no point of a batch is lost or doubled. Entropic partners are drawn, one for each data point. Data keep their order, so
labels stay with their data. The paper widens each line by noise of a constant σ; here it is as wide as the path says,
which is not at all by default.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from reference_models.flow_matching.conditional import FlowMatching
from reference_models.flow_matching.paths import GaussianPath
from reference_models.foundations.wasserstein import assignment
from reference_models.parts.require import at_least, positive


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_j‖² summed over the event: (N, *event), (M, *event) to (N, M)."""
    if x.shape[1:] != y.shape[1:] or x.ndim < 2:
        raise ValueError(f"both batches must have shape (N, *event), got {tuple(x.shape)} and {tuple(y.shape)}")
    return torch.cdist(x.flatten(1), y.flatten(1), compute_mode="donot_use_mm_for_euclid_dist") ** 2


def optimal_pairing(x_0: Tensor, x_1: Tensor) -> Tensor:
    """π, long, (N,): x_0[π(i)] goes with x_1[i] at the least total squared distance; (N, *event) each.

    Raises ValueError for batches of different sizes.
    """
    if len(x_0) != len(x_1):
        raise ValueError(f"noise and data must come in equal numbers, got {len(x_0)} and {len(x_1)}")
    return assignment(squared_distances(x_1, x_0))


def sinkhorn(cost: Tensor, epsilon: float, iterations: int = 200) -> Tensor:
    """The plan that minimises ⟨P, cost⟩ − ε H(P) between uniform marginals: (N, M) to (N, M), entries summing to one.

    Works on log-potentials, so that a small ε underflows nowhere; columns are exact, rows to the precision reached.
    """
    positive("epsilon", epsilon)
    at_least("iterations", iterations, 1)
    n, m = cost.shape
    log_kernel = -cost / epsilon
    g = cost.new_zeros(m)
    for _ in range(iterations):
        f = -torch.logsumexp(log_kernel + g, dim=1) - torch.log(cost.new_tensor(n))
        g = -torch.logsumexp(log_kernel + f[:, None], dim=0) - torch.log(cost.new_tensor(m))
    return torch.exp(log_kernel + f[:, None] + g)


def draw_partners(plan: Tensor, generator: Generator | None = None) -> Tensor:
    """For each row i of the plan, (N, M), a column j drawn with probability P_ij / Σ_j P_ij: long, (N,)."""
    return torch.multinomial(plan, 1, generator=generator).squeeze(1)


class OTFlowMatching(FlowMatching):
    """Flow matching with minibatch couplings.

    epsilon: None for the exact pairing, otherwise the entropic regularisation, in units of the mean squared distance.
    """

    def __init__(
        self,
        velocity: nn.Module,
        event_shape: Sequence[int],
        path: GaussianPath | None = None,
        *,
        epsilon: float | None = None,
    ) -> None:
        super().__init__(velocity, event_shape, path)
        if epsilon is not None:
            positive("epsilon", epsilon)
        self.epsilon = epsilon

    def couple(self, x_0: Tensor, x_1: Tensor, generator: Generator | None = None) -> Tensor:
        """The noise in the order in which it goes with the data; a single example keeps its own."""
        if x_1.ndim == len(self.event_shape):
            return x_0
        if self.epsilon is None:
            return x_0[optimal_pairing(x_0, x_1)]
        cost = squared_distances(x_1, x_0)
        return x_0[draw_partners(sinkhorn(cost, self.epsilon * float(cost.mean())), generator)]
