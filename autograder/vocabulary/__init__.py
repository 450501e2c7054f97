"""Assertions about student code: properties that every right answer has, whatever its architecture or random numbers.

Each takes handles or plain callables, raises `errors.Wrong` (or `PartialCredit`), and never lets NaN pass.

    tensors         assert_shape  assert_dtype  assert_finite  assert_binary  assert_close
    calls           assert_batch_consistent  assert_deterministic_under_seed  assert_works_in  assert_mode_restored
                    assert_tuple
    side_effects    assert_unchanged_arguments  assert_no_graph  assert_leaves_no_gradient
    gradients       assert_trains  assert_gradient_reaches  assert_no_gradient_reaches
                    assert_gradient_equals  assert_gradient_matches_finite_differences
    steps           assert_step_changes_only
    curves          assert_minimised_at  assert_affine_in
    draws           assert_mean (of any law)  retried
    autoregressive  assert_causal (asks for dependence too)  assert_depends  assert_receptive_field
                    dependence_matrix  receptive_field
    likelihood      assert_normalised  assert_log_prob_matches_conditionals
                    enumerate_binary  state_index  conditional_log_probs  log_likelihood_from_conditionals
                    sequential_log_likelihood (the future is withheld)  bits_per_dim
    laws            assert_samples_follow (χ²)  assert_samples_follow_conditionals  assert_frequencies
                    assert_moments  draw_twice
    quality         assert_excess (below the entropy is a leak)  assert_score  score_line  assert_same_law
    trained         assert_answers_from_weights  assert_weights_matter  assert_learns  assert_teaches_only  assert_fresh
                    assert_learned_in_weights
                    transplanted
    samples         assert_diverse  assert_not_memorised  assert_modes_covered
    flows           assert_inverse  assert_log_det  assert_passes  assert_every_coordinate_moves
                    change_of_variables (the Jacobian is measured)
    couplings       assert_coupling_flow (layer by layer)  assert_bijection (of a trained flow)
    densities       assert_integrates_to_one
    fields          assert_trace_estimator  assert_adjoint_matches  SolverGradients
    latent          assert_gaussian_kl  assert_density  assert_bound  assert_increasing
    pathwise        assert_reparametrised  assert_straight_through
    vae             vae_figures (of a trained VAE)  VAEFigures  mutual_distance
    mixtures        assert_em_step
    normal          assert_standard_normal (noise that is fresh)  assert_steps_follow (each step of a chain)
    times           assert_covers_times
    functions       assert_same_in_any_company  assert_continuous (by bisection)
    numbers         assert_number (yours, expected, and the input in words)
    descent         assert_displacement (a sequence of optimiser steps)  Step
    adversarial     assert_points_between  assert_gradient_penalty
    critics         assert_top_singular_value  assert_divergence_bound
    evaluation      assert_frechet  assert_precision_recall
    diffusion       assert_schedule  assert_consistent_noising  Noising  assert_posterior  assert_score_of
                    assert_guided (the convention is said)
    flow_matching   assert_straight_paths  assert_velocity  assert_coupling_optimal  assert_straightness

Checks import them from `autograder.checks`. Stochastic assertions state the probability of failing a right answer,
`false_failure`, 1e-6 by default. An author's own mistake (too few samples, a wrong permutation) is an AuthorError,
never a student's fault.
"""
