"""Causality and dependence, measured by changing one input position at a time.

`dependence_matrix` records how much each output moves when each input position changes. A model is autoregressive
in an order when nothing moves at or before the changed position **and** something moves after it: over-restricted masks
lose information without ever leaking, so `assert_causal` asks for both (rule R1). Perturb a model's weights first:
zero-initialised layers hide every mask error (rule R2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from autograder.errors import Wrong
from autograder.vocabulary.orders import Order, allowed_pairs, by_position, grid_of, name_of
from autograder.vocabulary.tensors import argmax_index, as_double, as_tensor, assert_count, assert_finite, first_index

Values = Literal["binary", "real"]
Dependence = float | Literal["neighbours"]
ROWS = 4096  # images in one call
LARGEST = 1 << 22  # numbers in the answer to one call


def dependence_matrix(
    fn: Callable[[Tensor], Any],
    shape: Sequence[int],
    *,
    values: Values = "binary",
    dtype: torch.dtype = torch.float32,
    base: Tensor | None = None,
    generator: torch.Generator | None = None,
    what: str = "the output",
) -> Tensor:
    """How strongly each output position depends on each input position, (n_out, n_in), float64.

    Entry (i, j) is the largest change of output i over base images and features when input j alone changes, divided by
    the largest output; changes within rounding error are set to exactly 0.

    Args:
        fn: maps a batch to outputs as `by_position` reads them.
        shape: of the batch of base images, (B, C, H, W) or (B, n). With B ≥ 3 a dependence hidden in one context
            shows in another.
        values: "binary" flips a pixel between 0 and 1, "real" redraws all its channels from N(0, 1).
        dtype: of the images handed over.
        base: images to start from instead of random ones.
        generator: source of the base images.
    """
    shape = tuple(shape if base is None else base.shape)
    grid, batch = grid_of(shape), shape[0]
    n = math.prod(grid)
    if base is None:
        base = _draw(shape, values, generator)
    flat = base.detach().to(torch.float64).reshape(batch, -1, n)  # (B, C, n)
    other = 1 - flat if values == "binary" else flat + 1 + torch.rand(flat.shape, generator=generator)
    changed = flat.unsqueeze(0).repeat(n, 1, 1, 1)  # (n, B, C, n)
    changed[range(n), :, :, range(n)] = other.permute(2, 0, 1)
    rows = torch.cat([flat.unsqueeze(0), changed]).reshape(-1, *shape[1:]).to(dtype)  # ((n+1)·B, C, H, W)
    change, scale = _changes(fn, rows, batch, n, what)
    if scale == 0.0:
        return torch.zeros(n, n, dtype=torch.float64)
    change = change / scale
    return torch.where(change > _noise(dtype), change, torch.zeros_like(change))


def assert_causal(
    fn: Callable[[Tensor], Any],
    shape: Sequence[int],
    *,
    order: Order = "raster",
    strict: bool = True,
    dependence: Dependence | None = None,
    values: Values = "binary",
    dtype: torch.dtype = torch.float32,
    base: Tensor | None = None,
    generator: torch.Generator | None = None,
    what: str = "the output",
) -> Tensor:
    """Each output position depends on earlier input positions, and on no others. Returns the dependence matrix.

    Args:
        fn: logits of a model, or one masked layer.
        shape: of the batch of base images, (B, C, H, W) or (B, n).
        order: in which positions are generated; `order[k]` comes as number k.
        strict: True if an output must not see its own position (logits, type-A mask); False if it also must see it
            (type-B mask, hidden layers).
        dependence: how much of what may be seen must be seen. "neighbours" (default for images): the pixels to the left
            and above, and the pixel itself unless strict. A number (0.9, default for vectors): this share of all
            allowed pairs. 0 skips the question; do so only where another check asks it.
        values, dtype, base, generator: see `dependence_matrix`.
        what: names the output in the message.

    Raises:
        Wrong: with a hint when the measured dependence fits another order exactly.
    """
    matrix = dependence_matrix(fn, shape, values=values, dtype=dtype, base=base, generator=generator, what=what)
    shape = tuple(shape if base is None else base.shape)
    grid = grid_of(shape)
    leaks = matrix * ~allowed_pairs(order, shape, strict)
    if leaks.any():
        i, j = argmax_index(leaks)
        later = "itself" if i == j else f"{name_of(j, grid)}, which comes later in {_order_name(order)}"
        raise Wrong(
            f"{what} leaks: at {name_of(i, grid)} it depends on {later} "
            f"(changes by {float(leaks[i, j]):.2g} of its size); {int((leaks > 0).sum())} of "
            f"{int((~allowed_pairs(order, shape, strict)).sum())} forbidden dependences are present",
            hint=_order_hint(matrix, shape, order, strict),
        )
    required = dependence if dependence is not None else ("neighbours" if len(grid) == 2 else 0.9)
    if required == "neighbours":
        offsets = [(0, -1), (-1, 0)] + ([] if strict else [(0, 0)])
        _assert_offsets(matrix, grid, offsets, what)
    else:
        _assert_share(matrix, shape, order, strict, float(required), what)
    return matrix


def assert_depends(
    fn: Callable[[Tensor], Any],
    shape: Sequence[int],
    offsets: Collection[tuple[int, int]],
    *,
    values: Values = "binary",
    dtype: torch.dtype = torch.float32,
    base: Tensor | None = None,
    generator: torch.Generator | None = None,
    what: str = "the output",
) -> Tensor:
    """Every output pixel depends on the input pixels at these (row, column) offsets, where they lie in the image."""
    matrix = dependence_matrix(fn, shape, values=values, dtype=dtype, base=base, generator=generator, what=what)
    _assert_offsets(matrix, grid_of(tuple(shape if base is None else base.shape)), offsets, what)
    return matrix


def receptive_field(matrix: Tensor, grid: Sequence[int], at: Sequence[int] | int) -> Tensor:
    """Input positions seen by the output at one place, a boolean tensor of the grid's shape."""
    index = at if isinstance(at, int) else at[0] * grid[1] + at[1]
    return (matrix[index] > 0).reshape(tuple(grid))


