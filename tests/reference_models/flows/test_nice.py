"""NICE: volume kept by the couplings, changed by the scaling alone, halves in turn."""

from __future__ import annotations

import pytest
import torch

from reference_models.flows.nice import NICE, AdditiveCoupling, DiagonalScaling
from tests.reference_models.helpers import close, jacobian, log_abs_det, perturb


@pytest.mark.parametrize("moved", [0, 1])
@pytest.mark.parametrize("dim", [4, 5])
def test_a_coupling_adds_to_one_half_what_the_other_says(dim: int, moved: int) -> None:
    coupling = perturb(AdditiveCoupling(dim, moved, (8,)))
    x = torch.randn(3, dim)
    z, logdet = coupling(x)
    assert torch.equal(z[:, 1 - moved :: 2], x[:, 1 - moved :: 2])
    assert close(z[:, moved::2] - x[:, moved::2], coupling.m(x[:, 1 - moved :: 2]), 1e-12)
    assert close(logdet, torch.zeros(3), 0.0)
    assert close(log_abs_det(lambda one: coupling(one)[0], x), torch.zeros(3), 1e-12)


def test_the_log_determinant_of_the_model_is_the_sum_of_the_scales() -> None:
    flow = perturb(NICE(4, 3, (8,)))
    scaling = flow.transform.transforms[-1]
    assert isinstance(scaling, DiagonalScaling)
    assert close(flow.forward(torch.randn(5, 4))[1], scaling.s.sum().expand(5), 1e-12)
    x = torch.randn(4)
    assert close(scaling(x)[0], torch.exp(scaling.s) * x, 1e-12)


def test_after_three_couplings_every_place_depends_on_every_place() -> None:
    flow = perturb(NICE(4, 3, (32,)), 0.5)
    dependence = sum(jacobian(lambda one: flow.forward(one)[0], x).abs() for x in torch.randn(8, 4))
    assert bool((dependence > 1e-9).all())


def test_log_prob_is_that_of_transformed_logistics() -> None:
    """The base by torch.distributions: a uniform through the logit, the determinant by autograd."""
    flow = perturb(NICE(3, 3, (8,)))
    uniform = torch.distributions.Uniform(torch.zeros(3), torch.ones(3))
    logistic = torch.distributions.TransformedDistribution(uniform, torch.distributions.SigmoidTransform().inv)
    x = torch.randn(4, 3)
    expected = logistic.log_prob(flow.forward(x)[0]).sum(-1) + log_abs_det(lambda one: flow.forward(one)[0], x)
    assert close(flow.log_prob(x), expected, 1e-9)


def test_the_paper_s_model_has_four_networks_of_five_layers() -> None:
    """392 → 5 × 1000 → 392 four times, weights and biases, and 784 scales; the paper states no total."""
    with torch.device("meta"):
        model = NICE.paper()
    network = (392 + 1) * 1000 + 4 * (1000 + 1) * 1000 + (1000 + 1) * 392
    assert sum(p.numel() for p in model.parameters()) == 4 * network + 784


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="the dimension of a coupling flow must be at least 2, got 1"):
        NICE(1)
    with pytest.raises(ValueError, match="couplings must be at least 1, got 0"):
        NICE(4, 0)
    with pytest.raises(ValueError, match="moved must be one of 0, 1, got 2"):
        AdditiveCoupling(4, 2)
