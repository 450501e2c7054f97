"""Adversarial variational Bayes against its optimal discriminator, a linear model with known evidence, and autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from reference_models.latent.avb import AVB, ImplicitEncoder, Moments, contrast_loss
from reference_models.parts.likelihoods import Gaussian
from tests.reference_models.energy.oracles import law_p_value
from tests.reference_models.helpers import binary_states, close, numpy, perturb, standard_errors

W, SIGMA = torch.tensor([[1.2], [-0.7]], dtype=torch.float64), 0.6  # x = W z + SIGMA ε, z ~ N(0, 1)
VARIANCE = float(1 / (1 + (W**2).sum() / SIGMA**2))  # of p(z | x), whose mean is GAIN·x
GAIN = VARIANCE * W.T / SIGMA**2  # (1, 2)


class LinearDecoder(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z @ W.to(z).T


class LinearEncoder(nn.Module):
    """z = a·x + b + s ε: as an implicit encoder's network, with ε last."""

    def __init__(self, a: Tensor, b: float, s: float) -> None:
        super().__init__()
        self.a, self.b, self.s = nn.Parameter(a.clone()), nn.Parameter(torch.tensor(b)), nn.Parameter(torch.tensor(s))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, :2] @ self.a.to(inputs).T + self.b + self.s * inputs[:, 2:]

    def density(self, x: Tensor) -> Normal:
        return Normal((x @ self.a.to(x).T + self.b).squeeze(-1), self.s)


class Oracle(nn.Module):
    """T(x, z) as any function."""

    def __init__(self, f) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.f = f

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.f(x, z.squeeze(-1))


def linear_model(a: Tensor = GAIN, b: float = 0.0, s: float = VARIANCE**0.5, adaptive: bool = False) -> AVB:
    """The encoder's law is the exact posterior unless told otherwise; T* is known."""
    model = AVB((2,), 1, 1, (4,), likelihood=Gaussian(SIGMA, learned=False), adaptive_contrast=adaptive)
    encoder = LinearEncoder(a.to(torch.zeros(())), b, s)
    model.encoder, model.decoder = ImplicitEncoder(encoder, 1), LinearDecoder()
    model.discriminator = Oracle(lambda x, z: encoder.density(x).log_prob(z) - Normal(0.0, 1.0).log_prob(z))
    return model


def log_evidence(x: Tensor) -> Tensor:
    w = W.to(x)
    return MultivariateNormal(torch.zeros(2), w @ w.T + SIGMA**2 * torch.eye(2)).log_prob(x)


def test_the_loss_is_stationary_and_least_at_the_log_ratio() -> None:
    """Frequencies over four states, repeated, make the batch means exact: q = (1, 2, 4, 1)/8, p = (2, 2, 2, 2)/8."""
    q, p = [0, 1, 1, 2, 2, 2, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3]
    log_q, log_p = (torch.tensor([s.count(k) / 8 for k in range(4)]).log() for s in (q, p))
    T = (log_q - log_p).requires_grad_()
    loss = contrast_loss(T[q], T[p])
    (gradient,) = torch.autograd.grad(loss, T)
    assert close(gradient, torch.zeros(4), atol=1e-12)
    mixture = torch.logaddexp(log_q, log_p) - math.log(2)
    js = 0.5 * ((log_q.exp() * (log_q - mixture)).sum() + (log_p.exp() * (log_p - mixture)).sum())
    assert close(loss, float(2 * math.log(2) - 2 * js), atol=1e-12)
    for _ in range(5):
        other = T.detach() + 0.3 * torch.randn(4)
        assert float(contrast_loss(other[q], other[p])) > float(loss.detach())


def test_the_loss_is_cross_entropy_with_codes_of_the_posterior_as_the_positive_class() -> None:
    t_q, t_p = torch.randn(64), torch.randn(64)
    truth = F.binary_cross_entropy_with_logits(t_q, torch.ones(64)) + F.binary_cross_entropy_with_logits(
        t_p, torch.zeros(64)
    )
    assert close(contrast_loss(t_q, t_p), truth, atol=1e-12)
    assert math.isfinite(float(contrast_loss(torch.tensor([-800.0]), torch.tensor([800.0]))))


def test_with_the_exact_posterior_and_the_optimal_discriminator_every_draw_gives_the_evidence() -> None:
    x = torch.randn(8, 2)
    bound = linear_model().elbo(x, noise=torch.randn(1, 8, 1))
    assert close(bound.value, log_evidence(x), atol=1e-9)
    assert close(bound.reconstruction - bound.kl, bound.value.detach(), atol=1e-12)


