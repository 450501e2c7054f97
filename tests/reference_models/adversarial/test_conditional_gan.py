"""Both players know the label: networks against loops and counts, the game against a joint law on few states."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.adversarial.conditional_gan import (
    ConditionalDiscriminator,
    ConditionalGAN,
    ConditionalGenerator,
    one_hot,
)
from reference_models.adversarial.gan import GAN, Maxout
from tests.reference_models.adversarial.games import count, gradients, linear, snapshot, unchanged
from tests.reference_models.helpers import close, numpy, perturb


def small() -> ConditionalGAN:
    return perturb(ConditionalGAN(features=6, num_classes=3, latent_dim=4, width=0.02), 0.5)


def test_both_networks_depend_on_the_label(generator: torch.Generator) -> None:
    gan, z = small(), torch.rand(1, 4).expand(3, -1)
    y = torch.arange(3)
    x = gan(z, condition=y)
    scores = gan.score(x[:1].expand(3, -1), condition=y)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (x[a] - x[b]).abs().max() > 1e-3
        assert (scores[a] - scores[b]).abs() > 1e-3


def test_labels_and_their_one_hot_codes_mean_the_same() -> None:
    gan, z, y = small(), torch.rand(5, 4), torch.tensor([2, 0, 1, 1, 2])
    codes = torch.eye(3)[y]
    assert close(gan(z, condition=codes), gan(z, condition=y), 1e-14)
    x = torch.rand(5, 6)
    assert close(gan.score(x, condition=codes), gan.score(x, condition=y), 1e-14)
    assert close(one_hot(y, 3, z), codes, 0)


def test_the_networks_compute_what_section_4_says() -> None:
    g = perturb(ConditionalGenerator(2, 3, 5, 4, 6, 7), 0.5)
    d = perturb(ConditionalDiscriminator(5, 3, 4, 2, 3), 0.5)
    z, y = torch.randn(4, 2), torch.tensor([0, 1, 2, 1])

    def affine(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
        return x @ numpy(layer.weight).T + numpy(layer.bias)

    def pieces(layer: Maxout, x: np.ndarray) -> np.ndarray:
        h = affine(layer.linear, x)
        return np.stack([h[:, k * layer.pieces : (k + 1) * layer.pieces].max(1) for k in range(layer.out_features)], 1)

    code = np.eye(3)[numpy(y)]
    h = np.concatenate([affine(g.from_z, numpy(z)).clip(0), affine(g.from_y, code).clip(0)], 1)
    x = 1 / (1 + np.exp(-affine(g.out, affine(g.joint, h).clip(0))))
    assert close(g(z, y), torch.as_tensor(x), 1e-12)
    h = np.concatenate([pieces(d.from_x, x), pieces(d.from_y, code)], 1)
    assert close(d(torch.as_tensor(x), y), torch.as_tensor(affine(d.out, pieces(d.joint, h))[:, 0]), 1e-12)


class Table(nn.Module):
    """A logit for each pair of state and label; remembers what it was shown."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.logits[x.squeeze(1).long(), y]


class Cycle(nn.Module):
    """Given the label alone, 0, 1, 2, ... of its own list of states in turn: no noise, an exact law."""

    def __init__(self, states: list[list[int]]) -> None:
        super().__init__()
        self.states, self.unused = states, nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        seen = [0] * len(self.states)
        out = []
        for label in y.tolist():
            out.append(float(self.states[label][seen[label] % len(self.states[label])]))
            seen[label] += 1
        return torch.tensor(out).unsqueeze(1)


def test_the_best_discriminator_knows_each_conditional() -> None:
    """Data: label 0 has states 0, 0, 1, 2; label 1 has 0, 1, 2, 2. Samples: 0, 1, 1, 2 and 0, 0, 0, 1, 1, 1, 2, 2.

    With one shared law for both labels the logit log p(x|y)/q(x|y) would be wrong, and the gradient not zero.
    """
    data = {0: [0, 0, 1, 2], 1: [0, 1, 2, 2]}
    samples = [[0, 1, 1, 2], [0, 0, 0, 1, 1, 1, 2, 2]]
    x = torch.tensor([[float(s)] for y in (0, 1) for s in 2 * data[y]])
    y = torch.tensor([0] * 8 + [1] * 8)
    p = torch.tensor([[data[label].count(s) / 4 for label in (0, 1)] for s in range(3)])
    q = torch.tensor([[samples[label].count(s) / len(samples[label]) for label in (0, 1)] for s in range(3)])
    gan = GAN(Cycle(samples), Table((p / q).log()), latent_dim=1, event_shape=(1,))
    loss = gan.discriminator_loss(x, condition=y)
    loss.backward()
    assert close(gan.discriminator.logits.grad, torch.zeros(3, 2), 1e-12)
    kl = F.kl_div
    m = 0.5 * (p + q)
    js = 0.5 * (kl(m.log(), p, reduction="none") + kl(m.log(), q, reduction="none")).sum(0)
    assert close(-loss, 2 * js.mean() - 2 * np.log(2), 1e-12)


def test_the_players_gradients_do_not_mix(generator: torch.Generator) -> None:
    gan, y = small(), torch.tensor([0, 1, 2, 2])
    gan.discriminator_loss(torch.rand(4, 6), condition=y, generator=generator).backward()
    assert gradients(gan.discriminator)
    assert not gradients(gan.generator)
    gan.zero_grad()
    before = snapshot(gan.discriminator)
    gan.generator_loss(4, condition=y, generator=generator).backward()
    torch.optim.SGD(gan.parameters(), lr=1.0).step()
    assert gradients(gan.generator)
    assert unchanged(gan.discriminator, before)


def test_noise_fills_the_unit_cube_and_pixels_too(generator: torch.Generator) -> None:
    gan = small().float()
    z = gan.noise(1000, generator=generator)
    assert 0 <= z.min() < 0.01
    assert 0.99 < z.max() <= 1
    x = gan.sample(3, condition=torch.tensor([0, 1, 2]), generator=generator)
    assert x.dtype == torch.float32
    assert bool(((x >= 0) & (x <= 1)).all())


def test_the_paper_s_networks_have_the_sizes_of_section_4_1() -> None:
    with torch.device("meta"):
        gan = ConditionalGAN.paper()
    assert count(gan.generator) == linear(100, 200) + linear(10, 1000) + linear(1200, 1200) + linear(1200, 784)
    maxouts = linear(784, 240 * 5) + linear(10, 50 * 5) + linear(240 + 50, 240 * 4)
    assert count(gan.discriminator) == maxouts + linear(240, 1)


def test_missing_or_impossible_labels_are_refused() -> None:
    gan = small()
    with pytest.raises(ValueError, match="4 samples, got none"):
        gan.sample(4)
    with pytest.raises(ValueError, match="4 samples, got 3 conditions"):
        gan.sample(4, condition=torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"lie in 0..2, got values in \[0, 3\]"):
        gan.sample(2, condition=torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"must have 3 numbers, got shape \(2, 4\)"):
        gan.sample(2, condition=torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"shape \(N,\), got \(2, 3\)"):
        gan.sample(2, condition=torch.eye(3)[:2].long())
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        ConditionalGAN(num_classes=1)
