"""Homework 5, public checks: what `check("...")` runs in the notebook.

Each looks at one property, on a small example drawn anew in every run, in well under a second. The grader runs these
and others of the same kind.
"""

import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from autograder.checks import (
    CourseData,
    MixtureScore,
    assert_batch_consistent,
    assert_close,
    assert_learns,
    assert_score,
    assert_shape,
    assert_tuple,
    call,
    gradient,
    hands_over,
    records,
    state_dict,
    train_network,
)

F64 = torch.float64


def normal(rng, *shape):
    return torch.randn(shape, generator=rng, dtype=F64)


def number(rng, low, high):
    return float(torch.empty((), dtype=F64).uniform_(low, high, generator=rng))


def betas_of(rng, steps):
    return 0.05 + 0.3 * torch.rand(steps, generator=rng, dtype=F64)


def indices(n, value):
    return torch.full((n,), value)


# What the notebook is handed


class Mixture(NamedTuple):
    """Four isotropic Gaussians in the plane: weights (4,), means (4, 2), deviations (4,)."""

    weights: torch.Tensor
    means: torch.Tensor
    stds: torch.Tensor

    def draw(self, n, rng):
        """n points, (n, 2), float64."""
        mode = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        return self.means[mode] + self.stds[mode, None] * normal(rng, n, 2)


