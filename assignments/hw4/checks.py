"""Homework 4, public checks: what `check("...")` runs in the notebook.

Each looks at one property, on a small example drawn anew in every run, in well under a second. The grader runs these
and others of the same kind.
"""

import math
from typing import NamedTuple

import pytest
import torch

from autograder.checks import (
    CourseData,
    assert_answers_from_weights,
    assert_close,
    assert_continuous,
    assert_finite,
    assert_number,
    assert_same_in_any_company,
    assert_shape,
    assert_step_changes_only,
    assert_tuple,
    assert_weights_matter,
    call,
    contents,
    hands_over,
    load_state_dict,
    optimiser,
    parameter_gradients,
    run_fit,
    state_dict,
)

F64 = torch.float64
SAMPLES = 20_000


def normal(rng, *shape):
    return torch.randn(shape, generator=rng, dtype=F64)


def uniform(rng, *shape):
    return torch.rand(shape, generator=rng, dtype=F64)


def numbers(*values):
    return torch.tensor(values, dtype=F64)


# What the notebook is handed


class Ring(NamedTuple):
    """Eight Gaussians in the plane: weights (8,), centres (8, 2), neighbours one after another, and a deviation."""

    weights: torch.Tensor
    centres: torch.Tensor
    sigma: float

    def draw(self, n, rng):
        """n points, (n, 2), float64."""
        spot = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        return self.centres[spot] + self.sigma * normal(rng, n, 2)


@hands_over("ring")
def ring(law_rng, rng):
    """Radius 1.8 to 2.2, middle within 0.3 of the origin, turned by 10 to 35 degrees, deviation 0.09 to 0.11."""
    radius, turn, sigma, x, y = (float(share) for share in uniform(law_rng, 5))
    angle = (45 * torch.arange(8, dtype=F64) + 10 + 25 * turn).deg2rad()
    middle = 0.6 * numbers(x, y) - 0.3
    centres = middle + (1.8 + 0.4 * radius) * torch.stack([angle.cos(), angle.sin()], 1)
    weights = 0.75 + 0.5 * uniform(law_rng, 8)
    law = Ring(weights / weights.sum(), centres, 0.09 + 0.02 * sigma)
    return CourseData({"ring_train": law.draw(8000, rng).float()}, law)


# Part 1


@pytest.mark.graded("theory-discriminator-code", points=0.15)
def test_equal_laws_leave_the_prior(student, rng):
    """For p = q the best discriminator answers the prior everywhere, and the value is −H(π)."""
    prior = 0.2 + 0.6 * float(uniform(rng))
    p = 0.1 + uniform(rng, 4)
    p = p / p.sum()
    d, value = assert_tuple(student.optimal_discriminator(p, p, prior), 2, "the result", names=("d", "value"))
    assert_close(d, torch.full((4,), prior, dtype=F64), "`d` for p = q")
    entropy = -prior * math.log(prior) - (1 - prior) * math.log(1 - prior)
    assert_close(value, -entropy, "`value` for p = q")


@pytest.mark.graded("theory-conjugate", points=0.25)
def test_conjugate_at_known_points(student, rng):
    """f*(0) = 0, f*(−3) = −1, f*(½) = 0.6716; T*(1) = 0 and T*(3) = ¾; at T*(u) the supremum is reached."""
    assert_close(student.conjugate(numbers(0.0, -3.0, 0.5)), numbers(0.0, -1.0, 0.6716), "`conjugate`", atol=1e-4)
    assert_close(student.optimal_critic(numbers(1.0, 3.0)), numbers(0.0, 0.75), "`optimal_critic`")
    u = 4 * uniform(rng, 5)
    t = student.optimal_critic(u)
    supremum = u * t - (u - 1) ** 2 / (u + 1)
    assert_close(student.conjugate(t), supremum, "`conjugate` at T*(u), which is u T*(u) − f(u),", atol=1e-6)


@pytest.mark.graded("theory-penalty-code", points=0.1)
def test_strong_penalty_gives_slope_one(student, rng):
    """With a huge λ the steepness is 1, and gap and objective are θ; the gap is always steepness times θ."""
    theta = 0.5 + float(uniform(rng))
    steepness, gap, _ = assert_tuple(student.penalised_critic(theta, 1.0), 3, "the result")
    assert steepness > 1.1, f"for λ = 1 the critic is steeper than 1: got {steepness:.3g}"
    assert_close(gap, theta * steepness, "the gap for λ = 1")
    found = assert_tuple(student.penalised_critic(theta, 1e9), 3, "the result", names=("steepness", "gap", "objective"))
    for value, expected, name in zip(found, (1.0, theta, theta), ("steepness", "gap", "objective"), strict=True):
        assert_close(value, expected, f"the {name} for λ = 1e9", atol=1e-6)


