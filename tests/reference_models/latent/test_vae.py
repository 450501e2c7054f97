"""The VAE against models whose evidence and posterior are exact, torch.distributions, quadrature and enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from reference_models.latent.vae import (
    VAE,
    Form,
    GaussianEncoder,
    GaussianPosterior,
    StandardNormal,
    mlp_vae,
    paper_vae,
)
from reference_models.parts.distributions import DiagonalNormal
from reference_models.parts.likelihoods import Gaussian
from tests.reference_models.helpers import binary_states, close, perturb
from tests.reference_models.latent.linear import (
    LATENT,
    D,
    FreePosterior,
    as_torch,
    evidence,
    model,
    posterior,
    sigma_points,
)

FORMS: tuple[Form, ...] = ("analytic", "entropy", "sampled")


def small_vae(pixels: int = 4, latent_dim: int = 1) -> VAE:
    """Binary x, nonlinear networks with weights away from their initialisation."""
    return perturb(mlp_vae((pixels,), latent_dim, (5,)), 0.6)


def quadrature(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and log weights of E f(ε), ε ~ N(0, 1), (n,) each: Gauss–Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return torch.tensor(nodes), torch.tensor(np.log(weights / math.sqrt(2 * math.pi)))


def exact_log_prob(vae: VAE, x: Tensor) -> Tensor:
    """log ∫ p(z) p(x|z) dz for one latent, on a fine grid; Bernoulli pixels by torch.distributions."""
    z = torch.linspace(-9, 9, 4001)
    logits = vae.decoder(z[:, None])  # (4001, pixels)
    log_lik = torch.distributions.Bernoulli(logits=logits).log_prob(x[:, None, :]).sum(-1)  # (N, 4001)
    return torch.logsumexp(log_lik + Normal(0.0, 1.0).log_prob(z), dim=1) + math.log(18 / 4000)


@pytest.mark.parametrize("form", FORMS)
def test_bound_is_evidence_minus_gap_in_each_form(form: Form) -> None:
    """Linear decoder, arbitrary q: log p(x) by SciPy minus KL(q ‖ posterior) by torch, to 1e-9.

    Sigma points make the average over draws the exact expectation, as every form is quadratic in z.
    """
    ppca, x = model(), torch.randn(6, D)
    q = FreePosterior(6, LATENT)
    bound = ppca.as_vae(q).elbo(x, samples=2 * LATENT, form=form, noise=sigma_points(LATENT, 6))
    gap = kl_divergence(as_torch(q(x)), posterior(ppca, x))
    assert close(bound.value, evidence(ppca, x) - gap)
    rate = kl_divergence(
        Independent(Normal(q.mean, q.log_std.exp()), 1), Independent(Normal(torch.zeros(6, LATENT), 1.0), 1)
    )
    assert close(bound.kl, rate)
    assert close(bound.reconstruction, bound.value + rate)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_of_the_bound_is_that_of_its_closed_form(form: Form) -> None:
    """The reparametrised gradient in q's parameters equals finite differences of evidence minus gap."""
    ppca, x = model(), torch.randn(2, D)
    q = FreePosterior(2, LATENT)
    value = ppca.as_vae(q).elbo(x, samples=2 * LATENT, form=form, noise=sigma_points(LATENT, 2)).value.sum()
    gradients = torch.autograd.grad(value, [q.mean, q.log_std])
    h = 1e-5
    for parameter, gradient in zip((q.mean, q.log_std), gradients, strict=True):
        for i in range(parameter.numel()):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[i] += sign * h
                    ends.append(float((evidence(ppca, x) - kl_divergence(as_torch(q(x)), posterior(ppca, x))).sum()))
                    parameter.view(-1)[i] -= sign * h
            assert abs(float(gradient.view(-1)[i]) - (ends[0] - ends[1]) / (2 * h)) < 1e-7


def test_weights_are_constant_where_q_is_the_posterior() -> None:
    """One latent, so the exact posterior is in the family: every draw gives log p(x), and so does the bound."""
    ppca, x = model(1), torch.randn(5, D)
    vae = ppca.as_vae()
    assert close(vae.log_weights(x, 7), evidence(ppca, x).expand(7, 5))
    assert close(vae.elbo(x, samples=2, noise=sigma_points(1, 5)).value, evidence(ppca, x))


def test_mean_importance_weight_is_the_evidence() -> None:
    """E_q w = p(x) with nonlinear networks: an integral over ε against one over z, 1e-7 in log."""
    vae, x = small_vae(), binary_states(4)
    eps = torch.linspace(-40, 40, 4001)  # wide: w is large where q is small
    log_w = vae.log_weights(x, len(eps), noise=eps[:, None, None].expand(-1, 16, 1))
    ours = torch.logsumexp(log_w + Normal(0.0, 1.0).log_prob(eps)[:, None], dim=0) + math.log(80 / 4000)
    assert close(ours, exact_log_prob(vae, x), 1e-7)
    assert abs(float(ours.exp().sum()) - 1) < 1e-7


