"""Words for diffusion: right losses and samplers in several styles pass, each planted mistake fails."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, distributions

from autograder.checks import (
    GaussianNoise,
    Recorder,
    TimeAffine,
    assert_close,
    assert_consistent_noising,
    assert_covers_times,
    assert_guided,
    assert_moments,
    assert_posterior,
    assert_schedule,
    assert_score_of,
    assert_steps_follow,
    gaussian_recursion,
    noise_table,
    records,
)
from autograder.errors import StudentFault, Wrong
from tests.autograder.vocabulary.ddpm import (
    LOSS_MISTAKES,
    SAMPLER_MISTAKES,
    abar_of,
    loss,
    reverse_steps,
    sample,
)
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64
SHORT = torch.linspace(0.05, 0.4, 5, dtype=F64)
STEEP = torch.full((12,), 0.3, dtype=F64) + torch.linspace(0, 1e-3, 12, dtype=F64)
LONG = torch.linspace(0.002, 0.4, 50, dtype=F64)


def data(*shape: int) -> Tensor:
    """Rows and entries far from 0 and from each other."""
    return 3 + torch.randn(*shape, dtype=F64, generator=generator())


# the loss of a trial homework


def judge_loss(train: Callable[..., Any], shape: tuple[int, ...] = (2,), dtype: torch.dtype = F64) -> None:
    """What a homework asks of a training loss: the times, the noise, and the exact value at these."""
    x_0 = data(800, *shape).to(dtype)
    slope = torch.linspace(0.5, -1.0, 5, dtype=F64)
    inner = TimeAffine(slope, 2 * slope + 1)  # another answer at every time
    recorder = Recorder(inner)
    values = [train(recorder, x_0, SHORT) for _ in range(5)]
    seen = assert_consistent_noising(
        records(recorder),
        x_0,
        lambda t: abar_of(SHORT)[t].sqrt(),
        lambda t: (1 - abar_of(SHORT)[t]).sqrt(),
        steps=5,
    )
    assert_covers_times(records(recorder), steps=5)
    right = (inner(seen.x, seen.t) - seen.noise).square().flatten(1).mean(1).reshape(5, -1).mean(1).detach()
    for value, expected in zip(values, right, strict=True):
        assert_close(value, expected, "the loss", rtol=1e-9 if dtype == F64 else None)


@pytest.mark.parametrize("style", ["", "antithetic", "stratified"])
@pytest.mark.parametrize("shape", [(2,), (1, 2, 2)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_losses_pass_in_every_style_shape_and_dtype(
    style: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        judge_loss(lambda *args: loss(*args, style), shape, dtype)


@pytest.mark.parametrize("mistake", LOSS_MISTAKES)
@pytest.mark.parametrize("shape", [(2,), (1, 2, 2)])
def test_wrong_losses_fail(mistake: str, shape: tuple[int, ...]) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        with pytest.raises((StudentFault, ValueError)) as caught:
            judge_loss(lambda *args: loss(*args, mistake), shape)
        assert isinstance(caught.value, Wrong) or "the times 0 … 4" in str(caught.value)


def test_the_old_probes_let_a_wrong_time_pass_and_those_of_today_do_not() -> None:
    """A zero network, which ignores time, gives the same loss whatever it is told; the exact loss of one that answers
    by time does not."""
    x_0 = data(50, 2)
    for mistake in ("always t = 0", "t + 1"):
        torch.manual_seed(0)
        blind = loss(Recorder(), x_0, SHORT)
        torch.manual_seed(0)
        assert loss(Recorder(), x_0, SHORT, mistake) == blind
        with pytest.raises(Wrong):
            judge_loss(lambda *args, m=mistake: loss(*args, m))


def test_messages_of_the_loss_name_what_is_wrong() -> None:
    torch.manual_seed(0)

    def said(mistake: str) -> Wrong:
        return fails(lambda: judge_loss(lambda *args: loss(*args, mistake)))

    assert "is never index 4 in 4000 samples" in said("never the last").message
    assert said("one t a batch").message == "all 800 samples of a batch share one time, each should have its own"
    assert said("shared noise").hint == "all samples of a batch have the same noise"
    assert said("one noise a sample").hint == "all entries of a sample have the same noise"
    assert "noise in the points that the network is asked about" in said("no root of ᾱ").message


def test_a_network_that_is_not_asked_or_asked_otherwise_is_told_so() -> None:
    x_0 = data(8, 2)
    one = {"args": [x_0, torch.zeros(8).long()], "kwargs": {}}

    def noising(*recorded: Any, **kwargs: Any) -> object:
        return assert_consistent_noising(
            list(recorded), x_0, torch.ones_like, torch.ones_like, interval=(0, 1), **kwargs
        )

    fails(noising, says="never asked")
    fails(lambda: noising({"args": [x_0, torch.full((8,), 1.5)], "kwargs": {}}), says="lie in [0, 1], it goes from 1.5")
    with pytest.raises(ValueError, match="either `steps` or `interval`"):
        assert_consistent_noising([one], x_0, torch.ones_like, torch.ones_like)
    fails(lambda: noising({"args": [x_0], "kwargs": {}}), says="asked without the time in call 1 of 1")
    fails(lambda: noising({"args": [x_0[:4], torch.zeros(4)], "kwargs": {}}), says="the whole batch at once, (8, 2)")
    fails(lambda: noising({**one, "args": [x_0, torch.zeros(8, 1)]}), says="one time a sample, shape (8,), got (8, 1)")
    fails(lambda: noising({**one, "args": [x_0, torch.zeros(())]}), says="one time a sample")
    fails(lambda: noising({**one, "args": [x_0.float(), torch.zeros(8)]}), says="should have dtype float64")
    fails(lambda: noising({**one, "args": [x_0 * torch.nan, torch.zeros(8)]}), says="finite")
    by_name = {"args": [x_0 + 1], "kwargs": {"t": torch.ones(8)}}
    noising(by_name, given=torch.ones_like(x_0))
    noising(by_name, given=torch.ones_like(x_0), where="t")
    fails(lambda: noising(by_name, given=torch.ones_like(x_0) + 1e-3), says="given noise in 8 of 8 rows")
    fails(lambda: assert_covers_times([{**one, "args": [x_0, torch.zeros(8, 1)]}], steps=2), says="one a sample")


# times


@pytest.mark.parametrize("law", ["iid", "antithetic", "stratified"])
@pytest.mark.parametrize("kind", ["steps", "interval", "values"])
def test_right_times_pass_under_hundreds_of_seeds(law: str, kind: str) -> None:
    levels = torch.tensor([2.0, 1.0, 0.5, 0.25])
    for seed in range(300):
        g = generator(seed)
        u = torch.rand(2000, generator=g, dtype=F64)
        if law == "antithetic":
            u = torch.cat([u[:1000], 1 - u[:1000]])
        if law == "stratified":
            u = (u + torch.arange(2000)) / 2000
        if kind == "steps":
            assert_covers_times((u * 7).long(), steps=7)
        elif kind == "interval":
            assert_covers_times(2 + 3 * u, interval=(2.0, 5.0))
        else:
            assert_covers_times(levels[(u * 4).long()], values=levels)


def test_the_tail_of_halved_chi_square_stays_below_what_is_stated() -> None:
    """Antithetic pairs over T indices: ½χ² is exactly Pearson's statistic of the pairs' classes, T/2 − 1 degrees."""
    g = generator()
    most = 0.0
    for _ in range(5000):
        first = torch.randint(0, 6, (600,), generator=g)
        counts = torch.bincount(torch.cat([first, 5 - first]), minlength=6).double()
        most = max(most, float(((counts - 200) ** 2 / 200).sum() / 2))
    assert distributions.Chi2(2.0).cdf(torch.tensor(most)) < 1 - 1e-7
    assert most < 28  # χ²(2) passes 28 once in a million; the line is at χ²(5) = 38 and more


@pytest.mark.parametrize(
    ("times", "asked", "says"),
    [
        (torch.arange(2000) % 4, {"steps": 5}, "never index 4"),
        (torch.arange(2000) % 5 + 1, {"steps": 5}, "it goes from 1 to 5"),
        (torch.arange(2000) % 5 - 1, {"steps": 5}, "it goes from -1 to 3"),
        (torch.arange(2000) % 5 / 5, {"steps": 5}, "should have dtype int64, got float32"),
        ((torch.arange(2000) % 6).clamp(max=4), {"steps": 5}, "index 4 occurs"),
        (torch.rand(2000, generator=generator()).sqrt(), {"interval": (0.0, 1.0)}, "not uniform on [0, 1]"),
        (torch.rand(2000, generator=generator()) * 1.01, {"interval": (0.0, 1.0)}, "should lie in [0, 1]"),
        (torch.zeros(2000), {"interval": (0.0, 1.0)}, "share one time"),
        (torch.full((2000,), torch.nan), {"interval": (0.0, 1.0)}, "finite"),
        (torch.ones(2000) * 3, {"values": torch.tensor([1.0, 2.0])}, "share one time"),
        (torch.arange(2000) % 3 + 1.0, {"values": torch.tensor([1.0, 2.0])}, "none of the 2 levels for 666 of 2000"),
    ],
)
def test_wrong_times_fail(times: Tensor, asked: dict[str, Any], says: str) -> None:
    fails(lambda: assert_covers_times(times, **asked), says=says)


def test_one_law_of_times_is_said_and_enough_samples_are_seen() -> None:
    with pytest.raises(ValueError, match="say one of"):
        assert_covers_times(torch.arange(10))
    few = "the network saw 10 samples, 500 are needed to judge the time"
    fails(lambda: assert_covers_times(torch.arange(10) % 5, steps=5), says=few)
    fails(lambda: assert_covers_times(torch.zeros(0), interval=(0.0, 1.0)), says="shape (B,), got (0,)")
    fails(lambda: assert_covers_times(torch.zeros(()), interval=(0.0, 1.0)), says="shape (B,), got ()")


# the sampler of a trial homework


def judge_sampler(sampler: Callable[..., Any], shape: tuple[int, ...] = (3,), dtype: torch.dtype = F64) -> None:
    """What a homework asks of a sampler: every step's law, and the law at the end, on a steep schedule."""
    mean = (1.5 + torch.arange(torch.Size(shape).numel(), dtype=F64)).reshape(shape)
    std = 0.4 + 0.2 * mean / 3
    recorder = Recorder(GaussianNoise(mean, std, STEEP))
    start = torch.randn(4000, *shape, dtype=dtype)
    end = sampler(recorder, start, STEEP)
    steps = reverse_steps(*noise_table(mean, std, STEEP), STEEP)
    law = gaussian_recursion(*steps)
    assert_moments(end, *law)
    told = [record["args"][1] for record in records(recorder)]
    assert [int(t[0]) for t in told] == list(reversed(range(12)))
    assert_steps_follow([*(record["args"][0] for record in records(recorder)), end], *steps)


