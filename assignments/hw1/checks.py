"""Homework 1, public checks: what `check("...")` runs in the notebook.

Each looks at one property, on a small example drawn anew in every run, in well under a second. The grader runs these
and others of the same kind.
"""

import math

import pytest
import torch

from autograder.checks import (
    assert_binary,
    assert_causal,
    assert_close,
    assert_dtype,
    assert_finite,
    assert_normalised,
    assert_samples_follow,
    assert_score,
    assert_shape,
    assert_unchanged_arguments,
    call,
    contents,
    draw_twice,
    enumerate_binary,
    perturb,
    sequential_log_likelihood,
    state_dict,
    table_law,
)

DIGITS_TEST = 3091491.0  # a fingerprint of the held-out digits
EVERY_2X2 = (1, 2, 2)


def table_model(student, rng):
    """A network of four pixels with strong conditionals, and the probabilities of its 16 images.

    It looks its logits up in a table, in which pixel i owns 2^i entries: one for each past.
    """
    table = (2.0 * torch.randint(0, 2, (15,), generator=rng) - 1) * (1 + torch.rand(15, generator=rng))
    return student.probe("TableConditional", table), table_law(table)[1].exp()


# Part 1


@pytest.mark.graded("theory-entropy", points=0.25)
def test_bars_of_side_two_sum_to_one(student):
    """The probabilities of all 2 × 2 bar images sum to 1."""
    what = "`bars_log_prob`"
    values = assert_normalised(lambda x: student.bars_log_prob(x), EVERY_2X2, dtype=torch.float64, what=what)
    everywhere = values.max() - values.min()
    assert float(everywhere) > 0.1, "`bars_log_prob` gives every image the same probability; bars are more probable"


@pytest.mark.graded("theory-receptive", points=0.2)
def test_fields_of_the_smallest_stacks(student, rng):
    """One layer sees as many inputs as its kernel has; PixelCNNs of one and two layers see 4 and 11 pixels."""
    kernel = int(torch.randint(2, 9, (), generator=rng))
    assert student.wavenet_receptive_field(kernel, [1]) == kernel, (
        f"one layer with kernel {kernel} sees {kernel} inputs"
    )
    assert student.wavenet_receptive_field(kernel, []) == 1, "without layers an output is an input"
    for layers, pixels in ((1, 4), (2, 11)):
        assert student.pixelcnn_field_size(layers) == pixels, f"with {layers} layers a logit sees {pixels} pixels"


# Part 2


@pytest.mark.graded("made-masks", points=0.25)
def test_small_made_masks_form_a_strict_triangle(student, rng, figures):
    """With one wide hidden layer the product of the masks is full below the diagonal and zero elsewhere."""
    n = int(torch.randint(3, 8, (), generator=rng))
    masks = contents(student.made_masks(n, (2 * n,)))
    assert isinstance(masks, list | tuple), "`made_masks` should return a list of tensors"
    assert len(masks) == 2, f"one hidden layer needs 2 masks, got {len(masks)}"
    into, out = (assert_shape(m, s, "a mask").double() for m, s in zip(masks, [(2 * n, n), (n, 2 * n)], strict=True))
    for mask in (into, out):
        assert_binary(mask, "a mask")
    product = out @ into
    figures.heatmap("Paths from input (column) to output (row)", {"your masks": product})
    assert not product.triu().any(), "an output has a path from its own input or a later one"
    assert bool((product + torch.ones(n, n).triu() > 0).all()), "an output has no path from an input before it"


@pytest.mark.graded("made-log-prob", points=0.2)
def test_both_values_of_a_pixel_share_one(student, rng):
    """p(0) + p(1) = 1 for each pixel, a logit of ln k means k to one, and logits of ±800 stay finite."""
    logits, k = 2 * torch.randn(2, 3, generator=rng, dtype=torch.float64), float(torch.randint(2, 9, (), generator=rng))
    logits[0, 0], logits[1, 1], logits[1, 2] = math.log(k), 800.0, -800.0
    one, zero = (student.bernoulli_log_prob(logits, torch.full_like(logits, value)) for value in (1.0, 0.0))
    for value in (one, zero):
        assert_finite(assert_shape(value, (2, 3), "`bernoulli_log_prob`"), "`bernoulli_log_prob`")
    assert_close(one.exp() + zero.exp(), torch.ones_like(logits), "p(0) + p(1)")
    assert_close(one[0, 0], math.log(k / (k + 1)), f"`bernoulli_log_prob` of a 1 at logit ln {k:g}")


@pytest.mark.graded("made-sampling", points=0.25)
def test_samples_of_four_pixels(student, rng):
    """4000 samples of a four-pixel model are float32 zeros and ones and follow its law."""
    (net, law), what = table_model(student, rng), "`made_sample`"
    samples = draw_twice(lambda n: assert_binary(student.made_sample(net, n, 4), what), 2000, (4,), what)
    assert_dtype(samples, torch.float32, "`made_sample`")
    assert_samples_follow(samples, law, what="the samples of `made_sample`")


