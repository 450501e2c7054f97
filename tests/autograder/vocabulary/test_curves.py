"""Where functions are least and in what they are affine; the oracles are quadratics, known divergences and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from autograder.checks import assert_affine_in, assert_minimised_at
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64
AT = torch.tensor([0.3, -1.2, 0.7], dtype=F64)
H = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 1.5]], dtype=F64)


def quadratic(at: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: ((x - at.to(x)) @ H.to(x) @ (x - at.to(x))) + 3


P = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
Q = torch.tensor([0.4, 0.1, 0.2, 0.3], dtype=F64)


@pytest.mark.parametrize(
    ("fn", "at"),
    [
        (quadratic(AT), AT),
        (lambda x: quadratic(AT)(x) + (x - AT).pow(3).sum() + (x - AT).pow(4).sum(), AT),
        # −E_p ln q over logits is least at ln p, up to a constant shift, which is a flat direction: fix one
        (lambda a: -(P * torch.cat([a, P[3:].log()]).log_softmax(0)).sum(), P[:3].log()),
        # the least squares fit of an affine map
        (lambda w: (1.5 * torch.arange(4.0, dtype=F64) - w * torch.arange(4.0, dtype=F64)).pow(2).mean(), 1.5),
        # a f-GAN bound is largest at ln p/q: KL, T = 1 + ln p/q
        (lambda T: -((P * T).sum() - (Q * (T - 1).exp()).sum()), 1 + (P / Q).log()),
    ],
)
def test_right_minima_pass_over_seeds(fn: Callable[[Tensor], Tensor], at: Tensor | float) -> None:
    for seed in range(5):
        assert_minimised_at(fn, at, generator=generator(seed))


def test_float32_is_asked_more_coarsely() -> None:
    assert_minimised_at(quadratic(AT), AT.float())
    fails(lambda: assert_minimised_at(quadratic(AT + 0.05), AT.float()), says="least about 0.0")


@pytest.mark.parametrize("off", [0.01, 0.001])
@pytest.mark.parametrize("coordinate", [0, 1, 2])
def test_a_minimum_elsewhere_fails_and_says_how_far(off: float, coordinate: int) -> None:
    moved = AT.clone()
    moved[coordinate] += off
    for seed in range(5):
        fault = fails(lambda seed=seed: assert_minimised_at(quadratic(moved), AT, generator=generator(seed)))
        assert "least about" in fault.message
        assert "a (3,) float64 tensor with values from -1.2 to 0.7" in fault.message


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (lambda x: -quadratic(AT)(x), "does not curve upwards"),
        (lambda x: (x - AT)[0] ** 2 - (x - AT)[1] ** 2 + (x - AT)[2] ** 2, "does not curve upwards"),
        (lambda x: x.sum() * 0 + 3, "does not curve upwards"),
        (lambda x: x.sum(), "does not curve upwards"),
        (lambda x: quadratic(AT)(x) * torch.nan, "finite"),
        (lambda x: (x - AT) ** 2, "shape (), got shape (3,)"),
        (lambda x: quadratic(AT)(x).reshape(1), "shape (), got shape (1,)"),
        (lambda x: None, "should be a tensor"),
    ],
)
def test_what_is_no_minimum_fails(fn: Callable[[Tensor], Any], says: str) -> None:
    for seed in range(5):
        fails(lambda seed=seed: assert_minimised_at(fn, AT, generator=generator(seed)), says=says)


def test_a_flat_direction_is_allowed_on_request_and_a_falling_one_is_not() -> None:
    W = torch.randn(4, 2, generator=generator(), dtype=F64)
    factors = lambda V: (V @ V.T - W @ W.T).pow(2).sum()  # noqa: E731 (turns of V leave it as it is)
    flat = lambda x: (x[0] - AT[0]) ** 2 + 0 * x.sum()  # noqa: E731
    assert_minimised_at(factors, W, strictly=False)
    assert_minimised_at(flat, AT, strictly=False)
    fails(lambda: assert_minimised_at(flat, AT), says="does not curve upwards")
    fails(lambda: assert_minimised_at(factors, 1.1 * W, strictly=False), says="falls by")


def test_an_average_over_draws_is_least_near_its_law_with_a_wider_step() -> None:
    """Denoising score matching on N(0, s²) is least at a = −1/(s² + σ²) = −0.4; draws are fixed by their seed."""

    def loss(a: Tensor) -> Tensor:
        g = generator(3)
        x, eps = (torch.randn(100_000, generator=g, dtype=F64) for _ in range(2))
        y = 1.5 * x + 0.5 * eps
        return (a * y + eps / 0.5).pow(2).mean()

    assert_minimised_at(loss, -0.4, step=0.1, atol=0.02)
    fails(lambda: assert_minimised_at(loss, -0.5, step=0.1, atol=0.02), says="least about 0.0")


@pytest.mark.parametrize("strange", [(torch.tensor([1]), {}), (AT, {"step": 0.0}), (AT, {"directions": 0})])
def test_a_strange_question_is_the_authors_mistake(strange: Any) -> None:
    at, options = strange
    with pytest.raises(ValueError, match="a minimum is looked for"):
        assert_minimised_at(quadratic(AT), at, **options)


COND, UNCOND = (torch.randn(64, 2, generator=generator(s), dtype=F64) for s in (1, 2))


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize(
    "fn",
    [
        lambda w, c, u: u + w * (c - u),
        lambda w, c, u: (1 - w) * u + w * c,
        lambda w, c, u: torch.lerp(u, c, w),
        lambda w, c, u: (1 + w) * c - w * u,
        lambda w, c, u: (u + w * (c - u))[0, 0],
    ],
)
def test_affine_functions_pass_in_any_form(fn: Callable[..., Tensor], dtype: torch.dtype) -> None:
    c, u = COND.to(dtype), UNCOND.to(dtype)
    assert_affine_in(lambda w: fn(w, c, u), 0.5, 3.0)
    one = torch.tensor([1.0, -2.0], dtype=dtype)
    assert_affine_in(lambda x: x @ c[:2, :2] + 1, one, one.flip(0))


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (lambda w: UNCOND + w**2 * (COND - UNCOND), "is not affine in the weight"),
        (lambda w: UNCOND + min(w, 3.0) * (COND - UNCOND), "is not affine in the weight"),
        (lambda w: UNCOND + max(w, 0.5) * (COND - UNCOND), "is not affine in the weight"),
        (lambda w: (w * COND).tanh(), "is not affine"),
        (lambda w: UNCOND, "does not depend on the weight: it is the same for 0.5 and 3"),
        (lambda w: UNCOND * torch.nan, "finite"),
        (lambda w: COND * (torch.nan if w > 3 else w), "finite"),
        (lambda w: COND[: 2 if w > 3 else 64] * w, "another shape"),
        (lambda w: COND[: 2 if w > 2 else 64] * w, "has shape (64, 2) at one value"),
    ],
)
def test_functions_that_are_not_affine_fail(fn: Callable[[float], Tensor], says: str) -> None:
    fails(lambda: assert_affine_in(fn, 0.5, 3.0, argument="the weight"), says=says)


def test_a_constant_passes_on_request_and_equal_ends_are_the_authors_mistake() -> None:
    assert_affine_in(lambda w: UNCOND, 0.5, 3.0, depends=False)
    with pytest.raises(ValueError, match="two different values"):
        assert_affine_in(lambda w: w * COND, 1.0, 1.0)
