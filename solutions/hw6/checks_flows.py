"""Homework 6, hidden checks of tasks 2.7 to 2.10: flow matching, sampling, pairs, straightness."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    GaussianVelocity,
    LinearInTime,
    Wrong,
    assert_close,
    assert_coupling_optimal,
    assert_covers_times,
    assert_dtype,
    assert_shape,
    assert_standard_normal,
    assert_straight_paths,
    assert_straightness,
    assert_tuple,
    assert_unchanged_arguments,
    euler_path,
    parameter_gradients,
    records,
)

from ..common.draws import F64, normal
from .properties import SHAPES, asked, assert_asked_at, assert_clean_sampler, assert_single, covariance, number


@pytest.mark.graded("fm-loss", points=0.2)
def test_paths(student, rng):
    """Point and target row by row, with 0 and 1 among the times, and as many samples as columns."""
    for shape in ((8,), (1, 2, 8)):
        times = torch.cat([torch.tensor([0.0, 1.0], dtype=F64), torch.rand(6, generator=rng, dtype=F64)])
        x_0, x_1 = normal(rng, 8, *shape), 1 + 2 * normal(rng, 8, *shape)
        assert_straight_paths(student.fm_path, x_0, x_1, times)
    assert_unchanged_arguments(student.fm_path, x_0, x_1, times, what="`fm_path`")
    x_t, target = student.fm_path(x_0.float(), x_1.float(), times.float())
    assert_single(x_t, x_0.shape, "x_t of `fm_path`")
    assert_single(target, x_0.shape, "the target of `fm_path`")


def seen(recorder, x_1, count, what):
    """Points, times and the noise in them of `count` calls, each with all rows of x_1."""
    shown = asked(recorder, what)
    if len(shown) != count or any(x.shape != x_1.shape for x, _ in shown):
        raise Wrong(f"{what} should ask its network once, with all rows")
    found = []
    for x, t in shown:
        assert_dtype(t, x_1.dtype, f"the time that {what} shows its network")
        wide = t.reshape(-1, *[1] * (x.dim() - 1))
        found.append((x, t, (x - wide * x_1) / (1 - wide), wide))
    return found


@pytest.mark.graded("fm-loss", points=0.35)
def test_loss_at_what_the_network_saw(student, rng):
    """The exact loss at the points and times shown; normal noise, uniform times, both fresh."""
    loss_of, what = student.fm_loss, "`fm_loss`"
    for shape, (value, slope, weight) in zip(SHAPES, ((3.0, 0.0, 0.0), (0.0, 2.0, 0.5)), strict=True):
        net, twin = student.probe("LinearInTime", value, slope, weight), LinearInTime(value, slope, weight)
        recorder, x_1 = student.probe("Recorder", net), 1 + 2 * normal(rng, 4000, *shape)
        losses = [loss_of(recorder, x_1) for _ in range(2)]
        assert_covers_times(records(recorder), interval=(0.0, 1.0))
        noises = []
        for loss, (x, t, noise, _) in zip(losses, seen(recorder, x_1, 2, what), strict=True):
            with torch.no_grad():
                error = twin(x, t).expand(x.shape) - (x_1 - noise)
                turned = twin(x, t).expand(x.shape) + (x_1 - noise)
            hints = {
                "the target points from the data to the noise": turned.square().mean(),
                "this sums over the entries of a sample": error.square().flatten(1).sum(1).mean(),
            }
            said = f"{what} at the points that the network saw"
            assert_close(loss, error.square().mean(), said, rtol=1e-6, alternatives=hints)
            noises.append(torch.where(((1 - t) > 1e-6).reshape(-1, *[1] * len(shape)), noise, normal(rng, *x.shape)))
        assert_standard_normal(noises, what=f"the noise of {what}, x_0 = (x_t − t x_1)/(1 − t),")
    grads = parameter_gradients(loss_of, net, x_1[:50], of=net)
    if grads["weight"] is None or not bool(grads["weight"].any()):
        raise Wrong(f"no gradient of {what} reaches the network")
    assert_unchanged_arguments(loss_of, net, x_1[:9], what=what)
    assert_dtype(loss_of(net, x_1[:9].float()), torch.float32, f"{what} of float32")


@pytest.mark.graded("fm-loss", points=0.2)
def test_given_noise_and_the_floor(student, rng):
    """Noise that is given is used row by row; the exact velocity has the least loss there is."""
    what = "`fm_loss`"
    for shape in SHAPES:
        recorder = student.probe("Recorder", student.probe("Constant", 3.0))
        x_0, x_1 = 5 + normal(rng, 60, *shape), normal(rng, 60, *shape)
        losses = [student.fm_loss(recorder, x_1, x_0) for _ in range(2)]
        both = seen(recorder, x_1, 2, what)
        for loss, (x, _, _, wide) in zip(losses, both, strict=True):
            assert_close(
                x, (1 - wide) * x_0 + wide * x_1, f"the points that {what} makes of noise given", rtol=1e-8, atol=1e-8
            )
            assert_close(loss, (3 - (x_1 - x_0)).square().mean(), f"{what} of a constant 3 with noise given", rtol=1e-7)
        if torch.equal(both[0][1], both[1][1]):
            raise Wrong(f"two calls of {what} have the same times")
    mean, cov = normal(rng, 2), covariance(rng, 2)
    root = torch.linalg.cholesky(cov)
    x_1 = mean + normal(rng, 20_000, 2) @ root.T
    loss = float(assert_shape(student.fm_loss(student.probe("GaussianVelocity", mean, cov), x_1), (), what))
    variances = torch.linalg.eigvalsh(cov)
    floor, room = math.pi / 2 * float(variances.sqrt().mean()), 6 * math.sqrt(3 / 20_000) * (1 + float(variances.max()))
    if not abs(loss - floor) <= room:
        raise Wrong(f"{what} of the exact velocity should be near its floor {floor:.3f}, it is {loss:.3f}")


def exact_model(student, rng, shape):
    """A perfect network, in the sandbox and here."""
    weights = 1 + normal(rng, *shape), covariance(rng, math.prod(shape))
    return student.probe("GaussianVelocity", *weights), GaussianVelocity(*weights)


@pytest.mark.graded("fm-sample", points=0.4)
def test_euler_recursion(student, rng):
    """Row by row the points of Euler's method, for one step, two, and more; the times that are read."""
    what = "`fm_sample`"
    for shape in SHAPES:
        net, twin = exact_model(student, rng, shape)
        x_0 = normal(rng, 5, *shape)
        for n in (1, 2, 4, 9):
            recorder = student.probe("Recorder", net)
            found = student.fm_sample(recorder, x_0, n)
            points, _ = euler_path(twin, x_0, n)
            shown = asked(recorder, what)
            assert_asked_at(shown, [k / n for k in range(n)], what)
            assert_close(found, points[-1], f"{what} with {n} step{'s' * (n > 1)}", rtol=1e-8, atol=1e-8)
        assert_clean_sampler(student.fm_sample, net, net, x_0, 3, what=what)
    assert_single(student.fm_sample(net, x_0.float(), 3), x_0.shape, what)


