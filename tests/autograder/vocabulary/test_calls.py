"""Properties of any call, through handles and on plain callables alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import (
    Student,
    StudentFault,
    assert_batch_consistent,
    assert_deterministic_under_seed,
    assert_mode_restored,
    assert_works_in,
)
from autograder.student.local import LocalChannel
from autograder.vocabulary.side_effects import assert_unchanged_arguments
from tests.autograder.vocabulary.students import fails, generator, pixelcnn

X = torch.randn(5, 3, generator=generator())

Wrap = Callable[[Any], Any]
as_it_is: Wrap = lambda thing: thing  # noqa: E731
as_handle: Wrap = lambda thing: Student(LocalChannel({"it": thing})).it  # noqa: E731
both = pytest.mark.parametrize("wrap", [as_it_is, as_handle], ids=["callable", "handle"])


def in_place(x: Tensor, *_: Any) -> Tensor:
    x[0] = 7.0
    return x * 2


class Pair(NamedTuple):
    """What a student's function may return in the place of a tuple."""

    result: Tensor
    logdet: Tensor


@both
def test_a_check_s_own_function_may_give_on_what_a_student_s_class_holds(wrap: Wrap) -> None:
    fn = wrap(lambda x: Pair(2 * x, x.sum(1)))
    assert_batch_consistent(lambda rows: fn(rows), X)
    assert_batch_consistent(lambda rows: [fn(rows).result, fn(rows).logdet], X)
    mixing = wrap(lambda x: Pair(2 * x, x.sum().expand(len(x))))
    fails(lambda: assert_batch_consistent(lambda rows: mixing(rows), X), says="mixes the samples")


@both
def test_a_function_that_leaves_its_arguments_alone_passes(wrap: Wrap) -> None:
    result = assert_unchanged_arguments(wrap(lambda x, n: x.clone().mul_(n)), X, 2)
    assert torch.equal(result, 2 * X)
    with_nan = X.clone()
    with_nan[0, 0] = torch.nan
    assert_unchanged_arguments(wrap(lambda x: x + 1), with_nan)
    assert_unchanged_arguments(wrap(lambda x: x.requires_grad_()), X)


@both
@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (in_place, "argument `x` in place: 3 of 15"),
        (lambda x: x.clamp_(0, 0.1), "argument `x`"),
        (lambda x: x.resize_(2, 2), "shape or dtype"),
        (lambda x: x.fill_(torch.nan), "15 of 15"),
        (lambda x: x.neg_(), "argument `x`"),
    ],
)
def test_writing_into_an_argument_is_seen(wrap: Wrap, fn: Callable[..., Any], says: str) -> None:
    fails(lambda: assert_unchanged_arguments(wrap(fn), X.clone()), says=says)


@both
def test_the_argument_that_changes_is_named(wrap: Wrap) -> None:
    def second(a: Tensor, b: Tensor) -> Tensor:
        b += a
        return b

    fails(lambda: assert_unchanged_arguments(wrap(second), X.clone(), X.clone()), says="argument `b`")


@both
@pytest.mark.parametrize(
    "fn",
    [
        nn.Linear(3, 4),
        nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()),
        lambda x: x.sum(1),
        lambda x: x.sum(1, keepdim=True),
        lambda x: (x, x.mean(1)),
        lambda x: {"a": x, "b": x.exp()},
        lambda x: x.double() * 1e6,
    ],
)
def test_functions_of_single_samples_are_batch_consistent(wrap: Wrap, fn: Callable[..., Any]) -> None:
    assert_batch_consistent(wrap(fn), X)


@both
@pytest.mark.parametrize(
    ("fn", "says", "hint"),
    [
        (lambda x: x - x.mean(0), "mixes the samples", None),
        (
            lambda x: x.sum(1) + x.sum(1, keepdim=True),
            "mixes the samples of a batch: for 5 samples it has shape (5, 5)",
            "grow",
        ),
        (lambda x: x.sum(1) + x.exp().sum(), "mixes", None),  # log-det summed over the batch
        (lambda x: x.sum(), "one result a sample", None),
        (lambda x: x.softmax(0), "mixes", None),
        (lambda x: torch.full((len(x),), torch.nan), "not", None),
        (lambda x: x * (torch.arange(len(x)) + 1)[:, None], "mixes", None),
        (lambda x: x @ x.t(), "mixes", "grow"),
        (lambda x: (x, x - x.amax(0)), "mixes", None),
        (lambda x: x.t(), "one result a sample", None),
        (lambda x: None, "should be a tensor", ""),
    ],
)
def test_samples_that_mix_are_seen(wrap: Wrap, fn: Callable[..., Any], says: str, hint: str | None) -> None:
    fails(lambda: assert_batch_consistent(wrap(fn), X), says=says, hint=hint)


