"""Homework 1, hidden checks. Inputs are drawn anew in every run; no check holds a stored answer.

Log-likelihoods and samplers are examined with networks of the judge's (probes), so that a mistake in the student's own
network costs the points of the network only. Where a law is compared, the judge computes it exactly.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn.functional import conv2d

from autograder.errors import Wrong
from autograder.student import call, call_with_echo, keep, load_state_dict, parameter_gradients, perturb, state_dict
from autograder.vocabulary import (
    assert_batch_consistent,
    assert_binary,
    assert_causal,
    assert_close,
    assert_diverse,
    assert_dtype,
    assert_excess,
    assert_finite,
    assert_normalised,
    assert_not_memorised,
    assert_receptive_field,
    assert_samples_follow,
    assert_score,
    assert_shape,
    assert_trains,
    assert_unchanged_arguments,
    conditional_log_probs,
    dependence_matrix,
    enumerate_binary,
    receptive_field,
    sequential_log_likelihood,
)
from autograder.worker.probes import TableConditional, strong_table, table_law

from .laws import (
    F64,
    attention,
    bars_law,
    bits,
    digits,
    draw,
    draw_bars,
    kernel_mask,
    normal,
    pixelcnn_field,
    randint,
)
from .properties import (
    TRIES,
    N,
    assert_causal_and_seeing,
    assert_exact_law,
    assert_images_do_not_mix,
    assert_known_law,
    assert_random_and_free,
    causal_network,
    draw_losses,
)

_yaml = Path(__file__).parents[2] / "assignments" / Path(__file__).parent.name / "assignment.yaml"
LIMITS = yaml.safe_load(_yaml.read_text(encoding="utf-8"))["data"]


# Part 1


@pytest.mark.graded("theory-entropy", points=0.4)
def test_bars_law_for_other_sides_and_flips(student, rng):
    """`bars_log_prob` is the exact law for images of several sizes and several flip probabilities."""
    for side in (3, 2, 5, 1):  # the smallest last: of its two equal numbers much is true by chance
        flip = float(0.02 + 0.45 * torch.rand((), generator=rng))
        x = torch.cat([draw_bars(12, side, flip, rng), bits(rng, 12, 1, side, side)])
        value = student.bars_log_prob(x, flip)
        expected = bars_law(x, flip)
        inverted = {"white and black are exchanged somewhere": bars_law(1 - x, 1 - flip)}
        what = f"`bars_log_prob` for side {side}"
        assert_close(value, expected, what, sizes={"pixels": side * side}, alternatives=inverted)
        assert_dtype(student.bars_log_prob(x.float(), flip), torch.float32, "`bars_log_prob` of float32 images")
        assert_dtype(value, F64, "`bars_log_prob` of float64 images")


@pytest.mark.graded("theory-entropy", points=0.15)
def test_entropy_of_the_bars_of_the_text(student):
    """With the default flip probability the entropy of the 4 × 4 bars is that of the text."""
    x = enumerate_binary((1, 4, 4), F64)
    log_p = torch.cat([assert_shape(student.bars_log_prob(part), (len(part),)).double() for part in x.split(8192)])
    assert_finite(log_p, "`bars_log_prob`")
    assert_close(log_p.exp().sum(), 1.0, "the sum of the probabilities of all 4 × 4 images")
    assert_close(-(log_p.exp() * log_p).sum(), 6.4960, "the entropy in nats", atol=1e-3)


@pytest.mark.graded("theory-entropy", points=0.2)
def test_bits_per_dimension_of_numbers_and_tensors(student, rng):
    """`bits_per_dim` converts a number and a tensor of numbers."""
    for n in (1, 16, randint(rng, 20, 900)):
        nats = 0.5 + 30 * torch.rand(5, generator=rng, dtype=F64)
        expected = nats / (n * math.log(2))
        other = {
            "divided by log 2 only": nats / math.log(2),
            "multiplied by log 2": nats * math.log(2) / n,
            "these are nats per pixel": nats / n,
        }
        assert_close(student.bits_per_dim(nats, n), expected, "`bits_per_dim` of a tensor", alternatives=other)
        assert_close(student.bits_per_dim(float(nats[0]), n), expected[0], "`bits_per_dim` of a number")


@pytest.mark.graded("theory-receptive", points=0.4)
def test_wavenet_field_equals_counting(student, rng):
    """The formula for dilated causal convolutions gives the number of inputs that are found by following the stack."""
    k = randint(rng, 3, 5)
    stacks = [
        (2, []),
        (k, []),
        (1, [1, 1]),
        (k, [1] * randint(rng, 1, 6)),
        (2, [2**i for i in range(randint(rng, 2, 7))]),
    ]
    stacks += [(k, [k**i for i in range(randint(rng, 2, 4))]), (2, 2 * [1, 2, 4, 8])]
    for kernel, dilations in stacks:
        seen = {0}
        for d in dilations:
            seen = {at + j * d for at in seen for j in range(kernel)}
        value = student.wavenet_receptive_field(kernel, dilations)
        assert_count(value, len(seen), f"`wavenet_receptive_field({kernel}, {dilations})`")


@pytest.mark.graded("theory-receptive", points=0.4)
def test_pixelcnn_field_size_equals_counting(student):
    """The formula for PixelCNN gives the number of pixels that are found by following the layers."""
    for layers in (1, 2, 3, 4, 5, 7, 12):
        size = len(pixelcnn_field(layers, 3))
        assert_count(student.pixelcnn_field_size(layers), size, f"`pixelcnn_field_size({layers})`")


def assert_count(value, expected, what):
    if type(value) is not int:
        raise Wrong(f"{what} should be an int, got `{type(value).__name__}`")
    if value != expected:
        raise Wrong(f"{what} is off by {value - expected:+d}", detail=f"got {value}, counted {expected}")


# Part 2


@pytest.mark.graded("made-masks", points=0.45)
def test_made_masks_of_many_sizes(student, rng, figures):
    """The product of the masks is zero on and above the diagonal, and positive below it where there is room."""
    n = randint(rng, 4, 9)
    wide = [randint(rng, n - 1, 2 * n) for _ in range(randint(rng, 2, 4))]
    for dims, hidden in [(2, [1]), (3, [2]), (n, [n - 1]), (n, wide), (8, [3]), (8, [20, 2, 9])]:
        masks = student.made_masks(dims, hidden)
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


@pytest.mark.graded("made-log-prob", points=0.2)
def test_bernoulli_log_prob_of_any_shape(student, rng):
    """`bernoulli_log_prob` agrees with the formula for any shape and dtype, also for very large logits."""
    for shape in [(), (9,), (3, 4), (2, 1, 3, 3)]:
        logits, x = 3 * normal(rng, *shape), bits(rng, *shape)
        p = logits.sigmoid()
        alternatives = {"0 and 1 are exchanged": (1 - x) * p.log() + x * (1 - p).log()}
        value = student.bernoulli_log_prob(logits, x)
        expected = x * p.log() + (1 - x) * (1 - p).log()
        assert_close(value, expected, "`bernoulli_log_prob`", alternatives=alternatives)
        assert_dtype(value, F64, "`bernoulli_log_prob` of float64 numbers")
    for dtype in (torch.float32, F64):
        large = torch.tensor([800.0, 800.0, -800.0, -800.0], dtype=dtype)
        value = student.bernoulli_log_prob(large, torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=dtype))
        assert_finite(value, "`bernoulli_log_prob` for logits of ±800")
        expected = torch.tensor([0.0, -800.0, -800.0, 0.0], dtype=dtype)
        assert_close(value, expected, "`bernoulli_log_prob` for logits of ±800")


@pytest.mark.graded("made-log-prob", points=0.2)
def test_made_log_prob_of_a_known_law(student, rng):
    """`made_log_prob` gives the exact law of a known network: one number an image, summed over pixels, in nats."""
    assert_known_law(student, student.made_log_prob, (5,), rng, "`made_log_prob`")


@pytest.mark.graded("made-log-prob", points=0.15)
def test_made_itself_is_normalised_and_causal(student, seed, rng):
    """Your MADE's probabilities sum to 1, and each logit sees its predecessor but no later pixel."""
    net = student.MADE(6, (80, 60)).double()
    assert_causal_and_seeing(net, (4, 6), [(0, -1)], seed, rng, "your MADE")
    assert_normalised(lambda x: student.made_log_prob(net, x), 6, dtype=F64, what="your MADE under `made_log_prob`")


