"""Homework 3 beside the reference models: each answer of the solution notebook, and who says the same."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace as Notebook
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.testing import assert_close

from reference_models.latent.elbo_surgery import discrete_surgery
from reference_models.latent.gaussian_mixture import fit_by_em, m_step
from reference_models.latent.gumbel_vae import relaxed_log, straight_through
from reference_models.latent.iwae import importance_bound
from reference_models.latent.ppca import PPCA
from reference_models.latent.vae import VAE, GaussianEncoder, GaussianPosterior, StandardNormal
from reference_models.latent.vampprior import VampPrior
from reference_models.latent.vector_quantiser import VectorQuantiser
from reference_models.parts.distributions import GaussianMixture, normal_kl, normal_log_prob
from reference_models.parts.likelihoods import Binomial

UNPAIRED = {
    "VAE": "two networks of the student's in one module",
    "make_vae": "a choice of networks",
    "make_encoder": "a choice of sizes",
    "Encoder": "a perceptron",
    "make_decoder": "a choice of sizes",
    "fit_vae": "a loop of the bound and an optimiser of PyTorch",
    "bound_terms": "the terms of `vae_loss`, image by image, by `torch.distributions`",
}


def linear_model() -> tuple[PPCA, Tensor]:
    model = PPCA(torch.randn(5, 2), torch.randn(5), 0.7)
    return model, model.sample(6).detach()


def check_ppca_posterior(notebook: Notebook) -> None:
    model, x = linear_model()
    theirs = model.posterior(x)
    assert_close(notebook.ppca_posterior(x, model.W, model.mean, 0.7), (theirs.mean, theirs.covariance))


def check_ppca_log_prob(notebook: Notebook) -> None:
    model, x = linear_model()
    assert_close(notebook.ppca_log_prob(x, model.W, model.mean, 0.7), model.log_prob(x))


def check_ppca_fit(notebook: Notebook) -> None:
    """With one dimension left out the noise is the smallest eigenvalue; the rates are those of the exact posterior."""
    x = torch.randn(200, 4) @ torch.randn(4, 4)
    model = PPCA.maximum_likelihood(x, 3)
    W, rates = notebook.ppca_fit(torch.cov(x.T, correction=0), model.variance)
    assert_close(W @ W.T, model.W @ model.W.T)
    posterior = model.posterior(x)
    each = torch.distributions.MultivariateNormal(posterior.mean, posterior.covariance)
    prior = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    assert_close(rates.sum(), torch.distributions.kl_divergence(each, prior).mean())


def check_elbo_surgery(notebook: Notebook) -> None:
    q, p = torch.randn(6, 4).softmax(1), torch.randn(4).softmax(0)
    theirs = discrete_surgery(q, p)
    assert_close(notebook.elbo_surgery(q, p), (theirs.marginal_kl, theirs.mutual_information))


def mixture() -> tuple[tuple[Tensor, Tensor, Tensor], GaussianMixture, Tensor]:
    roots = torch.randn(3, 2, 2) + torch.eye(2)
    law = (torch.tensor([0.5, 0.3, 0.2]), 2 * torch.randn(3, 2), roots @ roots.mT + 0.2 * torch.eye(2))
    return law, GaussianMixture(*law), 2 * torch.randn(20, 2)


def check_gmm_log_prob(notebook: Notebook) -> None:
    law, theirs, x = mixture()
    assert_close(notebook.gmm_log_prob(x, *law), theirs.log_prob(x))


def check_e_step(notebook: Notebook) -> None:
    law, theirs, x = mixture()
    assert_close(notebook.e_step(x, *law), theirs.responsibilities(x))


def check_m_step(notebook: Notebook) -> None:
    x, r = torch.randn(20, 2), torch.randn(20, 3).softmax(1)
    theirs = m_step(x, r, floor=0.0)
    assert_close(notebook.m_step(x, r), (theirs.weights, theirs.means, theirs.covariances))
    together = (theirs.weights[:, None, None] * theirs.covariances).sum(0).expand(3, 2, 2)
    assert_close(notebook.m_step(x, r, True), (theirs.weights, theirs.means, together))


def check_fit_gmm(notebook: Notebook) -> None:
    law, start, x = mixture()
    theirs = fit_by_em(x, start, steps=3, tolerance=-1.0, floor=0.0)
    *found, history = notebook.fit_gmm(x, *law, 3)
    assert_close(tuple(found), (theirs.mixture.weights, theirs.mixture.means, theirs.mixture.covariances))
    assert_close(torch.tensor(history), theirs.log_likelihoods)


def check_normal_kl(notebook: Notebook) -> None:
    four = [torch.randn(4, 3) for _ in range(4)]
    assert_close(notebook.normal_kl(*four), normal_kl(*four))
    assert_close(notebook.normal_kl(*four[:2]), normal_kl(*four[:2]))


def check_normal_nll(notebook: Notebook) -> None:
    three = [torch.randn(4, 3) for _ in range(3)]
    assert_close(notebook.normal_nll(*three), -normal_log_prob(*three))


def check_reparametrise(notebook: Notebook) -> None:
    mean, log_std, noise = torch.randn(4, 3), torch.randn(4, 3), seeded(1, 4, 3)
    assert_close(
        reseeded(notebook.reparametrise)(mean, log_std), GaussianPosterior(mean, log_std).draw(1, noise=noise).z[0]
    )


def seeded(*shape: int) -> Tensor:
    """The noise that the notebook draws next."""
    torch.manual_seed(7)
    return torch.randn(shape)


def reseeded(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, drawing the same numbers at every call."""

    def asked(*args: Any) -> Any:
        torch.manual_seed(7)
        return fn(*args)

    return asked