@pytest.mark.graded("theory-bias-code", points=0.1)
def test_bias_in_one_dimension(student, rng):
    """In one dimension, with N = M, the two terms are 2/N and 1/(N − 1): nearly 3/N together."""
    n = int(torch.randint(1000, 5000, (), generator=rng))
    assert_close(student.frechet_bias(1, n, n), 3 / n, "`frechet_bias(1, n, n)`", rtol=0.02, atol=0.0)


# Part 2


@pytest.mark.graded("gan-losses", points=0.2)
def test_losses_of_an_undecided_discriminator(student, rng):
    """Logits of 0 cost 2 ln 2, ln ½ and ln 2; logits of ±800 cost a finite amount; least squares of zeros cost ½."""
    zeros = torch.zeros(3, dtype=F64)
    assert_close(student.discriminator_loss(zeros, zeros), 2 * math.log(2), "`discriminator_loss` of zeros")
    logit = 1 + float(uniform(rng))
    cost, what = 2 * math.log(1 + math.exp(-logit)), f"logits of {logit:.3f} for real and {-logit:.3f} for fake"
    assert_close(student.discriminator_loss(zeros + logit, zeros - logit), cost, f"`discriminator_loss` of {what}")
    assert_close(student.generator_loss(zeros, "minimax"), -math.log(2), "the minimax loss of zeros")
    assert_close(student.generator_loss(zeros, "non-saturating"), math.log(2), "the non-saturating loss of zeros")
    far = numbers(800.0, -800.0)
    assert_finite(student.discriminator_loss(far, far), "`discriminator_loss` of logits ±800")
    losses = assert_tuple(student.lsgan_losses(zeros, zeros), 2, "`lsgan_losses`", names=("d_loss", "g_loss"))
    assert_close(losses[0], 0.5, "the first of `lsgan_losses` of zeros")
    assert_close(losses[1], 0.5, "the second of `lsgan_losses` of zeros")


def players(student, rng):
    """A linear generator and a linear discriminator or critic, and plain optimisers over each."""
    generator = student.probe("Linear", normal(rng, 2, 3), normal(rng, 3))
    judge = student.probe("Linear", normal(rng, 3), normal(rng))
    return generator, judge, optimiser(generator, "SGD", lr=0.1), optimiser(judge, "SGD", lr=0.1)


@pytest.mark.graded("gan-steps", points=0.2)
def test_each_step_moves_its_own_network(student, rng):
    """A step of the discriminator leaves the generator as it was, and the other way round; the loss is of before."""
    generator, judge, of_generator, of_judge = players(student, rng)
    real, noise = normal(rng, 6, 3), normal(rng, 4, 2)
    scores, fakes = call(judge, real), call(judge, call(generator, noise))
    loss = assert_step_changes_only(
        student.discriminator_step, generator, judge, of_judge, real, noise, what="`discriminator_step`",
        changes={"the discriminator": judge}, keeps={"the generator": generator},
    )  # fmt: skip
    formula = float(-scores.sigmoid().log().mean() - (-fakes).sigmoid().log().mean())
    loss = assert_shape(loss, (), "the loss that `discriminator_step` returns")
    if abs(float(loss) - formula) > 1e-6:  # your own loss of 2.1 counts as well
        assert_close(loss, student.discriminator_loss(scores, fakes), "the loss that `discriminator_step` returns")
    fakes = call(judge, call(generator, noise))
    loss = assert_step_changes_only(
        student.generator_step, generator, judge, of_generator, noise, what="`generator_step`",
        changes={"the generator": generator}, keeps={"the discriminator": judge},
    )  # fmt: skip
    loss = assert_shape(loss, (), "the loss that `generator_step` returns")
    if abs(float(loss) + float(fakes.sigmoid().log().mean())) > 1e-6:
        own = student.generator_loss(fakes, "non-saturating")
        assert_close(loss, own, "the loss that `generator_step` returns")


