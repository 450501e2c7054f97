"""Gradients through what has none of its own: a draw from a law with parameters, a rounded or looked-up value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import Mode, call, gradient
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.draws import assert_mean
from autograder.vocabulary.normal import assert_standard_normal
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

    The law of ε = (z − mean)/std is tested by `assert_standard_normal`, over two calls, and by products of neighbours
    in rows and in columns with the bound of `assert_mean`. ∂Σz/∂mean is 1 and ∂Σz/∂log_std is z − mean in every
    entry, without statistics.

    Args:
        draw: called as `draw(mean, scale)` under seeds.
        mean, scale: (N, L), N in the thousands, float64 by preference, with means and deviations that vary.
        kind: what `scale` is.
        false_failure: largest probability of failing right draws, over everything that is tested here.
    """
    if mean.dim() != 2 or mean.shape != scale.shape or len(mean) < 1000:
        raise AuthorError(f"mean and scale have shape (N, L) with N ≥ 1000, got {tuple(mean.shape)}")
    std, calls = as_double(STD[kind](scale)), []
    for s in (seed, seed + 1):
        z = assert_shape(assert_real(call(draw, mean, scale, seed=s, mode=mode), what), mean.shape, what)
        calls.append(as_double(z) - as_double(mean))
    noise = [deviation / std for deviation in calls]
    name = f"the noise (z − mean)/std of {what}"
    assert_standard_normal(noise, false_failure=false_failure / 2, what=name)
    half = len(mean) // 2
    pairs = {
        "neighbouring rows": noise[0][0 : 2 * half : 2] * noise[0][1 : 2 * half : 2],
        "neighbouring columns": noise[0][:, :-1] * noise[0][:, 1:],
    }
    for where, products in pairs.items():
        if products.shape[1]:
            each = false_failure / 4
            assert_mean(products, 0.0, bound=1.0, false_failure=each, what=f"products of {name} in {where}")
    _assert_draw_gradients(draw, mean, scale, calls[0], kind, seed, mode, what)


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
