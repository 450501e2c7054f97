"""Shapes, dtypes and values of what student code returns.

Every comparison is made in float64, passes only when `error <= tolerance` is true (so NaN never passes), and
speaks of the property, the size of the error and where it is worst. The expected tensor goes to the TA's `detail`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autograder.errors import Wrong


@dataclass(frozen=True)
class Tolerance:
    """Largest accepted error: `atol + rtol * |expected|`, element by element."""

    rtol: float
    atol: float


# A right answer in float64 may hold constants rounded to float32 (1e-7), so float64 is asked for 1e-6, not 1e-12;
# measured errors of planted mistakes are at least 1e-3.
TOLERANCES = {
    torch.float64: Tolerance(1e-6, 1e-7),
    torch.float32: Tolerance(1e-4, 1e-5),
    torch.float16: Tolerance(1e-2, 1e-3),
    torch.bfloat16: Tolerance(5e-2, 5e-3),
}


NUMBERS = 1 << 22  # of one answer that an assertion computes with: 32 MB in float64
ROWS = 100_000  # samples


def tolerance_of(dtype: torch.dtype) -> Tolerance:
    """The default tolerance of a dtype; integers and booleans must agree exactly."""
    return TOLERANCES.get(dtype, Tolerance(0.0, 0.0))


def as_tensor(value: Any, what: str = "the result") -> Tensor:
    """What student code returned as a tensor without a graph; numbers become 0-d tensors.

    Raises:
        Wrong: the value is neither a tensor nor a number.
    """
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, bool | int):
        return torch.tensor(value)
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64)
    raise Wrong(f"{what} should be a tensor, got {_kind(value)}", hint=_none_hint(value))


def assert_shape(value: Any, shape: Sequence[int], what: str = "the result") -> Tensor:
    """The value is a tensor of this shape; -1 stands for any size. Returns it without its graph."""
    tensor = as_tensor(value, what)
    wanted = tuple(shape)
    if tensor.dim() == len(wanted) and all(w in (-1, s) for w, s in zip(wanted, tensor.shape, strict=True)):
        return tensor
    raise Wrong(
        f"{what} should have shape {_shape(wanted)}, got {_shape(tensor.shape)}",
        hint=_shape_hint(tuple(tensor.shape), wanted),
    )


def assert_count(value: Any, most: int = NUMBERS, what: str = "the result") -> Tensor:
    """The value is a tensor of at most so many numbers; asked before anything is computed with an answer."""
    tensor = as_tensor(value, what)
    if tensor.numel() > most:
        raise Wrong(f"{what} should hold at most {most} numbers, got shape {_shape(tensor.shape)}")
    return tensor


def assert_dtype(value: Any, dtype: torch.dtype | Sequence[torch.dtype], what: str = "the result") -> Tensor:
    """The value is a tensor of this dtype, or of one of these."""
    tensor = as_tensor(value, what)
    wanted = [dtype] if isinstance(dtype, torch.dtype) else list(dtype)
    if tensor.dtype not in wanted:
        names = " or ".join(dtype_name(d) for d in wanted)
        raise Wrong(f"{what} should have dtype {names}, got {dtype_name(tensor.dtype)}")
    return tensor


def assert_finite(value: Any, what: str = "the result") -> Tensor:
    """Every element is a finite number: neither NaN nor infinite."""
    tensor = assert_count(value, what=what)
    bad = ~torch.isfinite(tensor)
    if bad.any():
        kind = "NaN" if torch.isnan(tensor).any() else "infinite"
        raise Wrong(
            f"{what} should be finite everywhere, but {int(bad.sum())} of {tensor.numel()} values are not "
            f"({kind}{_at(first_index(bad))})"
        )
    return tensor


def assert_real(value: Any, what: str = "the result") -> Tensor:
    """Every element is a finite real number."""
    tensor = assert_finite(value, what)
    if tensor.is_complex():
        raise Wrong(f"{what} should be real, got dtype {dtype_name(tensor.dtype)}")
    return tensor


def assert_rows(
    value: Any, shape: Sequence[int] | None = None, what: str = "the samples", *, most: int = ROWS
) -> Tensor:
    """Finite real samples (N, *shape), 2 ≤ N ≤ `most`, none empty, any shape without `shape`. Given in float64."""
    tensor = as_tensor(value, what)
    asked = "(N, …)" if shape is None else _shape(("N", *shape))
    if tensor.dim() < (1 if not shape else 2):
        raise Wrong(f"{what} should have shape {asked}, got {_shape(tensor.shape)}")
    if shape is not None and tuple(tensor.shape[1:]) != tuple(shape):
        raise Wrong(f"{what} should have shape {asked}, got {_shape(tensor.shape)}")
    if len(tensor) < 2 or tensor.numel() == 0:
        raise Wrong(f"{what} are too few or empty: shape {_shape(tensor.shape)}")
    if len(tensor) > most:
        raise Wrong(f"{what} are too many: {len(tensor)}, at most {most} are looked at")
    return as_double(assert_real(tensor, what))


def assert_binary(value: Any, what: str = "the samples") -> Tensor:
    """Every element is exactly 0 or 1."""
    tensor = assert_real(value, what)
    bad = (tensor != 0) & (tensor != 1)
    if bad.any():
        index = first_index(bad)
        raise Wrong(f"{what} should hold only 0 and 1, but hold {float(tensor[index]):.4g}{_at(index)}")
    return tensor


def assert_close(
    actual: Any,
    expected: Tensor | float,
    what: str = "the result",
    *,
    atol: float | None = None,
    rtol: float | None = None,
    sizes: Mapping[str, int] | None = None,
    alternatives: Mapping[str, Tensor | float] | None = None,
) -> None:
    """The result equals `expected` up to the tolerance of its own dtype.

    Args:
        actual: what student code returned.
        expected: the right values; a wrong shape is reported, never broadcast.
        what: names the result in the message, e.g. "`log_prob(x)`".
        atol: overrides the absolute tolerance of the dtype.
        rtol: overrides the relative one.
        sizes: named sizes a sum may have been divided by, e.g. {"pixels": 9, "images": 4}.
        alternatives: hints by the values that prove them, e.g. {"this is log p in bits": expected / log(2)}.

    Raises:
        Wrong: with a hint when every element shows the same simple mistake.
    """
    right = torch.as_tensor(expected).detach()
    tensor = assert_shape(actual, right.shape, what)
    if tensor.is_complex() and not right.is_complex():
        raise Wrong(f"{what} should be real, got dtype {dtype_name(tensor.dtype)}")
    if not right.is_floating_point() and not tensor.is_floating_point() and atol is None:
        tolerance = default = Tolerance(0.0, 0.0)
    else:
        default = tolerance_of(tensor.dtype if tensor.is_floating_point() else right.dtype)
        tolerance = Tolerance(default.rtol if rtol is None else rtol, default.atol if atol is None else atol)
    a, b = as_double(tensor), as_double(right)
    if agree(a, b, tolerance):
        return
    hint = _relation(a, b, _tighter(tolerance, default), sizes or {}, alternatives or {})
    nan = torch.isnan(a) & ~torch.isnan(b)
    if nan.any():
        raise Wrong(f"{what} holds NaN in {int(nan.sum())} of {a.numel()} places{_at(first_index(nan))}")
    error = torch.where(a == b, torch.zeros_like(b.abs()), (a - b).abs()).nan_to_num(nan=math.inf, posinf=math.inf)
    index = argmax_index(error - (tolerance.atol + tolerance.rtol * b.abs()).nan_to_num(posinf=0.0))
    size = float(b[torch.isfinite(b)].abs().mean()) if torch.isfinite(b).any() else math.nan
    wrong = int((~_within(a, b, tolerance)).sum())
    share = "" if a.numel() == 1 else f", {wrong} of {a.numel()} values are off"
    raise Wrong(
        f"{what} is off by {float(error[index]):.3g}{_at(index)}{share} "
        f"(typical size {size:.3g}, accepted error {tolerance.atol + tolerance.rtol * float(b[index].abs()):.1g})",
        hint=hint,
        detail=f"got {a[index].item()!r}, expected {b[index].item()!r} at {index}; all: {b.flatten()[:64].tolist()}",
    )


def agree(a: Tensor, b: Tensor, tolerance: Tolerance) -> bool:
    """Every element within tolerance; equal infinities agree, NaN agrees with nothing."""
    return a.shape == b.shape and bool(_within(a, b, tolerance).all())


def _within(a: Tensor, b: Tensor, tolerance: Tolerance) -> Tensor:
    near = (a - b).abs() <= tolerance.atol + tolerance.rtol * b.abs()
    return (near & torch.isfinite(a) & torch.isfinite(b)) | (a == b)


def _tighter(a: Tolerance, b: Tolerance) -> Tolerance:
    """What a hint is held to: a wide tolerance asked for the property proves no cause."""
    return Tolerance(min(a.rtol, b.rtol), min(a.atol, b.atol))


def as_double(tensor: Tensor) -> Tensor:
    """The same values in float64, or complex128, on the CPU."""
    return tensor.detach().cpu().to(torch.complex128 if tensor.is_complex() else torch.float64)


def _relation(
    a: Tensor, b: Tensor, tolerance: Tolerance, sizes: Mapping[str, int], alternatives: Mapping[str, Tensor | float]
) -> str | None:
    """The one sentence that is true of all elements, or None."""
    for sentence, wrong in _known_mistakes(b, sizes):
        if agree(a, wrong, tolerance):
            return sentence
    for sentence, value in alternatives.items():
        wrong = as_double(torch.as_tensor(value))
        if agree(a, wrong, tolerance):
            return sentence
    difference = a - b
    if a.numel() > 2 and agree(difference, difference.mean().expand_as(b), tolerance) and float(b.std()) > 0:
        return "every value is off by the same amount: a constant term is missing or extra"
    if (
        not a.is_complex()
        and a.numel() > 2
        and distinct(a.flatten()) > 2
        and agree(a.flatten().sort().values, b.flatten().sort().values, tolerance)
    ):
        return "these are the right values in a different order"
    return None


def _known_mistakes(b: Tensor, sizes: Mapping[str, int]) -> Iterator[tuple[str, Tensor]]:
    yield "the sign is flipped", -b
    for name, n in sizes.items():
        yield f"off by exactly the number of {name}: averaged over {name} where a sum is asked for", b / n
        yield f"off by exactly the number of {name}: summed over {name} where a mean is asked for", b * n
        yield f"negative, and averaged over {name} where a sum is asked for", -b / n
        yield f"negative, and summed over {name} where a mean is asked for", -b * n
    yield "off by exactly log 2: bits where nats are asked for", b / math.log(2)
    yield "off by exactly log 2: nats where bits are asked for", b * math.log(2)
    yield "off by exactly a factor of two: half of what it should be", b / 2
    yield "off by exactly a factor of two: twice what it should be", b * 2
    if b.dim() >= 2 and b.shape[-1] == b.shape[-2]:
        yield "the last two dimensions are transposed", b.transpose(-1, -2)


def argmax_index(tensor: Tensor) -> tuple[int, ...]:
    """Index of the largest element."""
    return tuple(int(i) for i in torch.unravel_index(tensor.argmax(), tensor.shape))


def distinct(rows: Tensor) -> int:
    """The number of different rows, or of different numbers in a vector."""
    return int(torch.unique(rows, dim=0).shape[0])


def first_index(mask: Tensor) -> tuple[int, ...]:
    """Index of the first true element."""
    return argmax_index(mask.to(torch.uint8))


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def _at(index: tuple[int, ...]) -> str:
    return f" at index {_shape(index)}" if index else ""


def _shape(shape: Sequence[int | str]) -> str:
    inside = ", ".join("any" if s == -1 else str(s) for s in shape)
    return f"({inside},)" if len(shape) == 1 else f"({inside})"


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"`{type(value).__name__}`"


def _none_hint(value: Any) -> str | None:
    return "a function without `return` returns None" if value is None else None


def _shape_hint(got: tuple[int, ...], wanted: tuple[int, ...]) -> str | None:
    if any(w == -1 for w in wanted):
        return None
    if got == (*wanted, 1):
        return "there is one extra dimension of size 1 at the end: squeeze it"
    if len(wanted) == 1 and got == (wanted[0], wanted[0]) and wanted[0] > 1:
        return f"this is the shape that ({wanted[0]},) and ({wanted[0]}, 1) broadcast to"
    if got == () and math.prod(wanted) > 1:
        return "one number came back: a reduction went over the dimensions that should stay"
    if sorted(got) == sorted(wanted) and got != wanted:
        return "the sizes are right and in a different order: a permute is missing or extra"
    if math.prod(got) == math.prod(wanted):
        return "the number of elements is right: a reshape is missing or extra"
    return None
