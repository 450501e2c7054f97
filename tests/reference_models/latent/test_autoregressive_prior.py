"""An autoregressive prior against torch's mixtures, quadrature and Rosenblatt's transform of its samples."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from reference_models.latent.autoregressive_prior import AutoregressivePrior
from reference_models.latent.vae import mlp_vae
from tests.reference_models.helpers import close, jacobian, numpy, perturb


def prior(d: int = 3, M: int = 2) -> AutoregressivePrior:
    return perturb(AutoregressivePrior(d, (16,), M), scale=0.5)


def conditionals(p: AutoregressivePrior, z: Tensor) -> MixtureSameFamily:
    log_weights, means, log_stds = p.conditionals(z)
    return MixtureSameFamily(Categorical(logits=log_weights), Normal(means, log_stds.exp()))


@pytest.mark.parametrize("batch", [(), (64,), (3, 4)])
def test_log_prob_is_the_sum_of_the_conditionals(batch: tuple[int, ...]) -> None:
    p, z = prior(), torch.randn(*batch, 3)
    assert close(p.log_prob(z), conditionals(p, z).log_prob(z).sum(-1).detach(), atol=1e-10)


def test_the_density_of_two_variables_integrates_to_one() -> None:
    axis = torch.linspace(-15, 15, 601)
    p = perturb(AutoregressivePrior(2, (16,), 2), scale=0.2)
    mass = p.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * float(axis[1] - axis[0]) ** 2
    assert close(mass, 1.0, atol=1e-6)


def test_each_conditional_depends_on_all_variables_before_it_and_on_no_other() -> None:
    p = prior(4)
    for part in range(3):
        slopes = jacobian(lambda z, part=part: p.conditionals(z)[part], torch.randn(4)).view(4, 2, 4).abs().amax(1)
        before = torch.arange(4)[None, :] < torch.arange(4)[:, None]
        assert bool((slopes[~before] == 0).all())
        assert bool((slopes[before] > 1e-6).all())


def test_samples_turn_into_independent_uniform_numbers(generator: torch.Generator) -> None:
    """Rosenblatt: F(z_i | z_<i) of 20 000 draws is uniform, alone and in sums; Kolmogorov–Smirnov, below 1e-6 each."""
    p = prior()
    z = p.sample(20_000, generator=generator)
    u = conditionals(p, z).cdf(z).detach()
    for i in range(3):
        assert kstest(numpy(u[:, i]), "uniform").pvalue > 1e-6
        assert kstest(numpy((u[:, i] + u[:, (i + 1) % 3]) % 1), "uniform").pvalue > 1e-6


def test_the_means_of_a_conditional_start_apart() -> None:
    _, means, _ = AutoregressivePrior(2, (16,), 3).conditionals(torch.zeros(2))
    assert bool((means[:, 1:] - means[:, :-1] > 0.1).all())


def test_the_bound_of_a_vae_takes_it_in_its_kl() -> None:
    vae = mlp_vae((1, 2, 3), 3, (5,), prior=prior())
    x, noise = (torch.rand(4, 1, 2, 3) > 0.5).double(), torch.randn(6, 4, 3)
    q = vae.posterior(x)
    z = q.mean + q.log_std.exp() * noise
    log_p = conditionals(vae.prior, z).log_prob(z).sum(-1)
    kl = (Normal(q.mean, q.log_std.exp()).log_prob(z).sum(-1) - log_p).mean(0)
    assert close(vae.elbo(x, samples=6, noise=noise).kl, kl.detach(), atol=1e-10)
    vae.elbo(x, noise=noise[:1]).value.sum().backward()
    assert all(w.grad is not None for w in vae.prior.parameters())


def test_single_precision_stays_single_and_one_variable_is_enough(generator: torch.Generator) -> None:
    p = prior(1).float()
    assert p.sample(5, generator=generator).dtype == torch.float32
    assert p.log_prob(torch.zeros(5, 1, dtype=torch.float32)).dtype == torch.float32


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match="components must be at least 1, got 0"):
        AutoregressivePrior(3, components=0)
    with pytest.raises(ValueError, match=r"\(\*B, 3\), got \(4,\)"):
        prior().log_prob(torch.zeros(4))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        prior().sample(0)
