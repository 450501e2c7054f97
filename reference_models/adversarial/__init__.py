"""Adversarial models: a generator learns from what a discriminator or critic can still tell apart.

`gan` holds the game and what every family shares: an objective (what each player minimises) and the class `GAN`, two
networks under an objective. Families change one thing each: the objective (lsgan, f_gan, wgan), what the critic pays
(wgan_gp), how its layers are bounded (spectral_norm), the networks (dcgan, sagan, biggan, and, growing,
progressive_gan and stylegan), what both are told (conditional_gan), what samples must obey (constrained_gan).
Three translate images: from pairs (pix2pix), and without, both ways (cyclegan) or one (cut).

Conventions: discriminators return scores before any sigmoid, (*B, *event) to (*B,); losses are means over the batch, to
be minimised; images lie in [-1, 1]; the discriminator's loss carries no gradient to the generator, the generator's none
to the parameters of the discriminator.
"""

from reference_models.adversarial.biggan import BigGAN, BigGANGenerator
from reference_models.adversarial.conditional_gan import ConditionalDiscriminator, ConditionalGAN, ConditionalGenerator
from reference_models.adversarial.constrained_gan import (
    ConstrainedGAN,
    Constraint,
    CovarianceConstraint,
    ResidualConstraint,
)
from reference_models.adversarial.cut import CUT, CutLoss
from reference_models.adversarial.cyclegan import CycleGAN, CycleLoss, History, TranslationNetwork
from reference_models.adversarial.dcgan import DCGAN, DCGANDiscriminator, DCGANGenerator
from reference_models.adversarial.f_gan import FGAN, Variational
from reference_models.adversarial.gan import GAN, Game, Maxout, Minimax, NonSaturating, Objective
from reference_models.adversarial.lsgan import LSGAN, LeastSquares
from reference_models.adversarial.pix2pix import (
    DrawnDropout,
    PatchDiscriminator,
    Pix2Pix,
    TranslationLoss,
    UNetGenerator,
)
from reference_models.adversarial.progressive_gan import (
    GrowingGAN,
    ProgressiveDiscriminator,
    ProgressiveGAN,
    ProgressiveGenerator,
)
from reference_models.adversarial.sagan import SAGAN, SelfAttention
from reference_models.adversarial.spectral_norm import SNGAN, Hinge, SpectralNorm
from reference_models.adversarial.stylegan import Epilogue, MappingNetwork, StyleGAN, StyleGenerator, SynthesisNetwork
from reference_models.adversarial.wgan import WGAN, Wasserstein
from reference_models.adversarial.wgan_gp import WGANGP

__all__ = [
    "CUT",
    "DCGAN",
    "FGAN",
    "GAN",
    "LSGAN",
    "SAGAN",
    "SNGAN",
    "WGAN",
    "WGANGP",
    "BigGAN",
    "BigGANGenerator",
    "ConditionalDiscriminator",
    "ConditionalGAN",
    "ConditionalGenerator",
    "ConstrainedGAN",
    "Constraint",
    "CovarianceConstraint",
    "CutLoss",
    "CycleGAN",
    "CycleLoss",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DrawnDropout",
    "Epilogue",
    "Game",
    "GrowingGAN",
    "Hinge",
    "History",
    "LeastSquares",
    "MappingNetwork",
    "Maxout",
    "Minimax",
    "NonSaturating",
    "Objective",
    "PatchDiscriminator",
    "Pix2Pix",
    "ProgressiveDiscriminator",
    "ProgressiveGAN",
    "ProgressiveGenerator",
    "ResidualConstraint",
    "SelfAttention",
    "SpectralNorm",
    "StyleGAN",
    "StyleGenerator",
    "SynthesisNetwork",
    "TranslationLoss",
    "TranslationNetwork",
    "UNetGenerator",
    "Variational",
    "Wasserstein",
]
