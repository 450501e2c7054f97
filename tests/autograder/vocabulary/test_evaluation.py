"""Numbers that judge samples: right forms pass on every kind of input, wrong ones fail where they show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor

from autograder.checks import assert_frechet, assert_precision_recall
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64
Gaussian = tuple[Tensor, Tensor]


def gaussian(kind: str, seed: int) -> Gaussian:
    root = torch.randn(4, 4, dtype=F64, generator=generator(seed))
    if kind == "rank one":
        root = root[:, :1]
    if kind == "zero":
        root = 0 * root
    if kind == "diagonal":
        root = torch.diag(root.diagonal())
    return torch.randn(4, dtype=F64, generator=generator(seed + 50)), root @ root.T


PAIRS = [("full", "full"), ("rank one", "full"), ("rank one", "rank one"), ("zero", "full"), ("diagonal", "diagonal")]


def by_scipy(m1: Tensor, c1: Tensor, m2: Tensor, c2: Tensor) -> float:
    root = linalg.sqrtm(c1.numpy() @ c2.numpy()).real
    return float((m1 - m2).square().sum() + (c1 + c2).trace() - 2 * np.trace(root))


def by_eigenvalues(m1: Tensor, c1: Tensor, m2: Tensor, c2: Tensor) -> Tensor:
    values = torch.linalg.eigvals(c1 @ c2).real.clamp(min=0)
    return (m1 - m2).square().sum() + c1.trace() + c2.trace() - 2 * values.sqrt().sum()


def by_symmetric_roots(m1: Tensor, c1: Tensor, m2: Tensor, c2: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(c1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    inner = torch.linalg.eigvalsh(root @ c2 @ root).clamp(min=0).sqrt().sum()
    return (m1 - m2).square().sum() + c1.trace() + c2.trace() - 2 * inner


@pytest.mark.parametrize("form", [by_eigenvalues, by_symmetric_roots])
@pytest.mark.parametrize("pair", PAIRS)
def test_right_frechet_distances_pass(form: Callable[..., Any], pair: tuple[str, str]) -> None:
    for seed in range(20):
        assert_frechet(form, *gaussian(pair[0], seed), *gaussian(pair[1], seed + 100))
    assert_frechet(form, *gaussian(pair[0], 0), *gaussian(pair[0], 0))


def test_right_distances_by_scipy_and_by_hand_pass() -> None:
    for seed in range(20):
        assert_frechet(by_scipy, *gaussian("full", seed), *gaussian("full", seed + 100))
    one = torch.ones(1, 1, dtype=F64)
    assert_frechet(lambda *_: 2.0, 0 * one[0], one, one[0], 4 * one)  # N(0, 1) and N(1, 4): 1 + (2 − 1)²


def frechet(root: str) -> Callable[..., Tensor]:
    def distance(m1: Tensor, c1: Tensor, m2: Tensor, c2: Tensor) -> Tensor:
        exact = by_symmetric_roots(m1, c1, m2, c2)
        apart, traces = (m1 - m2).square().sum(), c1.trace() + c2.trace()
        cross = (apart + traces - exact) / 2
        return {
            "entries": apart + traces - 2 * (c1 @ c2).clamp(min=0).sqrt().trace(),
            "no two": apart + traces - cross,
            "not squared": apart.sqrt() + exact - apart,
            "no means": exact - apart,
            "root": exact.sqrt(),
            "float32": exact * (1 + 1e-4),
            "complex": exact + 0j,
            "NaN": exact * torch.nan,
            "vector": exact[None],
            "one order": exact if float(m1[0]) < float(m2[0]) else exact + 1,
        }[root]

    return distance


@pytest.mark.parametrize(
    ("mistake", "hint"),
    [
        ("entries", "root of each entry"),
        ("no two", "factor 2"),
        ("not squared", "‖Δ‖ is not squared"),
        ("no means", "left out"),
        ("root", "square root of the distance"),
        ("float32", None),
        ("complex", None),
        ("NaN", None),
        ("vector", ""),
        ("one order", None),
    ],
)
def test_wrong_frechet_distances_fail(mistake: str, hint: str | None) -> None:
    for seed in range(5):
        pair = (*gaussian("full", seed), *gaussian("full", seed + 100))
        fails(lambda pair=pair: assert_frechet(frechet(mistake), *pair), hint=hint)


def test_commuting_covariances_hide_the_root_of_entries_and_others_do_not() -> None:
    one, other = gaussian("diagonal", 0), gaussian("diagonal", 1)
    assert_frechet(frechet("entries"), *one, *other)
    words = "of two Gaussians whose covariances do not commute"
    fault = fails(lambda: assert_frechet(frechet("entries"), *gaussian("full", 0), *gaussian("full", 1), asked=words))
    assert fault.message.startswith(f"the Fréchet distance {words} is off by ")
    assert ": yours " in fault.message
    with pytest.raises(ValueError, match="symmetric and has no negative"):
        assert_frechet(by_scipy, *one, other[0], -other[1] - torch.eye(4))


# precision and recall


def neighbours(
    real: Tensor, fake: Tensor, k: int, style: str = "topk"
) -> tuple[Tensor, Tensor] | list[float] | Tensor | float:
    def part(points: Tensor, centres: Tensor) -> Tensor:
        between, to = torch.cdist(centres, centres), torch.cdist(points, centres)
        if style == "kthvalue":
            radius = between.kthvalue(k + 1, dim=1).values
        elif style == "self":
            radius = between.topk(k, largest=False).values[:, -1]
        elif style == "other set":
            radius = to.T.topk(k, largest=False).values[:, -1]
        else:
            radius = between.topk(k + 1, largest=False).values[:, -1]
        return (to <= radius).any(1).double().mean()

    precision, recall = part(fake, real), part(real, fake)
    if style == "exchanged":
        return recall, precision
    if style == "floats":
        return [float(precision), float(recall)]
    if style == "NaN":
        return precision * torch.nan, recall
    return {"stacked": torch.stack([precision, recall]), "one": precision}.get(style, (precision, recall))


def overlapping(seed: int = 0, shift: float = 1.0) -> tuple[Tensor, Tensor]:
    real = torch.randn(80, 2, dtype=F64, generator=generator(seed))
    return real, 1.5 * torch.randn(60, 2, dtype=F64, generator=generator(seed + 1)) + shift


@pytest.mark.parametrize("style", ["topk", "kthvalue", "floats"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_right_precision_and_recall_pass(style: str, k: int) -> None:
    for seed in range(10):
        assert_precision_recall(lambda *a: neighbours(*a, style), *overlapping(seed), k)


def test_values_by_hand_pass() -> None:
    line = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=F64)
    assert_precision_recall(lambda *_: (0.5, 1.0), line, torch.tensor([[1.4], [10.0]], dtype=F64), 1)
    twice = torch.tensor([[0.0], [0.0], [1.0], [5.0]], dtype=F64)
    fakes = torch.tensor([[-2.0], [0.5], [3.0]], dtype=F64)
    assert_precision_recall(lambda r, f, k: (2 / 3, neighbours(r, f, k)[1]), twice, fakes, 2)  # type: ignore[index]


@pytest.mark.parametrize(
    ("style", "hint"),
    [
        ("self", "its own nearest neighbour"),
        ("other set", "radii that reach to"),
        ("exchanged", "exchanged"),
        ("NaN", None),
        ("stacked", None),
        ("one", None),
    ],
)
def test_wrong_precision_and_recall_fail(style: str, hint: str | None) -> None:
    for seed in (0, 4, 7):
        fails(lambda s=seed: assert_precision_recall(lambda *a: neighbours(*a, style), *overlapping(s), 2), hint=hint)


def test_an_author_takes_points_that_do_not_tie_and_enough_of_them() -> None:
    grid = torch.arange(5, dtype=F64)[:, None]
    with pytest.raises(ValueError, match="ties with a radius"):
        assert_precision_recall(neighbours, grid, grid + 1.0, 1)
    with pytest.raises(ValueError, match="k lies between 1 and"):
        assert_precision_recall(neighbours, grid, grid + 0.3, 5)
