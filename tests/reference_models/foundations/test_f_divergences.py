"""f-divergences, against numerical suprema, autograd, and the divergences under their own names."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from reference_models.foundations.divergences import jensen_shannon, kl_divergence
from reference_models.foundations.f_divergences import (
    F_DIVERGENCES,
    f_divergence,
    get,
    optimal_critic,
    variational_bound,
)
from tests.reference_models.helpers import close

NAMES = sorted(F_DIVERGENCES)
SMOOTH = [name for name in NAMES if name != "tv"]


def two_laws(*batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    return (1.5 * torch.randn(*batch, 7)).softmax(-1), (1.5 * torch.randn(*batch, 7)).softmax(-1)


@pytest.mark.parametrize("batch", [(), (64,)])
def test_each_is_the_divergence_of_its_name(batch):
    p, q = two_laws(*batch)
    expected = {
        "kl": kl_divergence(p, q),
        "reverse-kl": kl_divergence(q, p),
        "pearson": ((p - q) ** 2 / q).sum(-1),
        "neyman": ((p - q) ** 2 / p).sum(-1),
        "squared-hellinger": ((p.sqrt() - q.sqrt()) ** 2).sum(-1),
        "js": 2 * jensen_shannon(p, q),
        "gan": 2 * jensen_shannon(p, q) - math.log(4),
        "tv": (p - q).abs().sum(-1) / 2,
    }
    assert sorted(expected) == NAMES
    for name, value in expected.items():
        assert close(f_divergence(name, p, q), value, 1e-10), name


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_is_convex_and_zero_at_one(name):
    """GAN's alone is −log 4 at one."""
    f = get(name).f
    u = torch.linspace(0.05, 4, 80)
    assert bool((f(u[:-2]) + f(u[2:]) - 2 * f(u[1:-1]) >= -1e-12).all())
    assert float(f(torch.tensor(1.0))) == pytest.approx(-math.log(4) if name == "gan" else 0, abs=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_derivative_is_autograds(name):
    u = (0.1 + 3 * torch.rand(20)).requires_grad_()
    (slope,) = torch.autograd.grad(get(name).f(u).sum(), u)
    assert close(get(name).df(u.detach()), slope, 1e-10)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("u", [0.3, 1.0, 2.5])
def test_the_conjugate_is_the_supremum(name, u):
    """sup_v t v − f(v) by numerical search, at slopes t = f'(u), where it is reached at v = u."""
    row = get(name)
    t = float(row.df(torch.tensor(u)))
    search = minimize_scalar(
        lambda v: float(row.f(torch.tensor(v))) - t * v, bounds=(1e-6, 20), method="bounded", options={"xatol": 1e-9}
    )
    assert float(row.conjugate(torch.tensor(t))) == pytest.approx(-search.fun, abs=1e-7)
    assert search.x == pytest.approx(u, abs=1e-3)


@pytest.mark.parametrize("t", [-0.5, -0.2, 0.0, 0.3, 0.5])
def test_the_conjugate_of_total_variation_is_the_supremum_at_its_kink(t):
    search = minimize_scalar(lambda v: abs(v - 1) / 2 - t * v, bounds=(0, 3), method="bounded")
    assert float(get("tv").conjugate(torch.tensor(t))) == pytest.approx(-search.fun, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_activations_increase_into_the_domain(name):
    row = get(name)
    v = torch.linspace(-6, 6, 200)
    t = row.activation(v)
    low, high = row.domain
    assert bool((t.diff() > 0).all())
    assert bool(((t > low) & (t < high)).all())
    assert bool(row.conjugate(t).isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_activations_reach_every_optimal_critic(name):
    """Their range is the whole of dom f*: at −40 and 40 it is within 1e-6 of both ends, or beyond ±30."""
    row = get(name)
    ends = row.activation(torch.tensor([-40.0, 40.0]))
    for end, limit in zip(ends.tolist(), row.domain, strict=True):
        assert abs(end - limit) < 1e-6 if math.isfinite(limit) else abs(end) > 30


@pytest.mark.parametrize("name", NAMES)
def test_the_optimal_critic_makes_the_bound_exact_and_any_other_falls_short(name):
    p, q = two_laws()
    exact = float(f_divergence(name, p, q))
    critic = optimal_critic(name, p.log() - q.log())
    assert float(variational_bound(name, critic, critic, weights_p=p, weights_q=q)) == pytest.approx(exact, abs=1e-10)
    row = get(name)
    for _ in range(5):
        other = row.activation(torch.randn(7))
        assert float(variational_bound(name, other, other, weights_p=p, weights_q=q)) < exact + 1e-12


@pytest.mark.parametrize("name", SMOOTH)
def test_ascent_on_the_bound_ends_at_the_divergence(name):
    """With an activation over free values V: L-BFGS reaches the exact value."""
    p, q = two_laws()
    row = get(name)
    v = torch.zeros(7, requires_grad=True)
    optimiser = torch.optim.LBFGS([v], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def closure():
        optimiser.zero_grad()
        t = row.activation(v)
        loss = -variational_bound(name, t, t, weights_p=p, weights_q=q)
        loss.backward()
        return loss

    assert -float(optimiser.step(closure).detach()) <= float(f_divergence(name, p, q)) + 1e-9
    assert -float(closure().detach()) == pytest.approx(float(f_divergence(name, p, q)), abs=1e-5)


def test_samples_are_averaged_with_equal_weights():
    """T of (0, 1) on p and of (1, 2, 1) on q: ½ − (1 + e + 1)/3 for KL, by hand."""
    found = variational_bound("kl", torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0, 1.0]))
    assert float(found) == pytest.approx(0.5 - (2 + math.e) / 3, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kl", math.inf),
        ("reverse-kl", math.inf),
        ("pearson", math.inf),
        ("squared-hellinger", 2 - 2 * 0.5),
        ("js", math.log(2)),
        ("tv", 0.5),
        ("gan", math.log(2) - math.log(4)),
    ],
)
def test_outcomes_of_no_mass_count_as_their_limits(name, expected):
    """p = (½, ½, 0) and q = (½, 0, ½): half of each where the other is not."""
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.5, 0.0, 0.5])
    assert float(f_divergence(name, p, q)) == pytest.approx(expected, abs=1e-12)


def test_float32_agrees():
    p, q = two_laws()
    for name in NAMES:
        single = f_divergence(name, p.float(), q.float())
        assert float(single) == pytest.approx(float(f_divergence(name, p, q)), rel=1e-4, abs=1e-5)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"divergence must be one of .* got 'hellinger'"):
        get("hellinger")
    with pytest.raises(ValueError, match=r"every T of 'js' must lie in the domain \(-inf, 0.693147\) of f\*, got"):
        variational_bound("js", torch.tensor([0.0]), torch.tensor([1.0]))
    with pytest.raises(ValueError, match=r"weights must have shape \(2,\), got \(2, 1\)"):
        variational_bound("kl", torch.zeros(2), torch.zeros(2), weights_q=torch.full((2, 1), 0.5))
    with pytest.raises(ValueError, match="every row of p must be probabilities"):
        f_divergence("kl", torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.5]))
    for name, end in (("gan", 0.0), ("reverse-kl", 0.0), ("squared-hellinger", 1.0)):
        with pytest.raises(ValueError, match=rf"f\* of '{name}' is infinite at the end {end:g} of its domain"):
            variational_bound(name, torch.tensor([-1.0]), torch.tensor([-1.0, end]))
    assert float(variational_bound("tv", torch.tensor([0.5]), torch.tensor([-0.5]))) == 1.0
