"""Properties of any call: results have parts, samples do not mix, seeds rule, dtypes pass through, modes come back.

Hand over the function or handle itself and its arguments: a lambda around a handle runs in the judge, where a seed
or the arguments of the inner call are out of sight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import Handle, Mode, call, contents, is_module, type_name
from autograder.vocabulary.tensors import (
    NUMBERS,
    Tolerance,
    agree,
    argmax_index,
    as_double,
    as_tensor,
    assert_dtype,
    assert_finite,
    tolerance_of,
)

PARTS = 64  # tensors of one result


def assert_tuple(value: Any, n: int, what: str = "the result", *, names: Sequence[str] = ()) -> tuple[Any, ...]:
    """A result is a tuple or list of n parts; returns them. A tensor is none, although Python unpacks its rows.

    Args:
        names: of the parts, for the message: ("z", "logdet").
    """
    if names and len(names) != n:
        raise AuthorError(f"{n} parts were asked for, {len(names)} are named")
    value = contents(value)
    if isinstance(value, tuple | list) and len(value) == n:
        return tuple(value)
    asked = f"a tuple of {n}" + (f": ({', '.join(names)})" if names else "")
    raise Wrong(
        f"{what} should be {asked}; it is {_kind(value)}",
        hint="a function without `return` returns None" if value is None else None,
    )


def assert_batch_consistent(
    fn: Callable[..., Any],
    *args: Any,
    mode: Mode | None = "eval",
    what: str = "the function",
    atol: float | None = None,
    **kwargs: Any,
) -> None:
    """What comes back for a sample does not depend on the other samples of its batch.

    Every tensor among the arguments is split along its first dimension; results are compared sample by sample. A
    result of several tensors is compared part by part.

    Args:
        fn: deterministic; gives one result a sample.
        args: tensors with the batch first, all of one batch size of at least 2; anything else is passed on as it is.
        mode: of the module called. "train" also forbids statistics of the batch.
        atol: accepted difference relative to the typical size of the result; 1e-5 in float32, 1e-9 in float64.
    """
    batch = next((len(a) for a in args if isinstance(a, Tensor) and a.dim() > 0), 0)
    if batch < 2:
        raise AuthorError("batch consistency needs a tensor argument with at least 2 samples")
    whole = _parts(call(fn, *args, mode=mode, **kwargs), what)
    for i in range(batch):
        one = [a[i : i + 1] if isinstance(a, Tensor) and a.dim() > 0 else a for a in args]
        single = _parts(call(fn, *one, mode=mode, **kwargs), what)
        if len(single) != len(whole):
            raise Wrong(f"{what} returns {len(whole)} results for a batch and {len(single)} for one sample")
        for together, alone in zip(whole, single, strict=True):
            _assert_row(together, alone, i, batch, atol, what)


def _assert_row(together: Tensor, alone: Tensor, i: int, batch: int, atol: float | None, what: str) -> None:
    if together.dim() == 0 or together.shape[0] != batch or alone.shape[:1] != (1,):
        raise Wrong(
            f"{what} should give one result a sample: for {batch} samples it has shape {tuple(together.shape)}, "
            f"for one sample {tuple(alone.shape)}"
        )
    if together.shape[1:] != alone.shape[1:]:
        mixes = together.dim() == 2 and together.shape == (batch, batch) and alone.shape == (1, 1)
        raise Wrong(
            f"{what} mixes the samples of a batch: for {batch} samples it has shape {tuple(together.shape)}, "
            f"for one sample {tuple(alone.shape)}",
            hint=f"both dimensions grow with the batch, as when ({batch},) meets ({batch}, 1)" if mixes else None,
        )
    a, b = as_double(together[i]), as_double(alone[0])
    assert_finite(b, f"{what} for sample {i} alone")
    finite = as_double(together)[torch.isfinite(as_double(together))]
    scale = max(
        float(finite.abs().mean()) if finite.numel() else 0.0, float(b.abs().max()) if b.numel() else 0.0, 1e-12
    )
    relative = atol if atol is not None else (1e-9 if together.dtype == torch.float64 else 1e-5)
    if not agree(a, b, Tolerance(0.0, relative * scale)):
        error = (a - b).abs().nan_to_num(nan=float("inf"))
        where = f" at index {argmax_index(error)}" if error.dim() else ""
        raise Wrong(
            f"{what} mixes the samples of a batch: the result for sample {i} is off by {float(error.max()):.3g}{where} "
            f"from the result for this sample alone (typical size {scale:.3g})"
        )


def assert_deterministic_under_seed(
    fn: Callable[..., Any], *args: Any, random: bool = True, what: str = "the function", **kwargs: Any
) -> None:
    """The same `torch.manual_seed` gives the same result, and, if `random`, another seed another one.

    Args:
        random: the function draws random numbers from a law with so many outcomes that equal draws do not happen.
    """
    first, again, other = (_parts(call(fn, *args, seed=seed, **kwargs), what) for seed in (20_11, 20_11, 20_12))
    if not _equal(first, again):
        raise Wrong(f"{what} gives different results under the same `torch.manual_seed`")
    if random and _equal(first, other):
        raise Wrong(f"{what} gives the same random result whatever `torch.manual_seed` is set to")


def assert_works_in(
    dtype: torch.dtype,
    fn: Callable[..., Any],
    *args: Any,
    what: str = "the function",
    seed: int | None = 0,
    **kwargs: Any,
) -> Any:
    """Floating tensors of this dtype go in, and come out in the same dtype, finite. Returns the result.

    A module's own weights are the caller's to convert: `model.double()`.
    """
    cast = [a.to(dtype) if isinstance(a, Tensor) and a.is_floating_point() else a for a in args]
    result = call(fn, *cast, seed=seed, **kwargs)
    for part in _parts(result, what):
        if part.is_floating_point():
            assert_dtype(part, dtype, f"the result of {what} for {str(dtype).removeprefix('torch.')} input")
            assert_finite(part, what)
    return result


def assert_mode_restored(
    module: Any, fn: Callable[..., Any], *args: Any, what: str = "the function", **kwargs: Any
) -> None:
    """A call leaves a module in the mode it found it in, train or eval."""
    if not is_module(module):
        raise Wrong(f"a torch.nn.Module was expected to own {what}")
    started = bool(module.training)
    try:
        for training in (True, False):
            module.train(training)
            call(fn, *args, **kwargs)
            if bool(module.training) is not training:
                before, after = ("train", "eval") if training else ("eval", "train")
                raise Wrong(f"{what} leaves the model in {after} mode though it was called in {before} mode")
    finally:
        module.train(started)


def _parts(result: Any, what: str) -> list[Tensor]:
    """The tensors of a result: itself, or the elements of a tuple, list or dictionary, a bounded number of them."""
    result = contents(result)
    if isinstance(result, dict):
        result = list(result.values())
    parts: Sequence[Any] = result if isinstance(result, tuple | list) else [result]
    if len(parts) > PARTS:
        raise Wrong(f"{what} should return at most {PARTS} results, got {len(parts)}")
    tensors = [as_tensor(part, f"the result of {what}") for part in parts]
    if sum(part.numel() for part in tensors) > NUMBERS:
        raise Wrong(f"{what} should return at most {NUMBERS} numbers")
    return tensors


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    if value is None:
        return "None"
    return f"an object of type `{type_name(value)}`" if isinstance(value, Handle) else f"a `{type_name(value)}`"


def _equal(a: list[Tensor], b: list[Tensor]) -> bool:
    alike = [(x.shape, x.dtype) for x in a] == [(y.shape, y.dtype) for y in b]
    return alike and all(agree(as_double(x), as_double(y), _bitwise(x)) for x, y in zip(a, b, strict=True))


def _bitwise(x: Tensor) -> Tolerance:
    """Sums may be taken in another order on another thread; anything above that is another result."""
    default = tolerance_of(x.dtype)
    return Tolerance(default.rtol / 100, default.atol / 100)
