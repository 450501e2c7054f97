"""Homework 5, hidden checks of tasks 2.5 to 2.7: the schedule, one step back, and the training loss."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    TimeAffine,
    Wrong,
    assert_close,
    assert_dtype,
    assert_gradient_reaches,
    assert_posterior,
    assert_schedule,
    assert_shape,
    assert_tuple,
    assert_unchanged_arguments,
    call,
    records,
)

from ..common.draws import F64, normal, randint
from .properties import SHAPES, asked, assert_right_losses, drawn_betas


@pytest.mark.graded("schedule", points=0.2)
def test_signal_at_every_index(student, rng):
    """ᾱ at all indices in any order and at −1, one number a sample, in the dtype of x."""
    betas, what = drawn_betas(rng, 7), "`abar_at`"
    for dtype in (F64, torch.float32):
        for shape in ((), (2,), (1, 2, 2)):

            def ask(t, shape=shape, dtype=dtype):
                x = torch.zeros(len(t), *shape, dtype=dtype)
                return assert_shape(student.abar_at(betas, t, x), (len(t), *[1] * len(shape)), what)

            assert_schedule(ask, betas, clean=-1, dtype=dtype, what=what)


@pytest.mark.graded("schedule", points=0.15)
def test_cosine_schedule(student, rng):
    """The betas of several lengths, offsets and bounds, to nine digits, in float64."""
    for n, keywords in ((50, {}), (1000, {}), (7, {"s": 0.05}), (20, {"s": 0.02, "largest": 0.6})):
        s, largest = keywords.get("s", 0.008), keywords.get("largest", 0.999)
        angle = torch.arange(n + 1, dtype=F64) / n
        angle = math.pi / 2 * (angle + s) / (1 + s)
        now, following = angle[:-1], angle[1:]
        right = (following - now).sin() * (following + now).sin() / now.cos().square()  # no difference of near numbers
        found = student.cosine_betas(n, **keywords)
        what = f"`cosine_betas` of {n} steps"
        other = {"cos is not squared": (1 - following.cos() / now.cos()).clamp(max=largest)}
        assert_close(found, right.clamp(max=largest), what, rtol=1e-9, atol=0.0, alternatives=other)
        assert_dtype(found, F64, what)


@pytest.mark.graded("schedule", points=0.2)
def test_noising_to_any_time(student, rng):
    """x_t in closed form, a time for each sample, where several sizes agree."""
    betas, what = drawn_betas(rng, 6), "`q_sample`"
    abar = (1 - betas).cumprod(0)
    for shape in ((4, 3), (4, 4), (4, 2, 4, 4), (4, 4, 4, 4)):
        x_0, noise, t = 2 + normal(rng, *shape), normal(rng, *shape), torch.randperm(6, generator=rng)[:4]
        kept = abar[t].reshape(4, *[1] * (len(shape) - 1))
        right = kept.sqrt() * x_0 + (1 - kept).sqrt() * noise
        other = {
            "the square roots are missing": kept * x_0 + (1 - kept) * noise,
            "signal and noise are exchanged": (1 - kept).sqrt() * x_0 + kept.sqrt() * noise,
            "the noise has factor 1 − ᾱ, its root belongs here": kept.sqrt() * x_0 + (1 - kept) * noise,
        }
        found = assert_unchanged_arguments(student.q_sample, x_0, t, betas, noise, what=what)
        assert_close(found, right, what, rtol=1e-9, atol=1e-9, alternatives=other)
    found = student.q_sample(x_0.float(), t, betas, noise.float())
    assert_close(assert_dtype(found, torch.float32, f"{what} of float32"), right, f"{what} of float32", rtol=1e-4)


@pytest.mark.graded("ddpm-reverse", points=0.35)
def test_step_back_is_the_posterior(student, rng):
    """Where the noise is known the step is Bayes' rule, at every index, 0 included, and at several in one batch."""
    betas, _what = drawn_betas(rng, 6), "`reverse_mean_variance`"
    before = torch.cat([torch.ones(1, dtype=F64), (1 - betas).cumprod(0)])
    for shape in SHAPES:
        every = torch.arange(6)
        for t in (every[torch.randperm(6, generator=rng)], *(every[k].expand(4) for k in (0, 1, 5))):
            x_0, x_t = normal(rng, len(t), *shape), 2 * normal(rng, len(t), *shape)
            s, now = before[t], before[t + 1]
            kept = now.reshape(-1, *[1] * len(shape))
            noise = (x_t - kept.sqrt() * x_0) / (1 - kept).sqrt()
            found = call(student.reverse_mean_variance, x_t, t, noise, betas)
            where = "at several indices" if len(t) == 6 else f"at index {int(t[0])}"
            assert_posterior(found, x_0, x_t, s, now, asked=where, tolerance=1e-8)