@hands_over("mixture")
def mixture(law_rng, rng):
    """Weights 0.1 to 0.4 in some order, centres 1.3 to 1.8 from 0 and about 90° apart, deviations 0.15 to 0.3."""
    share = torch.rand(4, 4, generator=law_rng, dtype=F64)
    angle = math.pi / 2 * torch.arange(4) + 0.4 * (share[0] - 0.5) + 2 * math.pi * share[3, 0]
    means = (1.3 + 0.5 * share[1])[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    weights = (torch.randperm(4, generator=law_rng) + 1).double() / 10
    law = Mixture(weights, means, 0.15 + 0.15 * share[2])
    return CourseData({"mixture_train": law.draw(8000, rng).float()}, law)


@hands_over("digits")
def digits(law_rng, rng):
    """6000 black and white pictures, -1 and +1: a line of the file is a class and 64 pixels in hexadecimal."""
    file = Path(__file__).parent / "digits.txt"
    assert file.is_file(), f"{file.name} of the homework's zip should lie beside {Path(__file__).name}"
    pictures = [int(line.split()[1], 16) for line in file.read_text().splitlines()]
    images = torch.tensor([[picture >> k & 1 for k in range(63, -1, -1)] for picture in pictures]).float()
    return CourseData({"digits_train": 2 * images.reshape(-1, 1, 8, 8) - 1})


# Part 1


@pytest.mark.graded("theory-langevin-code", points=0.15)
def test_no_step_and_one_step(student, rng):
    """Without a step the variance stays; after one step from variance 0 it is the step size."""
    sigma2, eta, start = number(rng, 0.5, 2), number(rng, 0.1, 0.5), number(rng, 0.5, 2)
    assert_close(student.langevin_variance(sigma2, eta, 0, start), start, "`langevin_variance` after 0 steps")
    assert_close(student.langevin_variance(sigma2, eta, 1, 0.0), eta, "`langevin_variance` after a step from 0")
    assert_close(student.langevin_variance(1.0, 0.4, 300, 1.0), 10 / 9, "`langevin_variance` of the text", atol=1e-6)
    assert_close(student.langevin_variance(1.0, 6.0, 3, 1.0), 190.0, "`langevin_variance` of three long steps")
    ends = [float(student.langevin_variance(sigma2, eta, 2000, v)) for v in (start, 2 * start)]
    assert_close(ends[1], ends[0], "`langevin_variance` after 2000 steps: from twice the variance the same,")


@pytest.mark.graded("theory-dsm-code", points=0.15)
def test_a_point_mass_has_no_floor(student, rng):
    """Data that are one point leave no doubt: the floor is 0. In one dimension the number of the text."""
    D, sigma = int(torch.randint(1, 5, (), generator=rng)), number(rng, 0.3, 2)
    assert_close(student.dsm_floor(torch.zeros(D, D, dtype=F64), sigma), 0.0, "`dsm_floor` of a point", atol=1e-9)
    value = student.dsm_floor(torch.tensor([[1.5]], dtype=F64), 0.8)
    assert_close(value, 1.0952, "`dsm_floor` for Σ = 1.5, σ = 0.8", atol=1e-4)
    root = normal(rng, 3, 3)
    once, twice = student.dsm_floor(root @ root.T, sigma), student.dsm_floor(4 * root @ root.T, 2 * sigma)
    assert_close(twice, float(once) / 4, "`dsm_floor` of data and noise that are twice as large: a quarter,", rtol=1e-5)
    a, b = number(rng, 0.5, 3), number(rng, 0.5, 3)
    floors = [float(student.dsm_floor(torch.diag(torch.tensor(v, dtype=F64)), sigma)) for v in ([a, b], [a], [b])]
    assert_close(floors[0], floors[1] + floors[2], "`dsm_floor` of independent entries: the sum of theirs,", rtol=1e-6)


@pytest.mark.graded("theory-posterior-code", points=0.15)
def test_clean_data_are_certain(student, rng):
    """Where ᾱ_s = 1 the posterior is x_0 itself, without variance. In one dimension the numbers of the text."""
    x_0, x_t, abar_t = normal(rng, 4, 2), normal(rng, 4, 2), number(rng, 0.2, 0.9)
    answer = student.posterior(x_0, x_t, 1.0, abar_t)
    mean, variance = assert_tuple(answer, 2, "the result of `posterior`", names=("mean", "variance"))
    assert_close(mean, x_0, "the mean of `posterior` at ᾱ_s = 1")
    assert_close(variance, 0.0, "the variance of `posterior` at ᾱ_s = 1")
    one = torch.ones(1, 1, dtype=F64)
    mean, variance = student.posterior(one, 2 * one, 0.9, 0.72)
    assert_close(mean, 1.3165 * one, "the mean of `posterior` in the text", atol=1e-4)
    assert_close(variance, 0.0714, "the variance of `posterior` in the text", atol=1e-4)
    once, twice = (student.posterior(k * x_0, k * x_t, 0.9, abar_t * 0.9)[0] for k in (1, 2))
    assert_close(twice, 2 * once, "the mean of `posterior` of points twice as far out: it is twice as far,")


@pytest.mark.graded("theory-guidance-code", points=0.15)
def test_guidance_at_both_ends(student, rng):
    """w = 0 is the unconditional law, w = 1 the conditional one."""
    m_c, m_u, s_c, s_u = number(rng, 0, 2), number(rng, -2, 0), number(rng, 0.3, 1), number(rng, 1, 2)
    for w, mean, std in ((0.0, m_u, s_u), (1.0, m_c, s_c)):
        answer = student.guided_gaussian(m_c, s_c, m_u, s_u, w)
        found = assert_tuple(answer, 2, "the result of `guided_gaussian`", names=("mean", "std"))
        assert_close(found[0], mean, f"the mean of `guided_gaussian` at w = {w:g}", atol=1e-7)
        assert_close(found[1], std, f"the deviation of `guided_gaussian` at w = {w:g}")
    half = float(student.guided_gaussian(m_c, s_c, m_u, s_u, 0.5)[1])
    between = (s_c**-2 + s_u**-2) / 2
    assert_close(half**-2, between, "the precision of `guided_gaussian` at w = 0.5: half-way between,", rtol=1e-6)


# Part 2


@pytest.mark.graded("langevin", points=0.2)
def test_one_gaussian_and_one_step(student, rng):
    """One Gaussian's score is (m − x)/s²; one step along a constant score moves the mean by η/2 times it."""
    m, s, x = normal(rng, 1, 3), number(rng, 0.5, 2), normal(rng, 5, 3)
    score = student.mixture_score(x, m, torch.tensor([s], dtype=F64), torch.ones(1, dtype=F64))
    assert_close(score, (m - x) / s**2, "`mixture_score` of one Gaussian")
    eta = number(rng, 0.2, 0.6)
    ends = student.langevin_chain(torch.zeros(4000, 2, dtype=F64), student.probe("Constant", 10.0), eta, 1)
    ends = assert_shape(ends, (4000, 2), "`langevin_chain`")
    off = float(ends.mean()) - 5 * eta
    assert abs(off) < 0.1, f"a step along a score of 10 should move the mean by 5 η, it is off by {off:.3f}"
    spread = float(ends.double().std()) / math.sqrt(eta)
    assert abs(spread - 1) < 0.08, f"the noise of a step should have deviation √η, it is {spread:.2f} times that"


@pytest.mark.graded("ebm", points=0.2)
def test_linear_energy(student, rng):
    """The loss of a linear energy is the difference of its means, and no gradient reaches the samples."""
    weight, data, samples = normal(rng, 3), normal(rng, 4, 3), normal(rng, 6, 3)
    energy = student.probe("Linear", weight)
    loss = student.contrastive_loss(energy, data, samples)
    assert_close(loss, (data @ weight).mean() - (samples @ weight).mean(), "`contrastive_loss` of a linear energy")
    g = gradient(student.contrastive_loss, energy, data, samples, wrt=2)
    assert g is None or not bool(g.any()), "no gradient should reach the samples"
    ends = student.negative_samples(energy, torch.zeros(4000, 3, dtype=F64), 1.0, 1)
    ends = assert_shape(ends, (4000, 3), "`negative_samples`").double()
    off = float((ends.mean(0) + weight / 2).abs().max())
    assert off < 0.1, f"a step of size 1 of `negative_samples` should move the mean by half the slope, off by {off:.3f}"
    spread = float(ends.sub(ends.mean(0)).square().mean().sqrt())
    assert abs(spread - 1) < 0.08, f"the noise of a step of size 1 should have deviation 1, it is {spread:.2f}"


@pytest.mark.graded("dsm", points=0.3)
def test_zero_score_and_one_dimension(student, rng):
    """A score of 0 leaves the mean of ‖noise‖²/σ²; s = −x at x = 2 gives 1 along 1 and 4 along 2."""
    x, noise, sigma = normal(rng, 5, 3), normal(rng, 5, 3), number(rng, 0.3, 2)
    zero, line = student.probe("AffineScore", 0.0), student.probe("AffineScore", -1.0)
    expected = noise.square().sum(1).mean() / sigma**2
    found = student.dsm_loss(zero, x, sigma, noise)
    assert_close(found, expected, "`dsm_loss` of a score that is 0", sizes={"dimensions": 3, "samples": 5})
    two = torch.full((3, 1), 2.0, dtype=F64)
    for v, value in ((1.0, 1.0), (2.0, 4.0)):
        found = call(student.sliced_loss, line, two, torch.full((3, 1), v, dtype=F64), grad=True)
        assert_close(found, value, f"`sliced_loss` of s = −x at 2, along {v:g}")


@pytest.mark.graded("ncsn", points=0.3)
def test_ncsn_of_a_zero_network(student, rng):
    """A network of zeros has a loss of about D; with it, n steps at one level add n·eps to the variance."""
    zero, D = student.probe("Constant", 0.0), int(torch.randint(2, 6, (), generator=rng))
    loss = float(student.ncsn_loss(zero, normal(rng, 3000, D), [2.0, 1.0, 0.5]))
    assert abs(loss / D - 1) < 0.15, f"the loss of a network of zeros should be about D = {D}, it is {loss:.3f}"
    ends = student.annealed_langevin(zero, torch.zeros(4000, 2, dtype=F64), [0.7], 5, 0.1)
    variance = float(assert_shape(ends, (4000, 2), "`annealed_langevin`").double().var())
    assert abs(variance / 0.5 - 1) < 0.12, f"5 steps of eps = 0.1 should add a variance of 0.5, got {variance:.3f}"


@pytest.mark.graded("schedule", points=0.2)
def test_schedule_of_the_text(student, rng):
    """ᾱ of three betas by hand, 1 before the first; the four betas of the text; x_t of a picture without noise."""
    betas, x = torch.tensor([0.1, 0.2, 0.3], dtype=F64), normal(rng, 4, 1, 2, 2)
    abar = student.abar_at(betas, torch.tensor([2, 0, -1, 1]), x)
    right = torch.tensor([0.504, 0.9, 1.0, 0.72], dtype=F64).reshape(4, 1, 1, 1)
    assert_close(abar, right, "`abar_at` for β = 0.1, 0.2, 0.3")
    cosine = torch.tensor([0.1530, 0.4170, 0.7079, 0.999], dtype=F64)
    assert_close(student.cosine_betas(4), cosine, "`cosine_betas(4)`", atol=1e-4)
    x_t = student.q_sample(x, indices(4, 1), betas, torch.zeros_like(x))
    assert_close(x_t, math.sqrt(0.72) * x, "`q_sample` with noise 0")


def mean_and_variance(answer, x, what):
    mean, variance = assert_tuple(answer, 2, f"the result of {what}", names=("mean", "variance"))
    one_each = (len(x), *[1] * (x.dim() - 1))
    assert_shape(mean, x.shape, f"the mean of {what}")
    return mean, assert_shape(variance, one_each, f"the variance of {what}")


@pytest.mark.graded("ddpm-reverse", points=0.2)
def test_last_step_back(student, rng):
    """At index 0 the step back returns the x_0 that was noised, with variance 0; at index 1 the numbers of the text."""
    betas, x_0, noise = torch.tensor([0.1, 0.2, 0.3], dtype=F64), normal(rng, 5, 2), normal(rng, 5, 2)
    x_t, what = math.sqrt(0.9) * x_0 + math.sqrt(0.1) * noise, "`reverse_mean_variance`"
    mean, variance = mean_and_variance(student.reverse_mean_variance(x_t, indices(5, 0), noise, betas), x_t, what)
    assert_close(mean, x_0, f"the mean of {what} at index 0")
    assert_close(variance, torch.zeros(5, 1, dtype=F64), f"the variance of {what} at index 0")
    two = torch.full((1, 1), 2.0, dtype=F64)
    noise = (two - math.sqrt(0.72)) / math.sqrt(0.28)
    mean, variance = mean_and_variance(student.reverse_mean_variance(two, indices(1, 1), noise, betas), two, what)
    assert_close(mean, torch.full((1, 1), 1.3165, dtype=F64), f"the mean of {what} in the text", atol=1e-4)
    assert_close(variance, torch.full((1, 1), 0.0714, dtype=F64), f"the variance of {what} in the text", atol=1e-4)


@pytest.mark.graded("ddpm-loss", points=0.2)
def test_ddpm_loss_of_a_zero_network(student, rng):
    """A network that answers 0 has a loss of about 1, whatever the data."""
    x, zero = 3 * normal(rng, 2000, 1, 2, 2), student.probe("Constant", 0.0)
    loss = float(assert_shape(student.ddpm_loss(zero, x, betas_of(rng, 7)), (), "`ddpm_loss`"))
    assert abs(loss - 1) < 0.12, f"the loss of a network of zeros should be about 1, it is {loss:.3f}"


@pytest.mark.graded("ddpm-sample", points=0.2)
def test_a_single_step_is_certain(student, rng):
    """With T = 1 nothing is random: the result is x̂_0."""
    betas, x, m = betas_of(rng, 1), normal(rng, 6, 2), number(rng, -2, 2)
    first, again = (student.ddpm_sample(student.probe("Constant", m), x, betas) for _ in range(2))
    assert_close(first, again, "a second call of `ddpm_sample` with T = 1")
    beta = float(betas[0])
    assert_close(first, (x - math.sqrt(beta) * m) / math.sqrt(1 - beta), "`ddpm_sample` with T = 1")


@pytest.mark.graded("ddim", points=0.25)
def test_deterministic_jumps(student, rng):
    """η = 0 gives the same twice; a single jump gives x̂_0, from whatever index."""
    betas, x, m = betas_of(rng, 8), normal(rng, 6, 2), number(rng, -2, 2)
    model = student.probe("Constant", m)
    first, again = (student.ddim_sample(model, x, betas, [1, 3, 7], 0.0) for _ in range(2))
    assert_close(first, again, "a second call of `ddim_sample` with η = 0")
    abar = float((1 - betas[:6]).prod())
    for eta in (0.0, 1.0):
        found = student.ddim_sample(model, x, betas, [5], eta)
        x_0 = (x - math.sqrt(1 - abar) * m) / math.sqrt(abar)
        assert_close(found, x_0, f"`ddim_sample` with one jump and η = {eta:g}")


@pytest.mark.graded("cfg", points=0.25)
def test_guidance_of_labels(student, rng):
    """w = 0 and w = 1 return the two answers; p = 0 keeps all labels, p = 1 drops all."""
    K, betas = 3, betas_of(rng, 6)
    networks = [student.probe("Constant", float(value)) for value in range(K + 1)]  # the answer is the label
    model, x = student.probe("Conditional", networks), normal(rng, 5, 2)
    y, t = torch.randint(0, K, (5,), generator=rng), torch.randint(0, 6, (5,), generator=rng)
    of_label, of_null = y.double()[:, None].expand(5, 2), torch.full((5, 2), float(K), dtype=F64)
    for w, right in ((0.0, of_null), (1.0, of_label)):
        found = student.guided_noise(model, x, t, y, K, w)
        assert_close(found.double(), right, f"`guided_noise` at w = {w:g}")
    for p, label in ((0.0, 1), (1.0, K)):
        recorder = student.probe("Recorder", model)
        student.cfg_loss(recorder, normal(rng, 40, 2), indices(40, 1), betas, K, p)
        shown = records(recorder)[0]["args"][2]
        assert_close(shown, indices(40, label), f"the labels that `cfg_loss` shows the network at p = {p:g}")
    ends = student.cfg_sample(model, x, y, betas, K, 1.0)
    assert_shape(ends, (5, 2), "`cfg_sample`")


# Part 3


def noised(x, abar, rng):
    """Points, times and noise, a drawn time for each row."""
    t = torch.randint(0, len(abar), (len(x),), generator=rng)
    kept, noise = abar[t].reshape(-1, *[1] * (x.dim() - 1)), torch.randn(x.shape, generator=rng)
    return (kept.sqrt() * x + (1 - kept).sqrt() * noise).float(), t, noise


def learns_a_little(make, x, abar, rng, what):
    """Shapes, rows apart; 60 steps by the judge's loop lower the error by a fifth, and then the answer depends on t."""
    net = make()
    points, t, noise = noised(x, abar, rng)
    few, T = points[:4], len(abar)
    assert_shape(call(net, few, t[:4], mode="eval"), few.shape, f"the answer of {what}")
    assert_batch_consistent(lambda a, b: call(net, a, b, mode="eval"), few, t[:4], what=what, atol=1e-3)
    def error():
        return float((call(net, points, t, mode="eval") - noise).square().mean())
    assert_learns(error, lambda: train_network(net, [points, t], noise, steps=60), share=0.8, what=what)
    early, late = (call(net, few, indices(4, k), mode="eval") for k in (0, T - 1))  # one that began with zeros too
    assert float((early - late).abs().max()) > 1e-6, f"the answer of {what} does not depend on t, even once it learns"


MIXTURE_ABAR = (1 - torch.linspace(0.001, 0.1, 100, dtype=F64)).cumprod(0)
DIGITS_ABAR = (1 - torch.linspace(5e-4, 0.1, 200, dtype=F64)).cumprod(0)


@pytest.mark.graded("train-mixture", points=0.1)
def test_a_new_plane_network_learns(student, rng):
    """A network of `make_mixture_denoiser()` answers each point by itself, knows t, and learns."""
    x = normal(rng, 1000, 2) + 1
    learns_a_little(student.make_mixture_denoiser, x, MIXTURE_ABAR, rng, "a new network of the plane")


def share_of_gaussian(net, law, rng):
    """Squared distance to the exact noise over a grid of t, as a share of the best single Gaussian's."""
    betas, ours, theirs = torch.linspace(0.001, 0.1, 100, dtype=F64), 0.0, 0.0
    exact = MixtureScore(law.means, law.stds, law.weights, betas)
    mean = (law.weights[:, None] * law.means).sum(0)
    inside = float((law.weights * law.stds**2).sum())
    spread = torch.einsum("k,ki,kj->ij", law.weights, law.means, law.means) - torch.outer(mean, mean)
    spread = spread + inside * torch.eye(2, dtype=F64)
    for t in range(2, 100, 8):
        abar, x_0 = MIXTURE_ABAR[t], law.draw(800, rng)
        x = abar.sqrt() * x_0 + (1 - abar).sqrt() * normal(rng, 800, 2)
        with torch.no_grad():
            right = -(1 - abar).sqrt() * exact(x, indices(800, t))
        cov = abar * spread + (1 - abar) * torch.eye(2, dtype=F64)
        gaussian = (1 - abar).sqrt() * torch.linalg.solve(cov, (x - abar.sqrt() * mean).T).T
        answer = assert_shape(call(net, x.float(), indices(800, t), mode="eval"), (800, 2), "`mixture_model`")
        ours, theirs = ours + (answer.double() - right).square().mean(), theirs + (gaussian - right).square().mean()
    return float(ours / theirs)


@pytest.mark.graded("train-mixture", points=0.1, trains="mixture", seconds=30)
def test_mixture_model_is_nearer_than_a_gaussian(student, rng, course_data):
    """`mixture_model` is nearer to the exact noise than the best single Gaussian."""
    trained = student.trained("mixture")
    x = normal(rng, 1000, 2) + 1
    learns_a_little(trained.make_mixture_denoiser, x, MIXTURE_ABAR, rng, "a new network of the plane")  # no table does
    built, used = (state_dict(net) for net in (trained.make_mixture_denoiser(), trained.mixture_model))
    sizes = [{name: value.shape for name, value in state.items()} for state in (built, used)]
    assert sizes[0] == sizes[1], "`mixture_model` should be a network of `make_mixture_denoiser()`, of the same sizes"
    figure = share_of_gaussian(trained.mixture_model, course_data("mixture").law, rng)
    assert_score(figure, 0.9, 0.4, "the distance to the exact noise, as a share of one Gaussian's,")


@pytest.mark.graded("train-digits", points=0.2)
def test_a_new_digits_network_learns(student, rng, course_data):
    """A network of `make_digits_denoiser()` answers each picture by itself, knows t, and learns."""
    x = course_data("digits").tensors["digits_train"]
    x = x[torch.randperm(len(x), generator=rng)[:600]].double()
    learns_a_little(student.make_digits_denoiser, x, DIGITS_ABAR, rng, "a new network of digits")
