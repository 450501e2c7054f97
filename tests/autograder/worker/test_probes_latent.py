"""Latent probes and their laws; the oracles are torch.distributions, brute-force integrals and the reference models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from autograder.vocabulary.known_laws import encoder_near, exact_encoder, linear_gaussian_law, orthogonal_columns
from autograder.worker.probes import ConstantCode, GaussianDecoder, GaussianEncoder, Perceptron
from reference_models.latent.ppca import PPCA

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=F64).to(dtype)


@pytest.mark.parametrize("shape", [(1, 6), (64, 1, 2, 3)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_an_encoder_gives_each_image_a_mean_and_a_deviation_of_its_own(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    A, b, C, d = normal(2, 6), normal(2, seed=1), normal(2, 6, seed=2), normal(2, seed=3)
    x = normal(*shape, dtype=dtype)
    mean, log_std = GaussianEncoder(A, b, C, d)(x)
    flat = x.double().flatten(1)
    close = {"rtol": 0, "atol": 1e-12 if dtype == F64 else 1e-5}
    torch.testing.assert_close(mean.double(), flat @ A.T + b, **close)
    torch.testing.assert_close(log_std.double(), flat @ C.T + d, **close)
    assert mean.dtype == log_std.dtype == dtype
    _, plain = GaussianEncoder(A)(x)
    assert torch.equal(plain, torch.zeros(shape[0], 2, dtype=dtype))


def test_a_constant_code_is_a_collapsed_posterior() -> None:
    code = ConstantCode(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.0]))
    mean, log_std = code(torch.rand(4, 1, 2, 2))
    assert mean.tolist() == [[1.0, -1.0]] * 4
    assert log_std.tolist() == [[0.5, 0.0]] * 4
    mean.detach().zero_()
    assert code(torch.rand(1, 3))[0].tolist() == [[1.0, -1.0]]
    prior = ConstantCode(torch.zeros(3))(torch.rand(2, 5))
    assert all(torch.equal(part, torch.zeros(2, 3)) for part in prior)


@pytest.mark.parametrize("shape", [(1, 6), (64, 1, 2, 3)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_a_decoder_is_a_normal_density_row_by_row(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    W, mu, sigma = normal(6, 2), normal(6, seed=1), 0.3
    x, z = normal(*shape, dtype=dtype), normal(shape[0], 2, seed=2, dtype=dtype)
    got = GaussianDecoder(W, mu, sigma)(x, z)
    wanted = Independent(Normal(z.double() @ W.T + mu, sigma), 1).log_prob(x.double().flatten(1))
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), wanted, rtol=1e-6 if dtype == F64 else 1e-4, atol=1e-5)
    if shape[0] > 1:
        with pytest.raises(ValueError, match="row i of x goes with row i of z, got 64 and 1 rows"):
            GaussianDecoder(W, mu, sigma)(x, z[:1])


@pytest.mark.parametrize(("D", "L"), [(4, 2), (3, 3), (2, 5), (3, 1)])
def test_evidence_and_posterior_are_those_of_the_joint_law_and_of_the_reference(D: int, L: int) -> None:
    W, mu, sigma = normal(D, L, seed=D), normal(D, seed=1), 0.4
    x = normal(5, D, seed=2)
    law = linear_gaussian_law(W, mu, sigma)
    z = normal(5, L, seed=3)
    likelihood = GaussianDecoder(W, mu, sigma)
    # Bayes' rule at any z: ln p(x) = ln p(x | z) + ln p(z) − ln p(z | x)
    prior = Independent(Normal(torch.zeros(L, dtype=F64), torch.ones(L, dtype=F64)), 1)
    for row in range(5):
        at = z[row].expand(5, L)
        bayes = likelihood(x, at) + prior.log_prob(at) - law.posterior(x).log_prob(at)
        torch.testing.assert_close(law.evidence(x), bayes.detach(), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(law.evidence(x), PPCA(W, mu, sigma).log_prob(x))


def reference_elbo(x: Tensor, mean: Tensor, log_std: Tensor, W: Tensor, mu: Tensor, sigma: float) -> Tensor:
    """E_q ln p(x | z) − KL(q ‖ prior), by hand."""
    std = log_std.exp()
    error = x - mu - mean @ W.T
    spread = (W.square()[None] * std.square()[:, None]).sum((1, 2))
    D = x.shape[1]
    likelihood = -0.5 * D * torch.tensor(2 * torch.pi).log() - D * torch.tensor(sigma).log()
    likelihood = likelihood - (error.square().sum(1) + spread) / (2 * sigma**2)
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return likelihood - kl_divergence(Normal(mean, std), prior).sum(1)


def test_the_exact_elbo_is_that_by_hand_and_its_deviation_bounds_every_form() -> None:
    W, mu, sigma = normal(4, 2), normal(4, seed=1), 0.7
    x = normal(3, 4, seed=2)
    encoder = GaussianEncoder(*encoder_near(W, mu, sigma, by=0.3, generator=generator(4)))
    mean, log_std = (part.detach() for part in encoder(x))
    law = linear_gaussian_law(W, mu, sigma)
    wanted = reference_elbo(x, mean, log_std, W, mu, sigma)
    torch.testing.assert_close(law.elbo(x, mean, log_std), wanted, rtol=1e-6, atol=1e-6)
    draws = 100_000
    eps = normal(draws, 3, 2, seed=5)
    z = mean + log_std.exp() * eps
    rows, at = x.expand(draws, 3, 4).reshape(-1, 4), z.reshape(-1, 2)
    likelihood = GaussianDecoder(W, mu, sigma)(rows, at).reshape(draws, 3).detach()
    prior = Normal(torch.zeros(2, dtype=F64), torch.ones(2, dtype=F64))
    log_prior, log_q = prior.log_prob(z).sum(2), Normal(mean, log_std.exp()).log_prob(z).sum(2)
    kl = kl_divergence(Normal(mean, log_std.exp()), prior).sum(1)
    entropy = Normal(mean, log_std.exp()).entropy().sum(1)
    forms = (likelihood - kl, likelihood + log_prior - log_q, likelihood + log_prior + entropy)
    largest = torch.stack([form.std(0) for form in forms]).amax(0)
    torch.testing.assert_close(law.elbo_deviation(x, mean, log_std), largest, rtol=0.02, atol=0)
    for form in forms:
        assert ((form.mean(0) - wanted).abs() < 5 * form.std(0) / draws**0.5).all()


@pytest.mark.parametrize("seed", range(5))
def test_an_exact_encoder_is_the_posterior_and_one_near_it_is_a_fraction_of_a_nat_below(seed: int) -> None:
    W, mu, sigma = orthogonal_columns(5, 3, generator(seed)), normal(5, seed=seed), 0.6
    law, x = linear_gaussian_law(W, mu, sigma), normal(64, 5, seed=seed + 50)
    mean, log_std = (part.detach() for part in GaussianEncoder(*exact_encoder(W, mu, sigma))(x))
    torch.testing.assert_close(law.elbo(x, mean, log_std), law.evidence(x), rtol=1e-9, atol=1e-9)
    near = encoder_near(W, mu, sigma, generator=generator(seed))
    mean, log_std = (part.detach() for part in GaussianEncoder(*near)(law.marginal.sample((64,))))
    assert all((weight != 0).all() for weight in near)
    gap = law.evidence(x) - law.elbo(x, *(p.detach() for p in GaussianEncoder(*near)(x)))
    assert (gap > 0).all()
    assert 0.02 < gap.mean() < 20
    with pytest.raises(ValueError, match="columns of W must be orthogonal"):
        exact_encoder(normal(5, 3, seed=seed), mu, sigma)
    with pytest.raises(ValueError, match="at most 2 columns"):
        orthogonal_columns(2, 3)


def test_the_posterior_is_right_by_brute_force_in_one_dimension() -> None:
    law = linear_gaussian_law(torch.tensor([[1.0], [1.0]], dtype=F64), 0.0, 1.0)
    x = torch.ones(1, 2, dtype=F64)
    assert law.posterior(x).mean.item() == pytest.approx(2 / 3)
    assert law.posterior(x).covariance_matrix.item() == pytest.approx(1 / 3)
    assert law.evidence(x).item() == pytest.approx(-2.7205, abs=1e-4)
    assert isinstance(law.marginal, MultivariateNormal)


def test_a_perceptron_is_its_seeds_and_leaves_other_random_numbers_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, two, other = Perceptron(6, 2, seed=7), Perceptron(6, 2, seed=7), Perceptron(6, 2, seed=8)
    assert torch.equal(torch.random.get_rng_state(), before)
    x = normal(5, 1, 2, 3, dtype=torch.float32)
    assert torch.equal(one(x, 0.3, y=1), two(x))
    assert (one(x) - other(x)).abs().max() > 0.01
    assert one(x.double()).dtype == F64
    loss = one(x).square().mean()
    loss.backward()
    assert len(list(one.parameters())) == 4
    assert all(p.grad.abs().max() > 0 for p in one.parameters())


def test_a_perceptron_learns() -> None:
    net, x = Perceptron(2, 1, seed=0), normal(256, 2, dtype=torch.float32)
    target = (x[:, :1] * x[:, 1:]).sin()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(300):
        optimiser.zero_grad()
        loss = (net(x) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
