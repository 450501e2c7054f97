"""Score and diffusion models: learn what noise hides, and data can be drawn from noise.

Score matching fits ∇ log p; at many noise levels (NCSN) it lets Langevin steps sample. In discrete time a schedule and
its Gaussian posteriors give a bound on the likelihood (gaussian_diffusion) and a network that denoises (ddpm), whatever
it predicts (parametrisation), sampled in many ways (ddpm, ddim) and steered (classifier_guidance, classifier_free,
sr3). In continuous time the same is an SDE (sde, score_sde, predictor_corrector) with an equation for its density
(fokker_planck) and an ODE with exact likelihood (probability_flow). Symbols are diffused by d3pm, codes by
latent_diffusion; networks are dit and the U-Net of parts.

Conventions: indices t = 0..T−1 mean x_1..x_T and −1 the data; continuous time goes from 0 (data) to 1 (noise).
Guidance: ε = (1 − w) ε_uncond + w ε_cond, so w = 1 is the conditional model; the form with (1 + w') has w' = w − 1.
"""

from reference_models.diffusion.classifier_free import ClassifierFree
from reference_models.diffusion.classifier_guidance import ClassifierGuided, GuidedAncestral
from reference_models.diffusion.d3pm import D3PM, Transitions
from reference_models.diffusion.ddim import DDIM
from reference_models.diffusion.ddpm import DDPM, Ancestral, Sampler
from reference_models.diffusion.dit import DiT, DiTBlock
from reference_models.diffusion.gaussian_diffusion import Bound, Gaussian, GaussianDiffusion
from reference_models.diffusion.latent_diffusion import Code, KLAutoencoder, LatentDiffusion
from reference_models.diffusion.ncsn import NCSN
from reference_models.diffusion.parametrisation import Prediction
from reference_models.diffusion.predictor_corrector import LangevinCorrector, ReverseDiffusion
from reference_models.diffusion.probability_flow import ProbabilityFlow
from reference_models.diffusion.schedule import Schedule
from reference_models.diffusion.score_sde import Corrector, EulerMaruyama, Predictor, ScoreSDE
from reference_models.diffusion.sde import SDE, VE, VP, SubVP
from reference_models.diffusion.sr3 import SR3
from reference_models.diffusion.tokens import TokenTransformer

__all__ = [
    "D3PM",
    "DDIM",
    "DDPM",
    "NCSN",
    "SDE",
    "SR3",
    "VE",
    "VP",
    "Ancestral",
    "Bound",
    "ClassifierFree",
    "ClassifierGuided",
    "Code",
    "Corrector",
    "DiT",
    "DiTBlock",
    "EulerMaruyama",
    "Gaussian",
    "GaussianDiffusion",
    "GuidedAncestral",
    "KLAutoencoder",
    "LangevinCorrector",
    "LatentDiffusion",
    "Prediction",
    "Predictor",
    "ProbabilityFlow",
    "ReverseDiffusion",
    "Sampler",
    "Schedule",
    "ScoreSDE",
    "SubVP",
    "TokenTransformer",
    "Transitions",
]
