"""Foundations: what it means for one law to be close to another, and how to draw from, or integrate against, a law.

Divergences come in three forms where they can: exact on finite laws, closed for Gaussians, estimated from samples. The
other files are the tools every later family uses: Bayesian averaging where it is exact, importance and rejection
sampling, Langevin dynamics.

Conventions: nats; finite laws are rows of probabilities, shape (*B, K), last dimension summing to one.
"""

from reference_models.foundations.conjugate_bayes import BetaBernoulli, LinearRegression, Prediction
from reference_models.foundations.divergences import Estimate, GaussianFit
from reference_models.foundations.f_divergences import FDivergence
from reference_models.foundations.importance_sampling import Weighted
from reference_models.foundations.langevin import MalaSamples
from reference_models.foundations.rejection_sampling import Accepted
from reference_models.foundations.wasserstein import DiscreteTransport, DistancePotential

__all__ = [
    "Accepted",
    "BetaBernoulli",
    "DiscreteTransport",
    "DistancePotential",
    "Estimate",
    "FDivergence",
    "GaussianFit",
    "LinearRegression",
    "MalaSamples",
    "Prediction",
    "Weighted",
]
