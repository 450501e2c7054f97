"""Digits drawn anew: whose they are, how they are made, and what simple models make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from reference_models import drawn_digits
from reference_models.drawn_digits import BLOCKS
from solutions.common import digits
from solutions.common.digit_baselines import binary_rows, mixture_nll, table_nll
from solutions.common.digits import ROWS, draw_digits, originals, write_digits


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equal_generators_give_equal_pictures_and_torch_s_own_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (draw_digits(50, "training", generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.images, other.images)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("side", [8, 12])
@pytest.mark.parametrize("threshold", [None, 0.42])
def test_pictures_have_the_side_and_the_values_asked_for(side: int, threshold: float | None) -> None:
    images, labels = draw_digits(300, "held out", generator(), side=side, threshold=threshold)
    assert images.shape == (300, 1, side, side)
    assert images.dtype == torch.float32
    assert labels.unique().tolist() == list(range(10))
    values = images.unique()
    assert values.tolist() == [0.0, 1.0] if threshold else (len(values) > 1000 and 0 <= values[0] < values[-1] <= 1)
    grey = draw_digits(300, "held out", generator(), side=side, threshold=None).images
    assert threshold is None or torch.equal(images, (grey > threshold).float())


def test_blocks_begin_where_somebody_starts_to_count() -> None:
    """Each writer of the set began with 0, 1, 2, …, 9; the seventh block lost its first digit."""
    target = load_digits().target
    for begin in BLOCKS:
        count = target[begin : begin + 10].tolist()
        assert count == ([*range(1, 10), 0] if begin == 906 else list(range(10)))
    assert all(row.start in BLOCKS for row in ROWS.values())
    assert ROWS["training"].stop in BLOCKS
    assert ROWS["held out"].stop == len(target)


@pytest.mark.parametrize("writers", ["training", "held out"])
def test_a_picture_is_made_of_two_digits_of_one_class_and_writer(
    writers: digits.Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without moves it is half of each, enlarged and averaged back, which is linear: its oracle is a matrix."""
    for move in ("TURN", "SHEAR", "LOG_SCALE", "SHIFT"):
        monkeypatch.setattr(drawn_digits, move, 0.0)
    monkeypatch.setattr(drawn_digits, "BLEND", (0.5, 0.5))
    images, labels = draw_digits(40, writers, generator(), threshold=None)
    found, rows = load_digits(), np.array(ROWS[writers])
    writer = np.searchsorted(BLOCKS, rows, side="right")
    # linear interpolation at −3/8, −1/8, 1/8, 3/8 of a pixel, averaged: 3/4 of it and 1/8 of each neighbour
    smooth = 0.75 * np.eye(8) + 0.125 * (np.eye(8, k=1) + np.eye(8, k=-1))
    smooth[0, 0] = smooth[-1, -1] = 0.875
    made = smooth @ (found.images[rows] / 16) @ smooth.T
    for image, label in zip(images[:, 0].numpy(), labels.tolist(), strict=True):
        best = np.inf
        for who in set(writer):
            own = made[(writer == who) & (found.target[rows] == label)]
            pairs = (own[:, None] + own[None]) / 2
            best = min(best, np.abs(pairs - image).max(axis=(2, 3)).min())
        assert best < 1e-5


def test_moves_are_as_large_as_stated() -> None:
    moves = drawn_digits._moves(40_000, generator()).double()
    scale = torch.linalg.det(moves[:, :, :2]).sqrt()
    assert scale.log().std() == pytest.approx(0.07, rel=0.05)
    turn = torch.atan2(moves[:, 1, 0], moves[:, 0, 0])
    assert turn.std() == pytest.approx(0.12, rel=0.05)
    assert (moves[:, :, 0] * moves[:, :, 1]).sum(1).std() == pytest.approx(0.12, rel=0.06)
    assert (4 * moves[:, :, 2]).std(0).tolist() == pytest.approx([0.35, 0.35], rel=0.05)


def test_no_file_answers_for_the_held_out_pictures() -> None:
    """Tables of what lies in files are far above what a small network reaches (below 18.6), as the docstring says."""
    train = draw_digits(6000, "training", generator(1)).images.flatten(1).double()
    held_out = draw_digits(1000, "held out", generator(2)).images.flatten(1).double()
    files = originals().images.flatten(1).double()
    assert mixture_nll(train, held_out, 1, generator()) == pytest.approx(26.47, abs=0.4)
    assert table_nll(files, held_out) == pytest.approx(25.3, abs=0.6)
    assert table_nll(train, held_out) == pytest.approx(21.1, abs=0.5)


def test_a_table_counts_flips() -> None:
    """One row, one picture with two of eight pixels flipped: −2 ln 0.15 − 6 ln 0.85 at the best rate tried."""
    row = torch.zeros(1, 8, dtype=torch.float64)
    x = row.clone()
    x[0, :2] = 1
    assert table_nll(row, x) == pytest.approx(-2 * np.log(0.15) - 6 * np.log(0.85))
    assert next(binary_rows(generator()))[0] == "independent pixels"


@pytest.mark.parametrize(("threshold", "levels"), [(None, 15), (0.42, 1)])
def test_a_release_s_file_holds_what_was_drawn(tmp_path, threshold: float | None, levels: int) -> None:
    drawn = draw_digits(30, "training", generator(), threshold=threshold)
    write_digits(tmp_path / "digits.txt", drawn)
    rows = [line.split() for line in (tmp_path / "digits.txt").read_text().splitlines()]
    assert [int(label) for label, _ in rows] == drawn.labels.tolist()
    width = len(f"{levels:b}")  # bits of a pixel
    bits = [f"{int(row, 16):0{64 * width}b}" for _, row in rows]
    read = torch.tensor([[int(b[k : k + width], 2) / levels for k in range(0, len(b), width)] for b in bits])
    assert torch.allclose(read.reshape(30, 1, 8, 8), drawn.images, atol=0.5 / levels if levels > 1 else 0)
