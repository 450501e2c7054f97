"""Variational dequantisation: noise that fits the density, learned as a conditional flow.

Uniform noise asks the density to fill every cube x + [0, 1)^D evenly. A learned q(u | x) lowers the price,

    log P(x) ≥ E_{u ~ q(u|x)} [log p((x + u) / K) - D log K - log q(u | x)],

whose gap is KL(q(u | x) ‖ p(u | x)), zero when q is the density's own law within the cube. q is a flow
u = σ(g⁻¹(ε; x)), ε ~ N(0, I), of couplings that see the image: one pass gives u and log q(u | x) together.

"Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design"
(Ho, Chen, Srinivas, Duan, Abbeel, 2019), section 3.1, https://arxiv.org/abs/1902.00275.

NOTE: the paper's q has couplings by mixtures of logistics with attention; affine couplings stand here.
"""

from collections.abc import Sequence

from torch import Generator, Tensor

from reference_models.flows.change_of_variables import Composed, FlowDensity
from reference_models.flows.dequantisation import Dequantisation, Noise
from reference_models.flows.logit_transform import Logit
from reference_models.flows.realnvp import AffineCoupling, alternating_mask, checkerboard_mask
from reference_models.parts import require


def conditional_noise(
    event_shape: Sequence[int], couplings: int = 4, *, hidden: Sequence[int] = (64,), width: int = 16
) -> FlowDensity:
    """q(u | x) as a flow on the open unit cube whose couplings see x, the condition, of u's shape.

    Args:
        event_shape: (D,) with D ≥ 2, or (C, H, W).
        couplings: their number; alternating for vectors, checkerboards for images.
        hidden: widths of vector couplings' networks.
        width: feature maps of image couplings' networks.
    """
    require.at_least("couplings", couplings, 1)
    shape = tuple(event_shape)
    masks = [
        alternating_mask(shape[0], k) if len(shape) == 1 else checkerboard_mask(shape, k) for k in range(couplings)
    ]
    steps = [AffineCoupling(mask, hidden=hidden, width=width, condition_shape=shape, bounded=True) for mask in masks]
    return FlowDensity(Composed([Logit(shape, alpha=0.0), *steps]))


class VariationalDequantisation(Dequantisation):
    """A density on the unit cube with learned noise.

    Args:
        density: p(y) on [0, 1]^D.
        num_levels: K ≥ 2.
        q: a conditional flow over (0, 1)^D, conditioned on the image in [-1, 1]; `conditional_noise` unless given.
    """

    def __init__(self, density: FlowDensity, num_levels: int, q: FlowDensity | None = None) -> None:
        super().__init__(density, num_levels)
        self.q = conditional_noise(self.event_shape) if q is None else q
        if self.q.event_shape != self.event_shape:
            raise ValueError(f"q has events of shape {self.q.event_shape}, the density {self.event_shape}")

    def scaled(self, levels: Tensor) -> Tensor:
        """The condition: 2x / (K - 1) - 1."""
        return 2 * levels / (self.num_levels - 1) - 1

    def noise(self, levels: Tensor, *, generator: Generator | None = None) -> Noise:
        epsilon = self.q.base.sample(len(levels), generator=generator)
        drawn = self.q.draw(epsilon, condition=self.scaled(levels))
        return Noise(drawn.x, drawn.log_prob)