def assert_receptive_field(
    fn: Callable[[Tensor], Any],
    shape: Sequence[int],
    expected: Tensor | Collection[tuple[int, int]],
    at: tuple[int, int],
    *,
    values: Values = "real",
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
    what: str = "the output",
) -> Tensor:
    """The output at one pixel sees exactly the expected input pixels. Returns what was measured, boolean (H, W).

    Args:
        fn: logits of a model, or one masked layer.
        shape: (B, C, H, W) of the batch of base images.
        expected: boolean (H, W), or the collection of (row, column) that must be seen.
        at: (row, column) of the output pixel.
    """
    grid = grid_of(shape)
    matrix = dependence_matrix(fn, shape, values=values, dtype=dtype, generator=generator, what=what)
    seen = receptive_field(matrix, grid, at)
    wanted = expected.bool() if isinstance(expected, Tensor) else torch.zeros(tuple(grid), dtype=torch.bool)
    if not isinstance(expected, Tensor):
        for row, column in expected:
            wanted[row, column] = True
    if torch.equal(seen, wanted):
        return seen
    extra, lost = seen & ~wanted, wanted & ~seen
    parts = [
        f"{int(pixels.sum())} {verb}, e.g. {name_of(int(pixels.flatten().int().argmax()), grid)}"
        for pixels, verb in ((extra, "seen that should not be"), (lost, "not seen that should be"))
        if pixels.any()
    ]
    raise Wrong(
        f"{what} at pixel {tuple(at)} has the wrong receptive field: of {seen.numel()} input pixels "
        + " and ".join(parts),
        detail=f"seen {seen.int().tolist()}, expected {wanted.int().tolist()}",
    )


def _assert_offsets(matrix: Tensor, grid: Sequence[int], offsets: Collection[tuple[int, int]], what: str) -> None:
    for dr, dc in offsets:
        pairs = _pairs(grid, dr, dc)
        blind = [(i, j) for i, j in pairs if not float(matrix[i, j]) > 0.0]
        if blind:
            i, j = blind[0]
            raise Wrong(
                f"{what} at {name_of(i, grid)} does not depend on {name_of(j, grid)}, {_direction(dr, dc, grid)}; "
                f"it should ({len(blind)} of {len(pairs)} such pairs show no dependence)",
                hint=None if matrix.any() else "the output does not depend on the input at all",
            )


