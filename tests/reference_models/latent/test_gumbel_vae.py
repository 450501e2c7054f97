"""Gumbel-softmax and its VAE against SciPy's Gumbel law, torch's relaxed distributions and the sum over all codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, gumbel_r, kstest
from torch import Tensor
from torch.distributions import OneHotCategorical, kl_divergence
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical
from torch.nn.functional import binary_cross_entropy_with_logits

from reference_models.latent.gumbel_vae import (
    GumbelVAE,
    annealed_temperature,
    gumbel_noise,
    relaxed_log,
    relaxed_log_prob,
    straight_through,
)
from tests.reference_models.energy.oracles import law_p_value
from tests.reference_models.helpers import binary_states, close, numpy, perturb, standard_errors

LOGITS = [0.5, -1.0, 1.2, 0.0]


def model(variables: int = 2, classes: int = 3) -> GumbelVAE:
    return perturb(GumbelVAE((1, 2, 2), variables, classes, (6,)), scale=0.5)


def all_images() -> Tensor:
    return binary_states(4).view(16, 1, 2, 2)


def log_likelihoods(vae: GumbelVAE, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Codes as class numbers, (K^L, L), and log p(x | z) of each code and image, (K^L, N), by a loop."""
    codes = np.array(list(np.ndindex(*[vae.K] * vae.L)))
    rows = []
    for code in codes:
        z = torch.zeros(vae.L, vae.K)
        for variable, chosen in enumerate(code):
            z[variable, chosen] = 1
        h = vae.decoder(z.view(1, -1))
        rows.append(-binary_cross_entropy_with_logits(h.expand_as(x), x, reduction="none").sum((1, 2, 3)))
    return codes, numpy(torch.stack(rows))


def test_the_noise_is_standard_gumbel(generator: torch.Generator) -> None:
    """20 000 draws, Kolmogorov–Smirnov, below 1e-6."""
    assert kstest(numpy(gumbel_noise((20_000,), torch.zeros(()), generator)), gumbel_r.cdf).pvalue > 1e-6


def test_the_argmax_has_the_categorical_law(generator: torch.Generator) -> None:
    """50 000 draws of four classes, χ² with three degrees of freedom, below 1e-6."""
    logits = torch.tensor(LOGITS)
    y = relaxed_log(logits, 0.7, gumbel_noise((50_000, 4), logits, generator)).argmax(-1)
    counts = np.bincount(numpy(y), minlength=4)
    assert chisquare(counts, 50_000 * numpy(torch.softmax(logits, 0))).pvalue > 1e-6


@pytest.mark.parametrize("temperature", [0.3, 0.7, 2.0])
def test_the_relaxed_value_has_the_law_of_its_temperature(temperature: float, generator: torch.Generator) -> None:
    """Two classes: P(y_1 <= t) = σ(τ logit t - (a_1 - a_2)); 20 000 draws, Kolmogorov–Smirnov, below 1e-6."""
    logits = torch.tensor([0.8, -0.3])
    log_y = relaxed_log(logits, temperature, gumbel_noise((20_000, 2), logits, generator))
    ratio = numpy(log_y[:, 0] - log_y[:, 1])  # logit of y_1, finite where y_1 rounds to one
    assert kstest(ratio, lambda t: 1 / (1 + np.exp(-(temperature * t - 1.1)))).pvalue > 1e-6
    assert close(log_y.exp().sum(-1), torch.ones(20_000))


def test_a_small_temperature_makes_it_one_hot(generator: torch.Generator) -> None:
    logits = torch.tensor(LOGITS)
    noise = gumbel_noise((200, 4), logits, generator)
    y = relaxed_log(logits, 1e-4, noise).exp()
    one_hot = torch.nn.functional.one_hot((logits + noise).argmax(-1), 4)
    assert close(y, one_hot.double(), atol=1e-3)


