"""Homework 6, public checks: what `check("...")` runs in the notebook.

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
    Wrong,
    assert_batch_consistent,
    assert_close,
    assert_learned_in_weights,
    assert_learns,
    assert_score,
    assert_shape,
    assert_tuple,
    call,
    gradient,
    hands_over,
    parameter_gradients,
    records,
    train_network,
)

F64 = torch.float64


def normal(rng, *shape):
    return torch.randn(shape, generator=rng, dtype=F64)


def number(rng, low, high):
    return float(torch.empty((), dtype=F64).uniform_(low, high, generator=rng))


# What the notebook is handed


class Ring(NamedTuple):
    """Eight round blobs on a circle: weights (8,), centres (8, 2), their deviation."""

    weights: torch.Tensor
    means: torch.Tensor
    std: float

    def draw(self, n, rng):
        """n points, (n, 2), float64."""
        blob = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        return self.means[blob] + self.std * normal(rng, n, 2)

    def velocity(self, x, t):
        """E[x_1 - x_0 | x_t = x] at x (B, 2) and one time t."""
        spread = (t * self.std) ** 2 + (1 - t) ** 2
        away = x[:, None] - t * self.means
        share = (self.weights.log() - away.square().sum(2) / (2 * spread)).softmax(1)
        each = self.means + (t * self.std**2 - (1 - t)) / spread * away
        return (share[:, :, None] * each).sum(1)


@hands_over("ring")
def ring(law_rng, rng):
    """Radius 2.5 to 3.5, turned by some angle, deviation a tenth of the radius, weights within a factor of 3."""
    share = torch.rand(10, generator=law_rng, dtype=F64)
    radius, angle = 2.5 + share[8], math.pi / 4 * (torch.arange(8) + share[9])
    means = radius * torch.stack([angle.cos(), angle.sin()], 1)
    weights = 0.5 + share[:8]
    law = Ring(weights / weights.sum(), means, float(radius) / 10)
    return CourseData({"ring_train": law.draw(20_000, rng).float()}, law)


@hands_over("digits")
def digits(law_rng, rng):
    """6000 black and white pictures, -1 and +1: a line of the file is a class and 64 pixels in hexadecimal."""
    file = Path(__file__).parent / "digits.txt"
    assert file.is_file(), f"{file.name} of the homework's zip should lie beside {Path(__file__).name}"
    pictures = [int(line.split()[1], 16) for line in file.read_text().splitlines()]
    images = torch.tensor([[picture >> k & 1 for k in range(63, -1, -1)] for picture in pictures]).float()
    return CourseData({"digits_train": 2 * images - 1})


# Part 1


@pytest.mark.graded("theory-velocity-code", points=0.2)
def test_standard_normal_data(student, rng):
    """Where the data are standard normal too, the velocity is 0 at ½ and −x at 0; then the number of the text."""
    x, zero, one = normal(rng, 5, 3), torch.zeros(3, dtype=F64), torch.ones(3, dtype=F64)
    assert_close(student.gaussian_velocity(x, 0.5, zero, one), 0 * x, "`gaussian_velocity` at ½ for N(0, I)")
    assert_close(student.gaussian_velocity(x, 0.0, zero, one), -x, "`gaussian_velocity` at 0 for N(0, I)")
    text = student.gaussian_velocity(one[None, :1], 0.5, zero[:1], one[:1] / 2)
    assert_close(text, torch.full((1, 1), -1.2, dtype=F64), "`gaussian_velocity` of the text")


@pytest.mark.graded("theory-floor-code", points=0.15)
def test_floor_of_the_identity(student, rng):
    """For Σ = I the floor is π/2 and the straightness D(2 − π/2); both grow with the deviation."""
    D, s = int(torch.randint(1, 5, (), generator=rng)), number(rng, 0.5, 2)
    cov = s**2 * torch.eye(D, dtype=F64)
    assert_close(student.fm_floor(cov), s * math.pi / 2, f"`fm_floor` of {s:.3f}² I in {D} dimensions")
    found = student.flow_straightness(cov)
    assert_close(found, s * D * (2 - math.pi / 2), f"`flow_straightness` of {s:.3f}² I in {D} dimensions")


@pytest.mark.graded("theory-change-code", points=0.15)
def test_ends_of_the_bridge(student, rng):
    """At t = 0 all is data: τ = 1 and scale 1. At ½ the numbers of the text; the velocity of a known pair."""
    for t, tau, scale, atol in ((0.0, 1.0, 1.0, 1e-6), (0.5, 0.2266, 0.8059, 1e-4)):
        found = assert_tuple(student.vp_to_flow(t, 0.1, 20.0), 2, "the result of `vp_to_flow`", names=("tau", "scale"))
        assert_close(found[0], tau, f"tau of `vp_to_flow` at {t:g}", atol=atol)
        assert_close(found[1], scale, f"the scale of `vp_to_flow` at {t:g}", atol=atol)
    noise, data, tau = normal(rng, 4, 2), normal(rng, 4, 2), number(rng, 0.2, 0.9)
    found = student.noise_to_velocity(noise, (1 - tau) * noise + tau * data, tau)
    assert_close(found, data - noise, "`noise_to_velocity` where the noise is known")


# Part 2


@pytest.mark.graded("ode", points=0.2)
def test_constant_and_cubic_fields(student, rng):
    """A constant field moves exactly; 4t³ from 0 to 1 gives 1 by one RK4 step, 0 by one Euler step; n and 4n calls."""
    v, x = normal(rng, 3), normal(rng, 4, 3)
    still = student.probe("LinearField", torch.zeros(3, 3), v)
    for name, calls in (("euler", 1), ("rk4", 4)):
        solver = getattr(student, name)
        for n in (1, 2, 7):
            recorder = student.probe("Recorder", still)
            assert_close(solver(recorder, x, 0.0, 2.0, n), x + 2 * v, f"`{name}` of a constant field, {n} steps,")
            asked = len(records(recorder))
            if asked != calls * n:
                raise Wrong(f"`{name}` with {n} steps should call its field {calls * n} times, it does {asked} times")
        end = solver(student.probe("TimeField", 4.0), x, 0.0, 1.0, 1)
        assert_close(end, x + (name == "rk4"), f"`{name}` of 4t³ in one step")


@pytest.mark.graded("adjoint", points=0.3)
def test_one_adjoint_step(student, rng):
    """f = θx by one step: each gradient is that of one RK4 step of the triple, computed with numbers."""
    solve, theta, x = student.odeint_adjoint, number(rng, 0.5, 1.5), number(rng, 0.5, 2)
    module = student.probe("LinearField", torch.tensor([[theta]], dtype=F64), torch.zeros(1, dtype=F64))
    start = torch.tensor([[x]], dtype=F64)
    end = x * (1 + theta + theta**2 / 2 + theta**3 / 6 + theta**4 / 24)
    what = "`odeint_adjoint` of f = θx in one step"
    assert_close(solve(module, start, 0.0, 1.0, 1), torch.tensor([[end]], dtype=F64), what)

    def slope(s):
        return (theta * s[0], -theta * s[1], -s[0] * s[1])

    s, ks = (end, 1.0, 0.0), []
    for part in (0.0, 0.5, 0.5, 1.0):
        ks.append(slope(s if not ks else tuple(a - part * k for a, k in zip(s, ks[-1], strict=True))))
    way = [k1 / 6 + k2 / 3 + k3 / 3 + k4 / 6 for k1, k2, k3, k4 in zip(*ks, strict=True)]
    by_x, by_theta = 1.0 - way[1], -way[2]
    args = (module, start, 0.0, 1.0, 1)
    found = gradient(solve, *args, wrt=1)
    assert_close(found, torch.tensor([[by_x]], dtype=F64), f"the gradient of {what} with respect to x", rtol=1e-9)
    found = parameter_gradients(solve, *args, of=module)["A"]
    if found is None:
        raise Wrong(f"no gradient of {what} reaches θ")
    assert_close(found, torch.tensor([[by_theta]], dtype=F64), f"the gradient of {what} by θ", rtol=1e-9)


@pytest.mark.graded("cnf", points=0.2)
def test_flows_on_a_line(student, rng):
    """A field of zeros leaves the standard normal; f = a x makes N(0, e^{2a})."""
    x = normal(rng, 5, 2)
    still = student.probe("LinearField", torch.zeros(2, 2, dtype=F64))
    base = -0.5 * (x.square() + math.log(2 * math.pi)).sum(1)
    assert_close(student.cnf_log_prob(still, x, 3), base, "`cnf_log_prob` of a field of zeros")
    a, x = number(rng, -0.6, 0.6), normal(rng, 5, 1)
    found = student.cnf_log_prob(student.probe("LinearField", torch.tensor([[a]], dtype=F64)), x, 20)
    right = -0.5 * ((x * math.exp(-a)).square() + math.log(2 * math.pi)).sum(1) - a
    assert_close(found, right, "`cnf_log_prob` of f = a x", atol=1e-6)


@pytest.mark.graded("sde-marginals", points=0.25)
def test_kernels_at_the_ends(student, rng):
    """At t = 0 nothing has happened; VP keeps mean_factor² + std² = 1; the numbers of the text at ½."""
    t = torch.cat([torch.zeros(1, dtype=F64), torch.rand(4, generator=rng, dtype=F64)])
    names = ("", "mean_factor", "std")
    vp = assert_tuple(student.vp_coefficients(t, 0.1, 20.0), 3, "`vp_coefficients`", names=("beta", *names[1:]))
    ve = assert_tuple(student.ve_coefficients(t, 0.1, 5.0), 3, "`ve_coefficients`", names=("g", *names[1:]))
    for name, (_, factor, std) in (("vp", vp), ("ve", ve)):
        factor, std = (assert_shape(part, t.shape, f"a part of `{name}_coefficients`") for part in (factor, std))
        assert_close(factor[0], 1.0, f"mean_factor of `{name}_coefficients` at 0")
        assert_close(std[0], 0.0, f"std of `{name}_coefficients` at 0")
    assert_close(vp[1] ** 2 + vp[2] ** 2, torch.ones(5, dtype=F64), "mean_factor² + std² of VP")
    half = torch.tensor([0.5], dtype=F64)
    for name, args, right in (("vp", (0.1, 20.0), (10.05, 0.2812, 0.9597)), ("ve", (0.1, 5.0), (1.9779, 1, 0.7))):
        for part, value in zip(getattr(student, f"{name}_coefficients")(half, *args), right, strict=True):
            assert_close(part, torch.tensor([value], dtype=F64), f"`{name}_coefficients` of the text", atol=1e-4)
    x = torch.ones(1, 2, dtype=F64)
    still = student.vp_step(x, 0.5, 0.01, 0 * x, 0.1, 20.0)
    assert_close(still, x * (1 - 0.5 * 10.05 * 0.01), "`vp_step` without noise")
    assert_close(student.ve_step(x, 0.5, 0.01, 0 * x, 0.1, 5.0), x, "`ve_step` without noise")


@pytest.mark.graded("reverse-sde", points=0.2)
def test_drift_backwards(student, rng):
    """Without noise and score a step back only undoes the drift; the numbers of the text."""
    x, t, dt = normal(rng, 4, 2), number(rng, 0.3, 1), number(rng, 0.01, 0.1)
    zero, beta = student.probe("Constant", 0.0), 1 + 5 * t
    found = student.reverse_step(x, t, dt, 0 * x, zero, 1.0, 6.0)
    assert_close(found, x * (1 + 0.5 * beta * dt), "`reverse_step` without noise and score")
    one, score = torch.ones(1, 1, dtype=F64), student.probe("Constant", -1.0)
    for lam, right in ((0.0, 1.0), (1.0, 0.7)):
        found = student.reverse_step(one, 1.0, 0.1, 0 * one, score, 1.0, 6.0, lam)
        assert_close(found, right * one, f"`reverse_step` of the text with λ = {lam:g}")
    assert_shape(student.reverse_sample(x, zero, 1.0, 6.0, 3), x.shape, "`reverse_sample`")


@pytest.mark.graded("probability-flow", points=0.2)
def test_data_that_are_noise(student, rng):
    """Standard normal data do not move: the field is 0 and the log-density that of the base."""
    x = normal(rng, 5, 2)
    score = student.probe("GaussianScore", 0.0, 1.0, 0.1, 20.0)
    f = student.probability_flow(score, 0.1, 20.0)
    assert_close(call(f, number(rng, 0.1, 1), x), 0 * x, "the field of `probability_flow` for N(0, I)")
    base = student.probe("Quadratic", -torch.eye(2, dtype=F64), 0.0, -math.log(2 * math.pi))
    right = -0.5 * x.square().sum(1) - math.log(2 * math.pi)
    assert_close(student.pf_log_prob(score, x, 0.1, 20.0, 5, base), right, "`pf_log_prob` for N(0, I)")


@pytest.mark.graded("fm-loss", points=0.25)
def test_ends_of_the_path(student, rng):
    """x_t is noise at 0 and data at 1; a network that answers the one displacement there is has no loss."""
    a, b = normal(rng, 2, 3), normal(rng, 2, 3)
    answer = student.fm_path(a, b, torch.tensor([0.0, 1.0], dtype=F64))
    x_t, target = assert_tuple(answer, 2, "the result of `fm_path`", names=("x_t", "target"))
    assert_close(x_t, torch.stack([a[0], b[1]]), "x_t of `fm_path` at 0 and 1")
    assert_close(target, b - a, "the target of `fm_path`")
    v, x_0 = normal(rng, 3), normal(rng, 6, 3)
    loss = student.fm_loss(student.probe("Constant", v), x_0 + v + 1, x_0)
    assert_close(loss, 1.0, "`fm_loss` of a constant that is off by 1 in every entry")


@pytest.mark.graded("fm-sample", points=0.25)
def test_constant_velocity_and_links(student, rng):
    """A constant velocity arrives exactly; score and velocity undo each other."""
    v, x = normal(rng, 3), normal(rng, 4, 3)
    for n in (1, 5):
        found = student.fm_sample(student.probe("Constant", v), x, n)
        assert_close(found, x + v, f"`fm_sample` of a constant velocity, {n} steps,")
    t = 0.1 + 0.8 * torch.rand(4, generator=rng, dtype=F64)
    score = student.velocity_to_score(x, 2 * x + 1, t)
    back = student.score_to_velocity(score, 2 * x + 1, t)
    assert_close(back, x, "`score_to_velocity` of `velocity_to_score`")
    one = torch.ones(1, 1, dtype=F64)
    found = student.velocity_to_score(-1.2 * one, one, 0.5)
    assert_close(found, -3.2 * one, "`velocity_to_score` of the text")


@pytest.mark.graded("ot", points=0.2)
def test_shuffled_copies(student, rng):
    """Copies in another order are paired with their originals, and labels travel along."""
    x, order = normal(rng, 9, 2), torch.randperm(9, generator=rng)
    pairs = assert_shape(student.ot_pairing(x, x[order]), (9,), "`ot_pairing`").long()
    if not torch.equal(pairs.sort().values, torch.arange(9)) or not torch.equal(order[pairs], torch.arange(9)):
        raise Wrong("`ot_pairing` of points with shuffled copies of themselves should find every copy")
    found = assert_tuple(student.ot_fm_batch(x, x[order], order), 3, "`ot_fm_batch`", names=("x_0", "x_1", "y"))
    assert_close(found[0], x, "x_0 of `ot_fm_batch`")
    assert_close(found[1], x, "x_1 of `ot_fm_batch` for shuffled copies")
    assert_close(found[2], torch.arange(9), "y of `ot_fm_batch` for shuffled copies")


@pytest.mark.graded("reflow", points=0.25)
def test_noise_is_kept(student, rng):
    """The noise comes back as it was given, with its end; a constant field is straight."""
    v, x = normal(rng, 3), normal(rng, 4, 3)
    model = student.probe("Constant", v)
    pairs = assert_tuple(student.reflow_pairs(model, x, 3), 2, "the result of `reflow_pairs`", names=("x_0", "x_1"))
    assert_close(pairs[0], x, "x_0 of `reflow_pairs`")
    assert_close(pairs[1], x + v, "x_1 of `reflow_pairs` for a constant velocity")
    assert_close(student.straightness(model, x, 4), 0.0, "`straightness` of a constant velocity", atol=1e-9)
    half = student.probe("GaussianVelocity", 0.0, 0.25)
    found = student.straightness(half, torch.ones(1, 1, dtype=F64), 2)
    assert_close(found, 0.04, "`straightness` of the text")


# Part 3

RING_TIMES = [0.025 + 0.05 * k for k in range(20)]


def velocity_of(net, x, t, what):
    answer = call(net, x.float(), torch.full((len(x),), float(t)), mode="eval")
    return assert_shape(answer, x.shape, f"the answer of {what}").double()


def learns_a_little(net, x_1, rng, what):
    """Shapes, rows apart, an answer that depends on t, and 60 steps by the judge's loop lower the error by a fifth."""
    n = len(x_1)
    x_0, t = torch.randn(x_1.shape, generator=rng), 0.02 + 0.9 * torch.rand(n, generator=rng)
    x = (1 - t)[:, None] * x_0 + t[:, None] * x_1
    few = x[:4]
    assert_shape(call(net, few, t[:4], mode="eval"), few.shape, f"the answer of {what}")
    assert_batch_consistent(lambda a, b: call(net, a, b, mode="eval"), few, t[:4], what=what, atol=1e-3)
    early, late = (call(net, few, torch.full((4,), time), mode="eval") for time in (0.1, 0.9))
    assert float((early - late).abs().max()) > 1e-6, f"the answer of {what} does not depend on t"

    def error():
        return float((call(net, x, t, mode="eval") - (x_1 - x_0)).square().mean())

    assert_learns(error, lambda: train_network(net, [x, t], x_1 - x_0, steps=60), share=0.8, what=what)


