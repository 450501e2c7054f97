"""Homework 3, public checks: what `check("...")` runs in the notebook.

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
    assert_close,
    assert_increasing,
    assert_score,
    assert_shape,
    assert_tuple,
    call,
    contents,
    exact_encoder,
    hands_over,
    linear_gaussian_law,
    mutual_distance,
    orthogonal_columns,
    vae_figures,
)

F64 = torch.float64
LN_2PI = math.log(2 * math.pi)


def normal(rng, *shape):
    return torch.randn(shape, generator=rng, dtype=F64)


def uniform(rng, *shape):
    return torch.rand(shape, generator=rng, dtype=F64)


def numbers(*values):
    return torch.tensor(values, dtype=F64)


# What the notebook is handed


class Pictures(NamedTuple):
    """Where checks take pictures from: at home from the file, in grading they are drawn anew."""

    train: torch.Tensor
    valid: torch.Tensor

    def held_out(self, n, rng):
        """n pictures by writers that the training set has none of, or as many as there are."""
        return self.valid[torch.randperm(len(self.valid), generator=rng)[:n]]

    def by_training_writers(self, n, rng):
        """n pictures by the writers of the training set."""
        return self.train[torch.randperm(len(self.train), generator=rng)[:n]]


@hands_over("digits")
def digits(law_rng, rng):
    """6000 pictures to learn from, 1000 by other writers: a line of the file is a class and 64 pixels, hexadecimal."""
    file = Path(__file__).parent / "digits.txt"
    assert file.is_file(), f"{file.name} of the homework's zip should lie beside {Path(__file__).name}"
    rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    bits = [[int(sign) for sign in f"{int(row, 16):064b}"] for _, row in rows]
    train, valid = torch.tensor(bits).float().reshape(-1, 1, 8, 8).split([6000, 1000])
    classes = torch.tensor([int(name) for name, _ in rows[6000:]])
    shown = {"digits_train": train, "digits_valid": valid, "digits_valid_classes": classes}
    return CourseData(shown, Pictures(train, valid))


# Part 1


@pytest.mark.graded("theory-ppca", points=0.25)
def test_without_loadings_nothing_is_learned(student, rng):
    """With W = 0 the posterior is the prior and x is noise around μ; D = L = 1 by hand; columns that are orthogonal."""
    mu, x, sigma = normal(rng, 3), normal(rng, 4, 3), 0.5 + float(uniform(rng))
    mean, cov = assert_tuple(
        student.ppca_posterior(x, torch.zeros(3, 2, dtype=F64), mu, sigma), 2, "the result of `ppca_posterior`"
    )
    assert_close(mean, torch.zeros(4, 2, dtype=F64), "the posterior mean where W = 0")
    assert_close(cov, torch.eye(2, dtype=F64), "the posterior covariance where W = 0")
    noise = -0.5 * ((x - mu) / sigma).square().sum(1) - 3 * (math.log(sigma) + LN_2PI / 2)
    assert_close(student.ppca_log_prob(x, torch.zeros(3, 2, dtype=F64), mu, sigma), noise, "`ppca_log_prob`, W = 0")
    w = 0.5 + float(uniform(rng))
    mean, cov = student.ppca_posterior(x[:, :1], numbers([w]), mu[:1], sigma)
    total = w**2 + sigma**2
    assert_close(mean, w * (x[:, :1] - mu[:1]) / total, "the posterior mean for D = L = 1")
    assert_close(cov, numbers([sigma**2 / total]), "the posterior covariance for D = L = 1")
    evidence = -0.5 * ((x[:, 0] - mu[0]).square() / total + math.log(total) + LN_2PI)
    assert_close(student.ppca_log_prob(x[:, :1], numbers([w]), mu[:1], sigma), evidence, "`ppca_log_prob`, D = L = 1")
    W = orthogonal_columns(3, 2, rng)
    shrink = 1 / (W.square().sum(0) + sigma**2)
    mean, cov = student.ppca_posterior(x, W, mu, sigma)
    assert_close(mean, shrink * ((x - mu) @ W), "the posterior mean where the columns of W are orthogonal", atol=1e-5)
    assert_close(cov, torch.diag(sigma**2 * shrink), "the posterior covariance where they are", atol=1e-5)


@pytest.mark.graded("theory-rate", points=0.15)
def test_dimensions_below_the_noise_are_dead(student, rng):
    """With all eigenvalues below σ² everything is 0; an eigenvalue of e²σ² carries 1 nat, in whatever direction."""
    sigma2 = 1 + float(uniform(rng))
    small = torch.diag(sigma2 * (0.1 + 0.8 * uniform(rng, 3)))
    W, rates = assert_tuple(student.ppca_fit(small, sigma2), 2, "the result of `ppca_fit`", names=("W", "rates"))
    assert_close(W, torch.zeros(3, 3, dtype=F64), "W with all eigenvalues below σ²")
    assert_close(rates, torch.zeros(3, dtype=F64), "the rates with all eigenvalues below σ²")
    u = normal(rng, 3)
    axis = torch.outer(u, u) / u.square().sum()
    W, rates = student.ppca_fit(sigma2 * (torch.eye(3, dtype=F64) / 2 + (math.e**2 - 0.5) * axis), sigma2)
    assert_close(rates, numbers(1.0, 0.0, 0.0), "the rates with one eigenvalue of e²σ²", atol=1e-5)
    W = assert_shape(W, (3, 3), "W").double()
    assert_close(W @ W.T, (math.e**2 - 1) * sigma2 * axis, "W Wᵀ with one eigenvalue of e²σ²", atol=1e-5)


@pytest.mark.graded("theory-surgery-code", points=0.15)
def test_equal_and_distinct_codes(student, rng):
    """Equal rows carry no information; distinct one-hot rows under a uniform prior ln N; one half-sure row less."""
    row, p = (normal(rng, 4).softmax(0) for _ in range(2))
    marginal, information = assert_tuple(student.elbo_surgery(row.repeat(3, 1), p), 2, "the result of `elbo_surgery`")
    assert_close(marginal, (row * (row / p).log()).sum(), "the first term for equal rows")
    assert_close(information, 0.0, "the mutual information of equal rows", atol=1e-6)
    q, n = torch.eye(5, dtype=F64)[torch.randperm(5, generator=rng)][:3], 3
    marginal, information = student.elbo_surgery(q, torch.full((5,), 0.2, dtype=F64))
    assert_close(marginal, math.log(5 / n), "the first term for three of five one-hot rows")
    assert_close(information, math.log(n), "the mutual information of three one-hot rows")
    marginal, information = student.elbo_surgery(numbers([1.0, 0.0], [0.5, 0.5]).flip(1), numbers(0.5, 0.5))
    assert_close(marginal, 0.1308, "the first term of the worked example, codes exchanged,", atol=1e-4)
    assert_close(information, 0.2158, "the mutual information of the worked example, codes exchanged,", atol=1e-4)


# Part 2


@pytest.mark.graded("em", points=0.35)
def test_one_component_and_one_step(student, rng):
    """One component takes the sample's mean and covariance, two the worked numbers; rows sum to 1; a step climbs."""
    x = normal(rng, 30, 2) @ normal(rng, 2, 2) + normal(rng, 2)
    weights, means, covs = assert_tuple(
        student.m_step(x, torch.ones(30, 1, dtype=F64)), 3, "the result of `m_step`", names=("weights", "means", "covs")
    )
    assert_close(weights, numbers(1.0), "the weight of the only component")
    assert_close(means, x.mean(0, keepdim=True), "the mean of the only component")
    cov = torch.cov(x.T, correction=0)[None]
    assert_close(covs, cov, "the covariance of the only component, divided by N,", atol=1e-5)
    start = (numbers(0.3, 0.7), x[:2], torch.eye(2, dtype=F64).repeat(2, 1, 1))
    r = assert_shape(student.e_step(x, *start), (30, 2), "`e_step`").double()
    assert_close(r.sum(1), torch.ones(30, dtype=F64), "the sums of rows of responsibilities")
    shift = float(normal(rng, 1))  # the worked example, moved
    worked = (numbers(0.25, 0.75), numbers([shift], [4 + shift]), torch.ones(2, 1, 1, dtype=F64))
    three = numbers([0.0], [1.0], [4.0]) + shift
    assert_close(student.gmm_log_prob(three, *worked).mean(), -2.0875, "the mean of ln p, worked example,", atol=1e-4)
    weights, means, covs = student.m_step(three, student.e_step(three, *worked))
    assert_close(weights, numbers(0.6490, 0.3510), "the weights of the worked example", atol=1e-4)
    assert_close(means, numbers([0.4871], [3.8478]) + shift, "the means of the worked example", atol=1e-4)
    assert_close(covs.flatten(), numbers(0.2505, 0.4373), "the variances of the worked example", atol=1e-4)
    *_, history = assert_tuple(student.fit_gmm(x, *start, 2), 4, "the result of `fit_gmm`")
    assert_increasing(history, slack=1e-5, length=3, what="the list of `fit_gmm`")


