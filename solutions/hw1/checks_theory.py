"""Homework 1, hidden checks of part 1: laws, units and receptive fields, against counts and exact sums."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    Wrong,
    assert_close,
    assert_dtype,
    assert_tuple,
    enumerate_binary,
)

from ..common.draws import F64, bits, randint
from .laws import bars_law, draw_bars, pixelcnn_field


@pytest.mark.graded("theory-entropy", points=0.4)
def test_bars_law_for_other_sides_and_flips(student, rng):
    """`bars_log_prob` is the exact law for images of several sizes and several flip probabilities."""
    for side in (3, 2, 5, 1):  # the smallest last: of its two equal numbers much is true by chance
        flip = float(0.02 + 0.45 * torch.rand((), generator=rng))
        x = torch.cat([draw_bars(12, side, flip, rng), bits(rng, 12, 1, side, side)])
        value = student.bars_log_prob(x, flip)
        expected = bars_law(x, flip)
        inverted = {"white and black are exchanged somewhere": bars_law(1 - x, 1 - flip)}
        what = f"`bars_log_prob` for side {side}"
        assert_close(value, expected, what, sizes={"pixels": side * side}, alternatives=inverted)
        assert_dtype(student.bars_log_prob(x.float(), flip), torch.float32, "`bars_log_prob` of float32 images")
        assert_dtype(value, F64, "`bars_log_prob` of float64 images")


@pytest.mark.graded("theory-entropy", points=0.35)
def test_entropy_in_both_units(student, rng):
    """`bars_entropy` is the entropy in nats and in bits per pixel, for several sizes and flips."""
    for side in (2, 3, 1, None):
        flip = 0.05 if side is None else float(0.02 + 0.45 * torch.rand((), generator=rng))
        arguments = () if side is None else (side, flip)
        what = f"`bars_entropy({', '.join(f'{a:.3g}' for a in arguments)})`"
        answer = assert_tuple(student.bars_entropy(*arguments), 2, what, names=("nats per image", "bits per pixel"))
        nats, bits = (torch.as_tensor(value, dtype=F64).reshape(()) for value in answer)
        log_p = bars_law(enumerate_binary((1, side or 4, side or 4), F64), flip)
        expected, pixels = -(log_p.exp() * log_p).sum(), (side or 4) ** 2
        assert_close(nats, expected, f"the entropy of {what} in nats", atol=1e-3, sizes={"pixels": pixels})
        other = {"divided by ln 2 only": expected / math.log(2), "these are nats per pixel": expected / pixels}
        right = expected / (pixels * math.log(2))
        assert_close(bits, right, f"the entropy of {what} in bits per pixel", atol=1e-3, alternatives=other)


@pytest.mark.graded("theory-receptive", points=0.4)
def test_wavenet_field_equals_counting(student, rng):
    """The formula for dilated causal convolutions gives the number of inputs that are found by following the stack."""
    k = randint(rng, 3, 5)
    stacks = [
        (2, []),
        (k, []),
        (1, [1, 1]),
        (k, [1] * randint(rng, 1, 6)),
        (2, [2**i for i in range(randint(rng, 2, 7))]),
    ]
    stacks += [(k, [k**i for i in range(randint(rng, 2, 4))]), (2, 2 * [1, 2, 4, 8])]
    for kernel, dilations in stacks:
        seen = {0}
        for d in dilations:
            seen = {at + j * d for at in seen for j in range(kernel)}
        value = student.wavenet_receptive_field(kernel, dilations)
        assert_count(value, len(seen), f"`wavenet_receptive_field({kernel}, {dilations})`")


@pytest.mark.graded("theory-receptive", points=0.4)
def test_pixelcnn_field_size_equals_counting(student):
    """The formula for PixelCNN gives the number of pixels that are found by following the layers."""
    for layers in (1, 2, 3, 4, 5, 7, 12):
        size = len(pixelcnn_field(layers, 3))
        assert_count(student.pixelcnn_field_size(layers), size, f"`pixelcnn_field_size({layers})`")


def assert_count(value, expected, what):
    if type(value) is not int:
        raise Wrong(f"{what} should be an int, got `{type(value).__name__}`")
    if value != expected:
        raise Wrong(f"{what} is off by {value - expected:+d}", detail=f"got {value}, counted {expected}")
