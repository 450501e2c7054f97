"""Normalizing flows: is it a bijection, and is the volume right?

A map is handed over as the function or handle itself, so that its Jacobian can be measured where its graph lives: a
block for each sample, never a matrix over the batch. It returns `(result, logdet)`, logdet (B,) in nats, of the
direction just taken; `output` and `logdet` say which parts these are, None for `output` where only the result returns.
Modules are asked in evaluation mode unless told otherwise. A student's log-determinant is never used for a likelihood:
`change_of_variables` takes the measured one.

Use inputs on which mistakes show: weights perturbed away from zero, matrices that do not commute, more than one
channel, sides of different length, batches that differ from both, points of the judge's own at either end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import Mode, call, contents
from autograder.vocabulary.calls import assert_tuple
from autograder.vocabulary.jacobians import assert_same_size, measured_blocks, result_part
from autograder.vocabulary.tensors import (
    Tolerance,
    agree,
    as_double,
    as_tensor,
    assert_close,
    assert_real,
    assert_shape,
    tolerance_of,
)
from autograder.vocabulary.words import in_words

LOG_2PI = math.log(2 * math.pi)
LOOSE = {torch.float32: Tolerance(1e-3, 1e-3)}  # a measured determinant in float32; float64 keeps the default


def assert_inverse(
    forward: Callable[..., Any],
    inverse: Callable[..., Any],
    x: Tensor,
    z: Tensor,
    *args: Any,
    output: int | None = 0,
    mode: Mode | None = "eval",
    seed: int | None = 0,
    atol: float | None = None,
    rtol: float | None = None,
    what: str = "`forward`",
    inverse_what: str = "`inverse`",
) -> None:
    """Two maps undo each other, whichever is taken first.

    Images go back in another order than they came, after both maps have seen other points, so that a map which
    remembers what it was last given does not pass.

    Args:
        x: data of the judge's, (B, *), for inverse(forward(x)) = x.
        z: noise of the judge's own, not images of x, for forward(inverse(z)) = z: a map that reaches
            only a part of space fails there.
        args: further arguments of both, the same for all samples: a mask, a network.
        output: which part of the result goes on; None where a map returns just that.
    """
    if len(x) == 0 or len(z) == 0:
        raise AuthorError("both ends need at least one sample")
    conditions: dict[str, Any] = {"mode": mode, "seed": seed}
    image = result_part(call(forward, x, *args, **conditions), output, what)
    source = result_part(call(inverse, z, *args, **conditions), output, inverse_what)
    for made, given, name in ((image, x, what), (source, z, inverse_what)):
        assert_same_size(made, given, name)
    back = result_part(call(inverse, image.flip(0), *args, **conditions), output, inverse_what).flip(0)
    forth = result_part(call(forward, source.flip(0), *args, **conditions), output, what).flip(0)
    near: dict[str, Any] = {"atol": atol, "rtol": rtol}
    assert_close(back, x, f"{inverse_what} after {what} at {in_words(x)}", **near)
    assert_close(forth, z, f"{what} after {inverse_what} at {in_words(z)}", **near)


def assert_log_det(
    fn: Callable[..., Any],
    x: Tensor,
    *args: Any,
    output: int = 0,
    logdet: int = 1,
    undone_by: Callable[..., Any] | None = None,
    mode: Mode | None = "eval",
    seed: int | None = 0,
    atol: float | None = None,
    rtol: float | None = None,
    what: str = "`forward`",
) -> None:
    """The log-determinant that a map returns is ln |det| of its own measured Jacobian, one number a sample.

    Args:
        fn: returns at least two parts; works on whichever direction it goes. float64 by preference.
        x: points, (B, *), B ≥ 2 and different from the numbers in a sample, so that a wrong sum shows.
        args: further arguments, the same for all samples.
        output, logdet: which parts of the result are meant.
        undone_by: the inverse of `fn`, already verified, whose Jacobian is measured in the place of fn's: for a map
            that may rightly work without gradients, as a loop over coordinates does.
    """
    result, said = _pair(call(fn, x, *args, mode=mode, seed=seed), output, logdet, what)
    z = assert_real(result, f"the result of {what}")
    assert_same_size(z, x, what)
    conditions: dict[str, Any] = {"output": output, "mode": mode, "seed": seed}
    if undone_by is None:
        expected = torch.linalg.slogdet(measured_blocks(fn, x, *args, **conditions, what=what))[1]
    else:
        blocks = measured_blocks(undone_by, z, *args, **conditions, what=f"the map that undoes {what}")
        expected = -torch.linalg.slogdet(blocks)[1]
    said = _one_a_sample(said, expected, what)
    tolerance = LOOSE.get(said.dtype, tolerance_of(said.dtype))
    pixels = math.prod(x.shape[2:]) if x.dim() > 2 else 1
    assert_close(
        said,
        expected,
        f"the log-determinant of {what} at {in_words(x)}",
        atol=tolerance.atol if atol is None else atol,
        rtol=tolerance.rtol if rtol is None else rtol,
        sizes={name: n for name, n in (("pixels", pixels), ("dimensions", x[0].numel())) if n > 1},
        alternatives={
            "summed over the batch: one number for each sample is asked for": expected.sum().expand(len(x)),
            "averaged over the batch: one number for each sample is asked for": expected.mean().expand(len(x)),
            "this is the size of the determinant, not its logarithm": expected.exp(),
        },
    )


def change_of_variables(
    forward: Callable[..., Any],
    x: Tensor,
    *args: Any,
    base_log_prob: Callable[[Tensor], Tensor] | None = None,
    output: int | None = 0,
    mode: Mode | None = "eval",
    seed: int | None = 0,
    what: str = "`forward`",
) -> Tensor:
    """ln p(x) in nats, (B,), float64, by the judge: ln base(z) + ln |det ∂z/∂x|, the Jacobian measured.

    It is a density only of a map that is one-to-one: verify this with `assert_inverse`, or its integral.

    Args:
        base_log_prob: of flattened noise (B, D); the standard normal law unless given.
    """
    result = call(forward, x, *args, mode=mode, seed=seed)
    z = as_double(assert_real(result_part(result, output, what), f"the result of {what}"))
    assert_same_size(z, x, what)
    blocks = measured_blocks(forward, x, *args, output=output, mode=mode, seed=seed, what=what)
    flat = z.flatten(1)
    base = -0.5 * (flat.square() + LOG_2PI).sum(1) if base_log_prob is None else as_double(base_log_prob(flat))
    log_prob: Tensor = base + torch.linalg.slogdet(blocks)[1]
    return log_prob


def assert_passes(
    fn: Callable[..., Any],
    x: Tensor,
    mask: Tensor,
    *args: Any,
    output: int | None = 0,
    others_move: bool = True,
    mode: Mode | None = "eval",
    seed: int | None = 0,
    what: str = "the layer",
) -> None:
    """Entries with mask 1 come out exactly as they went in; those with 0 are changed in some sample.

    Args:
        mask: zeros and ones in the shape of one sample.
        others_move: False where a layer may rightly be the identity.
    """
    if mask.shape != x.shape[1:] or bool(((mask != 0) & (mask != 1)).any()):
        raise AuthorError(f"a mask holds 0 and 1 in the shape {tuple(x.shape[1:])}, got {tuple(mask.shape)}")
    z = assert_shape(
        result_part(call(fn, x, *args, mode=mode, seed=seed), output, what), x.shape, f"the result of {what}"
    )
    error = (as_double(assert_real(z, f"the result of {what}")) - as_double(x)).abs().amax(0)
    passes = mask.cpu() == 1
    bitwise = tolerance_of(x.dtype).rtol / 1e2 * max(float(x.abs().max()), 1.0)
    changed = passes & ~(error <= bitwise)
    if changed.any():
        raise Wrong(
            f"{what} should let {int(passes.sum())} of {passes.numel()} entries of a sample pass unchanged, but "
            f"changes {int(changed.sum())} of them by up to {float(error[changed].max()):.3g} (asked at {in_words(x)})",
            hint="the mask is used the other way round: it is the others that pass"
            if _exchanged(error, passes)
            else None,
        )
    still = ~passes & ~(error > bitwise)
    if others_move and still.any():
        raise Wrong(
            f"{what} should change every entry that the mask does not let pass, but {int(still.sum())} of "
            f"{int((~passes).sum())} stay as they were in all {len(x)} samples"
        )


def _exchanged(error: Tensor, passes: Tensor) -> bool:
    return bool((~passes).any()) and bool((error[~passes] == 0).all()) and bool((error[passes] > 0).all())


def assert_every_coordinate_moves(
    fn: Callable[..., Any],
    x: Tensor,
    *args: Any,
    beyond_affine: bool = True,
    output: int | None = 0,
    mode: Mode | None = "eval",
    seed: int | None = 0,
    what: str = "the flow",
) -> None:
    """Nothing in the result is an affine function of the argument: every coordinate was transformed in some layer.

    Masks that do not alternate pass every test of inverse and volume, and leave half of the data what it was. Layers
    that scale, permute or mix linearly do not hide them here: no combination of coordinates may have the same
    derivative in all samples.

    Args:
        x: at least two different samples; four or more where a coordinate depends on few others.
        beyond_affine: False for a flow of affine maps, where it is enough that no coordinate is copied.
    """
    if len(x) < 2:
        raise AuthorError("at least two samples are needed to see a derivative change")
    blocks = measured_blocks(fn, x, *args, output=output, mode=mode, seed=seed, what=what)
    D = blocks.shape[1]
    if beyond_affine:
        changes = (blocks[1:] - blocks[:1]).transpose(0, 1).reshape(D, -1)  # (D, (B − 1) D)
        sizes = torch.linalg.svdvals(changes)
        small = (1e-9 if x.dtype == torch.float64 else 1e-5) * max(float(sizes[0]), float(blocks.abs().max()))
        still = D - int((sizes > small).sum())
        kind = "affine functions of the data, alone or in a combination"
    else:
        unit = torch.eye(D, dtype=blocks.dtype)
        copied = (blocks[:, :, None] - unit).abs().amax((0, 3)) <= tolerance_of(x.dtype).rtol  # (D, D)
        still = int(copied.any(1).sum())
        kind = "copies of coordinates of the data"
    if still:
        raise Wrong(
            f"{what} should transform every coordinate, but {still} of the {D} of its result are {kind} "
            f"(asked at {in_words(x)})"
        )


def _pair(result: Any, output: int, logdet: int, what: str) -> tuple[Any, Any]:
    n = max(output, logdet) + 1
    result = contents(result)
    if not isinstance(result, tuple | list) or len(result) < n:
        assert_tuple(result, n, f"the result of {what}", names=("result", "logdet") if n == 2 else ())
    return result[output], result[logdet]


def _one_a_sample(said: Any, expected: Tensor, what: str) -> Tensor:
    """The log-determinant (B,), or what its shape says of the sum that was taken."""
    got = as_tensor(said, f"the log-determinant of {what}")
    if got.shape == expected.shape:
        return got
    sums = {
        "summed over the batch: one number for each sample is asked for": (expected.sum(), got),
        "averaged over the batch: one number for each sample is asked for": (expected.mean(), got),
        "these are the terms of single entries: sum them over all dimensions but the batch": (
            expected,
            got.flatten(1).sum(1) if got.dim() > 1 and got.numel() > len(got) == len(expected) else got,
        ),
    }
    tolerance = Tolerance(1e-3, 1e-4)
    for hint, (wanted, found) in sums.items():
        if not found.is_complex() and agree(as_double(found), wanted, tolerance):
            shape = tuple(got.shape)
            asked = f"the log-determinant of {what} should have shape {tuple(expected.shape)}, got {shape}"
            raise Wrong(asked, hint=hint)
    return assert_shape(got, expected.shape, f"the log-determinant of {what}")
