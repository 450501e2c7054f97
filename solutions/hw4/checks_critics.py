"""Homework 4, hidden checks of tasks 2.4 to 2.6: critics, and three ways to keep their slope in bounds."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from autograder.checks import (
    Linear,
    Quadratic,
    Step,
    WaveCritic,
    Wrong,
    assert_close,
    assert_displacement,
    assert_finite,
    assert_gradient_penalty,
    assert_leaves_no_gradient,
    assert_number,
    assert_points_between,
    assert_top_singular_value,
    assert_tuple,
    assert_unchanged_arguments,
    call,
    load_state_dict,
    optimiser,
    parameter_gradients,
    parameters,
    records,
    state_dict,
    weight_with_singular_values,
)

from ..common.draws import F64, normal
from .players import either, surrogate

RATE = 0.2


@pytest.mark.graded("critic", points=0.1)
def test_critic_losses_of_unequal_batches(student, rng):
    """Mean fake less mean real for the critic, minus mean fake for the generator."""
    real, fake = normal(rng, 7), normal(rng, 3) + 1
    found = assert_tuple(
        student.critic_losses(real, fake), 2, "`critic_losses`", names=("critic_loss", "generator_loss")
    )
    for value, right, name in zip(
        found, (fake.mean() - real.mean(), -fake.mean()), ("critic's", "generator's"), strict=True
    ):
        assert_close(value, right, f"the {name} loss of `critic_losses`")


@pytest.mark.graded("critic", points=0.2)
def test_clipping(student, rng):
    """Nested, large, frozen parameters and biases lie in [−c, c], small ones and buffers stay, training goes on."""
    inner = student.probe("GaussianNoise", [5.0, -0.02, 3.0], [7.0, 0.05, 0.03], torch.full((4,), 0.1))
    critic, c = student.probe("Recorder", inner), 0.06 + 0.04 * float(torch.rand((), generator=rng))
    call(inner.requires_grad_, False)
    before = state_dict(critic)
    call(student.clip_parameters, critic, c, grad=True)
    after, trainable = state_dict(critic), parameters(critic)
    if after.keys() != before.keys():
        raise Wrong("`clip_parameters` replaces parameters by others")
    for name, value in before.items():
        right, kind = (value.clamp(-c, c), "a parameter") if name in trainable else (value, "a buffer")
        assert_close(after[name], right, f"after `clip_parameters` {kind} (`{name}`)")
    linear = student.probe("Linear", normal(rng, 3), 5.0)
    of_linear = optimiser(linear, "SGD", lr=RATE)
    call(student.clip_parameters, linear, 0.1, grad=True)
    clipped, x = state_dict(linear), normal(rng, 4, 3)
    scores = call(linear, x)
    assert_close(scores, x @ clipped["weight"] + clipped["bias"], "the scores of a clipped critic")
    call(of_linear.step)
    assert_close(state_dict(linear)["weight"], clipped["weight"], "the weights after a step without a backward pass")
    slope = parameter_gradients(linear, x, of=linear)["weight"]
    if slope is None:
        raise Wrong("after `clip_parameters` the critic can not be trained any more")
    assert_close(slope, x.sum(0), "the derivative in the weights after clipping")


@pytest.mark.graded("critic", points=0.25)
def test_distance_of_samples_on_a_line(student, rng):
    """Against another computation, for equal and unequal sizes and ties; symmetric."""
    for n, m in ((6, 6), (5, 8), (30, 12), (1, 4)):
        x, y = 2 * normal(rng, n), normal(rng, m) + 0.5
        if n > 1:
            x[1], y[0], y[-1] = x[0], x[0], x[-1]  # ties within a sample and between both
        right = float(stats.wasserstein_distance(x, y))
        wrong = {}
        if n != m:
            cut = min(n, m)
            wrong = {
                "this pairs the sorted points and cuts the longer sample": float(
                    (x.sort()[0][:cut] - y.sort()[0][:cut]).abs().mean()
                )
            }
        for first, second in ((x, y), (y, x)):
            asked = f"of {len(first)} and {len(second)} points"
            value = assert_unchanged_arguments(student.wasserstein_1d, first, second, what="`wasserstein_1d`")
            assert_number(value, right, "`wasserstein_1d`", tolerance=1e-6, asked=asked, alternatives=wrong)
    x, v = normal(rng, 9), float(normal(rng))
    assert_number(
        student.wasserstein_1d(x, x + v), abs(v), "`wasserstein_1d` of a sample and its shift", tolerance=1e-6
    )


@pytest.mark.graded("gradient-penalty", points=0.25)
def test_penalty_of_linear_critics_on_images(student, rng):
    """Critics of norm 1, 2 and ½ have penalties 0, 1 and ¼, on images, vectors and a batch of one; one of waves."""
    for shape in ((5, 3, 4, 4), (6, 7), (1, 5), (2, 1, 3, 3)):
        real, fake = normal(rng, *shape), normal(rng, *shape)
        w = F.normalize(normal(rng, real[0].numel()), dim=0)
        for norm in (1.0, 2.0, 0.5):
            value = call(student.gradient_penalty, student.probe("Linear", norm * w), real, fake, grad=True)
            wrong = {
                "the square root of the norm is missing": (norm**2 - 1) ** 2,
                "slopes below 1 count as well": float(max(norm - 1, 0.0) ** 2),
                "the 1 is not subtracted": norm**2,
            }
            right, asked = (norm - 1) ** 2, f"of a critic with slope {norm:g} everywhere, samples of shape {shape[1:]}"
            wrong = {sentence: number for sentence, number in wrong.items() if abs(number - right) > 1e-3}
            assert_number(value, right, "the penalty", tolerance=1e-6, asked=asked, alternatives=wrong)
        wave = (2 * w, 1.2, float(normal(rng)))
        recorder = student.probe("Recorder", student.probe("WaveCritic", *wave))
        assert_gradient_penalty(student.gradient_penalty, recorder, WaveCritic(*wave), real, fake, trains=False)


@pytest.mark.graded("gradient-penalty", points=0.2)
def test_penalty_trains_the_critic(student, rng):
    """The derivative in the weights, 2(‖w‖ − 1) w/‖w‖ for a linear critic; nobody's `.grad` is filled."""
    real, fake = normal(rng, 5, 2, 3), normal(rng, 5, 2, 3)
    for norm in (2.0, 0.5):
        w = norm * F.normalize(normal(rng, 6), dim=0)
        critic = student.probe("Linear", w)
        assert_leaves_no_gradient(student.gradient_penalty, critic, real, fake, of=critic, what="`gradient_penalty`")
        found = parameter_gradients(student.gradient_penalty, critic, real, fake, of=critic)["weight"]
        if found is None:
            raise Wrong("the penalty has no derivative in the critic's weights: it can not train them")
        assert_close(
            found, 2 * (norm - 1) * w / norm, "the derivative of the penalty in the weights of a linear critic"
        )
    wave = (normal(rng, 6), 1.3, 0.4)
    recorder = student.probe("Recorder", student.probe("WaveCritic", *wave))
    assert_gradient_penalty(student.gradient_penalty, recorder, WaveCritic(*wave), real, fake)


