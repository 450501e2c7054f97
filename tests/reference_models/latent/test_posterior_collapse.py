"""The guards against collapse by hand, by gradient and by enumeration; collapse itself where it is known exactly."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from reference_models.latent.posterior_collapse import (
    GuardedVAE,
    WindowedBernoulli,
    active_units,
    cyclical_weight,
    free_bits,
    linear_weight,
    sigmoid_weight,
)
from reference_models.latent.ppca import PPCA
from reference_models.latent.vae import GaussianPosterior
from tests.reference_models.helpers import binary_states, close, perturb


def guarded(window: int = 3) -> GuardedVAE:
    return perturb(GuardedVAE((4,), window, latent_dim=2, hidden=(5,)), 0.6)


def test_schedules_by_hand() -> None:
    assert [linear_weight(s, 4) for s in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
    assert sigmoid_weight(30, 30, 5.0) == 0.5
    assert abs(sigmoid_weight(40, 30, 5.0) - 1 / (1 + math.exp(-2))) < 1e-12
    assert [cyclical_weight(s, 10) for s in (0, 1, 5, 9, 10, 12)] == [0, 0.2, 1, 1, 0, 0.4]
    assert cyclical_weight(3, 10, ramp=1.0) == 0.3


def test_free_bits_take_the_mean_over_the_batch_before_the_floor() -> None:
    """Groups with mean rates 0.1, 1 and 3 at λ = 0.5 cost 0.5 + 1 + 3; by example the first would cost more."""
    kl = torch.tensor([[0.0, 0.2, 3.0], [0.2, 1.8, 3.0]])
    assert close(free_bits(kl, 0.5), 4.5)
    assert close(free_bits(kl, 0.0), 4.1)
    assert not close(kl.clamp_min(0.5).mean(0).sum(), 4.5)


def test_free_bits_have_no_gradient_below_the_floor_and_the_rates_own_above() -> None:
    kl = torch.tensor([[0.1, 0.6], [0.2, 0.8]]).requires_grad_()
    (gradient,) = torch.autograd.grad(free_bits(kl, 0.5), [kl])
    assert close(gradient, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))


def test_active_units_are_those_whose_mean_moves() -> None:
    """Variances 4, 0.04 and 0.0025 about means far from zero, N as divisor: two exceed 0.01."""
    mean = torch.tensor([[2.0, 0.2, 0.05], [-2.0, -0.2, -0.05]]) + 7.0
    assert int(active_units(mean)) == 2
    assert int(active_units(mean, threshold=0.05)) == 1
    assert int(active_units(torch.tensor([[0.0], [0.2 - 1e-9]]))) == 0  # variance just below 0.01, N as divisor


@pytest.mark.parametrize("window", [0, 1, 3])
def test_windowed_decoder_is_a_distribution_with_that_window(window: int) -> None:
    """All 16 images sum to one; flipping pixel j changes the terms of j+1..j+window and no others."""
    likelihood = perturb(WindowedBernoulli((4,), window), 1.0)
    x, h = binary_states(4), torch.randn(4)
    assert close(likelihood.log_prob(x, h.expand(16, 4)).exp().sum(), 1.0)
    logits = likelihood.logits(x, h.expand(16, 4))
    for j in range(4):
        flipped = x.clone()
        flipped[:, j] = 1 - x[:, j]
        moved = (likelihood.logits(flipped, h.expand(16, 4)) - logits).abs().max(0).values > 1e-9
        assert moved.tolist() == [1 <= i - j <= window for i in range(4)]


def test_terms_of_the_windowed_decoder_by_hand() -> None:
    """log p = Σ_i log Bernoulli(x_i; h_i + Σ_u v_iu silu(Σ_j A_iuj (2 x_j − 1))), hidden pixels counting as zero."""
    likelihood = perturb(WindowedBernoulli((3,), 2, units=2), 1.0)
    A, v, h = likelihood.context.weight.detach().reshape(3, 2, 3), likelihood.out.detach(), torch.randn(3)
    x = torch.tensor([1.0, 0.0, 1.0])

    def f(i: int, s: torch.Tensor) -> torch.Tensor:
        a = torch.stack([A[i, u, : len(s)] @ s for u in range(2)])
        return h[i] + v[i] @ (a * torch.sigmoid(a))

    logits = torch.stack([h[0], f(1, torch.tensor([1.0])), f(2, torch.tensor([1.0, -1.0]))])
    assert close(likelihood.log_prob(x[None], h[None]), Bernoulli(logits=logits).log_prob(x).sum()[None])
    keep = torch.tensor([False, True, True])
    logits = torch.stack([h[0], h[1], f(2, torch.tensor([0.0, -1.0]))])
    hidden = likelihood.log_prob(x[None], h[None], keep=keep[None])
    assert close(hidden, Bernoulli(logits=logits).log_prob(x).sum()[None])


def test_windowed_decoder_samples_its_law(generator: torch.Generator) -> None:
    """χ² of 20000 draws over the 8 images of three pixels, strong conditionals: χ²(7) < 48 but for 4e-8 of seeds."""
    likelihood = perturb(WindowedBernoulli((1, 1, 3), 2), 1.5)
    h = torch.tensor([0.3, -0.4, 0.8])
    states = binary_states(3)
    p = likelihood.log_prob(states.reshape(8, 1, 1, 3), h.expand(8, 3)).exp().detach()
    x = likelihood.sample(h.expand(20000, 3), generator=generator)
    assert x.shape == (20000, 1, 1, 3)
    counts = torch.stack([(x.flatten(1) == state).all(-1).sum() for state in states])
    assert float(((counts - 20000 * p) ** 2 / (20000 * p)).sum()) < 48


def test_objective_is_reconstruction_minus_weighted_floored_rate() -> None:
    """By torch.distributions, with w = 0.3 and λ = 0.5 on coordinates on both sides of it."""
    vae, x, noise = guarded(), binary_states(4), torch.randn(1, 16, 2)
    q = vae.posterior(x)
    assert isinstance(q, GaussianPosterior)
    law = Normal(q.mean, q.log_std.exp())
    rates = kl_divergence(law, Normal(torch.zeros(16, 2), 1.0)).mean(0).detach()
    floor = float(rates.mean())
    h = vae.decoder(law.mean + law.stddev * noise[0])
    logits = vae.likelihood.logits(x, h)  # type: ignore[attr-defined]
    reconstruction = Bernoulli(logits=logits).log_prob(x).sum(-1).mean()
    paid = 0.3 * (max(floor, float(rates[0])) + max(floor, float(rates[1])))
    objective = vae.objective(x, weight=0.3, floor=floor, noise=noise)
    assert close(objective.reconstruction, reconstruction)
    assert close(objective.kl, paid)
    assert close(objective.value, reconstruction - paid)


def test_without_guards_the_objective_is_the_bound() -> None:
    vae, x, noise = guarded(), binary_states(4), torch.randn(1, 16, 2)
    bound, objective = vae.elbo(x, noise=noise), vae.objective(x, noise=noise)
    assert close(objective.value, bound.value.mean())
    assert close(objective.kl, bound.kl.mean())


def test_zero_weight_and_a_high_floor_leave_the_encoder_only_the_reconstruction() -> None:
    """The gradient of log σ is the reconstruction's alone for w = 0, and for a floor above every rate."""
    vae, x, noise = guarded(), binary_states(4), torch.randn(1, 16, 2)
    parameters = list(vae.encoder.parameters())  # type: ignore[union-attr]
    wanted = torch.autograd.grad(vae.objective(x, noise=noise).reconstruction, parameters)
    for guard in ({"weight": 0.0}, {"floor": 50.0}):
        ours = torch.autograd.grad(vae.objective(x, noise=noise, **guard).value, parameters)
        assert all(close(a, b, 1e-12) for a, b in zip(ours, wanted, strict=True))


