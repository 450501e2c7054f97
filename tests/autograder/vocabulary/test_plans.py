"""Figures of the homework plans come out of probes and laws, and the mistakes that the plans name stand apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import (
    AffineScore,
    DiscreteCritic,
    LabelGaussian,
    Quadratic,
    Recorder,
    SigmaScore,
    TableEnergy,
    TanhScore,
    assert_close,
    assert_consistent_noising,
    assert_covers_times,
    assert_moments,
    assert_steps_follow,
    enumerate_binary,
    gaussian_recursion,
    noise_table,
    records,
    table_energy_law,
)
from autograder.errors import StudentFault
from tests.autograder.vocabulary.ddpm import abar_of, reverse_steps
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64
LONG = torch.linspace(0.002, 0.4, 50, dtype=F64)
STEEP = torch.full((12,), 0.3, dtype=F64)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=generator(seed))


# DDIM


def ddim_steps(slope: Tensor, shift: Tensor, betas: Tensor, steps: list[int], eta: float) -> Any:
    abar = abar_of(betas)
    found: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for t, before in reversed(list(zip(steps, [-1, *steps[:-1]], strict=True))):
        a, prev = abar[t], abar[before] if before >= 0 else torch.ones((), dtype=F64)
        sigma2 = eta**2 * (1 - prev) / (1 - a) * (1 - a / prev)
        gain, direction = (prev / a).sqrt(), (1 - prev - sigma2).sqrt() - (prev / a).sqrt() * (1 - a).sqrt()
        found[0].append(gain + direction * slope[t])
        found[1].append(direction * shift[t])
        found[2].append(sigma2.sqrt())
    return found


@pytest.mark.parametrize(
    ("betas", "steps", "eta", "law"),
    [
        (LONG, list(range(4, 50, 5)), 0.0, (1.4981, 0.4656)),
        (LONG, list(range(4, 50, 5)), 0.5, (1.4992, 0.4565)),
        (LONG, list(range(4, 50, 5)), 1.0, (1.5000, 0.4133)),
        (STEEP, [1, 3, 4, 8, 11], 0.5, (1.4620, 0.2930)),
        (LONG, list(range(50)), 1.0, (1.5000, 0.5393)),
    ],
)
def test_ddim_has_the_laws_of_the_plan(betas: Tensor, steps: list[int], eta: float, law: tuple[float, float]) -> None:
    m, v = gaussian_recursion(*ddim_steps(*noise_table(1.5, 0.6, betas), betas, steps, eta))
    assert (float(m), float(v) ** 0.5) == pytest.approx(law, abs=6e-5)


# guidance


def test_guided_sampling_has_the_law_of_the_plan_and_both_mistakes_another() -> None:
    null, label = noise_table(0.0, 1.0, LONG), noise_table(1.0, 0.5, LONG)

    def law(a: Any, b: Any, w: float) -> tuple[float, float]:
        m, v = gaussian_recursion(*reverse_steps(*(p + w * (q - p) for p, q in zip(a, b, strict=True)), LONG))
        return float(m), float(v) ** 0.5

    assert law(null, label, 2.0) == pytest.approx((1.2578, 0.2718), abs=6e-5)
    assert law(null, label, 3.0) == pytest.approx((1.3181, 0.1991), abs=6e-5)  # the other convention
    assert law(label, null, 2.0) == pytest.approx((-3.57, 2.32), abs=6e-3)  # exchanged


def test_a_guided_sampler_follows_its_law_label_by_label() -> None:
    means, stds = torch.tensor([1.0, -1.0, 0.0], dtype=F64), torch.tensor([0.5, 0.3, 1.0], dtype=F64)
    model = LabelGaussian(means, stds, LONG)
    y = torch.arange(4000) % 2
    null = noise_table(0.0, 1.0, LONG)

    def sample(w: float) -> Tensor:
        torch.manual_seed(0)
        x, abar = torch.randn(4000, 2, dtype=F64), abar_of(LONG)
        for i in reversed(range(50)):
            t = torch.full((4000,), i)
            free = model(x, t, torch.full((4000,), 2))
            eps = (free + w * (model(x, t, y) - free)).detach()
            x = (x - LONG[i] / (1 - abar[i]).sqrt() * eps) / (1 - LONG[i]).sqrt()
            if i:
                x = x + (LONG[i] * (1 - abar[i - 1]) / (1 - abar[i])).sqrt() * torch.randn_like(x)
        return x

    for k in (0, 1):
        label = noise_table(means[k], stds[k], LONG)
        law = gaussian_recursion(*reverse_steps(*(p + 2 * (q - p) for p, q in zip(null, label, strict=True)), LONG))
        assert_moments(sample(2.0)[y == k], *law)
        fails(lambda k=k, law=law: assert_moments(sample(3.0)[y == k], *law))


# NCSN


LEVELS = (2.0, 1.0, 0.5)


def annealed(model: Callable[..., Tensor], x: Tensor, style: str = "", n: int = 3, eps: float = 0.2) -> Tensor:
    levels = LEVELS[::-1] if style == "ascending" else LEVELS
    for sigma in levels:
        size = eps * {"constant": 1.0, "linear": sigma / 0.5}.get(style, sigma**2 / 0.25)
        told = torch.full((len(x),), 0.5 if style == "last level" else sigma, dtype=x.dtype)
        for _ in range(n - (style == "a step too few")):
            score = model(x, told).detach()
            drift = size if style in ("full step", "other convention") else size / 2
            noise = math.sqrt(2 * size) if style in ("other convention", "root of two") else math.sqrt(size)
            x = x + drift * score + (0 if style == "no noise" else noise) * torch.randn_like(x)
    return x


def annealed_steps(mean: float, std: float, n: int = 3, eps: float = 0.2) -> Any:
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for sigma in LEVELS:
        size = eps * sigma**2 / 0.25
        pull = size / 2 / (std**2 + sigma**2)
        for _ in range(n):
            for part, value in zip(found, (1 - pull, pull * mean, math.sqrt(size)), strict=True):
                part.append(value)
    return found


def test_annealed_langevin_has_the_law_of_the_plan_and_follows_it_step_by_step() -> None:
    m, v = gaussian_recursion(*annealed_steps(1.5, 0.6), variance=0.25)
    assert (float(m), float(v) ** 0.5) == pytest.approx((1.4218, 1.0614), abs=6e-5)
    mistakes = ["ascending", "constant", "linear", "last level", "a step too few", "full step", "other convention"]
    for style in ("", *mistakes, "root of two", "no noise"):
        torch.manual_seed(0)
        recorder = Recorder(SigmaScore(torch.tensor(1.5, dtype=F64), torch.tensor(0.6, dtype=F64)))
        end = annealed(recorder, 0.5 * torch.randn(20_000, 2, dtype=F64), style)
        states = [*(record["args"][0] for record in records(recorder)), end]
        if not style:
            assert_moments(end, m, v)
            assert_steps_follow(states, *annealed_steps(1.5, 0.6))
            continue
        fails(lambda end=end: assert_moments(end, m, v))
        fails(lambda states=states: assert_steps_follow(states, *annealed_steps(1.5, 0.6)))


def ncsn(model: Callable[..., Tensor], x: Tensor, style: str = "") -> Tensor:
    level = torch.randint(0, 3 - (style == "never the last"), (1 if style == "a batch" else len(x),)).expand(len(x))
    sigma = torch.tensor(LEVELS, dtype=x.dtype)[level]
    noise = torch.randn_like(x)
    s = sigma[:, None]
    score = model(x if style == "clean" else x + (s**2 if style == "variance" else s) * noise, sigma)
    target = {"sign": noise, "score": -noise / s}.get(style, -noise)
    weighed = score if style in ("unweighted", "score") else s * score
    error = (weighed - target).square()
    return error.mean() if style == "mean" else error.sum(1).mean()


@pytest.mark.parametrize(
    "mistake", ["", "never the last", "a batch", "clean", "variance", "sign", "score", "unweighted", "mean"]
)
def test_the_loss_of_ncsn_is_judged_at_the_levels_and_points_it_showed(mistake: str) -> None:
    torch.manual_seed(0)
    x, inner = 3 + drawn(1000, 2), SigmaScore(torch.tensor(1.0, dtype=F64), torch.tensor(0.7, dtype=F64))
    recorder = Recorder(inner)
    values = [ncsn(recorder, x, mistake) for _ in range(3)]

    def judge() -> None:
        assert_covers_times(records(recorder), values=torch.tensor(LEVELS), what="the level of noise")
        seen = assert_consistent_noising(
            records(recorder), x, torch.ones_like, lambda sigma: sigma, interval=(0.5, 2.0)
        )
        error = (seen.t[:, None] * inner(seen.x, seen.t) + seen.noise).square().sum(1)
        for value, right in zip(values, error.detach().reshape(3, -1).mean(1), strict=True):
            assert_close(value, right, "the loss", rtol=1e-9)

    if mistake:
        with pytest.raises(StudentFault):
            judge()
    else:
        judge()


# energies and scores


def test_a_contrastive_loss_on_a_table_has_the_exact_gradient_of_the_likelihood() -> None:
    """Energies −ln k: the model's law is a batch in which state number s occurs k_s times."""
    counts = torch.randint(1, 5, (32,), generator=generator())
    energy = TableEnergy(-counts.double().log())
    states = enumerate_binary(5).double()
    data = states[torch.randint(0, 32, (11,), generator=generator(1))]
    samples = states.repeat_interleave(counts, 0)
    (energy(data).mean() - energy(samples).mean()).backward()
    free = energy.energies.detach().clone().requires_grad_()
    index = (data.long() * 2 ** torch.arange(4, -1, -1)).sum(1)
    (-(-free).log_softmax(0)[index].mean()).backward()
    torch.testing.assert_close(energy.energies.grad, free.grad)
    torch.testing.assert_close(table_energy_law(free).exp(), counts / counts.sum(dtype=F64))


