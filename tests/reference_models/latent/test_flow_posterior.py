"""A flow posterior against autograd Jacobians, quadrature and the evidence by importance weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from reference_models.flows.change_of_variables import Composed, Inverse
from reference_models.flows.maf import AffineAutoregressive
from reference_models.flows.planar import Planar
from reference_models.latent.flow_posterior import IAFVAE, FlowEncoder, FlowPosterior
from reference_models.latent.vae import GaussianPosterior
from tests.reference_models.helpers import close, log_abs_det, perturb, standard_errors


def model(d: int = 2, steps: int = 2) -> IAFVAE:
    return perturb(IAFVAE((1, 2, 2), d, (6,), steps=steps, flow_hidden=(8,), context=3), scale=0.4)


def images(n: int) -> Tensor:
    return (torch.rand(n, 1, 2, 2) > 0.5).double()


def normal_log_prob(noise: Tensor) -> Tensor:
    return Normal(0.0, 1.0).log_prob(noise).sum(-1)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_density_of_a_draw_is_that_of_its_noise_over_the_jacobian(steps: int) -> None:
    vae, x = model(3, steps), images(2)
    q, noise = vae.posterior(x), torch.randn(4, 2, 3)
    draw = q.draw(4, noise=noise)
    for n in range(2):
        alone = vae.posterior(x[n])
        logdet = log_abs_det(lambda e, alone=alone: alone.draw(1, noise=e.view(1, 1, 3)).z, noise[:, n])
        assert close(draw.log_prob[:, n], (normal_log_prob(noise[:, n]) - logdet).detach(), atol=1e-9)
        assert close(alone.draw(4, noise=noise[:, n : n + 1]).z[:, 0], draw.z[:, n].detach(), atol=1e-10)


def test_both_directions_give_one_density() -> None:
    q = model().posterior(images(3))
    draw = q.draw(5, noise=torch.randn(5, 3, 2))
    assert close(q.log_prob(draw.z), draw.log_prob.detach(), atol=1e-9)


def test_the_posterior_of_an_example_integrates_to_one() -> None:
    axis = torch.linspace(-8, 8, 321)
    z = torch.cartesian_prod(axis, axis)[:, None].expand(-1, 2, -1)
    mass = model().posterior(images(2)).log_prob(z).exp().sum(0) * float(axis[1] - axis[0]) ** 2
    assert close(mass, torch.ones(2), atol=1e-3)


def test_each_step_of_the_flow_costs_one_pass_in_sampling() -> None:
    vae, calls = model(4, 3), []
    for layer in vae.encoder.transform.transforms:
        layer.net.register_forward_hook(lambda *_: calls.append(1))
    vae.posterior(images(2)).draw(5, noise=torch.randn(5, 2, 4))
    assert len(calls) == 3


def test_one_step_bends_each_variable_by_those_before_it_and_two_by_all() -> None:
    def influence(steps: int) -> Tensor:
        q = model(3, steps).posterior(images(1))
        slopes = torch.autograd.functional.jacobian(
            lambda e: q.draw(1, noise=e.view(1, 1, 3)).z.view(3), torch.randn(3)
        )
        return slopes != 0

    assert torch.equal(influence(1), torch.ones(3, 3).tril().bool())
    assert bool(influence(2).all())


def test_without_bending_it_is_the_gaussian_and_its_kl_the_closed_form() -> None:
    """A MAF layer with zero weights is the identity; the KL by 20 000 draws lies within 5 standard errors."""
    identity = AffineAutoregressive(2, (4,))
    with torch.no_grad():
        for p in identity.parameters():
            p.zero_()
    base = GaussianPosterior(torch.tensor([[0.3, -1.0]]), torch.tensor([[0.5, -0.4]]))
    noise = torch.randn(20_000, 1, 2)
    draw = FlowPosterior(base, identity).draw(20_000, noise=noise)
    assert close(draw.z, base.draw(20_000, noise=noise).z, atol=1e-12)
    truth = kl_divergence(Normal(base.mean, base.log_std.exp()), Normal(0.0, 1.0)).sum(-1)
    assert standard_errors((draw.log_prob - normal_log_prob(draw.z)).detach(), truth) < 5


def test_importance_weights_average_to_the_evidence_and_the_bound_is_below() -> None:
    """log p(x) by quadrature over two code variables; 4000 weights, 5 standard errors."""
    vae, x = model(), images(3)
    axis = torch.linspace(-7, 7, 141)
    z = torch.cartesian_prod(axis, axis)[:, None].expand(-1, 3, -1)
    log_joint = vae.log_likelihood(x, z) + normal_log_prob(z)
    log_p = (torch.logsumexp(log_joint, 0) + 2 * math.log(float(axis[1] - axis[0]))).detach()
    noise = torch.randn(4000, 3, 2)
    log_w = vae.log_weights(x, 4000, noise=noise).detach()
    assert standard_errors((log_w - log_p).exp(), 1.0) < 5
    bound = vae.elbo(x, samples=4000, noise=noise)
    assert close(bound.value, log_w.mean(0), atol=1e-9)
    assert close(bound.reconstruction - bound.kl, log_w.mean(0), atol=1e-9)
    assert bool((bound.value < log_p).all())


def test_gradients_reach_mean_scale_context_and_flow() -> None:
    vae = model()
    vae.elbo(images(4)).value.sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in vae.encoder.transform.parameters())
    assert bool((vae.encoder.net[1][-1].bias.grad != 0).all())


def test_planar_layers_bend_each_example_by_its_context_with_the_density_of_their_jacobian() -> None:
    """Amortised planar layers, figure 2 of the paper: the posterior pushes noise through f, so f⁻¹ is its transform."""
    base, context = GaussianPosterior(torch.randn(2, 3), 0.3 * torch.randn(2, 3)), torch.randn(2, 4)
    planar = Inverse(Composed([perturb(Planar(3, condition_dim=4), 0.3) for _ in range(2)]))
    noise = torch.randn(5, 2, 3)
    draw = FlowPosterior(base, planar, context).draw(5, noise=noise)
    for n in range(2):
        one = FlowPosterior(
            GaussianPosterior(base.mean[n : n + 1], base.log_std[n : n + 1]), planar, context[n : n + 1]
        )

        def push(e: Tensor, one: FlowPosterior = one) -> Tensor:
            return one.draw(1, noise=e.view(1, 1, 3)).z

        truth = normal_log_prob(noise[:, n]) - log_abs_det(push, noise[:, n])
        assert close(draw.log_prob[:, n], truth, atol=1e-9)


def test_the_published_posterior_has_its_size() -> None:
    """784-450-(32, 32, 450), 32-450-784, and 8 steps of (32 + 450)-1920-(32 means, 32 gates)."""
    with torch.device("meta"):
        count = sum(p.numel() for p in IAFVAE.mnist().parameters())
    step = 483 * 1920 + 1921 * 64
    assert count == 785 * 450 + 451 * 514 + 33 * 450 + 451 * 784 + 8 * step


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    vae, x = model().float(), images(3).float()
    assert vae.elbo(x, generator=generator).value.dtype == torch.float32
    assert vae.elbo(x[0], generator=generator).value.shape == ()
    assert vae.sample(3, generator=generator).dtype == torch.float32


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        IAFVAE(steps=0)
    with pytest.raises(ValueError, match=r"\(N, 4\), got \(2, 5\)"):
        FlowEncoder(nn.Identity(), AffineAutoregressive(2))(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"noise must have shape \(1, 2, 2\), got \(1, 2, 3\)"):
        model().posterior(images(2)).draw(1, noise=torch.zeros(1, 2, 3))
