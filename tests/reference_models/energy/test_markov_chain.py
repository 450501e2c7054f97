"""A denoising chain against its transition matrix, enumerated in NumPy, and the theorem on its stationary law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from reference_models.energy.markov_chain import BitFlip, DenoisingChain, log_mean_exp, stationary_law
from tests.reference_models.energy.oracles import all_states, bernoulli, law_p_value, rows_of, sigmoid
from tests.reference_models.helpers import binary_states, close, numpy, perturb, standard_errors

FLIP = 0.3


def corruption(n: int, flip: float = FLIP) -> np.ndarray:
    """C[x, x̃] by counting the bits that differ."""
    s = all_states(n)
    differ = np.abs(s[:, None] - s[None]).sum(-1)
    return flip**differ * (1 - flip) ** (n - differ)


def restoration(chain: DenoisingChain) -> np.ndarray:
    """P[x̃, x] from the network's logits."""
    return bernoulli(all_states(chain.dim), sigmoid(numpy(chain.reconstruction.net(binary_states(chain.dim)))))


def chain_of(n: int = 3) -> DenoisingChain:
    return perturb(DenoisingChain(n, corruption=BitFlip(FLIP)), scale=0.3)


class Table:
    """Any reconstruction law, as a matrix over states: rows x̃, columns x."""

    def __init__(self, P: np.ndarray) -> None:
        self.P = torch.as_tensor(P, device=torch.tensor(0.0).device)

    def log_prob(self, x: Tensor, x_tilde: Tensor) -> Tensor:
        x, x_tilde = torch.broadcast_tensors(x, x_tilde)
        index = [torch.as_tensor(rows_of(s.reshape(-1, s.shape[-1]))).to(self.P.device) for s in (x_tilde, x)]
        return self.P[index[0], index[1]].log().reshape(x.shape[:-1])

    def sample(self, x_tilde: Tensor, *, generator: Generator | None = None) -> Tensor:
        rows = torch.as_tensor(rows_of(x_tilde)).to(self.P.device)
        drawn = torch.multinomial(self.P[rows], 1, generator=generator).squeeze(1)
        return binary_states(x_tilde.shape[-1])[drawn]


def posterior_chain(n: int = 3) -> tuple[DenoisingChain, np.ndarray]:
    """A chain whose reconstruction is the exact posterior under a law π given at random."""
    pi = np.random.default_rng(0).dirichlet(np.ones(2**n))
    joint = pi[:, None] * corruption(n)
    return DenoisingChain(n, Table((joint / joint.sum(0)).T), BitFlip(FLIP)), pi


def test_bits_are_flipped_independently_with_the_given_chance(generator: Generator) -> None:
    """20 000 corruptions of one state; false failure below 1e-6 by Pearson's test."""
    x = binary_states(3)[3].expand(20_000, 3)
    assert law_p_value(BitFlip(FLIP).sample(x, generator=generator), corruption(3)[3]) > 1e-6
    assert torch.equal(x, binary_states(3)[3].expand(20_000, 3))
    s = binary_states(3)
    assert np.allclose(numpy(BitFlip(FLIP).log_prob(s[None], s[:, None]).exp()), corruption(3), atol=1e-12)


def test_the_transition_matrix_is_corruption_then_reconstruction() -> None:
    chain = chain_of()
    T = numpy(chain.transition_matrix())
    assert np.allclose(T, corruption(3) @ restoration(chain), atol=1e-12)
    assert np.allclose(T.sum(1), 1, atol=1e-12)


def test_the_true_posterior_leaves_the_law_of_the_data_as_it_is() -> None:
    chain, pi = posterior_chain()
    T = numpy(chain.transition_matrix())
    assert np.allclose(pi @ T, pi, atol=1e-12)
    assert np.allclose(numpy(chain.stationary()), pi, atol=1e-10)
    assert np.allclose(numpy(chain.exact_log_prob(binary_states(3))), np.log(pi), atol=1e-9)
    assert abs(float(chain.exact_log_prob(binary_states(3)[4])) - math.log(pi[4])) < 1e-9


def test_the_stationary_law_is_the_left_eigenvector_of_one() -> None:
    chain = chain_of()
    values, vectors = np.linalg.eig(numpy(chain.transition_matrix()).T)
    truth = np.real(vectors[:, np.argmax(values.real)])
    assert np.allclose(numpy(chain.stationary()), truth / truth.sum(), atol=1e-10)


@pytest.mark.parametrize("steps", [1, 3])
def test_samples_have_the_law_of_that_many_steps_from_fair_coins(steps: int, generator: Generator) -> None:
    """20 000 chains, strong weights; false failure below 1e-6 by Pearson's test."""
    chain = perturb(chain_of(), scale=1.0)
    T = np.linalg.matrix_power(corruption(3) @ restoration(chain), steps)
    assert law_p_value(chain.sample(20_000, generator=generator, steps=steps), T.mean(0)) > 1e-6


