"""Properties that several checks of homework 1 share: of a log-likelihood, a network, a sampler, a trained model."""

from __future__ import annotations

import math

import torch

from autograder.checks import (
    Wrong,
    assert_batch_consistent,
    assert_binary,
    assert_causal,
    assert_close,
    assert_depends,
    assert_deterministic_under_seed,
    assert_dtype,
    assert_finite,
    assert_frequencies,
    assert_no_graph,
    assert_samples_follow,
    assert_shape,
    assert_unchanged_arguments,
    call,
    conditional_log_probs,
    draw_twice,
    load_state_dict,
    perturb,
    state_dict,
    strong_table,
    table_law,
)

from ..common.draws import F64
from .laws import filled_law

N = 10_000  # samples of one draw
STEPS = (
    0.5,
    0.5,
    0.3,
    0.2,
    0.1,
    0.1,
)  # of random weights, of which one must show a dependence: large ones may saturate


def assert_known_law(student, log_prob, shape, rng, what):
    """One number an image, equal to the exact law of a table model; images do not mix."""
    n = math.prod(shape)
    table = strong_table(n, rng)
    net = student.probe("TableConditional", table)
    states, expected = table_law(table)
    x = states.reshape(-1, *shape)
    inverted = {"0 and 1 are exchanged": conditional_log_probs(net(x), 1 - x).sum(1)}
    value = assert_unchanged_arguments(log_prob, net, x, what=what)
    assert_close(value, expected, what, sizes={"pixels": n, "images": len(x)}, alternatives=inverted)
    assert_dtype(value, F64, f"{what} of float64 images")
    assert_batch_consistent(log_prob, net, x[:5], what=what)
    extreme = student.probe("Constant", 800.0)
    assert_close(log_prob(extreme, x[:1]), torch.tensor([-800.0 * n]), f"{what} for logits of 800 and black pixels")


def assert_causal_and_seeing(net, shape, offsets, seed, rng, what):
    """Causal for every one of several random weights, and for some of them it sees what lies at the offsets.

    A ReLU may be off at all images, or a sigmoid saturated, and so hide a path that is there, hence several weights.
    """
    net(torch.zeros(shape, dtype=F64))  # a layer may be built at its first call
    blind, start = None, state_dict(net)
    for attempt, std in enumerate(STEPS):
        load_state_dict(net, start)
        perturb(net, std, seed=seed + attempt)
        assert_causal(net, shape, dependence=0.0, dtype=F64, generator=rng, what=f"the logit of {what}")
        try:
            assert_depends(net, shape, offsets, dtype=F64, generator=rng, what=f"the logit of {what}")
        except Wrong as fault:
            blind = fault
        else:
            return
    assert blind is not None
    raise blind


def assert_interacts(net, x, one, other, at, seed, what):
    """What a change of the entries `one` of x does to the output at `at` depends on whether `other` are changed too.

    Both are masks over a sample; zeros and ones are exchanged. Of several random weights one must show it.
    """
    net(x)  # a layer may be built at its first call
    start = state_dict(net)
    for attempt, std in enumerate(STEPS):
        load_state_dict(net, start)
        perturb(net, std, seed=seed + attempt)
        changed = [torch.where(mask, 1 - x, x) for mask in (torch.zeros_like(one), one, other, one | other)]
        values = [assert_finite(net(images), what).double()[(slice(None), *at)] for images in changed]
        mixed = (values[0] - values[1] - values[2] + values[3]).abs().max()
        if float(mixed) > 1e-9 * max(float(value.abs().max()) for value in values):
            return
    raise Wrong(f"{what} is a sum of what single pixels do to it: nothing that two pixels say together enters")


def assert_exact_law(student, sampler, sizes, shape, rng, what):
    table = strong_table(math.prod(shape), rng)
    net = student.probe("TableConditional", table.float())
    states, log_p = table_law(table)
    grid = torch.arange(math.prod(shape)).reshape(shape[-2:])
    wrong = {
        "0 and 1 are exchanged": log_p.exp().flip(0),
        "every pixel is drawn as if the pixels before it were black": filled_law(table, [list(range(len(states[0])))]),
    }
    if len(shape) > 1:
        wrong["pixels are drawn column by column"] = filled_law(table, [[int(i)] for i in grid.T.flatten()])
    samples = draw_twice(lambda n: assert_binary(sampler(net, n, *sizes), what), N, shape, what)
    assert_samples_follow(samples, log_p.exp(), alternatives=wrong, what=what)


def assert_random_and_free(student, sampler, sizes, shape, rng, what):
    """Coin flips of a known bias that follow the seed, float32, without a graph; the network may be a mere function."""
    bias = 1.0 + torch.rand((), generator=rng)
    net = student.probe("AffineScore", 0.0, bias)
    assert_deterministic_under_seed(sampler, net.forward, 64, *sizes, what=what)
    samples = assert_no_graph(sampler, net, 400, *sizes, of=net, what=what)
    values = assert_dtype(samples, torch.float32, f"the result of {what}")
    assert_frequencies(assert_shape(values, (400, *shape), f"the result of {what}"), bias.sigmoid(), what=what)


def assert_images_do_not_mix(net, x, seed, what):
    """Exchanging the other images of a batch leaves the result for the first as it is, in training mode too.

    Under one seed, so that dropout is no mixing.
    """
    y = torch.cat([x[:1], 1 - x[1:]])
    a, b = (assert_shape(call(net, batch, seed=seed, mode="train"), x.shape, what) for batch in (x, y))
    gap = float((a[0] - b[0]).abs().max())
    if not gap <= 1e-9 * (1 + float(a[0].abs().max())):
        raise Wrong(f"{what} mixes the images of a batch: other images change the logits of the first by {gap:.2g}")


def causal_network(trained, name, base):
    """The trained network in evaluation mode, if it does not leak."""
    module = trained.get(name)

    def net(x):
        return call(module, x, mode="eval")

    assert_shape(net(base), base.shape, f"`{name}(x)`")
    assert_causal(net, base.shape, base=base, dependence=0.0, what=f"the logit of `{name}`")
    return net
