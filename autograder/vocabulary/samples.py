"""Diversity and memorisation of samples, each calibrated by held-out data.

What is normal depends on the data: of small binary images many held-out ones occur in the training set exactly. So
every threshold here compares the samples with held-out data measured the same way, never with a constant.
"""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch import Tensor

from autograder.errors import Wrong
from autograder.vocabulary.chance import FALSE_FAILURE
from autograder.vocabulary.tensors import as_double, assert_rows, distinct

COMPARED = 10_000  # samples that are held against every training example
QUANTILES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)  # of the held-out data's distances to the training set


def assert_diverse(
    samples: Tensor,
    held_out: Tensor,
    *,
    at_least: float = 0.8,
    false_failure: float = FALSE_FAILURE,
    what: str = "the samples",
) -> None:
    """Samples differ from each other about as much as real data do.

    Two measures: the mean squared distance of pairs (collapse to one mode), by a normal bound; the number of different
    ones among as many (a small store of images), by McDiarmid's inequality, as one sample changes it by at most 1.

    Args:
        samples: (N, *shape), N ≥ 2; a few hundred, or chance excuses much.
        held_out: real data (M, *shape), not used in training; as many of both are compared as there are of each.
        at_least: share of the data's value that is asked for.
        false_failure: largest probability of failing a sampler that truly has this share.
    """
    b = as_double(held_out).flatten(1)
    a = assert_rows(samples, held_out.shape[1:], what).flatten(1)[: len(b)]
    b = b[: len(a)]
    chance = math.sqrt(len(a) * math.log(4 / false_failure) / 2)
    z = float(stats.norm.isf(false_failure / 4))
    ours, our_error = _spread(a)
    real, real_error = _spread(b)
    measures = {
        "mean squared distance between two of them": (ours, real, z * our_error, z * real_error),
        f"number of different ones among {len(a)}": (float(distinct(a)), float(distinct(b)), chance, chance),
    }
    for name, (value, wanted, above, below) in measures.items():
        if not value + above >= at_least * (wanted - below):
            raise Wrong(
                f"{what} are not diverse enough: {name} is {value:.4g}, {value / wanted:.0%} of real data's; "
                f"{at_least:.0%} is asked for",
                hint=f"all {len(a)} samples are the same" if bool((a == a[0]).all()) else None,
            )


def assert_not_memorised(
    samples: Tensor,
    train: Tensor,
    held_out: Tensor,
    *,
    copies: float = 0.3,
    false_failure: float = FALSE_FAILURE,
    what: str = "the samples",
) -> None:
    """Samples are no closer to the training set than fresh data are, up to a share of `copies`.

    At a radius within which a share h of fresh data have a training example, a model of which a share c of samples are
    copies has a share c + (1 − c) h. Radii are 0 and the held-out data's quantiles up to one half, so that copies with
    noise show as well as exact ones. Fails when c > `copies` is certain at some radius: exact binomial bounds on both
    shares, Bonferroni over radii.

    Args:
        samples: (N, *shape).
        train: the training set the model was given, (T, *shape).
        held_out: fresh data of the same law, (M, *shape).
        copies: accepted share of copies; room for an honest model whose samples are more typical than data.
        false_failure: largest probability of failing samples with the law of the data.
    """
    rows = assert_rows(samples, train.shape[1:], what, most=COMPARED)
    ours, real = nearest_distance(rows, train), nearest_distance(held_out, train)
    quantiles = torch.tensor(QUANTILES, dtype=torch.float64)
    radii = [0.0, *torch.unique(torch.quantile(real, quantiles, interpolation="lower")).tolist()]
    level = false_failure / (2 * len(radii))
    for radius in radii:
        near, base = int((ours <= radius).sum()), int((real <= radius).sum())
        low = float(stats.beta.ppf(level, near, len(ours) - near + 1)) if near else 0.0
        high = float(stats.beta.isf(level, base + 1, len(real) - base)) if base < len(real) else 1.0
        if low > high + copies * (1 - high):
            raise Wrong(
                f"{what} are copies of training data: {near} of {len(ours)} lie within {math.sqrt(radius):.3g} of a "
                f"training example, against {base} of {len(real)} fresh data"
            )


def nearest_distance(x: Tensor, data: Tensor) -> Tensor:
    """Squared Euclidean distance of each row to the nearest row of `data`, (N,), exact for binary images."""
    a, b = as_double(x).flatten(1), as_double(data).flatten(1)
    norm = b.pow(2).sum(1)
    parts = [chunk.pow(2).sum(1) + (norm - 2 * chunk @ b.t()).amin(1) for chunk in torch.split(a, 1024)]
    return torch.cat(parts).clamp_min(0.0)


def assert_modes_covered(
    samples: Tensor,
    modes: Tensor,
    *,
    radius: float,
    share: float,
    near: float,
    what: str = "the samples",
) -> None:
    """Most samples lie near some mode, and every mode has its share of them.

    Args:
        samples: (N, *shape).
        modes: centres, (K, *shape).
        radius: a sample nearer than this to its nearest centre belongs to it.
        share: smallest accepted share of all samples for each mode.
        near: smallest accepted share of samples that belong to any mode.
    """
    a, centres = assert_rows(samples, modes.shape[1:], what).flatten(1), as_double(modes).flatten(1)
    distance, owner = torch.cdist(a, centres).min(1)
    belongs = distance < radius
    found = float(belongs.double().mean())
    if not found >= near:
        raise Wrong(f"{what} miss the modes: {found:.1%} lie near one, at least {near:.1%} is asked for")
    shares = torch.bincount(owner[belongs], minlength=len(centres)) / len(a)
    if not bool((shares >= share).all()):
        poor = int((shares < share).sum())
        raise Wrong(
            f"{what} do not cover the modes: {poor} of {len(centres)} hold fewer than {share:.1%} of the samples, "
            f"the least {float(shares.min()):.1%}"
        )


def _spread(x: Tensor) -> tuple[float, float]:
    """Mean squared distance of two different rows, and its standard error."""
    twice = 2 * (x - x.mean(0)).pow(2).sum(1)
    return float(twice.sum() / (len(x) - 1)), float(twice.std() / math.sqrt(len(x)))