@pytest.mark.parametrize("style", ["", "by x_0", "noise first"])
@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_samplers_pass(style: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    judge_sampler(lambda *args: sample(*args, style), shape, dtype)


@pytest.mark.parametrize("mistake", SAMPLER_MISTAKES)
def test_wrong_samplers_fail(mistake: str) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        with pytest.raises((Wrong, AssertionError, ValueError)) as caught:
            judge_sampler(lambda *args: sample(*args, mistake))
        if isinstance(caught.value, ValueError):
            assert "the times 0 … 11" in str(caught.value)


@pytest.mark.parametrize("mistake", ["always t = 0", "t + 1", "reversed t"])
def test_a_sampler_that_tells_a_wrong_time_is_seen_by_its_law_alone(mistake: str) -> None:
    mean, std = torch.tensor([1.5, 2.5], dtype=F64), torch.tensor([0.6, 1.0], dtype=F64)
    law = gaussian_recursion(*reverse_steps(*noise_table(mean, std, STEEP), STEEP))
    torch.manual_seed(0)
    start = torch.randn(4000, 2, dtype=F64)
    assert_moments(sample(GaussianNoise(mean, std, STEEP), start, STEEP), *law)
    fails(lambda: assert_moments(sample(GaussianNoise(mean, std, STEEP), start, STEEP, mistake), *law), says="mean")


def test_steps_are_counted_and_a_known_last_step_is_asked_exactly() -> None:
    torch.manual_seed(0)
    start = torch.randn(500, 2, dtype=F64)
    steps: tuple[list[Any], list[Any], list[Any]] = ([0.5, 0.9], [1.0, 0.0], [0.3, 0.0])
    middle = 0.5 * start + 1 + 0.3 * torch.randn_like(start)
    assert_steps_follow([start, middle, 0.9 * middle], *steps)
    fails(lambda: assert_steps_follow([start, middle], *steps), says="1 times, expected 2: once a step")
    fails(
        lambda: assert_steps_follow([start, middle, 0.9 * middle + 1e-3], *steps),
        says="step 2 of 2 of the sampler should add no noise and land on a known point: off by 0.001 at entry",
    )
    fails(lambda: assert_steps_follow([start, middle, middle * torch.nan], *steps), says="off by inf")
    fails(lambda: assert_steps_follow([start, middle * torch.nan, middle], *steps), says="finite")
    fails(lambda: assert_steps_follow([start, middle[:4], middle], *steps), says="should have shape (500, 2)")
    with pytest.raises(ValueError, match="one entry a step"):
        assert_steps_follow([start, middle], [1.0], [1.0], [])
    with pytest.raises(ValueError, match="every entry of a sample or to none"):
        assert_steps_follow([start, middle], [1.0], [1.0], [torch.tensor([0.0, 1.0])])


# exact laws


def test_the_recursion_gives_the_laws_of_the_plan_and_of_simulated_chains() -> None:
    def ddpm(betas: Tensor) -> tuple[float, float]:
        m, v = gaussian_recursion(*reverse_steps(*noise_table(1.5, 0.6, betas), betas))
        return float(m), float(v) ** 0.5

    assert ddpm(LONG) == pytest.approx((1.5, 0.5393), abs=5e-5)  # homework 5's plan; 10⁶ chains: 0.53911
    assert ddpm(torch.full((12,), 0.3, dtype=F64)) == pytest.approx((1.4925, 0.3726), abs=5e-5)
    eta, s2 = 0.5, 0.64  # Langevin: x + η/2 · (2 − x)/σ² + √η ε
    a = 1 - eta / (2 * s2)
    m, v = gaussian_recursion([a] * 4, [2 * (1 - a)] * 4, [eta**0.5] * 4, variance=0.09)
    assert (float(m), float(v) ** 0.5) == pytest.approx((1.7242, 0.8843), abs=5e-5)
    torch.manual_seed(0)
    mean, std = torch.tensor([0.5, -1.0], dtype=F64), torch.tensor([0.6, 1.4], dtype=F64)
    m, v = gaussian_recursion(*reverse_steps(*noise_table(mean, std, STEEP), STEEP))
    chains = sample(GaussianNoise(mean, std, STEEP), torch.randn(200_000, 2, dtype=F64), STEEP)
    torch.testing.assert_close(chains.mean(0), m, atol=0.006, rtol=0)
    torch.testing.assert_close(chains.var(0), v, rtol=0.012, atol=0)


def test_the_recursion_of_matrices_is_that_of_their_entries_when_diagonal_and_of_stacked_noise() -> None:
    A = torch.randn(3, 2, 2, dtype=F64, generator=generator())
    b, s = torch.randn(3, 2, dtype=F64, generator=generator(1)), [0.3, torch.tensor([0.2, 0.5]), 0.0]
    m, v = gaussian_recursion(A, b, s, variance=torch.eye(2, dtype=F64))
    whole = [A[2] @ A[1] @ A[0], A[2] @ A[1] * 0.3, A[2] @ torch.diag(torch.tensor([0.2, 0.5], dtype=F64))]
    torch.testing.assert_close(v, sum(W @ W.T for W in whole))
    torch.testing.assert_close(m, A[2] @ (A[1] @ b[0] + b[1]) + b[2])
    numbers = gaussian_recursion([0.5, 2.0], [1.0, 0.0], [0.1, 0.2], mean=torch.zeros(2), variance=torch.ones(2))
    matrices = gaussian_recursion([0.5, 2.0], [1.0, 0.0], [0.1, 0.2], mean=torch.zeros(2), variance=torch.eye(2))
    torch.testing.assert_close(matrices[0], numbers[0])
    torch.testing.assert_close(matrices[1], torch.diag(numbers[1]))
    with pytest.raises(ValueError, match="one entry a step"):
        gaussian_recursion([1.0], [1.0, 2.0], [1.0])


# schedules


def wide(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.dim() - 1)).to(x.dtype)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_tables_and_functions_of_time_pass(dtype: torch.dtype) -> None:
    padded = torch.cat([abar_of(LONG), torch.ones(1).double()])  # the last entry is that of index −1
    logs = torch.cat([torch.zeros(1).double(), torch.log1p(-LONG).cumsum(0)])
    for f in (lambda t: padded[t], lambda t: logs[t + 1].exp()):
        assert_schedule(
            lambda t, f=f: wide(f(t), torch.ones(len(t), 1, 2, 2, dtype=dtype)), LONG, clean=-1, dtype=dtype
        )
        assert_schedule(lambda t, f=f: wide(f(t), torch.ones(len(t), dtype=dtype)), LONG, dtype=dtype)
    assert_schedule(abar_of(LONG).to(dtype), LONG, dtype=dtype)