@pytest.mark.graded("gradient-penalty", points=0.25)
def test_penalty_looks_between_the_samples(student, rng):
    """The value is the mean at exactly the points shown; each lies on its own segment, and t is uniform."""
    wave = (1.5 * normal(rng, 6), 1.3, 0.4)
    real, fake = normal(rng, 5, 2, 3), normal(rng, 5, 2, 3)
    recorder = student.probe("Recorder", student.probe("WaveCritic", *wave))
    assert_gradient_penalty(student.gradient_penalty, recorder, WaveCritic(*wave), real, fake, trains=False)
    eye = torch.eye(4, dtype=F64)
    recorder, known = student.probe("Recorder", student.probe("Quadratic", eye)), Quadratic(eye)
    real, fake = normal(rng, 256, 4), normal(rng, 256, 4) + 2
    assert_gradient_penalty(student.gradient_penalty, recorder, known, real, fake, trains=False)
    shown = len(records(recorder))
    for _ in range(16):
        call(student.gradient_penalty, recorder, real, fake, grad=True)
    assert_points_between(records(recorder)[shown:], real, fake, uniform=True, false_failure=1e-7)
    shown = len(records(recorder))
    for _ in range(64):  # t of a batch of one is no end and no middle
        call(student.gradient_penalty, recorder, real[:1], fake[:1], grad=True)
    assert_points_between(records(recorder)[shown:], real[:1], fake[:1], uniform=True, false_failure=1e-7)


