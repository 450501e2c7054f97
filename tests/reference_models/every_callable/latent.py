"""How to call what stands in `reference_models/latent`."""

from __future__ import annotations

import torch
from torch import nn

from reference_models.flows.maf import AffineAutoregressive
from reference_models.latent import (
    AVB,
    DIPVAE,
    IAFVAE,
    IWAE,
    PPCA,
    VQVAE,
    VQVAE2,
    AutoregressivePrior,
    BetaVAE,
    CodePrior,
    FlowPosterior,
    FlowPrior,
    GaussianPosterior,
    GuardedVAE,
    GumbelVAE,
    HierarchicalVAE,
    MixtureOfGaussians,
    MixturePrior,
    PixelVAE,
    Scale,
    StandardNormal,
    VaDE,
    VampPrior,
    VampVAE,
    VectorQuantiser,
    WindowedBernoulli,
    elbo_surgery,
    gaussian_mixture,
    gumbel_vae,
    posterior_collapse,
)
from reference_models.latent.vae import mlp_vae
from reference_models.parts.likelihoods import Binomial, Gaussian
from tests.reference_models.every_callable.foundations import MIXTURE
from tests.reference_models.every_callable.rows import Row, With, bits, built, fixed, gen

SHAPE = (1, 2, 3)
X = bits(5, *SHAPE)
BASE = {"event_shape": SHAPE, "latent_dim": 2, "hidden": (4,)}
NOISE = fixed(1, 5, 2, seed=11)


def vae(**k):
    return built(mlp_vae, **BASE | k)


def avb(**k):
    return built(AVB, **BASE | {"noise_dim": 2} | k)


def prior(family, *arguments, **k):
    return built(family, *arguments, scale=1.0, **k)


def posterior():
    return GaussianPosterior(fixed(5, 2), 0.3 * fixed(5, 2, seed=1))


def flow_posterior(**k):
    layer = built(AffineAutoregressive, 2, (4,), condition_dim=2)
    return FlowPosterior(posterior(), layer, **{"context": fixed(5, 2, seed=4)} | k)


def gumbel(**k):
    return built(GumbelVAE, **{"event_shape": SHAPE, "variables": 2, "classes": 3, "hidden": (4,)} | k)


SCALES = [Scale(2, 1, 2), Scale(4, 1, 1)]
SQUARE = bits(5, 1, 4, 4)


def hierarchy(**k):
    return built(HierarchicalVAE, scale=0.05, **{"event_shape": (1, 4, 4), "scales": SCALES, "width": 4} | k)


def codes(**k):
    return built(CodePrior, 4, (2, 2), **{"hidden": 4, "layers": 1} | k)


CODES = torch.randint(0, 4, (5, 2, 2), generator=gen(3))
MAP = fixed(5, 2, 2, 2)


def vqvae(**k):
    return built(
        VQVAE.conv, **{"event_shape": (1, 4, 4), "K": 4, "D": 2, "hidden": 4, "halvings": 1, "prior_hidden": 4} | k
    )


def vqvae2(**k):
    return built(VQVAE2, **{"event_shape": (1, 4, 4), "K": 4, "D": 2, "hidden": 4, "inner": 3, "blocks": 1} | k)


def whole(**k):
    """A VQ-VAE of given parts."""
    ready = vqvae()
    return VQVAE(
        ready.encoder, ready.decoder, ready.quantiser, ready.likelihood, event_shape=(1, 4, 4), grid=(2, 2), **k
    )


def vamp(**k):
    return built(VampVAE, **BASE | {"components": 3} | k)


def ppca():
    return PPCA(fixed(3, 2), fixed(3), 0.5)


def guarded(**k):
    return built(GuardedVAE, **{"event_shape": SHAPE, "window": 2, "latent_dim": 2, "hidden": (4,)} | k)


def windowed(**k):
    return built(WindowedBernoulli, SHAPE, 3, **k)


def quantiser():
    return built(VectorQuantiser, 4, 2, scale=0.0)


def quantised(**k):
    made = built(VectorQuantiser, 4, 2, **k)
    made.update(fixed(5, 2, 2, 2), CODES)
    return made


def restarted(**k):
    made = quantiser()
    made.restart(fixed(5, 2, 2, 2), below=10.0, **k)
    return made


