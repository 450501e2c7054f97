"""Feature extractors: what the shipped classifier reaches, and networks whose features are known by hand."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from reference_models.data import load
from reference_models.evaluation.features import (
    WEIGHTS,
    DigitClassifier,
    ModuleFeatures,
    digit_classifier,
    digit_features,
    digit_logits,
)
from reference_models.evaluation.frechet import frechet_distance
from reference_models.evaluation.train_digit_classifier import accuracy, train, vary
from tests.reference_models.helpers import close


def said(side: int) -> dict[str, str]:
    """The metadata of the weights, read from the header of the file."""
    raw = WEIGHTS[side].read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length])["__metadata__"]


@pytest.mark.parametrize(("name", "side"), [("digits", 8), ("drawn-16", 16)])
def test_the_weights_are_small_and_reach_the_accuracy_they_state(device, name, side):
    """On the held-out digits, which training never saw; the number also stands in the module's docstring."""
    from reference_models.evaluation import features

    data = load(name, device=device)
    reached = accuracy(digit_classifier(torch.float32, device, side), data.held_out, data.held_out_labels)
    assert WEIGHTS[side].stat().st_size < 1_000_000
    assert reached == pytest.approx(float(said(side)["held_out_accuracy"]), abs=1.5 / len(data.held_out))
    assert reached > 0.97
    assert f"{float(said(side)['held_out_accuracy']):.1%}".replace("%", " %") in features.__doc__


def test_held_out_digits_are_not_among_the_training_digits(device):
    """All 1797 images of scikit-learn, each on one side only (no image occurs twice)."""
    data = load("digits", device=device)
    assert len(data.train) + len(data.held_out) == len(load_digits().images)
    both = torch.cat([data.train, data.held_out]).flatten(1)
    assert len(both.unique(dim=0)) == len(both)


def test_logits_are_an_affine_map_of_features(device):
    images = torch.rand(5, 1, 8, 8)
    head = digit_classifier(images.dtype, images.device).head
    assert digit_features(images).shape == (5, 32)
    assert close(digit_logits(images), digit_features(images) @ head.weight.T + head.bias, 1e-9)


def test_each_image_is_treated_alone_also_in_many(monkeypatch):
    from reference_models.evaluation import features

    images = torch.rand(7, 1, 8, 8)
    whole = digit_features(images)
    assert close(digit_features(images[3:4]), whole[3:4], 1e-9)
    monkeypatch.setattr(features, "_AT_ONCE", 2)
    assert close(digit_features(images), whole, 1e-9)


def test_gradients_reach_the_images_and_not_the_classifier():
    images = torch.rand(2, 1, 8, 8, requires_grad=True)
    digit_logits(images)[:, 3].sum().backward()
    assert float(images.grad.abs().sum()) > 0
    model = digit_classifier(images.dtype, images.device)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_features_tell_digits_from_noise_and_from_fewer_classes(device):
    """Held-out digits are nearer to the training digits than half the classes are, and than noise is, by far."""
    data = load("digits", dtype=torch.float64, device=device)
    train_features = digit_features(data.train)
    held_out = float(frechet_distance(train_features, digit_features(data.held_out)))
    few = float(frechet_distance(train_features, digit_features(data.held_out[data.held_out_labels < 5])))
    noise = float(frechet_distance(train_features, digit_features(torch.rand(360, 1, 8, 8))))
    assert 5 * held_out < few < noise
    covariance = train_features.T.cov()
    assert float(torch.linalg.eigvalsh(covariance).min()) > 0  # full rank


def test_float32_agrees():
    images = torch.rand(3, 1, 8, 8)
    single = digit_features(images.float())
    assert single.dtype == torch.float32
    assert close(single.double(), digit_features(images), 1e-4)


def test_loading_the_classifier_draws_no_random_numbers():
    digit_classifier.cache_clear()
    before = torch.get_rng_state()
    digit_classifier()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            torch.zeros(2, 8, 8),
            r"images must be floats of shape \(N, 1, S, S\), S = 8 or S ≥ 16, got torch.float32 \(2, 8, 8\)",
        ),
        (torch.zeros(2, 1, 8, 8).long(), "images must be floats .* got torch.int64"),
        (torch.full((2, 1, 8, 8), 16.0), r"every pixel must lie in \[0, 1\] .* got values in \[16, 16\]"),
        (torch.linspace(-0.5, 1, 64).view(1, 1, 8, 8), r"\[0, 1\] .* got values in \[-0.5, 1\]"),
        (torch.linspace(0, 1.01, 64).view(1, 1, 8, 8), r"\[0, 1\] .* got values in \[0, 1.01\]"),
        (torch.full((2, 1, 8, 8), torch.nan), r"every pixel must lie in \[0, 1\]"),
    ],
)
def test_images_of_another_kind_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        digit_features(images)


def test_a_short_training_learns_and_the_same_seed_gives_the_same_weights(device):
    data = load("digits", size=200, device=device)
    before = torch.get_rng_state()
    first, again = (train(data, epochs=2, batch_size=50, seed=1) for _ in range(2))
    other = train(data, epochs=2, batch_size=50, seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)
    assert not first.training
    longer = train(data, epochs=12, batch_size=50, seed=1)
    assert accuracy(longer, data.held_out, data.held_out_labels) > 0.5


