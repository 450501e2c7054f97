"""Vector fields: the trace of their Jacobian, and gradients through a solver by the adjoint method."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import call, gradient, parameter_gradients
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.draws import assert_mean
from autograder.vocabulary.tensors import Tolerance, agree, as_double, assert_close, assert_shape
from autograder.vocabulary.words import in_words

ADJOINT_RTOL = 1e-9  # of the largest entry: the same steps in another order of sums, in float64


def assert_trace_estimator(
    estimate: Callable[..., Any],
    x: Tensor,
    jacobians: Tensor,
    *,
    noise: Tensor | None = None,
    draws: int = 0,
    false_failure: float = FALSE_FAILURE,
    what: str = "the trace",
) -> None:
    """The trace of a field's Jacobian, one number a sample: exact, or estimated by Hutchinson's noiseᵀ J noise.

    Args:
        estimate: `estimate(x)` gives (B,), or `estimate(x, noise)` where noise is given.
        x: points, (B, *).
        jacobians: of the field at x, (B, D, D): `jacobian_blocks(field, x)`, or known. Not symmetric, so that a sum
            over all entries, a product from one side and a trace differ.
        noise: of x's shape. Without noise and draws the trace is to be exact.
        draws: how often `estimate` is asked with noise of its own, as rows of one call; any noise of mean 0 and unit
            covariance whose variance is at most that of normal noise is right.
    """
    J = as_double(jacobians)
    B, D = len(x), x[0].numel()
    if J.shape != (B, D, D) or (noise is not None and (draws or noise.shape != x.shape)):
        raise AuthorError(f"Jacobians have shape {(B, D, D)}, noise that of x, and noise is either given or drawn")
    trace = J.diagonal(dim1=1, dim2=2).sum(1)
    if draws:
        _drawn(estimate, x, J, trace, draws, false_failure, what)
        return
    every = J.sum((1, 2))
    if noise is None:
        hints = {"this sums all entries of the Jacobian, where the diagonal is asked for": every}
        assert_close(estimate(x), trace, f"{what} at {in_words(x)}", alternatives=hints, sizes={"dimensions": D})
        return
    flat = as_double(noise).flatten(1)
    expected = torch.einsum("bi,bij,bj->b", flat, J, flat)
    hints = {
        "this is the exact trace; asked is the estimate with the noise given": trace,
        "this sums all entries of the Jacobian": every,
        "the noise stands on one side of the Jacobian only": torch.einsum("bij,bj->b", J, flat),
        "the noise stands on one side of the Jacobian only (its transpose)": torch.einsum("bi,bij->b", flat, J),
    }
    name = f"{what} with noise given at {in_words(x)}"
    assert_close(estimate(x, noise), expected, name, alternatives=hints, sizes={"dimensions": D})


def _drawn(
    estimate: Callable[..., Any], x: Tensor, J: Tensor, trace: Tensor, draws: int, false_failure: float, what: str
) -> None:
    B = len(x)
    values = as_double(assert_shape(estimate(x.repeat(draws, *[1] * (x.dim() - 1))), (draws * B,), what))
    values = values.reshape(draws, B)
    symmetric = (J + J.mT) / 2
    size = symmetric.flatten(1).norm(dim=1)
    off_diagonal = (symmetric - torch.diag_embed(symmetric.diagonal(dim1=1, dim2=2))).flatten(1).norm(dim=1)
    if draws < 2 or not bool((off_diagonal > 0).all()):
        raise AuthorError("drawn estimates vary where the Jacobian has off-diagonal entries, over two draws or more")
    same = (values - values[:1]).abs().amax(0) <= 1e-9 * size
    if same.any():
        raise Wrong(f"{what} is the same in all {draws} draws at one point: each row needs noise of its own")
    assert_mean(values, trace, bound=math.sqrt(2) * size, false_failure=false_failure, what=what)


@dataclass(frozen=True)
class SolverGradients:
    """What a solver gives and passes back: `value`; d⟨cotangent, value⟩ of its argument and, by name, of parameters."""

    value: Tensor
    argument: Tensor
    parameters: Mapping[str, Tensor]


def assert_adjoint_matches(
    solve: Callable[..., Any],
    *args: Any,
    of: Any,
    expected: SolverGradients,
    wrt: int | str = 1,
    cotangent: Tensor | None = None,
    discrete: SolverGradients | None = None,
    rtol: float = ADJOINT_RTOL,
    what: str = "`odeint_adjoint`",
) -> None:
    """Value and gradients of a solver are those of the adjoint equations, integrated as the text says.

    Args:
        solve: called with `args`.
        of: the module whose parameters the field holds. One that is not used may have a zero gradient or none.
        expected: by the judge's own integration, with the same steps, or in closed form with `rtol` to match.
        wrt: which argument is the initial value.
        cotangent: of the value's shape; ones if None.
        discrete: the gradients of backpropagation through the same steps. With few steps they differ from `expected`,
            and an answer that has these is told so.
    """
    where = f"at {in_words(*args)}"
    _close(call(solve, *args), expected.value, f"the value of {what} {where}", rtol)
    keywords: dict[str, Any] = {"cotangent": cotangent}
    found = gradient(solve, *args, wrt=wrt, **keywords)
    named = parameter_gradients(solve, *args, of=of, **keywords)
    if named.keys() != expected.parameters.keys():
        raise AuthorError(
            f"the field has parameters {sorted(named)}, expected are those of {sorted(expected.parameters)}"
        )
    pairs = {"the initial value": (found, expected.argument)}
    pairs |= {f"`{name}`": (named[name], right) for name, right in expected.parameters.items()}
    others = {} if discrete is None else {"the initial value": discrete.argument}
    others |= {} if discrete is None else {f"`{name}`": other for name, other in discrete.parameters.items()}
    for name, (got, right) in pairs.items():
        known = {BACKPROPAGATED: others[name]} if name in others else {}
        if got is None and bool((right != 0).any()):
            raise Wrong(f"no gradient of {what} reaches {name}")
        got = torch.zeros_like(right) if got is None else got
        _close(got, right, f"the gradient of {what} with respect to {name} {where}", rtol, known)


BACKPROPAGATED = (
    "this is the gradient through the solver's own steps; the adjoint equations give another with few steps"
)


def _close(got: Any, right: Tensor, what: str, rtol: float, alternatives: Mapping[str, Tensor] | None = None) -> None:
    size = max(float(right.abs().max()), 1e-300) if right.numel() else 1.0
    hints = {hint: value for hint, value in (alternatives or {}).items() if not _agree(right, value, rtol * size)}
    assert_close(got, right, what, atol=rtol * size, rtol=0.0, alternatives=hints)


def _agree(a: Tensor, b: Tensor, atol: float) -> bool:
    return agree(as_double(a), as_double(b), Tolerance(0.0, 10 * atol))
