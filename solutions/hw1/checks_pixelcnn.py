"""Homework 1, hidden checks of part 3: PixelCNN.

Log-likelihoods and samplers are examined with networks of the judge's (probes), so that a mistake in the student's own
network costs the points of the network only. Where a law is compared, the judge computes it exactly.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import conv2d

from autograder.checks import (
    TableConditional,
    Wrong,
    assert_binary,
    assert_close,
    assert_deterministic_under_seed,
    assert_dtype,
    assert_leaves_no_gradient,
    assert_no_graph,
    assert_normalised,
    assert_receptive_field,
    assert_samples_follow,
    assert_shape,
    assert_trains,
    assert_unchanged_arguments,
    call,
    conditional_log_probs,
    dependence_matrix,
    load_state_dict,
    perturb,
    receptive_field,
    state_dict,
    strong_table,
    table_law,
)

from ..common.draws import F64, bits, normal
from .laws import kernel_mask, pixelcnn_field
from .properties import (
    STEPS,
    N,
    assert_causal_and_seeing,
    assert_exact_law,
    assert_images_do_not_mix,
    assert_interacts,
    assert_random_and_free,
)


@pytest.mark.graded("pixelcnn-mask", points=0.3)
def test_masks_of_every_kernel_size(student):
    """Masks of both types keep exactly what they should for kernels of size 1, 3, 5 and 7."""
    for k in (1, 3, 5, 7):
        for kind in "AB":
            mask = assert_shape(student.conv_mask(kind, k), (k, k), f"`conv_mask('{kind}', {k})`")
            if not mask.is_floating_point():
                raise Wrong(f"`conv_mask('{kind}', {k})` should be a float tensor, got {mask.dtype}")
            assert_close(mask, kernel_mask(kind, k), f"`conv_mask('{kind}', {k})`")


WHAT = "`complete_images`"
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


@pytest.mark.graded("pixelcnn-log-prob", points=0.35)
def test_losses_in_their_units(student, rng):
    """`nll_loss` is in nats per image or in bits per pixel, and its gradient reaches the network."""
    table = strong_table(6, rng)
    net, (states, log_p) = student.probe("TableConditional", table), table_law(table)
    chosen = torch.randperm(64, generator=rng)[:7]
    x, nats = states[chosen].reshape(7, 1, 2, 3), -log_p[chosen].mean()
    sizes = {"pixels": 6, "images": 7}
    for unit, expected in (("nats", nats), ("bits", nats / (6 * math.log(2)))):
        what = f'`nll_loss(net, x, unit="{unit}")`'
        assert_close(student.nll_loss(net, x, unit=unit), expected, what, sizes=sizes)
    assert_close(student.nll_loss(net, x), nats, "`nll_loss(net, x)`", sizes=sizes)
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
        what = "the law of your PixelCNN"
        assert_normalised(lambda x, net=net: conditional_log_probs(net(x), x).sum(1), (1, 3, 3), dtype=F64, what=what)
        assert_images_do_not_mix(net, bits(rng, 4, 1, 5, 3), seed % 2**32, "your PixelCNN")
    shapes = []
    for sizes in ({}, {"channels": 32, "n_layers": 4, "kernel_size": 3}, {"channels": 16}):
        net = student.PixelCNN(**sizes)
        net(torch.zeros(1, 1, 4, 4))  # a layer may be built at its first call
        shapes.append({name: tuple(value.shape) for name, value in state_dict(net).items()})
    if shapes[0] != shapes[1]:
        raise Wrong("`PixelCNN()` is another network than `PixelCNN(channels=32, n_layers=4, kernel_size=3)`")
    if shapes[0] == shapes[2]:
        raise Wrong("`PixelCNN(channels=16)` is no smaller than `PixelCNN(channels=32)`")
    for height, width in ((1, 1), (6, 2)):
        assert_shape(student.PixelCNN()(torch.zeros(2, 1, height, width)), (2, 1, height, width), "`PixelCNN()(x)`")


@pytest.mark.graded("pixelcnn-log-prob", points=0.05)
def test_network_is_not_linear(student, seed, rng):
    """What the left neighbour adds to a logit of your PixelCNN depends on the pixel above."""
    net = student.PixelCNN(channels=8, n_layers=2, kernel_size=3).double().eval()
    x = bits(rng, 8, 1, 3, 4)
    left, above = torch.zeros(1, 1, 3, 4, dtype=torch.bool), torch.zeros(1, 1, 3, 4, dtype=torch.bool)
    left[..., 2, 1], above[..., 1, 2] = True, True
    assert_interacts(net, x, left, above, (0, 2, 2), seed, "the logit of your PixelCNN at (2, 2)")


@pytest.mark.graded("pixelcnn-log-prob", points=0.1)
def test_network_has_the_layers_it_is_asked_for(student, seed, rng, figures):
    """The receptive field of your PixelCNN is that of `n_layers` masked convolutions, the first of type A."""
    for layers, k in ((1, 3), (2, 3), (3, 3), (2, 5), (None, 3)):
        sizes = {} if layers is None else {"channels": 12, "n_layers": layers, "kernel_size": k}
        net, layers = student.PixelCNN(**sizes).double().eval(), layers or 4
        size = 2 * layers * (k // 2) + 1
        at = (size - 1, size // 2)
        expected = torch.zeros(size, size, dtype=torch.bool)
        for dr, dc in pixelcnn_field(layers, k):
            expected[at[0] + dr, at[1] + dc] = True
        seen = torch.zeros_like(expected)
        net(torch.zeros(1, 1, size, size, dtype=F64))  # a layer may be built at its first call
        for attempt, std in enumerate(STEPS):
            perturb(net, std, seed=seed + attempt)
            matrix = dependence_matrix(net, (6, 1, size, size), dtype=F64, generator=rng)
            seen |= receptive_field(matrix, (size, size), at)
            if torch.equal(seen, expected):
                break
        name = f"{layers} layer{'s' if layers > 1 else ''} of {k} × {k}" + (", the default" if not sizes else "")
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
    assert_no_graph(student.complete_images, net, given, known, of=net, what="`complete_images`")


@pytest.mark.graded("pixelcnn-complete", points=0.05)
def test_completions_repeat_under_a_seed(student, rng):
    """With nothing known, completions repeat under a seed, differ under another, and have the dtype of the images."""
    net = student.probe("AffineScore", 0.0, 1.0 + torch.rand((), generator=rng))
    for dtype in (torch.float32, F64):
        x = torch.zeros(64, 1, 4, 6, dtype=dtype)
        known = torch.zeros(x.shape, dtype=torch.bool)
        assert_deterministic_under_seed(student.complete_images, net, x, known, what="`complete_images`")
        result = student.complete_images(net, x, known)
        name = str(dtype).removeprefix("torch.")
        assert_dtype(assert_shape(result, x.shape, "`complete_images`"), dtype, f"`complete_images` of {name} images")


@pytest.mark.graded("pixelcnn-complete", points=0.3)
def test_completion_follows_the_exact_law(student, rng):
    """Unknown pixels are drawn one by one given all pixels before them, whatever the input holds in their place."""
    table = strong_table(6, rng)
    net = student.probe("TableConditional", table.float())
    states, log_p = table_law(table)
    terms = conditional_log_probs(TableConditional(table)(states), states)
    upper, none = torch.arange(6) < 3, torch.zeros(6, dtype=torch.bool)
    masks = [upper, none, torch.rand(6, generator=rng).argsort() < 3, torch.arange(6) % 2 == 1]
    pictures, found = bits(rng, 4, 6), []
    for first in range(4):  # each mask is once that of the first image, from which nothing follows for the others
        which = (torch.arange(N // 2) + first) % 4
        known = torch.stack(masks)[which]
        junk = torch.tensor([-1.0, 0.0, 1.0, 0.5])[torch.randint(4, known.shape, generator=rng)]
        given = torch.where(known, pictures[which].float(), junk).reshape(-1, 1, 2, 3)
        result = student.complete_images(net, given, known.reshape(-1, 1, 2, 3))
        found.append((which, assert_binary(assert_shape(result, given.shape, WHAT), WHAT)))
    which, result = (torch.cat(parts) for parts in zip(*found, strict=True))
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
    everything = torch.ones(64, 1, 2, 3, dtype=torch.bool)
    x = states.reshape(64, 1, 2, 3)
    if not torch.equal(assert_shape(student.complete_images(net, x, everything), x.shape, WHAT).double(), x):
        raise Wrong("with everything known, `complete_images` should give the images back")


@pytest.mark.graded("pixelcnn-field", points=0.25)
def test_measured_field_is_the_exact_one(student, rng, figures):
    """At every position the measured field is exactly the set of pixels that the logit depends on."""
    height, width = 4, 5
    order = torch.rand(20, 20, generator=rng).argsort(1)  # of each row a permutation
    seen = order < torch.randint(4, 9, (20, 1), generator=rng)  # from four to eight pixels each
    weight = (0.5 + torch.rand(20, 20, generator=rng, dtype=F64)) * seen
    signs = torch.where(order % 2 == 0, 1.0, -1.0)
    weight *= signs
    weight -= seen * (weight.sum(1, keepdim=True) / seen.sum(1, keepdim=True))  # zero in sum, so that a unit is off
    bias = -0.05 * weight.norm(dim=1)  # for images of one colour, and for somewhat more than half of all others
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
    field = assert_leaves_no_gradient(student.receptive_field, net, 2, 3, 1, 1, of=net, what="`receptive_field`")
    assert_close(assert_shape(field, (2, 3), "`receptive_field`").sum(), 1, "the number of pixels in the field")