def plane_network_learns(trained, rng):
    """A new network of the plane learns a law that lies to one side, which no table of the ring does."""
    x_1 = torch.randn(600, 2, generator=rng) + torch.tensor([2.0, -2.0])
    learns_a_little(trained.make_velocity(), x_1, rng, "a new network of `make_velocity()`")


@pytest.mark.graded("train-ring", points=0.2, trains="ring", seconds=30)
def test_ring_model_is_nearer_than_a_gaussian(student, rng, course_data):
    """`ring_model` is nearer to the exact velocity than the best single Gaussian; a new network learns."""
    trained = student.trained("ring")
    plane_network_learns(trained, rng)
    law, net, ours, theirs = course_data("ring").law, trained.ring_model, 0.0, 0.0
    mean = law.weights @ law.means
    apart = law.means - mean
    cov = law.std**2 * torch.eye(2, dtype=F64) + apart.T @ (law.weights[:, None] * apart)
    for t in RING_TIMES:
        x = t * law.draw(400, rng) + (1 - t) * normal(rng, 400, 2)
        right = law.velocity(x, t)
        y = torch.linalg.solve(t**2 * cov + (1 - t) ** 2 * torch.eye(2, dtype=F64), (x - t * mean).T).T
        gaussian = mean + t * y @ cov - (1 - t) * y
        ours += float((velocity_of(net, x, t, "`ring_model`") - right).square().mean())
        theirs += float((gaussian - right).square().mean())
    what = "`ring_model`"
    x = 0.5 * law.draw(400, rng) + 0.5 * normal(rng, 400, 2)
    right = law.velocity(x, 0.5)

    def changed(other):
        return float((velocity_of(other, x, 0.5, what) - right).square().mean() / right.square().mean())

    assert_learned_in_weights(net, trained.make_velocity(), changed, 0.15, what=what)
    assert_score(ours / theirs, 0.9, 0.5, "the distance to the exact velocity, as a share of one Gaussian's,")


