"""Latent-variable models: p(x) = ∫ p(x | z) p(z) dz, learned by maximum likelihood or by a bound on it.

Two models come first because everything about them is known: the Gaussian mixture (z discrete, exact posterior, EM)
and probabilistic PCA (z continuous, exact marginal and posterior), the oracle for every bound below them. The
variational autoencoder replaces the posterior by a network; the other families change one of its four parts at a time:
the bound (IWAE, beta-VAE, DIP-VAE, free bits), the posterior, the prior, the decoder. The last ones make z discrete.

Conventions: `elbo` returns nats per example, summed over dimensions, as reconstruction − KL; K importance samples are
the first dimension of a tensor of weights, shape (K, *B).
"""

from reference_models.latent.autoregressive_prior import AutoregressivePrior
from reference_models.latent.avb import AVB, ImplicitEncoder, Moments, PairNet
from reference_models.latent.beta_vae import BetaVAE
from reference_models.latent.code_prior import CodePrior, GatedBlock, RasterAttention
from reference_models.latent.dip_vae import DIPVAE, DIPPenalty
from reference_models.latent.elbo_surgery import MarginalParts, Surgery
from reference_models.latent.flow_posterior import IAFVAE, FlowEncoder, FlowPosterior
from reference_models.latent.flow_prior import FlowPrior, PulledDecoder, PushedEncoder
from reference_models.latent.gaussian_mixture import EMFit, MixtureOfGaussians
from reference_models.latent.gumbel_vae import GumbelVAE
from reference_models.latent.hierarchical_vae import Descent, HierarchicalVAE, Scale
from reference_models.latent.iwae import IWAE
from reference_models.latent.mixture_prior import MixturePrior, VaDE
from reference_models.latent.pixelvae import PixelCNNLikelihood, PixelVAE
from reference_models.latent.posterior_collapse import GuardedVAE, WindowedBernoulli
from reference_models.latent.ppca import PPCA, FullGaussian
from reference_models.latent.residual_group import Group
from reference_models.latent.vae import VAE, Draw, GaussianEncoder, GaussianPosterior, Posterior, StandardNormal
from reference_models.latent.vampprior import GatedLinear, VampPrior, VampVAE
from reference_models.latent.vector_quantiser import Quantised, VectorQuantiser
from reference_models.latent.vqvae import VQVAE, VQLoss
from reference_models.latent.vqvae2 import VQVAE2, Codes, ConditionalPrior, TwoLevels

__all__ = [
    "AVB",
    "DIPVAE",
    "IAFVAE",
    "IWAE",
    "PPCA",
    "VAE",
    "VQVAE",
    "VQVAE2",
    "AutoregressivePrior",
    "BetaVAE",
    "CodePrior",
    "Codes",
    "ConditionalPrior",
    "DIPPenalty",
    "Descent",
    "Draw",
    "EMFit",
    "FlowEncoder",
    "FlowPosterior",
    "FlowPrior",
    "FullGaussian",
    "GatedBlock",
    "GatedLinear",
    "GaussianEncoder",
    "GaussianPosterior",
    "Group",
    "GuardedVAE",
    "GumbelVAE",
    "HierarchicalVAE",
    "ImplicitEncoder",
    "MarginalParts",
    "MixtureOfGaussians",
    "MixturePrior",
    "Moments",
    "PairNet",
    "PixelCNNLikelihood",
    "PixelVAE",
    "Posterior",
    "PulledDecoder",
    "PushedEncoder",
    "Quantised",
    "RasterAttention",
    "Scale",
    "StandardNormal",
    "Surgery",
    "TwoLevels",
    "VQLoss",
    "VaDE",
    "VampPrior",
    "VampVAE",
    "VectorQuantiser",
    "WindowedBernoulli",
]
