"""Flow matching: the velocity from noise to data, learnt by regression.

A path of laws from noise (t = 0) to data (t = 1) is fixed first; a network learns the velocity that moves one into the
next, and an ODE solver draws samples. Conventions of the folder: x_0 is noise, x_1 data; v(x, t) or v(x, t, y) with t
of shape (N,) or (); losses are means over batch and dimensions; guidance weight 1 is the plain conditional flow.
"""

from reference_models.flow_matching.conditional import FlowMatching
from reference_models.flow_matching.exact import ExactVelocity
from reference_models.flow_matching.guidance import GuidedFlowMatching
from reference_models.flow_matching.latent import LatentFlowMatching
from reference_models.flow_matching.likelihood import FlowMatchingDensity
from reference_models.flow_matching.ot_coupling import OTFlowMatching
from reference_models.flow_matching.paths import (
    Coefficients,
    GaussianPath,
    Linear,
    LinearSDE,
    PathSample,
    Place,
    Trigonometric,
    VariancePreserving,
)
from reference_models.flow_matching.rectified_flow import Pairs, RectifiedFlow

__all__ = [
    "Coefficients",
    "ExactVelocity",
    "FlowMatching",
    "FlowMatchingDensity",
    "GaussianPath",
    "GuidedFlowMatching",
    "LatentFlowMatching",
    "Linear",
    "LinearSDE",
    "OTFlowMatching",
    "Pairs",
    "PathSample",
    "Place",
    "RectifiedFlow",
    "Trigonometric",
    "VariancePreserving",
]
