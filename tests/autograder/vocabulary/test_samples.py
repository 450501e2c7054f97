"""Diversity and memorisation, calibrated by held-out data: bars, where copies are common, and real 8×8 digits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from autograder.checks import (
    assert_diverse,
    assert_modes_covered,
    assert_not_memorised,
)
from autograder.vocabulary.samples import nearest_distance
from tests.autograder.vocabulary.bars import bars
from tests.autograder.vocabulary.students import fails, generator


def digits(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Binary 8×8 digits: training set, held-out set, and a third set that plays an honest model's samples."""
    x = torch.as_tensor(load_digits().images > 7).float().unsqueeze(1)
    x = x[torch.randperm(len(x), generator=generator(seed))]
    return x[:1000], x[1000:1400], x[1400:]


def flip(x: Tensor, pixels: int, seed: int = 0) -> Tensor:
    """Exactly this many pixels of each image inverted."""
    flat = x.flatten(1).clone()
    where = torch.rand(flat.shape, generator=generator(seed)).argsort(1)[:, :pixels]
    return flat.scatter(1, where, 1 - flat.gather(1, where)).reshape(x.shape)


def mixed(copies: Tensor, honest: Tensor, share: float) -> Tensor:
    k = round(share * len(honest))
    return torch.cat([copies[:k], honest[k:]])


@pytest.mark.parametrize("seed", range(20))
def test_fresh_data_are_diverse_and_not_memorised(seed: int) -> None:
    train, held_out, fresh = digits(seed)
    assert_diverse(fresh, held_out)
    assert_not_memorised(fresh, train, held_out)
    assert_diverse(bars(500, seed), bars(500, seed + 1000))
    assert_not_memorised(bars(500, seed), bars(8000, 5), bars(2000, seed + 1000))


@pytest.mark.parametrize("seed", range(5))
def test_a_blurrier_or_noisier_honest_model_is_not_called_a_copyist(seed: int) -> None:
    train, held_out, fresh = digits(seed)
    typical = (torch.nn.functional.avg_pool2d(fresh, 3, 1, 1) > 0.5).float()  # smoother than data
    assert_not_memorised(typical, train, held_out)
    assert_not_memorised(flip(fresh, 6, seed), train, held_out)
    assert_not_memorised(bars(500, seed, flip=0.03), bars(500, 5), bars(2000, seed + 1000))


@pytest.mark.parametrize(
    "cheat",
    [
        lambda train, fresh: train[: len(fresh)],
        lambda train, fresh: flip(train[: len(fresh)], 1),
        lambda train, fresh: flip(train[: len(fresh)], 2),
        lambda train, fresh: flip(train[: len(fresh)], 3),
        lambda train, fresh: mixed(train, fresh, 0.6),
        lambda train, fresh: train[:1].expand_as(fresh),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_stored_digits_are_seen_also_with_noise(cheat: Callable[[Tensor, Tensor], Tensor], seed: int) -> None:
    train, held_out, fresh = digits(seed)
    fails(lambda: assert_not_memorised(cheat(train, fresh), train, held_out), says="copies of training data")


def test_stored_bars_are_seen_though_half_of_fresh_bars_occur_in_training_too() -> None:
    train, held_out = bars(2000, 5), bars(2000, 6)
    fails(lambda: assert_not_memorised(train[:500], train, held_out), says="copies")
    assert_not_memorised(bars(500, 7), train, held_out)


def test_noise_on_continuous_copies_is_seen() -> None:
    train, held_out, fresh = (torch.randn(n, 8, generator=generator(n)) for n in (2000, 1000, 600))
    assert_not_memorised(fresh, train, held_out)
    fails(lambda: assert_not_memorised(train[:600] + 0.05 * torch.randn(600, 8), train, held_out), says="copies")
    fails(lambda: assert_not_memorised(fresh * torch.nan, train, held_out), says="finite")


@pytest.mark.parametrize(
    ("cheat", "says"),
    [
        (lambda x: x[:1].expand_as(x), "is 0, 0% of real data's"),
        (lambda x: x[:5].repeat(80, 1, 1, 1)[: len(x)], "different ones"),
        (lambda x: x[:100].repeat(4, 1, 1, 1)[: len(x)], "different ones"),
        (lambda x: flip(x[:1].expand_as(x), 3), "mean squared distance"),
        (lambda x: torch.zeros_like(x), "mean squared distance"),
        (lambda x: x * torch.nan, "finite"),
        (lambda x: None, "should be a tensor"),
    ],
)
def test_samples_without_diversity_fail(cheat: Callable[[Tensor], Tensor], says: str) -> None:
    _, held_out, fresh = digits()
    fails(lambda: assert_diverse(cheat(fresh), held_out), says=says)


@pytest.mark.parametrize("n", [20, 200])
def test_a_sampler_of_exactly_the_asked_diversity_fails_no_more_often_than_stated(n: int) -> None:
    # At level 0.1, so that failures would be seen: the law of the data itself, all of whose diversity is asked for.
    failures = 0
    for seed in range(300):
        try:
            assert_diverse(bars(n, seed), bars(n, seed + 1000), at_least=1.0, false_failure=0.1)
        except Exception:
            failures += 1
    assert failures <= 30


def test_one_orientation_of_bars_is_diverse_enough_to_need_another_check() -> None:
    # A limit: losing half the modes keeps most of the pairwise distance. `assert_modes_covered` sees it.
    x = bars(2000, 0, flip=0.0)
    modes = torch.unique(bars(5000, 1, flip=0.0), dim=0)
    assert len(modes) == 30
    rows = x[(x[..., :1] == x).all((1, 2, 3))]  # every row constant: horizontal bars
    assert_diverse(rows[:500], x[:500])
    assert_modes_covered(x, modes, radius=0.5, share=0.01, near=0.99)
    fails(lambda: assert_modes_covered(rows, modes, radius=0.5, share=0.01, near=0.99), says="14 of 30")


def test_modes_need_samples_near_them() -> None:
    modes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    x = modes.repeat(100, 1) + 0.3 * torch.randn(300, 2, generator=generator())
    assert_modes_covered(x, modes, radius=1.5, share=0.3, near=0.95)
    fails(lambda: assert_modes_covered(x + 2, modes, radius=1.5, share=0.1, near=0.85), says="miss the modes")
    fails(lambda: assert_modes_covered(x[0::3], modes, radius=1.5, share=0.1, near=0.85), says="2 of 3")
    fails(lambda: assert_modes_covered(x * torch.nan, modes, radius=1.5, share=0.1, near=0.85), says="finite")


def test_nearest_distances_equal_brute_force() -> None:
    a, b = torch.randn(40, 2, 3, generator=generator()), torch.randn(70, 2, 3, generator=generator(1))
    oracle = (a.flatten(1)[:, None] - b.flatten(1)[None]).double().pow(2).sum(2).amin(1)
    assert torch.allclose(nearest_distance(a, b), oracle, atol=1e-9)
