"""What a trivial model reaches, measured by the code that measures the others: python -m reference_models baselines.

A number of a generative model means little beside nothing. For each data set, the best of a stated sweep:

    binary pictures   mixtures of K products of Bernoulli laws, K = 1, 2, 4 … 128, by EM: nll_nats, excess_nats, and
                      law_excess_nats of its samples; of labelled ones also class_accuracy by such mixtures, one a class
    waves             n-grams of orders 0 to 3, a pseudo-count of 1/16 a symbol: nll_nats, excess_nats
    vectors           mixtures of K Gaussians, K = 1, 2, 4 … 128, by EM: nll_nats, excess_nats, within_4_sigma; where
                      the law is a mixture, what their score is off by: score_error, excess_loss, excess_velocity
    digits in grey    a histogram a pixel: bits_per_dim; a Gaussian a class, and the training set recited:
                      frechet_digits, coverage_digits, copying

The training set recited is tried wherever samples are measured. Numbers carry the standard error of their mean over
held-out data or samples, as `…_error`, or the ends of their 95 % interval, as `…_low` and `…_high`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet, load
from reference_models.evaluation.held_out import copying_found, digits_found, law_found, modes_found
from reference_models.flow_matching.exact import ExactVelocity
from reference_models.flow_matching.paths import Linear
from reference_models.latent.gaussian_mixture import fit_by_em, spread_start
from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.require import at_least
from reference_models.results import BASELINES, HERE, baselines

BERNOULLI_SWEEP = (1, 2, 4, 8, 16, 32, 64, 128)
GAUSSIAN_SWEEP = (1, 2, 4, 8, 16, 32, 64, 128)
CLASS_SWEEP = (1, 4, 16, 32)
ORDERS = (0, 1, 2, 3)
SAMPLES = 1000  # as many as most recipes measure
EM_STEPS = 200


@dataclass(frozen=True)
class Baseline:
    """A trivial model of a data set, and what it reached there, by the names recipes use."""

    data: str
    model: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class BernoulliMixture:
    """K products of Bernoulli laws: weights (K,) and means (K, D), both logs."""

    log_weights: Tensor
    log_on: Tensor
    log_off: Tensor

    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """n vectors of zeros and ones, (n, D)."""
        component = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        return torch.bernoulli(self.log_on.exp()[component], generator=generator)

    def joint(self, x: Tensor) -> Tensor:
        """log π_k + log p(x | k): (N, D) to (N, K), nats."""
        return self.log_weights + x @ self.log_on.T + (1 - x) @ self.log_off.T

    def log_prob(self, x: Tensor) -> Tensor:
        """(N, D) to (N,), nats."""
        return torch.logsumexp(self.joint(x), dim=1)

    @classmethod
    def of(cls, x: Tensor, responsibilities: Tensor) -> BernoulliMixture:
        """The M-step, with half an observation of each value added, so that nothing is impossible."""
        mass = responsibilities.sum(0)  # (K,)
        on = (responsibilities.T @ x + 0.5) / (mass[:, None] + 1)  # (K, D)
        return cls((mass / mass.sum()).log(), on.log(), (1 - on).log())


def fit_bernoulli(x: Tensor, components: int, *, steps: int = EM_STEPS, generator: Generator) -> BernoulliMixture:
    """A mixture fitted to binary x (N, D) by EM, from soft random memberships."""
    at_least("components", components, 1)
    noise = torch.rand(len(x), components, generator=generator, dtype=x.dtype)
    mixture = BernoulliMixture.of(x, torch.softmax(4 * noise, dim=1))
    for _ in range(steps):
        mixture = BernoulliMixture.of(x, torch.softmax(mixture.joint(x), dim=1))
    return mixture


def n_gram_log_prob(train: Tensor, x: Tensor, order: int, symbols: int) -> Tensor:
    """log P of sequences x (M, L) under counts in train (N, L) of symbols after `order` others: (M,), nats.

    The first symbols have contexts of their own, filled up by a mark. A symbol is added 1/`symbols` of a count.
    """

    def contexts(sequences: Tensor) -> Tensor:
        mark = torch.full((len(sequences), order), symbols)
        padded = torch.cat([mark, sequences], dim=1)
        code = torch.zeros_like(sequences)
        for k in range(order):
            code = code * (symbols + 1) + padded[:, k : k + sequences.shape[1]]
        return code

    counts = torch.zeros((symbols + 1) ** order, symbols, dtype=torch.float64)
    ones = torch.ones(train.numel(), dtype=torch.float64)
    counts.index_put_((contexts(train).flatten(), train.flatten()), ones, accumulate=True)
    law = (counts + 1 / symbols) / (counts.sum(1, keepdim=True) + 1)
    return law[contexts(x), x].log().sum(1)


def histogram_bits(train: Tensor, x: Tensor, levels: int) -> Tensor:
    """Bits a dimension of images x (M, *event), pixels k/(levels − 1), under a histogram a pixel of train: (M,)."""
    k, seen = ((images.flatten(1) * (levels - 1)).round().long() for images in (x, train))
    counts = torch.zeros(k.shape[1], levels, dtype=torch.float64)
    counts.scatter_add_(1, seen.T, torch.ones_like(seen.T, dtype=torch.float64))
    law = (counts + 1 / levels) / (len(seen) + 1)
    return -law.gather(1, k.T).log().mean(0) / math.log(2)


def class_gaussians(data: DataSet, n: int, generator: Generator) -> Tensor:
    """n pictures, (n, *event_shape) in [0, 1]: of each class as many, from a Gaussian with its mean and covariance."""
    assert data.train_labels is not None
    classes = data.train_labels.unique().tolist()
    drawn = []
    for i, c in enumerate(classes):
        x = data.train[data.train_labels == c].flatten(1).double()
        centred = x - x.mean(0)
        noise = torch.randn(n // len(classes) + (i < n % len(classes)), len(x), generator=generator, dtype=x.dtype)
        drawn.append(x.mean(0) + noise @ centred / math.sqrt(len(x)))  # its covariance, without a factorisation
    return torch.cat(drawn).clamp(0, 1).to(data.train).reshape(-1, *data.event_shape)


# --- the sweeps


def baselines_of(name: str) -> list[Baseline]:
    """The trivial models of a data set, the best of each sweep; in double precision, on the CPU, from seed 0."""
    data, generator = load(name, dtype=torch.float64), torch.Generator().manual_seed(0)
    return [Baseline(name, model, metrics) for model, metrics in SWEEPS[name](data, generator)]


Found = Iterator[tuple[str, dict[str, float]]]


def _likelihood(data: DataSet, log_prob: Tensor, law: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
    """nll_nats and excess_nats of the held-out examples; law: makes the excess's error that of a difference."""
    found = {"nll_nats": -float(log_prob.mean()), "nll_nats_error": float(log_prob.std()) / math.sqrt(len(log_prob))}
    if data.entropy is not None:
        found |= {"excess_nats": found["nll_nats"] - data.entropy, "excess_nats_error": found["nll_nats_error"]}
        if law is not None:
            apart = law(data.held_out) - log_prob
            found["excess_nats_error"] = float(apart.std()) / math.sqrt(len(apart))
    return found