# Part 3


@pytest.mark.graded("pixelcnn-mask", points=0.25)
def test_masks_of_three_by_three(student, figures):
    """Of a 3 × 3 kernel, type A keeps what comes before the centre, type B the centre too."""
    masks = {kind: assert_shape(student.conv_mask(kind, 3), (3, 3), f"the type-{kind} mask") for kind in "AB"}
    figures.heatmap("Kernel positions that are kept", {f"type {kind}": mask for kind, mask in masks.items()})
    place = torch.arange(9)
    for kind, before in (("A", place < 4), ("B", place <= 4)):
        wrong = int((masks[kind].double().flatten() != before.double()).sum())
        assert wrong == 0, f"the type-{kind} mask is wrong at {wrong} of 9 positions"


@pytest.mark.graded("pixelcnn-log-prob", points=0.25)
def test_units_of_the_three_likelihoods(student, rng):
    """White is k times as likely as black at every pixel: nats per image, bits per pixel; your network's shape."""
    k = float(torch.randint(2, 9, (), generator=rng))
    net, x = student.probe("AffineScore", 0.0, math.log(k)), torch.randint(0, 2, (3, 1, 4, 4), generator=rng).float()
    white = x.flatten(1).sum(1)
    log_p = white * math.log(k / (k + 1)) - (16 - white) * math.log(k + 1)
    nats, sizes = -log_p.mean(), {"pixels": 16, "images": 3}
    assert_close(student.image_log_prob(net, x), log_p, "`image_log_prob`", sizes=sizes)
    assert_close(student.nll_loss(net, x), nats, "`nll_loss`", sizes=sizes)
    assert_close(student.bits_per_pixel(net, x), nats / (16 * math.log(2)), "`bits_per_pixel`", sizes=sizes)
    assert_shape(student.PixelCNN(channels=4, n_layers=2, kernel_size=3)(x), (3, 1, 4, 4), "`PixelCNN(x)`")


@pytest.mark.graded("pixelcnn-sampling", points=0.2)
def test_images_of_four_pixels(student, rng):
    """4000 images of 2 × 2 pixels are float32 zeros and ones and follow the model's law."""
    (net, law), what = table_model(student, rng), "`sample_images`"
    samples = draw_twice(lambda n: assert_binary(student.sample_images(net, n, 2, 2), what), 2000, EVERY_2X2, what)
    assert_dtype(samples, torch.float32, "`sample_images`")
    assert_samples_follow(samples, law, what="the images of `sample_images`")


@pytest.mark.graded("pixelcnn-complete", points=0.2)
def test_known_pixels_stay_and_others_are_drawn(student, rng, figures):
    """Known pixels come back as they were, the others are drawn from the network, and nothing is modified."""
    certain = torch.randint(0, 2, EVERY_2X2, generator=rng).float()  # all other images have no chance
    net, x = student.probe("Constant", 80 * certain - 40), enumerate_binary(EVERY_2X2)
    known = torch.rand(x.shape, generator=rng) < 0.4
    given = torch.where(known, x, -1.0)
    result = assert_unchanged_arguments(student.complete_images, net, given, known, what="`complete_images`")
    assert_binary(assert_shape(result, x.shape, "`complete_images`"), "`complete_images`")
    figures.images("Completing images", {"known (grey: unknown)": torch.where(known, x, 0.5), "completed": result})
    lost = int((result[known] != x[known]).sum())
    assert lost == 0, f"{lost} of {int(known.sum())} known pixels were changed"
    odd = int((result != certain)[~known].sum())
    assert odd == 0, f"{odd} of {int((~known).sum())} unknown pixels have a value of probability zero"


@pytest.mark.graded("pixelcnn-field", points=0.15)
def test_field_of_a_known_network(student, rng, figures):
    """A network in which each logit of a 3 × 4 image sees its left neighbour and the pixel above it."""
    weight = torch.zeros(12, 12)
    for i in range(12):
        for j in ([i - 1] if i % 4 else []) + ([i - 4] if i >= 4 else []):
            weight[i, j] = 1.0
    net = student.probe("ReluMap", weight, torch.ones(12))
    row, column = int(torch.randint(1, 3, (), generator=rng)), int(torch.randint(1, 4, (), generator=rng))
    field = call(student.receptive_field, net, 3, 4, row, column, grad=True)
    field = assert_shape(field, (3, 4), "`receptive_field`")
    assert_dtype(field, torch.bool, "`receptive_field`")
    expected = weight[4 * row + column].reshape(3, 4)
    panels = {"measured": field.double(), "of the network": expected}
    figures.heatmap(f"Receptive field of the logit at ({row}, {column})", panels)
    assert torch.equal(field, expected.bool()), f"{int((field != expected.bool()).sum())} of 12 pixels are wrong"


# Part 4


