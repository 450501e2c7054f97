"""Probes that answer by time and by condition have the answers their docstrings promise, and refuse other times."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, distributions, nn

from autograder.vocabulary.known_laws import DIVERGENCES, mixture_log_prob, noise_table, table_energy_law, vp_moments
from autograder.worker.probes import (
    AffineScore,
    Conditional,
    Conjugate,
    DiscreteCritic,
    GaussianNoise,
    GaussianScore,
    GaussianVelocity,
    LabelGaussian,
    LinearField,
    LinearInTime,
    MixtureScore,
    SigmaScore,
    SmallField,
    SmallVelocity,
    SwirlField,
    TableEnergy,
    TanhScore,
    TimeAffine,
    TimeField,
    WaveCritic,
)

F64 = torch.float64
BETAS = torch.linspace(0.02, 0.4, 8, dtype=F64)
ABAR = (1 - BETAS).cumprod(0)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def gradient(f: Any, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(f(x).sum(), x)
    return found


def covariance(n: int, seed: int = 3) -> Tensor:
    root = drawn(n, n, seed=seed)
    return root @ root.T / n + 0.3 * torch.eye(n, dtype=F64)


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
def test_the_noise_of_gaussian_data_is_the_score_of_their_noised_law(shape: tuple[int, ...]) -> None:
    mean, std = drawn(*shape), drawn(*shape, seed=1).abs() + 0.3
    model = GaussianNoise(mean, std, BETAS)
    x, t = drawn(8, *shape, seed=2), torch.arange(8)
    a = ABAR.reshape(-1, *[1] * len(shape))
    law = distributions.Normal(a.sqrt() * mean, (a * std**2 + 1 - a).sqrt())
    torch.testing.assert_close(model(x, t), -(1 - a).sqrt() * gradient(law.log_prob, x))
    torch.testing.assert_close(model(x, 5)[5], model(x, t)[5])
    assert model(x.float(), t).dtype == torch.float32
    slope, shift = noise_table(mean, std, BETAS)
    torch.testing.assert_close(TimeAffine(slope, shift)(x, t), model(x, t))


def test_one_sample_without_a_batch_is_answered_as_in_a_batch() -> None:
    x = drawn(4, 3)
    mean, std, C = drawn(3, seed=1), drawn(3, seed=2).abs() + 0.5, covariance(3)
    means, stds, weights = drawn(2, 3), torch.tensor([0.5, 1.0], dtype=F64), torch.tensor([0.3, 0.7], dtype=F64)
    models: list[tuple[nn.Module, Any]] = [
        (GaussianNoise(mean, std, BETAS), 3),
        (GaussianScore(mean, C, 0.1, 20.0), 0.3),
        (GaussianVelocity(mean, C), 0.3),
        (MixtureScore(means, stds, weights, BETAS), 3),
        (SigmaScore(mean, std), 0.3),
        (LinearInTime(mean, std, 2.0), 0.3),
    ]
    for model, t in models:
        torch.testing.assert_close(model(x[0], t), model(x, torch.full((4,), t))[0])
        torch.testing.assert_close(model(x[0], torch.tensor(t)), model(x, t)[0])
    for field in (LinearField(C, mean, std), TimeField(mean)):
        torch.testing.assert_close(field(0.3, x[0]), field(0.3, x)[0])


def test_a_time_that_is_not_one_a_sample_or_no_index_is_refused() -> None:
    x = torch.zeros(4, 4)
    model = TimeAffine(torch.ones(8), torch.zeros(8))
    for bad in (torch.zeros(4, 1).long(), torch.zeros(3).long(), torch.zeros(4, 4)):
        with pytest.raises(ValueError, match=r"one time a sample, shape \(4,\), got"):
            model(x, bad)
    for bad, said in ((8, "8"), (-1, "-1"), (0.5, "0.5"), (torch.tensor([0, 1, 2, 8]), "8")):
        with pytest.raises(ValueError, match=rf"the times 0 … 7, got {said}$"):
            model(x, bad)
    with pytest.raises(ValueError, match="the times 0 … 7, got nan"):
        model(x, float("nan"))
    with pytest.raises(ValueError, match="one σ a sample"):
        SigmaScore(0.0, 1.0)(x, torch.ones(4, 1))
    torch.testing.assert_close(model(x, torch.tensor([0.0, 1.0, 2.0, 7.0])), model(x, torch.tensor([0, 1, 2, 7])))


def test_a_learnable_table_learns_the_exact_noise_and_moves_only_at_times_that_were_drawn() -> None:
    model = TimeAffine(torch.zeros(8, dtype=F64), torch.zeros(8, dtype=F64))
    x, t = drawn(6, 2), torch.tensor([1, 1, 3, 3, 3, 6])
    model(x, t).square().sum().backward()
    model(x, t).sub(1).square().sum().backward()
    assert model.shift.grad is not None
    assert (model.shift.grad != 0).nonzero().flatten().tolist() == [1, 3, 6]


def test_labels_have_their_own_laws_and_the_last_is_the_null_label() -> None:
    means, stds = torch.tensor([1.0, -2.0, 0.0], dtype=F64), torch.tensor([0.5, 0.3, 1.0], dtype=F64)
    model = LabelGaussian(means, stds, BETAS)
    x, t, y = drawn(6, 2), torch.arange(6), torch.tensor([0, 1, 2, 2, 1, 0])
    for row in range(6):
        alone = GaussianNoise(means[y[row]], stds[y[row]], BETAS)
        torch.testing.assert_close(model(x, t, y)[row], alone(x, t)[row])
    networks = [GaussianNoise(m, s, BETAS) for m, s in zip(means, stds, strict=True)]
    torch.testing.assert_close(Conditional(networks)(x, t, y), model(x, t, y))
    torch.testing.assert_close(Conditional(networks)(x, t, y=y), model(x, t, y))
    torch.testing.assert_close(Conditional(networks)(x, t, 1), model(x, t, torch.ones(6).long()))
    for wrong in (3, -1):
        for f in (model, Conditional(networks)):
            with pytest.raises(ValueError, match=f"the labels 0 … 2, got {wrong}"):
                f(x, t, torch.tensor([0, 1, 2, 2, 1, wrong]))
    with pytest.raises(ValueError, match="one label a sample"):
        model(x, t, y[:, None])
    with pytest.raises(ValueError, match="one label a sample"):
        Conditional(networks)(x, t, y[:, None])
    vectors = LabelGaussian(drawn(3, 2), drawn(3, 2, seed=1).exp(), BETAS)
    with pytest.raises(ValueError, match="one label a sample"):
        vectors(x, t, y[:, None])


@pytest.mark.parametrize("times", [None, torch.tensor([0, 3, 7, 7, 1])])
def test_a_mixture_score_is_the_gradient_of_the_log_density_near_and_far(times: Tensor | None) -> None:
    means, stds, weights = drawn(3, 2), torch.tensor([0.3, 0.5, 1.0], dtype=F64), torch.tensor([0.2, 0.5, 0.3]).double()
    x = torch.cat([drawn(4, 2, seed=1), torch.full((1, 2), 1e3, dtype=F64)])
    a = 1.0 if times is None else ABAR[times]
    model = MixtureScore(means, stds, weights, None if times is None else BETAS)
    found = model(x) if times is None else model(x, times)
    torch.testing.assert_close(found, gradient(lambda x: mixture_log_prob(x, means, stds, weights, a), x))
    parts = distributions.Independent(distributions.Normal(means, stds[:, None].expand(3, 2)), 1)
    law = distributions.MixtureSameFamily(distributions.Categorical(weights), parts)
    torch.testing.assert_close(mixture_log_prob(x, means, stds, weights), law.log_prob(x))
    if times is not None:  # the noise kernel by quadrature: one component, moved and widened
        alone = mixture_log_prob(x, means[:1], stds[:1], torch.ones(1).double(), a)
        kept = ABAR[times][:, None]
        wide = distributions.Normal(kept.sqrt() * means[0], (kept * stds[0] ** 2 + 1 - kept).sqrt())
        torch.testing.assert_close(alone, wide.log_prob(x).sum(1))


@pytest.mark.parametrize("form", ["number", "entries", "matrix", "image"])
def test_scores_and_velocities_of_gaussians_are_conditional_expectations(form: str) -> None:
    shape = (1, 2, 2) if form == "image" else (4,)
    full = covariance(4)
    cov = {"number": torch.tensor(0.7, dtype=F64), "entries": full.diagonal(), "matrix": full, "image": full}[form]
    dense = cov if cov.dim() == 2 else torch.diag(cov.expand(4))
    mean, x, t = drawn(4), drawn(5, 4, seed=1), torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=F64)
    velocity = GaussianVelocity(mean.reshape(shape), cov)(x.reshape(5, *shape), t).reshape(5, 4)
    score = GaussianScore(mean.reshape(shape), cov, 0.1, 4.0)(x.reshape(5, *shape), t + 0.01).reshape(5, 4)
    alpha, std = vp_moments(t + 0.01, 0.1, 4.0)
    for i in range(5):
        total = t[i] ** 2 * dense + (1 - t[i]) ** 2 * torch.eye(4, dtype=F64)
        cross = t[i] * dense - (1 - t[i]) * torch.eye(4, dtype=F64)  # Cov(x_1 − x_0, x_t)
        torch.testing.assert_close(velocity[i], mean + cross @ torch.linalg.inv(total) @ (x[i] - t[i] * mean))
        noised = alpha[i] ** 2 * dense + std[i] ** 2 * torch.eye(4, dtype=F64)
        law = distributions.MultivariateNormal(alpha[i] * mean, noised)
        torch.testing.assert_close(score[i], gradient(law.log_prob, x[i]))
    assert GaussianVelocity(mean.float().reshape(shape), cov)(x.float().reshape(5, *shape), 0.5).dtype == torch.float32


def test_moments_of_the_vp_sde_solve_its_moment_equations() -> None:
    t = torch.linspace(0.01, 1, 7, dtype=F64, requires_grad=True)
    alpha, std = vp_moments(t, 0.1, 20.0)
    beta = 0.1 + t * 19.9
    (d_alpha,) = torch.autograd.grad(alpha.sum(), t, retain_graph=True)
    (d_variance,) = torch.autograd.grad((std**2).sum(), t)
    torch.testing.assert_close(d_alpha, -0.5 * beta * alpha)
    torch.testing.assert_close(d_variance, beta * (1 - std**2))
    assert [float(q) for q in vp_moments(0.0, 0.1, 20.0)] == [1.0, 0.0]
    assert float(vp_moments(0.5, 0.1, 20.0)[0]) == pytest.approx(0.2812, abs=5e-5)  # by hand in the plan of homework 6
    assert float(vp_moments(0.5, 0.1, 20.0)[1]) == pytest.approx(0.9597, abs=5e-5)


def test_a_score_by_sigma_is_that_of_noised_data() -> None:
    x, sigma = drawn(5, 1, 2, 2), torch.tensor([0.1, 0.5, 1.0, 2.0, 9.0], dtype=F64)
    law = distributions.Normal(1.5, (0.36 + sigma**2).sqrt().reshape(5, 1, 1, 1))
    torch.testing.assert_close(
        SigmaScore(torch.tensor(1.5, dtype=F64), torch.tensor(0.6, dtype=F64))(x, sigma), gradient(law.log_prob, x)
    )


@pytest.mark.parametrize("shape", [(3,), (1, 3, 1)])
def test_dense_and_nonlinear_scores_have_the_jacobian_they_promise(shape: tuple[int, ...]) -> None:
    A, b, x = drawn(3, 3), drawn(3, seed=1), drawn(4, *shape, seed=2)
    for model in (AffineScore(A, b), TanhScore(A, b)):
        jacobian = torch.autograd.functional.jacobian(lambda v, m=model: m(v[None])[0].flatten(), x[0]).reshape(3, 3)
        f = model(x)[0].flatten()
        torch.testing.assert_close(jacobian, A if isinstance(model, AffineScore) else torch.diag(1 - f**2) @ A)
        assert model(x).shape == x.shape
    torch.testing.assert_close(AffineScore(A, b)(x).reshape(4, 3), x.reshape(4, 3) @ A.T + b)
    assert AffineScore([[2.0]], 1.0)(torch.ones(2, 1)).tolist() == [[3.0], [3.0]]


def test_a_table_of_energies_has_its_law_by_enumeration() -> None:
    energies = -torch.tensor([1.0, 3.0, 2.0, 2.0], dtype=F64).log()
    model = TableEnergy(energies)
    states = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    torch.testing.assert_close(table_energy_law(energies).exp(), torch.tensor([1, 3, 2, 2], dtype=F64) / 8)
    torch.testing.assert_close(model(states.reshape(4, 1, 1, 2)), energies)
    model(states[[1, 1, 3]].double()).sum().backward()
    assert model.energies.grad is not None
    assert model.energies.grad.tolist() == [0, 2, 0, 1]
    with pytest.raises(ValueError, match=r"shape \(2ⁿ,\), got \(3,\)"):
        TableEnergy(torch.zeros(3))
    with pytest.raises(ValueError, match=r"of 2 bits, got x of shape \(4, 3\)"):
        model(torch.zeros(4, 3))


def test_fields_take_time_first_and_move_as_they_promise() -> None:
    A, b, c, x = drawn(3, 3), drawn(3, seed=1), drawn(3, seed=2), drawn(4, 3, seed=3)
    t = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=F64)
    torch.testing.assert_close(LinearField(A, b, c)(t, x), x @ A.T + b + t[:, None] * c)
    images = LinearField(A, b, c)(t, x.reshape(4, 1, 3, 1))
    torch.testing.assert_close(images.reshape(4, 3), LinearField(A, b, c)(t, x))
    torch.testing.assert_close(TimeField(4.0)(0.5, x), torch.full_like(x, 0.5))
    assert TimeField(4.0)(torch.tensor(0.5), x.requires_grad_()).requires_grad
    torch.testing.assert_close(LinearInTime(b, c, 2.0)(x, t), b + t[:, None] * c + 2 * x)


def test_critics_have_known_slopes_and_states() -> None:
    w, x = drawn(8), drawn(5, 2, 2, 2, seed=1)
    critic = WaveCritic(w, 2.0, 0.5, 1.0)
    known = 2 * (x.flatten(1) @ w + 0.5).cos()[:, None] * w
    torch.testing.assert_close(gradient(critic, x).flatten(1), known)
    assert critic(x).shape == (5,)
    assert known.norm(dim=1).std() > 0.1
    table = DiscreteCritic(torch.tensor([0.5, -1.0, 2.0]))
    assert table(torch.tensor([2, 0, 1])).tolist() == [2.0, 0.5, -1.0]
    assert table(torch.tensor([[2.0], [0.0]])).tolist() == [2.0, 0.5]
    for bad in (torch.tensor([3]), torch.tensor([-1]), torch.tensor([0.5])):
        with pytest.raises(ValueError, match="the states 0 … 2, got"):
            table(bad)
    with pytest.raises(ValueError, match=r"state numbers of shape \(B,\)"):
        table(torch.zeros(2, 2))


@pytest.mark.parametrize("name", list(DIVERGENCES))
def test_conjugates_are_suprema_and_divergences_those_of_the_literature(name: str) -> None:
    law = DIVERGENCES[name]
    u = torch.linspace(1e-4, 60, 600_001, dtype=F64)
    t = torch.linspace(-1.5, 0.8, 24, dtype=F64)
    supremum = torch.stack([(u * value - law.f(u)).max() for value in t])
    torch.testing.assert_close(law.conjugate(t), supremum, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(Conjugate(name)(t), law.conjugate(t))
    torch.testing.assert_close(gradient(law.f, u[::1000]), law.slope(u[::1000]))
    p, q = torch.tensor([0.2, 0.5, 0.3], dtype=F64), torch.tensor([0.4, 0.4, 0.2], dtype=F64)
    known = {
        "kl": distributions.kl_divergence(distributions.Categorical(p), distributions.Categorical(q)),
        "pearson": ((p - q) ** 2 / q).sum(),
        "hellinger": ((p.sqrt() - q.sqrt()) ** 2).sum(),
    }
    torch.testing.assert_close(law.between(p, q), known[name])
    with pytest.raises(ValueError, match="there is no conjugate 'tv'"):
        Conjugate("tv")


# fields and networks to train


def test_the_swirl_uses_one_weight_twice_and_one_never() -> None:
    A, b, x, t = drawn(3, 3), drawn(3, seed=1), drawn(4, 3, seed=2), torch.linspace(0, 1, 4, dtype=F64)
    field = SwirlField(A, b)
    whole = torch.autograd.functional.jacobian(lambda q: field(t, q), x)
    jacobians = torch.stack([whole[k, :, k] for k in range(4)])
    slope = 1 - (x @ A.T + t[:, None] * b).tanh().square()
    torch.testing.assert_close(jacobians, A @ (slope[:, :, None] * A))
    torch.testing.assert_close(jacobians.diagonal(dim1=1, dim2=2).sum(1), torch.einsum("ij,ji,bj->b", A, A, slope))
    found = torch.autograd.grad(field(t, x).sum(), list(field.parameters()), allow_unused=True)
    assert [name for (name, _), g in zip(field.named_parameters(), found, strict=True) if g is None] == ["idle"]
    inner = (x @ A.T + t[:, None] * b).tanh()
    outer = torch.ones(4, 3, dtype=F64).T @ inner  # of the outer use alone; the inner one adds to it
    assert not torch.allclose(found[0], outer)
    images = field(0.3, x.reshape(4, 1, 3, 1))
    torch.testing.assert_close(images.reshape(4, 3), field(0.3, x))


def test_the_small_velocity_is_the_network_that_its_layers_make() -> None:
    net = SmallVelocity(2, hidden=8, seed=3)
    layers = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 2)).double()
    state = net.state_dict()
    layers.load_state_dict(
        {f"{2 * k - 2}.{n}": state[f"{kind}{k}"] for k in (1, 2, 3) for kind, n in (("W", "weight"), ("b", "bias"))}
    )
    x, t = drawn(5, 2), torch.rand(5, dtype=F64)
    torch.testing.assert_close(net(x, t), layers(torch.cat([x, t[:, None]], 1)))
    torch.testing.assert_close(net(x, 0.5), net(x, torch.full((5,), 0.5, dtype=F64)))
    torch.testing.assert_close(net(x.reshape(5, 1, 2, 1), t).reshape(5, 2), net(x, t))
    assert all(
        torch.equal(a, b) for a, b in zip(net.parameters(), SmallVelocity(2, 8, seed=3).parameters(), strict=True)
    )
    assert not torch.equal(state["W1"], SmallVelocity(2, 8, seed=4).W1)
    torch.testing.assert_close(SmallField(2, 8, seed=3)(0.5, x), net(x, 0.5))  # the same, called time first
    with pytest.raises(ValueError, match="one time a sample"):
        net(x, t[:3])
