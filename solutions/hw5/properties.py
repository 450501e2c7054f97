"""Properties that several checks of homework 5 share: of a sampler's law and steps, of what a network was asked."""

from __future__ import annotations

import torch

from autograder.checks import (
    Wrong,
    assert_close,
    assert_consistent_noising,
    assert_covers_times,
    assert_dtype,
    assert_leaves_no_gradient,
    assert_mode_restored,
    assert_no_graph,
    assert_shape,
    assert_standard_normal,
    assert_unchanged_arguments,
    records,
)

from ..common.draws import F64, normal

LONG = torch.linspace(0.002, 0.4, 50, dtype=F64)  # a usual schedule
STEEP = torch.full((12,), 0.3, dtype=F64)  # one on which noise at index 0 shows
SHAPES = ((2,), (1, 2, 2))


def data_law(rng, shape):
    """Means and deviations that differ from entry to entry, shape `shape`."""
    return 1.5 + normal(rng, *shape), 0.4 + 0.5 * torch.rand(shape, generator=rng, dtype=F64)


def drawn_betas(rng, steps):
    """Different from each other and from usual schedules."""
    return 0.02 + 0.3 * torch.rand(steps, generator=rng, dtype=F64)


def asked(recorder, count, what):
    """The arguments of each call of a recorder, `count` tensors a call."""
    found = []
    for record in records(recorder):
        args = [*record["args"], *record["kwargs"].values()]
        if len(args) != count or not all(isinstance(a, torch.Tensor) for a in args):
            raise Wrong(f"{what} should ask its network with {count} tensors, got {len(args)} arguments")
        found.append(args)
    if not found:
        raise Wrong(f"{what} does not ask its network")
    return found


def assert_asked_at(times, indices, n, what):
    """Each call has the one index that belongs to it, for all n rows, as long."""
    if len(times) != len(indices):
        raise Wrong(f"{what} asks its network {len(times)} times, expected {len(indices)}: once a step")
    for number, (t, index) in enumerate(zip(times, indices, strict=True), 1):
        assert_dtype(t, torch.int64, f"the time that {what} shows its network")
        assert_close(t, torch.full((n,), index), f"the time in call {number} of {what}")


def assert_law(samples, mean, variance, what):
    """Independent rows of N(mean, variance), entry by entry, and independent entries."""
    rows = assert_shape(samples, (len(samples), *mean.shape), f"the result of {what}").double()
    assert_standard_normal((rows - mean) / variance.sqrt(), what=f"the result of {what}, less its mean and scaled,")


def assert_clean_sampler(fn, net, *args, what):
    """No graph comes back, and arguments, the network's gradient and its mode are as they were."""
    assert_unchanged_arguments(fn, *args, what=what)
    assert_leaves_no_gradient(fn, *args, of=net, what=what)  # first: a gradient left behind would look like a graph
    assert_no_graph(fn, *args, of=net, what=what)
    assert_mode_restored(net, fn, *args, what=what)


def assert_right_losses(losses, shown, x_0, betas, answer, what):
    """Each loss is the mean squared error of `answer(points, times)` at what its own call was shown."""
    abar, n = (1 - betas).cumprod(0), len(x_0)
    assert_dtype(shown[0]["args"][1], torch.int64, f"the time that {what} shows its network")
    assert_covers_times(shown, steps=len(betas))
    seen = assert_consistent_noising(
        shown, x_0, lambda t: abar[t].sqrt(), lambda t: (1 - abar[t]).sqrt(), steps=len(betas)
    )
    with torch.no_grad():
        error = answer(seen.x, seen.t) - seen.noise
    for k, loss in enumerate(losses):
        squares = error[k * n : (k + 1) * n].square()
        other = {"this sums over the entries of a sample": squares.flatten(1).sum(1).mean()}
        assert_close(loss, squares.mean(), f"{what} at the points that the network saw", rtol=1e-8, alternatives=other)
