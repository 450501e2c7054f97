"""Homework 3, hidden checks of tasks 2.6 to 2.8: discrete codes."""

from __future__ import annotations

import pytest
import torch

from autograder.checks import (
    Wrong,
    assert_close,
    assert_dtype,
    assert_finite,
    assert_gradient_equals,
    assert_samples_follow,
    assert_shape,
    assert_straight_through,
    assert_tuple,
    assert_unchanged_arguments,
    call,
    gradient,
)

from ..common.draws import F64, normal

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
B, D, H, W, K = 2, 3, 4, 5, 7
ROWS = 20_000


def features(rng):
    """Features and a codebook of very different lengths, of which every vector but one or two is chosen."""
    lengths = torch.logspace(-1, 1, K, dtype=F64)[torch.randperm(K, generator=rng)]
    codebook = torch.nn.functional.normalize(normal(rng, K, D), dim=1) * lengths[:, None]
    near = codebook[torch.randint(0, K - 1, (B, H, W), generator=rng)] * (1 + 0.3 * normal(rng, B, H, W, 1))
    z = near + 0.3 * normal(rng, B, H, W, D)
    return z.permute(0, 3, 1, 2).contiguous(), codebook


def chosen(z, codebook):
    """Squared distances (B, H, W, K), the nearest codes, and their vectors in the shape of z."""
    distance = (z.permute(0, 2, 3, 1).unsqueeze(3) - codebook).square().sum(4)
    codes = distance.argmin(3)
    return distance, codes, codebook[codes].permute(0, 3, 1, 2)


@pytest.mark.graded("vq", points=0.3)
def test_nearest_codes(student, rng):
    """No vector of the codebook is nearer than the one chosen, at any place."""
    for _ in range(2):
        z, codebook = features(rng)
        distance, codes, _ = chosen(z, codebook)
        what = "`nearest_codes`"
        found = assert_dtype(assert_shape(student.nearest_codes(z, codebook), (B, H, W), what), torch.long, what)
        if int(found.min()) < 0 or int(found.max()) >= K:
            raise Wrong(f"{what} should lie between 0 and K − 1")
        excess = distance.gather(3, found.unsqueeze(3)).squeeze(3) - distance.amin(3)
        wrong = int((excess > 1e-6 * (1 + distance.amin(3))).sum())
        if wrong:
            hint = None
            if torch.equal(found, (codebook @ z.permute(0, 2, 3, 1).unsqueeze(4)).squeeze(4).argmax(3)):
                hint = "this is the largest inner product: long vectors win"
            raise Wrong(f"{what}: at {wrong} of {codes.numel()} places another vector is nearer", hint=hint)


@pytest.mark.graded("vq", points=0.35)
def test_straight_through(student, rng):
    """The values are those of the codebook, the gradient passes to the features unchanged and not to the codebook."""
    z, codebook = features(rng)
    e = chosen(z, codebook)[2]
    assert_straight_through(
        student.quantise, z, codebook, value=e, blocked=(1,), generator=rng, atol=1e-5, what="`quantise`"
    )


@pytest.mark.graded("vq", points=0.3)
def test_losses_and_whom_they_move(student, rng):
    """Both losses are the mean square; the first moves the codebook only, the second the features only."""
    z, codebook = features(rng)
    _, codes, e = chosen(z, codebook)
    names = ("codebook loss", "commitment loss")
    losses = assert_tuple(student.vq_losses(z, codebook), 2, "the result of `vq_losses`", names=names)
    for name, loss in zip(names, losses, strict=True):
        sizes = {"channels": D, "numbers": z.numel()}
        assert_close(loss, (z - e).square().mean(), f"the {name}", **CLOSE, sizes=sizes)
    members = torch.nn.functional.one_hot(codes.flatten(), K).to(F64)
    apart = (e - z).permute(0, 2, 3, 1).reshape(-1, D)
    to_codebook = 2 * members.T @ apart / z.numel()
    to_features = 2 * (z - e) / z.numel()
    nothing = torch.zeros_like
    for output, name, moves in ((0, names[0], (nothing(z), to_codebook)), (1, names[1], (to_features, 0 * codebook))):
        found = gradient(student.vq_losses, z, codebook, wrt=(0, 1), output=output)
        for got, right, where in zip(found, moves, ("the features", "the codebook"), strict=True):
            what = f"the gradient of the {name} in {where}"
            if not bool((right != 0).any()):
                if got is not None and bool((got != 0).any()):
                    raise Wrong(f"{what} should be none")
            else:
                assert_close(nothing(right) if got is None else got, right, what, rtol=1e-5, atol=1e-7)


