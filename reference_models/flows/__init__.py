"""Normalizing flows: densities made of invertible maps.

A flow is a `Transform` (z, log|det ∂z/∂x| = forward(x); x, log|det ∂x/∂z| = inverse(z)) inside a `FlowDensity`, which
adds the base and with it log_prob and sample; both stand in change_of_variables.py and nowhere else. One file a
family; bases.py has the base distributions, multi_scale.py the squeeze and the factoring-out that image flows share.
"""

from reference_models.flows.bases import Base, StandardLogistic, StandardNormal
from reference_models.flows.change_of_variables import Composed, Drawn, FlowDensity, Inverse, Transform
from reference_models.flows.dequantisation import Dequantisation, Noise, UniformDequantisation
from reference_models.flows.ffjord import FFJORD, ConcatSquash, ConcatSquashField
from reference_models.flows.glow import ActNorm, ConditionalGaussian, Glow, GlowCoupling
from reference_models.flows.iaf import IAF, GatedAutoregressive, InitialAffine
from reference_models.flows.linear import InvertibleLinear, LinearFlow, Shift
from reference_models.flows.logit_transform import Logit
from reference_models.flows.maf import MAF, AffineAutoregressive
from reference_models.flows.multi_scale import Flatten, MultiScale, Squeeze
from reference_models.flows.neural_ode import CNF, ContinuousTransform
from reference_models.flows.nice import NICE, AdditiveCoupling, DiagonalScaling
from reference_models.flows.planar import Planar, PlanarFlow
from reference_models.flows.radial import Radial, RadialFlow
from reference_models.flows.realnvp import AffineCoupling, ConvResNet, InvertibleBatchNorm, RealNVP
from reference_models.flows.spline import NSF, Knots, SplineCoupling
from reference_models.flows.sylvester import Sylvester, SylvesterFlow
from reference_models.flows.variational_dequantisation import VariationalDequantisation

__all__ = [
    "CNF",
    "FFJORD",
    "IAF",
    "MAF",
    "NICE",
    "NSF",
    "ActNorm",
    "AdditiveCoupling",
    "AffineAutoregressive",
    "AffineCoupling",
    "Base",
    "Composed",
    "ConcatSquash",
    "ConcatSquashField",
    "ConditionalGaussian",
    "ContinuousTransform",
    "ConvResNet",
    "Dequantisation",
    "DiagonalScaling",
    "Drawn",
    "Flatten",
    "FlowDensity",
    "GatedAutoregressive",
    "Glow",
    "GlowCoupling",
    "InitialAffine",
    "Inverse",
    "InvertibleBatchNorm",
    "InvertibleLinear",
    "Knots",
    "LinearFlow",
    "Logit",
    "MultiScale",
    "Noise",
    "Planar",
    "PlanarFlow",
    "Radial",
    "RadialFlow",
    "RealNVP",
    "Shift",
    "SplineCoupling",
    "Squeeze",
    "StandardLogistic",
    "StandardNormal",
    "Sylvester",
    "SylvesterFlow",
    "Transform",
    "UniformDequantisation",
    "VariationalDequantisation",
]
