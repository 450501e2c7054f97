"""All metrics of one set of samples at once, each with its interval: python -m reference_models.evaluation.report

No single number says how good samples are: the Fréchet distance mixes quality and variety, precision is blind to modes
left out, recall and coverage to bad samples, the Inception score to data, and all of them to recitation. The command
shows this on digits, with sets that stand in for models whose fault is known, against the training digits:

    fresh        held-out digits: what a perfect model would score
    recited      training digits: perfect by every metric but `copying`
    half         held-out digits below five: quality without variety
    blurred      held-out digits with noise of standard deviation 0.15: variety without quality

All metrics but `copying` compare with the training digits that `recited` is not taken from. Measured, on 1257 of them:

                     fresh            recited          half             blurred
    frechet          1.1              1.4              37.6             4.5
    kid              −0.5             −0.3             9.9              1.4
    precision        0.91             0.89             0.92             0.72
    recall           0.88             0.89             0.54             0.88
    density          1.03             0.95             1.02             0.68
    coverage         0.50             0.48             0.37             0.33         (180 perfect samples: 0.49)
    inception score  7.4              7.6              4.3              5.8
    copying          0.49             1.00             0.56             0.17
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from rich.console import Console
from rich.table import Table
from torch import Generator, Tensor

from reference_models.data import DataSet, load
from reference_models.evaluation.bootstrap import Interval
from reference_models.evaluation.density_coverage import density_coverage_intervals
from reference_models.evaluation.features import digit_features, digit_logits
from reference_models.evaluation.frechet import frechet_interval
from reference_models.evaluation.inception_score import inception_score_interval
from reference_models.evaluation.memorisation import copying_interval
from reference_models.evaluation.mmd import mmd_interval
from reference_models.evaluation.precision_recall import precision_recall_intervals

__all__ = ["report", "stand_ins"]

Network = Callable[[Tensor], Tensor]
Said = TypeVar("Said")


def report(
    fake: Tensor,
    real: Tensor,
    *,
    train: Tensor | None = None,
    held_out: Tensor | None = None,
    features: Network = digit_features,
    logits: Network | None = digit_logits,
    resamples: int = 200,
    level: float = 0.95,
    generator: Generator | None = None,
) -> dict[str, Interval]:
    """Every metric of the images fake (M, C, H, W) against the images real (N, C, H, W), by name.

    train, held_out: the model's training images and others it has not seen, for `copying`; left out without them.
    features, logits: networks that take such images; no Inception score without logits.
    Raises ValueError for sets that cannot be compared, or too small for an interval.
    """
    with torch.no_grad():
        a, b = features(real), features(fake)

        def of(metric: Callable[..., Said], *sets: Tensor) -> Said:
            return metric(*sets, resamples=resamples, level=level, generator=generator)

        fidelity, stable = of(precision_recall_intervals, a, b), of(density_coverage_intervals, a, b)
        said: dict[str, Interval] = {
            "frechet": of(frechet_interval, a, b),
            "kid": of(mmd_interval, a, b),
            "precision": fidelity.precision,
            "recall": fidelity.recall,
            "density": stable.density,
            "coverage": stable.coverage,
        }
        if logits is not None:
            said["inception score"] = of(inception_score_interval, logits(fake))
        if train is not None and held_out is not None:
            said["copying"] = of(copying_interval, fake.flatten(1), held_out.flatten(1), train.flatten(1))
    return said


def stand_ins(data: DataSet, *, generator: Generator | None = None) -> Mapping[str, Tensor]:
    """The sets of the module's docstring, from labelled digits: 180 images each but for `half`."""
    if data.held_out_labels is None:
        raise ValueError(f"{data.name} has no labels")
    fresh, labels = data.held_out[:180], data.held_out_labels
    noise = torch.randn(fresh.shape, generator=generator, dtype=fresh.dtype, device=fresh.device)
    return {
        "fresh": fresh,
        "recited": data.train[:180],
        "half": data.held_out[labels < 5],
        "blurred": (fresh + 0.15 * noise).clamp(0, 1),
    }


def main() -> int:
    """Prints the table for the stand-ins."""
    data = load("digits", dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    rows = {
        name: report(fake, data.train[180:], train=data.train, held_out=data.held_out[180:], generator=generator)
        for name, fake in stand_ins(data, generator=generator).items()
    }
    table = Table("metric", *rows, title="against the training digits, with 95 % intervals")
    for metric in rows["fresh"]:
        table.add_row(metric, *(str(said[metric]).replace("[", r"\[") for said in rows.values()))
    Console(width=140).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
