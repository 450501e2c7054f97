"""Homework 5, hidden checks of tasks 2.1 to 2.4: walks along scores, and how scores are learned."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    SigmaScore,
    TanhScore,
    Wrong,
    assert_close,
    assert_consistent_noising,
    assert_covers_times,
    assert_dtype,
    assert_gradient_reaches,
    assert_no_gradient_reaches,
    assert_score_of,
    assert_steps_follow,
    call,
    gaussian_recursion,
    mixture_log_prob,
    parameter_gradients,
    records,
)

from ..common.draws import F64, normal, randint
from .laws import annealed_steps, langevin_steps
from .properties import SHAPES, asked, assert_clean_sampler, assert_law, data_law


@pytest.mark.graded("langevin", points=0.25)
def test_score_of_mixtures(student, rng):
    """The score is the gradient of the log-density, near the means and far from all of them."""
    for B, K, D in ((6, 3, 2), (3, 3, 3), (4, 1, 5), (5, 4, 1)):
        means, stds = 1.5 * normal(rng, K, D), 0.3 + torch.rand(K, generator=rng, dtype=F64)
        weights = (0.1 + torch.rand(K, generator=rng, dtype=F64)) ** 2
        law = (means, stds, weights / weights.sum())
        x = 1.5 * normal(rng, B, D)
        far = 1000 * torch.nn.functional.normalize(normal(rng, B, D), dim=1)

        def log_prob(y, law=law):
            return mixture_log_prob(y, *law)

        for points, where in ((x, f"of {K} components in {D} dimensions"), (far, "at distance 1000")):
            assert_score_of(student.mixture_score, log_prob, points, *law, asked=where)
    found = student.mixture_score(x.float(), *(part.float() for part in law))
    assert_dtype(found, torch.float32, "`mixture_score` of float32")


@pytest.mark.graded("langevin", points=0.3)
def test_steps_of_a_langevin_chain(student, rng):
    """Each step of a short chain has its exact law, and the network is asked once for each."""
    what = "`langevin_chain`"
    for shape in SHAPES:
        (mean, std), eta, n = data_law(rng, shape), 0.2 + 0.3 * float(torch.rand((), generator=rng)), 4
        score = student.probe("SigmaScore", mean, std)
        exact = student.probe("AffineScore", -1 / std.square(), mean / std.square())
        recorder, x = student.probe("Recorder", exact), 0.3 * normal(rng, 4000, *shape)
        result = student.langevin_chain(x, recorder, eta, n)
        states = [points for (points,) in asked(recorder, 1, what)]
        assert_steps_follow([*states, result], *langevin_steps(mean, std.square(), eta, n), what=what)
        assert_close(states[0], x, f"what {what} asks first")
        assert_close(student.langevin_chain(x[:5], score, eta, 0), x[:5], f"{what} with 0 steps")
    assert_clean_sampler(student.langevin_chain, exact, x[:5], exact, eta, 2, what=what)
    short = student.probe("AffineScore", -1.0)
    assert_dtype(student.langevin_chain(x[:5].float(), short, eta, 2), torch.float32, f"{what} of float32")


@pytest.mark.graded("ebm", points=0.3)
def test_contrastive_loss_and_its_gradient(student, rng):
    """Value with and without the penalty, for batches of different sizes; the gradient by a table of energies."""
    what = "`contrastive_loss`"
    A, b = normal(rng, 3, 3), normal(rng, 3)
    energy = student.probe("Quadratic", A, b, 0.7)
    data, samples = normal(rng, 7, 3), 1 + normal(rng, 12, 3)
    of_data, of_samples = (0.5 * ((x @ A) * x).sum(1) + x @ b + 0.7 for x in (data, samples))
    for reg in (0.0, 0.3):
        penalty = of_data.square().mean() + of_samples.square().mean()
        gap = of_data.mean() - of_samples.mean()
        joined = torch.cat([of_data, of_samples]).square().mean()
        other = {
            "the two terms are exchanged": -gap + reg * penalty,
            "the penalty is one mean over both batches": gap + reg * joined,
        }
        found = student.contrastive_loss(energy, data, samples, reg)
        assert_close(found, gap + reg * penalty, f"{what} with reg = {reg}", rtol=1e-9, alternatives=other)
    assert_close(student.contrastive_loss(energy, data, samples), gap, f"{what} without reg", rtol=1e-9)
    assert_no_gradient_reaches(student.contrastive_loss, energy, data, samples, 0.3, wrt=2, what=what)
    counts = torch.randint(1, 5, (32,), generator=rng)
    states = torch.tensor([[k >> i & 1 for i in range(4, -1, -1)] for k in range(32)]).to(F64)
    table, seen = student.probe("TableEnergy", -counts.to(F64).log()), torch.randint(0, 32, (40,), generator=rng)
    drawn = states.repeat_interleave(counts, 0)  # exactly the model's law
    share, p = torch.bincount(seen, minlength=32).to(F64) / 40, counts.to(F64) / counts.sum()
    for reg in (0.0, 0.2):
        right = share - p - 2 * reg * counts.to(F64).log() * (share + p)
        found = parameter_gradients(student.contrastive_loss, table, states[seen], drawn, reg, of=table)["energies"]
        assert_close(found, right, f"the gradient of {what} by the energies of all states, reg = {reg}", rtol=1e-9)


@pytest.mark.graded("ebm", points=0.25)
def test_steps_of_negative_samples(student, rng):
    """Each step of a chain on a quadratic energy has its exact law; the energy's parameters are left alone."""
    what = "`negative_samples`"
    root, b, eta, n = normal(rng, 2, 2), normal(rng, 2), 0.1 + 0.1 * float(torch.rand((), generator=rng)), 4
    A = root @ root.T + 0.3 * torch.eye(2, dtype=F64)
    eigenvalues, V = torch.linalg.eigh(A)
    energy = student.probe("Quadratic", A, b)
    recorder, x = student.probe("Recorder", energy), 2 * normal(rng, 4000, 2)
    result = student.negative_samples(recorder, x, eta, n)
    states = [*(points for (points,) in asked(recorder, 1, what)), result]
    if any(state.shape != x.shape for state in states):
        raise Wrong(f"{what} should ask about the whole batch, {tuple(x.shape)}, at every step, and return that shape")
    steps = langevin_steps(-(V.T @ b) / eigenvalues, 1 / eigenvalues, eta, n)
    assert_steps_follow([state.double() @ V for state in states], *steps, what=what)
    few = x[:5]
    assert_close(student.negative_samples(energy, few, eta, 0), few, f"{what} with 0 steps")
    assert_clean_sampler(student.negative_samples, energy, energy, few, eta, 2, what=what)
    assert_gradient_reaches(student.contrastive_loss, energy, few, few + 1, 0.3, of=energy, what=f"a loss after {what}")
    images = student.probe("Quadratic", torch.eye(4, dtype=torch.float32), torch.zeros(4))
    found = student.negative_samples(images, normal(rng, 3, 1, 2, 2).float(), eta, 2)
    assert_dtype(found, torch.float32, f"{what} of float32 images")


