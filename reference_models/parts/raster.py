"""Image models in raster order: what PixelRNN, PixelCNN and their descendants share.

An image is read row by row, left to right, and within a pixel channel by channel (R, G given R, B given both):

    p(x) = Π_i Π_c p(x_{i,c} | x_{<i}, x_{i,<c})        (Pixel Recurrent Neural Networks, eq. 1 and 2)

Each conditional is a softmax over K levels. Features carry the order within a pixel: those of channel c are the c-th
block of the feature maps and see the same pixel's channels < c (mask A) or ≤ c (mask B).

Reference: "Pixel Recurrent Neural Networks" (van den Oord et al., 2016), sections 2 and 3.4, https://arxiv.org/abs/1601.06759.

NOTE: for binary images the paper uses one sigmoid; a softmax over two levels is the same family of distributions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.sampling import draw_categorical
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating

Logits = Callable[[Tensor], Tensor]  # (N, C, h, W), the first h rows of images, to (N, K, C, h, W), their conditionals


def to_levels(x: Tensor, levels: int) -> Tensor:
    """Integer levels 0..K−1 of an image.

    x: floats k/(K−1), or the levels k themselves as an integer tensor; any shape.
    levels: K.

    Raises ValueError when a value is none of the K.
    """
    k = x if not x.is_floating_point() else (x * (levels - 1)).round()
    on_grid = not x.is_floating_point() or bool(torch.isclose(k, x * (levels - 1), rtol=0, atol=1e-3).all())
    if not on_grid or bool(((k < 0) | (k > levels - 1)).any()):
        found = f"values in [{float(x.min()):.6g}, {float(x.max()):.6g}]" if x.numel() else "none"
        raise ValueError(f"every value must be one of {levels} levels, k/{levels - 1} or an integer k, got {found}")
    return k.long()


def from_levels(k: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Levels 0..K−1 as floats k/(K−1)."""
    return k.to(dtype) / (levels - 1)


def centred(x: Tensor) -> Tensor:
    """[0, 1] to [−1, 1], what the networks read: zero padding then differs from a black pixel."""
    return 2 * x - 1


def to_conditionals(features: Tensor, channels: int, levels: int) -> Tensor:
    """The last feature maps, (N, C·K, h, W), as logits (N, K, C, h, W): channel c owns the c-th block of K maps."""
    n, _, h, w = features.shape
    return features.reshape(n, channels, levels, h, w).transpose(1, 2)


def image_log_prob(logits: Logits, x: Tensor, image_shape: Sequence[int], levels: int, dtype: torch.dtype) -> Tensor:
    """log p(x) in nats, summed over all values of an image: (*B, C, H, W) to (*B,)."""
    has_event_shape("x", x, image_shape)
    x, batch = flatten_batch(x, 3)
    k = to_levels(x, levels)
    log_p = torch.log_softmax(logits(from_levels(k, levels, dtype)), dim=1)  # (N, K, C, H, W)
    return restore_batch(log_p.gather(1, k.unsqueeze(1)).sum(dim=(1, 2, 3, 4)), batch)


def complete_image(logits: Logits, x: Tensor, known: Tensor, levels: int, generator: Generator | None) -> Tensor:
    """Draws the unknown values of each image in raster order, given the known ones above and to the left.

    x: floats k/(K−1), shape (N, C, H, W); known: bool, same shape, may differ from image to image.

    Row i is computed from the rows up to i only: what lies below has no say in it.
    """
    x = torch.where(known, x, torch.zeros_like(x))
    _, channels, height, width = x.shape
    for i in range(height):
        for j in range(width):
            for c in range(channels):
                if bool(known[:, c, i, j].all()):
                    continue
                k = draw_categorical(logits(x[:, :, : i + 1])[:, :, c, i, j], generator)
                x[:, c, i, j] = torch.where(known[:, c, i, j], x[:, c, i, j], from_levels(k, levels, x.dtype))
    return x