@pytest.mark.graded("gradient-penalty", points=0.1)
def test_penalty_of_a_critic_without_slope(student, rng):
    """Where the slope is 0 the penalty is 1, and its derivative in the weights is finite."""
    critic = student.probe("Linear", torch.zeros(4, dtype=F64), 1.0)
    real, fake = normal(rng, 5, 4), normal(rng, 5, 4)
    value = call(student.gradient_penalty, critic, real, fake, grad=True)
    assert_number(value, 1.0, "the penalty of a critic with slope 0", tolerance=1e-3)
    real[:2], bowl = 0.0, student.probe("Quadratic", 3 * torch.eye(4, dtype=F64))  # of slope 3‖x‖
    value, right = call(student.gradient_penalty, bowl, real, real, grad=True), (3 * real.norm(dim=1) - 1).square()
    assert_number(value, float(right.mean()), "the penalty with slope 0 at two of five points", tolerance=1e-3)
    slopes = parameter_gradients(student.gradient_penalty, critic, real, fake, of=critic)
    if slopes.get("weight") is None:
        raise Wrong("the penalty has no derivative in the critic's weights: it can not train them")
    for name, slope in slopes.items():
        if slope is not None:
            assert_finite(slope, f"the derivative in `{name}` for a critic with slope 0")


def wasserstein(real, fake):
    return fake.mean() - real.mean()


@pytest.mark.graded("gradient-penalty", points=0.25)
def test_steps_of_a_critic(student, rng):
    """Loss and displacement for several λ in a row; the generator's optimiser, stepped in between, moves nothing."""
    weights = normal(rng, 2, 3), normal(rng, 3), 2 * F.normalize(normal(rng, 3), dim=0), normal(rng)
    batches = [(normal(rng, 5, 3), normal(rng, 5, 2)) for _ in range(4)]

    def own(real, fake):
        return surrogate(student.critic_losses, real, fake, output=0)

    either(
        lambda: train_critic(student, weights, batches, wasserstein),
        lambda: train_critic(student, weights, batches, own),
    )


def train_critic(student, weights, batches, scores):
    """Steps with λ = 0.7, 10, 0, 0.7 on new linear networks, whose penalty does not depend on where it is taken."""
    known = {"generator": Linear(*weights[:2]), "critic": Linear(*weights[2:])}
    nets = {"generator": student.probe("Linear", *weights[:2]), "critic": student.probe("Linear", *weights[2:])}
    of_g, of_c = (optimiser(nets[name], "SGD", lr=RATE) for name in ("generator", "critic"))

    def step(lam, real, noise):
        def run():
            return call(student.critic_step, *nets.values(), of_c, real, noise, lam, grad=True)

        def loss(own):
            critic = own["critic"]
            return scores(critic(real), critic(own["generator"](noise))) + lam * (critic.weight.norm() - 1).square()

        return Step(f"of the critic with λ = {lam:g}", run, trains="critic", loss=loss, rate=RATE)

    judge = Step("the generator's optimiser stepped by the grader", lambda: call(of_g.step))
    steps = [step(lam, *batch) for lam, batch in zip((0.7, 10.0, 0.0, 0.7), batches, strict=True)]
    assert_displacement([steps[0], judge, *steps[1:], judge], nets, known)


def iterate(weight, u, steps):
    W = weight.flatten(1)
    for _ in range(steps):
        v = F.normalize(W.T @ u, dim=0)
        u = F.normalize(W @ v, dim=0)
    return u @ W @ v, u, v


