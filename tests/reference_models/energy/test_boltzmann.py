"""A general Boltzmann machine against all its states, enumerated in NumPy, and against the restricted one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from reference_models.energy.boltzmann import BoltzmannMachine, contrastive_loss
from reference_models.energy.rbm import RBM
from tests.reference_models.energy.oracles import all_states, gradients, law_p_value, numeric_slope, sigmoid
from tests.reference_models.helpers import binary_states, close, numpy, perturb


def machine(visible: int = 4, hidden: int = 2) -> BoltzmannMachine:
    return perturb(BoltzmannMachine(visible, hidden), scale=0.8)


def minus_energies(bm: BoltzmannMachine) -> np.ndarray:
    """Pair by pair and unit by unit, for all states: (2^units,)."""
    s, b, couplings = all_states(bm.units), numpy(bm.b), iter(numpy(bm.couplings))
    total = s @ b
    for i in range(bm.units):
        for j in range(i + 1, bm.units):
            total = total + next(couplings) * s[:, i] * s[:, j]
    return total


def law(bm: BoltzmannMachine) -> np.ndarray:
    table = minus_energies(bm)
    return np.exp(table - logsumexp(table))


def sweep_kernel(bm: BoltzmannMachine, free: list[int]) -> np.ndarray:
    """T[s, s'] when the units in `free` are redrawn in turn from the conditionals of the enumerated law."""
    p, n = law(bm), bm.units
    T = np.eye(2**n)
    for i in free:
        step = np.zeros((2**n, 2**n))
        for s in range(2**n):
            flipped = s ^ (1 << (n - 1 - i))
            step[s, s], step[s, flipped] = p[s] / (p[s] + p[flipped]), p[flipped] / (p[s] + p[flipped])
        T = T @ step
    return T


def test_couplings_are_symmetric_without_self_coupling_and_energy_counts_each_pair_once() -> None:
    bm = machine()
    assert torch.equal(bm.W, bm.W.T)
    assert bool((bm.W.diagonal() == 0).all())
    assert np.allclose(numpy(bm.energy(binary_states(6))), -minus_energies(bm), atol=1e-12)
    assert close(bm.log_partition(), float(logsumexp(minus_energies(bm))), atol=1e-10)


@pytest.mark.parametrize("batch", [(), (64,)])
def test_each_conditional_is_that_of_the_joint_and_does_not_read_its_own_unit(batch: tuple[int, ...]) -> None:
    bm = machine()
    p, rows = law(bm), torch.randint(64, batch)
    for i in range(6):
        bit = 1 << (5 - i)
        on, off = p[numpy(rows) | bit], p[numpy(rows) & ~bit]
        assert np.allclose(numpy(bm.conditional(binary_states(6)[rows], i)), on / (on + off), atol=1e-12)


@pytest.mark.parametrize("free", [[0, 1, 2, 3, 4, 5], [5, 0]])
def test_a_sweep_redraws_the_free_units_in_turn(free: list[int], generator: torch.Generator) -> None:
    """20 000 sweeps from one state against the product of exact conditionals; false failure below 1e-6 (Pearson)."""
    bm = machine()
    start = binary_states(6)[37].expand(20_000, 6)
    end = bm.sweep(start, free, generator=generator)
    assert law_p_value(end, sweep_kernel(bm, free)[37]) > 1e-6
    assert torch.equal(start, binary_states(6)[37].expand(20_000, 6))


def test_two_sweeps_follow_the_kernel_squared(generator: torch.Generator) -> None:
    """As above for `run`, whose kernel also keeps the law."""
    bm = machine()
    T = sweep_kernel(bm, list(range(6)))
    assert np.allclose(law(bm) @ T, law(bm), atol=1e-12)
    assert law_p_value(bm.run(binary_states(6)[37].expand(20_000, 6), 2, generator=generator), (T @ T)[37]) > 1e-6


@pytest.mark.parametrize(("visible", "hidden"), [(4, 2), (6, 0)])
def test_log_prob_sums_the_hidden_units_out(visible: int, hidden: int) -> None:
    bm = machine(visible, hidden)
    truth = np.log(law(bm).reshape(2**visible, 2**hidden).sum(1))
    assert np.allclose(numpy(bm.log_prob(binary_states(visible))), truth, atol=1e-10)
    assert close(bm.log_prob(binary_states(visible)[3]), float(truth[3]), atol=1e-10)


@pytest.mark.parametrize(("visible", "hidden"), [(4, 2), (5, 0)])
def test_clamped_minus_free_moments_are_the_gradient_of_the_likelihood(visible: int, hidden: int) -> None:
    bm = machine(visible, hidden)
    v = binary_states(visible)[torch.tensor([1, 6, 6, 15])]
    ours, (couplings, b) = bm.exact_gradient(v), gradients(bm.log_prob(v).mean(), bm)
    assert close(ours.pairs, couplings, atol=1e-10)
    assert close(ours.units, b, atol=1e-10)
    assert (
        abs(float(ours.pairs[1].detach()) - numeric_slope(lambda: bm.log_prob(v).mean().detach(), bm.couplings, 1))
        < 1e-7
    )


def test_the_contrastive_loss_has_minus_the_difference_of_moments_as_its_gradient() -> None:
    bm, s = machine(), binary_states(6)
    clamped, free = s[10:15], s[40:43]
    difference = bm.statistics(clamped) - bm.statistics(free)
    couplings, b = gradients(contrastive_loss(bm, clamped, free), bm)
    assert close(couplings, -difference.pairs, atol=1e-10)
    assert close(b, -difference.units, atol=1e-10)
    outer = torch.einsum("bi,bj->ij", clamped, clamped) / 5
    assert close(bm.statistics(clamped).pairs, outer[tuple(torch.triu_indices(6, 6, 1))], atol=1e-12)


def test_the_positive_phase_holds_the_visible_units_and_reaches_the_posterior(generator: torch.Generator) -> None:
    """20 000 chains of 12 sweeps on the two hidden units; false failure below 1e-6 by Pearson's test."""
    bm = machine()
    v = binary_states(4)[9].expand(20_000, 4)
    s = bm.clamped(v, sweeps=12, generator=generator)
    assert torch.equal(s[:, :4], v)
    assert law_p_value(s[:, 4:], law(bm).reshape(16, 4)[9]) > 1e-6


def test_one_sweep_of_the_positive_phase_starts_from_fair_coins(generator: torch.Generator) -> None:
    """Three hidden units, one sweep; the law is the exact kernel averaged over the coins."""
    bm = machine(2, 3)
    T = sweep_kernel(bm, [2, 3, 4])
    s = bm.clamped(torch.ones(20_000, 2), sweeps=1, generator=generator)
    assert law_p_value(s, T[24:].mean(0)) > 1e-6


def test_samples_have_the_exact_law(generator: torch.Generator) -> None:
    """20 000 samples of the visible units; false failure below 1e-6 by Pearson's test."""
    bm = machine()
    assert law_p_value(bm.sample(20_000, generator=generator), law(bm).reshape(16, 4).sum(1)) > 1e-6


def test_a_machine_too_large_to_enumerate_is_sampled_by_sweeps(generator: torch.Generator) -> None:
    """15 units without couplings but one pair: the pair's law by hand; false failure below 1e-6."""
    bm = BoltzmannMachine(15, init_std=0.0)
    with torch.no_grad():
        bm.couplings[0] = 1.5
        bm.b[0] = -1.0
    x = bm.sample(20_000, generator=generator, burn_in=10)
    assert x.shape == (20_000, 15)
    assert law_p_value(x[:, :2], np.array([1, 1, np.exp(-1.0), np.exp(0.5)])) > 1e-6


def test_with_couplings_between_the_layers_only_it_is_the_restricted_machine() -> None:
    rbm, bm = perturb(RBM(3, 2), scale=0.8), BoltzmannMachine(3, 2)
    W = torch.zeros(5, 5)
    W[:3, 3:] = rbm.W.detach()
    with torch.no_grad():
        bm.couplings.copy_(W[bm.rows, bm.columns])
        bm.b.copy_(torch.cat([rbm.a, rbm.b]))
    v = binary_states(3)
    assert close(bm.log_prob(v), rbm.log_prob(v).detach(), atol=1e-10)
    gradient, phases = bm.exact_gradient(v[:3]), rbm.statistics(v[:3]) - rbm.model_statistics()
    assert close(bm.b.new_zeros(5, 5).index_put((bm.rows, bm.columns), gradient.pairs)[:3, 3:], phases.W, atol=1e-10)
    assert close(gradient.units, torch.cat([phases.a, phases.b]), atol=1e-10)
    assert np.allclose(
        sigmoid(numpy(v @ rbm.W + rbm.b))[:, 1], numpy(bm.conditional(torch.cat([v, 0 * v[:, :2]], 1), 4))
    )


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    bm = machine()
    truth = bm.log_prob(binary_states(4)).detach()
    single = bm.float()
    assert close(single.log_prob(binary_states(4).float()).double(), truth, atol=1e-5)
    assert single.sample(3, generator=generator).dtype == torch.float32
    assert single.run(torch.zeros(2, 6, dtype=torch.float32), generator=generator).dtype == torch.float32


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match="visible must be at least 1, got 0"):
        BoltzmannMachine(0, 2)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        machine().log_prob(torch.zeros(3))
    with pytest.raises(ValueError, match=r"\(4,\)"):
        machine().energy(torch.zeros(4))
    with pytest.raises(ValueError, match=r"s must have shape \(B, 6\), got \(6,\)"):
        machine().statistics(torch.zeros(6))
    with pytest.raises(ValueError, match="up to 22 units, got 30"):
        BoltzmannMachine(30).log_partition()
    with pytest.raises(ValueError, match=r"v must hold zeros and ones, got values in \[-1, 1\]"):
        BoltzmannMachine(3, 1).log_prob(torch.tensor([-1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"v must hold zeros and ones, got values in \[0, 255\]"):
        BoltzmannMachine(3, 1).clamped(torch.tensor([[0.0, 255.0, 1.0]]))
