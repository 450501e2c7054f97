"""The kit's words and probes through a real worker: a notebook's functions, probes beside them, handles between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from autograder.checks import (
    Linear,
    Step,
    WaveCritic,
    assert_consistent_noising,
    assert_continuous,
    assert_covers_times,
    assert_displacement,
    assert_gradient_penalty,
    assert_points_between,
    assert_same_in_any_company,
    assert_steps_follow,
    gradient,
    jacobian,
    noise_table,
    optimiser,
    parameter_gradients,
    records,
    state_dict,
)
from autograder.errors import StudentFault, Wrong
from autograder.homework.settings import Budgets
from autograder.judge.session import Session
from autograder.student import Student
from tests.autograder.providers import ForkProvider, cells
from tests.autograder.vocabulary.ddpm import abar_of, reverse_steps

F64 = torch.float64
BUDGETS = Budgets(cell_seconds=10, check_seconds=60, train_seconds=5, submission_seconds=120)
NOTEBOOK = """
import torch
from torch.nn.functional import logsigmoid

def gradient_penalty(critic, real, fake, detached=False):
    t = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype)
    x = (t * real + (1 - t) * fake).requires_grad_()
    (g,) = torch.autograd.grad(critic(x).sum(), x, create_graph=not detached)
    return (g.flatten(1).norm(dim=1) - 1).square().mean()

def detached_penalty(critic, real, fake):
    return gradient_penalty(critic, real, fake, detached=True)

def discriminator_step(generator, discriminator, optimizer, real, noise, leak=False):
    with torch.enable_grad():
        optimizer.zero_grad()
        fake = generator(noise) if leak else generator(noise).detach()
        loss = -logsigmoid(discriminator(real)).mean() - logsigmoid(-discriminator(fake)).mean()
        loss.backward()
    optimizer.step()
    return loss.item()

def generator_step(generator, discriminator, optimizer, noise):
    with torch.enable_grad():
        optimizer.zero_grad()
        loss = -logsigmoid(discriminator(generator(noise))).mean()
        loss.backward()
    optimizer.step()
    return loss.item()

def ddpm_sample(model, x, betas, shift=0):
    abar = (1 - betas).cumprod(0)
    for i in reversed(range(len(betas))):
        t = torch.full((len(x),), max(i - shift, 0))
        x = (x - betas[i] / (1 - abar[i]).sqrt() * model(x, t)) / (1 - betas[i]).sqrt()
        if i:
            x = x + (betas[i] * (1 - abar[i - 1]) / (1 - abar[i])).sqrt() * torch.randn_like(x)
    return x

def ddpm_loss(model, x_0, betas, shift=0):
    t = torch.randint(0, len(betas), (len(x_0),))
    noise = torch.randn_like(x_0)
    a = (1 - betas).cumprod(0)[t][:, None]
    return (model(a.sqrt() * x_0 + (1 - a).sqrt() * noise, t + shift) - noise).square().mean()

def probability_flow(score, beta):
    def field(t, x):
        time = torch.full((len(x),), float(t), dtype=x.dtype)
        return -0.5 * beta * (x + score(x, time))
    return field
