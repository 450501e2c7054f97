r"""Inception score: samples that a classifier is sure of, spread over all its classes.

    IS = exp( E_x KL(p(y | x) ‖ p(y)) ),   p(y) = E_x p(y | x),

the exponential of the mutual information between sample and predicted class: 1 when all predictions agree, K when each
of K classes is predicted with certainty and equally often. It never looks at data: one perfect image a class scores K.

NOTE: the paper splits the samples into ten parts and averages their scores; `splits` does, and is 1 unless said
otherwise. p(y) estimated from N samples has too little entropy, which biases the score *downwards*, by a factor of
e^{−(K − 1)/2N} for certain predictions and less for others: the interval is the basic one.

Improved Techniques for Training GANs (Salimans et al., 2016), sec. 4, https://arxiv.org/abs/1606.03498
A Note on the Inception Score (Barratt and Sharma, 2018), https://arxiv.org/abs/1801.01973
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from reference_models.evaluation.bootstrap import Interval, bootstrap
from reference_models.evaluation.sets import require_features

__all__ = ["inception_score", "inception_score_interval"]


def _mutual_information(log_p: Tensor, counts: Tensor) -> Tensor:
    """E_x KL(p(y|x) ‖ p(y)) in nats from log p(y|x), shape (N, K), row i standing counts[i] times."""
    weights = counts / counts.sum()
    log_marginal = torch.logsumexp(log_p + weights.log()[:, None], dim=0)  # (K,)
    divergence = torch.where(log_p.exp() > 0, log_p.exp() * (log_p - log_marginal), 0.0).sum(dim=1)  # (N,)
    return weights @ divergence


def inception_score(logits: Tensor, *, splits: int = 1) -> Tensor:
    """The score, a scalar in [1, K], of samples with logits (N, K) from a classifier, e.g. those of `digit_logits`.

    splits: the samples are cut into this many parts, in order, and the parts' scores averaged.
    Raises ValueError for logits of another shape or not finite, or for more splits than samples.
    """
    require_features("logits", logits, minimum=1)
    if not 1 <= splits <= len(logits):
        raise ValueError(f"splits must lie between 1 and the number of samples, {len(logits)}, got {splits}")
    log_p = logits.log_softmax(dim=1)
    parts = log_p.tensor_split(splits)
    return torch.stack([_mutual_information(part, part.new_ones(len(part))).exp() for part in parts]).mean()


def inception_score_interval(
    logits: Tensor, *, resamples: int = 1000, level: float = 0.95, generator: Generator | None = None
) -> Interval:
    """The score of all samples together, splits = 1, with its basic bootstrap interval, its ends cut to [1, K]."""
    require_features("logits", logits)
    log_p = logits.log_softmax(dim=1)
    interval = bootstrap(
        lambda counts: _mutual_information(log_p, counts).exp(),
        (len(log_p),),
        like=log_p,
        resamples=resamples,
        level=level,
        kind="basic",
        generator=generator,
    )
    low, high = (min(max(end, 1.0), float(log_p.shape[1])) for end in (interval.low, interval.high))
    return Interval(interval.value, low, high, level, interval.bias)