def test_the_loss_is_the_expected_surprise_at_the_clean_point_over_the_walk(generator: Generator) -> None:
    """Each of walkback 1 and 3 against the exact chain: 20 000 rows, 5 standard errors of the largest spread."""
    chain = perturb(chain_of(), scale=0.5)
    C, P = corruption(3), restoration(chain)
    x = binary_states(3)[5].expand(20_000, 3)
    state, expected = np.eye(8)[5], []
    for _ in range(3):
        expected.append(-(state @ C) @ np.log(P[:, 5]))
        state = state @ C @ P
    spread = np.log(P[:, 5]).std() * 2 / math.sqrt(20_000)
    for walkback in (1, 3):
        loss = float(chain.loss(x, walkback=walkback, generator=generator))
        assert abs(loss - np.mean(expected[:walkback])) < 5 * spread


def test_gradients_reach_the_network_from_every_step_of_the_walk(generator: Generator) -> None:
    chain = chain_of()
    chain.loss(binary_states(3), walkback=3, generator=generator).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in chain.parameters())


@pytest.mark.parametrize("batch", [(), (8,)])
def test_the_conservative_estimate_is_unbiased_for_the_probability(batch: tuple[int, ...]) -> None:
    """exp of 1-chain estimates averages to π(x), 5 standard errors of 4000; its logarithm to less."""
    chain = perturb(chain_of(), scale=0.5)
    generator = torch.Generator(torch.tensor(0.0).device).manual_seed(1)
    x = binary_states(3) if batch else binary_states(3)[6]
    pi = chain.stationary().detach()
    truth = pi if batch else pi[6]
    x_tilde = chain.corruption.sample(chain.sample(4000, steps=30, generator=generator), generator=generator)
    draws = chain.reconstruction.log_prob(x[..., None, :], x_tilde).movedim(-1, 0).detach()  # (4000, *B)
    assert standard_errors(draws.exp(), truth) < 5
    estimate = chain.log_prob(x, samples=4000, steps=30, generator=generator.manual_seed(1))
    assert estimate.shape == batch
    assert close(estimate, draws.exp().mean(0).log(), atol=1e-9)
    assert bool((draws.mean(0) < truth.log()).all())


def test_the_average_of_conditionals_is_taken_before_the_logarithm() -> None:
    assert close(log_mean_exp(torch.tensor([[0.1, 0.3], [0.2, 0.2]]).log()), torch.tensor([0.2, 0.2]).log())
    assert close(log_mean_exp(torch.tensor([-1000.0, -1000.0])), -1000.0)


def test_single_precision_stays_single(generator: Generator) -> None:
    chain = chain_of()
    truth = chain.stationary().detach()
    single = chain.float()
    assert close(single.stationary().double(), truth, atol=1e-5)
    assert single.sample(3, generator=generator).dtype == torch.float32
    assert single.loss(binary_states(3).float(), walkback=2, generator=generator).dtype == torch.float32


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match=r"flip must lie in \(0, 1\), got 1"):
        BitFlip(1.0)
    with pytest.raises(ValueError, match="walkback must be at least 1, got 0"):
        chain_of().loss(binary_states(3), walkback=0)
    with pytest.raises(ValueError, match=r"\(4,\)"):
        chain_of().log_prob(torch.zeros(4))
    with pytest.raises(ValueError, match="at most 10 bits, got dim = 11"):
        DenoisingChain(11).transition_matrix()
    with pytest.raises(ValueError, match=r"square, got shape \(2, 3\)"):
        stationary_law(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"sums in \[2, 2\]"):
        stationary_law(torch.ones(2, 2))
    for call in (chain_of().loss, chain_of().log_prob):
        with pytest.raises(ValueError, match=r"x must hold zeros and ones, got values in \[0.5, 0.5\]"):
            call(torch.full((1, 3), 0.5))


def test_rare_states_keep_a_positive_probability_in_float32() -> None:
    """Chains that rest in rare states: in float64 against powers of T, then float32 against float64, all above zero."""
    n = 8
    rare = 0.01 ** all_states(n).sum(1) * 0.99 ** (n - all_states(n).sum(1))
    T = torch.tensor(0.5 * corruption(n) + 0.5 * rare)
    exact = stationary_law(T)
    assert close(exact, torch.linalg.matrix_power(T, 64)[0], 1e-12)
    law = stationary_law(T.float())
    assert law.dtype == torch.float32
    assert float(law.min()) > 0
    assert close(law.double() / exact, torch.ones(len(exact)), 1e-5)


def test_one_unit_is_enough(generator: torch.Generator) -> None:
    chain = DenoisingChain(1)
    assert chain.sample(3, steps=2, generator=generator).shape == (3, 1)
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        DenoisingChain(0)
