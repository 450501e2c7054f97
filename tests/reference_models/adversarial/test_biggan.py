"""Truncation, orthogonality and chunks of noise; parameter counts against table 1."""

import pytest
import torch
from scipy.stats import kstest, truncnorm
from torch import Tensor, nn

from reference_models.adversarial.biggan import BigGAN, BigGANGenerator, orthogonal_penalty, orthogonal_regularisation
from reference_models.adversarial.gan import GAN
from tests.reference_models.adversarial.games import count, gradients
from tests.reference_models.helpers import close, numpy, perturb

TABLE_1 = [  # channels, shared, skip-z, millions of parameters
    (64, False, False, 81.5),
    (96, False, False, 173.5),
    (96, True, False, 160.6),
    (96, True, True, 158.3),
    (64, True, True, 71.3),
]


@pytest.mark.parametrize(("channels", "shared", "skip_z", "millions"), TABLE_1)
def test_the_networks_have_the_parameters_of_table_1(
    channels: int, shared: bool, skip_z: bool, millions: float
) -> None:
    """Within 0.2 million: the table does not say what it counts of normalisation and attention."""
    with torch.device("meta"):
        gan = BigGAN.paper(channels, shared=shared, skip_z=skip_z)
    assert abs(count(gan) / 1e6 - millions) < 0.2


def test_the_paper_s_generator_makes_128_pixel_images_with_attention_at_64() -> None:
    with torch.device("meta"):
        gan = BigGAN.paper()
        y = torch.zeros(2, dtype=torch.long)
        x = gan.generator(torch.zeros(2, 120), y)
        assert x.shape == (2, 3, 128, 128)
        assert gan.discriminator(x, y).shape == (2,)
        assert list(gan.generator.attention) == ["3"]  # after the fourth block: 4 * 2^4
    assert gan.beta == 1e-4


class Shown(nn.Module):
    """A generator that remembers its noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[Tensor] = []

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        self.seen.append(z)
        return self.weight.expand(len(z), 1, 8, 8)


def test_truncated_samples_use_truncated_normal_noise(generator: torch.Generator) -> None:
    """Kolmogorov-Smirnov against SciPy's truncnorm on 36000 numbers; false failures 1e-6."""
    gan = BigGAN()
    gan.generator = shown = Shown()
    y = torch.zeros(2000, dtype=torch.long)
    x = gan.sample_truncated(2000, threshold=0.7, condition=y, generator=generator)
    assert x.shape == (2000, 1, 8, 8)
    z = shown.seen[0]
    assert z.abs().max() <= 0.7
    assert kstest(numpy(z).ravel(), truncnorm(-0.7, 0.7).cdf).pvalue > 1e-6


def test_filters_at_right_angles_cost_nothing_whatever_their_length() -> None:
    q = torch.linalg.qr(torch.randn(6, 6))[0][:4] * torch.tensor([1.0, 2.0, 0.1, 5.0])[:, None]
    assert close(orthogonal_penalty(q.reshape(4, 2, 3, 1)), 0.0, 1e-25)
    assert orthogonal_penalty(q.mT) > 1e-6  # columns of one filter each are another matter


def test_the_penalty_sums_squared_products_of_different_filters() -> None:
    w = torch.randn(3, 2, 2, 2)
    filters = list(w.reshape(3, 8))
    expected = sum((filters[i] @ filters[j]) ** 2 for i in range(3) for j in range(3) if i != j)
    assert close(orthogonal_penalty(w, beta=0.3), 0.3 * expected, 1e-12)


