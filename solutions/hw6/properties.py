"""Laws and properties that several checks of homework 6 share, each computed by the judge's own means."""

from __future__ import annotations

import math

import torch

from autograder.checks import (
    Wrong,
    assert_close,
    assert_dtype,
    assert_leaves_no_gradient,
    assert_mode_restored,
    assert_no_graph,
    assert_shape,
    assert_unchanged_arguments,
    records,
)

from ..common.draws import F64, normal

SHAPES = ((3,), (1, 2, 2))


def number(rng, low, high):
    return low + (high - low) * float(torch.rand((), generator=rng, dtype=F64))


def covariance(rng, D):
    """A full covariance (D, D) with eigenvalues away from 0."""
    root = normal(rng, D, D)
    return root @ root.T / D + 0.2 * torch.eye(D, dtype=F64)


def stages(slope, state, t0, t1, n):
    """n steps of the classical Runge–Kutta table for a tuple of tensors that move together."""
    h = (t1 - t0) / n
    for i in range(n):
        t, ks = t0 + i * h, []
        for part in (0.0, 0.5, 0.5, 1.0):
            moved = state if not ks else tuple(x + part * h * k for x, k in zip(state, ks[-1], strict=True))
            ks.append(slope(t + part * h, moved))
        state = tuple(x + h * (a + 2 * b + 2 * c + d) / 6 for x, a, b, c, d in zip(state, *ks, strict=True))
    return state


def solved_with_trace(f, x, t0, t1, n, noise=None):
    """The end of n RK4 steps along f, and the integral of its trace, or of the estimate with this noise, (B,)."""

    def both(t, state):
        point, v = state[0], f(t, state[0])
        if noise is not None:
            (product,) = torch.autograd.grad(v, point, noise, create_graph=True)
            return v, (product * noise).flatten(1).sum(1)
        entries = v.flatten(1).unbind(1)
        rows = [torch.autograd.grad(entry.sum(), point, create_graph=True)[0].flatten(1) for entry in entries]
        return v, torch.stack([row[:, i] for i, row in enumerate(rows)]).sum(0)

    with torch.enable_grad():
        start = x if x.requires_grad else x.clone().requires_grad_()
        return stages(both, (start, torch.zeros(len(x), dtype=F64)), t0, t1, n)


def normal_log_prob(z):
    return -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)


def euler_steps(f, x, t0, t1, n):
    """n Euler steps, the field read at the start of each."""
    for i in range(n):
        x = x + (t1 - t0) / n * f(t0 + i * (t1 - t0) / n, x)
    return x


def vp(t, beta_min, beta_max):
    """β, mean factor and variance of the VP kernel at a number t."""
    total = beta_min * t + 0.5 * (beta_max - beta_min) * t**2
    return beta_min + t * (beta_max - beta_min), math.exp(-total / 2), -math.expm1(-total)


def asked(recorder, what):
    """Points (B, *) and times (B,) of each call of a recorder."""
    found = []
    for record in records(recorder):
        args = [*record["args"], *record["kwargs"].values()]
        if len(args) != 2 or not all(isinstance(a, torch.Tensor) for a in args):
            raise Wrong(f"{what} should ask its network with a point and a time, both tensors")
        if args[1].shape != args[0].shape[:1]:
            raise Wrong(
                f"the time that {what} shows its network should be one a sample, shape {tuple(args[0].shape[:1])}, "
                f"got {tuple(args[1].shape)}"
            )
        found.append(args)
    if not found:
        raise Wrong(f"{what} does not ask its network")
    return found


def assert_asked_at(shown, times, what):
    """Each call has the one time that belongs to it."""
    if len(shown) != len(times):
        raise Wrong(f"{what} asks its network {len(shown)} times, expected {len(times)}: once a step")
    for number_, ((_, found), t) in enumerate(zip(shown, times, strict=True), 1):
        assert_close(found.double(), torch.full(found.shape, t, dtype=F64), f"the time in call {number_} of {what}")


def assert_clean_sampler(fn, net, *args, what):
    """No graph comes back, and arguments, the network's gradient and its mode are as they were."""
    assert_unchanged_arguments(fn, *args, what=what)
    assert_no_graph(fn, *args, of=net, what=what)
    assert_leaves_no_gradient(fn, *args, of=net, what=what)
    assert_mode_restored(net, fn, *args, what=what)


def assert_single(result, shape, what):
    """A result of float32 input is float32, of the shape asked for."""
    assert_dtype(assert_shape(result, shape, f"{what} of float32"), torch.float32, f"{what} of float32")
