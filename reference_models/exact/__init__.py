"""Answers known exactly, for checks: laws of few states, laws of samplers on Gaussian data, best denoisers.

A model small enough, or data simple enough, has one right answer, however the model was written. Hidden checks and the
tests of this library take those answers from here.
"""

from reference_models.exact.bars import bars_log_prob, crossed_bars_log_prob
from reference_models.exact.gaussian_data import BestNoise, ContinuousNoise, GaussianPerturbation, best_guess
from reference_models.exact.sampler_laws import (
    AffineStep,
    NormalLaw,
    ancestral_steps,
    ddim_steps,
    euler_steps,
    law_of_sampler,
    off_by,
    reverse_diffusion_steps,
)
from reference_models.exact.states import departs_from_law, every_state, state_number

__all__ = [
    "AffineStep",
    "BestNoise",
    "ContinuousNoise",
    "GaussianPerturbation",
    "NormalLaw",
    "ancestral_steps",
    "bars_log_prob",
    "best_guess",
    "crossed_bars_log_prob",
    "ddim_steps",
    "departs_from_law",
    "euler_steps",
    "every_state",
    "law_of_sampler",
    "off_by",
    "reverse_diffusion_steps",
    "state_number",
]
