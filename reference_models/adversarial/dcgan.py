"""DCGAN: the convolutional networks with which adversarial training became dependable.

Five rules (section 3): strided convolutions instead of pooling, transposed ones in the generator; batch normalisation
in both networks except at the generator's output and the discriminator's input; no hidden fully connected layer;
rectifiers in the generator, tanh at its output; leaky rectifiers (slope 0.2) in the discriminator. Weights start as
N(0, 0.02²); Adam runs at 2e-4 with beta_1 = 0.5.

Images lie in [-1, 1], the range of tanh. The game is that of `gan`, played without saturation.

Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (Radford, Metz, Chintala,
2016), sections 3 and 4, figure 1, https://arxiv.org/abs/1511.06434
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from reference_models.adversarial.gan import GAN, Objective
from reference_models.parts.require import at_least

KERNEL = 5  # figure 1
SLOPE = 0.2  # section 4, "LeakyReLU"
INIT_STD = 0.02  # section 4


def doublings(image_shape: Sequence[int], start: int) -> int:
    """How often `start` doubles to reach the image's side.

    Raises:
        ValueError: start is below 1, the image is not square, or its side is not start * 2^k with k ≥ 1.
    """
    at_least("start", start, 1)
    _, height, width = image_shape
    levels = max(height // start, 1).bit_length() - 1
    if height != width or levels < 1 or height != start << levels:
        raise ValueError(f"images must be square with side {start} * 2^k, k >= 1, got {height} x {width}")
    return levels


class DCGANGenerator(nn.Module):
    """Noise to images: project, reshape to start×start, then transposed convolutions of stride 2 that halve channels.

    latent_dim: size of z, 100 in the paper.
    image_shape: (C, H, W) with H = W = start * 2^k.
    channels: of the last hidden layer; the first has channels * 2^(k-1), which is 1024 at 64×64.
    """

    def __init__(
        self, latent_dim: int = 100, image_shape: Sequence[int] = (3, 64, 64), channels: int = 128, start: int = 4
    ) -> None:
        super().__init__()
        at_least("channels", channels, 1)
        levels = doublings(image_shape, start)
        widths = [channels << level for level in reversed(range(levels))]
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, widths[0] * start * start, bias=False),
            nn.Unflatten(1, (widths[0], start, start)),
        ]
        for width, following in zip(widths, [*widths[1:], None], strict=True):
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            layers += [_up(width, following or image_shape[0], bias=following is None)]
        self.net = nn.Sequential(*layers, nn.Tanh())
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent_dim) to (N, C, H, W) in [-1, 1]."""
        return self.net(z)


class DCGANDiscriminator(nn.Module):
    """Images to logits: convolutions of stride 2, each doubling the channels, and one linear unit on what is left.

    channels: of the first layer.

    NOTE: figure 1 shows the generator alone; 64 channels and a mirrored stack are the authors' code.
    """

    def __init__(self, image_shape: Sequence[int] = (3, 64, 64), channels: int = 64, start: int = 4) -> None:
        super().__init__()
        at_least("channels", channels, 1)
        levels = doublings(image_shape, start)
        layers: list[nn.Module] = []
        width = image_shape[0]
        for level in range(levels):
            following = channels << level
            layers.append(nn.Conv2d(width, following, KERNEL, stride=2, padding=KERNEL // 2, bias=level == 0))
            if level:  # none at the input: the discriminator must see the data's mean and scale
                layers.append(nn.BatchNorm2d(following))
            layers.append(nn.LeakyReLU(SLOPE))
            width = following
        self.net = nn.Sequential(*layers, nn.Flatten(1), nn.Linear(width * start * start, 1), nn.Flatten(0))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N,)."""
        return self.net(x)


class DCGAN(GAN):
    """A GAN of these two networks; z is uniform on [-1, 1] (figure 1, "uniform distribution").

    image_shape, latent_dim, channels: as in the two networks; the discriminator has half the generator's channels.
    start: side of the smallest feature map.
    objective: non-saturating unless given.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        latent_dim: int = 16,
        channels: int = 32,
        start: int = 2,
        objective: Objective | None = None,
    ) -> None:
        super().__init__(
            DCGANGenerator(latent_dim, image_shape, channels, start),
            DCGANDiscriminator(image_shape, max(channels // 2, 1), start),
            latent_dim=latent_dim,
            event_shape=image_shape,
            objective=objective,
            prior="uniform",
        )

    @classmethod
    def paper(cls) -> Self:
        """The networks of figure 1: 100 numbers to 64×64 colour images through 1024, 512, 256 and 128 channels."""
        return cls((3, 64, 64), latent_dim=100, channels=128, start=4)


def initialise(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02²) (section 4), gains ~ N(1, 0.02²) as in the authors' code, biases 0; in place."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, INIT_STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, INIT_STD)


def _up(in_channels: int, out_channels: int, bias: bool) -> nn.ConvTranspose2d:
    """Doubles the side."""
    return nn.ConvTranspose2d(in_channels, out_channels, KERNEL, 2, KERNEL // 2, output_padding=1, bias=bias)
