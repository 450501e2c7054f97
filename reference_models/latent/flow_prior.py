"""Flow prior: the prior is the density of a normalising flow on the codes.

    p(z) = N(f(z); 0, I) |det ∂f/∂z|,     z ~ p(z):  u ~ N(0, I), z = f⁻¹(u)

The bound asks for log p(z) at the posterior's samples only, so the flow should be fast from code to noise: RealNVP,
which is fast both ways, or a masked autoregressive flow.

A flow in the prior is a flow in the posterior seen from the other side: with u = f(z) for the code, the prior is
standard normal, the posterior is q pushed through f (an inverse autoregressive flow where f is a masked one) and the
decoder is g ∘ f⁻¹. Both have the same bound for every x (`as_flow_posterior`); they differ in what is slow, and in that
the flow of the prior does not see x.

"Learnable Explicit Density for Continuous Latent Space and Variational Inference" (Huang et al., 2017),
https://arxiv.org/abs/1710.02248
"Variational Lossy Autoencoder" (Chen et al., 2017), section 3.2, https://arxiv.org/abs/1611.02731
"""

from collections.abc import Sequence

from torch import Generator, Tensor, nn

from reference_models.flows.change_of_variables import FlowDensity, Inverse, Transform
from reference_models.flows.maf import MAF
from reference_models.flows.realnvp import RealNVP
from reference_models.latent.flow_posterior import FlowPosterior
from reference_models.latent.vae import VAE, GaussianPosterior, StandardNormal


class FlowPrior(nn.Module):
    """Any unconditional flow over vectors as a prior.

    Args:
        flow: a FlowDensity over (d,).
    """

    def __init__(self, flow: FlowDensity) -> None:
        super().__init__()
        if len(flow.event_shape) != 1:
            raise ValueError(f"a prior's flow is over vectors, got the event shape {flow.event_shape}")
        self.flow = flow

    @classmethod
    def realnvp(cls, dim: int, couplings: int = 6, hidden: Sequence[int] = (64, 64)) -> "FlowPrior":
        """Affine couplings: density and samples for one pass."""
        return cls(RealNVP((dim,), couplings=couplings, hidden=hidden))

    @classmethod
    def maf(cls, dim: int, layers: int = 4, hidden: Sequence[int] = (64,)) -> "FlowPrior":
        """A masked autoregressive flow: density for one pass, samples for d passes a layer."""
        return cls(MAF(dim, layers, hidden, bound=5.0))

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log p(z) in nats; z: (..., d) -> (...)."""
        return self.flow.log_prob(z.reshape(-1, z.shape[-1])).view(z.shape[:-1])

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """Returns n draws, shape (n, d)."""
        return self.flow.sample(n, generator=generator)


class PushedEncoder(nn.Module):
    """q(u | x), the law of u = f(z) for z ~ q(z | x): an encoder followed by a flow that does not see x."""

    def __init__(self, encoder: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.encoder, self.transform = encoder, Inverse(transform)

    def forward(self, x: Tensor) -> FlowPosterior:
        q = self.encoder(x)
        if not isinstance(q, GaussianPosterior):
            raise ValueError(f"the flow starts from a Gaussian posterior, got {type(q).__name__}")
        return FlowPosterior(q, self.transform)


class PulledDecoder(nn.Module):
    """g ∘ f⁻¹: decodes u by way of the code it came from."""

    def __init__(self, transform: Transform, decoder: nn.Module) -> None:
        super().__init__()
        self.transform, self.decoder = transform, decoder

    def forward(self, u: Tensor) -> Tensor:
        z, _ = self.transform.inverse(u)
        return self.decoder(z)


def as_flow_posterior(vae: VAE) -> VAE:
    """The same model with the flow moved from the prior into posterior and decoder (section 3.2 of the second paper).

    Shares all parameters with `vae`, which must have a FlowPrior over a standard normal; bounds and samples agree.
    Raises ValueError for other priors.
    """
    if not isinstance(vae.prior, FlowPrior):
        raise ValueError(f"only a FlowPrior moves into the posterior, got {type(vae.prior).__name__}")
    f = vae.prior.flow.transform
    assert isinstance(vae.encoder, nn.Module)
    assert isinstance(vae.decoder, nn.Module)
    return VAE(
        PushedEncoder(vae.encoder, f),
        PulledDecoder(f, vae.decoder),
        StandardNormal(f.event_shape[0]).to(next(vae.parameters())),
        vae.likelihood,
        event_shape=vae.event_shape,
    )