"""


@pytest.fixture
def student() -> Iterator[Student]:
    provider = ForkProvider()
    yield Student(Session(provider, cells(NOTEBOOK), {}, BUDGETS, seed=0), "a")
    provider.close()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def test_a_penalty_is_judged_at_the_points_it_looked_at(student: Student) -> None:
    w, real, fake = drawn(12), drawn(64, 3, 2, 2, seed=1), drawn(64, 3, 2, 2, seed=2)
    recorder = student.probe("Recorder", student.probe("WaveCritic", w, 0.7, 0.3))
    copy = WaveCritic(w, 0.7, 0.3)
    for seed in range(4):
        assert_gradient_penalty(student.gradient_penalty, recorder, copy, real, fake, seed=seed)
    assert assert_points_between(records(recorder), real, fake, uniform=True).shape == (8, 64)
    with pytest.raises(Wrong, match="can not train the critic"):
        assert_gradient_penalty(student.detached_penalty, recorder, copy, real, fake)


def steps(student: Student, **mistakes: bool) -> None:
    made = {
        "generator": (drawn(2, 3), drawn(3, seed=1)),
        "discriminator": (drawn(3, seed=2), torch.tensor(0.3, dtype=F64)),
    }
    networks = {name: student.probe("Linear", *weights) for name, weights in made.items()}
    copies = {name: Linear(*weights) for name, weights in made.items()}
    by = {name: optimiser(network, lr=0.1) for name, network in networks.items()}
    g, d, real, noise = networks["generator"], networks["discriminator"], drawn(8, 3, seed=4), drawn(5, 2, seed=5)

    def d_loss(nets: dict[str, Linear]) -> Tensor:
        fake = nets["generator"](noise).detach()
        return -logsigmoid(nets["discriminator"](real)).mean() - logsigmoid(-nets["discriminator"](fake)).mean()

    def g_loss(nets: dict[str, Linear]) -> Tensor:
        return -logsigmoid(nets["discriminator"](nets["generator"](noise))).mean()

    def run_d() -> object:
        return student.discriminator_step(g, d, by["discriminator"], real, noise, **mistakes)

    def run_g() -> object:
        return student.generator_step(g, d, by["generator"], noise)

    one = Step("the discriminator's", run_d, "discriminator", d_loss, 0.1)
    other = Step("the generator's", run_g, "generator", g_loss, 0.1)
    judges = Step("a step of the generator's optimiser by the judge", by["generator"].step)
    assert_displacement([one, judges, other, other, one, one], networks, copies)


def test_an_optimiser_in_the_sandbox_moves_exactly_one_network_and_shows_a_leaked_gradient(student: Student) -> None:
    steps(student)
    with pytest.raises(Wrong, match="step 2 of 6, a step of the generator's optimiser by the judge, moves `weight`"):
        steps(student, leak=True)


def test_optimisers_are_of_a_known_kind_over_a_module(student: Student) -> None:
    line = student.probe("Linear", drawn(3, 3), drawn(3, seed=1))
    adam = optimiser(line, "Adam", lr=0.5)
    adam.zero_grad()
    before = state_dict(line)["weight"]
    student.generator_step(line, student.probe("Linear", drawn(3, seed=3)), adam, drawn(4, 3, seed=2))
    moved = state_dict(line)["weight"] - before
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.5), rtol=1e-4, atol=0.0)  # Adam's first step
    with pytest.raises(StudentFault, match="Module was expected"):
        optimiser(student.gradient_penalty)


def test_ddpm_mistakes_of_time_do_not_survive(student: Student) -> None:
    betas, mean, std = torch.full((12,), 0.3, dtype=F64), torch.tensor([1.5, 2.5]).double(), torch.tensor([0.6, 1.0])
    exact = reverse_steps(*noise_table(mean, std, betas), betas)
    for shift in (0, 1, 99):  # right, t − 1 (or 0), always 0
        recorder = student.probe("Recorder", student.probe("GaussianNoise", mean, std, betas))
        end = student.ddpm_sample(recorder, drawn(2000, 2), betas, shift)
        states = [*(record["args"][0] for record in records(recorder)), end]
        if shift:
            with pytest.raises(Wrong, match=r"step \d+ of 12 of the sampler"):
                assert_steps_follow(states, *exact)
        else:
            assert_steps_follow(states, *exact)
    x_0 = 3 + drawn(1500, 2)
    recorder = student.probe("Recorder", student.probe("GaussianNoise", mean, std, betas))
    student.ddpm_loss(recorder, x_0, betas)
    assert_covers_times(records(recorder), steps=12)
    kept = abar_of(betas)
    assert_consistent_noising(
        records(recorder), x_0, lambda t: kept[t].sqrt(), lambda t: (1 - kept[t]).sqrt(), steps=12
    )
    with pytest.raises(StudentFault, match=r"this network knows the times 0 … 11, got 12"):
        student.ddpm_loss(recorder, x_0, betas, 1)


def test_gradients_pass_through_a_students_function_of_handles(student: Student) -> None:
    A, x, beta = drawn(3, 3), drawn(4, 3, seed=1), 2.0
    score = student.probe("AffineScore", A, drawn(3, seed=2))
    field = student.probability_flow(score, beta)  # a function that the student made of a handle
    expected = -0.5 * beta * (torch.eye(3, dtype=F64) + A)
    torch.testing.assert_close(jacobian(field, 0.5, x[:1], wrt=1)[0, :, 0], expected)
    torch.testing.assert_close(gradient(field, 0.5, x, wrt=1), expected.sum(0).expand(4, 3))
    found = parameter_gradients(field, 0.5, x, of=score)["a"]
    assert found is not None
    torch.testing.assert_close(found, -0.5 * beta * x.sum(0).expand(3, 3))


def test_networks_in_the_sandbox_are_continuous_and_answer_row_by_row(student: Student) -> None:
    model = student.probe("GaussianVelocity", drawn(3), torch.eye(3, dtype=F64) / 4)
    x, t = drawn(10, 3, seed=1), torch.rand(10, dtype=F64)
    assert_same_in_any_company(model, x, t, generator=torch.Generator().manual_seed(0))
    assert_continuous(student.probe("Linear", drawn(3, 2)), drawn(16, 3), drawn(16, 3, seed=1))


def test_probes_by_label_are_built_of_other_probes(student: Student) -> None:
    parts = [student.probe("Constant", float(k)) for k in range(3)]
    model = student.probe("Conditional", parts)
    x, t = torch.zeros(3, 2), torch.zeros(3)
    assert model(x, t, torch.tensor([2, 0, 1])).tolist() == [[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]
    with pytest.raises(StudentFault, match="this network knows the labels 0 … 2, got 3"):
        model(x, t, torch.tensor([2, 0, 3]))