@pytest.mark.graded("fm-sample", points=0.35)
def test_velocity_and_score(student, rng):
    """Each from the other on Gaussians with full covariance, at a time for each sample and at one."""
    for shape in ((4,), (1, 2, 4)):
        mean, cov = normal(rng, *shape), covariance(rng, math.prod(shape))
        twin, x = GaussianVelocity(mean, cov), normal(rng, 4, *shape)
        ends = torch.tensor([1e-3, number(rng, 0.2, 0.8), 0.99, 0.999], dtype=F64)
        for t in (0.1 + 0.8 * torch.rand(4, generator=rng, dtype=F64), number(rng, 0.2, 0.8), ends):
            each = torch.as_tensor(t, dtype=F64).expand(4)
            away = (x - each.reshape(-1, *[1] * len(shape)) * mean).flatten(1)
            eye = torch.eye(len(cov), dtype=F64)
            score = torch.stack(
                [-torch.linalg.solve(s**2 * cov + (1 - s) ** 2 * eye, row) for s, row in zip(each, away, strict=True)]
            )
            score = score.reshape(x.shape)
            with torch.no_grad():
                v = twin(x, each)
            for name, given, right in (("velocity_to_score", v, score), ("score_to_velocity", score, v)):
                said = f"`{name}` with {'a time for each sample' if isinstance(t, torch.Tensor) else 'one time'}"
                found = assert_unchanged_arguments(getattr(student, name), given, x, t, what=f"`{name}`")
                assert_close(found, right, said, rtol=1e-8, atol=1e-8)
    for name in ("velocity_to_score", "score_to_velocity"):
        assert_single(getattr(student, name)(v.float(), x.float(), 0.5), x.shape, f"`{name}`")