@pytest.mark.parametrize("kind", ["dense", "nonlinear"])
def test_sliced_losses_over_an_orthogonal_basis_are_exact_and_show_a_gradient_of_the_sum(kind: str) -> None:
    A = drawn(3, 3)
    score: nn.Module = AffineScore(A, drawn(3, seed=1)) if kind == "dense" else TanhScore(A, drawn(3, seed=1))
    x, basis = drawn(5, 3, seed=2), torch.linalg.qr(drawn(3, 3, seed=3))[0] * 3**0.5

    def sliced(v: Tensor, wrong: bool = False) -> Tensor:
        leaf = x.clone().requires_grad_()
        s = score(leaf)
        (g,) = torch.autograd.grad(s.sum() if wrong else (v * s).sum(), leaf, create_graph=True)
        return ((g * v).sum(1) + 0.5 * (v * s).sum(1).square()).mean()

    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda q: score(q[None])[0], row) for row in x])
    exact = (jacobians.diagonal(dim1=1, dim2=2).sum(1) + 0.5 * score(x).square().sum(1)).mean()
    torch.testing.assert_close(torch.stack([sliced(basis[:, k].expand(5, 3)) for k in range(3)]).mean(), exact)
    wrong = torch.stack([sliced(basis[:, k].expand(5, 3), wrong=True) for k in range(3)]).mean()
    assert abs(float(wrong - exact)) > 0.05


