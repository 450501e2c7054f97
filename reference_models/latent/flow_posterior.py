"""Flow posterior: the encoder's Gaussian is bent by invertible maps before it meets the decoder.

A diagonal Gaussian cannot follow a posterior with correlations or two modes. Normalising flows f_1 .. f_K, whose
parameters may depend on a context h(x) from the encoder, keep the density of a sample known:

    z_0 = μ(x) + σ(x) ε,    z_k = f_k(z_{k-1}; h(x)),    log q(z_K | x) = log q_0(z_0 | x) - Σ_k log|det ∂f_k/∂z_{k-1}|

The bound needs the density of its own samples only, so a flow that is fast from noise to code will do: inverse
autoregressive flow bends each z_i by all z_j before it in one pass (its slow direction, scoring foreign codes, is never
needed). The closed-form KL is lost; it is estimated by log q(z_K | x) - log p(z_K).

"Variational Inference with Normalizing Flows" (Rezende, Mohamed, 2015), sections 3 and 4,
https://arxiv.org/abs/1505.05770
"Improving Variational Inference with Inverse Autoregressive Flow" (Kingma et al., 2016), eq. 10-14, algorithm 1,
https://arxiv.org/abs/1606.04934
NOTE: the folder of flows maps data to noise in `forward`; a posterior's samples are its data, so f_K ∘ .. ∘ f_1 is
`inverse` here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.flows.change_of_variables import Composed, Transform
from reference_models.flows.iaf import GatedAutoregressive
from reference_models.flows.maf import layer_order
from reference_models.latent.vae import VAE, Draw, GaussianPosterior, StandardNormal
from reference_models.parts.likelihoods import Binomial, Likelihood
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least
from reference_models.protocols import Density


@dataclass(frozen=True)
class FlowPosterior:
    """q(z | x) of N examples: `base` pushed through the inverse of `transform`.

    base: q_0(z_0 | x). transform: over (d,). context: h(x), shape (N, c), where the transform takes a condition.
    """

    base: GaussianPosterior
    transform: Transform
    context: Tensor | None = None

    def draw(self, samples: int, *, generator: Generator | None = None, noise: Tensor | None = None) -> Draw:
        """Returns reparametrised samples z_K with log q(z_K | x), one pass a map; noise: (S, N, d) as for the base."""
        start = self.base.draw(samples, generator=generator, noise=noise)
        z, logdet = self.transform.inverse(start.z.flatten(0, 1), condition=self._rows(samples))
        return Draw(z.view_as(start.z), start.log_prob - logdet.view_as(start.log_prob))

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log q(z | x) of foreign codes in nats, by the flow's other direction; z: (S, N, d) -> (S, N)."""
        z_0, logdet = self.transform.forward(z.flatten(0, 1), condition=self._rows(len(z)))
        return self.base.log_prob(z_0.view_as(z)) + logdet.view(z.shape[:-1])

    def _rows(self, samples: int) -> Tensor | None:
        """The context of each of the S·N codes, samples outermost: (S·N, c)."""
        return None if self.context is None else self.context.repeat(samples, 1)


class FlowEncoder(nn.Module):
    """Turns a network's output (N, 2d + c), means, log standard deviations, context, into a FlowPosterior.

    Args:
        net: x (N, *event_shape) -> (N, 2d + c), c the length of the transform's condition.
        transform: a map of (d,), its `inverse` from z_0 to z_K; conditional on (c,), or on nothing (c = 0).
    """

    def __init__(self, net: nn.Module, transform: Transform) -> None:
        super().__init__()
        if len(transform.event_shape) != 1 or len(transform.condition_shape) > 1:
            raise ValueError(
                f"a posterior's flow maps vectors, got {transform.event_shape} given {transform.condition_shape}"
            )
        self.net, self.transform = net, transform

    def forward(self, x: Tensor) -> FlowPosterior:
        d, c = self.transform.event_shape[0], math.prod(self.transform.condition_shape or (0,))
        out: Tensor = self.net(x)
        if out.ndim != 2 or out.shape[1] != 2 * d + c:
            raise ValueError(f"the encoder's output must have shape (N, {2 * d + c}), got {tuple(out.shape)}")
        mean, log_std, context = torch.split(out, [d, d, c], dim=1)
        return FlowPosterior(GaussianPosterior(mean, log_std), self.transform, context if c else None)


class IAFVAE(VAE):
    """A VAE whose posterior is an inverse autoregressive flow of T steps, each with the order of the last reversed.

    Args:
        event_shape, latent_dim, hidden, likelihood, prior: as for `mlp_vae`.
        steps: T. flow_hidden: widths of each step's masked network. context: c, length of h(x).
    """

    def __init__(
        self,
        event_shape: Sequence[int] = (1, 8, 8),
        latent_dim: int = 8,
        hidden: Sequence[int] = (128,),
        *,
        steps: int = 2,
        flow_hidden: Sequence[int] = (64,),
        context: int = 16,
        likelihood: Likelihood | None = None,
        prior: Density | None = None,
    ) -> None:
        at_least("steps", steps, 1)
        at_least("context", context, 1)
        pixels, shape = math.prod(event_shape), tuple(event_shape)
        # the last step stands first: `inverse` runs a composition from its end
        flow = Composed(
            [
                GatedAutoregressive(latent_dim, flow_hidden, order=layer_order(latent_dim, t), condition_dim=context)
                for t in reversed(range(steps))
            ]
        )
        encoder = FlowEncoder(nn.Sequential(nn.Flatten(), MLP(pixels, hidden, 2 * latent_dim + context)), flow)
        decoder = nn.Sequential(MLP(latent_dim, tuple(reversed(hidden)), pixels), nn.Unflatten(1, shape))
        pixel_law = Binomial() if likelihood is None else likelihood
        super().__init__(
            encoder, decoder, StandardNormal(latent_dim) if prior is None else prior, pixel_law, event_shape=shape
        )

    @classmethod
    def mnist(cls) -> "IAFVAE":
        """The largest posterior of table 1 (MNIST): 32 latent variables, depth 8, width 1920.

        NOTE: the paper's encoder and decoder are residual convolutions with 450 units above; here 450 units alone. Each
        step's network has one hidden layer, as in `IAF.paper`.
        """
        return cls((1, 28, 28), 32, (450,), steps=8, flow_hidden=(1920,), context=450)
