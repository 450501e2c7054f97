"""An energy-based model against exact normalisers and gradients on 2^5 states, and the law of discretised Langevin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from reference_models.energy.ebm import (
    EBM,
    ConvEnergy,
    Support,
    contrastive_loss,
    exact_contrastive_loss,
    langevin,
    uniform_noise,
)
from tests.reference_models.energy.oracles import gradients
from tests.reference_models.helpers import binary_states, close, perturb


class Quadratic(nn.Module):
    """E(x) = ½ (x - μ)ᵀ A (x - μ): the density is normal with covariance A⁻¹, and everything is known."""

    def __init__(self, A: Tensor, mu: Tensor) -> None:
        super().__init__()
        self.A, self.mu = nn.Parameter(A), nn.Parameter(mu)

    def forward(self, x: Tensor) -> Tensor:
        d = x - self.mu
        return 0.5 * torch.einsum("ni,ij,nj->n", d, self.A, d)


A = [[2.0, 0.6], [0.6, 1.0]]
MU = [0.4, -0.7]


def quadratic(support: Support | None = None) -> EBM:
    return EBM(Quadratic(torch.tensor(A), torch.tensor(MU)), (2,), support)


def normal() -> torch.distributions.MultivariateNormal:
    return torch.distributions.MultivariateNormal(torch.tensor(MU), precision_matrix=torch.tensor(A))


def binary_model() -> EBM:
    return perturb(EBM.of_vectors(5, (8,), Support.binary(5)), scale=0.5)


@pytest.mark.parametrize("batch", [(), (64,)])
def test_a_quadratic_energy_is_the_normal_density(batch: tuple[int, ...]) -> None:
    x = torch.randn(*batch, 2)
    model = quadratic(Support.box(-9, 9, cells=150))
    assert close(model.log_prob(x), normal().log_prob(x), atol=1e-8)
    assert close(model.score(x), -(x - torch.tensor(MU)) @ torch.tensor(A))


def test_the_normaliser_on_a_grid_is_the_integral_whatever_the_number_of_cells() -> None:
    log_z = math.log(2 * math.pi) - 0.5 * math.log(2.0 * 1.0 - 0.36)
    for cells in (100, 200):
        assert close(quadratic(Support.box(-9, 9, cells=cells)).log_partition(), log_z, atol=1e-8)


def test_probabilities_of_all_binary_states_sum_to_one() -> None:
    model = binary_model()
    assert close(model.log_prob(binary_states(5)).exp().sum(), 1.0)


def test_the_contrastive_gradient_averaged_over_the_model_is_the_gradient_of_the_nll() -> None:
    """The loss is linear in the model's batch, so weighting single states by the exact law needs no sampling."""
    model, states = binary_model(), binary_states(5)
    data = states[torch.tensor([3, 7, 7, 30])]
    law = torch.softmax(-model.energy(states), 0).detach()
    nll = -(torch.log_softmax(-model.energy(states), 0)[torch.tensor([3, 7, 7, 30])]).mean()
    exact = gradients(nll, model)
    weighted = torch.stack([p * contrastive_loss(model, data, s[None]).value for p, s in zip(law, states, strict=True)])
    for ours, truth in zip(gradients(weighted.sum(), model), exact, strict=True):
        assert close(ours, truth, atol=1e-10)
    for ours, truth in zip(gradients(exact_contrastive_loss(model, data), model), exact, strict=True):
        assert close(ours, truth, atol=1e-10)


def test_the_loss_is_the_gap_of_mean_energies_plus_the_penalty_on_their_squares() -> None:
    model = quadratic()
    with torch.no_grad():
        model.net.mu.zero_()
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # energies 1, 0.5
    x_model = torch.tensor([[2.0, 0.0], [0.0, 2.0]])  # energies 4, 2
    loss = contrastive_loss(model, x, x_model, penalty=0.1)
    assert close(loss.value, 0.75 - 3 + 0.1 * ((1 + 0.25) / 2 + (16 + 4) / 2))
    assert close(loss.energy_data, 0.75)
    assert close(loss.energy_model, 3.0)


def test_no_gradient_enters_the_samples_of_the_model() -> None:
    model, x_model = binary_model(), torch.rand(3, 5, requires_grad=True)
    contrastive_loss(model, torch.rand(3, 5), x_model).value.backward()
    assert x_model.grad is None
    assert all(p.grad is not None for p in model.parameters())


def test_the_score_is_minus_the_slope_of_the_energy_by_finite_differences() -> None:
    model, x, h = perturb(EBM.of_vectors(3, (8,))), torch.randn(64, 3), 1e-6
    steps = h * torch.eye(3)
    slope = torch.stack([(model.energy(x + d) - model.energy(x - d)) / (2 * h) for d in steps], dim=1)
    assert close(model.score(x), -slope, atol=1e-7)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_langevin_has_the_stationary_variance_of_its_step(generator: torch.Generator) -> None:
    """For N(0, 1) and η = 0.4 the recursion x' = (1 - η/2) x + √η ε settles at 1/(1 - η/4) = 10/9.

    The variance of 40 000 draws lies within 5 standard errors of it but for 6e-7 of all seeds.
    """
    model = EBM(Quadratic(torch.ones(1, 1), torch.zeros(1)), (1,))
    start = torch.randn(40_000, 1, generator=generator)
    end = langevin(model, start, steps=40, step_size=0.4, generator=generator)
    variance = 1 / (1 - 0.4 / 4)
    assert abs(float(end.square().mean()) - variance) < 5 * variance * math.sqrt(2 / 40_000)