def test_batch_norm_in_a_critic_is_seen_in_train_mode() -> None:
    critic = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(StudentFault):  # batch norm refuses a single sample, which is a crash of its own
        assert_batch_consistent(as_handle(critic), X, mode="train")
    images = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    fails(lambda: assert_batch_consistent(as_handle(images), torch.randn(4, 1, 6, 6), mode="train"), says="mixes")
    assert_batch_consistent(as_handle(images), torch.randn(4, 1, 6, 6), mode="eval")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_that_depends_on_the_batch_is_no_mixing(dtype: torch.dtype) -> None:
    x = torch.randint(0, 2, (9, 1, 8, 8), generator=generator()).to(dtype)
    assert_batch_consistent(pixelcnn(channels=32, layers=6).to(dtype), x)
    assert_batch_consistent(nn.Linear(300, 300).to(dtype), torch.randn(33, 300, dtype=dtype))


@both
def test_several_batched_arguments_are_split_together(wrap: Wrap) -> None:
    assert_batch_consistent(wrap(lambda x, t, k: x * t[:, None] * k), X, torch.rand(5), 2)
    fails(lambda: assert_batch_consistent(wrap(lambda x, t: x * t.mean()), X, torch.rand(5)), says="mixes")


@both
def test_seeds_decide_random_results(wrap: Wrap) -> None:
    assert_deterministic_under_seed(wrap(lambda n: torch.randn(n)), 6)
    assert_deterministic_under_seed(wrap(lambda x: x * 2), X, random=False)
    kept = torch.randn(6)
    fails(lambda: assert_deterministic_under_seed(wrap(lambda n: kept[:n]), 6), says="whatever")

    def reseeds(n: int) -> Tensor:
        torch.manual_seed(0)
        return torch.randn(n)

    fails(lambda: assert_deterministic_under_seed(wrap(reseeds), 6), says="whatever")
    own = generator(3)
    fails(
        lambda: assert_deterministic_under_seed(wrap(lambda n: torch.randn(n, generator=own)), 6),
        says="different results",
    )


@both
def test_dtypes_pass_through(wrap: Wrap) -> None:
    assert_works_in(torch.float64, wrap(lambda x: x.exp()), X)
    assert_works_in(torch.float64, wrap(nn.Linear(3, 2).double()), X)
    assert_works_in(torch.float32, wrap(lambda x: (x, x.argmax(1))), X.double())
    says = "dtype float64, got float32"
    fails(lambda: assert_works_in(torch.float64, wrap(lambda x: x.float()), X), says=says)
    fails(lambda: assert_works_in(torch.float64, wrap(lambda x: (x, torch.zeros(5))), X), says=says)
    with pytest.raises(StudentFault) as caught:  # two dtypes in one product: the student's code raises
        assert_works_in(torch.float64, wrap(lambda x: x @ torch.ones(3, 2)), X)
    assert caught.value.reason == "crash"


class Sampler(nn.Module):
    def __init__(self, restore: str) -> None:
        super().__init__()
        self.restore, self.weight = restore, nn.Parameter(torch.ones(1))

    def sample(self, n: int) -> Tensor:
        was = self.training
        if self.restore == "untouched":
            return torch.randn(n)
        self.eval()
        if self.restore == "as found":
            self.train(was)
        elif self.restore == "always train":
            self.train()
        return torch.randn(n)


@both
def test_a_call_restores_the_mode_it_found(wrap: Wrap) -> None:
    for restore in ("as found", "untouched"):
        model = wrap(Sampler(restore))
        assert_mode_restored(model, model.sample, 3)
    for restore, says in (("never", "leaves the model in eval"), ("always train", "leaves the model in train")):
        model = wrap(Sampler(restore))
        fails(lambda model=model: assert_mode_restored(model, model.sample, 3, what="`sample`"), says=says)
    for found in (True, False):
        model = wrap(Sampler("never"))
        model.train(found)
        fails(lambda model=model: assert_mode_restored(model, model.sample, 3))
        assert model.training is found  # the assertion itself leaves no trace
    fails(lambda: assert_mode_restored(wrap(object()), wrap(lambda: 0)), says="Module")
