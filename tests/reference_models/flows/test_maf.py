"""MAF: a product of Gaussian conditionals, autoregressive in its order, one pass to score and D to sample."""

from __future__ import annotations

import pytest
import torch
import zuko

from reference_models.flows.maf import MAF, AffineAutoregressive, layer_order
from tests.reference_models.helpers import close, jacobian, log_abs_det, perturb

ORDER = [2, 0, 3, 1]


def test_alpha_is_free_unless_a_bound_is_asked_for() -> None:
    """With a bound B it is B tanh(α/B): nearly α where it is small, within (-B, B) where it is large."""
    free = perturb(AffineAutoregressive(3, (8,)), 3.0)
    bounded = AffineAutoregressive(3, net=free.net, bound=2.0)
    x = 5 * torch.randn(50, 3)
    (mu, alpha), (same, less) = free.parameters_of(x, None), bounded.parameters_of(x, None)
    assert float(alpha.abs().max()) > 5
    assert close(mu, same, 0)
    assert close(less, 2 * torch.tanh(alpha / 2), 1e-12)
    assert bounded.net is free.net
    with pytest.raises(ValueError, match="bound must be positive, got 0"):
        AffineAutoregressive(3, bound=0.0)
    flow = MAF(3, 2, (4,), bound=2.0)
    assert [step.bound for step in flow.transform.transforms] == [2.0, 2.0]
    assert {step.bound for step in MAF(3, 2, (4,)).transform.transforms} == {None}


def test_a_network_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the network must give shape \(5, 3, 2\).* got \(5, 3\)"):
        AffineAutoregressive(3, net=torch.nn.Linear(3, 3))(torch.zeros(5, 3))


def test_a_conditional_network_is_given_the_condition() -> None:
    seen = []

    class Recorder(torch.nn.Module):
        def forward(self, x, condition):
            seen.append(condition)
            return torch.zeros(*x.shape, 2)

    x = torch.randn(4, 3)
    z, logdet = AffineAutoregressive(3, net=Recorder(), condition_dim=2)(x, condition=torch.ones(4, 2))
    assert close(z, x, 0)
    assert close(logdet, torch.zeros(4), 0)
    assert close(seen[0], torch.ones(4, 2), 0)


def layer(condition_dim: int = 0, scale: float = 0.3) -> AffineAutoregressive:
    return perturb(AffineAutoregressive(4, (16,), order=ORDER, condition_dim=condition_dim), scale)


def test_the_density_is_the_product_of_gaussian_conditionals() -> None:
    """One layer over N(0, I), eq. 2: x_i ~ N(μ_i, e^{2α_i}), by torch.distributions."""
    maf = MAF(4, 1, (16,))
    perturb(maf, 0.3)
    x = torch.randn(64, 4)
    mu, alpha = maf.transform.transforms[0].parameters_of(x, None)
    expected = torch.distributions.Normal(mu, alpha.exp()).log_prob(x).sum(-1)
    assert close(maf.log_prob(x), expected, 1e-10)
    assert close(maf.log_prob(x[0]), expected[0], 1e-10)


def test_the_inverse_restores_x_and_the_log_determinants_are_minus_and_plus_the_sum_of_alpha() -> None:
    maf_layer = layer()
    x = torch.randn(5, 4)
    z, logdet = maf_layer(x)
    _, alpha = maf_layer.parameters_of(x, None)
    back, logdet_back = maf_layer.inverse(z)
    assert close(logdet, -alpha.sum(-1), 1e-12)
    assert close(logdet, log_abs_det(lambda one: maf_layer(one)[0], x), 1e-9)
    assert close(logdet_back, alpha.sum(-1), 1e-9)
    assert close(back, x, 1e-9)


def test_the_jacobian_is_triangular_in_the_order_and_full_below_the_diagonal() -> None:
    maf_layer = layer()
    x = torch.randn(4)
    matrix = jacobian(lambda one: maf_layer(one)[0], x)[ORDER][:, ORDER]
    assert close(matrix.triu(1), torch.zeros(4, 4), 0.0)
    assert bool((matrix.tril().abs()[torch.ones(4, 4).tril().bool()] > 1e-9).all())
    assert bool((matrix.diag() > 0).all())