def test_the_exact_products_are_those_of_fractions() -> None:
    product = Fraction(1)
    for beta in LONG.tolist():
        product *= 1 - Fraction(beta)
    off = abar_of(LONG).clone()
    off[-1] = float(product) * (1 + 1e-8)
    assert_schedule(abar_of(LONG), LONG)
    fails(lambda: assert_schedule(off, LONG), says="ᾱ at 50 indices is off by", hint=None)


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        (1 - LONG, "the product is missing"),
        (torch.cat([torch.ones(1).double(), abar_of(LONG)[:-1]]), "shifted by one"),
        (abar_of(LONG).sqrt(), "square root"),
        (1 - abar_of(LONG), "1 − ᾱ"),
        (LONG.cumprod(0), "product of the β"),
        (abar_of(LONG) * 1.01, None),
        (abar_of(LONG).float(), None),
        (abar_of(LONG) * torch.nan, None),
        (abar_of(LONG)[:-1], None),
    ],
)
def test_wrong_tables_fail(table: Tensor, hint: str | None) -> None:
    fails(lambda: assert_schedule(table, LONG), hint=hint)


def test_clean_data_have_kept_everything_and_shapes_are_looked_at() -> None:
    table = abar_of(LONG)
    fails(lambda: assert_schedule(lambda t: table[t], LONG, clean=-1), says="index -1, is 7.745e-06, expected 1")
    fails(lambda: assert_schedule(lambda t: table[t].sum(), LONG), says="one number for each of 50 times, got shape ()")
    fails(lambda: assert_schedule(lambda t: table[t].expand(50, 50), LONG), says="got shape (50, 50)")
    with pytest.raises(ValueError, match="differs from the others"):
        assert_schedule(table, torch.full((12,), 0.3))
    with pytest.raises(ValueError, match=r"lies in \(0, 1\)"):
        assert_schedule(table, torch.tensor([0.1, 1.0]))


