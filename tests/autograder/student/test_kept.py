"""A check leaves the networks of a live notebook as it found them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from autograder.checks import call, perturb
from autograder.student import Student
from autograder.student.local import LocalChannel


class Net(nn.Module):
    """With everything a check may change: parameters, a buffer, statistics, a flag, a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.first = True

    def forward(self, x):
        self.first = False
        return self.norm(self.layer(x))


def changed(student: Student, name: str) -> None:
    net = getattr(student, name)
    net = net if name == "net" else net[0] if name == "nets" else net["a"]
    net.double()
    net.train()
    call(net, torch.randn(5, 3).double(), mode="train")
    perturb(net, seed=3)
    net.requires_grad_(False)
    net.layer.weight = None


@pytest.mark.parametrize("name", ["net", "nets", "table"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_network_is_after_a_check_what_it_was_before(name, fails):
    net = Net().eval()
    net.layer(torch.ones(1, 3)).sum().backward()
    names = {"net": net, "nets": [net], "table": {"a": net}}
    before, slope = copy.deepcopy(net), net.layer.bias.grad.clone()
    channel = LocalChannel(names)
    try:
        with channel.check():
            changed(Student(channel), name)
            assert net.layer.weight is None
            assert not net.first
            if fails:
                raise AssertionError
    except AssertionError:
        assert fails
    state, expected = net.state_dict(), before.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value) and state[key].dtype == value.dtype for key, value in expected.items())
    assert net.first
    assert not net.training
    assert all(p.requires_grad for p in net.parameters())
    assert torch.equal(net.layer.bias.grad, slope)
    assert net.layer.weight.dtype == torch.float32
    assert net(torch.ones(1, 3)).dtype == torch.float32


def test_functions_that_use_a_network_by_its_name_see_what_a_check_does_to_it():
    net = nn.Linear(2, 1)
    channel = LocalChannel({"net": net, "ask": lambda x: net(x).detach()})
    student, x = Student(channel), torch.ones(1, 2)
    with channel.check():
        before = student.ask(x)
        perturb(student.net, seed=1)
        assert not torch.equal(student.ask(x), before)
    assert torch.equal(student.ask(x), before)