@pytest.mark.graded("transformer-mask", points=0.2)
def test_as_many_queries_as_keys(student, rng):
    """With as many queries as keys the first sees one key, the second two, the last all."""
    n = int(torch.randint(3, 7, (), generator=rng))
    mask = assert_shape(student.causal_mask(n, n), (n, n), f"`causal_mask({n}, {n})`")
    assert_dtype(mask, torch.bool, "`causal_mask`")
    seen = mask.sum(1).tolist()
    assert seen == list(range(1, n + 1)), f"the queries may attend to {seen} keys"
    q, k, v = torch.randn(3, 1, 2, n, 4, generator=rng)
    result = assert_shape(student.attention(q, k, v), (1, 2, n, 4), "`attention`")
    assert_close(result[0, :, 0], v[0, :, 0], "`attention` at the first position, which sees itself only")


@pytest.mark.graded("transformer-log-prob", points=0.2)
def test_start_token_comes_first(student, rng):
    """Tokens are START = 2 and then the pixels, moved by one; the model gives a logit per pixel."""
    x = torch.randint(0, 2, (1, 4), generator=rng).float()
    x = torch.cat([x, 1 - x])
    tokens = assert_shape(student.shift_right(x), (2, 4), "`shift_right`")
    assert_dtype(tokens, torch.long, "`shift_right`")
    assert tokens[:, 0].tolist() == [2, 2], "the first token should be START = 2"
    assert torch.equal(tokens[:, 1:], x[:, :-1].long()), "the token at position i should be pixel i − 1"
    logits = assert_shape(student.ImageTransformer(4, 8, 2, 1)(x), (2, 4), "`ImageTransformer(x)`")
    assert_close(logits[0, 0], logits[1, 0], "the logit of pixel 0 for another image")


@pytest.mark.graded("transformer-cache", points=0.25)
def test_two_steps_agree_with_the_whole(student, seed, rng):
    """Two tokens fed one by one give the first two logits of the model."""
    model = student.ImageTransformer(3, 8, 2, 1)
    perturb(model, 0.3, seed=seed)
    x = torch.randint(0, 2, (6, 3), generator=rng).float()
    logits = assert_finite(assert_shape(model(x), (6, 3), "the logits of the model"), "the logits of the model")
    tokens, past = student.shift_right(x).long(), None
    for i in range(2):
        answer = contents(student.transformer_step(model, tokens[:, i], past))
        assert isinstance(answer, tuple | list), "a step should return (logits, past)"
        assert len(answer) == 2, "a step should return (logits, past)"
        step, past = answer
        assert_close(step, logits[:, i], f"the logits of step {i}", atol=1e-4)
    images = student.sample_cached(model, torch.full((5, 3), 0.5))
    assert_binary(assert_shape(images, (5, 3), "`sample_cached`"), "`sample_cached`")


# Part 5


def honest_network(trained, name, side):
    """The trained network in evaluation mode: of the stated shape, as `make_..._model()` builds it, without a leak."""
    net, new = trained.get(name), state_dict(trained.get(f"make_{name}")())
    shapes = [{key: tuple(value.shape) for key, value in state.items()} for state in (state_dict(net), new)]
    assert shapes[0] == shapes[1], f"`{name}` is another network than `make_{name}()` builds"

    def logits(x):
        return call(net, x, mode="eval")

    assert_shape(logits(torch.zeros(2, 1, side, side)), (2, 1, side, side), f"`{name}(x)`")
    assert_causal(logits, (4, 1, side, side), dependence=0.0, what=f"the logit of `{name}`")
    return logits


@pytest.mark.graded("train-bars", points=0.25, trains="bars")
def test_bars_model_has_learned_something(student, rng):
    """The trained network does not leak, and on fresh bars it is better than independent pixels."""
    net = honest_network(student.trained("bars"), "bars_model", 4)
    bars = (torch.rand(200, 4, generator=rng) < 0.5).float()
    rows, columns = bars[:, :, None].expand(-1, 4, 4), bars[:, None, :].expand(-1, 4, 4)
    x = torch.where(torch.rand(200, 1, 1, generator=rng) < 0.5, rows, columns)
    x = torch.where(torch.rand(x.shape, generator=rng) < 0.05, 1 - x, x).unsqueeze(1)
    nll = -sequential_log_likelihood(net, x, generator=rng)
    assert_score(float(nll.mean()), 11.09, 10.0, "the loss on fresh bars", unit="nats per image")


@pytest.mark.graded("train-digits", points=0.2, trains="digits")
def test_digits_model_has_learned_something(student, rng):
    """The trained network does not leak, and on held-out digits it is better than independent pixels."""
    trained = student.trained("digits")
    net, x = honest_network(trained, "digits_model", 8), trained.digits_test
    places = torch.arange(297 * 64.0).reshape(297, 1, 8, 8) % 1009
    same = isinstance(x, torch.Tensor) and x.shape == places.shape and float((x * places).sum()) == DIGITS_TEST
    assert same, "`digits_test` does not hold the 297 held-out digits any more"
    nll = -sequential_log_likelihood(net, x[torch.randperm(297, generator=rng)[:60]], generator=rng)
    assert_score(float(nll.mean()), 24.6, 23.0, "the loss on 60 held-out digits", unit="nats per image")