def nonlinear(student, rng, shape):
    """A score that mixes all entries of a sample, and its weights."""
    D = math.prod(shape)
    A, b = normal(rng, D, D), normal(rng, D)
    return student.probe("TanhScore", A, b), TanhScore(A, b), A


@pytest.mark.graded("dsm", points=0.35)
def test_denoising_loss(student, rng):
    """The exact value for given noise, of vectors and images, and its gradient by the weights."""
    what = "`dsm_loss`"
    for shape in ((3,), (2, 1, 2)):
        score, twin, _ = nonlinear(student, rng, shape)
        x, noise, sigma = 2 * normal(rng, 6, *shape), normal(rng, 6, *shape), 0.3 + float(torch.rand((), generator=rng))

        def value(at, target, twin=twin):
            with torch.no_grad():
                return (twin(at) + target).flatten(1).square().sum(1).mean()

        y = x + sigma * noise
        other = {
            "the target has the wrong sign": value(y, -noise / sigma),
            "the target is −ε here, it should be −ε/σ": value(y, noise),
            "the target is −ε/σ² here": value(y, noise / sigma**2),
            "the score is asked at the clean points": value(x, noise / sigma),
            "the noise added to the points is σ² ε": value(x + sigma**2 * noise, noise / sigma),
            "this is multiplied by σ², as for many levels": sigma**2 * value(y, noise / sigma),
        }
        sizes = {"dimensions": math.prod(shape), "samples": 6}
        found = student.dsm_loss(score, x, sigma, noise)
        assert_close(found, value(y, noise / sigma), what, rtol=1e-9, alternatives=other, sizes=sizes)
    A, b = normal(rng, 3, 3), normal(rng, 3)
    x, noise = normal(rng, 8, 3), normal(rng, 8, 3)
    affine, y = student.probe("AffineScore", A, b), x + sigma * noise
    right = 2 * (y @ A.T + b + noise / sigma).T @ y / 8
    found = parameter_gradients(student.dsm_loss, affine, x, sigma, noise, of=affine)["a"]
    assert_close(found, right, f"the gradient of {what} by the matrix of a linear score", rtol=1e-8)