def test_with_another_posterior_the_bound_averages_to_the_evidence_less_the_kl(generator: torch.Generator) -> None:
    """20 000 draws, 5 standard errors; KL of two Gaussians in closed form."""
    model = linear_model(0.6 * GAIN, 0.3, 0.8)
    x = torch.tensor([0.5, -1.0])
    q = model.encoder.net.density(x)
    posterior = Normal((GAIN.to(x) @ x).squeeze(), VARIANCE**0.5)
    truth = log_evidence(x) - torch.distributions.kl_divergence(q, posterior)
    draws = torch.stack([model.elbo(x.expand(20_000, 2), generator=generator).value])[0]
    assert standard_errors(draws.detach(), truth.detach()) < 5
    together = model.elbo(x, samples=20_000, generator=generator).value
    assert together.shape == ()
    assert close(together, truth.detach(), atol=6 * float(draws.detach().std()) / 20_000**0.5)


def test_adaptive_contrast_leaves_nothing_to_learn_of_a_gaussian_posterior() -> None:
    """With its exact moments r is q itself: T = 0 is optimal and every draw gives the evidence."""
    model, x = linear_model(adaptive=True), torch.randn(8, 2)
    mean = (x @ GAIN.to(x).T).detach()
    model.moments = lambda x, generator=None: Moments(mean, torch.full_like(mean, 0.5 * math.log(VARIANCE)))  # type: ignore[method-assign]
    seen: list[Tensor] = []
    model.discriminator = Oracle(lambda x, z: seen.append(z) or torch.zeros_like(z))
    noise = torch.randn(1, 8, 1)
    assert close(model.elbo(x, noise=noise).value, log_evidence(x), atol=1e-9)
    assert close(seen[0], noise.flatten(), atol=1e-9)


def test_moments_are_those_of_the_encoder_s_draws(generator: torch.Generator) -> None:
    """20 000 draws of a Gaussian encoder: mean and standard deviation within 5 standard errors."""
    model = linear_model(GAIN, 0.4, 0.8, adaptive=True)
    model.moment_samples = 20_000
    x = torch.randn(3, 2)
    found, q = model.moments(x, generator=generator), model.encoder.net.density(x)
    assert bool(((found.mean[:, 0] - q.mean).abs() < 5 * 0.8 / 20_000**0.5).all())
    assert bool((found.log_std.exp() / 0.8 - 1).abs().max() < 5 / (2 * 20_000) ** 0.5)
    assert close(found.normalise(found.mean + found.log_std.exp()), 1.0, atol=1e-12)
    assert not found.mean.requires_grad


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_discriminator_sees_codes_of_the_posterior_first_and_what_they_are_told_from_second(
    adaptive: bool, generator: torch.Generator
) -> None:
    """4000 pairs of one x: moments of the codes it is shown within 5 standard errors, x beside both."""
    model = linear_model(GAIN, 0.4, 0.5, adaptive)
    model.moment_samples, seen = 500, []
    model.discriminator = Oracle(lambda x, z: seen.append((x, z)) or z)
    x = torch.tensor([[0.5, -1.0]]).expand(4000, 2)
    loss = model.discriminator_loss(x[:1].expand(4000, 2), generator=generator)
    q = model.encoder.net.density(x[0])
    mean, std = (0.0, 1.0) if adaptive else (float(q.mean.detach()), 0.5)
    slack = 0.0 if not adaptive else 1 / 500**0.5
    for (beside, z), m, s in zip(seen, (mean, 0.0), (std, 1.0), strict=True):
        assert torch.equal(beside, x)
        assert abs(float(z.mean()) - m) < 5 * (s / 4000**0.5 + slack)
        assert abs(float(z.std()) - s) < 5 * (s / 8000**0.5 + slack)
    assert close(loss, F.softplus(-seen[0][1]).mean() + F.softplus(seen[1][1]).mean(), atol=1e-12)


def images(n: int) -> Tensor:
    return (torch.rand(n, 1, 2, 2) > 0.5).double()


def test_the_loss_of_the_model_is_minus_the_mean_bound(generator: torch.Generator) -> None:
    model, x = perturb(AVB((1, 2, 2), 2, 3, (6,))), images(5)
    bound = model.elbo(x, generator=generator).value
    assert close(model.loss(x, generator=generator.manual_seed(0)), -bound.sum() / 5, 1e-12)


