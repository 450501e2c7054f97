"""A generative stochastic network against its layers written out in NumPy and the exact kernel of its small chains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Generator

from reference_models.energy.gsn import GSN
from tests.reference_models.energy.oracles import all_states, bernoulli, gradients, law_p_value, numeric_slope, sigmoid
from tests.reference_models.helpers import binary_states, close, numpy, perturb, standard_errors

NEVER = 1e-300  # a corruption that never happens


def weights(gsn: GSN) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [numpy(W) for W in gsn.W], [numpy(b) for b in gsn.b]


def test_odd_layers_are_updated_first_from_old_even_ones(generator: Generator) -> None:
    gsn = perturb(GSN(3, (4, 5, 2), flip=NEVER, noise_std=0.0), scale=0.5)
    x = binary_states(3)
    h = [torch.randn(8, width) for width in (4, 5, 2)]
    (W1, W2, W3), (b0, b1, b2, b3) = weights(gsn)
    old2 = numpy(h[1])
    h1 = np.tanh(b1 + numpy(x) @ W1 + old2 @ W2.T)
    h3 = np.tanh(b3 + old2 @ W3)
    h2 = np.tanh(b2 + h1 @ W2 + h3 @ W3.T)
    taken = gsn.step(x, tuple(h), generator=generator)
    for ours, truth in zip((*taken.hidden, taken.logits), (h1, h2, h3, b0 + h1 @ W1.T), strict=True):
        assert np.allclose(numpy(ours), truth, atol=1e-12)


def test_noise_enters_before_and_after_the_nonlinearity(generator: Generator) -> None:
    """One layer without weights: h = σ η + tanh(b + σ η'), moments by quadrature, 5 standard errors of 40 000."""
    sigma, bias = 0.7, 0.9
    gsn = GSN(1, (1,), noise_std=sigma)
    with torch.no_grad():
        gsn.W[0].zero_()
        gsn.b[1].fill_(bias)
    h = gsn.step(torch.zeros(40_000, 1), gsn.start(40_000), generator=generator).hidden[0]
    nodes, mass = np.polynomial.hermite_e.hermegauss(60)
    mass = mass / mass.sum()
    first = mass @ np.tanh(bias + sigma * nodes)
    second = mass @ np.tanh(bias + sigma * nodes) ** 2 + sigma**2
    assert standard_errors(h.detach(), first) < 5
    assert standard_errors(h.detach().square(), second) < 5


def test_every_chain_and_every_unit_has_noise_of_its_own_and_h1_none_where_asked(generator: Generator) -> None:
    noisy = GSN(2, (3, 3), flip=NEVER, noise_std=0.5)
    taken = noisy.step(torch.zeros(64, 2), noisy.start(64), generator=generator)
    for h in taken.hidden:
        assert h.unique().numel() == h.numel()
    first = GSN(2, (3, 3), flip=NEVER, noise_std=0.5, noisy_first=False)
    taken = first.step(torch.zeros(64, 2), first.start(64), generator=generator)
    assert bool((taken.hidden[0] == taken.hidden[0][0]).all())
    assert taken.hidden[1].unique().numel() == 64 * 3


def kernel(gsn: GSN, flip: float) -> np.ndarray:
    """The exact kernel of one layer without noise: corrupt, encode, draw."""
    s = all_states(gsn.dim)
    (W,), (b0, b1) = weights(gsn)
    differ = np.abs(s[:, None] - s[None]).sum(-1)
    C = flip**differ * (1 - flip) ** (gsn.dim - differ)
    return C @ bernoulli(s, sigmoid(b0 + np.tanh(b1 + s @ W) @ W.T))


@pytest.mark.parametrize("steps", [1, 4])
def test_the_chain_of_one_layer_without_noise_follows_its_exact_kernel(steps: int, generator: Generator) -> None:
    """20 000 chains from fair coins; false failure below 1e-6 by Pearson's test."""
    gsn = perturb(GSN(3, (4,), flip=0.2, noise_std=0.0), scale=1.0)
    T = np.linalg.matrix_power(kernel(gsn, 0.2), steps)
    assert law_p_value(gsn.sample(20_000, generator=generator, steps=steps), T.mean(0)) > 1e-6


def certain(hidden: tuple[int, ...]) -> GSN:
    """Without corruption, noise or doubt: biases of ±60 at X make every drawn bit certain."""
    gsn = perturb(GSN(3, hidden, flip=NEVER, noise_std=0.0), scale=0.3)
    with torch.no_grad():
        gsn.b[0].copy_(torch.tensor([60.0, -60.0, 60.0]))
    return gsn


def test_the_walk_goes_on_from_its_own_draws_and_keeps_its_hidden_layers(generator: Generator) -> None:
    gsn = certain((4, 2))
    (W1, W2), (b0, b1, b2) = weights(gsn)
    x = binary_states(3)
    visible, h2, rows = numpy(x), np.zeros((8, 2)), []
    for _ in range(3):
        h1 = np.tanh(b1 + visible @ W1 + h2 @ W2.T)
        h2 = np.tanh(b2 + h1 @ W2)
        rows.append(b0 + h1 @ W1.T)
        visible = np.tile([1.0, 0.0, 1.0], (8, 1))
    logits = gsn.walkback(x, 3, generator=generator)
    assert np.allclose(numpy(logits), np.stack(rows), atol=1e-10)
    surprise = np.logaddexp(0, np.stack(rows)) - numpy(x) * np.stack(rows)  # (3, 8, bits)
    assert abs(float(gsn.loss(x, steps=3, generator=generator)) - surprise.sum(-1).mean()) < 1e-9


def test_the_gradient_passes_through_the_hidden_layers_of_earlier_steps(generator: Generator) -> None:
    """Finite differences of the loss in weights that act through three steps."""
    gsn, x = certain((4, 2)), binary_states(3)
    exact = gradients(gsn.loss(x, steps=3, generator=generator), gsn)
    for parameter, slope in zip(gsn.parameters(), exact, strict=True):
        numeric = numeric_slope(lambda: gsn.loss(x, steps=3).detach(), parameter, 1)
        assert abs(float(slope.flatten()[1]) - numeric) < 1e-5 * max(1.0, abs(numeric))


@pytest.mark.parametrize("batch", [(), (8,)])
def test_the_conservative_estimate_is_unbiased_for_the_probability(batch: tuple[int, ...]) -> None:
    """One layer without noise: chances of X after 20 exact steps, 5 standard errors of 4000 chains."""
    gsn = perturb(GSN(3, (4,), flip=0.2, noise_std=0.0), scale=0.5)
    pi = torch.as_tensor(np.linalg.matrix_power(kernel(gsn, 0.2), 20).mean(0), device=torch.tensor(0.0).device)
    x, truth = (binary_states(3), pi) if batch else (binary_states(3)[6], pi[6])
    generator = torch.Generator(x.device).manual_seed(1)
    logits = gsn.chain(4000, 20, generator=generator)
    states = numpy(x.reshape(-1, 3))
    p = torch.as_tensor(bernoulli(states, sigmoid(numpy(logits))), device=x.device).reshape(4000, *batch)
    assert standard_errors(p, truth) < 5
    estimate = gsn.log_prob(x, samples=4000, steps=20, generator=generator.manual_seed(1))
    assert close(estimate, p.mean(0).log(), atol=1e-9)


def test_the_network_of_the_published_run_has_its_size() -> None:
    """784·1500 + 1500·1500 weights and 784 + 2·1500 biases."""
    with torch.device("meta"):
        assert sum(p.numel() for p in GSN.mnist().parameters()) == 1_176_000 + 2_250_000 + 3784


def test_single_precision_stays_single(generator: Generator) -> None:
    gsn = GSN(3, (4, 2)).float()
    x = binary_states(3).float()
    assert gsn.loss(x, generator=generator).dtype == torch.float32
    assert gsn.sample(5, generator=generator, steps=2).dtype == torch.float32
    assert math.isfinite(float(gsn.log_prob(x, samples=10, steps=2, generator=generator).sum()))


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match="at least one hidden layer"):
        GSN(3, ())
    with pytest.raises(ValueError, match="got -1"):
        GSN(3, noise_std=-1)
    with pytest.raises(ValueError, match=r"flip must lie in \(0, 1\), got 0"):
        GSN(3, flip=0.0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        GSN(3).walkback(torch.zeros(1, 3), 0)
    with pytest.raises(ValueError, match=r"\(4,\)"):
        GSN(3).loss(torch.zeros(4))
    for call in (GSN(3).loss, GSN(3).log_prob):
        with pytest.raises(ValueError, match=r"x must hold zeros and ones, got values in \[-1, 1\]"):
            call(torch.tensor([[-1.0, 1.0, 1.0]]))