def model() -> tuple[VAE, Tensor, tuple[object, object]]:
    """A VAE of binary pictures, five of these, and what the notebook's functions take of it."""
    encoder = GaussianEncoder(nn.Sequential(nn.Flatten(), nn.Linear(6, 4)))
    decoder = nn.Sequential(nn.Linear(2, 6), nn.Unflatten(1, (1, 2, 3)))
    vae = VAE(encoder, decoder, StandardNormal(2), Binomial(), event_shape=(1, 2, 3))
    x = torch.randint(0, 2, (5, 1, 2, 3)).to(torch.get_default_dtype())

    def codes(x: Tensor) -> tuple[Tensor, Tensor]:
        q = encoder(x)
        return q.mean, q.log_std

    return vae, x, (codes, lambda x, z: vae.likelihood.log_prob(x, decoder(z)))


def check_elbo(notebook: Notebook) -> None:
    vae, x, parts = model()
    theirs = vae.elbo(x, noise=seeded(1, 5, 2))
    assert_close(reseeded(notebook.elbo)(x, *parts), theirs.value)


def check_vae_loss(notebook: Notebook) -> None:
    vae, x, parts = model()
    theirs = vae.elbo(x, noise=seeded(1, 5, 2))
    found = reseeded(notebook.vae_loss)(x, *parts, 2.5)
    right = {"reconstruction": theirs.reconstruction.mean(), "kl": theirs.kl.mean()}
    assert_close(found, {"loss": 2.5 * right["kl"] - right["reconstruction"], **right})


def check_bernoulli_log_likelihood(notebook: Notebook) -> None:
    logits, x = 3 * torch.randn(4, 1, 2, 3), torch.randint(0, 2, (4, 1, 2, 3)).to(torch.get_default_dtype())
    assert_close(notebook.bernoulli_log_likelihood(logits, x), Binomial().log_prob(x, logits))


def check_iwae_bound(notebook: Notebook) -> None:
    vae, x, parts = model()
    torch.manual_seed(7)
    noise = Normal(torch.zeros(5, 2), torch.ones(5, 2)).sample((6,))
    theirs = importance_bound(vae.log_weights(x, 6, noise=noise))
    assert_close(reseeded(notebook.iwae_bound)(x, *parts, 6), theirs)


def vamp() -> tuple[VampPrior, object, Tensor]:
    encoder, u = GaussianEncoder(nn.Sequential(nn.Flatten(), nn.Linear(6, 4))), torch.randn(3, 1, 2, 3)

    def codes(x: Tensor) -> tuple[Tensor, Tensor]:
        q = encoder(x)
        return q.mean, q.log_std

    return VampPrior(encoder, u, bounds=None), codes, u


