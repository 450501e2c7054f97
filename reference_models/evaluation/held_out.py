"""What recipes say of samples, under the names all folders use: how far they are from held-out data."""

from __future__ import annotations

from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.evaluation.density_coverage import density_coverage_intervals
from reference_models.evaluation.features import digit_features
from reference_models.evaluation.frechet import frechet_interval
from reference_models.evaluation.memorisation import memorisation
from reference_models.evaluation.mode_coverage import mode_coverage

__all__ = ["copying_found", "digits_found", "law_found", "modes_found"]

SHAPES = ((1, 8, 8), (1, 16, 16), (1, 28, 28))  # of digits whose features are known


def digits_found(pixels: Tensor, data: DataSet, generator: Generator) -> dict[str, float]:
    """`frechet_digits`, `coverage_digits` and `copying` of images (N, 1, S, S) in [0, 1], with ends of 95 % intervals.

    The Fréchet distance to the held-out digits, and the part of these that have a sample within the ball of their five
    nearest neighbours, on features of the digit classifier. What a thousand images reach, the mean of 20 draws:

                                                  frechet    coverage
        digits of the training set                    0.6        1.00
        those with noise of deviation 0.1             1.7        0.99
        those with noise of deviation 0.2             8.2        0.84
        a Gaussian a class, fitted to pixels          2.5        0.98
        ten digits a class, again and again           1.6        0.76
        the mean of each class, again and again       9.6        0.24
        one Gaussian, fitted to pixels               25.9        0.37

    On "drawn" and "drawn-16" the features are of the classifier for 16×16 pixels, which "drawn" and "mnist" are reduced
    to. `copying` is the part of pairs in which a sample lies nearer to the training examples than a held-out image: a
    half for an honest model, one for the training set recited. Nothing, for other data.
    """
    if data.levels in (None, 2) or data.held_out_labels is None or data.event_shape not in SHAPES:
        return {}
    fake, real = digit_features(pixels), digit_features(data.held_out)
    found = {
        "frechet_digits": frechet_interval(fake, real, generator=generator),
        "coverage_digits": density_coverage_intervals(real, fake, generator=generator).coverage,
    }
    ends = {f"{name}_{end}": getattr(interval, end) for name, interval in found.items() for end in ("low", "high")}
    return {name: interval.value for name, interval in found.items()} | ends | copying_found(pixels, data)


def copying_found(samples: Tensor, data: DataSet) -> dict[str, float]:
    """`copying` of samples (N, *event): how often one is nearer to the training examples than held-out data are."""
    held_out = data.held_out[:1000].flatten(1)
    return {"copying": memorisation(samples[:1000].flatten(1).to(held_out), held_out, data.train.flatten(1)).copying}


def law_found(samples: Tensor, data: DataSet) -> dict[str, float]:
    """`law_excess_nats`: what samples (N, *event) cost under the law of the data, above its entropy; 0 for its own.

    Nothing where the law is not known.
    """
    if data.law is None or data.entropy is None:
        return {}
    return {"law_excess_nats": -float(data.law(samples).mean()) - data.entropy}


def modes_found(samples: Tensor, data: DataSet, suffix: str = "") -> dict[str, float]:
    """`within_4_sigma` and `modes_covered` of points (N, 2), the names ended by `suffix`; nothing without a target."""
    if data.target is None:
        return {}
    found = mode_coverage(samples, data.target)
    return {f"within_4_sigma{suffix}": found.within_4_sigma, f"modes_covered{suffix}": float(found.modes_covered)}
