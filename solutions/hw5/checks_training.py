"""Homework 5, hidden checks of part 3: what the trained networks know of data they have not seen."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    MixtureScore,
    Wrong,
    assert_answers_from_weights,
    assert_diverse,
    assert_fresh,
    assert_learns,
    assert_not_memorised,
    assert_score,
    assert_shape,
    assert_weights_matter,
    call,
    load_state_dict,
    noise_table,
    parameters,
    records,
    run_fit,
    state_dict,
    train_network,
)

from ..common.draws import F64, normal, randint
from .properties import drawn_betas

PLANE = torch.linspace(0.001, 0.1, 100, dtype=F64)
PICTURES = torch.linspace(5e-4, 0.1, 200, dtype=F64)
PIXELS = 0.069  # error of the noise if each pixel is taken by itself, with its own frequency
GRID = range(2, 200, 16)
FEW = 50 * len(GRID)  # pictures for a coarse look
BUFFERS = "a new network that holds the buffers of the trained one, but not its parameters,"
DISTANCE = "the distance to the exact noise, as a share of one Gaussian's,"


def noised(x_0, t, betas, rng):
    """Points (B, *) in float32 at times t (B,), and the noise in them."""
    kept = (1 - betas).cumprod(0)[t].reshape(-1, *[1] * (x_0.dim() - 1))
    noise = normal(rng, *x_0.shape)
    return (kept.sqrt() * x_0 + (1 - kept).sqrt() * noise).float(), noise.float()


def answer(net, x, t, what):
    """What a network says of points (B, *) at one time, or at one for each row, in float64."""
    t = torch.full((len(x),), t) if isinstance(t, int) else t
    return assert_shape(call(net, x, t, mode="eval"), x.shape, f"the answer of {what}").double()


def judged_sample(net, x, betas, rng, what):
    """Samples by the judge's own DDPM sampler."""
    abar = (1 - betas).cumprod(0)
    for t in range(len(betas) - 1, -1, -1):
        noise = answer(net, x.float(), t, what)
        x = (x - betas[t] / (1 - abar[t]).sqrt() * noise) / (1 - betas[t]).sqrt()
        if t:
            x = x + (betas[t] * (1 - abar[t - 1]) / (1 - abar[t])).sqrt() * normal(rng, *x.shape)
    return x


def share_of_gaussian(net, law, rng, what, rows=800):
    """Squared distance to the exact noise of a mixture over a grid of t, as a share of the best single Gaussian's."""
    exact, ours, theirs = MixtureScore(law.means, law.stds, law.weights, PLANE), 0.0, 0.0
    mean = law.weights @ law.means
    apart = law.means - mean
    spread = (law.weights * law.stds.square()).sum() * torch.eye(2, dtype=F64)
    spread = spread + apart.T @ (law.weights[:, None] * apart)
    for t in range(2, 100, 8):
        x, _ = noised(law.draw(rows, rng), torch.full((rows,), t), PLANE, rng)
        abar = float((1 - PLANE[: t + 1]).prod())
        with torch.no_grad():
            right = -math.sqrt(1 - abar) * exact(x.double(), torch.full((rows,), t))
        cov = abar * spread + (1 - abar) * torch.eye(2, dtype=F64)
        gaussian = math.sqrt(1 - abar) * torch.linalg.solve(cov, (x.double() - math.sqrt(abar) * mean).T).T
        ours = ours + (answer(net, x, t, what) - right).square().mean()
        theirs = theirs + (gaussian - right).square().mean()
    return float(ours / theirs)


def honest_plane_network(student, trained, law, rng):
    """A new network with the trained weights: it knows by its parameters, and another one like it still learns."""
    what, make = "`mixture_model`", trained.make_mixture_denoiser
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=F64)
    other = type(law)(law.weights.flip(0), law.means @ turn, law.stds + 0.1)
    new, unit = "a new network of `make_mixture_denoiser()`", "of one Gaussian's distance"
    fresh = make()
    for known in (law, other):
        assert_fresh(share_of_gaussian(fresh, known, rng, new, 300), 0.9, what=new, unit=unit)
    t = torch.randint(10, 80, (64,), generator=rng)
    x, _ = noised(law.draw(64, rng), t, PLANE, rng)
    net = weights_alone(trained.mixture_model, make(), x, t, rng, what)
    assert_fresh(share_of_gaussian(buffers_alone(net, fresh), law, rng, BUFFERS, 300), 0.9, what=BUFFERS, unit=unit)
    pupil, t = like(net, make()), torch.randint(0, 100, (20_000,), generator=rng)
    x, noise = noised(other.draw(20_000, rng), t, PLANE, rng)
    train_network(pupil, [x, t], noise, steps=1200, batch_size=256, seed=randint(rng, 0, 10**6))
    learned = share_of_gaussian(pupil, other, rng, what, 300)
    if not learned <= 0.8:
        raise Wrong(f"{what} learns no other law: trained on by the judge it is at {learned:.2f} of one Gaussian's")
    return net


