"""The score model in continuous time: its loss by hand, its samples against the exact law of Euler–Maruyama."""

from __future__ import annotations

import pytest
import torch

from reference_models.diffusion.score_sde import EulerMaruyama, ScoreSDE
from reference_models.diffusion.sde import VE, VP, SubVP
from reference_models.exact import ContinuousNoise, euler_steps, law_of_sampler, off_by
from reference_models.parts.networks import TimeMLP
from reference_models.protocols import Implicit
from tests.reference_models.diffusion.oracles import Recorder
from tests.reference_models.helpers import close, perturb, standard_errors

M, S2 = 1.5, 0.36
SDES = [VP(0.3, 9.0), SubVP(0.3, 9.0), VE(0.2, 6.0)]


@pytest.mark.parametrize("sde", SDES)
def test_the_score_is_minus_noise_over_sigma(sde):
    model = ScoreSDE(ContinuousNoise(sde, M, S2), sde, (1,))
    x, t = torch.randn(5, 1), torch.linspace(0.1, 1.0, 5)
    a, v = sde.a(t).unsqueeze(1), (sde.a(t) ** 2 * S2 + sde.sigma(t) ** 2).unsqueeze(1)
    assert close(model.score(x, t), -(x - a * M) / v, 1e-10)


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("weighting", ["simple", "likelihood"])
def test_the_loss_is_weighted_denoising_score_matching(sde, weighting):
    """½ λ(t) |s(x_t, t) − ∇ log q(x_t|x_0)|² with λ = σ² or g², example by example."""
    model = ScoreSDE(perturb(TimeMLP(2, [8], 2)), sde, (2,), weighting=weighting)
    x_0, noise, t = torch.randn(4, 2), torch.randn(4, 2), torch.tensor([0.05, 0.3, 0.7, 1.0])
    terms = []
    for i in range(4):
        a, sigma = sde.a(t[i]), sde.sigma(t[i])
        x_t = a * x_0[i] + sigma * noise[i]
        error = model.score(x_t, t[i]) + (x_t - a * x_0[i]) / sigma**2
        weight = sigma**2 if weighting == "simple" else sde.diffusion(t[i]) ** 2
        terms.append(0.5 * weight * error.square().sum())
    assert close(model.loss(x_0, t=t, noise=noise), torch.stack(terms).mean(), 1e-9)


def test_the_exact_network_has_the_least_loss(generator):
    """½ Var(ε|x_t) = ½ a² s²/(a² s² + σ²) at each of 50 times; 5 standard errors, by chance 6e-7."""
    sde = SDES[0]
    t = torch.linspace(0.01, 1, 50)
    expected = float((0.5 * sde.a(t) ** 2 * S2 / (sde.a(t) ** 2 * S2 + sde.sigma(t) ** 2)).mean())
    model = ScoreSDE(ContinuousNoise(sde, M, S2), sde, (1,))
    losses = torch.stack(
        [model.loss(M + S2**0.5 * torch.randn(100, 1), t=t.repeat(2), noise=torch.randn(100, 1)) for _ in range(300)]
    )
    assert standard_errors(losses.reshape(-1, 1), expected) < 5


def test_times_are_uniform_above_the_least(generator):
    """20000 draws on [0.1, 1]: mean, spread and ends, 5 standard errors, by chance 1e-6; one time for each example."""
    network = Recorder()
    ScoreSDE(network, VP(), (1,), t_min=0.1).loss(torch.zeros(20000, 1), generator=generator)
    t = network.calls[0][1]
    assert 0.1 <= float(t.min()) < 0.101
    assert 0.999 < float(t.max()) <= 1.0
    assert standard_errors(t.reshape(-1, 1), 0.55) < 5
    assert standard_errors((t.reshape(-1, 1) - 0.55).square(), 0.81 / 12) < 5


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("steps", [7, 200])
def test_samples_follow_the_law_of_euler_maruyama(sde, steps, generator):
    """Every step is affine; mean and deviation of 20000 samples within 5 standard errors, by chance 1e-6."""
    model = ScoreSDE(ContinuousNoise(sde, M, S2), sde, (1,), t_min=0.02)
    x = model.sample(20000, steps=steps, generator=generator)
    expected = law_of_sampler(euler_steps(sde, steps, 0.02, M, S2), 0.0, sde.prior_std)
    assert off_by(x, *expected) < 5


