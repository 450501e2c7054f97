"""Exact likelihoods: normalised and equal to the conditionals, whatever `log_prob` claims."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent
from torch.nn import functional

from autograder.checks import (
    TableConditional,
    assert_log_prob_matches_conditionals,
    assert_normalised,
    bits_per_dim,
    conditional_log_probs,
    enumerate_binary,
    log_likelihood_from_conditionals,
    sequential_log_likelihood,
    state_index,
    strong_table,
    table_law,
)
from tests.autograder.vocabulary.students import fails, generator, log_prob_of, made, pixelcnn, transformer

IMAGE = (1, 3, 3)
X = torch.randint(0, 2, (6, *IMAGE), generator=generator()).float()


def right_log_probs(net: Callable[[Tensor], Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """log_prob written five ways."""

    def by_distribution(x: Tensor) -> Tensor:
        return Independent(Bernoulli(logits=net(x)), 3).log_prob(x)

    def by_log_sigmoid(x: Tensor) -> Tensor:
        return functional.logsigmoid((2 * x - 1) * net(x)).sum((1, 2, 3))

    def by_softmax(x: Tensor) -> Tensor:
        two = torch.stack([torch.zeros_like(x), net(x)], -1).log_softmax(-1)
        return two.gather(-1, x.long().unsqueeze(-1)).flatten(1).sum(1)

    def in_double(x: Tensor) -> Tensor:
        return Independent(Bernoulli(logits=net(x).double()), 3).log_prob(x.double())

    return {
        "bce": log_prob_of(net),
        "distribution": by_distribution,
        "logsigmoid": by_log_sigmoid,
        "softmax": by_softmax,
        "double": in_double,
    }


@pytest.mark.parametrize("way", ["bce", "distribution", "logsigmoid", "softmax", "double"])
@pytest.mark.parametrize("seed", range(3))
def test_a_right_log_prob_is_normalised_and_matches_its_conditionals(way: str, seed: int) -> None:
    net = pixelcnn(seed=seed)
    log_prob = right_log_probs(net)[way]
    assert_normalised(log_prob, IMAGE)
    assert_log_prob_matches_conditionals(log_prob, net, X)


def broadcast_error(net: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """(B,) + (B, 1): a bias per sample in the wrong shape."""
    return lambda x: log_prob_of(net)(x) + torch.zeros(len(x), 1)


NET = pixelcnn()
LOG_PROB = log_prob_of(NET)
PER_PIXEL = lambda x: conditional_log_probs(NET(x), x)  # noqa: E731
WRONG: list[tuple[str, Callable[[Tensor], Tensor], str, str]] = [
    # name, log_prob, hint of assert_normalised, hint of assert_log_prob_matches_conditionals
    ("negative", lambda x: -LOG_PROB(x), "sign is flipped", "sign"),
    ("mean over pixels", lambda x: LOG_PROB(x) / 9, "averaged over the 9 pixels", "averaged over pixels"),
    ("negative mean", lambda x: -LOG_PROB(x) / 9, "negative, and averaged", "negative, and averaged"),
    ("bits", lambda x: LOG_PROB(x) / math.log(2), "in bits", "bits where nats"),
    ("per pixel", PER_PIXEL, "", "single pixels"),
    ("mean over batch", lambda x: LOG_PROB(x).mean(), "one number", "mean over the batch"),
    ("loss", lambda x: -LOG_PROB(x).mean(), "one number", "minus the mean over the batch"),
    ("sum over batch", lambda x: LOG_PROB(x).sum(), "one number", "sum over the batch"),
    ("mean over all", lambda x: PER_PIXEL(x).mean(), "one number", "images and pixels"),
    ("column", lambda x: LOG_PROB(x)[:, None], "squeeze", "squeeze"),
    ("broadcast", broadcast_error(NET), "broadcast", ""),
    ("extra constant", lambda x: LOG_PROB(x) + 0.5, "", "same amount"),
    ("exchanged", lambda x: LOG_PROB(1 - x), "skip", ""),
    ("constant", lambda x: torch.full((len(x),), -9 * math.log(2)), "skip", ""),
    ("not a number", lambda x: LOG_PROB(x) * math.nan, "", ""),
    ("infinite", lambda x: LOG_PROB(x) + math.inf, "", ""),
    ("certain of everything", lambda x: torch.zeros(len(x)), "", ""),
    ("two of them", lambda x: (LOG_PROB(x), LOG_PROB(x)), "", ""),
]


@pytest.mark.parametrize(("log_prob", "hint"), [w[1:3] for w in WRONG if w[2] != "skip"], ids=lambda v: None)
def test_planted_errors_break_normalisation(log_prob: Callable[[Tensor], Tensor], hint: str) -> None:
    fails(lambda: assert_normalised(log_prob, IMAGE), hint=hint)


@pytest.mark.parametrize(("log_prob", "hint"), [(w[1], w[3]) for w in WRONG], ids=[w[0] for w in WRONG])
def test_planted_errors_do_not_match_the_conditionals(log_prob: Callable[[Tensor], Tensor], hint: str) -> None:
    fails(lambda: assert_log_prob_matches_conditionals(log_prob, NET, X), hint=hint)


def test_zeros_and_ones_exchanged_are_recognised() -> None:
    wrong = lambda x: conditional_log_probs(NET(x), 1 - x).sum(1)  # noqa: E731
    fails(lambda: assert_log_prob_matches_conditionals(wrong, NET, X), hint="exchanged")


def test_a_normalised_model_may_have_lost_its_dependences_so_the_sum_alone_proves_little() -> None:
    blind = pixelcnn("no left", "no left")
    assert_normalised(log_prob_of(blind), IMAGE)


def test_a_model_that_leaks_is_not_normalised() -> None:
    leaky = pixelcnn("B")
    fails(lambda: assert_normalised(log_prob_of(leaky), IMAGE), says="should sum to 1")


def test_probability_zero_is_allowed_and_plus_infinity_is_not() -> None:
    half = lambda x: torch.where(x[:, 0] == 0, -math.log(2), -math.inf).float()  # noqa: E731
    assert_normalised(half, 2)
    fails(lambda: assert_normalised(lambda x: half(x).abs(), 2))


def test_float64_models_are_held_to_a_tighter_sum() -> None:
    net = pixelcnn().double()
    log_prob = log_prob_of(net)
    assert_normalised(log_prob, IMAGE, dtype=torch.float64)
    above = partial(assert_normalised, lambda x: log_prob(x) + 1e-5, IMAGE, dtype=torch.float64)
    fails(above, says="they sum to 1 + 1.0e-05")


def test_states_are_counted_in_binary_with_the_first_pixel_highest() -> None:
    states = enumerate_binary((1, 2, 2))
    assert states.shape == (16, 1, 2, 2)
    assert [tuple(s) for s in states.flatten(1).int().tolist()] == list(itertools.product((0, 1), repeat=4))
    assert torch.equal(state_index(states), torch.arange(16))
    assert torch.equal(enumerate_binary(3, torch.float64), table_law(strong_table(3))[0])
    with pytest.raises(ValueError, match="between 1 and 20"):
        enumerate_binary((1, 5, 5))


def test_bits_per_dim_of_a_fair_coin_is_one() -> None:
    assert bits_per_dim(16 * math.log(2), 16) == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_every_way_to_a_likelihood_equals_the_exact_law_of_a_table(n: int) -> None:
    table = strong_table(n, generator())
    states, law = table_law(table)
    model = TableConditional(table).double()
    shaped = states.reshape(-1, 1, 3, 3) if n == 9 else states
    for found in (
        log_likelihood_from_conditionals(model, shaped),
        sequential_log_likelihood(model, shaped, generator=generator()),
        assert_normalised(
            lambda x: log_likelihood_from_conditionals(model, x), tuple(shaped.shape[1:]), dtype=torch.float64
        ),
    ):
        assert torch.allclose(found, law, atol=1e-10)


def test_categorical_logits_give_the_same_likelihood_as_torch_distributions() -> None:
    net = transformer(9)
    oracle = Categorical(logits=net(X)).log_prob(X.flatten(1)).sum(1)
    for layout in (
        lambda out: out,
        lambda out: out.transpose(1, 2),
        lambda out: out.transpose(1, 2).reshape(6, 2, 3, 3),
    ):
        found = log_likelihood_from_conditionals(lambda x, layout=layout: layout(net(x)), X)
        assert torch.allclose(found, oracle.double(), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_withholding_the_future_changes_nothing_for_a_causal_model(seed: int) -> None:
    net = pixelcnn(seed=seed)
    assert torch.allclose(sequential_log_likelihood(net, X), log_likelihood_from_conditionals(net, X), atol=1e-5)
    order = [3, 0, 5, 1, 4, 2]
    inner, inverse = made(seed=seed), torch.tensor(order).argsort()
    shuffled = lambda x: inner(x[:, order])[:, inverse]  # noqa: E731
    x = torch.randint(0, 2, (7, 6), generator=generator(seed)).float()
    assert torch.allclose(
        sequential_log_likelihood(shuffled, x, order=order), log_likelihood_from_conditionals(shuffled, x), atol=1e-5
    )


class Fraud:
    """Remembers every image it has been shown and predicts what followed the same beginning."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        known = torch.cat(self.seen).flatten(1)
        flat = x.flatten(1)
        logits = torch.zeros_like(flat)
        for i in range(flat.shape[1]):
            for b, row in enumerate(flat):
                match = known[(known[:, :i] == row[:i]).all(1)]
                if len(match):
                    logits[b, i] = 20 * (match[:, i].mean() * 2 - 1)
        return logits.reshape(x.shape)