def test_zuko_s_autoregressive_transform_agrees_in_both_directions() -> None:
    maf_layer = layer()

    def meta(x: torch.Tensor) -> torch.distributions.Transform:
        mu, alpha = maf_layer.parameters_of(x, None)
        scale = torch.exp(-alpha)
        return torch.distributions.AffineTransform(-mu * scale, scale, event_dim=0)

    theirs = zuko.transforms.AutoregressiveTransform(meta, passes=4)
    x = torch.randn(5, 4)
    z, logdet = maf_layer(x)
    assert close(z, meta(x)(x), 1e-12)
    assert close(maf_layer.inverse(z)[0], theirs._inverse(z), 1e-9)
    assert close(logdet, meta(x).log_abs_det_jacobian(x, z).sum(-1), 1e-10)


def test_sampling_takes_one_pass_a_dimension_and_scoring_one_in_all(generator: torch.Generator) -> None:
    maf = MAF(5, 1, (8,))
    calls = []
    maf.transform.transforms[0].net.register_forward_hook(lambda *_: calls.append(1))
    x = maf.sample(3, generator=generator)
    assert len(calls) == 5
    calls.clear()
    maf.log_prob(x)
    assert len(calls) == 1


def test_layers_alternate_their_order() -> None:
    assert layer_order(3, 0) == [0, 1, 2]
    assert layer_order(3, 1) == [2, 1, 0]
    maf = perturb(MAF(4, 2, (32,)), 0.4)
    dependence = jacobian(lambda one: maf.forward(one)[0], torch.randn(4)).abs()
    assert bool((dependence > 1e-9).all())


def test_every_conditional_sees_the_condition() -> None:
    maf_layer = layer(condition_dim=3)
    x, y = torch.randn(4), torch.randn(3)
    dependence = jacobian(lambda one: maf_layer(x, condition=one)[0], y).abs()
    assert bool((dependence > 1e-9).all())
    z, _ = maf_layer(x, condition=y)
    assert close(maf_layer.inverse(z, condition=y)[0], x, 1e-9)


def test_a_stack_scores_as_its_layers_do_one_after_the_other() -> None:
    maf = perturb(MAF(3, 3, (8,)), 0.3)
    x = torch.randn(4, 3)
    u, total = x, torch.zeros(4)
    for part in maf.transform.transforms:
        mu, alpha = part.parameters_of(u, None)
        u, total = (u - mu) / alpha.exp(), total - alpha.sum(-1)
    expected = torch.distributions.Normal(torch.zeros(3), torch.ones(3)).log_prob(u).sum(-1) + total
    assert close(maf.log_prob(x), expected, 1e-10)


def test_the_paper_s_model_has_ten_layers_of_twice_1024_units() -> None:
    """By hand: 784 → 1024 → 1024 → 2·784 with biases, ten times; batch normalisation has no learned parameters here."""
    with torch.device("meta"):
        model = MAF.paper()
    assert sum(p.numel() for p in model.parameters()) == 10 * ((784 + 1) * 1024 + (1024 + 1) * (1024 + 1568))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        MAF(3, 0)
    with pytest.raises(ValueError, match=r"order must be a permutation of 0..2, got \[0, 0, 1\]"):
        AffineAutoregressive(3, (4,), order=[0, 0, 1])
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        MAF(0)


def test_every_layer_is_followed_by_its_normalisation() -> None:
    kinds = [type(step).__name__ for step in MAF(3, 3, (4,), batch_norm=True).transform.transforms]
    assert kinds == ["AffineAutoregressive", "InvertibleBatchNorm"] * 3
    assert {type(step).__name__ for step in MAF(3, 3, (4,)).transform.transforms} == {"AffineAutoregressive"}
