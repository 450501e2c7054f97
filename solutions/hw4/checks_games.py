"""Homework 4, hidden checks of tasks 2.1 to 2.3: losses, steps of two players, f-divergences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from autograder.checks import (
    DIVERGENCES,
    Linear,
    Step,
    assert_close,
    assert_displacement,
    assert_divergence_bound,
    assert_number,
    assert_tuple,
    assert_unchanged_arguments,
    call,
    gradient,
    optimiser,
)

from ..common.draws import F64, normal
from .players import either, surrogate

RATE = 0.3


def losses(real, fake):
    """The discriminator's loss and both of the generator's."""
    return F.softplus(-real).mean() + F.softplus(fake).mean(), -F.softplus(fake).mean(), F.softplus(-fake).mean()


@pytest.mark.graded("gan-losses", points=0.2)
def test_losses_of_random_logits(student, rng):
    """The discriminator's loss and both of the generator's, for batches of different sizes."""
    real, fake = 2 * normal(rng, 7) + 1, 2 * normal(rng, 4) - 1
    both = torch.cat([F.softplus(-real), F.softplus(fake)])
    right = losses(real, fake)
    wrong = {
        "real and fake are exchanged": losses(fake, real)[0],
        "a sigmoid is taken twice": losses(real.sigmoid(), fake.sigmoid())[0],
        "the sum of both means is asked for, not half of it": right[0] / 2,
        "this is the mean over all samples: each kind has a mean of its own": both.mean(),
    }
    wrong = {sentence: float(value) for sentence, value in wrong.items()}
    assert_number(
        assert_unchanged_arguments(student.discriminator_loss, real, fake, what="`discriminator_loss`"),
        float(right[0]),
        "`discriminator_loss`",
        tolerance=1e-6,
        alternatives=wrong,
    )
    for kind, expected, other in (("minimax", right[1], right[2]), ("non-saturating", right[2], right[1])):
        hints = {
            "this is the loss of the other kind": float(other),
            "this is to be maximised: losses are minimised": -float(expected),
        }
        value = student.generator_loss(fake, kind)
        assert_number(value, float(expected), f'`generator_loss(…, "{kind}")`', tolerance=1e-6, alternatives=hints)


@pytest.mark.graded("gan-losses", points=0.15)
def test_losses_of_extreme_logits(student, rng):
    """Logits of ±800, float32 and float64; the generator's gradient at a logit of −30."""
    for dtype in (torch.float32, torch.float64):
        real, fake = torch.tensor([800.0, -800.0, 1.0], dtype=dtype), torch.tensor([-800.0, 800.0], dtype=dtype)
        right, asked = losses(real, fake), f"of logits ±800, {str(dtype).removeprefix('torch.')}"
        assert_close(student.discriminator_loss(real, fake), right[0], f"`discriminator_loss` {asked}")
        assert_close(student.generator_loss(fake, "minimax"), right[1], f"the minimax loss {asked}")
        assert_close(student.generator_loss(fake, "non-saturating"), right[2], f"the non-saturating loss {asked}")
    sure = torch.full((5,), -30.0, dtype=F64)
    for kind, slope in (("minimax", 0.0), ("non-saturating", -0.2)):
        found = gradient(student.generator_loss, sure, kind)
        assert_close(found, torch.full((5,), slope, dtype=F64), f"the gradient of the {kind} loss at a logit of −30")


@pytest.mark.graded("gan-losses", points=0.2)
def test_least_squares_losses(student, rng):
    """Least squares for three sets of targets, by position and by name, and the default ones."""
    real, fake = normal(rng, 6), normal(rng, 4)

    def half(scores, goal):
        return float((scores - goal).square().mean()) / 2

    for a, b, c in ((-1.0, 1.0, 0.0), (0.1, 0.9, 0.7), (0.0, 1.0, 1.0)):
        calls = [student.lsgan_losses(real, fake, a, b, c), student.lsgan_losses(real, fake, c=c, b=b, a=a)]
        calls += [student.lsgan_losses(real, fake)] if (a, b, c) == (0.0, 1.0, 1.0) else []
        right = (half(real, b) + half(fake, a), half(fake, c))
        wrong = (
            {"a and b are exchanged": half(real, a) + half(fake, b), "the ½ is missing": 2 * right[0]},
            {"the ½ is missing": 2 * right[1]},
        )
        for found in calls:
            parts = assert_tuple(found, 2, "`lsgan_losses`", names=("d_loss", "g_loss"))
            for value, expected, name, hints in zip(parts, right, ("first", "second"), wrong, strict=True):
                asked = f"with a = {a:g}, b = {b:g}, c = {c:g}"
                assert_number(
                    value, expected, f"the {name} of `lsgan_losses`", tolerance=1e-6, asked=asked, alternatives=hints
                )