@pytest.mark.graded("fgan", points=0.15)
def test_fgan_losses_of_the_text(student, rng):
    """With Pearson's f*: t = 0 everywhere costs nothing, and examples like that of the text; KL takes every number."""
    pearson, zeros = student.probe("Conjugate", "pearson"), torch.zeros(3, dtype=F64)
    t = 1 + float(uniform(rng))
    cost = (t + t**2 / 4) / 2
    for t_real, t_fake, expected in ((zeros, zeros, (0.0, 0.0)), (numbers(t), numbers(0.0, t), (cost - t, -cost))):
        losses = assert_tuple(student.fgan_losses(t_real, t_fake, pearson), 2, "`fgan_losses`")
        for loss, right, name in zip(losses, expected, ("critic's", "generator's"), strict=True):
            assert_close(loss, right, f"the {name} loss of `fgan_losses`")
    v = normal(rng, 2, 3)
    assert_close(student.activation(v, "kl"), v, '`activation(v, "kl")`')
    assert bool((student.activation(v, "reverse-kl") < 0).all()), '`activation(v, "reverse-kl")` should be negative'


@pytest.mark.graded("critic", points=0.2)
def test_critic_losses_clipping_and_shift(student, rng):
    """Scores 1 for real and 3 for fake; clipped weights lie in [−c, c]; a shift costs its length."""
    losses = assert_tuple(student.critic_losses(numbers(1.0), numbers(3.0)), 2, "`critic_losses`")
    assert_close(losses[0], 2.0, "the critic's loss for scores 1 (real) and 3 (fake)")
    assert_close(losses[1], -3.0, "the generator's loss for a score of 3")
    critic = student.probe("Linear", numbers(0.03, -0.05, 3.0, -1.0) + 0.04 * uniform(rng, 4), 2.0)
    before = state_dict(critic)
    call(student.clip_parameters, critic, 0.1, grad=True)
    for name, value in state_dict(critic).items():
        assert_close(value, before[name].clip(-0.1, 0.1), f"`{name}` after clipping to 0.1")
    x, shift = normal(rng, 7), float(normal(rng))
    assert_close(student.wasserstein_1d(x, x + shift), abs(shift), "`wasserstein_1d` of a sample and its shift")


@pytest.mark.graded("gradient-penalty", points=0.2)
def test_penalty_of_linear_critics(student, rng):
    """Linear critics of norm 1 and 2 have penalties 0 and 1, ½‖x‖² has slope ‖x‖; the critic's weights matter."""
    real, fake, w = normal(rng, 4, 3), normal(rng, 4, 3), normal(rng, 3)
    bowl, expected = student.probe("Quadratic", torch.eye(3, dtype=F64)), (real.norm(dim=1) - 1).square().mean()
    value = call(student.gradient_penalty, bowl, real, real, grad=True)
    assert_close(value, expected, "the penalty of the critic ½‖x‖² where real and fake samples coincide", atol=1e-6)
    for norm, expected in ((1.0, 0.0), (2.0, 1.0)):
        critic = student.probe("Linear", norm * w / w.norm())
        value = call(student.gradient_penalty, critic, real, fake, grad=True)
        assert_close(value, expected, f"the penalty of a linear critic of norm {norm:g}", atol=1e-6)
    found = parameter_gradients(student.gradient_penalty, critic, real, fake, of=critic)
    moved = [g for g in found.values() if g is not None and bool((g != 0).any())]
    assert moved, "the penalty has no derivative in the critic's weights: it can not train them"


@pytest.mark.graded("spectral-norm", points=0.25)
def test_power_iteration_and_evaluation_mode(student, rng):
    """Of a diagonal weight 50 steps find the largest entry; a forward pass in evaluation mode leaves `u` alone."""
    entries = numbers(0.5, 1.0, 2.0)[torch.randperm(3, generator=rng)]
    sigma, _, _ = assert_tuple(
        student.power_iteration(torch.diag(entries), 1 + uniform(rng, 3), 50), 3, "`power_iteration`"
    )
    assert_close(sigma, 2.0, "`sigma` of a diagonal weight with entries ½, 1, 2")
    layer = student.SpectralLinear(4, 3).double()
    before = state_dict(layer).get("u")
    assert before is not None, "`SpectralLinear` should keep its `u` in the state_dict"
    y = call(layer, normal(rng, 5, 4), mode="eval")
    assert_shape(y, (5, 3), "what `SpectralLinear(4, 3)` returns")
    assert_close(state_dict(layer)["u"], before, "`u` after a forward pass in evaluation mode", atol=0.0, rtol=0.0)


