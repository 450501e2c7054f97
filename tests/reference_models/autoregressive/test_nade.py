"""NADE: enumeration, the conditionals by hand, the sampler against its law."""

import math

import pytest
import torch

from reference_models.autoregressive.nade import NADE
from reference_models.exact import departs_from_law, every_state
from tests.reference_models.autoregressive.laws import every_parameter_learns, parameters, rolled, strong_law
from tests.reference_models.helpers import close, perturb


def test_probabilities_of_all_vectors_sum_to_one() -> None:
    model = perturb(NADE(8, 5, order=[3, 0, 7, 1, 6, 2, 5, 4]), 0.5)
    assert close(model.log_prob(every_state((8,))).exp().sum(), 1.0)


def test_the_likelihood_is_the_product_of_the_papers_conditionals() -> None:
    """The recursion of the paper written out with loops over steps and hidden units."""
    order = [2, 0, 3, 1]
    model = perturb(NADE(4, 3, order=order), 0.5)
    W, V, b, c = (p.detach().tolist() for p in (model.W, model.V, model.b, model.c))
    for x in every_state((4,)):
        expected = 0.0
        for i, d in enumerate(order):
            h = [1 / (1 + math.exp(-(c[k] + sum(W[k][e] * float(x[e]) for e in order[:i])))) for k in range(3)]
            logit = b[d] + sum(V[d][k] * h[k] for k in range(3))
            p = 1 / (1 + math.exp(-logit))
            expected += math.log(p if x[d] == 1 else 1 - p)
        assert close(model.log_prob(x), expected, 1e-12)


def test_a_conditional_depends_on_all_variables_before_it_and_on_no_other() -> None:
    order = [4, 1, 0, 3, 2]
    model = perturb(NADE(5, 6, order=order), 0.5)
    J = torch.autograd.functional.jacobian(lambda x: model.logits(x[None])[0], torch.rand(5))
    in_order = J[order][:, order]
    assert bool((in_order.triu() == 0).all())
    assert bool((in_order[torch.ones(5, 5).tril(-1).bool()] != 0).all())


def test_the_default_order_is_that_of_the_vector() -> None:
    model = perturb(NADE(4, 3))
    J = torch.autograd.functional.jacobian(lambda x: model.logits(x[None])[0], torch.rand(4))
    assert bool((J.triu() == 0).all())


def test_samples_follow_the_law(generator: torch.Generator) -> None:
    """20000 draws of four variables in an order of their own; fails by chance once in a million seeds."""
    model = NADE(4, 6, order=[1, 3, 0, 2])
    log_p = strong_law(model, model.log_prob, every_state((4,)), rolled)
    samples = model.sample(20_000, generator=generator)
    assert samples.shape == (20_000, 4)
    assert not departs_from_law(samples, log_p)
    assert departs_from_law(rolled(samples), log_p)  # the test would see an error of order


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(NADE(6, 4))
    x = every_state((6,))
    assert close(torch.stack([model.log_prob(row) for row in x]), model.log_prob(x), 1e-12)
    assert model.log_prob(x[0]).shape == ()
    single = model.float().log_prob(x.float())
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x), 1e-5)
    assert model.float().sample(3).dtype == torch.float32


def test_integers_are_taken_and_every_parameter_learns() -> None:
    model = perturb(NADE(6, 4))
    x = every_state((6,))
    assert close(model.log_prob(x.long()), model.log_prob(x), 0.0)
    assert every_parameter_learns(model, -model.log_prob(x[:64]).mean())


def test_sampling_builds_no_graph_and_leaves_the_model_in_its_mode(generator: torch.Generator) -> None:
    model = NADE(3, 2)
    assert not model.sample(2, generator=generator).requires_grad
    assert model.training


def test_the_papers_size() -> None:
    """W and V of 784 × 500, b of 784, c of 500."""
    with torch.device("meta"):
        assert parameters(NADE.paper()) == 2 * 784 * 500 + 784 + 500


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: NADE(3, order=[0, 1, 1]), r"permutation of 0..2, got \[0, 1, 1\]"),
        (lambda: NADE(0), "dim must be at least 1, got 0"),
        (lambda: NADE(3).log_prob(torch.zeros(4)), r"shape \(3\) or \(N, 3\), got \(4,\)"),
        (lambda: NADE(3).log_prob(torch.full((3,), 0.4)), r"one of 2 levels.*got values in \[0.4, 0.4\]"),
        (lambda: NADE(3).log_prob(torch.full((3,), 2.0)), r"one of 2 levels.*got values in \[2, 2\]"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
