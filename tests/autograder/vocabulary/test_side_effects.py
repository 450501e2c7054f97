"""What a call leaves behind is seen in what is computed afterwards, also where the worker says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.student import Student
from autograder.student.local import LocalChannel
from autograder.vocabulary.side_effects import assert_leaves_no_gradient, assert_no_graph, assert_unchanged_arguments
from tests.autograder.vocabulary.students import fails, generator

X = torch.randn(5, 3, generator=generator())
W = torch.randn(3, generator=generator(1))


class Liar(LocalChannel):
    """A worker patched to deny: arguments come back as they were sent, there is no graph and no gradient."""

    def request(self, op: str, **fields: Any) -> Any:
        said = super().request(op, **fields)
        if op == "call" and fields.get("echo"):
            return {"value": said["value"], "args": tuple(fields["args"]), "kwargs": fields["kwargs"]}
        if op == "getattr" and fields["name"] in ("requires_grad", "grad", "grad_fn"):
            return {"requires_grad": False, "grad": None, "grad_fn": None}[fields["name"]]
        return said


def students(**names: Any) -> list[Student]:
    return [Student(channel(names)) for channel in (LocalChannel, Liar)]


class Cache:
    """Counts its calls: the second answer is another one for an honest reason."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


HONEST: dict[str, Callable[..., Any]] = {
    "a copy": lambda x: x.clone().mul_(2),
    "a sum": lambda x: x.sum(1),
    "random under a seed": lambda x: x + torch.randn_like(x),
    "nothing": lambda x: None,
    "several": lambda x: (x, {"twice": 2 * x}),
}
DISHONEST: dict[str, Callable[..., Any]] = {
    "doubled": lambda x: x.mul_(2),
    "clamped, so that a second call changes nothing more": lambda x: x.clamp_(0, 0.1).sum(1),
    "filled with what is drawn under the seed": lambda x: x.copy_(torch.randn_like(x)),
    "one entry": lambda x: x.view(-1)[4:5].zero_().sum() + x.sum(),
    "resized": lambda x: x.resize_(2, 2),
}


@pytest.mark.parametrize("name", HONEST)
def test_who_leaves_arguments_alone_passes(name):
    for student in students(it=HONEST[name]):
        assert_unchanged_arguments(student.it, X, seed=3)
    assert_unchanged_arguments(HONEST[name], X, seed=3)


def test_an_answer_that_differs_from_call_to_call_is_no_change_of_an_argument():
    for student in (students(it=Cache())[number] for number in range(2)):
        assert torch.equal(assert_unchanged_arguments(student.it, X), X + 1)


@pytest.mark.parametrize("name", DISHONEST)
def test_writing_into_an_argument_is_seen_whatever_the_worker_says(name):
    for student in students(it=DISHONEST[name]):
        fails(
            lambda student=student: assert_unchanged_arguments(student.it, X.clone(), seed=5, what="`it`"),
            says="argument `x`",
        )


def test_tensors_of_every_dtype_and_other_things_may_be_arguments():
    arguments = (X, X > 0, torch.arange(4), 3, "word", None, [X, X], torch.tensor(2.0, dtype=torch.float64))
    for student in students(it=lambda *args: args[0].sum(), flip=lambda a, mask: mask.logical_not_().sum()):
        assert_unchanged_arguments(student.it, *arguments)
        fails(lambda s=student: assert_unchanged_arguments(s.flip, X, X > 0), says="argument `mask`")


def sample(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net(x)


def test_a_result_without_a_graph_passes_and_one_with_a_graph_is_seen():
    names = {"right": sample, "detached": lambda net, x: net(x).detach(), "wrong": lambda net, x: net(x)}
    names |= {"part": lambda net, x: (x, net(x)), "data": lambda net, x: net(x).data}
    for student in students(**names):
        net = student.probe("Linear", W)
        for right in ("right", "detached", "data"):
            value = assert_no_graph(student.get(right), net, X, of=net, what="`sample`")
            assert torch.allclose(value, X @ W)
        fails(lambda s=student, n=net: assert_no_graph(s.wrong, n, X, of=n, what="`sample`"), says="graph")
        assert torch.allclose(net(X), X @ W), "the probe is as it was"


def test_no_graph_is_left_in_a_part_of_a_result():
    for student in students(wrong=lambda net, x: (x, net(x)), right=lambda net, x: (x, net(x).detach())):
        net = student.probe("Linear", W)
        assert_no_graph(student.right, net, X, of=net)
        fails(lambda s=student, n=net: assert_no_graph(s.wrong, n, X, of=n), says="graph")


def leaves(net: nn.Module, x: Tensor) -> Tensor:
    net(x).sum().backward()
    return x


def cleans(net: nn.Module, x: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(net(x).sum(), [net.weight])
    return gradient


def test_a_gradient_left_in_a_network_is_seen_by_a_step_of_an_optimiser():
    for student in students(cleans=cleans, leaves=leaves):
        net = student.probe("Linear", W)
        assert torch.allclose(assert_leaves_no_gradient(student.cleans, net, X, of=net), X.sum(0), atol=1e-5)
        fails(lambda s=student, n=net: assert_leaves_no_gradient(s.leaves, n, X, of=n, what="`it`"), says="gradient")
        assert torch.allclose(student.probe("Linear", W)(X), X @ W)


def test_a_gradient_that_was_there_before_may_stay():
    (student, _) = students(cleans=cleans, leaves=leaves, zero=lambda net, x: net.zero_grad(set_to_none=False))
    net = student.probe("Linear", W)
    from autograder.student import call

    call(student.leaves, net, X, grad=True)
    assert_leaves_no_gradient(student.cleans, net, X, of=net)


def test_the_probe_that_keeps_an_argument_hands_back_the_very_tensor():
    from autograder.worker.probes import PROBES

    same = PROBES["Same"]()
    assert same(X) is X