@pytest.mark.graded("vq-ema", points=0.3)
def test_ema_of_counts_and_sums(student, rng):
    """Counts, sums and codebook after a batch; codes that nobody chose keep their vector; arguments stay."""
    z, codes = normal(rng, B, D, H, W), torch.randint(0, K - 2, (B, H, W), generator=rng)
    counts, sums = 0.5 + 3 * torch.rand(K, generator=rng, dtype=F64), normal(rng, K, D)
    names = ("counts", "sums", "codebook")
    every = torch.arange(B * H * W).remainder(K).view(B, H, W)
    for c, decay in ((codes, 0.9), (every, 0.0), (codes, 0.5)):
        member = torch.nn.functional.one_hot(c.flatten(), K).to(F64)
        new_counts = decay * counts + (1 - decay) * member.sum(0)
        new_sums = decay * sums + (1 - decay) * member.T @ z.permute(0, 2, 3, 1).reshape(-1, D)
        answer = student.ema_update(counts, sums, z, c, decay)
        found = assert_tuple(answer, 3, "the result of `ema_update`", names=names)
        for name, got, right in zip(names, found, (new_counts, new_sums, new_sums / new_counts[:, None]), strict=True):
            assert_close(got, right, f"the {name} of `ema_update` for decay {decay:g}", **CLOSE)
    assert_unchanged_arguments(student.ema_update, counts, sums, z, codes, 0.9, what="`ema_update`")


@pytest.mark.graded("vq-ema", points=0.25)
def test_perplexity_of_codes(student, rng):
    """exp of the entropy in nats: K for codes used alike, 1 for one code, between for others; unused ones count 0."""
    shares = torch.tensor([0.5, 0.25, 0.15, 0.1], dtype=F64)
    skewed = torch.multinomial(shares, 60, replacement=True, generator=rng).view(3, 4, 5)
    frequency = torch.bincount(skewed.flatten(), minlength=6).to(F64) / 60
    right = float((-torch.xlogy(frequency, frequency)).sum().exp())
    cases = {
        "of codes used alike": (torch.arange(12).remainder(6).view(3, 4), 6, 6.0),
        "of one code": (torch.full((2, 3), 4), 6, 1.0),
        "of codes used unequally": (skewed, 6, right),
        "where half of the codes are unused": (torch.arange(8).remainder(4), 8, 4.0),
    }
    for words, (codes, n, expected) in cases.items():
        bits = {"the entropy is in bits, the exponential is e's": 2.718281828459045 ** (torch.tensor(expected).log2())}
        assert_close(
            student.perplexity(codes, n), expected, f"`perplexity` {words}", rtol=1e-5, atol=1e-5, alternatives=bits
        )


def relaxed(logits, tau, hard=False, u=None):
    """The soft draw for given noise."""
    return ((logits - (-u.log()).log()) / tau).softmax(1)