@pytest.mark.graded("gan-steps", points=0.55)
def test_a_sequence_of_steps(student, rng):
    """Steps D, G, G, D, D on the same networks, each exact; the grader steps the generator's optimiser in between."""
    weights = normal(rng, 2, 3), normal(rng, 3), normal(rng, 3), normal(rng)
    batches = [(normal(rng, 6, 3), normal(rng, 4, 2)) for _ in range(5)]
    formulas = (lambda real, fake: losses(real, fake)[0], lambda fake: losses(fake, fake)[2])
    own = (
        lambda real, fake: surrogate(student.discriminator_loss, real, fake),
        lambda fake: surrogate(student.generator_loss, fake, "non-saturating"),
    )
    either(lambda: play(student, weights, batches, *formulas), lambda: play(student, weights, batches, *own))


def play(student, weights, batches, d_loss, g_loss):
    """The sequence on new networks, with the losses that count as right."""
    known = {"generator": Linear(*weights[:2]), "discriminator": Linear(*weights[2:])}
    nets = {"generator": student.probe("Linear", *weights[:2]), "discriminator": student.probe("Linear", *weights[2:])}
    of_g, of_d = (optimiser(nets[name], "SGD", lr=RATE) for name in ("generator", "discriminator"))

    def d_step(real, noise):
        def run():
            return call(student.discriminator_step, *nets.values(), of_d, real, noise, grad=True)

        def loss(own):
            return d_loss(own["discriminator"](real), own["discriminator"](own["generator"](noise)))

        return Step("of the discriminator", run, trains="discriminator", loss=loss, rate=RATE)

    def g_step(real, noise):
        def run():
            return call(student.generator_step, *nets.values(), of_g, noise, grad=True)

        def loss(own):
            return g_loss(own["discriminator"](own["generator"](noise)))

        return Step("of the generator", run, trains="generator", loss=loss, rate=RATE)

    judge = Step("the generator's optimiser stepped by the grader", lambda: call(of_g.step))
    d, g = d_step, g_step
    steps = [d(*batches[0]), judge, g(*batches[1]), g(*batches[2]), d(*batches[3]), d(*batches[4])]
    assert_displacement(steps, nets, known)


@pytest.mark.graded("fgan", points=0.2)
def test_bound_of_two_divergences(student, rng):
    """For laws over four states both losses are exact; at the best critic the first is minus the divergence."""
    for name in ("pearson", "hellinger"):
        conjugate, known = student.probe("Conjugate", name), DIVERGENCES[name]
        real, fake = (torch.randint(1, 6, (4,), generator=rng) for _ in range(2))
        real[0] += int(real.sum() == fake.sum())
        assert_divergence_bound(
            student.fgan_losses, real.tolist(), fake.tolist(), known, conjugate, output=0, sign=-1.0, generator=rng,
            what="the critic's loss",
        )  # fmt: skip
        t = -torch.rand(5, generator=rng, dtype=F64)
        _, value = assert_tuple(student.fgan_losses(t[:3], t, conjugate), 2, "`fgan_losses`")
        wrong = {
            "this is −mean t of the fakes, the heuristic that is not asked for": -float(t.mean()),
            "this is f* of the mean": -float(known.conjugate(t.mean())),
            "this is to be maximised: losses are minimised": float(known.conjugate(t).mean()),
        }
        right = -float(known.conjugate(t).mean())
        assert_number(value, right, "the generator's loss", tolerance=1e-6, asked="of random t", alternatives=wrong)


@pytest.mark.graded("fgan", points=0.15)
def test_activations(student, rng):
    """The four maps into the domain of f*, for raw outputs from −30 to 30."""
    v = torch.cat([torch.tensor([-30.0, 30.0, 0.0], dtype=F64), 5 * normal(rng, 5)]).reshape(2, 4)
    for name, right in {"kl": v, "pearson": v, "reverse-kl": -torch.exp(-v), "gan": -F.softplus(-v)}.items():
        found = assert_unchanged_arguments(student.activation, v, name, what="`activation`")
        assert_close(found, right, f'`activation(v, "{name}")`')