@pytest.mark.parametrize("sde", SDES)
def test_many_steps_approach_the_data(sde):
    """The exact law of 2000 steps, started from the true p_1, is that of x(t_min) within a percent."""
    t = torch.tensor(0.001)
    one = torch.ones(())
    start = float(sde.a(one)) * M, float(sde.a(one) ** 2 * S2 + sde.sigma(one) ** 2) ** 0.5
    mean, std = law_of_sampler(euler_steps(sde, 2000, 0.001, M, S2), *start)
    assert abs(mean - float(sde.a(t)) * M) < 0.01
    assert abs(std / float(sde.a(t) ** 2 * S2 + sde.sigma(t) ** 2) ** 0.5 - 1) < 0.01


def test_one_step_by_hand():
    sde, model = SDES[0], ScoreSDE(ContinuousNoise(SDES[0], M, S2), SDES[0], (1,))
    x, z, t, s = torch.tensor([[0.4]]), torch.tensor([[1.2]]), torch.tensor(0.5), torch.tensor(0.45)
    beta = 0.3 + 0.5 * 8.7
    expected = x + 0.05 * (0.5 * beta * x + beta * model.score(x, t)) + (beta * 0.05) ** 0.5 * z
    assert close(EulerMaruyama().step(sde, model.score, x, t, s, z), expected, 1e-10)


def test_times_fall_evenly_to_the_least():
    network = Recorder()
    ScoreSDE(network, VP(), (1,), t_min=0.2).sample(2, steps=4)
    assert close(torch.stack([call[1] for call in network.calls])[:, 0], torch.tensor([1.0, 0.8, 0.6, 0.4]), 1e-12)


def test_correctors_follow_every_step_but_the_last():
    times = []

    class Corrector:
        def correct(self, sde, score, x, t, generator):
            times.append(float(t))
            return x + 100.0

    model = ScoreSDE(Recorder(), VE(0.2, 6.0), (1,), t_min=0.2)  # score zero and no drift: only corrections move x
    x = model.sample(2, steps=4, corrector=Corrector(), predictor=Still(), noise=torch.zeros(2, 1))
    assert times == pytest.approx([0.8, 0.6, 0.4])
    assert close(x, torch.full((2, 1), 300.0), 1e-9)


class Still:
    def step(self, sde, score, x, t, s, noise):
        return x


def test_samples_are_repeated_by_their_generator_and_leave_training_mode(device):
    model = ScoreSDE(perturb(TimeMLP(2, [8], 2)), VP(), (2,))
    model.train()
    first, second = (model.sample(3, steps=5, generator=torch.Generator(device).manual_seed(1)) for _ in range(2))
    assert close(first, second, 0)
    assert model.training
    assert not first.requires_grad
    assert isinstance(model, Implicit)


def test_one_example_or_many_in_float32(generator):
    model = ScoreSDE(perturb(TimeMLP(2, [8], 2)), SubVP(), (2,)).float()
    x, t = torch.randn(64, 2, dtype=torch.float32), torch.linspace(0.1, 1, 64, dtype=torch.float32)
    scores = model.score(x, t)
    assert scores.dtype == torch.float32
    assert close(model.score(x[5], t[5]), scores[5], 1e-4)
    assert model.loss(x, generator=generator).dtype == torch.float32
    assert model.loss(x[0], generator=generator).shape == ()
    assert model.sample(2, steps=3, generator=generator).dtype == torch.float32


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"t_min must lie in \(0, 1\), got 0"):
        ScoreSDE(Recorder(), VP(), (1,), t_min=0.0)
    with pytest.raises(ValueError, match="weighting must be one of 'simple', 'likelihood', got 'sharp'"):
        ScoreSDE(Recorder(), VP(), (1,), weighting="sharp")
    with pytest.raises(ValueError, match=r"x_0 must have shape \(1\)"):
        ScoreSDE(Recorder(), VP(), (1,)).loss(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        ScoreSDE(Recorder(), VP(), (1,)).sample(1, steps=0)
    with pytest.raises(ValueError, match=r"noise must have shape \(5, 1\), got \(1, 1\)"):
        ScoreSDE(Recorder(), VP(), (1,)).sample(5, noise=torch.zeros(1, 1))
    with pytest.raises(ValueError, match=r"noise must have shape \(4, 2\), got \(2,\)"):
        ScoreSDE(Recorder(), VP(), (2,)).loss(torch.zeros(4, 2), noise=torch.zeros(2))
    for t in (-0.5, 0.0, 500.0):
        with pytest.raises(ValueError, match=rf"t must lie in \(0, 1\], got \[{t}\]"):
            ScoreSDE(Recorder(), VP(), (1,)).loss(torch.zeros(1, 1), t=torch.tensor([t]))
