"""Words for critics: right penalties in several styles pass, each planted mistake fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from autograder.checks import (
    DIVERGENCES,
    Conjugate,
    Linear,
    Quadratic,
    Recorder,
    WaveCritic,
    assert_divergence_bound,
    assert_gradient_penalty,
    assert_points_between,
    assert_top_singular_value,
    weight_with_singular_values,
)
from autograder.errors import AuthorError, Wrong
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=generator(seed))


# points


def share(a: Tensor, law: str, g: torch.Generator) -> Tensor:
    """The t of a right law, or of a mistake, shaped to multiply a."""
    one = (len(a), *[1] * (a.dim() - 1))
    if law == "an entry":
        return torch.rand(a.shape, generator=g, dtype=a.dtype)
    if law == "a batch":
        return torch.rand(1, generator=g, dtype=a.dtype).expand(one)
    if law == "real":
        return torch.ones(one, dtype=a.dtype)
    if law == "normal":
        return torch.randn(one, generator=g, dtype=a.dtype)
    t = torch.rand(one, generator=g, dtype=a.dtype)
    return t.sqrt() if law == "root" else t


def asked(a: Tensor, b: Tensor, law: str = "", calls: int = 1, seed: int = 0) -> list[dict[str, Any]]:
    g = generator(seed)
    points = []
    for _ in range(calls):
        t = share(a, law, g)
        points.append(b + t * (a - b) if law == "from fake" else t * a + (1 - t) * b)
    return [{"args": [x], "kwargs": {}} for x in points]


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 4, 4)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_points_on_their_own_segments_pass(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    a, b = drawn(64, *shape).to(dtype), drawn(64, *shape, seed=1).to(dtype)
    for law in ("", "from fake"):
        t = assert_points_between(asked(a, b, law, calls=3), a, b)
        assert t.shape == (3, 64)
        assert 0 <= t.min() < 0.1 < 0.9 < t.max() <= 1
    assert_points_between(asked(a[:1], b[:1]), a[:1], b[:1])


@pytest.mark.parametrize("shape", [(2, 1), (9, 1), (64, 1)])
def test_right_points_between_ends_that_nearly_meet_never_fail(shape: tuple[int, ...]) -> None:
    for seed in range(100):
        a = drawn(*shape, seed=seed).float()
        b = a + 10.0 ** -(4 * torch.rand(*shape, generator=generator(seed))) + 3e-6
        for law in ("", "from fake"):
            assert_points_between(asked(a, b, law, calls=2, seed=seed), a, b, uniform=True)


def test_uniform_points_fail_no_more_often_than_stated() -> None:
    a, b = drawn(256, 2), drawn(256, 2, seed=1)
    failed = 0
    for seed in range(100):
        calls = asked(a, b, calls=4, seed=seed)
        assert_points_between(calls, a, b, uniform=True)
        try:
            assert_points_between(calls, a, b, uniform=True, false_failure=0.05)
        except Wrong:
            failed += 1
    assert failed <= stats.binom.isf(1e-6, 100, 0.05)


@pytest.mark.parametrize(
    ("law", "says", "hint"),
    [
        ("an entry", "off the segment between the real sample and the fake sample", "do not share one t"),
        ("a batch", "all samples of a batch share one t, where each has its own", None),
        ("real", "share one t, where each has its own: the points are the real samples themselves", None),
        ("normal", "beyond the segment", None),
        ("root", "not uniform on [0, 1]", None),
    ],
)
@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
def test_points_elsewhere_fail(law: str, says: str, hint: str | None, shape: tuple[int, ...]) -> None:
    a, b = drawn(256, *shape), drawn(256, *shape, seed=1)
    fails(lambda: assert_points_between(asked(a, b, law, calls=4), a, b, uniform=True), says=says, hint=hint)


def test_points_of_another_row_shape_or_number_fail() -> None:
    a, b = drawn(8, 2), drawn(8, 2, seed=1)
    fails(lambda: assert_points_between([], a, b), says="never asked")
    fails(lambda: assert_points_between(asked(a, b.roll(1, 0)), a, b), says="off the segment")
    fails(lambda: assert_points_between(asked(a[:4], b[:4]), a, b), says="the whole batch at once, (8, 2)")
    fails(lambda: assert_points_between(asked(a * torch.nan, b), a, b), says="finite")
    with pytest.raises(ValueError, match="ends of every segment must differ"):
        assert_points_between(asked(a, b), a, a)


# penalties

Critic = Callable[[Tensor], Tensor]


def penalty(critic: Critic, real: Tensor, fake: Tensor, style: str = "") -> Tensor:
    t = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype)
    if style == "t an entry":
        t = torch.rand_like(real)
    x = (fake + t * (real - fake) if style == "other way" else t * real + (1 - t) * fake).requires_grad_()
    if style == "x detached" or style == "no graph":
        (g,) = torch.autograd.grad(critic(x).sum(), x)
        return (g.flatten(1).norm(dim=1) - 1).square().mean()
    if style == "grad outputs":
        d = critic(x)
        (g,) = torch.autograd.grad(d, x, torch.ones_like(d), create_graph=True)
    elif style == "row by row":
        g = torch.stack([torch.autograd.grad(critic(x)[i], x, create_graph=True)[0][i] for i in range(len(x))])
    else:
        (g,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    flat = g.flatten(1)
    norm = (flat.square().sum(1) + 1e-8).sqrt() if style == "epsilon" else flat.norm(dim=1)
    forms = {
        "squared norm": lambda: (flat.square().sum(1) - 1).square().mean(),
        "no one": lambda: norm.square().mean(),
        "one-sided": lambda: (norm - 1).clamp(min=0).square().mean(),
        "mean before square": lambda: (norm.mean() - 1).square(),
        "first dimension": lambda: (g.norm(dim=1) - 1).square().mean(),
        "sum": lambda: (norm - 1).square().sum(),
        "a row each": lambda: (norm - 1).square(),
        "times ten": lambda: 10 * (norm - 1).square().mean(),
        "detached": lambda: (norm.detach() - 1).square().mean(),
        "root at zero": lambda: (flat.square().sum(1).sqrt() - 1).square().mean(),
    }
    return forms.get(style, lambda: (norm - 1).square().mean())()


def critics(shape: tuple[int, ...], dtype: torch.dtype) -> list[nn.Module]:
    n = torch.Size(shape).numel()
    w = drawn(n, seed=3)
    half = 0.5 * w / w.norm()
    A = drawn(n, n, seed=4) / n**0.5
    built = [Linear(half), Linear(4 * half, 1.0), WaveCritic(4 * half, 1.5, 0.3), Quadratic(A + A.T, half, 0.5)]
    return [critic.to(dtype) for critic in built]


@pytest.mark.parametrize("style", ["", "other way", "grad outputs", "epsilon"])
@pytest.mark.parametrize("shape", [(1,), (3,), (3, 4, 4)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_penalties_pass(style: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    real, fake = (drawn(64, *shape, seed=s).to(dtype) for s in (1, 2))
    for critic in critics(shape, dtype):
        for seed in range(3):
            args = (lambda *a: penalty(*a, style), Recorder(critic), critic, real, fake)
            assert_gradient_penalty(*args, seed=seed)


@pytest.mark.parametrize(
    ("style", "says", "hint"),
    [
        ("squared norm", "the gradient penalty is off by", "square root is missing"),
        ("no one", "the gradient penalty is off by", "1 is not subtracted"),
        ("one-sided", "the gradient penalty is off by", "one-sided"),
        ("mean before square", "the gradient penalty is off by", "before the square"),
        ("first dimension", "the gradient penalty is off by", "first dimension of a sample"),
        ("sum", "the gradient penalty is off by", "sum over the batch"),
        ("times ten", "the gradient penalty is off by", None),
        ("a row each", "should have shape (), got (64,)", ""),
        ("t an entry", "off the segment", "share one t"),
        ("detached", "is none: the penalty can not train the critic", None),
        ("no graph", "is none: the penalty can not train the critic", None),
        ("row by row", "asks the critic 64 times, expected once", None),
    ],
)
def test_wrong_penalties_fail(style: str, says: str, hint: str | None) -> None:
    shape = (3, 4, 4)
    real, fake = drawn(64, *shape, seed=1), drawn(64, *shape, seed=2)
    critic = critics(shape, F64)[2]
    args = (lambda *a: penalty(*a, style), Recorder(critic), critic, real, fake)
    fails(lambda: assert_gradient_penalty(*args), says=says, hint=hint)


def test_a_penalty_of_known_size_shows_both_numbers_and_the_input() -> None:
    real, fake = drawn(64, 3, seed=1), drawn(64, 3, seed=2)
    critic = Linear(torch.tensor([0.0, 2.0, 0.0], dtype=F64))
    fault = fails(
        lambda: assert_gradient_penalty(
            lambda *a: penalty(*a, "no one"), Recorder(critic), critic, real, fake, asked="of a critic of slope 2"
        )
    )
    assert fault.message.startswith("the gradient penalty of a critic of slope 2 is off by 3: yours 4, expected 1 (")


def test_a_critic_without_slope_asks_for_one_and_a_finite_derivative() -> None:
    real, fake = drawn(8, 3, seed=1), drawn(8, 3, seed=2)
    flat = Linear(torch.zeros(3, dtype=F64))
    for style in ("", "epsilon"):
        args = (lambda *a, s=style: penalty(*a, s), Recorder(flat), flat, real, fake)
        assert_gradient_penalty(*args)
    wrong = (lambda *a: penalty(*a, "root at zero"), Recorder(flat), flat, real, fake)
    fails(lambda: assert_gradient_penalty(*wrong), says="should be finite")
    nan = (lambda *a: penalty(*a) * torch.nan, Recorder(flat), flat, real, fake)
    fails(lambda: assert_gradient_penalty(*nan), says="finite")
    never = (lambda critic, real, fake: torch.ones(()), Recorder(flat), flat, real, fake)
    fails(lambda: assert_gradient_penalty(*never), says="never asked")


def test_a_recorder_around_another_network_is_the_authors_mistake_and_a_replaced_one_the_students() -> None:
    real, fake, line = drawn(8, 3, seed=1), drawn(8, 3, seed=2), Linear(drawn(3))
    with pytest.raises(AuthorError, match="not the critic on the judge's side"):
        assert_gradient_penalty(penalty, Recorder(Quadratic(drawn(3, 3))), line, real, fake)

    def replacing(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
        found = penalty(critic, real, fake)
        critic.inner = nn.Identity()
        return found

    def late(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
        return penalty(critic, real, fake) if len(critic.calls) == 0 else replacing(critic, real, fake)

    fails(lambda: assert_gradient_penalty(replacing, Recorder(line), line, real, fake))
    assert_gradient_penalty(late, Recorder(line), line, real, fake)


# singular values


def iterated(weight: Tensor, steps: int = 60) -> Tensor:
    flat = weight.flatten(1)
    u = torch.ones(len(flat), dtype=weight.dtype)
    for _ in range(steps):
        v = nn.functional.normalize(flat.T @ u, dim=0)
        u = nn.functional.normalize(flat @ v, dim=0)
    return u @ flat @ v


@pytest.mark.parametrize("shape", [(4, 6), (4, 3, 3, 3), (5, 2, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_right_singular_values_pass_and_weights_have_those_that_were_asked_for(
    shape: tuple[int, ...], seed: int
) -> None:
    weight = weight_with_singular_values([3.0, 2.0, 0.5], shape, generator(seed))
    values = torch.linalg.svdvals(weight.flatten(1))
    torch.testing.assert_close(values[:3], torch.tensor([3.0, 2.0, 0.5], dtype=F64))
    assert_top_singular_value(iterated(weight), weight, tolerance=1e-9)
    assert_top_singular_value(float(torch.linalg.matrix_norm(weight.flatten(1), 2)), weight, tolerance=1e-9)
    assert_top_singular_value(3.0, weight)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda w: w.norm(), "Frobenius"),
        (lambda w: torch.linalg.svdvals(w.flatten(1))[0] ** 2, "square of the largest"),
        (lambda w: torch.linalg.svdvals(w.flatten(0, 1).flatten(1))[0], "(out · in, k · k)"),
        (lambda w: torch.linalg.svdvals(w.transpose(0, 1).flatten(1))[0], "(in, out · k · k)"),
        (lambda w: w.abs().max(), "largest entry"),
        (lambda w: iterated(w, 2), None),
        (lambda w: torch.tensor(torch.nan), None),
        (lambda w: torch.ones(1), None),
    ],
)
def test_wrong_singular_values_fail(wrong: Callable[[Tensor], Tensor], hint: str | None) -> None:
    weight = weight_with_singular_values([3.0, 2.0, 0.5, 0.4], (4, 3, 3, 3), generator(1))
    fails(lambda: assert_top_singular_value(wrong(weight), weight), hint=hint if hint else "")


def test_a_weight_whose_values_do_not_stand_apart_is_the_authors_mistake() -> None:
    with pytest.raises(ValueError, match="should stand apart"):
        assert_top_singular_value(1.0, torch.eye(3))
    with pytest.raises(ValueError, match="up to 2 values, got 3"):
        weight_with_singular_values([1.0, 2.0, 3.0], (2, 5))


# bounds


REAL, FAKE = [3, 1, 4, 2], [2, 5, 1, 6]


def bound(t_real: Tensor, t_fake: Tensor, conjugate: Any) -> tuple[Tensor, Tensor]:
    """f-GAN losses: the critic's and the generator's."""
    value = t_real.mean() - conjugate(t_fake).mean()
    return -value, -conjugate(t_fake).mean()


@pytest.mark.parametrize("name", list(DIVERGENCES))
def test_right_bounds_are_tight_at_the_best_critic_and_pass(name: str) -> None:
    law = DIVERGENCES[name]
    assert_divergence_bound(bound, REAL, FAKE, law, Conjugate(name), output=0, sign=-1, generator=generator())
    p, q = (torch.tensor(c, dtype=F64) / sum(c) for c in (REAL, FAKE))
    best = law.slope(p / q)
    tight = float((p * best).sum() - (q * law.conjugate(best)).sum())
    assert tight == pytest.approx(float(law.between(p, q)), abs=1e-12)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda r, f, c: c(f).mean() - r.mean(), "sign is flipped"),
        (lambda r, f, c: r.mean() - f.mean(), "f* is left out"),
        (lambda r, f, c: r.mean() - c(f.mean()), None),
        (lambda r, f, c: r.sum() - c(f).sum(), None),
        (lambda r, f, c: torch.cat([r, -c(f)]).mean(), None),
        (lambda r, f, c: c(r).mean() - f.mean(), None),
        (lambda r, f, c: (r.mean() - c(f).mean()) * torch.nan, None),
        (lambda r, f, c: r - c(f).mean(), None),
    ],
)
def test_wrong_bounds_fail(wrong: Callable[..., Tensor], hint: str | None) -> None:
    def check() -> None:
        assert_divergence_bound(wrong, REAL, FAKE, DIVERGENCES["pearson"], Conjugate("pearson"), generator=generator())

    fails(check, hint=hint if hint else "")


def test_a_conjugate_of_another_divergence_fails_at_the_best_critic() -> None:
    fault = fails(
        lambda: assert_divergence_bound(
            bound, REAL, FAKE, DIVERGENCES["pearson"], Conjugate("kl"), output=0, sign=-1, what="the critic's loss"
        )
    )
    assert fault.message.startswith("the critic's loss of the best critic is off by")
    fails(
        lambda: assert_divergence_bound(lambda *a: a[0].mean(), REAL, FAKE, DIVERGENCES["kl"], output=0), says="tuple"
    )
    with pytest.raises(ValueError, match="unequal size"):
        assert_divergence_bound(bound, [1, 2], [2, 1], DIVERGENCES["kl"])
    with pytest.raises(ValueError, match="infinite where p is 0"):
        assert_divergence_bound(bound, [0, 2], [2, 1], DIVERGENCES["kl"])