@pytest.mark.graded("made-sampling", points=0.4)
def test_made_samples_follow_the_exact_law(student, rng):
    """Samples of a network with strong conditionals follow its exact law."""
    assert_exact_law(student, student.made_sample, (4,), (4,), rng, "the samples of `made_sample`")


@pytest.mark.graded("made-sampling", points=0.1)
def test_made_samples_repeat_under_a_seed(student, rng):
    """`made_sample` repeats under the same seed, differs under another, and keeps no gradient graph."""
    assert_random_and_free(student, student.made_sample, (24,), (24,), rng, "`made_sample`")


# Part 3


@pytest.mark.graded("pixelcnn-mask", points=0.3)
def test_masks_of_every_kernel_size(student):
    """Masks of both types keep exactly what they should for kernels of size 1, 3, 5 and 7."""
    for k in (1, 3, 5, 7):
        for kind in "AB":
            mask = assert_shape(student.conv_mask(kind, k), (k, k), f"`conv_mask('{kind}', {k})`")
            if not mask.is_floating_point():
                raise Wrong(f"`conv_mask('{kind}', {k})` should be a float tensor, got {mask.dtype}")
            assert_close(mask, kernel_mask(kind, k), f"`conv_mask('{kind}', {k})`")


LAYERS = [("A", 1, 4, 3), ("B", 3, 2, 3), ("A", 2, 3, 5), ("B", 2, 2, 1), ("B", 1, 2, 7)]