@pytest.mark.graded("train-few-steps", points=0.1, trains="few", seconds=30)
def test_one_step_and_straight(student, rng, course_data):
    """`ring_reflow` is nearly straight, and its one-step samples lie in the blobs more often than not at all."""
    trained, law, what = student.trained("few"), course_data("ring").law, "`ring_reflow`"
    plane_network_learns(trained, rng)
    net, start, y = trained.ring_reflow, normal(rng, 1000, 2), law.draw(300, rng)
    last, back = y, []
    for k in range(10):  # first backwards: a path that was never asked about at its start
        back.append(velocity_of(net, y, 1 - k / 10, what))
        y = y - 0.1 * back[-1]
    turn = sum(float((v - (last - y)).square().sum(1).mean()) for v in back) / 10
    if not turn <= 0.5:
        raise Wrong(f"10 steps of {what} back from data have straightness {turn:.2f}, at most 0.5 is asked for")
    end = start + velocity_of(net, start, 0.0, what)
    away = torch.cdist(end, law.means).min(1).values / law.std
    inside = away <= 3
    x, steps = start, []
    for k in range(10):
        steps.append(velocity_of(net, x, k / 10, what))
        x = x + steps[-1] / 10
    bent = float((x - start - torch.stack(steps)).square().sum(2).mean())
    if not bent <= 0.1:
        raise Wrong(f"the straightness of {what} with 10 steps is {bent:.3f}, at most 0.1 is asked for")
    share = float(inside.double().mean())
    if not share >= 0.3:
        raise Wrong(f"{share:.0%} of the samples of one step lie near a blob, at least 30 % are asked for")
    spread = float(away[inside].square().mean().sqrt())
    if not 0.9 <= spread <= 2.0:
        raise Wrong(f"the samples of one step have spread {spread:.2f} around their blobs, asked is 0.9 to 2.0")


@pytest.mark.graded("train-digits", points=0.15)
def test_a_new_digits_network_learns(student, rng, course_data):
    """A network of `make_digits_velocity()` answers each picture by itself, knows t, and learns."""
    data = course_data("digits").tensors["digits_train"]
    x_1 = data[torch.randperm(len(data), generator=rng)[:600]]
    learns_a_little(student.make_digits_velocity(), x_1, rng, "a new network of digits")
