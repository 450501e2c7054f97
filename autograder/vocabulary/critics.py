"""What critics estimate and are held to: bounds on divergences, and the largest singular value of a weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from autograder.errors import AuthorError, Wrong
from autograder.vocabulary.known_laws.adversarial import Divergence
from autograder.vocabulary.numbers import assert_number
from autograder.vocabulary.tensors import as_double


def assert_top_singular_value(
    value: Any, weight: Tensor, *, tolerance: float = 1e-6, asked: str = "", what: str = "the largest singular value"
) -> None:
    """A number is σ_max of a weight (out, *) flattened to (out, rest), up to a relative `tolerance`.

    Args:
        weight: what was asked about. Its second singular value is at most 0.9 of the first, else power iteration needs
            more steps than anybody takes: `weight_with_singular_values` makes one.
    """
    flat = as_double(weight).flatten(1)
    values = torch.linalg.svdvals(flat)
    right = float(values[0])
    if right == 0 or (len(values) > 1 and float(values[1]) > 0.9 * right):
        raise AuthorError(f"the singular values should stand apart, they begin {values[:3].tolist()}")
    wrong = {
        "this is the Frobenius norm": float(flat.norm()),
        "this is the square of the largest singular value": right**2,
        "this is the largest entry": float(flat.abs().max()),
        "this is the smallest singular value": float(values[-1]),
    }
    if weight.dim() == 4:
        wrong["this is that of the reshape to (out · in, k · k)"] = _top(as_double(weight).flatten(0, 1).flatten(1))
        wrong["this is that of the reshape to (in, out · k · k)"] = _top(as_double(weight).transpose(0, 1).flatten(1))
    wrong = {sentence: number for sentence, number in wrong.items() if abs(number - right) > 100 * tolerance * right}
    assert_number(value, right, what, tolerance=tolerance * right, asked=asked, alternatives=wrong)


def _top(matrix: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix)[0])


def assert_divergence_bound(
    bound: Callable[..., Any],
    real_counts: Sequence[int],
    fake_counts: Sequence[int],
    divergence: Divergence,
    *args: Any,
    output: int | None = None,
    sign: float = 1.0,
    generator: torch.Generator | None = None,
    what: str = "the bound",
) -> None:
    """`bound(t_real, t_fake, *args)` is E_p T − E_q f*(T): the divergence itself at the best critic, less elsewhere.

    p and q are laws over K states, given to the student as batches in which state k occurs as often as counted, so
    nothing is estimated.

    Args:
        real_counts, fake_counts: K whole numbers each, of unequal sums; those of the fakes are positive.
        args: passed on after the values of the critic, a handle of f* for example.
        output: part of a tuple that is meant.
        sign: −1 for a loss that is minimised.
    """
    p_counts, q_counts = torch.tensor(list(real_counts)), torch.tensor(list(fake_counts))
    if len(p_counts) != len(q_counts) or bool((q_counts < 1).any()) or int(p_counts.sum()) == int(q_counts.sum()):
        raise AuthorError("two laws over the same states, the fakes everywhere, in batches of unequal size")
    p, q = p_counts / p_counts.sum(dtype=torch.float64), q_counts / q_counts.sum(dtype=torch.float64)
    best = divergence.slope(p / q)
    if not bool(best.isfinite().all()):
        raise AuthorError("the best critic is infinite where p is 0: take a law without zeros")
    drawn = best - torch.rand(len(p), generator=generator, dtype=torch.float64)
    critics = {"of the best critic": best, "of a critic 0.1 below the best": best - 0.1, "of a drawn critic": drawn}
    for name, t in critics.items():
        right = float((p * t).sum() - (q * divergence.conjugate(t)).sum())
        got = bound(t.repeat_interleave(p_counts), t.repeat_interleave(q_counts), *args)
        if output is not None:
            if not isinstance(got, tuple | list) or len(got) <= output:
                raise Wrong(f"{what} should be part {output + 1} of a tuple")
            got = got[output]
        wrong = {"the sign is flipped": -sign * right, "f* is left out": sign * float((p * t).sum() - (q * t).sum())}
        assert_number(
            got, sign * right, what, tolerance=1e-6 * (1 + abs(right)), asked=name, alternatives=_apart(wrong)
        )


def _apart(wrong: dict[str, float]) -> dict[str, float]:
    """Only mistakes that give other values than each other."""
    return wrong if len({round(v, 6) for v in wrong.values()}) == len(wrong) else {}