def test_the_straight_through_form_is_one_hot_in_value_and_soft_in_gradient(generator: torch.Generator) -> None:
    noise, weight = gumbel_noise((64, 4), torch.zeros(()), generator), torch.randn(4)
    gradients = []
    for hard in (False, True):
        logits = torch.tensor(LOGITS, requires_grad=True)
        y = relaxed_log(logits, 0.7, noise).exp()
        if hard:
            y = straight_through(y)
            assert close(y, torch.nn.functional.one_hot((logits + noise).argmax(-1), 4).double(), atol=1e-12)
        (y @ weight).sum().backward()
        gradients.append(logits.grad)
    assert close(gradients[1], gradients[0], atol=1e-12)
    assert bool((gradients[0] != 0).all())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_the_relaxed_density_is_that_of_torch(temperature: float) -> None:
    logits = torch.randn(64, 4)
    truth = ExpRelaxedCategorical(torch.tensor(temperature), logits=logits)
    log_y = truth.sample()
    assert close(relaxed_log_prob(log_y, logits, temperature), truth.log_prob(log_y), atol=1e-9)
    assert close(relaxed_log_prob(log_y, logits + 5, temperature), truth.log_prob(log_y), atol=1e-9)


def test_the_kl_to_uniform_codes_is_that_of_torch() -> None:
    logits = torch.randn(64, 2, 3)
    truth = kl_divergence(OneHotCategorical(logits=logits), OneHotCategorical(logits=torch.zeros(64, 2, 3))).sum(-1)
    assert close(model().categorical_kl(logits), truth, atol=1e-10)


def test_log_prob_sums_over_all_codes_and_to_one_over_all_images() -> None:
    vae, x = model(), all_images()
    _, table = log_likelihoods(vae, x)
    truth = np.log(np.exp(table).mean(0))
    assert np.allclose(numpy(vae.log_prob(x)), truth, atol=1e-10)
    assert abs(np.exp(truth).sum() - 1) < 1e-10
    assert abs(float(vae.log_prob(x[3]).detach()) - truth[3]) < 1e-10


def test_the_exact_bound_is_the_evidence_less_the_kl_to_the_posterior() -> None:
    vae, x = model(), all_images()
    codes, table = log_likelihoods(vae, x)
    log_p = np.log(np.exp(table).mean(0))
    posterior = table - math.log(9) - log_p  # (9, 16)
    log_q = numpy(torch.log_softmax(vae.logits(x), -1))
    log_q = np.stack([log_q[:, 0, code[0]] + log_q[:, 1, code[1]] for code in codes])
    truth = log_p - (np.exp(log_q) * (log_q - posterior)).sum(0)
    assert np.allclose(numpy(vae.exact_elbo(x)), truth, atol=1e-10)
    assert abs(float(vae.exact_elbo(x[3]).detach()) - truth[3]) < 1e-10


def test_the_bound_with_hard_codes_averages_to_the_exact_one(generator: torch.Generator) -> None:
    """4000 draws for each of three images, 5 standard errors."""
    vae, x = model(), all_images()[[0, 5, 14]]
    reconstruction = vae.exact_elbo(x) + vae.categorical_kl(vae.logits(x))
    noise = gumbel_noise((4000, 3, 2, 3), x, generator)
    draws = torch.cat([vae.elbo(x, hard=True, noise=n[None]).reconstruction[None] for n in noise[:500]]).detach()
    assert standard_errors(draws, reconstruction.detach()) < 5
    together = vae.elbo(x, hard=True, samples=4000, noise=noise)
    assert close(together.reconstruction, reconstruction.detach(), atol=6 * float(draws.std(0).max()) / 4000**0.5)
    assert close(together.kl, vae.categorical_kl(vae.logits(x)).detach(), atol=1e-12)
    assert close(together.value, (together.reconstruction - together.kl).detach(), atol=1e-12)


@pytest.mark.parametrize("prior_temperature", [None, 1.5])
def test_the_relaxed_bound_uses_both_relaxed_densities(prior_temperature: float | None) -> None:
    vae, x = model(), all_images()[:3]
    noise = gumbel_noise((5, 3, 2, 3), x)
    logits, t = vae.logits(x), 0.6
    log_y = relaxed_log(logits, t, noise)
    log_q = ExpRelaxedCategorical(torch.tensor(t), logits=logits).log_prob(log_y).sum(-1)
    log_p = (
        ExpRelaxedCategorical(torch.tensor(prior_temperature or t), logits=torch.zeros(2, 3)).log_prob(log_y).sum(-1)
    )
    bound = vae.elbo(x, temperature=t, form="relaxed", prior_temperature=prior_temperature, samples=5, noise=noise)
    assert close(bound.kl, (log_q - log_p).mean(0).detach(), atol=1e-9)
    h = vae.decoder(log_y.exp().reshape(15, 6)).view(5, 3, 1, 2, 2)
    bce = binary_cross_entropy_with_logits(h, x.expand_as(h), reduction="none")
    assert close(bound.reconstruction, -bce.sum((2, 3, 4)).mean(0).detach(), atol=1e-9)


