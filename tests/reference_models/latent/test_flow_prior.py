"""A flow prior against autograd Jacobians, quadrature, and the same model with the flow in the posterior."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.distributions import Normal

from reference_models.flows.realnvp import RealNVP
from reference_models.latent.flow_prior import FlowPrior, as_flow_posterior
from reference_models.latent.vae import VAE, mlp_vae
from tests.reference_models.helpers import close, log_abs_det, numpy, perturb

KINDS = {"realnvp": lambda d: FlowPrior.realnvp(d, 3, (8,)), "maf": lambda d: FlowPrior.maf(d, 2, (8,))}


def prior(kind: str, d: int = 2) -> FlowPrior:
    return perturb(KINDS[kind](d), scale=0.3)


def vae_with(kind: str) -> VAE:
    return perturb(mlp_vae((1, 2, 2), 2, (5,), prior=prior(kind)), scale=0.2)


def images(n: int) -> Tensor:
    return (torch.rand(n, 1, 2, 2) > 0.5).double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [(), (64,), (3, 4)])
def test_log_prob_is_the_normal_density_of_the_noise_times_the_jacobian(kind: str, batch: tuple[int, ...]) -> None:
    p, z = prior(kind, 3), torch.randn(*batch, 3)
    flat = z.reshape(-1, 3)
    u, _ = p.flow.forward(flat)
    truth = Normal(0.0, 1.0).log_prob(u).sum(-1) + log_abs_det(lambda v: p.flow.forward(v)[0], flat)
    assert close(p.log_prob(z), truth.view(batch).detach(), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_prior_integrates_to_one(kind: str) -> None:
    axis = torch.linspace(-12, 12, 481)
    mass = prior(kind).log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * float(axis[1] - axis[0]) ** 2
    assert close(mass, 1.0, atol=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_go_to_standard_normal_noise(kind: str, generator: torch.Generator) -> None:
    """10 000 draws, Kolmogorov–Smirnov on each dimension, below 1e-6."""
    p = prior(kind)
    u, _ = p.flow.forward(p.sample(10_000, generator=generator))
    for i in range(2):
        assert kstest(numpy(u[:, i]), "norm").pvalue > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_moving_the_flow_into_the_posterior_changes_no_bound_weight_or_sample(kind: str) -> None:
    vae = vae_with(kind)
    twin, x, noise = as_flow_posterior(vae), images(4), torch.randn(5, 4, 2)
    ours, theirs = vae.elbo(x, samples=5, noise=noise), twin.elbo(x, samples=5, noise=noise)
    assert close(ours.value, theirs.value.detach(), atol=1e-8)
    assert close(ours.reconstruction, theirs.reconstruction.detach(), atol=1e-8)
    assert close(vae.log_weights(x, 5, noise=noise), twin.log_weights(x, 5, noise=noise).detach(), atol=1e-8)
    seed = torch.Generator(x.device)
    assert torch.equal(vae.sample(50, generator=seed.manual_seed(1)), twin.sample(50, generator=seed.manual_seed(1)))
    assert {id(p) for p in twin.parameters()} == {id(p) for p in vae.parameters()}


def test_the_bound_takes_the_flow_in_its_kl_and_trains_it() -> None:
    vae, x, noise = vae_with("realnvp"), images(3), torch.randn(6, 3, 2)
    q = vae.posterior(x)
    z = q.mean + q.log_std.exp() * noise
    u, logdet = vae.prior.flow.forward(z.view(-1, 2))
    log_p = (Normal(0.0, 1.0).log_prob(u).sum(-1) + logdet).view(6, 3)
    kl = (Normal(q.mean, q.log_std.exp()).log_prob(z).sum(-1) - log_p).mean(0)
    bound = vae.elbo(x, samples=6, noise=noise)
    assert close(bound.kl, kl.detach(), atol=1e-10)
    bound.value.sum().backward()
    assert all(p.grad is not None for p in vae.prior.parameters())


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    vae, x = vae_with("maf").float(), images(3).float()
    assert vae.elbo(x, generator=generator).value.dtype == torch.float32
    assert as_flow_posterior(vae).sample(3, generator=generator).dtype == torch.float32
    assert vae.elbo(x[0], generator=generator).value.shape == ()


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match=r"got the event shape \(1, 4, 4\)"):
        FlowPrior(RealNVP((1, 4, 4)))
    with pytest.raises(ValueError, match="got StandardNormal"):
        as_flow_posterior(mlp_vae((1, 2, 2), 2, (5,)))
    with pytest.raises(ValueError, match=r"got \(1, 3\)"):
        prior("maf").log_prob(torch.zeros(3))
