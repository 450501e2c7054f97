"""Homework 6, hidden checks of part 3: what the trained networks know, and whether training made them know it."""

from __future__ import annotations

import math

import pytest
import torch

from autograder.checks import (
    SmallVelocity,
    Wrong,
    assert_answers_from_weights,
    assert_close,
    assert_covers_times,
    assert_diverse,
    assert_fresh,
    assert_learned_in_weights,
    assert_learns,
    assert_not_memorised,
    assert_score,
    assert_shape,
    assert_weights_matter,
    call,
    load_state_dict,
    records,
    run_fit,
    state_dict,
    train_network,
)

from ..common.draws import F64, normal, randint

TIMES = [0.025 + 0.05 * k for k in range(20)]
PICTURE_TIMES = [0.02 + 0.06 * k for k in range(16)]
DISTANCE = "the squared distance to the exact velocity, per entry,"


def answer(net, x, t, what):
    """What a network says of points (B, *) at one time, or at one for each row, in float64."""
    t = torch.full((len(x),), float(t)) if isinstance(t, float) else t.float()
    return assert_shape(call(net, x.float(), t, mode="eval"), x.shape, f"the answer of {what}").double()


def between(x_1, t, rng):
    """Points at times t (B,) between fresh noise and data, and the target there."""
    x_0, t = normal(rng, *x_1.shape), t.double().reshape(-1, *[1] * (x_1.dim() - 1))
    return (1 - t) * x_0 + t * x_1, x_1 - x_0


def field_error(velocity, law, rng, rows=500):
    """Mean squared distance per entry to the exact velocity of a law, over times and points of the path."""
    total = 0.0
    for t in TIMES:
        x, _ = between(law.draw(rows, rng), torch.full((rows,), t), rng)
        total += float((velocity(x, t) - law.velocity(x, t)).square().mean())
    return total / len(TIMES)


def blobs(law, rng):
    """Five blobs in [−2, 2]², a law of another kind than the ring's."""
    means = torch.tensor([[-1.6, -1.6], [1.6, -1.4], [0.0, 0.1], [-1.5, 1.5], [1.4, 1.7]], dtype=F64)
    return type(law)(torch.full((5,), 0.2, dtype=F64), means + 0.2 * normal(rng, 5, 2), 0.2)


def asks(net, x, t):
    return call(net, x.float(), t.float(), mode="eval")


def honest_network(trained, name, law, rng):
    """A new network with the weights of a trained one, after new ones have shown that they know nothing and learn."""
    what, new = f"`{name}`", "a new network of `make_velocity()`"
    other = blobs(law, rng)
    fresh = trained.make_velocity()
    for known in (law, other):
        nothing = field_error(lambda x, t: torch.zeros_like(x), known, rng, 200)
        before = field_error(lambda x, t: answer(fresh, x, t, new), known, rng, 200)
        assert_fresh(before, 0.5 * nothing, what=new)
    t = torch.rand(20_000, generator=rng)
    x, target = between(other.draw(20_000, rng), t, rng)
    train_network(fresh, [x.float(), t], target.float(), steps=1000, batch_size=256, seed=randint(rng, 0, 10**6))
    learned = field_error(lambda x, t: answer(fresh, x, t, new), other, rng, 200)
    if not learned <= 0.6 * nothing:
        raise Wrong(
            f"{new} does not learn another law: trained by the judge it keeps {learned / nothing:.0%} of its error"
        )
    t = 0.05 + 0.9 * torch.rand(64, generator=rng)
    x, _ = between(law.draw(64, rng), t, rng)
    net = assert_answers_from_weights(
        getattr(trained, name), trained.make_velocity(), lambda n: asks(n, x, t), what=what
    )
    assert_weights_matter(net, lambda n: asks(n, x, t), least=0.002, generator=rng, what=what)
    nothing = field_error(lambda x, t: torch.zeros_like(x), law, rng, 200)

    def error(changed):
        return field_error(lambda x, t: answer(changed, x, t, what), law, rng, 200)

    assert_learned_in_weights(net, trained.make_velocity(), error, 0.15 * nothing, what=what)
    return net


def small(student, rng, dims=2):
    """A network of the judge's to be trained in the sandbox, and its twin here, which is given its weights."""
    seed = randint(rng, 0, 10**6)
    return student.probe("SmallVelocity", dims, 64, seed), SmallVelocity(dims, 64, seed)