def _assert_share(matrix: Tensor, shape: Sequence[int], order: Order, strict: bool, share: float, what: str) -> None:
    if share <= 0.0:
        return
    grid = grid_of(shape)
    allowed = allowed_pairs(order, shape, strict)
    present = int(((matrix > 0) & allowed).sum())
    if present >= share * int(allowed.sum()):
        return
    i, j = first_index(allowed & ~(matrix > 0))
    raise Wrong(
        f"{what} depends on too little: {present} of the {int(allowed.sum())} dependences that {_order_name(order)} "
        f"allows are present, at least {math.ceil(share * int(allowed.sum()))} are needed; "
        f"e.g. at {name_of(i, grid)} it does not depend on {name_of(j, grid)}",
        hint=None if matrix.any() else "the output does not depend on the input at all",
    )


def _pairs(grid: Sequence[int], dr: int, dc: int) -> list[tuple[int, int]]:
    """(output, input) positions with the input at this offset from the output, both inside the image."""
    rows, columns = (1, grid[0]) if len(grid) == 1 else (grid[0], grid[1])
    return [
        (r * columns + c, (r + dr) * columns + c + dc)
        for r in range(rows)
        for c in range(columns)
        if 0 <= r + dr < rows and 0 <= c + dc < columns
    ]


def _direction(dr: int, dc: int, grid: Sequence[int]) -> str:
    if len(grid) == 1:
        side = "before" if dc < 0 else "after"
        return "the same place in its input" if dc == 0 else f"{abs(dc)} place{'s'[: abs(dc) != 1]} {side} it"
    names = {(0, -1): "its left neighbour", (-1, 0): "the pixel above it", (0, 0): "the same place in its input"}
    return names.get((dr, dc), f"{dr:+d} rows and {dc:+d} columns away")


def _order_hint(matrix: Tensor, shape: Sequence[int], order: Order, strict: bool) -> str | None:
    """Another order that the measured dependence fits exactly, and only one."""

    def fits(other: Order, own: bool) -> bool:
        return not (matrix * ~allowed_pairs(other, shape, not own)).any()

    if strict and fits(order, own=True):
        return "everything else is causal: only the own position is visible, as under a type-B mask in the first layer"
    others: list[Literal["raster", "column-major", "reverse raster"]] = ["raster", "reverse raster"]
    others += ["column-major"] if len(grid_of(shape)) == 2 else []
    names = [o for o in others if o != order and fits(o, own=not strict)]
    return f"the dependence is causal in {names[0]} order instead" if len(names) == 1 else None


def _order_name(order: Order) -> str:
    return f"{order} order" if isinstance(order, str) else "the given order"


def _draw(shape: tuple[int, ...], values: Values, generator: torch.Generator | None) -> Tensor:
    if values == "binary":
        return torch.randint(0, 2, shape, generator=generator).to(torch.float64)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _changes(fn: Callable[[Tensor], Any], rows: Tensor, batch: int, n: int, what: str) -> tuple[Tensor, float]:
    """The largest change of each output under each input, (n_out, n_in), and the largest output; chunk by chunk.

    Args:
        rows: the base images, then for each position the same with that position changed, ((n + 1) · batch, ...).
    """
    base, scale, changes = None, 0.0, []
    for chunk in torch.split(rows, max(ROWS // batch, 1) * batch):
        out = _positions(fn, chunk, what).reshape(len(chunk) // batch, batch, n, -1)
        base = out[0] if base is None else base
        if out.shape[1:] != base.shape:
            raise Wrong(f"{what} has {base.shape[-1]} features for some images and {out.shape[-1]} for others")
        scale = max(scale, float(out.abs().max()))
        changes.append((out - base).abs().amax(dim=(1, 3)))  # (inputs, n_out)
    return torch.cat(changes)[1:].t(), scale


def _positions(fn: Callable[[Tensor], Any], rows: Tensor, what: str) -> Tensor:
    laid_out = by_position(as_tensor(fn(rows), what), tuple(rows.shape), what)
    return as_double(assert_finite(assert_count(laid_out, LARGEST, what), what))


def _noise(dtype: torch.dtype) -> float:
    """Relative changes below this are rounding: rows of one batch may take different paths through a kernel."""
    return 1e-11 if dtype == torch.float64 else 1e-5
