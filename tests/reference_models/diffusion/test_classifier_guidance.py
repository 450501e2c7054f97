"""Classifier guidance with Gaussian classes, whose scores and posteriors are known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from reference_models.diffusion.classifier_guidance import (
    ClassifierGuided,
    GuidedAncestral,
    class_gradient,
    classifier_loss,
)
from reference_models.diffusion.ddim import DDIM
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.gaussian_diffusion import GaussianDiffusion
from reference_models.diffusion.schedule import Schedule
from reference_models.parts.networks import TimeMLP
from tests.reference_models.diffusion.oracles import Recorder
from tests.reference_models.helpers import close, perturb

STD = 0.5


def betas() -> Tensor:
    return torch.linspace(0.01, 0.3, 20)


def means() -> Tensor:
    return torch.tensor([-1.0, 0.4, 2.0])


def log_joint(x: Tensor, t: Tensor) -> Tensor:
    """log p(y) p(x_t | y) of three normal classes with equal weights, (N, 3)."""
    alpha_bar = (1 - betas()).cumprod(0)[t].unsqueeze(-1)
    std = (alpha_bar * STD**2 + 1 - alpha_bar).sqrt()
    return Normal(alpha_bar.sqrt() * means(), std).log_prob(x)


class ExactClassifier(nn.Module):
    """p(y | x_t), its logits shifted by a function of x that must not matter."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return log_joint(x, t) + x.square()


