"""DDIM against the exact law of its recursion, DDPM at η = 1, and the marginals every η keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reference_models.diffusion.ddim import DDIM, encode, strided
from reference_models.diffusion.ddpm import DDPM, Ancestral
from reference_models.diffusion.parametrisation import Prediction
from reference_models.diffusion.schedule import Schedule
from reference_models.exact import BestNoise, ddim_steps, law_of_sampler, off_by
from tests.reference_models.diffusion.oracles import Recorder
from tests.reference_models.helpers import close

T = 50
M, S = 1.5, 0.6


def betas() -> Tensor:
    return torch.linspace(1e-3, 0.2, T)


def alpha_bars() -> list[float]:
    return (1 - betas()).cumprod(0).tolist()


def exact_model() -> DDPM:
    return DDPM(BestNoise(betas(), M, S), Schedule(betas()), (1,))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [50, 10, 3])
def test_samples_follow_the_law_of_the_recursion(eta, steps, generator):
    """Mean and deviation of 40000 samples within 5 standard errors; fails by chance for 1e-6 of all seeds."""
    times = strided(T, steps)
    x = exact_model().sample(40000, sampler=DDIM(eta), times=times, generator=generator)
    assert off_by(x, *law_of_sampler(ddim_steps(alpha_bars(), times, M, S, eta=eta))) < 5


def test_without_eta_a_sample_is_an_affine_map_of_its_noise():
    """Exactly, number by number, for three, ten and all steps."""
    x = torch.linspace(-3, 3, 7).unsqueeze(1)
    for steps in (3, 10, 50):
        times = strided(T, steps)
        expected = x
        for a, b, _ in ddim_steps(alpha_bars(), times, M, S, eta=0.0):
            expected = a * expected + b
        assert close(exact_model().sample(7, sampler=DDIM(), times=times, noise=x), expected, 1e-10)


def test_eta_one_is_the_ancestral_sampler(device):
    """Number by number from the same noise, for steps of any width."""
    for times in (list(range(T)), [0, 5, 17, 49]):
        both = [
            exact_model().sample(5, sampler=sampler, times=times, generator=torch.Generator(device).manual_seed(2))
            for sampler in (DDIM(1.0), Ancestral())
        ]
        assert close(both[0], both[1], 1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_every_eta_keeps_the_marginals(eta):
    """With the true x_0 as guess, x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε gives x_s the mean √ᾱ_s x_0 and variance 1 − ᾱ_s.

    The step is linear in (ε, z): the squares of its two coefficients add up to the variance.
    """
    schedule = Schedule(betas())
    process = exact_model().process
    bars, x_0 = alpha_bars(), torch.tensor([[0.7]])
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    for t, s in ((49, 30), (30, 29), (7, 0), (1, 0)):
        a, sigma = schedule.alpha_bar(t, x_0).sqrt(), schedule.variance(t, x_0).sqrt()

        def step(epsilon: Tensor, z: Tensor, t=t, s=s, a=a, sigma=sigma) -> Tensor:
            return DDIM(eta).step(process, Prediction(a * x_0 + sigma * epsilon, a, sigma, x_0, epsilon), t, s, z)

        mean = step(zero, zero)
        assert close(mean, bars[s] ** 0.5 * x_0, 1e-12)
        variance = (step(one, zero) - mean) ** 2 + (step(zero, one) - mean) ** 2
        assert close(variance, torch.tensor([[1 - bars[s]]]), 1e-12)


def test_the_last_step_is_the_guess_of_the_data():
    model = exact_model()
    guess = model.predict(torch.randn(6, 1), torch.full((6,), 9))
    for eta in (0.0, 1.0):
        assert close(DDIM(eta).step(model.process, guess, 9, -1, torch.randn(6, 1)), guess.x_0, 1e-12)


def test_encoding_is_undone_by_sampling():
    """With many small steps the map to noise and back returns the data; with few it does not quite."""
    fine = torch.linspace(1e-5, 0.012, 1000)
    model = DDPM(BestNoise(fine, M, S), Schedule(fine), (1,))
    x_0 = torch.tensor([[0.3], [1.5], [2.9]])
    z = encode(model, x_0)
    assert close(model.sample(3, sampler=DDIM(), noise=z), x_0, 1e-2)
    # the limit of small steps carries N(m, s²) to N(√ᾱ m, ᾱ s² + 1 − ᾱ), quantile by quantile
    bar = float((1 - fine).prod())
    expected = bar**0.5 * M + (bar * S**2 + 1 - bar) ** 0.5 * (x_0 - M) / S
    assert close(z, expected, 2e-2)
    assert encode(model, x_0[0], times=[0, 500, 999]).shape == (1,)


def test_encoding_evaluates_the_network_where_it_steps_from():
    network = Recorder()
    encode(DDPM(network, Schedule(betas()), (1,)), torch.zeros(2, 1), times=[3, 20, 49])
    assert [call[1].tolist() for call in network.calls] == [[0, 0], [3, 3], [20, 20]]


def test_strides_contain_both_ends():
    assert strided(10, 10) == list(range(10))
    assert strided(1000, 5) == [0, 250, 500, 749, 999]
    assert strided(101, 5, "quadratic") == [0, 6, 25, 56, 100]
    assert strided(7, 1) == [6]


def test_float32_works(generator):
    x = exact_model().float().sample(4, sampler=DDIM(0.5), times=[0, 9, 49], generator=generator)
    assert x.dtype == torch.float32
    assert bool(torch.isfinite(x).all())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"eta must lie in \[0, 1\], got 1.5"):
        DDIM(1.5)
    with pytest.raises(ValueError, match=r"steps must lie in 1\.\.50, got 51"):
        strided(50, 51)
    with pytest.raises(ValueError, match="no 40 different ones"):
        strided(50, 40, "quadratic")
    with pytest.raises(ValueError, match="spacing must be one of"):
        strided(50, 5, "cubic")
