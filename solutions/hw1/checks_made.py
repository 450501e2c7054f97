"""Homework 1, hidden checks of part 2: MADE, its masks, its log-likelihood and its sampler."""

from __future__ import annotations

import pytest
import torch

from autograder.checks import (
    Wrong,
    assert_binary,
    assert_close,
    assert_dtype,
    assert_finite,
    assert_normalised,
    assert_shape,
    contents,
    load_state_dict,
    parameter_gradients,
    state_dict,
)

from ..common.draws import F64, bits, normal, randint
from .properties import assert_causal_and_seeing, assert_exact_law, assert_known_law, assert_random_and_free


@pytest.mark.graded("made-masks", points=0.45)
def test_made_masks_of_many_sizes(student, rng, figures):
    """The product of the masks is zero on and above the diagonal, and positive below it where there is room."""
    n = randint(rng, 4, 9)
    wide = [randint(rng, n - 1, 2 * n) for _ in range(randint(rng, 2, 4))]
    for dims, hidden in [(2, [1]), (3, [2]), (n, [n - 1]), (n, wide), (8, [3]), (8, [20, 2, 9])]:
        masks = contents(student.made_masks(dims, hidden))
        what = f"`made_masks({dims}, {hidden})`"
        if not isinstance(masks, list | tuple) or len(masks) != len(hidden) + 1:
            raise Wrong(f"{what} should be a list of {len(hidden) + 1} masks")
        product = torch.eye(dims, dtype=F64)
        for mask, into, out in zip(masks, [dims, *hidden], [*hidden, dims], strict=True):
            assert_binary(assert_shape(mask, (out, into), f"a mask of {what}"), f"a mask of {what}")
            if not mask.is_floating_point():
                raise Wrong(f"the masks of {what} should be float tensors, got {mask.dtype}")
            product = mask.double() @ product
        if hidden == wide:
            possible = torch.ones(dims, dims).tril(-1)
            figures.heatmap(
                "Paths from input (column) to output (row)",
                {"product of your masks": product, "where paths must be": possible},
            )
        if product.triu().any():
            i, j = product.triu().nonzero()[0].tolist()
            raise Wrong(f"the product of the masks of {what} lets output {i} see input {j}")
        lost = (product == 0) & (torch.ones(dims, dims).tril(-1) == 1)
        if min(hidden) >= dims - 1 and lost.any():
            i, j = lost.nonzero()[0].tolist()
            raise Wrong(f"in the product of the masks of {what} no path leads from input {j} to output {i}")


@pytest.mark.graded("made-masks", points=0.3)
def test_masked_linear_layer_uses_its_mask(student, rng):
    """`MaskedLinear` multiplies the mask into whatever weights it has now, and does not train the mask."""
    mask = bits(rng, 5, 7)
    mask[0], mask[1] = 0.0, 1.0
    layer = student.MaskedLinear(mask.float()).double()
    x = normal(rng, 6, 7)
    for _ in range(2):  # the mask must not be burnt into the first weights
        weight, bias = normal(rng, 5, 7), normal(rng, 5)
        load_state_dict(layer, state_dict(layer) | {"weight": weight, "bias": bias})
        others = {"the mask is not applied": x @ weight.T + bias, "the bias is missing": x @ (mask * weight).T}
        assert_close(layer(x), x @ (mask * weight).T + bias, "`MaskedLinear(mask)(x)`", alternatives=others)
    found = parameter_gradients(layer, x, of=layer)
    trained = {name for name, g in found.items() if g is not None}
    if trained != {"weight", "bias"}:
        raise Wrong(f"the layer should train its weight and its bias, but it trains {sorted(trained)}")


@pytest.mark.graded("made-log-prob", points=0.25)
def test_log_prob_of_a_known_law(student, rng):
    """`log_prob` gives the exact law of known networks, one number an image, in nats, also for very large logits."""
    for shape in ((5,), (1, 2, 3)):
        assert_known_law(student, student.log_prob, shape, rng, "`log_prob`")


@pytest.mark.graded("made-log-prob", points=0.15)
def test_log_prob_of_single_precision(student, rng):
    """`log_prob` of float32 images is float32, finite and exact for logits of ±800, for vectors and images."""
    for shape in ((4,), (1, 2, 2)):
        x = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]).reshape(2, *shape)
        signs = torch.tensor([[1.0, -1.0, 1.0, -1.0]]).reshape(1, *shape)
        logits = student.probe("Constant", 800.0 * signs[0])
        value = assert_dtype(student.log_prob(logits, x), torch.float32, "`log_prob` of float32 images")
        expected = torch.tensor([-3200.0, -1600.0])
        assert_close(assert_finite(value, "`log_prob` for logits of ±800"), expected, "`log_prob` for logits of ±800")


@pytest.mark.graded("made-log-prob", points=0.15)
def test_made_itself_is_normalised_and_causal(student, seed, rng):
    """Your MADE's probabilities sum to 1, and each logit sees its predecessor but no later pixel."""
    net = student.MADE(6, (80, 60)).double()
    assert_causal_and_seeing(net, (4, 6), [(0, -1)], seed, rng, "your MADE")
    assert_normalised(lambda x: student.log_prob(net, x), 6, dtype=F64, what="your MADE under `log_prob`")


@pytest.mark.graded("made-sampling", points=0.4)
def test_made_samples_follow_the_exact_law(student, rng):
    """Samples of a network with strong conditionals follow its exact law."""
    assert_exact_law(student, student.made_sample, (4,), (4,), rng, "the samples of `made_sample`")


@pytest.mark.graded("made-sampling", points=0.1)
def test_made_samples_repeat_under_a_seed(student, rng):
    """`made_sample` repeats under the same seed, differs under another, and keeps no gradient graph."""
    assert_random_and_free(student, student.made_sample, (24,), (24,), rng, "`made_sample`")
