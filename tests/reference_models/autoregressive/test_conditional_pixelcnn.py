"""Conditional PixelCNN: enumeration for each class, equation 4 by hand, Bayes' rule, the sampler's law."""

import pytest
import torch

from reference_models.autoregressive.conditional_pixelcnn import ConditionalPixelCNN
from reference_models.autoregressive.gated_pixelcnn import GatedLayer
from reference_models.exact import departs_from_law, every_state
from tests.reference_models.autoregressive.laws import (
    every_parameter_learns,
    parameters,
    raster_past,
    strong_law,
    transposed,
    what_sees_what,
)
from tests.reference_models.helpers import close, perturb


def small(shape=(1, 3, 3), levels=2, condition_features=3, **sizes) -> ConditionalPixelCNN:
    sizes = {"features": 4, "layers": 2, "head": 8, "first_kernel": 3, **sizes}
    return ConditionalPixelCNN(shape, levels, condition_features, **sizes)


def test_probabilities_of_all_images_sum_to_one_for_each_class() -> None:
    model = perturb(small(), 0.5)
    x = every_state((1, 3, 3))
    each = torch.stack([model.log_prob(x, condition=torch.full((512,), c)) for c in range(3)]).exp()
    assert close(each.sum(1), torch.ones(3))
    assert (each[0] - each[1]).abs().sum() > 0.05  # and the classes differ
    assert (each[1] - each[2]).abs().sum() > 0.05


def test_the_condition_is_added_within_every_gate_of_both_stacks() -> None:
    """Equation 4: the layer with V equals the layer without it whose biases are moved by V h."""
    layer = perturb(GatedLayer("B", 3, 3, 3, 1, condition_features=2), 0.5)
    plain = GatedLayer("B", 3, 3, 3, 1, condition_features=0)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if not k.startswith("V.")})
    s = torch.tensor([0.3, -1.2])
    moved = layer.V.weight[:, :, 0, 0] @ s  # (12,): 6 of the vertical gate, 6 of the horizontal one
    v, h = torch.randn(2, 1, 3, 4, 4)
    with torch.no_grad():
        plain.vertical.bias += moved[:6]
        plain.horizontal.bias += moved[6:]
        plain.link.bias -= plain.link.weight[:, :, 0, 0] @ moved[:6]  # the link reads the vertical stack before V h
    for got, expected in zip(layer(v, h, s[None, :, None, None]), plain(v, h, None), strict=True):
        assert close(got, expected, 1e-12)


def test_a_class_is_its_one_hot_vector_and_a_constant_map() -> None:
    model = perturb(small(), 0.5)
    x = every_state((1, 3, 3))[::50]
    classes = torch.arange(len(x)) % 3
    vectors = torch.eye(3)[classes]
    maps = vectors[:, :, None, None].expand(-1, -1, 3, 3)
    by_class = model.log_prob(x, condition=classes)
    assert close(model.log_prob(x, condition=vectors), by_class, 1e-12)
    assert close(model.log_prob(x, condition=maps), by_class, 1e-12)


def test_a_map_says_what_is_where() -> None:
    """Changing the map in the last row leaves the conditionals of the rows above it alone, and changes some in it."""
    model = perturb(small((1, 4, 3)), 0.5)
    x, s = torch.rand(1, 1, 4, 3), torch.randn(1, 3, 4, 3)
    other = s.clone()
    other[:, :, 3] += 1
    change = (model.logits(x, s) - model.logits(x, other)).abs().amax(dim=(0, 1, 2))
    assert bool((change[:3] == 0).all())
    assert bool((change[3] > 0).all())


def test_given_a_class_a_pixel_sees_its_whole_past_and_no_more() -> None:
    model = small((1, 3, 4), layers=4)
    s = torch.randn(1, 3, 1, 1)
    seen = what_sees_what(model, lambda x: model.logits(x, s.expand(len(x), -1, -1, -1)), (1, 3, 4))
    assert torch.equal(seen, raster_past((1, 3, 4)))


def test_bayes_rule_gives_the_classes() -> None:
    model = perturb(small(), 0.8)
    x = every_state((1, 3, 3))[::37]
    p = torch.stack([model.log_prob(x, condition=torch.full((len(x),), c)).exp() for c in range(3)], dim=1)
    assert close(model.class_log_prob(x).exp(), p / p.sum(1, keepdim=True), 1e-12)
    assert close(model.class_log_prob(x[0]), model.class_log_prob(x)[0], 1e-12)


