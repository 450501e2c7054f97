"""The logit transform against SciPy's logit and the transforms of torch.distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch
from torch.distributions import AffineTransform, ComposeTransform, SigmoidTransform

from reference_models.flows.logit_transform import Logit
from tests.reference_models.helpers import close, log_abs_det, numpy

ALPHA = 0.05


def test_the_value_is_the_logit_of_the_squeezed_pixel() -> None:
    x = torch.rand(64, 3, 2)
    z, _ = Logit((3, 2), ALPHA)(x)
    assert np.allclose(numpy(z), scipy.special.logit(ALPHA + (1 - 2 * ALPHA) * numpy(x)), atol=1e-12)


def test_the_log_determinant_is_that_of_torch_distributions_and_of_the_jacobian() -> None:
    transform = Logit((4,), ALPHA)
    theirs = ComposeTransform([AffineTransform(ALPHA, 1 - 2 * ALPHA), SigmoidTransform().inv])
    x = torch.rand(5, 4)
    z, logdet = transform(x)
    assert close(logdet, theirs.log_abs_det_jacobian(x, z).sum(-1), 1e-9)
    assert close(logdet, log_abs_det(lambda one: transform(one)[0], x), 1e-9)
    back, logdet_back = transform.inverse(z)
    assert close(back, x, 1e-12)
    assert close(logdet_back, -logdet, 1e-10)


def test_black_and_white_stay_at_a_finite_distance() -> None:
    transform = Logit((2,), ALPHA)
    z, logdet = transform(torch.tensor([0.0, 1.0]))
    assert close(z, torch.as_tensor([np.log(0.05 / 0.95), np.log(0.95 / 0.05)]), 1e-12)
    assert bool(logdet.isfinite())


def test_float32_keeps_the_default_alpha_of_mnist_finite() -> None:
    transform = Logit((3,), 1e-6)
    z, logdet = transform(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float32))
    assert z.dtype == torch.float32
    assert bool(z.isfinite().all())
    assert bool(logdet.isfinite())


def test_alpha_zero_is_the_plain_logit_far_into_the_tails() -> None:
    transform = Logit((1,), 0.0)
    x, logdet = transform.inverse(torch.tensor([40.0]))
    assert float(x) <= 1.0
    assert close(logdet, torch.tensor(-40.0), 1e-9)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 0.5\), got 0.5"):
        Logit((2,), 0.5)
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\] .*, got values in \[0.5, 1.5\]"):
        Logit((2,), ALPHA)(torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match="strictly inside for alpha = 0"):
        Logit((2,), 0.0)(torch.tensor([0.5, 1.0]))