@pytest.mark.graded("gumbel", points=0.4)
def test_draws_with_given_noise(student, rng):
    """Values and gradients with the uniform numbers given, soft and hard, at several temperatures."""
    rows, classes = 5, 4
    for tau in (0.5, 2.0):
        logits, u = 1.5 * normal(rng, rows, classes), 0.02 + 0.96 * torch.rand(rows, classes, generator=rng, dtype=F64)
        soft = relaxed(logits, tau, u=u)
        leaf, cotangent = logits.clone().requires_grad_(), normal(rng, rows, classes)
        slope = torch.autograd.grad(relaxed(leaf, tau, u=u), leaf, cotangent)[0]
        other = {
            "logits are multiplied by τ": ((logits - (-u.log()).log()) * tau).softmax(1),
            "τ divides the logits only": (logits / tau - (-u.log()).log()).softmax(1),
            "the sign of the noise is the other one": ((logits + (-u.log()).log()) / tau).softmax(1),
        }
        words = f"`gumbel_softmax` with u given, τ = {tau:g}"
        assert_close(student.gumbel_softmax(logits, tau, u=u), soft, words, atol=1e-4, rtol=1e-4, alternatives=other)
        hard = torch.nn.functional.one_hot(soft.argmax(1), classes).to(F64)
        what = f"{words}, hard=True"
        unsampled = torch.nn.functional.one_hot(logits.argmax(1), classes).to(F64)
        other = {} if torch.equal(unsampled, hard) else {"this is the largest logit, without the noise": unsampled}
        found = student.gumbel_softmax(logits, tau, hard=True, u=u)
        assert_close(found, hard, what, atol=1e-5, rtol=1e-5, alternatives=other)
        for is_hard, name in ((False, words), (True, what)):
            assert_gradient_equals(
                student.gumbel_softmax, logits, tau, is_hard, u, wrt=0, cotangent=cotangent, expected=slope, what=name,
                rtol=1e-4, atol=1e-4,
            )  # fmt: skip
    large = 200 * (2 * torch.randint(0, 2, (rows, classes), generator=rng).to(F64) - 1)
    for is_hard in (False, True):
        found = assert_finite(student.gumbel_softmax(large, 0.5, is_hard, u), "`gumbel_softmax` of logits of ±200")
        assert_close(found.sum(1), torch.ones(rows, dtype=F64), "the sums of rows for logits of ±200", atol=1e-5)


@pytest.mark.graded("gumbel", points=0.35)
def test_law_of_the_draws(student, rng, seed):
    """The largest entry has the law of the logits, and the ratio of any two entries is logistic."""
    row = normal(rng, 3)
    logits = row.repeat(ROWS, 1)
    for tau in (0.5, 2.0):
        y = call(student.gumbel_softmax, logits, tau, seed=seed + int(2 * tau))
        words = f"`gumbel_softmax`, τ = {tau:g}"
        y = assert_finite(assert_shape(y, (ROWS, 3), words), words).double()
        if not bool(((y >= 0) & ((y.sum(1) - 1).abs() < 1e-4)[:, None]).all()):
            raise Wrong(f"the rows of {words} should be non-negative and sum to 1")
        largest = y.argmax(1)
        assert_samples_follow(largest, row.softmax(0), what=f"the largest entries of {words},")
        both = (row.softmax(0)[:, None] * row.softmax(0)).flatten()
        assert_samples_follow(
            3 * largest[0::2] + largest[1::2], both, what=f"the largest entries of neighbouring rows of {words},"
        )
        for i, j in ((0, 1), (1, 2), (2, 0)):
            gap = tau * (y[:, i].log() - y[:, j].log()) - (row[i] - row[j])
            rank = torch.sigmoid(gap.nan_to_num(nan=0.0))
            bins = (20 * rank).long().clamp(0, 19)
            assert_samples_follow(
                bins, torch.full((20,), 0.05, dtype=F64), what=f"the ratios of entries {i} and {j} of {words},"
            )
    for n in torch.randint(2, 40, (10,), generator=rng).tolist():  # fresh in every row however few there are
        few = assert_shape(student.gumbel_softmax(logits[:n], 2.0), (n, 3), "`gumbel_softmax` of few rows")
        apart = torch.pdist(assert_finite(few, "`gumbel_softmax` of few rows").double())
        if not float(apart.min()) > 1e-7:  # of right draws a pair is as near less than once in 10¹²
            raise Wrong(f"`gumbel_softmax` of {n} equal rows gives equal draws: noise should be fresh in every row")