def _best(tried: list[tuple[str, dict[str, float]]]) -> Found:
    yield min(tried, key=lambda one: one[1]["nll_nats"])


def _binary(data: DataSet, generator: Generator) -> Found:
    x, held_out = data.train.flatten(1), data.held_out.flatten(1)
    tried = []
    for K in BERNOULLI_SWEEP:
        mixture = fit_bernoulli(x, K, generator=generator)
        found = _likelihood(data, mixture.log_prob(held_out), data.law)
        drawn = mixture.sample(SAMPLES, generator=generator).reshape(-1, *data.event_shape)
        tried.append((f"{K} Bernoulli products", found | _under_the_law(drawn, data)))
    yield from _best(tried)
    if data.train_labels is not None and data.held_out_labels is not None and data.law is None:
        yield max((_by_class(data, K, generator) for K in CLASS_SWEEP), key=lambda one: one[1]["class_accuracy"])
    yield "recited", _under_the_law(_recited(data, generator), data)


def _by_class(data: DataSet, K: int, generator: Generator) -> tuple[str, dict[str, float]]:
    """A mixture of K products a class, and the class by Bayes' rule with a uniform prior."""
    assert data.train_labels is not None
    assert data.held_out_labels is not None
    x, held_out = data.train.flatten(1), data.held_out.flatten(1)
    classes = range(int(data.train_labels.max()) + 1)
    fitted = [fit_bernoulli(x[data.train_labels == c], K, steps=50, generator=generator) for c in classes]
    log_prob = torch.stack([mixture.log_prob(held_out) for mixture in fitted], 1)  # (M, classes)
    right = float((log_prob.argmax(1) == data.held_out_labels).double().mean())
    own = log_prob.gather(1, data.held_out_labels[:, None])[:, 0]
    error = math.sqrt(right * (1 - right) / len(held_out))
    found = {"class_accuracy": right, "class_accuracy_error": error, **_likelihood(data, own)}
    return f"{K} Bernoulli products a class", found


def _recited(data: DataSet, generator: Generator) -> Tensor:
    return data.train[torch.randint(len(data.train), (SAMPLES,), generator=generator)]


def _under_the_law(samples: Tensor, data: DataSet) -> dict[str, float]:
    """What samples cost under the law of the data, where that is known, and whether they are copies."""
    found = law_found(samples, data) | copying_found(samples, data)
    if data.law is not None:
        found["law_excess_nats_error"] = float(data.law(samples).std()) / math.sqrt(len(samples))
    return found


