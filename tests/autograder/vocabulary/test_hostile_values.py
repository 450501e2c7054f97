"""Whatever student code returns, an assertion ends in a verdict: it holds, or a StudentFault, nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from autograder.checks import (
    StudentFault,
    assert_batch_consistent,
    assert_binary,
    assert_causal,
    assert_close,
    assert_depends,
    assert_deterministic_under_seed,
    assert_diverse,
    assert_dtype,
    assert_excess,
    assert_finite,
    assert_frequencies,
    assert_gradient_equals,
    assert_gradient_matches_finite_differences,
    assert_gradient_reaches,
    assert_log_prob_matches_conditionals,
    assert_modes_covered,
    assert_moments,
    assert_no_gradient_reaches,
    assert_normalised,
    assert_not_memorised,
    assert_receptive_field,
    assert_same_law,
    assert_samples_follow,
    assert_samples_follow_conditionals,
    assert_shape,
    assert_trains,
    assert_unchanged_arguments,
    assert_works_in,
    draw_twice,
    log_likelihood_from_conditionals,
    sequential_log_likelihood,
)

X = torch.randint(0, 2, (6, 1, 2, 2), generator=torch.Generator().manual_seed(0)).float()
DATA = torch.rand(60, 1, 2, 2, generator=torch.Generator().manual_seed(0)).round()

VALUES: dict[str, Any] = {
    "none": None,
    "text": "PASSED",
    "true": True,
    "huge integer": 2**62,
    "nan": float("nan"),
    "list": [],
    "tuple": (),
    "nested": [[torch.zeros(2)], {"a": 1}],
    "dictionary": {"a": torch.zeros(6)},
    "empty dictionary": {},
    "dtype": torch.float32,
    "0-d": torch.tensor(1.0),
    "empty": torch.zeros(0),
    "empty rows": torch.zeros(6, 0),
    "no rows": torch.zeros(0, 1, 2, 2),
    "complex": torch.ones(6, 1, 2, 2, dtype=torch.complex64),
    "complex vector": torch.full((6,), 1j),
    "booleans": torch.ones(6, 1, 2, 2).bool(),
    "bytes": torch.full((6, 1, 2, 2), 255, dtype=torch.uint8),
    "negative": torch.full((6,), -(2**62)),
    "half": torch.full((6, 1, 2, 2), 6e4).half(),
    "bfloat": torch.ones(6).bfloat16(),
    "infinite": torch.full((6, 1, 2, 2), torch.inf),
    "minus infinity": torch.full((6,), -torch.inf),
    "subnormal": torch.full((6, 1, 2, 2), 1e-310, dtype=torch.float64),
    "negative zero": torch.full((6, 1, 2, 2), -0.0),
    "enormous": torch.full((6, 1, 2, 2), 1e308, dtype=torch.float64),
    "many dimensions": torch.zeros([1] * 12),
    "square": torch.zeros(6, 6),
    "one": torch.zeros(1, 1, 2, 2),
    "right shape": torch.zeros(6, 1, 2, 2),
    "right length": torch.zeros(6),
}

ON_VALUES: dict[str, Callable[[Any], Any]] = {
    "assert_finite": assert_finite,
    "assert_binary": assert_binary,
    "assert_shape": lambda v: assert_shape(v, (6, -1)),
    "assert_dtype": lambda v: assert_dtype(v, torch.float32),
    "assert_close": lambda v: assert_close(v, torch.rand(6, 1, 2, 2), sizes={"pixels": 4}),
    "assert_close vector": lambda v: assert_close(v, torch.rand(6), alternatives={"a": torch.rand(6)}),
    "assert_close scalar": lambda v: assert_close(v, 0.5),
    "assert_close integers": lambda v: assert_close(v, torch.arange(6)),
    "assert_close infinite": lambda v: assert_close(v, torch.full((6,), -torch.inf)),
    "assert_samples_follow": lambda v: assert_samples_follow(v, torch.full((16,), 1 / 16)),
    "assert_samples_follow_conditionals": lambda v: assert_samples_follow_conditionals(v, lambda x: x),
    "assert_frequencies": lambda v: assert_frequencies(v, torch.tensor(0.5)),
    "assert_moments": lambda v: assert_moments(v, 0.0, 1.0),
    "assert_excess": lambda v: assert_excess(v, 1.0, floor=2.0, target=1.5),
    "assert_same_law": lambda v: assert_same_law(v, DATA),
    "assert_diverse": lambda v: assert_diverse(v, DATA),
    "assert_not_memorised": lambda v: assert_not_memorised(v, DATA, DATA),
    "assert_modes_covered": lambda v: assert_modes_covered(v, DATA[:3], radius=1, share=0.1, near=0.5),
}

ON_FUNCTIONS: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "assert_causal": lambda f: assert_causal(f, X.shape),
    "assert_depends": lambda f: assert_depends(f, X.shape, [(0, -1)]),
    "assert_receptive_field": lambda f: assert_receptive_field(f, X.shape, set(), (0, 0)),
    "assert_normalised": lambda f: assert_normalised(f, (1, 1, 2)),
    "assert_log_prob": lambda f: assert_log_prob_matches_conditionals(f, lambda x: x, X),
    "assert_log_prob of logits": lambda f: assert_log_prob_matches_conditionals(lambda x: x.sum((1, 2, 3)), f, X),
    "log_likelihood": lambda f: log_likelihood_from_conditionals(f, X),
    "sequential": lambda f: sequential_log_likelihood(f, X),
    "draw_twice": lambda f: draw_twice(f, 6, (1, 2, 2)),
    "draw_twice of any shape": lambda f: draw_twice(f, 6),
    "conditionals": lambda f: assert_samples_follow_conditionals(X, f),
    "assert_batch_consistent": lambda f: assert_batch_consistent(f, X),
    "assert_unchanged_arguments": lambda f: assert_unchanged_arguments(f, X),
    "assert_deterministic": lambda f: assert_deterministic_under_seed(f, X),
    "assert_works_in": lambda f: assert_works_in(torch.float64, f, X),
    "assert_trains": lambda f: assert_trains(f, X, of=torch.nn.Linear(2, 2)),
    "assert_gradient_reaches": lambda f: assert_gradient_reaches(f, X, wrt=0),
    "assert_no_gradient_reaches": lambda f: assert_no_gradient_reaches(f, X, wrt=0),
    "assert_gradient_equals": lambda f: assert_gradient_equals(f, X, expected=X),
    "assert_finite_differences": lambda f: assert_gradient_matches_finite_differences(f, X.double()),
}


@pytest.mark.parametrize("check", ON_VALUES)
@pytest.mark.parametrize("value", VALUES)
def test_any_value_gets_a_verdict(value: str, check: str) -> None:
    with contextlib.suppress(StudentFault):
        ON_VALUES[check](VALUES[value])


@pytest.mark.parametrize("check", ON_FUNCTIONS)
@pytest.mark.parametrize("value", VALUES)
def test_any_result_of_a_function_gets_a_verdict(value: str, check: str) -> None:
    with contextlib.suppress(StudentFault):
        ON_FUNCTIONS[check](lambda *_: VALUES[value])


@pytest.mark.parametrize("check", ON_FUNCTIONS)
def test_results_that_change_from_call_to_call_get_a_verdict(check: str) -> None:
    for start in range(len(VALUES)):
        turns = iter([*list(VALUES.values())[start:], *VALUES.values()] * 200)
        with contextlib.suppress(StudentFault):
            ON_FUNCTIONS[check](lambda *_, turns=turns: next(turns))