class RasterModel(nn.Module, ABC):
    """An image density by raster-ordered conditionals; a family supplies `logits`.

    image_shape: (C, H, W); levels: K ≥ 2. Images are floats k/(K−1), binary ones {0, 1}; `log_prob` takes integers too.
    """

    def __init__(self, image_shape: Sequence[int], levels: int) -> None:
        super().__init__()
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ValueError(f"image_shape must be (C, H, W) with positive entries, got {tuple(image_shape)}")
        at_least("levels", levels, 2)
        self.image_shape = tuple(image_shape)
        self.levels = levels

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Unnormalised log p(x_{i,c} = k | everything before): (N, C, h, W) to (N, K, C, h, W).

        x: floats k/(K−1), the first h ≤ H rows of the image.
        """

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, summed over pixels and channels: (*B, C, H, W) to (*B,).

        Raises ValueError when the shape does not fit or a value is not one of the K levels.
        """
        return image_log_prob(self.logits, x, self.image_shape, self.levels, self._like.dtype)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n images, floats k/(K−1), shape (n, C, H, W); C·H·W passes of the network."""
        blank = self._like.new_zeros(n, *self.image_shape)
        return self.complete(blank, torch.zeros_like(blank, dtype=torch.bool), generator=generator)

    def complete(self, x: Tensor, known: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Images that agree with x where `known` and are drawn, value after value, elsewhere.

        x: floats k/(K−1), shape (*B, C, H, W), not changed; known: bool, the same shape.

        An unknown value is drawn given what stands before it in raster order, known or drawn; known values after it
        have no say, so this samples the posterior exactly only where the known values come first.
        """
        flat, mask, batch = checked_completion(x, known, self.image_shape, self.levels, self._like.dtype)
        with evaluating(self):
            return restore_batch(complete_image(self.logits, flat, mask, self.levels, generator), batch)

    @property
    def _like(self) -> Tensor:
        return next(self.parameters())


def checked_completion(
    x: Tensor, known: Tensor, image_shape: Sequence[int], levels: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, torch.Size]:
    """Images to complete and their masks with batch shape (N,), and the batch shape they had.

    Raises ValueError when the shapes do not fit, `known` is not boolean or a known value is not a level.
    """
    has_event_shape("x", x, image_shape)
    if known.shape != x.shape or known.dtype != torch.bool:
        raise ValueError(f"known must be bool of shape {tuple(x.shape)}, got {known.dtype} of {tuple(known.shape)}")
    to_levels(x[known], levels)
    flat, batch = flatten_batch(x.to(dtype) if x.is_floating_point() else from_levels(x, levels, dtype), 3)
    return flat, known.reshape(flat.shape), batch


def colour_groups(features: int, channels: int) -> Tensor:
    """The channel whose turn each feature map belongs to, long (features,): C blocks, in order, as equal as can be."""
    return torch.arange(features) * channels // features


def causal_mask(kind: str, out_groups: Tensor, in_groups: Tensor, kernel: tuple[int, int]) -> Tensor:
    """The weights of a convolution that look back only: float (out, in, kh, kw), ones and zeros.

    kind: "A" hides a channel from itself (first layer, whose input is the image), "B" shows it.
    out_groups, in_groups: the channel of each feature map, see `colour_groups`.
    kernel: (kh, kw), both odd. What is above and to the left of the centre is seen whole, the centre by channel.
    """
    kh, kw = kernel
    if kind not in ("A", "B"):
        raise ValueError(f"the kind of a mask must be 'A' or 'B', got {kind!r}")
    if kh % 2 == 0 or kw % 2 == 0 or min(kernel) < 1:
        raise ValueError(f"a masked kernel needs a centre, so odd sides, got {kernel}")
    mask = torch.zeros(len(out_groups), len(in_groups), kh, kw)
    mask[:, :, : kh // 2] = 1
    mask[:, :, kh // 2, : kw // 2] = 1
    before = out_groups[:, None] > in_groups if kind == "A" else out_groups[:, None] >= in_groups
    mask[:, :, kh // 2, kw // 2] = before.to(mask.dtype)
    return mask


class RasterConv2d(nn.Conv2d):
    """A convolution under a causal mask with the colour order, output size = input size.

    kind: mask "A" or "B"; in_features, out_features: feature maps; kernel: (kh, kw), odd; channels: C of the image.
    gates: the output is this many equal stacks (the gates of an LSTM, say), each ordered R, G, B by itself.
    """

    mask: Tensor

    def __init__(
        self,
        kind: str,
        in_features: int,
        out_features: int,
        kernel: int | tuple[int, int],
        channels: int,
        gates: int = 1,
    ) -> None:
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        if gates < 1 or out_features % gates:
            raise ValueError(f"{out_features} feature maps do not split into {gates} gates")
        per_gate = colour_groups(out_features // gates, channels)
        mask = causal_mask(kind, per_gate.repeat(gates), colour_groups(in_features, channels), kernel)
        super().__init__(in_features, out_features, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        self.register_buffer("mask", mask.to(self.weight), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, h, W) to (N, out, h, W)."""
        return self._conv_forward(x, self.weight * self.mask, self.bias)


class RasterHead(nn.Sequential):
    """Two 1×1 layers under mask B, each after a ReLU: (N, in, h, W) to (N, C·K, h, W) (table 1, last rows)."""

    def __init__(self, in_features: int, features: int, channels: int, levels: int) -> None:
        super().__init__(
            nn.ReLU(),
            RasterConv2d("B", in_features, features, 1, channels),
            nn.ReLU(),
            RasterConv2d("B", features, channels * levels, 1, channels),
        )
