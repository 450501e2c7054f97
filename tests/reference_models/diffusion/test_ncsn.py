"""NCSN against exact scores of noised laws and the exact recursion of annealed Langevin dynamics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reference_models.diffusion.ncsn import NCSN, geometric_sigmas
from reference_models.exact import off_by
from reference_models.parts.networks import TimeMLP
from reference_models.parts.unet import UNet
from reference_models.protocols import Implicit
from tests.reference_models.diffusion.oracles import Recorder
from tests.reference_models.helpers import close, perturb, standard_errors

M, S2 = 1.5, 0.36


def sigmas() -> Tensor:
    return torch.tensor([2.0, 0.7, 0.2])


class Exact(nn.Module):
    """f = σ ∇ log p_σ for data N(m, s²)."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        sigma = sigmas().to(x.dtype)[level].reshape(-1, *(1,) * (x.ndim - 1))
        return -sigma * (x - M) / (S2 + sigma**2)


def exact() -> NCSN:
    return NCSN(Exact(), sigmas(), (1,))


def test_levels_form_a_geometric_sequence():
    expected = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5])
    assert close(geometric_sigmas(8.0, 0.5, 5), expected, 1e-12)


def test_the_score_is_the_output_over_sigma():
    x, level = torch.randn(3, 2), torch.tensor([0, 2, 1])
    model = NCSN(Recorder(0.5), sigmas(), (2,))
    assert close(model.score(x, level), 0.5 * x / sigmas()[level].unsqueeze(1), 1e-12)


def test_the_loss_by_hand():
    """½ σ²|s(x̃) + (x̃ − x)/σ²|² summed over dimensions, averaged over the batch."""
    model = NCSN(perturb(TimeMLP(2, [8], 2, time_scale=1.0)), sigmas(), (2,))
    x, noise, level = torch.randn(5, 2), torch.randn(5, 2), torch.tensor([0, 2, 1, 1, 0])
    terms = []
    for i in range(5):
        sigma = sigmas()[level[i]]
        x_noisy = x[i] + sigma * noise[i]
        terms.append(0.5 * sigma**2 * (model.score(x_noisy, level[i]) + (x_noisy - x[i]) / sigma**2).square().sum())
    assert close(model.losses(x, level, noise), torch.stack(terms), 1e-12)
    assert close(model.loss(x, level=level, noise=noise), torch.stack(terms).mean(), 1e-12)


def test_levels_weigh_the_same_for_a_network_that_says_nothing(generator):
    """½ E|ε|² = D/2 at every level; 5 standard errors over 20000 draws each, by chance 2e-6."""
    model = NCSN(Recorder(0.0), sigmas(), (2,))
    for level in range(3):
        x = torch.randn(20000, 2, generator=generator)
        noise = torch.randn(20000, 2, generator=generator)
        losses = model.losses(x, torch.full((20000,), level), noise).detach()
        assert standard_errors(losses.reshape(-1, 1), 1.0) < 5


def test_the_exact_score_has_the_least_loss(generator):
    """½ σ² Var((x̃−x)/σ² | x̃) = ½ s²/(s²+σ²) at each level; 5 standard errors, by chance 2e-6."""
    for level in range(3):
        x = M + S2**0.5 * torch.randn(40000, 1, generator=generator)
        noise = torch.randn(40000, 1, generator=generator)
        losses = exact().losses(x, torch.full((40000,), level), noise)
        assert standard_errors(losses.reshape(-1, 1), 0.5 * S2 / (S2 + float(sigmas()[level]) ** 2)) < 5


def test_levels_are_uniform_and_one_for_each_example(generator):
    """χ² with 2 degrees of freedom below 35, by chance 2e-8."""
    network = Recorder()
    NCSN(network, sigmas(), (1,)).loss(torch.zeros(9000, 1), generator=generator)
    counts = torch.bincount(network.calls[0][1], minlength=3).double()
    assert float(((counts - 3000) ** 2 / 3000).sum()) < 35


