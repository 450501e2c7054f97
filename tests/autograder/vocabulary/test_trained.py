"""Words that ask whether answers come out of trained weights: honest networks pass, and it is seen what is not seen.

The networks have a table beside a live network, in every place where a table can lie. The claims about them are those
of `docs/writing-checks.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import (
    Recorder,
    assert_answers_from_weights,
    assert_continuous,
    assert_fresh,
    assert_learned_in_weights,
    assert_learns,
    assert_teaches_only,
    assert_weights_matter,
    call,
    load_state_dict,
    records,
    run_fit,
    state_dict,
    train_network,
    transplanted,
)
from autograder.errors import AuthorError, StudentFault
from autograder.student import Student
from tests.autograder.vocabulary.forked import notebook
from tests.autograder.vocabulary.networks import SOURCE
from tests.autograder.vocabulary.students import fails, generator

LAW, OTHER = torch.tensor([1.0, 0.5]), torch.tensor([-0.7, 1.1])
ALL = ("Live", "InAttribute", "InGlobal", "InBuffers", "InFrozen", "Smooth")


@pytest.fixture
def student() -> Iterator[Student]:
    with notebook(SOURCE) as names:
        yield names


def points(n: int, seed: int = 0) -> Tensor:
    return 4 * torch.rand(n, 2, generator=generator(seed)) - 2


def truth(x: Tensor, law: Tensor = LAW) -> Tensor:
    return (x @ law).sin()[:, None]


def ask(network: Any) -> Tensor:
    found: Tensor = call(network, points(64, seed=9), mode="eval")
    return found


def error_of(network: Any, law: Tensor = LAW, x: Tensor | None = None) -> Callable[[], float]:
    held_out = points(256, seed=8) if x is None else x
    return lambda: float((call(network, held_out, mode="eval") - truth(held_out, law)).square().mean())


def trained(student: Student, kind: str) -> Any:
    network, x = student.get(kind)(), points(512)
    run_fit(student.fit, network, x, truth(x), seed=1)
    return network


def relearns(network: Any, x: Tensor | None = None) -> None:
    """Trained on by the judge, towards another law, at the points that it knows."""
    x = points(512) if x is None else x
    run = lambda: train_network(network, [x], truth(x, OTHER), steps=300, lr=1e-2)  # noqa: E731 (said twice)
    assert_learns(error_of(network, OTHER, x), run, share=0.3)


# training in the sandbox


def test_a_fresh_network_learns_by_the_student_s_fit_what_the_judge_hands_it(student: Student) -> None:
    network, x = student.Live(), points(512)
    losses: list[float] = []
    train = lambda: losses.extend(run_fit(student.fit, network, x, truth(x), steps=200, batch_size=32, seed=3))  # noqa: E731
    before, after = assert_learns(error_of(network), train, share=0.3)
    assert len(losses) == 200
    assert after < 0.1 < before


@pytest.mark.parametrize("name", ["fit_nothing", "fit_a_copy"])
def test_a_fit_that_trains_nothing_it_was_given_is_seen(student: Student, name: str) -> None:
    network, x = student.Live(), points(512)
    train = lambda: run_fit(student.get(name), network, x, truth(x))  # noqa: E731
    fails(lambda: assert_learns(error_of(network), train, share=0.9, what="the network"), says="does not learn")


def test_the_student_s_fit_trains_a_public_probe_whose_weights_the_judge_reads_back(student: Student) -> None:
    x = points(512)
    probe = student.probe("Perceptron", 2, 1, seed=4)
    recorder = student.probe("Recorder", probe)
    losses = run_fit(student.fit, recorder, x, truth(x), steps=150, batch_size=32, lr=0.02, seed=1)
    calls = records(recorder)
    assert [len(item["args"][0]) for item in calls] == [32] * len(losses) == [32] * 150
    twin = Recorder(nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1)))
    state = {name.removeprefix("inner."): value for name, value in state_dict(recorder).items()}
    layers = {"0.weight": state["W1"], "0.bias": state["b1"], "2.weight": state["W2"], "2.bias": state["b2"]}
    twin.inner.load_state_dict(layers)
    held_out = points(256, seed=8)
    torch.testing.assert_close(twin(held_out), call(probe, held_out))
    assert error_of(probe)() < 0.1


def test_the_judge_s_own_loop_trains_whatever_the_notebook_builds(student: Student) -> None:
    network, x = student.Live(), points(512)
    before = state_dict(network)
    losses = train_network(network, [x], truth(x), steps=200, lr=1e-2, batch_size=64)
    assert len(losses) == 200
    assert error_of(network)() < 0.1
    load_state_dict(network, before)
    assert train_network(network, [x], truth(x), steps=200, lr=1e-2, batch_size=64) == losses
    assert train_network(network, [x], truth(x), steps=3, lr=1e-2, batch_size=64, seed=2)[0] != losses[0]


def test_the_judge_s_loop_knows_logits_and_log_densities() -> None:
    class Density(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Parameter(torch.zeros(()))

        def log_prob(self, x: Tensor) -> Tensor:
            return -0.5 * (x - self.mean).square().sum(1)

    density, x = Density(), 3 + torch.randn(500, 1, generator=generator(0))
    train_network(density, [x], loss="nll", method="log_prob", steps=300, lr=0.05)
    assert abs(float(density.mean.detach()) - 3) < 0.2

    class Logit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.bias + 0 * x

    logit, coins = Logit(), (torch.rand(500, 1, generator=generator(1)) < 0.8).float()
    train_network(logit, [x, torch.zeros(500)], coins, loss="logits", steps=300, lr=0.05)
    assert abs(float(logit.bias.detach().sigmoid()) - 0.8) < 0.07


def test_a_network_that_does_not_fit_is_the_student_s_fault_and_a_training_without_target_the_author_s() -> None:
    x = points(8)
    with pytest.raises(StudentFault, match=r"returned shape \(8, 3\) where shape \(8, 1\) was expected"):
        train_network(nn.Linear(2, 3), [x], truth(x), steps=1, batch_size=8)
    with pytest.raises(StudentFault, match="has no parameters to train"):
        train_network(nn.Tanh(), [x], x, steps=1)
    for inputs, target, loss in (([], None, "nll"), ([x], None, "squared"), ([x], x, "nll"), ([x], x[:3], "squared")):
        with pytest.raises(AuthorError, match="a training needs inputs"):
            train_network(nn.Linear(2, 2), inputs, target, steps=1, loss=loss)


# does the answer come out of weights


def test_an_honest_network_passes_all(student: Student) -> None:
    network, x = trained(student, "Live"), points(512)
    fresh = assert_answers_from_weights(network, student.Live(), ask)
    assert_weights_matter(fresh, ask, generator=generator(0))
    assert_continuous(lambda q: call(fresh, q), points(64, 1), points(64, 2))
    assert_teaches_only(lambda: run_fit(student.fit, student.Live(), x, truth(x), steps=5), student.Live(), ask)
    relearns(fresh)


@pytest.mark.parametrize("kind", ALL[1:])
def test_every_table_has_the_figure_of_a_trained_network_and_its_fresh_network_learns(
    student: Student, kind: str
) -> None:
    assert error_of(trained(student, kind))() < 0.05
    fresh, x = student.get(kind)(), points(512)
    if kind == "InGlobal":
        return  # what it has seen is in every network of its kind
    train = lambda: train_network(fresh, [x], truth(x, OTHER), steps=300, lr=1e-2)  # noqa: E731
    assert_learns(error_of(fresh, OTHER), train, share=0.3)


def test_a_table_in_an_attribute_does_not_come_along_with_the_weights(student: Student) -> None:
    network = trained(student, "InAttribute")
    fails(
        lambda: assert_answers_from_weights(network, student.InAttribute(), ask),
        says="do not come from its weights: a new network that holds them differs, by up to",
    )


def test_a_table_outside_of_the_network_answers_for_its_neighbours(student: Student) -> None:
    bystander, x = student.InGlobal(), points(512)
    train = lambda: run_fit(student.fit, student.InGlobal(), x, truth(x), steps=5)  # noqa: E731
    fails(
        lambda: assert_teaches_only(train, bystander, ask), says="`fit` keeps what it has seen outside of the weights"
    )
    fails(lambda: assert_answers_from_weights(student.InGlobal(), student.InGlobal(), ask), says="changed nothing")


@pytest.mark.parametrize("kind", ["InBuffers", "InFrozen"])
def test_a_table_in_the_state_comes_along_but_jumps_and_does_not_relearn(student: Student, kind: str) -> None:
    network = trained(student, kind)
    fresh = assert_answers_from_weights(network, student.get(kind)(), ask)  # not seen
    assert_teaches_only(lambda: trained(student, kind), student.get(kind)(), ask)  # not seen
    fails(lambda: relearns(fresh), says="does not learn: trained anew")
    fails(lambda: assert_continuous(lambda q: call(fresh, q), points(64, 1), points(64, 2), jump=0.01), says="jumps")
    if kind == "InBuffers":
        fails(lambda: assert_weights_matter(fresh, ask), says="only 0% move its answers when they are altered")
    else:
        assert_weights_matter(fresh, ask, share=0.7)  # not seen: the table has most of the numbers


def test_a_smooth_table_that_a_live_network_completes_is_seen_by_none_of_them(student: Student) -> None:
    network, x = trained(student, "Smooth"), points(512)
    fresh = assert_answers_from_weights(network, student.Smooth(), ask)
    assert_weights_matter(fresh, ask, generator=generator(0))
    assert_continuous(lambda q: call(fresh, q), points(64, 1), points(64, 2))
    assert_teaches_only(lambda: run_fit(student.fit, student.Smooth(), x, truth(x), steps=5), student.Smooth(), ask)
    relearns(fresh)


class Beside(nn.Module):
    """The law in a buffer, beside a network of little weight."""

    def __init__(self, law: Tensor, weight: float) -> None:
        super().__init__()
        self.inner, self.leave, self.weight = nn.Linear(2, 16), nn.Linear(16, 1), weight
        self.register_buffer("law", law)

    def forward(self, x: Tensor) -> Tensor:
        return truth(x, self.law) + self.weight * self.leave(self.inner(x).tanh())


def test_a_law_beside_a_network_of_little_weight_is_known_without_its_weights(student: Student) -> None:
    """The network matters, as far as altering it can tell; with new weights it still answers."""
    kept, fresh = Beside(LAW, 0.1), Beside(torch.zeros(2), 0.1)
    assert_weights_matter(kept, ask, least=0.002, generator=generator(0))
    nothing = float(truth(points(256, seed=8), LAW).square().mean())

    def error(net: Any) -> float:
        return error_of(net)()

    fails(lambda: assert_learned_in_weights(kept, fresh, error, 0.15 * nothing), says="too much without its weights")
    assert_learned_in_weights(trained(student, "Live"), student.Live(), error, 0.15 * nothing)


def test_a_tensor_under_two_names_is_new_under_both() -> None:
    kept, fresh = Beside(LAW, 1.0), Beside(LAW, 1.0)
    for network in (kept, fresh):
        network.again = network.inner
    own = fresh.inner.weight.detach().clone()
    with pytest.raises(StudentFault):
        assert_learned_in_weights(kept, fresh, lambda _: 0.0, 0.1)
    assert torch.equal(fresh.inner.weight, own)


def test_a_smooth_table_is_far_off_where_data_fill_little_of_the_space() -> None:
    """In 64 dimensions the nearest of 2,000 stored points is as far as any; a law of few numbers is learned there."""
    x, held_out = (torch.randn(n, 64, generator=generator(s)) for n, s in ((2000, 0), (200, 1)))
    law = torch.randn(64, generator=generator(2)) / 8
    y, right = (x @ law).tanh()[:, None], (held_out @ law).tanh()[:, None]
    weights = (-torch.cdist(held_out, x).square() / torch.tensor([2.0, 8.0, 32.0])[:, None, None]).softmax(2)
    best = float((weights @ y - right).square().mean((1, 2)).min())
    network = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 1))
    train_network(network, [x], y, steps=600, lr=3e-3)
    assert float((network(held_out).detach() - right).square().mean()) < 0.2 * best


# a fresh network


def test_a_fresh_network_that_knows_already_is_seen_before_anything_is_trained(student: Student) -> None:
    assert_fresh(error_of(student.Live())(), 0.2)
    known = error_of(call(student.typed, grad=True))()
    fails(lambda: assert_fresh(known, 0.2, what="`typed()`"), says="`typed()` knows the answer before it is trained")
    fails(lambda: assert_fresh(float("nan"), 0.2), says="should be finite")


def test_weights_of_another_network_are_named(student: Student) -> None:
    fails(lambda: transplanted(student.InBuffers(), student.Live(), "`net`"), says="`net` is another network than")
    wider = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
    fails(lambda: transplanted(wider, student.Live()), says="they differ in `4.weight`")


def test_a_network_that_was_never_trained_answers_as_a_new_one() -> None:
    zeros = [nn.init.zeros_(nn.Linear(2, 1).weight) for _ in range(2)]
    networks = [nn.Linear(2, 1, bias=False) for _ in range(2)]
    for network, weight in zip(networks, zeros, strict=True):
        network.weight = nn.Parameter(weight.detach() + 1)
    fails(lambda: assert_answers_from_weights(*networks, ask), says="training has changed nothing")


def test_idle_weights_are_named_and_all_are_put_back(student: Student) -> None:
    idle = nn.Module()
    idle.used, idle.idle = nn.Linear(2, 8), nn.Linear(40, 40)
    idle.forward = lambda x: idle.used(x)  # type: ignore[method-assign]
    before = state_dict(idle)
    fails(lambda: assert_weights_matter(idle, ask), says="`idle.weight` does not")
    after = state_dict(idle)
    assert all(torch.equal(before[name], after[name]) for name in before)
    fails(lambda: assert_weights_matter(nn.Tanh(), ask), says="has no parameters")
    fails(lambda: assert_weights_matter(student.probe("Constant", torch.ones(1)), ask), says="the same answer to every")
