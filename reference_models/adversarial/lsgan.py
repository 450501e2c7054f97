"""LSGAN: least squares instead of cross-entropy, so that samples far from the boundary still pull.

The discriminator regresses data onto b and samples onto a; the generator wants its samples to score c (eq. 2):

    min_D  1/2 E_data (D(x) - b)² + 1/2 E_z (D(G(z)) - a)²
    min_G  1/2 E_z (D(G(z)) - c)²

    D*(x)  = (b p_data(x) + a p_g(x)) / (p_data(x) + p_g(x))                          (section 3.2)
    2 C(G) = χ²_Pearson(p_data + p_g ‖ 2 p_g)   for b - c = 1, b - a = 2              (section 3.2)

with C(G) = 1/2 E_data (D* - c)² + 1/2 E_g (D* - c)²; the term over data does not depend on G. D(x) is the network's
plain output, no sigmoid. Losses are means over the batch.

Least Squares Generative Adversarial Networks (Mao et al., 2017), section 3, https://arxiv.org/abs/1611.04076
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from reference_models.adversarial.dcgan import DCGANDiscriminator, DCGANGenerator
from reference_models.adversarial.gan import GAN


@dataclass(frozen=True)
class LeastSquares:
    """The game of eq. 2. a: code of samples, b: of data, c: what the generator wants its samples taken for.

    Raises:
        ValueError: a = b, two codes the discriminator could not tell apart.
    """

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0

    def __post_init__(self) -> None:
        if self.a == self.b:
            raise ValueError(f"samples and data need different codes, got a = b = {self.a}")

    @classmethod
    def zero_one(cls) -> Self:
        """The codes 0, 1, 1 (section 3.2): samples should pass for data."""
        return cls(0.0, 1.0, 1.0)

    @classmethod
    def pearson(cls) -> Self:
        """The codes -1, 1, 0 (section 3.2): the generator minimises a Pearson χ² divergence."""
        return cls(-1.0, 1.0, 0.0)

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The first line of eq. 2, a scalar."""
        return 0.5 * ((real - self.b) ** 2).mean() + 0.5 * ((fake - self.a) ** 2).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        """The second line of eq. 2, a scalar."""
        return 0.5 * ((fake - self.c) ** 2).mean()

    def optimal_discriminator(self, p_data: Tensor, p_g: Tensor) -> Tensor:
        """D* where the densities are p_data and p_g, shaped as they are."""
        return (self.b * p_data + self.a * p_g) / (p_data + p_g)


class LSGAN(GAN):
    """A GAN under least squares with the codes 0, 1, 1 unless told; arguments as those of `GAN`."""

    default_objective = LeastSquares

    @classmethod
    def images(
        cls,
        image_shape: Sequence[int] = (1, 8, 8),
        latent_dim: int = 16,
        channels: int = 32,
        start: int = 2,
        objective: LeastSquares | None = None,
    ) -> Self:
        """DCGAN's networks at any size; arguments as theirs."""
        generator = DCGANGenerator(latent_dim, image_shape, channels, start)
        discriminator = DCGANDiscriminator(image_shape, max(channels // 2, 1), start)
        return cls(generator, discriminator, latent_dim=latent_dim, event_shape=image_shape, objective=objective)

    @classmethod
    def paper(cls) -> Self:
        """The networks of figure 2: 1024 numbers to 112×112 colour images.

        The generator alternates 3×3 transposed convolutions of stride 2 and 1, the discriminator has four 5×5
        convolutions of stride 2; batch normalisation everywhere but at G's output and D's input.
        """
        plan = [(256, 256, 2), (256, 256, 1), (256, 256, 2), (256, 256, 1), (256, 128, 2), (128, 64, 2)]
        generator: list[nn.Module] = [nn.Linear(1024, 256 * 49), nn.Unflatten(1, (256, 7, 7))]
        generator += [nn.BatchNorm2d(256), nn.ReLU()]
        for width, following, stride in plan:
            up = nn.ConvTranspose2d(width, following, 3, stride, 1, output_padding=stride - 1)
            generator += [up, nn.BatchNorm2d(following), nn.ReLU()]
        generator += [nn.ConvTranspose2d(64, 3, 3, 1, 1), nn.Tanh()]
        critic: list[nn.Module] = [nn.Conv2d(3, 64, 5, 2, 2), nn.LeakyReLU(0.2)]
        for width in (64, 128, 256):
            critic += [nn.Conv2d(width, 2 * width, 5, 2, 2), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
        critic += [nn.Flatten(1), nn.Linear(512 * 49, 1), nn.Flatten(0)]
        return cls(nn.Sequential(*generator), nn.Sequential(*critic), latent_dim=1024, event_shape=(3, 112, 112))
