"""Linear flows and 1×1 convolutions: against torch's convolution, SciPy's LU and the multivariate normal."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from reference_models.flows.linear import InvertibleLinear, LinearFlow
from tests.reference_models.helpers import close, numpy, perturb

FORMS = ["dense", "lu"]


@pytest.mark.parametrize("form", FORMS)
def test_the_matrix_starts_as_a_rotation(form: str) -> None:
    layer = InvertibleLinear((5,), form)
    assert close(layer.weight() @ layer.weight().T, torch.eye(5), 1e-12)
    x = torch.randn(3, 5)
    assert close(layer(x)[1], torch.zeros(3), 1e-12)
    assert not close(layer.weight(), torch.eye(5), 0.1)


@pytest.mark.parametrize("form", FORMS)
def test_on_images_it_is_a_convolution_whose_determinant_counts_every_pixel(form: str) -> None:
    layer = perturb(InvertibleLinear((3, 4, 2), form))
    x = torch.randn(2, 3, 4, 2)
    z, logdet = layer(x)
    W = layer.weight()
    assert close(z, torch.nn.functional.conv2d(x, W[:, :, None, None]), 1e-12)
    assert close(logdet, (4 * 2 * torch.log(torch.linalg.det(W).abs())).expand(2), 1e-10)


def test_the_lu_form_is_p_times_l_times_u() -> None:
    """SciPy decomposes the rotation it starts as into the same factors, and the product of any factors is W."""
    layer = InvertibleLinear((6,), "lu")
    L, U = layer.lower_upper()
    for ours, theirs in zip((layer.P, L, U), scipy.linalg.lu(numpy(layer.weight())), strict=True):
        assert np.allclose(numpy(ours), theirs, atol=1e-10)
    perturb(layer, 0.5)
    L, U = layer.lower_upper()
    assert close(L.diag(), torch.ones(6), 0.0)
    assert close(L, L.tril(), 0.0)
    assert close(U, U.triu(), 0.0)
    assert close(layer.weight(), layer.P @ L @ U, 1e-12)
    x = torch.randn(6)
    assert close(layer(x)[0], layer.P @ (L @ (U @ x)), 1e-12)
    assert close(layer(x)[1], torch.linalg.slogdet(layer.P @ L @ U)[1], 1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_a_linear_flow_is_a_gaussian_with_full_covariance(form: str) -> None:
    """z = W x + b: mean -W⁻¹b, precision WᵀW."""
    flow = perturb(LinearFlow(4, form), 0.4)
    W, b = flow.transform.transforms[0].weight(), flow.transform.transforms[1].b
    gaussian = torch.distributions.MultivariateNormal(-torch.linalg.solve(W, b), precision_matrix=W.T @ W)
    x = torch.randn(64, 4)
    assert close(flow.log_prob(x), gaussian.log_prob(x), 1e-9)
    assert close(flow.log_prob(x[0]), gaussian.log_prob(x[0]), 1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_the_inverse_multiplies_by_the_inverse_matrix(form: str) -> None:
    """With a permutation that is not its own inverse."""
    layer = perturb(InvertibleLinear((6, 2, 1), form))
    if form == "lu":
        layer.P.copy_(torch.eye(6).roll(1, dims=0))
    z = torch.randn(3, 6, 2, 1)
    x, logdet = layer.inverse(z)
    assert close(x, torch.einsum("ij,njhw->nihw", torch.linalg.inv(layer.weight()), z), 1e-9)
    assert close(logdet, (2 * torch.linalg.slogdet(torch.linalg.inv(layer.weight()))[1]).expand(3), 1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_of_the_matrix_learns_from_the_determinant(form: str) -> None:
    """∂ log|det W| / ∂W = W⁻ᵀ."""
    layer = perturb(InvertibleLinear((3,), form))
    logdet = layer(torch.randn(3))[1]
    if form == "dense":
        (gradient,) = torch.autograd.grad(logdet, layer.W)
        assert close(gradient, torch.linalg.inv(layer.W).T, 1e-10)
    else:
        (gradient,) = torch.autograd.grad(logdet, layer.log_s)
        assert close(gradient, torch.ones(3), 0.0)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="form must be one of"):
        InvertibleLinear((3,), "qr")
    with pytest.raises(ValueError, match="every size of a shape must be at least 1, got 0"):
        InvertibleLinear((0,))
