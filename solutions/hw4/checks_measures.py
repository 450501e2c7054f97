"""Homework 4, hidden checks of tasks 2.7 to 2.11: labels and pairs, measures of samples, truncation."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from autograder.checks import (
    Wrong,
    assert_close,
    assert_dtype,
    assert_frechet,
    assert_gradient_reaches,
    assert_number,
    assert_precision_recall,
    assert_shape,
    assert_tuple,
    assert_unchanged_arguments,
    call,
    contents,
    load_state_dict,
    state_dict,
)

from ..common.draws import F64, normal, randint


@pytest.mark.graded("conditional", points=0.3)
def test_projection_discriminator(student, rng):
    """ψ(h) + ⟨e_y, h⟩ with weights put in by name, on vectors and images; the gradient reaches all three parts."""
    for shape in ((5,), (1, 2, 4)):
        dim, classes = randint(rng, 2, 4), 6
        matrix, shift = normal(rng, math.prod(shape), dim), normal(rng, dim)
        network = student.ProjectionDiscriminator(student.probe("Linear", matrix, shift), dim, classes).double()
        state = state_dict(network)
        new = {
            "psi.weight": normal(rng, 1, dim),
            "psi.bias": normal(rng, 1),
            "embedding.weight": normal(rng, classes, dim),
        }
        if not new.keys() <= state.keys():
            raise Wrong("`ProjectionDiscriminator` should hold `psi`, a linear layer with bias, and `embedding`")
        load_state_dict(network, {**state, **new})
        x, label = normal(rng, 7, *shape), torch.randint(0, classes, (7,), generator=rng)
        h = x.flatten(1) @ matrix + shift
        plain, matched = h @ new["psi.weight"][0] + new["psi.bias"], (new["embedding.weight"][label] * h).sum(1)
        wrong = {
            "ψ(h) is missing": matched,
            "⟨e_y, h⟩ is missing": plain,
            "ψ(h) lacks its bias": plain + matched - new["psi.bias"],
        }
        assert_close(network(x, label), plain + matched, "the logits of `ProjectionDiscriminator`", alternatives=wrong)
        assert_gradient_reaches(network, x, label, of=network, what="the logits")


@pytest.mark.graded("conditional", points=0.1)
def test_projection_discriminator_of_one_sample(student, rng):
    """A batch of one has logits of shape (1,), which are those it has in a larger batch."""
    features = student.probe("Linear", normal(rng, 4, 3))
    network = student.ProjectionDiscriminator(features, 3, 5).double()
    x, label = normal(rng, 6, 4), torch.randint(0, 5, (6,), generator=rng)
    together = assert_shape(network(x, label), (6,), "the logits")
    assert_close(network(x[:1], label[:1]), together[:1], "the logits of a batch of one")


@pytest.mark.graded("conditional", points=0.35)
def test_cycle_and_identity_losses(student, rng):
    """Affine maps that are inverses of each other and maps that are not, vectors and images, unequal batches."""
    for shape in ((3,), (2, 2, 3)):
        a, b = normal(rng, 5, *shape), normal(rng, 3, *shape) + 1
        for there, back in (((2.0, 0.0), (0.5, 1.0)), ((1.0, 2.0), (3.0, 0.0)), ((4.0, 1.0), (0.25, -0.25))):
            maps = [student.probe("AffineScore", *pair) for pair in (there, back)]
            found = contents(student.cycle_losses(*maps, a, b))
            if not isinstance(found, dict) or not {"cycle", "identity"} <= found.keys():
                raise Wrong("`cycle_losses` should return a dictionary with `cycle` and `identity`")
            f, g = (lambda x, pair=pair: pair[0] * x + pair[1] for pair in (there, back))

            def apart(x, y):
                return (x - y).abs().mean()

            assert_close(found["cycle"], apart(g(f(a)), a) + apart(f(g(b)), b), "`cycle`")
            assert_close(found["identity"], apart(f(b), b) + apart(g(a), a), "`identity`")


@pytest.mark.graded("inception-score", points=0.3)
def test_inception_score_of_random_rows(student, rng):
    """Random rows, more and fewer than classes, to 1e-6."""
    for n, K in ((9, 4), (3, 7)):
        probs = (1.5 * normal(rng, n, K)).softmax(1)
        marginal = probs.mean(0)
        kl = (probs * (probs / marginal).log()).sum(1)
        back = (marginal * (marginal / probs).log()).sum(1)
        wrong = {
            "the exponential is taken before the mean": kl.exp().mean(),
            "the divergence is reversed": back.mean().exp(),
            "the exponential is missing": kl.mean(),
            "logarithms are to base 2": (kl.mean() / math.log(2)).exp(),
        }
        wrong = {sentence: float(value) for sentence, value in wrong.items()}
        asked = f"of {n} rows over {K} classes"
        value = student.inception_score(probs)
        assert_number(value, float(kl.mean().exp()), "the score", tolerance=1e-5, asked=asked, alternatives=wrong)


@pytest.mark.graded("inception-score", points=0.25)
def test_inception_score_with_zeros(student, rng):
    """One-hot rows, rows with zeros, and a class that never occurs: no NaN, and the value by 0 ln 0 = 0."""
    K = randint(rng, 3, 6)
    hot = torch.eye(K + 1, dtype=F64)[:K]  # the last class never occurs
    assert_number(
        student.inception_score(hot.repeat(2, 1)),
        K,
        "the score",
        tolerance=1e-5,
        asked=f"of one-hot rows of {K} classes out of {K + 1}",
    )
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], dtype=F64)[:, torch.randperm(3, generator=rng)]
    assert_number(
        assert_unchanged_arguments(student.inception_score, rows, what="`inception_score`"),
        math.exp(0.2157615543),
        "the score",
        tolerance=1e-5,
        asked="of two rows with zeros",
    )
    assert_number(student.inception_score(rows[1:]), 1.0, "the score", tolerance=1e-5, asked="of a single row")


@pytest.mark.graded("frechet", points=0.25)
def test_statistics_of_features(student, rng):
    """Mean and covariance with N − 1, for few samples, for many, and in one dimension."""
    for n, D in ((12, 3), (4, 6), (9, 1)):
        features = normal(rng, n, D) @ normal(rng, D, D) + 3
        found = assert_unchanged_arguments(student.feature_statistics, features, what="`feature_statistics`")
        mean, cov = assert_tuple(found, 2, "`feature_statistics`", names=("mean", "cov"))
        centred = features - features.mean(0)
        right = centred.T @ centred / (n - 1)
        asked = f"of {n} samples in {D} dimensions"
        assert_close(mean, features.mean(0), f"`mean` {asked}")
        wrong = {"this divides by N": right * (n - 1) / n, "the mean is not taken off": features.T @ features / (n - 1)}
        assert_close(cov, right, f"`cov` {asked}", alternatives=wrong)


def covariance(rng, D, rank):
    root = normal(rng, D, rank)
    return root @ root.T / rank


@pytest.mark.graded("frechet", points=0.5)
def test_distance_of_gaussians(student, rng):
    """Full covariances that do not commute, of any rank, in one dimension, and a Gaussian against itself."""
    D = randint(rng, 4, 7)
    for rank_1, rank_2 in ((2 * D, 2 * D), (D, 2), (1, 1), (D // 2, D), (D, D)):
        covs = covariance(rng, D, rank_1), covariance(rng, D, rank_2)
        asked = f"of Gaussians in {D} dimensions, covariances of rank {min(rank_1, D)} and {min(rank_2, D)}"
        assert_frechet(student.frechet_distance, normal(rng, D), covs[0], normal(rng, D), covs[1], asked=asked)
    zero, mean = torch.zeros(D, D, dtype=F64), normal(rng, D)
    assert_frechet(student.frechet_distance, mean, covs[0], mean + 1, zero, asked="of a Gaussian and a point")
    assert_frechet(student.frechet_distance, mean, covs[0], mean, covs[0], asked="of a Gaussian and itself")
    one = [normal(rng, 1), covariance(rng, 1, 3), normal(rng, 1), covariance(rng, 1, 3)]
    assert_frechet(student.frechet_distance, *one, asked="in one dimension")
    assert_unchanged_arguments(student.frechet_distance, mean, covs[0], mean + 1, covs[1], what="`frechet_distance`")


@pytest.mark.graded("precision-recall", points=0.35)
def test_overlapping_sets(student, rng):
    """Sets of 80 and 60 points that overlap in part, k from 1 to 3."""
    real, fake = normal(rng, 80, 2), 0.6 * normal(rng, 60, 2) + 0.7
    for k in (1, 2, 3):
        assert_precision_recall(student.precision_recall, real, fake, k, asked="of sets that overlap")
    assert_unchanged_arguments(student.precision_recall, real, fake, 2, what="`precision_recall`")


@pytest.mark.graded("precision-recall", points=0.2)
def test_coinciding_points_and_a_dropped_mode(student, rng):
    """Points that coincide count as neighbours; without one of two modes precision is full and recall is not."""

    def line(*values):
        return torch.tensor(values, dtype=F64)[:, None] * (1 + float(torch.rand((), generator=rng)))

    real, fake = line(0, 0, 1, 5), torch.tensor([[-4.0], [0.5], [3.1]], dtype=F64)
    assert_precision_recall(student.precision_recall, real, fake, 2, asked="of sets with points that coincide")
    centre = torch.tensor([[10.0, 0.0]], dtype=F64)
    real = torch.cat([normal(rng, 30, 2), normal(rng, 30, 2) + centre])
    assert_precision_recall(
        student.precision_recall, real, 0.5 * normal(rng, 40, 2), 3, asked="of a generator that dropped a mode"
    )


@pytest.mark.graded("truncation", points=0.1)
def test_truncation_of_latents(student, rng):
    """mean + ψ(w − mean), for ψ from 0 to 1.5."""
    w, mean = normal(rng, 6, 4), normal(rng, 4)
    for psi in (0.7, 0.3, 1.5, 0.0):
        wrong = {
            "ψ is applied before the mean is taken off": psi * w,
            "ψ is applied before the mean is added": mean + psi * w,
        }
        assert_close(
            student.truncate(w, mean, psi),
            mean + psi * (w - mean),
            f"`truncate` with ψ = {psi:g}",
            alternatives=wrong if psi else None,
        )
    assert_unchanged_arguments(student.truncate, w, mean, 0.6, what="`truncate`")


@pytest.mark.graded("truncation", points=0.25)
def test_law_of_truncated_noise(student, rng):
    """Many draws inside the threshold follow N(0, 1) given |z| ≤ c, none piles up, and calls differ."""
    assert_shape(student.truncated_normal((2, 3, 4), 1.2), (2, 3, 4), "`truncated_normal((2, 3, 4), …)`")
    for c, n in ((0.1, 10_000), (0.5, 50_000), (1.0, 50_000), (1.5, 50_000)):
        bound = math.sqrt(math.log(2 / 1e-7) / (2 * n))  # Dvoretzky, Kiefer, Wolfowitz, Massart
        z = assert_shape(call(student.truncated_normal, (n,), c), (n,), "`truncated_normal`")
        assert_dtype(z, (torch.float32, F64), "`truncated_normal`")
        if not bool((z.abs() <= c * (1 + 1e-6)).all()):
            raise Wrong(f"draws lie outside of the threshold {c:g}")
        distance = float(stats.kstest(z.double().numpy(), stats.truncnorm(-c, c).cdf).statistic)
        if not distance <= bound:
            raise Wrong(
                f"the draws do not follow the law at c = {c:g}: largest distance of the distribution functions "
                f"{distance:.3f}, at most {bound:.3f} is accepted"
            )
        if (often := int(z.unique(return_counts=True)[1].max())) > 10:  # in float32 7 are the same once in 10⁹ times
            raise Wrong(f"{often} of {n} draws at c = {c:g} are the same number: what lies outside is drawn again")
    first, second = (student.truncated_normal((100,), 1.0) for _ in range(2))
    if torch.equal(first, second):
        raise Wrong("two calls of `truncated_normal` give the same draws")
