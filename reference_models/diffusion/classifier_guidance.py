"""Classifier guidance: a classifier of noised data steers a diffusion model towards a class.

By Bayes' rule ∇ log p(x_t | y) = ∇ log p(x_t) + ∇ log p(y | x_t); a scale above one sharpens the classifier:

    ε̂ = ε_θ(x_t) − √(1−ᾱ_t) · scale · ∇ log p_φ(y | x_t)               any sampler              (algorithm 2, eq. 14)
    x_s ~ N(μ + scale · Σ ∇ log p_φ(y | x_t), Σ)                        the ancestral one        (algorithm 1, eq. 10)

The equations have scale one. The second is the first to leading order in β_t. The classifier is trained on x_t at every
t. With an exact one, `scale` is the weight w of classifier-free guidance: both follow p(x) p(y|x)^scale at each t.

"Diffusion Models Beat GANs on Image Synthesis" (Dhariwal, Nichol, 2021), section 4, https://arxiv.org/abs/2105.05233

NOTE: the derivation of eq. 10 takes the gradient at μ, algorithm 1 and the paper's code at x_t, as here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.diffusion import parametrisation
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.gaussian_diffusion import GaussianDiffusion
from reference_models.diffusion.parametrisation import Prediction
from reference_models.parts.distributions import standard_normal

Classifier = Callable[[Tensor, Tensor], Tensor]


def class_gradient(classifier: Classifier, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """∇_x log p(y | x_t), of x_t's shape; classifier(x_t, t) gives logits (*B, K), y long (*B,).

    Raises ValueError for labels out of range: a GPU would not say so, and fail for good.
    """
    with torch.enable_grad():
        x = x_t.detach().requires_grad_(True)
        log_probs = F.log_softmax(classifier(x, t), dim=-1)
        if y.numel() and not 0 <= int(y.min()) <= int(y.max()) < log_probs.shape[-1]:
            raise ValueError(f"labels must lie in 0..{log_probs.shape[-1] - 1}, got {int(y.min())}..{int(y.max())}")
        chosen = log_probs.gather(-1, y.unsqueeze(-1)).sum()
        (gradient,) = torch.autograd.grad(chosen, x)
    return gradient.detach()


def classifier_loss(
    classifier: Classifier,
    process: GaussianDiffusion,
    x_0: Tensor,
    y: Tensor,
    *,
    t: Tensor | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Cross-entropy of labels y (N,) given x_t at uniform t, nats, averaged over the batch, a scalar."""
    if t is None:
        t = torch.randint(process.schedule.steps, (len(x_0),), generator=generator, device=x_0.device)
    noise = standard_normal(x_0.shape, x_0, generator) if noise is None else noise
    return F.cross_entropy(classifier(process.diffuse(x_0, t, noise), t), y)


class ClassifierGuided(DDPM):
    """A DDPM whose predictions are bent towards a class (eq. 14); works with every sampler.

    model: trained without labels, or asked without one: the label goes to the classifier alone
    classifier: logits (N, K) from (x_t, t); condition and scale are keywords of `predict` and so of `sample`
    """

    def __init__(self, model: DDPM, classifier: nn.Module) -> None:
        super().__init__(
            model.network,
            model.schedule,
            model.event_shape,
            parametrisation=model.parametrisation,
            variance=model.process.variance,
            levels=model.process.levels,
            clip=model.clip,
        )
        self.classifier = classifier

    def predict(self, x_t: Tensor, t: Tensor, *, condition: Tensor | None = None, scale: float = 1.0) -> Prediction:
        """The guess whose score is that of the model plus scale · ∇ log p(y | x_t); condition: y, long (*B,)."""
        guess = super().predict(x_t, t)
        if condition is None:
            return guess
        gradient = class_gradient(self.classifier, x_t, t, condition)
        return parametrisation.from_epsilon(x_t, guess.a, guess.sigma, guess.epsilon - scale * guess.sigma * gradient)


@dataclass(frozen=True)
class GuidedAncestral:
    """Algorithm 1 as a sampler for a model without labels: y long (n,), the class of each sample."""

    classifier: Classifier
    y: Tensor
    scale: float = 1.0

    def step(self, process: GaussianDiffusion, guess: Prediction, t: int, s: int, noise: Tensor) -> Tensor:
        """A draw whose mean is moved by scale · Σ ∇ log p(y | x_t); the last step is the mean alone."""
        p = process.reverse(guess.x_0, guess.x_t, t, s)
        if s < 0:
            return p.mean
        times = torch.full((len(guess.x_t),), t, device=guess.x_t.device)
        gradient = class_gradient(self.classifier, guess.x_t, times, self.y)
        return p.sample(noise) + self.scale * p.variance * gradient
