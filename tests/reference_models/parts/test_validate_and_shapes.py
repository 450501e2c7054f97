"""What every family relies on at its door: refusals that show the value, and batch shapes that come back."""

from __future__ import annotations

import pytest
import torch

from reference_models.parts import validate
from reference_models.parts.shapes import expand_right, flatten_batch, restore_batch, sum_event
from tests.reference_models.helpers import close


@pytest.mark.parametrize(
    ("check", "arguments", "sentence"),
    [
        (validate.positive, ("lr", 0.0), "lr must be positive, got 0.0"),
        (validate.positive, ("lr", float("nan")), "lr must be positive, got nan"),
        (validate.positive, ("lr", float("inf")), "lr must be positive, got inf"),
        (validate.positive, ("s", torch.tensor([1.0, -2.0])), r"every s must be positive, got values in \[-2, 1\]"),
        (validate.at_least, ("K", 0, 1), "K must be at least 1, got 0"),
        (validate.at_least, ("K", float("nan"), 1), "K must be at least 1, got nan"),
        (validate.open_unit, ("decay", 1.0), r"decay must lie in \(0, 1\), got 1.0"),
        (
            validate.open_unit,
            ("beta", torch.tensor([0.5, 1.5])),
            r"every beta must lie in \(0, 1\), got values in \[0.5, 1.5\]",
        ),
        (validate.open_unit, ("beta", torch.tensor([0.5, float("nan")])), r"every beta must lie in \(0, 1\)"),
        (
            validate.has_event_shape,
            ("x", torch.zeros(3, 1, 8, 7), (1, 8, 8)),
            r"x must have shape \(1, 8, 8\) or \(N, 1, 8, 8\), got \(3, 1, 8, 7\)",
        ),
        (validate.has_event_shape, ("x", torch.zeros(2, 2, 4), (4,)), r"got \(2, 2, 4\)"),
        (validate.has_event_shape, ("x", torch.zeros(()), (4,)), r"got \(\)"),
        (validate.one_of, ("method", "rk5", ("euler", "rk4")), "method must be one of 'euler', 'rk4', got 'rk5'"),
    ],
)
def test_a_refusal_shows_the_value(check, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        check(*arguments)


def test_what_is_right_passes():
    validate.positive("lr", 1e-9)
    validate.positive("count", torch.tensor([1, 2]))
    validate.at_least("K", 1, 1)
    validate.open_unit("beta", torch.tensor([1e-6, 1 - 1e-6]))
    validate.has_event_shape("x", torch.zeros(4), (4,))
    validate.has_event_shape("x", torch.zeros(0, 4), (4,))
    validate.one_of("method", "rk4", ("euler", "rk4"))


@pytest.mark.parametrize("batch", [(), (5,), (0,), (2, 3)], ids=str)
def test_batch_shapes_are_flattened_and_restored(batch):
    x = torch.randn(*batch, 1, 4, 3)
    flat, shape = flatten_batch(x, 3)
    assert flat.ndim == 4
    assert close(restore_batch(flat, shape), x, 0.0)
    assert restore_batch(flat.sum((1, 2, 3)), shape).shape == batch
    assert close(sum_event(x, 3), x.sum((-1, -2, -3)), 1e-12)
    assert sum_event(x, 0) is x


def test_too_few_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"at least 3 dimensions, got shape \(2, 2\)"):
        flatten_batch(torch.zeros(2, 2), 3)


def test_a_time_an_example_multiplies_whole_examples():
    x, t = torch.randn(2, 1, 3, 3), torch.tensor([2.0, -1.0])
    product = expand_right(t, x) * x
    assert close(product[0], 2 * x[0], 0.0)
    assert close(product[1], -x[1], 0.0)
    assert expand_right(torch.tensor(2.0), x).shape == ()
