"""DDPM against the exact law of its sampling recursion, the best possible loss and the exact likelihood."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from reference_models.diffusion import parametrisation
from reference_models.diffusion.ddpm import DDPM, Ancestral, cifar10_ddpm
from reference_models.diffusion.parametrisation import KINDS
from reference_models.diffusion.schedule import Schedule
from reference_models.exact import BestNoise, ancestral_steps, best_guess, law_of_sampler, off_by
from reference_models.parts.networks import TimeMLP
from reference_models.parts.unet import UNet
from reference_models.protocols import LatentVariableModel
from tests.reference_models.diffusion.oracles import Recorder
from tests.reference_models.helpers import close, perturb, standard_errors

T = 50
M, S = 1.5, 0.6


def betas() -> Tensor:
    return torch.linspace(1e-3, 0.2, T)


def alpha_bars() -> list[float]:
    return (1 - betas()).cumprod(0).tolist()


def exact_model(event_shape: tuple[int, ...] = (1,), **options) -> DDPM:
    return DDPM(BestNoise(betas(), M, S), Schedule(betas()), event_shape, **options)


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("times", [list(range(T)), [0, 3, 10, 24, 49]])
def test_samples_follow_the_law_of_the_recursion(variance, times, generator):
    """With the best denoiser every step is affine; mean and deviation of 40000 samples within 5 standard errors.

    Fails by chance for 1e-6 of all seeds.
    """
    x = exact_model(variance=variance).sample(40000, times=times, generator=generator)
    assert off_by(x, *law_of_sampler(ancestral_steps(alpha_bars(), times, M, S, variance=variance))) < 5


def test_the_two_variances_give_laws_that_can_be_told_apart():
    """The law of the right sampler is not that of the data: 0.566 against 0.6 here, 0.607 with the large variance."""
    chains = [ancestral_steps(alpha_bars(), range(T), M, S, variance=v) for v in ("small", "large")]
    small, large = (law_of_sampler(chain).std for chain in chains)
    assert small < 0.59 < large


def test_one_ancestral_step_by_hand():
    model = DDPM(Recorder(0.3), Schedule(torch.tensor([0.1, 0.4])), (2,))
    x, z = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.25]])
    guess = model.predict(x, torch.tensor([1]))
    # β = 0.4, ᾱ_1 = 0.54, ᾱ_0 = 0.9: algorithm 2 writes the mean as (x − β/√(1−ᾱ) ε)/√α
    mean = (x - 0.4 / 0.46**0.5 * 0.3 * x) / 0.6**0.5
    expected = mean + (0.4 * 0.1 / 0.46) ** 0.5 * z
    assert close(Ancestral().step(model.process, guess, 1, 0, z), expected, 1e-12)


def test_the_last_step_is_without_noise(generator):
    model = exact_model()
    guess = model.predict(torch.randn(8, 1), torch.zeros(8, dtype=torch.long))
    first, second = (Ancestral().step(model.process, guess, 0, -1, torch.randn(8, 1)) for _ in range(2))
    assert close(first, second, 0)
    assert close(first, guess.x_0, 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parametrisation_of_the_best_denoiser_gives_the_same_samples(kind):
    """A network that outputs x_0, v or the score in place of ε draws the same numbers from the same noise."""

    class Converted(BestNoise):
        def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            a = self.alpha_bars[t].sqrt().reshape(-1, 1)
            guess = parametrisation.from_epsilon(x, a, (1 - a.square()).sqrt(), super().forward(x, t))
            return {"epsilon": guess.epsilon, "x0": guess.x_0, "v": guess.v, "score": guess.score}[kind]

    model = DDPM(Converted(betas(), M, S), Schedule(betas()), (1,), parametrisation=kind)
    device = betas().device
    samples = [m.sample(16, generator=torch.Generator(device).manual_seed(3)) for m in (exact_model(), model)]
    assert close(samples[0], samples[1], 1e-9)


def test_a_network_that_says_nothing_has_loss_one(generator):
    """E ε² = 1, averaged over batch and dimensions; 5 standard errors, by chance 6e-7."""
    model = DDPM(Recorder(0.0), Schedule(betas()), (1, 2, 2))
    losses = torch.stack([model.loss(torch.randn(16, 1, 2, 2), generator=generator) for _ in range(400)])
    assert standard_errors(losses.reshape(-1, 1), 1.0) < 5


def test_the_best_network_has_the_best_loss(generator):
    """Var(ε | x_t) = ᾱ s²/(ᾱ s² + 1 − ᾱ), averaged over t; 5 standard errors, by chance 6e-7."""
    expected = sum(a * S**2 / (a * S**2 + 1 - a) for a in alpha_bars()) / T
    model = exact_model()
    x_0 = M + S * torch.randn(40000, 1)
    t = torch.arange(T).repeat(800)
    noise = torch.randn(40000, 1)
    losses = torch.stack(
        [model.loss(x_0[i::200], t=t[torch.arange(i, 40000, 200) // 200 % T], noise=noise[i::200]) for i in range(200)]
    )
    assert standard_errors(losses.reshape(-1, 1), expected) < 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_compares_the_output_with_its_target(kind):
    """Two constant outputs, so that no sign can hide."""
    x_0, noise, t = torch.randn(3, 2), torch.randn(3, 2), torch.tensor([0, 20, 49])
    a = torch.tensor(alpha_bars())[t].sqrt().unsqueeze(1)
    sigma = (1 - a.square()).sqrt()
    goal = {"epsilon": noise, "x0": x_0, "v": a * noise - sigma * x_0, "score": -noise / sigma}[kind]
    for constant in (0.0, 3.0):
        network = Recorder()
        network.forward = lambda x, t, c=constant: torch.full_like(x, c)  # type: ignore[method-assign]
        model = DDPM(network, Schedule(betas()), (2,), parametrisation=kind)
        expected = (constant - goal).square().mean()
        assert close(model.loss(x_0, t=t, noise=noise), expected, 1e-10)


def test_the_network_is_shown_the_diffused_data_and_its_time(generator):
    network = Recorder()
    model = DDPM(network, Schedule(betas()), (2,))
    x_0, noise, t = torch.randn(3, 2), torch.randn(3, 2), torch.tensor([0, 20, 49])
    model.loss(x_0, t=t, noise=noise)
    x_t, shown = network.calls[0]
    bars = torch.tensor(alpha_bars())[t].unsqueeze(1)
    assert close(x_t, bars.sqrt() * x_0 + (1 - bars).sqrt() * noise, 1e-12)
    assert close(shown, t, 0)


def test_times_are_uniform_and_one_for_each_example(generator):
    """A χ² statistic with 49 degrees of freedom over 20000 draws exceeds 120 for 6e-8 of all seeds."""
    network = Recorder()
    model = DDPM(network, Schedule(betas()), (1,))
    model.loss(torch.zeros(20000, 1), generator=generator)
    counts = torch.bincount(network.calls[0][1], minlength=T).double()
    assert len(counts) == T
    assert float(((counts - 400) ** 2 / 400).sum()) < 120


def test_times_visited_while_sampling_are_those_asked_for():
    network = Recorder()
    DDPM(network, Schedule(betas()), (1,)).sample(2, times=[1, 7, 49])
    assert [call[1].tolist() for call in network.calls] == [[49, 49], [7, 7], [1, 1]]


def test_the_condition_reaches_the_network():
    network = Recorder()
    model = DDPM(network, Schedule(betas()), (1,))
    y = torch.tensor([3, 1])
    model.loss(torch.zeros(2, 1), condition=y)
    model.sample(2, times=[4], condition=y)
    assert all(close(call[2], y, 0) for call in network.calls)
    assert len(network.calls) == 2


def test_the_bound_is_below_the_exact_likelihood_and_near_it(generator):
    """p(x_0) of the linear chain is a normal law, by the recursion with the decoder's variance; three places.

    Steps evenly spaced in log SNR; 5 standard errors at each place, by chance 1e-6.
    """
    schedule = Schedule.from_alpha_bars(torch.linspace(7, -7, 200).sigmoid())
    bars, steps = schedule.alpha_bars.tolist(), schedule.betas.tolist()
    chain = []
    for t in reversed(range(200)):
        before = bars[t - 1] if t else 1.0
        slope, offset = best_guess(bars[t], M, S)
        weight = before**0.5 * steps[t] / (1 - bars[t])
        rest = (1 - steps[t]) ** 0.5 * (1 - before) / (1 - bars[t])
        chain.append((weight * slope + rest, weight * offset, steps[t] ** 0.5))
    mean, std = law_of_sampler(chain)
    model = DDPM(BestNoise(schedule.betas, M, S), schedule, (1,), variance="large")
    x_0 = torch.tensor([0.5, 1.5, 2.5]).repeat(2000).unsqueeze(1)
    elbo = model.elbo(x_0, generator=generator)
    gap = (Normal(mean, std).log_prob(x_0).squeeze(1) - elbo.value).reshape(2000, 3)
    error = gap.std(0) / 2000**0.5
    assert bool((gap.mean(0) > -5 * error).all())
    assert bool((gap.mean(0) < 0.2 + 5 * error).all())
    assert close(elbo.value, elbo.reconstruction - elbo.kl, 1e-12)


def test_the_bound_and_samples_use_the_clipped_guess(generator):
    """A guess far outside [−1, 1] counts as ±1: the last step returns it, and the bound takes it for x_0."""
    model = DDPM(Recorder(-5000.0), Schedule(betas()), (3,), clip=1.0)  # x̂_0 has the sign of x_t
    assert close(model.sample(4, generator=generator).abs(), torch.ones(4, 3), 0)
    x_t = torch.ones(64, 3)
    x_t[:, 0] = -1
    bound = model.bound(x_t, generator=generator)
    exact = bound.denoising[0] < 1e-9  # with all signs right the guess is x_0 itself and costs nothing
    assert float(exact.double().mean()) > 0.9


def test_samples_are_repeated_by_their_generator_and_leave_training_mode(device):
    model = DDPM(perturb(TimeMLP(2, [8], 2, time_scale=1.0)), Schedule(betas()[:5]), (2,))
    model.train()
    first, second = (model.sample(3, generator=torch.Generator(device).manual_seed(1)) for _ in range(2))
    assert close(first, second, 0)
    assert model.training
    assert model.network.training
    assert not first.requires_grad
    x_t = torch.randn(3, 2)
    kept = x_t.clone()
    model.sample(3, noise=x_t)
    assert close(x_t, kept, 0)


def test_batches_are_treated_example_by_example(generator):
    model = DDPM(perturb(TimeMLP(2, [8], 2, time_scale=1.0)), Schedule(betas()), (2,))
    x, t = torch.randn(64, 2), torch.randint(T, (64,))
    guess = model.predict(x, t)
    for i in (0, 31, 63):
        assert close(model.predict(x[i], t[i]).x_0, guess.x_0[i], 1e-9)
    assert model.elbo(x[0], generator=generator).value.shape == ()
    assert model.elbo(x[:4], generator=generator).value.shape == (4,)
    assert isinstance(model, LatentVariableModel)


def test_gradients_reach_every_parameter():
    model = DDPM(perturb(UNet(1, 1, 8, (1, 2))), Schedule(betas()), (1, 4, 4))
    loss = model.loss(torch.randn(4, 1, 4, 4))
    loss.backward()
    assert loss.shape == ()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in model.parameters())


def test_float32_stays_float32(generator):
    model = DDPM(TimeMLP(2, [8], 2, time_scale=1.0), Schedule(betas()), (2,)).float()
    x = torch.randn(4, 2, dtype=torch.float32)
    assert model.sample(3, times=[0, 20, 49]).dtype == torch.float32
    assert model.loss(x).dtype == torch.float32
    exact = exact_model()
    rough = exact_model().float()
    t = torch.arange(T)
    x = torch.randn(T, 1)
    assert close(rough.predict(x.float(), t).x_0.double(), exact.predict(x, t).x_0, 1e-3)


def test_the_model_of_cifar10_is_that_of_the_paper():
    """T = 1000, β from 1e-4 to 0.02, images of 3×32×32 with 256 levels in [−1, 1] (sections 3.3 and 4)."""
    torch.set_default_dtype(torch.float32)
    model = cifar10_ddpm()
    assert model.schedule.steps == 1000
    assert math.isclose(float(model.schedule.betas[-1]), 0.02, rel_tol=1e-4)
    assert model.event_shape == (3, 32, 32)
    assert (model.process.variance, model.process.levels, model.clip) == ("large", 256, 1.0)
    assert isinstance(model.network, UNet)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"x_0 must have shape \(1\) or \(N, 1\), got \(4, 2\)"):
        exact_model().loss(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="parametrisation must be one of"):
        exact_model(parametrisation="noise")
    with pytest.raises(ValueError, match="clip must be positive, got 0"):
        exact_model(clip=0.0)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        exact_model().sample(0)
    with pytest.raises(ValueError, match=r"noise must have shape \(5, 1\), got \(1, 1\)"):
        exact_model().sample(5, noise=torch.zeros(1, 1))
    with pytest.raises(ValueError, match="times must increase strictly"):
        exact_model().sample(1, times=[3, 2])
    with pytest.raises(ValueError, match="t must be integers"):
        DDPM(nn.Identity(), Schedule(betas()), (1,)).predict(torch.zeros(2, 1), torch.tensor([0, T]))
    with pytest.raises(ValueError, match=r"t must be integers in 0\.\.\d+, got \[-1\]"):
        exact_model().loss(torch.zeros(1, 1), t=torch.tensor([-1]))
