"""Shapes, dtypes and values: right answers pass, each planted error is named."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autograder.checks import (
    assert_binary,
    assert_close,
    assert_dtype,
    assert_finite,
    assert_shape,
)
from tests.autograder.vocabulary.students import fails, generator

EXPECTED = torch.randn(5, 4, generator=generator(), dtype=torch.float64)
VECTOR = torch.tensor([1.5, -0.25, 3.0, -2.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    "answer",
    [
        EXPECTED,
        EXPECTED + 1e-8,
        EXPECTED.float(),
        EXPECTED.float().requires_grad_(),
        EXPECTED.t().contiguous().t(),
    ],
)
def test_equal_values_pass_whatever_their_dtype_layout_or_graph(answer: Tensor) -> None:
    assert_close(answer, EXPECTED)


def test_numbers_compare_with_scalar_tensors() -> None:
    assert_close(0.5, 0.5)
    assert_close(torch.tensor(0.5), 0.5)
    assert_close(3, torch.tensor(3))
    fails(lambda: assert_close(4, torch.tensor(3)), says="off by 1")


def test_integers_agree_exactly_or_not_at_all() -> None:
    assert_close(torch.arange(5), torch.arange(5))
    fails(lambda: assert_close(torch.arange(5), torch.tensor([0, 1, 2, 3, 5])), says="at index (4,), 1 of 5")


def test_float64_is_held_to_more_than_float32() -> None:
    assert_close((EXPECTED + 3e-6).float(), EXPECTED)
    fails(lambda: assert_close(EXPECTED + 3e-5, EXPECTED))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_never_pass(bad: float) -> None:
    answer = EXPECTED.clone()
    answer[2, 3] = bad
    says = "NaN in 1 of 20 places at index (2, 3)" if math.isnan(bad) else "off by inf at index (2, 3)"
    fails(lambda: assert_close(answer, EXPECTED), says=says, hint=None)
    fails(lambda: assert_close(answer, EXPECTED, atol=math.inf), says="(2, 3)")
    fails(lambda: assert_finite(answer), says="1 of 20")
    fails(lambda: assert_close(torch.full((5, 4), bad), EXPECTED))
    fails(lambda: assert_close(bad, 0.0))


def test_expected_infinities_must_be_there_and_nan_agrees_with_nothing() -> None:
    mask = torch.zeros(3, 3).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
    assert_close(mask.clone(), mask)
    fails(lambda: assert_close(torch.zeros(3, 3), mask), says="off by inf")
    fails(lambda: assert_close(-mask, mask))
    fails(lambda: assert_close(torch.tensor(math.nan), torch.tensor(math.nan)))


def test_the_error_and_its_worst_place_are_named_but_never_the_expected_value() -> None:
    answer = EXPECTED.clone()
    answer[3, 1] += 0.25
    answer[0, 0] += 0.125
    fault = fails(
        lambda: assert_close(answer, EXPECTED, "`f(x)`"), says="`f(x)` is off by 0.25 at index (3, 1), 2 of 20"
    )
    student_sees = f"{fault.message} {fault.hint}"
    for value in (EXPECTED[3, 1], EXPECTED[0, 0]):
        assert f"{float(value):.3g}" not in student_sees
    assert repr(float(EXPECTED[3, 1])) in (fault.detail or "")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda e: -e, "sign"),
        (lambda e: e / 4, "averaged over pixels where a sum"),
        (lambda e: e * 4, "summed over pixels where a mean"),
        (lambda e: -e / 4, "negative, and averaged over pixels"),
        (lambda e: e / math.log(2), "bits where nats"),
        (lambda e: e * math.log(2), "nats where bits"),
        (lambda e: e / 2, "half of"),
        (lambda e: e + 0.7, "same amount"),
        (lambda e: e.flip(0), "different order"),
        (lambda e: (e / 3).float(), "exchanged"),
    ],
)
def test_a_simple_mistake_common_to_all_values_is_recognised(wrong: Callable[[Tensor], Tensor], hint: str) -> None:
    alternatives = {"a and b are exchanged": VECTOR / 3}
    fails(lambda: assert_close(wrong(VECTOR), VECTOR, sizes={"pixels": 4}, alternatives=alternatives), hint=hint)


def test_a_transposed_square_is_recognised() -> None:
    square = torch.randn(4, 4, generator=generator())
    fails(lambda: assert_close(square.t(), square), hint="transposed")


@pytest.mark.parametrize("seed", range(20))
def test_an_unrelated_wrong_answer_gets_no_hint(seed: int) -> None:
    fails(
        lambda: assert_close(torch.randn(5, 4, generator=generator(seed + 1)), EXPECTED, sizes={"pixels": 4}), hint=None
    )


def test_a_wide_tolerance_proves_no_cause() -> None:
    fails(lambda: assert_close(1.6 * VECTOR, VECTOR, rtol=0.5), hint=None)
    fails(lambda: assert_close(2 * VECTOR, VECTOR, rtol=0.5), hint="twice")


def test_one_value_off_gets_no_hint_of_a_factor() -> None:
    answer = VECTOR.clone()
    answer[1] *= 2
    fails(lambda: assert_close(answer, VECTOR), hint=None)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((4, 1), "squeeze"),
        ((4, 4), "broadcast"),
        ((), "one number"),
        ((2, 2), "reshape"),
        ((5,), None),
    ],
)
def test_a_wrong_shape_is_reported_and_never_broadcast(shape: tuple[int, ...], hint: str | None) -> None:
    answer = torch.zeros(shape)
    fails(lambda: assert_shape(answer, (4,)), says="shape (4,), got", hint=hint)
    fails(lambda: assert_close(answer, torch.zeros(4)), says="shape (4,), got", hint=hint)


def test_a_size_may_be_left_open() -> None:
    assert assert_shape(torch.zeros(7, 3), (-1, 3)).shape == (7, 3)
    fails(lambda: assert_shape(torch.zeros(7, 4), (-1, 3)), says="(any, 3)")
    fails(lambda: assert_shape(torch.zeros(2, 7, 3), (-1, 3)))


@pytest.mark.parametrize("answer", [None, "text", [1.0], (torch.zeros(2), 1), {"a": 1}, object()])
def test_what_is_no_tensor_is_wrong_not_a_crash(answer: object) -> None:
    for check in (assert_finite, assert_binary, lambda v: assert_close(v, 1.0), lambda v: assert_shape(v, ())):
        fails(lambda check=check: check(answer), says="should be a tensor")
    fails(lambda: assert_close(None, 1.0), hint="without `return`")


def test_dtypes_are_told_apart() -> None:
    assert_dtype(torch.zeros(1), torch.float32)
    assert_dtype(torch.zeros(1).long(), [torch.int32, torch.int64])
    fails(lambda: assert_dtype(torch.zeros(1), torch.float64), says="dtype float64, got float32")
    fails(lambda: assert_dtype(torch.zeros(1).bool(), torch.float32))


def test_binary_means_zeros_and_ones() -> None:
    assert_binary(torch.tensor([0, 1, 1]))
    assert_binary(torch.tensor([False, True]))
    fails(lambda: assert_binary(torch.tensor([0.0, 0.5])), says="0.5 at index (1,)")
    fails(lambda: assert_binary(torch.tensor([-1.0, 1.0])))
    fails(lambda: assert_binary(torch.tensor([math.nan, 1.0])), says="NaN")


def test_empty_complex_and_half_precision_tensors_do_not_crash() -> None:
    assert_close(torch.zeros(0, 3), torch.zeros(0, 3))
    assert_close(torch.tensor([1 + 2j]), torch.tensor([1 + 2j]))
    fails(lambda: assert_close(torch.tensor([1 + 2j, 5j]), torch.tensor([1 - 2j, 5j])), says="off by 4 at index (0,)")
    assert_close(EXPECTED.half(), EXPECTED)
    fails(lambda: assert_close((1.5 * EXPECTED).bfloat16(), EXPECTED))
    assert_close(torch.tensor([True]), torch.tensor([True]))
