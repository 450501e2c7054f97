"""Homework 2, public checks: what `check("...")` runs in the notebook.

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
    assert_bijection,
    assert_close,
    assert_coupling_flow,
    assert_score,
    assert_shape,
    assert_tuple,
    call,
    change_of_variables,
    hands_over,
    perturb,
)

F64 = torch.float64
LN2 = math.log(2)


def normal(rng, *shape):
    return torch.randn(shape, generator=rng, dtype=F64)


def pair(answer, x, what):
    """The result, of x's shape, and logdet, one number for each sample."""
    result, logdet = assert_tuple(answer, 2, f"the result of {what}", names=("result", "logdet"))
    return assert_shape(result, x.shape, f"the result of {what}"), assert_shape(
        logdet, x.shape[:1], f"logdet of {what}"
    )


def numbers(*values):
    return torch.tensor(values, dtype=F64)


# What the notebook is handed


class Mixture(NamedTuple):
    """Four Gaussians in the plane: weights (4,), means (4, 2), and factors A with covariance A Aᵀ, (4, 2, 2)."""

    weights: torch.Tensor
    means: torch.Tensor
    factors: torch.Tensor

    def draw(self, n, rng):
        """n points, (n, 2), float64."""
        mode = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        return self.means[mode] + (self.factors[mode] @ normal(rng, n, 2, 1)).squeeze(2)


@hands_over("mixture")
def mixture(law_rng, rng):
    """Weights 0.1 to 0.4 in some order, centres at distance 3 to 4 about 90 degrees apart, deviations 0.35 to 0.8."""
    share = torch.rand(5, 4, generator=law_rng, dtype=F64)
    degrees = 90 * torch.arange(4) + 28 * (share[0] - 0.5) + 360 * share[4, 0]
    angle, axis = degrees.deg2rad(), math.pi * share[1]
    means = (3 + share[2])[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    turn = torch.stack([torch.stack([axis.cos(), -axis.sin()], 1), torch.stack([axis.sin(), axis.cos()], 1)], 1)
    stds = 0.35 + 0.45 * torch.rand(4, 2, generator=law_rng, dtype=F64)
    weights = (torch.randperm(4, generator=law_rng) + 1).double() / 10
    law = Mixture(weights, means, turn * stds[:, None, :])
    points = law.draw(12_000, rng).float()
    return CourseData({"mixture_train": points[:10_000], "mixture_test": points[10_000:]}, law)


@hands_over("digits")
def digits(law_rng, rng):
    """6000 pictures of 8 × 8 pixels with levels 0 to 16: a line of the file is a picture, a sign of it a pixel."""
    file = Path(__file__).parent / "digits.txt"
    assert file.is_file(), f"{file.name} of the homework's zip should lie beside {Path(__file__).name}"
    rows = file.read_text(encoding="utf-8").split()
    pictures = torch.tensor([["0123456789abcdefg".index(sign) for sign in row] for row in rows])
    return CourseData({"digits_train": pictures.float().reshape(-1, 1, 8, 8)})


# Part 1


@pytest.mark.graded("theory-volume-gap", points=0.15)
def test_gaps_of_the_text(student, rng):
    """The three numbers of the text, and a rotated diag(a, 1/a), which costs nothing."""
    for cov, gap in (
        (4 * torch.eye(2, dtype=F64), 1.6137),
        (torch.diag(numbers(4, 0.25)), 0.0),
        (numbers([1 / 3]), 0.2160),
    ):
        assert_close(student.volume_preserving_gap(cov), gap, "`volume_preserving_gap`", atol=1e-4)
    a, angle = 1.5 + float(torch.rand((), generator=rng)), 3 * float(torch.rand((), generator=rng))
    turn = numbers([math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)])
    cov = turn @ torch.diag(numbers(a, 1 / a)) @ turn.T
    assert_close(
        student.volume_preserving_gap(cov), 0.0, "`volume_preserving_gap` of a rotated diag(a, 1/a)", atol=1e-9
    )


@pytest.mark.graded("theory-gaussianise", points=0.25)
def test_one_component_is_standardised(student, rng):
    """With one component z = (x − μ)/σ, and logdet = −ln σ."""
    mean, std = normal(rng, 1), 0.5 + torch.rand(1, generator=rng, dtype=F64)
    x = mean + std * normal(rng, 5).clamp(-3, 3)
    z, logdet = pair(student.gaussianise(x, numbers(1.0), mean, std), x, "`gaussianise`")
    assert_close(z, (x - mean) / std, "z of `gaussianise`")
    assert_close(logdet, -std.log().expand(5), "logdet of `gaussianise`")


