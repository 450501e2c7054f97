"""Assertions about student code: properties that every right answer has, whatever its architecture or random numbers.

Each takes handles or plain callables, raises `errors.Wrong` (or `PartialCredit`), and never lets NaN pass.

    tensors         assert_shape  assert_dtype  assert_finite  assert_binary  assert_close
    calls           assert_unchanged_arguments  assert_batch_consistent  assert_deterministic_under_seed
                    assert_works_in  assert_mode_restored
    gradients       assert_trains  assert_gradient_reaches  assert_no_gradient_reaches
                    assert_gradient_equals  assert_gradient_matches_finite_differences
    autoregressive  assert_causal (asks for dependence too)  assert_depends  assert_receptive_field
                    dependence_matrix  receptive_field
    likelihood      assert_normalised  assert_log_prob_matches_conditionals
                    enumerate_binary  state_index  conditional_log_probs  log_likelihood_from_conditionals
                    sequential_log_likelihood (the future is withheld)  bits_per_dim
    laws            assert_samples_follow (χ²)  assert_samples_follow_conditionals  assert_frequencies
                    assert_moments  draw_twice
    quality         assert_excess (below the entropy is a leak)  assert_score  score_line  assert_same_law
    samples         assert_diverse  assert_not_memorised  assert_modes_covered

Checks import them from `autograder.checks`. Stochastic assertions state the probability of failing a right answer,
`false_failure`, 1e-6 by default. An author's own mistake (too few samples, a wrong permutation) is an AuthorError,
never a student's fault.
"""