def read_back(net, twin):
    """What the twin answers once it holds the weights that the sandbox's network has now."""
    load_state_dict(twin, state_dict(net))

    def velocity(x, t):
        with torch.no_grad():
            return twin(x.float(), float(t)).double()

    return velocity


def assert_fit_teaches(student, trained, law, rng):
    """`fit_fm` trains a small network of the judge's, and a new one of the student's, on a law that nobody has seen."""
    other = blobs(law, rng)
    x_1 = other.draw(8000, rng).float()
    nothing = field_error(lambda x, t: torch.zeros_like(x), other, rng, 200)
    net, twin = small(student, rng)
    recorder = student.probe("Recorder", net)
    losses = run_fit(trained.fit_fm, recorder, x_1, 600, seed=randint(rng, 0, 10**6))
    if not isinstance(losses, list) or len(losses) != 600 or not all(isinstance(v, float | int) for v in losses):
        raise Wrong("`fit_fm` should return a list of `n_steps` numbers, the loss of each step")
    shown = records(recorder)
    assert_covers_times(
        shown[: max(1, 20_000 // max(len(shown[0]["args"][0]), 1))] if shown else shown, interval=(0.0, 1.0)
    )
    mine = trained.make_velocity()
    run_fit(trained.fit_fm, mine, x_1, 600, seed=randint(rng, 0, 10**6))
    for velocity, what in (
        (read_back(net, twin), "a small network given to `fit_fm`"),
        (
            lambda x, t: answer(mine, x, t, "a network given to `fit_fm`"),
            "a new network of `make_velocity()` given to `fit_fm`",
        ),
    ):
        left = field_error(velocity, other, rng, 300) / nothing
        if not left <= 0.6:
            raise Wrong(f"after 600 steps {what} keeps {left:.0%} of the error of answering 0, at most 60 % may remain")


@pytest.mark.graded("train-ring", points=0.25, trains="ring", seconds=60)
def test_fit_trains_whatever_it_is_given(student, rng, course_data):
    """`fit_fm` teaches networks that it has not seen a law that it has not seen, with one time a sample."""
    assert_fit_teaches(student, student.trained("ring"), course_data("ring").law, rng)


@pytest.mark.graded("train-ring", points=0.25, trains="ring", seconds=90)
def test_ring_model_is_near_the_exact_velocity(student, rng, course_data, data, figures):
    """By its weights `ring_model` is near the exact velocity of the drawn ring, and `fit_fm` can teach that."""
    trained, law, line = student.trained("ring"), course_data("ring").law, data["ring"]
    net = honest_network(trained, "ring_model", law, rng)
    assert_fit_teaches(student, trained, law, rng)
    x = normal(rng, 1000, 2)
    for k in range(50):
        x = x + answer(net, x, k / 50, "`ring_model`") / 50
    figures.points("The ring", {"data": law.draw(1000, rng), "50 Euler steps of your network": x})
    error = field_error(lambda x, t: answer(net, x, t, "`ring_model`"), law, rng)
    assert_score(error, line["floor"], line["target"], DISTANCE)


def one_step(net, law, rng, n=4000):
    """Samples of one Euler step: their share near a blob, the least share of a blob over its weight, their spread."""
    x = normal(rng, n, 2)
    end = x + answer(net, x, 0.0, "`ring_reflow`")
    away, blob = torch.cdist(end, law.means).min(1)
    inside = away <= 3 * law.std
    counts = torch.bincount(blob[inside], minlength=len(law.means)) / n
    spread = float(away[inside].square().mean().sqrt()) / law.std if bool(inside.any()) else 0.0
    return end, float(inside.double().mean()), float((counts / law.weights).min()), spread


def assert_spread(spread, line):
    if not line["narrow"] <= spread <= line["wide"]:
        raise Wrong(
            f"the samples of one step near a blob have spread {spread:.2f} around its centre, in its deviations; "
            f"asked is {line['narrow']:g} to {line['wide']:g}, data have 1.38"
        )


def straightened(student, rng, data, line):
    """The second network by its weights, whose answers are the same in any company and order, and straight both ways.

    First it is asked backwards, from data: who makes many steps within one, or remembers what it said at the start of a
    path, has nothing to remember then.
    """
    law, trained, what = data.law, student.trained("few"), "`ring_reflow`"
    net = honest_network(trained, "ring_reflow", law, rng)
    data_points = x = law.draw(300, rng)
    moves = []
    for k in range(10):
        moves.append(answer(net, x, 1 - k / 10, what))
        x = x - moves[-1] / 10
    bent = float((torch.stack(moves) - (data_points - x)).square().sum(2).mean())
    if not bent <= line["backwards"]:
        most = f"at most {line['backwards']:g} is asked for"
        raise Wrong(f"walked backwards from data the straightness of {what} is {bent:.2f}, {most}")
    x, rows = normal(rng, 100, 2), []
    for k in range(10):
        rows.append((x, torch.full((100,), k / 10, dtype=F64), answer(net, x, k / 10, what)))
        x = x + rows[-1][2] / 10
    points, times, answers = (torch.cat(part) for part in zip(*rows, strict=True))
    order = torch.randperm(len(points), generator=rng)
    again = answer(net, points[order], times[order], what)
    assert_close(
        again, answers[order], f"the answers of {what}, asked again in one shuffled call,", rtol=1e-3, atol=1e-3
    )
    return net, law


@pytest.mark.graded("train-few-steps", points=0.3, trains="few", seconds=60)
def test_one_step_reaches_the_ring(student, rng, course_data, data, figures):
    """The share of the samples of one step that lie near a blob, with the spread of blobs."""
    line = data["few"]
    net, law = straightened(student, rng, course_data("ring"), line)
    end, share, _, spread = one_step(net, law, rng)
    figures.points("One step", {"data": law.draw(1000, rng), "one Euler step of your network": end[:1000]})
    if share > line["floor"]:
        assert_spread(spread, line)
    assert_score(share, line["floor"], line["target"], "the share of one-step samples within 3 deviations of a centre")


@pytest.mark.graded("train-few-steps", points=0.1, trains="few", seconds=60)
def test_one_step_reaches_every_blob(student, rng, course_data, data):
    """Every blob gets its share of the samples of one step."""
    line = data["few"]
    net, law = straightened(student, rng, course_data("ring"), line)
    _, share, least, spread = one_step(net, law, rng)
    if not share >= line["floor"]:
        raise Wrong(f"only {share:.0%} of the samples of one step lie near a blob")
    assert_spread(spread, line)
    if not least >= line["least"]:
        raise Wrong(
            f"one of the blobs gets {least:.2f} of its share of one-step samples, {line['least']:g} are asked for"
        )


@pytest.mark.graded("train-few-steps", points=0.1, trains="few", seconds=30)
def test_fit_keeps_pairs_together(student, rng):
    """`fit_fm` on pairs that are a rotation and a shift learns where each point goes, not where all go on average."""
    trained = student.trained("few")
    angle = math.radians(60 + 60 * float(torch.rand((), generator=rng)))
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=F64)
    shift = 2 * normal(rng, 2)
    x_0 = normal(rng, 8000, 2)
    x_1 = x_0 @ turn.T + shift
    net, twin = small(student, rng)
    run_fit(trained.fit_fm, net, x_1.float(), 600, x_0=x_0.float(), seed=randint(rng, 0, 10**6))
    x = normal(rng, 1000, 2)
    found = read_back(net, twin)(x, 0.0)
    paired, independent = ((found - (end - x)).square().mean() for end in (x @ turn.T + shift, shift.expand(1000, 2)))
    if not paired < independent:
        raise Wrong(
            f"after `fit_fm` with x_0 given, the velocity at t = 0 is nearer to that of independent pairs "
            f"({float(independent):.2f}) than to that of the pairs ({float(paired):.2f})"
        )


def pixel_velocity(frequency):
    """The exact velocity if each pixel is taken by itself, with its own frequency of white."""
    prior = 0.5 * (frequency / (1 - frequency)).log()

    def velocity(x, t):
        return (torch.tanh(prior + t * x / (1 - t) ** 2) - x) / (1 - t)

    return velocity


def picture_errors(velocity, x_1, rng):
    """Squared error of the target in each of the pictures x_1 (B, 64), by several velocities on the same draws."""
    totals = [torch.zeros(len(x_1), dtype=F64) for _ in velocity]
    for t in PICTURE_TIMES:
        x, target = between(x_1.double(), torch.full((len(x_1),), t), rng)
        for total, one in zip(totals, velocity, strict=True):
            total += (one(x, t) - target).square().mean(1) / len(PICTURE_TIMES)
    return totals


def honest_digits_network(student, data, rng):
    """A new network with the trained weights, after new ones have shown what they can; held-out digits; its figure."""
    what, new, trained = "`digits_model`", "a new network of `make_digits_velocity()`", student.trained("digits")
    train, held_out = data.tensors["digits_train"], data.law[torch.randperm(len(data.law), generator=rng)[:500]]
    single = pixel_velocity(((train > 0).double().sum(0) + 0.5) / (len(train) + 1))
    fresh = trained.make_digits_velocity()
    ours, theirs = picture_errors([lambda x, t: answer(fresh, x, t, new), single], held_out[:100], rng)
    assert_fresh(float(ours.mean() / theirs.mean()), 0.9, what=new, unit="of the error of single pixels")
    turned = -train.reshape(-1, 8, 8).rot90(1, (1, 2)).flatten(1)[torch.randperm(len(train), generator=rng)]
    t = 0.95 * torch.rand(5000, generator=rng)
    x, target = between(turned[:5000].double(), t, rng)

    def error():
        return float(picture_errors([lambda x, t: answer(fresh, x, t, new)], turned[5000:5200], rng)[0].mean())

    seed = randint(rng, 0, 10**6)

    def fit():
        return train_network(fresh, [x.float(), t], target.float(), steps=200, seed=seed)

    assert_learns(error, fit, share=0.8, what=new)
    t = 0.2 + 0.5 * torch.rand(64, generator=rng)
    x, _ = between(held_out[:64].double(), t, rng)
    net = assert_answers_from_weights(
        trained.digits_model, trained.make_digits_velocity(), lambda n: asks(n, x, t), what=what
    )
    assert_weights_matter(net, lambda n: asks(n, x, t), least=0.002, generator=rng, what=what)

    def figure(changed):
        ours, theirs = picture_errors([lambda x, t: answer(changed, x, t, what), single], held_out[:100], rng)
        return float(ours.mean() / theirs.mean())

    assert_learned_in_weights(net, trained.make_digits_velocity(), figure, 0.9, what=what)
    both = torch.cat([held_out, train[torch.randperm(len(train), generator=rng)[:150]]])
    order = torch.randperm(len(both), generator=rng)
    ours, theirs = picture_errors([lambda x, t: answer(net, x, t, what), single], both[order], rng)
    back = order.argsort()[: len(held_out)]
    return net, held_out, float(ours[back].mean() / theirs[back].mean())


@pytest.mark.graded("train-digits", points=0.35, trains="digits", seconds=60)
def test_digits_model_knows_held_out_digits(student, rng, course_data, data):
    """By its weights `digits_model` tells where pictures of other writers go, asked among training pictures."""
    _, _, figure = honest_digits_network(student, course_data("digits"), rng)
    line = data["digits"]
    assert_score(figure, line["floor"], line["target"], "the error on held-out digits, as a share of single pixels',")


@pytest.mark.graded("train-digits", points=0.2, trains="digits", seconds=60)
def test_digits_drawn_with_the_model_are_new_and_diverse(student, rng, course_data, data, figures):
    """Pictures that the judge draws with `digits_model` are as grey, as diverse and as new as held-out digits."""
    given, line, what = course_data("digits"), data["digits"], "the pictures drawn with your network"
    net, held_out, figure = honest_digits_network(student, given, rng)
    x = normal(rng, 200, 64)
    for k in range(50):
        x = x + answer(net, x, k / 50, "`digits_model`") / 50
    train, samples = given.tensors["digits_train"], (x > 0).float() * 2 - 1
    nearest = train[torch.cdist(samples, train).argmin(1)]
    shown = {"held-out data": held_out, "drawn with your network": samples, "nearest training picture": nearest}
    figures.images("Digits", {name: ((rows + 1) / 2).reshape(-1, 1, 8, 8) for name, rows in shown.items()})
    if figure >= line["floor"]:
        raise Wrong(f"pictures count for a network whose figure on held-out digits is below {line['floor']:g}")
    grey = float(samples.mean() - held_out.mean()) / 2
    if not abs(grey) <= line["grey"]:
        raise Wrong(f"{what} are too {'white' if grey > 0 else 'black'}: by {abs(grey):.0%}")
    assert_diverse(samples, held_out, at_least=0.8, what=what)
    assert_not_memorised(samples, train, held_out, copies=0.3, what=what)
