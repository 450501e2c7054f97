"""Homework 2, hidden checks of tasks 2.4 to 2.6: the stack of layers, ActNorm and the 1×1 convolution."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    Bend,
    Rotate,
    Scale,
    Wrong,
    assert_close,
    assert_dtype,
    assert_gradient_reaches,
    assert_no_graph,
    assert_shape,
    assert_standard_normal,
    assert_tuple,
    call,
    draw_twice,
    gradient,
    load_state_dict,
    optimiser,
    parameters,
    perturb,
    state_dict,
)

from ..common.draws import F64, normal, randint
from .properties import assert_map, assert_undoes

SHAPES = ((3,), (2, 1, 3))


def stack(student, rng, shape):
    """A flow of layers that do not commute, and the same layers on the judge's side."""
    n = math.prod(shape)
    sizes, shift = 0.6 + torch.rand(n, generator=rng, dtype=F64), normal(rng, n)
    layers = [("Scale", sizes, shift), ("Rotate", 0.5 + float(torch.rand((), generator=rng))), ("Bend", 0.8)]
    layers += [("Scale", 0.5 + sizes.flip(0), -shift.flip(0))]
    kinds = {"Scale": Scale, "Rotate": Rotate, "Bend": Bend}
    known = [kinds[name](*weights) for name, *weights in layers]
    return student.Flow([student.probe(name, *weights) for name, *weights in layers]), known


def to_noise(known, x):
    total = torch.zeros(len(x), dtype=F64)
    for layer in known:
        x, logdet = layer(x)
        total = total + logdet
    return x, total


def to_data(known, z):
    for layer in reversed(known):
        z = layer.inverse(z)[0]
    return z


def normal_log_prob(z):
    return -0.5 * (z.flatten(1).square() + math.log(2 * math.pi)).sum(1)


@pytest.mark.graded("realnvp", points=0.4)
def test_log_prob_of_a_stack(student, rng):
    """`forward` and `log_prob` of layers that do not commute, for vectors and images; no layers are the identity."""
    for shape in SHAPES:
        flow, known = stack(student, rng, shape)
        x, n = normal(rng, 7, *shape), math.prod(shape)
        with torch.no_grad():
            z, logdet = to_noise(known, x)
        assert_map(flow, x, expected=z, what="`Flow.forward`")
        expected, what = normal_log_prob(z) + logdet, "`log_prob`"
        other = {
            "the log-determinant is subtracted": normal_log_prob(z) - logdet,
            "the log-determinant is missing": normal_log_prob(z),
            "the constant −(D/2) ln 2π is missing": expected + n / 2 * math.log(2 * math.pi),
            "the base law is averaged over the dimensions": normal_log_prob(z) / n + logdet,
        }
        assert_close(flow.log_prob(x), expected, what, alternatives=other, sizes={"samples": 7})
        assert_dtype(flow.log_prob(x), F64, f"{what} in double precision")
    empty = student.Flow([])
    assert_map(empty, x, expected=x, what="`Flow([])`")
    assert_close(empty.log_prob(x), normal_log_prob(x), "`log_prob` of an empty stack")


@pytest.mark.graded("realnvp", points=0.2)
def test_inverse_of_a_stack(student, rng):
    """The layers are undone in the opposite order, with the volume of that direction."""
    for shape in SHAPES:
        flow, known = stack(student, rng, shape)
        z, what = normal(rng, 7, *shape), "`Flow.inverse`"
        with torch.no_grad():
            x = to_data(known, z)
        assert_map(flow.inverse, z, expected=x, what=what)
        assert_undoes(flow, flow.inverse, normal(rng, 7, *shape), z, what=what, undone_by="`Flow.forward`")


@pytest.mark.graded("realnvp", points=0.25)
def test_samples_of_a_stack(student, rng):
    """20,000 samples, sent back by the judge's own layers, are standard normal; no graph stays on them."""
    for shape, n in zip(SHAPES, (7000, 3000), strict=True):
        flow, known = stack(student, rng, shape)
        what = "the samples of `Flow.sample`"
        seeds = [randint(rng, 0, 2**31), None]  # the second call goes on where the first one ended
        x = draw_twice(
            lambda k, flow=flow, shape=shape, seeds=seeds: call(flow.sample, k, shape, seed=seeds.pop(0)),
            n,
            shape,
            what,
        )
        assert_dtype(x, torch.float32, what)
        with torch.no_grad():
            noise = to_noise(known, x.double())[0]
        assert_standard_normal([noise[:n], noise[n:]], what=f"what {what} were made of")
        assert_no_graph(flow.sample, 2, shape, of=flow, what="`Flow.sample`")