@pytest.mark.graded("dsm", points=0.3)
def test_sliced_loss_is_the_trace_on_average(student, rng):
    """Averaged over the directions of an orthonormal basis it is tr J + ½‖s‖² exactly, and v is used as it is."""
    what = "`sliced_loss`"
    for shape in ((4,), (1, 2, 2)):
        D = math.prod(shape)
        score, twin, A = nonlinear(student, rng, shape)
        x, basis = normal(rng, 5, *shape), torch.linalg.qr(normal(rng, D, D))[0]
        with torch.no_grad():
            s = twin(x).flatten(1)
        slope = 1 - s.square()
        found = [
            call(student.sliced_loss, score, x, (math.sqrt(D) * q).reshape(1, *shape).expand(5, *shape), grad=True)
            for q in basis.T
        ]
        trace, half = (slope * A.diagonal()).sum(1).mean(), s.square().sum(1).mean() / 2
        other = {
            "the factor ½ is missing": trace + 2 * half,
            "the factor ½ is on the wrong term": trace / 2 + 2 * half,
            "this is 1/D of what it should be: v is used with another length than it has": (trace + half) / D,
        }
        mean = sum(found) / D
        sizes = {"dimensions": D, "samples": 5}
        assert_close(mean, trace + half, f"the mean of {what} over a basis", rtol=1e-8, alternatives=other, sizes=sizes)
    v = normal(rng, 5, *shape)
    J = slope[:, :, None] * A  # (B, D, D)
    w = v.flatten(1)
    right = ((w[:, None] @ J @ w[:, :, None]).flatten() + (w * s).sum(1).square() / 2).mean()
    assert_close(call(student.sliced_loss, score, x, v, grad=True), right, f"{what} along drawn directions", rtol=1e-8)


@pytest.mark.graded("dsm", points=0.3)
def test_gradient_of_the_sliced_loss(student, rng):
    """Both terms train: the gradient by the matrix of a linear score."""
    A, b, x, v = normal(rng, 3, 3), normal(rng, 3), normal(rng, 8, 3), normal(rng, 8, 3)
    affine = student.probe("AffineScore", A, b)
    found = parameter_gradients(student.sliced_loss, affine, x, v, of=affine)["a"]
    along = (v * (x @ A.T + b)).sum(1)
    second = (along[:, None] * v).T @ x / 8
    other = {"only the squared term trains: the graph of the first gradient is missing": second}
    what = "the gradient of `sliced_loss` by the matrix of a linear score"
    found = torch.zeros(3, 3) if found is None else found
    assert_close(found, v.T @ v / 8 + second, what, rtol=1e-8, alternatives=other)