def test_bound_lies_below_the_evidence_and_its_forms_agree_in_expectation() -> None:
    """By quadrature over ε: all three forms have one expectation, at most log p(x)."""
    vae, x = small_vae(), binary_states(4)
    nodes, log_weights = quadrature(40)
    expected = {form: torch.zeros(16) for form in FORMS}
    with torch.no_grad():
        for node, log_weight in zip(nodes, log_weights, strict=True):
            for form in FORMS:
                expected[form] += log_weight.exp() * vae.elbo(x, form=form, noise=node.expand(1, 16, 1)).value
        assert close(expected["entropy"], expected["analytic"], 1e-9)
        assert close(expected["sampled"], expected["analytic"], 1e-9)
        assert bool((expected["analytic"] < exact_log_prob(vae, x)).all())


def test_default_form_is_analytic_for_two_gaussians_and_sampled_otherwise() -> None:
    """A prior of another mean and width: the sampled rate, over sigma points, is torch's KL to that prior."""
    vae, x = small_vae(latent_dim=2), binary_states(4)
    noise = torch.randn(3, 16, 2)
    assert close(vae.elbo(x, samples=3, noise=noise).kl, vae.elbo(x, samples=3, noise=noise, form="analytic").kl, 0.0)
    vae = perturb(mlp_vae((4,), 2, (5,), prior=DiagonalNormal(torch.tensor([0.5, -1.0]), torch.tensor([0.3, -0.4]))))
    q = vae.posterior(x)
    assert isinstance(q, GaussianPosterior)
    other = Independent(Normal(torch.tensor([0.5, -1.0]), torch.tensor([0.3, -0.4]).exp()), 1).expand((16,))
    rate = kl_divergence(Independent(Normal(q.mean, q.log_std.exp()), 1), other)
    for form in (None, "entropy"):
        assert close(vae.elbo(x, samples=4, noise=sigma_points(2, 16), form=form).kl, rate)
    with pytest.raises(ValueError, match="analytic form needs a Gaussian posterior and a standard normal prior"):
        vae.elbo(x, form="analytic")


def test_gaussian_posterior_is_torchs() -> None:
    """Density, entropy, KL on 64 pairs with log-stds of both signs, to 1e-10; zero KL exactly at the prior."""
    q = GaussianPosterior(torch.randn(64, 3), torch.randn(64, 3))
    law, prior = Independent(Normal(q.mean, q.log_std.exp()), 1), Independent(Normal(torch.zeros(64, 3), 1.0), 1)
    z = torch.randn(64, 3)
    assert close(q.log_prob(z), law.log_prob(z), 1e-10)
    assert close(q.entropy(), law.entropy(), 1e-10)
    assert close(q.kl_to_standard_normal(), kl_divergence(law, prior), 1e-10)
    assert bool((q.kl_to_standard_normal() > 0).all())
    assert close(GaussianPosterior(torch.zeros(2, 3), torch.zeros(2, 3)).kl_to_standard_normal(), torch.zeros(2), 0.0)
    assert close(StandardNormal(3).log_prob(z), prior.log_prob(z), 1e-10)


def test_draws_are_mean_plus_scaled_noise_with_that_gradient() -> None:
    """∂z/∂μ = 1 and ∂z/∂log σ = σ ε, coordinate by coordinate."""
    q = GaussianPosterior(torch.randn(2, 3).requires_grad_(), torch.randn(2, 3).requires_grad_())
    noise = torch.randn(4, 2, 3)
    draw = q.draw(4, noise=noise)
    law = Normal(q.mean, q.log_std.exp())
    assert close(draw.z, law.mean + law.stddev * noise)
    assert close(draw.log_prob, law.log_prob(draw.z).sum(-1), 1e-9)
    g_mean, g_log_std = torch.autograd.grad(draw.z.sum(), [q.mean, q.log_std])
    assert close(g_mean, torch.full((2, 3), 4.0))
    assert close(g_log_std, (law.stddev * noise).sum(0))


def test_noise_is_new_for_each_draw_and_each_example(generator: torch.Generator) -> None:
    """No two of 3 × 5 × 2 values coincide; one generator state gives one result, the next another."""
    q = GaussianPosterior(torch.zeros(5, 2), torch.zeros(5, 2))
    first, second = q.draw(3, generator=generator).z, q.draw(3, generator=generator).z
    assert len(torch.cat([first.flatten(), second.flatten()]).unique()) == 60
    assert close(q.draw(3, generator=generator.manual_seed(0)).z, first, 0.0)


