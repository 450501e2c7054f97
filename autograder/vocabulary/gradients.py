"""Where gradients flow and what they are, computed where the student's graph lives.

Hand over the function or handle itself: the graph ends at a lambda around a handle. Perturb the weights first: at a
zero-initialised last layer a gradient is rightly zero for everything before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import Mode, call, contents, gradient, parameter_gradients
from autograder.vocabulary.tensors import (
    as_tensor,
    assert_close,
    assert_count,
    assert_dtype,
    assert_finite,
    assert_shape,
)

DIFFERENCED = 1 << 18  # numbers of a result whose change is measured


def assert_trains(
    loss: Callable[..., Any],
    *args: Any,
    of: Any,
    except_for: Collection[str] = (),
    share: float = 1.0,
    seed: int | None = 0,
    mode: Mode | None = None,
    what: str = "the loss",
    **kwargs: Any,
) -> None:
    """A loss is one finite number whose gradient reaches every parameter of a module, finite and not all zero.

    Args:
        loss: returns a scalar.
        of: the module whose parameters should train.
        except_for: names of parameters that need not be reached.
        share: of the parameter tensors that must be reached, where an architecture may rightly leave some out.
    """
    value = as_tensor(call(loss, *args, seed=seed, mode=mode, **kwargs), what)
    if value.numel() != 1 or value.dim() > 0:
        raise Wrong(f"{what} should be one number, a tensor of shape (), got shape {tuple(value.shape)}")
    assert_finite(value, what)
    assert_gradient_reaches(
        loss, *args, of=of, except_for=except_for, share=share, seed=seed, mode=mode, what=what, **kwargs
    )


def assert_gradient_reaches(
    fn: Callable[..., Any],
    *args: Any,
    of: Any = None,
    wrt: int | str | None = None,
    output: int | str | None = None,
    except_for: Collection[str] = (),
    share: float = 1.0,
    seed: int | None = 0,
    mode: Mode | None = None,
    what: str = "the result",
    **kwargs: Any,
) -> None:
    """The gradient of the sum of the result reaches an argument, or every parameter of a module: finite, not all zero.

    Args:
        of: module whose parameters are meant; or
        wrt: position or name of the argument that is meant.
        output: part of the result that is differentiated.
    """
    found = _gradients(fn, args, kwargs, of, wrt, output, seed, mode)
    found = {name: g for name, g in found.items() if name.strip("`") not in except_for}
    for name, g in found.items():
        if g is not None:
            assert_finite(g, f"the gradient of {what} with respect to {name}")
    cut = [name for name, g in found.items() if not _flows(g)]
    if not found:
        raise Wrong("the module has no parameters that should train")
    if len(found) - len(cut) >= share * len(found):
        return
    raise Wrong(
        f"no gradient of {what} reaches {_listing(cut)} ({len(cut)} of {len(found)} receive none)"
        if of is not None
        else f"no gradient of {what} reaches {cut[0]}",
        hint=_detached_hint(found),
    )


def assert_no_gradient_reaches(
    fn: Callable[..., Any],
    *args: Any,
    of: Any = None,
    wrt: int | str | None = None,
    output: int | str | None = None,
    seed: int | None = 0,
    mode: Mode | None = None,
    what: str = "the result",
    **kwargs: Any,
) -> None:
    """The gradient of the sum of the result is none or exactly zero, for an argument or every parameter of a module."""
    found = _gradients(fn, args, kwargs, of, wrt, output, seed, mode)
    reached = [name for name, g in found.items() if g is not None and bool((g != 0).any())]
    if reached:
        raise Wrong(f"a gradient of {what} reaches {_listing(reached)}, which it should not")


def assert_gradient_equals(
    fn: Callable[..., Any],
    *args: Any,
    expected: Tensor,
    wrt: int | str = 0,
    cotangent: Tensor | None = None,
    output: int | str | None = None,
    seed: int | None = 0,
    mode: Mode | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    what: str = "the result",
    **kwargs: Any,
) -> None:
    """The gradient of ⟨cotangent, result⟩ with respect to an argument equals known values."""
    g = gradient(fn, *args, wrt=wrt, cotangent=cotangent, output=output, seed=seed, mode=mode, **kwargs)
    if g is None:
        g = torch.zeros_like(expected)
        if bool((expected != 0).any()):
            raise Wrong(
                f"no gradient of {what} reaches argument {wrt!r}",
                hint="the graph is cut, or the argument is not used",
            )
    assert_close(g, expected, f"the gradient of {what}", atol=atol, rtol=rtol)


def assert_gradient_matches_finite_differences(
    fn: Callable[..., Any],
    *args: Any,
    wrt: int = 0,
    output: int | None = None,
    directions: int = 4,
    generator: torch.Generator | None = None,
    seed: int | None = 0,
    mode: Mode | None = "eval",
    rtol: float = 1e-4,
    what: str = "the result",
    **kwargs: Any,
) -> None:
    """The gradient with respect to an argument equals the change of the function's own values, in random directions.

    Central differences of ⟨c, result⟩ with a random c at steps 1e-5 and 1e-6; a direction passes with either, so that a
    kink of a ReLU inside one step does not fail a right answer.

    Args:
        fn: deterministic under its seed, float64 in and out.
        wrt: position of the argument, a float64 tensor.
    """
    x = args[wrt]
    if x.dtype != torch.float64:
        raise AuthorError(f"finite differences need a float64 argument, got {x.dtype}")

    def value(at: Tensor) -> Tensor:
        result = call(fn, *args[:wrt], at, *args[wrt + 1 :], seed=seed, mode=mode, **kwargs)
        if output is not None:
            result = contents(result)
            if not isinstance(result, tuple | list) or len(result) <= output:
                raise Wrong(f"{what} should be part {output + 1} of a tuple")
            result = result[output]
        counted = assert_count(result, DIFFERENCED, what)
        return assert_dtype(assert_finite(counted, what), torch.float64, f"{what} for float64 input")

    start = value(x)
    cotangent = torch.randn(start.shape, generator=generator, dtype=torch.float64)
    g = gradient(fn, *args, wrt=wrt, cotangent=cotangent, output=output, seed=seed, mode=mode, **kwargs)
    g = torch.zeros_like(x) if g is None else assert_finite(assert_shape(g, x.shape, f"the gradient of {what}"))
    worst = 0.0
    for _ in range(directions):
        v = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        slope = float((g * v).sum())
        size = max(float((g.abs() * v.abs()).sum()), 1.0)
        errors = []
        for step in (1e-5, 1e-6):
            up, down = (assert_shape(value(x + s * v), start.shape, what) for s in (step, -step))
            change = cotangent * (up - down)
            errors.append(abs(float(change.sum()) / (2 * step) - slope) / size)
        if not min(errors) <= rtol:
            worst = max(worst, min(errors))
    if worst:
        raise Wrong(
            f"the gradient of {what} with respect to argument {wrt + 1} does not match the change of its values: "
            f"off by {worst:.2g} of its size, at most {rtol:.0e} is accepted"
        )


def _gradients(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    of: Any,
    wrt: int | str | None,
    output: int | str | None,
    seed: int | None,
    mode: Mode | None,
) -> dict[str, Tensor | None]:
    if (of is None) == (wrt is None):
        raise AuthorError("say either `of` (a module) or `wrt` (an argument)")
    if wrt is not None:
        name = f"argument {wrt + 1}" if isinstance(wrt, int) else f"argument `{wrt}`"
        return {name: gradient(fn, *args, wrt=wrt, output=output, seed=seed, mode=mode, **kwargs)}
    found = parameter_gradients(fn, *args, of=of, output=output, seed=seed, mode=mode, **kwargs)
    return {f"`{name}`": g for name, g in found.items()}


def _flows(g: Tensor | None) -> bool:
    return g is not None and bool((g != 0).any())


def _listing(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _detached_hint(found: dict[str, Tensor | None]) -> str | None:
    if all(g is None for g in found.values()):
        return "the graph is cut (a detach, `no_grad`, `.item()`, a rounding), or none of them is used"
    return None
