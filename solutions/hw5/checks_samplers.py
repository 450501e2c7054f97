"""Homework 5, hidden checks of tasks 2.8 to 2.10: samplers and guidance, against their own exact laws."""

from __future__ import annotations

import pytest
import torch

from autograder.checks import (
    LabelGaussian,
    Wrong,
    assert_close,
    assert_dtype,
    assert_frequencies,
    assert_guided,
    assert_steps_follow,
    assert_unchanged_arguments,
    call,
    gaussian_recursion,
    noise_table,
    records,
)

from ..common.draws import F64, normal
from .laws import ddim_steps, ddpm_steps
from .properties import (
    LONG,
    SHAPES,
    STEEP,
    asked,
    assert_asked_at,
    assert_clean_sampler,
    assert_law,
    assert_right_losses,
    data_law,
    drawn_betas,
)


def exact_network(student, rng, shape, betas):
    """A recorder around the exact noise of Gaussian data, the network itself, and what it answers."""
    mean, std = data_law(rng, shape)
    net = student.probe("GaussianNoise", mean, std, betas)
    return student.probe("Recorder", net), net, noise_table(mean, std, betas)


@pytest.mark.graded("ddpm-sample", points=0.3)
def test_steps_of_the_ddpm_sampler(student, rng):
    """Every step has its exact law, from T − 1 to 0, and nothing is random at index 0."""
    what = "`ddpm_sample`"
    for shape, betas in zip(SHAPES, (STEEP, drawn_betas(rng, 6)), strict=True):
        recorder, net, table = exact_network(student, rng, shape, betas)
        x_T = normal(rng, 3000, *shape)
        result = student.ddpm_sample(recorder, x_T, betas)
        shown = asked(recorder, 2, what)
        assert_asked_at([t for _, t in shown], list(range(len(betas)))[::-1], 3000, what)
        assert_steps_follow([*(x for x, _ in shown), result], *ddpm_steps(*table, betas), what=what)
        assert_close(shown[0][0], x_T, f"what {what} asks first")
    few = x_T[:4]
    assert_clean_sampler(student.ddpm_sample, net, net, few, betas, what=what)
    assert_dtype(student.ddpm_sample(net, few.float(), betas), torch.float32, f"{what} of float32")
    one = betas[:1]
    first, again = (student.ddpm_sample(net, few, one) for _ in range(2))
    assert_close(again, first, f"{what} with T = 1, called again,")


@pytest.mark.graded("ddpm-sample", points=0.25)
def test_law_of_the_ddpm_sampler(student, rng):
    """20,000 samples have the exact law of fifty steps, which is narrower than the data's."""
    _, net, table = exact_network(student, rng, (2,), LONG)
    result = student.ddpm_sample(net, normal(rng, 20_000, 2), LONG)
    law = gaussian_recursion(*ddpm_steps(*table, LONG), mean=torch.zeros(2), variance=1.0)
    assert_law(result, *law, "`ddpm_sample`")


def follow_ddim(student, rng, shape, betas, steps, eta, n=3000):
    """Recorded steps of `ddim_sample` have their exact law; returns the network."""
    what = f"`ddim_sample` with {len(steps)} of {len(betas)} indices and η = {eta:g}"
    recorder, net, table = exact_network(student, rng, shape, betas)
    result = student.ddim_sample(recorder, normal(rng, n, *shape), betas, steps, eta)
    shown = asked(recorder, 2, what)
    assert_asked_at([t for _, t in shown], steps[::-1], n, what)
    assert_steps_follow([*(x for x, _ in shown), result], *ddim_steps(*table, betas, steps, eta), what=what)
    return net


