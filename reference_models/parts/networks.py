"""Small networks: perceptrons for vectors, convolutions for images, and how a network is told the time.

The embedding of time is that of "Attention Is All You Need" (Vaswani et al., 2017), section 3.5,
https://arxiv.org/abs/1706.03762; its use for diffusion is from "Denoising Diffusion Probabilistic Models" (Ho, Jain,
Abbeel, 2020), appendix B, https://arxiv.org/abs/2006.11239.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from reference_models.parts.require import has_event_shape
from reference_models.parts.residual import Residual
from reference_models.parts.shapes import flatten_batch, restore_batch

Activation = Callable[[], nn.Module]


class MLP(nn.Sequential):
    """Linear layers with activations between them: (*B, in_features) to (*B, out_features)."""

    def __init__(
        self, in_features: int, hidden: Sequence[int], out_features: int, activation: Activation = nn.SiLU
    ) -> None:
        widths = [in_features, *hidden]
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.Linear(narrow, wide), activation()]
        super().__init__(*layers, nn.Linear(widths[-1], out_features))


def sinusoidal_embedding(t: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """cos(ω_i t), then sin(ω_i t), with ω_i = max_period^{−i/(dim/2)}: (*B,) to (*B, dim).

    NOTE: the paper interleaves sines and cosines, which a linear layer after it cannot tell apart from this order.
    Raises ValueError for a `dim` that is odd or below 2.
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"the dimension of a time embedding must be even and positive, got {dim}")
    dtype = t.dtype if t.is_floating_point() else torch.get_default_dtype()
    half = dim // 2
    frequencies = torch.exp(-math.log(max_period) / half * torch.arange(half, device=t.device, dtype=dtype))
    angles = t.to(dtype).unsqueeze(-1) * frequencies  # (*B, half)
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


def time_embedding(t: Tensor | float, dim: int, like: Tensor, scale: float = 1.0) -> Tensor:
    """`sinusoidal_embedding` of scale·t with the device and dtype of `like`: t (*B,) to (*B, dim).

    Angles are taken in float32 at least: bfloat16 does not tell step 998 from step 1000.
    """
    times = torch.as_tensor(t, device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
    return sinusoidal_embedding(scale * times, dim).to(like.dtype)


class TimeMLP(nn.Module):
    """A network f(x, t) or f(x, t, y) on vectors: the time's embedding, and the label's, are put beside x.

    time_scale multiplies t before the embedding: 1 suits indices 0..T−1, the default suits t in [0, 1].
    num_classes: labels are 0..num_classes−1; the label num_classes, also taken when y is None, means "no condition".
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int],
        out: int,
        *,
        embedding: int = 32,
        time_scale: float = 20.0,
        num_classes: int | None = None,
        activation: Activation = nn.SiLU,
    ) -> None:
        super().__init__()
        self.embedding, self.time_scale, self.num_classes = embedding, time_scale, num_classes
        self.labels = None if num_classes is None else nn.Embedding(num_classes + 1, embedding)
        inputs = dim + embedding * (1 if num_classes is None else 2)
        self.net = MLP(inputs, hidden, out, activation)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x: (*B, dim); t: (*B,) or (); y: long, (*B,) or (). Returns (*B, out)."""
        batch = x.shape[:-1]
        time = time_embedding(t, self.embedding, x, self.time_scale)
        parts = [x, time.expand(*batch, self.embedding)]
        if self.labels is not None:
            label = torch.tensor(self.num_classes, device=x.device) if y is None else y
            parts.append(self.labels(label).expand(*batch, self.embedding))
        elif y is not None:
            raise ValueError("this network was built without num_classes and takes no label")
        return self.net(torch.cat(parts, dim=-1))


class ConvEncoder(nn.Module):
    """Strided convolutions: (*B, C, H, W) to (*B, out_features); H and W divisible by 4."""

    def __init__(self, image_shape: Sequence[int], out_features: int, base: int = 16) -> None:
        super().__init__()
        channels, height, width = _divisible_by_four(image_shape)
        self.image_shape = (channels, height, width)
        self.net = nn.Sequential(
            nn.Conv2d(channels, base, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(base, 2 * base, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * base, 2 * base, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(2 * base * (height // 4) * (width // 4), out_features),
        )

    def forward(self, x: Tensor) -> Tensor:
        has_event_shape("image", x, self.image_shape)
        flat, batch = flatten_batch(x, 3)
        return restore_batch(self.net(flat), batch)


class ConvDecoder(nn.Module):
    """The mirror of `ConvEncoder`: (*B, in_features) to (*B, C, H, W), unbounded; H and W divisible by 4."""

    def __init__(self, in_features: int, image_shape: Sequence[int], base: int = 16) -> None:
        super().__init__()
        channels, height, width = _divisible_by_four(image_shape)
        self.net = nn.Sequential(
            nn.Linear(in_features, 2 * base * (height // 4) * (width // 4)),
            nn.SiLU(),
            nn.Unflatten(-1, (2 * base, height // 4, width // 4)),
            nn.ConvTranspose2d(2 * base, 2 * base, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(2 * base, base, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(base, channels, 3, padding=1),
        )

    def forward(self, z: Tensor) -> Tensor:
        flat, batch = flatten_batch(z, 1)
        return restore_batch(self.net(flat), batch)


class ResidualConvBlock(Residual):
    """x + conv(act(conv(act(x)))), the sizes unchanged; `out_channels` other than `channels` adds a 1×1 shortcut."""

    def __init__(self, channels: int, out_channels: int | None = None, kernel_size: int = 3) -> None:
        out = channels if out_channels is None else out_channels
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd so that sizes stay, got {kernel_size}")
        super().__init__(
            nn.SiLU(),
            nn.Conv2d(channels, out, kernel_size, padding=kernel_size // 2),
            nn.SiLU(),
            nn.Conv2d(out, out, kernel_size, padding=kernel_size // 2),
            shortcut=None if out == channels else nn.Conv2d(channels, out, 1),
        )


def _divisible_by_four(image_shape: Sequence[int]) -> tuple[int, int, int]:
    channels, height, width = image_shape
    if height % 4 or width % 4:
        raise ValueError(f"height and width must be divisible by 4, got {height} × {width}")
    return channels, height, width