@pytest.mark.parametrize("adaptive", [False, True])
def test_each_loss_trains_its_own_side_only(adaptive: bool, generator: torch.Generator) -> None:
    model = perturb(AVB((1, 2, 2), 2, 3, (6,), adaptive_contrast=adaptive))
    model.discriminator_loss(images(5), generator=generator).backward()
    assert all(p.grad is None for p in model.model_parameters())
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.discriminator.parameters())
    model.zero_grad(set_to_none=True)
    model.loss(images(5), generator=generator).backward()
    assert all(p.grad is None and p.requires_grad for p in model.discriminator.parameters())
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.model_parameters())
    assert len(model.model_parameters()) + len(list(model.discriminator.parameters())) == len(list(model.parameters()))


def test_the_encoder_s_gradient_passes_through_the_code_to_decoder_and_discriminator() -> None:
    """Finite differences of the bound in an encoder weight, the noise and T held fixed."""
    model, x, noise, h = perturb(AVB((1, 2, 2), 2, 3, (6,))), images(5), torch.randn(2, 5, 3), 1e-6
    bound = model.elbo(x, samples=2, noise=noise)
    weight = model.encoder.net[0].weight
    for part in ("value", "kl", "reconstruction"):
        (slope,) = torch.autograd.grad(getattr(bound, part).mean(), weight, retain_graph=True)
        ends = []
        for step in (h, -h):
            with torch.no_grad():
                weight[1, 2] += step
                ends.append(float(getattr(model.elbo(x, samples=2, noise=noise), part).mean()))
                weight[1, 2] -= step
        assert abs(float(slope[1, 2]) - (ends[0] - ends[1]) / (2 * h)) < 1e-8
        assert float(slope[1, 2]) != 0


def test_every_example_and_draw_has_noise_of_its_own(generator: torch.Generator) -> None:
    model = perturb(AVB((1, 2, 2), 2, 3, (6,)))
    z = model.encoder.draw(images(1).expand(8, 1, 2, 2), 4, generator=generator)
    assert z.shape == (4, 8, 2)
    assert z[..., 0].unique().numel() == 32
    x, eps = images(8), torch.randn(4, 8, 3)
    one = model.encoder.draw(x[3:4], 4, noise=eps[:, 3:4])
    assert close(model.encoder.draw(x, 4, noise=eps)[:, 3], one[:, 0].detach(), atol=1e-12)


def test_samples_have_the_law_of_prior_and_likelihood(generator: torch.Generator) -> None:
    """All 2^4 images by quadrature over one code variable; 20 000 samples, below 1e-6 by Pearson's test."""
    model = perturb(AVB((1, 2, 2), 1, 1, (6,)), scale=0.5)
    x = binary_states(4).view(16, 1, 2, 2)
    z = torch.linspace(-8, 8, 401)
    h = model.decoder(z[:, None])[:, None].expand(-1, 16, 1, 2, 2)
    bce = F.binary_cross_entropy_with_logits(h, x.expand_as(h), reduction="none")
    law = (Normal(0.0, 1.0).log_prob(z)[:, None] - bce.sum((2, 3, 4))).exp().sum(0) * float(z[1] - z[0])
    assert abs(float(law.sum().detach()) - 1) < 1e-8
    assert law_p_value(model.sample(20_000, generator=generator).view(-1, 4), np.asarray(numpy(law))) > 1e-6


def test_sampling_restores_the_training_flag(generator: torch.Generator) -> None:
    """Dropout in the decoder is off while sampling, so that equal seeds give equal images, and on after it."""
    model = perturb(AVB((1, 2, 2), 2, 3, (6,)))
    model.decoder.append(nn.Dropout(0.9))
    first = model.train().sample(20, generator=generator)
    assert torch.equal(first, model.sample(20, generator=generator.manual_seed(0)))
    assert all(part.training for part in model.modules())


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    model, x = AVB((1, 2, 2), adaptive_contrast=True).float(), images(3).float()
    assert model.elbo(x, generator=generator).value.dtype == torch.float32
    assert model.discriminator_loss(x, generator=generator).dtype == torch.float32
    assert model.elbo(x[0], generator=generator).value.shape == ()
    assert model.sample(3, generator=generator).dtype == torch.float32


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match="noise_dim must be at least 1, got 0"):
        AVB(noise_dim=0)
    with pytest.raises(ValueError, match="moment_samples must be at least 2, got 1"):
        AVB(moment_samples=1)
    with pytest.raises(ValueError, match=r"\(1, 3, 4\), got \(3, 4\)"):
        AVB((1, 2, 2)).elbo(images(3), noise=torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"\(1, 3, 3\)"):
        AVB((1, 2, 2)).elbo(torch.zeros(1, 3, 3))