@pytest.mark.graded("gaussians", points=0.25)
def test_smallest_gaussians(student, rng):
    """A law's KL with itself is 0, a shift of one deviation costs ½, a worked KL; the nll at the mean; draws change."""
    mean, log_std = normal(rng, 4, 3), 0.5 * normal(rng, 4, 3)
    zero = torch.zeros(4, 3, dtype=F64)
    assert_close(student.normal_kl(mean, log_std, mean, log_std), zero, "the KL of a law with itself", atol=1e-6)
    assert_close(student.normal_kl(zero + 1, zero), zero + 0.5, "KL(N(1, 1) ‖ N(0, 1))")
    scale = mean + math.log(2)  # KL(N(1, 2²) ‖ N(0, 1)) again, everything times e^mean
    assert_close(student.normal_kl(mean.exp(), scale, 0.0, mean), zero + 1.3069, "KL(N(s, 4s²) ‖ N(0, s²))", atol=1e-4)
    assert_close(student.normal_nll(mean, mean, log_std), log_std + LN_2PI / 2, "`normal_nll` at the mean")
    first, second = (
        assert_shape(student.reparametrise(mean, log_std), (4, 3), "`reparametrise`").double() for _ in range(2)
    )
    assert not torch.equal(first, second), "two calls of `reparametrise` gave the same draws"
    narrow = assert_shape(student.reparametrise(mean, zero - 20), (4, 3), "`reparametrise`")
    assert_close(narrow, mean, "`reparametrise` with a deviation of e⁻²⁰", atol=1e-6)