def test_every_variable_and_example_has_noise_of_its_own(generator: torch.Generator) -> None:
    seen = []
    vae = model(4, 3)
    with torch.no_grad():
        for p in vae.encoder.parameters():
            p.zero_()  # equal logits: all that differs is the noise
    vae.decoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    vae.elbo(all_images()[:1].expand(8, 1, 2, 2), samples=2, generator=generator)
    y = seen[0].detach().view(16, 4, 3)
    assert y.unique().numel() == y.numel()


def test_samples_have_the_law_of_the_model(generator: torch.Generator) -> None:
    """20 000 images; false failure below 1e-6 by Pearson's test."""
    vae = model()
    law = numpy(vae.log_prob(all_images()).exp())
    assert law_p_value(vae.sample(20_000, generator=generator).view(-1, 4), law) > 1e-6


def test_codes_are_drawn_uniformly(generator: torch.Generator) -> None:
    """The decoder's inputs in sampling are one-hot and every class is as frequent: 20 000 draws, below 1e-6."""
    vae, seen = model(), []
    vae.decoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].view(-1, 2, 3)))
    vae.sample(20_000, generator=generator)
    assert close(seen[0].sum(-1), torch.ones(20_000, 2))
    for variable in range(2):
        assert chisquare(numpy(seen[0][:, variable].sum(0))).pvalue > 1e-6


def test_the_temperature_falls_exponentially_to_its_floor() -> None:
    assert annealed_temperature(0) == 1
    assert abs(annealed_temperature(10_000) - math.exp(-0.3)) < 1e-12
    assert annealed_temperature(10**6) == 0.5


def test_the_published_example_has_its_size() -> None:
    """784-512-256-300 and 300-256-512-784."""
    with torch.device("meta"):
        count = sum(p.numel() for p in GumbelVAE.mnist().parameters())
    assert count == 785 * 512 + 513 * 256 + 257 * 300 + 301 * 256 + 257 * 512 + 513 * 784


def test_sampling_restores_the_training_flag(generator: torch.Generator) -> None:
    """Dropout in the decoder is off while sampling, so that equal seeds give equal images, and on after it."""
    vae = model()
    vae.decoder.append(torch.nn.Dropout(0.9))
    first = vae.train().sample(20, generator=generator)
    assert torch.equal(first, vae.sample(20, generator=generator.manual_seed(0)))
    assert all(part.training for part in vae.modules())


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    vae, x = model().float(), all_images().float()
    for form in ("categorical", "relaxed"):
        assert vae.elbo(x, form=form, generator=generator).value.dtype == torch.float32
    assert vae.elbo(x[0], temperature=0.05, generator=generator).value.shape == ()
    assert bool(vae.elbo(x, temperature=0.05, form="relaxed", generator=generator).value.isfinite().all())
    assert vae.sample(3, generator=generator).dtype == torch.float32
    assert bool(gumbel_noise((100_000,), x, generator).isfinite().all())


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    vae, x = model(), all_images()
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        vae.elbo(x, temperature=0)
    with pytest.raises(ValueError, match="prior_temperature must be positive, got 0"):
        vae.elbo(x, form="relaxed", prior_temperature=0.0)
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        GumbelVAE(classes=1)
    with pytest.raises(ValueError, match="variables must be at least 1, got 0"):
        GumbelVAE(variables=0)
    with pytest.raises(ValueError, match="'categorical', 'relaxed', got 'hard'"):
        vae.elbo(x, form="hard")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(1, 16, 2, 3\), got \(16, 2, 3\)"):
        vae.elbo(x, noise=torch.zeros(16, 2, 3))
    with pytest.raises(ValueError, match=r"got 8\^8"):
        GumbelVAE().codes()
