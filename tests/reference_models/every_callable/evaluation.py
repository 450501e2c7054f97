"""How to call what stands in `reference_models/evaluation`."""

from __future__ import annotations

import dataclasses

import torch

from reference_models import data
from reference_models.evaluation import (
    bits_per_dim,
    bootstrap,
    density_coverage,
    features,
    frechet,
    held_out,
    inception_score,
    memorisation,
    mmd,
    mode_coverage,
    precision_recall,
    report,
    train_digit_classifier,
    truncation,
)
from tests.reference_models.every_callable.foundations import MIXTURE
from tests.reference_models.every_callable.rows import Row, With, built, fixed, gen

A, B, C = fixed(30, 2), 0.7 * fixed(30, 2, seed=1) + 0.3, fixed(30, 2, seed=2)
P = torch.linspace(1.0, 3.0, 20)
FEW = {"resamples": 20}
INTERVAL = {"resamples": 21, "level": 0.5}
IMAGES = torch.sigmoid(fixed(24, 1, 8, 8))


DIGITS = data.load("digits")
FEW_DIGITS = dataclasses.replace(DIGITS, held_out=DIGITS.held_out[:60])


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 3, 3, padding=1)
        self.last = torch.nn.Flatten()

    def forward(self, x):
        return self.last(self.first(x))


def module_features(**k):
    return features.ModuleFeatures(built(Net), **{"layer": "first"} | k)(IMAGES.expand(24, 1, 8, 8))


def digits(**k):
    return held_out.digits_found(IMAGES.float().repeat(2, 1, 1, 1)[:40], FEW_DIGITS, **k)


def reported(**k):
    return report.report(A, B, **{"features": lambda x: x, "logits": None} | FEW | k)


def loss_of(images, **k):
    net = built(features.DigitClassifier, 4, 4).eval()  # dropout draws from the global generator, as torch's does
    return train_digit_classifier.classification_loss(net, images, torch.arange(24) % 10, **k)


def small(**k):
    digits = data.load("digits", dtype=torch.float64)
    few = type(digits)(
        digits.name,
        digits.train[:64],
        digits.held_out[:9],
        digits.train_labels[:64],
        digits.held_out_labels[:9],
        digits.event_shape,
    )
    with torch.random.fork_rng():
        return train_digit_classifier.train(few, **{"epochs": 1} | k)