@pytest.mark.graded("theory-bits", points=0.15)
def test_constant_density_costs_all_levels(student, rng):
    """Under the uniform density every picture costs log₂ L bits per dimension, with one draw or with three."""
    levels = int(torch.randint(2, 20, (), generator=rng))
    x = torch.randint(0, levels, (4, 3), generator=rng).to(F64)
    flat = student.probe("Linear", torch.zeros(3, dtype=F64), 0.0)
    for draws in (1, 3):
        bits = student.dequantised_bits(flat, x, levels, draws)
        assert_close(bits, torch.full((4,), math.log2(levels), dtype=F64), f"`dequantised_bits` with {levels} levels")


# Part 2


@pytest.mark.graded("planar", points=0.25)
def test_planar_map_keeps_orientation(student, rng, figures):
    """In the plane, with wᵀu = −5: û has wᵀû > −1, and logdet is that of finite differences."""
    w = normal(rng, 2)
    u, b, h = -5 * w / (w @ w) + 0.3 * torch.stack([-w[1], w[0]]), normal(rng), 1e-6
    u_hat = assert_shape(student.planar_u_hat(u, w), (2,), "`planar_u_hat`")
    assert float(u_hat @ w) > -1, f"wᵀû should exceed −1, got {float(u_hat @ w):.4f}"
    x = normal(rng, 6, 2)
    x = x[(x @ w + b).abs() > 0.1][:2]
    z, logdet = pair(student.planar_forward(x, u, w, b), x, "`planar_forward`")
    columns = [(student.planar_forward(x + h * e, u, w, b)[0] - z) / h for e in torch.eye(2, dtype=F64)]
    determinant = columns[0][:, 0] * columns[1][:, 1] - columns[0][:, 1] * columns[1][:, 0]
    assert bool((determinant > 0).all()), "the map turns space inside out somewhere: its determinant is negative"
    assert_close(logdet, determinant.log(), "logdet of `planar_forward`", atol=1e-3, rtol=1e-3)


@pytest.mark.graded("coupling-masks", points=0.2)
def test_checkerboard_and_squeeze(student, rng, figures):
    """A 4 × 4 checkerboard has 8 ones and no two neighbours alike; unsqueeze undoes squeeze."""
    parity = int(torch.randint(0, 2, (), generator=rng))
    board = assert_shape(student.coupling_mask("checkerboard", (1, 4, 4), parity), (1, 4, 4), "`coupling_mask`")[0]
    figures.heatmap("Your checkerboard", {f"parity {parity}": board})
    assert int(board.sum()) == 8, f"the checkerboard should have 8 ones, got {float(board.sum()):g}"
    alike = int((board[1:] == board[:-1]).sum() + (board[:, 1:] == board[:, :-1]).sum())
    assert alike == 0, f"{alike} pairs of neighbours are alike"
    x = torch.randperm(16, generator=rng).float().reshape(1, 1, 4, 4)
    small = assert_shape(student.squeeze(x), (1, 4, 2, 2), "`squeeze`")
    assert_close(student.unsqueeze(small), x, "`unsqueeze(squeeze(x))`")


@pytest.mark.graded("coupling", points=0.3)
def test_coupling_passes_and_undoes(student, rng):
    """Entries with mask 1 pass, zeros from the network change nothing, and the inverse undoes the map."""
    mask = torch.tensor([1.0, 0.0, 1.0, 0.0])[torch.randperm(4, generator=rng)]
    A, B = normal(rng, 2, 4, 4)
    net, zero = (student.probe("AffinePair", k * A, k * B, 0.0, 0.0) for k in (0.5, 0.0))
    x = normal(rng, 3, 4)
    z, logdet = pair(student.coupling_forward(x, mask, net), x, "`coupling_forward`")
    assert_close(z[:, mask == 1], x[:, mask == 1], "entries of `coupling_forward` that should pass")
    back, undone = pair(student.coupling_inverse(z, mask, net), x, "`coupling_inverse`")
    assert_close(back, x, "`coupling_inverse` after `coupling_forward`")
    assert_close(undone, -logdet, "logdet of `coupling_inverse`, the negative of the other")
    still, none = pair(student.coupling_forward(x, mask, zero), x, "`coupling_forward`")
    assert_close(still, x, "`coupling_forward` with a network of zeros")
    assert_close(none, torch.zeros(3, dtype=F64), "its logdet")


