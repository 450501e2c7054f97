"""Whatever comes back, the other words end in a verdict too, and every word stands in one of the tables."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder import checks
from autograder.checks import (
    Linear,
    Quadratic,
    Scale,
    SolverGradients,
    StudentFault,
    assert_adjoint_matches,
    assert_affine_in,
    assert_answers_from_weights,
    assert_bijection,
    assert_bound,
    assert_coupling_flow,
    assert_density,
    assert_em_step,
    assert_every_coordinate_moves,
    assert_fresh,
    assert_gaussian_kl,
    assert_increasing,
    assert_integrates_to_one,
    assert_inverse,
    assert_learned_in_weights,
    assert_learns,
    assert_leaves_no_gradient,
    assert_log_det,
    assert_mean,
    assert_minimised_at,
    assert_mode_restored,
    assert_no_graph,
    assert_passes,
    assert_reparametrised,
    assert_score,
    assert_step_changes_only,
    assert_straight_through,
    assert_teaches_only,
    assert_trace_estimator,
    assert_tuple,
    assert_weights_matter,
    change_of_variables,
    conditional_log_probs,
    dependence_matrix,
    vae_figures,
)
from tests.autograder.vocabulary import test_hostile_values, test_hostile_words
from tests.autograder.vocabulary.students import generator
from tests.autograder.vocabulary.test_hostile_values import ON_FUNCTIONS, ON_VALUES, VALUES, X
from tests.autograder.vocabulary.test_hostile_words import WORDS

F64 = torch.float64
X16 = torch.ones(16, 2)
A, B = (torch.randn(6, 2, dtype=F64, generator=generator(seed)) for seed in (0, 1))
MEAN, LOG_STD = (torch.randn(1200, 2, dtype=F64, generator=generator(seed)) for seed in (2, 3))
MASK = torch.tensor([1.0, 0.0])
MIXTURE = (torch.tensor([0.3, 0.7], dtype=F64), B[:2], torch.eye(2, dtype=F64).expand(2, 2, 2))
GRADIENTS = SolverGradients(A, A, {"weight": torch.ones(2, dtype=F64), "bias": torch.zeros((), dtype=F64)})


def later(value: Any) -> Callable[..., Any]:
    """A function that answers as asked once, and otherwise from then on."""
    calls: list[None] = []

    def answer(x: Any, *_: Any) -> Any:
        calls.append(None)
        return x if len(calls) == 1 else value

    return answer


def graphs(value: Any) -> Callable[..., Any]:
    """A function whose result hangs on its argument, where that can be."""
    fits = isinstance(value, Tensor) and value.is_floating_point()
    return lambda x, *_: value + 0 * x.sum() if fits and isinstance(x, Tensor) else value


def stepped(value: Any) -> None:
    """A module whose parameter became something else."""
    network = Linear(torch.ones(2, dtype=F64))

    def step() -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            network.weight = nn.Parameter(value.clone())
        return value

    assert_step_changes_only(step, changes={"the network": network})


class Layered(nn.Module):
    """A flow of one layer, which answers as told."""

    def __init__(self, answer: Callable[..., Any], inverse: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.layers, self.inverse = [lambda x: (answer(x), None)], inverse

    def forward(self, x: Tensor) -> Any:
        return self.layers[0](x)


REST: dict[str, Callable[[Any], Any]] = {
    "mode": lambda v: assert_mode_restored(nn.Linear(1, 1), lambda: v),
    "tuple": lambda v: assert_tuple(v, 2),
    "affine": lambda v: assert_affine_in(lambda t: v, A, B),
    "affine later": lambda v: assert_affine_in(later(v), A, B),
    "minimum": lambda v: assert_minimised_at(lambda x: v, A),
    "minimum later": lambda v: assert_minimised_at(later(v), torch.tensor(0.0, dtype=F64)),
    "integral": lambda v: assert_integrates_to_one(lambda x: v, [(0.0, 1.0)], points=6),
    "mean": lambda v: assert_mean(v, 0.0, bound=1.0),
    "mean between": lambda v: assert_mean(v, torch.zeros(2), bound=(-1.0, 1.0), sides="above"),
    "adjoint": lambda v: assert_adjoint_matches(lambda *_: v, None, A, of=Linear(A[0]), expected=GRADIENTS),
    "adjoint with a graph": lambda v: assert_adjoint_matches(
        lambda _, x: graphs(v)(x), None, A, of=Linear(A[0]), expected=GRADIENTS
    ),
    "trace": lambda v: assert_trace_estimator(lambda *_: v, A, torch.eye(2, dtype=F64).expand(6, 2, 2)),
    "trace of noise": lambda v: assert_trace_estimator(
        lambda *_: v, A, torch.eye(2, dtype=F64).expand(6, 2, 2), noise=B
    ),
    "traces": lambda v: assert_trace_estimator(lambda *_: v, A, torch.eye(2, dtype=F64).expand(6, 2, 2), draws=10),
    "coordinates": lambda v: assert_every_coordinate_moves(graphs(v), A),
    "part of coordinates": lambda v: assert_every_coordinate_moves(lambda x: (graphs(v)(x), v), A),
    "inverse": lambda v: assert_inverse(lambda *_: v, lambda x: x, A, B),
    "inverse later": lambda v: assert_inverse(lambda x: (x, None), lambda z: (v, v), A, B),
    "log-determinant": lambda v: assert_log_det(graphs(v), A),
    "log-determinant of a map": lambda v: assert_log_det(lambda x: (2 * x, v), A),
    "log-determinant undone": lambda v: assert_log_det(lambda x: (v, v), A, undone_by=Scale(2.0, 0.0)),
    "passes": lambda v: assert_passes(lambda *_: v, A, MASK),
    "part of what passes": lambda v: assert_passes(lambda *_: (v, v), A, MASK, others_move=False),
    "couplings": lambda v: assert_coupling_flow(Layered(graphs(v)), A),
    "bijection": lambda v: assert_bijection(Layered(graphs(v), inverse=lambda z: (v, v)), A, B),
    "bijection one way": lambda v: assert_bijection(Layered(lambda x: x, inverse=lambda z: (v, v)), A, B),
    "change of variables": lambda v: change_of_variables(graphs(v), A),
    "change of variables later": lambda v: change_of_variables(lambda x: (graphs(v)(x), v), A),
    "lower bound": lambda v: assert_bound(v, A[:, 0], deviation=1.0, gap=B[:, 0].abs()),
    "tight bound": lambda v: assert_bound(v, A[:, 0], deviation=0.0, gap=torch.zeros(6, dtype=F64)),
    "density": lambda v: assert_density(lambda x: v, A, expected=A[:, 0]),
    "density of entries": lambda v: assert_density(lambda x: v, A, expected=A, negative=True),
    "divergence": lambda v: assert_gaussian_kl(lambda *_: v, A, B),
    "divergence summed": lambda v: assert_gaussian_kl(lambda *_: v, A, B, B, A, summed=True),
    "encoder of a VAE": lambda v: vae_figures(lambda x: v, lambda z: z, X16, B, generator=generator(), codes=200),
    "parts of its codes": lambda v: vae_figures(
        lambda x: (v, v), lambda z: z, X16, B, generator=generator(), codes=200
    ),
    "decoder of a VAE": lambda v: vae_figures(lambda x: (x, x), lambda z: v, X16, B, generator=generator(), codes=200),
    "increasing": assert_increasing,
    "increasing so many": lambda v: assert_increasing(v, length=6, gains=1.0),
    "step of EM": lambda v: assert_em_step(lambda *_: v, A, *MIXTURE),
    "means of EM": lambda v: assert_em_step(lambda *_: (MIXTURE[0], v, MIXTURE[2]), A, *MIXTURE),
    "covariances of EM": lambda v: assert_em_step(lambda *_: [v, v, v], A, *MIXTURE),
    "draw": lambda v: assert_reparametrised(lambda *_: v, MEAN, LOG_STD),
    "draw with a graph": lambda v: assert_reparametrised(lambda m, s: graphs(v)(m + s), MEAN, LOG_STD),
    "straight through": lambda v: assert_straight_through(graphs(v), A, value=A.round()),
    "share": lambda v: assert_score(v, 0.0, 1.0, "the score"),
    "no gradient": lambda v: assert_leaves_no_gradient(graphs(v), A, of=Linear(A[0])),
    "no graph": lambda v: assert_no_graph(lambda *_: v, A),
    "no graph of a module": lambda v: assert_no_graph(graphs(v), A, of=Quadratic(torch.eye(2, dtype=F64), A[0])),
    "step": stepped,
    "logits": lambda v: conditional_log_probs(v, X),
    "dependence": lambda v: dependence_matrix(lambda x: v, X.shape),
    "answers from weights": lambda v: assert_answers_from_weights(Linear(A[0]), Linear(B[0]), lambda _: v),
    "answers later": lambda v: assert_answers_from_weights(Linear(A[0]), Linear(B[0]), later(v)),
    "error of a fresh network": lambda v: assert_fresh(v, 0.5),
    "errors": lambda v: assert_learns(lambda: v, lambda: None, share=2.0),
    "a bystander": lambda v: assert_teaches_only(lambda: None, Linear(A[0]), lambda _: v),
    "learned in weights": lambda v: assert_learned_in_weights(Linear(A[0]), Linear(A[0]), lambda _: v, 0.5),
    "weights that matter": lambda v: assert_weights_matter(Linear(A[0]), lambda _: v),
}
MAY_PASS = {  # what does not look at the answer's numbers at all
    *("mode", "tuple", "no gradient", "no graph", "no graph of a module", "step", "dependence"),
    *("adjoint with a graph", "logits"),
}


@pytest.mark.parametrize("word", REST)
@pytest.mark.parametrize("value", VALUES)
def test_any_value_ends_in_a_verdict(word: str, value: str) -> None:
    with contextlib.suppress(StudentFault):
        REST[word](VALUES[value])


@pytest.mark.parametrize("word", [word for word in REST if word not in MAY_PASS])
def test_nan_none_and_text_never_pass(word: str) -> None:
    nan = torch.full((6, 2), torch.nan, dtype=F64)
    for value in (float("nan"), nan, nan[:, 0], nan[0, 0], None, "PASSED", (nan, nan), [nan, nan]):
        with pytest.raises(StudentFault):
            REST[word](value)


def names_in(code: types.CodeType, home: types.ModuleType, seen: set[str]) -> Iterator[str]:
    """Global names that a function uses, itself and through the functions of its module."""
    for name in code.co_names:
        if name in seen:
            continue
        seen.add(name)
        yield name
        helper = getattr(home, name, None)
        if isinstance(helper, types.FunctionType) and helper.__module__ == home.__name__:
            yield from names_in(helper.__code__, home, seen)
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from names_in(part, home, seen)


def words_of(table: dict[str, Callable[..., Any]], home: types.ModuleType) -> set[str]:
    """The words that the entries of a table ask."""
    words = {entry.__name__ for entry in table.values()}
    for entry in table.values():
        words.update(names_in(entry.__code__, home, set()) if isinstance(entry, types.FunctionType) else ())
    return words


def test_every_assertion_of_the_kit_stands_in_a_table() -> None:
    here = types.ModuleType(__name__)
    here.__dict__.update(globals())
    asked = words_of(ON_VALUES | ON_FUNCTIONS, test_hostile_values) | words_of(WORDS, test_hostile_words)
    asked |= words_of(REST, here)
    assert {word for word in checks.__all__ if word.startswith("assert_")} - asked == set()


def test_no_two_entries_have_one_name() -> None:
    tables = (ON_VALUES, ON_FUNCTIONS, WORDS, REST)
    assert len({name for table in tables for name in table}) == sum(map(len, tables))


def test_a_word_in_no_table_is_seen() -> None:
    only = {"mean": WORDS["number"]}
    assert "assert_number" in words_of(only, test_hostile_words)
    assert "assert_mean" not in words_of(only, test_hostile_words)