@pytest.mark.graded("ncsn", points=0.4)
def test_ncsn_loss(student, rng):
    """The exact value at the points and levels that the network saw; levels uniform, noise fresh."""
    what, sigmas = "`ncsn_loss`", sorted((0.3 + 2 * torch.rand(4, generator=rng, dtype=F64)).tolist(), reverse=True)
    for shape, dtype in zip(SHAPES, (F64, torch.float32), strict=True):
        mean, std = data_law(rng, shape)
        inner, twin = student.probe("SigmaScore", mean, std), SigmaScore(mean, std)
        recorder, x = student.probe("Recorder", inner), (4 * normal(rng, 4000, *shape)).to(dtype)
        losses = [student.ncsn_loss(recorder, x, sigmas) for _ in range(2)]
        shown = asked(recorder, 2, what)
        if len(shown) != 2:
            raise Wrong(f"{what} should ask its network once, it does so {len(shown) / 2:g} times")
        for _, level in shown:
            assert_dtype(level, dtype, f"the level that {what} shows its network")
        calls = records(recorder)
        assert_covers_times(calls, values=torch.tensor(sigmas, dtype=F64), what="the level")
        near = (0.99 * sigmas[-1], 1.01 * sigmas[0])
        seen = assert_consistent_noising(calls, x, torch.ones_like, lambda sigma: sigma, interval=near)
        for loss, rows in zip(losses, (slice(4000), slice(4000, 8000)), strict=True):
            at, sigma, noise = seen.x[rows], seen.t[rows].double(), seen.noise[rows]
            with torch.no_grad():
                error = twin(at, sigma)
            wide = sigma.reshape(-1, *[1] * len(shape))

            def value(e):
                return e.flatten(1).square().sum(1).mean()
            other = {
                "the weight σ² is missing": value(error + noise / wide),
                "the weight is 1/σ² where it should be σ²": value((error + noise / wide) / wide),
                "the noise has the wrong sign in the target": value(wide * error - noise),
            }
            sizes = {"dimensions": math.prod(shape), "samples": 4000}
            tight = 1e-8 if dtype == F64 else 1e-4
            assert_close(loss, value(wide * error + noise), what, rtol=tight, alternatives=other, sizes=sizes)
            assert_dtype(loss, dtype, what)
    assert_gradient_reaches(student.ncsn_loss, inner, x, sigmas, of=inner, what=what)


@pytest.mark.graded("ncsn", points=0.35)
def test_steps_of_annealed_langevin(student, rng):
    """The levels in order, n steps at each, and every step has its exact law."""
    what, sigmas, n, eps = "`annealed_langevin`", [2.0, 1.0, 0.5], randint(rng, 2, 4), 0.2
    for shape in SHAPES:
        mean, std = data_law(rng, shape)
        inner = student.probe("SigmaScore", mean, std)
        recorder, x = student.probe("Recorder", inner), normal(rng, 4000, *shape)
        result = student.annealed_langevin(recorder, x, sigmas, n, eps)
        shown = asked(recorder, 2, what)
        expected = [sigma for sigma in sigmas for _ in range(n)]
        if len(shown) != len(expected):
            raise Wrong(f"{what} asks its network {len(shown)} times; {len(sigmas)} levels of {n} steps were asked for")
        for number, ((_, level), sigma) in enumerate(zip(shown, expected, strict=True), 1):
            name = f"the level in call {number} of {what}"
            assert_close(assert_dtype(level, F64, name), torch.full((4000,), sigma, dtype=F64), name)
        steps = annealed_steps(mean, std, sigmas, n, eps)
        assert_steps_follow([*(points for points, _ in shown), result], *steps, what=what)
    assert_clean_sampler(student.annealed_langevin, inner, inner, x[:4], sigmas, 2, eps, what=what)
    found = student.annealed_langevin(inner, x[:4].float(), sigmas, 2, eps)
    assert_dtype(found, torch.float32, f"{what} of float32")


@pytest.mark.graded("ncsn", points=0.2)
def test_law_of_annealed_langevin(student, rng):
    """20,000 chains end in the exact law of this sampler, which is not that of the data."""
    mean, std = data_law(rng, (2,))
    start, sigmas = 0.5 * normal(rng, 20_000, 2), [2.0, 1.0, 0.5]
    result = student.annealed_langevin(student.probe("SigmaScore", mean, std), start, sigmas, 3, 0.2)
    law = gaussian_recursion(*annealed_steps(mean, std, sigmas, 3, 0.2), mean=torch.zeros(2), variance=0.25)
    assert_law(result, *law, "`annealed_langevin`")