@pytest.mark.graded("elbo", points=0.35)
def test_loss_and_its_parts(student, rng):
    """loss = −reconstruction + β·kl; an encoder that gives the prior has kl 0; logits of ±800 cost 0 or 800."""
    W, x = normal(rng, 3, 2), normal(rng, 5, 3)
    decoder = student.probe("GaussianDecoder", W)
    encoder = student.probe("GaussianEncoder", 0.3 * normal(rng, 2, 3), normal(rng, 2), 0.1 * normal(rng, 2, 3), 0.2)
    for beta in (0.0, 1.0, 4.0):
        parts = contents(student.vae_loss(x, encoder, decoder, beta))
        named = isinstance(parts, dict) and {"loss", "reconstruction", "kl"} <= set(parts)
        assert named, "`vae_loss` should return a dictionary with loss, reconstruction and kl"
        loss, reconstruction, kl = (assert_shape(parts[k], (), f"`{k}`") for k in ("loss", "reconstruction", "kl"))
        assert_close(loss, beta * kl - reconstruction, f"the loss for β = {beta:g}, from the other two,", atol=1e-5)
    prior = student.probe("ConstantCode", numbers(0.0, 0.0))
    assert_close(contents(student.vae_loss(x, prior, decoder))["kl"], 0.0, "kl of an encoder that gives the prior")
    assert_shape(student.elbo(x, encoder, decoder), (5,), "`elbo`")
    pixels = torch.randint(0, 2, (4, 1, 2, 3), generator=rng).to(F64)
    right = student.bernoulli_log_likelihood(1600 * pixels - 800, pixels)
    assert_close(right, torch.zeros(4, dtype=F64), "`bernoulli_log_likelihood` of certain and right logits", atol=1e-6)
    wrong = student.bernoulli_log_likelihood(800 - 1600 * pixels, pixels)
    assert_close(wrong, torch.full((4,), -4800.0, dtype=F64), "`bernoulli_log_likelihood` of six wrong pixels")


@pytest.mark.graded("iwae", points=0.25)
def test_exact_posterior_gives_the_evidence_at_once(student, rng):
    """With the exact posterior as encoder the bound is ln p(x), for one weight and for three; else it is a draw."""
    W, mu, x = orthogonal_columns(4, 2, rng), normal(rng, 4), normal(rng, 3, 4)
    right = linear_gaussian_law(W, mu, 0.8).evidence(x)
    encoder, decoder = (
        student.probe("GaussianEncoder", *exact_encoder(W, mu, 0.8)),
        student.probe("GaussianDecoder", W, mu, 0.8),
    )
    for k in (1, 3):
        bound = student.iwae_bound(x, encoder, decoder, k)
        assert_close(bound, right, f"`iwae_bound` for k = {k} and the exact posterior", atol=1e-5)
    wide = student.probe("ConstantCode", numbers(0.0, 0.0))
    first, second = (assert_shape(student.iwae_bound(x, wide, decoder, 3), (3,), "`iwae_bound`") for _ in range(2))
    assert not torch.equal(first, second), "two calls of `iwae_bound` with the prior as encoder gave the same draws"