@pytest.mark.graded("realnvp", points=0.1)
def test_layers_of_a_stack_train(student, rng):
    """The layers' parameters are the flow's, and gradients reach them and the argument."""
    flow, known = stack(student, rng, (3,))
    x = normal(rng, 5, 3)
    held, own = len(parameters(flow)), sum(len(list(layer.parameters())) for layer in known)
    if held != own:
        raise Wrong(
            f"the flow has {held} parameters, its layers {own}",
            hint="a plain list hides its modules from `parameters()`" if held == 0 else None,
        )
    assert_gradient_reaches(flow.log_prob, x, of=flow, what="`log_prob`")
    x.requires_grad_()
    z, logdet = to_noise(known, x)
    expected = torch.autograd.grad((normal_log_prob(z) + logdet).sum(), x)[0]
    assert_close(gradient(flow.log_prob, x.detach()), expected, "the gradient of `log_prob` by its argument")


def batch(rng, size, channels, pixels=(), mean=5.0):
    """Channels with means of about ±mean and deviations between 1 and 3."""
    wide = (1, channels, *[1] * len(pixels))
    centre = mean * (torch.randint(0, 2, wide, generator=rng) * 2 - 1)
    return centre + (1 + 2 * torch.rand(wide, generator=rng, dtype=F64)) * normal(rng, size, channels, *pixels)


def first_part(answer, what):
    return assert_tuple(answer, 2, f"the result of {what}", names=("z", "logdet"))[0]


def assert_normalised_batch(z, what):
    dims = [0, *range(2, z.dim())]
    n = z[:, 0].numel()
    mean, variance = z.double().mean(dims), z.double().var(dims, unbiased=False)
    if not bool((mean.abs() <= 1e-5).all()):
        raise Wrong(f"{what} should leave with mean 0 in each channel; it has {float(mean.abs().max()):.3g}")
    right = ((variance - 1).abs() <= 1e-3) | ((variance * n / (n - 1) - 1).abs() <= 1e-3)
    if not bool(right.all()):
        worst = float(variance[(variance - 1).abs().argmax()])
        raise Wrong(f"{what} should leave with variance 1 in each channel, over batch and pixels; it has {worst:.3g}")


@pytest.mark.graded("actnorm", points=0.3)
def test_actnorm_is_set_by_its_first_batch(student, rng):
    """The first training batch leaves with mean 0 and variance 1, and the next one goes by the same numbers."""
    for pixels in ((), (3, 2)):
        layer = student.ActNorm(4).double()
        named = parameters(layer)
        for name in ("log_scale", "shift"):
            if name not in named:
                raise Wrong(f"`ActNorm` should have a parameter `{name}`")
            assert_close(named[name], torch.zeros(4, dtype=F64), f"`{name}` of a new `ActNorm(4)`")
        x, later = batch(rng, 64, 4, pixels), normal(rng, 9, 4, *pixels) - 3
        assert_normalised_batch(first_part(call(layer, x, mode="train"), "`ActNorm`"), "the first batch")
        log_scale, shift = (parameters(layer)[name].view(-1, *[1] * len(pixels)) for name in ("log_scale", "shift"))
        for mode in ("train", "eval"):
            z = first_part(call(layer, later, mode=mode), "`ActNorm`")
            assert_close(z, later * log_scale.exp() + shift, f"the second batch in {mode} mode")


@pytest.mark.graded("actnorm", points=0.25)
def test_actnorm_is_set_once(student, rng):
    """Not in evaluation mode, not after loading a state, and without new parameters."""
    x, later = batch(rng, 32, 3), batch(rng, 32, 3, mean=1.0)
    layer = student.ActNorm(3).double()
    early = first_part(call(layer, x, mode="eval"), "`ActNorm`")
    assert_close(early, x, "what an `ActNorm` that is not set yet does in evaluation mode")
    mover = optimiser(layer, "SGD", lr=0.1)
    z = first_part(call(layer, x, mode="train"), "`ActNorm`")
    assert_normalised_batch(z, "the first batch in training mode, after one in evaluation mode,")
    fresh = student.ActNorm(3).double()
    load_state_dict(fresh, state_dict(layer))
    expected = first_part(call(layer, later, mode="eval"), "`ActNorm`")
    loaded = first_part(call(fresh, later, mode="train"), "`ActNorm`")
    assert_close(loaded, expected, "a fresh `ActNorm` with a loaded state, in training mode")
    held, now = mover.param_groups[0]["params"], parameters(layer).values()
    if len(held) != len(now) or not all(torch.equal(old, new) for old, new in zip(held, now, strict=True)):
        raise Wrong(
            "an optimiser that was made before the first batch holds other parameters than the layer does after it",
            hint="the parameters must stay the same objects: change their numbers in place",
        )


