"""A restricted Boltzmann machine against the enumeration of its joint law, in NumPy from the energy alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

from reference_models.energy.rbm import RBM, Phase, annealed_log_partition, contrastive_divergence, contrastive_loss
from tests.reference_models.energy.oracles import all_states, gradients, law_p_value, numeric_slope
from tests.reference_models.helpers import binary_states, close, numpy, perturb, standard_errors


def machine(visible: int, hidden: int) -> RBM:
    return perturb(RBM(visible, hidden), scale=0.8)


def minus_energies(rbm: RBM) -> np.ndarray:
    """a·v + b·h + vᵀWh of every pair of states, (2^visible, 2^hidden)."""
    W, a, b = (numpy(p) for p in (rbm.W, rbm.a, rbm.b))
    v, h = all_states(rbm.visible), all_states(rbm.hidden)
    return (v @ a)[:, None] + (h @ b)[None, :] + v @ W @ h.T


def kernel(rbm: RBM) -> np.ndarray:
    """T[v, v'] of one swap v -> h -> v'."""
    joint = np.exp(minus_energies(rbm))
    return (joint / joint.sum(1, keepdims=True)) @ (joint / joint.sum(0, keepdims=True)).T


def test_energy_is_minus_all_biases_and_couplings_that_are_on() -> None:
    rbm = machine(4, 3)
    v, h = binary_states(4), binary_states(3)
    energies = rbm.energy(v[:, None].expand(16, 8, 4), h[None].expand(16, 8, 3))
    assert np.allclose(numpy(energies), -minus_energies(rbm), atol=1e-12)


@pytest.mark.parametrize(("visible", "hidden"), [(3, 5), (5, 3), (4, 4)])
def test_log_prob_is_that_of_the_enumerated_joint(visible: int, hidden: int) -> None:
    rbm = machine(visible, hidden)
    table = minus_energies(rbm)
    truth = logsumexp(table, axis=1) - logsumexp(table)
    assert np.allclose(numpy(rbm.log_prob(binary_states(visible))), truth, atol=1e-10)
    assert np.allclose(numpy(rbm.free_energy(binary_states(visible))), -logsumexp(table, axis=1), atol=1e-10)
    assert close(rbm.log_partition(), float(logsumexp(table)), atol=1e-10)


@pytest.mark.parametrize("batch", [(), (64,)])
def test_conditionals_are_those_of_the_joint(batch: tuple[int, ...]) -> None:
    rbm = machine(4, 3)
    joint = np.exp(minus_energies(rbm))
    v, h = all_states(4), all_states(3)
    hidden_mean = (joint @ h) / joint.sum(1, keepdims=True)
    visible_mean = (joint.T @ v) / joint.sum(0)[:, None]
    rows, columns = torch.randint(16, batch), torch.randint(8, batch)
    assert np.allclose(numpy(rbm.hidden_mean(binary_states(4)[rows])), hidden_mean[numpy(rows)], atol=1e-12)
    assert np.allclose(numpy(rbm.visible_mean(binary_states(3)[columns])), visible_mean[numpy(columns)], atol=1e-12)


def test_positive_minus_negative_phase_is_the_gradient_of_the_likelihood() -> None:
    rbm = machine(4, 3)
    v = binary_states(4)[torch.tensor([1, 6, 6, 15])]
    phases = rbm.statistics(v) - rbm.model_statistics()
    exact = gradients(rbm.log_prob(v).mean(), rbm)
    for ours, truth in zip((phases.W, phases.a, phases.b), exact, strict=True):
        assert close(ours, truth, atol=1e-10)
    slope = numeric_slope(lambda: rbm.log_prob(v).mean().detach(), rbm.W, 4)
    assert abs(float(phases.W.flatten()[4]) - slope) < 1e-7


def test_the_contrastive_loss_has_minus_the_difference_of_phases_as_its_gradient() -> None:
    rbm, states = machine(4, 3), binary_states(4)
    v, v_model = states[2:7], states[9:12]
    phases = rbm.statistics(v) - rbm.statistics(v_model)
    for ours, truth in zip(
        (phases.W, phases.a, phases.b), gradients(contrastive_loss(rbm, v, v_model), rbm), strict=True
    ):
        assert close(ours, -truth, atol=1e-10)


def test_gibbs_swaps_follow_the_exact_kernel(generator: torch.Generator) -> None:
    """20 000 chains two swaps from one state; false failure below 1e-6 by Pearson's test."""
    rbm = machine(4, 3)
    v = binary_states(4)[5].expand(20_000, 4)
    assert torch.equal(rbm.gibbs(v, 0, generator=generator), v)
    T = kernel(rbm)
    assert law_p_value(rbm.gibbs(v, 1, generator=generator), T[5]) > 1e-6
    assert law_p_value(rbm.gibbs(v, 2, generator=generator), (T @ T)[5]) > 1e-6


def test_cd_k_is_the_positive_phase_less_that_after_k_swaps(generator: torch.Generator) -> None:
    """Mean of 20 000 single estimates of CD-2 within 5 standard errors of the kernel's expectation, every entry."""
    rbm = machine(3, 2)
    states = binary_states(3)
    T2 = torch.as_tensor(np.linalg.matrix_power(kernel(rbm), 2), device=states.device)
    start = 6
    outer = states[:, :, None] * rbm.hidden_mean(states)[:, None, :]  # (8, 3, 2)
    expected = outer[start] - torch.einsum("s,sij->ij", T2[start], outer)
    v = states[start].expand(20_000, 3)
    ends = rbm.gibbs(v, 2, generator=torch.Generator(v.device).manual_seed(3))
    draws = (outer[start] - ends[:, :, None] * rbm.hidden_mean(ends)[:, None, :]).detach()
    assert standard_errors(draws, expected.detach()) < 5
    estimate = contrastive_divergence(rbm, v, 2, generator=torch.Generator(v.device).manual_seed(3))
    assert close(estimate.W, draws.mean(0), atol=1e-10)
    assert close(estimate.a, (v - ends).mean(0), atol=1e-10)
    assert close(estimate.b, (rbm.hidden_mean(v) - rbm.hidden_mean(ends)).mean(0), atol=1e-10)


def test_samples_have_the_exact_law(generator: torch.Generator) -> None:
    """20 000 samples of each of two machines; false failure below 1e-6 by Pearson's test."""
    for rbm in (machine(4, 3), machine(5, 2)):
        law = np.exp(minus_energies(rbm)).sum(1)
        assert law_p_value(rbm.sample(20_000, generator=generator), law) > 1e-6


def test_a_machine_too_large_to_enumerate_is_sampled_by_swaps(generator: torch.Generator) -> None:
    """17 hidden units without couplings: visible means are σ(a), 5 standard errors."""
    rbm = RBM(3, 17, init_std=0.0)
    with torch.no_grad():
        rbm.a.copy_(torch.tensor([-1.0, 0.5, 2.0]))
    draws = rbm.sample(4000, generator=generator, burn_in=3)
    assert draws.shape == (4000, 3)
    assert standard_errors(draws, torch.sigmoid(rbm.a.detach())) < 5


@pytest.mark.parametrize("temperatures", [1, 20])
def test_annealed_importance_sampling_is_unbiased(temperatures: int, generator: torch.Generator) -> None:
    """Its bounds of 3 standard errors of 20 000 runs, taken as 5, hold the exact log Z; with one step, with twenty."""
    rbm = machine(4, 3)
    truth = float(logsumexp(minus_energies(rbm)))
    estimate = annealed_log_partition(rbm, chains=20_000, temperatures=temperatures, generator=generator)
    z, error = float((estimate.value - truth).exp()), float((estimate.log_high - estimate.value).exp() - 1) / 3
    assert 0 < error < 0.03
    assert abs(z - 1) < 5 * error
    low = float((estimate.log_low - estimate.value).exp())
    assert abs(1 - low - 3 * error) < 1e-9


def test_the_error_of_annealing_falls_with_more_temperatures(generator: torch.Generator) -> None:
    rbm = perturb(RBM(6, 6), scale=1.5)

    def width(temperatures: int) -> float:
        estimate = annealed_log_partition(rbm, 2000, temperatures, generator=generator)
        return float(estimate.log_high - estimate.value)

    assert width(100) < 0.5 * width(2)


def test_the_machine_of_the_papers_has_its_size() -> None:
    """784 × 500 couplings and 784 + 500 biases."""
    with torch.device("meta"):
        assert sum(p.numel() for p in RBM.mnist().parameters()) == 393_284


def test_phases_subtract_part_by_part() -> None:
    one = Phase(torch.ones(2, 1), torch.ones(2), torch.ones(1))
    two = Phase(torch.full((2, 1), 3.0), torch.full((2,), 4.0), torch.full((1,), 5.0))
    difference: Phase = two - one
    assert [float(t.flatten()[0]) for t in (difference.W, difference.a, difference.b)] == [2, 3, 4]


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    rbm = machine(4, 3)
    truth: Tensor = rbm.log_prob(binary_states(4))
    single = rbm.float()
    assert close(single.log_prob(binary_states(4).float()).double(), truth, atol=1e-5)
    assert single.sample(3, generator=generator).dtype == torch.float32
    assert annealed_log_partition(single, 10, 3, generator=generator).value.dtype == torch.float32


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    rbm = machine(4, 3)
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        RBM(4, 0)
    with pytest.raises(ValueError, match=r"\(5,\)"):
        rbm.log_prob(torch.zeros(5))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        contrastive_divergence(rbm, torch.zeros(1, 4), 0)
    with pytest.raises(ValueError, match="30 visible, 25 hidden"):
        RBM(30, 25).log_partition()
    with pytest.raises(ValueError, match="temperatures must be at least 1, got 0"):
        annealed_log_partition(rbm, temperatures=0)
    with pytest.raises(ValueError, match=r"v must hold zeros and ones, got values in \[0, 7\]"):
        rbm.log_prob(torch.tensor([0.0, 1.0, 7.0, 0.0]))
    for call in (rbm.statistics, lambda v: contrastive_loss(rbm, v, torch.zeros(1, 4))):
        with pytest.raises(ValueError, match=r"every v must lie in \[0, 1\], got values in \[0, 255\]"):
            call(torch.tensor([[0.0, 1.0, 255.0, 0.0]]))


def test_the_bars_of_annealed_importance_sampling_are_three_standard_errors(generator: torch.Generator) -> None:
    """The spread of many estimates is the bar's third; in log Z, so the two ends differ a little."""
    rbm = machine(6, 5)
    estimates = [annealed_log_partition(rbm, chains=50, temperatures=4, generator=generator) for _ in range(600)]
    values = torch.stack([e.value for e in estimates]).detach()
    half = torch.stack([(e.log_high - e.log_low) / 2 for e in estimates]).detach().median()
    assert 2.4 < float(half / values.std()) < 3.8
    truth = rbm.log_partition().detach()
    inside = [bool(e.log_low <= truth <= e.log_high) for e in estimates]
    assert sum(inside) > 0.97 * 600


def test_a_large_machine_is_sampled_by_as_many_sweeps_as_are_asked_for(generator: torch.Generator) -> None:
    """Weights away from zero, and more units than can be enumerated: n sweeps and one more are two sweeps apart."""
    rbm = perturb(RBM(30, 25), 0.5)
    one, two, again = (rbm.sample(9, burn_in=n, generator=generator.manual_seed(1)) for n in (4, 5, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