@pytest.mark.graded("conditional", points=0.25)
def test_zero_embedding_and_inverse_maps(student, rng):
    """Without embedding the logit is ψ(h); maps that undo each other have cycle loss 0."""
    features = student.probe("Linear", normal(rng, 5, 3))
    network = student.ProjectionDiscriminator(features, 3, 4).double()
    state = state_dict(network)
    assert "embedding.weight" in state, "`ProjectionDiscriminator` should have an `embedding`"
    load_state_dict(network, {**state, "embedding.weight": torch.zeros(4, 3, dtype=F64)})
    x, label = normal(rng, 6, 5), torch.randint(0, 4, (6,), generator=rng)
    logits = assert_shape(network(x, label), (6,), "the logits")
    assert_close(logits, call(network.psi, features(x)).squeeze(1), "the logits with an embedding of zeros")
    there, back = student.probe("AffineScore", 2.0, 1.0), student.probe("AffineScore", 0.5, -0.5)
    losses = contents(student.cycle_losses(there, back, normal(rng, 4, 2), normal(rng, 4, 2)))
    assert isinstance(losses, dict), "`cycle_losses` should return a dictionary"
    assert {"cycle", "identity"} <= losses.keys(), "the dictionary should hold `cycle` and `identity`"
    assert_close(losses["cycle"], 0.0, "the cycle loss of maps that undo each other", atol=1e-9)
    assert float(losses["identity"]) > 0, "maps that move their own domain should have an identity loss above 0"


@pytest.mark.graded("inception-score", points=0.2)
def test_score_of_one_hot_rows(student, rng):
    """Balanced one-hot rows over K classes score K; uniform rows score 1."""
    K = int(torch.randint(3, 8, (), generator=rng))
    assert_close(student.inception_score(torch.eye(K, dtype=F64).repeat(3, 1)), float(K), "the score of one-hot rows")
    uniform_rows = torch.full((5, K), 1 / K, dtype=F64)
    assert_close(student.inception_score(uniform_rows), 1.0, "the score of uniform rows", atol=1e-6)
    between = student.inception_score(normal(rng, 6, K).softmax(1))
    assert 1 + 1e-6 < float(between) < K, f"the score of other rows lies between 1 and {K}, got {float(between):.3g}"


@pytest.mark.graded("frechet", points=0.25)
def test_distance_to_itself_and_to_a_shift(student, rng):
    """A set of features against itself is at distance 0, against its shift by v at ‖v‖²."""
    features, shift = normal(rng, 30, 3), normal(rng, 3)
    mean, cov = assert_tuple(student.feature_statistics(features), 2, "`feature_statistics`", names=("mean", "cov"))
    assert_close(mean, features.mean(0), "`mean` of `feature_statistics`")
    assert_shape(cov, (3, 3), "`cov` of `feature_statistics`")
    assert_close(cov.diagonal(), features.var(0), "the diagonal of `cov`, the variances,")
    accepted = 1e-6 * (1 + 2 * float(cov.trace()))
    itself, shifted = (student.frechet_distance(mean, cov, other, cov) for other in (mean, mean + shift))
    assert_number(itself, 0.0, "the distance of a set to itself", tolerance=accepted)
    assert_number(shifted, float(shift @ shift), "the distance to a shift by v, ‖v‖²,", tolerance=accepted)


@pytest.mark.graded("precision-recall", points=0.2)
def test_equal_sets_and_sets_far_apart(student, rng):
    """A set against a jittered copy of itself: 1 and 1. Against one far away: 0 and 0."""
    real = normal(rng, 20, 2)
    for fake, expected in ((real + 1e-6, 1.0), (real + 100, 0.0)):
        found = assert_tuple(student.precision_recall(real, fake, 2), 2, "the result", names=("precision", "recall"))
        for value, name in zip(found, ("precision", "recall"), strict=True):
            assert_number(value, expected, f"the {name}", tolerance=1e-6)
    half = torch.cat([real + 1e-6, real + 100])
    precision = assert_tuple(student.precision_recall(real, half, 2), 2, "the result")[0]
    assert_number(precision, 0.5, "the precision of fakes, half of them far away,", tolerance=1e-6)


@pytest.mark.graded("truncation", points=0.15)
def test_ends_of_truncation(student, rng):
    """ψ = 1 changes nothing, ψ = 0 gives the mean; no truncated draw lies outside."""
    w, mean = normal(rng, 4, 3), normal(rng, 3)
    assert_close(student.truncate(w, mean, 1.0), w, "`truncate` with ψ = 1")
    assert_close(student.truncate(w, mean, 0.0), mean.expand(4, 3), "`truncate` with ψ = 0")
    threshold = 0.5 + float(uniform(rng))
    z = assert_shape(student.truncated_normal((20, 30), threshold), (20, 30), "`truncated_normal`")
    assert float(z.abs().max()) <= threshold * (1 + 1e-6), "a truncated draw lies outside of the threshold"
    assert float(z.double().std()) > 0.2, "the truncated draws hardly differ from each other"