def weights_alone(net, fresh, x, t, rng, what):
    """The fresh network with the trained weights, most of which matter at points x and times t."""
    def ask(network):
        return call(network, x, t, mode="eval")
    net = assert_answers_from_weights(net, fresh, ask, what=what)
    assert_weights_matter(net, ask, least=0.002, generator=rng, what=what)
    return net


def like(net, fresh):
    """The fresh network with all that `net` holds."""
    load_state_dict(fresh, state_dict(net))
    return fresh


def buffers_alone(net, fresh):
    """The fresh network with the buffers of `net`: what was learned does not lie there."""
    learned, own = parameters(net), state_dict(fresh)
    load_state_dict(fresh, {name: own[name] if name in learned else v for name, v in state_dict(net).items()})
    return fresh


@pytest.mark.graded("train-mixture", points=0.2, trains="mixture", seconds=30)
def test_fit_trains_whatever_it_is_given(student, rng):
    """`fit_ddpm` takes its steps on a network it has never seen, and brings it near the exact answer."""
    T, rows = randint(rng, 8, 12), randint(rng, 50, 80)
    betas, mean, std = drawn_betas(rng, T), normal(rng, 2), 0.4 + 0.3 * torch.rand(2, generator=rng, dtype=F64)
    slope, shift = noise_table(mean, std, betas)
    abar = (1 - betas).cumprod(0)[:, None]
    centre, spread = abar.sqrt() * mean, abar * std.square() + 1 - abar
    net = student.probe("TimeAffine", torch.zeros(T, 2), torch.zeros(T, 2))
    recorder = student.probe("Recorder", net)

    def distance():
        now = {name: value.double() for name, value in parameters(net).items()}
        a, b = now["slope"] - slope, now["shift"] - shift
        return float((a.square() * spread + (a * centre + b).square()).mean())

    x = (mean + std * normal(rng, 3001, 2)).float()  # a prime: whoever walks through epochs has a smaller last batch
    found = []
    def fit():
        found.append(run_fit(student.fit_ddpm, recorder, x, betas, 400, rows, 0.01, seed=randint(rng, 0, 10**6)))

    assert_learns(distance, fit, share=0.5, what="a small network given to `fit_ddpm`")
    sizes = [len(call_["args"][0]) for call_ in records(recorder)]
    if sizes != [rows] * 400:
        raise Wrong(f"`fit_ddpm` should take 400 steps of {rows} rows: it asked {len(sizes)} times, {sum(sizes)} rows")
    losses = found[0]
    if not isinstance(losses, list) or len(losses) != 400 or not all(isinstance(v, float | int) for v in losses):
        raise Wrong("`fit_ddpm` should return a list of 400 numbers, the loss of each step")


@pytest.mark.graded("train-mixture", points=0.4, trains="mixture", seconds=60)
def test_mixture_model_is_near_the_exact_noise(student, rng, course_data, data):
    """By its weights `mixture_model` is near the exact noise of the drawn law."""
    trained, law, line = student.trained("mixture"), course_data("mixture").law, data["mixture"]
    net = honest_plane_network(student, trained, law, rng)
    figure = share_of_gaussian(net, law, rng, "`mixture_model`")
    assert_score(figure, line["floor"], line["target"], DISTANCE)


@pytest.mark.graded("train-mixture", points=0.2, trains="mixture", seconds=60)
def test_mixture_samples_lie_in_the_modes(student, rng, course_data, data, figures):
    """Samples that the judge draws with `mixture_model` lie within four deviations of the modes, in each of them."""
    trained, law, line = student.trained("mixture"), course_data("mixture").law, data["mixture"]
    net = honest_plane_network(student, trained, law, rng)
    samples = judged_sample(net, normal(rng, 4000, 2), PLANE, rng, "`mixture_model`")
    figures.points("The mixture", {"data": law.draw(1000, rng), "samples by your network": samples[:1000]})
    away, mode = ((samples[:, None] - law.means).norm(dim=2) / law.stds).min(1)
    shares = torch.stack([((mode == k) & (away <= 4)).double().mean() for k in range(4)])
    missing = int((shares < law.weights / 2).sum())
    if missing:
        raise Wrong(f"{missing} of the 4 modes get less than half of the samples that they should")
    assert_score(float((away <= 4).double().mean()), line["far"], line["near"], "the share near a mode")