def _symbols(data: DataSet, generator: Generator) -> Found:
    tried = []
    for order in ORDERS:
        log_prob = n_gram_log_prob(data.train, data.held_out, order, data.grades)
        tried.append((f"{order + 1}-gram", _likelihood(data, log_prob)))
    return _best(tried)


def _plane(data: DataSet, generator: Generator) -> Found:
    tried = []
    for K in GAUSSIAN_SWEEP:
        mixture = fit_by_em(data.train, spread_start(data.train, K, generator=generator)).mixture
        found = _likelihood(data, mixture.log_prob(data.held_out))
        drawn = mixture.sample(SAMPLES, generator=generator)
        found |= modes_found(mixture.sample(4000, generator=generator), data) | copying_found(drawn, data)
        tried.append((f"{K} Gaussians", found | _off_the_score(mixture, data, generator)))
    yield from _best(tried)
    recited = _recited(data, generator)
    yield "recited", modes_found(recited, data) | copying_found(recited, data)


def _off_the_score(mixture: GaussianMixture, data: DataSet, generator: Generator) -> dict[str, float]:
    """By how much a mixture's score and velocity miss those of the target, by the metrics of the networks' recipes."""
    target, x = data.target, data.held_out
    if target is None:
        return {}

    def miss(a: float, sigma: float) -> tuple[float, float]:
        """E|s − s*|², and E|s*|², a dimension, at x_t = a x + σ ε."""
        x_t = a * x[:500] + sigma * torch.randn(x[:500].shape, generator=generator, dtype=x.dtype)
        best = target.noised(a, sigma).score(x_t)
        gap = mixture.noised(a, sigma).score(x_t) - best
        return float(gap.square().mean()), float(best.square().mean())

    errors = [gap / size for gap, size in (miss(1.0, 1e-6), miss(1.0, 0.2))]
    schedule = [(math.cos(t), math.sin(t)) for t in torch.linspace(0.03, 1.54, 25).tolist()]
    loss = sum(sigma**2 * miss(a, sigma)[0] for a, sigma in schedule) / len(schedule)
    return {"score_error": min(errors), "excess_loss": loss, "excess_velocity": _off_the_velocity(mixture, data)}


def _off_the_velocity(mixture: GaussianMixture, data: DataSet) -> float:
    """The squared distance of the straight path's velocity to the target's, over t and dimensions."""
    assert data.target is not None
    ours, exact = ExactVelocity(mixture, Linear()), ExactVelocity(data.target, Linear())
    x_1 = data.held_out[:500]
    x_0 = torch.randn(x_1.shape, generator=torch.Generator().manual_seed(1), dtype=x_1.dtype)
    total = 0.0
    for k in range(25):
        t = torch.tensor((k + 0.5) / 25, dtype=x_1.dtype)
        x_t = t * x_1 + (1 - t) * x_0
        total += float((ours(x_t, t) - exact(x_t, t)).square().mean()) / 25
    return total


def _images(data: DataSet, generator: Generator) -> Found:
    bits = histogram_bits(data.train, data.held_out, levels=data.grades)
    error = float(bits.std()) / math.sqrt(len(bits))
    yield "a histogram a pixel", {"bits_per_dim": float(bits.mean()), "bits_per_dim_error": error}
    drawn, single = class_gaussians(data, SAMPLES, generator), load(data.name)
    for model, x in (("a Gaussian a class", drawn), ("recited", _recited(data, generator))):
        yield model, digits_found(x.float(), single, generator)


SWEEPS: dict[str, Callable[[DataSet, Generator], Found]] = {
    **dict.fromkeys(("bars", "crossed-bars", "glass", "digits-binary", "drawn-binary"), _binary),
    **dict.fromkeys(("digits", "drawn-16", "drawn"), _images),
    "waves": _symbols,
    **dict.fromkeys(("mixture", "eight-gaussians", "corners", "moons", "checkerboard"), _plane),
}


def every_baseline(names: Sequence[str], jobs: int) -> Iterator[list[Baseline]]:
    """The trivial models of these data sets in this order, `jobs` sets at a time."""
    if jobs == 1:
        yield from map(baselines_of, names)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(baselines_of, names)


def _one_thread() -> None:
    torch.set_num_threads(1)


# --- on disk


def keep(found: list[Baseline], records: Path | None = None) -> None:
    """Puts the numbers in place of those recorded for the same data. records: another folder for baselines.json."""
    others = [row for row in baselines(records) if row["data"] not in {one.data for one in found}]
    rows = sorted([*others, *map(asdict, found)], key=lambda row: list(SWEEPS).index(row["data"]))
    folder = records or HERE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BASELINES).write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
