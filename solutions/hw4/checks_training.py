"""Homework 4, hidden checks of part 3: what the trained pair has made of a ring drawn for it."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from autograder.checks import (
    StudentFault,
    Wrong,
    assert_answers_from_weights,
    assert_continuous,
    assert_finite,
    assert_same_in_any_company,
    assert_score,
    assert_shape,
    assert_teaches_only,
    assert_weights_matter,
    call,
    contents,
    gradient,
    retried,
    run_fit,
    score_line,
)

from ..common.draws import F64, normal
from ..common.training import draw_losses
from .measures import assert_measures

N = 20_000
STEEP = 10.0  # the slope of a critic that some hundred steps of training turn by little
GENERATOR, CRITIC = "`ring_generator`", "`ring_critic`"


def noise(rng, network, n):
    """Standard normal noise for a generator, float32."""
    size = network.noise_dim
    if type(size) is not int or not 1 <= size <= 1000:
        raise Wrong("`noise_dim` should be a whole number from 1 to 1000")
    return torch.randn(n, size, generator=rng)


def ring_samples(student, rng, law, least):
    """Samples of the trained generator, if it is a continuous map made by its weights, and a new one knows nothing."""
    network, fresh = student.trained("ring").ring_generator, student.make_generator()
    first, second, other, beside = noise(rng, network, 256).split(64)

    def sample(z):
        return call(network, z, mode="eval")

    points = assert_shape(sample(noise(rng, network, N)), (N, 2), f"the samples of {GENERATOR}")
    assert_same_in_any_company(sample, first, strangers=(second,), generator=rng, what=GENERATOR)
    assert_continuous(sample, other, beside, what=GENERATOR)
    untrained = assert_finite(call(fresh, noise(rng, network, 2000), mode="eval"), "the samples of a new generator")
    if float(held(untrained.double(), law).sum()) >= 0.5:
        raise Wrong("what `make_generator()` builds knows the ring before it is trained")

    def own(net):
        return call(net, second, mode="eval")

    assert_answers_from_weights(network, fresh, own, what=GENERATOR)
    assert_weights_matter(network, own, share=least, generator=rng, what=GENERATOR)
    assert_learns_from_its_critic(student, rng)
    return assert_finite(points, f"the samples of {GENERATOR}").double()


def assert_learns_from_its_critic(student, rng):
    """A new generator goes where a steep linear critic sends it, though the data lie on the other side."""
    way = 2 * torch.pi * torch.rand((), generator=rng, dtype=F64)
    up = torch.stack([way.cos(), way.sin()])
    pupil, teacher = student.make_generator(), student.probe("Linear", STEEP * up.float())
    data, z = (0.3 * normal(rng, 4000, 2) - 2 * up).float(), noise(rng, pupil, 1000)

    def height():
        return float((assert_shape(call(pupil, z, mode="eval"), (1000, 2), "samples").double() @ up).mean())

    before = height()
    run_fit(student.fit_wgan_gp, pupil, teacher, data, 50, seed=int(torch.randint(2**31, (), generator=rng)))
    if not height() > before:
        raise Wrong("`fit_wgan_gp` does not lead a generator to where the critic it is given scores higher")


def held(points, law):
    """The share of the points within three deviations of each centre, (8,)."""
    return (torch.cdist(points, law.centres) <= 3 * law.sigma).double().mean(0)


def stages(trained):
    """Samples that the notebook kept of its training, by step; nothing where it kept none."""
    kept = None
    with suppress(StudentFault, AttributeError):  # a picture that is not there costs nobody points
        kept = trained.ring_snapshots.kept
    pictures = kept.items() if isinstance(kept, dict) else ()
    shown = [(step, points) for step, points in pictures if isinstance(points, torch.Tensor) and points.dim() == 2]
    return {f"step {str(step)[:10]}": points for step, points in shown[:6] if points.shape[1] == 2}


@pytest.mark.graded("train-ring", points=0.4, trains="ring", seconds=30)
def test_samples_lie_near_the_centres(student, rng, course_data, data, figures):
    """The share of 20,000 samples within three deviations of a centre."""
    law, lines, trained = course_data("ring").law, data["ring"], student.trained("ring")
    points = ring_samples(student, rng, law, lines["weights"])
    draw_losses(figures, trained, "ring_losses", unit="the critic's loss")
    figures.points("The ring", {"data": law.draw(1000, rng), "your samples": points, **stages(trained)})
    assert_score(float(held(points, law).sum()), **lines["share"], what="the share within 3σ of a centre")


@pytest.mark.graded("train-ring", points=0.3, trains="ring", seconds=30)
def test_every_spot_gets_its_share(student, rng, course_data, data):
    """The least share of a spot over its weight."""
    law, lines = course_data("ring").law, data["ring"]
    share = held(ring_samples(student, rng, law, lines["weights"]), law) / law.weights
    assert_score(float(share.min()), **lines["least"], what="the least share of a spot over its weight")


@pytest.mark.graded("train-ring", points=0.25, trains="ring", seconds=30)
def test_critic_behaves_like_one(student, rng, course_data, data):
    """Between data and samples its slope is near 1, and it rises from between the spots to the data."""
    law, lines, critic = course_data("ring").law, data["ring"], student.trained("ring").ring_critic
    points = ring_samples(student, rng, law, lines["weights"])
    if float(held(points, law).sum()) <= lines["share"]["floor"]:
        raise Wrong("a critic counts beside a generator half of whose samples lie near a centre")
    real, t = law.draw(2000, rng), torch.rand(2000, 1, generator=rng, dtype=F64)
    between = (t * real + (1 - t) * points[:2000]).float()

    def ask(x):
        return call(critic, x, mode="eval")

    assert_shape(ask(between), (2000,), f"the scores of {CRITIC}")
    assert_same_in_any_company(ask, between[:64], strangers=(real[:64].float(),), generator=rng, what=CRITIC)

    def answers(net):
        return call(net, between[:200], mode="eval")

    assert_answers_from_weights(critic, student.make_critic(), answers, what=CRITIC)
    slope = gradient(critic, between, mode="eval")
    if slope is None:
        raise Wrong(f"the scores of {CRITIC} do not depend on the points")
    penalty = float((assert_finite(slope, "the slope").double().norm(dim=1) - 1).square().mean())
    midway = (law.centres + law.centres.roll(1, 0)) / 2
    rise = float(ask(real.float()).double().mean() - ask(midway.float()).double().mean())
    earned = score_line(penalty, **lines["penalty"]) * score_line(rise, **lines["rise"])
    what = f"the product of both shares of the critic (mean (slope − 1)² {penalty:.2f}, rise {rise:.2f})"
    assert_score(earned, floor=0.0, target=1.0, what=what)


def teaches_a_new_pair(student, rng, seed):
    """`fit_wgan_gp` brings a new generator at least two fifths of the way to another law, and teaches no other."""
    way = 2 * torch.pi * torch.rand((), generator=rng, dtype=F64)
    spot = (1.8 + 0.7 * torch.rand((), generator=rng, dtype=F64)) * torch.stack([way.cos(), way.sin()])
    x = (spot + 0.3 * normal(rng, 4000, 2)).float()
    pair, bystander = (student.make_generator(), student.make_critic()), student.make_generator()
    z = noise(rng, pair[0], 2000)

    def ask(net):
        return call(net, z, mode="eval")

    def away():
        return float((assert_shape(ask(pair[0]), (2000, 2), "samples").double().mean(0) - spot).norm())

    before, returned = away(), []

    def fit():
        return returned.append(run_fit(student.fit_wgan_gp, *pair, x, 300, seed=seed))

    assert_teaches_only(fit, bystander, ask, what="`fit_wgan_gp`")
    if not away() <= 0.6 * before:
        raise Wrong(
            f"after 300 steps the mean of the samples is {away():.2f} away from that of the data, {before:.2f} before"
        )
    assert_continuous(lambda rows: call(pair[0], rows, mode="eval"), z[:64], z[64:128], what="a generator trained anew")
    losses = contents(returned[0])
    if not isinstance(losses, list) or len(losses) != 300:
        raise Wrong("`fit_wgan_gp` should return a list with one loss for each of its 300 steps")


@pytest.mark.graded("train-ring", points=0.2, trains="ring", seconds=45)
def test_fit_teaches_any_pair(student, rng, seed):
    """`fit_wgan_gp` teaches the pair it is given, in one of three trainings at least, since a game may go round."""
    retried(lambda attempt, _: teaches_a_new_pair(student, rng, seed + attempt), times=3)
    assert_learns_from_its_critic(student, rng)


@pytest.mark.graded("train-ring-metrics", points=0.25)
def test_measures_of_known_samples(student, rng, course_data):
    """Good, mode-dropping, blurred, shifted and circular samples."""
    law = course_data("ring").law
    real, good = law.draw(700, rng), law.draw(600, rng)
    way = 2 * torch.pi * torch.rand(800, generator=rng, dtype=F64)
    middle = law.centres.mean(0)
    circle = middle + (law.centres[0] - middle).norm() * torch.stack([way.cos(), way.sin()], 1)
    dropped = law.centres[torch.randint(0, 5, (700,), generator=rng)] + law.sigma * normal(rng, 700, 2)
    sets = {"good": good, "mode-dropping": dropped, "blurred": good + 0.4 * normal(rng, 600, 2)}
    sets |= {"shifted": good + torch.tensor([0.3, 0.0], dtype=F64), "circular": circle}
    for name, fake in sets.items():
        assert_measures(student, real, fake, law, f"of {name} samples")


@pytest.mark.graded("train-ring-metrics", points=0.1, trains="ring", seconds=30)
def test_measures_of_your_own_samples(student, rng, course_data, data):
    """Samples of `ring_generator` beside data: the right numbers, and a precision that a circle does not reach."""
    law, lines = course_data("ring").law, data["ring"]
    fake, real = ring_samples(student, rng, law, lines["weights"])[:700], law.draw(700, rng)
    right = assert_measures(student, real, fake, law, f"of samples of {GENERATOR}")
    assert_score(right["precision"], **lines["precision"], what=f"the precision of {GENERATOR}")
