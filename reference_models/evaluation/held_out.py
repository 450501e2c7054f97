"""What recipes say of samples, under the names all folders use: how far they are from held-out data."""

from __future__ import annotations

from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.evaluation.features import digit_features
from reference_models.evaluation.frechet import frechet_interval
from reference_models.evaluation.mode_coverage import mode_coverage

__all__ = ["frechet_digits", "modes_found"]


def frechet_digits(pixels: Tensor, data: DataSet, generator: Generator) -> dict[str, float]:
    """`frechet_digits` of images (N, 1, 8, 8) in [0, 1] to the held-out digits, and the ends of its 95 % interval.

    Samples have a distance of about 0.8 when they are digits, of about 8 when they are digits with noise of standard
    deviation 0.2 on the pixels. Nothing, for other data than "digits".
    """
    if data.name != "digits":
        return {}
    found = frechet_interval(digit_features(pixels), digit_features(data.held_out), generator=generator)
    return {"frechet_digits": found.value, "frechet_digits_low": found.low, "frechet_digits_high": found.high}


def modes_found(samples: Tensor, data: DataSet, suffix: str = "") -> dict[str, float]:
    """`within_4_sigma` and `modes_covered` of points (N, 2), the names ended by `suffix`; nothing without a target."""
    if data.target is None:
        return {}
    found = mode_coverage(samples, data.target)
    return {f"within_4_sigma{suffix}": found.within_4_sigma, f"modes_covered{suffix}": float(found.modes_covered)}
