"""Where gradients flow and what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autograder.checks import (
    Student,
    assert_gradient_equals,
    assert_gradient_matches_finite_differences,
    assert_gradient_reaches,
    assert_no_gradient_reaches,
    assert_trains,
)
from autograder.student.local import LocalChannel
from tests.autograder.vocabulary.students import fails, generator, perturbed, pixelcnn

X = torch.rand(4, 3, generator=generator(), dtype=torch.float64)


def network() -> nn.Module:
    torch.manual_seed(0)
    return perturbed(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double())


NET = network()


def loss(x: Tensor) -> Tensor:
    return functional.mse_loss(NET(x), x)


RIGHT_LOSSES: list[Callable[[Tensor], Tensor]] = [
    loss,
    lambda x: (NET(x) - x).pow(2).mean(),
    lambda x: -torch.distributions.Normal(NET(x), 1.0).log_prob(x).sum(1).mean(),
]


@pytest.mark.parametrize("right", RIGHT_LOSSES)
def test_a_loss_that_trains_everything_passes(right: Callable[[Tensor], Tensor]) -> None:
    assert_trains(right, X, of=NET)
    student = Student(LocalChannel({"loss": right, "net": NET}))
    assert_trains(student.loss, X, of=student.net)


def test_a_masked_convolution_trains_though_some_weights_are_masked() -> None:
    net = pixelcnn().requires_grad_(True)
    x = torch.randint(0, 2, (4, 1, 5, 5), generator=generator()).float()
    assert_trains(lambda x: functional.binary_cross_entropy_with_logits(net(x), x), x, of=net)


@pytest.mark.parametrize(
    ("wrong", "says", "hint"),
    [
        (lambda x: loss(x).detach(), "4 of 4", "graph is cut"),
        (lambda x: torch.tensor(loss(x).item()), "4 of 4", "graph is cut"),
        (lambda x: functional.mse_loss(NET[2](NET[1](NET[0](x)).detach()), x), "`0.weight`, `0.bias` (2 of 4", None),
        (lambda x: functional.mse_loss(NET(x).round(), x), "4 of 4", ""),
        (lambda x: (NET(x) - x).pow(2).mean(1), "shape (), got shape (4,)", None),
        (lambda x: (NET(x) - x).pow(2).mean().reshape(1), "shape (), got shape (1,)", None),
        (lambda x: loss(x) / 0, "finite", None),
        (lambda x: loss(x) * torch.nan, "finite", None),
        (lambda x: loss(x) + torch.nan, "the loss should be finite", None),
        (lambda x: (loss(x) * 0).sqrt(), "gradient of the loss with respect to `0.weight` should be finite", None),
        (lambda x: None, "should be a tensor", ""),
        (lambda x: 0.0, "tensor", ""),
    ],
)
def test_a_loss_that_does_not_train_fails(wrong: Callable[[Tensor], Any], says: str, hint: str | None) -> None:
    fails(lambda: assert_trains(wrong, X, of=NET), says=says, hint=hint)


def test_parameters_may_be_left_out_by_name_or_by_share() -> None:
    head = lambda x: functional.mse_loss(NET[2](NET[1](NET[0](x)).detach()), x)  # noqa: E731
    assert_trains(head, X, of=NET, except_for={"0.weight", "0.bias"})
    assert_trains(head, X, of=NET, share=0.5)
    fails(lambda: assert_trains(head, X, of=NET, share=0.75))
    fails(lambda: assert_trains(head, X, of=nn.Tanh()), says="no parameters")


def test_gradient_isolation_is_seen_from_both_sides() -> None:
    generator_net, critic = network(), network()
    step = lambda z: critic(generator_net(z).detach()).mean()  # noqa: E731
    leaky = lambda z: critic(generator_net(z)).mean()  # noqa: E731
    assert_no_gradient_reaches(step, X, of=generator_net)
    assert_gradient_reaches(step, X, of=critic, except_for=())
    fails(lambda: assert_no_gradient_reaches(leaky, X, of=generator_net), says="reaches `0.weight`")
    fails(lambda: assert_gradient_reaches(step, X, of=generator_net), says="4 of 4")


def test_gradients_of_arguments_reach_or_do_not() -> None:
    straight_through = lambda x: x + (x.round() - x).detach()  # noqa: E731
    assert_gradient_reaches(straight_through, X, wrt=0)
    assert_no_gradient_reaches(lambda x, y: x * y.detach(), X, X, wrt=1)
    assert_no_gradient_reaches(lambda x: x * 0, X, wrt=0)
    fails(lambda: assert_gradient_reaches(torch.round, X, wrt=0), says="argument 1")
    fails(lambda: assert_no_gradient_reaches(straight_through, X, wrt=0), says="argument 1")
    fails(lambda: assert_gradient_reaches(lambda x: (x - x.detach()).abs().sqrt(), X, wrt=0), says="finite")
    with pytest.raises(ValueError, match="either"):
        assert_gradient_reaches(loss, X)


def test_gradients_equal_known_values() -> None:
    assert_gradient_equals(lambda x: x.pow(2), X, expected=2 * X)
    assert_gradient_equals(lambda x: x.pow(2), X.float(), expected=2 * X.float())
    assert_gradient_equals(lambda x: x.round(), X, expected=torch.zeros_like(X))
    v = torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    assert_gradient_equals(torch.exp, X, expected=X.exp() * v, cotangent=v)
    fails(lambda: assert_gradient_equals(lambda x: -x.pow(2), X, expected=2 * X), hint="sign")
    fails(lambda: assert_gradient_equals(lambda x: x.pow(3), X, expected=2 * X), hint=None)
    fails(lambda: assert_gradient_equals(lambda x: x.pow(2).detach(), X, expected=2 * X), says="no gradient")
    fails(lambda: assert_gradient_equals(lambda x: x.pow(2) * torch.nan, X, expected=2 * X), says="NaN")


class FrozenSine(torch.autograd.Function):
    """Right values, wrong gradient: an adjoint that forgot the state."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 0.9