# Part 3


def honest_generator(trained, student, rng, matter=0.4):
    """The trained generator, if it is a continuous map that its own weights make; and the size of its noise."""
    generator, fresh = trained.ring_generator, student.make_generator()
    what, noise_dim = "`ring_generator`", trained.ring_generator.noise_dim
    assert type(noise_dim) is int, "`noise_dim` should be a whole number"
    assert 1 <= noise_dim <= 1000, f"`noise_dim` should lie between 1 and 1000, got {noise_dim}"
    z = [torch.randn(64, noise_dim, generator=rng) for _ in range(4)]

    def ask(rows):
        return call(generator, rows, mode="eval")

    assert_shape(ask(z[0]), (64, 2), f"what {what} makes of (64, {noise_dim})")
    assert_same_in_any_company(ask, z[0], strangers=(z[1],), generator=rng, what=what)
    assert_continuous(ask, z[2], z[3], what=what)

    def answers(network):
        return call(network, z[1], mode="eval")

    assert_answers_from_weights(generator, fresh, answers, what=what)
    assert_weights_matter(generator, answers, share=matter, generator=rng, what=what)
    learns_from_the_critic(student, rng, noise_dim)
    return generator, noise_dim


def learns_from_the_critic(student, rng, noise_dim):
    """`fit_wgan_gp` moves a new generator to where a linear critic of norm 10 scores higher, away from the data."""
    slope = normal(rng, 2)
    slope = (10 * slope / slope.norm()).float()
    generator, z = student.make_generator(), torch.randn(500, noise_dim, generator=rng)
    points = 0.3 * torch.randn(4000, 2, generator=rng) - slope / 5
    first = call(generator, z, mode="eval") @ slope
    run_fit(student.fit_wgan_gp, generator, student.probe("Linear", slope), points, 50)
    rise = float((call(generator, z, mode="eval") @ slope).mean() - first.mean())
    assert rise > 0, f"after 50 steps with a steep critic of ours its mean score of the samples has risen by {rise:.3g}"


def spots_held(samples, law):
    """The share of the samples within three deviations of each centre, (8,)."""
    return (torch.cdist(samples.double(), law.centres) <= 3 * law.sigma).double().mean(0)


@pytest.mark.graded("train-ring", points=0.35, trains="ring")
def test_generator_finds_most_spots(student, rng, course_data, figures):
    """A continuous map of noise: half of the samples lie near a centre, and at least five spots hold some."""
    law = course_data("ring").law
    generator, noise_dim = honest_generator(student.trained("ring"), student, rng)
    samples = call(generator, torch.randn(SAMPLES, noise_dim, generator=rng), mode="eval")
    figures.points("The ring", {"data": law.draw(1000, rng), "your samples": samples})
    held = spots_held(samples, law)
    share, modes = float(held.sum()), int((held >= 0.02).sum())
    assert share >= 0.5, f"{share:.0%} of the samples lie within 3σ of a centre; at least 50 % should"
    assert modes >= 5, f"{modes} of the 8 spots hold 2 % of the samples or more; at least 5 should"


@pytest.mark.graded("train-ring-metrics", points=0.15)
def test_measures_of_the_data_themselves(student, rng, course_data):
    """Data beside other data of the same law: all numbers finite, all eight modes, precision and recall near 1."""
    law = course_data("ring").law
    real, other = law.draw(400, rng), law.draw(400, rng)
    found = contents(student.evaluate_ring(real, other, law.centres, law.sigma))
    names = ("frechet", "precision", "recall", "modes")
    assert isinstance(found, dict), "`evaluate_ring` should return a dictionary"
    assert set(names) <= found.keys(), f"the dictionary should hold {', '.join(names)}"
    for name in names:
        assert_finite(found[name], f"`{name}`")
    assert int(found["modes"]) == 8, f"`modes` of the data should be 8, got {found['modes']}"
    half = law.centres[torch.arange(400) % 4] + law.sigma * normal(rng, 400, 2)
    modes = contents(student.evaluate_ring(real, half, law.centres, law.sigma))["modes"]
    assert int(modes) == 4, f"`modes` of samples of four spots should be 4, got {modes}"
    for name in ("precision", "recall"):
        assert_shape(found[name], (), f"`{name}`")
        assert 0.8 <= float(found[name]) <= 1, f"`{name}` of data beside data should be near 1, got {found[name]}"