@pytest.mark.graded("spectral-norm", points=0.3)
def test_power_iteration_on_matrices_and_convolutions(student, rng):
    """Exact after 1 and 3 steps; the largest singular value after 40."""
    for shape in ((4, 6), (5, 2), (4, 3, 3, 3), (1, 5)):
        top = 0.5 + 2 * float(torch.rand((), generator=rng))
        values = [top, 0.7 * top, 0.3 * top][: min(shape[:2])]
        weight, u = weight_with_singular_values(values, shape, rng), normal(rng, shape[0])
        for steps in (1, 3):
            found = assert_tuple(
                student.power_iteration(weight, u, steps), 3, "`power_iteration`", names=("sigma", "u", "v")
            )
            for value, right, name in zip(found, iterate(weight, u, steps), ("sigma", "u", "v"), strict=True):
                assert_close(value, right, f"`{name}` of `power_iteration`, weight {shape}, {steps} steps")
        found = assert_unchanged_arguments(student.power_iteration, weight, u, 40, what="`power_iteration`")
        sigma = assert_tuple(found, 3, "`power_iteration`")[0]
        assert_top_singular_value(sigma, weight, asked=f"of a weight {shape} after 40 steps")


def spectral_layer(student, rng, weight):
    """A layer with this weight, a drawn bias and a drawn u; and both of these."""
    layer = student.SpectralLinear(weight.shape[1], weight.shape[0]).double()
    state = state_dict(layer)
    if not {"weight", "bias", "u"} <= state.keys():
        raise Wrong("`SpectralLinear` should hold `weight`, `bias` and `u`")
    bias, u = normal(rng, len(weight)), F.normalize(normal(rng, len(weight)), dim=0)
    load_state_dict(layer, {**state, "weight": weight, "bias": bias, "u": u})
    return layer, bias, u


@pytest.mark.graded("spectral-norm", points=0.3)
def test_spectral_layer_in_training(student, rng):
    """Three rounds with weights changed in between: output, new `u`, the raw weight kept, the derivative in it."""
    weight = weight_with_singular_values([2.0, 1.2, 0.5], (4, 3), rng)
    layer, bias, u = spectral_layer(student, rng, weight)
    for number in (1, 2, 3):
        x, what = normal(rng, 6, 3), f"`SpectralLinear`, round {number}"
        sigma, u, _ = iterate(weight, u, 1)
        assert_close(call(layer, x, mode="train"), x @ weight.T / sigma + bias, f"the output of {what},")
        state = state_dict(layer)
        assert_close(state["u"], u, f"`u` after a forward pass in training mode of {what},")
        assert_close(state["weight"], weight, f"the raw `weight` after a forward pass of {what},")
        cotangent = normal(rng, 6, 4)
        sigma, u, v = iterate(weight, u, 1)
        found = parameter_gradients(layer, x, of=layer, cotangent=cotangent, mode="train")["weight"]
        G = cotangent.T @ x
        right = G / sigma - (G * weight).sum() * torch.outer(u, v) / sigma**2
        wrong = {"σ̂ is held constant: it depends on the weight": G / sigma}
        if found is None:
            raise Wrong(f"the output of {what}, has no derivative in `weight`")
        assert_close(found, right, f"the derivative in `weight` of {what},", alternatives=wrong)
        weight = weight + 0.3 * normal(rng, 4, 3)
        load_state_dict(layer, {**state_dict(layer), "weight": weight})


@pytest.mark.graded("spectral-norm", points=0.15)
def test_spectral_layer_in_evaluation(student, rng):
    """After 100 forward passes in training mode the weight is divided by σ_max; in evaluation mode nothing moves."""
    weight = weight_with_singular_values([3.0, 2.0, 1.0], (3, 5), rng)
    layer, bias, _ = spectral_layer(student, rng, weight)
    x = normal(rng, 4, 5)
    early = [call(layer, x, mode="eval") for _ in range(2)]
    assert_close(early[1], early[0], "the second output in evaluation mode", atol=0.0, rtol=0.0)
    for _ in range(100):
        call(layer, x, mode="train")
    before = state_dict(layer)["u"]
    late = [call(layer, x, mode="eval") for _ in range(2)]
    assert_close(late[0], x @ weight.T / 3.0 + bias, "the output in evaluation mode after 100 training passes")
    assert_close(late[1], late[0], "the second output in evaluation mode", atol=0.0, rtol=0.0)
    assert_close(state_dict(layer)["u"], before, "`u` after evaluation", atol=0.0, rtol=0.0)