@pytest.mark.graded("ddim", points=0.4)
def test_steps_of_noisy_jumps(student, rng):
    """Every jump has its exact law for η = ½ and 1, along several subsequences, and so has the result."""
    for shape, betas, steps, eta in (
        ((2,), STEEP, [1, 3, 4, 8, 11], 0.5),
        ((1, 2, 2), drawn_betas(rng, 9), [0, 2, 3, 8], 0.7),
        ((3,), STEEP, list(range(12)), 1.0),  # DDPM
        ((2,), drawn_betas(rng, 9), [2, 5], 1.0),
    ):
        net = follow_ddim(student, rng, shape, betas, steps, eta)
    few, what = normal(rng, 4, 2), "`ddim_sample`"
    assert_clean_sampler(student.ddim_sample, net, net, few, betas, steps, eta, what=what)
    found = student.ddim_sample(net, few.float(), betas, steps, eta)
    assert_dtype(found, torch.float32, f"{what} of float32")


@pytest.mark.graded("ddim", points=0.2)
def test_deterministic_jumps_are_exact(student, rng):
    """With η = 0 every jump is the exact map, along subsequences with and without index 0, of one and of all."""
    betas = drawn_betas(rng, 10)
    for shape, steps in (((2,), [1, 4, 9]), ((1, 2, 2), [0, 3, 4, 7]), ((2,), [6]), ((2,), list(range(10)))):
        net = follow_ddim(student, rng, shape, betas, steps, 0.0, n=50)
    x = normal(rng, 5, 2)
    first, again = (student.ddim_sample(net, x, betas, [1, 4, 9], 0.0) for _ in range(2))
    assert_close(again, first, "`ddim_sample` with η = 0, called again,")


@pytest.mark.graded("ddim", points=0.15)
def test_law_of_ten_jumps(student, rng):
    """20,000 samples by ten of fifty steps have the exact law of this sampler."""
    steps, eta = list(range(4, 50, 5)), 0.5
    _, net, table = exact_network(student, rng, (2,), LONG)
    result = student.ddim_sample(net, normal(rng, 20_000, 2), LONG, steps, eta)
    law = gaussian_recursion(*ddim_steps(*table, LONG, steps, eta), mean=torch.zeros(2), variance=1.0)
    assert_law(result, *law, "`ddim_sample`")


def labelled(student, rng, shape, betas, K):
    """An exact network of K labels and the null label, and its laws (K + 1, *shape)."""
    laws = [data_law(rng, shape) for _ in range(K + 1)]
    means, stds = (torch.stack(part) for part in zip(*laws, strict=True))
    return student.probe("LabelGaussian", means, stds, betas), means, stds


@pytest.mark.graded("cfg", points=0.3)
def test_loss_with_dropped_labels(student, rng):
    """The exact value at what the network saw; labels dropped at their rate, one by one, kept ones in their place."""
    what, K, n = "`cfg_loss`", 3, 4000
    for shape, p in zip(SHAPES, (0.3, 0.1), strict=True):
        betas = drawn_betas(rng, 5)
        net, means, stds = labelled(student, rng, shape, betas, K)
        recorder, twin = student.probe("Recorder", net), LabelGaussian(means, stds, betas)
        x_0, y = 3 * normal(rng, n, *shape), torch.randint(0, K, (n,), generator=rng)
        losses = [student.cfg_loss(recorder, x_0, y, betas, K, p) for _ in range(2)]
        shown = asked(recorder, 3, what)
        if len(shown) != 2:
            raise Wrong(f"{what} should ask its network once, with all rows")
        for _, _, label in shown:
            assert_dtype(label, torch.int64, f"the label that {what} shows its network")
            if label.shape != (n,) or not bool(((label == y) | (label == K)).all()):
                raise Wrong(f"{what} shows its network labels that are neither the sample's own nor the null label")
        labels = torch.cat([label for _, _, label in shown])
        assert_right_losses(losses, records(recorder), x_0, betas, lambda x, t, t2=twin, y=labels: t2(x, t, y), what)
        dropped = (labels == K).to(F64)
        assert_frequencies(dropped[:, None], torch.tensor([p]), what="dropped labels")
        pairs = dropped.reshape(-1, 2).prod(1, keepdim=True)
        assert_frequencies(pairs, torch.tensor([p**2]), what="pairs of neighbours whose labels are both dropped")
    recorder = student.probe("Recorder", net)
    for _ in range(100):
        student.cfg_loss(recorder, x_0[:2], y[:2], betas, K, 0.5)
    dropped = torch.stack([label for _, _, label in asked(recorder, 3, what)]) == K
    assert_frequencies(dropped.all(1, keepdim=True).to(F64), torch.tensor([0.25]), what="pairs whose labels both drop")
    for p, right in ((0.0, y), (1.0, torch.full_like(y, K))):
        recorder = student.probe("Recorder", net)
        student.cfg_loss(recorder, x_0, y, betas, K, p)
        assert_close(asked(recorder, 3, what)[0][2], right, f"the labels that {what} shows its network at p = {p:g}")
    assert_unchanged_arguments(student.cfg_loss, net, x_0[:9], y[:9], betas, K, 0.5, what=what)
    found = student.cfg_loss(net, x_0[:9].float(), y[:9], betas, K, 0.5)
    assert_dtype(found, torch.float32, f"{what} of float32")