@pytest.mark.graded("ddpm-reverse", points=0.2)
def test_step_back_keeps_shapes_and_dtypes(student, rng):
    """Right in both dtypes: the mean in the shape of x, the variance one number a sample; arguments are left alone."""
    betas, what = drawn_betas(rng, 6), "`reverse_mean_variance`"
    before = torch.cat([torch.ones(1, dtype=F64), (1 - betas).cumprod(0)])
    for shape in SHAPES:
        x, noise, t = normal(rng, 4, *shape), normal(rng, 4, *shape), torch.randint(0, 6, (4,), generator=rng)
        kept = before[t + 1].reshape(-1, *[1] * len(shape))
        x_0 = (x - (1 - kept).sqrt() * noise) / kept.sqrt()
        for dtype in (F64, torch.float32):
            args = (x.to(dtype), t, noise.to(dtype), betas)
            answer = assert_unchanged_arguments(student.reverse_mean_variance, *args, what=what)
            assert_posterior(answer, x_0, x, before[t], before[t + 1], asked=f"in {str(dtype)[6:]}")
            mean, variance = assert_tuple(answer, 2, f"the result of {what}", names=("mean", "variance"))
            assert_dtype(assert_shape(mean, x.shape, f"the mean of {what}"), dtype, f"the mean of {what}")
            one_each = assert_shape(variance, (4, *[1] * len(shape)), f"the variance of {what}")
            assert_dtype(one_each, dtype, f"the variance of {what}")


@pytest.mark.graded("ddpm-loss", points=0.4)
def test_ddpm_loss(student, rng):
    """The exact value at the points and times that the network saw; times uniform, noise fresh, one call."""
    what, T = "`ddpm_loss`", randint(rng, 4, 6)
    for shape in SHAPES:
        betas = drawn_betas(rng, T)
        weights = normal(rng, T, *shape), normal(rng, T, *shape)
        recorder, twin = student.probe("Recorder", student.probe("TimeAffine", *weights)), TimeAffine(*weights)
        x_0 = 3 * normal(rng, 4000, *shape)
        losses = [student.ddpm_loss(recorder, x_0, betas) for _ in range(2)]
        if len(asked(recorder, 2, what)) != 2:
            raise Wrong(f"{what} should ask its network once, with all rows")
        assert_right_losses(losses, records(recorder), x_0, betas, lambda x, t, twin=twin: twin(x, t), what)


@pytest.mark.graded("ddpm-loss", points=0.15)
def test_ddpm_loss_trains(student, rng):
    """Gradients reach the network, float32 stays float32, and the data are left alone."""
    what, betas, x_0 = "`ddpm_loss`", drawn_betas(rng, 5), normal(rng, 200, 1, 2, 2)
    net = student.probe("TimeAffine", normal(rng, 5), normal(rng, 5))
    assert_gradient_reaches(student.ddpm_loss, net, x_0, betas, of=net, what=what)
    assert_unchanged_arguments(student.ddpm_loss, net, x_0, betas, what=what)
    recorder = student.probe("Recorder", net)
    assert_dtype(student.ddpm_loss(recorder, x_0.float(), betas), torch.float32, f"{what} of float32")
    assert_dtype(asked(recorder, 2, what)[0][0], torch.float32, f"what {what} of float32 shows its network")
