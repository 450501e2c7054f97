"""The Inception score, on cases known by hand, against SciPy's entropies and torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import entropy

from reference_models.evaluation.inception_score import inception_score, inception_score_interval
from tests.reference_models.helpers import numpy

CERTAIN = 200.0  # a logit: the others have chance e^-200


def test_certain_and_balanced_predictions_score_the_number_of_classes():
    assert float(inception_score(CERTAIN * torch.eye(7).repeat(3, 1))) == pytest.approx(7, abs=1e-9)


def test_predictions_that_agree_score_one():
    assert float(inception_score(torch.zeros(5, 4))) == pytest.approx(1, abs=1e-12)
    assert float(inception_score(torch.randn(4).expand(6, 4))) == pytest.approx(1, abs=1e-12)


def test_it_is_the_exponential_of_the_mean_divergence():
    """Against SciPy's relative entropy; a mean of exponentials would differ."""
    logits = 3 * torch.randn(20, 5)
    p = numpy(logits.softmax(1))
    divergences = [entropy(row, p.mean(0)) for row in p]
    assert float(inception_score(logits)) == pytest.approx(math.exp(sum(divergences) / 20), abs=1e-10)
    assert 1 < float(inception_score(logits)) < 5


def test_splits_average_the_scores_of_consecutive_parts():
    logits = 3 * torch.randn(10, 4)
    parts = [float(inception_score(logits[:5])), float(inception_score(logits[5:]))]
    assert float(inception_score(logits, splits=2)) == pytest.approx(sum(parts) / 2, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save", "ignore:std")  # theirs
def test_torchmetrics_agrees():
    from torchmetrics.image.inception import InceptionScore

    logits = 2 * torch.randn(32, 6)
    theirs = InceptionScore(feature=torch.nn.Flatten(), splits=1).to(logits.device)
    theirs.set_dtype(torch.float64)
    theirs.update(logits[:, :, None, None])
    assert float(inception_score(logits)) == pytest.approx(float(theirs.compute()[0]), rel=1e-5)


def test_a_great_logit_gives_no_nan():
    assert float(inception_score(torch.tensor([[1e4, 0.0], [0.0, 1e4]]))) == pytest.approx(2)


def test_the_interval_turns_the_bias_round_and_stays_within_one_and_k(generator):
    """Certain predictions, each of 5 classes with chance 1/5: the truth is 5, every estimate of 60 samples is less.

    A percentile interval never reaches 5; of 12 basic ones 4 or more do, but for a chance of 2e-7 at coverage 0.9.
    """
    held = 0
    for _ in range(12):
        labels = torch.randint(5, (60,), generator=generator, device=generator.device)
        interval = inception_score_interval(CERTAIN * torch.eye(5)[labels], resamples=100, generator=generator)
        assert interval.value < 5
        assert interval.bias < 0
        assert interval.low <= interval.high <= 5
        held += interval.high == 5
    assert held >= 4
    assert inception_score_interval(0.3 * torch.randn(60, 5), resamples=50, generator=generator).low >= 1


def test_the_interval_holds_the_score_of_a_known_law(generator):
    """Predictions drawn from 3 known rows with known chances: the exact score is within at least 4 of 12 intervals.

    At coverage 0.9 fewer are with chance 2e-7.
    """
    chances, rows = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    marginal = numpy(chances @ rows)
    exact = math.exp(sum(float(c) * entropy(numpy(row), marginal) for c, row in zip(chances, rows, strict=True)))
    held = 0
    for _ in range(12):
        drawn = torch.multinomial(chances, 150, replacement=True, generator=generator)
        interval = inception_score_interval(rows.log()[drawn], resamples=100, generator=generator)
        held += interval.low <= exact <= interval.high
    assert held >= 4


def test_float32_agrees():
    logits = 3 * torch.randn(20, 5)
    single = inception_score(logits.float())
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(inception_score(logits)), rel=1e-5)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"logits must be floats of shape \(N, F\)"):
        inception_score(torch.zeros(4))
    with pytest.raises(ValueError, match="splits must lie between 1 and the number of samples, 3, got 4"):
        inception_score(torch.zeros(3, 2), splits=4)


def test_the_score_of_one_image_is_one():
    assert float(inception_score(torch.tensor([[1.0, -2.0, 0.5]]))) == pytest.approx(1.0, abs=1e-12)
