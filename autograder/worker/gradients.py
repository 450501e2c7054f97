"""Gradients and Jacobians of what a student wrote, computed where the graph lives.

Plain reverse mode through `torch.autograd.grad`: it needs nothing from the student's code beyond what training needs,
so in-place writes, Python branches and custom functions work, and no `.grad` field is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .calling import Fault, invoke, name_of, place

LARGEST_SIDE = 4096  # numbers in the input and in the output of a Jacobian, of one sample's where there is a block each
ROWS_AT_ONCE = 256  # vector-Jacobian products in one batched pass
NUMBERS_AT_ONCE = 1 << 22  # numbers that one batched pass over a batch's blocks gives
ROWS_ALONE = 64  # rows that are quicker one by one: the first batched pass makes torch import sympy for a second


@dataclass(frozen=True)
class Gradients:
    """What `gradient` found: the function's result, and None for whatever the output does not depend on."""

    value: Any
    inputs: list[Tensor | None]
    parameters: dict[str, Tensor | None]


def gradient(
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    wrt: Sequence[int | str],
    cotangent: Tensor | None = None,
    parameters: Mapping[str, Tensor] | None = None,
    output: int | str | None = None,
    seed: int | None = None,
    mode: str | None = None,
) -> Gradients:
    """d⟨cotangent, output⟩ with respect to arguments and parameters; without a cotangent, of the sum of the output.

    Raises:
        Fault: the output is not a tensor, or the cotangent has another shape than it.
    """
    args, kwargs, leaves = _with_leaves(function, args, kwargs, wrt)
    value = invoke(function, args, kwargs, seed=seed, mode=mode, grad=True)
    chosen = select(value, output, name_of(function))
    if cotangent is not None and cotangent.shape != chosen.shape:
        shapes = f"{tuple(cotangent.shape)} was expected, got {tuple(chosen.shape)}"
        raise Fault("wrong", f"`{name_of(function)}` returned another shape: {shapes}")
    named = dict(parameters or {})
    wanted = [*leaves, *named.values()]
    found = _vjp(chosen, wanted, cotangent)
    return Gradients(value, found[: len(leaves)], dict(zip(named, found[len(leaves) :], strict=True)))


def jacobian(
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    wrt: int | str,
    output: int | str | None = None,
    seed: int | None = None,
    mode: str | None = None,
) -> Tensor:
    """∂output/∂argument, shape (*output.shape, *argument.shape): zeros where nothing depends on anything.

    Raises:
        Fault: the output is not a tensor, or holds more than LARGEST_SIDE numbers.
    """
    args, kwargs, (leaf,) = _with_leaves(function, args, kwargs, [wrt])
    chosen = select(invoke(function, args, kwargs, seed=seed, mode=mode, grad=True), output, name_of(function))
    rows, columns = chosen.numel(), leaf.numel()
    if rows > LARGEST_SIDE or columns > LARGEST_SIDE:
        raise Fault("limit", f"a Jacobian has at most {LARGEST_SIDE} rows and columns, asked for {rows} × {columns}")
    if not chosen.requires_grad or rows == 0:
        return torch.zeros((*chosen.shape, *leaf.shape), dtype=leaf.dtype, device=leaf.device)
    with torch.enable_grad():  # a notebook may have switched it off for good
        flat = chosen.reshape(-1)
    unit = torch.eye(rows, dtype=chosen.dtype, device=chosen.device)
    return torch.cat(_rows(flat, leaf, unit)).reshape(*chosen.shape, *leaf.shape)


def _rows(flat: Tensor, leaf: Tensor, unit: Tensor) -> list[Tensor]:
    if len(unit) > ROWS_ALONE:
        with suppress(RuntimeError):  # an operation without a batching rule
            return [_batched_rows(flat, leaf, rows) for rows in unit.split(ROWS_AT_ONCE)]
    return [_one_row(flat, leaf, row) for row in unit]


@dataclass(frozen=True)
class Blocks:
    """Rows of each sample's own Jacobian, (B, rows, D), of the `numbers` rows there are."""

    numbers: int
    blocks: Tensor


def jacobian_blocks(
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    wrt: int | str,
    rows: Sequence[int],
    output: int | str | None = None,
    seed: int | None = None,
    mode: str | None = None,
) -> Blocks:
    """∂output[b]/∂argument[b] for every sample b, flattened, from row `rows[0]` up to `rows[1]`; nothing is B × B.

    Row j is the gradient of Σ_b output[b, j], which is a sample's own where samples do not mix; a last product with
    random weights on the samples tells whether they do. (What passes between them without a graph it can not see.)

    Raises:
        Fault: the output is not a tensor with one result a sample, holds more than LARGEST_SIDE numbers a sample, or
            the samples of the batch mix.
    """
    args, kwargs, (leaf,) = _with_leaves(function, args, kwargs, [wrt])
    name = name_of(function)
    chosen = select(invoke(function, args, kwargs, seed=seed, mode=mode, grad=True), output, name)
    if leaf.dim() == 0 or chosen.dim() == 0 or len(chosen) != len(leaf) or len(leaf) == 0:
        shapes = f"it gave shape {tuple(chosen.shape)} for shape {tuple(leaf.shape)}"
        raise Fault("wrong", f"`{name}` should give one result a sample: {shapes}")
    with torch.enable_grad():  # a notebook may have switched it off for good
        flat = chosen.reshape(len(chosen), -1)
    numbers, columns = flat.shape[1], leaf[0].numel()
    if numbers > LARGEST_SIDE or columns > LARGEST_SIDE:
        raise Fault("limit", f"a Jacobian has at most {LARGEST_SIDE} rows and columns, asked for {numbers} × {columns}")
    wanted = range(numbers)[rows[0] : rows[1]]
    if not chosen.requires_grad or not wanted:
        return Blocks(numbers, leaf.new_zeros(len(leaf), len(wanted), columns))
    step = max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // max(leaf.numel(), 1)))
    parts = [_rows_of_samples(flat, leaf, wanted[k : k + step]) for k in range(0, len(wanted), step)]
    blocks = torch.cat(parts).reshape(len(wanted), len(leaf), columns).transpose(0, 1)  # (B, rows, D)
    if _mix(flat, leaf, wanted, blocks):
        raise Fault("wrong", f"`{name}` mixes the samples of a batch: the result for one depends on the others")
    return Blocks(numbers, blocks)


