"""A VampPrior against torch's mixtures, the aggregate posterior and finite differences."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from reference_models.latent.vae import GaussianEncoder, GaussianPosterior, mlp_vae
from reference_models.latent.vampprior import GatedLinear, VampPrior, VampVAE
from tests.reference_models.helpers import close, numpy, perturb, standard_errors


def encoder(pixels: int = 6, d: int = 2) -> GaussianEncoder:
    return perturb(GaussianEncoder(nn.Sequential(nn.Flatten(), nn.Linear(pixels, 2 * d), nn.Tanh())), scale=0.5)


def prior(K: int = 5) -> VampPrior:
    return VampPrior(encoder(), torch.rand(K, 1, 2, 3))


def as_mixture(p: VampPrior) -> MixtureSameFamily:
    q = p.components()
    parts = Independent(Normal(q.mean, q.log_std.exp()), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(q.mean))), parts)


@pytest.mark.parametrize("batch", [(), (64,), (3, 4)])
def test_log_prob_is_that_of_the_mixture_of_posteriors(batch: tuple[int, ...]) -> None:
    p, z = prior(), torch.randn(*batch, 2)
    assert close(p.log_prob(z), as_mixture(p).log_prob(z).detach(), atol=1e-10)


def test_with_the_data_as_pseudo_inputs_it_is_the_aggregate_posterior() -> None:
    net, data, z = encoder(), torch.rand(7, 1, 2, 3), torch.randn(64, 2)
    q = net(data)
    mean, std = numpy(q.mean), np.exp(numpy(q.log_std))
    per_example = norm.logpdf(numpy(z)[:, None], mean, std).sum(-1)  # (64, 7)
    aggregate = logsumexp(per_example, axis=1, b=1 / 7)
    assert np.allclose(numpy(VampPrior(net, data).log_prob(z)), aggregate, atol=1e-10)


def test_gradients_reach_pseudo_inputs_and_encoder() -> None:
    p, z, h = prior(), torch.randn(4, 2), 1e-6
    p.log_prob(z).mean().backward()
    assert all(bool((w.grad != 0).any()) for w in (p.raw, *p._encoder[0].parameters()))
    slope = float(p.raw.grad[2, 0, 1, 1])
    with torch.no_grad():
        p.raw[2, 0, 1, 1] += h
        above = p.log_prob(z).mean()
        p.raw[2, 0, 1, 1] -= 2 * h
        below = p.log_prob(z).mean()
    assert abs(slope - float(above - below) / (2 * h)) < 1e-8


def test_samples_have_the_moments_of_the_mixture(generator: torch.Generator) -> None:
    """20 000 draws: mean and second moment within 5 standard errors."""
    p = prior()
    z = p.sample(20_000, generator=generator)
    mixture = as_mixture(p)
    assert z.shape == (20_000, 2)
    assert standard_errors(z, mixture.mean.detach()) < 5
    assert standard_errors(z.square(), (mixture.variance + mixture.mean.square()).detach()) < 5


def test_every_component_is_drawn_as_often_as_any_other(generator: torch.Generator) -> None:
    """Four narrow components far apart: each takes a quarter of 20 000 draws, 5 standard errors."""

    class Far(nn.Module):
        def forward(self, u: Tensor) -> GaussianPosterior:
            return GaussianPosterior(100 * u.flatten(1), torch.zeros(len(u), 1) - 1)

    p = VampPrior(Far(), torch.arange(4.0)[:, None], bounds=None)
    nearest = (p.sample(20_000, generator=generator) / 100).round()
    shares = (nearest == torch.arange(4.0)).double()
    assert standard_errors(shares, 0.25) < 5


def test_the_bound_takes_the_vampprior_in_its_kl() -> None:
    vae = perturb(VampVAE((1, 2, 3), 2, (5,), 4))
    x, noise = (torch.rand(3, 1, 2, 3) > 0.5).double(), torch.randn(6, 3, 2)
    q = vae.posterior(x)
    z = q.mean + q.log_std.exp() * noise
    log_q = Normal(q.mean, q.log_std.exp()).log_prob(z).sum(-1)
    kl = (log_q - as_mixture(vae.prior).log_prob(z)).mean(0)
    bound = vae.elbo(x, samples=6, noise=noise)
    assert close(bound.kl, kl.detach(), atol=1e-10)
    assert close(bound.value, (bound.reconstruction - kl).detach(), atol=1e-10)


def test_the_kl_to_the_aggregate_is_the_mutual_information_and_no_prior_does_better() -> None:
    """One code variable, integrals on a grid: E KL(q ‖ p) = I + KL(aggregate ‖ p) for any p."""
    net, data = encoder(d=1), torch.rand(5, 1, 2, 3)
    z = torch.linspace(-14, 14, 4001)[:, None]
    width, q = float(z[1] - z[0]), net(data)
    log_q = q.log_prob(z.unsqueeze(1))  # (4001, 5)

    def mean_kl(log_p: Tensor) -> float:
        return float((log_q.exp() * (log_q - log_p[:, None])).sum().detach() * width / 5)

    aggregate = VampPrior(net, data).log_prob(z)
    other = VampPrior(net, torch.rand(5, 1, 2, 3)).log_prob(z)
    divergence = float((aggregate.exp() * (aggregate - other)).sum().detach() * width)
    assert divergence > 1e-4
    assert abs(mean_kl(other) - mean_kl(aggregate) - divergence) < 1e-9
    assert abs(float(other.exp().sum().detach()) * width - 1) < 1e-9


def test_pseudo_inputs_stay_within_their_bounds() -> None:
    p = VampPrior(encoder(), 3 * torch.randn(5, 1, 2, 3))
    u = p.pseudo_inputs.detach()
    assert float(u.min()) >= 0
    assert float(u.max()) <= 1
    free = VampPrior(encoder(), 3 * torch.ones(5, 1, 2, 3), bounds=None)
    assert close(free.pseudo_inputs, 3.0)


def test_the_encoder_is_shared_saved_once_and_copied_with_the_model() -> None:
    vae = VampVAE((1, 2, 3), 2, (5,), 4)
    assert vae.prior._encoder[0] is vae.encoder
    assert [name for name in vae.state_dict() if name.startswith("prior")] == ["prior.raw"]
    other = copy.deepcopy(vae)
    assert other.prior._encoder[0] is other.encoder
    assert other.encoder is not vae.encoder


def test_a_gated_layer_is_a_linear_map_times_a_sigmoid() -> None:
    layer, x = perturb(GatedLinear(3, 2)), torch.randn(64, 3)
    W, b, V, c = (numpy(p) for p in (layer.value.weight, layer.value.bias, layer.gate.weight, layer.gate.bias))
    truth = (numpy(x) @ W.T + b) / (1 + np.exp(-(numpy(x) @ V.T + c)))
    assert np.allclose(numpy(layer(x)), truth, atol=1e-12)


def test_the_published_model_has_its_size() -> None:
    """Two weight matrices a gated layer: 784-300-300-(40, 40) and 40-300-300-784, and 500 images."""
    with torch.device("meta"):
        count = sum(p.numel() for p in VampVAE.mnist().parameters())
    encoder_size = 2 * (785 * 300 + 301 * 300) + 301 * 80
    decoder_size = 2 * (41 * 300 + 301 * 300) + 301 * 784
    assert count == encoder_size + decoder_size + 500 * 784


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    vae = VampVAE((1, 2, 3), 2, (5,), 4).float()
    x = (torch.rand(3, 1, 2, 3) > 0.5).float()
    assert vae.elbo(x, generator=generator).value.dtype == torch.float32
    assert vae.sample(5, generator=generator).dtype == torch.float32
    assert vae.elbo(x[0], generator=generator).value.shape == ()


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match=r"K > 0, got \(0, 6\)"):
        VampPrior(encoder(), torch.zeros(0, 6))
    with pytest.raises(ValueError, match="components must be at least 1, got 0"):
        VampVAE(components=0)
    with pytest.raises(ValueError, match=r"\(4, 1, 8, 8\), got \(3, 1, 8, 8\)"):
        VampVAE(components=4, pseudo_inputs=torch.zeros(3, 1, 8, 8))
    with pytest.raises(ValueError, match="Gaussian posteriors, got Tensor"):
        VampPrior(nn.Identity(), torch.zeros(2, 3)).log_prob(torch.zeros(3))


def test_a_plain_vae_takes_it_as_an_argument() -> None:
    vae = mlp_vae((1, 2, 3), 2, (5,))
    vae.prior = VampPrior(vae.encoder, torch.rand(3, 1, 2, 3))
    assert math.isfinite(float(vae.elbo((torch.rand(4, 1, 2, 3) > 0.5).double()).value.sum().detach()))