def test_a_model_that_looks_ahead_or_remembers_gains_nothing_when_the_future_is_withheld() -> None:
    x = torch.randint(0, 2, (40, 1, 3, 3), generator=generator(1)).float()
    entropy = 9 * math.log(2)  # fair coins: no honest predictor does better on average
    copies = lambda x: 40 * x - 20  # noqa: E731
    assert float(-log_likelihood_from_conditionals(copies, x).mean()) < 1e-6
    for leaky in (copies, Fraud()):
        assert float(-sequential_log_likelihood(leaky, x, generator=generator()).mean()) > entropy


def test_images_are_not_shown_before_their_probability_was_read() -> None:
    shown: list[Tensor] = []

    def recorder(x: Tensor) -> Tensor:
        shown.append(x.clone())
        return torch.zeros_like(x)

    x = torch.full((64, 1, 2, 2), 1.0)
    sequential_log_likelihood(recorder, x, generator=generator())
    for i, batch in enumerate(shown):
        assert torch.equal(batch.flatten(1)[:, :i], x.flatten(1)[:, :i])
        assert 0 < float(batch.flatten(1)[:, i:].mean()) < 1
    assert len(shown) == 4


def test_logits_that_are_not_finite_or_badly_laid_out_fail() -> None:
    fails(lambda: log_likelihood_from_conditionals(lambda x: x * math.nan, X), says="NaN")
    fails(lambda: sequential_log_likelihood(lambda x: x[:, :, :2], X), says="one output for every position")
    fails(lambda: log_likelihood_from_conditionals(lambda x: None, X), says="should be a tensor")
