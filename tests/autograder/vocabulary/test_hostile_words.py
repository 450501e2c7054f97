"""Whatever comes back, the words for critics, diffusion and flows end in a verdict: they hold, or a StudentFault."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import (
    DIVERGENCES,
    GaussianVelocity,
    Linear,
    Recorder,
    Step,
    StudentFault,
    assert_consistent_noising,
    assert_continuous,
    assert_coupling_optimal,
    assert_covers_times,
    assert_displacement,
    assert_divergence_bound,
    assert_frechet,
    assert_gradient_penalty,
    assert_guided,
    assert_number,
    assert_points_between,
    assert_posterior,
    assert_precision_recall,
    assert_same_in_any_company,
    assert_schedule,
    assert_score_of,
    assert_standard_normal,
    assert_steps_follow,
    assert_straight_paths,
    assert_straightness,
    assert_top_singular_value,
    assert_velocity,
)
from tests.autograder.vocabulary.students import generator
from tests.autograder.vocabulary.test_hostile_values import VALUES

F64 = torch.float64
A, B = (torch.randn(6, 2, dtype=F64, generator=generator(seed)) for seed in (0, 1))
TIMES = torch.tensor([0.0, 1.0, 0.5, 0.2, 0.4, 0.6], dtype=F64)
BETAS = torch.linspace(0.1, 0.4, 6, dtype=F64)
C = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)
MODEL = GaussianVelocity(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
Calls = list[dict[str, Any]]


def told(x: Any, t: Any) -> Calls:
    return [{"args": [x, t], "kwargs": {}}]


def noising(recorded: Calls, **kwargs: Any) -> None:
    assert_consistent_noising(recorded, A, lambda t: t, lambda t: 1 + t, interval=(0, 1), **kwargs)


def penalised(value: Any) -> None:
    """A penalty that asks rightly and returns something else, without and with a graph to it."""
    critic = Linear(torch.ones(2, dtype=F64))

    def penalty(critic: Any, real: Tensor, fake: Tensor) -> Any:
        t = torch.rand(len(real), 1, dtype=F64)
        score = critic(t * real + (1 - t) * fake)
        return value * score.sum() if isinstance(value, Tensor) and value.is_floating_point() else value

    assert_gradient_penalty(penalty, Recorder(critic), critic, A, B)


def displaced(value: Any) -> None:
    """A network whose weight became something else."""
    network = Linear(torch.ones(2, dtype=F64))

    def run() -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            network.weight = nn.Parameter(value.clone())
        return value

    step = Step("the critic's", run, "critic", lambda nets: nets["critic"](A).sum(), 0.1)
    assert_displacement([step], {"critic": network}, {"critic": Linear(torch.ones(2, dtype=F64))})
    assert_displacement([step, step], {"critic": network}, {"critic": Linear(torch.ones(2, dtype=F64))})


def row_by_row(value: Any) -> Callable[..., Any]:
    """A function whose answer changes its shape at the second call."""
    calls: list[None] = []

    def answer(x: Tensor, *_: Any) -> Any:
        calls.append(None)
        return x if len(calls) == 1 else value

    return answer


WORDS: dict[str, Callable[[Any], Any]] = {
    "number": lambda v: assert_number(v, 1.0, "it", tolerance=1e-3),
    "points": lambda v: assert_points_between(told(v, None), A, B, uniform=True),
    "penalty": penalised,
    "singular value": lambda v: assert_top_singular_value(v, torch.diag(torch.tensor([3.0, 1.0]))),
    "bound": lambda v: assert_divergence_bound(lambda *_: v, [1, 2], [2, 3], DIVERGENCES["kl"]),
    "part of a bound": lambda v: assert_divergence_bound(lambda *_: (v,), [1, 2], [2, 3], DIVERGENCES["kl"], output=0),
    "frechet": lambda v: assert_frechet(lambda *_: v, A[0], C, B[0], C.inverse()),
    "precision": lambda v: assert_precision_recall(lambda *_: v, A, B, 2),
    "precision and recall": lambda v: assert_precision_recall(lambda *_: (v, v), A, B, 2),
    "displacement": displaced,
    "table": lambda v: assert_schedule(v, BETAS),
    "function of time": lambda v: assert_schedule(lambda t: v, BETAS, clean=-1),
    "points of a loss": lambda v: noising(told(v, TIMES)),
    "times of a loss": lambda v: noising(told(A, v)),
    "given noise": lambda v: noising(told(v, TIMES), given=A),
    "given noise at a time": lambda v: noising(told(A, v), given=A),
    "times": lambda v: assert_covers_times(told(A, v), interval=(0.0, 1.0)),
    "indices": lambda v: assert_covers_times(told(torch.zeros(600), v), steps=6),
    "levels": lambda v: assert_covers_times(told(torch.zeros(600), v), values=torch.tensor([1.0, 2.0])),
    "points beside times": lambda v: assert_covers_times(told(v, TIMES), interval=(0.0, 1.0)),
    "posterior": lambda v: assert_posterior(v, A, B, 0.9, 0.5),
    "mean of a posterior": lambda v: assert_posterior((v, 0.1), A, B, 0.9, 0.5),
    "variance of a posterior": lambda v: assert_posterior(((A + B) / 2, v), A, B, 0.9, 0.5),
    "score": lambda v: assert_score_of(lambda x: v, lambda x: -x.square().sum(1), A),
    "guidance": lambda v: assert_guided(lambda w: v, A, B, convention="conditional at 1"),
    "path": lambda v: assert_straight_paths(lambda *_: v, A, B, TIMES),
    "ends of a path": lambda v: assert_straight_paths(lambda *_: (v, v), A, B, TIMES),
    "velocity": lambda v: assert_velocity(lambda x, t: v, MODEL, A),
    "pairing": lambda v: assert_coupling_optimal(v, A, B),
    "straightness": lambda v: assert_straightness(lambda *_: v, MODEL, MODEL, A, 3),
    "noise": lambda v: assert_standard_normal(v),
    "noise of a second call": lambda v: assert_standard_normal([A, v]),
    "chain": lambda v: assert_steps_follow([v, v], [torch.ones(2)], [0.0], [1.0]),
    "end of a chain": lambda v: assert_steps_follow([A, A, v], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]),
    "company": lambda v: assert_same_in_any_company(lambda x: v, A),
    "company later": lambda v: assert_same_in_any_company(row_by_row(v), A),
    "map": lambda v: assert_continuous(lambda x: v, A, B),
    "map later": lambda v: assert_continuous(row_by_row(v), A, B),
}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("value", VALUES)
def test_any_value_ends_in_a_verdict(word: str, value: str) -> None:
    with contextlib.suppress(StudentFault):
        WORDS[word](VALUES[value])


@pytest.mark.parametrize("word", WORDS)
def test_nan_none_and_text_never_pass(word: str) -> None:
    nan = torch.full((6, 2), torch.nan, dtype=F64)
    for value in (float("nan"), nan, nan[:, 0], nan[0, 0], None, "PASSED", (nan, nan), [nan, nan]):
        with pytest.raises(StudentFault):
            WORDS[word](value)
