"""Homework 1, public checks: what `check("...")` runs in the notebook.

Each looks at one property, on a small example drawn anew in every run, in well under a second. The grader runs these
and others of the same kind. The two functions at the top make what `course_data("…")` gives; in grading the numbers of
the first are drawn for each student, and the pictures that the second is measured on lie in no file.
"""

import itertools
import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from autograder.checks import (
    CourseData,
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
    conditional_log_probs,
    contents,
    draw_twice,
    enumerate_binary,
    hands_over,
    perturb,
    sequential_log_likelihood,
    table_law,
)

EVERY_2X2 = (1, 2, 2)


# What the notebook is handed


class Bars(NamedTuple):
    """Bars of 4 × 4 pixels of unequal chances: patterns (30, 16) with their probabilities (30,), and flips."""

    patterns: torch.Tensor
    chances: torch.Tensor
    flip: float

    def draw(self, n, rng):
        """Images (n, 1, 4, 4)."""
        x = self.patterns[torch.multinomial(self.chances, n, replacement=True, generator=rng)]
        return torch.where(torch.rand(x.shape, generator=rng) < self.flip, 1 - x, x).reshape(n, 1, 4, 4)

    def log_prob(self, x):
        """Images (N, 1, 4, 4) to (N,), nats."""
        flipped = torch.cdist(x.double().flatten(1), self.patterns.double(), p=1.0)  # (N, 30)
        log_joint = flipped * math.log(self.flip) + (16 - flipped) * math.log(1 - self.flip)
        return torch.logsumexp(log_joint + self.chances.double().log(), 1)


@hands_over("bars")
def bars(law_rng, rng):
    """Which patterns are frequent is drawn, how frequent the first, second, … is: 0.4, 0.24, 0.144 and so on."""
    colours = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    rows, columns = colours[:, :, None].expand(16, 4, 4), colours[1:-1, None, :].expand(14, 4, 4)
    patterns = torch.cat([rows, columns]).flatten(1)[torch.randperm(30, generator=law_rng)]
    chances = 0.6 ** torch.arange(30.0)
    flip = 0.04 + 0.03 * float(torch.rand((), generator=law_rng))
    law = Bars(patterns, chances / chances.sum(), flip)
    return CourseData({"bars_train": law.draw(8000, rng)}, law)