def test_langevin_without_noise_descends_the_energy_by_half_a_step() -> None:
    model = EBM(Quadratic(torch.ones(1, 1), torch.zeros(1)), (1,))
    start = torch.tensor([[2.0], [-3.0]])
    assert close(langevin(model, start, 3, 0.4, noise_std=0.0), start * 0.8**3)
    assert close(start, torch.tensor([[2.0], [-3.0]]))


def test_the_noise_of_langevin_may_be_set_apart_from_the_step(generator: torch.Generator) -> None:
    """One step from the mode has standard deviation noise_std: within 5 standard errors for 20 000 chains."""
    model = EBM(Quadratic(torch.ones(1, 1), torch.zeros(1)), (1,))
    end = langevin(model, torch.zeros(20_000, 1), 1, 0.4, noise_std=0.05, generator=generator)
    assert abs(float(end.std()) - 0.05) < 5 * 0.05 / math.sqrt(2 * 20_000)


def test_langevin_clamps_after_each_step_and_leaves_the_model_as_it_was(generator: torch.Generator) -> None:
    model = quadratic().train()
    end = langevin(model, 5 * torch.ones(64, 2), 2, 0.5, clamp=(0.0, 1.0), generator=generator)
    assert float(end.min()) >= 0
    assert float(end.max()) <= 1
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not end.requires_grad


def test_samples_are_those_of_the_density_and_repeat_with_the_generator() -> None:
    """Mean of 4000 chains within 5 standard errors; the step of 0.05 biases variances by under 3 %, allowed for."""

    def draw(seed: int) -> Tensor:
        source = torch.Generator(torch.tensor(0.0).device).manual_seed(seed)
        return quadratic().sample(4000, generator=source, steps=150, step_size=0.05, low=-2, high=2)

    x = draw(1)
    assert x.shape == (4000, 2)
    assert bool(((x.mean(0) - torch.tensor(MU)).abs() < 5 * x.std(0) / math.sqrt(4000)).all())
    covariance = torch.linalg.inv(torch.tensor(A))
    assert close(torch.cov(x.T) / covariance.diagonal().max(), covariance / covariance.diagonal().max(), atol=0.12)
    assert torch.equal(x, draw(1))
    assert not torch.equal(x, draw(2))


def test_uniform_noise_fills_its_interval(generator: torch.Generator) -> None:
    x = uniform_noise(4000, (2,), torch.zeros(()), -3.0, 5.0, generator)
    assert -3 <= float(x.min()) < -2.9
    assert 4.9 < float(x.max()) <= 5


def test_an_image_energy_gives_one_number_an_image_and_the_published_network_has_its_size() -> None:
    """CIFAR-10, by hand: 3·128·9+128, then 2^k·128 -> 2^(k+1)·128 by 4×4 kernels three times, then 1024·16+1."""
    model = perturb(EBM.of_images((1, 8, 8), features=4))
    assert model.energy(torch.rand(64, 1, 8, 8)).shape == (64,)
    assert model.energy(torch.rand(1, 8, 8)).shape == ()
    with torch.device("meta"):
        parameters = sum(p.numel() for p in EBM.cifar10().parameters())
    assert parameters == 3584 + 524_544 + 2_097_664 + 8_389_632 + 16_385


def test_an_image_energy_sees_every_pixel() -> None:
    model = perturb(EBM.of_images((2, 16, 16), features=3))
    assert bool((model.score(torch.rand(2, 16, 16)) != 0).all())


def test_single_precision_stays_single() -> None:
    support = Support.box(-9, 9, cells=150)
    model = EBM(
        Quadratic(torch.tensor(A), torch.tensor(MU)), (2,), Support(support.points.float(), support.log_volume)
    ).float()
    x = torch.randn(64, 2)
    assert model.log_prob(x.float()).dtype == torch.float32
    assert close(model.log_prob(x.float()).double(), normal().log_prob(x), atol=1e-4)
    assert langevin(model, x.float(), 2, 0.1).dtype == torch.float32


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    model = quadratic()
    with pytest.raises(ValueError, match="support"):
        model.log_prob(torch.zeros(2))
    with pytest.raises(ValueError, match="support"):
        exact_contrastive_loss(model, torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        model.energy(torch.zeros(3))
    with pytest.raises(ValueError, match="step_size must be positive, got 0"):
        langevin(model, torch.zeros(1, 2), 1, 0)
    with pytest.raises(ValueError, match="noise_std must be at least 0, got -1"):
        langevin(model, torch.zeros(1, 2), 1, 0.1, noise_std=-1)
    with pytest.raises(ValueError, match="low < high"):
        Support.box(1.0, 1.0)
    with pytest.raises(ValueError, match="10\\^7"):
        Support.box(0, 1, dim=8)
    with pytest.raises(ValueError, match="1 to 22, got n = 30"):
        Support.binary(30)
    with pytest.raises(ValueError, match=r"\(1, 8, 12\)"):
        ConvEnergy((1, 8, 12))
