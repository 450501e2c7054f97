"""IWAE's bound and four gradients against enumeration of all K-tuples, quadrature, and finite differences of both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reference_models.latent.iwae import (
    ESTIMATORS,
    IWAE,
    Estimator,
    effective_sample_size,
    importance_bound,
    score_surrogate,
    vimco_baseline,
)
from reference_models.latent.vae import GaussianPosterior, mlp_vae
from tests.reference_models.helpers import close, perturb, standard_errors
from tests.reference_models.latent.linear import LATENT, D, FreePosterior, evidence, model


class OnePosterior(nn.Module):
    """One mean and log-std for every example, so that N examples can be N points of a quadrature."""

    def __init__(self, d: int = 1) -> None:
        super().__init__()
        self.mean, self.log_std = nn.Parameter(torch.tensor([0.4] * d)), nn.Parameter(torch.tensor([-0.3] * d))

    def forward(self, x: Tensor) -> GaussianPosterior:
        n = len(x)
        return GaussianPosterior(self.mean.expand(n, -1), self.log_std.expand(n, -1))


def product_rule(n: int, K: int) -> tuple[Tensor, Tensor]:
    """Gauss–Hermite nodes (K, n^K, 1) and weights (n^K,) of E f(ε_1..ε_K)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    eps = torch.cartesian_prod(*[torch.tensor(nodes)] * K).reshape(-1, K)
    w = torch.cartesian_prod(*[torch.tensor(weights / math.sqrt(2 * math.pi))] * K).reshape(-1, K).prod(1)
    return eps.T[:, :, None], w


def finite_difference(f: Callable[[], Tensor], parameter: Tensor, i: int, h: float = 1e-5) -> float:
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            parameter.view(-1)[i] += sign * h
            ends.append(float(f()))
            parameter.view(-1)[i] -= sign * h
    return (ends[0] - ends[1]) / (2 * h)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_expected_gradient_is_that_of_the_bound(estimator: Estimator) -> None:
    """K = 2, one latent, quadrature over both draws: each estimator's mean gradient, in q's and the model's parameters,
    equals the finite difference of E log ½(w_1 + w_2), to 1e-6."""
    q = OnePosterior()
    ppca = model(1)
    with torch.no_grad():  # weights that vary by a few nats over the nodes, so that the quadrature is exact
        ppca.W.mul_(0.4)
        ppca.mean.zero_()
    vae = ppca.as_vae(q)
    iwae = IWAE(vae, 2, estimator)
    noise, weights = product_rule(60, 2)
    x = 0.5 * torch.randn(D).expand(len(weights), D)
    expected = (weights * iwae.bound(x, noise=noise)).sum()
    parameters = {name: p for name, p in vae.named_parameters() if p.requires_grad}
    gradients = dict(zip(parameters, torch.autograd.grad(expected, list(parameters.values())), strict=True))

    def exact() -> Tensor:
        log_w = vae.log_weights(x, 2, noise=noise)
        return (weights * (log_w.exp().mean(0)).log()).sum()

    for name, i in (("encoder.mean", 0), ("encoder.log_std", 0), ("decoder.weight", 1), ("decoder.bias", 2)):
        assert abs(float(gradients[name].view(-1)[i]) - finite_difference(exact, parameters[name], i)) < 1e-6, name
    assert close(expected, exact(), 1e-9)


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("K", [2, 3])
def test_score_gradient_is_exact_over_all_tuples(baseline: bool, K: int) -> None:
    """A code with four values: Σ over all 4^K tuples of q(tuple) ∇surrogate equals ∇L_K, to 1e-12, for φ and θ."""
    phi, theta = torch.randn(4).requires_grad_(), torch.randn(4).requires_grad_()
    tuples = torch.tensor(list(itertools.product(range(4), repeat=K)))  # (4^K, K)
    log_q = phi.log_softmax(0)[tuples].T  # (K, 4^K)
    log_w = theta[tuples].T - log_q
    probability = log_q.sum(0).exp()
    bound = (probability * (log_w.exp().mean(0)).log()).sum()
    exact = torch.autograd.grad(bound, [phi, theta], retain_graph=True)
    surrogate = (probability.detach() * score_surrogate(log_w, log_q, baseline=baseline)).sum()
    ours = torch.autograd.grad(surrogate, [phi, theta])
    assert close(surrogate, bound.detach(), 1e-12)
    assert close(ours[0], exact[0], 1e-12)
    assert close(ours[1], exact[1], 1e-12)