def test_the_generator_pays_for_its_layers_but_not_for_the_label_table(generator: torch.Generator) -> None:
    gan, y = perturb(BigGAN(beta=0.01)), torch.tensor([0, 1, 2, 3])
    layers = [part for part in gan.generator.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    expected = sum(orthogonal_penalty(part.parametrizations.weight.original, 0.01) for part in layers)
    assert len(layers) == 2 + 2 * 3 + 2 * 2 * 2 + 4  # ends, convolutions, gains and offsets, attention
    assert close(orthogonal_regularisation(gan.generator, 0.01), expected, 1e-12)
    state, twin = generator.get_state(), {name: value.clone() for name, value in gan.state_dict().items()}
    loss = gan.generator_loss(4, condition=y, generator=generator)
    generator.set_state(state)
    gan.load_state_dict(twin)  # running statistics and u have moved
    game = GAN.generator_loss(gan, 4, condition=y, generator=generator)
    assert close(loss - game, expected, 1e-9)


def test_every_weight_starts_orthogonal() -> None:
    for part in BigGAN().modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            w = part.parametrizations.weight.original.detach().flatten(1)
            w = w if w.shape[0] <= w.shape[1] else w.mT
            assert close(w @ w.mT, torch.eye(len(w)), 1e-9)


def test_each_block_is_told_the_label_and_its_own_chunk_of_the_noise() -> None:
    g = perturb(BigGANGenerator(9, (8, 8, 8), (1, 8, 8), 5, shared=4, attention_at=4))
    z, y = torch.randn(2, 9), torch.tensor([1, 4])
    first, conditions = g.inputs(z, y)
    assert close(first, z[:, :3], 0)
    embedded = g.embed.weight[y]
    for block, condition in enumerate(conditions):
        assert close(condition, torch.cat([embedded, z[:, 3 * block + 3 : 3 * block + 6]], dim=1), 0)
    assert len(conditions) == 2


def test_without_skips_every_block_is_told_the_label_alone() -> None:
    g = BigGANGenerator(9, (8, 8, 8), (1, 8, 8), 5, shared=4, skip_z=False, attention_at=4)
    z, y = torch.randn(2, 9), torch.tensor([1, 4])
    first, conditions = g.inputs(z, y)
    assert close(first, z, 0)
    assert all(close(condition, g.embed.weight[y], 0) for condition in conditions)
    table = BigGANGenerator(9, (8, 8, 8), (1, 8, 8), 5, shared=0, skip_z=False, attention_at=4)
    assert table.inputs(z, y)[1] == [y, y]


def test_images_depend_on_every_chunk_and_on_the_label() -> None:
    gan = perturb(BigGAN()).eval()
    z, y = torch.randn(1, 18), torch.tensor([3])
    x = gan(z, condition=y)
    for start in (0, 6, 12):
        moved = z.clone()
        moved[:, start] += 1
        assert (gan(moved, condition=y) - x).abs().max() > 1e-4
    assert (gan(z, condition=torch.tensor([4])) - x).abs().max() > 1e-4


def test_the_players_gradients_do_not_mix(generator: torch.Generator) -> None:
    gan, y = perturb(BigGAN()), torch.tensor([0, 3, 9, 3])
    gan.discriminator_loss(torch.rand(4, 1, 8, 8), condition=y, generator=generator).backward()
    assert gradients(gan.discriminator)
    assert not gradients(gan.generator)
    gan.zero_grad()
    gan.generator_loss(4, condition=y, generator=generator).backward()
    assert gradients(gan.generator)
    assert not gradients(gan.discriminator)


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    gan = BigGAN().float()
    y = torch.tensor([1, 2])
    assert gan.sample(2, condition=y, generator=generator).dtype == torch.float32
    assert gan.sample_truncated(2, threshold=0.5, condition=y, generator=generator).dtype == torch.float32


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"z of size k \* 3, got sizes 16 and 17"):
        BigGAN(latent_dim=17)
    with pytest.raises(ValueError, match="needs an embedding"):
        BigGAN(shared=0)
    with pytest.raises(ValueError, match="beta must be at least 0, got -1"):
        BigGAN(beta=-1.0)
    with pytest.raises(ValueError, match="threshold must be positive, got 0"):
        BigGAN().sample_truncated(2, threshold=0.0, condition=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="2 samples need 2 labels, got None"):
        BigGAN().sample(2)