@pytest.mark.graded("realnvp", points=0.3)
def test_smallest_stacks(student, rng):
    """Without layers log_prob is the standard normal's; one layer that doubles makes samples half as wide."""
    x = normal(rng, 3, 2)
    plain = -0.5 * x.square().sum(1) - math.log(2 * math.pi)
    assert_close(student.Flow([]).log_prob(x), plain, "`log_prob` without layers")
    flow = student.Flow([student.probe("Scale", 2.0)])
    doubled = -2 * x.square().sum(1) - math.log(2 * math.pi) + 2 * LN2
    assert_close(flow.log_prob(x), doubled, "`log_prob` with one layer z = 2x")
    samples = assert_shape(flow.sample(4000, (2,)), (4000, 2), "`sample(4000, (2,))`")
    std = float(samples.double().std())
    assert abs(std - 0.5) < 0.03, f"samples of a flow that doubles should have deviation 0.5, got {std:.3f}"


@pytest.mark.graded("actnorm", points=0.25)
def test_first_batch_is_normalised(student, rng):
    """The first training batch leaves with mean 0 and variance 1 per channel; logdet counts the pixels."""
    layer = student.ActNorm(2).double()
    x = 3 + 2 * normal(rng, 16, 2, 3, 3)
    z, logdet = pair(call(layer, x, mode="train"), x, "`ActNorm`")
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    assert float(mean.abs().max()) < 1e-4, f"the channels' means should be 0, got {mean.tolist()}"
    assert float((std - 1).abs().max()) < 0.01, f"the channels' deviations should be 1, got {std.tolist()}"
    scale = (z[0, :, 0, 0] - z[0, :, 1, 1]) / (x[0, :, 0, 0] - x[0, :, 1, 1])
    assert_close(logdet, (9 * scale.log().sum()).expand(16), "logdet of `ActNorm` on 3 × 3 pixels", rtol=1e-4)


@pytest.mark.graded("conv1x1", points=0.25)
def test_new_mixing_keeps_lengths(student, rng):
    """At the start logdet is 0 and each pixel's channels keep their length; the inverse undoes any weights."""
    layer = student.InvertibleConv1x1(3).double()
    x = normal(rng, 4, 3, 2, 2)
    z, logdet = pair(layer(x), x, "`InvertibleConv1x1`")
    assert_close(logdet, torch.zeros(4, dtype=F64), "logdet of a new `InvertibleConv1x1`", atol=1e-4)
    assert_close(z.square().sum(1), x.square().sum(1), "squared lengths of the pixels", rtol=1e-4, atol=1e-4)
    perturb(layer, 0.1, seed=int(torch.randint(0, 10**6, (), generator=rng)))
    z, logdet = pair(layer(x), x, "`InvertibleConv1x1`")
    back, undone = pair(layer.inverse(z), x, "`InvertibleConv1x1.inverse`")
    assert_close(back, x, "`inverse` after `forward`", atol=1e-6, rtol=1e-6)
    assert_close(undone, -logdet, "logdet of `inverse`, the negative of the other", atol=1e-6)


def known_order(student, rng):
    """A network of three entries: mean and log_std, strictly triangular, and its numbers."""
    L, K = (normal(rng, 3, 3).tril(-1) for _ in range(2))
    return student.probe("TriangularPair", L, K)


@pytest.mark.graded("maf", points=0.25)
def test_maf_round_trip(student, rng):
    """Three entries: the inverse undoes the map, the logdets are opposite, and the first entry is not touched."""
    net, x = known_order(student, rng), normal(rng, 4, 3)
    z, logdet = pair(student.maf_forward(x, net), x, "`maf_forward`")
    assert_close(z[:, 0], x[:, 0], "the first entry, whose mean and log_std are 0 here,")
    back, undone = pair(student.maf_inverse(z, net), x, "`maf_inverse`")
    assert_close(back, x, "`maf_inverse` after `maf_forward`")
    assert_close(undone, -logdet, "logdet of `maf_inverse`, the negative of the other")
    assert_close(logdet, -net(x)[1].sum(1), "logdet of `maf_forward`")