@pytest.mark.graded("vamp", points=0.25)
def test_one_and_two_pseudo_inputs(student, rng):
    """With one pseudo-input the prior is the encoder's Gaussian for it; two far apart share the draws."""
    A, b, d = normal(rng, 2, 3), normal(rng, 2), 0.3 * normal(rng, 2)
    encoder, u, z = student.probe("GaussianEncoder", A, b, 0.0, d), normal(rng, 1, 3), normal(rng, 5, 2)
    mean = u @ A.T + b
    log_prob = (-0.5 * ((z - mean) / d.exp()).square() - d - LN_2PI / 2).sum(1)
    assert_close(student.vamp_log_prob(z, encoder, u), log_prob, "`vamp_log_prob` with one pseudo-input", atol=1e-5)
    samples = assert_shape(student.vamp_sample(4000, encoder, u), (4000, 2), "`vamp_sample(4000, …)`").double()
    off = float(((samples.mean(0) - mean[0]) / d.exp()).abs().max())
    assert off < 0.1, f"the mean of 4000 samples is {off:.2f} deviations from that of the only component"
    same = student.probe("GaussianEncoder", torch.eye(1, dtype=F64), 0.0, 0.0, 0.0)  # a pseudo-input is a mean
    m = 1 + float(uniform(rng))
    middle = student.vamp_log_prob(torch.zeros(1, 1, dtype=F64), same, numbers([m], [-m]))
    assert_close(middle, numbers(-0.5 * m**2 - LN_2PI / 2), "`vamp_log_prob` half way between two inputs", atol=1e-5)
    samples = assert_shape(student.vamp_sample(400, same, numbers([-20.0], [20.0])), (400, 1), "`vamp_sample`")
    share = float((samples > 0).double().mean())
    assert 0.3 < share < 0.7, f"of two components one has {share:.0%} of 400 samples"


@pytest.mark.graded("vq", points=0.3)
def test_features_that_are_codebook_vectors(student, rng):
    """Where the features are codebook vectors, codes and values are known and both losses are 0."""
    codebook, codes = normal(rng, 6, 3), torch.randint(0, 6, (2, 4, 5), generator=rng)
    z = codebook[codes].permute(0, 3, 1, 2).contiguous()
    found = assert_shape(student.nearest_codes(z, codebook), (2, 4, 5), "`nearest_codes`")
    assert found.dtype == torch.long, f"codes should be long, they are {found.dtype}"
    assert torch.equal(found, codes), f"{int((found != codes).sum())} of 40 codes are not the vector that stands there"
    assert_close(student.quantise(z, codebook), z, "`quantise` of codebook vectors")
    losses = assert_tuple(student.vq_losses(z, codebook), 2, "the result of `vq_losses`")
    for name, loss in zip(("codebook", "commitment"), losses, strict=True):
        assert_close(loss, 0.0, f"the {name} loss of codebook vectors")
    for loss in assert_tuple(student.vq_losses(z + 1e-3, codebook), 2, "the result of `vq_losses`"):
        assert_close(loss, 1e-6, "a loss of features that are 0.001 off in every entry")


@pytest.mark.graded("vq-ema", points=0.2)
def test_without_memory_codes_are_means(student, rng):
    """With decay 0 each code becomes the mean of its vectors; half of the past with decay ½; two perplexities."""
    z, codes = normal(rng, 2, 3, 2, 4), torch.arange(16).remainder(4)[torch.randperm(16, generator=rng)].view(2, 2, 4)
    counts, sums = 1 + uniform(rng, 4), normal(rng, 4, 3)
    parts = assert_tuple(student.ema_update(counts, sums, z, codes, 0.0), 3, "the result of `ema_update`")
    means = torch.stack([z.permute(0, 2, 3, 1)[codes == k].mean(0) for k in range(4)])
    assert_close(parts[0], torch.full((4,), 4.0, dtype=F64), "the counts for decay 0")
    assert_close(parts[2], means, "the codebook for decay 0")
    half, without = student.ema_update(counts, sums, z, codes, 0.5), 4 * means
    assert_close(half[0], 0.5 * counts + 2, "the counts for decay ½", atol=1e-5)
    assert_close(half[1], 0.5 * (sums + without), "the sums for decay ½", atol=1e-5)
    assert_close(student.perplexity(codes, 4), 4.0, "the perplexity of four codes used alike", atol=1e-5, rtol=1e-5)
    assert_close(student.perplexity(torch.tensor([1, 1, 1, 0]), 3), 1.7548, "the perplexity of 1, 1, 1, 0", atol=1e-4)