@pytest.mark.parametrize(
    "fn",
    [loss, torch.sin, lambda x: x.relu() - 0.3, lambda x: (x - 0.5).abs().sum(), lambda x: x.cumsum(1).prod(1), NET],
)
def test_right_gradients_match_finite_differences(fn: Callable[[Tensor], Tensor]) -> None:
    for seed in range(5):
        assert_gradient_matches_finite_differences(fn, X, generator=generator(seed))


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (FrozenSine.apply, "does not match"),
        (lambda x: x * x.detach(), "does not match"),
        (lambda x: x.sin().detach(), "does not match"),
        (lambda x: x.sin().float(), "dtype float64"),
        (lambda x: x.sin() + x.detach().sum(1, keepdim=True), "does not match"),
        (lambda x: x * torch.inf, "finite"),
    ],
)
def test_wrong_gradients_do_not_match_finite_differences(fn: Callable[[Tensor], Tensor], says: str) -> None:
    for seed in range(5):
        fails(lambda seed=seed: assert_gradient_matches_finite_differences(fn, X, generator=generator(seed)), says=says)


def test_a_part_of_a_tuple_can_be_meant() -> None:
    both = lambda x: (x.sin(), x.detach().cos())  # noqa: E731
    assert_gradient_matches_finite_differences(both, X, output=0)
    assert_gradient_reaches(both, X, wrt=0, output=0)
    assert_no_gradient_reaches(both, X, wrt=0, output=1)
    fails(lambda: assert_gradient_matches_finite_differences(both, X, output=1), says="does not match")
    fails(lambda: assert_gradient_matches_finite_differences(both, X, output=2), says="part 3 of a tuple")
    fails(lambda: assert_gradient_reaches(both, X, wrt=0, output=1), says="argument 1")


def test_finite_differences_need_float64() -> None:
    with pytest.raises(ValueError, match="float64"):
        assert_gradient_matches_finite_differences(torch.sin, X.float())