def test_word_dropout_hides_that_share_of_pixels(generator: torch.Generator) -> None:
    """At 1 no context is left; at 0.3 the mean over many draws is the expectation over all 16 masks."""
    vae, noise = guarded(), torch.randn(1, 16, 2)
    x = binary_states(4)
    without = vae.objective(x, dropout=1.0, noise=noise).reconstruction
    h = vae.decoder(vae.posterior(x).draw(1, noise=noise).z[0])
    assert close(without, Bernoulli(logits=h).log_prob(x).sum(-1).mean())
    expected = 0.0
    for mask in itertools.product((False, True), repeat=4):
        keep = torch.tensor(mask).expand(16, 4)
        probability = math.prod(0.7 if kept else 0.3 for kept in mask)
        expected += probability * float(vae.likelihood.log_prob(x, h, keep=keep).mean().detach())  # type: ignore[call-arg]
    draws = torch.stack(
        [vae.objective(x, dropout=0.3, noise=noise, generator=generator).reconstruction for _ in range(600)]
    )
    error = float(draws.std().detach()) / 600**0.5
    assert abs(float(draws.mean().detach()) - expected) < 5 * error
    assert error > 0


def test_a_linear_model_collapses_exactly_where_the_noise_drowns_the_data() -> None:
    """For a fixed σ² the likelihood's best W has a column for each eigenvalue above σ² and zeros for the rest: there
    the gradient vanishes, and the posterior of the dead columns is the prior (Lucas et al., 2019, section 4)."""
    eigenvalues, variance = torch.tensor([4.0, 1.5, 0.5, 0.2]), 1.0
    x = torch.randn(400, 4)
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / 400)).T * eigenvalues.sqrt()
    W = torch.diag((eigenvalues - variance).clamp_min(0).sqrt())[:, :3]
    ppca = PPCA(W, torch.zeros(4), variance**0.5)
    (gradient,) = torch.autograd.grad(ppca.log_prob(x).mean(), [ppca.W])
    assert float(gradient.abs().max()) < 1e-9
    q = ppca.mean_field_posterior(x)
    assert int(active_units(q.mean)) == 2
    rates = kl_divergence(Normal(q.mean, q.log_std.exp()), Normal(torch.zeros(400, 3), 1.0)).mean(0)
    assert close(rates[2], 0.0)
    assert close(rates[:2], 0.5 * (eigenvalues[:2] / variance).log())  # ½ log(λ/σ²) nats each


