"""What every family relies on at its door: refusals that show the value, and batch shapes that come back."""

from __future__ import annotations

import pytest
import torch

from reference_models.parts import require
from reference_models.parts.shapes import expand_right, flatten_batch, restore_batch, sum_event
from tests.reference_models.helpers import close


@pytest.mark.parametrize(
    ("check", "arguments", "sentence"),
    [
        (require.positive, ("lr", 0.0), "lr must be positive, got 0.0"),
        (require.positive, ("lr", float("nan")), "lr must be positive, got nan"),
        (require.positive, ("lr", float("inf")), "lr must be positive, got inf"),
        (require.positive, ("s", torch.tensor([1.0, -2.0])), r"every s must be positive, got values in \[-2, 1\]"),
        (require.at_least, ("K", 0, 1), "K must be at least 1, got 0"),
        (require.at_least, ("K", float("nan"), 1), "K must be at least 1, got nan"),
        (require.within, ("decay", 1.0, 0, 1, "()"), r"decay must lie in \(0, 1\), got 1.0"),
        (require.within, ("decay", 0.0, 0, 1, "(]"), r"decay must lie in \(0, 1\], got 0.0"),
        (require.within, ("alpha", 0.5, 0, 0.5, "[)"), r"alpha must lie in \[0, 0.5\), got 0.5"),
        (require.within, ("drop", 1.01, 0, 1), r"drop must lie in \[0, 1\], got 1.01"),
        (require.within, ("drop", float("nan"), 0, 1), r"drop must lie in \[0, 1\], got nan"),
        (
            require.within,
            ("beta", torch.tensor([0.5, 1.5]), 0, 1, "()"),
            r"every beta must lie in \(0, 1\), got values in \[0.5, 1.5\]",
        ),
        (require.within, ("beta", torch.tensor([0.5, float("nan")]), 0, 1, "()"), r"every beta must lie in \(0, 1\)"),
        (require.labels, (torch.tensor([0, 3]), 3), r"every label must lie in 0\.\.2, got values in \[0, 3\]"),
        (require.labels, (torch.tensor([-1, 2]), 3), r"every label must lie in 0\.\.2, got values in \[-1, 2\]"),
        (require.has_shape, ("t", torch.zeros(3), (4,)), r"t must have shape \(4,\), got \(3,\)"),
        (require.has_shape, ("x", torch.zeros(3, 2), ("N", 3)), r"x must have shape \(N, 3\), got \(3, 2\)"),
        (require.has_shape, ("x", torch.zeros(3), ("N", 3)), r"x must have shape \(N, 3\), got \(3,\)"),
        (
            require.has_event_shape,
            ("x", torch.zeros(3, 1, 8, 7), (1, 8, 8)),
            r"x must have shape \(1, 8, 8\) or \(N, 1, 8, 8\), got \(3, 1, 8, 7\)",
        ),
        (require.has_event_shape, ("x", torch.zeros(2, 2, 4), (4,)), r"got \(2, 2, 4\)"),
        (require.has_event_shape, ("x", torch.zeros(()), (4,)), r"got \(\)"),
        (require.one_of, ("method", "rk5", ("euler", "rk4")), "method must be one of 'euler', 'rk4', got 'rk5'"),
    ],
)
def test_a_refusal_shows_the_value(check, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        check(*arguments)


def test_what_is_right_passes():
    require.positive("lr", 1e-9)
    require.positive("count", torch.tensor([1, 2]))
    require.at_least("K", 1, 1)
    require.within("beta", torch.tensor([1e-6, 1 - 1e-6]), 0, 1, "()")
    require.within("drop", torch.tensor([0.0, 1.0]), 0, 1)
    require.within("drop", 0, 0, 1, "[)")
    require.within("ramp", 1, 0, 1, "(]")
    require.labels(torch.tensor([0, 2]), 3)
    require.labels(torch.zeros(0, dtype=torch.long), 3)
    require.has_shape("x", torch.zeros(0, 3), ("N", 3))
    require.has_event_shape("x", torch.zeros(4), (4,))
    require.has_event_shape("x", torch.zeros(0, 4), (4,))
    require.one_of("method", "rk4", ("euler", "rk4"))


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
