"""Likelihoods against torch.distributions, enumeration of all images, and the law of their samples."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal
from torch.distributions import Binomial as TorchBinomial

from reference_models.parts.likelihoods import Binomial, DiscretisedLogisticMixture, Gaussian
from tests.reference_models.helpers import binary_states, close, standard_errors


def test_one_trial_is_bernoulli_and_sixteen_are_binomial() -> None:
    h = 2 * torch.randn(16, 4)
    assert close(Binomial().log_prob(binary_states(4), h), Bernoulli(logits=h).log_prob(binary_states(4)).sum(-1))
    k = torch.randint(0, 17, (16, 4)).double()
    assert close(Binomial(16).log_prob(k / 16, h), TorchBinomial(16, logits=h).log_prob(k).sum(-1))


@pytest.mark.parametrize("trials", [1, 16])
def test_binomial_sums_to_one(trials: int) -> None:
    levels = torch.arange(trials + 1.0) / trials
    x = torch.cartesian_prod(levels, levels)
    h = torch.tensor([0.7, -2.0]).expand(len(x), 2)
    assert close(Binomial(trials).log_prob(x, h).exp().sum(), 1.0)


def test_log_odds_of_hundreds_stay_finite() -> None:
    x = torch.tensor([[0.0, 1.0]])
    assert close(Binomial().log_prob(x, torch.tensor([[-800.0, 800.0]])), torch.zeros(1))
    assert close(Binomial().log_prob(x, torch.tensor([[800.0, 800.0]])), torch.tensor([-800.0]))


def test_gaussian_is_torchs_and_learns_its_width() -> None:
    x, h = torch.randn(5, 2, 3), torch.randn(5, 2, 3)
    likelihood = Gaussian(0.3)
    value = likelihood.log_prob(x, h)
    assert close(value, Independent(Normal(h, 0.3), 2).log_prob(x))
    value.sum().backward()
    assert likelihood.log_std.grad is not None
    assert close(likelihood.log_std.grad, ((x - h) ** 2 / 0.09 - 1).sum(), 1e-8)
    assert not Gaussian(0.3, learned=False).log_std.requires_grad


def test_logistic_mixture_sums_to_one_over_the_levels_of_a_pixel() -> None:
    """Two channels of one pixel, four levels, two components: all 16 images by enumeration."""
    likelihood = DiscretisedLogisticMixture(4, components=2)
    x = torch.cartesian_prod(torch.arange(4.0) / 3, torch.arange(4.0) / 3).reshape(16, 2, 1, 1)
    h = torch.randn(1, 3 * 2 * 2, 1, 1).expand(16, -1, 1, 1)
    p = likelihood.log_prob(x, h).exp()
    assert close(p.sum(), 1.0)
    assert float(p.max() - p.min()) > 1e-3


def test_logistic_mixture_reads_logits_means_scales_in_that_order() -> None:
    """One component of mean 1/3 on [−1, 1], level 2 of 4: σ((x+⅓−m)/s) − σ((x−⅓−m)/s) by hand."""
    likelihood = DiscretisedLogisticMixture(4, components=1)
    h = torch.tensor([5.0, 0.2, -0.7]).reshape(1, 3, 1, 1)
    s = torch.tensor(-0.7).exp()
    mass = torch.sigmoid((2 / 3 - 0.2) / s) - torch.sigmoid((0.0 - 0.2) / s)
    assert close(likelihood.log_prob(torch.full((1, 1, 1, 1), 2 / 3), h), mass.log().reshape(1))


@pytest.mark.parametrize("name", ["bernoulli", "binomial", "gaussian", "logistic"])
def test_samples_have_the_likelihoods_moments(name: str, generator: torch.Generator) -> None:
    """20000 draws at one h: the mean, and the mean square, within 5 standard errors of the exact ones."""
    likelihood, h = {
        "bernoulli": (Binomial(), torch.tensor([[0.5, -1.0]])),
        "binomial": (Binomial(16), torch.tensor([[0.5, -1.0]])),
        "gaussian": (Gaussian(0.3), torch.tensor([[0.5, -1.0]])),
        "logistic": (
            DiscretisedLogisticMixture(8, 2),
            torch.tensor([0.3, -0.5, -0.6, 0.7, -1.5, -2.0]).reshape(1, 6, 1, 1),
        ),
    }[name]
    x = likelihood.sample(h.expand(20000, *h.shape[1:]), generator=generator)
    if name == "gaussian":
        mean, square = h[0], h[0] ** 2 + 0.09
    else:
        levels = torch.arange(9.0 if name == "logistic" else likelihood.trials + 1.0)
        levels = levels[:8] / 7 if name == "logistic" else levels / likelihood.trials
        values = levels.reshape(-1, 1, 1, 1) if name == "logistic" else levels[:, None]
        p = torch.stack(
            [
                likelihood.log_prob(
                    values, h[:, i : i + 1].expand(len(values), 1) if name != "logistic" else h.expand(8, 6, 1, 1)
                ).exp()
                for i in range(1 if name == "logistic" else 2)
            ]
        )
        mean, square = p @ levels, p @ levels**2
    assert standard_errors(x.flatten(1), mean.detach()) < 5
    assert standard_errors(x.flatten(1) ** 2, square.detach()) < 5


def test_means_and_single_precision() -> None:
    h = torch.randn(2, 3)
    assert close(Binomial().mean(h), torch.sigmoid(h))
    assert close(Gaussian().mean(h), h, 0.0)
    x = torch.ones(2, 3)
    assert close(Binomial().log_prob(x.float(), h.float()).double(), Binomial().log_prob(x, h), 1e-5)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of j/1 in \[0, 1\], got others in \[0.5, 1\]"):
        Binomial().log_prob(torch.tensor([[0.5, 1.0]]), torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"one of j/16 in \[0, 1\], got others in \[0, 1.0625\]"):
        Binomial(16).log_prob(torch.tensor([[0.0, 1.0625]]), torch.zeros(1, 2))
    for likelihood in (Binomial(), Gaussian()):
        with pytest.raises(ValueError, match=r"must have one shape, got \(2, 1, 2\) and \(2, 2\)"):
            likelihood.log_prob(torch.zeros(2, 1, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        Binomial(0)
    with pytest.raises(ValueError, match="std must be positive, got 0"):
        Gaussian(0.0)
    with pytest.raises(ValueError, match=r"one of 4 levels in \[0, 1\], got others in"):
        DiscretisedLogisticMixture(4, 1).log_prob(torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, 3, 1, 1))