@pytest.mark.graded("actnorm", points=0.2)
def test_actnorm_map_and_inverse(student, rng):
    """The affine map, its volume with all pixels counted, and its inverse."""
    for pixels in ((), (3, 2)):
        layer = student.ActNorm(4).double()
        call(layer, batch(rng, 16, 4, pixels), mode="train")
        weights = {"log_scale": normal(rng, 4) / 2, "shift": normal(rng, 4)}
        load_state_dict(layer, state_dict(layer) | weights)
        log_scale, shift = (value.view(-1, *[1] * len(pixels)) for value in weights.values())
        x, z = normal(rng, 7, 4, *pixels), normal(rng, 7, 4, *pixels)
        assert_map(layer, x, expected=x * log_scale.exp() + shift, what="`ActNorm.forward`", single=False)
        what = "`ActNorm.inverse`"
        assert_map(layer.inverse, z, expected=(z - shift) * (-log_scale).exp(), what=what, single=False)
        assert_undoes(layer, layer.inverse, x, z, what=what, undone_by="`ActNorm.forward`")


def mixings(student, rng):
    """1×1 convolutions with random weights, and their matrices, well enough conditioned to measure."""
    found = []
    for number in range(12):
        layer = student.InvertibleConv1x1(2 + number % 3).double()
        perturb(layer, 1.0, seed=randint(rng, 0, 2**31))
        W = assert_shape(layer.matrix(), (2 + number % 3,) * 2, "`matrix()`").double()
        if torch.isfinite(W).all() and float(torch.linalg.cond(W)) < 50:
            found.append((layer, W))
    if not found:
        raise Wrong("with random weights `matrix()` was never well conditioned in twelve tries")
    return found


@pytest.mark.graded("conv1x1", points=0.45)
def test_conv1x1_mixes_channels(student, rng):
    """Orthogonal at first; with any weights the output is W x at each pixel, with its volume for either sign of det."""
    for C in (2, 3, 5):
        W = assert_shape(student.InvertibleConv1x1(C).matrix(), (C, C), "`matrix()`").double()
        assert_close(W @ W.T, torch.eye(C, dtype=F64), "W Wᵀ of a new `InvertibleConv1x1`", atol=1e-4)
    for layer, W in mixings(student, rng):
        x = normal(rng, 5, len(W), 2, 3)
        other = {"this is Wᵀ x: the matrix is used the other way round": torch.einsum("ji,bjhw->bihw", W, x)}
        expected = torch.einsum("ij,bjhw->bihw", W, x)
        assert_map(layer, x, expected=expected, what="`InvertibleConv1x1.forward`", alternatives=other, single=False)


@pytest.mark.graded("conv1x1", points=0.2)
def test_conv1x1_inverse(student, rng):
    """The inverse for any weights, with the volume of its own direction."""
    what = "`InvertibleConv1x1.inverse`"
    for layer, W in mixings(student, rng):
        z = normal(rng, 5, len(W), 2, 3)
        other = {"this is Wᵀ z, which undoes orthogonal matrices only": torch.einsum("ji,bjhw->bihw", W, z)}
        expected = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(W), z)
        assert_map(layer.inverse, z, expected=expected, what=what, alternatives=other, single=False)
    x = normal(rng, 5, len(W), 2, 3)
    assert_undoes(layer, layer.inverse, x, z, what=what, undone_by="`InvertibleConv1x1.forward`")


@pytest.mark.graded("conv1x1", points=0.1)
def test_conv1x1_learns(student, rng):
    """The matrix follows the parameters, and the gradient of the log-determinant reaches some."""
    layer = student.InvertibleConv1x1(3).double()
    x, before = normal(rng, 4, 3, 2, 2), layer.matrix()
    what = "the log-determinant of `InvertibleConv1x1`"
    assert_gradient_reaches(layer, x, of=layer, output=1, share=1e-9, what=what)
    perturb(layer, 0.5, seed=randint(rng, 0, 2**31))
    if torch.equal(layer.matrix(), before):
        raise Wrong("`matrix()` stays the same when the parameters change: the matrix should be learnable")