def test_samples_follow_the_law_of_their_class(generator: torch.Generator) -> None:
    """20000 images of two classes in turns; each test fails by chance once in a million seeds."""
    model = small((1, 2, 2), condition_features=2, features=8)
    x = every_state((1, 2, 2))

    def of_class(c: int, x: torch.Tensor = x) -> torch.Tensor:
        return model.log_prob(x, condition=torch.full((16,), c))

    strong_law(model, lambda x: of_class(1, x), x, transposed)
    classes = torch.arange(20_000) % 2
    samples = model.sample(20_000, condition=classes, generator=generator)
    for c in (0, 1):
        log_p, other = of_class(c), of_class(1 - c)
        assert not departs_from_law(samples[classes == c], log_p)
        assert departs_from_law(samples[classes == c], other)


def test_one_condition_serves_all_samples() -> None:
    model = perturb(small(), 0.5)

    def draw(condition: torch.Tensor) -> torch.Tensor:
        source = torch.Generator(condition.device).manual_seed(1)
        return model.sample(20, condition=condition, generator=source)

    expected = draw(torch.full((20,), 2))
    vector = torch.tensor([0.0, 0.0, 1.0])
    each_map = vector[:, None, None].expand(3, 3, 3)
    for condition in (torch.tensor(2), vector, vector.expand(20, 3), each_map, each_map.expand(20, 3, 3, 3)):
        assert torch.equal(draw(condition), expected)


def test_completion_keeps_what_is_known(generator: torch.Generator) -> None:
    model = perturb(small(), 0.5)
    x = (torch.rand(16, 1, 3, 3, generator=generator) < 0.5).double()
    known = torch.rand(16, 1, 3, 3, generator=generator) < 0.5
    done = model.complete(x, known, condition=torch.arange(16) % 3, generator=generator)
    assert torch.equal(done[known], x[known])
    assert bool(((done == 0) | (done == 1)).all())


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(small())
    x, y = every_state((1, 3, 3))[::8], torch.arange(64) % 3
    one_by_one = torch.stack([model.log_prob(a, condition=b) for a, b in zip(x, y, strict=True)])
    assert close(one_by_one, model.log_prob(x, condition=y), 1e-12)
    single = model.float().log_prob(x.float(), condition=y)
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x, condition=y), 1e-5)


def test_every_parameter_learns() -> None:
    model = perturb(small((3, 2, 2), 3, features=6))
    x, y = torch.randint(0, 3, (32, 3, 2, 2)), torch.arange(32) % 3
    assert every_parameter_learns(model, -model.log_prob(x, condition=y).mean())


def test_the_papers_size_adds_v_to_every_layer() -> None:
    """1000 classes into four times 384 maps in each of 20 layers, on top of the unconditional network."""
    from reference_models.autoregressive.gated_pixelcnn import GatedPixelCNN

    with torch.device("meta"):
        assert parameters(ConditionalPixelCNN.paper()) == parameters(GatedPixelCNN.paper()) + 20 * 1000 * 4 * 384


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        (torch.tensor([0, 3]), r"classes 0..2 of shape \(2,\), got \[0, 3\]"),
        (torch.tensor([-1, 0]), r"classes 0..2 of shape \(2,\), got \[-1, 0\]"),
        (torch.tensor(1), r"classes 0..2 of shape \(2,\), got 1"),
        (torch.zeros(2, 4, dtype=torch.float64), r"shape \(2, 3\) or \(2, 3, 3, 3\), got \(2, 4\)"),
        (torch.zeros(2, 3, 2, 2, dtype=torch.float64), r"got \(2, 3, 2, 2\)"),
    ],
)
def test_a_condition_that_does_not_fit_is_refused(condition, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        small().log_prob(torch.zeros(2, 1, 3, 3), condition=condition)


def test_bad_sizes_and_images_are_refused() -> None:
    with pytest.raises(ValueError, match="condition_features must be at least 1, got 0"):
        small(condition_features=0)
    with pytest.raises(ValueError, match=r"shape \(1, 3, 3\) or \(N, 1, 3, 3\), got \(3, 3\)"):
        small().log_prob(torch.zeros(3, 3), condition=torch.tensor(0))