ROWS = [
    Row(
        "evaluation.bits_per_dim.bits_per_dim",
        lambda **k: bits_per_dim.bits_per_dim(P, 3, **k),
        levels=With(4, levels=5, width=0.5),
        width=With(0.5, levels=4, width=0.25),
    ),
    Row(
        "evaluation.bits_per_dim.nats_from_bits_per_dim",
        lambda **k: bits_per_dim.nats_from_bits_per_dim(P, 3, **k),
        levels=With(4, levels=5, width=0.5),
        width=With(0.5, levels=4, width=0.25),
    ),
    Row(
        "evaluation.bits_per_dim.bits_per_dim_interval",
        lambda **k: bits_per_dim.bits_per_dim_interval(P, 3, **FEW | k),
        levels=With(4, levels=5, width=0.5),
        width=With(0.5, levels=4, width=0.25),
        **INTERVAL,
    ),
    Row(
        "evaluation.bits_per_dim.dequantised_nll",
        lambda **k: bits_per_dim.dequantised_nll(
            lambda v: -(v**2).sum(-1), torch.randint(0, 4, (5, 2), generator=gen(3)), 4, **k
        ),
        draws=2,
    ),
    Row("evaluation.bootstrap.resampled_counts", lambda **k: bootstrap.resampled_counts(9, like=P, **k)),
    Row(
        "evaluation.bootstrap.bootstrap",
        lambda **k: bootstrap.bootstrap(lambda w: (w * P**3).sum() / w.sum(), (20,), like=P, **FEW | k),
        kind="basic",
        **INTERVAL,
    ),
    Row("evaluation.bootstrap.bootstrap_mean", lambda **k: bootstrap.bootstrap_mean(P, **FEW | k), **INTERVAL),
    Row("evaluation.density_coverage.density_coverage", lambda **k: density_coverage.density_coverage(A, B, **k), k=2),
    Row(
        "evaluation.density_coverage.density_coverage_intervals",
        lambda **k: density_coverage.density_coverage_intervals(A, B, **FEW | k),
        k=2,
        **INTERVAL,
    ),
    Row(
        "evaluation.features.DigitClassifier",
        lambda **k: built(features.DigitClassifier, **k),
        width=4,
        num_features=5,
        side=16,
    ),
    Row(
        "evaluation.features.ModuleFeatures",
        module_features,
        layer="last",
        size=(4, 4),
        mean=(0.5,),
        std=(2.0,),
        pool=False,
    ),
    Row("evaluation.frechet.frechet_interval", lambda **k: frechet.frechet_interval(A, B, **FEW | k), **INTERVAL),
    Row(
        "evaluation.frechet.frechet_infinity", lambda **k: frechet.frechet_infinity(A, B, **{"points": 4} | k), points=5
    ),
    Row("evaluation.held_out.digits_found", digits),
    Row(
        "evaluation.held_out.modes_found",
        lambda **k: held_out.modes_found(A.float(), data.load("mixture"), **k),
        suffix="_x",
    ),
    Row(
        "evaluation.inception_score.inception_score",
        lambda **k: inception_score.inception_score(fixed(20, 3), **k),
        splits=2,
    ),
    Row(
        "evaluation.inception_score.inception_score_interval",
        lambda **k: inception_score.inception_score_interval(fixed(20, 3), **FEW | k),
        **INTERVAL,
    ),
    Row(
        "evaluation.memorisation.memorisation",
        lambda **k: memorisation.memorisation(A, B, C, **k),
        centres=C[:2],
        fewest=With(6, centres=C[:4], fewest=1),
    ),
    Row(
        "evaluation.memorisation.copying_interval",
        lambda **k: memorisation.copying_interval(A, B, C, **FEW | k),
        **INTERVAL,
    ),
    Row("evaluation.mmd.polynomial_kernel", lambda **k: mmd.polynomial_kernel(**k)(A, B), degree=2, offset=2.0),
    Row("evaluation.mmd.mmd_squared", lambda **k: mmd.mmd_squared(A, B, mmd.polynomial_kernel(), **k), unbiased=False),
    Row(
        "evaluation.mmd.mmd_interval",
        lambda **k: mmd.mmd_interval(A, B, **FEW | k),
        kernel=mmd.gaussian_kernel(1.0),
        **INTERVAL,
    ),
    Row(
        "evaluation.mode_coverage.mode_coverage",
        lambda **k: mode_coverage.mode_coverage(A, MIXTURE, **k),
        sigmas=1.0,
        least=0.99,
    ),
    Row(
        "evaluation.mode_coverage.narrowest_mode", lambda **k: mode_coverage.narrowest_mode(A, MIXTURE, **k), sigmas=2.0
    ),
    Row(
        "evaluation.mode_coverage.mode_coverage_intervals",
        lambda **k: mode_coverage.mode_coverage_intervals(A, MIXTURE, **FEW | k),
        sigmas=1.0,
        least=With(0.99),
        **INTERVAL,
    ),
    Row("evaluation.precision_recall.in_manifold", lambda **k: precision_recall.in_manifold(A, B, **k), k=1),
    Row("evaluation.precision_recall.precision_recall", lambda **k: precision_recall.precision_recall(A, B, **k), k=1),
    Row(
        "evaluation.precision_recall.precision_recall_intervals",
        lambda **k: precision_recall.precision_recall_intervals(A, B, **FEW | k),
        k=1,
        **INTERVAL,
    ),
    Row(
        "evaluation.report.report",
        reported,
        train=With(C, held_out=B),
        features=lambda x: x**3,
        logits=lambda x: x**2,
        **INTERVAL,
    ),
    Row("evaluation.report.report", reported, held_out=With(A.flip(0) * 2, train=C, held_out=B)),
    Row("evaluation.report.stand_ins", lambda **k: report.stand_ins(data.load("digits"), **k)),
    Row("evaluation.train_digit_classifier.vary", lambda **k: train_digit_classifier.vary(IMAGES, **k)),
    Row("evaluation.train_digit_classifier.classification_loss", lambda **k: loss_of(IMAGES, **k)),
    Row("evaluation.train_digit_classifier.train", small, epochs=2, batch_size=32, seed=1),
    Row(
        "evaluation.truncation.truncation_curve",
        lambda **k: truncation.truncation_curve(lambda t: t * A, B, [0.5, 1.0], **k),
        metrics={"mean": lambda a, b: b.mean()},
    ),
]
APART = {
    "evaluation.features.ModuleFeatures.batch_size": (
        "evaluation/test_features.py",
        "test_each_image_is_treated_alone_also_in_many",
    ),
    "evaluation.sets.require_features.minimum": (
        "evaluation/test_sets.py",
        "test_sets_that_cannot_be_compared_are_refused",
    ),
    "evaluation.sets.require_two_sets.minimum": (
        "evaluation/test_sets.py",
        "test_sets_that_cannot_be_compared_are_refused",
    ),
    "evaluation.sets.require_two_sets.names": (
        "evaluation/test_sets.py",
        "test_sets_that_cannot_be_compared_are_refused",
    ),
    "evaluation.train_digit_classifier.main.arguments": (
        "evaluation/test_features.py",
        "test_the_weights_are_small_and_reach_the_accuracy_they_state",
    ),
}