def test_samples_follow_the_law_of_annealed_langevin_dynamics(generator):
    """x <- x − α/2 (x − m)/(s²+σ²) + √α z is affine; mean and deviation of 40000 chains within 5 standard errors.

    With α = ε σ²/σ_L², levels from coarse to fine, from N(0, σ_1²). Few steps, so that nothing has forgotten its start.
    """
    step, steps = 0.01, 4
    mean, variance = 0.0, float(sigmas()[0]) ** 2
    for sigma in sigmas().tolist():
        alpha = step * sigma**2 / float(sigmas()[-1]) ** 2
        for _ in range(steps):
            keep = 1 - alpha / 2 / (S2 + sigma**2)
            mean, variance = keep * mean + (1 - keep) * M, keep**2 * variance + alpha
    x = exact().sample(40000, step=step, steps_per_level=steps, generator=generator)
    assert off_by(x, mean, variance**0.5) < 5


def test_the_last_denoising_step_is_tweedies(device):
    options = {"step": 0.01, "steps_per_level": 2}
    plain, clean = (
        exact().sample(5, denoise=d, generator=torch.Generator(device).manual_seed(4), **options) for d in (False, True)
    )
    assert close(clean, M + S2 / (S2 + 0.04) * (plain - M), 1e-10)


def test_chains_start_where_they_are_told():
    initial = torch.full((3, 1), 7.0)
    network = Recorder()
    NCSN(network, sigmas(), (1,)).sample(3, step=1e-12, steps_per_level=1, initial=initial)
    assert close(network.calls[0][0], initial, 0)
    assert [int(call[1][0]) for call in network.calls] == [0, 1, 2]
    assert close(initial, torch.full((3, 1), 7.0), 0)


def test_samples_are_repeated_by_their_generator_and_leave_training_mode(device):
    model = NCSN(perturb(UNet(1, 1, 8, (1, 2), dropout=0.5)), sigmas(), (1, 4, 4))
    model.train()
    first, second = (
        model.sample(2, step=1e-3, steps_per_level=1, generator=torch.Generator(device).manual_seed(1))
        for _ in range(2)
    )
    assert close(first, second, 0)
    assert model.training
    assert not first.requires_grad
    assert isinstance(model, Implicit)


def test_one_example_or_many_in_float32():
    model = NCSN(perturb(TimeMLP(2, [8], 2, time_scale=1.0)), sigmas(), (2,)).float()
    x, level = torch.randn(64, 2, dtype=torch.float32), torch.arange(64) % 3
    scores = model.score(x, level)
    assert scores.dtype == torch.float32
    assert close(model.score(x[5], level[5]), scores[5], 1e-4)
    assert model.losses(x[5], level[5], x[6]).shape == ()
    assert model.loss(x).dtype == torch.float32


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="strictly decreasing"):
        NCSN(Exact(), torch.tensor([0.1, 1.0]), (1,))
    with pytest.raises(ValueError, match="strictly decreasing"):
        NCSN(Exact(), torch.tensor([1.0, 0.1, 0.5]), (1,))
    with pytest.raises(ValueError, match="every sigma must be positive"):
        NCSN(Exact(), torch.tensor([1.0, 0.0]), (1,))
    with pytest.raises(ValueError, match=r"largest must exceed smallest, got 0\.1 and 1"):
        geometric_sigmas(0.1, 1.0, 5)
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        geometric_sigmas(1.0, 0.1, 1)
    with pytest.raises(ValueError, match=r"x must have shape \(1\)"):
        exact().loss(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="step must be positive, got 0"):
        exact().sample(1, step=0.0)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        exact().sample(0)
    with pytest.raises(ValueError, match=r"initial must have shape \(5, 1\), got \(1, 1\)"):
        exact().sample(5, initial=torch.zeros(1, 1))
    with pytest.raises(ValueError, match=r"noise must have shape \(3, 1\), got \(1,\)"):
        exact().loss(torch.zeros(3, 1), noise=torch.zeros(1))
    levels = len(exact().sigmas)
    for level in (-1, levels):
        with pytest.raises(ValueError, match=rf"level must lie in 0\.\.{levels - 1}, got \[{level}\]"):
            exact().loss(torch.zeros(1, 1), level=torch.tensor([level]))