def test_baseline_is_the_bound_without_each_sample() -> None:
    """By a loop with plain numbers; it does not move with the sample it serves."""
    log_w = torch.randn(4, 3)
    baseline = vimco_baseline(log_w)
    for k, b in itertools.product(range(4), range(3)):
        others = [float(log_w[j, b]) for j in range(4) if j != k]
        terms = [*others, sum(others) / 3]
        assert abs(float(baseline[k, b]) - math.log(sum(math.exp(t) for t in terms) / 4)) < 1e-12
    moved = log_w.clone()
    moved[1] += 5.0
    assert close(vimco_baseline(moved)[1], baseline[1], 1e-12)
    assert vimco_baseline(torch.randn(5)).shape == (5,)


def test_baseline_lowers_the_variance(generator: torch.Generator) -> None:
    """Var of the encoder's gradient over 2000 draws with K = 5: VIMCO's is less than half the plain one's."""
    variances = {}
    for estimator in ("score", "vimco"):
        q = OnePosterior()
        iwae = IWAE(model(1).as_vae(FreePosterior(400, 1)), 5, estimator)
        x = torch.zeros(D).expand(400, D)
        encoder = iwae.vae.encoder
        assert isinstance(encoder, FreePosterior)
        with torch.no_grad():
            encoder.mean.copy_(q.mean.expand(400, 1))
            encoder.log_std.copy_(q.log_std.expand(400, 1))
        torch.manual_seed(1)
        (gradient,) = torch.autograd.grad(iwae.bound(x, generator=generator.manual_seed(1)).sum(), [encoder.mean])
        variances[estimator] = float(gradient.var())
    assert variances["vimco"] < 0.5 * variances["score"]


def test_doubly_reparametrised_gradient_has_no_noise_at_the_posterior() -> None:
    """With q exact every draw's encoder gradient is zero under DReG, and not under the plain one."""
    ppca, x = model(1), torch.randn(6, D)
    exact = ppca.mean_field_posterior(x)
    size = {}
    for estimator in ("reparametrised", "dreg"):
        q = FreePosterior(6, 1)
        with torch.no_grad():
            q.mean.copy_(exact.mean)
            q.log_std.copy_(exact.log_std)
        iwae = IWAE(ppca.as_vae(q), 3, estimator)
        bound = iwae.bound(x)
        assert close(bound, evidence(ppca, x))
        gradients = torch.autograd.grad(bound.sum(), [q.mean, q.log_std])
        size[estimator] = max(float(g.abs().max()) for g in gradients)
    assert size["dreg"] < 1e-12
    assert size["reparametrised"] > 1e-2


def test_bound_grows_with_k_up_to_the_evidence(generator: torch.Generator) -> None:
    """K = 1, 4, 16, 64 with a poor q in pPCA: means of 4000 draws rise by more than 5 standard errors each time, the
    last to within 0.3 nats of log p(x) and no more than 5 standard errors above it; K = 1 is the ELBO."""
    ppca = model()
    q = OnePosterior(LATENT)
    vae = ppca.as_vae(q)
    x = ppca.mean.detach() + 0.5
    log_p = float(evidence(ppca, x))
    means, errors = [], []
    n = 4000
    for K in (1, 4, 16, 64):
        with torch.no_grad():
            draws = IWAE(vae, K).bound(x.expand(n, D), generator=generator)
        means.append(float(draws.mean()))
        errors.append(float(draws.std()) / n**0.5)
        if K == 1:
            assert standard_errors(draws, ppca.elbo(x, q=GaussianPosterior(q.mean, q.log_std)).value.detach()) < 5
    assert all(b - a > 5 * (e + f) for a, b, e, f in zip(means, means[1:], errors, errors[1:], strict=False))
    assert log_p - 0.3 < means[-1] < log_p + 5 * errors[-1]


