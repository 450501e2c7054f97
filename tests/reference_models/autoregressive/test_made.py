"""MADE: enumeration, Jacobians, masks by hand, the law of drawn degrees, the sampler against its law."""

import itertools

import pytest
import torch
from scipy.stats import chi2

from reference_models.autoregressive.made import MADE
from reference_models.exact import departs_from_law, every_state
from tests.reference_models.autoregressive.laws import (
    every_parameter_learns,
    parameters,
    rolled,
    strong_law,
)
from tests.reference_models.helpers import close, numpy, perturb


def one_by_one(model: MADE, x: torch.Tensor, degrees=None) -> torch.Tensor:
    return torch.autograd.functional.jacobian(lambda v: model.logits(v[None], degrees)[0], x)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("order", [None, [5, 0, 7, 2, 1, 6, 4, 3]])
def test_probabilities_of_all_vectors_sum_to_one(order, direct) -> None:
    model = perturb(MADE(8, (9, 10), order, direct=direct), 0.5)
    assert close(model.log_prob(every_state((8,))).exp().sum(), 1.0)


@pytest.mark.parametrize("direct", [False, True])
def test_a_logit_depends_on_the_variables_before_it_and_on_no_other(direct) -> None:
    """∂ logit / ∂x in the order is strictly lower triangular, and full there when the hidden layers are wide."""
    order = [3, 1, 4, 0, 2]
    model = perturb(MADE(5, (64, 64), order, direct=direct), 0.5)
    J = sum(one_by_one(model, torch.randn(5)).abs() for _ in range(20))
    in_order = J[order][:, order]
    assert bool((in_order.triu() == 0).all())
    assert bool((in_order[torch.ones(5, 5).tril(-1).bool()] > 0).all())


def test_the_product_of_the_masks_is_strictly_lower_triangular_and_full() -> None:
    order = [1, 3, 0, 2]
    masks = MADE(4, (12, 12), order).masks()
    paths = masks[2].double() @ masks[1].double() @ masks[0].double()
    in_order = paths[order][:, order]
    assert bool((in_order.triu() == 0).all())
    assert bool((in_order[torch.ones(4, 4).tril(-1).bool()] > 0).all())


def test_masks_follow_equations_12_and_13() -> None:
    """Degrees written down by hand: inputs 3, 1, 2 (x_1 comes last), hidden 1, 2, 2, 1."""
    model = MADE(3, (4,))
    degrees = [torch.tensor([3, 1, 2]), torch.tensor([1, 2, 2, 1])]
    first, last = model.masks(degrees)
    assert first.long().tolist() == [[0, 1, 0], [0, 1, 1], [0, 1, 1], [0, 1, 0]]
    assert last.long().tolist() == [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]]


def test_the_logits_are_those_of_the_masked_network_written_out() -> None:
    """c + (V ⊙ M^V) relu(b + (W ⊙ M^W) x) + (A ⊙ M^A) x for hand-written masks of three variables."""
    model = perturb(MADE(3, (4,), direct=True), 0.5)
    degrees = [torch.tensor([3, 1, 2]), torch.tensor([1, 2, 2, 1])]
    M_W = torch.tensor([[0, 1, 0], [0, 1, 1], [0, 1, 1], [0, 1, 0]]) * 1.0
    M_V = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]]) * 1.0
    M_A = torch.tensor([[0, 1, 1], [0, 0, 0], [0, 1, 0]]) * 1.0
    W, V = model.layers
    for x in every_state((3,)):
        h = (W.bias + (W.weight * M_W) @ x).clamp(min=0)
        expected = V.bias + (V.weight * M_V) @ h + (model.direct.weight * M_A) @ x
        assert close(model.logits(x[None], degrees)[0], expected, 1e-12)


def test_one_variable_has_a_constant_logit() -> None:
    model = perturb(MADE(1, (4,)))
    assert close(model.log_prob(torch.tensor([[0.0], [1.0]])).exp().sum(), 1.0)
    assert close(model.logits(torch.tensor([[0.0], [1.0]])), model.layers[-1].bias.expand(2, 1), 1e-12)
    assert close(model.log_prob(torch.ones(1), model.sample_degrees()).exp() + model.log_prob(torch.zeros(1)).exp(), 1)


def test_drawn_orders_are_uniform_over_permutations(generator: torch.Generator) -> None:
    """6000 orders of three variables, chi-square with 5 degrees of freedom; fails by chance once in a million."""
    model = MADE(3, (4,))
    drawn = [tuple(model.sample_degrees(generator=generator)[0].tolist()) for _ in range(6000)]
    counts = [drawn.count(order) for order in itertools.permutations([1, 2, 3])]
    assert sum(counts) == 6000
    assert sum((n - 1000) ** 2 / 1000 for n in counts) < chi2.isf(1e-6, 5)


