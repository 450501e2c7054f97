"""Gradients through what has none of its own: a draw from a law with parameters, a rounded or looked-up value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from scipy import stats
from torch import Generator, Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import Mode, call, gradient
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.draws import assert_mean
from autograder.vocabulary.laws import assert_moments
from autograder.vocabulary.tensors import (
    as_double,
    as_tensor,
    assert_close,
    assert_finite,
    assert_real,
    assert_shape,
    tolerance_of,
)
from autograder.vocabulary.words import in_words

Scale = Literal["log_std", "log_var", "std"]
STD: dict[Scale, Callable[[Tensor], Tensor]] = {
    "log_std": torch.exp,
    "log_var": lambda value: (value / 2).exp(),
    "std": lambda value: value,
}


def assert_reparametrised(
    draw: Callable[..., Any],
    mean: Tensor,
    scale: Tensor,
    *,
    kind: Scale = "log_std",
    seed: int = 0,
    mode: Mode | None = None,
    false_failure: float = FALSE_FAILURE,
    what: str = "the draw",
) -> None:
    """z = mean + std · ε with ε ~ N(0, 1), fresh in every row, column and call, and with its gradient, draw by draw.

    The law of ε = (z − mean)/std: mean and variance of each column by exact tails, the distribution function by the
    bound of Dvoretzky, Kiefer, Wolfowitz and Massart, products of rows and of columns by the bound of `assert_mean`.
    ∂Σz/∂mean is 1 and ∂Σz/∂log_std is z − mean in every entry, without statistics.

    Args:
        draw: called as `draw(mean, scale)` under seeds.
        mean, scale: (N, L), N in the thousands, float64 by preference, with means and deviations that vary.
        kind: what `scale` is.
        false_failure: largest probability of failing right draws, over everything that is tested here.
    """
    if mean.dim() != 2 or mean.shape != scale.shape or len(mean) < 1000:
        raise AuthorError(f"mean and scale have shape (N, L) with N ≥ 1000, got {tuple(mean.shape)}")
    z, other = (
        as_double(assert_shape(assert_real(call(draw, mean, scale, seed=s, mode=mode), what), mean.shape, what))
        for s in (seed, seed + 1)
    )
    if bool((z == other).all()):
        raise Wrong(f"{what} repeats itself: two calls under different seeds gave the same numbers")
    std = as_double(STD[kind](scale))
    eps = (z - as_double(mean)) / std
    noise = f"the noise (z − mean)/std of {what}"
    assert_moments(eps, 0.0, 1.0, false_failure=false_failure / 4, what=noise)
    _assert_normal(eps, false_failure / 4, noise)
    half = len(eps) // 2
    pairs = {
        "neighbouring rows": eps[0 : 2 * half : 2] * eps[1 : 2 * half : 2],
        "rows half a batch apart": eps[:half] * eps[half : 2 * half],
        "neighbouring columns": eps[:, :-1] * eps[:, 1:],
    }
    for where, products in pairs.items():
        if products.shape[1]:
            name = f"products of {noise} in {where}"
            assert_mean(products, 0.0, bound=1.0, false_failure=false_failure / 6, what=name)
    _assert_draw_gradients(draw, mean, scale, (z - as_double(mean)), kind, seed, mode, what)


def _assert_normal(eps: Tensor, false_failure: float, what: str) -> None:
    """Each column follows N(0, 1): the largest distance of distribution functions against its exact bound."""
    bound = math.sqrt(math.log(2 * eps.shape[1] / false_failure) / (2 * len(eps)))
    distance = max(float(stats.kstest(column.numpy(), "norm").statistic) for column in eps.t())
    if not distance <= bound:
        raise Wrong(
            f"{what} is not normal: its distribution function is off by {distance:.3f}, at most {bound:.3f} is "
            f"accepted over {len(eps)} draws"
        )


def _assert_draw_gradients(
    draw: Callable[..., Any],
    mean: Tensor,
    scale: Tensor,
    deviation: Tensor,
    kind: Scale,
    seed: int,
    mode: Mode | None,
    what: str,
) -> None:
    found = gradient(draw, mean, scale, wrt=(0, 1), seed=seed, mode=mode)
    slopes: dict[Scale, Tensor | float] = {"log_std": 1.0, "log_var": 0.5, "std": 1 / as_double(scale)}
    expected = {"mean": torch.ones_like(deviation), kind: deviation * slopes[kind]}
    loose = 10 * tolerance_of(mean.dtype).rtol
    for (name, right), got in zip(expected.items(), found, strict=True):
        if got is None:
            raise Wrong(
                f"no gradient of {what} reaches `{name}`",
                hint="the graph is cut: a draw from a distribution without reparametrisation, a detach, `no_grad`",
            )
        formula = "1" if name == "mean" else "(z − mean) times the derivative of ln std"
        assert_close(got, right, f"the gradient of the sum of {what} in `{name}`, which is {formula}", atol=loose)


def assert_straight_through(
    fn: Callable[..., Any],
    *args: Any,
    value: Tensor,
    wrt: int = 0,
    blocked: Sequence[int] = (),
    soft: Callable[..., Tensor] | None = None,
    seed: int | None = 0,
    generator: Generator | None = None,
    atol: float | None = None,
    what: str = "the result",
    **kwargs: Any,
) -> None:
    """A result that was rounded or looked up, with the gradient of something smooth: by default of the argument itself.

    Args:
        fn: called with `args`.
        value: the right result.
        wrt: position of the argument that the gradient goes to.
        blocked: positions of arguments that none may reach, as a codebook: None and zero are the same.
        soft: of the judge's, called with `args` and `kwargs`: what is differentiated in the place of the rounded
            result. Unless given the gradient is passed on unchanged.
        generator: source of the random cotangent.
    """
    right = as_double(value)
    got = as_tensor(call(fn, *args, seed=seed, **kwargs), what)
    close = tolerance_of(got.dtype if got.is_floating_point() else right.dtype)
    near = 10 * close.rtol if atol is None else atol
    name = f"{what} for {in_words(*args)}"
    given = args[wrt]
    untouched = {} if given.shape != right.shape else {"the result equals the argument: nothing was replaced": given}
    assert_close(got, right, name, atol=near, alternatives=untouched)
    cotangent = torch.randn(right.shape, generator=generator, dtype=torch.float64).to(got.dtype)
    expected = cotangent if soft is None else _soft_gradient(soft, args, kwargs, wrt, cotangent)
    found = gradient(fn, *args, wrt=(wrt, *blocked), cotangent=cotangent, seed=seed, **kwargs)
    if found[0] is None or not bool((assert_finite(found[0], f"the gradient of {what}") != 0).any()):
        raise Wrong(
            f"no gradient of {what} reaches argument {wrt + 1}; it should be that of "
            f"{'the argument itself' if soft is None else 'the smooth result'}"
        )
    assert_close(found[0], expected, f"the gradient of {what} with respect to argument {wrt + 1}", atol=near)
    for position, reached in zip(blocked, found[1:], strict=True):
        if reached is not None and not bool((reached == 0).all()):
            raise Wrong(f"a gradient of {what} reaches argument {position + 1}, which it should not")


def _soft_gradient(
    soft: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], wrt: int, cotangent: Tensor
) -> Tensor:
    leaf = args[wrt].detach().clone().requires_grad_(True)
    smooth = soft(*args[:wrt], leaf, *args[wrt + 1 :], **kwargs)
    found: Tensor = torch.autograd.grad(smooth, leaf, cotangent.to(smooth))[0]
    return found
