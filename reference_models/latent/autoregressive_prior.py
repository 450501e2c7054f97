"""Autoregressive prior: each code variable is drawn given those before it.

A prior that cannot represent the aggregate posterior makes the decoder pay twice: codes the decoder never saw are
sampled, codes it did see are penalised. A chain of conditionals learned with the rest can follow any aggregate:

    p(z) = Π_i p(z_i | z_<i),     p(z_i | z_<i) = Σ_m w_m(z_<i) N(z_i; μ_m(z_<i), σ_m(z_<i)²)

One masked network gives the parameters of all conditionals in one pass, so the density costs one pass and a sample
one a variable; only the prior is slow to sample, and training never samples it. With one Gaussian a conditional this is
the autoregressive flow prior of the paper (a MAF, see `flow_prior`); more components make each conditional multimodal,
which no affine flow layer is.

"Variational Lossy Autoencoder" (Chen et al., 2017), section 3.2, https://arxiv.org/abs/1611.02731
"RNADE: The Real-Valued Neural Autoregressive Density-Estimator" (Uria, Murray, Larochelle, 2013), for mixtures as
conditionals, https://arxiv.org/abs/1306.0186
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import normal_log_prob, standard_normal
from reference_models.parts.masked import MaskedMLP
from reference_models.parts.require import at_least
from reference_models.parts.sampling import draw_categorical

LOWEST_LOG_STD = -7.0  # a conditional never becomes a spike


class AutoregressivePrior(nn.Module):
    """p(z) = Π_i p(z_i | z_<i) with mixtures of Gaussians as conditionals.

    Args:
        dim: d, the length of z.
        hidden: widths of the masked network.
        components: M Gaussians a conditional.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (64, 64), components: int = 5) -> None:
        super().__init__()
        at_least("components", components, 1)
        self.dim, self.components = dim, components
        self.net = MaskedMLP(dim, hidden, 3 * components)
        with torch.no_grad():  # the M means of a conditional start apart, or they would stay together
            last = self.net.net[-1]
            assert isinstance(last, nn.Linear)
            last.bias.view(dim, 3, components)[:, 1] = torch.linspace(-2, 2, components + 2)[1:-1]

    def conditionals(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and log standard deviations of p(z_i | z_<i); z: (..., d) -> each (..., d, M)."""
        out: Tensor = self.net(z)
        logits, means, log_stds = out.chunk(3, dim=-1)
        return torch.log_softmax(logits, dim=-1), means, log_stds.clamp(min=LOWEST_LOG_STD)

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log p(z) in nats for one pass of the network; z: (..., d) -> (...)."""
        log_weights, means, log_stds = self.conditionals(z)
        per_component = log_weights + normal_log_prob(z.unsqueeze(-1), means, log_stds)  # (..., d, M)
        return torch.logsumexp(per_component, dim=-1).sum(-1)

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Returns n draws, shape (n, d), for d passes of the network."""
        at_least("n", n, 1)
        z = torch.zeros_like(standard_normal((n, self.dim), self, generator))
        for i in range(self.dim):
            log_weights, means, log_stds = (p[:, i] for p in self.conditionals(z))  # (n, M)
            m = draw_categorical(log_weights, generator)[:, None]  # (n, 1)
            noise = standard_normal((n, 1), z, generator)
            z[:, i : i + 1] = means.gather(1, m) + log_stds.gather(1, m).exp() * noise
        return z