def test_a_varied_image_is_the_image_moved_by_at_most_a_pixel(generator, device):
    """One white pixel in the middle is found, after noise of std 0.05, at each of nine places and nowhere else."""
    images = torch.zeros(400, 1, 8, 8)
    images[:, 0, 3, 4] = 1.0
    varied = vary(images, generator=generator)
    places = varied.flatten(1).argmax(dim=1)
    expected = {8 * (3 + i) + 4 + j for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert set(places.tolist()) == expected  # missing one of nine in 400: 3e-20
    rest = varied.flatten(1).scatter(1, places[:, None], 0.0)
    assert float(rest.std()) == pytest.approx(0.05, rel=0.05)


def test_an_edge_moved_out_of_the_image_does_not_come_back(generator):
    images = torch.zeros(200, 1, 8, 8)
    images[:, 0, 0, :] = 1.0
    varied = vary(images, generator=generator)[:, 0].mean(dim=2)  # (N, 8), brightness of each row
    assert float(varied[:, 2:].max()) < 0.15


def test_accuracy_counts_and_restores_the_mode():
    class Says(nn.Module):
        def forward(self, x):
            assert not self.training
            return nn.functional.one_hot(x[:, 0, 0, 0].long(), 10).to(x.dtype)

    model = Says().train()
    images = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1)
    assert accuracy(model, images, torch.tensor([1, 2, 0, 0])) == 0.5
    assert model.training


# --- any other network


class Network(nn.Module):
    """Doubles channels, normalises by batch statistics when training, averages."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.pool(self.norm(self.stem(x))).flatten(1))


def test_a_layer_is_read_by_name_in_evaluation_mode_and_the_mode_restored():
    network = Network().train()
    network.norm.eval()  # a mixture of modes comes back as it was
    images = torch.rand(5, 3, 6, 6)
    stem = torch.einsum("oi,nihw->nohw", network.stem.weight[:, :, 0, 0], images)
    assert close(ModuleFeatures(network, "stem")(images), stem.mean((2, 3)), 1e-9)
    assert close(ModuleFeatures(network, "stem", pool=False, batch_size=2)(images), stem.flatten(1), 1e-9)
    assert close(ModuleFeatures(network, "pool")(images), stem.mean((2, 3)) / (1 + 1e-5) ** 0.5, 1e-9)
    assert ModuleFeatures(network)(images).shape == (5, 2)
    assert network.training
    assert not network.norm.training
    assert not network.stem._forward_hooks


class Residual(nn.Module):
    """A block as torchvision writes it: what a layer gives is changed in place by what follows; one ReLU used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.conv1(x))
        out = self.conv2(out)
        out += x
        return self.relu(out)


def test_a_layer_is_read_before_what_follows_changes_it_in_place():
    block, images = Residual(), torch.rand(4, 3, 5, 5) - 0.5

    def by_hand(conv, x):
        return torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], x) + conv.bias[:, None, None]

    first = by_hand(block.conv1, images)
    second = by_hand(block.conv2, first.clamp(min=0))
    for layer, expected in (("conv1", first), ("conv2", second), ("relu", (second + images).clamp(min=0))):
        assert close(ModuleFeatures(block, layer, pool=False)(images), expected.flatten(1).detach(), 1e-12), layer
    assert float(first.detach().min()) < 0  # or it would show nothing


def test_images_take_the_dtype_of_the_network():
    features = ModuleFeatures(Residual().float())(torch.rand(2, 3, 4, 4))
    assert features.dtype == torch.float32


def test_batch_statistics_are_not_used_and_not_moved():
    network = Network().train()
    images = torch.rand(4, 3, 6, 6)
    extractor = ModuleFeatures(network, "norm")
    assert close(extractor(images)[:1], extractor(images[:1]), 1e-12)
    assert bool((network.norm.running_mean == 0).all())


def test_images_are_resized_and_standardised_first():
    """A constant image stays constant under resizing: features are (c − mean)/std."""
    seen = []

    class Keeps(nn.Module):
        def forward(self, x):
            seen.append(tuple(x.shape))
            return x

    extractor = ModuleFeatures(Keeps(), size=(12, 10), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    features = extractor(torch.full((2, 3, 6, 6), 0.75))
    assert seen == [(2, 3, 12, 10)]
    assert close(features, torch.tensor([[0.5, 2.0, 0.375]]).expand(2, 3), 1e-9)


def test_no_gradient_is_recorded():
    images = torch.rand(2, 3, 6, 6, requires_grad=True)
    assert not ModuleFeatures(Network(), "stem")(images).requires_grad


def test_an_extractor_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="no layer 'fc' in Network; it has stem, norm, pool, head"):
        ModuleFeatures(Network(), "fc")
    with pytest.raises(ValueError, match=r"every std must be positive, got \(1.0, 0.0\)"):
        ModuleFeatures(Network(), std=(1.0, 0.0))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        ModuleFeatures(Network(), batch_size=0)
    with pytest.raises(ValueError, match=r"images must be floats .*, got torch.float64 \(3, 6, 6\)"):
        ModuleFeatures(Network())(torch.zeros(3, 6, 6))
    with pytest.raises(ValueError, match=r"images must be floats .* got torch.uint8"):
        ModuleFeatures(Network())(torch.zeros(2, 3, 6, 6, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"one number, or one a channel, got \(0.5, 0.5\) and \(1.0, 1.0, 1.0\)"):
        ModuleFeatures(Network(), mean=(0.5, 0.5), std=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="mean and std are for 3 channels, got images of 1"):
        ModuleFeatures(Network(), mean=(0.5,) * 3, std=(0.5,) * 3)(torch.zeros(2, 1, 6, 6))

    class Sums(nn.Module):
        def forward(self, x):
            return x.sum()

    with pytest.raises(ValueError, match="a tensor with a row an image"):
        ModuleFeatures(Sums())(torch.zeros(2, 3, 6, 6))


def test_the_network_has_the_parameters_worked_out_by_hand():
    """Convolutions (9 in + 1) out, then 8·32 → 32 → 10: 320 + 18496 + 36928 + 8224 + 330."""
    assert sum(p.numel() for p in DigitClassifier().parameters()) == 320 + 18496 + 36928 + 8224 + 330