def select(value: Any, output: int | str | None, name: str) -> Tensor:
    """The tensor meant by `output`: the value itself, an element, a dictionary's entry, or an attribute.

    Raises:
        Fault: there is no such tensor.
    """
    try:
        if isinstance(output, str) and not isinstance(value, dict):
            value = getattr(value, output)
        elif output is not None:
            value = value[output]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Fault("wrong", f"`{name}` returned a {type(value).__name__} without the part {output!r}") from None
    if not issubclass(type(value), Tensor):
        part = "" if output is None else f" as its part {output!r}"
        raise Fault("wrong", f"`{name}` returned a {type(value).__name__}{part} where a tensor was expected")
    with torch._C.DisableTorchFunctionSubclass(), torch.enable_grad():
        return torch.Tensor.as_subclass(value, Tensor)  # keeps the graph, drops what a subclass overrides


def _with_leaves(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], wrt: Sequence[int | str]
) -> tuple[list[Any], dict[str, Any], list[Tensor]]:
    """The arguments with those in `wrt` made differentiable, and the leaves to differentiate with respect to."""
    args, kwargs, leaves = list(args), dict(kwargs), []
    for key in wrt:
        where = place(function, args, kwargs, key)
        value = args[where] if isinstance(where, int) else kwargs[where]
        if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
            raise Fault("wrong", f"argument {key!r} of `{name_of(function)}` is not a tensor of real numbers")
        leaf = value.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            passed = leaf.clone()  # not the leaf itself: a student may write into the argument
        if isinstance(where, int):
            args[where] = passed
        else:
            kwargs[where] = passed
        leaves.append(leaf)
    return args, kwargs, leaves


def _vjp(output: Tensor, wanted: Sequence[Tensor], cotangent: Tensor | None) -> list[Tensor | None]:
    differentiable = [t for t in wanted if t.requires_grad]
    if not output.requires_grad or not differentiable:
        return [None] * len(wanted)
    scalar, given = _scalar(output, cotangent)
    found = iter(torch.autograd.grad(scalar, differentiable, given, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in wanted]


def _rows_of_samples(flat: Tensor, leaf: Tensor, wanted: range) -> Tensor:
    """The gradient of Σ_b flat[b, j] for each j, shape (len(wanted), leaf.numel())."""
    unit = flat.new_zeros(len(wanted), *flat.shape)
    unit[torch.arange(len(wanted)), :, torch.tensor(wanted)] = 1
    return torch.cat(_rows(flat, leaf, unit))


def _mix(flat: Tensor, leaf: Tensor, wanted: range, blocks: Tensor) -> bool:
    """Whether a result depends on another sample: Σ_bj c_b v_j flat[b, j] then has another gradient than its own."""
    generator = torch.Generator("cpu").manual_seed(20_11)
    c, v = (torch.randn(n, generator=generator).to(flat) for n in (len(flat), len(wanted)))
    weights = torch.zeros_like(flat)
    weights[:, wanted[0] : wanted[-1] + 1] = c[:, None] * v
    found = _one_row(flat, leaf, weights).reshape(len(leaf), -1)
    own = c[:, None] * torch.einsum("j,bjd->bd", v, blocks)
    size = (c.abs()[:, None] * torch.einsum("j,bjd->bd", v.abs(), blocks.abs())).max()
    tolerance = 1e-6 if flat.dtype == torch.float64 else 1e-3
    return bool(((found - own).abs() > tolerance * size).any())  # of NaN the judge hears from the blocks


def _scalar(output: Tensor, cotangent: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """⟨cotangent, output⟩, to be differentiated without a cotangent: with one, torch imports sympy first, for a second.

    Complex outputs keep theirs.
    """
    if output.is_complex():
        return output, torch.ones_like(output) if cotangent is None else cotangent.to(output)
    with torch.enable_grad():  # a notebook may have switched it off for good
        return (output if cotangent is None else output * cotangent.to(output)).sum(), None


def _batched_rows(flat: Tensor, leaf: Tensor, rows: Tensor) -> Tensor:
    (part,) = torch.autograd.grad(flat, leaf, rows, retain_graph=True, allow_unused=True, is_grads_batched=True)
    return leaf.new_zeros(len(rows), leaf.numel()) if part is None else part.reshape(len(rows), -1)


def _one_row(flat: Tensor, leaf: Tensor, row: Tensor) -> Tensor:
    scalar, given = _scalar(flat, row)
    (part,) = torch.autograd.grad(scalar, leaf, given, retain_graph=True, allow_unused=True)
    return leaf.new_zeros(1, leaf.numel()) if part is None else part.reshape(1, -1)