# posteriors


def bayes(x_0: Tensor, x_t: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Another way than the assertion's: precisions of q(x_s | x_0) and of x_t given x_s, added."""
    a = t / s
    precision = 1 / (1 - s) + a / (1 - a)
    return (s.sqrt() / (1 - s) * x_0 + a.sqrt() / (1 - a) * x_t) / precision, 1 / precision


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_posteriors_pass_and_wrong_ones_fail(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x_0, x_t = (torch.randn(4, *shape, dtype=F64, generator=generator(seed)) for seed in (0, 1))
    s, t = torch.tensor([0.9, 0.5, 0.3, 0.8], dtype=F64), torch.tensor([0.72, 0.1, 0.25, 0.02], dtype=F64)
    mean, variance = (q.to(dtype) for q in bayes(x_0, x_t, wide(s, x_0), wide(t, x_0)))
    assert_posterior((mean, variance), x_0, x_t, s, t)
    assert_posterior([mean, variance.flatten()], x_0, x_t, s, t)
    a = wide(t / s, x_0)
    beta = (mean, (1 - a).to(dtype))
    fails(lambda: assert_posterior(beta, x_0, x_t, s, t), says="variance", hint="one step forward")
    fails(lambda: assert_posterior((mean, variance.sqrt()), x_0, x_t, s, t), hint="standard deviation")
    first, second = (
        wide(s, x_0).sqrt() * (1 - a) / (1 - wide(t, x_0)),
        a.sqrt() * (1 - wide(s, x_0)) / (1 - wide(t, x_0)),
    )
    exchanged = (second * x_0 + first * x_t).to(dtype)
    fails(lambda: assert_posterior((exchanged, variance), x_0, x_t, s, t, asked="at drawn times"), hint="exchanged")
    fails(lambda: assert_posterior((mean, variance * torch.nan), x_0, x_t, s, t), says="finite")
    fails(lambda: assert_posterior((mean * torch.nan, variance), x_0, x_t, s, t), says="NaN")
    fails(lambda: assert_posterior(mean, x_0, x_t, s, t), says="as a tuple: mean and variance")
    fails(lambda: assert_posterior((mean, variance.expand_as(mean)), x_0, x_t, s, t), says="one number a sample")


def test_one_variance_for_times_that_differ_is_refused() -> None:
    x_0, x_t = (torch.randn(4, 3, dtype=F64, generator=generator(seed)) for seed in (0, 1))
    s, t = torch.tensor([0.9, 0.5, 0.3, 0.8], dtype=F64), torch.tensor([0.72, 0.1, 0.25, 0.02], dtype=F64)
    mean = bayes(x_0, x_t, s[:, None], t[:, None])[0]
    fails(lambda: assert_posterior((mean, 0.1), x_0, x_t, s, t), says="one number a sample, got shape ()")
    mean = bayes(x_0, x_t, s[0], t[0])[0]
    fails(
        lambda: assert_posterior((mean, s[:2]), x_0, x_t, 0.9, 0.72), says="one number, or one a sample, got shape (2,)"
    )


def test_a_posterior_before_the_first_step_is_the_data_themselves() -> None:
    x_0, x_t = torch.ones(2, 3, dtype=F64), torch.full((2, 3), 2.0, dtype=F64)
    assert_posterior((x_0, 0.0), x_0, x_t, 1.0, 0.5)
    fails(lambda: assert_posterior((x_0, 0.1), x_0, x_t, 1.0, 0.5), says="the variance of the posterior is off by 0.1")
    # by hand in the plan of homework 5
    one = torch.ones(1, 1, dtype=F64)
    assert_posterior((1.3165 * one, 0.0714), one, 2 * one, 0.9, 0.72, tolerance=1e-3)
    with pytest.raises(ValueError, match="0 < ᾱ_t < ᾱ_s ≤ 1"):
        assert_posterior((one, 0.0), one, one, 0.5, 0.9)


# scores


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
def test_right_scores_pass_and_wrong_ones_fail(shape: tuple[int, ...]) -> None:
    n = torch.Size(shape).numel()
    x = torch.cat([torch.randn(64, *shape, dtype=F64, generator=generator()), torch.full((1, *shape), 1e3, dtype=F64)])
    root = torch.randn(n, n, dtype=F64, generator=generator(1))
    cov = root @ root.T + torch.eye(n, dtype=F64)
    law = distributions.MultivariateNormal(torch.ones(n, dtype=F64), cov)

    def score(x: Tensor) -> Tensor:
        return torch.linalg.solve(cov, (1 - x.double().flatten(1)).T).T.reshape(x.shape).to(x.dtype)

    def log_prob(x: Tensor) -> Tensor:
        return law.log_prob(x.flatten(1))

    assert_score_of(score, log_prob, x)
    assert_score_of(score, log_prob, x.float())
    fails(lambda: assert_score_of(lambda x: -score(x), log_prob, x), hint="sign is flipped")
    fails(lambda: assert_score_of(lambda x: (1 - x) / cov.diag().reshape(shape), log_prob, x, asked="of N(1, C)"))
    fails(lambda: assert_score_of(lambda x: score(x).float(), log_prob, x), says="dtype float64")
    fails(lambda: assert_score_of(lambda x: score(x)[0], log_prob, x), says="should have shape")
    near = x.flatten(1).norm(dim=1).reshape(-1, *[1] * len(shape)) < 100
    broken = {"far from the mass": lambda x: torch.where(near, score(x), torch.nan)}
    fails(lambda: assert_score_of(broken["far from the mass"], log_prob, x), says="NaN")
    with pytest.raises(ValueError, match="no finite gradient"):
        assert_score_of(score, lambda x: (x * torch.inf).flatten(1).sum(1), x)


# guidance


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_guidance_passes_in_its_own_convention_only(dtype: torch.dtype) -> None:
    c, u = (torch.randn(5, 1, 2, 2, dtype=dtype, generator=generator(seed)) for seed in (0, 1))
    ways = {
        "conditional at 1": lambda w: u + w * (c - u),
        "conditional at 0": lambda w: (1 + w) * c - w * u,
    }
    for convention, other in itertools.permutations(ways):
        assert_guided(ways[convention], c, u, convention=convention)  # type: ignore[arg-type]
        fails(
            lambda convention=convention, other=other: assert_guided(ways[other], c, u, convention=convention),
            hint="the other convention",
        )
    fails(
        lambda: assert_guided(lambda w: c + w * (u - c), c, u, convention="conditional at 1"),
        says="the guided answer at weight 0 is off by",
        hint="exchanged",
    )
    fails(lambda: assert_guided(lambda w: u + w**2 * (c - u), c, u, convention="conditional at 1"), hint=None)
    fails(lambda: assert_guided(lambda w: u * torch.nan, c, u, convention="conditional at 1"), says="finite")
    fails(lambda: assert_guided(lambda w: u[:1], c, u, convention="conditional at 1"), says="should have shape")
    with pytest.raises(ValueError, match="differ in every sample"):
        assert_guided(lambda w: u, u, u, convention="conditional at 1")
