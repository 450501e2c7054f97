"""Conditional GAN: both players are told the label y, and G must produce an x that fits it.

    V(D, G) = E_{(x, y) ~ p_data} log D(x | y) + E_{z ~ p_z, y} log(1 - D(G(z | y) | y))              (eq. 2)
    D*(x | y) = p_data(x | y) / (p_data(x | y) + p_g(x | y))

For each label this is a game of its own, so at equilibrium every conditional is right, not only the marginal. D
compares pairs: a convincing image beside the wrong label is a sample it rejects. In `discriminator_loss` the labels
of the samples are those of the batch, so both kinds of pairs have the same law of y.

Labels are long tensors with values 0..K-1, or vectors of shape (N, K), such as one-hot codes.

NOTE: the paper drops half of the units at random and does not say how weights start; here none are dropped, and weights
have variance 2 / fan_in, without which G starts out deaf to the label.

Conditional Generative Adversarial Nets (Mirza, Osindero, 2014), section 3 and 4.1, https://arxiv.org/abs/1411.1784
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.adversarial.gan import GAN, Maxout
from reference_models.parts.require import at_least, labels


def one_hot(condition: Tensor, num_classes: int, like: Tensor) -> Tensor:
    """Labels (N,) as rows of an identity matrix, (N, K), typed as `like`; vectors pass unchanged.

    Raises:
        ValueError: a label outside 0..K-1, labels that are no list, vectors that do not have K numbers.
    """
    if condition.is_floating_point():
        if condition.shape[-1] != num_classes:
            raise ValueError(f"a condition must have {num_classes} numbers, got shape {tuple(condition.shape)}")
        return condition.to(like)
    if condition.ndim != 1:
        raise ValueError(f"labels must have shape (N,), got {tuple(condition.shape)}")
    labels(condition, num_classes)
    return F.one_hot(condition, num_classes).to(like)


class ConditionalGenerator(nn.Module):
    """z and y each get a layer of rectifiers, then share one, then pixels in [0, 1] (section 4.1).

    hidden_z, hidden_y, hidden: 200, 1000 and 1200 units in the paper.
    """

    def __init__(
        self, latent_dim: int, num_classes: int, features: int, hidden_z: int, hidden_y: int, hidden: int
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.from_z, self.from_y = nn.Linear(latent_dim, hidden_z), nn.Linear(num_classes, hidden_y)
        self.joint = nn.Linear(hidden_z + hidden_y, hidden)
        self.out = nn.Linear(hidden, features)

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """(N, latent_dim) and labels to (N, features)."""
        y = one_hot(condition, self.num_classes, z)
        h = torch.cat([self.from_z(z).relu(), self.from_y(y).relu()], dim=-1)
        return torch.sigmoid(self.out(self.joint(h).relu()))


class ConditionalDiscriminator(nn.Module):
    """x and y each get a maxout layer, then share one, then a logit (section 4.1: 240×5, 50×5, 240×4)."""

    def __init__(self, features: int, num_classes: int, hidden_x: int, hidden_y: int, hidden: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.from_x, self.from_y = Maxout(features, hidden_x, pieces=5), Maxout(num_classes, hidden_y, pieces=5)
        self.joint = Maxout(hidden_x + hidden_y, hidden, pieces=4)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(N, features) and labels to logits (N,)."""
        y = one_hot(condition, self.num_classes, x)
        h = self.joint(torch.cat([self.from_x(x), self.from_y(y)], dim=-1))
        logits: Tensor = self.out(h)
        return logits.squeeze(-1)


class ConditionalGAN(GAN):
    """The networks of section 4.1 on vectors of pixels; every call needs `condition`, labels of shape (N,).

    features: pixels of an image.
    width: multiplies the paper's layer sizes.

    Raises:
        ValueError: fewer than 2 classes; a loss or a sample without a condition.
    """

    def __init__(self, features: int = 64, num_classes: int = 10, latent_dim: int = 16, width: float = 0.1) -> None:
        at_least("num_classes", num_classes, 2)
        paper_sizes = (200, 1000, 1200), (240, 50, 240)
        g_sizes, d_sizes = ([max(1, round(width * size)) for size in sizes] for sizes in paper_sizes)
        super().__init__(
            ConditionalGenerator(latent_dim, num_classes, features, *g_sizes),
            ConditionalDiscriminator(features, num_classes, *d_sizes),
            latent_dim=latent_dim,
            event_shape=(features,),
            prior="unit",  # "uniform within the unit hypercube"
        )
        self.apply(_initialise)

    @classmethod
    def paper(cls) -> Self:
        """The MNIST networks: 100 numbers and 10 classes to 784 pixels."""
        return cls(784, 10, 100, width=1.0)

    def forward(self, z: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """G(z | y), shape (N, features) in [0, 1]."""
        if condition is None or len(condition) != len(z):
            got = "none" if condition is None else f"{len(condition)} conditions"
            raise ValueError(f"every sample needs a label: {len(z)} samples, got {got}")
        return super().forward(z, condition=condition)


def _initialise(part: nn.Module) -> None:
    if isinstance(part, nn.Linear):
        nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        nn.init.zeros_(part.bias)