@pytest.mark.graded("ot", points=0.35)
def test_pairs_are_optimal(student, rng):
    """A permutation of the least cost for 1 to 64 points, on a line, in the plane, for images, and with ties."""
    what = "`ot_pairing`"
    for n, shape in ((1, (2,)), (2, (2,)), (7, (1,)), (64, (2,)), (64, (2,)), (24, (1, 2, 2))):
        x_0, x_1 = normal(rng, n, *shape), 1 + 2 * normal(rng, n, *shape)
        found = assert_unchanged_arguments(student.ot_pairing, x_0, x_1, what=what)
        assert_coupling_optimal(assert_dtype(found, torch.int64, what), x_0, x_1, what=what)
    twice = torch.cat([x_1[:5], x_1[:5]])
    assert_coupling_optimal(student.ot_pairing(twice, twice), twice, twice, what=what)


@pytest.mark.graded("ot", points=0.2)
def test_labels_move_with_their_data(student, rng):
    """Noise stays, data come in the order of the best pairs, and each datum keeps its label."""
    what = "`ot_fm_batch`"
    for shape in ((2,), (1, 2, 2)):
        x_0, x_1 = normal(rng, 40, *shape), normal(rng, 40, *shape)
        y = torch.randperm(40, generator=rng)  # a label of its own for each datum
        answer = assert_unchanged_arguments(student.ot_fm_batch, x_0, x_1, y, what=what)
        noise, data, labels = assert_tuple(answer, 3, f"the result of {what}", names=("x_0", "x_1", "y"))
        assert_close(noise, x_0, f"x_0 of {what}")
        labels = assert_shape(labels, (40,), f"y of {what}").long()
        if not torch.equal(labels.sort().values, torch.arange(40)):
            raise Wrong(f"y of {what} should hold every label once")
        order = y.argsort()[labels]  # where each label stood
        assert_close(data, x_1[order], f"x_1 of {what}, in the order of its labels")
        assert_coupling_optimal(order, x_0, x_1, what=f"the pairs of {what}")


@pytest.mark.graded("reflow", points=0.35)
def test_pairs_of_a_flow(student, rng):
    """The noise that was given, in its rows, and where Euler's method takes exactly this noise."""
    what = "`reflow_pairs`"
    for shape in SHAPES:
        net, twin = exact_model(student, rng, shape)
        x_0 = normal(rng, 6, *shape)
        for n in (1, 4):
            pairs = assert_tuple(student.reflow_pairs(net, x_0, n), 2, f"the result of {what}", names=("x_0", "x_1"))
            assert_close(pairs[0], x_0, f"x_0 of {what}")
            assert_close(
                pairs[1], euler_path(twin, x_0, n)[0][-1], f"x_1 of {what} with {n} steps", rtol=1e-8, atol=1e-8
            )
        assert_clean_sampler(student.reflow_pairs, net, net, x_0, 3, what=what)
    assert_single(student.reflow_pairs(net, x_0.float(), 2)[1], x_0.shape, f"x_1 of {what}")


@pytest.mark.graded("reflow", points=0.4)
def test_straightness(student, rng):
    """The exact value for constant fields, one step, several, in several dimensions."""
    for shape in ((1,), *SHAPES):
        net, twin = exact_model(student, rng, shape)
        x_0 = normal(rng, 6, *shape)
        for n in (1, 2, 5):
            assert_straightness(student.straightness, net, twin, x_0, n, asked="of a Gaussian flow", tolerance=1e-8)
        assert_clean_sampler(student.straightness, net, net, x_0, 3, what="`straightness`")
    still = student.probe("Constant", normal(rng, 2))
    assert_close(
        student.straightness(still, normal(rng, 5, 2), 7), 0.0, "`straightness` of a constant field", atol=1e-9
    )