@hands_over("digits")
def digits(law_rng, rng):
    """6000 pictures to learn from, 500 by other writers: a line of the file is a class and 64 pixels in hexadecimal."""
    file = Path(__file__).parent / "digits.txt"
    assert file.is_file(), f"{file.name} of the homework's zip should lie beside {Path(__file__).name}"
    pictures = [int(line.split()[1], 16) for line in file.read_text().splitlines()]
    images = torch.tensor([[picture >> k & 1 for k in range(63, -1, -1)] for picture in pictures]).float()
    train, test = images.reshape(-1, 1, 8, 8).split([6000, 500])
    return CourseData({"digits_train": train, "digits_test": test}, test)


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
        found = student.pixelcnn_field_size(layers)
        assert found == pixels, f"with {layers} layers a logit sees {pixels} pixels; your function says otherwise"


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
def test_probabilities_of_a_known_network(student, rng):
    """White is k times as likely as black at every pixel: nats, summed over pixels; logits of ±800 stay finite."""
    k = float(torch.randint(2, 9, (), generator=rng))
    net, x = student.probe("AffineScore", 0.0, math.log(k)), torch.randint(0, 2, (5, 6), generator=rng).float()
    expected = x.sum(1) * math.log(k / (k + 1)) - (6 - x.sum(1)) * math.log(k + 1)
    assert_close(student.log_prob(net, x), expected, "`log_prob`", sizes={"pixels": 6, "images": 5})
    large = student.log_prob(student.probe("Constant", 800.0), torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert_close(assert_finite(large, "`log_prob` for logits of 800"), torch.tensor([-800.0, 0.0]), "`log_prob`")


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
def test_units_of_the_loss(student, rng):
    """White is k times as likely as black at every pixel: nats per image, bits per pixel; your network's shape."""
    k = float(torch.randint(2, 9, (), generator=rng))
    net, x = student.probe("AffineScore", 0.0, math.log(k)), torch.randint(0, 2, (3, 1, 4, 4), generator=rng).float()
    white = x.flatten(1).sum(1)
    nats = -(white * math.log(k / (k + 1)) - (16 - white) * math.log(k + 1)).mean()
    sizes = {"pixels": 16, "images": 3}
    assert_close(student.nll_loss(net, x), nats, "`nll_loss`", sizes=sizes)
    bits = student.nll_loss(net, x, unit="bits")
    assert_close(bits, nats / (16 * math.log(2)), '`nll_loss(…, unit="bits")`', sizes=sizes)
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
    full, empty = torch.ones_like(known), torch.zeros_like(known)
    assert torch.equal(student.complete_images(net, x, full), x), "with everything known, the images should come back"
    fresh = assert_shape(student.complete_images(net, x, empty), x.shape, "`complete_images` with nothing known")
    assert bool((fresh == certain).all()), "with nothing known, images of probability zero come back"
    odd = int((result != certain)[~known].sum())
    assert odd == 0, f"{odd} of {int((~known).sum())} unknown pixels have a value of probability zero"


@pytest.mark.graded("pixelcnn-field", points=0.15)
def test_field_of_a_known_network(student, rng, figures):
    """A network in which each logit of a 3 × 4 image sees its left neighbour and the pixel above it."""
    weight, bias = torch.zeros(12, 12), torch.full((12,), -0.2)  # off where both are black
    for i in range(12):
        for j, w in ([(i - 1, 1.0)] if i % 4 else []) + ([(i - 4, -0.5)] if i >= 4 else []):
            weight[i, j] = w
    net = student.probe("ReluMap", weight, bias)
    row, column = int(torch.randint(1, 3, (), generator=rng)), int(torch.randint(1, 4, (), generator=rng))
    field = call(student.receptive_field, net, 3, 4, row, column, grad=True)
    field = assert_shape(field, (3, 4), "`receptive_field`")
    assert_dtype(field, torch.bool, "`receptive_field`")
    expected = (weight[4 * row + column] != 0).double().reshape(3, 4)
    panels = {"measured": field.double(), "of the network": expected}
    figures.heatmap(f"Receptive field of the logit at ({row}, {column})", panels)
    lost, more = int((expected.bool() & ~field).sum()), int((field & ~expected.bool()).sum())
    assert not lost + more, f"of 12 pixels {lost} that the logit depends on are missing, {more} are too much"


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
def test_start_token_comes_first(student, seed, rng):
    """Tokens are START and then the pixels, moved by one; a block can continue; the model gives a logit per pixel."""
    x = torch.randint(0, 2, (1, 4), generator=rng).float()
    x = torch.cat([x, 1 - x])
    tokens = assert_shape(student.shift_right(x), (2, 4), "`shift_right`")
    assert_dtype(tokens, torch.long, "`shift_right`")
    assert tokens[:, 0].tolist() == [2, 2], "the first token should be START = 2"
    assert torch.equal(tokens[:, 1:], x[:, :-1].long()), "the token at position i should be pixel i − 1"
    block, h = student.Block(8, 2), torch.randn(2, 3, 8, generator=rng)
    perturb(block, 0.3, seed=seed)
    (whole, _), (first, past) = pair(block(h), "`Block`"), pair(block(h[:, :2]), "`Block`")
    last, _ = pair(block(h[:, 2:], past), "`Block`")
    both = torch.cat(
        [assert_shape(first, (2, 2, 8), "`block(h)`"), assert_shape(last, (2, 1, 8), "`block(h, past)`")], 1
    )
    assert_close(both, assert_shape(whole, h.shape, "`block(h)`"), "a block that continues", atol=1e-4)
    logits = assert_shape(student.ImageTransformer(4, 8, 2, 1)(x), (2, 4), "`ImageTransformer(x)`")
    assert_close(logits[0, 0], logits[1, 0], "the logit of pixel 0 for another image")


def pair(answer, what):
    """The two things that a block or a step returns."""
    answer = contents(answer)
    assert isinstance(answer, tuple | list), f"{what} should return two things, one of them the past"
    assert len(answer) == 2, f"{what} should return two things, one of them the past"
    return answer


@pytest.mark.graded("transformer-cache", points=0.25)
def test_two_steps_agree_with_the_whole(student, seed, rng):
    """Two tokens fed one by one give the first two logits of the model."""
    model = student.ImageTransformer(3, 8, 2, 1)
    perturb(model, 0.3, seed=seed)
    x = torch.randint(0, 2, (6, 3), generator=rng).float()
    logits = assert_finite(assert_shape(model(x), (6, 3), "the logits of the model"), "the logits of the model")
    tokens, past = student.shift_right(x).long(), None
    for i in range(2):
        step, past = pair(student.transformer_step(model, tokens[:, i], past), "`transformer_step`")
        assert_close(step, logits[:, i], f"the logits of step {i}", atol=1e-4)
    images = student.sample_cached(model, torch.full((5, 3), 0.5))
    assert_binary(assert_shape(images, (5, 3), "`sample_cached`"), "`sample_cached`")


# Part 5


def honest_network(trained, name, side):
    """The trained network in evaluation mode: of the stated shape, without a leak."""
    net = trained.get(name)

    def logits(x):
        return call(net, x, mode="eval")

    assert_shape(logits(torch.zeros(2, 1, side, side)), (2, 1, side, side), f"`{name}(x)`")
    assert_causal(logits, (4, 1, side, side), dependence=0.0, what=f"the logit of `{name}`")
    return logits


@pytest.mark.graded("train-bars", points=0.25, trains="bars", seconds=40)
def test_bars_model_has_learned_its_law(student, rng, course_data):
    """The trained network does not leak, and on fresh bars it is far better than bars of equal chances."""
    net, law = honest_network(student.trained("bars"), "bars_model", 4), course_data("bars").law
    x = law.draw(500, rng)
    excess = law.log_prob(x) - sequential_log_likelihood(net, x, generator=rng)
    what = "on fresh bars the excess of the loss over the entropy"
    assert_score(float(excess.mean()), 1.3, 0.9, what, unit="nats per image")


@pytest.mark.graded("train-digits", points=0.2, trains="digits", seconds=40)
def test_digits_model_has_learned_something(student, rng, course_data):
    """The trained network does not leak, and on digits of other writers it is better than learning by heart."""
    net, x = honest_network(student.trained("digits"), "digits_model", 8), course_data("digits").law[:1000]
    nll = -conditional_log_probs(net(x), x).sum(1)
    assert_score(float(nll.mean()), 20.7, 19.5, "the loss on digits of other writers", unit="nats per image")
