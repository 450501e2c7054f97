"""All that a check needs, from one place, loaded when it is asked for.

    from autograder.checks import assert_causal, call, graded

    @graded("pixelcnn-mask", points=0.5)
    def test_type_a_hides_the_centre(student):
        '''A type-A convolution lets a pixel depend only on pixels before it in raster order.'''
        assert_causal(student.MaskedConv2d("A", 1, 4, 5), shape=(1, 1, 6, 6))

The assertions by family, what can be asked of a handle, probes and what is known of them, and the two exceptions a
check raises itself. Public and hidden checks import this module and nothing else of the engine.
"""

from __future__ import annotations

import importlib
from typing import Any

HOMES: dict[str, tuple[str, ...]] = {
    "autograder.errors": (
        "MissingName",
        "PartialCredit",
        "StudentFault",
        "Wrong",
    ),
    "autograder.seeds": ("apart",),
    "autograder.homework.handed": (
        "CourseData",
        "hands_over",
    ),
    "autograder.student": (
        "Handle",
        "Student",
        "accepts",
        "as_handle",
        "call",
        "call_with_echo",
        "contents",
        "gradient",
        "is_callable",
        "is_module",
        "jacobian",
        "jacobian_blocks",
        "keep",
        "load_state_dict",
        "optimiser",
        "parameter_gradients",
        "parameters",
        "parts_with_graph",
        "perturb",
        "records",
        "run_fit",
        "signature",
        "state_dict",
        "train_network",
        "type_name",
    ),
    "autograder.vocabulary.adversarial": (
        "assert_gradient_penalty",
        "assert_points_between",
    ),
    "autograder.vocabulary.autoregressive": (
        "assert_causal",
        "assert_depends",
        "assert_receptive_field",
        "dependence_matrix",
        "receptive_field",
    ),
    "autograder.vocabulary.calls": (
        "assert_batch_consistent",
        "assert_deterministic_under_seed",
        "assert_mode_restored",
        "assert_tuple",
        "assert_works_in",
    ),
    "autograder.vocabulary.couplings": (
        "assert_bijection",
        "assert_coupling_flow",
    ),
    "autograder.vocabulary.critics": (
        "assert_divergence_bound",
        "assert_top_singular_value",
    ),
    "autograder.vocabulary.curves": (
        "assert_affine_in",
        "assert_minimised_at",
    ),
    "autograder.vocabulary.densities": ("assert_integrates_to_one",),
    "autograder.vocabulary.descent": (
        "Step",
        "assert_displacement",
    ),
    "autograder.vocabulary.diffusion": (
        "Noising",
        "assert_consistent_noising",
        "assert_guided",
        "assert_posterior",
        "assert_schedule",
        "assert_score_of",
    ),
    "autograder.vocabulary.draws": (
        "assert_mean",
        "retried",
    ),
    "autograder.vocabulary.evaluation": (
        "assert_frechet",
        "assert_precision_recall",
    ),
    "autograder.vocabulary.fields": (
        "SolverGradients",
        "assert_adjoint_matches",
        "assert_trace_estimator",
    ),
    "autograder.vocabulary.flow_matching": (
        "assert_coupling_optimal",
        "assert_straight_paths",
        "assert_straightness",
        "assert_velocity",
    ),
    "autograder.vocabulary.flows": (
        "assert_every_coordinate_moves",
        "assert_inverse",
        "assert_log_det",
        "assert_passes",
        "change_of_variables",
    ),
    "autograder.vocabulary.functions": (
        "assert_continuous",
        "assert_same_in_any_company",
    ),
    "autograder.vocabulary.gradients": (
        "assert_gradient_equals",
        "assert_gradient_matches_finite_differences",
        "assert_gradient_reaches",
        "assert_no_gradient_reaches",
        "assert_trains",
    ),
    "autograder.vocabulary.latent": (
        "assert_bound",
        "assert_density",
        "assert_gaussian_kl",
        "assert_increasing",
    ),
    "autograder.vocabulary.laws": (
        "assert_frequencies",
        "assert_moments",
        "assert_samples_follow",
        "assert_samples_follow_conditionals",
        "draw_twice",
    ),
    "autograder.vocabulary.likelihood": (
        "assert_log_prob_matches_conditionals",
        "assert_normalised",
        "bits_per_dim",
        "conditional_log_probs",
        "enumerate_binary",
        "log_likelihood_from_conditionals",
        "sequential_log_likelihood",
        "state_index",
    ),
    "autograder.vocabulary.mixtures": ("assert_em_step",),
    "autograder.vocabulary.normal": (
        "assert_standard_normal",
        "assert_steps_follow",
    ),
    "autograder.vocabulary.numbers": ("assert_number",),
    "autograder.vocabulary.pathwise": (
        "assert_reparametrised",
        "assert_straight_through",
    ),
    "autograder.vocabulary.quality": (
        "assert_excess",
        "assert_same_law",
        "assert_score",
        "score_line",
    ),
    "autograder.vocabulary.samples": (
        "assert_diverse",
        "assert_modes_covered",
        "assert_not_memorised",
    ),
    "autograder.vocabulary.side_effects": (
        "assert_leaves_no_gradient",
        "assert_no_graph",
        "assert_unchanged_arguments",
    ),
    "autograder.vocabulary.steps": ("assert_step_changes_only",),
    "autograder.vocabulary.tensors": (
        "assert_binary",
        "assert_close",
        "assert_dtype",
        "assert_finite",
        "assert_shape",
    ),
    "autograder.vocabulary.trained": (
        "assert_answers_from_weights",
        "assert_fresh",
        "assert_learned_in_weights",
        "assert_learns",
        "assert_teaches_only",
        "assert_weights_matter",
        "transplanted",
    ),
    "autograder.vocabulary.times": ("assert_covers_times",),
    "autograder.vocabulary.vae": (
        "VAEFigures",
        "mutual_distance",
        "vae_figures",
    ),
    "autograder.vocabulary.chance": ("FALSE_FAILURE",),
    "autograder.vocabulary.known_laws": (
        "DIVERGENCES",
        "Divergence",
        "LinearGaussianLaw",
        "affine_flow_law",
        "cell_log_probability",
        "cell_mean_log_density",
        "dense_pair",
        "encoder_near",
        "euler_law",
        "euler_path",
        "exact_encoder",
        "exponential_bias",
        "gaussian_recursion",
        "invertible_matrix",
        "linear_gaussian_law",
        "mixture_log_prob",
        "noise_table",
        "orthogonal_columns",
        "strong_table",
        "table_energy_law",
        "table_law",
        "triangular_pair",
        "vp_moments",
        "weight_with_singular_values",
    ),
    "autograder.worker.probes": (
        "AffineFlow",
        "AffinePair",
        "AffineScore",
        "Bend",
        "Conditional",
        "Conjugate",
        "Constant",
        "ConstantCode",
        "DiscreteCritic",
        "Exploding",
        "GaussianDecoder",
        "GaussianEncoder",
        "GaussianNoise",
        "GaussianScore",
        "GaussianVelocity",
        "LabelGaussian",
        "Linear",
        "LinearField",
        "LinearInTime",
        "MixtureScore",
        "Perceptron",
        "Quadratic",
        "Recorder",
        "ReluMap",
        "Rotate",
        "Scale",
        "SigmaScore",
        "SmallField",
        "SmallVelocity",
        "SwirlField",
        "TableConditional",
        "TableEnergy",
        "TanhScore",
        "TimeAffine",
        "TimeField",
        "TriangularPair",
        "WaveCritic",
    ),
}
_HOME_OF = {name: home for home, names in HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "graded"])


def __getattr__(name: str) -> Any:
    if name == "graded":
        pytest = importlib.import_module("pytest")
        return pytest.mark.graded
    if name not in _HOME_OF:
        raise AttributeError(f"autograder.checks has no {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