class ExactNoise(nn.Module):
    """−√(1−ᾱ) ∇ log p(x_t) of the mixture, by autograd."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            (score,) = torch.autograd.grad(log_joint(leaf, t).logsumexp(-1).sum(), leaf)
        return -(1 - (1 - betas()).cumprod(0)[t]).sqrt().unsqueeze(-1) * score


def guided() -> ClassifierGuided:
    return ClassifierGuided(DDPM(ExactNoise(), Schedule(betas()), (1,)), ExactClassifier())


def class_score(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
    alpha_bar = (1 - betas()).cumprod(0)[t].unsqueeze(-1)
    return -(x - alpha_bar.sqrt() * means()[y].unsqueeze(-1)) / (alpha_bar * STD**2 + 1 - alpha_bar)


def test_the_gradient_is_that_of_the_chosen_log_probability():
    x, t, y = torch.randn(5, 1), torch.tensor([0, 3, 9, 15, 19]), torch.tensor([0, 1, 2, 0, 2])
    expected = []
    for i in range(5):
        ones = torch.func.grad(lambda v, i=i: log_joint(v[None], t[i : i + 1]).log_softmax(-1)[0, y[i]])(x[i])
        expected.append(ones)
    assert close(class_gradient(ExactClassifier(), x, t, y), torch.stack(expected), 1e-10)


def test_the_guided_score_is_that_of_the_class():
    """score + ∇ log p(y|x_t) = ∇ log p(x_t|y) for scale 1, and the sum with any scale."""
    model = guided()
    t = torch.arange(20).repeat(3)
    y = torch.arange(3).repeat_interleave(20)
    x = torch.randn(60, 1)
    assert close(model.predict(x, t, condition=y).score, class_score(x, t, y), 1e-9)
    free = model.predict(x, t).score
    triple = model.predict(x, t, condition=y, scale=3.0).score
    assert close(triple, free + 3 * (class_score(x, t, y) - free), 1e-9)


def test_guessed_data_and_noise_agree():
    model = guided()
    x, t, y = torch.randn(20, 1), torch.arange(20), torch.ones(20, dtype=torch.long)
    guess = model.predict(x, t, condition=y, scale=2.0)
    assert close(guess.a * guess.x_0 + guess.sigma * guess.epsilon, x, 1e-12)


def test_without_a_class_nothing_is_guided():
    model = guided()
    x, t = torch.randn(20, 1), torch.arange(20)
    plain = DDPM(ExactNoise(), Schedule(betas()), (1,)).predict(x, t)
    assert close(model.predict(x, t).epsilon, plain.epsilon, 0)
    y = torch.zeros(20, dtype=torch.long)
    assert close(model.predict(x, t, condition=y, scale=0.0).epsilon, plain.epsilon, 1e-12)


def test_guided_sampling_is_sampling_of_the_class(generator):
    """Deterministic sampling with the guided score equals that of the exact class model, number by number."""

    class OfClass(nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return -(1 - (1 - betas()).cumprod(0)[t]).sqrt().unsqueeze(-1) * class_score(x, t, y)

    noise, y = torch.randn(6, 1), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = DDPM(OfClass(), Schedule(betas()), (1,)).sample(6, sampler=DDIM(), noise=noise, condition=y)
    assert close(guided().sample(6, sampler=DDIM(), noise=noise, condition=y), expected, 1e-9)


def test_the_ancestral_mean_moves_by_scale_times_variance_times_gradient():
    model = DDPM(ExactNoise(), Schedule(betas()), (1,))
    x, z, y = torch.randn(4, 1), torch.randn(4, 1), torch.tensor([0, 1, 2, 0])
    t = torch.full((4,), 7)
    guess = model.predict(x, t)
    p = model.process.reverse(guess.x_0, x, 7, 6)
    step = GuidedAncestral(ExactClassifier(), y, scale=2.5).step(model.process, guess, 7, 6, z)
    gradient = class_score(x, t, y) - guess.score
    bars = (1 - betas()).cumprod(0)
    variance = betas()[7] * (1 - bars[6]) / (1 - bars[7])
    assert close(step, p.mean + 2.5 * variance * gradient + variance.sqrt() * z, 1e-10)
    last = GuidedAncestral(ExactClassifier(), y).step(model.process, guess, 0, -1, z)
    assert close(last, GuidedAncestral(ExactClassifier(), y).step(model.process, guess, 0, -1, z + 1), 0)


def test_both_algorithms_agree_for_small_steps():
    """Algorithm 1 moves the mean by β̃ g where algorithm 2 moves it by β/√α g: nearly the same for β = 1e-4."""
    tiny = torch.full((400,), 1e-4)
    model = DDPM(Recorder(0.1), Schedule(tiny), (1,))
    linear = nn.Linear(1, 3)

    def classifier(x: Tensor, t: Tensor) -> Tensor:
        return linear(x)

    class Classifier(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return linear(x)

    x, y = torch.randn(3, 1), torch.tensor([0, 1, 2])
    t = torch.full((3,), 399)
    plain = model.predict(x, t)
    bent = ClassifierGuided(model, Classifier()).predict(x, t, condition=y)
    process, zero = model.process, torch.zeros(3, 1)
    base = process.reverse(plain.x_0, x, 399).mean
    first = GuidedAncestral(classifier, y).step(process, plain, 399, 398, zero) - base
    second = process.reverse(bent.x_0, x, 399).mean - base
    assert close(first / second, torch.ones(3, 1), 1e-2)


def test_the_classifier_learns_from_noised_data():
    """The loss is the cross-entropy of logits at √ᾱ_t x_0 + √(1−ᾱ_t) ε."""
    process = DDPM(Recorder(), Schedule(betas()), (1,)).process
    x_0, noise, y, t = torch.randn(4, 1), torch.randn(4, 1), torch.tensor([0, 2, 1, 1]), torch.tensor([0, 5, 12, 19])
    bars = (1 - betas()).cumprod(0)[t].unsqueeze(1)
    logits = log_joint(bars.sqrt() * x_0 + (1 - bars).sqrt() * noise, t)
    loss = classifier_loss(ExactClassifier(), process, x_0, y, t=t, noise=noise)
    assert close(loss, F.nll_loss(logits.log_softmax(-1), y), 1e-12)
    classifier = perturb(TimeMLP(1, [8], 3, time_scale=1.0))
    classifier_loss(classifier, process, x_0, y).backward()
    assert all(p.grad is not None for p in classifier.parameters())


def test_batches_are_treated_example_by_example():
    model = guided()
    x, t, y = torch.randn(64, 1), torch.arange(64) % 20, torch.arange(64) % 3
    all_of_them = model.predict(x, t, condition=y).epsilon
    assert close(model.predict(x[5], t[5], condition=y[5]).epsilon, all_of_them[5], 1e-10)


def test_float32_stays_float32(generator):
    model = ClassifierGuided(
        DDPM(TimeMLP(2, [8], 2, time_scale=1.0), Schedule(betas()), (2,)), TimeMLP(2, [8], 3, time_scale=1.0)
    ).float()
    y = torch.tensor([0, 1, 2])
    assert model.sample(3, condition=y, scale=2.0, generator=generator).dtype == torch.float32


def test_a_label_that_does_not_exist_is_refused():
    for label in (-1, 3):
        with pytest.raises(ValueError, match=r"labels must lie in 0\.\."):
            guided().predict(torch.zeros(1, 1), torch.tensor([0]), condition=torch.tensor([label]))


def test_the_classifier_is_trained_at_every_time(generator):
    """4000 draws of six times: each within five standard errors of its share, the last one too."""
    seen = []

    def classifier(x, t):
        seen.append(t)
        return torch.zeros(len(x), 2)

    process = GaussianDiffusion(Schedule(torch.linspace(0.1, 0.5, 6)))
    classifier_loss(classifier, process, torch.zeros(4000, 1), torch.zeros(4000).long(), generator=generator)
    counts = torch.bincount(seen[0], minlength=6).double()
    assert len(counts) == 6
    assert float((counts - 4000 / 6).abs().max()) < 5 * (4000 * 5 / 36) ** 0.5


def test_a_guided_model_keeps_all_settings_of_the_model_it_is_made_of():
    network = TimeMLP(1, (4,), 1, time_scale=1.0)
    schedule = Schedule(torch.linspace(0.1, 0.5, 6))
    plain = DDPM(network, schedule, (1,), parametrisation="v", variance="large", levels=5, clip=0.25)
    guided = ClassifierGuided(plain, TimeMLP(1, (4,), 2, time_scale=1.0))
    x, t = 3 * torch.randn(8, 1), torch.arange(8) % 6
    assert close(guided.predict(x, t).x_0, plain.predict(x, t).x_0, 0.0)
    drawn = [model.sample(40, generator=torch.Generator(x.device).manual_seed(3)) for model in (guided, plain)]
    assert close(drawn[0], drawn[1], 0.0)
    assert float(drawn[0].abs().max()) <= 0.25  # the last step is the guess, clipped
    for name in ("parametrisation", "clip"):
        assert getattr(guided, name) == getattr(plain, name)
    assert (guided.process.variance, guided.process.levels) == ("large", 5)
