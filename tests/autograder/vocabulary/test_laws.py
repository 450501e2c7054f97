"""Samplers against exact laws: how often right ones fail, and which wrong ones are caught."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from autograder.checks import (
    TableConditional,
    assert_frequencies,
    assert_moments,
    assert_samples_follow,
    assert_samples_follow_conditionals,
    draw_twice,
    enumerate_binary,
    strong_table,
    table_law,
)
from autograder.vocabulary.laws import POOLED, TAIL, _freedman, _pools, chi_square
from tests.autograder.vocabulary.students import fails, generator, pixelcnn, sample_from

TABLE = strong_table(4, generator())
MODEL = TableConditional(TABLE.float()).requires_grad_(False)
LAW = table_law(TABLE)[1].exp()
RASTER, COLUMNS = [0, 1, 2, 3], [0, 2, 1, 3]


def draw(n: int = 4000, seed: int = 0, order: list[int] = RASTER, model: Callable[[Tensor], Tensor] = MODEL) -> Tensor:
    return sample_from(model, n, (1, 2, 2), order, generator(seed))


# how often a right answer fails


def test_the_tail_of_two_pools_is_within_the_stated_factor_by_exact_binomial_sums() -> None:
    level = 1e-6 / TAIL
    n = 100_000
    worst = 0.0
    for expected in np.concatenate([np.linspace(POOLED, 2 * POOLED, 60), [200.0, 1000.0, n / 2]]):
        k = np.arange(n + 1)
        statistic = (k - expected) ** 2 / expected + (k - expected) ** 2 / (n - expected)
        worst = max(worst, stats.binom.pmf(k, n, expected / n)[statistic > stats.chi2.isf(level, 1)].sum())
    assert worst <= 1e-6


@pytest.mark.parametrize("law", [np.ones(16), [0.9, *[0.1 / 15] * 15], 0.6 ** np.arange(64), LAW.numpy()])
def test_p_values_of_right_samples_are_conservative_after_the_safety_factor(law: np.ndarray) -> None:
    p = np.asarray(law) / np.sum(law)
    rng = np.random.default_rng(0)
    counts = torch.as_tensor(rng.multinomial(8000, p, size=3000)).double()
    p_values = np.array([chi_square(c, torch.as_tensor(p))[2] for c in counts])
    assert stats.kstest(p_values, "uniform").pvalue > 1e-4
    for level in (1e-1, 1e-2, 1e-3):
        assert np.mean(p_values < level / TAIL) <= level + 4 * math.sqrt(level / 3000)


@pytest.mark.parametrize("seed", range(25))
def test_right_samples_pass_all_tests(seed: int) -> None:
    samples = draw(seed=seed)
    assert_samples_follow(samples, LAW)
    assert_samples_follow_conditionals(samples, MODEL)
    assert_frequencies(samples, (LAW[:, None] * enumerate_binary(4)).sum(0).reshape(1, 2, 2))


@pytest.mark.parametrize("seed", range(5))
def test_three_by_three_models_with_hundreds_of_rare_states_pass(seed: int) -> None:
    table = strong_table(9, generator(seed))
    model = TableConditional(table.float()).requires_grad_(False)
    samples = sample_from(model, 4000, (1, 3, 3), list(range(9)), generator(seed))
    assert_samples_follow(samples, table_law(table)[1].exp())


def test_the_martingale_bound_is_never_reached_by_three_thousand_right_runs() -> None:
    n, sums = 200, []
    rng = np.random.default_rng(1)
    for _ in range(3000):
        p = rng.beta(0.5, 0.5, size=n)
        h = np.tanh(np.log(p / (1 - p)) / 2)
        variance = float((h**2 * p * (1 - p)).sum())
        sums.append(abs(float((h * ((rng.random(n) < p) - p)).sum())) / _freedman(variance, 1e-2))
    assert max(sums) < 1
    assert max(sums) > 0.3  # and it is not so wide that nothing could reach it


def test_exact_tails_of_moments_fail_right_normal_samples_as_often_as_stated() -> None:
    rng, failures = np.random.default_rng(2), 0
    for _ in range(3000):
        x = torch.as_tensor(2.0 + 0.5 * rng.standard_normal((30, 2)))
        try:
            assert_moments(x, 2.0, 0.25, false_failure=0.02)
        except AssertionError:
            raise
        except Exception:
            failures += 1
    assert 0.01 * 3000 < failures < 0.03 * 3000  # Bonferroni over two coordinates loses a little


def test_exact_binomial_tails_fail_right_samples_at_most_as_often_as_stated() -> None:
    rng, failures = np.random.default_rng(3), 0
    p = torch.tensor([0.001, 0.05, 0.5])
    for _ in range(3000):
        x = torch.as_tensor(rng.random((100, 3)) < p.numpy()).float()
        try:
            assert_frequencies(x, p, false_failure=0.05)
        except Exception:
            failures += 1
    assert failures < 0.05 * 3000


# which wrong answers are caught

UNSURE = TableConditional(TABLE.float() / 1.15).requires_grad_(False)
WRONG_SAMPLERS: dict[str, Callable[[int], Tensor]] = {
    "column by column": lambda seed: draw(seed=seed, order=COLUMNS),
    "backwards": lambda seed: draw(seed=seed, order=RASTER[::-1]),
    "temperature 1.15": lambda seed: draw(seed=seed, model=UNSURE),
    "threshold at one half": lambda seed: (MODEL(draw(seed=seed)) > 0).float(),
    "all at once from zeros": lambda seed: torch.bernoulli(MODEL(torch.zeros(4000, 1, 2, 2)).sigmoid()),
    "fair coins": lambda seed: torch.randint(0, 2, (4000, 1, 2, 2), generator=generator(seed)).float(),
    "zeros and ones exchanged": lambda seed: 1 - draw(seed=seed),
    "always the same": lambda seed: draw(1, seed).expand(4000, 1, 2, 2),
    "a store of 200": lambda seed: draw(200, seed).repeat(20, 1, 1, 1),
    "transposed": lambda seed: draw(seed=seed).transpose(2, 3),
    "flipped": lambda seed: draw(seed=seed).flip(3),
}


@pytest.mark.parametrize("name", WRONG_SAMPLERS)
@pytest.mark.parametrize("seed", range(5))
def test_wrong_samplers_do_not_follow_the_law(name: str, seed: int) -> None:
    fails(lambda: assert_samples_follow(WRONG_SAMPLERS[name](seed), LAW), says="do not follow the model's own law: χ²(")


@pytest.mark.parametrize("name", [n for n in WRONG_SAMPLERS if n not in ("a store of 200", "always the same")])
@pytest.mark.parametrize("seed", range(5))
def test_wrong_samplers_do_not_follow_the_conditionals(name: str, seed: int) -> None:
    says = "not drawn from the model's own conditionals"
    fails(lambda: assert_samples_follow_conditionals(WRONG_SAMPLERS[name](seed), MODEL), says=says)


def test_the_message_tells_the_distance_and_a_proven_cause() -> None:
    columns = table_of_order(COLUMNS)
    alternatives = {"pixels are filled column by column": columns, "fair coins": torch.full((16,), 1 / 16)}
    says = "total variation distance 0."
    fails(lambda: assert_samples_follow(draw(order=COLUMNS), LAW, alternatives=alternatives), says=says, hint="column")
    other = WRONG_SAMPLERS["zeros and ones exchanged"](0)
    fails(lambda: assert_samples_follow(other, LAW, alternatives=alternatives), hint=None)
    same = WRONG_SAMPLERS["always the same"](0)
    fails(lambda: assert_samples_follow(same, LAW), hint="all 4000 samples are the same")


def table_of_order(order: list[int]) -> Tensor:
    """Exact law of filling pixels in another order, starting from zeros, state by state."""
    states = enumerate_binary((1, 2, 2))
    law = torch.ones(16, dtype=torch.float64)
    for k, state in enumerate(states):
        x = torch.zeros(1, 1, 2, 2)
        for i in order:
            p = float(MODEL(x).flatten()[i].sigmoid())
            bit = float(state.flatten()[i])
            law[k] *= p if bit else 1 - p
            x.view(-1)[i] = bit
    return law


def test_an_impossible_state_is_never_forgiven() -> None:
    law = torch.tensor([0.5, 0.5, 0.0, 0.0])
    codes = torch.tensor([0, 1] * 500)
    assert_samples_follow(codes, law)
    codes[7] = 3
    fails(lambda: assert_samples_follow(codes, law), says="1 of 1000 have probability zero")


@pytest.mark.parametrize(
    "samples",
    [
        torch.full((1000, 1, 2, 2), 0.5),
        torch.full((1000, 1, 2, 2), math.nan),
        -torch.ones(1000, 1, 2, 2),
        torch.zeros(1000, 1, 3, 3) + 1,
        None,
    ],
)
def test_samples_that_are_no_binary_images_of_the_size_fail(samples: Tensor | None) -> None:
    fails(lambda: assert_samples_follow(samples, LAW))  # type: ignore[arg-type]


def test_pools_are_large_enough_and_keep_frequent_states_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        size = int(rng.integers(2, 600))
        expected = torch.as_tensor(
            np.sort(rng.dirichlet(np.full(size, rng.choice([0.05, 0.5, 5])))) * rng.integers(200, 20000)
        )
        pool = _pools(expected)
        assert torch.equal(pool, pool.sort().values)
        assert torch.equal(pool.unique(), torch.arange(int(pool[-1]) + 1))
        sums = torch.zeros(int(pool[-1]) + 1).double().index_add(0, pool, expected)
        assert len(sums) == 1 or float(sums.min()) >= POOLED
        assert len(sums) >= int((expected >= POOLED).sum())


def test_too_few_samples_prove_nothing_and_do_not_pass() -> None:
    fails(lambda: assert_samples_follow(draw(60), LAW), says="too few")


def test_an_author_s_mistakes_are_value_errors() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        assert_samples_follow(draw(1000), 2 * LAW)
    with pytest.raises(ValueError, match="known down to"):
        assert_samples_follow(draw(1000), LAW, false_failure=1e-9)


# repeating samplers


def test_two_fresh_calls_are_joined() -> None:
    g = generator()
    samples = draw_twice(lambda n: sample_from(MODEL, n, (1, 2, 2), RASTER, g), 500, (1, 2, 2))
    assert samples.shape == (1000, 1, 2, 2)
    assert_samples_follow(samples, LAW)


@pytest.mark.parametrize(
    ("sampler", "says"),
    [
        (lambda n: draw(n, seed=0), "returned the same 500 samples"),
        (lambda n: torch.zeros(n, 1, 2, 2), "returned the same 500 samples"),
        (lambda n: torch.rand(n // 2, 1, 2, 2).round().repeat(2, 1, 1, 1), "second half"),
        (lambda n: torch.rand(1, 1, 2, 2).expand(n, 1, 2, 2), "second half"),
        (lambda n: torch.rand(n - 1, 1, 2, 2), "shape (500, 1, 2, 2), got (499, 1, 2, 2)"),
        (lambda n: torch.rand(n, 1, 2, 2) / 0, "finite"),
        (lambda n: None, "should be a tensor"),
    ],
)
def test_a_sampler_that_repeats_or_miscounts_fails(sampler: Callable[[int], Tensor], says: str) -> None:
    fails(lambda: draw_twice(sampler, 500, (1, 2, 2)), says=says)


# larger images, and completion

BIG = pixelcnn(seed=2, std=0.7)  # strong conditionals, or a wrong order would hardly show
PIXELS = list(range(36))


def complete(known: Tensor, mask: Tensor, seed: int, order: list[int] = PIXELS) -> Tensor:
    x = known.clone() * mask
    g = generator(seed)
    for i in order:
        p = BIG(x).flatten(1)[:, i].sigmoid()
        new = (torch.rand(len(x), generator=g) < p).float()
        flat, given = x.view(len(x), -1), mask.view(len(x), -1)
        flat[:, i] = torch.where(given[:, i] > 0, flat[:, i], new)
    return x


@pytest.mark.parametrize("seed", range(8))
def test_samples_and_completions_of_a_larger_model_follow_its_conditionals(seed: int) -> None:
    samples = sample_from(BIG, 400, (1, 6, 6), PIXELS, generator(seed))
    assert_samples_follow_conditionals(samples, BIG)
    mask = (torch.rand(samples.shape, generator=generator(seed + 100)) < 0.4).float()
    completed = complete(samples, mask, seed)
    # Known pixels were given, however they came about; here they are adversarial: all ones.
    ones = complete(torch.ones_like(samples), mask, seed)
    assert_samples_follow_conditionals(completed, BIG, where=mask == 0)
    assert_samples_follow_conditionals(ones, BIG, where=mask == 0)
    fails(lambda: assert_samples_follow_conditionals(ones, BIG))


@pytest.mark.parametrize("seed", range(4))
def test_a_larger_model_sampled_in_a_wrong_order_is_caught(seed: int) -> None:
    for order in (PIXELS[::-1], torch.arange(36).reshape(6, 6).t().flatten().tolist()):
        samples = sample_from(BIG, 2000, (1, 6, 6), order, generator(seed))
        fails(lambda samples=samples: assert_samples_follow_conditionals(samples, BIG))


def test_a_bias_shows_where_logits_are_all_zero() -> None:
    coins = torch.rand(4000, 1, 2, 2, generator=generator())
    fair = lambda x: torch.zeros_like(x)  # noqa: E731
    assert_samples_follow_conditionals((coins < 0.5).float(), fair)
    fails(lambda: assert_samples_follow_conditionals((coins < 0.55).float(), fair), says="how often a pixel is 1")


def test_a_context_that_is_ignored_shows_though_every_pixel_has_the_right_frequency() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.stack([torch.zeros(len(x)), 3 + 2 * (2 * x[:, 0] - 1)], 1)

    frequency = float(torch.tensor([1.0, 5.0]).sigmoid().mean())
    for seed in range(5):
        u = torch.rand(800, 2, generator=generator(seed))
        first = (u[:, 0] < 0.5).float()
        right = torch.stack([first, (u[:, 1] < model(first[:, None])[:, 1].sigmoid()).float()], 1)
        blind = torch.stack([first, (u[:, 1] < frequency).float()], 1)
        assert_samples_follow_conditionals(right, model)
        fails(lambda blind=blind: assert_samples_follow_conditionals(blind, model), says="how each pixel's")


def test_a_model_that_is_certain_is_followed_exactly_or_not_at_all() -> None:
    certain = lambda x: torch.full_like(x, 60.0)  # noqa: E731
    assert_samples_follow_conditionals(torch.ones(100, 1, 2, 2), certain)
    fails(lambda: assert_samples_follow_conditionals(torch.zeros(100, 1, 2, 2), certain))


# moments and frequencies


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (lambda g: torch.randn(2000, 3, generator=g) + 0.2, "wrong mean"),
        (lambda g: 1.2 * torch.randn(2000, 3, generator=g), "variance that is too large"),
        (lambda g: 0.8 * torch.randn(2000, 3, generator=g), "variance that is too small"),
        (lambda g: torch.zeros(2000, 3), "variance that is too small"),
        (lambda g: torch.randn(2000, 3, generator=g) * torch.tensor([1, 1, math.nan]), "finite"),
        (lambda g: torch.randn(1, 3, generator=g).expand(2000, 3), "wrong mean"),
    ],
)
def test_wrong_moments_are_caught(samples: Callable[[torch.Generator], Tensor], says: str) -> None:
    for seed in range(5):
        assert_moments(torch.randn(2000, 3, generator=generator(seed)), 0.0, 1.0)
        fails(lambda seed=seed: assert_moments(samples(generator(seed)), 0.0, 1.0), says=says)


def test_the_published_pair_of_ddpm_deviations_is_told_apart() -> None:
    # PROPERTIES R3: the exact law of correct sampling is 0.5657; the mutant 0.6065 is nearer to the data's 0.6.
    right, mutant = (1.5 + s * torch.randn(4000, generator=generator()) for s in (0.5657, 0.6065))
    assert_moments(right, 1.5, 0.5657**2)
    fails(lambda: assert_moments(mutant, 1.5, 0.5657**2), says="too large")


def test_wrong_frequencies_are_caught_at_the_right_pixel() -> None:
    p = torch.tensor([[0.1, 0.5], [0.9, 0.3]])
    right = (torch.rand(3000, 2, 2, generator=generator()) < p).float()
    assert_frequencies(right, p)
    swapped = p.clone()
    swapped[0, 1] = 0.62
    fails(
        lambda: assert_frequencies((torch.rand(3000, 2, 2, generator=generator()) < swapped).float(), p), says="(0, 1)"
    )
    fails(lambda: assert_frequencies(right.transpose(1, 2), p), says="2 of 4 pixels")
    fails(lambda: assert_frequencies(1 - right, p))