def test_encoder_gives_means_before_log_stds() -> None:
    encoder = GaussianEncoder(nn.Identity())
    q = encoder(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert close(q.mean, torch.tensor([[1.0, 2.0]]))
    assert close(q.log_std, torch.tensor([[3.0, 4.0]]))


@pytest.mark.parametrize("event", [(4,), (1, 2, 2)])
@pytest.mark.parametrize("batch", [(), (64,)])
def test_batch_shapes_and_consistency(event: tuple[int, ...], batch: tuple[int, ...]) -> None:
    """Each part has the batch's shape, and an example's numbers do not depend on its neighbours."""
    vae = perturb(mlp_vae(event, 2, (5,)))
    x = (torch.rand(*batch, *event) < 0.5).double()
    n = batch[0] if batch else 1
    noise = torch.randn(3, n, 2)
    bound = vae.elbo(x, samples=3, noise=noise)
    assert bound.value.shape == bound.reconstruction.shape == bound.kl.shape == batch
    assert vae.log_weights(x, 3, noise=noise).shape == (3, *batch)
    assert vae.reconstruct(x).shape == x.shape
    assert vae.sample(7).shape == (7, *event)
    if batch:
        alone = vae.elbo(x[5], samples=3, noise=noise[:, 5:6])
        assert close(alone.value, bound.value[5])
        assert close(alone.kl, bound.kl[5])


def test_works_in_single_precision(generator: torch.Generator) -> None:
    vae, x, noise = small_vae(), binary_states(4), torch.randn(2, 16, 1)
    double = vae.elbo(x, samples=2, noise=noise).value
    single = vae.float().elbo(x.float(), samples=2, noise=noise.float()).value
    assert single.dtype == torch.float32
    assert close(single.double(), double, 1e-4)
    assert vae.sample(2, generator=generator).dtype == torch.float32


def test_samples_have_the_models_law(generator: torch.Generator) -> None:
    """χ² of 20000 draws over the four images of two pixels, against quadrature: χ²(3) < 38 but for 3e-8 of seeds."""
    vae = perturb(mlp_vae((2,), 1, (4,)), 1.0)
    states = binary_states(2)
    p = exact_log_prob(vae, states).exp()
    x = vae.sample(20000, generator=generator)
    counts = torch.stack([(x == state).all(-1).sum() for state in states])
    chi2 = ((counts - 20000 * p) ** 2 / (20000 * p)).sum()
    assert float(chi2) < 38
    assert float((p - 0.25).abs().max()) > 0.05  # away from uniform, where a wrong law could hide


def test_sampling_leaves_the_training_flag_and_the_global_seed(generator: torch.Generator) -> None:
    vae, x = small_vae(), binary_states(4)
    state = torch.get_rng_state()
    vae.train().sample(2, generator=generator)
    vae.reconstruct(x, generator=generator)
    vae.elbo(x, generator=generator)
    assert vae.training
    assert torch.equal(state, torch.get_rng_state())


def test_every_parameter_learns() -> None:
    vae = small_vae()
    vae.likelihood = Gaussian()
    vae.elbo(binary_states(4)).value.mean().backward()
    assert all(
        p.grad is not None and bool(p.grad.isfinite().all()) and float(p.grad.abs().sum()) > 0 for p in vae.parameters()
    )


def test_paper_size() -> None:
    """Section 5: 784-500 tanh on both sides, 20 latents: (784+1)500 + (500+1)40 + (20+1)500 + (500+1)784."""
    with torch.device("meta"):
        vae = paper_vae()
    assert sum(p.numel() for p in vae.parameters()) == 785 * 500 + 501 * 40 + 21 * 500 + 501 * 784


class Foreign:
    """A posterior that can be drawn from and is no GaussianPosterior."""

    def __init__(self, q: GaussianPosterior) -> None:
        self.draw = q.draw


class AsForeign(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Foreign:
        return Foreign(self.encoder(x))


def test_a_posterior_without_closed_forms_is_sampled() -> None:
    """The same draws of the same law, but its type unknown: the rate is that of the sampled form."""
    vae, x, noise = small_vae(), binary_states(4), torch.randn(3, 16, 1)
    sampled = vae.elbo(x, samples=3, noise=noise, form="sampled").kl
    vae.encoder = AsForeign(vae.encoder)
    assert close(vae.elbo(x, samples=3, noise=noise).kl, sampled, 0.0)


def test_bad_input_is_refused() -> None:
    vae, x = small_vae(), binary_states(4)
    with pytest.raises(ValueError, match=r"x must have shape \(4\) or \(N, 4\), got \(2, 5\)"):
        vae.elbo(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        vae.elbo(x, samples=0)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        vae.log_weights(x, 0)
    with pytest.raises(ValueError, match=r"noise must have shape \(2, 16, 1\), got \(1, 16, 1\)"):
        vae.elbo(x, samples=2, noise=torch.zeros(1, 16, 1))
    with pytest.raises(ValueError, match=r"output must have shape \(N, 2d\), got \(2, 3\)"):
        GaussianEncoder(nn.Identity())(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="form must be one of"):
        vae.elbo(x, form="closed")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        StandardNormal(0)
    with pytest.raises(ValueError, match=r"z must have shape \(\*B, 2\), got \(5, 1\)"):
        StandardNormal(2).log_prob(torch.zeros(5, 1))
    vae.encoder = AsForeign(vae.encoder)
    with pytest.raises(ValueError, match="entropy form needs a Gaussian posterior, got Foreign and StandardNormal"):
        vae.elbo(x, form="entropy")