def fitted(**k):
    mixture = MixtureOfGaussians(MIXTURE)
    return mixture.fit_by_gradient(fixed(9, 2), **{"steps": 3} | k), mixture


def slopes(model):
    """Gradients of the loss, by which the estimators differ."""
    model.loss(X, generator=gen()).backward()
    return [parameter.grad for parameter in model.parameters()]


def after_update(model):
    model.update_codebook(SQUARE) if isinstance(model, VQVAE) else model.update_codebooks(SQUARE)
    return model


STRUCTURE = {"event_shape": (1, 3, 3), "latent_dim": 3, "hidden": (5,), "likelihood": Binomial(3)}
P2 = fixed(5, 2)
ROWS = [
    Row(
        "latent.autoregressive_prior.AutoregressivePrior",
        lambda **k: built(AutoregressivePrior, 3, **k),
        hidden=(4,),
        components=2,
    ),
    Row(
        "latent.autoregressive_prior.AutoregressivePrior.sample",
        lambda **k: prior(AutoregressivePrior, 3).sample(4, **k),
    ),
    Row("latent.avb.ImplicitEncoder.draw", lambda **k: avb().encoder.draw(X, 2, **k), noise=fixed(2, 5, 2, seed=11)),
    Row(
        "latent.avb.AVB", lambda **k: avb(**k), noise_dim=3, **{k: v for k, v in STRUCTURE.items() if k != "likelihood"}
    ),
    Row("latent.avb.AVB", lambda **k: avb(**k).elbo(X, generator=gen()), likelihood=Binomial(3)),
    Row(
        "latent.avb.AVB",
        lambda **k: avb(**k).discriminator_loss(X, generator=gen()),
        adaptive_contrast=True,
        moment_samples=With(33, adaptive_contrast=True),
    ),
    Row("latent.avb.AVB.moments", lambda **k: avb(adaptive_contrast=True).moments(X, **k)),
    Row("latent.avb.AVB.discriminator_loss", lambda **k: avb().discriminator_loss(X, **k)),
    Row("latent.avb.AVB.elbo", lambda **k: avb().elbo(X, **k), samples=2, noise=NOISE),
    Row("latent.avb.AVB.loss", lambda **k: avb().loss(X, **k)),
    Row("latent.avb.AVB.sample", lambda **k: avb().sample(4, **k)),
    Row("latent.beta_vae.BetaVAE", lambda **k: BetaVAE(vae(), **k).loss(X, generator=gen()), beta=2.0),
    Row("latent.beta_vae.BetaVAE.mlp", lambda **k: built(BetaVAE.mlp, **k), event_shape=SHAPE, latent_dim=3),
    Row("latent.beta_vae.BetaVAE.mlp", lambda **k: built(BetaVAE.mlp, SHAPE, **k).loss(X, generator=gen()), beta=2.0),
    Row(
        "latent.beta_vae.BetaVAE.objective",
        lambda **k: BetaVAE(vae()).objective(X, **k),
        capacity=3.0,
        samples=2,
        noise=NOISE,
    ),
    Row("latent.beta_vae.BetaVAE.loss", lambda **k: BetaVAE(vae()).loss(X, **k), capacity=3.0),
    Row("latent.beta_vae.BetaVAE.elbo", lambda **k: BetaVAE(vae()).elbo(X, **k)),
    Row("latent.beta_vae.BetaVAE.sample", lambda **k: BetaVAE(vae()).sample(4, **k)),
    Row(
        "latent.code_prior.CodePrior",
        lambda **k: built(CodePrior, 4, (2, 2), **k),
        hidden=4,
        inner=5,
        layers=1,
        kernel_size=5,
        attention_layers=1,
        output_layers=2,
        condition_channels=2,
    ),
    Row(
        "latent.code_prior.CodePrior", lambda **k: codes(attention_layers=1, **k).log_prob(CODES), heads=2, dropout=0.5
    ),
    Row("latent.code_prior.CodePrior", lambda **k: codes(**k).log_prob(CODES), dropout=0.5),
    Row(
        "latent.code_prior.CodePrior.logits",
        lambda **k: codes(condition_channels=2).logits(CODES, **{"condition": MAP} | k),
        condition=-MAP,
    ),
    Row(
        "latent.code_prior.CodePrior.log_prob",
        lambda **k: codes(condition_channels=2).log_prob(CODES, **{"condition": MAP} | k),
        condition=-MAP,
    ),
    Row(
        "latent.code_prior.CodePrior.sample",
        lambda **k: codes(condition_channels=2).sample(5, **{"condition": MAP} | k),
        condition=-9 * MAP,
    ),
    Row(
        "latent.dip_vae.DIPVAE",
        lambda **k: DIPVAE(vae(), **k).loss(X, generator=gen()),
        version="I",
        lambda_od=1.0,
        lambda_d=9.0,
    ),
    Row("latent.dip_vae.DIPVAE.mlp", lambda **k: built(DIPVAE.mlp, **k), event_shape=SHAPE, latent_dim=3),
    Row("latent.dip_vae.DIPVAE.mlp", lambda **k: built(DIPVAE.mlp, SHAPE, **k).loss(X, generator=gen()), version="I"),
    Row("latent.dip_vae.DIPVAE.loss", lambda **k: DIPVAE(vae()).loss(X, **k), noise=NOISE),
    Row("latent.dip_vae.DIPVAE.elbo", lambda **k: DIPVAE(vae()).elbo(X, **k)),
    Row("latent.dip_vae.DIPVAE.sample", lambda **k: DIPVAE(vae()).sample(4, **k)),
    Row(
        "latent.elbo_surgery.surgery", lambda **k: elbo_surgery.surgery(posterior(), StandardNormal(2), **k), samples=4
    ),
    Row(
        "latent.elbo_surgery.fit_posterior",
        lambda **k: elbo_surgery.fit_posterior(vae(), X, **{"steps": 3} | k),
        steps=4,
        samples=3,
        lr=0.1,
    ),
    Row(
        "latent.flow_posterior.FlowPosterior",
        lambda **k: flow_posterior(**k).draw(1, generator=gen()),
        context=fixed(5, 2),
    ),
    Row("latent.flow_posterior.FlowPosterior.draw", lambda **k: flow_posterior().draw(1, **k), noise=NOISE),
    Row(
        "latent.flow_posterior.IAFVAE",
        lambda **k: built(IAFVAE, **BASE | k),
        steps=3,
        flow_hidden=(4,),
        context=3,
        prior=FlowPrior.maf(2, 1, (4,)),
        **{k: v for k, v in STRUCTURE.items() if k != "likelihood"},
    ),
    Row(
        "latent.flow_posterior.IAFVAE",
        lambda **k: built(IAFVAE, **BASE | k).elbo(X, generator=gen()),
        likelihood=Binomial(3),
    ),
    Row("latent.flow_prior.FlowPrior.realnvp", lambda **k: built(FlowPrior.realnvp, 2, **k), couplings=2, hidden=(4,)),
    Row("latent.flow_prior.FlowPrior.maf", lambda **k: built(FlowPrior.maf, 2, **k), layers=2, hidden=(4,)),
    Row("latent.flow_prior.FlowPrior.sample", lambda **k: prior(FlowPrior.maf, 2, 1, (4,)).sample(4, **k)),
    Row(
        "latent.gaussian_mixture.m_step",
        lambda **k: gaussian_mixture.m_step(P2, torch.softmax(fixed(5, 2, seed=1), 1), **k),
        floor=0.5,
    ),
    Row("latent.gaussian_mixture.em_step", lambda **k: gaussian_mixture.em_step(P2, MIXTURE, **k), floor=0.5),
    Row(
        "latent.gaussian_mixture.fit_by_em",
        lambda **k: gaussian_mixture.fit_by_em(fixed(30, 2), MIXTURE, **k),
        steps=2,
        tolerance=0.5,
        floor=0.5,
    ),
    Row("latent.gaussian_mixture.spread_start", lambda **k: gaussian_mixture.spread_start(fixed(30, 2), 3, **k)),
    Row(
        "latent.gaussian_mixture.MixtureOfGaussians.elbo",
        lambda **k: MixtureOfGaussians(MIXTURE).elbo(P2, **k),
        drawn=False,
    ),
    Row("latent.gaussian_mixture.MixtureOfGaussians.sample", lambda **k: MixtureOfGaussians(MIXTURE).sample(4, **k)),
    Row("latent.gaussian_mixture.MixtureOfGaussians.fit_by_gradient", fitted, steps=4, lr=0.1),
    Row("latent.gumbel_vae.gumbel_noise", lambda **k: gumbel_vae.gumbel_noise((4,), X, **k)),
    Row(
        "latent.gumbel_vae.annealed_temperature",
        lambda **k: gumbel_vae.annealed_temperature(10000, **k),
        rate=1e-5,
        lowest=0.9,
    ),
    Row("latent.gumbel_vae.GumbelVAE", gumbel, event_shape=(1, 3, 3), variables=3, classes=4, hidden=(5,)),
    Row("latent.gumbel_vae.GumbelVAE", lambda **k: gumbel(**k).elbo(X, generator=gen()), likelihood=Binomial(3)),
    Row(
        "latent.gumbel_vae.GumbelVAE.elbo",
        lambda **k: gumbel().elbo(X, **k),
        temperature=1.5,
        hard=True,
        form="relaxed",
        prior_temperature=With(1.5, form="relaxed"),
        samples=2,
        noise=fixed(1, 5, 2, 3, seed=11),
    ),
    Row("latent.gumbel_vae.GumbelVAE.sample", lambda **k: gumbel().sample(4, **k)),
    Row(
        "latent.hierarchical_vae.HierarchicalVAE",
        hierarchy,
        event_shape=(2, 4, 4),
        scales=SCALES[:1],
        width=6,
        outputs=2,
        cells_per_group=2,
        nvae_cells=True,
    ),
    Row(
        "latent.hierarchical_vae.HierarchicalVAE",
        lambda **k: hierarchy(**k).elbo(SQUARE, generator=gen()),
        likelihood=Binomial(3),
    ),
    Row(
        "latent.hierarchical_vae.HierarchicalVAE.descend",
        lambda **k: hierarchy().descend(5, **k),
        x=SQUARE,
        temperature=0.5,
    ),
    Row("latent.hierarchical_vae.HierarchicalVAE.elbo", lambda **k: hierarchy().elbo(SQUARE, **k)),
    Row("latent.hierarchical_vae.HierarchicalVAE.rates", lambda **k: hierarchy().rates(SQUARE, **k)),
    Row("latent.hierarchical_vae.HierarchicalVAE.log_weights", lambda **k: hierarchy().log_weights(SQUARE, 3, **k)),
    Row(
        "latent.hierarchical_vae.HierarchicalVAE.sample",
        lambda **k: hierarchy(likelihood=Gaussian(0.5)).sample(4, **k),
        temperature=0.5,
    ),
    Row(
        "latent.hierarchical_vae.HierarchicalVAE.sample",
        lambda **k: hierarchy(likelihood=Gaussian(0.5)).sample(4, **k),
        temperature=1.5,
    ),
    Row("latent.iwae.IWAE", lambda **k: slopes(IWAE(vae(), **k)), samples=3, estimator="vimco"),
    Row("latent.iwae.IWAE.mlp", lambda **k: built(IWAE.mlp, **k), event_shape=SHAPE),
    Row(
        "latent.iwae.IWAE.mlp",
        lambda **k: slopes(built(IWAE.mlp, SHAPE, **k)),
        samples=3,
        estimator="vimco",
    ),
    Row("latent.iwae.IWAE.bound", lambda **k: IWAE(vae(), 1).bound(X, **k), noise=NOISE),
    Row("latent.iwae.IWAE.loss", lambda **k: IWAE(vae(), 2).loss(X, **k), noise=fixed(2, 5, 2, seed=11)),
    Row("latent.iwae.IWAE.elbo", lambda **k: IWAE(vae()).elbo(X, **k)),
    Row(
        "latent.iwae.IWAE.estimate_log_prob",
        lambda **k: IWAE(vae()).estimate_log_prob(X, **{"samples": 10} | k),
        samples=11,
    ),
    Row("latent.iwae.IWAE.sample", lambda **k: IWAE(vae()).sample(4, **k)),
    Row("latent.mixture_prior.MixturePrior", lambda **k: built(MixturePrior, 2, **k), components=3),
    Row("latent.mixture_prior.MixturePrior.sample", lambda **k: built(MixturePrior, 2).sample(4, **k)),
    Row(
        "latent.mixture_prior.VaDE",
        lambda **k: built(VaDE, **BASE | k),
        components=3,
        activation=nn.Tanh,
        **{k: v for k, v in STRUCTURE.items() if k != "likelihood"},
    ),
    Row(
        "latent.mixture_prior.VaDE",
        lambda **k: built(VaDE, **BASE | k).elbo(X, generator=gen()),
        likelihood=Binomial(3),
    ),
    Row(
        "latent.pixelvae.PixelCNNLikelihood.sample",
        lambda **k: built(PixelVAE, SHAPE, 2, 2, (4,), maps=2, features=4).likelihood.sample(fixed(5, 2, 2, 3), **k),
    ),
    Row(
        "latent.pixelvae.PixelVAE",
        lambda **k: built(PixelVAE, **{"image_shape": SHAPE, "latent_dim": 2, "hidden": (4,)} | k),
        image_shape=(1, 3, 3),
        levels=3,
        latent_dim=3,
        hidden=(5,),
        maps=3,
        features=5,
        layers=1,
        first_kernel=5,
        kernel=5,
    ),
    Row("latent.pixelvae.PixelVAE.mnist", lambda **k: built(PixelVAE.mnist, **k), layers=2),
    Row(
        "latent.posterior_collapse.cyclical_weight",
        lambda **k: posterior_collapse.cyclical_weight(3, 10, **k),
        ramp=0.9,
    ),
    Row("latent.posterior_collapse.active_units", lambda **k: posterior_collapse.active_units(P2, **k), threshold=9.0),
    Row("latent.posterior_collapse.WindowedBernoulli", windowed, units=4),
    Row(
        "latent.posterior_collapse.WindowedBernoulli.log_prob",
        lambda **k: windowed().log_prob(X, fixed(5, 6), **k),
        keep=bits(5, *SHAPE, seed=2),
    ),
    Row(
        "latent.posterior_collapse.WindowedBernoulli.logits",
        lambda **k: windowed().logits(X, fixed(5, 6), **k),
        keep=bits(5, *SHAPE, seed=2),
    ),
    Row("latent.posterior_collapse.WindowedBernoulli.sample", lambda **k: windowed().sample(fixed(5, 6), **k)),
    Row("latent.posterior_collapse.GuardedVAE", guarded, event_shape=(1, 3, 3), window=3, latent_dim=3, hidden=(5,)),
    Row(
        "latent.posterior_collapse.GuardedVAE.objective",
        lambda **k: guarded().objective(X, **{"dropout": 0.5, "noise": NOISE} | k),
        weight=0.5,
    ),
    Row(
        "latent.posterior_collapse.GuardedVAE.objective",
        lambda **k: guarded().objective(X, **k),
        weight=0.5,
        floor=3.0,
        dropout=0.9,
        noise=NOISE,
    ),
    Row("latent.ppca.PPCA.random", lambda **k: PPCA.random(3, 2, **k), std=0.9),
    Row("latent.ppca.PPCA.elbo", lambda **k: ppca().elbo(fixed(5, 3), **k), drawn=False, q=posterior()),
    Row("latent.ppca.PPCA.sample", lambda **k: ppca().sample(4, **k)),
    Row(
        "latent.ppca.PPCA.as_vae",
        lambda **k: ppca().as_vae(**k).elbo(fixed(5, 3), generator=gen()),
        encoder=lambda x: posterior(),
    ),
    Row("latent.vae.GaussianPosterior.draw", lambda **k: posterior().draw(1, **k), noise=NOISE),
    Row("latent.vae.StandardNormal.sample", lambda **k: StandardNormal(2).sample(4, **k)),
    Row("latent.vae.VAE.elbo", lambda **k: vae().elbo(X, **k), samples=2, form="sampled", noise=NOISE),
    Row("latent.vae.VAE.log_weights", lambda **k: vae().log_weights(X, 1, **k), noise=NOISE),
    Row("latent.vae.VAE.sample", lambda **k: vae().sample(4, **k)),
    Row("latent.vae.VAE.reconstruct", lambda **k: vae().reconstruct(X, **k)),
    Row(
        "latent.vae.mlp_vae",
        lambda **k: built(mlp_vae, **BASE | k),
        prior=FlowPrior.maf(2, 1, (4,)),
        activation=nn.Tanh,
        **{k: v for k, v in STRUCTURE.items() if k != "likelihood"},
    ),
    Row("latent.vae.mlp_vae", lambda **k: vae(**k).elbo(X, generator=gen()), likelihood=Binomial(3)),
    Row(
        "latent.vampprior.VampPrior",
        lambda **k: built(VampPrior, vae().encoder, 2 * fixed(3, *SHAPE), **k).sample(4, generator=gen()),
        bounds=None,
    ),
    Row("latent.vampprior.VampPrior.sample", lambda **k: vamp().prior.sample(4, **k)),
    Row(
        "latent.vampprior.VampVAE",
        vamp,
        components=2,
        pseudo_inputs=bits(3, *SHAPE, seed=9),
        **{k: v for k, v in STRUCTURE.items() if k != "likelihood"},
    ),
    Row("latent.vampprior.VampVAE", lambda **k: vamp(**k).elbo(X, generator=gen()), likelihood=Binomial(3)),
    Row("latent.vector_quantiser.VectorQuantiser", lambda **k: quantised(**k), ema_decay=With(0.5, ema_decay=0.9)),
    Row("latent.vector_quantiser.VectorQuantiser.restart", restarted),
    Row("latent.vqvae.VQVAE", lambda **k: whole(**k), prior=codes()),
    Row("latent.vqvae.VQVAE", lambda **k: whole(**k).loss(SQUARE), beta=2.0),
    Row(
        "latent.vqvae.VQVAE.conv",
        lambda **k: built(VQVAE.conv, **{"event_shape": (1, 4, 4)} | k),
        event_shape=(2, 4, 4),
        K=5,
        D=3,
        hidden=6,
        inner=3,
        halvings=1,
        prior_hidden=5,
    ),
    Row("latent.vqvae.VQVAE.conv", lambda **k: vqvae(**k).loss(SQUARE), likelihood=Binomial(3)),
    Row("latent.vqvae.VQVAE.conv", lambda **k: after_update(vqvae(**k)), ema_decay=0.5),
    Row("latent.vqvae2.VQVAE2", lambda **k: after_update(vqvae2(**k)), ema_decay=0.5),
    Row("latent.vqvae.VQVAE.elbo", lambda **k: vqvae().elbo(SQUARE, **k), drawn=False),
    Row("latent.vqvae.VQVAE.sample", lambda **k: vqvae().sample(4, **k)),
    Row(
        "latent.vqvae2.ConditionalPrior.sample",
        lambda **k: vqvae2().bottom_prior.sample(5, condition=CODES[:, :1, :1], **k),
    ),
    Row("latent.vqvae2.VQVAE2", vqvae2, event_shape=(2, 4, 4), K=5, D=3, hidden=6, inner=2, blocks=2),
    Row("latent.vqvae2.VQVAE2", lambda **k: built(VQVAE2, **{"event_shape": (1, 8, 8)} | k), halvings=2),
    Row("latent.vqvae2.VQVAE2", lambda **k: vqvae2(**k).loss(SQUARE), likelihood=Binomial(3), beta=2.0),
    Row("latent.vqvae2.VQVAE2.elbo", lambda **k: vqvae2().elbo(SQUARE, **k), drawn=False),
    Row("latent.vqvae2.VQVAE2.sample", lambda **k: vqvae2().sample(4, **k)),
]
APART = {
    "latent.dip_vae.DIPVAE.paper.version": ("latent/test_dip_vae.py", "test_paper_size"),
    "latent.hierarchical_vae.HierarchicalVAE.descend.z": (
        "latent/test_hierarchical_vae.py",
        "test_evidence_sums_to_one_and_is_the_mean_weight",
    ),
    "latent.hierarchical_vae.HierarchicalVAE.descend.noise": (
        "latent/test_hierarchical_vae.py",
        "test_bound_and_its_parts_are_those_of_torchs_normals",
    ),
    "latent.hierarchical_vae.HierarchicalVAE.elbo.noise": (
        "latent/test_hierarchical_vae.py",
        "test_bound_and_its_parts_are_those_of_torchs_normals",
    ),
    "latent.iwae.IWAE.estimate_log_prob.chunk": ("latent/test_iwae.py", "test_estimate_is_the_evidence_in_chunks"),
    "latent.iwae.IWAE.paper.samples": ("latent/test_iwae.py", "test_paper_size"),
    "latent.vqvae2.VQVAE2.top_prior": ("latent/test_vqvae2.py", "test_paper_size"),
    "latent.vqvae2.VQVAE2.bottom_prior": ("latent/test_vqvae2.py", "test_paper_size"),
    "latent.vae.paper_vae.latent_dim": ("latent/test_vae.py", "test_paper_size"),
}