@pytest.mark.graded("pixelcnn-mask", points=0.25)
def test_masked_convolution_is_a_convolution_with_a_masked_kernel(student, rng):
    """`MaskedConv2d` keeps height and width and equals a zero-padded convolution with the masked weights it has now."""
    for kind, c_in, c_out, k in LAYERS:
        layer = student.MaskedConv2d(kind, c_in, c_out, k).double()
        mask, x = kernel_mask(kind, k).double(), normal(rng, 2, c_in, 4, 6)
        for _ in range(2):  # the mask must not be burnt into the first weights
            weight, bias = normal(rng, c_out, c_in, k, k), normal(rng, c_out)
            load_state_dict(layer, state_dict(layer) | {"weight": weight, "bias": bias})
            right, plain, bare = (
                conv2d(x, w, b, padding=k // 2)
                for w, b in ((weight * mask, bias), (weight, bias), (weight * mask, None))
            )
            others = {"the mask is not applied": plain, "the bias is missing": bare}
            assert_close(layer(x), right, f"`MaskedConv2d('{kind}', {c_in}, {c_out}, {k})(x)`", alternatives=others)


@pytest.mark.graded("pixelcnn-mask", points=0.2)
def test_masked_convolution_sees_what_its_mask_keeps(student, seed, rng, figures):
    """From outside, an output of a masked convolution depends on the pixels its mask keeps and on no others."""
    for kind, c_in, c_out, k in LAYERS:
        layer = student.MaskedConv2d(kind, c_in, c_out, k).double()
        perturb(layer, 0.5, seed=seed)
        expected = torch.zeros(9, 8, dtype=torch.bool)
        expected[4 - k // 2 : 5 + k // 2, 4 - k // 2 : 5 + k // 2] = kernel_mask(kind, k).bool()
        matrix = dependence_matrix(layer, (3, c_in, 9, 8), values="real", dtype=F64, generator=rng)
        panels = {"measured": receptive_field(matrix, (9, 8), (4, 4)), "expected": expected}
        figures.heatmap(f"Type {kind}, {k} × {k}: what the output at (4, 4) sees", panels)
        what = f"`MaskedConv2d('{kind}', {c_in}, {c_out}, {k})`"
        assert_receptive_field(layer, (3, c_in, 9, 8), expected, (4, 4), generator=rng, what=what)


@pytest.mark.graded("pixelcnn-log-prob", points=0.2)
def test_image_log_prob_of_a_known_law(student, rng):
    """`image_log_prob` gives the exact law of a known network: one number an image, summed over pixels, in nats."""
    assert_known_law(student, student.image_log_prob, (1, 2, 3), rng, "`image_log_prob`")


@pytest.mark.graded("pixelcnn-log-prob", points=0.2)
def test_losses_in_their_units(student, rng):
    """`nll_loss` is in nats per image, `bits_per_pixel` in bits per pixel, and gradients reach the network."""
    table = strong_table(6, rng)
    net, (states, log_p) = student.probe("TableConditional", table), table_law(table)
    chosen = torch.randperm(64, generator=rng)[:7]
    x, nats = states[chosen].reshape(7, 1, 2, 3), -log_p[chosen].mean()
    sizes = {"pixels": 6, "images": 7}
    assert_close(student.nll_loss(net, x), nats, "`nll_loss`", sizes=sizes)
    assert_close(student.bits_per_pixel(net, x), nats / (6 * math.log(2)), "`bits_per_pixel`", sizes=sizes)
    assert_trains(student.nll_loss, net, x, of=net, what="`nll_loss`")


@pytest.mark.graded("pixelcnn-log-prob", points=0.25)
def test_network_is_causal_and_normalised(student, seed, rng, figures):
    """Your PixelCNN leaks nothing, sees the left neighbour and the pixel above, and its probabilities sum to 1."""
    for channels, layers, k in ((16, 3, 3), (8, 1, 5)):
        net = student.PixelCNN(channels=channels, n_layers=layers, kernel_size=k).double().eval()
        matrix = dependence_matrix(net, (4, 1, 4, 5), dtype=F64, generator=rng, what="your PixelCNN")
        panels = {"which logit (row) sees which pixel (column)": matrix > 0, "allowed": torch.ones(20, 20).tril(-1)}
        figures.heatmap("Dependences of your PixelCNN on 4 × 5 images", panels)
        assert_causal_and_seeing(net, (4, 1, 4, 5), [(0, -1), (-1, 0)], seed, rng, "your PixelCNN")
        what = "`image_log_prob` of your PixelCNN"
        assert_normalised(lambda x, net=net: student.image_log_prob(net, x), (1, 3, 3), dtype=F64, what=what)
        assert_images_do_not_mix(net, bits(rng, 4, 1, 5, 3), seed % 2**32, "your PixelCNN")
    for height, width in ((1, 1), (6, 2)):
        assert_shape(student.PixelCNN()(torch.zeros(2, 1, height, width)), (2, 1, height, width), "`PixelCNN()(x)`")


@pytest.mark.graded("pixelcnn-log-prob", points=0.1)
def test_network_has_the_layers_it_is_asked_for(student, seed, rng, figures):
    """The receptive field of your PixelCNN is that of `n_layers` masked convolutions, the first of type A."""
    for layers, k in ((1, 3), (2, 3), (3, 3), (2, 5)):
        net = student.PixelCNN(channels=12, n_layers=layers, kernel_size=k).double().eval()
        size = 2 * layers * (k // 2) + 1
        at = (size - 1, size // 2)
        expected = torch.zeros(size, size, dtype=torch.bool)
        for dr, dc in pixelcnn_field(layers, k):
            expected[at[0] + dr, at[1] + dc] = True
        seen = torch.zeros_like(expected)
        for attempt in range(TRIES):
            perturb(net, 0.5, seed=seed + attempt)
            matrix = dependence_matrix(net, (3, 1, size, size), values="real", dtype=F64, generator=rng)
            seen |= receptive_field(matrix, (size, size), at)
            if torch.equal(seen, expected):
                break
        name = f"{layers} layer{'s' if layers > 1 else ''} of {k} × {k}"
        figures.heatmap(f"Receptive field with {name}", {"measured": seen, "expected": expected})
        if not torch.equal(seen, expected):
            extra, lost = int((seen & ~expected).sum()), int((expected & ~seen).sum())
            raise Wrong(
                f"with {name}, the logit sees {extra} pixels it should not, and misses {lost} of {expected.sum()}"
            )


@pytest.mark.graded("pixelcnn-sampling", points=0.45)
def test_images_follow_the_exact_law(student, rng):
    """Images of 2 × 3 and 3 × 2 pixels follow the exact law of a network with strong conditionals."""
    for height, width in ((2, 3), (3, 2)):
        shape, what = (1, height, width), "the images of `sample_images`"
        assert_exact_law(student, student.sample_images, (height, width), shape, rng, what)


@pytest.mark.graded("pixelcnn-sampling", points=0.1)
def test_images_repeat_under_a_seed(student, rng):
    """`sample_images` repeats under the same seed, differs under another, and keeps no gradient graph."""
    assert_random_and_free(student, student.sample_images, (4, 6), (1, 4, 6), rng, "`sample_images`")


@pytest.mark.graded("pixelcnn-complete", points=0.2)
def test_completion_respects_every_image_on_its_own(student, rng, figures):
    """Known pixels stay exactly, different ones in each image; nothing is modified and no graph is kept."""
    certain = bits(rng, 1, 2, 3).float()  # of this network's images all others have no chance
    net = student.probe("Constant", 80 * certain - 40)
    x, known = bits(rng, 40, 1, 2, 3).float(), bits(rng, 40, 1, 2, 3).bool()
    known[0], known[1] = True, False
    given = torch.where(known, x, -1.0)
    result = assert_unchanged_arguments(student.complete_images, net, given, known, what="`complete_images`")
    assert_binary(assert_shape(result, x.shape, "`complete_images`"), "`complete_images`")
    figures.images("Completing images", {"known (grey: unknown)": torch.where(known, x, 0.5), "completed": result})
    lost = int((result[known] != x[known]).sum())
    if lost:
        raise Wrong(f"`complete_images` changed {lost} of {int(known.sum())} known pixels")
    odd = int((result != certain)[~known].sum())
    if odd:
        raise Wrong(f"{odd} of {int((~known).sum())} unknown pixels have a value of probability zero")
    free = keep(student.complete_images, net, given, known, grad=True)
    if free.requires_grad is not False:
        raise Wrong("the result of `complete_images` carries a gradient graph")


@pytest.mark.graded("pixelcnn-complete", points=0.35)
def test_completion_follows_the_exact_law(student, rng):
    """Unknown pixels are drawn one by one given all pixels before them, whatever the input holds in their place."""
    table = strong_table(6, rng)
    net = student.probe("TableConditional", table.float())
    states, log_p = table_law(table)
    terms = conditional_log_probs(TableConditional(table)(states), states)
    upper = torch.tensor([True, True, True, False, False, False])
    masks = [
        upper,
        torch.zeros(6, dtype=torch.bool),
        torch.rand(6, generator=rng).argsort() < 3,
        torch.arange(6) % 2 == 1,
    ]
    pictures = bits(rng, 4, 6)
    junk = torch.tensor([-1.0, 0.0, 1.0, 0.5])[torch.randint(4, (4 * N // 2, 6), generator=rng)]
    which = torch.randperm(4 * N // 2, generator=rng) % 4  # masks alternate within the batch
    known = torch.stack(masks)[which]
    given = torch.where(known, pictures[which].float(), junk).reshape(-1, 1, 2, 3)
    result = student.complete_images(net, given, known.reshape(-1, 1, 2, 3))
    assert_shape(result, given.shape, "`complete_images`")
    for group, mask in enumerate(masks):
        fits = (states[:, mask] == pictures[group][mask]).all(1)
        law = torch.where(fits, terms[:, ~mask].sum(1).exp(), 0.0)
        unaware = torch.zeros(64, dtype=F64)
        for state, p in zip(states, log_p.exp(), strict=True):
            pasted = torch.where(mask, pictures[group], state)
            unaware[(states == pasted).all(1)] += p
        hints = {"the known pixels do not influence the pixels after them": unaware}
        what = f"the images completed from {int(mask.sum())} known pixels"
        assert_samples_follow(result[which == group], law, alternatives=hints, what=what)


@pytest.mark.graded("pixelcnn-field", points=0.25)
def test_measured_field_is_the_exact_one(student, rng, figures):
    """At every position the measured field is exactly the set of pixels that the logit depends on."""
    height, width = 4, 5
    weight = normal(rng, 20, 20) * (torch.rand(20, 20, generator=rng) < 0.3)
    weight[:, 0] += 1.0 * ((weight != 0).sum(1) < 2)  # at least two pixels each,
    weight[:, 7] -= 1.0 * ((weight != 0).sum(1) < 2)
    seen = weight != 0
    weight -= seen * (weight.sum(1, keepdim=True) / seen.sum(1, keepdim=True))  # so that these units are on for about
    bias = 0.1 * weight.norm(dim=1)  # six images of ten, however the images are drawn
    net = student.probe("ReluMap", weight.float(), bias.float())
    for index in range(20):
        at = divmod(index, width)
        field = assert_dtype(call(student.receptive_field, net, height, width, *at, grad=True), torch.bool)
        assert_shape(field, (height, width), "`receptive_field`")
        expected = seen[index].reshape(height, width)
        if not torch.equal(field, expected):
            panels = {"measured by your function": field, "of the network": expected}
            figures.heatmap(f"Receptive field of the logit at {at}", panels)
            extra, lost = int((field & ~expected).sum()), int((expected & ~field).sum())
            raise Wrong(f"at {at} the field has {extra} pixels too many and misses {lost} of {int(expected.sum())}")


@pytest.mark.graded("pixelcnn-field", points=0.1)
def test_measuring_leaves_no_gradient_behind(student):
    """After measuring a field the network's parameters have no gradient they did not have before."""
    net = student.probe("ReluMap", torch.eye(6), torch.ones(6))
    field = call(student.receptive_field, net, 2, 3, 1, 1, grad=True)
    assert_close(assert_shape(field, (2, 3), "`receptive_field`").sum(), 1, "the number of pixels in the field")
    left = [name for name in ("weight", "bias") if keep(net.get_parameter, name).grad is not None]
    if left:
        raise Wrong(f"`receptive_field` leaves a gradient in the network's {' and '.join(left)}")


# Part 4


@pytest.mark.graded("transformer-mask", points=0.25)
def test_mask_of_fewer_queries_than_keys(student, rng):
    """The queries are the last positions: each may attend to itself and to everything before."""
    t_k = randint(rng, 6, 9)
    for t_q, keys in ((1, 1), (1, t_k), (2, t_k), (4, t_k), (t_k, t_k)):
        mask = assert_shape(student.causal_mask(t_q, keys), (t_q, keys), f"`causal_mask({t_q}, {keys})`")
        assert_dtype(mask, torch.bool, "`causal_mask`")
        wrong = int((mask != torch.ones(t_q, keys).tril(keys - t_q).bool()).sum())
        if wrong:
            raise Wrong(f"`causal_mask({t_q}, {keys})` is wrong at {wrong} of {t_q * keys} places")


@pytest.mark.graded("transformer-mask", points=0.3)
def test_attention_is_the_formula(student, rng):
    """`attention` is the scaled, masked softmax of the text, also for fewer queries than keys and large scores."""
    for heads, t_q, t_k, d in ((1, 4, 4, 3), (2, 3, 7, 5), (3, 1, 6, 2)):
        q, k, v = normal(rng, 2, heads, t_q, d), normal(rng, 2, heads, t_k, d), normal(rng, 2, heads, t_k, d)
        right, unscaled, twice = (attention(q, k, v, scale) for scale in (d**-0.5, 1.0, 1 / d))
        hints = {"scores are not divided by √d": unscaled, "scores are divided by d instead of √d": twice}
        assert_close(student.attention(q, k, v), right, "`attention(q, k, v)`", alternatives=hints)
        large = student.attention(1000 * q, k, v)
        assert_close(large, attention(1000 * q, k, v, d**-0.5), "`attention` for scores of size 1000")


@pytest.mark.graded("transformer-log-prob", points=0.1)
def test_tokens_are_the_pixels_moved_by_one(student, rng):
    """`shift_right` puts START in front and drops the last pixel, for any batch, as `long`."""
    for batch, n in ((1, 1), (3, 2), (5, randint(rng, 6, 12))):
        x = bits(rng, batch, n).float()
        tokens = assert_unchanged_arguments(student.shift_right, x, what="`shift_right`")
        assert_dtype(tokens, torch.long, "`shift_right`")
        assert_close(tokens, torch.cat([torch.full((batch, 1), 2.0), x[:, :-1]], 1).long(), "`shift_right`")


def transformer(student, seed, *sizes):
    """With weights far from their initial values, in double precision."""
    model = student.ImageTransformer(*sizes)
    perturb(model, 0.3, seed=seed)
    return model.double()


@pytest.mark.graded("transformer-log-prob", points=0.3)
def test_transformer_sees_all_earlier_pixels_and_no_later_one(student, seed, rng, figures):
    """No logit sees its own pixel or a later one, all see every earlier pixel, and probabilities sum to 1."""
    for heads, layers in ((1, 1), (2, 3)):
        model = transformer(student, seed, 6, 8, heads, layers)
        matrix = dependence_matrix(model, (4, 6), dtype=F64, generator=rng, what="the model")
        panels = {"which logit (row) sees which pixel (column)": matrix > 0, "expected": torch.ones(6, 6).tril(-1)}
        figures.heatmap(f"Dependences of a transformer of {layers} layers", panels)
        assert_causal(model, (4, 6), dependence=1.0, dtype=F64, generator=rng, what="the logit of your transformer")
        assert_batch_consistent(model, bits(rng, 4, 6), mode="train", what="your transformer")

        def log_prob(x, model=model):
            return conditional_log_probs(model(x), x).sum(1)

        assert_normalised(log_prob, 6, dtype=F64, what="the law of your transformer")


@pytest.mark.graded("transformer-log-prob", points=0.15)
def test_position_matters_to_the_transformer(student, seed, rng):
    """Exchanging two earlier pixels of different value changes the later logits."""
    model = transformer(student, seed, 7, 8, 2, 1)
    x = bits(rng, 3, 7)
    x[:, 0], x[:, 2] = 1.0, 0.0
    y = x.clone()
    y[:, 0], y[:, 2] = 0.0, 1.0
    a, b = (assert_finite(assert_shape(model(images), (3, 7)), "the logits") for images in (x, y))
    change = (a - b).abs()[:, 4:].max()
    if not float(change) > 1e-9:
        raise Wrong("exchanging the pixels 0 and 2 changes no logit from pixel 4 on: positions do not enter the model")


@pytest.mark.graded("transformer-cache", points=0.3)
def test_steps_give_the_logits_of_the_whole(student, seed, rng):
    """Feeding `shift_right(x)` token by token gives the logits of the model, for several blocks and heads."""
    for heads, layers in ((1, 1), (2, 2), (4, 3)):
        n = randint(rng, 5, 8)
        model, x = transformer(student, seed, n, 8, heads, layers), bits(rng, 4, n)
        expected, tokens, past, steps = model_logits(model, x), student.shift_right(x).long(), None, []
        for i in range(n):
            logit, past = step(student, model, tokens[:, i], past)
            steps.append(logit)
        assert_close(torch.stack(steps, 1), expected, "the logits of all steps", atol=1e-9, rtol=1e-9)


def model_logits(model, x):
    return assert_finite(assert_shape(model(x), x.shape, "the logits of the model"), "the logits of the model")


def step(student, model, token, past):
    answer = student.transformer_step(model, token, past)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong("`transformer_step` should return two things: the logits and the new past")
    return assert_shape(answer[0], (len(token),), "the logits of a step"), answer[1]


@pytest.mark.graded("transformer-cache", points=0.2)
def test_a_step_leaves_its_past_as_it_was(student, seed, rng):
    """From one past one can go on with different tokens: a step changes nothing it was given."""
    model, x = transformer(student, seed, 5, 8, 2, 2), bits(rng, 3, 5)
    tokens, past = student.shift_right(x).long(), None
    for i in range(2):
        past = step(student, model, tokens[:, i], past)[1]
    _, after = call_with_echo(student.transformer_step, model, tokens[:, 2], past)
    if not same(past, after[2]):
        raise Wrong("`transformer_step` changes the past it was given: join keys and values into new tensors and lists")
    for other in (x, torch.cat([x[:, :1], 1 - x[:, 1:]], 1)):
        logit, _ = step(student, model, student.shift_right(other)[:, 2].long(), past)
        assert_close(logit, model_logits(model, other)[:, 2], "the logits after branching", atol=1e-9, rtol=1e-9)


def same(a, b):
    """Equal nested lists and tuples of tensors; what stays in the sandbox is compared by its behaviour instead."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a.nan_to_num(nan=0.5), b.nan_to_num(nan=0.5))
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and same(list(a.items()), list(b.items()))
    return type(a) is type(b)


@pytest.mark.graded("transformer-cache", points=0.25)
def test_cached_sampling_equals_uncached(student, seed, rng):
    """With the same uniform numbers cached and uncached sampling give the same images."""
    for heads, layers in ((1, 1), (2, 3)):
        n = randint(rng, 5, 9)
        model, u = transformer(student, seed, n, 8, heads, layers), torch.rand(50, n, generator=rng, dtype=F64)
        expected = torch.zeros(50, n, dtype=F64)
        for i in range(n):
            expected[:, i] = (u[:, i] < model_logits(model, expected)[:, i].sigmoid()).double()
        images = keep(student.sample_cached, model, u, grad=True)
        if images.requires_grad is not False:
            raise Wrong("the images of `sample_cached` carry a gradient graph")
        value = call(images.detach)
        assert_binary(assert_shape(value, (50, n), "`sample_cached`"), "`sample_cached`")
        assert_dtype(value, F64, "`sample_cached` for float64 numbers")
        differ = int((value != expected).any(1).sum())
        if differ:
            raise Wrong(f"{differ} of 50 images differ from those of uncached sampling with the same numbers")


# Part 5


@pytest.mark.graded("train-bars", points=0.75, trains="bars", seconds=60)
def test_bars_model_is_near_the_entropy(student, rng, figures):
    """On fresh bars the loss is near the entropy of the data; below it is impossible without a leak."""
    trained = student.trained("bars")
    x = draw_bars(800, 4, 0.05, rng).float()
    net = causal_network(trained, "bars_model", torch.cat([x[:6], bits(rng, 2, 1, 4, 4).float()]))
    figures.images("Bars", {"data": x, "drawn from your network": draw(net, 36, 4, rng)})
    draw_losses(figures, trained, "bars_losses")
    nll = -sequential_log_likelihood(net, x, generator=rng)
    entropy = -bars_law(x, 0.05)
    line = LIMITS["bars"]
    assert_excess(nll, entropy, floor=line["floor"], target=line["target"], what="the loss on fresh bars")


@pytest.mark.graded("train-digits", points=0.5, trains="digits", seconds=60)
def test_digits_model_predicts_held_out_digits(student, rng):
    """The loss on held-out digits, recomputed pixel by pixel with the future withheld."""
    train, held_out = digits()
    order = torch.randperm(len(held_out), generator=rng)
    net = causal_network(student.trained("digits"), "digits_model", held_out[order[:4]])
    parts = held_out[order].split(99)
    nll = torch.cat([-conditional_log_probs(net(part), part).sum(1) for part in parts])
    again = torch.randperm(len(held_out), generator=rng)[:99]
    withheld = -sequential_log_likelihood(net, held_out[order][again], generator=rng)
    if not bool(((withheld - nll[again]).abs() <= 1e-3 * (1 + withheld.abs())).all()):
        raise Wrong("the loss on held-out digits is another one when later pixels are withheld: the network leaks")
    line, gap = LIMITS["digits"], float((-conditional_log_probs(net(train), train).sum(1)).mean() - nll.mean())
    if gap > 1.0 and float(nll.mean()) < line["floor"]:
        raise Wrong(
            f"the held-out digits are predicted better than the training digits, by {gap:.1f} nats: keep them apart"
        )
    assert_score(float(nll.mean()), line["floor"], line["target"], "the loss on held-out digits", unit="nats")


@pytest.mark.graded("train-digits", points=0.3, trains="digits", seconds=60)
def test_digits_drawn_from_the_model_are_new_and_diverse(student, rng, figures):
    """Images drawn from your network are as white, as diverse and as new as held-out digits are."""
    train, held_out = digits()
    trained = student.trained("digits")
    net = causal_network(trained, "digits_model", held_out[:4])
    samples = draw(net, 200, 8, rng)
    nearest = train[torch.cdist(samples.flatten(1), train.flatten(1), p=1).argmin(1)]
    panels = {"held-out data": held_out, "drawn from your network": samples, "nearest training image": nearest}
    figures.images("Digits", panels)
    draw_losses(figures, trained, "digits_losses")
    white = float(samples.mean() - held_out.mean())
    if not abs(white) <= LIMITS["digits"]["white"]:
        raise Wrong(
            f"the images drawn from your network are too {'white' if white > 0 else 'black'}: by {abs(white):.0%}"
        )
    assert_diverse(samples, held_out, at_least=0.8, what="the images drawn from your network")
    assert_not_memorised(samples, train, held_out, copies=0.3, what="the images drawn from your network")
