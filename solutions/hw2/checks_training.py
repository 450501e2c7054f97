"""Homework 2, hidden checks of part 3: what the trained flows know of data they have not seen."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    Wrong,
    assert_bijection,
    assert_coupling_flow,
    assert_diverse,
    assert_excess,
    assert_integrates_to_one,
    assert_not_memorised,
    assert_score,
    call,
    change_of_variables,
)

from ..common.draws import F64, normal
from ..common.training import draw_losses

ROWS = 100  # pictures in one call: the bijection is examined on as many


def honest_flow(trained, name, x, z, rng, **structure):
    """The trained flow in double precision, if it is a bijection at points x and noise z, and made of couplings."""
    said, flow = f"`{name}`", trained.get(name).double()
    assert_bijection(flow, x, z, generator=rng, what=said)
    assert_coupling_flow(flow, x[:4], what=said, at_least=4, **structure)
    return flow


def mixture_log_prob(law, x):
    """ln p of the drawn mixture in nats, (N,)."""
    normals = torch.distributions.MultivariateNormal(law.means, scale_tril=_triangular(law.factors))
    return (law.weights.log() + normals.log_prob(x[:, None])).logsumexp(1)


def _triangular(factors):
    return torch.linalg.cholesky(factors @ factors.mT)


@pytest.mark.graded("train-mixture", points=0.5, trains="mixture", seconds=60)
def test_mixture_flow_is_near_the_entropy(student, rng, course_data, data, figures):
    """On fresh points of the drawn law the loss is near the entropy, and the density is one."""
    trained, law = student.trained("mixture"), course_data("mixture").law
    x = law.draw(2000, rng)
    flow = honest_flow(trained, "mixture_flow", x, normal(rng, 100, 2), rng)
    draw_losses(figures, trained, "mixture_losses")
    box = [(-10.0, 10.0), (-10.0, 10.0)]

    def density(points):
        return change_of_variables(flow, points, what="`mixture_flow`")

    assert_integrates_to_one(density, box, points=110, atol=0.05, what="the density of `mixture_flow`")
    nll, line = -density(x), data["mixture"]
    best, what = -mixture_log_prob(law, x), "the loss on fresh points"
    assert_excess(nll, best, floor=line["floor"], target=line["target"], at_most=line["most"], what=what)


@pytest.mark.graded("train-mixture", points=0.25, trains="mixture", seconds=60)
def test_mixture_samples_lie_in_the_modes(student, rng, course_data, data, figures):
    """Noise of the judge's, sent through `inverse`, lands within three deviations of the modes, in each of them."""
    law, line = course_data("mixture").law, data["mixture"]
    x, z = law.draw(100, rng), normal(rng, 2000, 2)
    flow = honest_flow(student.trained("mixture"), "mixture_flow", x, z, rng)
    samples = call(flow.inverse, z, mode="eval")[0].double()
    figures.points("The mixture", {"data": law.draw(1000, rng), "your samples": samples[:1000]})
    inside = torch.linalg.solve(law.factors, (samples[:, None] - law.means).unsqueeze(3)).squeeze(3).norm(dim=2)
    near, mode = inside.min(1)
    shares = torch.stack([((mode == k) & (near <= 3)).double().mean() for k in range(4)])
    missing = int((shares < law.weights / 4).sum())
    if missing:
        raise Wrong(f"{missing} of the 4 modes get less than a quarter of the samples that they should")
    assert_score(-float((near <= 3).double().mean()), -line["far"], -line["near"], "minus the share near a mode")


def bits_per_dim(flow, levels, rng):
    """Bits per dimension of pictures with levels 0 to 16, (N,), by the measured volume and fresh noise."""
    y = (levels.double() + torch.rand(levels.shape, generator=rng, dtype=F64)) / 17
    return math.log2(17) - change_of_variables(flow, y, what="`digits_flow`") / (64 * math.log(2))


def digits_flow(trained, held_out, rng):
    y = (held_out[:ROWS].double() + 0.5) / 17
    shape = call(trained.get("digits_flow").double(), y, mode="eval")[0].shape
    return honest_flow(trained, "digits_flow", y, normal(rng, *shape), rng, elementwise_first=True), shape[1:]


@pytest.mark.graded("train-digits", points=0.5, trains="digits", seconds=60)
def test_digits_flow_predicts_held_out_digits(student, rng, course_data, data):
    """Bits per dimension of held-out pictures, asked in one call with training pictures."""
    trained, given = student.trained("digits"), course_data("digits")
    held_out = given.law[torch.randperm(len(given.law), generator=rng)[:300]]
    flow, _ = digits_flow(trained, held_out, rng)
    bits = mixed_bits(flow, held_out, given.tensors["digits_train"], rng)
    line = data["digits"]
    assert_score(bits, line["floor"], line["target"], "held-out digits", unit="bits per dimension")


def mixed_bits(flow, held_out, train, rng):
    others = train[torch.randperm(len(train), generator=rng)[: len(held_out) // 3]]
    both, order = torch.cat([held_out, others]), torch.randperm(len(held_out) + len(others), generator=rng)
    parts = [bits_per_dim(flow, part, rng) for part in both[order].split(ROWS)]
    return float(torch.cat(parts)[order.argsort()][: len(held_out)].mean())


@pytest.mark.graded("train-digits", points=0.3, trains="digits", seconds=60)
def test_digits_drawn_from_the_flow_are_new_and_diverse(student, rng, course_data, data, figures):
    """Pictures made by `inverse` from noise of the judge's are as grey, as diverse and as new as held-out digits."""
    trained, given = student.trained("digits"), course_data("digits")
    held_out, line = given.law[torch.randperm(len(given.law), generator=rng)[:300]], data["digits"]
    flow, shape = digits_flow(trained, held_out, rng)
    draw_losses(figures, trained, "digits_losses")
    z = normal(rng, 200, *shape)
    y = torch.cat([call(flow.inverse, part, mode="eval")[0].reshape(-1, 1, 8, 8) for part in z.split(ROWS)])
    samples = (17 * y).floor().clamp(0, 16).float() / 16
    train, real = given.tensors["digits_train"] / 16, held_out / 16
    nearest = train[torch.cdist(samples.flatten(1), train.flatten(1)).argmin(1)]
    panels = {"held-out data": real, "made by your flow": samples, "nearest training picture": nearest}
    figures.images("Digits", panels)
    if mixed_bits(flow, held_out[:60], given.tensors["digits_train"], rng) >= line["floor"]:
        raise Wrong(f"pictures count for a flow that needs fewer than {line['floor']:g} bits per dimension")
    grey = float(samples.mean() - real.mean())
    if not abs(grey) <= line["grey"]:
        raise Wrong(f"the pictures made by your flow are too {'white' if grey > 0 else 'black'}: by {abs(grey):.0%}")
    assert_diverse(samples, real, at_least=0.8, what="the pictures made by your flow")
    assert_not_memorised(
        samples, torch.cat([train, real[100:]]), real[:100], copies=0.3, what="the pictures made by your flow"
    )