def test_bound_and_effective_sample_size_by_hand() -> None:
    log_w = torch.tensor([1.0, 2.0, 4.0]).log()
    assert close(importance_bound(log_w), math.log(7 / 3), 1e-12)
    assert close(effective_sample_size(log_w), 49 / 21, 1e-12)
    assert close(effective_sample_size(torch.zeros(5, 2)), torch.full((2,), 5.0), 1e-12)
    shifted = importance_bound(log_w - 1000)  # no underflow
    assert close(shifted, math.log(7 / 3) - 1000, 1e-9)


def test_estimate_is_the_evidence_in_chunks(generator: torch.Generator) -> None:
    """At the exact posterior, every chunking gives log p(x); at another q, 2000 samples come within 0.1 nats."""
    ppca, x = model(1), torch.randn(5, D)
    iwae = IWAE(ppca.as_vae())
    for samples, chunk in ((7, 3), (4, 4), (1, 50)):
        assert close(iwae.estimate_log_prob(x, samples=samples, chunk=chunk), evidence(ppca, x))
    rough = IWAE(ppca.as_vae(FreePosterior(5, 1)))
    with torch.no_grad():
        rough.vae.encoder.mean.copy_(ppca.mean_field_posterior(x).mean + 0.2)  # type: ignore[union-attr]
    estimate = rough.estimate_log_prob(x, samples=2000, generator=generator)
    assert close(estimate, evidence(ppca, x), 0.1)
    assert not estimate.requires_grad


@pytest.mark.parametrize("batch", [(), (64,)])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_batch_shapes_single_precision_and_loss(batch: tuple[int, ...], estimator: Estimator) -> None:
    """(*B,) bounds; the loss is minus their mean; float32 within 1e-4; every parameter gets a finite gradient."""
    iwae = perturb(IWAE.mlp((1, 2, 2), 3, estimator))
    x = (torch.rand(*batch, 1, 2, 2) < 0.5).double()
    noise = torch.randn(3, max(math.prod(batch), 1), 8)
    bound = iwae.bound(x, noise=noise)
    assert bound.shape == batch
    assert iwae.elbo(x).kl.shape == batch
    loss = iwae.loss(x, noise=noise)
    assert close(loss, -bound.mean())
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in iwae.parameters())
    assert close(iwae.float().bound(x.float(), noise=noise.float()).double(), bound, 1e-4)
    assert iwae.sample(2).shape == (2, 1, 2, 2)


def test_paper_size() -> None:
    """Section 5: 784-200-200 tanh to 50 latents (mean and log-std), and back."""
    with torch.device("meta"):
        iwae = IWAE.paper()
    encoder = 785 * 200 + 201 * 200 + 201 * 100
    decoder = 51 * 200 + 201 * 200 + 201 * 784
    assert sum(p.numel() for p in iwae.parameters()) == encoder + decoder


def test_bad_input_is_refused() -> None:
    vae = mlp_vae((4,), 2, (5,))
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        IWAE(vae, 0)
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        IWAE(vae, 1, "vimco")
    with pytest.raises(ValueError, match="estimator must be one of"):
        IWAE(vae, 2, "stl")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="K must be at least 2, got 1"):
        vimco_baseline(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        IWAE(vae).estimate_log_prob(torch.zeros(4), samples=0)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        IWAE(vae).estimate_log_prob(torch.zeros(4), chunk=0)
    with pytest.raises(ValueError, match=r"x must have shape \(4\)"):
        IWAE(vae).bound(torch.zeros(3))