@pytest.mark.graded("cfg", points=0.2)
def test_guided_noise(student, rng):
    """The line through the unconditional answer at w = 0 and the conditional one at w = 1."""
    what, K = "`guided_noise`", 3
    for shape in SHAPES:
        betas = drawn_betas(rng, 5)
        net, means, stds = labelled(student, rng, shape, betas, K)
        twin = LabelGaussian(means, stds, betas)
        x, t = normal(rng, 7, *shape), torch.randint(0, 5, (7,), generator=rng)
        y = torch.randint(0, K, (7,), generator=rng)
        with torch.no_grad():
            given, without = twin(x, t, y), twin(x, t, torch.full_like(y, K))

        def guided(w, net=net, args=(x, t, y)):
            return call(student.guided_noise, net, *args, K, w)

        assert_guided(guided, given, without, convention="conditional at 1", what=what)
        assert_unchanged_arguments(student.guided_noise, net, x, t, y, K, 2.5, what=what)
    found = student.guided_noise(net, x.float(), t, y, K, 2.5)
    assert_dtype(found, torch.float32, f"{what} of float32")


@pytest.mark.graded("cfg", points=0.25)
def test_law_of_guided_samples(student, rng):
    """20,000 samples of several labels in one batch have the exact law of the guided sampler."""
    what, K, n = "`cfg_sample`", 2, 20_000
    for shape, betas, w in (((2,), LONG, 2.0), ((1, 2, 2), STEEP, 0.5)):
        net, means, stds = labelled(student, rng, shape, betas, K)
        y = torch.arange(n) % K
        found = student.cfg_sample(net, normal(rng, n, *shape), y, betas, K, w)
        tables = [noise_table(mean, std, betas) for mean, std in zip(means, stds, strict=True)]
        laws = []
        for label in range(K):
            guided = [(1 - w) * null + w * own for null, own in zip(tables[K], tables[label], strict=True)]
            laws.append(gaussian_recursion(*ddpm_steps(*guided, betas), mean=torch.zeros(shape), variance=1.0))
        mean, variance = (torch.stack([part.expand(shape) for part in parts])[y] for parts in zip(*laws, strict=True))
        assert_same_rows(found, mean, variance, what)
    few = normal(rng, 4, *shape)
    assert_clean_sampler(student.cfg_sample, net, net, few, y[:4], betas, K, w, what=what)
    found = student.cfg_sample(net, few.float(), y[:4], betas, K, w)
    assert_dtype(found, torch.float32, f"{what} of float32")


def assert_same_rows(found, mean, variance, what):
    """As `assert_law`, with a law for each row."""
    if found.shape != mean.shape:
        raise Wrong(f"the result of {what} should have shape {tuple(mean.shape)}, got {tuple(found.shape)}")
    assert_law((found.double() - mean) / variance.sqrt(), torch.zeros(mean.shape[1:]), torch.ones(()), what)