@pytest.mark.parametrize("batch", [(), (64,)])
def test_batch_shapes_and_single_precision(batch: tuple[int, ...], generator: torch.Generator) -> None:
    vae = perturb(GuardedVAE((1, 2, 2), 2, latent_dim=2, hidden=(5,)))
    x = (torch.rand(*batch, 1, 2, 2) < 0.5).double()
    noise = torch.randn(1, batch[0] if batch else 1, 2)
    assert vae.elbo(x).value.shape == batch
    objective = vae.objective(x, floor=0.1, noise=noise)
    assert objective.value.shape == ()
    assert vae.sample(3, generator=generator).shape == (3, 1, 2, 2)
    assert vae.reconstruct(x).shape == x.shape
    assert close(vae.float().objective(x.float(), floor=0.1, noise=noise.float()).value.double(), objective.value, 1e-4)


def test_every_parameter_learns() -> None:
    vae = guarded()
    vae.objective(binary_states(4), dropout=0.2).value.backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in vae.parameters())


def test_bad_input_is_refused() -> None:
    vae, x = guarded(), binary_states(4)
    with pytest.raises(ValueError, match=r"window must lie in 0\.\.3, got 4"):
        WindowedBernoulli((4,), 4)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\], got 1.5"):
        vae.objective(x, dropout=1.5)
    with pytest.raises(ValueError, match="floor must be at least 0, got -1"):
        vae.objective(x, floor=-1.0)
    with pytest.raises(ValueError, match=r"kl must have shape \(N, groups\), got \(3,\)"):
        free_bits(torch.zeros(3), 0.0)
    with pytest.raises(ValueError, match=r"every pixel must be 0 or 1, got values in \[0.5, 0.5\]"):
        vae.elbo(torch.full((4,), 0.5))
    with pytest.raises(ValueError, match=r"ramp must lie in \(0, 1\], got 0"):
        cyclical_weight(1, 10, ramp=0.0)
    with pytest.raises(ValueError, match="warm_up must be at least 1, got 0"):
        linear_weight(1, 0)
    with pytest.raises(ValueError, match="width must be positive, got 0"):
        sigmoid_weight(1, 1, 0.0)
    with pytest.raises(ValueError, match="batch size must be at least 2, got 1"):
        active_units(torch.zeros(1, 2))