def test_drawn_hidden_degrees_are_uniform_over_the_useful_ones(generator: torch.Generator) -> None:
    """From the lowest degree of the layer before up to D − 1: no unit without inputs, none without outputs."""
    model = MADE(5, (4000, 1, 4000))
    first = torch.bincount(model.sample_degrees(generator=generator)[1], minlength=6).tolist()
    assert first[0] == first[5] == 0
    assert sum((n - 1000) ** 2 / 1000 for n in first[1:5]) < chi2.isf(1e-6, 3)
    seen = set()
    for _ in range(30):  # all four degrees of the one unit between turn up, but for 30 seeds in a million
        m = model.sample_degrees(generator=generator)
        assert sorted(set(m[3].tolist())) == list(range(int(m[2]), 5))
        seen.add(int(m[2]))
    assert len(seen) > 2
    kept = model.sample_degrees(order=False, generator=generator)
    assert kept[0].tolist() == [1, 2, 3, 4, 5]
    kept = model.sample_degrees(connectivity=False, generator=generator)
    assert all(torch.equal(a, b) for a, b in zip(kept[1:], model.degrees[1:], strict=True))


def test_with_drawn_degrees_it_is_a_density_in_the_drawn_order(generator: torch.Generator) -> None:
    model = perturb(MADE(6, (20, 20)), 0.5)
    for _ in range(5):
        degrees = model.sample_degrees(generator=generator)
        assert close(model.log_prob(every_state((6,)), degrees).exp().sum(), 1.0)
        order = torch.argsort(degrees[0])
        J = one_by_one(model, torch.randn(6), degrees)
        assert bool((J[order][:, order].triu() == 0).all())


def test_the_ensemble_averages_probabilities(generator: torch.Generator) -> None:
    """Averages p, not log p; a mixture of densities is a density."""
    model = perturb(MADE(5, (12,)), 0.8)
    members = [model.sample_degrees(generator=generator) for _ in range(3)]
    x = every_state((5,))
    each = torch.stack([model.log_prob(x, m) for m in members])
    assert close(model.ensemble_log_prob(x, members).exp(), each.exp().mean(0), 1e-12)
    assert each.std(0).max() > 0.1  # the members do differ
    assert model.ensemble_log_prob(x[0], members).shape == ()


@pytest.mark.parametrize("drawn", [False, True])
def test_samples_follow_the_law(drawn, generator: torch.Generator) -> None:
    """20000 draws of four variables; fails by chance once in a million seeds."""
    model = MADE(4, (32,), [2, 0, 3, 1])
    degrees = model.sample_degrees(generator=generator) if drawn else None
    log_p = strong_law(model, lambda x: model.log_prob(x, degrees), every_state((4,)), rolled)
    samples = model.sample(20_000, degrees=degrees, generator=generator)
    assert not departs_from_law(samples, log_p)
    assert departs_from_law(rolled(samples), log_p)


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(MADE(6, (8,)))
    x = every_state((6,))
    assert close(torch.stack([model.log_prob(row) for row in x]), model.log_prob(x), 1e-12)
    single = model.float().log_prob(x.float())
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x), 1e-5)
    assert model.float().sample(3).dtype == torch.float32


def test_the_masks_travel_with_the_weights() -> None:
    model = perturb(MADE(4, (6,), [3, 1, 0, 2]))
    other = MADE(4, (6,))
    other.load_state_dict(model.state_dict())
    x = every_state((4,))
    assert close(other.log_prob(x), model.log_prob(x), 0.0)
    assert numpy(other.degrees[0]).tolist() == [3, 2, 4, 1]


def test_every_parameter_learns() -> None:
    model = perturb(MADE(6, (8, 8), direct=True))
    assert every_parameter_learns(model, -model.log_prob(every_state((6,))).mean())
    assert model.training
    model.sample(2)
    assert model.training


def test_the_papers_size() -> None:
    """784 → 8000 → 8000 → 784 with biases."""
    with torch.device("meta"):
        assert parameters(MADE.paper()) == 784 * 8000 + 8000 + 8000 * 8000 + 8000 + 8000 * 784 + 784


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: MADE(3, (4,), [0, 1, 3]), r"permutation of 0..2, got \[0, 1, 3\]"),
        (lambda: MADE(3, ()), r"at least one positive width, got \(\)"),
        (lambda: MADE(3, (4, 0)), r"positive width, got \(4, 0\)"),
        (lambda: MADE(3).log_prob(torch.zeros(2, 4)), r"shape \(3\) or \(N, 3\), got \(2, 4\)"),
        (lambda: MADE(3).log_prob(torch.full((3,), 0.4)), r"one of 2 levels.*got values in \[0.4, 0.4\]"),
        (lambda: MADE(3, (4,)).masks([torch.tensor([1, 2, 3])]), r"lengths \[3, 4\], got \[3\]"),
        (lambda: MADE(2, (1,)).masks([torch.tensor([1, 1]), torch.ones(1)]), r"permutation of 1..2, got \[1, 1\]"),
        (lambda: MADE(3).ensemble_log_prob(torch.zeros(3), []), "members must be at least 1, got 0"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