@pytest.mark.graded("iaf", points=0.2)
def test_iaf_round_trip(student, rng):
    """Three entries: the forward map undoes the inverse, the logdets are opposite, the first entry is not touched."""
    net, z = known_order(student, rng), normal(rng, 4, 3)
    x, logdet = pair(student.iaf_inverse(z, net), z, "`iaf_inverse`")
    assert_close(x[:, 0], z[:, 0], "the first entry, whose mean and log_std are 0 here,")
    back, undone = pair(student.iaf_forward(x, net), z, "`iaf_forward`")
    assert_close(back, z, "`iaf_forward` after `iaf_inverse`")
    assert_close(undone, -logdet, "logdet of `iaf_forward`, the negative of the other")
    assert_close(logdet, net(z)[1].sum(1), "logdet of `iaf_inverse`")


@pytest.mark.graded("dequantise", points=0.25)
def test_pixels_to_logits_and_back(student, rng):
    """L·y − x lies between 0 and 1 and changes from call to call; the logit is undone; logdet at y = ½."""
    levels = int(torch.randint(2, 20, (), generator=rng))
    x = torch.randint(0, levels, (50, 4), generator=rng).to(F64)
    y, again = (assert_shape(student.dequantise(x, levels), (50, 4), "`dequantise`") for _ in range(2))
    noise = levels * y - x
    assert float(noise.min()) >= -1e-9, f"the noise should not be negative, got {float(noise.min()):.3g}"
    assert float(noise.max()) <= 1 + 1e-9, f"the noise should not exceed 1, got {float(noise.max()):.3g}"
    assert not torch.equal(y, again), "two calls gave the same noise"
    z, _ = pair(student.logit_forward(y), y, "`logit_forward`")
    back, _ = pair(student.logit_inverse(z), y, "`logit_inverse`")
    assert_close(back, y, "`logit_inverse` after `logit_forward`")
    _, half = pair(student.logit_forward(torch.full((2, 1), 0.5, dtype=F64)), torch.zeros(2, 1), "`logit_forward`")
    assert_close(half, torch.full((2,), 1.2809, dtype=F64), "logdet of `logit_forward` at y = ½", atol=1e-4)


# Part 3


def honest_flow(trained, name, x, z, rng, **structure):
    """The trained flow in double precision, if it is made of couplings and a bijection at points x and noise z."""
    flow = trained.get(name).double()
    assert_coupling_flow(flow, x[:4], at_least=4, what=f"`{name}`", **structure)
    assert_bijection(flow, x, z, generator=rng, what=f"`{name}`")
    return flow


@pytest.mark.graded("train-mixture", points=0.25, trains="mixture")
def test_mixture_flow_is_better_than_one_gaussian(student, rng, course_data):
    """A bijection made of couplings whose density on `mixture_test` is above that of the best single Gaussian."""
    trained, data = student.trained("mixture"), course_data("mixture").tensors
    train, test = data["mixture_train"].double(), data["mixture_test"].double()[:1000]
    flow = honest_flow(trained, "mixture_flow", test, normal(rng, 60, 2), rng)
    gaussian = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    best, reached = -float(gaussian.log_prob(test).mean()), -float(change_of_variables(flow, test).mean())
    assert_score(reached, best, best - 0.5, "the loss on `mixture_test`", unit="nats per point")


def bits_per_dim(flow, levels, rng):
    """Bits per dimension of pictures with levels 0 to 16, (N,), by the measured volume and fresh noise."""
    y = (levels.double() + torch.rand(levels.shape, generator=rng, dtype=F64)) / 17
    return math.log2(17) - change_of_variables(flow, y, what="`digits_flow`") / (64 * LN2)


@pytest.mark.graded("train-digits", points=0.2, trains="digits")
def test_digits_flow_is_better_than_independent_pixels(student, rng, course_data):
    """A bijection made of couplings that needs fewer bits for validation pictures than independent pixels do."""
    trained, pictures = student.trained("digits"), course_data("digits").tensors["digits_train"][5400:]
    pictures = pictures[torch.randperm(600, generator=rng)[:100]]
    y = (pictures.double() + 0.5) / 17
    shape = call(trained.get("digits_flow").double(), y, mode="eval")[0].shape
    z = torch.randn(shape, generator=rng, dtype=F64)
    flow = honest_flow(trained, "digits_flow", y, z, rng, elementwise_first=True)
    bits = float(bits_per_dim(flow, pictures, rng).mean())
    assert_score(bits, 2.97, 2.6, "100 of your validation pictures", unit="bits per dimension")
