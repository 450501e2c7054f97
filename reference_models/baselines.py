"""What a trivial model reaches, measured by the code that measures the others: python -m reference_models baselines.

A number of a generative model means little beside nothing. For each data set, the best of a stated sweep:

    bars, digits-binary    mixtures of K products of Bernoulli laws, K = 1, 2, 4 … 128, by EM: nll_nats, excess_nats
    waves                  n-grams of orders 0 to 3, a pseudo-count of 1/16 a symbol: nll_nats, excess_nats
    planar data            mixtures of K Gaussians, K = 1, 2, 4 … 32, by EM: nll_nats, excess_nats, within_4_sigma
    digits                 a histogram a pixel: bits_per_dim; a Gaussian a class, and the training set recited:
                           frechet_digits, coverage_digits, copies (the part of samples that are training examples)

Likelihoods carry the standard error of their mean over held-out data, as `…_error`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Generator, Tensor

from reference_models.data import LEVELS, DataSet, load
from reference_models.evaluation.held_out import digits_found, modes_found
from reference_models.evaluation.memorisation import nearest_distance
from reference_models.latent.gaussian_mixture import fit_by_em, spread_start
from reference_models.parts.validate import at_least
from reference_models.results import BASELINES, baselines

BERNOULLI_SWEEP = (1, 2, 4, 8, 16, 32, 64, 128)
GAUSSIAN_SWEEP = (1, 2, 4, 8, 16, 32)
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


def _likelihood(data: DataSet, log_prob: Tensor) -> dict[str, float]:
    found = {"nll_nats": -float(log_prob.mean()), "nll_nats_error": float(log_prob.std()) / math.sqrt(len(log_prob))}
    if data.entropy is not None:
        found |= {"excess_nats": found["nll_nats"] - data.entropy, "excess_nats_error": found["nll_nats_error"]}
    return found


def _best(tried: list[tuple[str, dict[str, float]]]) -> Found:
    yield min(tried, key=lambda one: one[1]["nll_nats"])


def _binary(data: DataSet, generator: Generator) -> Found:
    x, held_out = data.train.flatten(1), data.held_out.flatten(1)
    tried = []
    for K in BERNOULLI_SWEEP:
        log_prob = fit_bernoulli(x, K, generator=generator).log_prob(held_out)
        tried.append((f"{K} Bernoulli products", _likelihood(data, log_prob)))
    return _best(tried)


def _symbols(data: DataSet, generator: Generator) -> Found:
    tried = []
    for order in ORDERS:
        log_prob = n_gram_log_prob(data.train, data.held_out, order, LEVELS)
        tried.append((f"{order + 1}-gram", _likelihood(data, log_prob)))
    return _best(tried)


def _plane(data: DataSet, generator: Generator) -> Found:
    tried = []
    for K in GAUSSIAN_SWEEP:
        mixture = fit_by_em(data.train, spread_start(data.train, K, generator=generator)).mixture
        found = _likelihood(data, mixture.log_prob(data.held_out))
        tried.append((f"{K} Gaussians", found | modes_found(mixture.sample(4000, generator=generator), data)))
    return _best(tried)


def _images(data: DataSet, generator: Generator) -> Found:
    bits = histogram_bits(data.train, data.held_out, levels=17)
    error = float(bits.std()) / math.sqrt(len(bits))
    yield "a histogram a pixel", {"bits_per_dim": float(bits.mean()), "bits_per_dim_error": error}
    recited = data.train[torch.randint(len(data.train), (SAMPLES,), generator=generator)]
    for model, x in (("a Gaussian a class", class_gaussians(data, SAMPLES, generator)), ("recited", recited)):
        found = digits_found(x.float(), load("digits"), generator)
        copies = nearest_distance(x.flatten(1), data.train.flatten(1)) == 0
        yield model, found | {"copies": float(copies.double().mean())}


SWEEPS: dict[str, Callable[[DataSet, Generator], Found]] = {
    "bars": _binary,
    "digits-binary": _binary,
    "digits": _images,
    "waves": _symbols,
    **dict.fromkeys(("mixture", "eight-gaussians", "moons", "checkerboard"), _plane),
}


# --- on disk


def keep(found: list[Baseline]) -> None:
    """Puts the numbers in place of those recorded for the same data."""
    others = [row for row in baselines() if row["data"] not in {one.data for one in found}]
    BASELINES.write_text(json.dumps([*others, *map(asdict, found)], indent=2, ensure_ascii=False) + "\n")