@pytest.mark.graded("gumbel", points=0.25)
def test_given_noise(student, rng):
    """Two logits and given noise, by hand; hard rows are one-hot; two calls without noise differ."""
    gap, u = normal(rng, 3), 0.1 + 0.8 * uniform(rng, 3, 2)
    logits, g = torch.stack([gap, torch.zeros(3, dtype=F64)], 1), -(-u.log()).log()
    for tau in (0.5, 1.0):
        first = torch.sigmoid((gap + g[:, 0] - g[:, 1]) / tau)
        found = student.gumbel_softmax(logits, tau, u=u)
        assert_close(found, torch.stack([first, 1 - first], 1), f"`gumbel_softmax`, τ = {tau:g}", atol=1e-5)
    third, v = normal(rng, 4, 3), 0.1 + 0.8 * uniform(rng, 4, 3)
    y = assert_shape(student.gumbel_softmax(third, 2.0, u=v), (4, 3), "`gumbel_softmax` of three classes").double()
    ratio = (third[:, 1:] - third[:, :1] - (v[:, 1:].log() / v[:, :1].log()).log()) / 2
    assert_close((y[:, 1:] / y[:, :1]).log(), ratio, "ln(y_i / y_1) for three classes, τ = 2", atol=1e-4)
    hard = assert_shape(student.gumbel_softmax(logits, 1.0, hard=True), (3, 2), "`gumbel_softmax` with hard=True")
    hard = hard.double().sort(1).values
    assert_close(hard, numbers(0.0, 1.0).expand(3, 2), "the entries of hard rows", atol=1e-5)
    first, second = (assert_shape(student.gumbel_softmax(logits, 1.0), (3, 2), "`gumbel_softmax`") for _ in range(2))
    assert not torch.equal(first, second), "two calls of `gumbel_softmax` gave the same draws"


# Part 3


def figures_of(student, course_data, rng, n):
    """The trained VAE, and what the judge measures of it on n pictures by other writers."""
    vae, given = student.trained("digits").get("digits_vae"), course_data("digits")
    x, train = given.law.held_out(n, rng), given.tensors["digits_train"]
    among = train[torch.randperm(6000, generator=rng)[: n // 2]]
    return vae, vae_figures(vae.encoder, vae.decoder, x, among, generator=rng, what="`digits_vae`")


@pytest.mark.graded("train-vae-bound", points=0.3, trains="digits", seconds=60)
def test_vae_is_better_than_a_memoriser(student, rng, course_data):
    """On held-out pictures the bound, and what the decoder knows alone, are better than trivial models."""
    _, found = figures_of(student, course_data, rng, 1000)
    assert found.kl >= 1, f"the posterior has collapsed: its mean KL to the prior is {found.kl:.2g} nats"
    assert_score(found.score, 20.8, 20.0, "the score of `digits_vae`", unit="nats a held-out picture")


@pytest.mark.graded("train-vae-samples", points=0.2, trains="digits", seconds=60)
def test_samples_are_near_fresh_digits(student, rng, course_data, figures):
    """500 pictures drawn from the prior lie near as many digits, and the digits near them."""
    vae, found = figures_of(student, course_data, rng, 400)
    assert found.score < 20.6, f"samples count where the score is below 20.6; here it is {found.score:.2f} nats"
    codes = torch.randn(500, found.latent, generator=rng)
    samples = torch.bernoulli(call(vae.decoder, codes, mode="eval").sigmoid().float(), generator=rng)
    given = course_data("digits")
    train = given.tensors["digits_train"]
    nearest = train[torch.cdist(samples[:32].flatten(1), train.flatten(1)).argmin(1)]
    x = given.law.held_out(32, rng)
    mean = call(vae.encoder, x, mode="eval")[0]
    rebuilt = call(vae.decoder, mean, mode="eval").sigmoid()
    figures.images(
        "Digits",
        {"by other writers": x, "rebuilt": rebuilt, "samples": samples[:32], "nearest training picture": nearest},
    )
    distance = mutual_distance(samples, given.law.by_training_writers(500, rng))
    assert_score(distance, 7.0, 6.6, "the distance of 500 samples to fresh digits", unit="pixels")