def check_vamp_log_prob(notebook: Notebook) -> None:
    prior, codes, u = vamp()
    z = torch.randn(5, 2)
    assert_close(notebook.vamp_log_prob(z, codes, u), prior.log_prob(z))


def check_vamp_sample(notebook: Notebook) -> None:
    prior, codes, u = vamp()
    torch.manual_seed(7)
    theirs = prior.sample(50)
    assert_close(reseeded(notebook.vamp_sample)(50, codes, u), theirs)


def quantiser(decay: float | None = None) -> tuple[VectorQuantiser, Tensor]:
    theirs = VectorQuantiser(7, 3, ema_decay=decay).to(torch.get_default_dtype())
    theirs.codebook.data = torch.randn(7, 3)
    return theirs, torch.randn(2, 3, 4, 5)


def check_nearest_codes(notebook: Notebook) -> None:
    theirs, z = quantiser()
    assert_close(notebook.nearest_codes(z, theirs.codebook), theirs.nearest(z))


def check_quantise(notebook: Notebook) -> None:
    theirs, z = quantiser()
    assert_close(notebook.quantise(z, theirs.codebook), theirs(z).z_q)


def check_vq_losses(notebook: Notebook) -> None:
    theirs, z = quantiser()
    found = theirs(z)
    assert_close(notebook.vq_losses(z, theirs.codebook), (found.codebook_loss, found.commitment_loss))


def check_ema_update(notebook: Notebook) -> None:
    theirs, z = quantiser(decay=0.9)
    codes = theirs.nearest(z)
    theirs.counts.uniform_(1, 3)
    ours = notebook.ema_update(theirs.counts.clone(), theirs.sums.clone(), z, codes, 0.9)
    theirs.update(z, codes)
    assert_close(ours, (theirs.counts, theirs.sums, theirs.codebook.detach()))


def check_perplexity(notebook: Notebook) -> None:
    """The entropy of the frequencies is that of the aggregated posterior of one-hot rows: ln K less its KL to it."""
    codes = torch.randint(0, 4, (3, 5))
    rows = nn.functional.one_hot(codes.flatten(), 6).to(torch.get_default_dtype())
    entropy = discrete_surgery(rows, torch.full((6,), 1 / 6)).mutual_information
    assert_close(notebook.perplexity(codes, 6), entropy.exp(), check_dtype=False, rtol=1e-5, atol=1e-5)


def check_gumbel_softmax(notebook: Notebook) -> None:
    logits, u = torch.randn(5, 4), torch.rand(5, 4)
    for tau in (0.5, 2.0):
        soft = relaxed_log(logits, tau, -(-u.log()).log()).exp()
        assert_close(notebook.gumbel_softmax(logits, tau, False, u), soft)
        assert_close(notebook.gumbel_softmax(logits, tau, True, u), straight_through(soft))


PAIRS = {
    "ppca_posterior": check_ppca_posterior,
    "ppca_log_prob": check_ppca_log_prob,
    "ppca_fit": check_ppca_fit,
    "elbo_surgery": check_elbo_surgery,
    "gmm_log_prob": check_gmm_log_prob,
    "e_step": check_e_step,
    "m_step": check_m_step,
    "fit_gmm": check_fit_gmm,
    "normal_kl": check_normal_kl,
    "normal_nll": check_normal_nll,
    "reparametrise": check_reparametrise,
    "elbo": check_elbo,
    "vae_loss": check_vae_loss,
    "bernoulli_log_likelihood": check_bernoulli_log_likelihood,
    "iwae_bound": check_iwae_bound,
    "vamp_log_prob": check_vamp_log_prob,
    "vamp_sample": check_vamp_sample,
    "nearest_codes": check_nearest_codes,
    "quantise": check_quantise,
    "vq_losses": check_vq_losses,
    "ema_update": check_ema_update,
    "perplexity": check_perplexity,
    "gumbel_softmax": check_gumbel_softmax,
}