def picture_errors(net, x, rng, what):
    """Mean squared error of the noise in each of the pictures x (B, 1, 8, 8), (B,), at times of the grid in turn.

    A picture is asked about once, in any order: nothing that an earlier call has shown helps in a later one.
    """
    t = torch.tensor(GRID)[torch.arange(len(x)) % len(GRID)]
    x_t, noise = noised(x.double(), t, PICTURES, rng)
    order, found = torch.randperm(len(x), generator=rng), torch.empty(len(x), dtype=F64)
    for rows in order.split(650):
        found[rows] = (answer(net, x_t[rows], t[rows], what) - noise[rows]).square().flatten(1).mean(1)
    return found


def honest_digits_network(student, data, rng):
    """A new network with the trained weights, which knows by its parameters and still learns; digits; error."""
    what, new, trained = "`digits_model`", "a new network of `make_digits_denoiser()`", student.trained("digits")
    make, train = trained.make_digits_denoiser, data.tensors["digits_train"]
    train = train[torch.randperm(len(train), generator=rng)]
    few, looked_at, held_out = data.law.split([FEW, 64, len(data.law) - FEW - 64])
    fresh = make()
    assert_fresh(float(picture_errors(fresh, few, rng, new).mean()), 0.9 * PIXELS, what=new)
    t = torch.randint(30, 90, (64,), generator=rng)
    x, _ = noised(looked_at, t, PICTURES, rng)
    net = weights_alone(trained.digits_model, make(), x, t, rng, what)
    errors = picture_errors(net, torch.cat([held_out, train[:1950]]), rng, what)
    of_buffers = float(picture_errors(buffers_alone(net, fresh), few, rng, BUFFERS).mean())
    assert_fresh(of_buffers, 0.9 * PIXELS, what=BUFFERS)
    turned, pupil = -train.rot90(1, (2, 3)), like(net, make())
    t = torch.randint(0, 200, (5000,), generator=rng)
    x, noise = noised(turned[:5000], t, PICTURES, rng)

    def error():
        return float(picture_errors(pupil, turned[5000 : 5000 + FEW], rng, what).mean())
    seed = randint(rng, 0, 10**6)
    assert_learns(error, lambda: train_network(pupil, [x, t], noise, steps=200, seed=seed), share=0.8, what=what)
    return net, held_out[:500], float(errors[: len(held_out)].mean())


@pytest.mark.graded("train-digits", points=0.5, trains="digits", seconds=60)
def test_digits_model_knows_the_noise_in_held_out_digits(student, rng, course_data, data):
    """By its weights `digits_model` tells the noise in pictures of other writers, asked among training pictures."""
    _, _, error = honest_digits_network(student, course_data("digits"), rng)
    line = data["digits"]
    assert_score(error, line["floor"], line["target"], "the error of the noise on held-out digits")


@pytest.mark.graded("train-digits", points=0.3, trains="digits", seconds=60)
def test_digits_drawn_with_the_model_are_new_and_diverse(student, rng, course_data, data, figures):
    """Pictures that the judge draws with `digits_model` are as grey, as diverse and as new as held-out digits."""
    given, line, what = course_data("digits"), data["digits"], "the pictures drawn with your network"
    net, held_out, error = honest_digits_network(student, given, rng)
    samples = judged_sample(net, normal(rng, 200, 1, 8, 8), PICTURES, rng, "`digits_model`")
    train, samples = given.tensors["digits_train"], (samples > 0).float() * 2 - 1
    nearest = train[torch.cdist(samples.flatten(1), train.flatten(1)).argmin(1)]
    shown = {"held-out data": held_out, "drawn with your network": samples, "nearest training picture": nearest}
    figures.images("Digits", {name: (pictures + 1) / 2 for name, pictures in shown.items()})
    if error >= line["floor"]:
        raise Wrong(f"pictures count for a network whose error on held-out digits is below {line['floor']:g}")
    grey = float(samples.mean() - held_out.mean()) / 2
    if not abs(grey) <= line["grey"]:
        raise Wrong(f"{what} are too {'white' if grey > 0 else 'black'}: by {abs(grey):.0%}")
    assert_diverse(samples, held_out, at_least=0.8, what=what)
    assert_not_memorised(samples, train, held_out, copies=0.3, what=what)