def test_langevin_on_a_full_quadratic_energy_is_known_by_matrices() -> None:
    A = torch.tensor([[2.0, 0.7], [0.7, 1.0]], dtype=F64)
    energy, eta, n = Quadratic(A, torch.tensor([-1.0, 0.5], dtype=F64)), 0.3, 4
    step = torch.eye(2, dtype=F64) - eta / 2 * A
    m, v = gaussian_recursion(
        [step] * n,
        [-eta / 2 * torch.tensor([-1.0, 0.5], dtype=F64)] * n,
        [math.sqrt(eta)] * n,
        variance=torch.eye(2, dtype=F64) / 4,
    )
    x = 0.5 * drawn(50_000, 2)
    g = generator(9)
    for _ in range(n):
        leaf = x.requires_grad_()
        (slope,) = torch.autograd.grad(energy(leaf).sum(), leaf)
        x = (x - eta / 2 * slope + math.sqrt(eta) * torch.randn(x.shape, generator=g, dtype=F64)).detach()
    vectors = torch.linalg.eigh(v)[1]
    assert_moments(x @ vectors, vectors.T @ m, (vectors.T @ v @ vectors).diagonal())


# the optimal discriminator


def test_the_best_discriminator_of_finite_laws_reaches_the_jensen_shannon_divergence() -> None:
    p_counts, q_counts = torch.tensor([4, 1, 3]), torch.tensor([1, 6, 2])
    p, q = p_counts / p_counts.sum(dtype=F64), q_counts / q_counts.sum(dtype=F64)
    critic = DiscreteCritic((p / q).log())
    states = torch.arange(3)
    real, fake = critic(states.repeat_interleave(p_counts)), critic(states.repeat_interleave(q_counts))
    value = nn.functional.logsigmoid(real).mean() + nn.functional.logsigmoid(-fake).mean()
    middle = (p + q) / 2
    jensen_shannon = 0.5 * (p * (p / middle).log()).sum() + 0.5 * (q * (q / middle).log()).sum()
    torch.testing.assert_close(value, 2 * jensen_shannon - math.log(4))
    value.backward()
    torch.testing.assert_close(critic.values.grad, torch.zeros(3, dtype=F64))
