"""The truncation trick, against SciPy's truncated normal law and moments by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from reference_models.evaluation.truncation import truncation_curve
from reference_models.parts.truncation import truncate_towards, truncated_normal
from tests.reference_models.helpers import close, numpy, standard_errors


@pytest.mark.parametrize("threshold", [0.3, 1.0, 2.5])
def test_the_law_is_scipys_truncated_normal(threshold, generator):
    """Kolmogorov–Smirnov on 5000 draws, failing by chance once in 10⁷; variance within 5 standard errors."""
    z = truncated_normal((5000,), threshold, generator=generator, device=generator.device)
    law = stats.truncnorm(-threshold, threshold)
    assert float(z.abs().max()) <= threshold
    assert stats.kstest(numpy(z), law.cdf).pvalue > 1e-7
    phi = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * threshold * phi / math.erf(threshold / math.sqrt(2))  # the docstring's formula
    assert variance == pytest.approx(law.var(), abs=1e-10)
    assert standard_errors(z**2, variance) < 5


def test_no_threshold_is_the_normal_law(generator):
    z = truncated_normal((5000,), math.inf, generator=generator, device=generator.device)
    assert stats.kstest(numpy(z), "norm").pvalue > 1e-7
    assert bool(z.isfinite().all())


def test_float32_draws_stay_within_the_threshold(generator):
    z = truncated_normal((4, 3000), 0.7, generator=generator, dtype=torch.float32, device=generator.device)
    assert z.dtype == torch.float32
    assert z.shape == (4, 3000)
    assert float(z.double().abs().max()) <= 0.7 + 1e-7


def test_truncation_towards_the_mean():
    """ψ = 1 changes nothing, ψ = 0 gives the mean, variance falls by ψ²; also for one latent alone."""
    w, mean = torch.randn(64, 5), torch.randn(5)
    assert close(truncate_towards(w, mean, 1.0), w, 1e-12)
    assert close(truncate_towards(w, mean, 0.0), mean.expand(64, 5), 0.0)
    half = truncate_towards(w, mean, 0.5)
    assert close(half.var(0), 0.25 * w.var(0), 1e-12)
    assert close(half.mean(0), mean + 0.5 * (w.mean(0) - mean), 1e-12)
    assert close(truncate_towards(w[0], mean, 0.5), half[0], 1e-12)


def test_truncation_buys_precision_with_recall(generator):
    """A generator that is too wide: the data are N(0, I), its samples 1.5 z."""
    real = torch.randn(150, 2, generator=generator, device=generator.device)
    seed = generator.initial_seed()

    def sample(threshold: float) -> torch.Tensor:
        same = torch.Generator(generator.device).manual_seed(seed + 1)
        return 1.5 * truncated_normal((150, 2), threshold, generator=same, device=generator.device)

    curve = truncation_curve(sample, real, [0.2, 1.0, 5.0])
    assert curve.truncation.tolist() == [0.2, 1.0, 5.0]
    precision, recall, frechet = (curve.metrics[name].tolist() for name in ("precision", "recall", "frechet"))
    assert precision[0] > precision[1] > precision[2] or precision[0] == precision[1] == 1.0 > precision[2]
    assert recall[0] < recall[1] < recall[2]
    assert frechet[1] < min(frechet[0], frechet[2])


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="threshold must be positive, got 0"):
        truncated_normal((3,), 0)
    with pytest.raises(ValueError, match=r"mean must have shape \(5,\), got \(4,\)"):
        truncate_towards(torch.zeros(2, 5), torch.zeros(4), 0.5)
    with pytest.raises(ValueError, match=r"one or more numbers, none negative, got \[-1\]"):
        truncation_curve(lambda t: torch.zeros(2, 2), torch.zeros(2, 2), [-1])
