"""Whether a trained flow is what it should be: made of couplings, and a bijection one can rely on.

What a layer is called or how it is written does not matter, only what it does at a few of its own inputs, seen in its
measured Jacobian.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import call, contents, jacobian_blocks
from autograder.vocabulary.flows import assert_inverse
from autograder.vocabulary.functions import assert_same_in_any_company
from autograder.vocabulary.jacobians import result_part
from autograder.vocabulary.tensors import as_double, assert_close, tolerance_of

SAME = 1e-6  # of the largest derivative of a layer: two derivatives that are one; in float32 a thousand times as much


def assert_coupling_flow(
    flow: Any, x: Tensor, *, at_least: int = 1, elementwise_first: bool = False, what: str = "the flow"
) -> None:
    """A flow's `layers` are affine couplings and affine maps, each one layer, and `forward` takes them in order.

    A layer with the same Jacobian at every point is affine. Any other must be a true affine coupling: some entries pass
    exactly, each of the others is scaled by a number that no entry among them changes, and shifted. Maps that are no
    couplings (a table of quantiles, a triangular map) are none, whatever they are called.

    Args:
        flow: a module whose `layers` can be indexed; layers return `(result, logdet)`.
        x: at least four data points, (B, *), float64 by preference.
        at_least: true couplings that are asked for.
        elementwise_first: one layer before the first coupling may act on single entries, as a logit does. (Several of
            them, with rotations between, are a flow of their own that needs no coupling.)
    """
    if len(x) < 4:
        raise AuthorError("at least four points are needed to see a Jacobian change")
    h, found, given, single = x, 0, len(flow.layers), elementwise_first
    for number in range(given):
        layer = flow.layers[number]
        kind = _kind(layer, h, f"layer {number} of {what}")
        allowed = kind in ("affine", "coupling") or (kind == "elementwise" and single and not found)
        if not allowed:
            alone = " (it acts on single entries)" if kind == "elementwise" else ""
            raise Wrong(
                f"layer {number} of {what} is neither an affine map nor an affine coupling: its Jacobian changes from "
                f"point to point otherwise than a coupling's{alone}"
            )
        found += kind == "coupling"
        single = single and kind != "elementwise"
        h = result_part(call(layer, h, mode="eval"), 0, f"layer {number}")
    if found < at_least:
        raise Wrong(
            f"{what} should have at least {at_least} affine couplings, whose scale depends on what they let pass; "
            f"it has {found}"
        )
    whole = result_part(contents(call(flow, x, mode="eval")), 0, what)
    tolerance = 1e3 * tolerance_of(x.dtype).rtol
    assert_close(whole.flatten(1), h.flatten(1), f"{what}, beside its layers one after another,", atol=tolerance)


def assert_bijection(
    flow: Any,
    x: Tensor,
    z: Tensor,
    *,
    generator: torch.Generator | None = None,
    atol: float = 1e-4,
    nudge: float = 1e-6,
    jump: float = 1e-2,
    share: float = 0.9,
    what: str = "the flow",
) -> None:
    """A trained flow and its `inverse` undo each other, row by row, and `inverse` does not hide a table in last digits.

    A trained flow may send a little noise so far out that nothing brings it back (there a logit is saturated): of the
    noise, `share` of the rows must return; of the data, all.

    A row's answer must be the same in any company, so that a flow can not be one thing to few rows and another to many:
    give all the rows about which something else is asked, or as many.

    Args:
        x, z: data and noise of the judge's, (B, *), at least four rows each, float64 by preference.
        atol: accepted distance of a way there and back.
        nudge, jump, share: when z moves by about `nudge`, `share` of the results move by less than `jump`.

    Raises:
        Wrong: with the direction, and how far off it is.
    """
    inverse = f"{what}'s `inverse`"
    kept = z[_returns(flow, z, atol, share, what)]
    assert_inverse(flow, flow.inverse, x, kept, atol=atol, rtol=0.0, what=what, inverse_what=inverse)

    def there(data: Tensor) -> Tensor:
        return result_part(contents(call(flow, data, mode="eval")), 0, what).flatten(1)

    def back(noise: Tensor) -> Tensor:
        return result_part(contents(call(flow.inverse, noise, mode="eval")), 0, inverse).flatten(1)

    assert_same_in_any_company(there, x, generator=generator, tolerance=atol / 100, what=what)
    assert_same_in_any_company(back, z, generator=generator, tolerance=atol / 100, what=inverse)
    moved = nudge * torch.randn(z.shape, generator=generator, dtype=z.dtype)
    calm = float(((as_double(back(z + moved)) - as_double(back(z))).abs().amax(1) <= jump).double().mean())
    if not calm >= share:
        raise Wrong(
            f"{inverse} jumps: when z moves by {nudge:g}, {1 - calm:.0%} of its results move by more than {jump:g}, at "
            f"most {1 - share:.0%} may"
        )


def _returns(flow: Any, z: Tensor, atol: float, share: float, what: str) -> Tensor:
    """Which rows of the noise come back, (B,) of bool; all where too few do, so that a complaint names them."""
    all_of_them = torch.ones(len(z), dtype=torch.bool)
    there = result_part(call(flow.inverse, z, mode="eval", seed=0), 0, f"{what}'s `inverse`")
    parts = contents(call(flow, there, mode="eval", seed=0))
    back = parts[0] if isinstance(parts, tuple | list) and parts else None
    if not isinstance(back, Tensor) or back.numel() != z.numel() or back.is_complex():
        return all_of_them
    near = (as_double(back).reshape(len(z), -1) - as_double(z).flatten(1)).abs().amax(1) <= atol
    return near if float(near.double().mean()) >= share else all_of_them


def _kind(layer: Any, x: Tensor, what: str) -> str:
    blocks = _blocks(layer, x, what)
    same = (SAME if x.dtype == torch.float64 else 1e3 * SAME) * max(float(blocks.abs().max()), 1.0)
    if bool(((blocks - blocks[:1]).abs() <= same).all()):
        return "affine"
    D = blocks.shape[1]
    off = blocks * (1 - torch.eye(D, dtype=blocks.dtype))
    if bool((off.abs() <= same).all()):
        return "elementwise"
    return "coupling" if _scaled_by_what_passes(layer, x, blocks, same, what) else "other"


def _scaled_by_what_passes(layer: Any, x: Tensor, blocks: Tensor, same: float, what: str) -> bool:
    """A row is one of the identity, or holds of the entries that do not pass its own, scaled by those that do."""
    D = blocks.shape[1]
    passes = ((blocks - torch.eye(D, dtype=blocks.dtype)).abs() <= same).all(2).all(0)  # (D,)
    if not passes.any() or passes.all():
        return False
    moved = ~passes
    own = blocks[:, moved][:, :, moved]
    if bool(((own * (1 - torch.eye(own.shape[1], dtype=own.dtype))).abs() > same).any()):
        return False
    other = x.flatten(1).clone()
    other[:, moved] = other.roll(1, 0)[:, moved]
    again = _blocks(layer, other.reshape(x.shape), what)[:, moved][:, :, moved]
    return bool(((again - own).abs() <= same).all())


def _blocks(layer: Any, x: Tensor, what: str) -> Tensor:
    blocks = as_double(jacobian_blocks(layer, x, output=0, mode="eval"))
    if blocks.shape[1] != blocks.shape[2] or not bool(torch.isfinite(blocks).all()):
        raise Wrong(f"{what} should keep the number of dimensions and have finite derivatives")
    return blocks
