"""VampPrior: the prior is the encoder's own mixture over inputs that are learned.

The best prior for a given encoder is its aggregate over the data, p*(z) = 1/N Σ_n q(z | x_n): it alone brings the KL
between aggregate and prior to zero, but it overfits and costs N encodings. The variational mixture of posteriors puts K
learned pseudo-inputs u_k in the data's place:

    p(z) = 1/K Σ_k q(z | u_k)
    log p(z) = logsumexp_k log q(z | u_k) - log K

The gradient of the bound reaches the u_k through the encoder, so prior and posterior share all their weights.

"VAE with a VampPrior" (Tomczak, Welling, 2018), section 3, https://arxiv.org/abs/1705.07120
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.vae import VAE, GaussianEncoder, GaussianPosterior, StandardNormal
from reference_models.parts.likelihoods import Binomial, Likelihood
from reference_models.parts.require import at_least, has_shape


class VampPrior(nn.Module):
    """p(z) = 1/K Σ_k q(z | u_k).

    Args:
        encoder: x (K, *event_shape) -> GaussianPosterior; it stays the property of the VAE and is not saved here.
        pseudo_inputs: where the u_k start, shape (K, *event_shape).
        bounds: the u_k are cut to this interval, None for no bounds; [0, 1] suits images.
    """

    def __init__(
        self, encoder: nn.Module, pseudo_inputs: Tensor, bounds: tuple[float, float] | None = (0.0, 1.0)
    ) -> None:
        super().__init__()
        if pseudo_inputs.ndim < 2 or len(pseudo_inputs) == 0:
            raise ValueError(f"pseudo_inputs must have shape (K, *event) with K > 0, got {tuple(pseudo_inputs.shape)}")
        self._encoder = (encoder,)  # in a tuple: a submodule would stand twice in the VAE's state
        self.raw = nn.Parameter(pseudo_inputs.detach().clone())
        self.bounds = bounds

    @property
    def pseudo_inputs(self) -> Tensor:
        """The u_k, (K, *event_shape)."""
        return self.raw if self.bounds is None else self.raw.clamp(*self.bounds)

    def components(self) -> GaussianPosterior:
        """The K posteriors q(z | u_k), parameters of shape (K, d)."""
        q = self._encoder[0](self.pseudo_inputs)
        if not isinstance(q, GaussianPosterior):
            raise ValueError(f"a VampPrior mixes Gaussian posteriors, got {type(q).__name__}")
        return q

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log p(z) in nats; z: (..., d) -> (...)."""
        q = self.components()
        log_q = q.log_prob(z.unsqueeze(-2))  # (..., K)
        return torch.logsumexp(log_q, dim=-1) - math.log(log_q.shape[-1])

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Returns n draws, shape (n, d): a component at equal odds, then a draw of it."""
        at_least("n", n, 1)
        q = self.components()
        k = torch.randint(len(q.mean), (n,), generator=generator, device=q.mean.device)
        return GaussianPosterior(q.mean[k], q.log_std[k]).draw(1, generator=generator).z[0]


class GatedLinear(nn.Module):
    """h = (W x + b) ⊙ σ(V x + c), the layer of the paper's networks: (*B, in) to (*B, out)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.value = nn.Linear(in_features, out_features)
        self.gate = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x) * torch.sigmoid(self.gate(x))


class VampVAE(VAE):
    """A VAE of gated layers whose prior is the VampPrior of its own encoder.

    Args:
        event_shape: the shape of one x.
        latent_dim: d.
        hidden: widths of the encoder's layers; the decoder mirrors them.
        components: K.
        likelihood: Bernoulli pixels unless told.
        pseudo_inputs: K examples to start the u_k from, (K, *event_shape); without them uniform noise.
    """

    def __init__(
        self,
        event_shape: Sequence[int] = (1, 8, 8),
        latent_dim: int = 8,
        hidden: Sequence[int] = (128,),
        components: int = 32,
        *,
        likelihood: Likelihood | None = None,
        pseudo_inputs: Tensor | None = None,
    ) -> None:
        at_least("components", components, 1)
        pixels, shape = math.prod(event_shape), tuple(event_shape)
        up, down = (pixels, *hidden), (latent_dim, *reversed(hidden))
        encoder = GaussianEncoder(nn.Sequential(nn.Flatten(), *_gated(up), nn.Linear(up[-1], 2 * latent_dim)))
        decoder = nn.Sequential(*_gated(down), nn.Linear(down[-1], pixels), nn.Unflatten(1, shape))
        pixel_law = Binomial() if likelihood is None else likelihood
        super().__init__(encoder, decoder, StandardNormal(latent_dim), pixel_law, event_shape=shape)
        start = torch.rand(components, *shape) if pseudo_inputs is None else pseudo_inputs
        has_shape("pseudo_inputs", start, (components, *shape))
        self.prior = VampPrior(encoder, start)

    @classmethod
    def mnist(cls) -> "VampVAE":
        """The one-level model on MNIST: two gated layers of 300 on either side, 40 latent variables, K = 500."""
        return cls((1, 28, 28), latent_dim=40, hidden=(300, 300), components=500)


def _gated(widths: Sequence[int]) -> list[nn.Module]:
    return [GatedLinear(a, b) for a, b in pairwise(widths)]
